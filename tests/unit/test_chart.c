/* The control chart against the worked example of the NIST/SEMATECH e-Handbook, 6.3.2.4, and what it is for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "chart.h"
#include "rng.h"

static void test_nist_example(void **state)
{
    static const double x[] = {52.0, 47.0, 53.0, 49.3, 50.1, 47.0, 51.0, 50.1, 51.2, 50.5,
                               49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1};
    static const double z[] = {50.60, 49.52, 50.56, 50.18, 50.16, 49.21, 49.75, 49.85, 50.26, 50.33,
                               50.11, 49.36, 49.52, 50.05, 49.38, 49.92, 50.73, 51.23, 51.94, 51.99};
    (void)state;
    for (int n = 1; n <= 20; n++)
        assert_true(fabs(chart_ewma(x, n, 0.3, 50) - z[n - 1]) < 0.0051);
    assert_true(fabs(50 + chart_width(2.0539, 1000000, 0.3) - 52.5884) < 0.0002);
    assert_true(fabs(chart_width(1, 1, 0.2) - 0.6) < 1e-12); /* 3 lambda s after one value */
}

static void test_few_values(void **state)
{
    double x[CHART_LEAST + 1] = {0};
    struct chart c;
    (void)state;
    assert_false(chart_judge(&c, x, 0));
    assert_false(chart_judge(&c, x, CHART_LEAST));
    assert_true(chart_judge(&c, x, CHART_LEAST + 1));
    assert_false(c.outside);
    x[CHART_LEAST] = 1e-9;
    assert_true(chart_judge(&c, x, CHART_LEAST + 1));
    assert_true(c.outside); /* without any spread */
}

/* Nights of a steady machine are rarely outside; a machine that has become 1% slower is seen within a few nights. */
static void test_steady_and_shifted(void **state)
{
    enum { NIGHTS = 40, MACHINES = 500, SHIFT = 20 };
    int alarms = 0, seen = 0;
    double x[NIGHTS];
    struct chart c;
    struct rng r;
    (void)state;
    rng_init(&r, 11, "chart");
    for (int m = 0; m < MACHINES; m++) {
        bool found = false;
        for (int i = 0; i < NIGHTS; i++) {
            x[i] = log(100) + 0.002 * rng_normal(&r);
            if (chart_judge(&c, x, i + 1)) alarms += c.outside;
        }
        for (int i = SHIFT; i < SHIFT + 4; i++) {
            x[i] += 0.01;
            chart_judge(&c, x, i + 1);
            found = found || c.outside;
        }
        seen += found;
    }
    print_message("%.2f%% of steady nights are outside; a shift of 1%% is seen within 4 nights on %.1f%% of machines\n",
                  100.0 * alarms / (MACHINES * (NIGHTS - CHART_LEAST)), 100.0 * seen / MACHINES);
    assert_true(alarms < 0.02 * MACHINES * (NIGHTS - CHART_LEAST));
    assert_true(seen > 0.99 * MACHINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nist_example), cmocka_unit_test(test_few_values),
                                       cmocka_unit_test(test_steady_and_shifted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
