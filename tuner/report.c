#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "report_kept.h"
#include "report_private.h"

#define PLAIN_EVERY_S 10.0
#define LIVE_EVERY_S 0.1

/* ---- verdict ---- */

static void interval(struct buf *out, const json_t *v, const char *member, const char *what)
{
    const json_t *i = json_object_get(v, member);

    if (json_is_number(json_array_get(i, 0)) && json_is_number(json_array_get(i, 1)))
        buf_printf(out, "%s [%.4f, %.4f]", what, json_number_value(json_array_get(i, 0)),
                   json_number_value(json_array_get(i, 1)));
    else
        buf_printf(out, "%s not defined here", what);
}

static double end(const json_t *v, const char *member, size_t i)
{
    const json_t *x = json_array_get(json_object_get(v, member), i);

    return json_is_number(x) ? json_number_value(x) : NAN;
}

/* What many readers know better than the clauses, and what decides nothing. */
static void beside(struct buf *out, const json_t *v, const char *a, const char *b)
{
    double low[] = {end(v, "mean_a_ci", 0), end(v, "mean_b_ci", 0)};
    double high[] = {end(v, "mean_a_ci", 1), end(v, "mean_b_ci", 1)};

    if (!isfinite(low[0]) || !isfinite(low[1])) return;
    buf_printf(out,
               "    beside the decision: each arm alone, mean %s %.3f us [%.3f, %.3f], %s %.3f us [%.3f, %.3f]:\n"
               "      the intervals %s; ",
               a, number(v, "mean_a_us"), low[0], high[0], b, number(v, "mean_b_us"), low[1], high[1],
               low[0] <= high[1] && low[1] <= high[0] ? "overlap" : "do not overlap");
    interval(out, v, "g_textbook_ci", "textbook g's interval");
    buf_printf(out, ", Mann-Whitney p %.2g, Cliff's delta %.3f\n", number(v, "mann_whitney_p"), number(v, "cliff"));
}

/* The 95% intervals of the ratio, of all makes. */
static void intervals(struct buf *out, const json_t *v)
{
    buf_puts(out, "    95% intervals: ");
    interval(out, v, "ratio_boot_t", "bootstrap-t");
    interval(out, v, "ratio_t", ", t");
    interval(out, v, "ratio_percentile", ", percentile");
    interval(out, v, "ratio_bca", ", BCa");
    buf_puts(out, "\n");
}

static void clauses(struct buf *out, const json_t *v)
{
    const json_t *list = json_object_get(v, "clauses");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *clause = json_array_get(list, i);
        buf_printf(out, "    %s %-15s %s\n", json_is_true(json_object_get(clause, "passed")) ? "pass" : "FAIL",
                   text(clause, "clause"), text(clause, "why"));
    }
    if (*text(v, "note")) buf_printf(out, "    %s\n", text(v, "note"));
    if (number(v, "sessions_needed") > 0)
        buf_printf(out, "    about %.0f sessions would decide\n", number(v, "sessions_needed"));
}

void report_verdict(struct buf *out, const json_t *v, const char *a, const char *b)
{
    double ratio = number(v, "ratio");

    buf_printf(out, "  %s", text(v, "outcome"));
    if (isfinite(ratio)) {
        buf_printf(out, ": %s %.3f us, %s %.3f us (medians); %s takes %.2f%% %s time\n", a, number(v, "median_a_us"), b,
                   number(v, "median_b_us"), b, 100 * fabs(1 - ratio), ratio <= 1 ? "less" : "more");
        buf_printf(out, "    time ratio %.4f; Hedges' g within sessions %.2f (textbook %.2f)\n", ratio,
                   number(v, "g_within"), number(v, "g_textbook"));
        intervals(out, v);
    } else {
        buf_puts(out, "\n");
    }
    beside(out, v, a, b);
    clauses(out, v);
}

/* ---- comparison ---- */

/* "B takes 2.13% less time [1.98, 2.27]", B being `who`. */
static void difference(struct buf *out, const json_t *v, const char *who)
{
    const json_t *ci = json_object_get(v, "ratio_boot_t");
    double ratio = number(v, "ratio"), sign = ratio <= 1 ? -1 : 1;
    double from = json_number_value(json_array_get(ci, 0)), to = json_number_value(json_array_get(ci, 1));

    buf_printf(out, "%s takes %.2f%% %s time", who, 100 * sign * (ratio - 1), ratio <= 1 ? "less" : "more");
    if (json_is_number(json_array_get(ci, 0)) && json_is_number(json_array_get(ci, 1)))
        buf_printf(out, " [%.2f, %.2f]", 100 * sign * ((sign < 0 ? to : from) - 1),
                   100 * sign * ((sign < 0 ? from : to) - 1));
}

static const json_t *clause_named(const json_t *v, const char *name)
{
    const json_t *list = json_object_get(v, "clauses");

    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(text(json_array_get(list, i), "clause"), name) == 0) return json_array_get(list, i);
    return NULL;
}

static void undecided(struct buf *out, const json_t *c, const char *b)
{
    const json_t *v = json_object_get(c, "verdict"), *valid = clause_named(v, "P1 valid trial");
    double needed = number(c, "sessions_needed");

    buf_puts(out, "undecided: ");
    if (valid && !json_is_true(json_object_get(valid, "passed"))) {
        buf_printf(out, "%s\n", text(valid, "why"));
        return;
    }
    if (json_is_true(json_object_get(v, "bimodal"))) {
        buf_printf(out, "%s\n", text(clause_named(v, "P6 consistency"), "why"));
        return;
    }
    difference(out, v, b);
    buf_printf(out, ", which rules out neither 0 nor more than %.2f%%\n", 100 * number(c, "same_within"));
    if (needed > 0)
        buf_printf(out, "about %.0f sessions would decide: fatune compare %s %s --sessions %.0f\n", needed,
                   text(c, "a"), text(c, "b"), needed);
    else
        buf_puts(out, "no number of sessions that is worth the time would decide\n");
}

/* One kernel in both arms. */
static bool is_aa(const json_t *c)
{
    const json_t *a = json_object_get(c, "params_a");

    return a && json_equal(a, json_object_get(c, "params_b"));
}

/* The answer, first. */
static void relation(struct buf *out, const json_t *c)
{
    const char *is = text(c, "relation"), *a = text(c, "a"), *b = text(c, "b");
    const json_t *v = json_object_get(c, "verdict");
    bool again = json_is_true(json_object_get(c, "again"));
    struct buf name = {0};

    buf_printf(&name, "%s%s", b, again ? ", the same kernel compiled again," : "");
    if (strcmp(is, "undecided") == 0) {
        undecided(out, c, buf_text(&name));
    } else if (strcmp(is, "same") == 0) {
        buf_printf(out, "%s is the same as %s within %.2f%%: ", buf_text(&name), a, 100 * number(c, "same_within"));
        difference(out, v, "it");
    } else if (is_aa(c)) {
        buf_printf(out, "%s should be the same and is not: ", buf_text(&name));
        difference(out, v, "it");
        buf_puts(out, "\nthat is what measuring does to equal kernels here: believe no difference of this size");
    } else {
        buf_printf(out, "%s is %s than %s: ", buf_text(&name), is, a);
        difference(out, v, "it");
    }
    if (strcmp(is, "undecided") != 0) buf_puts(out, "\n");
    buf_free(&name);
}

/* "fa_mma BLOCK_M=64 ..." */
static void arm(struct buf *out, const json_t *c, char letter, const char *name, const char *member)
{
    const json_t *point = json_object_get(c, member), *value;
    const char *key;

    buf_printf(out, "  %c  %s", letter, name);
    if (point) buf_printf(out, ": %s", text(point, "template"));
    json_object_foreach(json_object_get(point, "params"), key, value)
    {
        buf_printf(out, " %s=%lld", key, (long long)json_integer_value(value));
    }
    buf_puts(out, "\n");
}

static void row(struct buf *out, const char *words, double a, double b, double ratio)
{
    buf_printf(out, "  %-14s %12.3f %12.3f", words, a, b);
    if (isfinite(ratio)) buf_printf(out, " %10.4f", ratio);
    buf_puts(out, "\n");
}

static void times(struct buf *out, const json_t *c)
{
    static const struct {
        const char *words, *member;
    } rows[] = {{"p10 us", "p10_us"}, {"median us", "median_us"}, {"p90 us", "p90_us"}, {"p99 us", "p99_us"}};
    const json_t *v = json_object_get(c, "verdict"), *ci = json_object_get(v, "ratio_boot_t");
    const json_t *a = json_array_get(json_object_get(c, "arms"), 0), *b = json_array_get(json_object_get(c, "arms"), 1);
    double mean[2] = {number(v, "mean_a_us"), number(v, "mean_b_us")};

    buf_printf(out, "\n  %-14s %12s %12s %10s\n", "", "A", "B", "B / A");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        row(out, rows[i].words, number(a, rows[i].member), number(b, rows[i].member), NAN);
    row(out, "mean us", mean[0], mean[1], mean[1] / mean[0]);
    buf_printf(out, "  %-14s %12s %12s %10.4f", "in quads", "", "", number(v, "ratio"));
    if (json_is_number(json_array_get(ci, 0)) && json_is_number(json_array_get(ci, 1)))
        buf_printf(out, " [%.4f, %.4f]", json_number_value(json_array_get(ci, 0)),
                   json_number_value(json_array_get(ci, 1)));
    buf_puts(out, "\n");
    if (isfinite(number(v, "ratio_cycles")))
        buf_printf(out, "  %-14s %12s %12s %10.4f\n", "in cycles", "", "", number(v, "ratio_cycles"));
    if (isfinite(number(a, "effective")) && isfinite(number(b, "effective")))
        buf_printf(out, "  %-14s %5.0f of %3.0f %5.0f of %3.0f\n", "independent", number(a, "effective"),
                   number(a, "letters"), number(b, "effective"), number(b, "letters"));
}

enum { COLUMNS = 64 };

/* A line of values between two numbers. */
struct strip {
    double from, to;
    int count[COLUMNS];
};

static int column(const struct strip *s, double x)
{
    int at = (int)(COLUMNS * (x - s->from) / (s->to - s->from));

    return at < 0 ? 0 : at >= COLUMNS ? COLUMNS - 1 : at;
}

static void widen(struct strip *s, const json_t *x)
{
    if (!json_is_number(x)) return;
    s->from = fmin(s->from, json_number_value(x));
    s->to = fmax(s->to, json_number_value(x));
}

static void draw_sessions(struct buf *out, const struct strip *s)
{
    char line[COLUMNS + 1];
    int end = 0;

    for (int i = 0; i < COLUMNS; i++) {
        int n = s->count[i];
        line[i] = (char)(n > 9 ? '#' : n > 1 ? '0' + n : n == 1 ? 'o' : ' ');
        if (n == 0 && s->from < 1 && s->to > 1 && i == column(s, 1)) line[i] = '|';
        if (line[i] != ' ') end = i + 1;
    }
    buf_printf(out, "%.*s\n", end, line);
}

static void draw_interval(struct buf *out, const struct strip *s, const json_t *ci)
{
    int from = column(s, json_number_value(json_array_get(ci, 0))),
        to = column(s, json_number_value(json_array_get(ci, 1)));

    for (int i = 0; i <= to; i++) {
        char mark = i < from ? ' ' : i == from ? '[' : i == to ? ']' : '-';
        buf_add(out, &mark, 1);
    }
    buf_puts(out, "\n");
}

/* Where the sessions lie: an `o` each, or how many; nothing when they are all alike. 1 is on it when it is not far away. */
static void picture(struct buf *out, const json_t *c)
{
    const json_t *list = json_object_get(c, "series"),
                 *ci = json_object_get(json_object_get(c, "verdict"), "ratio_boot_t");
    struct strip s = {.from = INFINITY, .to = -INFINITY};
    size_t n = json_array_size(list);
    double span;

    for (size_t i = 0; i < n; i++)
        widen(&s, json_object_get(json_array_get(list, i), "ratio"));
    widen(&s, json_array_get(ci, 0));
    widen(&s, json_array_get(ci, 1));
    span = s.to - s.from;
    if (!(span > 1e-9)) return;
    if (s.from > 1 && s.from - 1 < 2 * span) s.from = 1 - 0.05 * span;
    if (s.to < 1 && 1 - s.to < 2 * span) s.to = 1 + 0.05 * span;
    for (size_t i = 0; i < n; i++) {
        const json_t *x = json_object_get(json_array_get(list, i), "ratio");
        if (json_is_number(x)) s.count[column(&s, json_number_value(x))]++;
    }
    buf_printf(out, "\n  %-10s ", "sessions");
    draw_sessions(out, &s);
    if (json_is_number(json_array_get(ci, 0)) && json_is_number(json_array_get(ci, 1))) {
        buf_printf(out, "  %-10s ", "95%");
        draw_interval(out, &s, ci);
    }
    buf_printf(out, "  %-10s %-*.5f%.5f\n", "B / A", COLUMNS - 7, s.from, s.to);
}

/* " 1965 to 1980" of [least, median, most]. */
static void span(struct buf *out, const json_t *h, const char *member, const char *before, const char *unit)
{
    const json_t *x = json_object_get(h, member);
    double least = json_number_value(json_array_get(x, 0)), most = json_number_value(json_array_get(x, 2));

    if (!x) return;
    buf_printf(out, "%s%.0f", before, least);
    if (most - least >= 0.5) buf_printf(out, " to %.0f", most);
    buf_puts(out, unit);
}

static void held_down(struct buf *out, const json_t *h)
{
    const json_t *held = json_object_get(h, "held_down"), *n;
    const char *name, *comma = "; held down by: ";

    json_object_foreach((json_t *)(uintptr_t)held, name, n)
    {
        buf_printf(out, "%s%s (%lld of %.0f readings)", comma, name, (long long)json_integer_value(n),
                   number(h, "readings"));
        comma = ", ";
    }
    if (held && *comma == ';') buf_puts(out, "; nothing held it down");
}

static bool monitored(const json_t *h)
{
    return json_object_get(h, "clock_mhz") || json_object_get(h, "idle_mhz") || json_object_get(h, "held_down");
}

/* The device during the trial, and what followed from it. */
static void device_health(struct buf *out, const json_t *h, double sessions)
{
    static const struct {
        const char *member, *words;
    } spoiled[] = {{"clock", "the SM clock moved by more than 1% inside them"},
                   {"throttle", "a reason to hold the clock down came or went inside them"},
                   {"letter", "a time in them is no time"}};
    const json_t *lost = json_object_get(h, "spoiled"), *strangers = json_object_get(h, "strangers");

    if (!monitored(h)) {
        buf_puts(out, "\n  device     no monitor: clock, temperature, power and other processes are not known\n");
    } else {
        buf_puts(out, "\n  device     SM clock");
        span(out, h, "clock_mhz", " ", " MHz");
        span(out, h, "idle_mhz", json_object_get(h, "clock_mhz") ? ", idle " : " (idle, between quads) ", " MHz");
        span(out, h, "temperature_c", ", ", " C");
        span(out, h, "power_w", ", ", " W");
        held_down(out, h);
        buf_printf(out, "\n             other processes on it: %s\n",
                   !strangers                           ? "cannot be seen from here"
                   : json_integer_value(strangers) == 0 ? "none"
                                                        : "yes, so the trial is not valid");
    }
    for (size_t i = 0; i < sizeof spoiled / sizeof spoiled[0]; i++)
        if (number(lost, spoiled[i].member) > 0)
            buf_printf(out, "             %.0f quads do not count: %s\n", number(lost, spoiled[i].member),
                       spoiled[i].words);
    if (number(h, "moving") > 0)
        buf_printf(out,
                   "             in %.0f quads the SM clock moved by more than 1%%; it does so all the time under this "
                   "load, so they count\n",
                   number(h, "moving"));
    if (number(h, "unsteady") > 0)
        buf_printf(out, "             in %.0f of %.0f sessions an arm was not steady when its warm-up ended\n",
                   number(h, "unsteady"), sessions);
}

void report_comparison(struct buf *out, const json_t *c)
{
    const json_t *v = json_object_get(c, "verdict"), *met = json_object_get(c, "contestant");

    relation(out, c);
    buf_printf(out, "\n  %s on %s, %s%s%.19s%s: %.0f sessions, %.0f quads%s\n", text(c, "space"), text(c, "device"),
               text(c, "how"), *text(c, "at") ? " " : "", text(c, "at"), *text(c, "at") ? "Z" : "",
               number(c, "sessions"), number(v, "quads"),
               json_is_true(json_object_get(c, "boxed")) ? ", cut to fit the time" : "");
    arm(out, c, 'A', text(c, "a"), "params_a");
    arm(out, c, 'B', text(c, "b"), "params_b");
    if (met) report_contestant(out, met);
    if (isfinite(number(v, "ratio"))) times(out, c);
    picture(out, c);
    device_health(out, json_object_get(c, "health"), number(c, "sessions"));
    buf_puts(out, "\n");
    intervals(out, v);
    beside(out, v, "A", "B");
    if (is_aa(c)) {
        if (*text(v, "note")) buf_printf(out, "    %s\n", text(v, "note"));
        return;
    }
    buf_printf(out, "  the promotion rule would say %s of B; nobody is promoted\n", text(v, "outcome"));
    clauses(out, v);
}

/* ---- run ---- */

/* What became of the candidates: "12 OK, 1 WRONG". */
static void fates(struct buf *out, const json_t *j)
{
    const char *name, *comma = ": ";
    json_t *n;

    json_object_foreach((json_t *)(uintptr_t)j, name, n)
    {
        buf_printf(out, "%s%lld %s", comma, (long long)json_integer_value(n), name);
        comma = ", ";
    }
    buf_puts(out, "\n");
}

static void what_was_done(struct buf *out, const json_t *s)
{
    if (number(s, "confirms_run") > 0) {
        buf_printf(out, "run %.0f confirms run %.0f: no search, %.0f compilations, fresh sessions\n", number(s, "run"),
                   number(s, "confirms_run"), number(s, "compiled"));
        return;
    }
    buf_printf(out, "run %.0f: %.0f proposals (%s, seed %lld), %.0f compilations, %.0f of equal code", number(s, "run"),
               number(s, "proposals"), text(s, "strategy"), (long long)json_integer_value(json_object_get(s, "seed")),
               number(s, "compiled"), number(s, "aliases"));
    fates(out, json_object_get(s, "fates"));
    if (json_array_size(json_object_get(s, "seeds")) == 0) return;
    buf_puts(out, "seeded: ");
    tune_seeds_text(json_object_get(s, "seeds"), out);
    buf_puts(out, "\n");
}

void report_dead(struct buf *out, const json_t *dead)
{
    for (size_t i = 0; i < json_array_size(dead); i++) {
        const json_t *d = json_array_get(dead, i);
        double pairs = number(d, "pairs");
        buf_printf(out, "dead here: %s of %s (%.0f pair%s equal code)\n", text(d, "param"), text(d, "template"), pairs,
                   pairs == 1 ? "," : "s, all");
    }
}

static bool invalid(const json_t *contestant)
{
    return strcmp(text(json_object_get(contestant, "verdict"), "outcome"), "INVALID") == 0;
}

void report_contestant(struct buf *out, const json_t *c)
{
    buf_printf(out, "      %s%s%s\n", text(c, "version"), *text(c, "choice") ? "; " : "", text(c, "choice"));
    if (*text(c, "wrong")) buf_printf(out, "      wrong: %s\n", text(c, "wrong"));
    if (invalid(c)) {
        const json_t *first = json_array_get(json_object_get(json_object_get(c, "verdict"), "clauses"), 0);
        buf_printf(out, "      not a valid trial: %s\n", text(first, "why"));
    }
    if (json_is_true(json_object_get(c, "boxed"))) buf_puts(out, "      trial cut to fit the time\n");
}

static void contestant(struct buf *out, const json_t *c)
{
    const json_t *v = json_object_get(c, "verdict");

    if (*text(c, "left_out")) {
        buf_printf(out, "  %-16s left out: %s\n", text(c, "name"), text(c, "left_out"));
        return;
    }
    buf_printf(out, "  %-16s %9.3f %9.3f  %.4f ", text(c, "name"), number(v, "median_a_us"), number(v, "median_b_us"),
               number(v, "ratio"));
    interval(out, v, "ratio_boot_t", "");
    buf_printf(out, "  %s%s%s\n", text(c, "relation"), *text(c, "wrong") ? ", but the contestant is WRONG" : "",
               invalid(c) ? ", but the trial is not valid" : "");
    report_contestant(out, c);
}

static void contestants(struct buf *out, const json_t *s)
{
    const json_t *list = json_object_get(s, "contestants"), *champion = json_object_get(s, "champion");
    const char *arm = text(json_object_get(champion, "facts"), "text");

    if (json_array_size(list) == 0) return;
    if (strcmp(arm, text(s, "arm")) == 0)
        buf_printf(
            out,
            "\ncontestants against champion %s (us, medians; time ratio champion / contestant, 95%% bootstrap-t)\n",
            text(champion, "name"));
    else
        buf_printf(out, "\ncontestants against %s (us, medians; time ratio fatune / contestant, 95%% bootstrap-t)\n",
                   text(s, "arm"));
    buf_printf(out, "  %-16s %9s %9s  %-25s  fatune is\n", "", "they", "fatune", "ratio");
    for (size_t i = 0; i < json_array_size(list); i++)
        contestant(out, json_array_get(list, i));
}

/* "NAME 1.20 s, NAME 0.30 s" of members. */
static void seconds_of(struct buf *out, const char *row, const json_t *j, const char *const (*parts)[2])
{
    buf_printf(out, "  %-10s", row);
    for (int i = 0; parts[i][0]; i++)
        buf_printf(out, "%s %s %.2f s", i ? "," : "", parts[i][1], number(j, parts[i][0]));
    buf_puts(out, "\n");
}

static void search_time(struct buf *out, const json_t *t, double proposals)
{
    static const char *const device[][2] = {
        {"check", "checking"},  {"measure", "measuring"},      {"load", "loading"}, {"messages", "messages"},
        {"opening", "opening"}, {"lost", "lost with workers"}, {"idle", "idle"},    {NULL, NULL}};
    static const char *const idle[][2] = {{"compilers", "compilers"},   {"render", "rendering"}, {"store", "the store"},
                                          {"strategy", "the strategy"}, {"other", "other"},      {NULL, NULL}};
    static const char *const supervisor[][2] = {{"render", "rendering"},  {"store", "store"},
                                                {"strategy", "strategy"}, {"other", "other"},
                                                {"waiting", "waiting"},   {NULL, NULL}};
    const json_t *compilers = json_object_get(t, "compilers");
    double wall = number(t, "wall"), n = number(t, "invocations"), available = number(compilers, "available");

    buf_printf(out, "the search took %.1f s", wall);
    if (n > 1) buf_printf(out, " in %.0f invocations", n);
    if (wall > 0) buf_printf(out, ", %.1f proposals a second", proposals / wall);
    buf_puts(out, ":\n");
    seconds_of(out, "device", json_object_get(t, "device"), device);
    seconds_of(out, "idle for", json_object_get(t, "idle"), idle);
    seconds_of(out, "supervisor", json_object_get(t, "supervisor"), supervisor);
    buf_printf(out, "  compilers  busy %.1f%% of the time\n",
               available > 0 ? 100 * number(compilers, "busy") / available : 0);
}

void report_run(struct buf *out, const json_t *s)
{
    const json_t *champion = json_object_get(s, "champion"), *trials = json_object_get(s, "trials");
    const json_t *seconds = json_object_get(s, "seconds"), *facts = json_object_get(champion, "facts");

    buf_printf(out, "\n%s: %s on %s (%s)\n", text(s, "space"), text(s, "problem"), text(s, "device_name"),
               text(s, "device"));
    what_was_done(out, s);
    report_dead(out, json_object_get(s, "dead"));
    for (size_t i = 0; i < json_array_size(trials); i++) {
        const json_t *t = json_array_get(trials, i);
        buf_printf(out, "\nfinalist %zu: %s%s\n", i + 1, text(t, "candidate"),
                   json_is_true(json_object_get(t, "boxed")) ? " (trial cut to fit the time)" : "");
        report_verdict(out, json_object_get(t, "verdict"), "standing", "finalist");
        if (monitored(json_object_get(t, "health")))
            device_health(out, json_object_get(t, "health"), number(json_object_get(t, "verdict"), "sessions"));
    }
    if (json_is_object(champion)) {
        buf_printf(out, "\nchampion %s since %.19sZ: %s\n", text(champion, "name"), text(champion, "since"),
                   text(facts, "text"));
        if (*text(champion, "note")) buf_printf(out, "  %s\n", text(champion, "note"));
    } else {
        buf_puts(out, "\nno champion stands\n");
    }
    report_kept(out, s);
    contestants(out, s);
    report_importance(out, json_object_get(s, "importance"), false);
    buf_printf(out, "\n%.1f s in all; compiling %.1f s summed over workers\n", number(seconds, "elapsed"),
               number(seconds, "compile_summed"));
    if (json_is_object(json_object_get(seconds, "search")))
        search_time(out, json_object_get(seconds, "search"), number(s, "proposals"));
}

/* ---- compilation ---- */

enum { NAMED = 5 }; /* of a long list */

static void range(struct buf *out, const json_t *j, const char *member, const char *what, const char *unit)
{
    const json_t *pair = json_object_get(j, member);
    long long least = json_integer_value(json_array_get(pair, 0)), most = json_integer_value(json_array_get(pair, 1));

    if (!json_is_integer(json_array_get(pair, 0))) return;
    buf_printf(out, "    %-10s %lld", what, least);
    if (most > least) buf_printf(out, " to %lld", most);
    buf_puts(out, unit);
}

static void named(struct buf *out, const json_t *list)
{
    size_t n = json_array_size(list);

    for (size_t i = 0; i < n && i < NAMED; i++) {
        const json_t *x = json_array_get(list, i);
        buf_printf(out, "               %s\n", text(x, "candidate"));
        if (*text(x, "fate")) buf_printf(out, "                 %s: %s\n", text(x, "fate"), text(x, "why"));
        if (number(x, "bytes") > 0)
            buf_printf(out, "                 %.0f bytes, %.0f expected\n", number(x, "bytes"), number(x, "expected"));
    }
    if (n > NAMED) buf_printf(out, "               and %zu more\n", n - NAMED);
}

static void compiled_template(struct buf *out, const json_t *t, double limit)
{
    double points = number(t, "points"), ok = number(json_object_get(t, "fates"), "OK");
    const json_t *spilling = json_object_get(t, "spilling");
    struct buf dead = {0};

    buf_printf(out, "\n%s   %.0f of %.0f valid points, %.0f of equal code", text(t, "template"), points,
               number(t, "valid"), number(t, "aliases"));
    fates(out, json_object_get(t, "fates"));
    range(out, t, "registers", "registers", " a thread\n");
    range(out, t, "shared_bytes", "shared", " bytes");
    if (json_is_integer(json_array_get(json_object_get(t, "shared_bytes"), 0))) {
        if (limit > 0) buf_printf(out, " of %.0f", limit);
        buf_puts(out, "\n");
    }
    range(out, t, "tensor_ops", "tensor", " matrix instructions");
    if (json_is_integer(json_array_get(json_object_get(t, "tensor_ops"), 0)))
        buf_printf(out, "; none in %.0f points\n", number(t, "without_tensor_ops"));
    if (!(ok >= points)) buf_printf(out, "    failed     %.0f\n", points - (ok > 0 ? ok : 0));
    named(out, json_object_get(t, "failures"));
    buf_printf(out, "    spilling   %zu\n", json_array_size(spilling));
    named(out, spilling);
    report_dead(&dead, json_object_get(t, "dead"));
    if (dead.n > 0) buf_printf(out, "    %s", buf_text(&dead));
    buf_free(&dead);
}

void report_compilation(struct buf *out, const json_t *c)
{
    const json_t *templates = json_object_get(c, "templates");

    for (size_t i = 0; i < json_array_size(templates); i++)
        compiled_template(out, json_array_get(templates, i), number(c, "shared_limit_bytes"));
    buf_printf(out, "\n%.0f compilations in %.1f s, %.1f s summed over workers\n", number(c, "compiled"),
               number(c, "elapsed_s"), number(c, "compile_summed_s"));
}

/* ---- progress ---- */

void report_progress_open(struct report_progress *r, FILE *to)
{
    struct winsize w;

    *r = (struct report_progress){.to = to, .last_s = 0, .width = 79};
    r->live = isatty(fileno(to)) && getenv("TERM") && strcmp(getenv("TERM"), "dumb") != 0;
    r->colour = r->live && !getenv("NO_COLOR");
    if (r->live && ioctl(fileno(to), TIOCGWINSZ, &w) == 0 && w.ws_col > 20) r->width = w.ws_col - 1;
}

static const char *const phase_names[] = {"prepare", "search", "race", "check", "confirm", "contest", "compile"};

static void line(const struct tune_progress *p, struct buf *out)
{
    bool steady = p->phase == TUNE_SEARCH || p->phase == TUNE_COMPILE; /* one like the other, so there is a rate */
    int failed = 0;

    for (int i = FATE_OK + 1; i < FATE_N; i++)
        failed += p->fates[i];
    buf_puts(out, phase_names[p->phase]);
    if (p->total > 0 && (steady || p->phase == TUNE_CHECK)) buf_printf(out, " %d/%d", p->done, p->total);
    if (steady && p->elapsed_s > 1) buf_printf(out, ", %.1f/s", p->done / p->elapsed_s);
    buf_printf(out, ", %.0f s", p->elapsed_s);
    if (steady && p->total > p->done && p->done > 3)
        buf_printf(out, ", %.0f s left at most", p->elapsed_s / p->done * (p->total - p->done));
    if (p->compiling > 0) buf_printf(out, ", %d compiling", p->compiling);
    if (failed > 0) {
        buf_printf(out, ", %d failed (", failed);
        for (int i = FATE_OK + 1, first = 1; i < FATE_N; i++) {
            if (!p->fates[i]) continue;
            buf_printf(out, "%s%d %s", first ? "" : ", ", p->fates[i], fate_name((enum fate)i));
            first = 0;
        }
        buf_puts(out, ")");
    }
    if (p->phase == TUNE_CONTEST && p->doing && *p->doing) {
        buf_printf(out, ", %s", p->doing);
        return;
    }
    if (p->best_us > 0) buf_printf(out, ", best %.2f us %s", p->best_us, p->best);
}

void report_progress_show(void *ctx, const struct tune_progress *p)
{
    struct report_progress *r = ctx;
    struct buf out = {0};
    bool due = p->elapsed_s - r->last_s > (r->live ? LIVE_EVERY_S : PLAIN_EVERY_S);

    if (p->event) {
        fprintf(r->to, "%s[%7.1f s] %s\n", r->live ? "\r\033[K" : "", p->elapsed_s, p->event);
        fflush(r->to);
    }
    if (!p->event && due) {
        line(p, &out);
        if (r->live) {
            fprintf(r->to, "\r\033[K%s%.*s%s", r->colour ? "\033[2m" : "", r->width, buf_text(&out),
                    r->colour ? "\033[0m" : "");
        } else {
            fprintf(r->to, "[%7.1f s] %s\n", p->elapsed_s, buf_text(&out));
        }
        fflush(r->to);
        r->last_s = p->elapsed_s;
    }
    buf_free(&out);
}

void report_progress_close(struct report_progress *r)
{
    if (r->live) fprintf(r->to, "\r\033[K");
}
