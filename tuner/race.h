/* race.h - who is measured next, who is dropped. A pure state machine (STATISTICS: sequential halving in randomised blocks).
 *
 *   R1  3 blocks; a block measures every live candidate once, in a fresh random order. Then drop those whose median exceeds
 *       1.5 x the best median.
 *   R2+ rounds of 5, 10, 20, 30 blocks; score = median over this round's blocks of (x - median of the block), x = ln time. Keep
 *       ceil(n/2), never fewer than `keep` (8); what lies within 0.2% of the cut line stays too; a protected candidate (the
 *       champion) is never dropped. The race ends when such a round drops nobody and at most `keep` remain, when one
 *       candidate is left, after the last round, or when the caller ends it.
 * Race numbers select and never decide: nothing here reaches verdict. */
#ifndef RACE_H
#define RACE_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "rng.h"

#define RACE_SCREEN 1.5

struct race;
/* n candidates 0..n-1; protected_ is an index or -1. */
int race_open(struct race **out, int n, int keep, int protected_, const struct rng *r, struct err *e);
void race_close(struct race *r);
/* The candidate to measure next and the number of its block (from 0, over all rounds); false when the race is over. */
bool race_next(struct race *r, int *cand, int *block);
/* The answer to the last race_next; not ok (failed, hung, wrong after timing): the candidate leaves. */
void race_tell(struct race *r, bool ok, double us);
/* Ends the race now, in the middle of anything; standings use what is complete: the running round when it has three blocks,
 * else the round before together with them (in the very first block: whatever was measured). */
void race_stop(struct race *r);
int race_live(const struct race *r);
int race_round(const struct race *r);      /* 0 = screening */
bool race_new_round(const struct race *r); /* the next race_next opens a round: the caller starts a new worker */
/* Live candidates, best first, at most max; scores (may be NULL): ln-time relative to the block median. */
int race_standings(const struct race *r, int *out, double *scores, int max);
/* Expected phantom gain of the minimum of n equal candidates whose scores have standard error se: se x E[max of n N(0,1)]
 * (Blom's (1958) approximation of the expected normal maximum). */
double race_selection_optimism(int n, double se);

#endif
