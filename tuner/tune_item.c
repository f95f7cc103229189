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

/* ---- the device worker ---- */

int tune_device_fresh(struct tune *t, struct err *e)
{
    json_t *reply;
    const char *error;
    enum worker_outcome outcome;
    double started = worker_now();
    int rc = 0;

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
    json_decref(reply);
    return rc;
}

struct listener {
    struct tune *t;
    bool begun; /* the worker has said that it works on this request */
};

static void on_progress(void *ctx, const json_t *message)
{
    struct listener *l = ctx;

    (void)message;
    l->begun = true;
    tune_tick(l->t);
}

/* A kernel that prints more than this is named for it; what the one before it left in the pipe is never as much. */
#define FLOOD_BYTES 65536

/* One call to a live worker. A worker that was gone before it began with this request fell to something else (what ran before, the
 * machine): a fresh one is asked once more, so that nobody is blamed for another's end. */
static int call(struct tune *t, json_t *request, enum worker_outcome *outcome, json_t **reply, struct err *e)
{
    struct listener l = {.t = t};

    for (int tries = 0; tries < 2; tries++) {
        if ((!t->device || !worker_alive(t->device)) && tune_device_fresh(t, e) != 0) return -1;
        size_t printed = worker_printed(t->device);
        *outcome = worker_call_take(t->device, json_incref(request), t->deadline_s, on_progress, &l, reply);
        printed = worker_printed(t->device) - printed;
        if (*reply && printed > FLOOD_BYTES)
            json_object_set_new(*reply, "printed_bytes", json_integer((json_int_t)printed));
        if (*outcome != WORKER_DIED || l.begun) break;
        worker_stop(t->device);
        t->device = NULL;
    }
    return 0;
}

int tune_device_call(struct tune *t, json_t *request, enum fate *fate, char **text, json_t **reply, struct err *e)
{
    enum worker_outcome outcome;
    int rc;

    *text = NULL;
    *fate = FATE_OK;
    *reply = NULL;
    rc = call(t, request, &outcome, reply, e);
    json_decref(request);
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

/* ---- evaluate ---- */

static json_t *rule_json(const struct tune *t, const struct tune_item *i, enum tune_check check)
{
    struct rng r;

    rng_init(&r, t->seed + (uint64_t)t->run.id, i->id); /* another run, other inputs */
    return json_pack("{s:b,s:I,s:f,s:f,s:i,s:f,s:b}", "full", check == TUNE_FULL, "seed",
                     (json_int_t)(rng_u64(&r) >> 1), "atol", t->space.validate.atol, "rtol", t->space.validate.rtol,
                     "repeats", t->space.validate.repeats, "box_s",
                     t->target.is_host_cpu ? CHECK_BOX_CPU_S : CHECK_BOX_GPU_S, "unwritten", t->o->unwritten);
}

/* The times of an answer, which must be as many as were asked for; false: it makes no sense. */
static bool read_samples(struct tune_item *i, const json_t *reply, double *out, int *got, int wanted)
{
    const json_t *list = json_object_get(reply, "samples"), *k = json_object_get(reply, "k");
    double own[64], *at = out ? out : own;
    bool good = json_array_size(list) == (size_t)wanted && json_is_integer(k) && json_integer_value(k) > 0 &&
                json_integer_value(k) <= BENCH_MAX_K;

    assert(out || wanted <= 64);
    for (int n = 0; n < wanted && good; n++) {
        at[n] = json_number_value(json_array_get(list, (size_t)n));
        good = bench_is_time(at[n]);
    }
    if (!good) return false;
    if (got) *got = wanted;
    i->k = (int)json_integer_value(k);
    return stats_median(at, wanted, &i->us) == STATS_OK;
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

int tune_evaluate(struct tune *t, struct tune_item *i, enum tune_check check, int nsamples, double *samples_out,
                  int *got, struct err *e)
{
    const struct tune_item *reference = i->shape ? &i->shape->reference : &t->reference;
    json_t *request =
        json_pack("{s:s,s:o,s:o}", "op", "evaluate", "problem",
                  problem_to_json(i->shape ? &i->shape->problem : &t->space.problem), "kernel", tune_kernel_json(i));
    json_t *reply;
    const char *name, *log;
    char *text;
    int rc;

    if (check != TUNE_NO_CHECK) {
        json_object_set_new(request, "reference", tune_kernel_json(reference));
        json_object_set_new(request, "rule", rule_json(t, i, check));
    }
    if (nsamples > 0)
        json_object_set_new(request, "time",
                            json_pack("{s:i,s:i,s:o,s:b}", "samples", nsamples, "k", i->k, "bench",
                                      tune_bench_json(t, t->seed), "verify", 1));
    if (got) *got = 0;
    rc = tune_device_call(t, request, &i->fate, &text, &reply, e);
    if (rc == 0 && reply) {
        name = json_string_value(json_object_get(reply, "fate"));
        log = json_string_value(json_object_get(reply, "text"));
        if (!name || fate_parse(&i->fate, name) != 0) i->fate = FATE_CRASH;
        set_log(i, log && *log ? log : i->job.log);
        i->us = NAN;
        if (nsamples > 0 && i->fate == FATE_OK && !read_samples(i, reply, samples_out, got, nsamples)) {
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
        doubt(t, i);
    } else if (text) {
        set_log(i, text);
    }
    i->done = true;
    free(text);
    json_decref(reply);
    return rc;
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
