/* stats_smd.c - standardised mean differences: d, Hedges' g, their variances, and intervals by the noncentral t.
 *
 * GSL has no noncentral t. T = (Z + ncp) / S with S^2 = chi^2/df, so P(T <= t) is the mean of Phi(t S - ncp) over S. In
 * y = ln S the density exp(df y - df e^(2y)/2) vanishes at both ends with all its derivatives, where the trapezoidal rule
 * converges faster than any power of its step: no quadrature library is needed. */
#include "stats.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>

double stats_hedges_j(double m)
{
    return exp(lgamma(m / 2.0) - lgamma((m - 1.0) / 2.0)) / sqrt(m / 2.0);
}

double stats_noncentral_t_cdf(double t, double df, double ncp)
{
    /* Outside [low, high] the density is below 1e-18 of its peak. */
    const double low = -(6.5 / sqrt(df) + 43.0 / df), high = 6.5 / sqrt(df);
    /* The step resolves the density (width 1/sqrt(2 df)) and Phi's rise (width 1/|t|); 0.15 because exp(-e^(2y)) is
     * bounded only within pi/4 of the real line. */
    const double step = fmin(0.15, fmin(0.3 / sqrt(df), 0.5 / fmax(1.0, fabs(t))));
    const double scale = log(2.0) + df / 2.0 * log(df / 2.0) - lgamma(df / 2.0);
    const int n = (int)ceil((high - low) / step);
    const double h = (high - low) / n;
    double sum = 0.0;
    for (int i = 0; i <= n; i++) {
        const double y = low + i * h, s = exp(y);
        sum += exp(scale + df * y - df / 2.0 * s * s) * gsl_cdf_ugaussian_P(t * s - ncp);
    }
    return fmin(1.0, sum * h);
}

/* The noncentrality at which P(T <= t) = p: it falls as the noncentrality grows. */
static double noncentrality_at(double t, double df, double p)
{
    double reach = 8.0 + fabs(t);
    double low = t - reach, high = t + reach;
    while (stats_noncentral_t_cdf(t, df, low) < p && reach < 1e8)
        low = t - (reach *= 2.0);
    while (stats_noncentral_t_cdf(t, df, high) > p && reach < 1e8)
        high = t + (reach *= 2.0);
    for (int i = 0; i < 100 && high - low > 1e-12 * (1.0 + fabs(t)); i++) {
        const double middle = 0.5 * (low + high);
        if (stats_noncentral_t_cdf(t, df, middle) > p)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

enum stats_status stats_noncentral_t_interval(double t, double df, double level, struct stats_interval *ncp)
{
    if (!isfinite(t) || !isfinite(df)) return STATS_NONFINITE;
    if (!(df >= 1.0) || !(level > 0.0 && level < 1.0) || fabs(t) > 1e6) return STATS_REFUSED;
    *ncp =
        (struct stats_interval){noncentrality_at(t, df, 0.5 + level / 2.0), noncentrality_at(t, df, 0.5 - level / 2.0)};
    return STATS_OK;
}

enum stats_status stats_smd(double mean1, double sd1, int n1, double mean2, double sd2, int n2, double level,
                            struct stats_smd *out)
{
    if (n1 < 2 || n2 < 2 || n1 + n2 < 5) return STATS_FEW;
    if (!isfinite(mean1) || !isfinite(mean2) || !isfinite(sd1) || !isfinite(sd2)) return STATS_NONFINITE;
    if (sd1 < 0.0 || sd2 < 0.0) return STATS_REFUSED;
    struct stats_smd m = {.df = n1 + n2 - 2.0};
    m.s = sqrt(((n1 - 1) * sd1 * sd1 + (n2 - 1) * sd2 * sd2) / m.df);
    if (m.s <= 0.0) return STATS_FLAT;
    const double n = (double)n1 + n2, h = (double)n1 * n2 / n, j = stats_hedges_j(m.df);
    m.d = (mean1 - mean2) / m.s;
    if (!isfinite(m.d * m.d)) return STATS_REFUSED;
    m.g = j * m.d;
    m.v_d = 1.0 / h + m.d * m.d / (2.0 * n);
    m.v_g = j * j * m.v_d;
    m.v_g_ls = 1.0 / h + m.g * m.g / (2.0 * n);
    m.v_g_exact = j * j * m.df / (m.df - 2.0) * (1.0 / h + m.g * m.g) - m.g * m.g;
    struct stats_interval ncp;
    const enum stats_status s = stats_noncentral_t_interval(m.d * sqrt(h), m.df, level, &ncp);
    if (s != STATS_OK) return s;
    m.d_ci = (struct stats_interval){ncp.low / sqrt(h), ncp.high / sqrt(h)};
    m.g_ci = (struct stats_interval){j * m.d_ci.low, j * m.d_ci.high};
    *out = m;
    return STATS_OK;
}

enum stats_status stats_smd_of(const double *x1, int n1, const double *x2, int n2, double level, struct stats_smd *out)
{
    double mean1, mean2, v1, v2;
    enum stats_status s = stats_variance(x1, n1, &v1);
    if (s == STATS_OK) s = stats_variance(x2, n2, &v2);
    if (s == STATS_OK) s = stats_mean(x1, n1, &mean1);
    if (s == STATS_OK) s = stats_mean(x2, n2, &mean2);
    return s == STATS_OK ? stats_smd(mean1, sqrt(v1), n1, mean2, sqrt(v2), n2, level, out) : s;
}

enum stats_status stats_paired_d(double mean_diff, double sd_diff, double r, double *s_within, double *d)
{
    if (!isfinite(mean_diff) || !isfinite(sd_diff) || !isfinite(r)) return STATS_NONFINITE;
    if (sd_diff < 0.0 || r < -1.0 || r >= 1.0) return STATS_REFUSED;
    if (sd_diff <= 0.0) return STATS_FLAT;
    *s_within = sd_diff / sqrt(2.0 * (1.0 - r));
    *d = mean_diff / *s_within;
    return STATS_OK;
}
