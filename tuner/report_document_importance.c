#include <math.h>
#include <stdint.h>
#include <string.h>

#include "report_document_private.h"
#include "report_private.h"

enum { PAIRS = 5 };

static const struct {
    const char *member, *name;
} views[] = {{"all", "all valid points"}, {"fast", "the faster half of them"}};
enum { VIEWS = sizeof views / sizeof *views };

static void share(struct page *p, const json_t *x, const char *percent, const char *ci)
{
    page_cell(p, "%s", report_number(NUMBER, number(x, percent)));
    page_cell(p, "%s", report_interval((char[REPORT_INTERVAL]){0}, json_object_get(x, ci)));
}

static void both_shares(struct page *p, const json_t *x)
{
    share(p, x, "all_percent", "all_ci_percent");
    share(p, x, "fast_percent", "fast_ci_percent");
}

static void params(struct page *p, const json_t *m)
{
    static const char *const columns[] = {"parameter",      ">all points %", ">interval",
                                          ">faster half %", ">interval",     NULL};
    const json_t *list = json_object_get(m, "params");
    char caption[160];

    snprintf(caption, sizeof caption, "%.64s: share of the variance of ln time that each parameter explains",
             text(m, "template"));
    page_table(p, caption, columns);
    for (size_t i = 0; i < json_array_size(list); i++) {
        page_cell(p, "%s", text(json_array_get(list, i), "param"));
        both_shares(p, json_array_get(list, i));
    }
    page_table_end(p);
}

static void pairs(struct page *p, const json_t *m)
{
    static const char *const columns[] = {"pair", ">all points %", ">interval", ">faster half %", ">interval", NULL};
    const json_t *list = json_object_get(m, "pairs");

    if (json_array_size(list) == 0) return;
    page_table(p, "The strongest pairs: what they explain together, beyond both by themselves", columns);
    for (size_t i = 0; i < json_array_size(list) && i < PAIRS; i++) {
        const json_t *x = json_array_get(list, i);
        page_cell(p, "%s and %s", text(x, "a"), text(x, "b"));
        both_shares(p, x);
    }
    page_table_end(p);
}

/* What it rests on, and what parameters and pairs leave over. */
static void basis(struct page *p, const json_t *m)
{
    bool exact = json_is_true(json_object_get(m, "exact"));

    page_say(p, "%s: %s of %s valid points were tried%s.", text(m, "template"),
             report_number(NUMBER, number(m, "tried")), report_number(NUMBER, number(m, "valid")),
             exact ? ", all of them, so nothing is estimated" : "");
    for (size_t i = 0; i < VIEWS; i++) {
        const json_t *v = json_object_get(m, views[i].member);
        if (*text(v, "why")) {
            page_say(p, "Of %s nothing can be told: %s.", views[i].name, text(v, "why"));
            continue;
        }
        page_say(
            p,
            "Of the variance over %s, all parameters one by one explain %s %%; %s %% are of more than two together, "
            "or noise.",
            views[i].name, report_number(NUMBER, number(v, "additive_percent")),
            report_number(NUMBER, number(v, "rest_percent")));
        if (!exact)
            page_say(p, "The model explains a share of %s of the variance of points there that it has not seen.",
                     report_number(NUMBER, number(v, "r2")));
    }
}

static void failing(struct page *p, const json_t *m)
{
    static const char *const columns[] = {"=value", ">failed", ">of those tried", NULL};
    const json_t *list = json_object_get(m, "failing");

    if (json_array_size(list) == 0) return;
    page_table(p, "Values of which more points fail than chance makes", columns);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *x = json_array_get(list, i);
        page_cell(p, "%s = %s", text(x, "param"), text(x, "value"));
        page_cell(p, "%s", report_number(NUMBER, number(x, "failed")));
        page_cell(p, "%s", report_number(NUMBER, number(x, "tried")));
    }
    page_table_end(p);
}

void report_document_importance(struct page *p, const json_t *report, struct report_pictures *pictures)
{
    const json_t *list = json_object_get(report, "importance");

    if (!json_is_array(list)) {
        page_say(
            p, "The search that is shown is not over, or its fatune did not say yet which parameters mattered: `fatune "
               "importance` tells.");
        return;
    }
    page_say(
        p,
        "Which parameters mattered, in the templates that reached the race of the search that is shown: shares of the "
        "variance of the logarithm of the time, over all valid points of the space, tried or not, and over the faster "
        "half of them, which tells the good from the best. What was not tried is expected by a model. Where "
        "constraints tie parameters to each other, each is credited with what they share.");
    report_show_picture(p, pictures, PICTURE_IMPORTANCE);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i);
        basis(p, m);
        if (*text(json_object_get(m, "all"), "why") && *text(json_object_get(m, "fast"), "why")) continue;
        params(p, m);
        pairs(p, m);
        failing(p, m);
    }
}
