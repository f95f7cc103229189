/* report_profile.c - a profile for people: the roofline as a small table, what Nsight Compute counted, what stands out. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report.h"
#include "report_private.h"

#define MOST_STALLS 5

/* 1.234 T, 56.7 M: three or four digits and a prefix. */
static void si(struct buf *out, double x, const char *unit)
{
    static const char *const prefixes[] = {"", "k", "M", "G", "T", "P"};
    int i = 0;

    while (fabs(x) >= 1000 && i < 5)
        x /= 1000, i++;
    buf_printf(out, "%.4g %s%s", x, prefixes[i], unit);
}

static void report_time(struct buf *out, const json_t *time)
{
    double low = number(time, "low_us"), high = number(time, "high_us");

    buf_printf(out, "  time       %.3f us", number(time, "us"));
    if (strcmp(text(time, "source"), "confirmed") == 0) {
        if (isfinite(low)) buf_printf(out, " [%.3f, %.3f]", low, high);
        buf_printf(out, ", median of %.0f letters of trial %.0f; timed now: %.3f us\n", number(time, "letters"),
                   number(time, "trial"), number(time, "now_us"));
    } else {
        buf_printf(out, ", timed now%s%s\n", *text(time, "note") ? "; " : "", text(time, "note"));
    }
}

/* A ceiling with its spread, and what of it the kernel attains. */
static void report_row(struct buf *out, const json_t *row, const json_t *ceiling)
{
    struct buf rate = {0};
    double best = number(ceiling, "rate");

    buf_printf(out, "    %-7s ", text(row, "ceiling"));
    if (!isfinite(best)) {
        buf_printf(out, "not measured: %s\n", text(ceiling, "why"));
        return;
    }
    si(&rate, best, text(ceiling, "unit"));
    buf_printf(out, "%-14s (median %.1f%%, worst %.1f%%)  at least %9.3f us  %5.1f%%%s\n", buf_text(&rate),
               100 * number(ceiling, "rate_median") / best, 100 * number(ceiling, "rate_worst") / best,
               number(row, "least_us"), 100 * number(row, "share"),
               json_is_true(json_object_get(row, "bounds")) ? "" : "  no bound: the tensors stay in the L2");
    buf_free(&rate);
}

static void report_shares(struct buf *out, const json_t *profile)
{
    static const char *const units[] = {"FLOP", "exp", "B"};
    const json_t *roofline = json_object_get(profile, "roofline"), *rows = json_object_get(roofline, "rows");
    const char *nearest = text(roofline, "nearest");

    buf_puts(out, "  work       ");
    for (size_t i = 0; i < 3; i++) {
        si(out, number(json_array_get(rows, i), "work"), units[i]);
        buf_puts(out, i < 2 ? ", " : " at least; ");
    }
    buf_printf(out, "%.4g FLOP/B\n  ceilings   measured %s, best of their samples; attained:\n",
               number(roofline, "intensity"),
               json_is_true(json_object_get(profile, "ceilings_measured")) ? "now" : "before");
    for (size_t i = 0; i < json_array_size(rows); i++)
        report_row(out, json_array_get(rows, i), json_array_get(json_object_get(profile, "ceilings"), i));
    for (size_t i = 0; i < json_array_size(rows) && *nearest; i++)
        if (strcmp(text(json_array_get(rows, i), "ceiling"), nearest) == 0)
            buf_printf(out, "  nearest    %s: %.1f%% of it\n", nearest, 100 * number(json_array_get(rows, i), "share"));
    if (number(roofline, "floor_us") > 0)
        buf_printf(out,
                   "  floor      %.3f us, the same counts at the data sheet's rates: no time below it is believed\n",
                   number(roofline, "floor_us"));
}

static void report_counters(struct buf *out, const json_t *counters)
{
    const json_t *metrics = json_object_get(counters, "metrics"), *stalls = json_object_get(counters, "stalls");

    if (strcmp(text(counters, "outcome"), "run") != 0) {
        buf_printf(out, "  counters   not run: %s\n", text(counters, "why"));
        return;
    }
    buf_puts(out, "  counters   of one launch, by Nsight Compute\n");
    for (size_t i = 0; i < json_array_size(metrics); i++) {
        const json_t *m = json_array_get(metrics, i);
        const char *name = text(m, "name");
        double value = number(m, "value");
        buf_printf(out, "    %-24s ", text(m, "words"));
        if (!isfinite(value))
            buf_puts(out, "not known here");
        else if (strcmp(name, "dram_bytes_s") == 0)
            si(out, value, "B/s");
        else
            buf_printf(out, strstr(name, "_pct") ? "%.1f%%" : "%.3f us", value);
        buf_puts(out, "\n");
    }
    if (json_array_size(stalls) > 0) buf_puts(out, "  stalls     warps that wait, for each instruction issued:");
    for (size_t i = 0; i < json_array_size(stalls) && i < MOST_STALLS; i++)
        buf_printf(out, "%s %s %.2f", i > 0 ? "," : "", text(json_array_get(stalls, i), "reason"),
                   number(json_array_get(stalls, i), "warps"));
    if (json_array_size(stalls) > 0) buf_puts(out, "\n");
}

void report_profile(struct buf *out, const json_t *profile)
{
    const json_t *warnings = json_object_get(profile, "warnings");

    buf_printf(out, "%s on %s\n  problem    %s\n", text(profile, "candidate"), text(profile, "device"),
               text(profile, "problem"));
    report_time(out, json_object_get(profile, "time"));
    report_shares(out, profile);
    if (json_object_get(profile, "counters")) report_counters(out, json_object_get(profile, "counters"));
    for (size_t i = 0; i < json_array_size(warnings); i++)
        buf_printf(out, "  warning    %s\n", json_string_value(json_array_get(warnings, i)));
}
