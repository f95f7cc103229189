/* Two versions of one track, measured side by side now, or read from the records; or a version and a contestant. The space comes from the
 * store: no file is needed. A name is a version's before it is a contestant's. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tune_private.h"

#define SAMPLES 3

struct pair {
    const char *name[2];
    struct store_version v[2];
    bool found[2];
    int contestant; /* the side that is one, -1: none */
    struct contestant_program program;
    char *space_text, *space_name;
};

static void pair_free(struct pair *p)
{
    for (int i = 0; i < 2; i++)
        if (p->found[i]) store_version_free(&p->v[i]);
    contestant_program_free(&p->program);
    free(p->space_text);
    free(p->space_name);
}

/* A version among the two: the first that is none of a contestant. */
static const struct store_version *version(const struct pair *p)
{
    return &p->v[p->contestant == 0 ? 1 : 0];
}

/* ---- which champion ---- */

struct only {
    int n;
    char track[65];
};

static int count_track(void *ctx, const char *track, const char *space, const char *device)
{
    struct only *o = ctx;

    (void)space;
    (void)device;
    snprintf(o->track, sizeof o->track, "%s", track);
    return ++o->n > 1;
}

static int find_champion(struct store *s, const char *track, struct store_version *out, bool *found, struct err *e)
{
    struct store_champion c = {0};
    struct only only = {0};
    bool champion;
    char text[64];

    if (!track) {
        if (store_tracks(s, count_track, &only, e) != 0) return -1;
        if (only.n != 1)
            return err_set(e, ERR_USAGE,
                           "which champion? name the other version first, or give --track; `fatune champion list` "
                           "shows the tracks");
        track = only.track;
    }
    if (store_champion(s, track, &c, &champion, e) != 0) return -1;
    if (!champion) return err_set(e, ERR_USAGE, "track %.12s has no champion; `fatune run` makes one", track);
    memcpy(text, c.version.name, sizeof text);
    store_champion_free(&c);
    return store_version_find(s, track, text, out, found, e);
}

/* ---- which contestant ---- */

struct recorded {
    const char *name;
    struct contestant_program *out;
    struct buf *names; /* all that are recorded, for a message */
    bool newest;
};

/* A program whose command a run has recorded, since its name alone does not lead to it. */
static int take_recorded(void *ctx, const struct store_run *r)
{
    struct recorded *x = ctx;
    const json_t *list = json_object_get(r->settings, "contestants");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i), *words = json_object_get(one, "command");
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *folder = json_string_value(json_object_get(one, "folder"));
        size_t n = json_array_size(words);
        if (!name || n == 0) continue;
        if (!x->newest) buf_printf(x->names, "%s%s", x->names->n ? ", " : "", name);
        if (strcmp(name, x->name) != 0) continue;
        snprintf(x->out->name, sizeof x->out->name, "%s", name);
        x->out->folder = folder ? strdup(folder) : NULL;
        x->out->args = calloc(n + 1, sizeof *x->out->args);
        for (size_t k = 0; k < n && x->out->args; k++)
            x->out->args[k] = strdup(json_string_value(json_array_get(words, k)));
        return 1;
    }
    x->newest = x->newest || json_array_size(list) > 0;
    return 0;
}

static int add_name(void *ctx, const struct store_version *v)
{
    struct buf *b = ctx;

    buf_printf(b, "%s%s", b->n ? ", " : "", v->name);
    return 0;
}

static int nobody(struct store *s, const char *track, const char *name, struct buf *contestants,
                  const struct paths *dirs, struct err *e)
{
    struct contestant_program *list = NULL;
    struct buf versions = {0};
    int n = 0;

    if (store_versions(s, track, add_name, &versions, e) != 0 || contestant_list(&list, &n, dirs, e) != 0) {
        buf_free(&versions);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        buf_printf(contestants, "%s%s", contestants->n ? ", " : "", list[i].name);
        contestant_program_free(&list[i]);
    }
    free(list);
    err_set(e, ERR_USAGE, "no version and no contestant is called %s\nversions here: %s\ncontestants: %s", name,
            versions.n ? buf_text(&versions) : "none", contestants->n ? buf_text(contestants) : "none");
    buf_free(&versions);
    return -1;
}

static int find_contestant(struct pair *p, struct store *s, const char *track, const char *extra, struct err *e)
{
    const char *name = p->name[p->contestant];
    struct space_contestant wanted = {.name = (char *)(uintptr_t)name};
    struct buf names = {0};
    struct recorded x = {.name = name, .out = &p->program, .names = &names};
    struct paths dirs;
    int rc;

    paths_contestants(&dirs, NULL, extra);
    TRY(store_runs(s, track, take_recorded, &x, e));
    if (!p->program.args && contestant_find(&p->program, &wanted, NULL, &dirs, &(struct err){0}) != 0)
        rc = nobody(s, track, name, &names, &dirs, e);
out:
    buf_free(&names);
    return rc;
}

/* ---- the pair ---- */

static int find_version(struct pair *p, int side, struct store *s, const char *track, struct err *e)
{
    if (strcmp(p->name[side], "champion") == 0) return find_champion(s, track, &p->v[side], &p->found[side], e);
    return store_version_find(s, track, p->name[side], &p->v[side], &p->found[side], e);
}

/* Both, in one track: that of the one that is named by name when the other is "champion". */
static int find_pair(struct pair *p, struct store *s, const char *track, bool stored, const char *extra, struct err *e)
{
    int first = strcmp(p->name[0], "champion") == 0 ? 1 : 0;
    struct store_run run = {0};
    int rc;

    p->contestant = -1;
    TRY(find_version(p, first, s, track, e));
    TRY(find_version(p, !first, s, p->found[first] ? p->v[first].track : track, e));
    if (!p->found[0] && !p->found[1]) {
        rc = err_set(
            e, ERR_USAGE,
            "neither %s nor %s is a version: one of the two must be; `fatune champion list` shows those there are",
            p->name[0], p->name[1]);
        goto out;
    }
    if (p->found[0] != p->found[1]) {
        p->contestant = p->found[0] ? 1 : 0;
        if (!stored) TRY(find_contestant(p, s, version(p)->track, extra, e));
    } else if (strcmp(p->v[0].track, p->v[1].track) != 0) {
        rc = err_set(e, ERR_USAGE,
                     "%s (%s on %s) and %s (%s on %s) solve different problems or ran on different devices", p->name[0],
                     p->v[0].space, p->v[0].device, p->name[1], p->v[1].space, p->v[1].device);
        goto out;
    }
    TRY(store_run_get(s, version(p)->run, &run, e));
    rc = store_space_text(s, run.space, &p->space_name, &p->space_text, e);
out:
    store_run_free(&run);
    return rc;
}

static int decide(struct verdict *v, const struct space *s, const struct trial *ab, uint64_t seed, struct err *e)
{
    struct verdict_rule rule = {.min_gain = s->promote.min_gain,
                                .hedges_g = s->promote.hedges_g,
                                .alpha = s->promote.alpha,
                                .target_us = s->promote.target_us,
                                .min_sessions = TUNE_LEAST_SESSIONS,
                                .resamples = TUNE_RESAMPLES};
    struct rng rng;

    rng_init(&rng, seed, "compare");
    return verdict_decide(v, &rule, ab, NULL, &rng, e);
}

static const char *arm_name(const struct pair *p, int side)
{
    return p->found[side] ? p->v[side].name : p->name[side];
}

/* facts: of the contestant, NULL: none. */
static json_t *result(const struct pair *p, const struct verdict *v, const struct trial *ab, const char *how,
                      const json_t *facts)
{
    const struct store_version *known = version(p);
    json_t *j = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:b,s:s,s:o}", "a", arm_name(p, 0), "b", arm_name(p, 1),
                          "track", known->track, "space", known->space, "device", known->device, "how", how, "sessions",
                          ab->n, "boxed", (int)ab->boxed, "relation", verdict_relation_name(verdict_relation(v)),
                          "verdict", verdict_to_json(v));

    if (!j) return NULL;
    if (p->found[0]) json_object_set(j, "params_a", p->v[0].params);
    if (p->found[1]) json_object_set(j, "params_b", p->v[1].params);
    if (facts) json_object_set_new(j, "contestant", json_deep_copy(facts));
    json_object_del(json_object_get(j, "contestant"), "k");
    return j;
}

/* A trial whose arms change places. */
static void swap_arms(struct trial *t)
{
    for (int i = 0; i < t->n; i++)
        for (int q = 0; q < t->sessions[i].n; q++)
            t->sessions[i].quads[q].baab = !t->sessions[i].quads[q].baab;
}

/* The newest stored trial of the two; *swapped: its arms are the other way round. */
static int stored_trial(struct store *s, const struct pair *p, int64_t *id, bool *swapped, struct err *e)
{
    const struct store_version *v = version(p);
    bool found, b = false;

    *swapped = false;
    if (p->contestant < 0 && p->v[0].environment != p->v[1].environment)
        return err_set(e, ERR_USAGE,
                       "%s and %s were measured in different environments (driver, compiler or device): stored "
                       "numbers are not compared; leave out --stored to measure both now",
                       p->v[0].name, p->v[1].name);
    if (p->contestant < 0) {
        if (store_trial_latest(s, p->v[0].candidate, p->v[1].candidate, v->environment, id, &found, e) != 0) return -1;
    } else {
        if (store_trial_contestant(s, v->candidate, p->name[p->contestant], v->environment, id, &b, &found, e) != 0)
            return -1;
        *swapped = b != (p->contestant == 1);
    }
    return found ? 0
                 : err_set(e, ERR_USAGE, "no stored trial of %s against %s; leave out --stored to measure both now",
                           arm_name(p, 0), arm_name(p, 1));
}

static int from_records(struct store *s, const struct pair *p, const struct space *space, json_t **out, struct err *e)
{
    struct trial ab = {0};
    struct verdict v;
    json_t *settings = NULL;
    int64_t id;
    bool swapped;
    int rc;

    TRY(stored_trial(s, p, &id, &swapped, e));
    TRY(store_trial_get(s, id, &ab, &settings, e));
    if (swapped) swap_arms(&ab);
    TRY(decide(&v, space, &ab, (uint64_t)id, e));
    *out = result(p, &v, &ab, "stored", json_object_get(settings, "contestant"));
out:
    json_decref(settings);
    trial_free(&ab);
    return rc;
}

static struct tune_item *ready(struct tune *t, const struct store_version *v, struct err *e)
{
    struct tune_item *i;
    struct cand c;
    json_t *params;
    int rc;

    if (cand_from_json(t->domain, v->params, &c, e) != 0 || !(i = tune_item_new(t, &c, e))) return NULL;
    if (strcmp(i->id, v->cand) != 0) {
        err_set(e, ERR_INPUT,
                "the template of %s has changed since: it is another kernel now and cannot be measured as %s", v->name,
                v->name);
        return NULL;
    }
    if (tune_prepare(t, i, e) != 0 || farm_wait(t->farm, &i->job, e) != 0) return NULL;
    if (i->job.fate == FATE_OK && tune_evaluate(t, i, TUNE_QUICK, SAMPLES, NULL, NULL, e) != 0) return NULL;
    if (i->job.fate != FATE_OK || i->fate != FATE_OK) {
        err_set(e, ERR_DEVICE, "%s does not pass here now: %s", v->name,
                i->log ? i->log : fate_text(i->job.fate != FATE_OK ? i->job.fate : i->fate));
        return NULL;
    }
    params = cand_to_json(t->domain, &c);
    rc = store_candidate(t->store, i->id, params, &i->row, e);
    json_decref(params);
    return rc == 0 ? i : NULL;
}

/* The run that the trial belongs to. */
static int begin(struct tune *t, const struct pair *p, struct err *e)
{
    json_t *problem = problem_to_json(&t->space.problem), *settings;
    int64_t space, environment, run;
    int rc;

    settings = json_pack("{s:s,s:s}", "compare_a", arm_name(p, 0), "compare_b", arm_name(p, 1));
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

static int measure(struct tune *t, const struct pair *p, json_t **out, struct err *e)
{
    struct trial ab = {0};
    struct tune_item *a, *b;
    struct tune_plan plan;
    struct verdict v;
    int64_t id;
    int rc;

    a = ready(t, &p->v[0], e);
    b = a ? ready(t, &p->v[1], e) : NULL;
    if (!b) return -1;
    plan = tune_plan_trial(t, a, b, t->minutes * 60);
    tune_report(t, "%s against %s: %d sessions of %d quads", p->v[0].name, p->v[1].name, plan.sessions, plan.quads);
    TRY(tune_trial(t, "ab", a, b, &plan, &ab, &id, e));
    TRY(decide(&v, &t->space, &ab, (uint64_t)id, e));
    *out = result(p, &v, &ab, "fresh sessions", NULL);
out:
    trial_free(&ab);
    return rc;
}

static int measure_contestant(struct tune *t, const struct pair *p, json_t **out, struct err *e)
{
    struct contestant *c = NULL;
    struct tune_meeting m = {0};
    struct tune_item *i;
    struct verdict v;
    int rc = -1;

    if (!t->target.is_host_cpu) TRY(tune_contestant_open(t, &p->program, &c, e)); /* it imports while we compile */
    if (!(i = ready(t, version(p), e))) goto out;
    if (!c) TRY(tune_contestant_open(t, &p->program, &c, e));
    TRY(tune_meet(t, i, c, p->contestant, t->minutes * 60, &m, e));
    if (contestant_state(c) == CONTESTANT_OUT) {
        rc = err_set(e, ERR_DEVICE, "contestant %s cannot be measured: %s", contestant_name(c), contestant_why(c));
        goto out;
    }
    TRY(decide(&v, &t->space, &m.trial, (uint64_t)m.id, e));
    *out = result(p, &v, &m.trial, "fresh sessions", m.facts);
out:
    tune_meeting_free(&m);
    contestant_close(c);
    return rc;
}

int tune_compare(const struct tune_options *o, const char *track, const char *a, const char *b, bool stored,
                 json_t **out, struct err *e)
{
    struct tune *t = calloc(1, sizeof *t);
    struct pair p = {.name = {a, b}};
    struct space space = {0};
    struct store *s = NULL;
    int rc;

    *out = NULL;
    if (!t) return err_nomem(e);
    TRY(store_open(&s, paths_store(o->store), STORE_READ, e));
    TRY(find_pair(&p, s, track, stored, o->contestants, e));
    TRY(space_parse(&space, p.space_text, strlen(p.space_text), p.space_name, e));
    if (stored) {
        rc = from_records(s, &p, &space, out, e);
        goto out;
    }
    store_close(s);
    s = NULL;
    TRY(tune_open_space(t, o, &space, true, e));
    if (strcmp(t->track, version(&p)->track) != 0) {
        rc = err_set(e, ERR_DEVICE, "%s and %s belong to %s; this is %s: name the right device with --device", a, b,
                     version(&p)->device, t->target.name);
        goto out;
    }
    TRY(begin(t, &p, e));
    TRY(p.contestant < 0 ? measure(t, &p, out, e) : measure_contestant(t, &p, out, e));
    rc = store_run_state(t->store, t->run.id, "done", worker_now() - t->started, *out, e);
out:
    store_close(s);
    pair_free(&p);
    tune_close(t);
    space_free(&space);
    free(t);
    return rc;
}
