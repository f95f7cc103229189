/* The comparison is one pass over the outputs, in parts. The diagnosis is a second pass, made only for a failure: it counts bad
 * elements by head, by row (of all heads together) and by column (or key), and then tries explanations from the most to the least
 * specific. Each is a statement about where the bad elements are, which a reader can hold against the kernel's tiling:
 * a tail of the last tile, one tile of rows, every n-th row, a stripe of columns, a constant factor. */
#include "check_diagnose.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "check_host.h"

#define LEAST_PART 16384u

static double distance(double got, double expected)
{
    return isfinite(got) ? fabs(got - expected) : INFINITY;
}

static void worst_add(struct check_worst *w, struct check_element x)
{
    const double d = distance(x.got, x.expected);
    int i;
    if (w->n == CHECK_WORST && d <= distance(w->of[CHECK_WORST - 1].got, w->of[CHECK_WORST - 1].expected)) return;
    i = w->n < CHECK_WORST ? w->n++ : CHECK_WORST - 1;
    for (; i > 0 && d > distance(w->of[i - 1].got, w->of[i - 1].expected); i--)
        w->of[i] = w->of[i - 1];
    w->of[i] = x;
}

/* x with the dtype's precision, ties to even. The exponent's range is left alone: a step near 0, where the dtype is coarser, is
 * that of 0.3 anyway. */
static inline float rounded(enum dtype d, float x)
{
    const uint32_t dropped = d == DTYPE_BF16 ? 16 : 13;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits += (1u << (dropped - 1)) - 1 + (bits >> dropped & 1u);
    bits &= ~0u << dropped;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* |(x + 0.3 - 0.3) - x| with each step rounded to the dtype. */
static inline double step_error(enum dtype d, float x)
{
    return fabs((double)rounded(d, rounded(d, rounded(d, x) + 0.3f) - 0.3f) - (double)x);
}

size_t check_part(size_t n)
{
    return n / CHECK_PARTS + 1 > LEAST_PART ? n / CHECK_PARTS + 1 : LEAST_PART;
}

struct pass {
    enum dtype dtype;
    const uint16_t *got;
    const float *expected, *low, *decode;
    double atol, rtol;
    size_t part; /* elements of each part but the last */
    struct check_compare parts[CHECK_PARTS];
    double error2[CHECK_PARTS], expected2[CHECK_PARTS];
};

static void compare_part(void *ctx, size_t first, size_t end)
{
    struct pass *p = ctx;
    const float *decode = p->decode;
    struct check_compare c = {.n = end - first};
    double error2 = 0, expected2 = 0, least_worst = -1;
    for (size_t i = first; i < end; i++) {
        double x = (double)decode[p->got[i]], r = (double)p->expected[i], d = fabs(x - r);
        expected2 += r * r;
        if (!isfinite(x)) {
            c.nonfinite++;
            c.bad++;
            worst_add(&c.worst, (struct check_element){.at = i, .got = x, .expected = r});
        } else {
            if (d > c.max_abs) c.max_abs = d;
            error2 += d * d;
            if (d > p->atol + p->rtol * fabs(r)) c.bad++;
            if (d > least_worst) worst_add(&c.worst, (struct check_element){.at = i, .got = x, .expected = r});
        }
        if (c.worst.n == CHECK_WORST)
            least_worst = distance(c.worst.of[CHECK_WORST - 1].got, c.worst.of[CHECK_WORST - 1].expected);
    }
    for (size_t i = first; i < end && p->low != NULL; i++) {
        double l = fabs((double)p->low[i] - (double)p->expected[i]), s = step_error(p->dtype, p->expected[i]);
        if (l > c.max_low) c.max_low = l;
        if (s > c.max_step) c.max_step = s;
    }
    p->parts[first / p->part] = c;
    p->error2[first / p->part] = error2;
    p->expected2[first / p->part] = expected2;
}

static void compare_add(struct check_compare *out, const struct check_compare *part)
{
    out->nonfinite += part->nonfinite;
    out->bad += part->bad;
    out->max_abs = fmax(out->max_abs, part->max_abs);
    out->max_low = fmax(out->max_low, part->max_low);
    out->max_step = fmax(out->max_step, part->max_step);
    for (int i = 0; i < part->worst.n; i++)
        worst_add(&out->worst, part->worst.of[i]);
}

void check_compare(const struct problem *p, struct parallel *threads, const uint16_t *got, const float *expected,
                   const float *low, double atol, double rtol, const float *decode, struct check_compare *out)
{
    const size_t n = problem_q_elements(p);
    struct pass pass = {.dtype = p->dtype, .got = got, .expected = expected, .low = low, .decode = decode};
    double error2 = 0, expected2 = 0;
    pass.atol = atol;
    pass.rtol = rtol;
    pass.part = check_part(n);
    parallel_for(threads, n, pass.part, compare_part, &pass);
    *out = (struct check_compare){.n = n};
    for (size_t i = 0; i * pass.part < n; i++) {
        compare_add(out, &pass.parts[i]);
        error2 += pass.error2[i];
        expected2 += pass.expected2[i];
    }
    out->rel_l2 = expected2 > 0 ? sqrt(error2 / expected2) : (error2 > 0 ? INFINITY : 0);
    out->bound = low != NULL ? 2 * out->max_low + 2 * out->max_step : INFINITY;
}

/* Counts of elements by where they are. A plane, row or column without an element that matters says nothing. */
struct census {
    const struct check_table *t;
    size_t matter, bad, nonfinite, rows, rows_bad; /* rows: (plane, row) pairs */
    size_t whole_rows;                             /* of the bad ones, with every column bad */
    struct count {
        size_t matter, bad;
    } * by_plane, *by_row, *by_column;
    size_t ratios; /* bad finite elements whose expected value is not tiny */
    double ratio_sum, ratio_sum2;
};

static int census_open(struct census *c, const struct check_table *t, struct err *e)
{
    *c = (struct census){.t = t};
    c->by_plane = calloc(t->planes + t->rows + t->columns, sizeof *c->by_plane);
    if (c->by_plane == NULL) return err_nomem(e);
    c->by_row = c->by_plane + t->planes;
    c->by_column = c->by_row + t->rows;
    return 0;
}

static void census_add(struct census *c, size_t row, size_t column, double got, double expected, bool bad)
{
    struct count *counts[] = {&c->by_plane[row / c->t->rows], &c->by_row[row % c->t->rows], &c->by_column[column]};
    c->matter++;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        counts[i]->matter++;
        counts[i]->bad += bad;
    }
    if (!bad) return;
    c->bad++;
    if (!isfinite(got)) {
        c->nonfinite++;
    } else if (fabs(expected) > c->t->tiny) {
        c->ratios++;
        c->ratio_sum += got / expected;
        c->ratio_sum2 += got / expected * (got / expected);
    }
}

static void census_take(struct census *c, struct check_diagnosis *d)
{
    const struct check_table *t = c->t;
    for (size_t row = 0; row < t->planes * t->rows; row++) {
        const size_t before = c->bad, mattered = c->matter;
        for (size_t column = 0; column < t->columns; column++) {
            struct check_element x = {.at = row * t->columns + column};
            const enum check_cell cell = t->cell(t->ctx, x.at, &x.got, &x.expected);
            if (cell == CHECK_NO_MATTER) continue;
            if (cell == CHECK_BAD && c->bad == 0) d->first = x;
            if (cell == CHECK_BAD) worst_add(&d->worst, x);
            if (isfinite(x.got)) d->largest = fmax(d->largest, fabs(x.got - x.expected));
            census_add(c, row, column, x.got, x.expected, cell == CHECK_BAD);
        }
        if (c->matter > mattered) c->rows++;
        if (c->bad > before) c->rows_bad++;
        if (c->bad > before && c->bad - before == c->matter - mattered) c->whole_rows++;
    }
}

/* First and last index with a bad element, and how many have one; all: that matter. */
static size_t extent(const struct count *count, size_t n, size_t *first, size_t *last, size_t *all)
{
    size_t hit = 0;
    *all = 0;
    for (size_t i = 0; i < n; i++) {
        *all += count[i].matter > 0;
        if (count[i].bad == 0) continue;
        if (hit++ == 0) *first = i;
        *last = i;
    }
    return hit;
}

static void clause(char *out, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void clause(char *out, size_t size, const char *fmt, ...)
{
    size_t n = strlen(out);
    va_list ap;
    if (n > 0 && n + 2 < size) {
        memcpy(out + n, ", ", 3);
        n += 2;
    }
    va_start(ap, fmt);
    vsnprintf(out + n, size - n, fmt, ap);
    va_end(ap);
}

/* An axis of the table: its first index in the problem, and how many the problem has. */
struct axis {
    const struct count *count;
    size_t n, first, all;
    const char *name;
    bool tiled; /* kernels walk it in tiles */
};

/* The smallest power of two for which the bad indices are all those of a few residues: the mark of a fixed lane or
 * register. 0 when there is none. */
static size_t period(const struct axis *a, size_t matter, size_t *residue, size_t *residues)
{
    for (size_t m = 2; m <= 64 && 2 * m <= a->n; m *= 2) {
        size_t hits[64] = {0}, hit = 0, used = 0;
        for (size_t i = 0; i < a->n; i++)
            if (a->count[i].bad > 0) {
                hits[(a->first + i) % m]++;
                hit++;
            }
        for (size_t r = 0; r < m; r++)
            if (hits[r] > 0 && used++ == 0) *residue = r;
        *residues = used;
        if ((4 * used <= m || used == 1) && hit >= 2 * used && 10 * hit * m >= 9 * matter * used) return m;
    }
    return 0;
}

static void axis_pattern(const struct axis *a, char *out, size_t size)
{
    size_t first = 0, last = 0, matter, hit = extent(a->count, a->n, &first, &last, &matter), residue = 0, residues = 0;
    size_t m, begin = a->first + first, end = a->first + last;
    if (hit == matter) return;
    if (hit == 1) {
        clause(out, size, "only %s %zu", a->name, begin);
        return;
    }
    if (a->tiled && end == a->all - 1)
        for (size_t tile = 8; tile <= 256 && tile < a->all; tile *= 2)
            if (a->all % tile != 0 && begin >= a->all - a->all % tile) {
                clause(out, size, "only the tail %ss from %zu on (%zu %ss are not a multiple of %zu)", a->name, begin,
                       a->all, a->name, tile);
                return;
            }
    m = period(a, matter, &residue, &residues);
    if (m != 0) {
        clause(out, size, "only %ss whose index modulo %zu is %zu%s", a->name, m, residue,
               residues > 1 ? " or one of a few others" : "");
        return;
    }
    for (size_t tile = 8; a->tiled && tile <= 256 && tile < a->all; tile *= 2)
        if (begin / tile == end / tile) {
            clause(out, size, "only %ss %zu to %zu, inside one tile of %zu %ss", a->name, begin, end, tile, a->name);
            return;
        }
    if (first > 0 || last < a->n - 1)
        clause(out, size, a->tiled ? "only %ss %zu to %zu" : "only the stripe of %ss %zu to %zu", a->name, begin, end);
}

static void head_pattern(const struct census *c, char *out, size_t size)
{
    size_t first = 0, last = 0, all, heads = c->t->heads, hit = extent(c->by_plane, c->t->planes, &first, &last, &all);
    if (c->t->planes == 1 || hit == c->t->planes) return;
    if (hit == 1)
        clause(out, size, "only head %zu of batch %zu", first % heads, first / heads);
    else if (first / heads == last / heads && c->t->planes > heads)
        clause(out, size, "only batch %zu", first / heads);
    else
        clause(out, size, "%zu of %zu heads", hit, c->t->planes);
}

static void describe(const struct census *c, struct check_diagnosis *d)
{
    const struct check_table *t = c->t;
    const struct axis rows = {c->by_row, t->rows, t->first_row, t->all_rows, "row", true},
                      columns = {c->by_column, t->columns, 0, t->columns, t->column, strcmp(t->column, "column") != 0};
    double mean = c->ratios > 0 ? c->ratio_sum / (double)c->ratios : 0;
    double variance = c->ratios > 0 ? c->ratio_sum2 / (double)c->ratios - mean * mean : 0;
    char *out = d->pattern;
    const size_t size = sizeof d->pattern;
    if (c->bad == 1) {
        clause(out, size, "a single element");
        return;
    }
    if (c->nonfinite == c->bad)
        clause(out, size, "%s",
               c->bad == c->matter ? "every element is NaN or infinite" : "all of them NaN or infinite");
    if (c->ratios >= 8 && c->nonfinite == 0 && sqrt(fmax(variance, 0)) < 0.02 * fmax(fabs(mean), 0.05)) {
        clause(out, size, "scaled: got / expected is about %.4g throughout", mean);
        d->factor = mean;
    }
    if (c->whole_rows == c->rows_bad && c->bad < c->matter)
        clause(out, size, "whole rows");
    else if (c->bad < c->matter && 10 * c->bad * c->rows >= 9 * c->rows_bad * c->matter)
        clause(out, size, "nearly whole rows");
    axis_pattern(&rows, out, size);
    axis_pattern(&columns, out, size);
    head_pattern(c, out, size);
    if (out[0] == '\0')
        clause(out, size, 10 * c->bad >= 9 * c->matter ? "everywhere" : "scattered over all rows, %ss and heads",
               t->column);
}

int check_describe(const struct check_table *t, struct check_diagnosis *out, struct err *e)
{
    struct census c;
    *out = (struct check_diagnosis){0};
    if (census_open(&c, t, e) != 0) return -1;
    census_take(&c, out);
    out->bad = c.bad;
    out->matter = c.matter;
    if (c.bad > 0) describe(&c, out);
    free(c.by_plane);
    return 0;
}

/* An output and its reference as a table. */
struct words {
    const uint16_t *got;
    const float *expected, *decode;
    const struct check_limit *limit;
};

static enum check_cell word_cell(const void *ctx, size_t at, double *got, double *expected)
{
    const struct words *w = ctx;
    double d;
    *got = (double)w->decode[w->got[at]];
    *expected = (double)w->expected[at];
    d = distance(*got, *expected);
    return d <= w->limit->atol + w->limit->rtol * fabs(*expected) && d <= w->limit->bound ? CHECK_GOOD : CHECK_BAD;
}

int check_diagnose(const struct problem *p, const uint16_t *got, const float *expected, const struct check_limit *limit,
                   const float *decode, struct check_diagnosis *out, struct err *e)
{
    const struct words words = {.got = got, .expected = expected, .decode = decode, .limit = limit};
    const struct check_table t = {.planes = (size_t)p->batch * (size_t)p->heads,
                                  .heads = (size_t)p->heads,
                                  .rows = (size_t)p->seq_q,
                                  .columns = (size_t)p->head_dim,
                                  .all_rows = (size_t)p->seq_q,
                                  .column = "column",
                                  .tiny = 0.05,
                                  .ctx = &words,
                                  .cell = word_cell};
    return check_describe(&t, out, e);
}

void check_place(const struct problem *p, size_t at, char *out, size_t size)
{
    size_t dim = (size_t)p->head_dim, seq = (size_t)p->seq_q, heads = (size_t)p->heads;
    snprintf(out, size, "batch %zu head %zu row %zu column %zu", at / (dim * seq * heads), at / (dim * seq) % heads,
             at / dim % seq, at % dim);
}

json_t *check_number(double x)
{
    if (isnan(x)) return json_string("nan");
    if (isinf(x)) return json_string(x > 0 ? "inf" : "-inf");
    return json_real(x);
}

json_t *check_element_json(const struct problem *p, const struct check_element *x)
{
    size_t dim = (size_t)p->head_dim, seq = (size_t)p->seq_q, heads = (size_t)p->heads;
    return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o}", "batch", (json_int_t)(x->at / (dim * seq * heads)), "head",
                     (json_int_t)(x->at / (dim * seq) % heads), "row", (json_int_t)(x->at / dim % seq), "column",
                     (json_int_t)(x->at % dim), "got", check_number(x->got), "expected", check_number(x->expected));
}
