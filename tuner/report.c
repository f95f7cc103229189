#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PLAIN_EVERY_S 10.0
#define LIVE_EVERY_S 0.1

static double number(const json_t *j, const char *name)
{
    const json_t *x = json_object_get(j, name);

    return json_is_number(x) ? json_number_value(x) : NAN;
}

static const char *text(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));

    return s ? s : "";
}

/* ---- verdict ---- */

static void interval_row(struct buf *out, const json_t *v, const char *member, const char *what)
{
    const json_t *i = json_object_get(v, member);

    if (json_is_number(json_array_get(i, 0)) && json_is_number(json_array_get(i, 1)))
        buf_printf(out, "    %-34s [%.4f, %.4f]\n", what, json_number_value(json_array_get(i, 0)),
                   json_number_value(json_array_get(i, 1)));
    else
        buf_printf(out, "    %-34s not defined for these data\n", what);
}

void report_verdict(struct buf *out, const json_t *v, const char *a, const char *b)
{
    const json_t *clauses = json_object_get(v, "clauses");
    double ratio = number(v, "ratio");

    buf_printf(out, "  verdict %s\n", text(v, "outcome"));
    if (isfinite(ratio)) {
        buf_printf(out, "    %-34s %.3f us   %s: %.3f us (medians over letters)\n", a, number(v, "median_a_us"), b,
                   number(v, "median_b_us"));
        buf_printf(out, "    time of %s over %s: %.4f, so it is %.2f%% %s\n", b, a, ratio, 100 * fabs(1 - ratio),
                   ratio <= 1 ? "faster" : "slower");
        interval_row(out, v, "ratio_boot_t", "95% interval, bootstrap-t");
        interval_row(out, v, "ratio_t", "95% interval, t on sessions");
        interval_row(out, v, "ratio_percentile", "95% interval, percentile");
        interval_row(out, v, "ratio_bca", "95% interval, BCa");
        buf_printf(out, "    Hedges' g within sessions %.2f (textbook %.2f)\n", number(v, "g_within"),
                   number(v, "g_textbook"));
    }
    for (size_t i = 0; i < json_array_size(clauses); i++) {
        const json_t *clause = json_array_get(clauses, i);
        buf_printf(out, "    %s %-18s %s\n", json_is_true(json_object_get(clause, "passed")) ? "pass" : "FAIL",
                   text(clause, "clause"), text(clause, "why"));
    }
    if (*text(v, "note")) buf_printf(out, "    %s\n", text(v, "note"));
    if (number(v, "sessions_needed") > 0)
        buf_printf(out, "    about %.0f sessions would decide\n", number(v, "sessions_needed"));
}

/* ---- run ---- */

static void fates(struct buf *out, const json_t *j)
{
    const char *name;
    json_t *n;

    json_object_foreach((json_t *)(uintptr_t)j, name, n)
        buf_printf(out, "  %5lld %s\n", (long long)json_integer_value(n), name);
}

void report_run(struct buf *out, const json_t *s)
{
    const json_t *champion = json_object_get(s, "champion"), *trials = json_object_get(s, "trials");
    const json_t *seconds = json_object_get(s, "seconds"), *facts = json_object_get(champion, "facts");

    buf_printf(out, "\n%s: %s on %s (%s)\n", text(s, "space"), text(s, "problem"), text(s, "device_name"),
               text(s, "device"));
    buf_printf(out, "run %.0f: %.0f proposals by %s, %.0f compilations, %.0f of equal code\n", number(s, "run"),
               number(s, "proposals"), text(s, "strategy"), number(s, "compiled"), number(s, "aliases"));
    fates(out, json_object_get(s, "fates"));
    for (size_t i = 0; i < json_array_size(trials); i++) {
        const json_t *t = json_array_get(trials, i);
        buf_printf(out, "\nfinalist %zu: %s%s\n", i + 1, text(t, "candidate"),
                   json_is_true(json_object_get(t, "boxed")) ? " (trial cut to fit the time)" : "");
        report_verdict(out, json_object_get(t, "verdict"), "standing", "candidate");
    }
    if (json_is_object(champion)) {
        buf_printf(out, "\nchampion %s (%s): %s\n", text(champion, "name"), text(champion, "action"),
                   text(facts, "text"));
        if (*text(champion, "note")) buf_printf(out, "  %s\n", text(champion, "note"));
    } else {
        buf_puts(out, "\nno champion\n");
    }
    buf_printf(out, "%.1f s in all; compiling %.1f s summed over workers, checking and measuring %.1f s\n",
               number(seconds, "elapsed"), number(seconds, "compile_summed"), number(seconds, "check_and_measure"));
}

/* ---- progress ---- */

void report_progress_open(struct report_progress *r, FILE *to)
{
    struct winsize w;

    *r = (struct report_progress){.to = to, .last_phase = -1, .last_s = -1e9, .width = 79};
    r->live = isatty(fileno(to)) && getenv("TERM") && strcmp(getenv("TERM"), "dumb") != 0;
    r->colour = r->live && !getenv("NO_COLOR");
    if (r->live && ioctl(fileno(to), TIOCGWINSZ, &w) == 0 && w.ws_col > 20) r->width = w.ws_col - 1;
}

static const char *const phase_names[] = {"prepare", "search", "race", "check", "confirm"};

static void line(const struct tune_progress *p, struct buf *out)
{
    int failed = 0;

    for (int i = FATE_OK + 1; i < FATE_N; i++)
        failed += p->fates[i];
    buf_printf(out, "%s %d", phase_names[p->phase], p->done);
    if (p->total > 0) buf_printf(out, "/%d", p->total);
    if (p->phase == TUNE_SEARCH && p->elapsed_s > 1) buf_printf(out, ", %.1f/s", p->done / p->elapsed_s);
    buf_printf(out, ", %.0f s", p->elapsed_s);
    if (p->phase == TUNE_SEARCH && p->total > p->done && p->done > 3)
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
        r->last_phase = (int)p->phase;
    }
    buf_free(&out);
}

void report_progress_close(struct report_progress *r)
{
    if (r->live) fprintf(r->to, "\r\033[K");
}
