/* Where a time lies under ceilings, against counting by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "roofline.h"

static const struct problem shape = {
    .batch = 2, .heads = 3, .kv_heads = 1, .seq_q = 5, .seq_kv = 7, .head_dim = 16, .mask = MASK_NONE, .scale = 1};

static bool near(double x, double y)
{
    return fabs(x - y) <= 1e-12 * fabs(y);
}

/* Work, counted pair by pair and element by element; lse is not asked for. */
static void counts(void **state)
{
    static const double rates[ROOFLINE_N] = {1e12, 1e12, 1e12, 1e12};

    (void)state;
    for (int m = MASK_NONE; m <= MASK_CAUSAL; m++) {
        struct problem p = shape;
        struct roofline r;
        double pairs = 0, bytes = 0;
        p.mask = (enum mask)m;
        for (int i = 0; i < p.seq_q; i++)
            for (int j = 0; j < p.seq_kv; j++)
                pairs += m == MASK_NONE || j - (p.seq_kv - p.seq_q) <= i;
        pairs *= p.batch * p.heads;
        for (int t = 0; t < 4; t++)
            bytes += 2.0 * p.batch * 16 * (t < 2 ? p.heads * p.seq_q : p.kv_heads * p.seq_kv);
        roofline_make(&r, &p, 1, rates, 0, false);
        assert_true(near(r.row[ROOFLINE_MATRIX].work, pairs * 2 * (2 * 16)));
        assert_true(near(r.row[ROOFLINE_EXP].work, pairs));
        assert_true(near(r.row[ROOFLINE_L2].work, bytes));
        assert_true(near(r.row[ROOFLINE_DRAM].work, bytes));
        assert_true(near(r.intensity, pairs * 64 / bytes));
    }
}

static void shares(void **state)
{
    const double flops = problem_flops(&shape), bytes = problem_bytes(&shape);
    const double rates[ROOFLINE_N] = {flops / 2e-6, 0, bytes / 8e-6, bytes / 1e-6}; /* 2, ?, 8 and 1 us */
    struct roofline r;

    (void)state;
    roofline_make(&r, &shape, 10, rates, 0, false);
    assert_true(near(r.row[ROOFLINE_MATRIX].least_us, 2) && near(r.row[ROOFLINE_MATRIX].share, 0.2));
    assert_true(near(r.row[ROOFLINE_L2].share, 0.8) && near(r.row[ROOFLINE_DRAM].share, 0.1));
    assert_true(r.row[ROOFLINE_EXP].share <= 0 && r.row[ROOFLINE_EXP].least_us <= 0); /* not known */
    assert_int_equal(r.nearest, ROOFLINE_L2);
    assert_false(r.exceeded);
    roofline_make(&r, &shape, 8, rates, 0, false);
    assert_false(r.exceeded);
    roofline_make(&r, &shape, 8 / 1.06, rates, 0, false);
    assert_true(r.exceeded);
}

/* The device's memory bounds what does not stay in the L2, and what is measured cold. */
static void memory(void **state)
{
    const double bytes = problem_bytes(&shape);
    const double rates[ROOFLINE_N] = {0, 0, 0, bytes / 1e-6};
    struct roofline r;

    (void)state;
    roofline_make(&r, &shape, 0.5, rates, bytes, false);
    assert_false(r.row[ROOFLINE_DRAM].bounds);
    assert_true(near(r.row[ROOFLINE_DRAM].share, 2)); /* said, but it excludes nothing */
    assert_int_equal(r.nearest, -1);
    assert_false(r.exceeded);
    roofline_make(&r, &shape, 0.5, rates, bytes - 1, false);
    assert_true(r.row[ROOFLINE_DRAM].bounds && r.exceeded);
    assert_int_equal(r.nearest, ROOFLINE_DRAM);
    roofline_make(&r, &shape, 0.5, rates, bytes, true);
    assert_true(r.row[ROOFLINE_DRAM].bounds && r.exceeded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(shares),
        cmocka_unit_test(memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
