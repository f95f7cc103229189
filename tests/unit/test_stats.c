/* test_stats.c - published and independently computed numbers, then the edges: empty, one value, ties, no spread, inf. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_errno.h>
#include <math.h>
#include <stdlib.h>

#include "stats.h"

#define N(a) ((int)(sizeof(a) / sizeof(*(a))))

static void near_at(double got, double expected, double tolerance, int line)
{
    if (fabs(got - expected) <= tolerance) return;
    fail_msg("line %d: got %.12g, expected %.12g within %g", line, got, expected, tolerance);
}
#define near(got, expected, tolerance) near_at(got, expected, tolerance, __LINE__)

/* ---- one sample ---- */

static void quantiles_are_type_7(void **state)
{
    const double x[] = {4, 1, 3, 2};
    double q;
    (void)state;
    assert_int_equal(stats_quantile(x, 4, 0.25, &q), STATS_OK);
    near(q, 1.75, 1e-15); /* R: quantile(1:4, .25) */
    assert_int_equal(stats_quantile(x, 4, 0.9, &q), STATS_OK);
    near(q, 3.7, 1e-15);
    assert_int_equal(stats_median(x, 4, &q), STATS_OK);
    near(q, 2.5, 0);
    assert_int_equal(stats_mad(x, 4, &q), STATS_OK);
    near(q, 1.0, 0);
    assert_int_equal(stats_quantile(x, 4, 1.5, &q), STATS_REFUSED);
}

static void median_ranks(void **state)
{
    static const struct {
        int n, l, u;
        double coverage;
    } row[] = {{10, 2, 9, .97852},   {20, 6, 15, .95861},   {30, 10, 21, .95723},
               {50, 18, 33, .96716}, {100, 40, 61, .96480}, {200, 86, 115, .95996}};
    (void)state;
    for (int i = 0; i < N(row); i++) {
        int l;
        double coverage;
        assert_int_equal(stats_median_ranks(row[i].n, 0.95, &l, &coverage), STATS_OK);
        assert_int_equal(l, row[i].l);
        assert_int_equal(row[i].n + 1 - l, row[i].u);
        near(coverage, row[i].coverage, 5e-6);
    }
    const double x[] = {10, 9, 8, 7, 6, 5, 4, 3, 2, 1};
    struct stats_interval ci;
    assert_int_equal(stats_median_interval(x, 10, 0.95, &ci), STATS_OK);
    near(ci.low, 2, 0);
    near(ci.high, 9, 0);
    assert_int_equal(stats_median_interval(x, 5, 0.95, &ci), STATS_FEW);
    assert_int_equal(stats_median_interval(x, 6, 0.95, &ci), STATS_OK);
}

/* Student's sleep data, group 2 minus group 1: R's t.test gives 0.7001142 2.4598858. */
static void t_interval(void **state)
{
    const double x[] = {1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4};
    struct stats_interval ci;
    (void)state;
    assert_int_equal(stats_t_interval(x, 10, 0.95, &ci), STATS_OK);
    near(ci.low, 0.7001142, 5e-8);
    near(ci.high, 2.4598858, 5e-8);
    near(stats_t_quantile(0.975, 11), 2.20098516, 1e-8);
}

static void outliers_are_labelled(void **state)
{
    const double x[] = {10, 11, 9, 10.5, 9.5, 10, 30}, flat[] = {1, 1, 1, 1, 2};
    bool label[7];
    int count;
    (void)state;
    assert_int_equal(stats_outliers(x, 7, label, &count), STATS_OK);
    assert_int_equal(count, 1);
    assert_true(label[6] && !label[0] && !label[1]);
    assert_int_equal(stats_outliers(flat, 5, NULL, &count), STATS_OK);
    assert_int_equal(count, 1);
}

static void bimodality(void **state)
{
    struct rng r;
    double one[400], two[400];
    struct stats_modes m;
    (void)state;
    rng_init_raw(&r, 1, 1);
    for (int i = 0; i < 400; i++) {
        one[i] = rng_normal(&r);
        two[i] = one[i] + (i % 3 == 0 ? 40.0 : 0.0);
    }
    assert_int_equal(stats_bimodality(one, 400, &m), STATS_OK);
    assert_false(m.bimodal);
    near(m.coefficient, 1.0 / 3.0, 0.08); /* a normal's value */
    assert_int_equal(stats_bimodality(two, 400, &m), STATS_OK);
    assert_true(m.bimodal);
    assert_int_equal(m.nlow, 266);
    near(m.low, 0.0, 0.3);
    near(m.high, 40.0, 0.3);
    near(m.mad, 0.6745, 0.1);
    for (int i = 0; i < 400; i++)
        two[i] = one[i] + (i % 2 ? 40.0 : 0.0); /* two equal modes */
    assert_int_equal(stats_bimodality(two, 400, &m), STATS_OK);
    assert_true(m.bimodal && m.nlow == 200);
    for (int i = 0; i < 400; i++)
        one[i] = i; /* uniform: coefficient 5/9, no gap */
    assert_int_equal(stats_bimodality(one, 400, &m), STATS_OK);
    near(m.coefficient, 5.0 / 9.0, 0.01);
    assert_false(m.bimodal);
    for (int i = 0; i < 400; i++)
        one[i] = 3.0;
    assert_int_equal(stats_bimodality(one, 400, &m), STATS_FLAT);
    assert_int_equal(stats_bimodality(one, 9, &m), STATS_FEW);
}

static void theil_sen_ignores_a_wild_point(void **state)
{
    double t[20], y[20], slope;
    (void)state;
    for (int i = 0; i < 20; i++) {
        t[i] = i;
        y[i] = 5.0 - 0.25 * i;
    }
    y[7] = 1e6;
    assert_int_equal(stats_theil_sen(t, y, 20, &slope), STATS_OK);
    near(slope, -0.25, 1e-12);
    for (int i = 0; i < 20; i++)
        t[i] = 1.0;
    assert_int_equal(stats_theil_sen(t, y, 20, &slope), STATS_FLAT);
}

/* ---- dependence ---- */

static void fill_ar(double *y)
{
    double last = 0.0;
    for (int i = 0; i < 500; i++) {
        const double v = (double)i * i * 0.6180339887498949;
        last = y[i] = 0.7 * last + (v - floor(v)) - 0.5;
    }
}

static void block_length_and_ess(void **state)
{
    double y[500], mean, variance, rho, length, tau, ess;
    (void)state;
    fill_ar(y);
    near(y[1], -.231966011250105, 1e-14);
    assert_int_equal(stats_mean(y, 500, &mean), STATS_OK);
    near(mean, .00253939477, 1e-9);
    assert_int_equal(stats_variance(y, 500, &variance), STATS_OK);
    near(variance, .15242624, 1e-7);
    assert_int_equal(stats_autocorrelation(y, 500, 1, &rho), STATS_OK);
    near(rho, .6748970924, 1e-9);
    assert_int_equal(stats_block_length(y, 500, &length), STATS_OK);
    near(length, 12.49458, 1e-4);
    assert_int_equal(stats_ess(y, 500, &tau, &ess), STATS_OK);
    near(tau, 4.841084, 1e-5);
    near(ess, 103.28265, 1e-4);
}

/* AR(1): tau = (1 + phi)/(1 - phi). */
static void ess_of_a_long_ar1(void **state)
{
    enum { LENGTH = 20000 };
    double *x = malloc(LENGTH * sizeof *x), tau, ess, last = 0.0;
    struct rng r;
    (void)state;
    assert_non_null(x);
    rng_init_raw(&r, 3, 1);
    for (int i = 0; i < LENGTH; i++)
        x[i] = last = 0.5 * last + rng_normal(&r);
    assert_int_equal(stats_ess(x, LENGTH, &tau, &ess), STATS_OK);
    near(tau, 3.0, 0.3);
    for (int i = 0; i < LENGTH; i++)
        x[i] = i % 2 ? 1.0 : -1.0;
    assert_int_equal(stats_ess(x, LENGTH, &tau, &ess), STATS_OK);
    near(tau, 1.0, 0);
    free(x);
}

static void anytime_half_width(void **state)
{
    static const struct {
        int n;
        double width;
    } row[] = {{10, .970792}, {20, .678746}, {30, .556743}, {40, .485286}};
    double width;
    (void)state;
    for (int i = 0; i < N(row); i++) {
        assert_int_equal(stats_anytime_half_width(2.0, row[i].n, 0.05, 20.0, &width), STATS_OK);
        near(width / 2.0, row[i].width, 1e-6);
    }
    assert_int_equal(stats_anytime_half_width(1.0, 10, 0.0, 20.0, &width), STATS_REFUSED);
}

/* ---- effect sizes ---- */

static void hedges_correction(void **state)
{
    static const int m[] = {2, 3, 4, 5, 6, 10, 20, 30, 50, 98};
    static const double j[] = {.564189583548, .723601254558, .797884560803, .840748682460, .868626687827,
                               .922745608053, .961944533741, .974754378214, .984911942296, .992324087421};
    (void)state;
    for (int i = 0; i < N(m); i++)
        near(stats_hedges_j(m[i]), j[i], 1e-11);
}

static void borenstein_example(void **state)
{
    struct stats_smd m;
    double s_within, d;
    (void)state;
    assert_int_equal(stats_smd(103, 5.5, 50, 100, 4.5, 50, 0.95, &m), STATS_OK);
    near(m.s, 5.0249378, 1e-7);
    near(m.d, .5970223, 1e-7);
    near(m.g, .5924396, 1e-7);
    near(m.v_d, .0417822, 1e-7);
    near(m.v_g, .0411432, 1e-7);
    near(sqrt(m.v_g), .2028379, 1e-7);
    near(m.v_g_ls, .0417549, 1e-7);
    near(m.v_g_exact, .0420417, 1e-7);
    near(m.d_ci.low, .194782, 1e-6);
    near(m.d_ci.high, .996346, 1e-6);
    near(m.g_ci.low, .193287, 1e-6);
    near(m.g_ci.high, .988698, 1e-6);
    assert_int_equal(stats_paired_d(3, 5.5, .7, &s_within, &d), STATS_OK);
    near(s_within, 7.1005, 5e-5);
    near(d, .4225, 5e-5);
    assert_int_equal(stats_paired_d(3, 5.5, 1.0, &s_within, &d), STATS_REFUSED);
}

static void mtcars_weight_by_transmission(void **state)
{
    struct stats_smd m;
    (void)state;
    assert_int_equal(stats_smd(3.768895, .777400, 19, 2.411, .616982, 13, 0.95, &m), STATS_OK);
    near(m.d, 1.892406, 3e-6); /* inputs are rounded */
    near(m.d_ci.low, 1.030022, 3e-6);
    near(m.d_ci.high, 2.732922, 3e-6);
    near(m.g, 1.844631, 3e-6);
    near(m.g_ci.low, 1.004019, 3e-6);
    near(m.g_ci.high, 2.663928, 3e-6);
}

/* metafor's dat.normand1999, rows 1-4. */
static void normand_1999(void **state)
{
    static const struct {
        int n1;
        double m1, sd1;
        int n2;
        double m2, sd2, g, v;
    } row[] = {{155, 55, 47, 156, 75, 64, -.3552, .0131},
               {31, 27, 7, 32, 29, 4, -.3479, .0645},
               {75, 64, 17, 71, 119, 29, -2.3176, .0458},
               {18, 66, 20, 18, 137, 48, -1.8880, .1606}};
    struct stats_smd m;
    (void)state;
    for (int i = 0; i < N(row); i++) {
        assert_int_equal(stats_smd(row[i].m1, row[i].sd1, row[i].n1, row[i].m2, row[i].sd2, row[i].n2, 0.95, &m),
                         STATS_OK);
        near(m.g, row[i].g, 5.1e-5);
        near(m.v_g_ls, row[i].v, 5.1e-5);
    }
}

/* With ncp = 0 it is Student's t. */
static void noncentral_t(void **state)
{
    struct stats_interval ci;
    (void)state;
    for (double df = 1.0; df < 600.0; df *= 2.7)
        for (double t = -6.0; t < 6.5; t += 0.7)
            near(stats_noncentral_t_cdf(t, df, 0.0), gsl_cdf_tdist_P(t, df), 1e-10);
    /* t = 0: P = Phi(-ncp) for any df */
    near(stats_noncentral_t_cdf(0.0, 7.0, 1.5), .0668072012688581, 1e-12);
    /* many degrees of freedom: T is close to N(ncp, 1) with variance 1 + ncp^2/(2 df) */
    near(stats_noncentral_t_cdf(3.0, 1e7, 2.0), .841344746, 1e-6);
    assert_int_equal(stats_noncentral_t_interval(-40.0, 500.0, 0.95, &ci), STATS_OK);
    near(stats_noncentral_t_cdf(-40.0, 500.0, ci.low), 0.975, 1e-9);
    near(stats_noncentral_t_cdf(-40.0, 500.0, ci.high), 0.025, 1e-9);
    assert_true(ci.low < -40.0 && ci.high > -40.0);
    assert_int_equal(stats_noncentral_t_interval(INFINITY, 5.0, 0.95, &ci), STATS_NONFINITE);
}

/* ---- two samples ---- */

/* R: t.test(extra ~ group, data = sleep): t = -1.8608, df = 17.776, p = 0.07939, (-3.3654832, 0.2054832). */
static void welch(void **state)
{
    const double g1[] = {.7, -1.6, -.2, -1.2, -.1, 3.4, 3.7, .8, 0, 2},
                 g2[] = {1.9, .8, 1.1, .1, -.1, 4.4, 5.5, 1.6, 4.6, 3.4};
    struct stats_welch w;
    (void)state;
    assert_int_equal(stats_welch(g1, 10, g2, 10, 0.95, &w), STATS_OK);
    near(w.t, -1.8608, 5e-5);
    near(w.df, 17.776, 5e-4);
    near(w.p, .07939, 5e-6);
    near(w.ci.low, -3.3654832, 5e-8);
    near(w.ci.high, .2054832, 5e-8);
}

/* By hand: x = 1 2 2 4, y = 2 3 5: pairs won 0+.5+.5+2 = 3 of 12; one tie of three: var = 12/12 (8 - 24/42). */
static void mann_whitney(void **state)
{
    const double x[] = {1, 2, 2, 4}, y[] = {2, 3, 5}, same[] = {7, 7, 7};
    struct stats_mann_whitney w;
    (void)state;
    assert_int_equal(stats_mann_whitney(x, 4, y, 3, &w), STATS_OK);
    near(w.u, 3.0, 0);
    near(w.cliff, -0.5, 1e-15);
    near(w.z, -2.5 / sqrt(8.0 - 24.0 / 42.0), 1e-12);
    assert_true(w.p > 0.3 && w.p < 0.4);
    assert_int_equal(stats_mann_whitney(same, 3, same, 3, &w), STATS_OK);
    near(w.z, 0, 0);
    near(w.p, 1, 0);
    near(w.cliff, 0, 0);
    assert_int_equal(stats_mann_whitney(y, 3, x, 1, &w), STATS_OK);
    near(w.cliff, 1, 0);
}

/* Fisher's lady tasting tea: four of eight cups, at least three of them right by chance in 17 of 70 ways. */
static void hypergeometric(void **state)
{
    (void)state;
    assert_true(fabs(stats_hypergeometric_tail(3, 4, 4, 4) - 17.0 / 70) < 1e-12);
    assert_true(fabs(stats_hypergeometric_tail(4, 4, 4, 4) - 1.0 / 70) < 1e-12);
    assert_true(stats_hypergeometric_tail(0, 4, 4, 4) == 1 && stats_hypergeometric_tail(5, 4, 4, 4) == 0);
    assert_true(fabs(stats_hypergeometric_tail(6, 7, 421, 72) - 1.14903533252e-4) < 1e-14);
}

static void holm_and_bh(void **state)
{
    const double p[] = {.01, .04, .03, .005}, holm[] = {.03, .06, .06, .02}, bh[] = {.02, .04, .04, .02};
    const double bad[] = {.5, 1.5};
    double got[4];
    (void)state;
    assert_int_equal(stats_holm(p, 4, got), STATS_OK);
    for (int i = 0; i < 4; i++)
        near(got[i], holm[i], 1e-15);
    assert_int_equal(stats_benjamini_hochberg(p, 4, got), STATS_OK);
    for (int i = 0; i < 4; i++)
        near(got[i], bh[i], 1e-15);
    assert_int_equal(stats_holm(bad, 2, got), STATS_REFUSED);
}

/* ---- bootstrap ---- */

static double mean_of(const void *ctx, const int *index, int n)
{
    const double *x = ctx;
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += x[index[i]];
    return sum / n;
}

static double variance_of(const void *ctx, const int *index, int n) /* divides by n */
{
    const double *x = ctx, m = mean_of(ctx, index, n);
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += (x[index[i]] - m) * (x[index[i]] - m);
    return sum / n;
}

struct pairs {
    double u[15], x[15];
};

static double ratio_of(const void *ctx, const int *index, int n)
{
    const struct pairs *p = ctx;
    return mean_of(p->x, index, n) / mean_of(p->u, index, n);
}

static double correlation_of(const void *ctx, const int *index, int n)
{
    const struct pairs *p = ctx;
    const double mu = mean_of(p->u, index, n), mx = mean_of(p->x, index, n);
    double uu = 0.0, xx = 0.0, ux = 0.0;
    for (int i = 0; i < n; i++) {
        const double u = p->u[index[i]] - mu, x = p->x[index[i]] - mx;
        uu += u * u;
        xx += x * x;
        ux += u * x;
    }
    return ux / sqrt(uu * xx); /* NaN when one pair was drawn n times */
}

static void near_interval(struct stats_interval got, double low, double high, double share, int line)
{
    near_at(got.low, low, share * fabs(low), line);
    near_at(got.high, high, share * fabs(high), line);
}

static const double scipy_x[] = {10, 12, 12.5, 12.5, 13.9, 15, 21, 22, 23, 34, 50, 81, 89, 121, 134, 213};

static void bca_of_a_mean(void **state)
{
    struct rng r;
    struct stats_boot boot, mean;
    struct stats_interval ci;
    double z0;
    (void)state;
    rng_init_raw(&r, 11, 1);
    assert_int_equal(stats_boot(&boot, mean_of, scipy_x, 16, 400000, &r), STATS_OK);
    near(boot.a, .06152887, 1e-8);
    assert_int_equal(stats_boot_z0(&boot, &z0), STATS_OK);
    near(z0, .0621, .008); /* Monte Carlo error 0.002 */
    assert_int_equal(stats_boot_bca(&boot, 0.95, &ci), STATS_OK);
    near_interval(ci, 32.24, 91.34, .005, __LINE__);
    assert_int_equal(stats_boot_percentile(&boot, 0.95, &ci), STATS_OK);
    near_interval(ci, 28.86, 84.21, .005, __LINE__);
    assert_int_equal(stats_boot_basic(&boot, 0.95, &ci), STATS_OK);
    near_interval(ci, 23.77, 79.12, .005, __LINE__);
    stats_boot_free(&boot);
    stats_boot_free(&boot);
    /* the quick way to the same */
    assert_int_equal(stats_boot_mean(&mean, scipy_x, 16, 100000, &r), STATS_OK);
    near(mean.a, .06152887, 1e-8);
    assert_int_equal(stats_boot_bca(&mean, 0.95, &ci), STATS_OK);
    near_interval(ci, 32.24, 91.34, .005, __LINE__);
    stats_boot_free(&mean);
}

static void bca_of_a_variance(void **state)
{
    const double a[] = {48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6,
                        0,  33, 28, 34, 4,  32, 24, 47, 41, 24, 26, 30, 41};
    struct rng r;
    struct stats_boot boot;
    struct stats_interval ci;
    (void)state;
    rng_init_raw(&r, 12, 1);
    assert_int_equal(stats_boot(&boot, variance_of, a, N(a), 200000, &r), STATS_OK);
    near(boot.theta, 171.534, 5e-4);
    near(boot.a, .0612401, 5e-8);
    assert_int_equal(stats_boot_bca(&boot, 0.90, &ci), STATS_OK);
    near_interval(ci, 115.66, 261.25, .005, __LINE__);
    stats_boot_free(&boot);
}

static const struct pairs city = {.u = {138, 93, 61, 179, 48, 37, 29, 23, 30, 2},
                                  .x = {143, 104, 69, 260, 75, 63, 50, 48, 111, 50}};

static void bca_of_a_ratio(void **state)
{
    struct rng r;
    struct stats_boot boot;
    struct stats_interval ci;
    (void)state;
    rng_init_raw(&r, 13, 1);
    assert_int_equal(stats_boot(&boot, ratio_of, &city, 10, 200000, &r), STATS_OK);
    near(boot.theta, 1.5203125, 1e-12);
    near(boot.a, -.011203194, 1e-9);
    assert_int_equal(stats_boot_bca(&boot, 0.95, &ci), STATS_OK);
    near_interval(ci, 1.2468, 2.0879, .005, __LINE__);
    assert_int_equal(stats_boot_bca(&boot, 0.90, &ci), STATS_OK);
    near_interval(ci, 1.2825, 1.9562, .005, __LINE__);
    stats_boot_free(&boot);
}

static void bca_of_a_correlation(void **state)
{
    static const struct pairs law = {
        .u = {576, 635, 558, 578, 666, 580, 555, 661, 651, 605, 653, 575, 545, 572, 594},
        .x = {3.39, 3.30, 2.81, 3.03, 3.44, 3.07, 3.00, 3.43, 3.36, 3.13, 3.12, 2.74, 2.76, 2.88, 2.96}};
    struct rng r;
    struct stats_boot boot;
    struct stats_interval ci;
    (void)state;
    rng_init_raw(&r, 14, 1);
    assert_int_equal(stats_boot(&boot, correlation_of, &law, 15, 1000000, &r), STATS_OK);
    near(boot.theta, .7763744913, 1e-10);
    near(boot.a, -.0756715649, 1e-9);
    assert_int_equal(stats_boot_bca(&boot, 0.90, &ci), STATS_OK);
    near_interval(ci, .4289, .9268, .005, __LINE__);
    stats_boot_free(&boot);
}

struct mice {
    double z[7], y[9];
};

static double difference_of(const void *ctx, const int *i1, int n1, const int *i2, int n2)
{
    const struct mice *m = ctx;
    return mean_of(m->z, i1, n1) - mean_of(m->y, i2, n2);
}

static void two_sample_acceleration(void **state)
{
    static const struct mice mice = {{16, 23, 38, 94, 99, 141, 197}, {10, 27, 31, 40, 46, 50, 52, 104, 146}};
    struct rng r;
    struct stats_boot boot;
    struct stats_interval ci;
    (void)state;
    rng_init_raw(&r, 15, 1);
    assert_int_equal(stats_boot_two(&boot, difference_of, &mice, 7, 9, 9999, &r), STATS_OK);
    near(boot.a, .011008228344026734, 1e-15);
    assert_int_equal(stats_boot_bca(&boot, 0.95, &ci), STATS_OK);
    assert_true(ci.low < boot.theta && boot.theta < ci.high);
    stats_boot_free(&boot);
}

/* On normal data bootstrap-t must be close to the t interval, and its bounds wider than the percentile's. */
static void bootstrap_t(void **state)
{
    struct rng r;
    struct stats_boot boot;
    struct stats_interval t, bt, percentile;
    double x[40], upper;
    (void)state;
    rng_init_raw(&r, 16, 1);
    for (int i = 0; i < 40; i++)
        x[i] = rng_normal(&r);
    assert_int_equal(stats_boot_mean(&boot, x, 40, 99999, &r), STATS_OK);
    assert_int_equal(stats_t_interval(x, 40, 0.95, &t), STATS_OK);
    assert_int_equal(stats_boot_t(&boot, 0.95, &bt), STATS_OK);
    assert_int_equal(stats_boot_percentile(&boot, 0.95, &percentile), STATS_OK);
    near(bt.low, t.low, 0.05);
    near(bt.high, t.high, 0.05);
    assert_true(bt.high - bt.low > percentile.high - percentile.low);
    assert_int_equal(stats_boot_t_bound(&boot, 0.025, &upper), STATS_OK);
    near(upper, bt.high, 1e-15);
    assert_int_equal(stats_boot_t_bound(&boot, 1e-6, &upper), STATS_REFUSED);
    stats_boot_free(&boot);
}

/* A mean of two-valued data has a closed form: P(t* studentised) is not needed, the percentile interval of a mean of n = 2
 * values takes three values with probabilities 1/4, 1/2, 1/4. */
static void two_values_by_hand(void **state)
{
    const double x[] = {0, 1};
    struct rng r;
    struct stats_boot boot;
    struct stats_interval ci;
    double z0;
    int count[3] = {0};
    (void)state;
    rng_init_raw(&r, 17, 1);
    assert_int_equal(stats_boot(&boot, mean_of, x, 2, 40000, &r), STATS_OK);
    for (int i = 0; i < boot.b; i++)
        count[(int)(2.0 * boot.value[i])]++;
    near(count[0] / 40000.0, .25, .009);
    near(count[1] / 40000.0, .50, .010);
    assert_int_equal(stats_boot_percentile(&boot, 0.95, &ci), STATS_OK);
    near(ci.low, 0, 0);
    near(ci.high, 1, 0);
    assert_int_equal(stats_boot_z0(&boot, &z0), STATS_OK);
    near(z0, 0.0, 0.03);
    stats_boot_free(&boot);
}

static double smallest_of(const void *ctx, const int *index, int n)
{
    double least = INFINITY;
    for (int i = 0; i < n; i++)
        least = fmin(least, ((const double *)ctx)[index[i]]);
    return least;
}

static double never_finite(const void *ctx, const int *index, int n)
{
    (void)ctx;
    for (int i = 1; i < n; i++)
        if (index[i] != index[i - 1] + 1) return NAN;
    return 1.0; /* only the data themselves */
}

static void bootstrap_refusals(void **state)
{
    double x[12];
    struct rng r;
    struct stats_boot boot;
    struct stats_interval ci;
    (void)state;
    rng_init_raw(&r, 18, 1);
    for (int i = 0; i < 12; i++)
        x[i] = i;
    assert_int_equal(stats_boot(&boot, mean_of, x, 1, 999, &r), STATS_FEW);
    assert_int_equal(stats_boot(&boot, mean_of, x, 12, 9, &r), STATS_REFUSED);
    assert_int_equal(stats_boot(&boot, never_finite, x, 12, 999, &r), STATS_REFUSED);
    /* the minimum is never above the data's: z0 is finite only through ties; every replicate >= theta */
    assert_int_equal(stats_boot(&boot, smallest_of, x, 12, 999, &r), STATS_OK);
    assert_int_equal(stats_boot_t(&boot, 0.95, &ci), STATS_REFUSED);
    for (int i = 0; i < boot.b; i++)
        boot.value[i] = boot.theta + 1.0;
    assert_int_equal(stats_boot_bca(&boot, 0.95, &ci), STATS_REFUSED);
    stats_boot_free(&boot);
    for (int i = 0; i < 12; i++)
        x[i] = 2.5;
    assert_int_equal(stats_boot_mean(&boot, x, 12, 999, &r), STATS_FLAT);
    x[3] = INFINITY;
    assert_int_equal(stats_boot_mean(&boot, x, 12, 999, &r), STATS_NONFINITE);
}

/* ---- edges shared by all ---- */

static void empty_single_flat_and_infinite(void **state)
{
    const double one[] = {3}, flat[12] = {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}, bad[] = {1, NAN, 2, 3, 4, 5, 6, 7, 8, 9};
    const double untouched = -12345.0;
    double v = untouched, w = untouched;
    struct stats_interval ci = {untouched, untouched};
    struct stats_smd smd;
    struct stats_welch welch_out;
    struct stats_mann_whitney mw;
    int k;
    (void)state;
    assert_int_equal(stats_mean(one, 0, &v), STATS_FEW);
    assert_int_equal(stats_median(one, 0, &v), STATS_FEW);
    assert_int_equal(stats_variance(one, 1, &v), STATS_FEW);
    assert_int_equal(stats_t_interval(one, 1, 0.95, &ci), STATS_FEW);
    assert_int_equal(stats_mean(bad, 10, &v), STATS_NONFINITE);
    assert_int_equal(stats_median(bad, 10, &v), STATS_NONFINITE);
    assert_int_equal(stats_ess(bad, 10, &v, &w), STATS_NONFINITE);
    assert_int_equal(stats_ess(flat, 12, &v, &w), STATS_FLAT);
    assert_int_equal(stats_block_length(flat, 12, &v), STATS_FLAT);
    assert_int_equal(stats_outliers(one, 0, NULL, &k), STATS_FEW);
    assert_int_equal(stats_holm(one, 0, &v), STATS_FEW);
    assert_int_equal(stats_mann_whitney(one, 0, one, 1, &mw), STATS_FEW);
    assert_int_equal(stats_smd_of(flat, 12, flat, 12, 0.95, &smd), STATS_FLAT);
    assert_int_equal(stats_smd_of(bad, 10, flat, 12, 0.95, &smd), STATS_NONFINITE);
    assert_int_equal(stats_welch(flat, 12, flat, 12, 0.95, &welch_out), STATS_FLAT);
    near(v, untouched, 0);
    near(w, untouched, 0);
    near(ci.low, untouched, 0);
    assert_int_equal(stats_mean(one, 1, &v), STATS_OK);
    near(v, 3, 0);
    assert_int_equal(stats_t_interval(flat, 12, 0.95, &ci), STATS_OK);
    near(ci.low, 2, 0);
    near(ci.high, 2, 0);
    for (int s = STATS_OK; s <= STATS_NOMEM; s++)
        assert_true(stats_status_text((enum stats_status)s)[0] != '\0');
}

/* What the table below hands to every function. */
static const struct odd {
    const char *name;
    double x[12];
    int n;
} odd[] = {
    {"nothing", {0}, 0},
    {"one value", {3}, 1},
    {"two equal", {2, 2}, 2},
    {"flat", {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}, 12},
    {"zeros", {0}, 12},
    {"ties but one", {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2}, 12},
    {"two modes", {1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2}, 12},
    {"an infinity", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, INFINITY}, 12},
    {"a negative infinity", {-INFINITY, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 12},
    {"a NaN", {1, 2, 3, 4, 5, NAN, 7, 8, 9, 10, 11, 12}, 12},
    {"huge", {1e308, -1e308, 1e308, -1e308, 1.7e308, 1e308, 1e308, -1.7e308, 1e308, 1e308, 1e308, 1e308}, 12},
    {"tiny", {5e-324, 1e-323, 5e-324, 2e-323, 5e-324, 0, 5e-324, 5e-324, 5e-324, 5e-324, 5e-324, 5e-324}, 12},
    {"all sizes", {1e-300, 1e300, 1, 1e-300, 1e300, 1, 1e-300, 1e300, 1, 2, 3, 4}, 12},
    {"as usual", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 12},
};

/* When s is STATS_OK, none of the n numbers is a NaN, and infinite only where that is an answer. */
static void answer(enum stats_status s, const char *of, const struct odd *a, const struct odd *b, const void *numbers,
                   size_t n)
{
    for (size_t i = 0; s == STATS_OK && i < n; i++)
        if (!isfinite(((const double *)numbers)[i]))
            fail_msg("%s of %s%s%s: number %zu is %g", of, a->name, b ? " and " : "", b ? b->name : "", i,
                     ((const double *)numbers)[i]);
}

static void odd_samples_give_an_answer_or_a_reason(void **state)
{
    double v[16] = {0};
    (void)state;
    gsl_set_error_handler_off(); /* as main() does */
    for (int i = 0; i < N(odd); i++) {
        const struct odd *a = &odd[i];
        struct stats_interval ci = {0};
        struct stats_modes modes = {0};
        struct stats_boot boot = {0};
        struct rng r;
        int k;
        answer(stats_mean(a->x, a->n, v), "mean", a, NULL, v, 1);
        answer(stats_variance(a->x, a->n, v), "variance", a, NULL, v, 1);
        answer(stats_quantile(a->x, a->n, 0.9, v), "quantile", a, NULL, v, 1);
        answer(stats_median(a->x, a->n, v), "median", a, NULL, v, 1);
        answer(stats_mad(a->x, a->n, v), "mad", a, NULL, v, 1);
        answer(stats_median_interval(a->x, a->n, 0.95, &ci), "median_interval", a, NULL, &ci, 2);
        answer(stats_t_interval(a->x, a->n, 0.95, &ci), "t_interval", a, NULL, &ci, 2);
        assert_true(stats_outliers(a->x, a->n, NULL, &k) != STATS_OK || (k >= 0 && k <= a->n));
        answer(stats_bimodality(a->x, a->n, &modes), "bimodality", a, NULL, &modes, 5);
        answer(stats_ess(a->x, a->n, &v[0], &v[1]), "ess", a, NULL, v, 2);
        answer(stats_autocorrelation(a->x, a->n, 1, v), "autocorrelation", a, NULL, v, 1);
        answer(stats_block_length(a->x, a->n, v), "block_length", a, NULL, v, 1);
        answer(stats_holm(a->x, a->n, v), "holm", a, NULL, v, (size_t)a->n);
        answer(stats_benjamini_hochberg(a->x, a->n, v), "benjamini_hochberg", a, NULL, v, (size_t)a->n);
        rng_init_raw(&r, 1, 1);
        if (stats_boot_mean(&boot, a->x, a->n, 99, &r) == STATS_OK) {
            answer(stats_boot_percentile(&boot, 0.9, &ci), "boot_percentile", a, NULL, &ci, 2);
            answer(stats_boot_basic(&boot, 0.9, &ci), "boot_basic", a, NULL, &ci, 2);
            answer(stats_boot_bca(&boot, 0.9, &ci), "boot_bca", a, NULL, &ci, 2);
            answer(stats_boot_t(&boot, 0.9, &ci), "boot_t", a, NULL, &ci, 2);
        }
        stats_boot_free(&boot);
        for (int j = 0; j < N(odd); j++) {
            const struct odd *b = &odd[j];
            struct stats_smd smd = {0};
            struct stats_welch welch_of = {0};
            struct stats_mann_whitney mw = {0};
            answer(stats_smd_of(a->x, a->n, b->x, b->n, 0.95, &smd), "smd", a, b, &smd, sizeof smd / sizeof(double));
            answer(stats_welch(a->x, a->n, b->x, b->n, 0.95, &welch_of), "welch", a, b, &welch_of,
                   sizeof welch_of / sizeof(double));
            answer(stats_mann_whitney(a->x, a->n, b->x, b->n, &mw), "mann_whitney", a, b, &mw,
                   sizeof mw / sizeof(double));
            if (a->n == b->n) answer(stats_theil_sen(a->x, b->x, a->n, v), "theil_sen", a, b, v, 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_type_7),
        cmocka_unit_test(median_ranks),
        cmocka_unit_test(t_interval),
        cmocka_unit_test(outliers_are_labelled),
        cmocka_unit_test(bimodality),
        cmocka_unit_test(theil_sen_ignores_a_wild_point),
        cmocka_unit_test(block_length_and_ess),
        cmocka_unit_test(ess_of_a_long_ar1),
        cmocka_unit_test(anytime_half_width),
        cmocka_unit_test(hedges_correction),
        cmocka_unit_test(borenstein_example),
        cmocka_unit_test(mtcars_weight_by_transmission),
        cmocka_unit_test(normand_1999),
        cmocka_unit_test(noncentral_t),
        cmocka_unit_test(welch),
        cmocka_unit_test(mann_whitney),
        cmocka_unit_test(hypergeometric),
        cmocka_unit_test(holm_and_bh),
        cmocka_unit_test(bca_of_a_mean),
        cmocka_unit_test(bca_of_a_variance),
        cmocka_unit_test(bca_of_a_ratio),
        cmocka_unit_test(bca_of_a_correlation),
        cmocka_unit_test(two_sample_acceleration),
        cmocka_unit_test(bootstrap_t),
        cmocka_unit_test(two_values_by_hand),
        cmocka_unit_test(bootstrap_refusals),
        cmocka_unit_test(empty_single_flat_and_infinite),
        cmocka_unit_test(odd_samples_give_an_answer_or_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
