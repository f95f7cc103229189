/* One candidate through render, compile and the device worker. Whatever a candidate does to its worker becomes its fate; the next request
 * meets a fresh worker whose `open` has run a canary, so a device that is really gone is found there and blamed on nobody. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "stats.h"
#include "tune_private.h"
#include "wire.h"

/* Samples of a check's repeats on slow devices are cut to this, so that validating does not take longer than searching. */
#define CHECK_BOX_CPU_S 1.0
#define CHECK_BOX_GPU_S 5.0
#define CHECK_SHARED 32 /* proposals that are checked on the same inputs, whose reference is computed once */

struct tune_item *tune_item_new(struct tune *t, const struct cand *c, struct err *e)
{
    struct tune_item *i;

    if (t->nitems == t->items_cap) {
        int cap = t->items_cap ? 2 * t->items_cap : 64;
        struct tune_item **p = realloc(t->items, (size_t)cap * sizeof *p);
        if (!p) {
            err_nomem(e);
            return NULL;
        }
        t->items = p;
        t->items_cap = cap;
    }
    i = calloc(1, sizeof *i);
    if (!i) {
        err_nomem(e);
        return NULL;
    }
    i->seq = t->nitems;
    i->cand = *c;
    i->alias_of = -1;
    i->us = NAN;
    cand_id(t->domain, c, i->id);
    t->items[t->nitems++] = i;
    return i;
}

void tune_item_free(struct tune_item *i)
{
    farm_job_free(&i->job);
    json_decref(i->detail);
    free(i->launch);
    free(i->log);
    i->detail = NULL;
    i->launch = NULL;
    i->log = NULL;
}

void tune_item_release(struct tune_item *i)
{
    tune_item_free(i);
    i->job = (struct farm_job){.again = i->job.again};
    i->rendered = false;
}

int tune_item_detail(struct tune *t, struct tune_item *i, struct err *e)
{
    struct store_evaluation v;
    bool found;

    if (i->detail) return 0;
    if (store_evaluation_get(t->store, t->run.id, i->seq, &v, &found, e) != 0) return -1;
    if (found) i->detail = json_incref(v.detail);
    store_evaluation_free(&v);
    return 0;
}

void tune_items_free(struct tune *t)
{
    for (int i = 0; i < t->nitems; i++) {
        tune_item_free(t->items[i]);
        free(t->items[i]);
    }
    free(t->items);
    free(t->named);
    t->items = NULL;
    t->named = NULL;
    t->nitems = t->items_cap = 0;
    t->nnamed = t->named_cap = 0;
}

/* ---- items by name ---- */

/* Where name is, or could be. Names are digests: their first digits are hash enough. */
static struct tune_named *place(struct tune_named *table, size_t cap, const char *name)
{
    size_t at = 0;

    for (int i = 0; i < 16 && name[i]; i++)
        at = at << 4 | (size_t)((name[i] & 15) + (name[i] >= 'a' ? 9 : 0));
    for (at &= cap - 1; table[at].name && strcmp(table[at].name, name) != 0;)
        at = (at + 1) & (cap - 1);
    return &table[at];
}

struct tune_item *tune_item_named(const struct tune *t, const char *name)
{
    return t->named_cap > 0 && name[0] ? place(t->named, t->named_cap, name)->item : NULL;
}

static int more_names(struct tune *t, struct err *e)
{
    size_t cap = t->named_cap ? 2 * t->named_cap : 256;
    struct tune_named *table = calloc(cap, sizeof *table);

    if (!table) return err_nomem(e);
    for (size_t i = 0; i < t->named_cap; i++)
        if (t->named[i].name) *place(table, cap, t->named[i].name) = t->named[i];
    free(t->named);
    t->named = table;
    t->named_cap = cap;
    return 0;
}

int tune_item_name(struct tune *t, struct tune_item *i, struct err *e)
{
    const char *names[] = {i->id, i->identity};

    if (2 * (t->nnamed + 2) > t->named_cap && more_names(t, e) != 0) return -1;
    for (int k = 0; k < 2; k++) {
        struct tune_named *p = names[k][0] ? place(t->named, t->named_cap, names[k]) : NULL;
        if (!p || p->name) continue;
        *p = (struct tune_named){names[k], i};
        t->nnamed++;
    }
    return 0;
}

static void set_log(struct tune_item *i, const char *text)
{
    free(i->log);
    i->log = text && *text ? strdup(text) : NULL;
}

struct domain *tune_domain(const struct tune *t, const struct tune_item *i)
{
    return i->shape ? i->shape->domain : t->domain;
}

int tune_prepare(struct tune *t, struct tune_item *i, struct err *e)
{
    struct rendered r = {0};
    struct err refused = {0};
    int rc = 0;

    if (i->rendered) return 0;
    if (cand_render(tune_domain(t, i), &i->cand, &r, &refused) != 0) {
        i->fate = FATE_RENDER;
        i->done = true;
        set_log(i, refused.text);
    } else if ((i->debug && rendered_debug(&r, e) != 0) || !(i->launch = malloc(sizeof *i->launch))) {
        rc = err_nomem(e);
    } else {
        i->rendered = true;
        *i->launch = r.launch;
        rc = farm_submit(t->farm, &i->job, &r, e);
    }
    rendered_free(&r);
    return rc;
}

int tune_ready(struct tune *t, struct tune_item *i, struct err *e)
{
    if (tune_prepare(t, i, e) != 0 || (i->rendered && farm_wait(t->farm, &i->job, e) != 0)) return -1;
    if (!i->rendered || i->job.fate != FATE_OK)
        return err_set(e, ERR_DEVICE, "a kernel that compiled before does not compile now: %s",
                       i->job.log ? i->job.log : fate_text(i->job.fate));
    return 0;
}

json_t *tune_kernel_json(const struct tune_item *i)
{
    return json_pack("{s:s,s:o,s:i}", "key", i->job.key, "launch", launch_to_json(i->launch), "k", i->k);
}

json_t *tune_bench_json(const struct tune *t, uint64_t seed)
{
    return json_pack("{s:o,s:b,s:I}", "problem", problem_to_json(&t->space.problem), "cold", t->space.measure.cold,
                     "seed", (json_int_t)(seed >> 1));
}

double tune_item_floor(const struct tune *t)
{
    return problem_floor_us(&t->space.problem, &t->target);
}

double tune_stop_factor(const struct tune *t)
{
    return t->target.is_host_cpu ? 0 : TUNE_STOP_FACTOR;
}

/* ---- the device worker ---- */

int tune_device_fresh(struct tune *t, struct err *e)
{
    json_t *reply;
    const char *error;
    enum worker_outcome outcome;
    double started = worker_now();
    enum timeline_doing before = timeline_do(&t->clock, TIMELINE_WAIT, started);
    int rc = 0;

    timeline_device(&t->clock, TIMELINE_OPENING, started);
    worker_stop(t->device);
    t->device = NULL;
    if (worker_spawn(t->loop, t->cache, &t->device, e) != 0) return -1;
    outcome = worker_call_take(t->device, json_pack("{s:s,s:o}", "op", "open", "target", target_to_json(&t->target)),
                               t->deadline_s, NULL, NULL, &reply);
    error = wire_error(reply);
    if (outcome != WORKER_REPLY || error) {
        rc = err_set(e, ERR_DEVICE, "the device %s does not answer: %s; nothing is lost, run again when it does",
                     t->target.name, error ? error : worker_words(t->device));
    } else if (!t->environment) {
        t->environment = json_incref(json_object_get(reply, "environment"));
    }
    t->open_s = worker_now() - started;
    timeline_device(&t->clock, TIMELINE_IDLE, worker_now());
    timeline_do(&t->clock, before, worker_now());
    json_decref(reply);
    return rc;
}

static void on_progress(void *ctx, const json_t *message)
{
    struct tune *t = ctx;

    (void)message;
    t->call.begun = true;
    tune_tick(t);
}

/* What the worker says of its own time. */
static struct timeline_work work_of(const json_t *reply)
{
    const json_t *j = json_object_get(reply, "seconds");

    return (struct timeline_work){json_number_value(json_object_get(j, "whole")),
                                  json_number_value(json_object_get(j, "check")),
                                  json_number_value(json_object_get(j, "measure"))};
}

static void on_answer(void *ctx, struct worker *w, enum worker_outcome outcome, const json_t *reply)
{
    struct tune *t = ctx;
    struct timeline_work work = work_of(reply);

    (void)w;
    t->call.answered = true;
    t->call.outcome = outcome;
    t->call.reply = json_incref((json_t *)(uintptr_t)reply);
    if (outcome == WORKER_REPLY)
        timeline_answered(&t->clock, &work, worker_now());
    else
        timeline_device(&t->clock, TIMELINE_IDLE, worker_now());
}

/* A kernel that prints more than this is named for it; what the one before it left in the pipe is never as much. */
#define FLOOD_BYTES 65536

/* Puts the request of the call to a live worker. */
static int ask(struct tune *t, struct err *e)
{
    struct tune_call *c = &t->call;

    if ((!t->device || !worker_alive(t->device)) && tune_device_fresh(t, e) != 0) return -1;
    c->answered = false;
    c->printed = worker_printed(t->device);
    timeline_device(&t->clock, TIMELINE_WORKING, worker_now());
    worker_listen(t->device, on_progress, t);
    if (worker_request_take(t->device, json_incref(c->request), t->deadline_s, on_answer, t, NULL) != 0)
        on_answer(t, t->device, WORKER_DIED, NULL);
    return 0;
}

static void forget_call(struct tune *t)
{
    json_decref(t->call.request);
    json_decref(t->call.reply);
    t->call = (struct tune_call){0};
}

int tune_device_ask(struct tune *t, json_t *request, struct err *e)
{
    assert(!t->call.request);
    if (!request) return err_nomem(e);
    t->call = (struct tune_call){.request = request};
    if (ask(t, e) == 0) return 0;
    forget_call(t);
    return -1;
}

bool tune_device_answered(const struct tune *t)
{
    return t->call.answered;
}

void tune_device_drop(struct tune *t)
{
    if (!t->call.request) return;
    worker_stop(t->device);
    t->device = NULL;
    timeline_device(&t->clock, TIMELINE_IDLE, worker_now());
    forget_call(t);
}

/* Waits for the answer. A worker that was gone before it began with this request fell to something else (what ran before, the machine): a
 * fresh one is asked once more, so that nobody is blamed for another's end. */
static int await(struct tune *t, struct err *e)
{
    struct tune_call *c = &t->call;
    enum timeline_doing before = timeline_do(&t->clock, TIMELINE_WAIT, worker_now());
    int rc = 0;

    for (int tries = 0; rc == 0; tries++) {
        while (!c->answered)
            worker_pump(t->loop, 1);
        if (c->outcome != WORKER_DIED || c->begun) break;
        worker_stop(t->device);
        t->device = NULL;
        if (tries == 1) break;
        rc = ask(t, e);
    }
    timeline_do(&t->clock, before, worker_now());
    return rc;
}

int tune_device_take(struct tune *t, enum fate *fate, char **text, json_t **reply, struct err *e)
{
    struct tune_call *c = &t->call;
    enum worker_outcome outcome;
    int rc;

    *text = NULL;
    *fate = FATE_OK;
    *reply = NULL;
    rc = await(t, e);
    outcome = c->outcome;
    if (rc == 0 && c->reply) {
        size_t printed = worker_printed(t->device) - c->printed;
        *reply = json_incref(c->reply);
        if (printed > FLOOD_BYTES) json_object_set_new(*reply, "printed_bytes", json_integer((json_int_t)printed));
        json_object_del(*reply, "seconds"); /* the timeline has them */
    }
    forget_call(t);
    if (rc != 0) return -1;
    if (outcome == WORKER_REPLY) {
        if (wire_error(*reply)) {
            err_set(e, ERR_DEVICE, "%s", wire_error(*reply));
            json_decref(*reply);
            *reply = NULL;
            return -1;
        }
        if (json_is_true(json_object_get(*reply, "leave"))) {
            worker_stop(t->device);
            t->device = NULL;
        }
        return 0;
    }
    *fate = outcome == WORKER_DIED ? FATE_CRASH : FATE_HANG;
    *text = strdup(t->device ? worker_words(t->device) : "the worker died twice before it began");
    if (outcome == WORKER_UNKILLABLE)
        return err_set(e, ERR_DEVICE, "a worker on %s could not be killed: the device is lost until the driver lets go",
                       t->target.name);
    worker_stop(t->device);
    t->device = NULL;
    return tune_device_fresh(t, e);
}

int tune_device_call(struct tune *t, json_t *request, enum fate *fate, char **text, json_t **reply, struct err *e)
{
    *text = NULL;
    *fate = FATE_OK;
    *reply = NULL;
    return tune_device_ask(t, request, e) == 0 ? tune_device_take(t, fate, text, reply, e) : -1;
}

/* ---- evaluate ---- */

/* Another run, other inputs; a finalist has its own. */
static json_t *rule_json(const struct tune *t, const struct tune_item *i, enum tune_check check)
{
    char shared[32];
    struct rng r;

    snprintf(shared, sizeof shared, "inputs %d", i->seq / CHECK_SHARED);
    rng_init(&r, t->seed + (uint64_t)t->run.id, check == TUNE_FULL ? i->id : shared);
    return json_pack("{s:b,s:I,s:f,s:f,s:i,s:f,s:b}", "full", check == TUNE_FULL, "seed",
                     (json_int_t)(rng_u64(&r) >> 1), "atol", t->space.validate.atol, "rtol", t->space.validate.rtol,
                     "repeats", t->space.validate.repeats, "box_s",
                     t->target.is_host_cpu ? CHECK_BOX_CPU_S : CHECK_BOX_GPU_S, "unwritten", t->o->unwritten);
}

/* The times of an answer: as many as were asked for, or the one behind which the worker stopped as it was told to; false: it makes no sense. */
static bool read_samples(struct tune_item *i, const json_t *reply, const struct tune_timing *timing, double *out,
                         int *got)
{
    const json_t *list = json_object_get(reply, "samples"), *k = json_object_get(reply, "k");
    bool stopped = timing->stop_us > 0 && json_is_true(json_object_get(reply, "stopped"));
    int n = stopped ? 1 : timing->samples;
    double own[64], *at = out ? out : own;
    bool good = json_array_size(list) == (size_t)n && json_is_integer(k) && json_integer_value(k) > 0 &&
                json_integer_value(k) <= BENCH_MAX_K;

    assert(out || n <= 64);
    for (int x = 0; x < n && good; x++) {
        at[x] = json_number_value(json_array_get(list, (size_t)x));
        good = bench_is_time(at[x]) && (!stopped || at[x] > timing->stop_us);
    }
    if (!good) return false;
    if (got) *got = n;
    i->k = (int)json_integer_value(k);
    return stats_median(at, n, &i->us) == STATS_OK;
}

/* Faster than the arithmetic allows: whatever was timed, it was not this problem. */
static void doubt(struct tune *t, struct tune_item *i)
{
    double floor_us = tune_item_floor(t);
    char text[160];

    if (i->fate != FATE_OK || !(i->us < floor_us)) return;
    snprintf(text, sizeof text, "measured %.3f us is below the roofline of %.3f us: not believed", i->us, floor_us);
    i->fate = FATE_WRONG;
    i->us = NAN;
    set_log(i, text);
}

static json_t *time_json(const struct tune *t, const struct tune_item *i, const struct tune_timing *timing)
{
    json_t *j = json_pack("{s:i,s:i,s:o,s:b}", "samples", timing->samples, "k", i->k, "bench",
                          tune_bench_json(t, t->seed), "verify", 1);

    if (timing->stop_us > 0) json_object_set_new(j, "stop_us", json_real(timing->stop_us));
    return j;
}

int tune_evaluate_ask(struct tune *t, const struct tune_item *i, enum tune_check check,
                      const struct tune_timing *timing, struct err *e)
{
    const struct tune_item *reference = i->shape ? &i->shape->reference : &t->reference;
    json_t *request =
        json_pack("{s:s,s:o,s:o}", "op", "evaluate", "problem",
                  problem_to_json(i->shape ? &i->shape->problem : &t->space.problem), "kernel", tune_kernel_json(i));

    if (check != TUNE_NO_CHECK) {
        json_object_set_new(request, "reference", tune_kernel_json(reference));
        json_object_set_new(request, "rule", rule_json(t, i, check));
    }
    if (timing->samples > 0) json_object_set_new(request, "time", time_json(t, i, timing));
    return tune_device_ask(t, request, e);
}

/* In words, where the worker stopped early: it is kept in place of the worker's flag. */
static void explain_stop(struct tune_item *i, const struct tune_timing *timing)
{
    bool stopped = json_is_true(json_object_get(i->detail, "stopped"));
    char text[96];

    json_object_del(i->detail, "stopped");
    if (!stopped || i->fate != FATE_OK) return;
    snprintf(text, sizeof text, "after 1 of %d samples: %.1f x the best so far", timing->samples,
             i->us / timing->stop_us * TUNE_STOP_FACTOR);
    json_object_set_new(i->detail, "stopped", json_string(text));
}

int tune_evaluate_take(struct tune *t, struct tune_item *i, const struct tune_timing *timing, double *samples_out,
                       int *got, struct err *e)
{
    json_t *reply;
    const char *name, *log;
    char *text;
    int rc;

    if (got) *got = 0;
    rc = tune_device_take(t, &i->fate, &text, &reply, e);
    if (rc == 0 && reply) {
        name = json_string_value(json_object_get(reply, "fate"));
        log = json_string_value(json_object_get(reply, "text"));
        if (!name || fate_parse(&i->fate, name) != 0) i->fate = FATE_CRASH;
        set_log(i, log && *log ? log : i->job.log);
        i->us = NAN;
        if (timing->samples > 0 && i->fate == FATE_OK && !read_samples(i, reply, timing, samples_out, got)) {
            i->fate = FATE_CRASH;
            set_log(i, "the worker's answer makes no sense: its times or their number cannot be; it was sent away");
            worker_stop(t->device);
            t->device = NULL;
        }
        json_decref(i->detail);
        i->detail = json_incref(reply);
        json_object_del(i->detail, "done");
        json_object_del(i->detail, "samples");
        if (i->job.resources) json_object_set(i->detail, "compiled", i->job.resources);
        explain_stop(i, timing);
        doubt(t, i);
    } else if (text) {
        set_log(i, text);
    }
    i->done = true;
    free(text);
    json_decref(reply);
    return rc;
}

int tune_evaluate(struct tune *t, struct tune_item *i, enum tune_check check, int nsamples, double *samples_out,
                  int *got, struct err *e)
{
    const struct tune_timing timing = {.samples = nsamples};

    if (tune_evaluate_ask(t, i, check, &timing, e) != 0) return -1;
    return tune_evaluate_take(t, i, &timing, samples_out, got, e);
}

int tune_sample(struct tune *t, struct tune_item *i, double *us, bool *ok, struct err *e)
{
    json_t *request = json_pack("{s:s,s:o,s:o,s:b,s:{s:i,s:i,s:o}}", "op", "evaluate", "problem",
                                problem_to_json(&t->space.problem), "kernel", tune_kernel_json(i), "keep", 1, "time",
                                "samples", 1, "k", i->k, "bench", tune_bench_json(t, t->seed + (uint64_t)t->run.id));
    json_t *reply;
    const char *name;
    enum fate fate;
    char *text;
    int rc = tune_device_call(t, request, &fate, &text, &reply, e);

    *us = NAN;
    *ok = false;
    if (rc == 0 && reply) {
        name = json_string_value(json_object_get(reply, "fate"));
        *us = json_number_value(json_array_get(json_object_get(reply, "samples"), 0));
        *ok = name && strcmp(name, "OK") == 0 && bench_is_time(*us);
    }
    free(text);
    json_decref(reply);
    return rc;
}
