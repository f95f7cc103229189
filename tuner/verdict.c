/* verdict.c - method: reduce each session to a few sums (verdict_reduce.c), estimate from the sessions (verdict_estimate.c), then
 * ask the clauses. */
#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "stats.h"
#include "verdict_private.h"

#define DISCARD_LIMIT 0.20 /* share of quads */
#define FASTER_SHARE 0.75  /* P6 */
#define POWER 0.90         /* of the suggested number of sessions */
#define SESSIONS_LIMIT 1000

/* ---- clauses ---- */

static void say(struct verdict *v, enum verdict_clause c, bool ok, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void say(struct verdict *v, enum verdict_clause c, bool ok, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(v->why[c], sizeof v->why[c], fmt, args);
    va_end(args);
    buf_clean(v->why[c]);
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
    struct verdict_reduced r = {0};
    struct stats_interval ci;
    double z = NAN;
    v->aa_ratio = NAN;
    v->aa_ci = (struct verdict_interval){NAN, NAN};
    v->aa_present = aa != NULL;
    if (aa == NULL) {
        say(v, VERDICT_CONTROL, !rule->control_required, "the A/A control was not run%s",
            rule->control_required ? ", and the rule asks for it" : "; this rule does not ask for it");
        return 0;
    }
    int rc = verdict_reduce(&r, aa, e);
    if (rc != 0) goto out;
    if (stats_mean(r.z, r.n, &z) == STATS_OK) v->aa_ratio = exp(z);
    const bool interval = stats_t_interval(r.z, r.n, 0.99, &ci) == STATS_OK;
    if (interval) v->aa_ci = (struct verdict_interval){exp(ci.low), exp(ci.high)};
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
    else if (rule->min_gain > 0.0 && fabs(z) > half_gain + VERDICT_FLAT)
        say(v, VERDICT_CONTROL, false, "the A/A control is off by %.3f%%, more than half of min_gain (%.3f%%)", off,
            100.0 * half_gain);
    else if ((ci.low > VERDICT_FLAT || ci.high < -VERDICT_FLAT) && ci.low > -half_gain && ci.high < half_gain)
        say(v, VERDICT_CONTROL, true,
            "the A/A ratio %.5f [%.5f, %.5f] (99%%) excludes 1 but is proven smaller than half of min_gain: no bias "
            "that "
            "makes a gain",
            v->aa_ratio, v->aa_ci.low, v->aa_ci.high);
    else if (ci.low > VERDICT_FLAT || ci.high < -VERDICT_FLAT)
        say(v, VERDICT_CONTROL, false, "the A/A ratio %.5f [%.5f, %.5f] excludes 1 at 99%%", v->aa_ratio, v->aa_ci.low,
            v->aa_ci.high);
    else
        say(v, VERDICT_CONTROL, true, "the A/A ratio %.5f [%.5f, %.5f] (99%%) holds 1 and is off by %.3f%%",
            v->aa_ratio, v->aa_ci.low, v->aa_ci.high, off);
out:
    verdict_reduced_free(&r);
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

/* The least S above n with S >= ((t_alpha + t_beta) sd / distance)^2, t on S - 1 degrees of freedom; 0: none up to SESSIONS_LIMIT. */
static int sessions_for(double distance, double variance, double alpha, int n)
{
    if (!(distance >= VERDICT_FLAT)) return 0;
    for (int s = n + 1; s <= SESSIONS_LIMIT; s++) {
        const double t = stats_t_quantile(1.0 - alpha, s - 1) + stats_t_quantile(POWER, s - 1);
        if (s >= t * t * variance / (distance * distance)) return s;
    }
    return 0;
}

/* The distance is from the estimate to the line that a gain must clear. */
static int sessions_needed(const struct verdict *v, const struct verdict_reduced *r, const struct verdict_rule *rule)
{
    double z, variance;
    if (v->outcome != VERDICT_UNDECIDED || v->bimodal || !(v->failed & 1u << VERDICT_GAIN)) return 0;
    if (stats_mean(r->z, r->n, &z) != STATS_OK || stats_variance(r->z, r->n, &variance) != STATS_OK) return 0;
    return sessions_for(fabs(z - log(1.0 - rule->min_gain)), variance, rule->alpha, r->n);
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
    if (rule->resamples < 99 || rule->alpha < 1e-8)
        return err_set(e, ERR_BUG, "verdict rule: %d resamples are under 99, or alpha %g under 1e-8", rule->resamples,
                       rule->alpha);
    return 0;
}

int verdict_decide(struct verdict *out, const struct verdict_rule *rule, const struct trial *ab, const struct trial *aa,
                   const struct rng *rng, struct err *e)
{
    struct verdict v = {0};
    struct verdict_reduced r = {0};
    struct rng stream = *rng;
    int rc;
    TRY(check_rule(rule, e));
    TRY(verdict_reduce(&r, ab, e));
    TRY(verdict_estimate(&v, ab, &r, rule, &stream, e));
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
    verdict_reduced_free(&r);
    return rc;
}

static enum verdict_relation relation_of(struct verdict_interval i, double same)
{
    if (!isfinite(i.low) || !isfinite(i.high)) return VERDICT_UNSURE;
    if (i.low > 1.0 - same && i.high < 1.0 / (1.0 - same)) return VERDICT_SAME;
    return i.high < 1.0 ? VERDICT_FASTER : i.low > 1.0 ? VERDICT_SLOWER : VERDICT_UNSURE;
}

enum verdict_relation verdict_relation(const struct verdict *v, double same)
{
    const enum verdict_relation r = relation_of(v->ratio_boot_t, same);
    if (v->failed & 1u << VERDICT_VALID) return VERDICT_UNSURE;
    return v->bimodal && relation_of(v->modes, same) != r ? VERDICT_UNSURE : r;
}

/* Either way of deciding will do: the interval leaves 1, or it shrinks into what counts as the same. The nearer is the one with more room,
 * and each end of a two-sided 95% interval is a one-sided 97.5%. */
int verdict_relation_sessions(const struct verdict *v, double same)
{
    const double z = fabs(log(v->ratio)), half = log(v->ratio_t.high / v->ratio_t.low) / 2.0;
    if (verdict_relation(v, same) != VERDICT_UNSURE || v->bimodal || v->failed & 1u << VERDICT_VALID) return 0;
    if (v->sessions < 2 || !isfinite(z) || !isfinite(half)) return 0;
    const double se = half / stats_t_quantile(0.975, v->sessions - 1);
    return sessions_for(fmax(z, -log(1.0 - same) - z), se * se * v->sessions, 0.025, v->sessions);
}

const char *verdict_relation_name(enum verdict_relation r)
{
    static const char *const names[] = {"same", "faster", "slower", "undecided"};

    return names[r];
}

bool verdict_wants_sessions(const struct verdict *v)
{
    return v->outcome == VERDICT_UNDECIDED && v->sessions_needed > 0;
}

void verdict_sanitize(struct verdict *v, enum verdict_sanitizer said, const char *why)
{
    assert(v->outcome == VERDICT_PROMOTE);
    snprintf(v->why[VERDICT_SANITIZER], sizeof v->why[0], "%s", why);
    if (said == VERDICT_SANITIZER_PASSED) return;
    v->failed |= 1u << VERDICT_SANITIZER;
    v->outcome = said == VERDICT_SANITIZER_FOUND ? VERDICT_KEEP : VERDICT_UNDECIDED;
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
