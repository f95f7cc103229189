/* sim_compare.c - what `fatune compare` answers on simulated trials with a known truth: one kernel against itself is the same, every time;
 * kernels 1 to 3% apart are told apart, every time, and the right way round.
 *
 * Two noise models after what an H200 showed in 100 sessions of one kernel against itself (noise.h has the first): 10 us, with a session effect
 * of 0.068% and quads of 0.054%; and 1.9 ms at the power cap, where quads scatter by 0.56% and no session effect was seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "noise.h"
#include "verdict.h"

enum { SESSIONS = 12, QUADS = 20, M = 5, TRIALS = 400 };

#define SAME_WITHIN 0.005

/* A letter is the median of five: its SD is 0.56% when a sample's is about 1%. */
#define NOISE_POWER_CAP ((struct noise){.white_sd = 0.0104})

static const struct verdict_rule rule = {
    .min_gain = SAME_WITHIN, .hedges_g = 0.8, .alpha = 0.005, .min_sessions = 8, .resamples = 999};

/* How many of TRIALS have the relation r. */
static int count(const struct noise *p, double gain, enum verdict_relation r, uint64_t seed)
{
    struct rng trials, boot;
    int n = 0;
    rng_init_raw(&trials, seed, 5);
    for (int i = 0; i < TRIALS; i++) {
        struct trial t = noise_trial(p, &trials, SESSIONS, QUADS, M, 100.0, gain);
        struct verdict v;
        rng_init_raw(&boot, seed * 100000 + (uint64_t)i, 77);
        assert_int_equal(verdict_decide(&v, &rule, &t, NULL, &boot, NULL), 0);
        n += verdict_relation(&v, SAME_WITHIN) == r;
        trial_free(&t);
    }
    print_message("  gain %+.1f%%: %d of %d %s\n", 100 * gain, n, TRIALS, verdict_relation_name(r));
    return n;
}

static void answers(void **state)
{
    static const struct {
        double gain;
        enum verdict_relation is;
    } row[] = {{0.0, VERDICT_SAME}, {0.01, VERDICT_FASTER}, {0.03, VERDICT_FASTER}, {-0.01, VERDICT_SLOWER}};
    const struct noise model[] = {NOISE_H200, NOISE_POWER_CAP};
    (void)state;
    for (size_t m = 0; m < sizeof model / sizeof *model; m++)
        for (size_t i = 0; i < sizeof row / sizeof *row; i++)
            assert_int_equal(count(&model[m], row[i].gain, row[i].is, 1 + 10 * m + i), TRIALS);
}

/* The simulation can fail: under noise ten times that of the H200, twelve sessions do not do. */
static void it_can_see(void **state)
{
    const struct noise loud = {.session_sd = 0.005, .white_sd = 0.02};
    (void)state;
    assert_true(count(&loud, 0.0, VERDICT_SAME, 90) < TRIALS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers), cmocka_unit_test(it_can_see)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
