/* report_candidate.c - one candidate for people: what `fatune eval` has just found, what the store has of it. */
#include <stdio.h>
#include <string.h>

#include "report.h"
#include "report_private.h"

#define TRIALS_SHOWN 12 /* the newest; all are in --json */

static long long integer(const json_t *j, const char *name)
{
    return (long long)json_integer_value(json_object_get(j, name));
}

/* What is known of them; -1 stands for unknown. */
static void resources(struct buf *out, const json_t *res)
{
    static const struct {
        const char *member, *words;
    } rows[] = {{"registers", "registers a thread"},
                {"spill_store_bytes", "bytes spilled"},
                {"stack_bytes", "bytes of stack"},
                {"shared_static_bytes", "bytes of static shared memory"}};
    const char *comma = "  resources  ";

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const json_t *x = json_object_get(res, rows[i].member);
        if (!json_is_integer(x) || json_integer_value(x) < 0) continue;
        buf_printf(out, "%s%lld %s", comma, (long long)json_integer_value(x), rows[i].words);
        comma = ", ";
    }
    if (*comma == ',') buf_puts(out, "\n");
}

/* One line for each input set and law: the largest error and what is allowed. */
static void check(struct buf *out, const json_t *report)
{
    const json_t *sets = json_object_get(report, "sets"), *laws = json_object_get(report, "laws");
    const json_t *repeats = json_object_get(report, "repeats");

    buf_printf(out, "  check      %s, atol %g, rtol %g, %lld of %lld repeats bitwise equal (%s)\n",
               text(report, "level"), number(report, "atol"), number(report, "rtol"), integer(repeats, "done"),
               integer(repeats, "wanted"), text(repeats, "why"));
    for (size_t i = 0; i < json_array_size(sets); i++) {
        const json_t *x = json_array_get(sets, i);
        buf_printf(out, "    %s input %-17s error %.2e, relative L2 %.2e, two-times ratio %.2f\n",
                   json_is_true(json_object_get(x, "ok")) ? "pass" : "FAIL", text(x, "set"), number(x, "max_abs"),
                   number(x, "rel_l2"), number(x, "two_times_ratio"));
    }
    for (size_t i = 0; i < json_array_size(laws); i++) {
        const json_t *x = json_array_get(laws, i);
        buf_printf(out, "    %s law   %-17s error %.2e, relative L2 %.2e\n",
                   json_is_true(json_object_get(x, "ok")) ? "pass" : "FAIL", text(x, "law"), number(x, "max_abs"),
                   number(x, "rel_l2"));
    }
}

void report_evaluation(struct buf *out, const json_t *j)
{
    const json_t *detail = json_object_get(j, "detail"), *report = json_object_get(detail, "report");

    buf_printf(out, "%s on %s\n  fate       %s\n  id         %.16s\n", text(j, "candidate"), text(j, "device"),
               text(j, "fate"), text(j, "id"));
    if (strcmp(text(j, "fate"), "OK") != 0 && *text(j, "log")) buf_printf(out, "%s\n", text(j, "log"));
    if (json_is_number(json_object_get(j, "median_us"))) {
        buf_printf(out, "  time       %.3f us, median of %zu samples", number(j, "median_us"),
                   json_array_size(json_object_get(j, "samples_us")));
        if (number(j, "floor_us") > 0)
            buf_printf(out, "; no kernel can take less than %.3f us here", number(j, "floor_us"));
        buf_puts(out, "\n");
    }
    resources(out, json_object_get(j, "compiled"));
    if (json_is_object(report)) check(out, report);
}

/* ---- what the store has ---- */

static void triple(struct buf *out, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        buf_printf(out, "%s%lld", i ? " x " : "", (long long)json_integer_value(json_array_get(list, i)));
}

static void version(struct buf *out, const json_t *v)
{
    const json_t *facts = json_object_get(v, "facts"), *launch = json_object_get(facts, "launch");

    buf_printf(out, "  version    %s of %s on %s, since %.10s; track %.12s, binary %.12s\n", text(v, "name"),
               text(v, "space"), text(v, "device"), text(v, "created"), text(v, "track"), text(v, "binary"));
    if (!launch) return;
    buf_puts(out, "  launch     ");
    triple(out, json_object_get(launch, "grid"));
    buf_puts(out, " blocks of ");
    triple(out, json_object_get(launch, "block"));
    buf_printf(out, " threads, %lld bytes of dynamic shared memory\n", integer(launch, "shared_bytes"));
    resources(out, json_object_get(facts, "compiled"));
}

static void evaluations(struct buf *out, const json_t *list)
{
    size_t i;
    json_t *x;

    json_array_foreach(list, i, x)
    {
        buf_printf(out, "  search     run %lld, proposal %lld: %s", integer(x, "run"), integer(x, "seq"),
                   text(x, "fate"));
        if (isfinite(number(x, "us")))
            buf_printf(out, ", score %.3f us, which selects and decides nothing", number(x, "us"));
        if (*text(json_object_get(x, "detail"), "stopped"))
            buf_printf(out, "; stopped %s", text(json_object_get(x, "detail"), "stopped"));
        if (*text(x, "equals")) buf_printf(out, "; its code is that of %.12s", text(x, "equals"));
        buf_puts(out, "\n");
        if (strcmp(text(x, "fate"), "OK") != 0 && *text(x, "log")) buf_printf(out, "%.2000s\n", text(x, "log"));
    }
}

static void checks(struct buf *out, const json_t *list)
{
    size_t i;
    json_t *x;

    json_array_foreach(list, i, x)
    {
        const json_t *report = json_object_get(json_object_get(x, "report"), "report");
        buf_printf(out, "  checked    run %lld, %.10s, %s: %s\n", integer(x, "run"), text(x, "at"), text(x, "level"),
                   text(x, "fate"));
        if (report && i + 1 == json_array_size(list)) check(out, report); /* the newest in full */
    }
}

static void trials(struct buf *out, const json_t *list)
{
    const size_t n = json_array_size(list), first = n > TRIALS_SHOWN ? n - TRIALS_SHOWN : 0;

    if (first > 0) buf_printf(out, "  trials     %zu earlier ones are in --json\n", first);
    for (size_t i = first; i < n; i++) {
        const json_t *x = json_array_get(list, i);
        const bool b = strcmp(text(x, "arm"), "b") == 0;
        buf_printf(out, "  trial      %lld, run %lld, %.10s: %s, arm %s against %.12s, %lld sessions\n",
                   integer(x, "id"), integer(x, "run"), text(x, "at"), text(x, "kind"), text(x, "arm"),
                   text(x, b ? "a" : "b"), integer(x, "sessions"));
    }
}

static void verdicts(struct buf *out, const json_t *list)
{
    size_t i;
    json_t *x;

    json_array_foreach(list, i, x)
    {
        const json_t *body = json_object_get(x, "body"), *ci = json_object_get(body, "ratio_boot_t"), *clause;
        size_t k;
        buf_printf(out, "  verdict    %lld, on trial %lld: %s, time ratio %.4f [%.4f, %.4f]\n", integer(x, "id"),
                   integer(x, "trial"), text(x, "outcome"), number(body, "ratio"),
                   json_number_value(json_array_get(ci, 0)), json_number_value(json_array_get(ci, 1)));
        json_array_foreach(json_object_get(body, "clauses"), k, clause)
            buf_printf(out, "    %s %-15s %s\n", json_is_true(json_object_get(clause, "passed")) ? "pass" : "FAIL",
                       text(clause, "clause"), text(clause, "why"));
    }
}

void report_candidate(struct buf *out, const json_t *j)
{
    const json_t *params = json_object_get(j, "params"), *counts = json_object_get(j, "tensor_instructions_in_ptx"), *x;
    const char *key, *comma = "  PTX        ";
    size_t i;

    buf_puts(out, *text(params, "contestant") ? text(params, "contestant") : text(params, "template"));
    json_object_foreach(json_object_get((json_t *)(uintptr_t)params, "params"), key, x)
        buf_printf(out, " %s=%lld", key, (long long)json_integer_value(x));
    buf_printf(out, "\n  id         %.16s, first seen %.10s\n", text(j, "id"), text(j, "at"));
    if (json_object_get(j, "version")) version(out, json_object_get(j, "version"));
    json_object_foreach((json_t *)(uintptr_t)counts, key, x)
    {
        if (json_integer_value(x) == 0) continue;
        buf_printf(out, "%s%lld %s", comma, (long long)json_integer_value(x), key);
        comma = ", ";
    }
    if (counts) buf_puts(out, *comma == ',' ? "\n" : "  PTX        no tensor-core instruction\n");
    evaluations(out, json_object_get(j, "evaluations"));
    checks(out, json_object_get(j, "checks"));
    trials(out, json_object_get(j, "trials"));
    verdicts(out, json_object_get(j, "verdicts"));
    json_array_foreach(json_object_get(j, "champion"), i, x)
        buf_printf(out, "  log        %.10s %s %s: %s (track %.12s)\n", text(x, "at"), text(x, "action"),
                   text(x, "version"), text(x, "note"), text(x, "track"));
}
