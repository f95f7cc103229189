/* stats.h - pure statistics: the only user of GSL's statistics. No clock, no file, no global, no randomness but the stream
 * handed in.
 *
 * Shapes: `x, n` is n doubles in any unit; results carry the same unit unless a line says otherwise. `level` is a two-sided
 * confidence level (0.95), `alpha` an error probability. Inputs are never changed.
 *
 * Every function that can be undefined returns a status and writes its outputs only with STATS_OK, so that no NaN or
 * infinity reaches a report: an empty or too small sample is STATS_FEW, a NaN, an infinity or a size beyond STATS_LARGEST in the
 * input STATS_NONFINITE, no spread where the formula divides by one STATS_FLAT, a parameter out of its range, a result
 * that would overflow or a bootstrap that cannot answer STATS_REFUSED. A finite result of a flat sample is given, not
 * refused (its variance is 0, its interval a point). */
#ifndef STATS_H
#define STATS_H

#include <stdbool.h>

#include "rng.h"

/* The largest value in a sample: beyond it squares and their sums could overflow. */
#define STATS_LARGEST 1e100

/* X(name, why there is no number) */
#define STATS_STATUSES(X)                                                                                              \
    X(OK, "ok")                                                                                                        \
    X(FEW, "too few values")                                                                                           \
    X(FLAT, "the values do not vary")                                                                                  \
    X(NONFINITE, "a value is not finite, or too large")                                                                \
    X(REFUSED, "not defined for these values")                                                                         \
    X(NOMEM, "out of memory")
enum stats_status {
#define X(name, text) STATS_##name,
    STATS_STATUSES(X)
#undef X
};
const char *stats_status_text(enum stats_status s);

struct stats_interval {
    double low, high;
};

/* ---- one sample ---- */

enum stats_status stats_mean(const double *x, int n, double *mean); /* n >= 1 */
/* Unbiased, two-pass (Chan, Golub & LeVeque 1983). n >= 2. */
enum stats_status stats_variance(const double *x, int n, double *variance);
/* Hyndman & Fan's (1996) type 7 (GSL's, R's default), 0 <= p <= 1. n >= 1. */
enum stats_status stats_quantile(const double *x, int n, double p, double *q);
double stats_quantile_sorted(const double *sorted, int n, double p); /* the same on ascending finite values, n >= 1 */
enum stats_status stats_median(const double *x, int n, double *median);
/* The same of finite values, n >= 1, which it puts into another order: allocates nothing and cannot fail. */
double stats_median_in_place(double *x, int n);
/* Median of |x - median|, unscaled (Hampel 1974). */
enum stats_status stats_mad(const double *x, int n, double *mad);

/* Ranks (l, n+1-l), from 1, of a distribution-free interval for the median: the largest l with
 * 2 P(Bin(n,1/2) <= l-1) <= 1-level (Thompson 1936; David & Nagaraja 2003, 7.1). *coverage is the exact one. STATS_FEW when no l >= 1 reaches the level (n < 6 at 95%). */
enum stats_status stats_median_ranks(int n, double level, int *l, double *coverage);
enum stats_status stats_median_interval(const double *x, int n, double level, struct stats_interval *ci);
/* Student's t for the mean (Student 1908). n >= 2; a flat sample gives a point. */
enum stats_status stats_t_interval(const double *x, int n, double level, struct stats_interval *ci);
double stats_normal_quantile(double p); /* 0 < p < 1 */
/* Quantile of Student's t, df > 0, 0 < p < 1. */
double stats_t_quantile(double p, double df);
/* P(at least k marked among `drawn` drawn without replacement from marked + others), drawn at most all: Fisher's exact test, one-sided. */
double stats_hypergeometric_tail(unsigned k, unsigned marked, unsigned others, unsigned drawn);

/* label[i] (may be NULL) tells |0.6745 (x-median)/MAD| > 3.5 (Iglewicz & Hoaglin 1993); *count of them. With MAD = 0 what
 * differs from the median is an outlier. n >= 1. */
enum stats_status stats_outliers(const double *x, int n, bool *label, int *count);

/* Two modes: the bimodality coefficient (G1^2 + 1) / (G2 + 3(n-1)^2/((n-2)(n-3))), G1 and G2 the bias-corrected skewness and
 * excess kurtosis, (SAS/STAT; Pfister et al. 2013) exceeds 5/9, its value for a uniform, and the largest gap among the middle 90% exceeds 4 MAD. low and high
 * are the medians on the two sides of that gap, nlow and nhigh the sizes of the sides. The MAD is about the median of a value's own
 * side: about the common median it would be half the distance of two equal modes, and no gap could reach 4 of it. n >= 10. */
struct stats_modes {
    double coefficient, gap, mad, low, high;
    int nlow, nhigh;
    bool bimodal;
};
enum stats_status stats_bimodality(const double *x, int n, struct stats_modes *out);

/* Theil (1950), Sen (1968): median of the slopes between all pairs with different t; unit of y over unit of t. n >= 2 with two different
 * t, else STATS_FLAT. O(n^2) memory: n <= 2000. */
enum stats_status stats_theil_sen(const double *t, const double *y, int n, double *slope);

/* ---- dependence ---- */

/* tau = 1 + 2 sum rho_k, truncated by Geyer's (1992) initial monotone positive sequence; autocovariances divide by n. tau is
 * never below 1: antithetic data earn no credit. ess = n/tau. n >= 4; flat: STATS_FLAT. */
enum stats_status stats_ess(const double *x, int n, double *tau, double *ess);
/* Lag-k autocorrelation, 1 <= k < n; both autocovariances divide by n (Box & Jenkins 1976). */
enum stats_status stats_autocorrelation(const double *x, int n, int k, double *rho);
/* Mean block length of the stationary bootstrap: Politis & White 2004, corrected by Patton, Politis & White 2009. Capped at
 * ceil(min(3 sqrt n, n/3)), at least 1. n >= 10. */
enum stats_status stats_block_length(const double *x, int n, double *length);
/* Half-width of Waudby-Smith et al.'s (2021) asymptotic confidence sequence after n values of standard deviation sd, tuned
 * to be tightest at n_star: valid at every look together, in practice from n = 10. */
enum stats_status stats_anytime_half_width(double sd, int n, double alpha, double n_star, double *half_width);

/* ---- standardised mean differences (stats_smd.c) ---- */

/* J(m) = Gamma(m/2) / (sqrt(m/2) Gamma((m-1)/2)), exact (Hedges 1981); m > 1 degrees of freedom. */
double stats_hedges_j(double m);

/* (mean1 - mean2) over the pooled within-group standard deviation, d, and its bias-corrected form g = J(df) d. Three
 * variances of g: Borenstein 2009 (v_g = J^2 v_d), Hedges & Olkin's large-sample form that metafor calls "LS", and the exact
 * one, J^2 m/(m-2) (1/h + delta^2) - delta^2, with g in place of delta. Intervals by inverting the noncentral t distribution; g's is d's times J. */
struct stats_smd {
    double s, df, d, g, v_d, v_g, v_g_ls, v_g_exact;
    struct stats_interval d_ci, g_ci;
};
/* n1, n2 >= 2, df = n1+n2-2 >= 3; sd >= 0, not both 0 (STATS_FLAT). */
enum stats_status stats_smd(double mean1, double sd1, int n1, double mean2, double sd2, int n2, double level,
                            struct stats_smd *out);
enum stats_status stats_smd_of(const double *x1, int n1, const double *x2, int n2, double level, struct stats_smd *out);
/* d of a paired design on the scale of the single arms: s_within = sd_diff / sqrt(2(1-r)) (Borenstein 2009). */
enum stats_status stats_paired_d(double mean_diff, double sd_diff, double r, double *s_within, double *d);
/* P(T <= t), T noncentral t with df > 0 and noncentrality ncp (Johnson, Kotz & Balakrishnan 1995, ch. 31), by quadrature. Absolute error under 1e-10. */
double stats_noncentral_t_cdf(double t, double df, double ncp);
/* All noncentralities that a two-sided test does not reject at t (Steiger & Fouladi 1997). */
enum stats_status stats_noncentral_t_interval(double t, double df, double level, struct stats_interval *ncp);

/* ---- two samples, for reports ---- */

/* Welch's (1947) unequal-variances t, Satterthwaite's df; p two-sided; difference = mean1 - mean2 with its interval. n1, n2 >= 2; both flat:
 * STATS_FLAT. */
struct stats_welch {
    double difference, t, df, p;
    struct stats_interval ci;
};
enum stats_status stats_welch(const double *x1, int n1, const double *x2, int n2, double level,
                              struct stats_welch *out);

/* Mann & Whitney (1947): u counts pairs with x1 > x2, ties one half; z by the normal approximation with tie and continuity correction (Hollander & Wolfe 1999, 4.1), p two-sided;
 * cliff = 2u/(n1 n2) - 1, in [-1, 1] (Cliff 1993). n1, n2 >= 1; all values tied: z = 0, p = 1. */
struct stats_mann_whitney {
    double u, z, p, cliff;
};
enum stats_status stats_mann_whitney(const double *x1, int n1, const double *x2, int n2,
                                     struct stats_mann_whitney *out);

/* Adjusted p-values in the order given (Holm 1979; Benjamini & Hochberg 1995). Each p in [0, 1]; n >= 1. */
enum stats_status stats_holm(const double *p, int n, double *adjusted);
enum stats_status stats_benjamini_hochberg(const double *p, int n, double *adjusted);

/* ---- bootstrap (stats_boot.c) ---- */

/* A statistic of the units index[0..n-1]; a unit may appear many times. ctx holds the data. A value that is not finite makes
 * the replicate be drawn again. */
typedef double stats_statistic(const void *ctx, const int *index, int n);
typedef double stats_statistic2(const void *ctx, const int *index1, int n1, const int *index2, int n2);

struct stats_boot {
    int b;         /* replicates, >= 99 so that (b+1)p reaches usual tails */
    double theta;  /* the statistic of the data */
    double a;      /* BCa acceleration, by jackknife over units; 0 when the jackknife does not vary */
    bool a_known;  /* false: a jackknife value was not finite, BCa is refused */
    double *value; /* b replicates, ascending; owned */
    double se;     /* stats_boot_mean only: sd/sqrt(n) */
    double *t;     /* stats_boot_mean only: b studentised replicates (mean* - mean)/se*, ascending; owned, else NULL */
};
void stats_boot_free(struct stats_boot *boot);

/* Efron 1979. n >= 2 units. STATS_REFUSED when theta is not finite or replicates keep being undefined (more redraws than 10 b). */
enum stats_status stats_boot(struct stats_boot *out, stats_statistic *f, const void *ctx, int n, int b, struct rng *r);
/* Two independent samples of n1, n2 >= 2 units: resampled apart; a = (1/6) sum_j sum_i U_ij^3/n_j^3 / (sum_j sum_i
 * U_ij^2/n_j^2)^1.5, U_ij = (n_j - 1)(mean_j - theta_(ij)) (Davison & Hinkley 1997). */
enum stats_status stats_boot_two(struct stats_boot *out, stats_statistic2 *f, const void *ctx, int n1, int n2, int b,
                                 struct rng *r);
/* The mean of x, with studentised replicates; a resample without spread is drawn again. n >= 2; a flat sample is
 * STATS_FLAT. */
enum stats_status stats_boot_mean(struct stats_boot *out, const double *x, int n, int b, struct rng *r);

/* Quantile of ascending replicates at rank (b+1)p (Davison & Hinkley 1997, 5.2), between order statistics linearly, ends clamped. */
double stats_boot_quantile(const double *sorted, int b, double p);
/* Percentile: the replicates' own quantiles; basic: reflected about theta (Davison & Hinkley 1997, 5.2, 5.3). */
enum stats_status stats_boot_percentile(const struct stats_boot *boot, double level, struct stats_interval *ci);
enum stats_status stats_boot_basic(const struct stats_boot *boot, double level, struct stats_interval *ci);
/* z0 = Phi^-1(share of replicates below theta, ties, but for rounding, one half). STATS_REFUSED when the share is 0 or 1. */
enum stats_status stats_boot_z0(const struct stats_boot *boot, double *z0);
/* Efron 1987. STATS_REFUSED when z0 is infinite, a unknown or 1 - a(z0+z) <= 0. */
enum stats_status stats_boot_bca(const struct stats_boot *boot, double level, struct stats_interval *ci);
/* Bootstrap-t (Efron 1981; Hall 1988) upper bound of the mean with one-sided error alpha: mean - t*_(alpha) se; the lower bound is alpha -> 1-alpha.
 * STATS_REFUSED without studentised replicates or with (b+1) alpha < 1. */
enum stats_status stats_boot_t_bound(const struct stats_boot *boot, double alpha, double *bound);
enum stats_status stats_boot_t(const struct stats_boot *boot, double level, struct stats_interval *ci);

#endif
