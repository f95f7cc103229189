/* race.c - invariants.
 *
 * - A block is one pass over `order`, a shuffle of the candidates live when it began; it is complete when `at` reaches its
 *   end. A candidate that leaves during a block is passed over; its values are never used.
 * - x[block * n + cand] is ln time, NAN where not measured; every block is kept, so standings can reach back.
 * - Scores use a window of complete blocks and the medians over candidates still live: who left does not move them.
 * - A round is closed by the race_tell that completes its last block, so that race_new_round and race_live are true at once.
 * - Equal scores are ordered by candidate number: same answers, same race. */
#include "race.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stats.h"

static const int blocks_of_round[] = {3, 5, 10, 20, 30};
enum { ROUNDS = sizeof blocks_of_round / sizeof *blocks_of_round, BLOCKS = 3 + 5 + 10 + 20 + 30 };

#define CUT_MARGIN 0.002 /* of ln time: what lies this near to the cut line stays */

struct race {
    int n, keep, protected_;
    struct rng rng;
    bool *live;
    int *order, norder, at; /* the running block */
    double *x;              /* BLOCKS x n */
    int block;              /* complete blocks so far = number of the running one */
    int round, round_start; /* first block of the round */
    bool pending, over;
    double *score, *scratch; /* n each */
    int *ranked;             /* n */
};

int race_open(struct race **out, int n, int keep, int protected_, const struct rng *rng, struct err *e)
{
    if (n < 1 || keep < 1 || protected_ < -1 || protected_ >= n)
        return err_set(e, ERR_BUG, "race_open: %d candidates, keep %d, protected %d: out of range", n, keep,
                       protected_);
    struct race *r = calloc(1, sizeof *r);
    if (r == NULL) return err_nomem(e);
    *r = (struct race){.n = n, .keep = keep, .protected_ = protected_, .rng = *rng};
    r->live = malloc((size_t)n * sizeof *r->live);
    r->order = malloc((size_t)n * sizeof *r->order);
    r->x = malloc((size_t)BLOCKS * (size_t)n * sizeof *r->x);
    r->score = malloc((size_t)n * sizeof *r->score);
    r->scratch = malloc((size_t)n * sizeof *r->scratch);
    r->ranked = malloc((size_t)n * sizeof *r->ranked);
    if (r->live == NULL || r->ranked == NULL || r->order == NULL || r->x == NULL || r->score == NULL ||
        r->scratch == NULL) {
        race_close(r);
        return err_nomem(e);
    }
    for (int i = 0; i < n; i++)
        r->live[i] = true;
    for (int i = 0; i < BLOCKS * n; i++)
        r->x[i] = NAN;
    *out = r;
    return 0;
}

void race_close(struct race *r)
{
    if (r == NULL) return;
    free(r->live);
    free(r->order);
    free(r->x);
    free(r->score);
    free(r->scratch);
    free(r->ranked);
    free(r);
}

int race_live(const struct race *r)
{
    int count = 0;
    for (int i = 0; i < r->n; i++)
        count += r->live[i];
    return count;
}

int race_round(const struct race *r)
{
    return r->round;
}

bool race_new_round(const struct race *r)
{
    return !r->over && !r->pending && r->block == r->round_start && r->norder == 0;
}

void race_stop(struct race *r)
{
    r->over = true;
    r->pending = false;
}

/* ---- scores ---- */

/* Median of the live candidates' values in one block; NAN when none was measured. */
static double block_median(const struct race *r, int block)
{
    int k = 0;
    for (int i = 0; i < r->n; i++)
        if (r->live[i] && !isnan(r->x[block * r->n + i])) r->scratch[k++] = r->x[block * r->n + i];
    return k > 0 ? stats_median_in_place(r->scratch, k) : NAN;
}

/* score[i] = median over blocks first..last-1 of (x - median of the block), NAN for who has no value there. */
static void score(const struct race *r, int first, int last)
{
    double middle[BLOCKS], relative[BLOCKS];
    for (int b = first; b < last; b++)
        middle[b] = block_median(r, b);
    for (int i = 0; i < r->n; i++) {
        int k = 0;
        r->score[i] = NAN;
        if (!r->live[i]) continue;
        for (int b = first; b < last; b++)
            if (!isnan(r->x[b * r->n + i])) relative[k++] = r->x[b * r->n + i] - middle[b];
        if (k > 0) r->score[i] = stats_median_in_place(relative, k);
    }
}

/* Live candidates by score, best first; without a score last. Insertion keeps it stable; n is a few hundred. */
static int rank_live(const struct race *r, int *out)
{
    int count = 0;
    for (int i = 0; i < r->n; i++) {
        if (!r->live[i]) continue;
        const double s = isnan(r->score[i]) ? INFINITY : r->score[i];
        int k = count++;
        for (; k > 0; k--) {
            const double before = isnan(r->score[out[k - 1]]) ? INFINITY : r->score[out[k - 1]];
            if (before <= s) break;
            out[k] = out[k - 1];
        }
        out[k] = i;
    }
    return count;
}

/* ---- rounds ---- */

static void screen(struct race *r)
{
    double best = INFINITY;
    score(r, 0, r->block); /* relative to the block medians: a clock that moved between blocks does not matter */
    for (int i = 0; i < r->n; i++)
        if (r->live[i]) best = fmin(best, r->score[i]);
    for (int i = 0; i < r->n; i++)
        if (r->live[i] && i != r->protected_ && r->score[i] > best + log(RACE_SCREEN)) r->live[i] = false;
}

static void halve(struct race *r)
{
    score(r, r->round_start, r->block);
    const int count = rank_live(r, r->ranked);
    int kept = (count + 1) / 2;
    if (kept < r->keep) kept = r->keep;
    if (kept >= count) return;
    const double cut = r->score[r->ranked[kept - 1]];
    for (int k = kept; k < count; k++) {
        const int i = r->ranked[k];
        if (i != r->protected_ && r->score[i] > cut + CUT_MARGIN) r->live[i] = false;
    }
}

static void close_round(struct race *r)
{
    const int before = race_live(r);
    if (r->round == 0)
        screen(r);
    else
        halve(r);
    const int after = race_live(r);
    const bool settled = r->round > 0 && after == before && after <= r->keep;
    if (settled || r->round + 1 == ROUNDS || after <= 1) {
        race_stop(r);
        return;
    }
    r->round++;
    r->round_start = r->block;
}

static void begin_block(struct race *r)
{
    r->norder = r->at = 0;
    for (int i = 0; i < r->n; i++)
        if (r->live[i]) r->order[r->norder++] = i;
    rng_shuffle(&r->rng, r->order, (size_t)r->norder);
}

bool race_next(struct race *r, int *cand, int *block)
{
    if (r->over) return false;
    if (r->norder == 0) begin_block(r);
    r->pending = true;
    *cand = r->order[r->at];
    *block = r->block;
    return true;
}

void race_tell(struct race *r, bool ok, double us)
{
    if (!r->pending) return;
    const int cand = r->order[r->at++];
    r->pending = false;
    if (ok && isfinite(us) && us > 0.0)
        r->x[r->block * r->n + cand] = log(us);
    else
        r->live[cand] = false;
    if (r->at < r->norder) return;
    r->norder = r->at = 0;
    r->block++;
    if (race_live(r) == 0)
        race_stop(r);
    else if (r->block - r->round_start == blocks_of_round[r->round])
        close_round(r);
}

/* The blocks behind the standings: the running round's once three are complete, else the round before with them; when no
 * block is complete, whatever the first one holds. */
static void standings_window(const struct race *r, int *first, int *last)
{
    *first = r->round_start;
    *last = r->block;
    if (r->block - r->round_start < 3 && r->round > 0) *first = r->round_start - blocks_of_round[r->round - 1];
    if (r->block == 0) *last = 1;
}

int race_standings(const struct race *r, int *out, double *scores, int max)
{
    int first, last;
    standings_window(r, &first, &last);
    score(r, first, last);
    int count = rank_live(r, r->ranked);
    if (count > max) count = max;
    for (int k = 0; k < count; k++) {
        out[k] = r->ranked[k];
        if (scores != NULL) scores[k] = r->score[r->ranked[k]];
    }
    return count;
}

double race_selection_optimism(int n, double se)
{
    return n < 2 ? 0.0 : se * stats_normal_quantile((n - 0.375) / (n + 0.25));
}
