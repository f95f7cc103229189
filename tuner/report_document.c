#include "report_document.h"

#include <math.h>
#include <string.h>

#include "report_document_private.h"
#include "report_private.h"

/* ---- what sections share ---- */

const char *report_interval(char to[REPORT_INTERVAL], const json_t *pair)
{
    const json_t *low = json_array_get(pair, 0), *high = json_array_get(pair, 1);

    if (!json_is_number(low) || !json_is_number(high)) return "no interval";
    snprintf(to, REPORT_INTERVAL, "%s to %s", report_number(NUMBER, json_number_value(low)),
             report_number(NUMBER, json_number_value(high)));
    return to;
}

void report_show_picture(struct page *p, struct report_pictures *pictures, enum report_picture which)
{
    struct buf why = {0};

    if (*pictures->why) buf_printf(&why, "No picture here: %s. The numbers are in the tables.", pictures->why);
    page_picture(p, pictures->svg[which].n ? buf_text(&pictures->svg[which]) : NULL,
                 pictures->png[which].n ? buf_text(&pictures->png[which]) : NULL, buf_text(&pictures->alt[which]),
                 why.n ? buf_text(&why) : NULL);
    buf_free(&why);
}

/* ---- the first screen ---- */

/* Who the champion was proven against, in words. */
static void against(struct buf *out, const json_t *evidence)
{
    const json_t *arm = json_object_get(evidence, "against");

    if (*text(arm, "name"))
        buf_printf(out, "%s (the champion before it)", text(arm, "name"));
    else
        buf_puts(out, "the default configuration");
}

static void fact_time(struct page *p, const json_t *r)
{
    const json_t *champion = json_object_get(r, "champion"), *evidence = json_object_get(r, "evidence"),
                 *gain = json_object_get(evidence, "gain");
    struct buf value = {0}, more = {0};

    buf_printf(&value, "%s us", report_number(NUMBER, number(gain, "us")));
    buf_printf(&more, "a launch, the median of %s times in %s fresh processes; cache %s. Since %.10s.",
               report_number(NUMBER, number(json_object_get(json_object_get(r, "letters"), "b"), "letters")),
               report_number(NUMBER, number(gain, "sessions")), text(r, "cache"), text(champion, "at"));
    page_fact(p, "Time of the champion", isfinite(number(gain, "us")) ? buf_text(&value) : "no trial of its own",
              isfinite(number(gain, "us")) ? buf_text(&more) : text(champion, "note"));
    buf_free(&value);
    buf_free(&more);
}

static void fact_gain(struct page *p, const json_t *r)
{
    const json_t *evidence = json_object_get(r, "evidence"), *gain = json_object_get(evidence, "gain"),
                 *best = json_object_get(r, "best_contestant");
    char ci[REPORT_INTERVAL];
    struct buf value = {0}, more = {0};

    if (!json_is_object(gain)) return;
    buf_printf(&value, "%s times", report_number(NUMBER, number(gain, "times")));
    buf_printf(&more, "as fast as ");
    against(&more, evidence);
    buf_printf(&more, " (%s).", report_interval(ci, json_object_get(gain, "times_ci")));
    if (json_is_object(best))
        buf_printf(&more, " The best contestant, %s, takes %s times fatune's time (%s).", text(best, "name"),
                   report_number(NUMBER, number(best, "times")),
                   report_interval(ci, json_object_get(best, "times_ci")));
    page_fact(p, "How much faster", buf_text(&value), buf_text(&more));
    buf_free(&value);
    buf_free(&more);
}

static void fact_sure(struct page *p, const json_t *r)
{
    const json_t *evidence = json_object_get(r, "evidence"), *gain = json_object_get(evidence, "gain"),
                 *clauses = json_object_get(json_object_get(evidence, "verdict"), "clauses");
    double error = number(evidence, "error_percent");
    struct buf value = {0}, more = {0};
    size_t passed = 0;

    if (!json_is_object(gain)) return;
    for (size_t i = 0; i < json_array_size(clauses); i++)
        passed += json_is_true(json_object_get(json_array_get(clauses, i), "passed"));
    buf_printf(&value, "%s of %s", report_number(NUMBER, number(gain, "sessions_faster")),
               report_number(NUMBER, number(gain, "sessions")));
    buf_printf(&more, "fresh processes in which it was faster. %s of the rule hold.",
               passed == json_array_size(clauses) ? "All clauses" : "Not all clauses");
    if (error > 0)
        buf_printf(&more, " It lets what is not faster pass in at most %s%% of decisions.",
                   report_number(NUMBER, error));
    if (json_is_true(json_object_get(json_object_get(r, "champion"), "provisional")))
        buf_puts(&more, " Provisional: no later night has tried to refute it yet.");
    page_fact(p, "How sure", buf_text(&value), buf_text(&more));
    buf_free(&value);
    buf_free(&more);
}

static void summary(struct page *p, const json_t *r)
{
    const json_t *champion = json_object_get(r, "champion"), *kept = json_object_get(r, "kept");

    if (!json_is_object(champion)) {
        page_say(p, "No champion stands. Below is what the runs so far have found.");
        return;
    }
    page_say(p, "Champion %s: %s", text(champion, "name"), text(json_object_get(champion, "facts"), "text"));
    page_facts_begin(p);
    fact_time(p, r);
    fact_gain(p, r);
    fact_sure(p, r);
    page_facts_end(p);
    if (json_is_object(kept))
        page_say(p, "The newest run, number %s, kept it; why is told under Why nobody was promoted.",
                 report_number(NUMBER, number(kept, "run")));
}

/* ---- champion ---- */

static void clauses(struct page *p, const json_t *verdict)
{
    static const char *const columns[] = {"clause", "", "+with its numbers", NULL};
    const json_t *list = json_object_get(verdict, "clauses");

    page_table(p, "The rule's clauses", columns);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        page_cell(p, "%s", text(c, "clause"));
        page_cell(p, "%s", json_is_true(json_object_get(c, "passed")) ? "passed" : "FAILED");
        page_cell(p, "%s", text(c, "why"));
    }
    page_table_end(p);
    if (*text(verdict, "note")) page_say(p, "%s", text(verdict, "note"));
}

/* Numbers of the compiler and the driver, -1: unknown. */
static void resource(struct page *p, const json_t *facts, const char *member, const char *what)
{
    double x = number(json_object_get(facts, "loaded"), member);

    if (!(x >= 0)) x = number(json_object_get(facts, "compiled"), member);
    page_cell(p, "%s", what);
    page_cell(p, "%s", x >= 0 ? report_number(NUMBER, x) : "unknown");
}

static void make(struct page *p, const json_t *facts)
{
    static const char *const columns[] = {"what", ">", NULL};
    const json_t *launch = json_object_get(facts, "launch"), *grid = json_object_get(launch, "grid"),
                 *block = json_object_get(launch, "block");

    page_table(p, "What it is made of", columns);
    page_cell(p, "blocks");
    page_cell(p, "%s x %s x %s", report_number(NUMBER, json_number_value(json_array_get(grid, 0))),
              report_number(NUMBER, json_number_value(json_array_get(grid, 1))),
              report_number(NUMBER, json_number_value(json_array_get(grid, 2))));
    page_cell(p, "threads of a block");
    page_cell(p, "%s x %s x %s", report_number(NUMBER, json_number_value(json_array_get(block, 0))),
              report_number(NUMBER, json_number_value(json_array_get(block, 1))),
              report_number(NUMBER, json_number_value(json_array_get(block, 2))));
    page_cell(p, "dynamic shared memory, bytes");
    page_cell(p, "%s", report_number(NUMBER, number(launch, "shared_bytes")));
    resource(p, facts, "registers", "registers of a thread");
    resource(p, facts, "stack_bytes", "stack of a thread, bytes");
    resource(p, facts, "spill_store_bytes", "spilled, bytes");
    resource(p, facts, "tensor_ops", "tensor-core instructions in the PTX");
    page_table_end(p);
}

static void champion(struct page *p, const json_t *r)
{
    const json_t *c = json_object_get(r, "champion"), *evidence = json_object_get(r, "evidence"),
                 *gain = json_object_get(evidence, "gain");
    char ci[REPORT_INTERVAL];
    struct buf who = {0};

    page_section(p, "champion", "Champion");
    if (!json_is_object(c)) {
        page_say(p, "Nobody stands in this track: no candidate was proven faster than the default, or the champion was "
                    "revoked.");
        return;
    }
    if (json_is_object(evidence)) {
        against(&who, evidence);
        page_say(p, "%s takes %s us where %s takes %s: %s%% less time (%s). Medians of run %s, trial %s of the store.",
                 text(c, "name"), report_number(NUMBER, number(gain, "us")), buf_text(&who),
                 report_number(NUMBER, number(gain, "against_us")), report_number(NUMBER, number(gain, "less_percent")),
                 report_interval(ci, json_object_get(gain, "less_percent_ci")),
                 report_number(NUMBER, number(evidence, "run")), report_number(NUMBER, number(evidence, "trial")));
        page_say(p, "It was measured against: %s", text(json_object_get(evidence, "against"), "candidate"));
        clauses(p, json_object_get(evidence, "verdict"));
    } else {
        page_say(
            p,
            "The store has no trial of it that is finished: it was crowned because nothing was proven faster, or its "
            "run was cut off.");
    }
    if (json_is_object(json_object_get(c, "facts"))) make(p, json_object_get(c, "facts"));
    buf_free(&who);
}

static void history(struct page *p, const json_t *r)
{
    static const char *const columns[] = {"version", "what happened", "=date", "+why", "+configuration", NULL};
    const json_t *list = json_object_get(r, "history");

    page_section(p, "history", "History");
    if (json_array_size(list) == 0) {
        page_say(p, "Nothing was crowned, promoted or revoked in this track.");
        return;
    }
    page_table(p, "Every action on the champion, oldest first", columns);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *a = json_array_get(list, i);
        page_cell(p, "%s", text(a, "name"));
        page_cell(p, "%s", text(a, "action"));
        page_cell(p, "%.10s", text(a, "at"));
        page_cell(p, "%s", text(a, "note"));
        page_cell(p, "%s", text(json_object_get(a, "facts"), "text"));
    }
    page_table_end(p);
}

/* ---- contestants ---- */

static void contestant(struct page *p, const json_t *c)
{
    char ci[REPORT_INTERVAL];
    bool met = isfinite(number(c, "times"));

    page_cell(p, "%s", text(c, "name"));
    page_cell(p, "%s", report_number(NUMBER, number(c, "us")));
    page_cell(p, "%s", report_number(NUMBER, number(c, "our_us")));
    page_cell(p, "%s", report_number(NUMBER, number(c, "times")));
    page_cell(p, "%s", met ? report_interval(ci, json_object_get(c, "times_ci")) : "-");
    page_cell(p, "%s",
              *text(c, "left_out")                         ? "left out"
              : *text(c, "wrong")                          ? "the contestant is WRONG"
              : json_is_false(json_object_get(c, "valid")) ? "no valid trial"
                                                           : text(c, "relation"));
    page_cell(p, "%s%s%s%s%s", text(c, "version"), *text(c, "choice") ? "; " : "", text(c, "choice"),
              text(c, "left_out"), text(c, "wrong"));
}

static void contestants(struct page *p, const json_t *r, struct report_pictures *pictures)
{
    static const char *const columns[] = {"contestant", ">us",       ">fatune us",    ">times",
                                          ">interval",  "fatune is", "+what it says", NULL};
    const json_t *met = json_object_get(r, "contestants"), *rows = json_object_get(met, "rows"),
                 *champion = json_object_get(r, "champion");

    page_section(p, "contestants", "Contestants");
    if (!json_is_object(met)) {
        page_say(p, "No run of this track has met contestants: the space lists none, or they were left out "
                    "(docs/CONTESTANTS.md).");
        return;
    }
    page_say(p,
             "Programs of others, measured beside %s in the same quads on the same inputs, in run %s. Times: the "
             "contestant's "
             "over fatune's; above one, fatune is faster. Nothing is decided by them.",
             strcmp(text(met, "arm"), text(json_object_get(champion, "facts"), "text")) == 0 ? text(champion, "name")
                                                                                             : text(met, "arm"),
             report_number(NUMBER, number(met, "run")));
    report_show_picture(p, pictures, PICTURE_CONTESTANTS);
    page_table(p, "Medians, and the ratio with its interval (bootstrap-t over sessions)", columns);
    for (size_t i = 0; i < json_array_size(rows); i++)
        contestant(p, json_array_get(rows, i));
    page_table_end(p);
}

/* ---- times ---- */

static void times(struct page *p, const json_t *r, struct report_pictures *pictures)
{
    static const char *const columns[] = {"arm",     ">times",          ">least", ">low",  ">quarter",
                                          ">median", ">three quarters", ">high",  ">most", NULL};
    static const char *const members[] = {"least_us", "p05_us", "q1_us", "median_us", "q3_us", "p95_us", "most_us"};
    const json_t *letters = json_object_get(r, "letters");

    page_section(p, "times", "Distribution of times");
    if (!json_is_object(letters)) {
        page_say(p, "There is no trial of the champion, so there are no times to show.");
        return;
    }
    report_show_picture(p, pictures, PICTURE_LETTERS);
    page_table(p,
               "Letters (medians of a few samples each) of the trial that decided, us; low and high leave a twentieth "
               "out on their side",
               columns);
    for (int i = 0; i < 2; i++) {
        const json_t *arm = json_object_get(letters, i ? "b" : "a");
        page_cell(p, "%s", i ? "champion" : "arm to beat");
        page_cell(p, "%s", report_number(NUMBER, number(arm, "letters")));
        for (size_t k = 0; k < sizeof members / sizeof *members; k++)
            page_cell(p, "%s", report_number(NUMBER, number(arm, members[k])));
    }
    page_table_end(p);
}

int report_document(struct page *p, const json_t *r, struct report_pictures *pictures, struct err *e)
{
    struct buf title = {0}, subtitle = {0};

    buf_printf(&title, "%s on %s", text(r, "space"), text(r, "device"));
    buf_printf(&subtitle, "%s%strack %.12s", text(r, "problem"), *text(r, "problem") ? "; " : "", text(r, "track"));
    page_begin(p, buf_text(&title), buf_text(&subtitle));
    summary(p, r);
    champion(p, r);
    history(p, r);
    contestants(p, r, pictures);
    times(p, r, pictures);
    report_document_search(p, r, pictures);
    report_document_machine(p, r, pictures);
    page_end(p);
    buf_free(&title);
    buf_free(&subtitle);
    return buf_check(&p->out, e);
}
