/* Walker's alias method (1977), its table by Vose's algorithm (1991), over the words themselves. A normal number rounded to
 * 16 bits takes few values, so its distribution is a table: the magnitude m has the probability of |x| between the
 * midpoints to m's neighbours. A number of 64 bits gives the sign (1 bit), a column of the table (up to 15) and a point in
 * the column (48); below the column's limit it means the column's own word, above it the column's alias. There is no
 * rejection and no rounding: one number an element, a shift, a load and a comparison.
 *
 * f16 has a column for each magnitude, the smallest subnormal included. bf16 reaches down to 2^-133; its columns begin at
 * 2^-60, where the first takes what lies below it, of probability 7e-19. */
#include "draw.h"

#include <math.h>
#include <stdlib.h>

#include "rng.h"

#define POINT_BITS 48
#define BATCH 512 /* numbers at a time */
#define CHUNK 32768

struct draw {
    uint16_t base;    /* the word of column 0 */
    uint16_t mask;    /* columns - 1; a power of two */
    uint64_t cells[]; /* limit << 16 | alias, the alias as a word */
};

/* The midpoint between magnitude w and the next. */
static double upper_edge(enum dtype type, uint32_t w)
{
    const int mantissa_bits = type == DTYPE_BF16 ? 7 : 10, bias = type == DTYPE_BF16 ? 127 : 15;
    const int exponent = (int)(w >> mantissa_bits);
    const double twice = 2.0 * (double)(w & ((1u << mantissa_bits) - 1)) + 1;
    const double implied = exponent > 0 ? ldexp(2, mantissa_bits) : 0;
    return ldexp(implied + twice, (exponent > 0 ? exponent : 1) - bias - mantissa_bits - 1);
}

/* P(a < |x| < b), from the side where nothing cancels. */
static double mass_between(double a, double b)
{
    return a < 0.5 ? erf(b * M_SQRT1_2) - erf(a * M_SQRT1_2) : erfc(a * M_SQRT1_2) - erfc(b * M_SQRT1_2);
}

/* mass[c] becomes columns times the probability of column c. */
static void fill_mass(double *mass, size_t columns, enum dtype type, uint16_t base)
{
    const uint32_t infinity = type == DTYPE_BF16 ? 0x7f80 : 0x7c00;
    double below = 0;
    for (size_t c = 0; c < columns; c++) {
        const uint32_t w = base + (uint32_t)c;
        const double above = w < infinity ? upper_edge(type, w) : below;
        mass[c] = (double)columns * mass_between(below, above);
        below = above;
    }
}

static uint64_t cell(double limit, size_t alias_word)
{
    const double scaled = rint(ldexp(fmin(limit, 1), POINT_BITS));
    const uint64_t most =
        (1ull << POINT_BITS) - 1; /* the alias of a full column is the column: what is lost comes back */
    return ((uint64_t)scaled > most ? most : (uint64_t)scaled) << 16 | alias_word;
}

/* Vose: a column with less than its share is filled up by one that has more. order holds the small from the front and the
 * large from the back. */
static void fill_cells(struct draw *d, double *mass, size_t *order, size_t columns)
{
    size_t small = 0, large = columns;
    for (size_t c = 0; c < columns; c++)
        order[mass[c] < 1 ? small++ : --large] = c;
    while (small > 0 && large < columns) {
        const size_t s = order[--small], l = order[large];
        d->cells[s] = cell(mass[s], d->base + l);
        mass[l] -= 1 - mass[s];
        if (mass[l] < 1) {
            large++;
            order[small++] = l;
        }
    }
    /* What is left has 1 but for rounding. */
    while (small > 0) {
        const size_t c = order[--small];
        d->cells[c] = cell(1, d->base + c);
    }
    for (; large < columns; large++)
        d->cells[order[large]] = cell(1, d->base + order[large]);
}

int draw_open(struct draw **out, enum dtype type, struct err *e)
{
    const size_t columns = type == DTYPE_BF16 ? 8192 : 32768;
    struct draw *d = malloc(sizeof *d + columns * sizeof d->cells[0]);
    double *mass = malloc(columns * sizeof *mass);
    size_t *order = malloc(columns * sizeof *order);
    if (d == NULL || mass == NULL || order == NULL) {
        free(d);
        d = NULL;
        err_nomem(e);
    } else {
        d->base = type == DTYPE_BF16 ? (127 - 60) << 7 : 0;
        d->mask = (uint16_t)(columns - 1);
        fill_mass(mass, columns, type, d->base);
        fill_cells(d, mass, order, columns);
        *out = d;
    }
    free(mass);
    free(order);
    return d != NULL ? 0 : -1;
}

void draw_close(struct draw *d)
{
    free(d);
}

/* Words that are stored might overlap *d as far as the compiler knows: hence the copies of its members. */
static void words_of(const struct draw *d, const uint64_t *numbers, uint16_t *words, size_t n)
{
    const uint64_t *cells = d->cells;
    const unsigned base = d->base, mask = d->mask;
    for (size_t i = 0; i < n; i++) {
        const unsigned column = (unsigned)(numbers[i] >> POINT_BITS) & mask, sign = (unsigned)(numbers[i] >> 63) << 15;
        const uint64_t cell = cells[column], point = numbers[i] & ((1ull << POINT_BITS) - 1);
        words[i] = (uint16_t)(sign | (point < cell >> 16 ? base + column : cell & 0xffff));
    }
}

void draw_words(const struct draw *d, uint64_t seed, const char *purpose, size_t first, uint16_t *words, size_t n)
{
    uint64_t numbers[BATCH];
    struct rng r;
    rng_init(&r, seed, purpose);
    rng_skip(&r, first);
    for (size_t i = 0; i < n; i += BATCH) {
        const size_t m = n - i < BATCH ? n - i : BATCH;
        rng_fill(&r, numbers, m);
        words_of(d, numbers, words + i, m);
    }
}

struct tensor {
    const struct draw *d;
    uint64_t seed;
    const char *purpose;
    uint16_t *words;
};

static void draw_part(void *ctx, size_t first, size_t end)
{
    const struct tensor *t = ctx;
    draw_words(t->d, t->seed, t->purpose, first, t->words + first, end - first);
}

void draw_tensor(const struct draw *d, struct parallel *threads, uint64_t seed, const char *purpose, uint16_t *words,
                 size_t n)
{
    struct tensor t = {d, seed, purpose, words};
    parallel_for(threads, n, CHUNK, draw_part, &t);
}
