/* One run, top to bottom: open, (search, race) or what the store has of them, confirm, close. Each stage is in its own tune_*.c. */
#include "tune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "knobs.h"
#include "target.h"
#include "tune_private.h"

/* ---- the run's row ---- */

static json_t *run_settings(const struct tune *t, json_t *seeds)
{
    json_t *j = json_pack("{s:I,s:s,s:i,s:f,s:I,s:o,s:o,s:O}", "confirms_run", (json_int_t)t->confirms, "strategy",
                          t->o->strategy ? t->o->strategy : t->space.search.strategy, "evaluations", t->evaluations,
                          "minutes", t->minutes, "seed", (json_int_t)t->seed, "target", target_to_json(&t->target),
                          "contestants", tune_contestants_json(t), "seeds", seeds);

    if (t->night) json_object_set_new(j, "night", json_integer(t->night));
    return j;
}

static int begin(struct tune *t, const char *key, int64_t space, int64_t environment, struct err *e)
{
    json_t *settings = NULL, *seeds = NULL;
    int64_t id;
    int rc;

    store_run_free(&t->run);
    t->run = (struct store_run){0};
    TRY(tune_seeds(t, environment, &seeds, e));
    settings = run_settings(t, seeds);
    TRY(store_run_begin(t->store, space, environment, key, t->track, settings, &id, e));
    TRY(store_run_get(t->store, id, &t->run, e));
out:
    json_decref(settings);
    json_decref(seeds);
    return rc;
}

/* A name that is taken is better refused before the search than after it. A run that was cut off behind its decision has taken it itself. */
static int name_is_free(struct tune *t, bool found, struct err *e)
{
    struct store_version v = {0};
    bool known, taken;

    if (!t->o->as || t->o->no_promote) return 0;
    if (store_version_find(t->store, t->track, t->o->as, &v, &known, e) != 0) return -1;
    taken = known && strcmp(v.name, t->o->as) == 0;
    if (found && !t->o->fresh && strcmp(t->run.state, "confirm") == 0 && v.run == t->run.id) taken = false;
    if (known) store_version_free(&v);
    return taken ? err_set(e, ERR_USAGE, "a version is called %s already; choose another name for --as", t->o->as) : 0;
}

/* A finished run with this key is confirmed again: the new run takes over its evaluations and standings, and goes straight to fresh
 * sessions. One that was cut off while it took them over goes on doing so. */
int tune_begin(struct tune *t, struct err *e)
{
    char key[DIGEST_HEX], numbers[160], templates[DIGEST_HEX] = "";
    json_t *problem = problem_to_json(&t->space.problem);
    int64_t space, environment;
    bool found;
    int rc;

    snprintf(numbers, sizeof numbers, "%llu %d", (unsigned long long)t->seed, t->evaluations);
    if (t->night) snprintf(numbers + strlen(numbers), sizeof numbers - strlen(numbers), " night %d", t->night);
    for (int i = 0; i < domain_templates(t->domain); i++) { /* a changed template is another run */
        char all[DIGEST_HEX];
        if (domain_unfit(t->domain, i)) continue;
        digest_strings(all, templates, domain_template(t->domain, i)->digest, NULL);
        memcpy(templates, all, sizeof templates);
    }
    digest_strings(key, "run 1", t->space.digest, templates, t->track, t->environment_digest, t->strategy, numbers,
                   NULL);
    TRY(store_run_find(t->store, key, &t->run, &found, e));
    TRY(name_is_free(t, found, e));
    TRY(store_environment(t->store, t->environment_digest, t->environment, &environment, e));
    TRY(store_space(t->store, t->space.digest, t->space.name, t->space.text, problem, &space, e));
    if (found && !t->o->fresh && strcmp(t->run.state, "done") == 0) {
        t->confirms = t->run.id;
        TRY(begin(t, key, space, environment, e));
    } else if (!found || t->o->fresh || strcmp(t->run.state, "failed") == 0) {
        TRY(begin(t, key, space, environment, e));
    } else if (strcmp(t->run.state, "search") == 0) {
        t->confirms = json_integer_value(json_object_get(t->run.settings, "confirms_run"));
    }
    t->elapsed_before = t->run.elapsed_s;
    timeline_from_json(&t->clock, json_object_get(json_object_get(t->run.summary, "seconds"), "search"));
    rc = store_champion(t->store, t->track, &t->champion, &t->has_champion, e);
out:
    json_decref(problem);
    return rc;
}

/* ---- standings of an earlier race ---- */

struct recall {
    struct tune *t;
    struct tune_item *by_seq; /* allocated items, seq of the earlier run */
    const json_t *standings;
    int standing_seq;
    bool own; /* this run goes on: all its evaluations count in the summary */
    struct err *e;
    int rc;
};

static struct tune_item *adopt(struct tune *t, const struct store_evaluation *v, struct err *e)
{
    const char *identity = json_string_value(json_object_get(v->detail, "identity"));
    struct tune_item *i;
    struct cand c;

    if (cand_from_json(t->domain, v->params, &c, e) != 0) return NULL;
    i = tune_item_new(t, &c, e);
    if (!i) return NULL;
    if (strcmp(i->id, v->cand) != 0) {
        err_set(e, ERR_STORE, "a template has changed since this run was made; start anew with --fresh");
        return NULL;
    }
    i->seq = v->seq;
    i->row = v->candidate;
    i->fate = v->fate;
    i->us = v->us;
    i->done = i->committed = true;
    i->detail = json_incref(v->detail);
    i->k = (int)json_integer_value(json_object_get(v->detail, "k"));
    if (identity && strlen(identity) < sizeof i->identity) memcpy(i->identity, identity, strlen(identity) + 1);
    return i;
}

/* Position of seq in the standings, or -1. */
static int rank_of(const json_t *standings, int seq)
{
    for (size_t i = 0; i < json_array_size(standings); i++)
        if (json_integer_value(json_array_get(standings, i)) == seq) return (int)i;
    return -1;
}

static bool is_default(const struct tune *t, const struct cand *c)
{
    struct cand d;

    return domain_default(t->domain, c->tmpl, &d) && domain_rank(t->domain, &d) == domain_rank(t->domain, c);
}

static int take_standing(void *ctx, const struct store_evaluation *v)
{
    struct recall *r = ctx;
    struct tune *t = r->t;
    int rank = rank_of(r->standings, v->seq);
    bool champion = t->has_champion && strcmp(v->cand, t->champion.version.cand) == 0;
    bool standing = champion || (!t->has_champion && v->seq == r->standing_seq);
    struct tune_item *i;

    if (r->own) {
        t->recalled++;
        t->progress.fates[v->fate]++;
        if (v->alias_of >= 0) t->progress.aliases++;
        if (json_object_get(v->detail, "stopped")) t->stopped++;
    }
    if ((rank < 0 && !standing) || v->fate != FATE_OK || (champion && t->standing)) return 0;
    i = adopt(t, v, r->e);
    if (!i) {
        r->rc = -1;
        return 1;
    }
    if (standing && !champion && !is_default(t, &i->cand)) return 0; /* a champion that was revoked since */
    if (standing)
        t->standing = i;
    else if (rank < TUNE_RACE_KEEP)
        t->standings[rank] = i;
    return 0;
}

/* Items that turned out to be of no use would give the search's proposals other numbers. */
static void forget_items(struct tune *t)
{
    tune_items_free(t);
    t->nstandings = t->recalled = t->progress.aliases = t->stopped = 0;
    memset(t->progress.fates, 0, sizeof t->progress.fates);
    t->standing = NULL;
    memset(t->standings, 0, sizeof t->standings);
}

/* Fills standing and standings from run `id`, whose race is over. *usable: they can go to confirmation, which needs the standing champion
 * among that run's evaluations, or the default that stood, if one did; otherwise nothing is filled. */
static int recall_standings(struct tune *t, int64_t id, bool *usable, struct err *e)
{
    struct store_run run = {0};
    struct recall r = {.t = t, .standing_seq = -1, .own = id == t->run.id, .e = e};
    int kept = 0, rc;

    TRY(store_run_get(t->store, id, &run, e));
    r.standings = json_object_get(run.summary, "standings");
    if (json_object_get(run.summary, "standing"))
        r.standing_seq = (int)json_integer_value(json_object_get(run.summary, "standing"));
    TRY(store_evaluations(t->store, id, take_standing, &r, e));
    TRY(r.rc);
    for (int i = 0; i < TUNE_RACE_KEEP; i++)
        if (t->standings[i]) t->standings[kept++] = t->standings[i];
    t->nstandings = kept;
    if (t->standing)
        *usable = kept > 0 || !t->has_champion || r.own; /* own: its decision may be written already */
    else
        *usable = kept > 0 && !t->has_champion && r.standing_seq < 0;
    if (!*usable) forget_items(t);
out:
    store_run_free(&run);
    return rc;
}

/* ---- summary ---- */

static json_t *fates_json(const struct tune *t)
{
    json_t *j = json_object();

    for (int i = 0; i < FATE_N; i++)
        if (t->progress.fates[i]) json_object_set_new(j, fate_name((enum fate)i), json_integer(t->progress.fates[i]));
    return j;
}

static json_t *standings_json(const struct tune *t)
{
    json_t *list = json_array();

    for (int i = 0; i < t->nstandings; i++)
        json_array_append_new(list, json_integer(t->standings[i]->seq));
    return list;
}

json_t *tune_clock_json(const struct tune *t)
{
    return t->clock.invocations > 0 ? timeline_to_json(&t->clock) : json_null();
}

int tune_clock_keep(struct tune *t, struct err *e)
{
    double now = worker_now(), since = now - t->started;
    json_t *summary;
    int rc;

    timeline_charge(&t->clock, farm_seconds(t->farm), now);
    summary = tune_state(t, NULL);
    rc = summary ? store_run_state(t->store, t->run.id, NULL, since, summary, e) : err_nomem(e);
    json_decref(summary);
    if (rc != 0) return -1;
    t->elapsed_before += since;
    t->started = now;
    t->unkept = 0;
    return 0;
}

json_t *tune_state(struct tune *t, const struct tune_item *winner)
{
    json_t *summary =
        json_pack("{s:o,s:{s:o}}", "standings", standings_json(t), "seconds", "search", tune_clock_json(t));

    if (!summary) return NULL;
    if (t->standing) json_object_set_new(summary, "standing", json_integer(t->standing->seq));
    if (t->confirms) json_object_set_new(summary, "confirms_run", json_integer(t->confirms));
    if (winner) json_object_set_new(summary, "winner", json_integer(winner->seq));
    if (winner) json_object_set(summary, "trials", t->trials);
    if (t->night_facts) json_object_set(summary, "night", t->night_facts);
    return summary;
}

int tune_to_confirm(struct tune *t, struct err *e)
{
    json_t *summary = tune_state(t, NULL);
    int rc = summary ? store_run_state(t->store, t->run.id, "confirm", 0, summary, e) : err_nomem(e);

    json_decref(summary);
    return rc;
}

static json_t *champion_json(struct tune *t, struct err *e)
{
    struct store_champion c = {0};
    bool found;
    json_t *j;

    if (store_champion(t->store, t->track, &c, &found, e) != 0) return NULL;
    if (!found) return json_null();
    j = json_pack("{s:s,s:s,s:s,s:s,s:O?,s:O?}", "name", c.version.name, "since", c.at, "action", c.action, "note",
                  c.note, "params", c.version.params, "facts", c.version.source_facts);
    store_champion_free(&c);
    if (!j) err_nomem(e);
    return j;
}

struct collected {
    const struct domain *d;
    struct knobs_point *points;
    int n, cap;
    bool nomem;
};

static int collect_point(void *ctx, const struct store_evaluation *v)
{
    struct collected *c = ctx;
    const char *identity = json_string_value(json_object_get(v->detail, "identity"));
    struct knobs_point p = {0};

    if (!identity || cand_from_json(c->d, v->params, &p.cand, NULL) != 0) return 0;
    p.identity = digest_u64(identity, strlen(identity));
    if (c->n == c->cap) {
        int cap = c->cap ? 2 * c->cap : 256;
        struct knobs_point *more = realloc(c->points, (size_t)cap * sizeof *more);
        c->nomem = !more;
        if (!more) return 1;
        c->points = more;
        c->cap = cap;
    }
    c->points[c->n++] = p;
    return 0;
}

json_t *tune_confirmed(struct tune *t, const char *member, struct err *e)
{
    struct store_run confirmed = {0};
    json_t *list;

    if (store_run_get(t->store, t->confirms, &confirmed, e) != 0) return NULL;
    list = json_incref(json_object_get(confirmed.summary, member));
    store_run_free(&confirmed);
    return list ? list : json_array();
}

/* The parameters that changed nothing among this run's evaluations. */
static json_t *dead_json(struct tune *t, struct err *e)
{
    struct collected c = {.d = t->domain};
    json_t *dead = NULL;
    int rc;

    if (t->confirms) return tune_confirmed(t, "dead", e);
    TRY(store_evaluations(t->store, t->run.id, collect_point, &c, e));
    rc = c.nomem ? err_nomem(e) : knobs_dead(&dead, t->domain, c.points, c.n, e);
out:
    free(c.points);
    return rc == 0 ? dead : NULL;
}

struct best {
    const struct tune *t;
    struct cand cand;
    double us;
};

static int take_best(void *ctx, const struct store_evaluation *v)
{
    struct best *b = ctx;

    if (v->fate == FATE_OK && (b->us <= 0 || v->us < b->us) &&
        cand_from_json(b->t->domain, v->params, &b->cand, NULL) == 0)
        b->us = v->us;
    return 0;
}

/* The best of this run's search scores: they select, and decide nothing. */
static json_t *best_json(struct tune *t, struct err *e)
{
    struct best best = {.t = t};
    struct buf text = {0};
    json_t *j;

    if (store_evaluations(t->store, t->run.id, take_best, &best, e) != 0) return NULL;
    if (best.us <= 0) return json_null();
    cand_text(t->domain, &best.cand, &text);
    j = json_pack("{s:s,s:f}", "candidate", buf_text(&text), "us", best.us);
    buf_free(&text);
    if (!j) err_nomem(e);
    return j;
}

static json_t *rule_json(const struct tune *t)
{
    const double target = t->space.promote.target_us;

    return json_pack("{s:f,s:f,s:f,s:i,s:b,s:o}", "min_gain", t->space.promote.min_gain, "hedges_g",
                     t->space.promote.hedges_g, "alpha", t->space.promote.alpha, "sessions", t->space.promote.sessions,
                     "sanitize", t->space.promote.sanitize, "target_us", target > 0 ? json_real(target) : json_null());
}

json_t *tune_summary(struct tune *t, struct err *e)
{
    json_t *champion = champion_json(t, e), *dead = champion ? dead_json(t, e) : NULL;
    json_t *importance = dead ? tune_importance_json(t, e) : NULL, *best = importance ? best_json(t, e) : NULL, *seeds;
    struct buf arm = {0};
    json_t *out;
    char problem[128], device[32];

    if (!best || tune_seeds_used(t->store, t->run.id, &seeds, e) != 0) {
        json_decref(best);
        json_decref(champion);
        json_decref(dead);
        json_decref(importance);
        return NULL;
    }
    problem_text(&t->space.problem, problem, sizeof problem);
    target_text(&t->target, device, sizeof device);
    out = json_pack("{s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:i,s:i,s:i,s:i,s:i,s:f,s:o,s:o,s:o,s:o,s:o,s:o,s:O,s:o,s:o}",
                    "run", (json_int_t)t->run.id, "space", t->space.name, "problem", problem, "device", device,
                    "device_name", t->target.name, "track", t->track, "strategy", t->strategy, "seed",
                    (json_int_t)t->seed, "proposals", t->recalled > 0 ? t->recalled : t->nitems, "aliases",
                    t->progress.aliases, "known", t->progress.known, "compiled", farm_compiled(t->farm), "stopped",
                    t->stopped, "stop_factor", tune_stop_factor(t), "best_search", best, "rule", rule_json(t), "dead",
                    dead, "importance", importance, "fates", fates_json(t), "standings", standings_json(t), "trials",
                    t->trials, "champion", champion, "seeds", seeds);
    if (!out) {
        err_nomem(e);
        return NULL;
    }
    if (t->decided) { /* as it was then: the winner may stand now */
        json_object_set(out, "standings", json_object_get(t->decided, "standings"));
        json_object_set(out, "standing", json_object_get(t->decided, "standing"));
    } else if (t->standing) {
        json_object_set_new(out, "standing", json_integer(t->standing->seq));
    }
    if (t->confirms) json_object_set_new(out, "confirms_run", json_integer(t->confirms));
    if (t->winner) {
        cand_text(t->domain, &t->winner->cand, &arm);
        json_object_set_new(out, "arm", json_string(buf_text(&arm)));
        buf_free(&arm);
    }
    json_object_set(out, "contestants", t->meetings);
    json_object_set_new(out, "seconds",
                        json_pack("{s:f,s:f,s:o}", "elapsed", tune_elapsed(t), "compile_summed", farm_seconds(t->farm),
                                  "search", tune_clock_json(t)));
    return out;
}

/* ---- run ---- */

/* A run that was cut off in its search cannot go on when another champion stands, or when an older fatune began it, which proposed differently. A new one
 * takes its place, and what was measured is known. */
static int begin_again(struct tune *t, struct err *e)
{
    struct store_run old = t->run;
    int rc;

    *e = (struct err){0};
    if (farm_cancel(t->farm, e) != 0) return -1;
    forget_items(t);
    t->progress.done = t->progress.known = 0;
    tune_report(
        t, "run %lld began under another champion or an older fatune: its search begins anew, what it measured is kept",
        (long long)old.id);
    t->run = (struct store_run){0};
    t->outdated = false;
    t->clock = (struct timeline){0};
    t->elapsed_before = 0;
    t->started = worker_now();
    rc = begin(t, old.key, old.space, old.environment, e);
    store_run_free(&old);
    return rc;
}

static int search_and_race(struct tune *t, struct err *e)
{
    bool usable = false;

    if (strcmp(t->run.state, "confirm") == 0) {
        if (recall_standings(t, t->run.id, &usable, e) != 0) return -1;
        t->confirms = json_integer_value(json_object_get(t->run.summary, "confirms_run"));
        if (usable) return 0;
        t->confirms = 0;
        json_decref(t->run.summary); /* and what was decided on these standings */
        t->run.summary = NULL;
    }
    if (tune_search(t, e) != 0 && (!t->outdated || begin_again(t, e) != 0 || tune_search(t, e) != 0)) return -1;
    if (store_run_state(t->store, t->run.id, "race", 0, NULL, e) != 0) return -1;
    return tune_race(t, e);
}

struct kept {
    const struct tune *t;
    int n;
    bool same;
};

static int compare_kept(void *ctx, const struct store_evaluation *v)
{
    struct kept *k = ctx;

    k->same = k->same && v->seq == k->n && v->seq < k->t->nitems && strcmp(v->cand, k->t->items[v->seq]->id) == 0;
    k->n++;
    return 0;
}

/* The evaluations of the run that is confirmed again belong to the new run as well, so that it stands by itself. Those that it has
 * already, because it was cut off here, must be the same; where the champion has changed since they may not be, and *usable is false. */
static int take_over(struct tune *t, bool *usable, struct err *e)
{
    struct kept kept = {.t = t, .same = true};

    if (store_evaluations(t->store, t->run.id, compare_kept, &kept, e) != 0) return -1;
    *usable = kept.same;
    for (int i = kept.n; i < t->nitems && kept.same; i++) {
        struct tune_item *x = t->items[i];
        struct store_evaluation v = {.run = t->run.id,
                                     .candidate = x->row,
                                     .seq = i,
                                     .fate = x->fate,
                                     .us = x->us,
                                     .alias_of = -1,
                                     .detail = x->detail};
        memcpy(v.cand, x->id, sizeof v.cand);
        if (tune_prepare(t, x, e) != 0) return -1;
        memcpy(v.binary, x->job.key, sizeof v.binary);
        if (store_evaluation_put(t->store, &v, e) != 0) return -1;
    }
    if (!kept.same) {
        forget_items(t);
        return 0;
    }
    for (int i = 0; i < t->nitems; i++)
        t->items[i]->seq = i;
    return tune_to_confirm(t, e);
}

/* A run that was cut off behind its decision goes on there. */
static bool recall_decision(struct tune *t)
{
    const json_t *winner = json_object_get(t->run.summary, "winner"),
                 *trials = json_object_get(t->run.summary, "trials");

    if (strcmp(t->run.state, "confirm") != 0 || !json_is_integer(winner)) return false;
    for (int i = 0; i < t->nitems; i++)
        if (t->items[i]->seq == (int)json_integer_value(winner)) t->winner = t->items[i];
    if (!t->winner) return false;
    t->decided = json_incref(t->run.summary);
    json_array_extend(t->trials, (json_t *)(uintptr_t)trials);
    tune_report(t, "the decision of this run is written: it goes on behind it");
    return true;
}

int tune_stages(struct tune *t, struct err *e)
{
    bool usable = false;

    if (tune_sanitizers(t, e) != 0) return -1;
    if (t->confirms) {
        if (recall_standings(t, t->confirms, &usable, e) != 0 || (usable && take_over(t, &usable, e) != 0)) return -1;
        if (usable)
            tune_report(t, "run %lld is done: its best challenger meets the standing champion again, in fresh sessions",
                        (long long)t->confirms);
        else
            t->confirms = 0;
    }
    if (!usable && search_and_race(t, e) != 0) return -1;
    if (tune_contestants_settle(t, e) != 0) return -1; /* what they import would disturb the sessions */
    if (!recall_decision(t) && tune_confirm(t, e) != 0) return -1;
    return tune_contest(t, e);
}

int tune_run(const struct tune_options *o, json_t **out, struct err *e)
{
    struct tune *t = calloc(1, sizeof *t);
    bool begun = false;
    int rc;

    *out = NULL;
    if (!t) return err_nomem(e);
    TRY(tune_open(t, o, true, e));
    TRY(tune_contestants_find(t, e));
    TRY(tune_begin(t, e));
    begun = true;
    if (!t->target.is_host_cpu) TRY(tune_contestants_start(t, e));
    TRY(tune_stages(t, e));
    *out = tune_summary(t, e);
    rc = *out ? store_run_state(t->store, t->run.id, "done", worker_now() - t->started, *out, e) : -1;
    if (rc == 0) begun = false;
out:
    if (begun) /* what was spent counts, however it ended; a run that stopped goes on from its state */
        store_run_state(t->store, t->run.id, NULL, worker_now() - t->started, NULL, &(struct err){0});
    tune_close(t);
    free(t);
    return rc;
}

/* ---- eval ---- */

int tune_point(struct tune *t, const char *tmpl, const char *set, struct cand *c, struct err *e)
{
    struct buf text = {0};

    if (!set) set = "";
    for (int i = 0; i < domain_templates(t->domain) && !tmpl; i++)
        if (!domain_unfit(t->domain, i) &&
            cand_parse(t->domain, domain_template(t->domain, i)->name, set, c, NULL) == 0 &&
            domain_valid(t->domain, c, NULL))
            return 0;
    if (cand_parse(t->domain, tmpl, set, c, e) != 0) return -1;
    if (domain_valid(t->domain, c, e)) return 0;
    cand_text(t->domain, c, &text);
    err_context(e, "%s is excluded, --set another point", buf_text(&text));
    buf_free(&text);
    return -1;
}

int tune_eval(const struct tune_options *o, const char *tmpl, const char *set, bool full, int samples, json_t **out,
              struct err *e)
{
    struct tune *t = calloc(1, sizeof *t);
    struct tune_item *i;
    struct buf text = {0};
    double values[64];
    struct cand c;
    int got = 0, rc;

    *out = NULL;
    if (!t) return err_nomem(e);
    TRY(tune_open(t, o, false, e));
    TRY(tune_point(t, tmpl, set, &c, e));
    if (!(i = tune_item_new(t, &c, e))) {
        rc = -1;
        goto out;
    }
    TRY(tune_prepare(t, i, e));
    if (i->rendered) TRY(farm_wait(t->farm, &i->job, e));
    if (i->rendered && i->job.fate != FATE_OK) {
        i->fate = i->job.fate;
        i->log = i->job.log ? strdup(i->job.log) : NULL;
    } else if (i->rendered) {
        TRY(tune_evaluate(t, i, full ? TUNE_FULL : TUNE_QUICK, samples > 64 ? 64 : samples, values, &got, e));
    }
    cand_text(t->domain, &c, &text);
    *out = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "candidate", buf_text(&text), "id", i->id, "fate", fate_name(i->fate),
                     "log", i->log ? i->log : "", "device", t->target.name, "driver", t->target.driver);
    if (!*out) {
        rc = err_nomem(e);
        goto out;
    }
    if (i->launch) json_object_set_new(*out, "launch", launch_to_json(i->launch));
    if (i->detail) json_object_set(*out, "detail", i->detail);
    if (*i->job.key) json_object_set_new(*out, "binary", json_string(i->job.key));
    if (i->job.resources) json_object_set(*out, "compiled", i->job.resources);
    if (got > 0) {
        json_t *list = json_array();
        for (int n = 0; n < got; n++)
            json_array_append_new(list, json_real(values[n]));
        json_object_set_new(*out, "samples_us", list);
        json_object_set_new(*out, "median_us", isfinite(i->us) ? json_real(i->us) : json_null());
        json_object_set_new(*out, "floor_us", json_real(tune_item_floor(t)));
    }
out:
    buf_free(&text);
    tune_close(t);
    free(t);
    return rc;
}
