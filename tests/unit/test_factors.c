/* What a factor and a pair explain, against tables worked out by hand, and against noise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "rng.h"
#include "stats.h"

static void near(double got, double want)
{
    assert_true(fabs(got - want) <= 1e-10);
}

static void one_factor(void **state)
{
    /* Means 2 and 6 of four each, within 2 + 2 + 2 + 2 = 8: between 32, total 36 + 4 = 40; MS_within 8/6. */
    static const double y[] = {1, 3, 1, 3, 5, 7, 5, 7};
    static const int a[] = {0, 0, 0, 0, 1, 1, 1, 1};
    double share = -1;

    (void)state;
    assert_int_equal(stats_explained(y, a, 8, &share), STATS_OK);
    near(share, (32 - 8.0 / 6) / 40);
}

/* Sums of row and column alone, in an unbalanced table with an empty cell: nothing beyond them. */
static void additive(void **state)
{
    static const int a[] = {0, 0, 0, 1, 1, 1, 2, 2, 2, 2};
    static const int b[] = {0, 0, 1, 0, 1, 2, 1, 2, 2, 2};
    double y[10], share = -1;

    (void)state;
    for (int i = 0; i < 10; i++)
        y[i] = 3.0 * a[i] - 2.0 * b[i];
    assert_int_equal(stats_interaction(y, a, b, 10, &share), STATS_OK);
    near(share, 0);
}

/* y = 1 where both levels agree, twice a cell: neither factor explains anything, the pair everything. */
static void exclusive_or(void **state)
{
    static const double y[] = {1, 1, 0, 0, 0, 0, 1, 1};
    static const int a[] = {0, 0, 0, 0, 1, 1, 1, 1}, b[] = {0, 0, 1, 1, 0, 0, 1, 1};
    double share = -1;

    (void)state;
    assert_int_equal(stats_interaction(y, a, b, 8, &share), STATS_OK);
    near(share, 1);
    assert_int_equal(stats_explained(y, a, 8, &share), STATS_OK);
    near(share, -1.0 / 6); /* (0 - 2/6) / 2 */
}

/* Two blocks that share no level have a model of rank 6, which 8 columns describe. */
static void disconnected(void **state)
{
    double y[16], share = -1;
    int a[16], b[16];

    (void)state;
    for (int i = 0; i < 16; i++) {
        int cell = i / 2;
        a[i] = 2 * (cell / 4) + cell % 2;
        b[i] = 2 * (cell / 4) + cell / 2 % 2;
        y[i] = cell == 3; /* in one corner of the first block: a quarter of it is beyond row + column */
    }
    assert_int_equal(stats_interaction(y, a, b, 16, &share), STATS_OK);
    /* Residuals of +-1/4 in the 8 values of that block: 0.5; total 2 - 16/64 = 1.75; within 0. */
    near(share, 0.5 / 1.75);
}

/* Noise alone: nothing on average, however many levels. */
static void noise(void **state)
{
    double one = 0, two = 0;

    (void)state;
    for (int k = 0; k < 200; k++) {
        double y[120], share;
        int a[120], b[120];
        struct rng r;

        rng_init(&r, (uint64_t)k, "factors");
        for (int i = 0; i < 120; i++) {
            y[i] = (double)(rng_u64(&r) >> 11) * 0x1p-53;
            a[i] = (int)(rng_u64(&r) >> 60) % 5;
            b[i] = (int)(rng_u64(&r) >> 60) % 4;
        }
        assert_int_equal(stats_explained(y, a, 120, &share), STATS_OK);
        one += share / 200;
        assert_int_equal(stats_interaction(y, a, b, 120, &share), STATS_OK);
        two += share / 200;
    }
    assert_true(fabs(one) < 0.01 && fabs(two) < 0.02);
}

static void refused(void **state)
{
    static const double y[] = {1, 2, 3, 4, 5, 6}, flat[] = {2, 2, 2, 2, 2, 2};
    static const int a[] = {0, 0, 0, 1, 1, 1}, each[] = {0, 1, 2, 3, 4, 5}, none[6] = {0}, b[] = {0, 1, 1, 0, 1, 1};
    double share = 7;

    (void)state;
    assert_int_equal(stats_explained(y, none, 6, &share), STATS_FEW);
    assert_int_equal(stats_explained(y, each, 6, &share), STATS_FEW);
    assert_int_equal(stats_explained(flat, a, 6, &share), STATS_FLAT);
    assert_int_equal(stats_explained((const double[]){1, NAN}, a, 2, &share), STATS_NONFINITE);
    assert_int_equal(stats_interaction(y, a, a, 6, &share), STATS_FEW);
    assert_int_equal(stats_interaction(y, a, each, 6, &share), STATS_FEW);
    assert_int_equal(stats_interaction(flat, a, b, 6, &share), STATS_FLAT);
    near(share, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_factor),   cmocka_unit_test(additive), cmocka_unit_test(exclusive_or),
        cmocka_unit_test(disconnected), cmocka_unit_test(noise),    cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
