/* The race: who goes to confirmation. Its numbers select and are never shown as results nor handed to verdict. A race that was cut off is
 * run again: it is cheap, and its blocks must be whole. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "race.h"
#include "tune_private.h"

#define MAX_FIELD 256

static int by_score(const void *a, const void *b)
{
    const struct tune_item *x = *(struct tune_item *const *)a, *y = *(struct tune_item *const *)b;

    if (x->us != y->us) return x->us < y->us ? -1 : 1;
    return x->seq - y->seq;
}

/* Everything measured, no twins, best search score first; the standing arm is always there. Returns the number. */
static int field(struct tune *t, struct tune_item **out, int *standing)
{
    struct tune_item **all = calloc((size_t)t->nitems + 1, sizeof *all);
    int n = 0, kept = 0;

    *standing = -1;
    if (!all) return 0;
    for (int i = 0; i < t->nitems; i++)
        if (t->items[i]->fate == FATE_OK && t->items[i]->alias_of < 0 && t->items[i]->us > 0) all[n++] = t->items[i];
    qsort(all, (size_t)n, sizeof *all, by_score);
    for (int i = 0; i < n; i++) {
        bool in = kept < MAX_FIELD - 1 && all[i]->us <= RACE_SCREEN * all[0]->us;
        if (!in && all[i] != t->standing) continue;
        if (all[i] == t->standing) *standing = kept;
        out[kept++] = all[i];
    }
    free(all);
    return kept;
}

/* Compiled side by side where the cache has lost them. */
static int make_ready(struct tune *t, struct tune_item **items, int n, struct err *e)
{
    for (int i = 0; i < n; i++)
        if (tune_prepare(t, items[i], e) != 0) return -1;
    for (int i = 0; i < n; i++)
        if (tune_ready(t, items[i], e) != 0 || tune_item_detail(t, items[i], e) != 0) return -1;
    return 0;
}

/* Screening measures against the best, so the best must be right on every input: a kernel that is fast because it skips the maximum, say,
 * passes the quick check and would send all the good ones home. */
static int prove_best(struct tune *t, struct err *e)
{
    for (;;) {
        struct tune_item *best = NULL;
        bool passed;
        for (int i = 0; i < t->nitems; i++) {
            struct tune_item *x = t->items[i];
            if (x->fate == FATE_OK && x->alias_of < 0 && x->us > 0 && (!best || x->us < best->us)) best = x;
        }
        if (!best) return 0;
        if (tune_interrupted(t, e) != 0 || tune_ready(t, best, e) != 0 || tune_prove(t, best, &passed, e) != 0)
            return -1;
        if (passed) return 0;
    }
}

struct block {
    int number, n, seqs[MAX_FIELD];
    double us[MAX_FIELD];
};

static int put_block(struct tune *t, struct block *b, struct err *e)
{
    int rc = b->n ? store_race_block(t->store, t->run.id, b->number, b->seqs, b->us, b->n, e) : 0;

    b->n = 0;
    return rc;
}

static int run_race(struct tune *t, struct race *r, struct tune_item **items, double box_s, struct err *e)
{
    struct block b = {.number = -1};
    double start = worker_now();
    int c, number;

    while (race_next(r, &c, &number)) {
        double us;
        bool ok;
        if (tune_interrupted(t, e) != 0) return -1;
        if (number != b.number) {
            if (put_block(t, &b, e) != 0) return -1;
            if (number > 2 && worker_now() - start > box_s) { /* the screening blocks are always whole */
                tune_report(t, "the time for the race is used after %d blocks", number);
                race_stop(r);
                break;
            }
            if (race_new_round(r) && tune_device_fresh(t, e) != 0) return -1;
            b.number = number;
        }
        if (tune_sample(t, items[c], &us, &ok, e) != 0) return -1;
        race_tell(r, ok, us);
        b.seqs[b.n] = items[c]->seq;
        b.us[b.n++] = us;
        t->progress.done++;
        tune_tick(t);
    }
    return put_block(t, &b, e);
}

/* The best of a race that is over, the standing arm left out. */
static void take_standings(struct tune *t, struct race *r, struct tune_item **items)
{
    int order[MAX_FIELD], n = race_standings(r, order, NULL, MAX_FIELD);

    t->nstandings = 0;
    for (int i = 0; i < n && t->nstandings < TUNE_RACE_KEEP; i++)
        if (items[order[i]] != t->standing) t->standings[t->nstandings++] = items[order[i]];
}

int tune_race(struct tune *t, struct err *e)
{
    struct tune_item *items[MAX_FIELD];
    struct race *r = NULL;
    struct rng rng;
    int standing, n, rc;

    t->progress.phase = TUNE_CHECK;
    if (prove_best(t, e) != 0) return -1;
    n = field(t, items, &standing);
    if (n == 0)
        return err_set(
            e, ERR_DEVICE,
            "no candidate passed: %d proposals failed; `fatune show` tells why each did, the commonest fate is in "
            "the summary above",
            t->nitems);
    t->progress.phase = TUNE_RACE;
    t->progress.done = t->progress.total = 0;
    tune_report(t, "race among %d candidates within %.1fx of the best", n, RACE_SCREEN);
    rng_init(&rng, t->seed + (uint64_t)t->run.id, "race");
    TRY(make_ready(t, items, n, e));
    TRY(store_race_clear(t->store, t->run.id, e));
    TRY(race_open(&r, n, TUNE_RACE_KEEP, standing, &rng, e));
    TRY(tune_device_fresh(t, e));
    TRY(run_race(t, r, items, t->minutes * 60 / 4, e));
    take_standings(t, r, items);
    rc = tune_to_confirm(t, e);
out:
    race_close(r);
    return rc;
}
