/* sim_interval.c - do intervals hold what they promise? Coverage of a single arm's mean under autocorrelation, error of looking
 * again and again, coverage of Hedges' g. */
#include <stdio.h>

#include "sim.h"
#include "stats.h"

enum { LENGTH = 200, SERIES = 2000 };

static void fill_ar(double *x, int n, double phi, struct rng *r)
{
    double last = rng_normal(r) / sqrt(1.0 - phi * phi);
    for (int i = 0; i < n; i++)
        x[i] = last = phi * last + rng_normal(r);
}

/* Student's t with as many values as the effective sample size. */
static bool ess_t_covers(const double *x, int n)
{
    double mean, variance, tau, ess;
    assert_int_equal(stats_mean(x, n, &mean), STATS_OK);
    assert_int_equal(stats_variance(x, n, &variance), STATS_OK);
    assert_int_equal(stats_ess(x, n, &tau, &ess), STATS_OK);
    return fabs(mean) <= stats_t_quantile(0.975, ess - 1.0) * sqrt(variance / ess);
}

static bool bootstrap_covers(const double *x, int n, struct rng *r)
{
    struct stats_boot boot;
    struct stats_interval ci;
    assert_int_equal(stats_boot_mean(&boot, x, n, 199, r), STATS_OK);
    assert_int_equal(stats_boot_percentile(&boot, 0.95, &ci), STATS_OK);
    stats_boot_free(&boot);
    return ci.low <= 0.0 && 0.0 <= ci.high;
}

/* Launches follow each other: an interval that takes them for independent is wrong by far, and the data show it. */
static void coverage_of_a_single_arm(void **state)
{
    static const struct {
        double phi, ess_least, iid_least, iid_most;
    } row[] = {{0.0, 0.93, 0.92, 0.97}, {0.5, 0.92, 0.65, 0.82}, {0.8, 0.88, 0.38, 0.55}};
    struct rng r;
    double x[LENGTH];
    (void)state;
    rng_init_raw(&r, 90, 5);
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        int ess = 0, iid = 0;
        for (int i = 0; i < SERIES; i++) {
            fill_ar(x, LENGTH, row[k].phi, &r);
            ess += ess_t_covers(x, LENGTH);
            iid += bootstrap_covers(x, LENGTH, &r);
        }
        print_message("  95%% intervals, phi %.1f: ESS-t covers %.1f%%, bootstrap of independent values %.1f%%\n",
                      row[k].phi, 100.0 * ess / SERIES, 100.0 * iid / SERIES);
        within("ESS-t", (double)ess / SERIES, row[k].ess_least, 0.97);
        within("iid bootstrap", (double)iid / SERIES, row[k].iid_least, row[k].iid_most);
    }
}

/* Looking after every session until something is significant: the anytime sequence allows it from the tenth on, a t interval
 * does not. */
static void peeking(void **state)
{
    enum { LOOKS = 40, RUNS = 4000 };
    struct rng r;
    int t_errs = 0, anytime_errs = 0;
    (void)state;
    rng_init_raw(&r, 91, 5);
    for (int i = 0; i < RUNS; i++) {
        double x[LOOKS], mean, variance, half;
        struct stats_interval ci;
        bool t_err = false, anytime_err = false;
        for (int n = 1; n <= LOOKS; n++) {
            x[n - 1] = rng_normal(&r);
            if (n < 6) continue;
            assert_int_equal(stats_t_interval(x, n, 0.95, &ci), STATS_OK);
            t_err = t_err || ci.low > 0.0 || ci.high < 0.0;
            if (n < 10) continue;
            assert_int_equal(stats_mean(x, n, &mean), STATS_OK);
            assert_int_equal(stats_variance(x, n, &variance), STATS_OK);
            assert_int_equal(stats_anytime_half_width(sqrt(variance), n, 0.05, 20.0, &half), STATS_OK);
            anytime_err = anytime_err || fabs(mean) > half;
        }
        t_errs += t_err;
        anytime_errs += anytime_err;
    }
    print_message(
        "  looking after every session to the 40th at 5%%: t errs in %.1f%%, the anytime sequence in %.1f%%\n",
        100.0 * t_errs / RUNS, 100.0 * anytime_errs / RUNS);
    within("t", (double)t_errs / RUNS, 0.15, 1.0);
    within("anytime", (double)anytime_errs / RUNS, 0.0, 0.06);
}

/* The noncentral t interval of g, 20 normal values an arm, true difference 0.8 SD. */
static void coverage_of_g(void **state)
{
    enum { ARM = 20, RUNS = 4000 };
    struct rng r;
    int covered = 0, over = 0;
    (void)state;
    rng_init_raw(&r, 92, 5);
    for (int i = 0; i < RUNS; i++) {
        double a[ARM], b[ARM];
        struct stats_smd g;
        for (int k = 0; k < ARM; k++) {
            a[k] = 0.8 + rng_normal(&r);
            b[k] = rng_normal(&r);
        }
        assert_int_equal(stats_smd_of(a, ARM, b, ARM, 0.95, &g), STATS_OK);
        covered += g.g_ci.low <= 0.8 && 0.8 <= g.g_ci.high;
        over += g.g >= 0.8;
    }
    print_message("  Hedges' g of 0.8: interval covers %.1f%%; g is at least 0.8 in %.1f%%\n", 100.0 * covered / RUNS,
                  100.0 * over / RUNS);
    within("coverage of g", (double)covered / RUNS, 0.935, 0.96);
    within("g as a gate", (double)over / RUNS, 0.44, 0.54); /* by nature about a half: a gate, not a test */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(coverage_of_a_single_arm),
        cmocka_unit_test(peeking),
        cmocka_unit_test(coverage_of_g),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
