/* report_pictures.c - data and scripts for gnuplot. A mark's shape, a line's dash or a label says what its colour says. */
#include "report_pictures.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plot.h"
#include "report_private.h"

enum { WIDTH = 420, ROW = 22, FRAME = 62, LABEL = 26 };

static double first(const json_t *pair, size_t i)
{
    const json_t *x = json_array_get(pair, i);

    return json_is_number(x) ? json_number_value(x) : NAN;
}

/* gnuplot's word for a number that is not there. */
static void value(struct buf *data, double x)
{
    if (isfinite(x))
        buf_printf(data, " %.9g", x);
    else
        buf_puts(data, " NaN");
}

static void next_block(struct buf *data)
{
    buf_puts(data, "\n\n");
}

/* A logarithmic axis with marks at one, two, five, and more of them where the scale is short; a linear one where it is shorter still. */
static void marks(struct buf *script, char axis, double low, double high)
{
    static const double wide[] = {1, 2, 5}, fine[] = {1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8};
    bool few = high < 5 * low;
    size_t n = few ? sizeof fine / sizeof *fine : sizeof wide / sizeof *wide;
    const char *comma = "";

    if (high < 2 * low) {
        double margin = fmax((high - low) / 12, high / 100); /* a range without width is refused */
        buf_printf(script, "set %crange [%.9g:%.9g]\n", axis, low - margin, high + margin);
        return;
    }
    buf_printf(script, "set logscale %c 10\nset m%ctics 1\nset %ctics (", axis, axis, axis);
    for (double decade = pow(10, floor(log10(low))); decade <= high; decade *= 10)
        for (size_t i = 0; i < n; i++) {
            buf_printf(script, "%s%.9g", comma, decade * (few ? fine[i] : wide[i]));
            comma = ", ";
        }
    buf_printf(script, ")\nset %crange [%.9g:%.9g]\n", axis, low * 0.93, high * 1.07);
}

/* ---- contestants: their time over ours, with intervals ---- */

static bool contestants(struct plot *p, struct buf *alt, const json_t *report)
{
    const json_t *rows = json_object_get(json_object_get(report, "contestants"), "rows");
    int n = 0;

    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *c = json_array_get(rows, i), *ci = json_object_get(c, "times_ci");
        if (!(number(c, "times") > 0)) continue;
        buf_printf(&p->data, "%d", ++n);
        value(&p->data, number(c, "times"));
        value(&p->data, isfinite(first(ci, 0)) ? first(ci, 0) : number(c, "times"));
        value(&p->data, isfinite(first(ci, 1)) ? first(ci, 1) : number(c, "times"));
        buf_puts(&p->data, " ");
        plot_label(&p->data, text(c, "name"), LABEL);
        buf_puts(&p->data, "\n");
    }
    p->height = FRAME + ROW * (n + 1);
    buf_printf(&p->script,
               "set yrange [%d.6:0.4]\n"
               "set xlabel \"time of the contestant / time of fatune's arm\"\n"
               "set xrange [*<0.95:*]\n"
               "set arrow 1 from 1,graph 0 to 1,graph 1 nohead linecolor rgb ink dashtype 2\n"
               "set offsets 0,0.1,0,0\n"
               "unset key\n"
               "plot data using 2:1:3:4:yticlabels(5) with xerrorbars pointtype 5 pointsize 0.8 linecolor rgb theirs\n",
               n);
    buf_printf(alt,
               "Each contestant's time over fatune's, with its interval. Right of the line at one fatune is faster.");
    return n > 0;
}

/* ---- letters: dots and a box for each arm, on scales of one width ---- */

static void arm_data(struct buf *data, const json_t *arm)
{
    const json_t *us = json_object_get(arm, "us");

    /* Spread over the row by the golden ratio, so that no two neighbours hide each other. */
    for (size_t i = 0; i < json_array_size(us); i++)
        buf_printf(data, "%.9g %.4f\n", json_number_value(json_array_get(us, i)),
                   0.75 + 0.9 * fmod(0.6180339887 * (double)(i + 1), 1));
    next_block(data);
    buf_printf(data, "%.9g %.9g %.9g %.9g %.9g\n", number(arm, "p05_us"), number(arm, "q1_us"),
               number(arm, "median_us"), number(arm, "q3_us"), number(arm, "p95_us"));
    next_block(data);
}

static void arm_script(struct buf *script, const char *title, const char *colour, int block, double middle, double half)
{
    buf_printf(
        script,
        "set title \"%s\" textcolor rgb ink offset 0,-0.6\n"
        "set xrange [%.9g:%.9g]\n"
        "plot data index %d using 1:2 with points pointtype 7 pointsize 0.22 linecolor rgb %s, \\\n"
        "  data index %d using 2:(0.2):2:4:(0.02):(0.48) with boxxyerror fillstyle empty linewidth 1.5 linecolor "
        "rgb ink, \\\n"
        "  data index %d using 3:(0.02):(0):(0.46) with vectors nohead linewidth 3 linecolor rgb ink, \\\n"
        "  data index %d using 1:(0.25):($2-$1):(0) with vectors nohead linecolor rgb ink, \\\n"
        "  data index %d using 4:(0.25):($5-$4):(0) with vectors nohead linecolor rgb ink\n",
        title, middle - half, middle + half, block, colour, block + 1, block + 1, block + 1, block + 1);
}

static bool letters(struct plot *p, struct buf *alt, const json_t *report)
{
    const json_t *both = json_object_get(report, "letters"), *a = json_object_get(both, "a"),
                 *b = json_object_get(both, "b");
    double half = 0, middle[2];
    const json_t *arm[] = {a, b};

    if (!(number(a, "letters") > 0 && number(b, "letters") > 0)) return false;
    for (int i = 0; i < 2; i++) {
        double low = number(arm[i], "least_us"), high = number(arm[i], "most_us");
        middle[i] = (low + high) / 2;
        half = fmax(half, (high - low) * 0.53);
        arm_data(&p->data, arm[i]);
    }
    if (!(half > 0)) half = 0.01 * middle[0];
    p->height = 320;
    buf_puts(&p->script, "set multiplot layout 2,1 margins 0.03,0.97,0.18,0.93 spacing 0,0.22\n"
                         "set border 1 linecolor rgb ink\nunset ytics\nunset key\nset yrange [0:1.75]\n");
    arm_script(&p->script, "the arm to beat", "theirs", 0, middle[0], half);
    buf_puts(&p->script, "set xlabel \"us a launch\"\n");
    arm_script(&p->script, "the champion", "ours", 2, middle[1], half);
    buf_puts(&p->script, "unset multiplot\n");
    buf_puts(alt,
             "Every time measured in the trial that decided, one dot each, on two scales of equal width that begin at "
             "different times. The box holds the middle half, the thick line is the median, the thin one goes from "
             "the fifth to the ninety-fifth hundredth.");
    return true;
}

/* ---- search ---- */

static bool progress(struct plot *p, struct buf *alt, const json_t *report, bool by_time)
{
    const json_t *search = json_object_get(report, "search"), *points = json_object_get(search, "points"),
                 *best = json_object_get(search, "best");
    double end = by_time ? 0 : number(search, "evaluations"), low = INFINITY, high = 0;

    for (size_t i = 0; i < json_array_size(points); i++) {
        const json_t *x = json_array_get(points, i);
        value(&p->data, first(x, by_time));
        value(&p->data, first(x, 2));
        buf_puts(&p->data, "\n");
        if (by_time && first(x, 1) > end) end = first(x, 1);
        low = fmin(low, first(x, 2));
        high = fmax(high, first(x, 2));
    }
    next_block(&p->data);
    for (size_t i = 0; i < json_array_size(best); i++) {
        const json_t *x = json_array_get(best, i);
        value(&p->data, number(x, by_time ? "after_s" : "seq"));
        value(&p->data, number(x, "us"));
        buf_puts(&p->data, "\n");
    }
    if (json_array_size(best) > 0) {
        value(&p->data, end);
        value(&p->data, number(json_array_get(best, json_array_size(best) - 1), "us"));
        buf_puts(&p->data, "\n");
    }
    if (json_array_size(best) == 0) return false;
    p->height = 270;
    marks(&p->script, 'y', low, high);
    buf_printf(
        &p->script,
        "set xlabel \"%s\"\nset ylabel \"us\"\nset xrange [0:%s<*]\nset key outside top center horizontal\n"
        "plot data index 0 using 1:2 with points pointtype 6 pointsize 0.35 linecolor rgb soft title \"a proposal\", "
        "\\\n"
        "  data index 1 using 1:2 with steps linewidth 2.5 linecolor rgb ours title \"best so far\"\n",
        by_time ? "seconds since the run began" : "number of the proposal", by_time ? "0.001" : "1");
    buf_printf(alt, "Search scores against %s. The line is the best so far.",
               by_time ? "time" : "the number of the proposal");
    return true;
}

static bool by_evaluations(struct plot *p, struct buf *alt, const json_t *report)
{
    return progress(p, alt, report, false);
}

static bool by_time(struct plot *p, struct buf *alt, const json_t *report)
{
    return progress(p, alt, report, true);
}

/* ---- parameters ---- */

/* "x low high": of the view, NaN where it cannot be told. */
static void told(struct buf *data, const json_t *x, const char *percent, const char *ci)
{
    value(data, number(x, percent));
    value(data, first(json_object_get(x, ci), 0));
    value(data, first(json_object_get(x, ci), 1));
}

/* Of the first template of which anything can be told. */
static bool importance(struct plot *p, struct buf *alt, const json_t *report)
{
    const json_t *list = json_object_get(report, "importance"), *params = NULL;
    const char *name = "";
    int row = 0;

    for (size_t i = 0; i < json_array_size(list) && !params; i++) {
        const json_t *m = json_array_get(list, i);
        name = text(m, "template");
        if (!*text(json_object_get(m, "all"), "why") || !*text(json_object_get(m, "fast"), "why"))
            params = json_object_get(m, "params");
    }
    for (size_t i = 0; i < json_array_size(params); i++) {
        const json_t *x = json_array_get(params, i);
        buf_printf(&p->data, "%d", ++row);
        told(&p->data, x, "all_percent", "all_ci_percent");
        told(&p->data, x, "fast_percent", "fast_ci_percent");
        buf_puts(&p->data, " ");
        plot_label(&p->data, text(x, "param"), LABEL);
        buf_puts(&p->data, "\n");
    }
    p->height = FRAME + 28 + ROW * (row + 1);
    buf_printf(
        &p->script,
        "set yrange [%d.6:0.4]\nset xrange [0:*<100]\nset xlabel \"%% of the variance of ln time\"\n"
        "set key outside top center horizontal\n"
        "plot data using 2:($1-0.13):3:4:yticlabels(8) with xerrorbars pointtype 4 pointsize 0.7 linecolor rgb "
        "theirs title \"all points\", \\\n"
        "  data using 5:($1+0.13):6:7 with xerrorbars pointtype 7 pointsize 0.7 linecolor rgb ours title \"faster "
        "half\"\n",
        row);
    buf_printf(
        alt, "What each parameter of %s explains, with its interval: over all valid points, and over the faster half.",
        name);
    return row > 0;
}

static bool parameters(struct plot *p, struct buf *alt, const json_t *report)
{
    const json_t *t = json_array_get(json_object_get(report, "parameters"), 0), *params = json_object_get(t, "params");
    double low = INFINITY, high = 0;
    int row = 0, shown = 0;

    for (size_t i = 0; i < json_array_size(params); i++) {
        const json_t *f = json_array_get(params, i), *values = json_object_get(f, "values");
        if (json_array_size(values) < 2) continue;
        for (size_t v = 0; v < json_array_size(values); v++) {
            const json_t *x = json_array_get(values, v);
            char label[96];
            snprintf(label, sizeof label, "%.64s = %lld", text(f, "param"),
                     (long long)json_integer_value(json_object_get(x, "value")));
            buf_printf(&p->data, "%d %.9g %.9g ", ++row, number(x, "best_us"), number(x, "median_us"));
            plot_label(&p->data, label, LABEL);
            buf_puts(&p->data, "\n");
            low = fmin(low, number(x, "best_us"));
            high = fmax(high, number(x, "median_us"));
        }
        row++; /* a gap between parameters */
        shown++;
    }
    if (!shown) return false;
    p->height = FRAME + 28 + row * 18;
    marks(&p->script, 'x', low, high);
    buf_printf(&p->script,
               "set yrange [%d:0]\nset xlabel \"us\"\nset key outside top center horizontal\n"
               "plot data using 2:1:($3-$2):(0):yticlabels(4) with vectors nohead linecolor rgb soft notitle, \\\n"
               "  data using 2:1 with points pointtype 7 pointsize 0.7 linecolor rgb ours title \"best\", \\\n"
               "  data using 3:1 with points pointtype 4 pointsize 0.7 linecolor rgb theirs title \"median\"\n",
               row);
    buf_printf(alt, "Best and median search score of each value of %s, the parameter that matters most on top.",
               text(t, "template"));
    return true;
}

/* Place of a value among the cells' values of one side, from 0. */
static int place(const json_t *cells, const char *side, double wanted)
{
    int at = 0;

    for (size_t i = 0; i < json_array_size(cells); i++) {
        double x = number(json_array_get(cells, i), side);
        bool seen = false;
        for (size_t k = 0; k < i; k++)
            seen = seen || number(json_array_get(cells, k), side) == x;
        if (!seen && x < wanted) at++;
    }
    return at;
}

static bool grid(struct plot *p, struct buf *alt, const json_t *report)
{
    const json_t *t = json_array_get(json_object_get(report, "parameters"), 0), *g = json_object_get(t, "grid"),
                 *cells = json_object_get(g, "cells");
    double low = INFINITY, high = 0;
    int rows = 0, columns = 0;

    for (size_t i = 0; i < json_array_size(cells); i++) {
        low = fmin(low, log(number(json_array_get(cells, i), "median_us")));
        high = fmax(high, log(number(json_array_get(cells, i), "median_us")));
    }
    for (size_t i = 0; i < json_array_size(cells); i++) {
        const json_t *c = json_array_get(cells, i);
        double us = number(c, "median_us"), tint = high > low ? (high - log(us)) / (high - low) : 1;
        int a = place(cells, "a", number(c, "a")), b = place(cells, "b", number(c, "b"));
        /* An alpha of 0 is opaque. */
        buf_printf(&p->data, "%d %d %.9g %d \"%.4g\" \"%.0f\" \"%.0f\"\n", b, a, us, 255 - (int)(25 + 150 * tint), us,
                   number(c, "b"), number(c, "a"));
        rows = a + 1 > rows ? a + 1 : rows;
        columns = b + 1 > columns ? b + 1 : columns;
    }
    p->height = FRAME + 10 + 34 * rows;
    buf_printf(&p->script,
               "set xrange [-0.5:%d.5]\nset yrange [%d.5:-0.5]\nunset key\nunset grid\nset border 0\nset tics scale 0\n"
               "set style fill solid 1 noborder\n"
               "plot data using 1:2:($1-0.48):($1+0.48):($2-0.46):($2+0.46):(int($4)*16777216+ours):xticlabels(6):"
               "yticlabels(7) with boxxyerror linecolor rgb variable, \\\n"
               "  data using 1:2:5 with labels textcolor rgb ink\n",
               columns - 1, rows - 1);
    buf_printf(alt, "Median score in us by %s (down) and %s (across); the darker a cell, the faster.", text(g, "a"),
               text(g, "b"));
    return json_array_size(cells) > 0;
}

/* ---- roofline ---- */

static bool roofline(struct plot *p, struct buf *alt, const json_t *report)
{
    const json_t *r = json_object_get(report, "roofline"), *list = json_object_get(r, "ceilings");
    double at = number(r, "flop_per_byte"), tflops = number(r, "tflops"), compute = 0, memory = 0;

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        if (number(c, "tflops") > 0) compute = number(c, "tflops");
        if (number(c, "gbytes_s") > 0)
            memory = number(c, "gbytes_s") / 1000; /* TB/s: TFLOP/s at one operation a byte */
    }
    if (!(compute > 0 && memory > 0 && tflops > 0)) return false;
    buf_printf(&p->data, "%.9g %.9g\n", at, tflops);
    p->height = 300;
    buf_printf(
        &p->script,
        "compute = %.9g\nmemory = %.9g\nroof(x) = x * memory < compute ? x * memory : compute\n"
        "set logscale xy 10\nset samples 400\nset xrange [%.9g:%.9g]\nset yrange [%.9g:%.9g]\n"
        "set xlabel \"operations for each byte of device memory\"\nset ylabel \"TFLOP/s\"\nset key bottom right\n"
        "plot roof(x) linewidth 2 linecolor rgb ink title \"ceiling\", \\\n"
        "  data using 1:2 with impulses dashtype 3 linecolor rgb soft notitle, \\\n"
        "  data using 1:2 with points pointtype 7 pointsize 1.2 linecolor rgb ours title \"champion\"\n",
        compute, memory, fmin(at, compute / memory) / 10, fmax(at, compute / memory) * 10,
        fmin(tflops, compute / 100) / 3, compute * 2);
    buf_puts(alt, "The champion below the device's ceilings: the slope is device memory, the level the matrix units.");
    return true;
}

/* ---- nights ---- */

static bool nights(struct plot *p, struct buf *alt, const json_t *report)
{
    const json_t *points = json_object_get(json_object_get(json_object_get(report, "nights"), "chart"), "points");

    for (size_t i = 0; i < json_array_size(points); i++) {
        const json_t *x = json_array_get(points, i);
        static const char *const columns[] = {"night", "anchor_us", "average_us", "low_us", "high_us"};
        for (size_t k = 0; k < sizeof columns / sizeof *columns; k++)
            value(&p->data, number(x, columns[k]));
        buf_puts(&p->data, "\n");
    }
    p->height = 280;
    buf_puts(&p->script,
             "set xlabel \"night\"\nset ylabel \"us\"\nset key outside top center horizontal\nset offsets 0.5,0.5,0,0\n"
             "plot data using 1:2 with points pointtype 6 pointsize 0.7 linecolor rgb theirs title \"anchor\", \\\n"
             "  data using 1:3 with linespoints pointtype 7 pointsize 0.4 linewidth 2 linecolor rgb ours title "
             "\"average\", \\\n"
             "  data using 1:4 with lines dashtype 2 linecolor rgb ink title \"limits\", \\\n"
             "  data using 1:5 with lines dashtype 2 linecolor rgb ink notitle\n");
    buf_puts(alt,
             "The time of the anchor, a kernel that stays the same, night by night, with its moving average and that "
             "average's limits.");
    return json_array_size(points) > 1;
}

/* ---- all ---- */

static const struct {
    const char *name;
    bool (*make)(struct plot *p, struct buf *alt, const json_t *report); /* false: no data */
} pictures[PICTURE_N] = {
    [PICTURE_CONTESTANTS] = {"contestants", contestants},
    [PICTURE_LETTERS] = {"letters", letters},
    [PICTURE_EVALUATIONS] = {"evaluations", by_evaluations},
    [PICTURE_TIME] = {"time", by_time},
    [PICTURE_IMPORTANCE] = {"importance", importance},
    [PICTURE_PARAMETERS] = {"parameters", parameters},
    [PICTURE_GRID] = {"grid", grid},
    [PICTURE_ROOFLINE] = {"roofline", roofline},
    [PICTURE_NIGHTS] = {"nights", nights},
};

void report_pictures_free(struct report_pictures *p)
{
    for (int i = 0; i < PICTURE_N; i++) {
        buf_free(&p->svg[i]);
        buf_free(&p->alt[i]);
        buf_free(&p->png[i]);
    }
}

/* The drawn PNG to where it was asked for. */
static int save_png(struct report_pictures *p, int i, const char *work, const char *stem, struct err *e)
{
    struct buf from = {0}, to = {0}, bytes = {0};
    const char *slash;
    int rc;

    buf_printf(&from, "%s/%s.png", work, pictures[i].name);
    buf_printf(&to, "%s-%s.png", stem, pictures[i].name);
    slash = strrchr(buf_text(&to), '/');
    buf_puts(&p->png[i], slash ? slash + 1 : buf_text(&to));
    TRY(buf_read_file(&bytes, buf_text(&from), 64u << 20, ERR_SYSTEM, e));
    rc = buf_write_file(buf_text(&to), bytes.p, bytes.n, e);
out:
    buf_free(&from);
    buf_free(&to);
    buf_free(&bytes);
    return rc;
}

static int draw(struct report_pictures *p, int i, struct plot *plot, const char *work, const char *png, struct err *e)
{
    int rc;

    TRY(plot_draw(plot, work, PLOT_SVG, p->why, sizeof p->why, e));
    if (!*p->why) TRY(plot_embed(plot, work, &p->svg[i], e));
    if (!png) goto out;
    if (!*p->why) TRY(plot_draw(plot, work, PLOT_PNG, p->why, sizeof p->why, e));
    rc = *p->why ? err_set(e, ERR_USAGE, "--png: %s", p->why) : save_png(p, i, work, png, e);
out:
    return rc;
}

int report_pictures_draw(struct report_pictures *p, const json_t *report, const char *work, const char *png,
                         struct err *e)
{
    int rc = 0;

    for (int i = 0; i < PICTURE_N && rc == 0; i++) {
        struct plot plot = {.name = pictures[i].name, .width = WIDTH};
        if (pictures[i].make(&plot, &p->alt[i], report) && !*p->why) {
            plot.alt = buf_text(&p->alt[i]);
            rc = draw(p, i, &plot, work, png, e);
        }
        plot_free(&plot);
    }
    return rc;
}
