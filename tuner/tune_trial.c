/* A trial: sessions of two arms, each in a fresh device worker. A session is committed whole or not at all; an interrupted trial goes on
 * behind its last session. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "health.h"
#include "stats.h"
#include "tune_private.h"
#include "wire.h"

#define FULL_QUADS 20
#define LEAST_QUADS 4
#define FULL_M 5
#define WARM_S 1.0
#define START_S 1.0     /* a process, a context, two modules, as long as none was measured */
#define LOAD_S 0.1      /* inputs and modules, beyond a process and a context */
#define WARM_SAMPLES 60 /* of both arms; bench stops once 20 in a row agree */

/* Seconds of one session: every sample lasts at least a batch, and the host adds about as much again for very short ones. */
static double session_s(const struct tune *t, double sample_s, int quads, int m, double warm_s)
{
    double start_s = t->open_s > 0 ? t->open_s + LOAD_S : START_S;

    return start_s + fmin(warm_s, WARM_SAMPLES * sample_s) + (quads + 1.0) * (4 * m + 1) * (sample_s * 1.3);
}

struct tune_plan tune_plan_samples(const struct tune *t, double sample_us, double box_s)
{
    struct tune_plan p = {.sessions = t->space.promote.sessions, .quads = FULL_QUADS, .m = FULL_M, .warm_s = WARM_S};
    double sample_s = fmax(sample_us, BENCH_MIN_BATCH_US) * 1e-6;

    /* First fewer samples a letter, then fewer quads, last fewer sessions: the session is the unit that decides. */
    if (sample_s > 0.01) p.warm_s = 4 * sample_s;
    while (p.m > 1 && p.sessions * session_s(t, sample_s, p.quads, p.m, p.warm_s) > box_s)
        p.m -= 2;
    while (p.quads > LEAST_QUADS && p.sessions * session_s(t, sample_s, p.quads, p.m, p.warm_s) > box_s)
        p.quads--;
    while (p.sessions > TUNE_LEAST_SESSIONS && p.sessions * session_s(t, sample_s, p.quads, p.m, p.warm_s) > box_s)
        p.sessions--;
    p.boxed = p.m < FULL_M || p.quads < FULL_QUADS || p.sessions < t->space.promote.sessions;
    return p;
}

double tune_sample_us(const struct tune_item *i)
{
    return i->us * (i->k > 0 ? i->k : 1);
}

struct tune_plan tune_plan_trial(const struct tune *t, const struct tune_item *a, const struct tune_item *b,
                                 double box_s)
{
    return tune_plan_samples(t, (tune_sample_us(a) + tune_sample_us(b)) / 2, box_s);
}

/* ---- one session ---- */

static void session_clear(struct tune_session *s)
{
    for (int i = 0; i < s->n; i++) {
        free((void *)(uintptr_t)s->quads[i].samples);
        json_decref(s->quads[i].health);
    }
    s->n = s->others = 0;
    s->pause = (struct health_pause){0};
}

/* Whether the quad counts, its clock, and who else was there. */
static enum health_change judge_health(struct tune_session *s, struct store_quad *q, const json_t *before,
                                       const json_t *after)
{
    struct health_reading b, a;
    enum health_change change;

    health_from_json(&b, before);
    health_from_json(&a, after);
    change = health_changed(&b, &a, q->quad.letter_mhz);
    if (b.sm_mhz > 0 && a.sm_mhz > 0) q->quad.sm_mhz = ((double)b.sm_mhz + a.sm_mhz) / 2;
    if (change != HEALTH_STEADY) q->quad.discarded = true;
    if (b.other_processes > 0 || a.other_processes > 0) s->others++;
    return change;
}

/* Clocks are known to a part in a thousand at best: whole MHz will do. */
static json_t *clock_list(const double *mhz, int n)
{
    json_t *list = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_integer(lround(mhz[i])));
    return list;
}

enum health_change tune_quad_take(struct tune_session *s, bool baab, double *samples, const double *clocks,
                                  const json_t *before, const json_t *after)
{
    struct store_quad *q = &s->quads[s->n];
    enum health_change change;
    double *letters = q->quad.letter_mhz;

    *q = (struct store_quad){.samples = samples, .nsamples = 4 * s->m};
    q->quad.baab = baab;
    for (int i = 0; i < 4; i++)
        if (stats_median(samples + i * s->m, s->m, &q->quad.letter[i]) != STATS_OK || !bench_is_time(q->quad.letter[i]))
            q->quad.discarded = true;
    if (clocks) health_letter_clocks(clocks, s->m, letters);
    change = judge_health(s, q, before, after);
    q->health = json_pack("{s:O?,s:O?}", "before", before, "after", after);
    if (letters[0] > 0 || letters[1] > 0) {
        json_object_set_new(q->health, "letter_mhz",
                            json_pack("[f,f,f,f]", letters[0], letters[1], letters[2], letters[3]));
        json_object_set_new(q->health, "sample_mhz", clock_list(clocks, 4 * s->m));
    }
    if (change != HEALTH_STEADY) json_object_set_new(q->health, "change", json_string(health_change_name(change)));
    s->n++;
    return change;
}

/* n numbers, malloc'ed; NULL when out of memory. */
static double *numbers(const json_t *list, int n)
{
    double *x = malloc((size_t)n * sizeof *x);

    for (int i = 0; i < n && x; i++)
        x[i] = json_number_value(json_array_get(list, (size_t)i));
    return x;
}

static void on_quad(void *ctx, const json_t *message)
{
    struct tune_session *s = ctx;
    const json_t *list = json_object_get(message, "samples");
    int number = (int)json_integer_value(json_object_get(message, "quad"));
    double *samples, *clocks;

    tune_tick(s->t);
    if (!list || number < 0 || s->n >= s->max || (int)json_array_size(list) != 4 * s->m) return;
    samples = numbers(list, 4 * s->m);
    clocks = numbers(json_object_get(message, "mhz"), 4 * s->m);
    if (samples && clocks)
        tune_quad_take(s, json_is_true(json_object_get(message, "baab")), samples, clocks,
                       json_object_get(message, "before"), json_object_get(message, "after"));
    else
        s->nomem = true;
    if (!samples || !clocks) free(samples);
    free(clocks);
}

/* Two of fatune's own kernels. */
struct own {
    struct tune *t;
    struct tune_item *a, *b;
};

static json_t *session_request(const struct own *o, const struct tune_plan *plan, uint64_t seed)
{
    return json_pack("{s:s,s:o,s:o,s:o,s:i,s:i,s:f,s:I}", "op", "session", "bench", tune_bench_json(o->t, seed), "a",
                     tune_kernel_json(o->a), "b", tune_kernel_json(o->b), "quads", plan->quads, "m", plan->m, "warm_s",
                     plan->warm_s, "seed", (json_int_t)(seed >> 1));
}

static int own_session(void *ctx, const struct tune_plan *plan, uint64_t seed, struct tune_session *s, bool *ok,
                       char why[256], json_t **reply, struct err *e)
{
    const struct own *o = ctx;
    struct tune *t = o->t;
    enum worker_outcome outcome;
    const json_t *same;
    const char *fate;

    *ok = false;
    *reply = NULL;
    if (tune_device_fresh(t, e) != 0) return -1;
    outcome = worker_call_take(t->device, session_request(o, plan, seed), t->deadline_s, on_quad, s, reply);
    if (outcome == WORKER_UNKILLABLE)
        return err_set(e, ERR_DEVICE, "a worker on %s could not be killed: the device is lost", t->target.name);
    if (outcome != WORKER_REPLY) {
        snprintf(why, 256, "the worker %s: %.160s", outcome == WORKER_HUNG ? "hung" : "died", worker_words(t->device));
        return 0;
    }
    if (wire_error(*reply)) return err_set(e, ERR_DEVICE, "%s", wire_error(*reply));
    fate = json_string_value(json_object_get(*reply, "fate"));
    same = json_object_get(*reply, "same");
    if (!fate || strcmp(fate, "OK") != 0) {
        snprintf(why, 256, "arm %s failed: %.180s", json_string_value(json_object_get(*reply, "arm")),
                 json_string_value(json_object_get(*reply, "text")));
    } else if (json_is_false(json_array_get(same, 0)) || json_is_false(json_array_get(same, 1))) {
        snprintf(why, 256, "arm %s gave another output after timing than before",
                 json_is_false(json_array_get(same, 0)) ? "a" : "b");
    } else if (s->nomem) {
        return err_nomem(e);
    } else {
        *ok = s->n == plan->quads;
        if (!*ok) snprintf(why, 256, "only %d of %d quads arrived", s->n, plan->quads);
    }
    return 0;
}

/* ---- the trial ---- */

static int add_session(struct trial *out, const struct tune_session *s, struct err *e)
{
    struct trial_session *p = realloc(out->sessions, (size_t)(out->n + 1) * sizeof *p);

    if (!p) return err_nomem(e);
    out->sessions = p;
    p[out->n].quads = calloc((size_t)s->n, sizeof *p[out->n].quads);
    if (!p[out->n].quads) return err_nomem(e);
    p[out->n].n = s->n;
    for (int i = 0; i < s->n; i++)
        p[out->n].quads[i] = s->quads[i].quad;
    out->n++;
    return 0;
}

static json_t *settings(const struct tune *t, const struct tune_pairing *pair, const struct tune_plan *p)
{
    json_t *j = json_pack("{s:i,s:i,s:i,s:f,s:b,s:i,s:i,s:s}", "sessions", p->sessions, "quads", p->quads, "m", p->m,
                          "warm_s", p->warm_s, "boxed", (int)p->boxed, "k_a", pair->k[0], "k_b", pair->k[1], "cache",
                          t->space.measure.cold ? "cold" : "warm");

    if (pair->again) json_object_set_new(j, "again", json_true());
    if (pair->contestant) json_object_set(j, "contestant", pair->contestant);
    return j;
}

/* The plan of an unfinished trial, which a restart must keep. No digest protects it in the store: what no trial was ever begun with is
 * refused. */
static int adopt_plan(struct tune_plan *p, struct tune_pairing *pair, const json_t *s, int64_t id, struct err *e)
{
    enum { MOST_SESSIONS = 1000, MOST_LAUNCHES = 1000000 };
    const struct {
        const char *name;
        int least, most, *out;
    } numbers[] = {{"k_a", 0, MOST_LAUNCHES, &pair->k[0]},
                   {"k_b", 0, MOST_LAUNCHES, &pair->k[1]},
                   {"sessions", 1, MOST_SESSIONS, &p->sessions},
                   {"quads", 1, FULL_QUADS, &p->quads},
                   {"m", 1, FULL_M, &p->m}};

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const json_t *x = json_object_get(s, numbers[i].name);
        json_int_t v = json_integer_value(x);
        if (!json_is_integer(x) || v < numbers[i].least || v > numbers[i].most)
            return err_set(
                e, ERR_STORE,
                "the settings of trial %lld are damaged: `%s` cannot be what the store says\nbegin anew with "
                "--fresh, or put the newest snapshot in the store's place",
                (long long)id, numbers[i].name);
        *numbers[i].out = (int)v;
    }
    p->warm_s = json_number_value(json_object_get(s, "warm_s"));
    p->boxed = json_is_true(json_object_get(s, "boxed"));
    return 0;
}

static bool clock_moved(const struct store_quad *q)
{
    const char *change = json_string_value(json_object_get(q->health, "change"));

    return change && strcmp(change, health_change_name(HEALTH_CLOCK)) == 0;
}

/* A clock that moves all the time is no event: such quads count after all, and the session's record has their number. What both arms meet
 * alike the quads cancel, the rest is part of the session's spread. */
static void accept_clock(struct tune_session *s, json_t *record)
{
    int moved = 0;

    for (int i = 0; i < s->n; i++)
        moved += clock_moved(&s->quads[i]);
    if (moved <= HEALTH_RARE * s->n) return;
    for (int i = 0; i < s->n; i++)
        if (clock_moved(&s->quads[i])) s->quads[i].quad.discarded = false;
    json_object_set_new(record, "clock_moves", json_integer(moved));
}

/* The session's record says it too, so that a restart and whoever reads the store know. */
static void spoil(struct trial *out, int quads, int of, json_t *record)
{
    out->invalid = true;
    snprintf(out->reason, sizeof out->reason, "another process was on the device in %d of %d quads of a session", quads,
             of);
    json_object_set_new(record, "invalid", json_string(out->reason));
}

static int sessions(struct tune *t, const struct tune_pairing *pair, const struct tune_plan *p, int64_t id,
                    struct trial *out, struct err *e)
{
    struct tune_session s = {.t = t, .m = p->m, .max = p->quads};
    int failures = 0, rc = 0;
    struct rng rng;
    char purpose[64], why[256] = "";

    s.quads = calloc((size_t)p->quads, sizeof *s.quads);
    if (!s.quads) return err_nomem(e);
    snprintf(purpose, sizeof purpose, "trial %lld", (long long)id);
    while (out->n < p->sessions && failures < 2) {
        json_t *reply = NULL;
        uint64_t seed = 0;
        bool ok = false;
        TRY(tune_interrupted(t, e));
        rng_init(&rng, t->seed, purpose);
        for (int i = 0; i <= out->n; i++)
            seed = rng_u64(&rng);
        rc = pair->session(pair->ctx, p, seed, &s, &ok, why, &reply, e);
        if (rc == 0 && ok) {
            accept_clock(&s, reply);
            if (s.others > 0) spoil(out, s.others, s.n, reply);
            rc = store_session_put(t->store, id, out->n, seed, s.quads, s.n, reply, e);
            if (rc == 0) rc = add_session(out, &s, e);
            t->progress.done++;
        } else if (rc == 0) {
            failures += s.over ? 2 : 1;
            if (!s.over || !worker_interrupted(t->loop))
                tune_report(t, "a session gave nothing (%s)%s", why, failures < 2 ? "; once more" : "");
        }
        session_clear(&s);
        json_decref(reply);
        if (rc != 0) goto out;
        tune_tick(t);
    }
    if (failures >= 2) {
        TRY(tune_interrupted(t, e));
        out->invalid = true;
        snprintf(out->reason, sizeof out->reason, "%s", why);
    }
out:
    session_clear(&s);
    free(s.quads);
    return rc;
}

int tune_trial_of(struct tune *t, struct tune_pairing *pair, const struct tune_plan *plan, struct trial *out,
                  int64_t *trial_id, struct err *e)
{
    struct tune_plan p = *plan;
    json_t *kept = NULL, *fresh = NULL;
    bool found = false;
    int rc;

    *out = (struct trial){0};
    TRY(store_trial_find(t->store, t->run.id, pair->kind, pair->row[0], pair->row[1], trial_id, &kept, out, &found, e));
    if (found) {
        TRY(adopt_plan(&p, pair, kept, *trial_id, e));
        if (p.look > p.sessions) p.sessions = p.look;
        if (out->n > 0 && out->n < p.sessions)
            tune_report(t, "going on with a trial: %d of %d sessions are kept", out->n, p.sessions);
    } else {
        fresh = settings(t, pair, &p);
        TRY(store_trial_begin(t->store, t->run.id, pair->kind, pair->row[0], pair->row[1], fresh, trial_id, e));
    }
    out->m = p.m;
    out->boxed = p.boxed;
    t->progress.done = out->n;
    t->progress.total = p.sessions;
    rc = sessions(t, pair, &p, *trial_id, out, e);
out:
    json_decref(kept);
    json_decref(fresh);
    return rc;
}

/* Two compilations of one source may differ, and lie elsewhere: an A/A trial is to see that as well. The compiler should not be asked while
 * anything is timed, so it is asked before the first session. */
static int compile_again(struct tune *t, const struct tune_item *i, struct err *e)
{
    tune_item_free(&t->again);
    t->again = (struct tune_item){.cand = i->cand, .k = i->k, .job.again = true};
    if (tune_ready(t, &t->again, e) != 0) return -1;
    if (strcmp(t->again.job.code, i->job.code) != 0)
        tune_report(t, "compiled again, the same source gave other bytes: this compiler is not deterministic");
    return 0;
}

int tune_trial(struct tune *t, const char *kind, struct tune_item *a, struct tune_item *b, const struct tune_plan *plan,
               struct trial *out, int64_t *trial_id, struct err *e)
{
    bool one = strcmp(a->job.key, b->job.key) == 0;
    struct own own = {t, a, one ? &t->again : b};
    struct tune_pairing pair = {
        .kind = kind, .row = {a->row, b->row}, .k = {a->k, b->k}, .again = one, .session = own_session, .ctx = &own};

    *out = (struct trial){0};
    if (one && compile_again(t, a, e) != 0) return -1;
    return tune_trial_of(t, &pair, plan, out, trial_id, e);
}
