/* Two versions of one track, measured side by side now, or read from the records. The space comes from the store: no file is needed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tune_private.h"

#define SAMPLES 3

struct pair {
    struct store_version v[2];
    bool found[2];
    char *space_text, *space_name;
};

static void pair_free(struct pair *p)
{
    for (int i = 0; i < 2; i++)
        if (p->found[i]) store_version_free(&p->v[i]);
    free(p->space_text);
    free(p->space_name);
}

static int find_one(struct store *s, const char *track, const char *name, struct store_version *out, bool *found,
                    struct err *e)
{
    struct store_champion c = {0};
    bool champion;
    char text[64];

    if (strcmp(name, "champion") != 0) {
        if (store_version_find(s, track, name, out, found, e) != 0) return -1;
        return *found ? 0
                      : err_set(e, ERR_USAGE, "no version is called %s; `fatune champion list` shows those there are",
                                name);
    }
    if (!track)
        return err_set(e, ERR_USAGE,
                       "which champion? name the other version first, or give --track; `fatune champion list` "
                       "shows the tracks");
    if (store_champion(s, track, &c, &champion, e) != 0) return -1;
    if (!champion) return err_set(e, ERR_USAGE, "track %.12s has no champion; `fatune run` makes one", track);
    memcpy(text, c.version.name, sizeof text);
    store_champion_free(&c);
    return store_version_find(s, track, text, out, found, e);
}

/* Both versions, in one track: that of the one that is named by name when the other is "champion". */
static int find_pair(struct pair *p, struct store *s, const char *track, const char *a, const char *b, struct err *e)
{
    const char *names[2] = {a, b};
    int first = strcmp(a, "champion") == 0 ? 1 : 0;
    struct store_run run = {0};
    int rc;

    TRY(find_one(s, track, names[first], &p->v[first], &p->found[first], e));
    TRY(find_one(s, p->v[first].track, names[!first], &p->v[!first], &p->found[!first], e));
    if (strcmp(p->v[0].track, p->v[1].track) != 0) {
        rc = err_set(e, ERR_USAGE,
                     "%s (%s on %s) and %s (%s on %s) solve different problems or ran on different devices", a,
                     p->v[0].space, p->v[0].device, b, p->v[1].space, p->v[1].device);
        goto out;
    }
    TRY(store_run_get(s, p->v[0].run, &run, e));
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
                                .min_sessions = 8,
                                .resamples = 9999};
    struct rng rng;

    rng_init(&rng, seed, "compare");
    return verdict_decide(v, &rule, ab, NULL, &rng, e);
}

static json_t *result(const struct pair *p, const struct verdict *v, const struct trial *ab, const char *how)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:b,s:O?,s:O?,s:o}", "a", p->v[0].name, "b", p->v[1].name, "track",
                     p->v[0].track, "space", p->v[0].space, "device", p->v[0].device, "how", how, "sessions", ab->n,
                     "boxed", (int)ab->boxed, "params_a", p->v[0].params, "params_b", p->v[1].params, "verdict",
                     verdict_to_json(v));
}

static int from_records(struct store *s, const struct pair *p, const struct space *space, json_t **out, struct err *e)
{
    struct trial ab = {0};
    struct verdict v;
    json_t *settings = NULL;
    int64_t id;
    bool found;
    int rc;

    if (p->v[0].environment != p->v[1].environment)
        return err_set(e, ERR_USAGE,
                       "%s and %s were measured in different environments (driver, compiler or device): stored "
                       "numbers are not compared; leave out --stored to measure both now",
                       p->v[0].name, p->v[1].name);
    TRY(store_trial_latest(s, p->v[0].candidate, p->v[1].candidate, p->v[0].environment, &id, &found, e));
    if (!found) {
        rc = err_set(e, ERR_USAGE, "no stored trial of %s against %s; leave out --stored to measure both now",
                     p->v[0].name, p->v[1].name);
        goto out;
    }
    TRY(store_trial_get(s, id, &ab, &settings, e));
    TRY(decide(&v, space, &ab, (uint64_t)id, e));
    *out = result(p, &v, &ab, "stored");
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

static int measure(struct tune *t, const struct pair *p, json_t **out, struct err *e)
{
    struct trial ab = {0};
    struct tune_item *a, *b;
    struct tune_plan plan;
    struct verdict v;
    json_t *problem = problem_to_json(&t->space.problem), *settings;
    int64_t space, environment, run, id;
    int rc;

    settings = json_pack("{s:s,s:s}", "compare_a", p->v[0].name, "compare_b", p->v[1].name);
    TRY(store_environment(t->store, t->environment_digest, t->environment, &environment, e));
    TRY(store_space(t->store, t->space.digest, t->space.name, t->space.text, problem, &space, e));
    TRY(store_run_begin(t->store, space, environment, "compare", t->track, settings, &run, e));
    TRY(store_run_get(t->store, run, &t->run, e));
    a = ready(t, &p->v[0], e);
    b = a ? ready(t, &p->v[1], e) : NULL;
    if (!b) {
        rc = -1;
        goto out;
    }
    plan = tune_plan_trial(t, a, b, t->minutes * 60);
    t->progress.phase = TUNE_CONFIRM;
    tune_report(t, "%s against %s: %d sessions of %d quads", p->v[0].name, p->v[1].name, plan.sessions, plan.quads);
    TRY(tune_trial(t, "ab", a, b, &plan, &ab, &id, e));
    TRY(decide(&v, &t->space, &ab, (uint64_t)id, e));
    *out = result(p, &v, &ab, "fresh sessions");
    rc = store_run_state(t->store, run, "done", worker_now() - t->started, *out, e);
out:
    trial_free(&ab);
    json_decref(problem);
    json_decref(settings);
    return rc;
}

int tune_compare(const struct tune_options *o, const char *track, const char *a, const char *b, bool stored,
                 json_t **out, struct err *e)
{
    struct tune *t = calloc(1, sizeof *t);
    struct pair p = {0};
    struct space space = {0};
    struct store *s = NULL;
    int rc;

    *out = NULL;
    if (!t) return err_nomem(e);
    TRY(store_open(&s, paths_store(o->store), STORE_READ, e));
    TRY(find_pair(&p, s, track, a, b, e));
    TRY(space_parse(&space, p.space_text, strlen(p.space_text), p.space_name, e));
    if (stored) {
        rc = from_records(s, &p, &space, out, e);
        goto out;
    }
    store_close(s);
    s = NULL;
    TRY(tune_open_space(t, o, &space, true, e));
    if (strcmp(t->track, p.v[0].track) != 0) {
        rc = err_set(e, ERR_DEVICE, "%s and %s belong to %s; this is %s: name the right device with --device", a, b,
                     p.v[0].device, t->target.name);
        goto out;
    }
    rc = measure(t, &p, out, e);
out:
    store_close(s);
    pair_free(&p);
    tune_close(t);
    space_free(&space);
    free(t);
    return rc;
}
