/* replay.h - how good is a strategy? It searches a space whose every point was measured before, many times, and is scored.
 *
 * The score is that of Willemsen et al., "A methodology for comparing optimization algorithms for auto-tuning", Future Generation
 * Computer Systems 159, 2024 (doi 10.1016/j.future.2024.05.021), over evaluations. With the N valid times in order, worst first:
 *   - random search without replacement is after M evaluations at the time of rank M (N + 1) / (M + 1), rounded, N at most: the baseline;
 *   - the budget B is the first M at which the baseline has gone 95% of the way from the median to the optimum: i / (N + 1 - i), rounded up, of
 *     the first rank i that has; 20 at least;
 *   - F(t) is the time at the mean over the repeats of the rank of the best so far (before any: the worst);
 *   - P = mean over t = 1..B of (baseline(t) - F(t)) / (baseline(t) - optimum): 0 is random search, 1 the optimum at once.
 * The baseline knows of no failures and strategies pay for theirs, so random search itself is a little below 0 where points fail. */
#ifndef REPLAY_H
#define REPLAY_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "parallel.h"
#include "recording.h"

struct replay_space {
    const struct recording *recording; /* borrowed */
    size_t n;                          /* valid times */
    double *us;                        /* worst first */
    uint64_t *ranks;                   /* of the recording's points in its domain, ascending */
    int *order;                        /* of each point: its place in us; -1: it failed */
    double median_us, best_us;
    int budget;
};
/* ERR_INPUT: fewer than two times, or all are equal. */
int replay_open(struct replay_space *s, const struct recording *r, struct err *e);
void replay_close(struct replay_space *s);
/* The baseline after so many evaluations, from 1. */
double replay_baseline(const struct replay_space *s, int evaluations);

struct replay_options {
    const char *strategy;
    int repeats;
    int lag;       /* answers that are outstanding when the next point is asked for: 0 is one after the other */
    int budget;    /* 0: the space's */
    uint64_t seed; /* repeat i searches with seed + i */
};
struct replay_score {
    char strategy[32]; /* what auto became */
    int budget;
    double p;
    double within_5;    /* share of the repeats that end within 5% of the optimum */
    double to_1, to_5;  /* median of the evaluations until within 1% and 5%; NAN: half of the repeats never are */
    double proposal_us; /* processor time of a proposal, its answer included, on average */
    double *curve_us;   /* F(1) to F(budget); replay_score_free */
};
/* ERR_USAGE for a strategy that is not known or cannot serve this space. Scores do not depend on the number of threads. */
int replay_score(struct replay_score *out, const struct replay_space *s, const struct replay_options *o,
                 struct parallel *threads, struct err *e);
void replay_score_free(struct replay_score *s);

#endif
