/* test_rng.c - PCG64 against the reference implementation's vectors; streams, bias and moments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rng.h"

/* pcg-c's check-pcg64.out: srandom(42, 54). */
static void reference_vector(void **state)
{
    static const uint64_t expected[6] = {0x86b1da1d72062b68, 0x1304aa46c9853d39, 0xa3670e9e0dd50358,
                                         0xf9090e529a7dae00, 0xc85b9fd837996f2c, 0x606121f8e3919196};
    struct rng r;
    (void)state;
    rng_init_raw(&r, 42, 54);
    for (int i = 0; i < 6; i++)
        assert_true(rng_u64(&r) == expected[i]);
}

static void streams_are_keyed_by_seed_and_purpose(void **state)
{
    struct rng a, b, c, again;
    int same_purpose = 0, same_seed = 0;
    (void)state;
    rng_init(&a, 7, "search");
    rng_init(&again, 7, "search");
    rng_init(&b, 7, "race");
    rng_init(&c, 8, "search");
    assert_memory_equal(&a, &again, sizeof a);
    assert_true(a.word[2] != b.word[2] || a.word[3] != b.word[3]);
    assert_true(a.word[2] == c.word[2] && a.word[3] == c.word[3]);
    for (int i = 0; i < 1000; i++) {
        const uint64_t x = rng_u64(&a);
        same_purpose += x == rng_u64(&b);
        same_seed += x == rng_u64(&c);
    }
    assert_int_equal(same_purpose + same_seed, 0);
}

static int ascending(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* 64 streams of one seed and 64 seeds of one purpose, 2,000 numbers each, hold no number twice. An overlap would repeat them by the
 * hundred; by chance one repeats with a probability of 2e-9. */
static void streams_do_not_overlap(void **state)
{
    enum { STREAMS = 64, LENGTH = 2000, ALL = 2 * STREAMS * LENGTH };
    uint64_t *all = malloc(ALL * sizeof *all);
    struct rng r;
    (void)state;
    assert_non_null(all);
    for (int s = 0; s < STREAMS; s++) {
        char purpose[24];
        snprintf(purpose, sizeof purpose, "purpose %d", s);
        rng_init(&r, 7, purpose);
        rng_fill(&r, all + (ptrdiff_t)s * LENGTH, LENGTH);
        rng_init(&r, 1000 + (uint64_t)s, "one purpose");
        rng_fill(&r, all + (ptrdiff_t)(STREAMS + s) * LENGTH, LENGTH);
    }
    qsort(all, ALL, sizeof *all, ascending);
    for (int i = 1; i < ALL; i++)
        assert_true(all[i] != all[i - 1]);
    free(all);
}

static void saved_words_resume_a_stream(void **state)
{
    struct rng a, b;
    (void)state;
    rng_init(&a, 1, "x");
    for (int i = 0; i < 10; i++)
        rng_u64(&a);
    memcpy(b.word, a.word, sizeof b.word);
    for (int i = 0; i < 10; i++)
        assert_true(rng_u64(&a) == rng_u64(&b));
}

/* Many at once, and left out: the same stream. */
static void fill_and_skip(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 3, 7, 512, 513};
    uint64_t out[513];
    struct rng one, many, skipped;
    (void)state;
    rng_init(&one, 4, "fill");
    many = skipped = one;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        rng_fill(&many, out, sizes[s]);
        rng_skip(&skipped, sizes[s]);
        for (size_t i = 0; i < sizes[s]; i++)
            assert_true(out[i] == rng_u64(&one));
        assert_memory_equal(&one, &many, sizeof one);
        assert_memory_equal(&one, &skipped, sizeof one);
    }
    rng_skip(&skipped, (uint64_t)1 << 40);
    assert_memory_not_equal(&one, &skipped, sizeof one);
}

static void gsl_generator_draws_from_a_copy(void **state)
{
    struct rng r, before;
    gsl_rng *g;
    (void)state;
    rng_init(&r, 3, "gsl");
    before = r;
    g = rng_gsl(&r);
    assert_non_null(g);
    for (int i = 0; i < 5; i++)
        assert_true(gsl_rng_get(g) == rng_u64(&r));
    assert_true(gsl_rng_uniform(g) == rng_uniform(&r));
    gsl_rng_free(g);
    g = rng_gsl(&before);
    assert_non_null(g);
    const double first = gsl_ran_gaussian_ziggurat(g, 1.0);
    assert_true(first == rng_normal(&before));
    gsl_rng_free(g);
}

/* 100 cells, 200,000 draws: chi-square on 99 degrees of freedom, two-sided 0.1%. */
static void assert_even(const long *count, int cells, long draws)
{
    double chi2 = 0.0;
    const double expected = (double)draws / cells;
    for (int i = 0; i < cells; i++)
        chi2 += ((double)count[i] - expected) * ((double)count[i] - expected) / expected;
    const double p = gsl_cdf_chisq_Q(chi2, cells - 1);
    assert_true(p > 0.0005 && p < 0.9995);
}

static void below_and_uniform_are_even(void **state)
{
    struct rng r;
    long below[100] = {0}, uniform[100] = {0}, normal[100] = {0};
    (void)state;
    rng_init(&r, 5, "chi-square");
    for (long i = 0; i < 200000; i++) {
        const double u = rng_uniform(&r);
        assert_true(u >= 0.0 && u < 1.0);
        below[rng_below(&r, 100)]++;
        uniform[(int)(100.0 * u)]++;
        normal[(int)(99.999999 * gsl_cdf_ugaussian_P(rng_normal(&r)))]++;
    }
    assert_even(below, 100, 200000);
    assert_even(uniform, 100, 200000);
    assert_even(normal, 100, 200000);
}

/* n = 3 * 2^62 makes plain multiplication hit a third of the values twice as often: rejection must even it out. */
static void below_is_unbiased_for_huge_n(void **state)
{
    struct rng r;
    const uint64_t n = UINT64_C(3) << 62;
    long third[3] = {0};
    (void)state;
    rng_init(&r, 6, "huge");
    for (long i = 0; i < 30000; i++) {
        const uint64_t x = rng_below(&r, n);
        assert_true(x < n);
        third[x >> 62]++;
    }
    assert_even(third, 3, 30000);
    assert_true(rng_below(&r, 1) == 0);
}

static void shuffle_is_an_even_permutation_draw(void **state)
{
    struct rng r;
    long cell[16] = {0};
    (void)state;
    rng_init(&r, 8, "shuffle");
    for (int t = 0; t < 40000; t++) {
        int items[4] = {0, 1, 2, 3}, seen = 0;
        rng_shuffle(&r, items, 4);
        for (int i = 0; i < 4; i++) {
            seen |= 1 << items[i];
            cell[4 * i + items[i]]++;
        }
        assert_int_equal(seen, 15);
    }
    for (int i = 0; i < 4; i++)
        assert_even(cell + 4 * i, 4, 40000);
    rng_shuffle(&r, NULL, 0);
}

static void normal_moments(void **state)
{
    struct rng r;
    double sum = 0.0, square = 0.0, fourth = 0.0;
    const int n = 200000;
    (void)state;
    rng_init(&r, 9, "normal");
    for (int i = 0; i < n; i++) {
        const double x = rng_normal(&r);
        sum += x;
        square += x * x;
        fourth += x * x * x * x;
    }
    assert_true(fabs(sum / n) < 4.0 / sqrt(n));
    assert_true(fabs(square / n - 1.0) < 4.0 * sqrt(2.0 / n));
    assert_true(fabs(fourth / n - 3.0) < 4.0 * sqrt(96.0 / n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_vector),
        cmocka_unit_test(streams_are_keyed_by_seed_and_purpose),
        cmocka_unit_test(streams_do_not_overlap),
        cmocka_unit_test(saved_words_resume_a_stream),
        cmocka_unit_test(fill_and_skip),
        cmocka_unit_test(gsl_generator_draws_from_a_copy),
        cmocka_unit_test(below_and_uniform_are_even),
        cmocka_unit_test(below_is_unbiased_for_huge_n),
        cmocka_unit_test(shuffle_is_an_even_permutation_draw),
        cmocka_unit_test(normal_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
