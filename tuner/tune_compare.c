/* Two configurations of one track, measured side by side now, or read from the records; or one and a contestant. What either side is, tune_arm.c
 * finds out. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tune_private.h"

#define SAMPLES 3
#define MINUTES 5.0 /* for as many sessions as the space asks for; more sessions may take more */

/* A trial of the two, however it came about. */
struct outcome {
    struct trial trial;
    int64_t id;
    const char *how, *device;
    char at[32];            /* of a stored one */
    bool again;             /* one source in both arms, compiled apart */
    const json_t *facts;    /* of the contestant, NULL: none */
    const json_t *point[2]; /* of the arms that are none */
};

/* ---- the result ---- */

static int decide(struct verdict *v, const struct space *s, const struct outcome *x, struct err *e)
{
    struct verdict_rule rule = tune_promotion_rule(s, 1);
    struct rng rng;

    rule.control_required = false;
    rng_init(&rng, (uint64_t)x->id, "compare");
    return verdict_decide(v, &rule, &x->trial, NULL, &rng, e);
}

static json_t *session_json(const struct trial_session *s, const bool *outlying)
{
    const double ratio = trial_session_ratio(s);
    int discarded = 0, labelled = 0;

    for (int q = 0; q < s->n; q++) {
        discarded += s->quads[q].discarded;
        labelled += outlying[q];
    }
    return json_pack("{s:o,s:i,s:i,s:i}", "ratio", isfinite(ratio) ? json_real(ratio) : json_null(), "quads", s->n,
                     "discarded", discarded, "outlying", labelled);
}

/* How each session turned out. New reference, NULL when out of memory. */
static json_t *series(const struct trial *t)
{
    json_t *list = json_array();
    bool *outlying;
    int quads = 0, at = 0, found;

    for (int i = 0; i < t->n; i++)
        quads += t->sessions[i].n;
    outlying = calloc((size_t)quads + 1, sizeof *outlying);
    if (list && outlying && trial_outliers(t, outlying, &found, NULL) == 0) {
        for (int i = 0; i < t->n; at += t->sessions[i++].n)
            json_array_append_new(list, session_json(&t->sessions[i], outlying + at));
    } else {
        json_decref(list);
        list = NULL;
    }
    free(outlying);
    return list;
}

static int result(struct store *s, const struct tune_pair *p, const struct space *space, const struct outcome *x,
                  json_t **out, struct err *e)
{
    static const char *const member[2] = {"params_a", "params_b"};
    const double same = space->promote.min_gain;
    struct verdict v;
    json_t *list, *arms, *health;

    if (decide(&v, space, x, e) != 0 || tune_trial_health(s, x->id, &health, e) != 0) return -1;
    list = series(&x->trial);
    arms = tune_letters_json(&x->trial);
    if (!list || !arms) {
        json_decref(health);
        json_decref(list);
        json_decref(arms);
        return err_nomem(e);
    }
    *out = json_pack("{s:s,s:s,s:b,s:s,s:f,s:i,s:s,s:I,s:i,s:b,s:s,s:s,s:s,s:o,s:o,s:o,s:o}", "a", p->arm[0].label, "b",
                     p->arm[1].label, "again", (int)x->again, "relation",
                     verdict_relation_name(verdict_relation(&v, same)), "same_within", same, "sessions_needed",
                     verdict_relation_sessions(&v, same), "how", x->how, "trial", (json_int_t)x->id, "sessions",
                     x->trial.n, "boxed", (int)x->trial.boxed, "track", p->track, "space", space->name, "device",
                     x->device, "series", list, "arms", arms, "health", health, "verdict", verdict_to_json(&v));
    if (!*out) return err_nomem(e);
    for (int i = 0; i < 2; i++)
        if (x->point[i]) json_object_set(*out, member[i], (json_t *)(uintptr_t)x->point[i]);
    if (*x->at) json_object_set_new(*out, "at", json_string(x->at));
    if (x->facts) json_object_set_new(*out, "contestant", json_deep_copy(x->facts));
    json_object_del(json_object_get(*out, "contestant"), "k");
    return 0;
}

/* Not with the run's record: the store has them already. */
static int add_quads(struct store *s, json_t *out, bool swapped, struct err *e)
{
    json_t *list;

    if (tune_quads_json(s, json_integer_value(json_object_get(out, "trial")), swapped, &list, e) != 0) return -1;
    return json_object_set_new(out, "quads", list) == 0 ? 0 : err_nomem(e);
}

/* ---- from the records ---- */

/* A trial whose arms change places. */
static void swap_arms(struct trial *t)
{
    for (int i = 0; i < t->n; i++)
        for (int q = 0; q < t->sessions[i].n; q++)
            t->sessions[i].quads[q].baab = !t->sessions[i].quads[q].baab;
}

enum { LISTED = 8 };

struct stored_list {
    struct buf text;
    int n;
};

static int list_trial(void *ctx, const struct store_trial *t)
{
    struct stored_list *l = ctx;

    if (++l->n > LISTED) {
        buf_puts(&l->text, "\n  and older ones");
        return 1;
    }
    buf_printf(&l->text, "\n  %s against %s, %d sessions, %.19sZ%s", t->b, t->a, t->sessions, t->created,
               strcmp(t->kind, "aa") == 0 ? " (A/A)" : "");
    return 0;
}

static int nothing_stored(struct store *s, const struct tune_pair *p, struct err *e)
{
    const struct tune_arm *a = &p->arm[0], *b = &p->arm[1];
    struct stored_list l = {.n = 0};

    if (p->contestant < 0 && a->v.environment != b->v.environment)
        return err_set(e, ERR_USAGE,
                       "%s and %s were measured in different environments (driver, compiler or device), and never side "
                       "by side: stored numbers are not compared; leave out --stored to measure both now",
                       a->label, b->label);
    if (store_trials(s, p->track, list_trial, &l, e) == 0)
        err_set(e, ERR_USAGE, "no stored trial of %s against %s; leave out --stored to measure both now. Stored are:%s",
                a->label, b->label, l.n ? buf_text(&l.text) : " none");
    buf_free(&l.text);
    return -1;
}

/* The newest stored trial of the two; *swapped: its arms are the other way round. */
static int stored_trial(struct store *s, const struct tune_pair *p, int64_t *id, bool *swapped, struct err *e)
{
    const struct tune_arm *arm = p->arm, *own = &arm[p->contestant == 0 ? 1 : 0];
    bool found, b = false;

    for (int i = 0; i < 2; i++)
        if (i != p->contestant && (!arm[i].known || arm[i].changes))
            return err_set(e, ERR_USAGE,
                           "--stored reads what was measured under a name: %s is none; give a version, or the digest "
                           "that `fatune show` prints",
                           arm[i].given);
    if (p->contestant < 0) {
        if (store_trial_latest(s, p->track, arm[0].v.candidate, arm[1].v.candidate, id, swapped, &found, e) != 0)
            return -1;
    } else {
        if (store_trial_contestant(s, p->track, own->v.candidate, arm[p->contestant].base, id, &b, &found, e) != 0)
            return -1;
        *swapped = b != (p->contestant == 1);
    }
    return found ? 0 : nothing_stored(s, p, e);
}

static int take_date(void *ctx, const struct store_trial *t)
{
    struct outcome *x = ctx;

    if (t->id != x->id) return 0;
    memcpy(x->at, t->created, sizeof x->at);
    return 1;
}

static int from_records(struct store *s, const struct tune_pair *p, bool samples, json_t **out, struct err *e)
{
    struct outcome x = {.how = "stored"};
    json_t *settings = NULL;
    bool swapped;
    int rc;

    TRY(stored_trial(s, p, &x.id, &swapped, e));
    TRY(store_trial_get(s, x.id, &x.trial, &settings, e));
    TRY(store_trials(s, p->track, take_date, &x, e));
    if (swapped) swap_arms(&x.trial);
    for (int i = 0; i < 2; i++)
        if (i != p->contestant) x.point[i] = p->arm[i].v.params;
    x.device = p->arm[p->contestant == 0 ? 1 : 0].v.device;
    x.again = json_is_true(json_object_get(settings, "again"));
    x.facts = json_object_get(settings, "contestant");
    TRY(result(s, p, &p->space, &x, out, e));
    if (samples) rc = add_quads(s, *out, swapped, e);
out:
    json_decref(settings);
    trial_free(&x.trial);
    return rc;
}

/* ---- measured now ---- */

static struct tune_item *ready(struct tune *t, const struct tune_arm *a, json_t **point, struct err *e)
{
    struct tune_item *i;
    struct cand c;

    if (tune_arm_cand(t, a, &c, e) != 0 || !(i = tune_item_new(t, &c, e))) return NULL;
    if (tune_prepare(t, i, e) != 0 || (i->rendered && farm_wait(t->farm, &i->job, e) != 0)) return NULL;
    if (i->rendered && i->job.fate == FATE_OK && tune_evaluate(t, i, TUNE_QUICK, SAMPLES, NULL, NULL, e) != 0)
        return NULL;
    if (!i->rendered || i->job.fate != FATE_OK || i->fate != FATE_OK) {
        enum fate fate = i->rendered && i->job.fate != FATE_OK ? i->job.fate : i->fate;
        const char *log = i->log ? i->log : i->job.log;
        err_set(e, ERR_DEVICE, "%s does not pass here now (%s): %s", a->label, fate_name(fate),
                log ? log : fate_text(fate));
        return NULL;
    }
    *point = cand_to_json(t->domain, &c);
    return store_candidate(t->store, i->id, *point, &i->row, e) == 0 ? i : NULL;
}

/* The run that the trial belongs to. */
static int begin(struct tune *t, const struct tune_pair *p, struct err *e)
{
    json_t *problem = problem_to_json(&t->space.problem), *settings;
    int64_t space, environment, run;
    int rc;

    settings = json_pack("{s:s,s:s}", "compare_a", p->arm[0].label, "compare_b", p->arm[1].label);
    TRY(store_environment(t->store, t->environment_digest, t->environment, &environment, e));
    TRY(store_space(t->store, t->space.digest, t->space.name, t->space.text, problem, &space, e));
    TRY(store_run_begin(t->store, space, environment, "compare", t->track, settings, &run, e));
    TRY(store_run_get(t->store, run, &t->run, e));
    t->progress.phase = TUNE_CONFIRM;
out:
    json_decref(problem);
    json_decref(settings);
    return rc;
}

static int measure(struct tune *t, const struct tune_pair *p, json_t **out, struct err *e)
{
    struct outcome x = {.how = "fresh sessions", .device = t->target.name};
    json_t *point[2] = {NULL, NULL};
    struct tune_item *a, *b;
    struct tune_plan plan;
    int rc = -1;

    if (!(a = ready(t, &p->arm[0], &point[0], e)) || !(b = ready(t, &p->arm[1], &point[1], e))) goto out;
    x.again = strcmp(a->job.key, b->job.key) == 0;
    x.point[0] = point[0];
    x.point[1] = point[1];
    plan = tune_plan_trial(t, a, b, t->minutes * 60);
    tune_report(t, "%s against %s%s: %d sessions of %d quads", p->arm[1].label, p->arm[0].label,
                x.again ? ", the same kernel compiled again" : "", plan.sessions, plan.quads);
    TRY(tune_trial(t, a->row == b->row ? "aa" : "ab", a, b, &plan, &x.trial, &x.id, e));
    rc = result(t->store, p, &t->space, &x, out, e);
out:
    trial_free(&x.trial);
    json_decref(point[0]);
    json_decref(point[1]);
    return rc;
}

static int measure_contestant(struct tune *t, const struct tune_pair *p, json_t **out, struct err *e)
{
    struct outcome x = {.how = "fresh sessions", .device = t->target.name};
    int own = p->contestant == 0 ? 1 : 0;
    struct contestant *c = NULL;
    struct tune_meeting m = {0};
    json_t *point = NULL;
    struct tune_item *i;
    int rc = -1;

    if (!t->target.is_host_cpu) TRY(tune_contestant_open(t, &p->program, &c, e)); /* it imports while we compile */
    if (!(i = ready(t, &p->arm[own], &point, e))) goto out;
    if (!c) TRY(tune_contestant_open(t, &p->program, &c, e));
    TRY(tune_meet(t, i, c, p->contestant, t->minutes * 60, &m, e));
    if (contestant_state(c) == CONTESTANT_OUT) {
        rc = err_set(e, ERR_DEVICE, "contestant %s cannot be measured: %s", contestant_name(c), contestant_why(c));
        goto out;
    }
    x.trial = m.trial;
    x.id = m.id;
    x.facts = m.facts;
    x.point[own] = point;
    rc = result(t->store, p, &t->space, &x, out, e);
out:
    tune_meeting_free(&m);
    json_decref(point);
    contestant_close(c);
    return rc;
}

int tune_compare(const struct tune_options *o, const char *track, const char *a, const char *b, bool stored,
                 json_t **out, struct err *e)
{
    struct tune *t = calloc(1, sizeof *t);
    struct tune_pair p = {.contestant = -1};
    struct store *s = NULL;
    struct space space = {0};
    int usual, rc;

    *out = NULL;
    if (!t) return err_nomem(e);
    TRY(store_open(&s, paths_store(o->store), STORE_READ, e));
    TRY(tune_pair_find(&p, s, track, a, b, stored, o->contestants, e));
    p.program.refused = p.program.local && !o->allow_contestants;
    if (stored) {
        rc = from_records(s, &p, o->samples, out, e);
        goto out;
    }
    store_close(s);
    s = NULL;
    space = p.space;
    p.space = (struct space){0};
    usual = space.promote.sessions;
    if (o->sessions > 0) space.promote.sessions = o->sessions;
    TRY(tune_open_space(t, o, &space, true, e));
    if (!(o->minutes > 0)) t->minutes = MINUTES * fmax(1, (double)t->space.promote.sessions / usual);
    if (strcmp(t->track, p.track) != 0) {
        rc = err_set(
            e, ERR_DEVICE,
            "%s and %s belong to track %.12s; this device (%s) makes it %.12s: name the right one with --device", a, b,
            p.track, t->target.name, t->track);
        goto out;
    }
    TRY(begin(t, &p, e));
    TRY(p.contestant < 0 ? measure(t, &p, out, e) : measure_contestant(t, &p, out, e));
    TRY(store_run_state(t->store, t->run.id, "done", worker_now() - t->started, *out, e));
    if (o->samples) rc = add_quads(t->store, *out, false, e);
out:
    store_close(s);
    tune_pair_free(&p);
    tune_close(t);
    space_free(&space);
    free(t);
    return rc;
}
