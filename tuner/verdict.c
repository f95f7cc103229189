/* verdict.c - method: reduce each session to a few sums, estimate from the sessions, then ask the clauses.
 *
 * Decision bound (one-sided alpha): the wider of Student's t and bootstrap-t, both over sessions. t alone is calibrated
 * for normal session effects, bootstrap-t for skewed ones; percentile and BCa are too narrow on a dozen sessions and are only
 * printed. Sessions are sorted by their values first, so their numbering cannot change a resample. */
#include "verdict.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stats.h"

#define FLAT 1e-12         /* spread of ln times that is only rounding */
#define DISCARD_LIMIT 0.20 /* share of quads */
#define FASTER_SHARE 0.75  /* P6 */
#define DRIFT_LIMIT 0.01   /* of ln time, over a session */
#define POWER 0.90         /* of the suggested number of sessions */
#define SESSIONS_LIMIT 1000

/* ---- trials ---- */

void trial_free(struct trial *t)
{
    if (t == NULL) return;
    for (int i = 0; i < t->n; i++)
        free(t->sessions[i].quads);
    free(t->sessions);
    *t = (struct trial){0};
}

static int quads_of(const struct trial *t)
{
    int n = 0;
    for (int i = 0; i < t->n; i++)
        n += t->sessions[i].n;
    return n;
}

static bool kept(const struct trial_quad *q)
{
    if (q->discarded) return false;
    for (int i = 0; i < 4; i++)
        if (!isfinite(q->letter[i]) || q->letter[i] <= 0.0) return false;
    return true;
}

/* a1, a2, b1, b2 of ABBA or BAAB. */
static void arms(const struct trial_quad *q, double a[2], double b[2])
{
    double *outer = q->baab ? b : a, *inner = q->baab ? a : b;
    outer[0] = q->letter[0];
    outer[1] = q->letter[3];
    inner[0] = q->letter[1];
    inner[1] = q->letter[2];
}

static double quad_y(const struct trial_quad *q)
{
    double a[2], b[2];
    arms(q, a, b);
    return (log(b[0]) + log(b[1]) - log(a[0]) - log(a[1])) / 2.0;
}

/* y of the session's kept quads minus their median into out; how many, or -1 when out of memory. */
static int session_residuals(const struct trial_session *session, double *out)
{
    int n = 0;
    double median;
    for (int q = 0; q < session->n; q++)
        if (kept(&session->quads[q])) out[n++] = quad_y(&session->quads[q]);
    const enum stats_status s = stats_median(out, n, &median);
    if (s != STATS_OK) return s == STATS_NOMEM ? -1 : 0;
    for (int k = 0; k < n; k++) {
        out[k] -= median;
        if (fabs(out[k]) < FLAT) out[k] = 0.0; /* else a flat trial has a MAD of 0 and outliers of rounding */
    }
    return n;
}

int trial_outliers(const struct trial *t, bool *label, int *count, struct err *e)
{
    const int total = quads_of(t);
    int n = 0, found = 0, rc = 0;
    double *residual = malloc((size_t)(total + 1) * sizeof *residual);
    bool *out = malloc((size_t)(total + 1) * sizeof *out);
    if (residual == NULL || out == NULL) {
        rc = err_nomem(e);
        goto out;
    }
    for (int i = 0; i < t->n; i++) {
        const int more = session_residuals(&t->sessions[i], residual + n);
        if (more < 0) {
            rc = err_nomem(e);
            goto out;
        }
        n += more;
    }
    if (n > 0 && stats_outliers(residual, n, out, &found) == STATS_NOMEM) {
        rc = err_nomem(e);
        goto out;
    }
    *count = found;
    if (label == NULL) goto out;
    for (int i = 0, k = 0, flat = 0; i < t->n; i++)
        for (int q = 0; q < t->sessions[i].n; q++, flat++)
            label[flat] = kept(&t->sessions[i].quads[q]) && out[k++];
out:
    free(residual);
    free(out);
    return rc;
}

/* ---- reduction ---- */

struct session {
    double z;
    int n;                 /* letters an arm */
    double mean[2], ss[2]; /* of ln letters of A, B: mean and sum of squared deviations */
    double mean_b_us;
};

struct reduced {
    int n, nletters, quads, discarded;
    struct session *session; /* ascending z */
    double *z;               /* the same z */
    double *us[2], *ln[2];   /* letters of A, B */
    double
        *relative[2]; /* ln letter less the mean ln of the other arm in its quad, sign turned for A: all are ln(B/A) */
    double cycles[2]; /* sums of letter x clock */
    bool clocked;
};

static void reduced_free(struct reduced *r)
{
    free(r->session);
    free(r->z);
    for (int k = 0; k < 2; k++) {
        free(r->us[k]);
        free(r->ln[k]);
        free(r->relative[k]);
    }
}

static int reduced_alloc(struct reduced *r, const struct trial *t, struct err *e)
{
    const size_t letters = 2 * (size_t)quads_of(t) + 1, sessions = (size_t)t->n + 1;
    bool ok = (r->session = malloc(sessions * sizeof *r->session)) != NULL;
    ok = (r->z = malloc(sessions * sizeof *r->z)) != NULL && ok;
    for (int k = 0; k < 2; k++) {
        ok = (r->us[k] = malloc(letters * sizeof *r->us[k])) != NULL && ok;
        ok = (r->ln[k] = malloc(letters * sizeof *r->ln[k])) != NULL && ok;
        ok = (r->relative[k] = malloc(letters * sizeof *r->relative[k])) != NULL && ok;
    }
    return ok ? 0 : err_nomem(e);
}

static void reduce_quad(struct reduced *r, const struct trial_quad *q)
{
    double arm[2][2], ln[2][2];
    arms(q, arm[0], arm[1]);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 2; i++)
            ln[k][i] = log(arm[k][i]);
    for (int i = 0; i < 2; i++, r->nletters++) {
        for (int k = 0; k < 2; k++) {
            r->us[k][r->nletters] = arm[k][i];
            r->ln[k][r->nletters] = ln[k][i];
            r->cycles[k] += arm[k][i] * q->sm_mhz;
        }
        r->relative[0][r->nletters] = (ln[1][0] + ln[1][1]) / 2.0 - ln[0][i];
        r->relative[1][r->nletters] = ln[1][i] - (ln[0][0] + ln[0][1]) / 2.0;
    }
    r->clocked = r->clocked && isfinite(q->sm_mhz) && q->sm_mhz > 0.0;
}

static int by_value(const void *a, const void *b)
{
    const struct session *x = a, *y = b;
    if (x->z != y->z) return x->z < y->z ? -1 : 1;
    if (x->mean[0] != y->mean[0]) return x->mean[0] < y->mean[0] ? -1 : 1;
    return (x->ss[0] + x->ss[1] > y->ss[0] + y->ss[1]) - (x->ss[0] + x->ss[1] < y->ss[0] + y->ss[1]);
}

static int reduce(struct reduced *r, const struct trial *t, struct err *e)
{
    r->quads = quads_of(t);
    r->clocked = true;
    if (reduced_alloc(r, t, e) != 0) return -1;
    for (int i = 0; i < t->n; i++) {
        const int first = r->nletters;
        for (int q = 0; q < t->sessions[i].n; q++) {
            if (kept(&t->sessions[i].quads[q]))
                reduce_quad(r, &t->sessions[i].quads[q]);
            else
                r->discarded++;
        }
        struct session s = {.n = r->nletters - first};
        if (s.n == 0) continue;
        for (int k = 0; k < 2; k++) {
            double variance = 0.0;
            (void)stats_mean(r->ln[k] + first, s.n, &s.mean[k]); /* finite and at least two: cannot fail */
            (void)stats_variance(r->ln[k] + first, s.n, &variance);
            s.ss[k] = variance * (s.n - 1);
        }
        (void)stats_mean(r->us[1] + first, s.n, &s.mean_b_us);
        s.z = s.mean[1] - s.mean[0]; /* = mean of y */
        r->session[r->n++] = s;
    }
    qsort(r->session, (size_t)r->n, sizeof *r->session, by_value);
    for (int i = 0; i < r->n; i++)
        r->z[i] = r->session[i].z;
    return 0;
}

/* ---- estimates ---- */

static const struct verdict_interval unknown = {NAN, NAN};

static struct verdict_interval ratios(struct stats_interval ci)
{
    return (struct verdict_interval){exp(ci.low), exp(ci.high)};
}

static int describe(struct verdict *v, const struct trial *t, const struct reduced *r, struct err *e)
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
        if (!kept(&s->quads[q])) continue;
        arms(&s->quads[q], a, b);
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
    const size_t n_max = (size_t)quads_of(t) + 1;
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

static int find_modes(struct verdict *v, const struct reduced *r, double least_gap, struct err *e)
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
    v->dz = fabs(z) < FLAT ? 0.0 : copysign(INFINITY, -z);
}

/* Intervals and decision bounds from the session values. */
static int estimate(struct verdict *v, const struct reduced *r, const struct verdict_rule *rule, struct rng *rng,
                    struct err *e)
{
    double z, variance, bound;
    struct stats_interval ci;
    struct stats_boot boot = {0};
    v->ratio = v->dz = v->lower = v->upper = NAN;
    v->ratio_t = v->ratio_boot_t = v->ratio_percentile = v->ratio_bca = unknown;
    if (stats_mean(r->z, r->n, &z) != STATS_OK) return 0;
    v->ratio = exp(z);
    if (stats_variance(r->z, r->n, &variance) != STATS_OK) return 0;
    if (sqrt(variance) < FLAT) {
        point_estimate(v, z);
        return 0;
    }
    const double half = stats_t_quantile(1.0 - rule->alpha, r->n - 1) * sqrt(variance / r->n);
    v->upper = z + half;
    v->lower = z - half;
    v->dz = -z / sqrt(variance);
    if (stats_t_interval(r->z, r->n, 0.95, &ci) == STATS_OK) v->ratio_t = ratios(ci);
    const enum stats_status s = stats_boot_mean(&boot, r->z, r->n, rule->resamples, rng);
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

/* Hedges' g within sessions, of the sessions listed; positive = B faster. NAN without spread (FLAT), and *difference is
 * then what there is. */
static double g_of(const struct reduced *r, const int *index, int n, double *difference)
{
    double sum[2] = {0.0, 0.0}, ss = 0.0, letters = 0.0, df = 0.0;
    for (int i = 0; i < n; i++) {
        const struct session *s = &r->session[index[i]];
        for (int k = 0; k < 2; k++) {
            sum[k] += s->n * s->mean[k];
            ss += s->ss[k];
        }
        letters += s->n;
        df += 2.0 * (s->n - 1);
    }
    *difference = (sum[0] - sum[1]) / letters;
    const double sd = sqrt(ss / df);
    return sd < FLAT ? NAN : stats_hedges_j(df) * *difference / sd;
}

static double g_statistic(const void *ctx, const int *index, int n)
{
    double difference;
    return g_of(ctx, index, n, &difference);
}

static double unbounded(double difference)
{
    return fabs(difference) < FLAT ? 0.0 : copysign(INFINITY, difference);
}

static int effect_within(struct verdict *v, const struct reduced *r, int resamples, struct rng *rng, struct err *e)
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

static int effect(struct verdict *v, const struct reduced *r, int resamples, struct rng *rng, struct err *e)
{
    struct stats_smd smd;
    v->g_within = v->g_textbook = NAN;
    v->g_ci = v->g_textbook_ci = unknown;
    if (r->n == 0) return 0;
    if (effect_within(v, r, resamples, rng, e) != 0) return -1;
    const enum stats_status s = stats_smd_of(r->ln[0], r->nletters, r->ln[1], r->nletters, 0.95, &smd);
    if (s == STATS_OK && smd.s >= FLAT) {
        v->g_textbook = smd.g;
        v->g_textbook_ci = (struct verdict_interval){smd.g_ci.low, smd.g_ci.high};
    } else if (s == STATS_OK || s == STATS_FLAT) {
        v->g_textbook = v->g_within;
    }
    return 0;
}

/* ---- clauses ---- */

static void say(struct verdict *v, enum verdict_clause c, bool ok, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void say(struct verdict *v, enum verdict_clause c, bool ok, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(v->why[c], sizeof v->why[c], fmt, args);
    va_end(args);
    if (!ok) v->failed |= 1u << c;
}

static void ask_valid(struct verdict *v, const struct trial *t, const struct verdict_rule *rule)
{
    const int least = rule->min_sessions > 2 ? rule->min_sessions : 2; /* one session has no spread */
    const double share = v->quads > 0 ? (double)v->quads_discarded / v->quads : 0.0;
    if (t->invalid)
        say(v, VERDICT_VALID, false, "the trial is invalid: %.150s", t->reason[0] ? t->reason : "no reason given");
    else if (share > DISCARD_LIMIT)
        say(v, VERDICT_VALID, false, "%d of %d quads discarded (%.1f%%), at most %.0f%% allowed", v->quads_discarded,
            v->quads, 100.0 * share, 100.0 * DISCARD_LIMIT);
    else if (v->sessions < least)
        say(v, VERDICT_VALID, false, "%d valid sessions, at least %d needed", v->sessions, least);
    else
        say(v, VERDICT_VALID, true, "%d sessions, %d quads, %d discarded (%.1f%%)", v->sessions, v->quads,
            v->quads_discarded, 100.0 * share);
}

/* Is the gain proven even when a bias of this size (ln ratio) is taken off it? A noisy machine's control may be off by chance; a bias
 * that it proves is another matter and no gain outweighs it. */
static bool outweighs(const struct verdict *v, const struct verdict_rule *rule, double bias)
{
    return isfinite(v->upper) && v->upper + bias < log(1.0 - rule->min_gain);
}

/* A trial of the champion against its own copy: what is wrong with the measurement shows here. */
static int ask_control(struct verdict *v, const struct trial *aa, const struct verdict_rule *rule, struct err *e)
{
    struct reduced r = {0};
    struct stats_interval ci;
    double z = NAN;
    v->aa_ratio = NAN;
    v->aa_ci = unknown;
    v->aa_present = aa != NULL;
    if (aa == NULL) {
        say(v, VERDICT_CONTROL, !rule->control_required, "the A/A control was not run%s",
            rule->control_required ? ", and the rule asks for it" : "; this rule does not ask for it");
        return 0;
    }
    int rc = reduce(&r, aa, e);
    if (rc != 0) goto out;
    if (stats_mean(r.z, r.n, &z) == STATS_OK) v->aa_ratio = exp(z);
    const bool interval = stats_t_interval(r.z, r.n, 0.99, &ci) == STATS_OK;
    if (interval) v->aa_ci = ratios(ci);
    const double off = 100.0 * fabs(1.0 - v->aa_ratio), half_gain = rule->min_gain / 2.0;
    if (aa->invalid)
        say(v, VERDICT_CONTROL, false, "the A/A control is invalid: %.140s",
            aa->reason[0] ? aa->reason : "no reason given");
    else if (r.discarded > DISCARD_LIMIT * r.quads)
        say(v, VERDICT_CONTROL, false, "%d of %d quads of the A/A control discarded, at most %.0f%% allowed",
            r.discarded, r.quads, 100.0 * DISCARD_LIMIT);
    else if (r.n < rule->min_sessions || !interval)
        say(v, VERDICT_CONTROL, false, "the A/A control has %d valid sessions, at least %d needed", r.n,
            rule->min_sessions);
    else if (ci.low <= 0.0 && ci.high >= 0.0 && fabs(z) > half_gain && outweighs(v, rule, fmax(-ci.low, ci.high)))
        say(v, VERDICT_CONTROL, true,
            "the A/A ratio %.5f [%.5f, %.5f] (99%%) holds 1; off by %.3f%%, and the gain clears min_gain by more than "
            "the "
            "bias that leaves possible",
            v->aa_ratio, v->aa_ci.low, v->aa_ci.high, off);
    else if (rule->min_gain > 0.0 && fabs(z) > half_gain + FLAT)
        say(v, VERDICT_CONTROL, false, "the A/A control is off by %.3f%%, more than half of min_gain (%.3f%%)", off,
            100.0 * half_gain);
    else if ((ci.low > FLAT || ci.high < -FLAT) && ci.low > -half_gain && ci.high < half_gain)
        say(v, VERDICT_CONTROL, true,
            "the A/A ratio %.5f [%.5f, %.5f] (99%%) excludes 1 but is proven smaller than half of min_gain: no bias "
            "that "
            "makes a gain",
            v->aa_ratio, v->aa_ci.low, v->aa_ci.high);
    else if (ci.low > FLAT || ci.high < -FLAT)
        say(v, VERDICT_CONTROL, false, "the A/A ratio %.5f [%.5f, %.5f] excludes 1 at 99%%", v->aa_ratio, v->aa_ci.low,
            v->aa_ci.high);
    else
        say(v, VERDICT_CONTROL, true, "the A/A ratio %.5f [%.5f, %.5f] (99%%) holds 1 and is off by %.3f%%",
            v->aa_ratio, v->aa_ci.low, v->aa_ci.high, off);
out:
    reduced_free(&r);
    return rc;
}

static double gain_percent(double ratio)
{
    return 100.0 * (1.0 - ratio);
}

static void percent(char out[24], double ratio, const char *otherwise)
{
    if (isfinite(ratio))
        snprintf(out, 24, "%.2f%%", gain_percent(ratio));
    else
        snprintf(out, 24, "%s", otherwise);
}

static void ask_gain(struct verdict *v, const struct verdict_rule *rule)
{
    const double line = log(1.0 - rule->min_gain), min_gain = 100.0 * rule->min_gain;
    char gain[80], least[24], most[24];
    if (isfinite(v->ratio_boot_t.low))
        snprintf(gain, sizeof gain, "gain %.2f%% [%.2f, %.2f]", gain_percent(v->ratio),
                 gain_percent(v->ratio_boot_t.high), gain_percent(v->ratio_boot_t.low));
    else
        snprintf(gain, sizeof gain, "gain %.2f%%", gain_percent(v->ratio));
    percent(least, exp(v->upper), "nothing");
    percent(most, exp(v->lower) > 0.0 ? exp(v->lower) : INFINITY, "any gain");
    if (v->upper < line)
        say(v, VERDICT_GAIN, true, "%s, at least %s (alpha %.3g), above min_gain %.2f%%", gain, least, rule->alpha,
            min_gain);
    else if (v->lower > line)
        say(v, VERDICT_GAIN, false, "%s, at most %s (alpha %.3g), under min_gain %.2f%%", gain, most, rule->alpha,
            min_gain);
    else if (v->ratio > 1.0 - rule->min_gain)
        say(v, VERDICT_GAIN, false, "%s is under min_gain %.2f%%, but %s is not ruled out (alpha %.3g)", gain, min_gain,
            most, rule->alpha);
    else
        say(v, VERDICT_GAIN, false, "%s is above min_gain %.2f%%, but only %s is proven (alpha %.3g)", gain, min_gain,
            least, rule->alpha);
}

static void ask_effect(struct verdict *v, const struct verdict_rule *rule)
{
    const double g = v->g_within, low = v->g_ci.low;
    if (isinf(g))
        say(v, VERDICT_EFFECT, g > 0.0 && low > 0.0, "no spread within sessions: the effect size is unbounded, %s",
            g < 0.0     ? "and negative"
            : low > 0.0 ? "in every session"
                        : "but not in every session");
    else if (!isfinite(low))
        say(v, VERDICT_EFFECT, false, "Hedges' g %.2f has no interval", g);
    else if (g < rule->hedges_g)
        say(v, VERDICT_EFFECT, false, "Hedges' g %.2f [%.2f, %.2f] is under %.2f", g, low, v->g_ci.high,
            rule->hedges_g);
    else
        say(v, VERDICT_EFFECT, low > 0.0, "Hedges' g %.2f [%.2f, %.2f] is at least %.2f%s", g, low, v->g_ci.high,
            rule->hedges_g, low > 0.0 ? "" : ", but its interval reaches 0");
}

static void ask_target(struct verdict *v, const struct verdict_rule *rule)
{
    if (!(rule->target_us > 0.0)) {
        say(v, VERDICT_TARGET, true, "no target is set");
        return;
    }
    const bool ok = v->mean_b_us <= rule->target_us, sure = v->upper_b_us <= rule->target_us;
    say(v, VERDICT_TARGET, ok, "mean %.4g us %s the target %.4g us; its upper 95%% bound %.4g us %s", v->mean_b_us,
        ok ? "meets" : "misses", rule->target_us, v->upper_b_us, sure ? "meets it" : "does not");
}

static void ask_consistency(struct verdict *v)
{
    const int faster = (int)lround(v->share_faster * v->sessions);
    const bool flips = v->ratio < 1.0 && v->ratio_cycles >= 1.0; /* false for an unknown clock */
    char cycles[64] = "clock not known";
    if (!isnan(v->ratio_cycles)) snprintf(cycles, sizeof cycles, "ratio in cycles %.5f", v->ratio_cycles);
    if (v->bimodal)
        say(v, VERDICT_CONSISTENCY, false,
            "the letters have two modes, B/A %.4f (%.0f%% of them) and %.4f: two placements or two clock states",
            v->modes.low, 100.0 * v->mode_share, v->modes.high);
    else if (flips)
        say(v, VERDICT_CONSISTENCY, false, "faster in time (ratio %.5f) but not in cycles (%.5f)", v->ratio,
            v->ratio_cycles);
    else
        say(v, VERDICT_CONSISTENCY, v->share_faster >= FASTER_SHARE,
            "faster in %d of %d sessions, at least %.0f%% asked; %s", faster, v->sessions, 100.0 * FASTER_SHARE,
            cycles);
}

static void not_judged(struct verdict *v)
{
    for (enum verdict_clause c = VERDICT_GAIN; c < VERDICT_NCLAUSES; c++)
        say(v, c, false, "not judged: %d valid sessions, at least 2 needed to know a spread", v->sessions);
}

static void add_note(struct verdict *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add_note(struct verdict *v, const char *fmt, ...)
{
    va_list args;
    const size_t n = strlen(v->note);
    va_start(args, fmt);
    vsnprintf(v->note + n, sizeof v->note - n, fmt, args);
    va_end(args);
}

static void write_note(struct verdict *v, const struct trial *ab)
{
    const int kept_quads = v->quads - v->quads_discarded;
    if (v->quads_outlying > 0)
        add_note(v, "%d of %d quads are outliers (kept)%s. ", v->quads_outlying, kept_quads,
                 v->quads_outlying > 0.05 * kept_quads ? ", more than 5%" : "");
    if (v->sessions_drifting > 0)
        add_note(v, "Times of A drifted by more than 1%% in %d of %d sessions. ", v->sessions_drifting, v->sessions);
    if (ab->boxed) add_note(v, "The trial was cut to fit its time box. ");
    const size_t n = strlen(v->note);
    if (n > 0 && v->note[n - 1] == ' ') v->note[n - 1] = '\0';
}

/* ---- decision ---- */

static enum verdict_outcome outcome(const struct verdict *v, const struct verdict_rule *rule)
{
    if (v->failed & (1u << VERDICT_VALID | 1u << VERDICT_CONTROL)) return VERDICT_INVALID;
    if (v->bimodal) return VERDICT_UNDECIDED;
    if (v->failed == 0) return VERDICT_PROMOTE;
    if (v->lower > log(1.0 - rule->min_gain)) return VERDICT_KEEP;
    return VERDICT_UNDECIDED;
}

/* S >= ((t_alpha + t_beta) sd / distance)^2, distance from the estimate to the line, t on S - 1 degrees of freedom. */
static int sessions_needed(const struct verdict *v, const struct reduced *r, const struct verdict_rule *rule)
{
    double z, variance;
    if (v->outcome != VERDICT_UNDECIDED || v->bimodal || !(v->failed & 1u << VERDICT_GAIN)) return 0;
    if (stats_mean(r->z, r->n, &z) != STATS_OK || stats_variance(r->z, r->n, &variance) != STATS_OK) return 0;
    const double distance = fabs(z - log(1.0 - rule->min_gain));
    if (distance < FLAT) return 0;
    for (int s = r->n + 1; s <= SESSIONS_LIMIT; s++) {
        const double t = stats_t_quantile(1.0 - rule->alpha, s - 1) + stats_t_quantile(POWER, s - 1);
        if (s >= t * t * variance / (distance * distance)) return s;
    }
    return 0;
}

static int check_rule(const struct verdict_rule *rule, struct err *e)
{
    if (!(rule->min_gain >= 0.0 && rule->min_gain < 1.0))
        return err_set(e, ERR_BUG, "verdict rule: min_gain %g is not in [0, 1)", rule->min_gain);
    if (!(rule->alpha > 0.0 && rule->alpha < 0.5))
        return err_set(e, ERR_BUG, "verdict rule: alpha %g is not in (0, 0.5)", rule->alpha);
    if (!isfinite(rule->hedges_g) || !isfinite(rule->target_us))
        return err_set(e, ERR_BUG, "verdict rule: hedges_g %g or target_us %g is not finite", rule->hedges_g,
                       rule->target_us);
    if (rule->resamples < 99 || (rule->resamples + 1) * rule->alpha < 1.0 - 1e-9)
        return err_set(e, ERR_BUG, "verdict rule: %d resamples cannot show alpha %g; use at least %.0f",
                       rule->resamples, rule->alpha, fmax(99.0, ceil(1.0 / rule->alpha)));
    return 0;
}

static void upper_bound_b(struct verdict *v, const struct reduced *r, double *scratch)
{
    struct stats_interval ci;
    for (int i = 0; i < r->n; i++)
        scratch[i] = r->session[i].mean_b_us;
    v->upper_b_us = stats_t_interval(scratch, r->n, 0.90, &ci) == STATS_OK ? ci.high : NAN;
}

int verdict_decide(struct verdict *out, const struct verdict_rule *rule, const struct trial *ab, const struct trial *aa,
                   const struct rng *rng, struct err *e)
{
    struct verdict v = {0};
    struct reduced r = {0};
    struct rng stream = *rng;
    double *scratch = NULL;
    int rc;
    TRY(check_rule(rule, e));
    TRY(reduce(&r, ab, e));
    scratch = malloc(((size_t)r.n + 1) * sizeof *scratch);
    if (scratch == NULL) {
        rc = err_nomem(e);
        goto out;
    }
    TRY(describe(&v, ab, &r, e));
    TRY(count_drifting(&v, ab, e));
    TRY(find_modes(&v, &r, rule->min_gain / 2.0, e));
    TRY(estimate(&v, &r, rule, &stream, e));
    TRY(effect(&v, &r, rule->resamples, &stream, e));
    upper_bound_b(&v, &r, scratch);
    ask_valid(&v, ab, rule);
    TRY(ask_control(&v, aa, rule, e));
    if (r.n < 2) {
        not_judged(&v);
    } else {
        ask_gain(&v, rule);
        ask_effect(&v, rule);
        ask_target(&v, rule);
        ask_consistency(&v);
    }
    write_note(&v, ab);
    v.outcome = outcome(&v, rule);
    v.sessions_needed = sessions_needed(&v, &r, rule);
    *out = v;
out:
    free(scratch);
    reduced_free(&r);
    return rc;
}

enum verdict_relation verdict_relation(const struct verdict *v)
{
    struct verdict_interval i = v->ratio_boot_t;

    if (!isfinite(i.low) || !isfinite(i.high)) return VERDICT_UNSURE;
    if (i.low > 0.995 && i.high < 1.005) return VERDICT_SAME;
    return i.high < 1 ? VERDICT_FASTER : i.low > 1 ? VERDICT_SLOWER : VERDICT_UNSURE;
}

const char *verdict_relation_name(enum verdict_relation r)
{
    static const char *const names[] = {"same", "faster", "slower", "undecided"};

    return names[r];
}

const char *verdict_name(enum verdict_outcome o)
{
    static const char *const name[] = {"PROMOTE", "KEEP", "UNDECIDED", "INVALID"};
    return name[o];
}

const char *verdict_clause_name(enum verdict_clause c)
{
    static const char *const name[] = {
#define X(id, text) text,
        VERDICT_CLAUSES(X)
#undef X
    };
    return name[c];
}
