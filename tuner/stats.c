/* stats.c - one sample, dependence, and two samples; the bootstrap is in stats_boot.c, effect sizes are in stats_smd.c.
 *
 * Every public function checks its input first, computes into locals, and writes its outputs last, so an output is either
 * untouched or finite. GSL functions are called only with arguments inside their domain: GSL's error handler aborts. */
#include "stats.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *stats_status_text(enum stats_status s)
{
    static const char *const text[] = {
#define X(name, words) words,
        STATS_STATUSES(X)
#undef X
    };
    return text[s];
}

static enum stats_status check(const double *x, int n, int least)
{
    if (n < least) return STATS_FEW;
    for (int i = 0; i < n; i++)
        if (!(fabs(x[i]) <= STATS_LARGEST)) return STATS_NONFINITE;
    return STATS_OK;
}

static double *sorted_copy(const double *x, int n)
{
    double *s = malloc((size_t)n * sizeof *s);
    if (s != NULL) {
        memcpy(s, x, (size_t)n * sizeof *s);
        gsl_sort(s, 1, (size_t)n);
    }
    return s;
}

static bool proper(double p)
{
    return p > 0.0 && p < 1.0;
}

/* ---- one sample ---- */

enum stats_status stats_mean(const double *x, int n, double *mean)
{
    const enum stats_status s = check(x, n, 1);
    if (s != STATS_OK) return s;
    *mean = gsl_stats_mean(x, 1, (size_t)n);
    return STATS_OK;
}

enum stats_status stats_variance(const double *x, int n, double *variance)
{
    const enum stats_status s = check(x, n, 2);
    if (s != STATS_OK) return s;
    *variance = gsl_stats_variance(x, 1, (size_t)n);
    return STATS_OK;
}

double stats_quantile_sorted(const double *sorted, int n, double p)
{
    return gsl_stats_quantile_from_sorted_data(sorted, 1, (size_t)n, p);
}

enum stats_status stats_quantile(const double *x, int n, double p, double *q)
{
    const enum stats_status s = check(x, n, 1);
    if (s != STATS_OK) return s;
    if (!(p >= 0.0 && p <= 1.0)) return STATS_REFUSED;
    double *sorted = sorted_copy(x, n);
    if (sorted == NULL) return STATS_NOMEM;
    *q = stats_quantile_sorted(sorted, n, p);
    free(sorted);
    return STATS_OK;
}

enum stats_status stats_median(const double *x, int n, double *median)
{
    const enum stats_status s = check(x, n, 1);
    if (s != STATS_OK) return s;
    double *copy = malloc((size_t)n * sizeof *copy);
    if (copy == NULL) return STATS_NOMEM;
    memcpy(copy, x, (size_t)n * sizeof *copy);
    *median = stats_median_in_place(copy, n);
    free(copy);
    return STATS_OK;
}

double stats_median_in_place(double *x, int n)
{
    return gsl_stats_median(x, 1, (size_t)n);
}

enum stats_status stats_mad(const double *x, int n, double *mad)
{
    double median;
    const enum stats_status s = stats_median(x, n, &median);
    if (s != STATS_OK) return s;
    double *deviation = malloc((size_t)n * sizeof *deviation);
    if (deviation == NULL) return STATS_NOMEM;
    for (int i = 0; i < n; i++)
        deviation[i] = fabs(x[i] - median);
    *mad = stats_median_in_place(deviation, n);
    free(deviation);
    return STATS_OK;
}

enum stats_status stats_median_ranks(int n, double level, int *l, double *coverage)
{
    if (!proper(level)) return STATS_REFUSED;
    int rank = 0;
    while (rank + 1 <= n / 2 && 2.0 * gsl_cdf_binomial_P((unsigned)rank, 0.5, (unsigned)n) <= 1.0 - level)
        rank++;
    if (rank == 0) return STATS_FEW;
    *l = rank;
    *coverage = 1.0 - 2.0 * gsl_cdf_binomial_P((unsigned)rank - 1, 0.5, (unsigned)n);
    return STATS_OK;
}

enum stats_status stats_median_interval(const double *x, int n, double level, struct stats_interval *ci)
{
    int l;
    double coverage;
    enum stats_status s = check(x, n, 1);
    if (s == STATS_OK) s = stats_median_ranks(n, level, &l, &coverage);
    if (s != STATS_OK) return s;
    double *sorted = sorted_copy(x, n);
    if (sorted == NULL) return STATS_NOMEM;
    *ci = (struct stats_interval){sorted[l - 1], sorted[n - l]};
    free(sorted);
    return STATS_OK;
}

double stats_normal_quantile(double p)
{
    return gsl_cdf_ugaussian_Pinv(p);
}

double stats_t_quantile(double p, double df)
{
    return gsl_cdf_tdist_Pinv(p, df);
}

enum stats_status stats_t_interval(const double *x, int n, double level, struct stats_interval *ci)
{
    const enum stats_status s = check(x, n, 2);
    if (s != STATS_OK) return s;
    if (!proper(level)) return STATS_REFUSED;
    const double mean = gsl_stats_mean(x, 1, (size_t)n);
    const double se = sqrt(gsl_stats_variance_m(x, 1, (size_t)n, mean) / n);
    const double half = stats_t_quantile(0.5 + level / 2.0, n - 1) * se;
    *ci = (struct stats_interval){mean - half, mean + half};
    return STATS_OK;
}

double stats_hypergeometric_tail(unsigned k, unsigned marked, unsigned others, unsigned drawn)
{
    return k == 0 ? 1.0 : gsl_cdf_hypergeometric_Q(k - 1, marked, others, drawn);
}

enum stats_status stats_outliers(const double *x, int n, bool *label, int *count)
{
    double median, mad;
    enum stats_status s = stats_median(x, n, &median);
    if (s == STATS_OK) s = stats_mad(x, n, &mad);
    if (s != STATS_OK) return s;
    *count = 0;
    for (int i = 0; i < n; i++) {
        const bool out = 0.6745 * fabs(x[i] - median) > 3.5 * mad;
        *count += out;
        if (label != NULL) label[i] = out;
    }
    return STATS_OK;
}

/* Bias-corrected skewness G1 and excess kurtosis G2 into the coefficient. */
static double bimodality_coefficient(const double *x, int n)
{
    const double mean = gsl_stats_mean(x, 1, (size_t)n);
    double m2 = 0.0, m3 = 0.0, m4 = 0.0;
    for (int i = 0; i < n; i++) {
        const double d = x[i] - mean;
        m2 += d * d;
        m3 += d * d * d;
        m4 += d * d * d * d;
    }
    m2 /= n;
    m3 /= n;
    m4 /= n;
    const double k = n;
    const double skew = sqrt(k * (k - 1)) / (k - 2) * m3 / pow(m2, 1.5);
    const double kurtosis = (k - 1) / ((k - 2) * (k - 3)) * ((k + 1) * (m4 / (m2 * m2) - 3.0) + 6.0);
    return (skew * skew + 1.0) / (kurtosis + 3.0 * (k - 1) * (k - 1) / ((k - 2) * (k - 3)));
}

enum stats_status stats_bimodality(const double *x, int n, struct stats_modes *out)
{
    struct stats_modes m = {0};
    const enum stats_status s = check(x, n, 10);
    if (s != STATS_OK) return s;
    double *sorted = sorted_copy(x, n);
    if (sorted == NULL) return STATS_NOMEM;
    if (sorted[0] == sorted[n - 1]) {
        free(sorted);
        return STATS_FLAT;
    }
    m.coefficient = bimodality_coefficient(x, n);
    if (!isfinite(m.coefficient)) { /* fourth powers out of range */
        free(sorted);
        return STATS_REFUSED;
    }
    const int tail = n / 20;
    m.nlow = tail + 1;
    for (int i = tail; i + 1 < n - tail; i++) {
        if (sorted[i + 1] - sorted[i] <= m.gap) continue;
        m.gap = sorted[i + 1] - sorted[i];
        m.nlow = i + 1;
    }
    m.nhigh = n - m.nlow;
    m.low = stats_quantile_sorted(sorted, m.nlow, 0.5);
    m.high = stats_quantile_sorted(sorted + m.nlow, m.nhigh, 0.5);
    for (int i = 0; i < n; i++)
        sorted[i] = fabs(sorted[i] - (i < m.nlow ? m.low : m.high));
    m.mad = stats_median_in_place(sorted, n);
    m.bimodal = m.coefficient > 5.0 / 9.0 && m.gap > 4.0 * m.mad;
    free(sorted);
    *out = m;
    return STATS_OK;
}

enum stats_status stats_theil_sen(const double *t, const double *y, int n, double *slope)
{
    enum stats_status s = check(t, n, 2);
    if (s == STATS_OK) s = check(y, n, 2);
    if (s != STATS_OK) return s;
    if (n > 2000) return STATS_REFUSED;
    double *slopes = malloc((size_t)n * (size_t)(n - 1) / 2 * sizeof *slopes);
    if (slopes == NULL) return STATS_NOMEM;
    int k = 0;
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++)
            if (t[i] != t[j]) slopes[k++] = (y[j] - y[i]) / (t[j] - t[i]);
    const double middle = k > 0 ? stats_median_in_place(slopes, k) : 0.0;
    free(slopes);
    if (k == 0) return STATS_FLAT;
    if (!isfinite(middle)) return STATS_REFUSED; /* times too close to divide by */
    *slope = middle;
    return STATS_OK;
}

/* ---- dependence ---- */

/* Autocovariance at lag k, dividing by n (which keeps the sequence positive definite). */
static double autocovariance(const double *x, int n, double mean, int k)
{
    double sum = 0.0;
    for (int i = k; i < n; i++)
        sum += (x[i] - mean) * (x[i - k] - mean);
    return sum / n;
}

enum stats_status stats_autocorrelation(const double *x, int n, int k, double *rho)
{
    const enum stats_status s = check(x, n, 2);
    if (s != STATS_OK) return s;
    if (k < 1 || k >= n) return STATS_REFUSED;
    const double mean = gsl_stats_mean(x, 1, (size_t)n);
    const double g0 = autocovariance(x, n, mean, 0);
    if (g0 <= 0.0) return STATS_FLAT;
    *rho = autocovariance(x, n, mean, k) / g0;
    return STATS_OK;
}

enum stats_status stats_ess(const double *x, int n, double *tau, double *ess)
{
    const enum stats_status s = check(x, n, 4);
    if (s != STATS_OK) return s;
    const double mean = gsl_stats_mean(x, 1, (size_t)n);
    const double g0 = autocovariance(x, n, mean, 0);
    if (g0 <= 0.0) return STATS_FLAT;
    double sum = 0.0, least = INFINITY;
    for (int k = 0; k + 1 < n; k += 2) {
        const double pair = autocovariance(x, n, mean, k) + autocovariance(x, n, mean, k + 1);
        if (pair <= 0.0) break;
        least = fmin(least, pair);
        sum += least;
    }
    *tau = fmax(1.0, 2.0 * sum / g0 - 1.0);
    *ess = n / *tau;
    return STATS_OK;
}

/* |cross product at lag k| over the norms of the two overlapping stretches: in [0, 1] also at long lags. */
static double overlap_correlation(const double *x, int n, double mean, int k)
{
    double cross = 0.0, head = 0.0, tail = 0.0;
    for (int i = k; i < n; i++) {
        cross += (x[i] - mean) * (x[i - k] - mean);
        head += (x[i - k] - mean) * (x[i - k] - mean);
        tail += (x[i] - mean) * (x[i] - mean);
    }
    return head > 0.0 && tail > 0.0 ? fabs(cross) / sqrt(head * tail) : 0.0;
}

/* The first of `run` insignificant lags in a row, which is how Patton's code and the packages after it read the rule "after
 * the last significant lag"; the largest lag looked at when there is no such run. */
static int first_quiet_lag(const double *x, int n, double mean, int run, int max_lag)
{
    const double bound = 2.0 * sqrt(log10(n) / n);
    int quiet = 0;
    for (int k = 1; k <= max_lag && k < n; k++) {
        quiet = overlap_correlation(x, n, mean, k) < bound ? quiet + 1 : 0;
        if (quiet == run) return k - run + 1;
    }
    return max_lag;
}

enum stats_status stats_block_length(const double *x, int n, double *length)
{
    const enum stats_status s = check(x, n, 10);
    if (s != STATS_OK) return s;
    const double mean = gsl_stats_mean(x, 1, (size_t)n);
    const double r0 = autocovariance(x, n, mean, 0);
    if (r0 <= 0.0) return STATS_FLAT;
    const int run = (int)fmax(5.0, log10(n));
    const int max_lag = (int)ceil(sqrt(n)) + run;
    int m = 2 * first_quiet_lag(x, n, mean, run, max_lag);
    if (m < 2) m = 2;
    if (m > max_lag) m = max_lag;
    double g = 0.0, spectrum = r0;
    for (int k = 1; k <= m && k < n; k++) {
        const double t = (double)k / m;
        const double window = t <= 0.5 ? 1.0 : 2.0 * (1.0 - t);
        const double r = autocovariance(x, n, mean, k);
        g += 2.0 * window * k * r;
        spectrum += 2.0 * window * r;
    }
    const double cap = ceil(fmin(3.0 * sqrt(n), n / 3.0));
    const double b = cbrt(g * g / (spectrum * spectrum)) * cbrt(n);
    *length = isfinite(b) ? fmax(1.0, fmin(b, cap)) : cap;
    return STATS_OK;
}

enum stats_status stats_anytime_half_width(double sd, int n, double alpha, double n_star, double *half_width)
{
    if (n < 1) return STATS_FEW;
    if (!isfinite(sd) || !isfinite(n_star)) return STATS_NONFINITE;
    if (sd < 0.0 || !proper(alpha) || !(n_star > 0.0)) return STATS_REFUSED;
    const double u = -2.0 * log(alpha);
    if (u + log(u) + 1.0 <= 0.0) return STATS_REFUSED;
    const double r2 = (u + log(u) + 1.0) / n_star;
    const double k = n * r2 + 1.0;
    *half_width = sd * sqrt(2.0 * k / ((double)n * n * r2) * log(sqrt(k) / alpha));
    return STATS_OK;
}

/* ---- two samples ---- */

enum stats_status stats_welch(const double *x1, int n1, const double *x2, int n2, double level, struct stats_welch *out)
{
    enum stats_status s = check(x1, n1, 2);
    if (s == STATS_OK) s = check(x2, n2, 2);
    if (s != STATS_OK) return s;
    if (!proper(level)) return STATS_REFUSED;
    const double v1 = gsl_stats_variance(x1, 1, (size_t)n1) / n1;
    const double v2 = gsl_stats_variance(x2, 1, (size_t)n2) / n2;
    if (v1 + v2 <= 0.0) return STATS_FLAT;
    struct stats_welch w;
    w.difference = gsl_stats_mean(x1, 1, (size_t)n1) - gsl_stats_mean(x2, 1, (size_t)n2);
    w.t = w.difference / sqrt(v1 + v2);
    w.df = (v1 + v2) * (v1 + v2) / (v1 * v1 / (n1 - 1) + v2 * v2 / (n2 - 1));
    if (!isfinite(w.t) || !isfinite(w.df)) return STATS_REFUSED; /* variances too small to be squared */
    w.p = 2.0 * gsl_cdf_tdist_Q(fabs(w.t), w.df);
    const double half = stats_t_quantile(0.5 + level / 2.0, w.df) * sqrt(v1 + v2);
    w.ci = (struct stats_interval){w.difference - half, w.difference + half};
    *out = w;
    return STATS_OK;
}

/* Sum of the mid-ranks of x1 in the joint sample, and sum of t^3 - t over the groups of ties. */
static enum stats_status joint_ranks(const double *x1, int n1, const double *x2, int n2, double *ranks1, double *ties)
{
    const int n = n1 + n2;
    double *all = malloc((size_t)n * sizeof *all);
    size_t *order = malloc((size_t)n * sizeof *order);
    const enum stats_status s = all == NULL || order == NULL ? STATS_NOMEM : STATS_OK;
    if (s == STATS_OK) {
        memcpy(all, x1, (size_t)n1 * sizeof *all);
        memcpy(all + n1, x2, (size_t)n2 * sizeof *all);
        gsl_sort_index(order, all, 1, (size_t)n);
        *ranks1 = *ties = 0.0;
        for (int i = 0, j; i < n; i = j) {
            for (j = i + 1; j < n && all[order[j]] == all[order[i]];)
                j++;
            const double tied = j - i, rank = (i + 1 + j) / 2.0;
            *ties += tied * tied * tied - tied;
            for (int k = i; k < j; k++)
                if (order[k] < (size_t)n1) *ranks1 += rank;
        }
    }
    free(all);
    free(order);
    return s;
}

enum stats_status stats_mann_whitney(const double *x1, int n1, const double *x2, int n2, struct stats_mann_whitney *out)
{
    double ranks1, ties;
    enum stats_status s = check(x1, n1, 1);
    if (s == STATS_OK) s = check(x2, n2, 1);
    if (s == STATS_OK) s = joint_ranks(x1, n1, x2, n2, &ranks1, &ties);
    if (s != STATS_OK) return s;
    const double pairs = (double)n1 * n2, n = (double)n1 + n2;
    struct stats_mann_whitney w = {.u = ranks1 - n1 * (n1 + 1.0) / 2.0, .z = 0.0, .p = 1.0};
    w.cliff = 2.0 * w.u / pairs - 1.0;
    const double variance = pairs / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)));
    const double distance = fmax(0.0, fabs(w.u - pairs / 2.0) - 0.5);
    if (variance > 0.0) {
        w.z = copysign(distance / sqrt(variance), w.u - pairs / 2.0);
        w.p = 2.0 * gsl_cdf_ugaussian_Q(fabs(w.z));
    }
    *out = w;
    return STATS_OK;
}

static enum stats_status check_p(const double *p, int n, size_t **order)
{
    const enum stats_status s = check(p, n, 1);
    if (s != STATS_OK) return s;
    for (int i = 0; i < n; i++)
        if (p[i] < 0.0 || p[i] > 1.0) return STATS_REFUSED;
    *order = malloc((size_t)n * sizeof **order);
    if (*order == NULL) return STATS_NOMEM;
    gsl_sort_index(*order, p, 1, (size_t)n);
    return STATS_OK;
}

enum stats_status stats_holm(const double *p, int n, double *adjusted)
{
    size_t *order;
    const enum stats_status s = check_p(p, n, &order);
    if (s != STATS_OK) return s;
    double running = 0.0;
    for (int i = 0; i < n; i++) {
        running = fmax(running, fmin(1.0, (n - i) * p[order[i]]));
        adjusted[order[i]] = running;
    }
    free(order);
    return STATS_OK;
}

enum stats_status stats_benjamini_hochberg(const double *p, int n, double *adjusted)
{
    size_t *order;
    const enum stats_status s = check_p(p, n, &order);
    if (s != STATS_OK) return s;
    double running = 1.0;
    for (int i = n - 1; i >= 0; i--) {
        running = fmin(running, p[order[i]] * n / (i + 1.0));
        adjusted[order[i]] = running;
    }
    free(order);
    return STATS_OK;
}
