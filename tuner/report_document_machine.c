#include <math.h>
#include <string.h>

#include "report_document_private.h"
#include "report_private.h"

/* ---- roofline ---- */

static void ceilings(struct page *p, const json_t *r)
{
    static const char *const columns[] = {"ceiling", ">", "unit", NULL};
    const json_t *list = json_object_get(r, "ceilings");

    page_table(p, "What the device can do at most", columns);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        bool compute = strcmp(text(c, "kind"), "compute") == 0;
        page_cell(p, "%s", text(c, "name"));
        page_cell(p, "%s", report_number(NUMBER, number(c, compute ? "tflops" : "gbytes_s")));
        page_cell(p, "%s", compute ? "TFLOP/s" : "GB/s");
    }
    page_table_end(p);
}

static void roofline(struct page *p, const json_t *report, struct report_pictures *pictures)
{
    const json_t *r = json_object_get(report, "roofline");

    page_section(p, "roofline", "Roofline");
    if (!json_is_object(r)) {
        page_say(p, "The space of the run cannot be read any more, so its work is not known.");
        return;
    }
    page_say(p,
             "The problem asks for %s GFLOP and, at the least, %s MB of device memory: %s operations for each byte. "
             "Masked pairs "
             "are not counted, nor what a kernel does beyond the problem.",
             report_number(NUMBER, number(r, "gflop")), report_number(NUMBER, number(r, "mbytes")),
             report_number(NUMBER, number(r, "flop_per_byte")));
    if (json_array_size(json_object_get(r, "ceilings")) == 0) {
        page_say(p, "What this device can do at most is not known, so there is no roofline.");
        return;
    }
    page_say(p, "Below are the data sheet's rates; fatune profile measures what the device attains.");
    report_show_picture(p, pictures, PICTURE_ROOFLINE);
    ceilings(p, r);
    page_say(p, "At these rates the operations alone take %s us, the bytes alone %s us%s.",
             report_number(NUMBER, number(r, "compute_us")), report_number(NUMBER, number(r, "memory_us")),
             json_is_true(json_object_get(r, "fits_l2"))
                 ? "; all tensors fit the L2 together, so memory does not bound a warm launch"
                 : "");
    if (isfinite(number(r, "us")) && isfinite(number(r, "floor_us")))
        page_say(p,
                 "No kernel can take less than %s us here. The champion takes %s us, %s TFLOP/s: the floor is %s%% of "
                 "its time.",
                 report_number(NUMBER, number(r, "floor_us")), report_number(NUMBER, number(r, "us")),
                 report_number(NUMBER, number(r, "tflops")), report_number(NUMBER, number(r, "floor_percent")));
}

/* ---- nights ---- */

static void chart(struct page *p, const json_t *c, struct report_pictures *pictures)
{
    static const char *const columns[] = {">night",  ">anchor us", ">off by %", ">average us",
                                          ">low us", ">high us",   NULL};
    const json_t *points = json_object_get(c, "points");

    page_heading(p, "Is the machine what it was?");
    if (!json_is_object(c)) {
        page_say(p, "No night has timed an anchor, a kernel that stays the same.");
        return;
    }
    if (json_is_null(json_object_get(c, "mean_us")))
        page_say(p, "The anchor was timed in %s nights of this environment; limits need %s.",
                 report_number(NUMBER, number(c, "nights")), report_number(NUMBER, number(c, "needed")));
    else
        page_say(p, "EWMA chart of the anchor: the average is %s its limits. It reports, and decides nothing.",
                 json_is_true(json_object_get(c, "outside")) ? "OUTSIDE" : "within");
    report_show_picture(p, pictures, PICTURE_NIGHTS);
    page_table(p, "Nights of the newest environment; off by: the anchor from its mean", columns);
    for (size_t i = 0; i < json_array_size(points); i++) {
        const json_t *x = json_array_get(points, i);
        page_cell(p, "%s", report_number(NUMBER, number(x, "night")));
        page_cell(p, "%s", report_number(NUMBER, number(x, "anchor_us")));
        page_cell(p, "%s", report_number(NUMBER, number(x, "off_percent")));
        page_cell(p, "%s", report_number(NUMBER, number(x, "average_us")));
        page_cell(p, "%s", report_number(NUMBER, number(x, "low_us")));
        page_cell(p, "%s", report_number(NUMBER, number(x, "high_us")));
    }
    page_table_end(p);
}

static void nights(struct page *p, const json_t *report, struct report_pictures *pictures)
{
    static const char *const columns[] = {">night",        "=date",   "outcome", "before", "after",
                                          ">A/A off by %", ">trials", "+why",    NULL};
    const json_t *n = json_object_get(report, "nights"), *ledger = json_object_get(n, "ledger");

    page_section(p, "nights", "Nights");
    if (json_array_size(ledger) == 0) {
        page_say(p, "There was no night yet; fatune nightly holds one.");
        return;
    }
    page_table(p, "The ledger, oldest first", columns);
    for (size_t i = 0; i < json_array_size(ledger); i++) {
        const json_t *x = json_array_get(ledger, i);
        page_cell(p, "%s", report_number(NUMBER, number(x, "night")));
        page_cell(p, "%.10s", text(x, "at"));
        page_cell(p, "%s%s%s", text(x, "outcome"), *text(x, "promotion") ? ", promotion " : "", text(x, "promotion"));
        page_cell(p, "%s", *text(x, "before") ? text(x, "before") : "nobody");
        page_cell(p, "%s", *text(x, "after") ? text(x, "after") : "nobody");
        page_cell(p, "%s", report_number(NUMBER, number(x, "control_off_percent")));
        page_cell(p, "%s", report_number(NUMBER, number(x, "trials")));
        page_cell(p, "%s", text(x, "note"));
    }
    page_table_end(p);
    chart(p, json_object_get(n, "chart"), pictures);
}

/* ---- why nobody was promoted ---- */

static void finalist(struct page *p, const json_t *f)
{
    static const char *const columns[] = {"clause that failed", "+with its numbers", "+by how much", NULL};
    const json_t *failed = json_object_get(f, "failed");

    struct buf heading = {0};

    buf_printf(&heading, "A finalist: %s", text(f, "outcome"));
    page_heading(p, buf_text(&heading));
    buf_free(&heading);
    page_say(p, "%s", text(f, "candidate"));
    page_table(p, "What it failed", columns);
    for (size_t i = 0; i < json_array_size(failed); i++) {
        const json_t *c = json_array_get(failed, i);
        page_cell(p, "%s", text(c, "clause"));
        page_cell(p, "%s", text(c, "why"));
        page_cell(p, "%s", text(c, "short_by"));
    }
    page_table_end(p);
    page_say(p, "Needed: %s.", text(f, "needed"));
}

static void kept(struct page *p, const json_t *report)
{
    const json_t *k = json_object_get(report, "kept"), *finalists = json_object_get(k, "finalists"),
                 *best = json_object_get(k, "best_search"), *n;
    struct buf failed = {0};
    const char *name;

    page_section(p, "kept", "Why nobody was promoted");
    if (!json_is_object(k)) {
        page_say(p, "%s",
                 json_is_object(json_object_get(report, "champion"))
                     ? "This does not apply: the newest finished run proved somebody faster."
                     : "This does not apply: nobody stands who could have been kept.");
        return;
    }
    json_object_foreach(json_object_get(k, "fates"), name, n) if (strcmp(name, "OK") != 0) buf_printf(
        &failed, "%s%s %s", failed.n ? ", " : "; failed: ", report_number(NUMBER, json_number_value(n)), name);
    page_say(p, "Run %s kept %s. Tried: %s proposals by %s, %s of them known from earlier runs%s.",
             report_number(NUMBER, number(k, "run")), text(k, "champion"),
             report_number(NUMBER, number(k, "proposals")), text(k, "strategy"),
             report_number(NUMBER, number(k, "known")), buf_text(&failed));
    if (json_is_object(best))
        page_say(p, "Best search score, which decides nothing: %s us, %s", report_number(NUMBER, number(best, "us")),
                 text(best, "candidate"));
    if (json_array_size(finalists) == 0) page_say(p, "Nobody was left to challenge the champion.");
    for (size_t i = 0; i < json_array_size(finalists); i++)
        finalist(p, json_array_get(finalists, i));
    buf_free(&failed);
}

/* ---- where it comes from ---- */

static void runs(struct page *p, const json_t *report)
{
    static const char *const columns[] = {">run", "=date", "state", "what", ">s", "strategy", "finalists", NULL};
    const json_t *list = json_object_get(report, "runs");

    page_table(p, "The runs of this track, newest first", columns);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *x = json_array_get(list, i), *outcomes = json_object_get(x, "outcomes");
        struct buf words = {0};
        for (size_t k = 0; k < json_array_size(outcomes); k++)
            buf_printf(&words, "%s%s", k ? ", " : "", json_string_value(json_array_get(outcomes, k)));
        page_cell(p, "%s", report_number(NUMBER, number(x, "run")));
        page_cell(p, "%.10s", text(x, "started"));
        page_cell(p, "%s", text(x, "state"));
        if (number(x, "confirms_run") > 0)
            page_cell(p, "confirms run %s", report_number(NUMBER, number(x, "confirms_run")));
        else
            page_cell(p, "%s", json_is_true(json_object_get(x, "night")) ? "a night" : "a run");
        page_cell(p, "%s", report_number(NUMBER, number(x, "seconds")));
        page_cell(p, "%s", text(x, "strategy"));
        page_cell(p, "%s", buf_text(&words));
        buf_free(&words);
    }
    page_table_end(p);
}

static void sources(struct page *p, const json_t *report)
{
    const json_t *t = json_object_get(report, "target"), *m = json_object_get(report, "method");

    page_section(p, "sources", "Where the numbers come from");
    page_say(p,
             "Everything is read from the store, track %s; no device was opened. Intervals are %s%% bootstrap-t over "
             "sessions, "
             "each a fresh process, if nothing else is said; a ratio's interval is of the paired trial. Chart: lambda "
             "%s, limits of %s "
             "standard deviations. Numbers are rounded to four digits; the JSON beside has them in full.",
             text(report, "track"), report_number(NUMBER, number(m, "interval_percent")),
             report_number(NUMBER, number(m, "chart_lambda")), report_number(NUMBER, number(m, "chart_limit")));
    if (json_is_object(t))
        page_say(p, "Device %s (%s), driver %s, compiler %s. Report by fatune %s.", text(t, "name"), text(t, "arch"),
                 text(t, "driver_version"), text(t, "compiler"), text(report, "fatune"));
    runs(p, report);
}

void report_document_machine(struct page *p, const json_t *report, struct report_pictures *pictures)
{
    roofline(p, report, pictures);
    nights(p, report, pictures);
    kept(p, report);
    sources(p, report);
}
