/* test_verdict.c - each clause passing and failing, symmetry, invalid and odd input, deterministic devices, JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../sim/noise.h"
#include "stats.h"
#include "verdict.h"

static const struct verdict_rule rule = {
    .min_gain = 0.005, .hedges_g = 0.8, .alpha = 0.005, .min_sessions = 8, .resamples = 1999};
static const struct noise quiet = {.session_sd = 0.001, .ar_sd = 0.003, .ar_phi = 0.9, .white_sd = 0.001};
static const struct noise silent = {0};

#define has(v, clause) (((v).failed >> VERDICT_##clause & 1u) == 1u)

static struct rng stream(uint64_t seed)
{
    struct rng r;
    rng_init_raw(&r, seed, 1);
    return r;
}

static struct trial trial(const struct noise *p, uint64_t seed, int sessions, double gain)
{
    struct rng r = stream(seed);
    return noise_trial(p, &r, sessions, 20, 5, 100.0, gain);
}

static struct verdict decide(const struct verdict_rule *with, const struct trial *ab, const struct trial *aa)
{
    struct verdict v;
    struct err e = {0};
    const struct rng r = stream(99);
    if (verdict_decide(&v, with, ab, aa, &r, &e) != 0) fail_msg("%s", e.text);
    return v;
}

static struct verdict decide_gain(const struct noise *p, double gain)
{
    struct trial ab = trial(p, 1, 12, gain), aa = trial(p, 2, 12, 0.0);
    const struct verdict v = decide(&rule, &ab, &aa);
    trial_free(&ab);
    trial_free(&aa);
    return v;
}

static void assert_says(const struct verdict *v, enum verdict_clause c, const char *words)
{
    if (strstr(v->why[c], words) == NULL) fail_msg("clause %d says \"%s\", not \"%s\"", c, v->why[c], words);
    assert_true(strlen(v->why[c]) < sizeof v->why[c] - 1);
    assert_null(strstr(v->why[c], "nan"));
}

static void a_clear_gain_is_promoted(void **state)
{
    const struct verdict v = decide_gain(&quiet, 0.02);
    (void)state;
    assert_int_equal(v.outcome, VERDICT_PROMOTE);
    assert_int_equal(v.failed, 0);
    assert_true(fabs(v.ratio - 0.98) < 0.002);
    assert_true(v.upper < log(0.995) && v.lower < v.upper);
    assert_true(v.ratio_boot_t.low < v.ratio && v.ratio < v.ratio_boot_t.high);
    assert_true(v.ratio_bca.high < 1.0 && v.ratio_percentile.high < 1.0 && v.ratio_t.high < 1.0);
    assert_true(v.g_within > 2.0 && v.g_ci.low > 0.0 && v.g_ci.low < v.g_within);
    assert_true(v.g_textbook > 1.0 && v.g_textbook_ci.low < v.g_textbook && v.g_textbook < v.g_textbook_ci.high);
    assert_true(v.dz > v.g_within);
    assert_true(v.aa_present && v.aa_ci.low <= 1.0 && v.aa_ci.high >= 1.0);
    assert_int_equal(v.sessions, 12);
    assert_int_equal(v.quads, 240);
    assert_true(v.share_faster == 1.0);
    assert_true(v.median_b_us < v.median_a_us && v.upper_b_us > v.mean_b_us);
    assert_int_equal(v.sessions_needed, 0);
    assert_says(&v, VERDICT_VALID, "12 sessions, 240 quads, 0 discarded");
    assert_says(&v, VERDICT_GAIN, "above min_gain 0.50%");
    assert_says(&v, VERDICT_TARGET, "no target");
    assert_says(&v, VERDICT_CONSISTENCY, "faster in 12 of 12 sessions");
}

static void too_little_gain_and_slower_are_kept(void **state)
{
    struct verdict v = decide_gain(&quiet, 0.001);
    (void)state;
    assert_int_equal(v.outcome, VERDICT_KEEP);
    assert_true(has(v, GAIN) && v.lower > log(0.995));
    assert_says(&v, VERDICT_GAIN, "under min_gain 0.50%");
    v = decide_gain(&quiet, -0.05);
    assert_int_equal(v.outcome, VERDICT_KEEP);
    assert_true(v.ratio > 1.0 && v.g_within < 0.0 && has(v, EFFECT) && has(v, CONSISTENCY));
}

static void noise_leaves_it_undecided_and_says_how_many_sessions(void **state)
{
    const struct noise loud = {.session_sd = 0.006, .ar_sd = 0.008, .ar_phi = 0.9};
    struct trial ab = trial(&loud, 3, 12, 0.011);
    struct verdict v = decide(&rule, &ab, NULL);
    (void)state;
    assert_int_equal(v.outcome, VERDICT_UNDECIDED);
    assert_in_range(v.sessions_needed, 13, 1000);
    /* the number satisfies the formula it names, and one less does not */
    double t[2], needed[2];
    const double distance = fabs(log(v.ratio) - log(0.995)), sd = fabs(log(v.ratio) / v.dz);
    for (int k = 0; k < 2; k++) {
        t[k] = stats_t_quantile(0.995, v.sessions_needed - k - 1) + stats_t_quantile(0.9, v.sessions_needed - k - 1);
        needed[k] = pow(t[k] * sd / distance, 2.0);
    }
    assert_true(v.sessions_needed >= needed[0] && (v.sessions_needed - 1 < needed[1] || v.sessions_needed == 13));
    trial_free(&ab);
}

/* What `compare` answers: against the band that counts as the same, not against the line that a gain must clear. */
static void relations(void **state)
{
    static const struct {
        double gain;
        enum verdict_relation is;
    } row[] = {{0.0, VERDICT_SAME},
               {0.001, VERDICT_SAME},
               {-0.001, VERDICT_SAME},
               {0.01, VERDICT_FASTER},
               {-0.01, VERDICT_SLOWER}};
    struct verdict v;
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        v = decide_gain(&quiet, row[i].gain);
        assert_int_equal(verdict_relation(&v, 0.005), row[i].is);
        assert_int_equal(verdict_relation_sessions(&v, 0.005), 0);
    }
    v = decide_gain(&quiet, 0.01);
    assert_int_equal(verdict_relation(&v, 0.02), VERDICT_SAME); /* for whom 2% is nothing */
    v = (struct verdict){.ratio_boot_t = {0.9951, 0.9999}};
    assert_int_equal(verdict_relation(&v, 0.005), VERDICT_SAME); /* proven, and too little to matter */
    assert_int_equal(verdict_relation(&v, 0.0), VERDICT_FASTER);
    /* exchanged arms, mirrored */
    assert_int_equal(verdict_relation(&(struct verdict){.ratio_boot_t = {1.0001, 1.0 / 0.9951}}, 0.005), VERDICT_SAME);
    assert_int_equal(verdict_relation(&(struct verdict){.ratio_boot_t = {1.0001, 1.006}}, 0.005), VERDICT_SLOWER);
    assert_int_equal(verdict_relation(&(struct verdict){.ratio_boot_t = {0.999, 1.006}}, 0.005), VERDICT_UNSURE);
    assert_int_equal(verdict_relation(&(struct verdict){.ratio_boot_t = {NAN, NAN}}, 0.005), VERDICT_UNSURE);
}

/* A trial that is not valid says nothing; two modes must agree. */
static void relations_need_a_sound_trial(void **state)
{
    struct verdict v = {.ratio_boot_t = {0.97, 0.98}, .ratio = 0.975, .ratio_t = {0.97, 0.98}, .sessions = 12};
    (void)state;
    assert_int_equal(verdict_relation(&v, 0.005), VERDICT_FASTER);
    v.bimodal = true;
    v.modes = (struct verdict_interval){0.96, 0.99};
    assert_int_equal(verdict_relation(&v, 0.005), VERDICT_FASTER);
    v.modes.high = 1.01;
    assert_int_equal(verdict_relation(&v, 0.005), VERDICT_UNSURE);
    assert_int_equal(verdict_relation_sessions(&v, 0.005), 0); /* more of the same would not help */
    v.bimodal = false;
    v.failed = 1u << VERDICT_VALID;
    assert_int_equal(verdict_relation(&v, 0.005), VERDICT_UNSURE);
    assert_int_equal(verdict_relation_sessions(&v, 0.005), 0);
    v.failed = 1u << VERDICT_GAIN;
    assert_int_equal(verdict_relation(&v, 0.005), VERDICT_FASTER);
}

/* An undecided relation names a number of sessions, and most trials of that size do decide. */
static void undecided_relations_say_how_many_sessions(void **state)
{
    const struct noise loud = {.session_sd = 0.006, .ar_sd = 0.008, .ar_phi = 0.9};
    const double gains[] = {0.0, 0.004};
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct verdict v = {0};
        for (uint64_t seed = 1; seed < 40 && (v.sessions == 0 || verdict_relation(&v, 0.005) != VERDICT_UNSURE);
             seed++) {
            struct trial ab = trial(&loud, seed, 8, gains[k]);
            v = decide(&rule, &ab, NULL);
            trial_free(&ab);
        }
        assert_int_equal(verdict_relation(&v, 0.005), VERDICT_UNSURE);
        v.ratio = 1.0 - gains[k]; /* as if the estimate were the truth, which is what the number goes by */
        const int n = verdict_relation_sessions(&v, 0.005);
        int decided = 0;
        assert_in_range(n, 9, 400);
        for (uint64_t seed = 100; seed < 140; seed++) {
            struct trial ab = trial(&loud, seed, n, gains[k]);
            const struct verdict w = decide(&rule, &ab, NULL);
            decided += verdict_relation(&w, 0.005) != VERDICT_UNSURE;
            trial_free(&ab);
        }
        if (decided < 24) fail_msg("%d sessions decide %d of 40", n, decided);
    }
}

static void few_sessions_discards_and_flags_are_invalid(void **state)
{
    struct trial ab = trial(&quiet, 4, 7, 0.02);
    struct verdict v = decide(&rule, &ab, NULL);
    (void)state;
    assert_int_equal(v.outcome, VERDICT_INVALID);
    assert_says(&v, VERDICT_VALID, "7 valid sessions, at least 8 needed");
    trial_free(&ab);

    ab = trial(&quiet, 4, 12, 0.02);
    for (int q = 0; q < 20; q++) {
        ab.sessions[0].quads[q].discarded = true;
        ab.sessions[1].quads[q].discarded = true;
    }
    for (int q = 0; q < 8; q++)
        ab.sessions[2].quads[q].letter[q % 4] = q % 2 ? NAN : -1.0; /* no times: left out as well */
    v = decide(&rule, &ab, NULL);                                   /* 48 of 240: exactly 20% */
    assert_int_equal(v.outcome, VERDICT_PROMOTE);
    assert_int_equal(v.quads_discarded, 48);
    assert_int_equal(v.sessions, 10);
    ab.sessions[2].quads[8].discarded = true;
    v = decide(&rule, &ab, NULL);
    assert_int_equal(v.outcome, VERDICT_INVALID);
    assert_says(&v, VERDICT_VALID, "49 of 240 quads discarded (20.4%)");
    trial_free(&ab);

    ab = trial(&quiet, 4, 12, 0.02);
    ab.invalid = true;
    snprintf(ab.reason, sizeof ab.reason, "another process used the device");
    v = decide(&rule, &ab, NULL);
    assert_int_equal(v.outcome, VERDICT_INVALID);
    assert_says(&v, VERDICT_VALID, "another process used the device");
    trial_free(&ab);
}

/* A session that throttled half-way is discarded by the measurement; its times must not count. */
static void discarded_quads_do_not_count(void **state)
{
    struct trial ab = trial(&quiet, 5, 12, 0.0), clean = trial(&quiet, 5, 12, 0.0);
    (void)state;
    for (int q = 0; q < 10; q++) {
        for (int l = 0; l < 4; l++)
            ab.sessions[3].quads[q].letter[l] *= 1.0 + 0.3 * l;
        ab.sessions[3].quads[q].discarded = clean.sessions[3].quads[q].discarded = true;
    }
    const struct verdict v = decide(&rule, &ab, NULL), w = decide(&rule, &clean, NULL);
    assert_true(v.ratio == w.ratio && v.upper == w.upper && v.g_within == w.g_within);
    trial_free(&ab);
    trial_free(&clean);
}

static void the_control_can_veto(void **state)
{
    struct trial ab = trial(&quiet, 6, 12, 0.02), off = trial(&quiet, 7, 12, 0.01);
    struct trial shifted = trial(&silent, 8, 12, 0.0), few = trial(&quiet, 7, 5, 0.0);
    struct trial doubtful = trial(&quiet, 7, 12, 0.002);
    struct verdict_rule strict = rule;
    struct verdict v = decide(&rule, &ab, &off);
    (void)state;
    assert_int_equal(v.outcome, VERDICT_INVALID);
    assert_true(has(v, CONTROL));
    assert_says(&v, VERDICT_CONTROL, "more than half of min_gain");
    for (int s = 0; s < 12; s++)
        for (int q = 0; q < 20; q++)
            for (int l = 0; l < 4; l++) /* a sure but tiny difference: 0.1% */
                if ((l == 1 || l == 2) != shifted.sessions[s].quads[q].baab)
                    shifted.sessions[s].quads[q].letter[l] *= 1.001;
    v = decide(&rule, &ab, &shifted); /* too small to make a gain, and proven so */
    assert_int_equal(v.outcome, VERDICT_PROMOTE);
    assert_says(&v, VERDICT_CONTROL, "proven smaller than half of min_gain");
    v = decide(&rule, &ab, &doubtful); /* as sure a difference, but it may be more than half of min_gain */
    assert_int_equal(v.outcome, VERDICT_INVALID);
    assert_says(&v, VERDICT_CONTROL, "excludes 1 at 99%");
    v = decide(&rule, &ab, &few);
    assert_says(&v, VERDICT_CONTROL, "has 5 valid sessions");
    few.invalid = true;
    v = decide(&rule, &ab, &few);
    assert_says(&v, VERDICT_CONTROL, "no reason given");
    v = decide(&rule, &ab, NULL);
    assert_int_equal(v.outcome, VERDICT_PROMOTE);
    assert_false(v.aa_present);
    assert_says(&v, VERDICT_CONTROL, "was not run");
    strict.control_required = true;
    v = decide(&strict, &ab, NULL);
    assert_int_equal(v.outcome, VERDICT_INVALID);
    assert_says(&v, VERDICT_CONTROL, "the rule asks for it");
    trial_free(&ab);
    trial_free(&off);
    trial_free(&shifted);
    trial_free(&doubtful);
    trial_free(&few);
}

/* A control that is off by chance (its interval holds 1) stops a small gain, and not one that is larger than any bias it allows. */
static void a_noisy_control_stops_small_gains_alone(void **state)
{
    struct trial large = trial(&quiet, 6, 12, 0.3), small = trial(&quiet, 6, 12, 0.02), aa = trial(&silent, 8, 12, 0.0);
    struct verdict v;
    (void)state;
    for (int s = 0; s < 12; s++) /* sessions off by -1%, +2%, -1%, ...: mean 0.5%, and an interval that holds 1 */
        for (int q = 0; q < 20; q++)
            for (int l = 0; l < 4; l++)
                if ((l == 1 || l == 2) != aa.sessions[s].quads[q].baab)
                    aa.sessions[s].quads[q].letter[l] *= s % 2 ? 1.02 : 0.99;
    v = decide(&rule, &large, &aa);
    assert_int_equal(v.outcome, VERDICT_PROMOTE);
    assert_says(&v, VERDICT_CONTROL, "more than the bias");
    v = decide(&rule, &small, &aa);
    assert_int_equal(v.outcome, VERDICT_INVALID);
    assert_says(&v, VERDICT_CONTROL, "more than half of min_gain");
    trial_free(&large);
    trial_free(&small);
    trial_free(&aa);
}

static void effect_and_target_can_stop_a_proven_gain(void **state)
{
    struct trial ab = trial(&quiet, 9, 12, 0.02);
    struct verdict_rule r = rule;
    (void)state;
    r.hedges_g = 50.0;
    struct verdict v = decide(&r, &ab, NULL);
    assert_int_equal(v.outcome, VERDICT_UNDECIDED);
    assert_int_equal(v.failed, 1u << VERDICT_EFFECT);
    assert_int_equal(v.sessions_needed, 0);
    assert_says(&v, VERDICT_EFFECT, "is under 50.00");
    r = rule;
    r.target_us = 97.0;
    v = decide(&r, &ab, NULL);
    assert_int_equal(v.failed, 1u << VERDICT_TARGET);
    assert_says(&v, VERDICT_TARGET, "misses the target 97 us");
    r.target_us = 99.0;
    v = decide(&r, &ab, NULL);
    assert_int_equal(v.outcome, VERDICT_PROMOTE);
    assert_says(&v, VERDICT_TARGET, "meets the target 99 us");
    trial_free(&ab);
}

static void cycles_must_agree(void **state)
{
    struct trial ab = trial(&silent, 10, 12, 0.02);
    (void)state;
    for (int s = 0; s < 12; s++)
        for (int q = 0; q < 20; q++)
            ab.sessions[s].quads[q].sm_mhz = 1980.0;
    struct verdict v = decide(&rule, &ab, NULL);
    assert_int_equal(v.outcome, VERDICT_PROMOTE);
    assert_true(fabs(v.ratio_cycles - 0.98) < 1e-9);
    /* two slow quads at full clock against 238 fast ones at a crawl: in cycles B loses */
    for (int s = 0; s < 12; s++)
        for (int q = 0; q < 20; q++)
            ab.sessions[s].quads[q].sm_mhz = 1.0;
    for (int s = 0; s < 2; s++) {
        struct trial_quad *quad = &ab.sessions[s].quads[0];
        quad->sm_mhz = 1980.0;
        for (int l = 0; l < 4; l++)
            if ((l == 1 || l == 2) != quad->baab) quad->letter[l] *= 1.05;
    }
    v = decide(&rule, &ab, NULL);
    assert_true(has(v, CONSISTENCY));
    assert_says(&v, VERDICT_CONSISTENCY, "not in cycles");
    ab.sessions[5].quads[5].sm_mhz = 0.0;
    v = decide(&rule, &ab, NULL);
    assert_true(isnan(v.ratio_cycles) && !has(v, CONSISTENCY));
    assert_says(&v, VERDICT_CONSISTENCY, "clock not known");
    trial_free(&ab);
}

/* With a clock for each letter an arm that is faster because it runs at a higher clock is seen. */
static void cycles_of_letters(void **state)
{
    struct trial ab = trial(&silent, 10, 12, 0.02);
    (void)state;
    for (int s = 0; s < 12; s++)
        for (int q = 0; q < 20; q++) {
            struct trial_quad *quad = &ab.sessions[s].quads[q];
            quad->sm_mhz = 1980.0; /* read between quads: says nothing of them */
            for (int l = 0; l < 4; l++)
                quad->letter_mhz[l] = (l == 1 || l == 2) != quad->baab ? 1980.0 : 1900.0;
        }
    struct verdict v = decide(&rule, &ab, NULL);
    assert_true(fabs(v.ratio_cycles - 0.98 * 1980.0 / 1900.0) < 1e-9);
    assert_true(has(v, CONSISTENCY) && v.outcome != VERDICT_PROMOTE);
    assert_says(&v, VERDICT_CONSISTENCY, "not in cycles");
    ab.sessions[3].quads[7].letter_mhz[2] = 0.0; /* a contestant's letters have none */
    v = decide(&rule, &ab, NULL);
    assert_true(isnan(v.ratio_cycles) && !has(v, CONSISTENCY));
    trial_free(&ab);
}

static void two_placements_are_undecided(void **state)
{
    struct trial ab = trial(&quiet, 11, 12, 0.05);
    (void)state;
    for (int s = 0; s < 12; s += 2) /* B is 6% slower where its buffers lie badly */
        for (int q = 0; q < 20; q++)
            for (int l = 0; l < 4; l++)
                if ((l == 1 || l == 2) != ab.sessions[s].quads[q].baab) ab.sessions[s].quads[q].letter[l] *= 1.06;
    const struct verdict v = decide(&rule, &ab, NULL);
    assert_true(v.bimodal);
    assert_int_equal(v.outcome, VERDICT_UNDECIDED);
    assert_true(has(v, CONSISTENCY));
    assert_true(fabs(v.modes.low - 0.95) < 0.004 && fabs(v.modes.high - 0.95 * 1.06) < 0.004);
    assert_true(fabs(v.mode_share - 0.5) < 0.02);
    assert_says(&v, VERDICT_CONSISTENCY, "two modes, B/A 0.9");
    trial_free(&ab);
}

/* A clock that stands differently in every other session moves both arms: no modes in the ratio. */
static void common_clock_states_are_not_modes(void **state)
{
    struct trial ab = trial(&quiet, 12, 12, 0.02);
    (void)state;
    for (int s = 0; s < 12; s += 2)
        for (int q = 0; q < 20; q++)
            for (int l = 0; l < 4; l++)
                ab.sessions[s].quads[q].letter[l] *= 1.1;
    const struct verdict v = decide(&rule, &ab, NULL);
    assert_false(v.bimodal);
    assert_int_equal(v.outcome, VERDICT_PROMOTE);
    trial_free(&ab);
}

static void outliers_are_labelled_and_stay(void **state)
{
    struct trial ab = trial(&quiet, 13, 12, 0.02);
    struct err e = {0};
    bool label[240];
    int before, after;
    (void)state;
    assert_int_equal(trial_outliers(&ab, label, &before, &e), 0);
    const double clean = decide(&rule, &ab, NULL).ratio;
    ab.sessions[0].quads[0].discarded = true;
    ab.sessions[4].quads[7].letter[1] *= 1.5;
    ab.sessions[4].quads[7].letter[2] *= 1.5;
    assert_int_equal(trial_outliers(&ab, label, &after, &e), 0);
    assert_true(label[4 * 20 + 7] && !label[0]);
    const struct verdict v = decide(&rule, &ab, NULL);
    assert_int_equal(v.quads_outlying, after);
    assert_true(fabs(v.ratio - clean) > 1e-4);
    assert_non_null(strstr(v.note, "quads are outliers (kept)"));
    trial_free(&ab);
}

static void drift_is_noted_and_does_not_bias(void **state)
{
    const struct noise drifting = {.drift = 0.05};
    struct trial ab = trial(&drifting, 14, 12, 0.02);
    const struct verdict v = decide(&rule, &ab, NULL);
    (void)state;
    assert_int_equal(v.sessions_drifting, 12);
    assert_true(fabs(v.ratio - 0.98) < 2e-5);
    assert_int_equal(v.outcome, VERDICT_PROMOTE);
    assert_non_null(strstr(v.note, "12 of 12 sessions"));
    trial_free(&ab);
}

static void a_deterministic_device_is_decided(void **state)
{
    struct trial fast = trial(&silent, 15, 8, 0.02), same = trial(&silent, 16, 8, 0.0);
    struct verdict v = decide(&rule, &fast, &same);
    (void)state;
    assert_int_equal(v.outcome, VERDICT_PROMOTE);
    assert_true(v.upper == v.lower && fabs(exp(v.upper) - 0.98) < 1e-12);
    assert_true(v.ratio_bca.low == v.ratio && v.ratio_boot_t.high == v.ratio);
    assert_true(isinf(v.g_within) && v.g_within > 0.0 && isinf(v.dz) && v.dz > 0.0);
    assert_says(&v, VERDICT_EFFECT, "unbounded");
    assert_says(&v, VERDICT_CONTROL, "holds 1");
    assert_int_equal(v.quads_outlying, 0);
    v = decide(&rule, &same, &same);
    assert_int_equal(v.outcome, VERDICT_KEEP);
    assert_true(v.g_within == 0.0 && v.dz == 0.0);
    trial_free(&fast);
    trial_free(&same);
}

static void swap_arms(struct trial *t)
{
    for (int s = 0; s < t->n; s++)
        for (int q = 0; q < t->sessions[s].n; q++)
            t->sessions[s].quads[q].baab = !t->sessions[s].quads[q].baab;
}

static void symmetries(void **state)
{
    struct trial ab = trial(&quiet, 17, 12, 0.013);
    const struct verdict v = decide(&rule, &ab, NULL);
    (void)state;
    swap_arms(&ab);
    struct verdict w = decide(&rule, &ab, NULL);
    assert_true(fabs(log(v.ratio) + log(w.ratio)) < 1e-12);
    assert_true(fabs(v.g_within + w.g_within) < 1e-9 && fabs(v.g_textbook + w.g_textbook) < 1e-9);
    assert_true(fabs(v.dz + w.dz) < 1e-9);
    assert_true(fabs(log(v.ratio_t.low) + log(w.ratio_t.high)) < 1e-12);
    swap_arms(&ab);
    for (int s = 0; s < 6; s++) { /* relabel the sessions */
        const struct trial_session swap = ab.sessions[s];
        ab.sessions[s] = ab.sessions[11 - s];
        ab.sessions[11 - s] = swap;
    }
    w = decide(&rule, &ab, NULL);
    assert_true(v.upper == w.upper && v.ratio == w.ratio && v.g_within == w.g_within && v.outcome == w.outcome);
    assert_true(v.ratio_bca.low == w.ratio_bca.low && v.g_ci.low == w.g_ci.low);
    for (int s = 0; s < 12; s++)
        for (int q = 0; q < 20; q++)
            for (int l = 0; l < 4; l++)
                ab.sessions[s].quads[q].letter[l] *= 1024.0 / 3.0; /* another unit */
    w = decide(&rule, &ab, NULL);
    assert_true(fabs(v.ratio - w.ratio) < 1e-12 && fabs(v.g_within - w.g_within) < 1e-9);
    trial_free(&ab);
}

/* Same input, same verdict; the caller's stream stays where it was. */
static void repeatable(void **state)
{
    struct trial ab = trial(&quiet, 18, 12, 0.013);
    struct rng r = stream(5);
    const struct rng before = r;
    struct verdict v, w;
    (void)state;
    assert_int_equal(verdict_decide(&v, &rule, &ab, NULL, &r, NULL), 0);
    assert_memory_equal(&r, &before, sizeof r);
    assert_int_equal(verdict_decide(&w, &rule, &ab, NULL, &r, NULL), 0);
    assert_true(v.upper == w.upper && v.g_ci.high == w.g_ci.high && v.failed == w.failed);
    trial_free(&ab);
}

static void g_by_hand(void **state)
{
    /* two sessions of one quad; ln letters chosen: A 1, 3 | 2, 4 and B 0, 2 | 1, 3: within SD sqrt(8/4), difference 1 */
    struct trial_quad q[2] = {{.letter = {exp(1.0), exp(0.0), exp(2.0), exp(3.0)}},
                              {.letter = {exp(2.0), exp(1.0), exp(3.0), exp(4.0)}}};
    struct trial_session s[2] = {{1, &q[0]}, {1, &q[1]}};
    const struct trial ab = {.n = 2, .sessions = s, .m = 1};
    struct verdict_rule r = rule;
    (void)state;
    r.min_sessions = 2;
    const struct verdict v = decide(&r, &ab, NULL);
    assert_true(fabs(v.g_within - stats_hedges_j(4.0) / sqrt(2.0)) < 1e-12);
    /* textbook: arm SD of 1,2,3,4 is sqrt(5/3), df 6 */
    assert_true(fabs(v.g_textbook - stats_hedges_j(6.0) / sqrt(5.0 / 3.0)) < 1e-12);
    assert_true(fabs(v.ratio - exp(-1.0)) < 1e-12);
}

/* What stands beside the decision: three sessions of one quad, counted by hand. A 10 12 | 11 13 | 12 14, B 9 11 | 10 12 | 11 13. */
static void beside_the_decision_by_hand(void **state)
{
    struct trial_quad q[3] = {{.letter = {10, 9, 11, 12}}, {.letter = {11, 10, 12, 13}}, {.letter = {12, 11, 13, 14}}};
    struct trial_session s[3] = {{1, &q[0]}, {1, &q[1]}, {1, &q[2]}};
    struct trial ab = {.n = 3, .sessions = s, .m = 1};
    struct stats_mann_whitney w;
    const double a[] = {10, 12, 11, 13, 12, 14}, b[] = {9, 11, 10, 12, 11, 13};
    (void)state;
    struct verdict v = decide(&rule, &ab, NULL);
    /* session means 11 12 13 and 10 11 12: SE 1/sqrt(3), t on 2 degrees of freedom 4.302653 */
    assert_true(fabs(v.mean_a_ci.low - (12.0 - 4.3026527 / sqrt(3.0))) < 1e-6);
    assert_true(fabs(v.mean_b_ci.high - (11.0 + 4.3026527 / sqrt(3.0))) < 1e-6);
    /* of 36 pairs of letters A is the slower in 22 and the faster in 8 */
    assert_true(fabs(v.cliff - 14.0 / 36.0) < 1e-12);
    assert_int_equal(stats_mann_whitney(a, 6, b, 6, &w), STATS_OK);
    assert_true(v.mann_whitney_p == w.p);
    swap_arms(&ab);
    const struct verdict turned = decide(&rule, &ab, NULL);
    assert_true(fabs(turned.cliff + v.cliff) < 1e-12 && turned.mean_a_ci.low == v.mean_b_ci.low);
    assert_true(v.upper_b_us < v.mean_b_ci.high && v.upper_b_us > v.mean_b_us);
}

static void assert_all_finite(const json_t *j)
{
    const char *key;
    json_t *value;
    size_t i;
    if (json_is_real(j)) assert_true(isfinite(json_real_value(j)));
    json_object_foreach((json_t *)j, key, value) assert_all_finite(value);
    json_array_foreach((json_t *)j, i, value) assert_all_finite(value);
}

static void empty_and_single_sessions(void **state)
{
    struct trial empty = {0}, one = trial(&quiet, 19, 1, 0.02);
    struct verdict_rule lax = rule;
    (void)state;
    lax.min_sessions = 0;
    for (int k = 0; k < 2; k++) {
        const struct verdict v = decide(&lax, k ? &one : &empty, k ? &empty : &one);
        json_t *j = verdict_to_json(&v);
        assert_int_equal(v.outcome, VERDICT_INVALID);
        assert_true(has(v, VALID) && has(v, CONTROL));
        assert_says(&v, VERDICT_GAIN, "not judged");
        assert_non_null(j);
        assert_all_finite(j);
        assert_true(json_is_null(json_object_get(j, "upper")));
        json_decref(j);
    }
    trial_free(&one);
    trial_free(&one);
    trial_free(&empty);
    trial_free(NULL);
}

/* Times that no timer should give, in one letter, in one arm, and everywhere: a verdict with numbers, or none. */
static void odd_times_never_give_a_nan(void **state)
{
    static const double odd[] = {0, -5, NAN, INFINITY, -INFINITY, 5e-324, 1.7e308, 100};
    (void)state;
    for (size_t k = 0; k < sizeof odd / sizeof odd[0]; k++)
        for (int where = 0; where < 3; where++) {
            struct trial ab = trial(&quiet, 21, 10, 0.02), aa = trial(&quiet, 22, 10, 0.0);
            for (int i = 0; i < ab.n; i++)
                for (int q = 0; q < ab.sessions[i].n; q++)
                    for (int l = 0; l < 4; l++) {
                        struct trial_quad *x = &ab.sessions[i].quads[q];
                        bool is_b = (l == 1 || l == 2) != x->baab;
                        if (where == 2 || (where == 1 && is_b) || (where == 0 && i == 0 && q == 0 && l == 1))
                            x->letter[l] = odd[k];
                    }
            const struct verdict v = decide(&rule, &ab, &aa);
            json_t *j = verdict_to_json(&v);
            assert_non_null(j);
            assert_all_finite(j);
            for (int c = 0; c < VERDICT_NCLAUSES; c++) {
                assert_null(strstr(v.why[c], "nan"));
                assert_null(strstr(v.why[c], "inf%"));
            }
            if (where > 0 && !(odd[k] > 0 && isfinite(odd[k]))) assert_int_equal(v.outcome, VERDICT_INVALID);
            if (where == 0)
                assert_int_equal(v.outcome,
                                 odd[k] > 0 && isfinite(odd[k]) && odd[k] != 100 ? v.outcome : VERDICT_PROMOTE);
            if (where == 2) assert_int_not_equal(v.outcome, VERDICT_PROMOTE);
            json_decref(j);
            trial_free(&ab);
            trial_free(&aa);
        }
}

static void json_has_every_number(void **state)
{
    const struct verdict v = decide_gain(&quiet, 0.02);
    json_t *j = verdict_to_json(&v);
    (void)state;
    assert_non_null(j);
    assert_all_finite(j);
    assert_string_equal(json_string_value(json_object_get(j, "outcome")), "PROMOTE");
    assert_int_equal(json_array_size(json_object_get(j, "clauses")),
                     VERDICT_NCLAUSES - 1); /* no sanitizer was asked for */
    assert_true(json_real_value(json_object_get(j, "ratio")) == v.ratio);
    assert_true(json_real_value(json_array_get(json_object_get(j, "ratio_bca"), 1)) == v.ratio_bca.high);
    assert_true(json_is_true(json_object_get(json_array_get(json_object_get(j, "clauses"), 2), "passed")));
    assert_true(json_is_null(json_object_get(j, "ratio_cycles")));
    assert_string_equal(verdict_name(VERDICT_UNDECIDED), "UNDECIDED");
    assert_string_equal(verdict_clause_name(VERDICT_GAIN), "P3 gain");
    json_decref(j);
}

static void sanitizers_are_asked_last(void **state)
{
    const struct verdict promoted = decide_gain(&quiet, 0.02);
    const struct {
        enum verdict_sanitizer said;
        enum verdict_outcome outcome;
    } rows[] = {{VERDICT_SANITIZER_PASSED, VERDICT_PROMOTE},
                {VERDICT_SANITIZER_FOUND, VERDICT_KEEP},
                {VERDICT_SANITIZER_NOT_RUN, VERDICT_UNDECIDED}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct verdict v = promoted;
        verdict_sanitize(&v, rows[i].said, "what they said");
        assert_int_equal(v.outcome, rows[i].outcome);
        assert_int_equal(v.failed, rows[i].outcome == VERDICT_PROMOTE ? 0 : 1u << VERDICT_SANITIZER);
        assert_false(verdict_wants_sessions(&v));
        assert_says(&v, VERDICT_SANITIZER, "what they said");
        json_t *j = verdict_to_json(&v), *last = json_array_get(json_object_get(j, "clauses"), VERDICT_SANITIZER);
        assert_string_equal(json_string_value(json_object_get(last, "clause")), "P7 sanitizer");
        assert_int_equal(json_is_true(json_object_get(last, "passed")), rows[i].outcome == VERDICT_PROMOTE);
        json_decref(j);
    }
}

static void rules_out_of_range_are_errors(void **state)
{
    struct trial ab = trial(&quiet, 20, 8, 0.02);
    struct rng r = stream(1);
    (void)state;
    for (int k = 0; k < 4; k++) {
        struct verdict_rule bad = rule;
        struct verdict v;
        struct err e = {0};
        if (k == 0) bad.min_gain = 1.0;
        if (k == 1) bad.alpha = 0.0;
        if (k == 2) bad.resamples = 50;
        if (k == 3) bad.target_us = NAN;
        assert_int_equal(verdict_decide(&v, &bad, &ab, NULL, &r, &e), -1);
        assert_int_equal(e.code, ERR_BUG);
    }
    trial_free(&ab);
}

/* A rule so strict that its resamples could not show it draws more: the bound is there, and stricter. */
static void a_small_alpha_draws_more_resamples(void **state)
{
    struct trial ab = trial(&quiet, 21, 12, 0.02);
    struct verdict_rule strict = rule;
    (void)state;
    const struct verdict v = decide(&rule, &ab, NULL);
    strict.alpha = 1e-5;
    const struct verdict w = decide(&strict, &ab, NULL);
    assert_true(isfinite(w.upper) && w.upper > v.upper && w.lower < v.lower);
    trial_free(&ab);
}

static void only_want_of_sessions_asks_for_more(void **state)
{
    const struct noise loud = {.session_sd = 0.006, .ar_sd = 0.008, .ar_phi = 0.9};
    struct trial ab = trial(&loud, 3, 12, 0.011);
    struct verdict v = decide(&rule, &ab, NULL);
    (void)state;
    assert_true(verdict_wants_sessions(&v));
    struct verdict_rule target = rule; /* proven, but for a target that no session will bring */
    target.min_gain = 0.0001;
    target.hedges_g = 50.0;
    trial_free(&ab);
    ab = trial(&quiet, 1, 12, 0.02);
    v = decide(&target, &ab, NULL);
    assert_int_equal(v.outcome, VERDICT_UNDECIDED);
    assert_false(verdict_wants_sessions(&v));
    v = decide(&rule, &ab, NULL);
    assert_int_equal(v.outcome, VERDICT_PROMOTE);
    assert_false(verdict_wants_sessions(&v));
    trial_free(&ab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clear_gain_is_promoted),
        cmocka_unit_test(too_little_gain_and_slower_are_kept),
        cmocka_unit_test(noise_leaves_it_undecided_and_says_how_many_sessions),
        cmocka_unit_test(relations),
        cmocka_unit_test(relations_need_a_sound_trial),
        cmocka_unit_test(undecided_relations_say_how_many_sessions),
        cmocka_unit_test(few_sessions_discards_and_flags_are_invalid),
        cmocka_unit_test(discarded_quads_do_not_count),
        cmocka_unit_test(the_control_can_veto),
        cmocka_unit_test(a_noisy_control_stops_small_gains_alone),
        cmocka_unit_test(effect_and_target_can_stop_a_proven_gain),
        cmocka_unit_test(cycles_must_agree),
        cmocka_unit_test(cycles_of_letters),
        cmocka_unit_test(two_placements_are_undecided),
        cmocka_unit_test(common_clock_states_are_not_modes),
        cmocka_unit_test(outliers_are_labelled_and_stay),
        cmocka_unit_test(drift_is_noted_and_does_not_bias),
        cmocka_unit_test(a_deterministic_device_is_decided),
        cmocka_unit_test(symmetries),
        cmocka_unit_test(repeatable),
        cmocka_unit_test(g_by_hand),
        cmocka_unit_test(beside_the_decision_by_hand),
        cmocka_unit_test(empty_and_single_sessions),
        cmocka_unit_test(odd_times_never_give_a_nan),
        cmocka_unit_test(json_has_every_number),
        cmocka_unit_test(sanitizers_are_asked_last),
        cmocka_unit_test(rules_out_of_range_are_errors),
        cmocka_unit_test(a_small_alpha_draws_more_resamples),
        cmocka_unit_test(only_want_of_sessions_asks_for_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
