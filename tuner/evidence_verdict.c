/* evidence_verdict.c - the decision, as stored and again. The rule and the random stream are not taken from the file: they follow from the space
 * and from the run, and the file must say the same.
 *
 * Counts, texts and flags must be equal. Numbers may differ by CLOSE: the logarithms of two machines' libraries end on different digits. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evidence_private.h"
#include "tune.h"

#define CLOSE 1e-9
#define STREAM "verdict" /* purpose of the stream that tune_confirm.c decides with */

/* ---- what follows from run and space ---- */

static int finalists(const json_t *run)
{
    size_t n = json_array_size(json_object_get(json_object_get(run, "summary"), "trials"));

    return n > 0 && n <= EVIDENCE_FINALISTS_MAX ? (int)n : 0;
}

static int looks(const struct space *s)
{
    return s->promote.nlooks > 0 ? s->promote.nlooks : 1;
}

static uint64_t stream_seed(const json_t *run, int64_t trial)
{
    return (uint64_t)json_integer_value(json_object_get(json_object_get(run, "settings"), "seed")) + (uint64_t)trial;
}

static json_t *rule_json(const struct verdict_rule *r)
{
    return json_pack("{s:f,s:f,s:f,s:f,s:i,s:i,s:b}", "min_gain", r->min_gain, "hedges_g", r->hedges_g, "alpha",
                     r->alpha, "target_us", r->target_us, "min_sessions", r->min_sessions, "resamples", r->resamples,
                     "control_required", (int)r->control_required);
}

/* rule, finalists, looks, stream: what does not come from the verdict's own row. New reference. */
static json_t *premises(const struct space *s, const json_t *run, int64_t trial)
{
    int n = finalists(run);
    struct verdict_rule rule = tune_promotion_rule(s, (n > 0 ? n : 1) * looks(s));
    char seed[24];

    snprintf(seed, sizeof seed, "%" PRIu64, stream_seed(run, trial));
    return json_pack("{s:o,s:i,s:i,s:{s:s,s:s}}", "rule", rule_json(&rule), "finalists", n, "looks", looks(s), "stream",
                     "seed", seed, "purpose", STREAM);
}

json_t *evidence_verdict_json(const struct store_verdict *v, const struct space *s, const json_t *run, bool b,
                              struct err *e)
{
    json_t *out = premises(s, run, v->trial);
    json_t *own = json_pack("{s:I,s:I,s:I,s:I,s:s,s:s,s:s,s:O}", "verdict", (json_int_t)v->id, "run",
                            (json_int_t)v->run, "trial", (json_int_t)v->trial, "control", (json_int_t)v->control,
                            "candidate", v->cand, "version_is", b ? "b" : "a", "at", v->created, "stored", v->body);

    if (!out || !own || json_object_update(out, own) != 0) {
        json_decref(out);
        out = NULL;
        err_nomem(e);
    }
    json_decref(own);
    return out;
}

/* ---- comparing ---- */

static bool close_to(double a, double b)
{
    return fabs(a - b) <= CLOSE * fmax(fabs(a), fabs(b));
}

/* Where is differs from must: the member's path, behind `at`. */
static bool same(const json_t *is, const json_t *must, char *path, size_t size)
{
    size_t at = strlen(path);
    const char *key;
    json_t *value;

    if (json_is_number(is) && json_is_number(must) && (json_is_real(is) || json_is_real(must)))
        return close_to(json_number_value(is), json_number_value(must));
    if (json_typeof(is) != json_typeof(must)) return false;
    if (json_is_array(is)) {
        if (json_array_size(is) != json_array_size(must)) return false;
        for (size_t i = 0; i < json_array_size(is); i++) {
            snprintf(path + at, size - at, "[%zu]", i);
            if (!same(json_array_get(is, i), json_array_get(must, i), path, size)) return false;
        }
    } else if (json_is_object(is)) {
        json_object_foreach((json_t *)(uintptr_t)must, key, value)
        {
            snprintf(path + at, size - at, "%s%s", at > 0 ? "." : "", key);
            if (!json_object_get(is, key) || !same(json_object_get(is, key), value, path, size)) return false;
        }
        json_object_foreach((json_t *)(uintptr_t)is, key, value)
        {
            snprintf(path + at, size - at, "%s%.60s", at > 0 ? "." : "", key);
            if (!json_object_get(must, key)) return false;
        }
    } else if (!json_equal(is, must)) {
        return false;
    }
    path[at] = '\0';
    return true;
}

/* The member at a path of same's, as text; to be freed. */
static char *shown(const json_t *j, const char *path)
{
    char name[64];

    while (j && *path) {
        size_t n = strcspn(path, ".[");
        if (*path == '[') {
            j = json_array_get(j, (size_t)strtoul(path + 1, NULL, 10));
            path += strcspn(path, "]") + 1;
        } else {
            snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), path);
            j = json_object_get(j, name);
            path += n;
        }
        if (*path == '.') path++;
    }
    return j ? json_dumps(j, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
}

static int compare(const json_t *is, const json_t *must, const char *how, struct err *e)
{
    char path[256] = "", *a, *b;

    if (same(is, must, path, sizeof path)) return 0;
    a = shown(is, path);
    b = shown(must, path);
    err_set(e, ERR_INPUT, "verdict.json: `%s` is %.300s, and %s %.300s", path, a ? a : "missing", how,
            b ? b : "nothing of the kind");
    free(a);
    free(b);
    return -1;
}

int evidence_verdict_rule(const json_t *verdict, const struct space *s, const json_t *run, struct verdict_rule *out,
                          struct err *e)
{
    const json_t *trial = json_object_get(verdict, "trial");
    json_t *must, *is;
    const char *key;
    json_t *value;
    int rc;

    if (finalists(run) == 0)
        return err_set(e, ERR_INPUT, "run.json: `summary.trials` does not list the finalists that share alpha");
    *out = tune_promotion_rule(s, finalists(run) * looks(s));
    must = premises(s, run, json_integer_value(trial));
    is = json_object();
    json_object_foreach(must, key, value) if (json_object_get(verdict, key))
        json_object_set(is, key, json_object_get(verdict, key));
    rc = must ? compare(is, must, "by space.yaml and run.json it is", e) : err_nomem(e);
    json_decref(must);
    json_decref(is);
    return rc;
}

/* A trial that was given up for a reason that stands in no session's record: the verdict's own clause is the one place that has it. Such a trial
 * promotes nobody. */
static void take_reason(struct trial *t, const json_t *stored, int clause, const char *words)
{
    const char *why =
        json_string_value(json_object_get(json_array_get(json_object_get(stored, "clauses"), (size_t)clause), "why"));

    if (t->invalid || !why || strncmp(why, words, strlen(words)) != 0) return;
    t->invalid = true;
    snprintf(t->reason, sizeof t->reason, "%s", why + strlen(words));
}

/* Numbers that an older fatune did not give are left out of the comparison, and named; what decides is always there. */
static void leave_out(json_t *again, const json_t *stored, struct buf *missing)
{
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe(again, next, key, value)
    {
        if (json_object_get(stored, key) || strcmp(key, "outcome") == 0 || strcmp(key, "clauses") == 0) continue;
        buf_printf(missing, "%s%s", missing->n ? ", " : "", key);
        json_object_del(again, key);
    }
}

/* What sanitizers said of B cannot be decided again; that they were asked, and what followed, can. */
static int take_sanitizers(struct verdict *v, const json_t *verdict, const struct space *s, struct err *e)
{
    const json_t *stored = json_object_get(verdict, "stored"), *clause = NULL,
                 *list = json_object_get(stored, "clauses");
    const char *name = verdict_clause_name(VERDICT_SANITIZER),
               *is = json_string_value(json_object_get(verdict, "version_is"));
    const char *outcome = json_string_value(json_object_get(stored, "outcome")), *why;

    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *own = json_string_value(json_object_get(json_array_get(list, i), "clause"));
        if (own && strcmp(own, name) == 0) clause = json_array_get(list, i);
    }
    why = json_string_value(json_object_get(clause, "why"));
    if (!clause && s->promote.sanitize && v->outcome == VERDICT_PROMOTE && is && strcmp(is, "b") == 0)
        return err_set(e, ERR_INPUT, "verdict.json: `stored.clauses` has no %s, which space.yaml asks for", name);
    if (!clause) return 0;
    if (!s->promote.sanitize || v->outcome != VERDICT_PROMOTE || !why)
        return err_set(e, ERR_INPUT, "verdict.json: `stored.clauses` has %s, which nobody asked for", name);
    verdict_sanitize(v,
                     json_is_true(json_object_get(clause, "passed"))               ? VERDICT_SANITIZER_PASSED
                     : outcome && strcmp(outcome, verdict_name(VERDICT_KEEP)) == 0 ? VERDICT_SANITIZER_FOUND
                                                                                   : VERDICT_SANITIZER_NOT_RUN,
                     why);
    return 0;
}

int evidence_verdict_again(const json_t *verdict, const struct space *s, const struct verdict_rule *rule,
                           struct trial *trial, struct trial *control, struct buf *missing, struct err *e)
{
    const json_t *stored = json_object_get(verdict, "stored");
    const char *seed = json_string_value(json_object_get(json_object_get(verdict, "stream"), "seed"));
    struct verdict v;
    struct rng rng;
    json_t *again;
    int rc;

    take_reason(trial, stored, VERDICT_VALID, "the trial is invalid: ");
    if (control) take_reason(control, stored, VERDICT_CONTROL, "the A/A control is invalid: ");
    rng_init(&rng, seed ? strtoull(seed, NULL, 10) : 0, STREAM);
    if (verdict_decide(&v, rule, trial, control, &rng, e) != 0 || take_sanitizers(&v, verdict, s, e) != 0) return -1;
    again = verdict_to_json(&v);
    if (!again) return err_nomem(e);
    leave_out(again, stored, missing);
    rc = compare(stored, again, "decided again from the samples it is", e);
    json_decref(again);
    return rc;
}
