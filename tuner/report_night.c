#include "report_night.h"

#include <math.h>
#include <string.h>

#include "report.h"
#include "report_kept.h"
#include "report_private.h"

static bool flag(const json_t *j, const char *name)
{
    return json_is_true(json_object_get(j, name));
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
