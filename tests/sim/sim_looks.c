/* sim_looks.c - a trial that may go on: looks at 12, 20 and 30 sessions with alpha / 3 each must keep alpha in all, and decide what 12
 * sessions leave open. Looks at full alpha must be seen to err, or keeping it would prove nothing. */
#include <stdio.h>

#include "sim.h"

enum { LOOKS = 3, MOST = 30, SHORT = 8, SHORT_M = 3 }; /* sessions decide here: their quads may be few */

static const int look_at[LOOKS] = {12, 20, MOST};

struct tally {
    double promoted, kept, undecided, sessions; /* shares; mean number of sessions */
};

/* Judges at each look in turn with alpha / share, as long as sessions are what is missing. */
static struct verdict judge(struct trial *ab, int nlooks, double share, uint64_t seed)
{
    struct verdict_rule rule = sim_rule;
    struct verdict v = {0};
    struct rng r;
    rule.alpha = 0.05 / share;
    rule.hedges_g = 0.0; /* P3 alone: a gate on g would hide errors of the bound */
    rng_init_raw(&r, seed, 78);
    for (int k = 0; k < nlooks; k++) {
        ab->n = look_at[k];
        assert_int_equal(verdict_decide(&v, &rule, ab, NULL, &r, NULL), 0);
        if (!verdict_wants_sessions(&v)) break;
    }
    return v;
}

static struct tally simulate(const char *name, const struct noise *p, double gain, int nlooks, double share, int trials)
{
    struct tally t = {0};
    struct rng r;
    rng_init_raw(&r, 100, 5);
    for (int i = 0; i < trials; i++) {
        struct trial ab = noise_trial(p, &r, MOST, SHORT, SHORT_M, 250.0, gain);
        const struct verdict v = judge(&ab, nlooks, share, (uint64_t)i);
        t.promoted += (v.outcome == VERDICT_PROMOTE) / (double)trials;
        t.kept += (v.outcome == VERDICT_KEEP) / (double)trials;
        t.undecided += (v.outcome == VERDICT_UNDECIDED) / (double)trials;
        t.sessions += (double)ab.n / trials;
        ab.n = MOST; /* all are to be freed */
        trial_free(&ab);
    }
    print_message("  %-46s PROMOTE %5.2f%%  KEEP %5.2f%%  UNDECIDED %5.2f%%  %.1f sessions\n", name, 100 * t.promoted,
                  100 * t.kept, 100 * t.undecided, t.sessions);
    return t;
}

/* At a true gain of min_gain promotions are the errors. alpha is 5% here, where 1,000 trials tell 5% from 8%. */
static void looks_share_alpha(void **state)
{
    enum { TRIALS = 1000 };
    const struct noise p = NOISE_ASSUMED;
    (void)state;
    const struct tally shared = simulate("0.5%, looks at alpha / 3", &p, 0.005, LOOKS, LOOKS, TRIALS);
    const struct tally greedy = simulate("0.5%, looks at full alpha", &p, 0.005, LOOKS, 1.0, TRIALS);
    within("looks at alpha / 3", shared.promoted, 0.0, 0.05 + window(0.05, TRIALS));
    within("looks at full alpha", greedy.promoted, 0.05 + window(0.05, TRIALS), 1.0);
}

static void looks_decide_what_twelve_sessions_leave_open(void **state)
{
    enum { TRIALS = 300 };
    const struct noise p = NOISE_ASSUMED;
    (void)state;
    const struct tally once = simulate("0.75%, 12 sessions", &p, 0.0075, 1, 1.0, TRIALS);
    const struct tally looks = simulate("0.75%, looks at 12, 20, 30", &p, 0.0075, LOOKS, LOOKS, TRIALS);
    assert_true(looks.promoted > once.promoted + 0.1);
    assert_true(looks.sessions < MOST);
    const struct tally equal = simulate("equal, looks at 12, 20, 30", &p, 0.0, LOOKS, LOOKS, TRIALS);
    within("equal arms", equal.promoted, 0.0, 0.0);
    within("equal arms are kept apart", equal.kept, 0.97, 1.0 + 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(looks_share_alpha),
        cmocka_unit_test(looks_decide_what_twelve_sessions_leave_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
