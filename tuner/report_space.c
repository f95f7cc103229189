/* report_space.c - puts a report together: the registry, the runs, and which of them its parts are about.
 *
 * Of all runs of the track: the *search* is the newest that searched, the *meeting* the newest that met contestants, *kept* is the post-mortem of
 * the newest that is done, when it promoted nobody. The champion's evidence is the trial of the run that named it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chart.h"
#include "report_kept.h"
#include "report_private.h"
#include "report_registry.h"
#include "report_space_private.h"
#include "version.h"

struct collect {
    struct store *store;
    const char *track;
    json_t *history, *runs;
    struct store_run search, newest; /* id 0: none */
    json_t *meeting;                 /* its run's summary */
    json_t *evidence;                /* summary of the champion's run */
    int64_t evidence_run;
    struct err *e;
    int rc;
};

/* ---- registry ---- */

static int add_action(void *ctx, const struct store_champion *c)
{
    struct collect *x = ctx;

    if (strcmp(c->version.track, x->track) != 0) return 0;
    if (json_array_append_new(x->history, report_action_json(c)) != 0) x->rc = err_nomem(x->e);
    return x->rc;
}

/* ---- runs ---- */

static bool is_done(const struct store_run *r)
{
    return strcmp(r->state, "done") == 0;
}

static bool has_met(const json_t *summary)
{
    const json_t *list = json_object_get(summary, "contestants");

    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_object_get(json_array_get(list, i), "verdict")) return true;
    return false;
}

/* The part of r that is kept behind the callback. */
static void keep(struct store_run *to, const struct store_run *r)
{
    *to = *r;
    json_incref(to->settings);
    json_incref(to->summary);
}

static json_t *run_json(const struct store_run *r)
{
    const json_t *trials = json_object_get(r->summary, "trials");
    json_t *outcomes = json_array(), *j;

    for (size_t i = 0; i < json_array_size(trials); i++)
        json_array_append_new(outcomes,
                              json_string(text(json_object_get(json_array_get(trials, i), "verdict"), "outcome")));
    j = json_pack("{s:I,s:s,s:s,s:o,s:s,s:b,s:o}", "run", (json_int_t)r->id, "state", r->state, "started", r->started,
                  "seconds", real(r->elapsed_s), "strategy", text(r->settings, "strategy"), "night",
                  json_object_get(r->summary, "night") != NULL, "outcomes", outcomes);
    if (number(r->settings, "confirms_run") > 0)
        json_object_set(j, "confirms_run", json_object_get(r->settings, "confirms_run"));
    return j;
}

/* Newest first. */
static int add_run(void *ctx, const struct store_run *r)
{
    struct collect *x = ctx;
    bool searched = !(number(r->settings, "confirms_run") > 0);
    int n = 0, end = 0;

    if (json_array_append_new(x->runs, run_json(r)) != 0) x->rc = err_nomem(x->e);
    if (is_done(r) && !x->newest.id) keep(&x->newest, r);
    if (is_done(r) && !x->meeting && has_met(r->summary)) x->meeting = json_incref(r->summary);
    if (r->id == x->evidence_run) x->evidence = json_incref(r->summary);
    /* One that was cut off is told of as long as no whole one is there. */
    if (x->rc == 0 && searched && (!x->search.id || (!is_done(&x->search) && is_done(r)))) {
        x->rc = store_evaluations_count(x->store, r->id, &n, &end, x->e);
        if (n > 0) {
            store_run_free(&x->search);
            keep(&x->search, r);
        }
    }
    return x->rc;
}

/* ---- contestants ---- */

/* A contestant's time over ours, with its interval: what the verdict has the other way round. */
static json_t *contestant_json(const json_t *c)
{
    const json_t *v = json_object_get(c, "verdict"), *ci = json_object_get(v, "ratio_boot_t");
    double low = json_number_value(json_array_get(ci, 0)), high = json_number_value(json_array_get(ci, 1));
    json_t *out =
        json_pack("{s:s,s:s,s:s}", "name", text(c, "name"), "version", text(c, "version"), "choice", text(c, "choice"));

    json_object_set(out, "left_out", json_object_get(c, "left_out"));
    if (!json_is_object(v)) return out;
    json_object_set(out, "wrong", json_object_get(c, "wrong"));
    json_object_set_new(out, "valid", json_boolean(strcmp(text(v, "outcome"), "INVALID") != 0));
    json_object_set_new(out, "relation", json_string(text(c, "relation")));
    json_object_set(out, "trial", json_object_get(c, "trial"));
    json_object_set(out, "sessions", json_object_get(v, "sessions"));
    json_object_set_new(out, "us", real(number(v, "median_a_us")));
    json_object_set_new(out, "our_us", real(number(v, "median_b_us")));
    json_object_set_new(out, "times", real(1 / number(v, "ratio")));
    json_object_set_new(out, "times_ci", pair(high > 0 ? 1 / high : NAN, low > 0 ? 1 / low : NAN));
    return out;
}

static json_t *contestants(const struct collect *x)
{
    const json_t *list = json_object_get(x->meeting, "contestants");
    json_t *rows = json_array();

    if (!x->meeting) {
        json_decref(rows);
        return json_null();
    }
    for (size_t i = 0; i < json_array_size(list); i++)
        json_array_append_new(rows, contestant_json(json_array_get(list, i)));
    return json_pack("{s:O?,s:s,s:o}", "run", json_object_get(x->meeting, "run"), "arm", text(x->meeting, "arm"),
                     "rows", rows);
}

/* The fastest whose numbers can be believed; NULL: none. */
static const json_t *best_contestant(const json_t *rows)
{
    const json_t *best = NULL;

    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *c = json_array_get(rows, i);
        bool good = json_is_true(json_object_get(c, "valid")) && !*text(c, "wrong") && number(c, "times") > 0;
        if (good && (!best || number(c, "times") < number(best, "times"))) best = c;
    }
    return best;
}

/* ---- the champion's evidence ---- */

/* Who the arm to beat was: its point, and the name that it had. */
static int standing_json(struct collect *x, json_t **out, struct err *e)
{
    const json_t *seq = json_object_get(x->evidence, "standing");
    struct store_evaluation v;
    struct buf name = {0};
    const char *known = "";
    bool found = false;
    int rc = 0;

    *out = NULL;
    if (json_is_integer(seq))
        TRY(store_evaluation_get(x->store, x->evidence_run, (int)json_integer_value(seq), &v, &found, e));
    if (!found) goto out;
    report_point_text(&name, v.params);
    for (size_t i = 0; i < json_array_size(x->history); i++) {
        const json_t *row = json_array_get(x->history, i);
        if (json_equal(json_object_get(row, "params"), v.params)) known = text(row, "name");
    }
    *out = json_pack("{s:s,s:s}", "name", known, "candidate", buf_text(&name));
    store_evaluation_free(&v);
out:
    buf_free(&name);
    return rc;
}

static const json_t *trial_of(const json_t *summary, const char *cand)
{
    const json_t *trials = json_object_get(summary, "trials");

    for (size_t i = 0; i < json_array_size(trials); i++)
        if (strcmp(text(json_array_get(trials, i), "id"), cand) == 0) return json_array_get(trials, i);
    return NULL;
}

/* What one sentence of a verdict says of the gain. */
static json_t *gain_json(const json_t *v)
{
    const json_t *ci = json_object_get(v, "ratio_boot_t");
    double ratio = number(v, "ratio"), low = json_number_value(json_array_get(ci, 0)),
           high = json_number_value(json_array_get(ci, 1)), sessions = number(v, "sessions");
    bool known = low > 0 && high > 0;

    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:O?,s:o}", "us", real(number(v, "median_b_us")), "against_us",
                     real(number(v, "median_a_us")), "less_percent", real(100 * (1 - ratio)), "less_percent_ci",
                     known ? pair(100 * (1 - high), 100 * (1 - low)) : pair(NAN, NAN), "times", real(1 / ratio),
                     "times_ci", known ? pair(1 / high, 1 / low) : pair(NAN, NAN), "sessions",
                     json_object_get(v, "sessions"), "sessions_faster",
                     isfinite(sessions) ? json_integer(lround(number(v, "share_faster") * sessions)) : json_null());
}

/* Members evidence and letters. */
static int evidence(struct collect *x, const struct store_champion *c, json_t *out, struct err *e)
{
    const json_t *trial = trial_of(x->evidence, c->version.cand), *rule = json_object_get(x->evidence, "rule");
    json_t *standing = NULL, *letters = NULL, *facts;
    int rc = 0;

    if (!trial) return 0;
    TRY(standing_json(x, &standing, e));
    TRY(report_letters(x->store, json_integer_value(json_object_get(trial, "trial")), &letters, e));
    facts =
        json_pack("{s:I,s:O?,s:O,s:o,s:O?,s:O,s:o}", "run", (json_int_t)x->evidence_run, "trial",
                  json_object_get(trial, "trial"), "against", standing ? standing : json_null(), "gain",
                  gain_json(json_object_get(trial, "verdict")), "verdict", json_object_get(trial, "verdict"), "rule",
                  json_is_object(rule) ? rule : json_null(), "error_percent", real(100 * number(rule, "alpha")));
    if (!facts) rc = err_nomem(e);
    json_object_set_new(out, "evidence", facts);
    json_object_set(out, "letters", letters);
out:
    json_decref(standing);
    json_decref(letters);
    return rc;
}

static int registry(struct collect *x, json_t *out, struct err *e)
{
    struct store_champion c;
    bool found;
    int rc;

    TRY(store_champion_history(x->store, x->track, add_action, x, e));
    TRY(x->rc);
    TRY(store_champion(x->store, x->track, &c, &found, e));
    x->evidence_run = found ? c.version.run : 0;
    rc = store_runs(x->store, x->track, add_run, x, e);
    if (rc == 0) rc = x->rc;
    json_object_set(out, "history", x->history);
    json_object_set(out, "runs", x->runs);
    if (found && rc == 0) {
        json_object_set_new(out, "champion", report_action_json(&c));
        rc = evidence(x, &c, out, e);
    }
    if (found) store_champion_free(&c);
out:
    return rc;
}

/* ---- the problem ---- */

/* Members problem, cache and roofline, from the space as its run had it. */
static int problem(struct collect *x, json_t *out, struct err *e)
{
    const struct store_run *run = x->search.id ? &x->search : &x->newest;
    struct err unread = {0};
    struct space space = {0};
    struct target target = {0};
    char *name = NULL, *yaml = NULL, words[128];
    double us = number(json_object_get(json_object_get(out, "evidence"), "gain"), "us");
    int rc = 0;

    if (!run->id) return 0;
    TRY(store_space_text(x->store, run->space, &name, &yaml, e));
    if (space_parse(&space, yaml, strlen(yaml), name, &unread) == 0 &&
        target_from_json(&target, json_object_get(run->settings, "target"), &unread) == 0) {
        problem_text(&space.problem, words, sizeof words);
        json_object_set_new(out, "problem", json_string(words));
        json_object_set_new(out, "cache", json_string(space.measure.cold ? "cold" : "warm"));
        json_object_set_new(out, "roofline", report_roofline(&space.problem, &target, us));
    }
    json_object_set_new(out, "target", json_deep_copy(json_object_get(run->settings, "target")));
    space_free(&space);
out:
    free(name);
    free(yaml);
    return rc;
}

/* ---- all ---- */

static int named(void *ctx, const struct store_track *t)
{
    json_t *out = ctx;

    if (strcmp(t->digest, json_string_value(json_object_get(out, "track"))) != 0) return 0;
    json_object_set_new(out, "space", json_string(t->space));
    json_object_set_new(out, "device", json_string(t->device));
    return 1;
}

/* What members are null until something is found; and the numbers that the words of a report use. */
static json_t *empty(const struct collect *x)
{
    static const char *const members[] = {"champion", "evidence", "letters",    "contestants", "best_contestant",
                                          "search",   "dead",     "importance", "roofline",    "problem",
                                          "cache",    "target",   "kept"};
    json_t *out = json_pack("{s:s,s:s,s:{s:i,s:f,s:i},s:[]}", "track", x->track, "fatune",
                            FATUNE_VERSION " (" FATUNE_COMMIT ")", "method", "interval_percent", 95, "chart_lambda",
                            CHART_LAMBDA, "chart_limit", (int)CHART_LIMIT, "parameters");

    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        json_object_set_new(out, members[i], json_null());
    return out;
}

static int fill(struct collect *x, json_t *out, struct err *e)
{
    const json_t *best;
    json_t *part;
    int rc;

    TRY(store_tracks(x->store, named, out, e));
    TRY(registry(x, out, e));
    json_object_set_new(out, "contestants", contestants(x));
    best = best_contestant(json_object_get(json_object_get(out, "contestants"), "rows"));
    if (best) json_object_set(out, "best_contestant", (json_t *)(uintptr_t)best);
    if (x->search.id) {
        TRY(report_search(x->store, &x->search, &part, e));
        json_object_set_new(out, "search", part);
        TRY(report_effects(x->store, &x->search, &part, e));
        json_object_set_new(out, "parameters", part);
        if ((part = json_object_get(x->search.summary, "dead"))) json_object_set(out, "dead", part);
        if ((part = json_object_get(x->search.summary, "importance"))) json_object_set(out, "importance", part);
    }
    TRY(problem(x, out, e));
    TRY(report_nights(x->store, x->track, &part, e));
    json_object_set_new(out, "nights", part);
    if (x->newest.id && (part = report_kept_json(x->newest.summary))) json_object_set_new(out, "kept", part);
out:
    return rc;
}

int report_space(struct store *s, const char *track, json_t **out, struct err *e)
{
    struct collect x = {.store = s, .track = track, .history = json_array(), .runs = json_array(), .e = e};
    int rc = -1;

    *out = x.history && x.runs ? empty(&x) : NULL;
    if (*out)
        rc = fill(&x, *out, e);
    else
        err_nomem(e);
    if (rc != 0) {
        json_decref(*out);
        *out = NULL;
    }
    store_run_free(&x.search);
    store_run_free(&x.newest);
    json_decref(x.meeting);
    json_decref(x.evidence);
    json_decref(x.history);
    json_decref(x.runs);
    return rc;
}
