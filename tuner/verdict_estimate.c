/* verdict_estimate.c - method: what the reduced sessions say, each number with its interval; nothing here decides.
 *
 * Decision bound (one-sided alpha): the wider of Student's t and bootstrap-t, both over sessions. t alone is calibrated
 * for normal session effects, bootstrap-t for skewed ones; percentile and BCa are too narrow on a dozen sessions and are only
 * printed. */
#include <math.h>
#include <stdlib.h>

#include "stats.h"
#include "verdict_private.h"

#define DRIFT_LIMIT 0.01 /* of ln time, over a session */

static const struct verdict_interval unknown = {NAN, NAN};

static struct verdict_interval ratios(struct stats_interval ci)
{
    return (struct verdict_interval){exp(ci.low), exp(ci.high)};
}

static int describe(struct verdict *v, const struct trial *t, const struct verdict_reduced *r, struct err *e)
{
    v->sessions = r->n;
    v->quads = r->quads;
    v->quads_discarded = r->discarded;
    v->mean_a_us = v->mean_b_us = v->median_a_us = v->median_b_us = v->ratio_cycles = v->share_faster = NAN;
    if (trial_outliers(t, NULL, &v->quads_outlying, e) != 0) return -1;
    if (r->n == 0) return 0;
    (void)stats_mean(r->us[0], r->nletters, &v->mean_a_us);
    (void)stats_mean(r->us[1], r->nletters, &v->mean_b_us);
    if (stats_median(r->us[0], r->nletters, &v->median_a_us) != STATS_OK ||
        stats_median(r->us[1], r->nletters, &v->median_b_us) != STATS_OK)
        return err_nomem(e);
    if (r->clocked) v->ratio_cycles = r->cycles[1] / r->cycles[0];
    int faster = 0;
    for (int i = 0; i < r->n; i++)
        faster += r->z[i] < 0.0;
    v->share_faster = (double)faster / r->n;
    return 0;
}

/* Has A's time drifted over the session? 1, 0, or -1 when out of memory. at and x are scratch for its quads. */
static int drifts(const struct trial_session *s, double *at, double *x)
{
    int n = 0;
    double slope;
    for (int q = 0; q < s->n; q++) {
        double a[2], b[2];
        if (!trial_quad_kept(&s->quads[q])) continue;
        trial_quad_arms(&s->quads[q], a, b);
        at[n] = q;
        x[n++] = (log(a[0]) + log(a[1])) / 2.0;
    }
    if (n < 5) return 0;
    const enum stats_status status = stats_theil_sen(at, x, n, &slope);
    if (status != STATS_OK) return status == STATS_NOMEM ? -1 : 0;
    return fabs(slope) * (at[n - 1] - at[0]) > DRIFT_LIMIT;
}

static int count_drifting(struct verdict *v, const struct trial *t, struct err *e)
{
    const size_t n_max = (size_t)trial_quads(t) + 1;
    double *at = malloc(n_max * sizeof *at), *x = malloc(n_max * sizeof *x);
    int rc = at == NULL || x == NULL ? err_nomem(e) : 0;
    for (int i = 0; rc == 0 && i < t->n; i++) {
        const int d = drifts(&t->sessions[i], at, x);
        if (d < 0)
            rc = err_nomem(e);
        else
            v->sessions_drifting += d;
    }
    free(at);
    free(x);
    return rc;
}

static int find_modes(struct verdict *v, const struct verdict_reduced *r, double least_gap, struct err *e)
{
    double widest = least_gap;
    v->modes = unknown;
    v->mode_share = NAN;
    for (int k = 0; k < 2; k++) {
        struct stats_modes m;
        const enum stats_status s = stats_bimodality(r->relative[k], r->nletters, &m);
        if (s == STATS_NOMEM) return err_nomem(e);
        if (s != STATS_OK || !m.bimodal || m.gap <= widest) continue;
        widest = m.gap;
        v->bimodal = true;
        v->modes = (struct verdict_interval){exp(m.low), exp(m.high)};
        v->mode_share = (double)m.nlow / r->nletters;
    }
    return 0;
}

static void point_estimate(struct verdict *v, double z)
{
    const struct verdict_interval point = {exp(z), exp(z)};
    v->ratio_t = v->ratio_boot_t = v->ratio_percentile = v->ratio_bca = point;
    v->upper = v->lower = z;
    v->dz = fabs(z) < VERDICT_FLAT ? 0.0 : copysign(INFINITY, -z);
}

/* Intervals and decision bounds from the session values. */
static int estimate(struct verdict *v, const struct verdict_reduced *r, const struct verdict_rule *rule,
                    struct rng *rng, struct err *e)
{
    double z, variance, bound;
    struct stats_interval ci;
    struct stats_boot boot = {0};
    v->ratio = v->dz = v->lower = v->upper = NAN;
    v->ratio_t = v->ratio_boot_t = v->ratio_percentile = v->ratio_bca = unknown;
    if (stats_mean(r->z, r->n, &z) != STATS_OK) return 0;
    v->ratio = exp(z);
    if (stats_variance(r->z, r->n, &variance) != STATS_OK) return 0;
    if (sqrt(variance) < VERDICT_FLAT) {
        point_estimate(v, z);
        return 0;
    }
    const double half = stats_t_quantile(1.0 - rule->alpha, r->n - 1) * sqrt(variance / r->n);
    v->upper = z + half;
    v->lower = z - half;
    v->dz = -z / sqrt(variance);
    if (stats_t_interval(r->z, r->n, 0.95, &ci) == STATS_OK) v->ratio_t = ratios(ci);
    const int resamples =
        (rule->resamples + 1) * rule->alpha < 1.0 - 1e-9 ? (int)ceil(5.0 / rule->alpha) : rule->resamples;
    const enum stats_status s = stats_boot_mean(&boot, r->z, r->n, resamples, rng);
    if (s == STATS_NOMEM) return err_nomem(e);
    if (s == STATS_OK) {
        if (stats_boot_t(&boot, 0.95, &ci) == STATS_OK) v->ratio_boot_t = ratios(ci);
        if (stats_boot_percentile(&boot, 0.95, &ci) == STATS_OK) v->ratio_percentile = ratios(ci);
        if (stats_boot_bca(&boot, 0.95, &ci) == STATS_OK) v->ratio_bca = ratios(ci);
    }
    /* without a bootstrap bound nothing is ruled out: undecided */
    v->upper = fmax(v->upper, stats_boot_t_bound(&boot, rule->alpha, &bound) == STATS_OK ? bound : INFINITY);
    v->lower = fmin(v->lower, stats_boot_t_bound(&boot, 1.0 - rule->alpha, &bound) == STATS_OK ? bound : -INFINITY);
    stats_boot_free(&boot);
    return 0;
}

/* ---- effect size ---- */

/* Hedges' g within sessions, of the sessions listed; positive = B faster. NAN without spread (VERDICT_FLAT), and *difference is
 * then what there is. */
static double g_of(const struct verdict_reduced *r, const int *index, int n, double *difference)
{
    double sum[2] = {0.0, 0.0}, ss = 0.0, letters = 0.0, df = 0.0;
    for (int i = 0; i < n; i++) {
        const struct verdict_session *s = &r->session[index[i]];
        for (int k = 0; k < 2; k++) {
            sum[k] += s->n * s->mean[k];
            ss += s->ss[k];
        }
        letters += s->n;
        df += 2.0 * (s->n - 1);
    }
    *difference = (sum[0] - sum[1]) / letters;
    const double sd = sqrt(ss / df);
    return sd < VERDICT_FLAT ? NAN : stats_hedges_j(df) * *difference / sd;
}

static double g_statistic(const void *ctx, const int *index, int n)
{
    double difference;
    return g_of(ctx, index, n, &difference);
}

static double unbounded(double difference)
{
    return fabs(difference) < VERDICT_FLAT ? 0.0 : copysign(INFINITY, difference);
}

static int effect_within(struct verdict *v, const struct verdict_reduced *r, int resamples, struct rng *rng,
                         struct err *e)
{
    double difference;
    struct stats_boot boot = {0};
    struct stats_interval ci;
    int *all = malloc((size_t)r->n * sizeof *all);
    if (all == NULL) return err_nomem(e);
    for (int i = 0; i < r->n; i++)
        all[i] = i;
    v->g_within = g_of(r, all, r->n, &difference);
    free(all);
    if (isnan(v->g_within)) { /* z is ascending: the interval ends at the slowest and the fastest session */
        v->g_within = unbounded(difference);
        v->g_ci = (struct verdict_interval){unbounded(-r->z[r->n - 1]), unbounded(-r->z[0])};
        return 0;
    }
    const enum stats_status s = stats_boot(&boot, g_statistic, r, r->n, resamples, rng);
    if (s == STATS_NOMEM) return err_nomem(e);
    if (s == STATS_OK && stats_boot_percentile(&boot, 0.95, &ci) == STATS_OK)
        v->g_ci = (struct verdict_interval){ci.low, ci.high};
    stats_boot_free(&boot);
    return 0;
}

static int effect(struct verdict *v, const struct verdict_reduced *r, int resamples, struct rng *rng, struct err *e)
{
    struct stats_smd smd;
    v->g_within = v->g_textbook = NAN;
    v->g_ci = v->g_textbook_ci = unknown;
    if (r->n == 0) return 0;
    if (effect_within(v, r, resamples, rng, e) != 0) return -1;
    const enum stats_status s = stats_smd_of(r->ln[0], r->nletters, r->ln[1], r->nletters, 0.95, &smd);
    if (s == STATS_OK && smd.s >= VERDICT_FLAT) {
        v->g_textbook = smd.g;
        v->g_textbook_ci = (struct verdict_interval){smd.g_ci.low, smd.g_ci.high};
    } else if (s == STATS_OK || s == STATS_FLAT) {
        v->g_textbook = v->g_within;
    }
    return 0;
}

/* ---- beside the decision ---- */

/* Each arm alone, unpaired, by its session means. */
static int arms_alone(struct verdict *v, const struct verdict_reduced *r, struct err *e)
{
    struct verdict_interval *of[] = {&v->mean_a_ci, &v->mean_b_ci};
    struct stats_interval ci;
    v->mean_a_ci = v->mean_b_ci = unknown;
    v->upper_b_us = NAN;
    double *mean_us = malloc(((size_t)r->n + 1) * sizeof *mean_us);
    if (mean_us == NULL) return err_nomem(e);
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < r->n; i++)
            mean_us[i] = r->session[i].mean_us[k];
        if (stats_t_interval(mean_us, r->n, 0.95, &ci) == STATS_OK) *of[k] = (struct verdict_interval){ci.low, ci.high};
        if (k == 1 && stats_t_interval(mean_us, r->n, 0.90, &ci) == STATS_OK) v->upper_b_us = ci.high;
    }
    free(mean_us);
    return 0;
}

static int ranks(struct verdict *v, const struct verdict_reduced *r, struct err *e)
{
    struct stats_mann_whitney w;
    v->mann_whitney_p = v->cliff = NAN;
    const enum stats_status s = stats_mann_whitney(r->us[0], r->nletters, r->us[1], r->nletters, &w);
    if (s == STATS_NOMEM) return err_nomem(e);
    if (s != STATS_OK) return 0;
    v->mann_whitney_p = w.p;
    v->cliff = w.cliff;
    return 0;
}

int verdict_estimate(struct verdict *v, const struct trial *ab, const struct verdict_reduced *r,
                     const struct verdict_rule *rule, struct rng *rng, struct err *e)
{
    int rc;
    TRY(describe(v, ab, r, e));
    TRY(count_drifting(v, ab, e));
    TRY(find_modes(v, r, rule->min_gain / 2.0, e));
    TRY(estimate(v, r, rule, rng, e));
    TRY(effect(v, r, rule->resamples, rng, e));
    TRY(arms_alone(v, r, e));
    rc = ranks(v, r, e);
out:
    return rc;
}
