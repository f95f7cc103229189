/* report_kept.c - why a champion stayed: numbers first (JSON), then words, so that a run, a night and a report say the same. */
#include "report_kept.h"

#include <math.h>
#include <string.h>

#include "report_private.h"

static bool somebody_was_proven(const json_t *trials)
{
    for (size_t i = 0; i < json_array_size(trials); i++)
        if (strcmp(text(json_object_get(json_array_get(trials, i), "verdict"), "outcome"), "PROMOTE") == 0) return true;
    return false;
}

static double gain_missing(const json_t *v, const json_t *rule)
{
    return 100 * (number(rule, "min_gain") - (1 - exp(number(v, "upper"))));
}

/* By how much a clause was failed, where its number and its limit are known; "": its own sentence says what there is to say. */
static void short_by(struct buf *out, const char *clause, const json_t *v, const json_t *rule)
{
    double gain = gain_missing(v, rule), effect = number(rule, "hedges_g") - number(v, "g_within");
    double off = 100 * (fabs(1 - number(v, "aa_ratio")) - number(rule, "min_gain") / 2);
    double late = number(v, "mean_b_us") - number(rule, "target_us");

    if (strncmp(clause, "P2", 2) == 0 && off > 0 && isfinite(off))
        buf_printf(out, "the control is off by %.3f points too many", off);
    if (strncmp(clause, "P3", 2) == 0 && gain > 0) buf_printf(out, "what is proven is %.2f points of gain short", gain);
    if (strncmp(clause, "P4", 2) == 0 && effect > 0 && isfinite(effect)) buf_printf(out, "g is %.2f short", effect);
    if (strncmp(clause, "P5", 2) == 0 && late > 0) buf_printf(out, "%.4g us too slow", late);
}

/* What would have to be different. */
static void needed(struct buf *out, const json_t *v, const json_t *rule)
{
    double gain = 1 - number(v, "ratio"), least = number(rule, "min_gain"), sessions = number(v, "sessions_needed");

    if (strcmp(text(v, "outcome"), "INVALID") == 0)
        buf_puts(out, "a valid trial, on a machine that is quieter");
    else if (gain < least)
        buf_printf(out, "a gain of %.2f%%; it has %.2f%%, so %.2f%% are missing", 100 * least, 100 * gain,
                   100 * (least - gain));
    else if (sessions > 0)
        buf_printf(out, "about %.0f sessions instead of %.0f (promote: {sessions: %.0f} in the space)", sessions,
                   number(v, "sessions"), sessions);
    else
        buf_puts(out, "what these clauses ask; more sessions would not do");
}

static json_t *challenger(const json_t *trial, const json_t *rule)
{
    const json_t *v = json_object_get(trial, "verdict"), *clauses = json_object_get(v, "clauses");
    json_t *failed = json_array(), *out;
    struct buf words = {0};

    for (size_t i = 0; i < json_array_size(clauses); i++) {
        const json_t *c = json_array_get(clauses, i);
        if (json_is_true(json_object_get(c, "passed"))) continue;
        buf_clear(&words);
        short_by(&words, text(c, "clause"), v, rule);
        json_array_append_new(failed, json_pack("{s:s,s:s,s:s}", "clause", text(c, "clause"), "why", text(c, "why"),
                                                "short_by", buf_text(&words)));
    }
    buf_clear(&words);
    needed(&words, v, rule);
    out = json_pack("{s:s,s:s,s:o,s:s}", "candidate", text(trial, "candidate"), "outcome", text(v, "outcome"), "failed",
                    failed, "needed", buf_text(&words));
    buf_free(&words);
    return out;
}

json_t *report_kept_json(const json_t *run)
{
    const json_t *trials = json_object_get(run, "trials"), *champion = json_object_get(run, "champion"),
                 *best = json_object_get(run, "best_search"), *fates = json_object_get(run, "fates");
    json_t *list;

    if (!json_is_object(champion) || somebody_was_proven(trials)) return NULL;
    list = json_array();
    for (size_t i = 0; i < json_array_size(trials); i++)
        json_array_append_new(list, challenger(json_array_get(trials, i), json_object_get(run, "rule")));
    return json_pack("{s:I,s:s,s:I,s:s,s:I,s:O,s:O,s:o}", "run",
                     (json_int_t)json_integer_value(json_object_get(run, "run")), "champion", text(champion, "name"),
                     "proposals", (json_int_t)json_integer_value(json_object_get(run, "proposals")), "strategy",
                     text(run, "strategy"), "known", (json_int_t)json_integer_value(json_object_get(run, "known")),
                     "fates", json_is_object(fates) ? fates : json_object(), "best_search",
                     json_is_object(best) ? best : json_null(), "finalists", list);
}

/* ---- words ---- */

static void tried(struct buf *out, const json_t *kept)
{
    const json_t *best = json_object_get(kept, "best_search"), *n;
    const char *name, *comma = ", of which failed: ";

    buf_printf(out, "  tried: %.0f proposals (%s)", number(kept, "proposals"), text(kept, "strategy"));
    if (number(kept, "known") > 0) buf_printf(out, ", %.0f of them known from earlier runs", number(kept, "known"));
    json_object_foreach(json_object_get(kept, "fates"), name, n)
    {
        if (strcmp(name, "OK") == 0) continue;
        buf_printf(out, "%s%lld %s", comma, (long long)json_integer_value(n), name);
        comma = ", ";
    }
    buf_printf(out, "; finalists: %zu\n", json_array_size(json_object_get(kept, "finalists")));
    if (json_is_object(best))
        buf_printf(out, "  best search score, which decides nothing: %.3f us\n    %s\n", number(best, "us"),
                   text(best, "candidate"));
}

static void finalist(struct buf *out, size_t i, const json_t *f)
{
    const json_t *failed = json_object_get(f, "failed");

    buf_printf(out, "  finalist %zu: %s\n    %s\n", i + 1, text(f, "outcome"), text(f, "candidate"));
    for (size_t n = 0; n < json_array_size(failed); n++) {
        const json_t *c = json_array_get(failed, n);
        buf_printf(out, "    %s: %s%s%s\n", text(c, "clause"), text(c, "why"), *text(c, "short_by") ? "; " : "",
                   text(c, "short_by"));
    }
    buf_printf(out, "    needed: %s\n", text(f, "needed"));
}

void report_kept(struct buf *out, const json_t *run)
{
    json_t *kept = report_kept_json(run);
    const json_t *finalists = json_object_get(kept, "finalists");

    if (kept) {
        buf_puts(out, "\nwhy nobody was promoted\n");
        tried(out, kept);
        if (json_array_size(finalists) == 0) buf_puts(out, "  nobody was left to challenge the standing arm\n");
    }
    for (size_t i = 0; i < json_array_size(finalists); i++)
        finalist(out, i, json_array_get(finalists, i));
    json_decref(kept);
}
