#include "report_night.h"

#include <math.h>
#include <string.h>

#include "report.h"
#include "report_private.h"

static bool flag(const json_t *j, const char *name)
{
    return json_is_true(json_object_get(j, name));
}

/* ---- why nobody was promoted ---- */

static bool somebody_was_proven(const json_t *trials)
{
    for (size_t i = 0; i < json_array_size(trials); i++)
        if (strcmp(text(json_object_get(json_array_get(trials, i), "verdict"), "outcome"), "PROMOTE") == 0) return true;
    return false;
}

static void tried(struct buf *out, const json_t *run)
{
    const json_t *best = json_object_get(run, "best_search"), *fates = json_object_get(run, "fates");
    double failed = number(run, "proposals") - number(fates, "OK"), known = number(run, "known");

    buf_printf(out, "  tried: %.0f proposals (%s)", number(run, "proposals"), text(run, "strategy"));
    if (known > 0) buf_printf(out, ", %.0f of them known from earlier runs", known);
    if (failed > 0) buf_printf(out, ", %.0f failed", failed);
    buf_puts(out, "\n");
    if (best && json_is_object(best))
        buf_printf(out, "  best search score, which decides nothing: %.3f us\n    %s\n", number(best, "us"),
                   text(best, "candidate"));
}

/* What would have to be different. */
static void needed(struct buf *out, const json_t *v, const json_t *rule)
{
    double gain = 1 - number(v, "ratio"), least = number(rule, "min_gain"), sessions = number(v, "sessions_needed");

    if (strcmp(text(v, "outcome"), "INVALID") == 0)
        buf_puts(out, "    needed: a valid trial, on a machine that is quieter\n");
    else if (gain < least)
        buf_printf(out, "    needed: a gain of %.2f%%; it has %.2f%%, so %.2f%% are missing\n", 100 * least, 100 * gain,
                   100 * (least - gain));
    else if (sessions > 0)
        buf_printf(out, "    needed: about %.0f sessions instead of %.0f (promote: {sessions: %.0f} in the space)\n",
                   sessions, number(v, "sessions"), sessions);
    else
        buf_puts(out, "    needed: what these clauses ask; more sessions would not do\n");
}

static void challenger(struct buf *out, size_t i, const json_t *trial, const json_t *rule)
{
    const json_t *v = json_object_get(trial, "verdict"), *clauses = json_object_get(v, "clauses");

    buf_printf(out, "  finalist %zu: %s\n    %s\n", i + 1, text(v, "outcome"), text(trial, "candidate"));
    for (size_t n = 0; n < json_array_size(clauses); n++) {
        const json_t *c = json_array_get(clauses, n);
        if (!flag(c, "passed")) buf_printf(out, "    %s: %s\n", text(c, "clause"), text(c, "why"));
    }
    needed(out, v, rule);
}

void report_kept(struct buf *out, const json_t *run)
{
    const json_t *trials = json_object_get(run, "trials"), *rule = json_object_get(run, "rule");

    if (!json_is_object(json_object_get(run, "champion")) || somebody_was_proven(trials)) return;
    buf_puts(out, "\nwhy nobody was promoted\n");
    tried(out, run);
    if (json_array_size(trials) == 0) buf_puts(out, "  nobody was left to challenge the standing arm\n");
    for (size_t i = 0; i < json_array_size(trials); i++)
        challenger(out, i, json_array_get(trials, i), rule);
}

/* ---- a night ---- */

static void checked(struct buf *out, const json_t *check)
{
    const json_t *shapes = json_object_get(check, "shapes");
    size_t left_out = 0, n = json_array_size(shapes);

    if (!json_is_object(check)) return;
    for (size_t i = 0; i < n; i++)
        left_out += json_is_string(json_object_get(json_array_get(shapes, i), "left_out"));
    buf_printf(
        out,
        "  champion %s was compiled and checked anew, with fresh inputs: it passes, on %zu shapes beside its own "
        "too\n",
        text(check, "version"), n - left_out);
    if (!flag(check, "same_code"))
        buf_puts(out, "  its machine code is not what it was when it was crowned: another compiler, or one that is not "
                      "deterministic\n");
    for (size_t i = 0; i < n; i++) {
        const json_t *s = json_array_get(shapes, i);
        buf_printf(out, "    %s: %s%s\n", text(s, "problem"), *text(s, "left_out") ? "left out, " : text(s, "fate"),
                   text(s, "left_out"));
    }
}

static void anchor(struct buf *out, const json_t *a)
{
    const json_t *chart = json_object_get(a, "chart");
    double nights = number(chart, "nights"), least = number(chart, "needed");

    if (!json_is_object(a)) return;
    buf_printf(out, "  anchor %s: ", text(a, "version"));
    if (*text(a, "left_out")) {
        buf_printf(out, "%s\n", text(a, "left_out"));
        return;
    }
    buf_printf(out, "%.3f us", number(a, "us"));
    if (nights < least)
        buf_printf(out, ", night %.0f of %.0f that its chart needs in this environment\n", nights, least);
    else
        buf_printf(out, "; its average of %.3f us is %s its limits [%.3f, %.3f] over %.0f nights\n",
                   number(chart, "average_us"), flag(chart, "outside") ? "OUTSIDE" : "within", number(chart, "low_us"),
                   number(chart, "high_us"), nights);
}

void report_night(struct buf *out, const json_t *n)
{
    const json_t *promotion = json_object_get(n, "promotion"), *ci = json_object_get(n, "control_ci");
    const char *before = text(n, "before"), *after = text(n, "after");

    buf_printf(out, "%s, night %.0f on %s (%s): %s", text(n, "space"), number(n, "night"), text(n, "device_name"),
               text(n, "device"), text(n, "outcome"));
    if (strcmp(before, after) == 0)
        buf_printf(out, " %s\n", after);
    else
        buf_printf(out, ", %s -> %s\n", *before ? before : "nobody", *after ? after : "nobody");
    if (*text(n, "note")) buf_printf(out, "  %s\n", text(n, "note"));
    checked(out, json_object_get(n, "check"));
    if (json_is_object(promotion))
        buf_printf(out, "  promotion of %s: %s (%s)\n", text(promotion, "version"), text(promotion, "became"),
                   text(promotion, "note"));
    if (isfinite(number(n, "control")))
        buf_printf(out, "  A/A control %.5f [%.5f, %.5f] (99%%)\n", number(n, "control"),
                   json_number_value(json_array_get(ci, 0)), json_number_value(json_array_get(ci, 1)));
    anchor(out, json_object_get(n, "anchor"));
    buf_printf(out, "  %.0f trial%s that could change the champion, alpha %g spent, %.0f s\n", number(n, "trials"),
               number(n, "trials") == 1 ? "" : "s", number(n, "alpha_spent"), number(n, "seconds"));
    report_kept(out, json_object_get(n, "run"));
}

void report_night_page(struct buf *out, const json_t *n)
{
    const json_t *run = json_object_get(n, "run");

    buf_printf(out, "# %s, night %.0f: %s\n\n", text(n, "space"), number(n, "night"), text(n, "outcome"));
    buf_printf(out, "%s, %s (%s), track %.12s. Machine-readable: the .json of the same name.\n\n```text\n",
               text(n, "date"), text(n, "device_name"), text(n, "device"), text(n, "track"));
    report_night(out, n);
    buf_puts(out, "```\n");
    if (!json_is_object(run)) return;
    buf_puts(out, "\n## The run\n\n```text");
    report_run(out, run);
    buf_puts(out, "```\n");
}

bool report_night_news(const json_t *n)
{
    const json_t *chart = json_object_get(json_object_get(n, "anchor"), "chart");

    return strcmp(text(n, "outcome"), "kept") != 0 || json_is_object(json_object_get(n, "promotion")) ||
           flag(chart, "outside");
}
