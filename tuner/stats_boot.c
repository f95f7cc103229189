/* stats_boot.c - the bootstrap: resample units, recompute, sort.
 *
 * A resample is a list of unit numbers, so one loop serves any statistic: rows of a table, pairs, whole sessions. The
 * jackknife uses the same lists with one unit left out. Replicates that are not finite are drawn again, at most 10 b times in
 * all, so that what is sorted is always finite. */
#include "stats.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>

void stats_boot_free(struct stats_boot *boot)
{
    if (boot == NULL) return;
    free(boot->value);
    free(boot->t);
    *boot = (struct stats_boot){0};
}

static void draw(int *index, int n, struct rng *r)
{
    for (int i = 0; i < n; i++)
        index[i] = (int)rng_below(r, (uint64_t)n);
}

static void identity(int *index, int n)
{
    for (int i = 0; i < n; i++)
        index[i] = i;
}

static void all_but(int *index, int n, int left_out)
{
    for (int i = 0, k = 0; i < n; i++)
        if (i != left_out) index[k++] = i;
}

/* Both kinds of statistic behind one call: n2 = 0 for one sample. */
struct job {
    stats_statistic *one;
    stats_statistic2 *two;
    const void *ctx;
    int n[2];
    int *index[2];
};

static double evaluate(const struct job *j, int n1, int n2)
{
    return j->one != NULL ? j->one(j->ctx, j->index[0], n1) : j->two(j->ctx, j->index[0], n1, j->index[1], n2);
}

/* Sums of U^2/n^2 and U^3/n^3 over the units of one sample, the other sample kept whole. */
static bool jackknife(const struct job *j, int sample, double *leave_one, double *square, double *cube)
{
    const int n = j->n[sample];
    const int other = 1 - sample;
    if (j->n[other] > 0) identity(j->index[other], j->n[other]);
    for (int i = 0; i < n; i++) {
        all_but(j->index[sample], n, i);
        leave_one[i] = evaluate(j, j->n[0] - (sample == 0), j->n[1] - (sample == 1));
        if (!isfinite(leave_one[i])) return false;
    }
    const double mean = gsl_stats_mean(leave_one, 1, (size_t)n);
    for (int i = 0; i < n; i++) {
        const double u = (n - 1.0) * (mean - leave_one[i]) / n;
        *square += u * u;
        *cube += u * u * u;
    }
    return true;
}

/* For one sample the factors n cancel and this is the usual sum d^3 / (6 (sum d^2)^1.5). */
static void accelerate(struct stats_boot *boot, const struct job *j, double *leave_one)
{
    double square = 0.0, cube = 0.0;
    boot->a_known = jackknife(j, 0, leave_one, &square, &cube);
    if (boot->a_known && j->n[1] > 0) boot->a_known = jackknife(j, 1, leave_one, &square, &cube);
    boot->a = boot->a_known && square > 0.0 ? cube / (6.0 * pow(square, 1.5)) : 0.0;
}

static bool replicate(struct stats_boot *boot, const struct job *j, struct rng *r)
{
    long spare = 10L * boot->b;
    for (int k = 0; k < boot->b;) {
        draw(j->index[0], j->n[0], r);
        if (j->n[1] > 0) draw(j->index[1], j->n[1], r);
        boot->value[k] = evaluate(j, j->n[0], j->n[1]);
        if (isfinite(boot->value[k]))
            k++;
        else if (spare-- == 0)
            return false;
    }
    gsl_sort(boot->value, 1, (size_t)boot->b);
    return true;
}

static enum stats_status run(struct stats_boot *out, struct job *j, int b, struct rng *r)
{
    const int n_max = j->n[0] > j->n[1] ? j->n[0] : j->n[1];
    struct stats_boot boot = {.b = b};
    enum stats_status s = STATS_NOMEM;
    double *leave_one = malloc((size_t)n_max * sizeof *leave_one);
    j->index[0] = malloc((size_t)j->n[0] * sizeof *j->index[0]);
    j->index[1] = malloc((size_t)(j->n[1] + 1) * sizeof *j->index[1]);
    boot.value = malloc((size_t)b * sizeof *boot.value);
    if (leave_one == NULL || j->index[0] == NULL || j->index[1] == NULL || boot.value == NULL) goto out;
    s = STATS_REFUSED;
    identity(j->index[0], j->n[0]);
    identity(j->index[1], j->n[1]);
    boot.theta = evaluate(j, j->n[0], j->n[1]);
    if (!isfinite(boot.theta) || !replicate(&boot, j, r)) goto out;
    accelerate(&boot, j, leave_one);
    *out = boot;
    boot.value = NULL;
    s = STATS_OK;
out:
    free(leave_one);
    free(j->index[0]);
    free(j->index[1]);
    free(boot.value);
    return s;
}

enum stats_status stats_boot(struct stats_boot *out, stats_statistic *f, const void *ctx, int n, int b, struct rng *r)
{
    if (n < 2) return STATS_FEW;
    if (b < 99) return STATS_REFUSED;
    struct job j = {.one = f, .ctx = ctx, .n = {n, 0}};
    return run(out, &j, b, r);
}

enum stats_status stats_boot_two(struct stats_boot *out, stats_statistic2 *f, const void *ctx, int n1, int n2, int b,
                                 struct rng *r)
{
    if (n1 < 2 || n2 < 2) return STATS_FEW;
    if (b < 99) return STATS_REFUSED;
    struct job j = {.two = f, .ctx = ctx, .n = {n1, n2}};
    return run(out, &j, b, r);
}

/* One resample's mean and standard error, from deviations d = x - mean(x): small numbers, so one pass is exact enough. */
static void resample_mean(const double *d, int n, struct rng *r, double *mean, double *se)
{
    double sum = 0.0, square = 0.0;
    for (int i = 0; i < n; i++) {
        const double v = d[rng_below(r, (uint64_t)n)];
        sum += v;
        square += v * v;
    }
    *mean = sum / n;
    *se = sqrt(fmax(0.0, square - sum * *mean) / (n - 1.0) / n);
}

static enum stats_status replicate_mean(struct stats_boot *boot, const double *d, int n, struct rng *r)
{
    long spare = 10L * boot->b;
    const double nothing = 1e-7 * boot->se; /* rounding of a resample that is one unit n times */
    for (int k = 0; k < boot->b;) {
        double mean, se;
        resample_mean(d, n, r, &mean, &se);
        if (se <= nothing) {
            if (spare-- == 0) return STATS_REFUSED;
            continue;
        }
        boot->value[k] = boot->theta + mean;
        boot->t[k++] = mean / se;
    }
    gsl_sort(boot->value, 1, (size_t)boot->b);
    gsl_sort(boot->t, 1, (size_t)boot->b);
    return STATS_OK;
}

enum stats_status stats_boot_mean(struct stats_boot *out, const double *x, int n, int b, struct rng *r)
{
    struct stats_boot boot = {.b = b};
    double variance, *d = NULL;
    enum stats_status s = stats_variance(x, n, &variance);
    if (s != STATS_OK) return s;
    if (b < 99) return STATS_REFUSED;
    if (variance <= 0.0) return STATS_FLAT;
    boot.theta = gsl_stats_mean(x, 1, (size_t)n);
    boot.se = sqrt(variance / n);
    s = STATS_NOMEM;
    boot.value = malloc((size_t)b * sizeof *boot.value);
    boot.t = malloc((size_t)b * sizeof *boot.t);
    d = malloc((size_t)n * sizeof *d);
    if (boot.value == NULL || boot.t == NULL || d == NULL) goto out;
    double square = 0.0, cube = 0.0;
    for (int i = 0; i < n; i++) {
        d[i] = x[i] - boot.theta;
        square += d[i] * d[i];
        cube += d[i] * d[i] * d[i];
    }
    boot.a = cube / (6.0 * pow(square, 1.5)); /* leaving x_i out moves the mean by -d_i/(n-1) */
    boot.a_known = true;
    s = replicate_mean(&boot, d, n, r);
    if (s != STATS_OK) goto out;
    *out = boot;
    boot = (struct stats_boot){0};
out:
    free(d);
    stats_boot_free(&boot);
    return s;
}

/* ---- intervals ---- */

double stats_boot_quantile(const double *sorted, int b, double p)
{
    const double rank = (b + 1.0) * p;
    if (rank <= 1.0) return sorted[0];
    if (rank >= b) return sorted[b - 1];
    const int below = (int)rank;
    const double part = rank - below;
    return sorted[below - 1] + part * (sorted[below] - sorted[below - 1]);
}

static struct stats_interval between(const struct stats_boot *boot, double p_low, double p_high)
{
    return (struct stats_interval){stats_boot_quantile(boot->value, boot->b, p_low),
                                   stats_boot_quantile(boot->value, boot->b, p_high)};
}

static bool usable(const struct stats_boot *boot, double level)
{
    return boot->b > 0 && level > 0.0 && level < 1.0;
}

enum stats_status stats_boot_percentile(const struct stats_boot *boot, double level, struct stats_interval *ci)
{
    if (!usable(boot, level)) return STATS_REFUSED;
    *ci = between(boot, 0.5 - level / 2.0, 0.5 + level / 2.0);
    return STATS_OK;
}

enum stats_status stats_boot_basic(const struct stats_boot *boot, double level, struct stats_interval *ci)
{
    if (!usable(boot, level)) return STATS_REFUSED;
    const struct stats_interval p = between(boot, 0.5 - level / 2.0, 0.5 + level / 2.0);
    *ci = (struct stats_interval){2.0 * boot->theta - p.high, 2.0 * boot->theta - p.low};
    return STATS_OK;
}

enum stats_status stats_boot_z0(const struct stats_boot *boot, double *z0)
{
    double below = 0.0;
    if (boot->b == 0) return STATS_REFUSED;
    const double rounding = 1e-12 * (boot->value[boot->b - 1] - boot->value[0]);
    for (int k = 0; k < boot->b && boot->value[k] <= boot->theta + rounding; k++)
        below += boot->value[k] < boot->theta - rounding ? 1.0 : 0.5;
    if (below <= 0.0 || below >= boot->b) return STATS_REFUSED;
    *z0 = gsl_cdf_ugaussian_Pinv(below / boot->b);
    return STATS_OK;
}

enum stats_status stats_boot_bca(const struct stats_boot *boot, double level, struct stats_interval *ci)
{
    double z0, p[2];
    if (!usable(boot, level) || !boot->a_known) return STATS_REFUSED;
    const enum stats_status s = stats_boot_z0(boot, &z0);
    if (s != STATS_OK) return s;
    for (int k = 0; k < 2; k++) {
        const double z = z0 + gsl_cdf_ugaussian_Pinv(k == 0 ? 0.5 - level / 2.0 : 0.5 + level / 2.0);
        if (1.0 - boot->a * z <= 0.0) return STATS_REFUSED;
        p[k] = gsl_cdf_ugaussian_P(z0 + z / (1.0 - boot->a * z));
    }
    *ci = between(boot, p[0], p[1]);
    return STATS_OK;
}

enum stats_status stats_boot_t_bound(const struct stats_boot *boot, double alpha, double *bound)
{
    if (boot->t == NULL || !(alpha > 0.0 && alpha < 1.0)) return STATS_REFUSED;
    const double tail = fmin(alpha, 1.0 - alpha) * (boot->b + 1.0);
    if (tail < 1.0 - 1e-9) return STATS_REFUSED;
    *bound = boot->theta - stats_boot_quantile(boot->t, boot->b, alpha) * boot->se;
    return STATS_OK;
}

enum stats_status stats_boot_t(const struct stats_boot *boot, double level, struct stats_interval *ci)
{
    struct stats_interval c;
    enum stats_status s = stats_boot_t_bound(boot, 0.5 + level / 2.0, &c.low);
    if (s == STATS_OK) s = stats_boot_t_bound(boot, 0.5 - level / 2.0, &c.high);
    if (s == STATS_OK) *ci = c;
    return s;
}
