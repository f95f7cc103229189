/* sim_night.c - whole nights in virtual time: race.c and verdict.c as a run uses them, fed by a noise model with a known truth.
 *
 * A night: a champion and 200 candidates race in randomised blocks, a fresh worker each round; the three best of the
 * standings meet the champion in fresh sessions, sharing alpha; an A/A control watches. On the same race the naive rule of
 * most autotuners is tried: the fastest of all, by a 95% interval that excludes 0 and Hedges' g of at least 0.8. */
#include <stdio.h>

#include "race.h"
#include "sim.h"
#include "stats.h"

enum {
    FIELD = 201,
    CHAMPION = 0,
    KEEP = 8,
    FINALISTS = 3,
    OPEN_BLOCKS = 8 /* of the screening and round 1: nobody has left */
};

struct scene {
    struct noise trial;                             /* of sessions */
    int sessions, quads, m;                         /* of a trial */
    double worker_sd, block_sd, sample_sd, spike_p; /* of the race: candidate x worker, block, sample */
};

static const struct scene *assumed(void)
{
    static struct scene s;
    s = (struct scene){spiky(NOISE_ASSUMED), SESSIONS, QUADS, M, 0.003, 0.008, 0.008, 0.02};
    return &s;
}

static const struct scene *like_an_h200(void)
{
    static struct scene s;
    s = (struct scene){NOISE_H200, SESSIONS, QUADS, M, 0.0012, 0.0025, 0.003, 0.0009};
    return &s;
}

/* Kernels so long that a trial is cut to 8 sessions of 4 quads of single samples. */
static const struct scene *cut(void)
{
    static struct scene s;
    s = (struct scene){NOISE_H200_CUT, 8, 4, 1, 0.0014, 0.006, 0.003, 0.0002};
    return &s;
}

struct night {
    int finalist[FINALISTS], promoted; /* candidate, -1: none */
    bool invalid, naive;               /* the control vetoes; the naive rule promotes */
    int naive_pick;
};

struct sheet {
    double x[OPEN_BLOCKS][FIELD]; /* ln us in the blocks that everybody ran */
};

static void race_night(struct night *out, struct sheet *sheet, const struct scene *s, const double *ln_us,
                       struct rng *r)
{
    struct race *race = NULL;
    double worker[FIELD], block_effect = 0.0;
    int cand, block, last = -1, order[KEEP + 1], n = 0;
    assert_int_equal(race_open(&race, FIELD, KEEP, CHAMPION, r, NULL), 0);
    for (int b = 0; b < OPEN_BLOCKS; b++)
        for (int i = 0; i < FIELD; i++)
            sheet->x[b][i] = NAN;
    for (bool fresh = race_new_round(race); race_next(race, &cand, &block); fresh = race_new_round(race)) {
        for (int i = 0; fresh && i < FIELD; i++)
            worker[i] = s->worker_sd * rng_normal(r);
        if (block != last) block_effect = s->block_sd * rng_normal(r);
        last = block;
        double x = ln_us[cand] + worker[cand] + block_effect + s->sample_sd * rng_normal(r);
        if (rng_uniform(r) < s->spike_p) x += log(1.1);
        if (block < OPEN_BLOCKS) sheet->x[block][cand] = x;
        race_tell(race, true, exp(x));
    }
    const int standing = race_standings(race, order, NULL, KEEP + 1);
    for (int i = 0; i < standing && n < FINALISTS; i++)
        if (order[i] != CHAMPION) out->finalist[n++] = order[i];
    assert_int_equal(n, FINALISTS);
    race_close(race);
}

/* What selecting and deciding on one set of data comes to, even when what a block's samples share is taken off first. */
static void naive(struct night *out, const struct sheet *sheet)
{
    double x[FIELD][OPEN_BLOCKS], mean[FIELD], middle[OPEN_BLOCKS];
    struct stats_welch w;
    struct stats_smd g;
    int best = 1;
    for (int b = 0; b < OPEN_BLOCKS; b++)
        assert_int_equal(stats_median(sheet->x[b], FIELD, &middle[b]), STATS_OK);
    for (int i = 0; i < FIELD; i++) {
        for (int b = 0; b < OPEN_BLOCKS; b++)
            x[i][b] = sheet->x[b][i] - middle[b];
        assert_int_equal(stats_mean(x[i], OPEN_BLOCKS, &mean[i]), STATS_OK);
        if (i != CHAMPION && mean[i] < mean[best]) best = i;
    }
    assert_int_equal(stats_welch(x[CHAMPION], OPEN_BLOCKS, x[best], OPEN_BLOCKS, 0.95, &w), STATS_OK);
    assert_int_equal(stats_smd_of(x[CHAMPION], OPEN_BLOCKS, x[best], OPEN_BLOCKS, 0.95, &g), STATS_OK);
    out->naive = w.ci.low > 0.0 && g.g >= 0.8;
    out->naive_pick = best;
}

static struct trial meet(const struct scene *s, const double *ln_us, int b, struct rng *r)
{
    return noise_trial(&s->trial, r, s->sessions, s->quads, s->m, exp(ln_us[CHAMPION]),
                       1.0 - exp(ln_us[b] - ln_us[CHAMPION]));
}

static struct night night(const struct scene *s, const double *ln_us, struct rng *r)
{
    struct night out = {.promoted = -1};
    struct verdict_rule rule = sim_rule;
    static struct sheet sheet;
    double best = 1.0;
    rule.alpha /= FINALISTS;
    rule.control_required = true;
    race_night(&out, &sheet, s, ln_us, r);
    naive(&out, &sheet);
    struct trial aa = meet(s, ln_us, CHAMPION, r);
    for (int k = 0; k < FINALISTS; k++) {
        struct trial ab = meet(s, ln_us, out.finalist[k], r);
        struct verdict v;
        assert_int_equal(verdict_decide(&v, &rule, &ab, &aa, r, NULL), 0);
        out.invalid = out.invalid || v.outcome == VERDICT_INVALID;
        if (v.outcome == VERDICT_PROMOTE && v.ratio < best) {
            best = v.ratio;
            out.promoted = out.finalist[k];
        }
        (void)rng_u64(r); /* verdict_decide leaves the stream where it was */
        trial_free(&ab);
    }
    trial_free(&aa);
    return out;
}

struct count {
    int nights, promoted, right, invalid, naive, naive_right, found;
};

/* planted: the candidate that is really faster, -1: none. */
static struct count nights(const char *name, const struct scene *s, const double *ln_us, int planted, int n,
                           uint64_t seed)
{
    struct count c = {.nights = n};
    struct rng r;
    rng_init_raw(&r, seed, 9);
    for (int i = 0; i < n; i++) {
        const struct night x = night(s, ln_us, &r);
        c.promoted += x.promoted >= 0;
        c.right += planted >= 0 && x.promoted == planted;
        c.invalid += x.invalid;
        c.naive += x.naive;
        c.naive_right += planted >= 0 && x.naive && x.naive_pick == planted;
        for (int k = 0; k < FINALISTS; k++)
            c.found += x.finalist[k] == planted;
    }
    print_message(
        "  %-30s %4d nights: promoted %d (right %d), control vetoes %d, planted among the finalists %d; naive rule "
        "promotes %.1f%% (right %.1f%%)\n",
        name, n, c.promoted, c.right, c.invalid, c.found, 100.0 * c.naive / n, 100.0 * c.naive_right / n);
    return c;
}

static void fill(double *ln_us, int planted, double gain)
{
    for (int i = 0; i < FIELD; i++)
        ln_us[i] = log(250.0) + (i == planted ? log(1.0 - gain) : 0.0);
}

/* 200 copies of the champion: nobody is promoted, and the naive rule on the same numbers promotes somebody on many nights. */
static void equals_are_never_promoted(void **state)
{
    const struct {
        const char *name;
        const struct scene *s;
    } row[] = {{"equals, assumed noise", assumed()},
               {"equals, like an H200", like_an_h200()},
               {"equals, like an H200, cut", cut()}};
    double ln_us[FIELD];
    (void)state;
    fill(ln_us, -1, 0.0);
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        const struct count c = nights(row[k].name, row[k].s, ln_us, -1, 500, 1 + k);
        assert_int_equal(c.promoted, 0);
        within("naive rule", (double)c.naive / c.nights, 0.30, 1.0);
        within("vetoes of the control", (double)c.invalid / c.nights, 0.0, 0.08);
    }
}

/* One of 200 is faster: the nights must see it, or finding nobody among equals would prove nothing. */
static void a_planted_gain_is_found_and_promoted(void **state)
{
    const struct {
        const char *name;
        const struct scene *s;
        double gain, least;
    } row[] = {{"2% planted, assumed noise", assumed(), 0.02, 0.90},
               {"1% planted, like an H200", like_an_h200(), 0.01, 0.90},
               {"2% planted, like an H200, cut", cut(), 0.02, 0.85}};
    double ln_us[FIELD];
    (void)state;
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        fill(ln_us, 117, row[k].gain);
        const struct count c = nights(row[k].name, row[k].s, ln_us, 117, 100, 11 + k);
        assert_int_equal(c.promoted, c.right);
        within("promoted", (double)c.right / c.nights, row[k].least, 1.0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_are_never_promoted),
        cmocka_unit_test(a_planted_gain_is_found_and_promoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
