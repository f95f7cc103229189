/* report_importance.c - which parameters mattered, a line each. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report.h"
#include "report_private.h"

enum { SHORT_PARAMS = 5, SHORT_PAIRS = 3, VALUES = 6, LEAST_PERCENT = 1 };

static const char *why_not(const json_t *m, const char *view)
{
    return text(json_object_get(m, view), "why");
}

/* "41%", "41% [38, 44]"; "-": it cannot be told. */
static void share(char cell[40], const json_t *x, const char *percent, const char *ci, bool exact)
{
    const json_t *pair = json_object_get(x, ci);

    if (!isfinite(number(x, percent)))
        snprintf(cell, 40, "-");
    else if (exact)
        snprintf(cell, 40, "%.0f%%", number(x, percent));
    else
        snprintf(cell, 40, "%.0f%% [%.0f, %.0f]", number(x, percent), json_number_value(json_array_get(pair, 0)),
                 json_number_value(json_array_get(pair, 1)));
}

/* A line of the table, its last column empty or not. */
static void row(struct buf *out, const char *name, const char *all, const char *fast, const char *last)
{
    if (*last)
        buf_printf(out, "  %-32.60s  %-14s  %-14s  %s\n", name, all, fast, last);
    else
        buf_printf(out, "  %-32.60s  %-14s  %s\n", name, all, fast);
}

static void shares(struct buf *out, const json_t *m, const json_t *x, const char *name, const char *last)
{
    bool exact = json_is_true(json_object_get(m, "exact"));
    char all[40], fast[40];

    share(all, x, "all_percent", "all_ci_percent", exact);
    share(fast, x, "fast_percent", "fast_ci_percent", exact);
    row(out, name, all, fast, last);
}

/* "2; 1 +35%, 4 +60%": the best value, what others cost, and which have no point there. */
static void costs(struct buf *out, const json_t *param, const char *member)
{
    const json_t *values = json_object_get(param, "values");
    const char *comma = "; ", *absent = "; none there has ";
    size_t shown = 0, n = json_array_size(values);

    for (size_t i = 0; i < n; i++)
        if (number(json_array_get(values, i), member) <= 0)
            buf_printf(out, "%s%.20s", shown++ ? " = " : "", text(json_array_get(values, i), "value"));
    for (size_t i = 0; i < n && shown < VALUES; i++) {
        const json_t *v = json_array_get(values, i);
        if (!(number(v, member) > 0)) continue;
        buf_printf(out, "%s%.20s +%.3g%%", comma, text(v, "value"), number(v, member));
        comma = ", ";
        shown++;
    }
    for (size_t i = 0; i < n && shown < VALUES; i++) {
        const json_t *v = json_array_get(values, i);
        if (isfinite(number(v, member))) continue;
        buf_printf(out, "%s%.20s", absent, text(v, "value"));
        absent = ", ";
        shown++;
    }
    if (shown < n) buf_printf(out, ", and %zu more", n - shown);
}

/* It is worth a line: a share of one in a hundred of what can be told. */
static bool counts(const json_t *x)
{
    return number(x, "all_percent") >= LEAST_PERCENT || number(x, "fast_percent") >= LEAST_PERCENT;
}

static void params(struct buf *out, const json_t *m, bool all)
{
    const json_t *list = json_object_get(m, "params");
    bool fast = !*why_not(m, "fast");

    for (size_t i = 0; i < json_array_size(list) && (all || i < SHORT_PARAMS); i++) {
        const json_t *p = json_array_get(list, i);
        struct buf last = {0};
        if (!all && !counts(p)) break;
        costs(&last, p, fast ? "fast_more_percent" : "all_more_percent");
        shares(out, m, p, text(p, "param"), buf_text(&last));
        buf_free(&last);
    }
}

static void pairs(struct buf *out, const json_t *m, bool all)
{
    const json_t *list = json_object_get(m, "pairs");

    for (size_t i = 0; i < json_array_size(list) && (all || i < SHORT_PAIRS); i++) {
        const json_t *p = json_array_get(list, i);
        struct buf name = {0};
        if (!counts(p)) break;
        buf_printf(&name, "%.28s x %.28s", text(p, "a"), text(p, "b"));
        shares(out, m, p, buf_text(&name), i == 0 ? "together, beyond each by itself" : "");
        buf_free(&name);
    }
}

/* A line over both views: of 100, "-" where it cannot be told. */
static void summed(struct buf *out, const json_t *m, const char *name, const char *member, double of)
{
    static const char *const views[] = {"all", "fast"};
    char cell[2][40];

    for (size_t i = 0; i < 2; i++) {
        double x = 100 / of * number(json_object_get(m, views[i]), member);
        snprintf(cell[i], sizeof cell[i], isfinite(x) && !*why_not(m, views[i]) ? "%.0f%%" : "-", x);
    }
    row(out, name, cell[0], cell[1], "");
}

static void failing(struct buf *out, const json_t *m)
{
    const json_t *list = json_object_get(m, "failing");

    for (size_t i = 0; i < json_array_size(list) && i < SHORT_PARAMS; i++) {
        const json_t *f = json_array_get(list, i);
        buf_printf(out, "  fails more than chance: %s=%s, %.0f of %.0f points (%.0f of %.0f in all)\n",
                   text(f, "param"), text(f, "value"), number(f, "failed"), number(f, "tried"), number(m, "failed"),
                   number(m, "tried"));
    }
}

static void head(struct buf *out, const json_t *m)
{
    bool counted = json_is_true(json_object_get(m, "counted"));

    buf_printf(out, "\nwhat mattered in %s: share of the variance of ln time; ", text(m, "template"));
    if (json_is_true(json_object_get(m, "exact")))
        buf_printf(out, "all %.0f valid points were tried, nothing is estimated\n", number(m, "valid"));
    else
        buf_printf(out, "%.0f of %s%.6g valid points were tried\n", number(m, "tried"), counted ? "" : "about ",
                   number(m, "valid"));
}

static void unknown(struct buf *out, const json_t *m, const char *view, const char *words)
{
    if (*why_not(m, view)) buf_printf(out, "  cannot be told of %s: %s\n", words, why_not(m, view));
}

static void template(struct buf *out, const json_t *m, bool all)
{
    bool neither = *why_not(m, "all") && *why_not(m, "fast");

    head(out, m);
    unknown(out, m, "all", neither ? "any parameter" : "all points");
    if (!neither) {
        unknown(out, m, "fast", "the faster half");
        row(out, "", "all points", "faster half",
            *why_not(m, "fast") ? "best; what others cost (all points)" : "best; what others cost (faster half)");
        params(out, m, all);
        pairs(out, m, all);
        summed(out, m, "all parameters one by one", "additive_percent", 100);
        summed(out, m, "more than two together, noise", "rest_percent", 100);
        if (!json_is_true(json_object_get(m, "exact"))) summed(out, m, "model explains of unseen points", "r2", 1);
    }
    failing(out, m);
}

void report_importance(struct buf *out, const json_t *list, bool all)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        template(out, json_array_get(list, i), all);
}
