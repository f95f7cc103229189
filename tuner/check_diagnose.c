/* The comparison is one pass over the outputs, in parts. The diagnosis is a second pass, made only for a failure: it counts bad
 * elements by head, by row (of all heads together) and by column, and then tries explanations from the most to the least
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

static void worst_add(struct check_compare *c, size_t at, double got, double expected)
{
    double d = distance(got, expected);
    int i;
    if (c->nworst == CHECK_WORST && d <= distance(c->worst[CHECK_WORST - 1].got, c->worst[CHECK_WORST - 1].expected))
        return;
    i = c->nworst < CHECK_WORST ? c->nworst++ : CHECK_WORST - 1;
    for (; i > 0 && d > distance(c->worst[i - 1].got, c->worst[i - 1].expected); i--)
        c->worst[i] = c->worst[i - 1];
    c->worst[i] = (struct check_element){.at = at, .got = got, .expected = expected};
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
            worst_add(&c, i, x, r);
        } else {
            if (d > c.max_abs) c.max_abs = d;
            error2 += d * d;
            if (d > p->atol + p->rtol * fabs(r)) c.bad++;
            if (d > least_worst) worst_add(&c, i, x, r);
        }
        if (c.nworst == CHECK_WORST)
            least_worst = distance(c.worst[CHECK_WORST - 1].got, c.worst[CHECK_WORST - 1].expected);
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
    for (int i = 0; i < part->nworst; i++)
        worst_add(out, part->worst[i].at, part->worst[i].got, part->worst[i].expected);
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

/* Counts of bad elements. */
struct census {
    const struct problem *p;
    size_t planes, seq, dim;         /* heads of all batches, rows, columns */
    size_t bad, nonfinite, rows_bad; /* rows_bad: (plane, row) pairs */
    size_t whole_rows;               /* of those, with every column bad */
    size_t *by_plane, *by_row, *by_column;
    size_t ratios; /* bad finite elements whose expected value is not tiny */
    double ratio_sum, ratio_sum2;
};

static int census_open(struct census *c, const struct problem *p, struct err *e)
{
    *c = (struct census){
        .p = p, .planes = (size_t)p->batch * (size_t)p->heads, .seq = (size_t)p->seq_q, .dim = (size_t)p->head_dim};
    c->by_plane = calloc(c->planes + c->seq + c->dim, sizeof *c->by_plane);
    if (c->by_plane == NULL) return err_nomem(e);
    c->by_row = c->by_plane + c->planes;
    c->by_column = c->by_row + c->seq;
    return 0;
}

static void census_take(struct census *c, const uint16_t *got, const float *expected, const struct check_limit *limit,
                        const float *decode, struct check_element *first)
{
    for (size_t row = 0; row < c->planes * c->seq; row++) {
        size_t before = c->bad;
        for (size_t column = 0; column < c->dim; column++) {
            size_t i = row * c->dim + column;
            double x = (double)decode[got[i]], r = (double)expected[i], d = distance(x, r);
            if (d <= limit->atol + limit->rtol * fabs(r) && d <= limit->bound) continue;
            if (c->bad++ == 0) *first = (struct check_element){.at = i, .got = x, .expected = r};
            c->by_plane[row / c->seq]++;
            c->by_row[row % c->seq]++;
            c->by_column[column]++;
            if (!isfinite(x)) {
                c->nonfinite++;
            } else if (fabs(r) > 0.05) {
                c->ratios++;
                c->ratio_sum += x / r;
                c->ratio_sum2 += x / r * (x / r);
            }
        }
        if (c->bad > before) c->rows_bad++;
        if (c->bad - before == c->dim) c->whole_rows++;
    }
}

/* First and last index with a count, and how many have one. */
static size_t extent(const size_t *count, size_t n, size_t *first, size_t *last)
{
    size_t hit = 0;
    for (size_t i = 0; i < n; i++) {
        if (count[i] == 0) continue;
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

/* The smallest power of two for which the bad indices are all those of a few residues: the mark of a fixed lane or
 * register. 0 when there is none. */
static size_t period(const size_t *count, size_t n, size_t *residue, size_t *residues)
{
    for (size_t m = 2; m <= 64 && 2 * m <= n; m *= 2) {
        size_t hits[64] = {0}, hit = 0, used = 0;
        for (size_t i = 0; i < n; i++)
            if (count[i] > 0) {
                hits[i % m]++;
                hit++;
            }
        for (size_t r = 0; r < m; r++)
            if (hits[r] > 0 && used++ == 0) *residue = r;
        *residues = used;
        if ((4 * used <= m || used == 1) && hit >= 2 * used && 10 * hit * m >= 9 * n * used) return m;
    }
    return 0;
}

static void row_pattern(const struct census *c, char *out, size_t size)
{
    size_t first = 0, last = 0, hit = extent(c->by_row, c->seq, &first, &last), residue = 0, residues = 0, m;
    if (hit == c->seq) return;
    if (hit == 1) {
        clause(out, size, "only row %zu", first);
        return;
    }
    if (last == c->seq - 1)
        for (size_t tile = 8; tile <= 256 && tile < c->seq; tile *= 2)
            if (c->seq % tile != 0 && first >= c->seq - c->seq % tile) {
                clause(out, size, "only the tail rows from %zu on (%zu rows are not a multiple of %zu)", first, c->seq,
                       tile);
                return;
            }
    m = period(c->by_row, c->seq, &residue, &residues);
    if (m != 0) {
        clause(out, size, "only rows whose index modulo %zu is %zu%s", m, residue,
               residues > 1 ? " or one of a few others" : "");
        return;
    }
    for (size_t tile = 8; tile <= 256 && tile < c->seq; tile *= 2)
        if (first / tile == last / tile) {
            clause(out, size, "only rows %zu to %zu, inside one tile of %zu rows", first, last, tile);
            return;
        }
    if (first > 0 || last < c->seq - 1) clause(out, size, "only rows %zu to %zu", first, last);
}

static void column_pattern(const struct census *c, char *out, size_t size)
{
    size_t first = 0, last = 0, hit = extent(c->by_column, c->dim, &first, &last), residue = 0, residues = 0, m;
    if (hit == c->dim) return;
    if (hit == 1)
        clause(out, size, "only column %zu", first);
    else if ((m = period(c->by_column, c->dim, &residue, &residues)) != 0)
        clause(out, size, "only columns whose index modulo %zu is %zu%s", m, residue,
               residues > 1 ? " or one of a few others" : "");
    else if (first > 0 || last < c->dim - 1)
        clause(out, size, "only the stripe of columns %zu to %zu", first, last);
}

static void head_pattern(const struct census *c, char *out, size_t size)
{
    size_t first = 0, last = 0, hit = extent(c->by_plane, c->planes, &first, &last), heads = (size_t)c->p->heads;
    if (c->planes == 1 || hit == c->planes) return;
    if (hit == 1)
        clause(out, size, "only head %zu of batch %zu", first % heads, first / heads);
    else if (first / heads == last / heads && c->p->batch > 1)
        clause(out, size, "only batch %zu", first / heads);
    else
        clause(out, size, "%zu of %zu heads", hit, c->planes);
}

static void describe(const struct census *c, char *out, size_t size)
{
    size_t n = c->planes * c->seq * c->dim;
    double mean = c->ratios > 0 ? c->ratio_sum / (double)c->ratios : 0;
    double variance = c->ratios > 0 ? c->ratio_sum2 / (double)c->ratios - mean * mean : 0;
    out[0] = '\0';
    if (c->bad == 1) {
        clause(out, size, "a single element");
        return;
    }
    if (c->nonfinite == c->bad)
        clause(out, size, "%s", c->bad == n ? "every element is NaN or infinite" : "all of them NaN or infinite");
    if (c->ratios >= 8 && c->nonfinite == 0 && sqrt(fmax(variance, 0)) < 0.02 * fmax(fabs(mean), 0.05))
        clause(out, size, "scaled: got / expected is about %.4g throughout", mean);
    if (c->whole_rows == c->rows_bad && c->bad < n)
        clause(out, size, "whole rows");
    else if (c->bad < n && 10 * c->bad >= 9 * c->rows_bad * c->dim)
        clause(out, size, "nearly whole rows");
    row_pattern(c, out, size);
    column_pattern(c, out, size);
    head_pattern(c, out, size);
    if (out[0] == '\0')
        clause(out, size, "%s", 10 * c->bad >= 9 * n ? "everywhere" : "scattered over all rows, columns and heads");
}

int check_diagnose(const struct problem *p, const uint16_t *got, const float *expected, const struct check_limit *limit,
                   const float *decode, struct check_diagnosis *out, struct err *e)
{
    struct census c;
    *out = (struct check_diagnosis){0};
    if (census_open(&c, p, e) != 0) return -1;
    census_take(&c, got, expected, limit, decode, &out->first);
    out->bad = c.bad;
    if (c.bad > 0) describe(&c, out->pattern, sizeof out->pattern);
    free(c.by_plane);
    return 0;
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
