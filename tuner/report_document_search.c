#include <math.h>
#include <stdint.h>
#include <string.h>

#include "report_document_private.h"
#include "report_private.h"
#include "tune.h"

/* ---- time ---- */

/* A row of the timeline: what, then its parts. */
static void time_row(struct page *p, const char *what, const json_t *parts)
{
    struct buf line = {0};
    const char *name;
    const json_t *x;

    json_object_foreach((json_t *)(uintptr_t)parts, name, x)
        buf_printf(&line, "%s%s %s s", line.n ? ", " : "", name, report_number(NUMBER, json_number_value(x)));
    page_cell(p, "%s", what);
    page_cell(p, "%s", buf_text(&line));
    buf_free(&line);
}

static void timeline(struct page *p, const json_t *time)
{
    static const char *const columns[] = {"who", "+what", NULL};
    char caption[160];

    if (!json_is_object(time)) return;
    snprintf(caption, sizeof caption, "Where the %s s of the search went, in %s invocations",
             report_number(NUMBER, number(time, "wall")), report_number(NUMBER, number(time, "invocations")));
    page_table(p, caption, columns);
    time_row(p, "device worker", json_object_get(time, "device"));
    time_row(p, "idle, waiting for", json_object_get(time, "idle"));
    time_row(p, "supervisor", json_object_get(time, "supervisor"));
    time_row(p, "compile workers", json_object_get(time, "compilers"));
    page_table_end(p);
}

/* ---- progress ---- */

/* What it proposed first, from what was known. */
static void seeds(struct page *p, const json_t *list)
{
    struct buf words = {0};

    tune_seeds_text(list, &words);
    if (words.n > 0)
        page_say(p, "Proposed and measured before the strategy's own, because they did well elsewhere: %s.",
                 buf_text(&words));
    buf_free(&words);
}

static void progress(struct page *p, const json_t *search, struct report_pictures *pictures)
{
    static const char *const columns[] = {">proposal", ">after s", ">us", "+configuration", NULL};
    const json_t *best = json_object_get(search, "best");

    page_section(p, "search", "Search");
    if (!json_is_object(search)) {
        page_say(p, "No run of this track has searched.");
        return;
    }
    page_say(p,
             "Run %s, begun on %.10s (%s): %s proposals by %s, seed %" JSON_INTEGER_FORMAT
             "; %s of code that another had, %s known from earlier runs. Search scores are medians of a few samples: "
             "they select, and decide nothing.",
             report_number(NUMBER, number(search, "run")), text(search, "started"), text(search, "state"),
             report_number(NUMBER, number(search, "evaluations")), text(search, "strategy"),
             json_integer_value(json_object_get(search, "seed")), report_number(NUMBER, number(search, "aliases")),
             report_number(NUMBER, number(search, "known")));
    timeline(p, json_object_get(search, "time"));
    seeds(p, json_object_get(search, "seeds"));
    if (json_array_size(best) == 0) {
        page_say(p, "None of them was measured well, so there is no best.");
        return;
    }
    report_show_picture(p, pictures, PICTURE_EVALUATIONS);
    report_show_picture(p, pictures, PICTURE_TIME);
    page_table(p, "Each proposal that was the best so far; seconds since the run began, pauses included", columns);
    for (size_t i = 0; i < json_array_size(best); i++) {
        const json_t *x = json_array_get(best, i);
        page_cell(p, "%s", report_number(NUMBER, number(x, "seq")));
        page_cell(p, "%s", report_number(NUMBER, number(x, "after_s")));
        page_cell(p, "%s", report_number(NUMBER, number(x, "us")));
        page_cell(p, "%s", text(x, "candidate"));
    }
    page_table_end(p);
}

/* ---- parameters ---- */

static void values(struct page *p, const json_t *t)
{
    static const char *const columns[] = {"=value", ">candidates", ">best us", ">median us", NULL};
    const json_t *params = json_object_get(t, "params");
    struct buf caption = {0}, fixed = {0};
    bool varied = false;

    buf_printf(&caption, "%s: %s candidates, best %s us, median %s us", text(t, "template"),
               report_number(NUMBER, number(t, "candidates")), report_number(NUMBER, number(t, "best_us")),
               report_number(NUMBER, number(t, "median_us")));
    for (size_t i = 0; i < json_array_size(params); i++)
        varied = varied || json_array_size(json_object_get(json_array_get(params, i), "values")) > 1;
    if (varied)
        page_table(p, buf_text(&caption), columns);
    else
        page_say(p, "%s.", buf_text(&caption));
    for (size_t i = 0; i < json_array_size(params); i++) {
        const json_t *f = json_array_get(params, i), *list = json_object_get(f, "values");
        if (json_array_size(list) < 2) {
            buf_printf(&fixed, "%s%s=%lld", fixed.n ? ", " : "", text(f, "param"),
                       (long long)number(json_array_get(list, 0), "value"));
            continue;
        }
        for (size_t v = 0; v < json_array_size(list); v++) {
            const json_t *x = json_array_get(list, v);
            page_cell(p, "%s = %s", text(f, "param"), report_number(NUMBER, number(x, "value")));
            page_cell(p, "%s", report_number(NUMBER, number(x, "n")));
            page_cell(p, "%s", report_number(NUMBER, number(x, "best_us")));
            page_cell(p, "%s", report_number(NUMBER, number(x, "median_us")));
        }
    }
    if (varied) page_table_end(p);
    if (fixed.n) page_say(p, "Of these, one value alone was measured: %s.", buf_text(&fixed));
    buf_free(&caption);
    buf_free(&fixed);
}

/* Distinct values of one side of the grid, ascending; at most `most`. */
static int sides(const json_t *cells, const char *side, double *out, int most)
{
    int n = 0;

    for (size_t i = 0; i < json_array_size(cells); i++) {
        double x = number(json_array_get(cells, i), side);
        int at = 0;
        while (at < n && out[at] < x)
            at++;
        if ((at < n && out[at] == x) || n == most) continue;
        memmove(out + at + 1, out + at, sizeof *out * (size_t)(n - at));
        out[at] = x;
        n++;
    }
    return n;
}

static const json_t *cell_of(const json_t *cells, double a, double b)
{
    for (size_t i = 0; i < json_array_size(cells); i++) {
        const json_t *c = json_array_get(cells, i);
        if (number(c, "a") == a && number(c, "b") == b) return c;
    }
    return NULL;
}

enum { SIDE = 20 }; /* of the table; what is beyond is in the JSON */

static void heat(struct page *p, const json_t *grid)
{
    const json_t *cells = json_object_get(grid, "cells");
    double a[SIDE], b[SIDE], low = INFINITY, high = 0;
    int na = sides(cells, "a", a, SIDE), nb = sides(cells, "b", b, SIDE);
    char names[SIDE][REPORT_NUMBER + 1], corner[160], caption[400];
    const char *columns[SIDE + 2] = {corner};

    for (size_t i = 0; i < json_array_size(cells); i++) {
        low = fmin(low, number(json_array_get(cells, i), "median_us"));
        high = fmax(high, number(json_array_get(cells, i), "median_us"));
    }
    snprintf(corner, sizeof corner, "%.64s \\ %.64s", text(grid, "a"), text(grid, "b"));
    for (int j = 0; j < nb; j++) {
        snprintf(names[j], sizeof names[j], ">%s", report_number(NUMBER, b[j]));
        columns[j + 1] = names[j];
    }
    snprintf(caption, sizeof caption, "Median us by %.64s (down) and %.64s (across); the least is framed",
             text(grid, "a"), text(grid, "b"));
    page_table(p, caption, columns);
    for (int i = 0; i < na; i++) {
        page_cell(p, "%s", report_number(NUMBER, a[i]));
        for (int j = 0; j < nb; j++) {
            const json_t *c = cell_of(cells, a[i], b[j]);
            double us = number(c, "median_us");
            if (!c)
                page_cell(p, "-");
            else
                page_tinted(p, high > low ? 0.6 * log(high / us) / log(high / low) : 0, us == low, "%s",
                            report_number(NUMBER, us));
        }
    }
    page_table_end(p);
}

static void dead(struct page *p, const json_t *report)
{
    static const char *const columns[] = {"parameter", "template", ">pairs compared", NULL};
    const json_t *list = json_object_get(report, "dead");

    page_heading(p, "Parameters that did nothing");
    if (!json_is_array(list)) {
        page_say(p, "The search that is shown is not over, so it is not known which parameters did nothing.");
    } else if (json_array_size(list) == 0) {
        page_say(p, "None: each parameter changed the code or the launch somewhere, or was never varied alone.");
    } else {
        page_table(p, "Whatever agreed in all other parameters had equal code and launch", columns);
        for (size_t i = 0; i < json_array_size(list); i++) {
            const json_t *d = json_array_get(list, i);
            page_cell(p, "%s", text(d, "param"));
            page_cell(p, "%s", text(d, "template"));
            page_cell(p, "%s", report_number(NUMBER, number(d, "pairs")));
        }
        page_table_end(p);
    }
}

static void parameters(struct page *p, const json_t *report, struct report_pictures *pictures)
{
    const json_t *list = json_object_get(report, "parameters");

    page_section(p, "parameters", "What each parameter does");
    if (json_array_size(list) == 0) {
        page_say(p, "No candidate was measured well, so nothing can be said of parameters.");
        return;
    }
    report_document_importance(p, report, pictures);
    page_heading(p, "What was measured of each value");
    page_say(
        p, "All candidates that were measured in this environment, each once, by their search scores. A search prefers "
           "good values, so a value may look good for the company that it was measured in.");
    report_show_picture(p, pictures, PICTURE_PARAMETERS);
    for (size_t i = 0; i < json_array_size(list); i++)
        values(p, json_array_get(list, i));
    if (json_is_object(json_object_get(json_array_get(list, 0), "grid"))) {
        if (p->format == PAGE_MARKDOWN) report_show_picture(p, pictures, PICTURE_GRID); /* in HTML the table is one */
        heat(p, json_object_get(json_array_get(list, 0), "grid"));
    }
    dead(p, report);
}

static void fates(struct page *p, const json_t *search)
{
    static const char *const columns[] = {"fate", ">proposals", NULL};
    const json_t *list = json_object_get(search, "fates"), *n;
    const char *name;

    page_section(p, "fates", "What became of the proposals");
    if (!json_is_object(search)) {
        page_say(p, "There were no proposals.");
        return;
    }
    page_table(p, "Proposals by fate; all but OK are failures, each with its log in the store", columns);
    json_object_foreach((json_t *)(uintptr_t)list, name, n)
    {
        page_cell(p, "%s", name);
        page_cell(p, "%s", report_number(NUMBER, json_number_value(n)));
    }
    page_table_end(p);
}

void report_document_search(struct page *p, const json_t *report, struct report_pictures *pictures)
{
    const json_t *search = json_object_get(report, "search");

    progress(p, search, pictures);
    parameters(p, report, pictures);
    fates(p, search);
}
