/* Explanations are claims: each says what a kernel with one certain mistake would have given in a cell. The first claim that agrees with
 * nearly all bad cells of a stage is told; they are tried from the plainest mistake to the one that needs most words. What a claim is
 * about (a factor, a distance, a range of keys) is tried over the powers of two that tiles and lanes have. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check_tile.h"

#define LEAST_TILE 8u
#define LARGEST_TILE 256u
#define LOG2E 1.4426950408889634

/* What a claim is about: rows and keys (or columns) by which a cell is off; or a range of keys, and whose values took its place. */
struct about {
    long rows, columns;
    size_t begin, end;
    long from;
};

struct bad {
    const struct check_tile_work *w;
    enum check_stage stage;
    size_t columns, n;
};

/* False: the claim says nothing of this cell. */
typedef bool claim(const struct bad *b, size_t row, size_t column, const struct about *a, double *x);

/* 1% of the bad cells may be off for another reason, but half of them must be spoken of, and more than a few. */
static bool explains(const struct bad *b, claim *f, const struct about *a)
{
    size_t said = 0, missed = 0;
    for (size_t at = 0; at < b->w->rows * b->columns; at++) {
        double got, expected, x;
        if (check_tile_cell(b->w, b->stage, at, &got, &expected) != CHECK_BAD ||
            !f(b, at / b->columns, at % b->columns, a, &x))
            continue;
        said++;
        if (!(fabs(got - x) <= 4 * check_tile_allowed(b->w, b->stage, at) + 1e-3 * fabs(x))) missed++;
        if (100 * missed > b->n) return false;
    }
    return 2 * said >= b->n && said >= 8 && 100 * missed <= said;
}

/* ---- claims ---- */

static bool moved(const struct bad *b, size_t row, size_t column, const struct about *a, double *x)
{
    const long r = (long)row + a->rows, c = (long)column + a->columns;
    double got;
    if (r < 0 || c < 0 || (size_t)r >= b->w->rows || (size_t)c >= b->columns) return false;
    return check_tile_cell(b->w, b->stage, (size_t)r * b->columns + (size_t)c, &got, x) != CHECK_NO_MATTER &&
           isfinite(*x);
}

static bool against_zero(const struct bad *b, size_t row, size_t column, const struct about *a, double *x)
{
    (void)a;
    *x = exp((double)b->w->got->s[row * b->columns + column]);
    return true;
}

/* Another factor in each row: that of the row's largest weight. */
static bool other_reference(const struct bad *b, size_t row, size_t column, const struct about *a, double *x)
{
    const double *weight = b->w->weight + row * b->columns;
    size_t largest = 0;
    (void)a;
    for (size_t j = 1; j < b->columns; j++)
        if (!(weight[j] <= weight[largest])) largest = j;
    *x = weight[column] * (double)b->w->got->p[row * b->columns + largest] / weight[largest];
    return column != largest && isfinite(*x);
}

static double value(const struct check_tile_work *w, size_t key, size_t column)
{
    return (double)w->decode[w->v[key * w->dim + column]];
}

/* The sum over the keys of p times a factor, times v (or 1 where column is past the end). scaled: by e^(m - reference). */
static double weighted(const struct check_tile_work *w, size_t row, size_t column, size_t begin, size_t end,
                       bool scaled, double reference)
{
    double sum = 0;
    for (size_t j = begin; j < end; j++) {
        const double p = (double)w->got->p[row * w->keys + j], m = (double)w->got->m[row * w->keys + j];
        if (!(p > 0) || !isfinite(p)) continue;
        sum += p * (scaled ? exp(m - reference) : 1) * (column < w->dim ? value(w, j, column) : 1);
    }
    return sum;
}

static bool sums_not_rescaled(const struct bad *b, size_t row, size_t column, const struct about *a, double *x)
{
    (void)a;
    *x = weighted(b->w, row, column, 0, b->w->keys, false, 0) / b->w->sum[row];
    return true;
}

static bool nothing_rescaled(const struct bad *b, size_t row, size_t column, const struct about *a, double *x)
{
    (void)a;
    *x = weighted(b->w, row, column, 0, b->w->keys, false, 0) / weighted(b->w, row, b->w->dim, 0, b->w->keys, false, 0);
    return true;
}

static bool total_not_rescaled(const struct bad *b, size_t row, size_t column, const struct about *a, double *x)
{
    (void)a;
    *x = b->w->o[row * b->w->dim + column] * b->w->sum[row] / weighted(b->w, row, b->w->dim, 0, b->w->keys, false, 0);
    return true;
}

static bool not_divided(const struct bad *b, size_t row, size_t column, const struct about *a, double *x)
{
    (void)a;
    *x = b->w->o[row * b->w->dim + column] * b->w->sum[row];
    return true;
}

/* The keys of the range are missing, or have the values of others (from: so many keys further on). */
static bool range_lost(const struct bad *b, size_t row, size_t column, const struct about *a, double *x)
{
    const struct check_tile_work *w = b->w;
    double lost = 0;
    for (size_t j = a->begin; j < a->end; j++) {
        const long other = (long)j + a->from;
        double share = weighted(w, row, w->dim, j, j + 1, true, w->reference[row]), v = value(w, j, column);
        if (a->from != 0) v -= other >= 0 && (size_t)other < w->keys ? value(w, (size_t)other, column) : 0;
        lost += share * v;
    }
    *x = w->o[row * w->dim + column] - lost / w->sum[row];
    return true;
}

/* O as it was when the keys of the range were all that had been added, reference and all. */
static bool stale(const struct bad *b, size_t row, size_t column, const struct about *a, double *x)
{
    const struct check_tile_work *w = b->w;
    double reference = -INFINITY;
    for (size_t j = a->begin; j < a->end; j++)
        if ((double)w->got->p[row * w->keys + j] > 0) reference = fmax(reference, (double)w->got->m[row * w->keys + j]);
    *x = isfinite(reference) ? weighted(w, row, column, a->begin, a->end, true, reference) / w->sum[row] : 0;
    return true;
}

/* ---- words ---- */

static void say(char *out, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void say(char *out, size_t size, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(out, size, fmt, ap);
    va_end(ap);
}

static void say_moved(const struct about *a, const char *column, char *out, size_t size)
{
    const long by = a->rows != 0 ? a->rows : a->columns, far = by < 0 ? -by : by;
    say(out, size, "shifted: each holds what belongs %ld %s%s %s it%s", far, a->rows != 0 ? "row" : column,
        far > 1 ? "s" : "", by < 0 ? "before" : "behind",
        far >= (long)LEAST_TILE && a->rows == 0 && strcmp(column, "key") == 0 ? ", as if the tile were a stale one"
                                                                              : "");
}

static bool find_moved(const struct bad *b, const char *column, char *out, size_t size)
{
    for (long by = 1; by <= (long)LARGEST_TILE; by *= 2)
        for (int way = 0; way < 4; way++) {
            const long signed_by = way % 2 == 0 ? -by : by;
            const struct about a = {.rows = way < 2 ? 0 : signed_by, .columns = way < 2 ? signed_by : 0};
            if (!explains(b, moved, &a)) continue;
            say_moved(&a, column, out, size);
            return true;
        }
    return false;
}

/* Keys that a row should see and are hidden, or the other way round, next to the diagonal. */
static bool find_mask(const struct bad *b, char *out, size_t size)
{
    int hidden = 0, seen = 0; /* how many keys from the last one on */
    for (size_t at = 0; at < b->w->rows * b->columns; at++) {
        const int behind = (int)(at % b->columns) - problem_keys_seen(b->w->p, b->w->at->row + (int)(at / b->columns)) +
                           1; /* the last: 0 */
        double got, expected;
        if (check_tile_cell(b->w, b->stage, at, &got, &expected) != CHECK_BAD) continue;
        if ((got == -INFINITY) == (expected == -INFINITY)) return false;
        if (got == -INFINITY && 1 - behind > hidden) hidden = 1 - behind;
        if (expected == -INFINITY && behind > seen) seen = behind;
    }
    if (hidden > 0 && seen == 0)
        hidden == 1 ? say(out, size, "masked too much: the mask is off by one, each row loses its last key")
                    : say(out, size, "masked too much: rows lose keys, up to %d places from the last", hidden);
    else if (seen > 0 && hidden == 0)
        seen == 1 ? say(out, size, "masked too little: the mask is off by one, each row sees the key behind its last")
                  : say(out, size, "masked too little: rows see up to %d keys behind their last", seen);
    return (hidden > 0) != (seen > 0);
}

static bool find_scale(const struct bad *b, double factor, char *out, size_t size)
{
    const double scale = b->w->p->scale;
    const struct {
        double factor;
        const char *words;
    } known[] = {{scale, "as if the scale were applied twice"},
                 {1 / scale, "as if the scale were not applied"},
                 {LOG2E, "as if in units of log2"},
                 {1 / LOG2E, "as if ln 2 were applied once too often"},
                 {scale * LOG2E, "as if the scale were applied twice, and in units of log2"},
                 {LOG2E / scale, "as if the scale were not applied, and in units of log2"},
                 {-1, "the sign is turned"}};
    if (factor == 0) return false;
    say(out, size, "all scaled by one factor, %.4g", factor);
    for (size_t i = 0; b->stage == CHECK_STAGE_S && i < sizeof known / sizeof known[0]; i++)
        if (fabs(factor / known[i].factor - 1) < 0.005)
            say(out, size, "all scaled by one factor, %.4g: %s", factor, known[i].words);
    return true;
}

/* All bad cells: never shown; or NaN and infinite alone. */
static bool find_special(const struct bad *b, char *out, size_t size)
{
    const float *numbers[CHECK_STAGE_N] = {b->w->got->s, b->w->got->m, b->w->got->p, b->w->got->o};
    size_t unshown = 0, nan = 0, infinite = 0;
    for (size_t at = 0; at < b->w->rows * b->columns; at++) {
        uint32_t bits;
        double got, expected;
        if (check_tile_cell(b->w, b->stage, at, &got, &expected) != CHECK_BAD) continue;
        memcpy(&bits, &numbers[b->stage][at], sizeof bits);
        unshown += bits == CHECK_UNSHOWN;
        nan += bits != CHECK_UNSHOWN && isnan(got);
        infinite += isinf(got) && (b->stage != CHECK_STAGE_S || got > 0);
    }
    if (unshown == b->n)
        say(out, size, "never computed (or its hook does not see it)");
    else if (nan == b->n)
        say(out, size, "NaN");
    else if (infinite == b->n)
        say(out, size, "infinite: %s", b->stage == CHECK_STAGE_P ? "the exponentials overflow" : "an overflow");
    return unshown == b->n || nan == b->n || infinite == b->n;
}

static bool all_references(const struct bad *b, double x)
{
    for (size_t at = 0; at < b->w->rows * b->columns; at++) {
        double got, expected;
        if (check_tile_cell(b->w, b->stage, at, &got, &expected) == CHECK_BAD && got != x) return false;
    }
    return true;
}

static void why_reference(const struct bad *b, char *out, size_t size)
{
    if (all_references(b, 0))
        say(out, size, "no maximum is subtracted: the exponentials are taken against 0");
    else if (all_references(b, -INFINITY))
        say(out, size, "the maximum is still -inf where keys have been seen");
    else
        say(out, size, "the reference is not the score of any key of its row");
}

static void why_weights(const struct bad *b, char *out, size_t size)
{
    if (explains(b, against_zero, NULL))
        say(out, size, "no maximum is subtracted: the exponentials are taken against 0");
    else if (explains(b, other_reference, NULL))
        say(out, size, "each row is off by a factor of its own: taken against another reference than m");
    else
        find_moved(b, "key", out, size);
}

/* Ranges of keys that are tiles of some size. */
static bool find_range(const struct bad *b, char *out, size_t size)
{
    const size_t keys = b->w->keys;
    for (size_t tile = LEAST_TILE; tile <= LARGEST_TILE && tile < keys; tile *= 2)
        for (size_t begin = 0; begin < keys; begin += tile) {
            const size_t end = begin + tile < keys ? begin + tile : keys;
            const struct about lost = {.begin = begin, .end = end},
                               before = {.begin = begin, .end = end, .from = -(long)tile},
                               behind = {.begin = begin, .end = end, .from = (long)tile}, up_to = {.end = begin},
                               down_to = {.begin = end, .end = keys};
            if (explains(b, range_lost, &lost))
                say(out, size, "the values of keys %zu to %zu are missing", begin, end - 1);
            else if (begin > 0 && explains(b, stale, &up_to))
                say(out, size, "stale: as it was before key %zu, neither rescaled nor added to since", begin);
            else if (end < keys && explains(b, stale, &down_to))
                say(out, size, "stale: as it was when the keys from %zu on had been added, and not since", end);
            else if (explains(b, range_lost, &before) || explains(b, range_lost, &behind))
                say(out, size, "keys %zu to %zu have the values of a tile beside theirs: a stale tile of V", begin,
                    end - 1);
            else
                continue;
            return true;
        }
    return false;
}

static void why_output(const struct bad *b, char *out, size_t size)
{
    if (explains(b, sums_not_rescaled, NULL))
        say(out, size,
            "not rescaled: sums made against an older maximum are kept as they were when it grew; their share is off "
            "by exp(new - "
            "old maximum)");
    else if (explains(b, nothing_rescaled, NULL))
        say(out, size,
            "neither O nor the sum of weights is rescaled when the maximum grows: shares are off by exp(new - old "
            "maximum)");
    else if (explains(b, total_not_rescaled, NULL))
        say(out, size, "the sum of weights is not rescaled when the maximum grows");
    else if (explains(b, not_divided, NULL))
        say(out, size, "not divided by the sum of weights");
    else if (!find_range(b, out, size))
        find_moved(b, "column", out, size);
}

void check_tile_why(const struct check_tile_work *w, enum check_stage stage, const struct check_diagnosis *d, char *out,
                    size_t size)
{
    const struct bad b = {.w = w, .stage = stage, .columns = stage == CHECK_STAGE_O ? w->dim : w->keys, .n = d->bad};
    out[0] = '\0';
    if (find_special(&b, out, size)) return;
    if (stage == CHECK_STAGE_M)
        why_reference(&b, out, size);
    else if (stage == CHECK_STAGE_P)
        why_weights(&b, out, size);
    else if (stage == CHECK_STAGE_O)
        why_output(&b, out, size);
    else if (!find_mask(&b, out, size) && !find_scale(&b, d->factor, out, size))
        find_moved(&b, "key", out, size);
    if (out[0] == '\0') find_scale(&b, d->factor, out, size);
}
