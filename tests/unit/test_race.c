/* test_race.c - every block is a fresh permutation, halving counts, who may never be dropped, failures, standings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "race.h"

enum { MOST = 512, BLOCKS = 68 };

/* What a finished race showed from outside. */
struct log {
    int measured[MOST], blocks, rounds, per_block[BLOCKS], live_in_round[8];
    int first_of_block[BLOCKS];
};

static struct race *start(int n, int keep, int protected_)
{
    struct rng r;
    struct race *race = NULL;
    struct err e = {0};
    rng_init_raw(&r, 1, 1);
    assert_int_equal(race_open(&race, n, keep, protected_, &r, &e), 0);
    return race;
}

/* Runs to the end with exact times us[]; a block must measure nobody twice. */
static void run(struct race *race, const double *us, struct log *log)
{
    int cand, block, last_block = -1;
    char seen[MOST] = {0};
    memset(log, 0, sizeof *log);
    for (bool fresh = race_new_round(race); race_next(race, &cand, &block); fresh = race_new_round(race)) {
        if (fresh) {
            assert_int_equal(race_round(race), log->rounds);
            log->live_in_round[log->rounds++] = race_live(race);
        }
        if (block != last_block) {
            assert_int_equal(block, last_block + 1);
            memset(seen, 0, sizeof seen);
            log->first_of_block[block] = cand;
            last_block = block;
        }
        assert_false(seen[cand]);
        seen[cand] = 1;
        log->measured[cand]++;
        log->per_block[block]++;
        race_tell(race, true, us[cand]);
    }
    log->blocks = last_block + 1;
    assert_false(race_new_round(race));
}

static void halving_keeps_the_best(void **state)
{
    double us[100];
    int out[8];
    double scores[8];
    struct log log;
    struct race *race = start(100, 8, 99);
    (void)state;
    for (int i = 0; i < 100; i++)
        us[i] = 100.0 * exp(0.004 * ((i * 37) % 100)); /* 0.4% apart: the widest is 1.49 x the best */
    run(race, us, &log);
    /* 100 -> 50 (+champion) -> 26 -> 13 or 14 -> 8 (+champion), after rounds of 5, 10, 20, 30 blocks */
    assert_int_equal(log.live_in_round[0], 100);
    assert_int_equal(log.live_in_round[1], 100);
    assert_in_range(log.live_in_round[2], 50, 51);
    assert_in_range(log.live_in_round[3], 25, 27);
    assert_in_range(log.live_in_round[4], 13, 15);
    assert_int_equal(log.rounds, 5);
    assert_int_equal(log.blocks, BLOCKS);
    assert_int_equal(log.measured[99], BLOCKS); /* protected */
    assert_int_equal(race_standings(race, out, scores, 8), 8);
    for (int k = 0; k < 8; k++)
        assert_int_equal((out[k] * 37) % 100, k);
    for (int k = 1; k < 8; k++)
        assert_true(fabs(scores[k] - scores[k - 1] - 0.004) < 1e-12);
    race_close(race);
}

static void screening_drops_beyond_one_and_a_half(void **state)
{
    const double us[] = {100, 149, 151, 400, 120};
    struct log log;
    struct race *race = start(5, 2, -1);
    (void)state;
    run(race, us, &log);
    assert_int_equal(log.measured[2], 3);
    assert_int_equal(log.measured[3], 3);
    assert_int_equal(log.measured[1], 8);  /* 3 + 5: then 3 -> 2 */
    assert_int_equal(log.measured[0], 18); /* and one round of 10 that drops nobody ends it */
    assert_int_equal(log.rounds, 3);
    race_close(race);
}

static void ties_at_the_cut_line_stay(void **state)
{
    double us[40];
    struct log log;
    struct race *race = start(40, 8, -1);
    (void)state;
    for (int i = 0; i < 40; i++)
        us[i] = 100.0 + 0.004 * i; /* all within 0.16% */
    run(race, us, &log);
    assert_int_equal(race_live(race), 40);
    assert_int_equal(log.rounds, 5); /* ends after the last round, all alive */
    race_close(race);
}

static void few_candidates_get_one_round_after_screening(void **state)
{
    const double us[] = {2.9, 2, 2.5};
    struct log log;
    int out[3];
    struct race *race = start(3, 8, -1);
    (void)state;
    run(race, us, &log);
    assert_int_equal(log.blocks, 8);
    assert_int_equal(race_standings(race, out, NULL, 3), 3);
    assert_int_equal(out[0], 1);
    assert_int_equal(out[2], 0);
    race_close(race);
    race = start(1, 8, 0);
    run(race, us, &log);
    assert_int_equal(log.blocks, 3);
    assert_int_equal(race_standings(race, out, NULL, 3), 1);
    race_close(race);
}

static void order_is_shuffled_every_block(void **state)
{
    double us[30];
    struct log log;
    int different = 0;
    struct race *race = start(30, 30, -1);
    (void)state;
    for (int i = 0; i < 30; i++)
        us[i] = 10.0;
    run(race, us, &log);
    for (int b = 1; b < log.blocks; b++)
        different += log.first_of_block[b] != log.first_of_block[b - 1];
    assert_true(different >= 5);
    race_close(race);
}

static void asking_twice_repeats_and_failures_leave(void **state)
{
    struct race *race = start(4, 2, 0);
    int a, b, block;
    (void)state;
    assert_true(race_next(race, &a, &block));
    assert_true(race_next(race, &b, &block));
    assert_int_equal(a, b);
    race_tell(race, false, 0.0);
    race_tell(race, true, 1.0); /* no question is open: ignored */
    assert_int_equal(race_live(race), 3);
    while (race_next(race, &b, &block)) {
        assert_int_not_equal(a, b);
        race_tell(race, true, b == 3 ? NAN : 5.0); /* a time that is no time is a failure */
    }
    assert_int_equal(race_live(race), a == 3 ? 3 : 2);
    race_close(race);
}

static void all_failed_is_over(void **state)
{
    struct race *race = start(3, 2, -1);
    int cand, block, out[3];
    (void)state;
    while (race_next(race, &cand, &block))
        race_tell(race, false, 0.0);
    assert_int_equal(race_live(race), 0);
    assert_int_equal(race_standings(race, out, NULL, 3), 0);
    race_close(race);
}

static void stopped_in_the_middle(void **state)
{
    static const double us[] = {4, 3, 2, 1.9, 3.5};
    struct race *race = start(5, 2, -1);
    int cand, block, out[5], measured_first = -1;
    double scores[5];
    (void)state;
    assert_true(race_next(race, &measured_first, &block));
    race_tell(race, true, us[measured_first]);
    race_stop(race);
    assert_false(race_next(race, &cand, &block));
    assert_int_equal(race_standings(race, out, scores, 5), 5);
    assert_int_equal(out[0], measured_first);
    assert_true(isnan(scores[1]));
    race_close(race);
    race = start(5, 5, -1);
    /* into the second block of round 1: standings reach back to the screening */
    for (int i = 0; i < 3 * 5 && race_next(race, &cand, &block); i++)
        race_tell(race, true, us[cand]);
    assert_int_equal(race_round(race), 1);
    for (int i = 0; i < 3 && race_next(race, &cand, &block); i++)
        race_tell(race, true, us[cand]);
    race_stop(race);
    assert_int_equal(race_standings(race, out, scores, 5), race_live(race));
    assert_int_equal(out[0], 3);
    assert_false(isnan(scores[race_live(race) - 1]));
    race_close(race);
}

static void spikes_and_block_noise_do_not_move_scores(void **state)
{
    struct race *race = start(9, 9, -1);
    int cand, block, out[9];
    (void)state;
    while (race_next(race, &cand, &block)) {
        const double speed = block % 2 ? 1.3 : 1.0; /* the whole block is slower */
        const double spike = (block + cand) % 7 == 0 ? 1.2 : 1.0;
        race_tell(race, true, (100.0 + cand) * speed * spike);
    }
    assert_int_equal(race_standings(race, out, NULL, 9), 9);
    for (int k = 0; k < 9; k++)
        assert_int_equal(out[k], k);
    race_close(race);
}

static void optimism_is_the_expected_maximum(void **state)
{
    static const struct {
        int n;
        double expected;
    } row[] = {{10, 1.539}, {50, 2.249}, {100, 2.508}, {200, 2.746}, {300, 2.878}, {500, 3.037}, {1000, 3.241}};
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const double got = race_selection_optimism(row[i].n, 2.0) / 2.0;
        assert_true(fabs(got / row[i].expected - 1.0) < 0.01);
    }
    assert_true(race_selection_optimism(1, 1.0) == 0.0);
}

static void bad_arguments_are_refused(void **state)
{
    struct rng r;
    struct race *race = NULL;
    struct err e = {0};
    (void)state;
    rng_init_raw(&r, 1, 1);
    assert_int_equal(race_open(&race, 0, 8, -1, &r, &e), -1);
    assert_int_equal(e.code, ERR_BUG);
    assert_null(race);
    race_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halving_keeps_the_best),
        cmocka_unit_test(screening_drops_beyond_one_and_a_half),
        cmocka_unit_test(ties_at_the_cut_line_stay),
        cmocka_unit_test(few_candidates_get_one_round_after_screening),
        cmocka_unit_test(order_is_shuffled_every_block),
        cmocka_unit_test(asking_twice_repeats_and_failures_leave),
        cmocka_unit_test(all_failed_is_over),
        cmocka_unit_test(stopped_in_the_middle),
        cmocka_unit_test(spikes_and_block_noise_do_not_move_scores),
        cmocka_unit_test(optimism_is_the_expected_maximum),
        cmocka_unit_test(bad_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
