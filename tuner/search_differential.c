/* search_differential.c - differential evolution on the indices of the values.
 *
 * A population of vectors of indices. A trial for one of them is a base plus a scaled difference of two others, crossed
 * over with it gene by gene (binomial), and takes its place when it is no slower (Storn and Price, "Differential
 * evolution", J. Global Optimization 11, 1997). The base is the faster of two drawn: between their rand/1, which is slow
 * for a hundred evaluations, and best/1, which soon has one vector left. Indices are rounded at random in proportion to
 * the fraction, so that small differences do not vanish, and clamped to the range; the scale is drawn anew for each trial.
 *
 * A vector belongs to one template, and so do base and differences. Where the base has another template than the vector
 * that the trial is for, the trial is the base's alone: so a fast template takes the places of slow ones; while it has
 * only few, its trials are scattered besides. An invalid trial is repaired to a valid point between it and its vector,
 * one that was proposed before walks on to a near one.
 *
 * Answers lag: vectors have their turns one after another, whether their last trial is answered or not. A vector that
 * failed is worse than any time; while a base would be one, points are random. */
#include "search_common.h"

#include <math.h>
#include <stdlib.h>

#define POPULATION 24
#define SCALE_LOW 0.3
#define SCALE_HIGH 0.8
#define CROSSOVER 0.7
#define FEW 4       /* vectors of a template whose differences say too little of it */
#define SCATTER 0.3 /* then this share of the parameters moves besides */

struct differential {
    struct search_book book; /* of: the vector that the point is, or is a trial for */
    int member[POPULATION];  /* its point now */
    int population, turn;
    int next_default;
};

static void differential_close(void *state)
{
    struct differential *x = state;
    if (!x) return;
    search_book_free(&x->book);
    free(x);
}

static void *differential_open(struct search *s)
{
    struct differential *x = calloc(1, sizeof *x);
    if (!x) return NULL;
    int few = search_budget(s) / 10; /* each vector should have several trials */
    x->population = few < 5 ? 5 : few < POPULATION ? few : POPULATION;
    return x;
}

static const struct search_point *vector(const struct differential *x, int i)
{
    return &x->book.points[x->member[i]];
}

static const struct search_point *any_vector(const struct differential *x, struct rng *r)
{
    return vector(x, (int)rng_below(r, (uint64_t)x->population));
}

/* Two vectors of a template that worked, not the same where there are two. Returns how many there are. */
static int two_of(const struct differential *x, int tmpl, struct rng *r, const struct search_point *two[2])
{
    int which[POPULATION], n = 0;
    for (int i = 0; i < x->population; i++)
        if (vector(x, i)->answer == SEARCH_WORKED && vector(x, i)->c.tmpl == tmpl) which[n++] = i;
    rng_shuffle(r, which, (size_t)n);
    two[0] = vector(x, which[0]);
    two[1] = vector(x, which[n > 1]);
    return n;
}

static uint16_t rounded(double v, int n, struct rng *r)
{
    v = floor(v + rng_uniform(r));
    return (uint16_t)(v < 0 ? 0 : v > n - 1 ? n - 1 : v);
}

/* Does vector i its trial; false when there is no base yet. */
static bool trial(const struct differential *x, struct search *s, int i, const struct cand **from, struct cand *want)
{
    const struct domain *d = search_domain(s);
    struct rng *r = search_rng(s);
    const struct search_point *base = any_vector(x, r), *other = any_vector(x, r), *two[2], *target = vector(x, i);
    if (other->y < base->y) base = other;
    if (base->answer != SEARCH_WORKED) return false;
    int t = base->c.tmpl, n = search_params(d, t);
    bool cross = target->answer == SEARCH_WORKED && target->c.tmpl == t;
    double scale = SCALE_LOW + (SCALE_HIGH - SCALE_LOW) * rng_uniform(r);
    int always = n > 0 ? (int)rng_below(r, (uint64_t)n) : 0;
    bool few = two_of(x, t, r, two) < FEW;
    *from = cross ? &target->c : &base->c;
    *want = **from;
    for (int k = 0; k < n; k++) {
        if (cross && k != always && rng_uniform(r) >= CROSSOVER) continue;
        double step = scale * (two[0]->c.at[k] - two[1]->c.at[k]);
        want->at[k] = rounded(base->c.at[k] + step, domain_nvalues(d, t, k), r);
        if (few && rng_uniform(r) < SCATTER) search_move(d, want, k, r);
    }
    return true;
}

static bool differential_ask(void *state, struct search *s, struct cand *out)
{
    struct differential *x = state;
    const struct cand *from;
    struct cand want;
    if (search_book_reserve(&x->book) != 0) return false;
    int i = x->book.n < x->population ? x->book.n : x->turn;
    bool found = search_default(s, &x->next_default, out);
    if (!found && x->book.n >= x->population && trial(x, s, i, &from, &want))
        found = search_reach(s, from, &want, out);
    else if (!found)
        found = search_fresh(s, out);
    if (!found) return false;
    if (x->book.n < x->population)
        x->member[i] = x->book.n;
    else
        x->turn = (x->turn + 1) % x->population;
    search_book_add(&x->book, search_domain(s), out, INFINITY, i);
    return true;
}

static void differential_tell(void *state, struct search *s, const struct cand *c, bool ok, double us)
{
    struct differential *x = state;
    int id = search_book_tell(&x->book, search_domain(s), c, ok, us);
    if (id < 0) return;
    int i = x->book.points[id].of;
    if (i == SEARCH_LEARNT) { /* vectors as well, as long as there is room */
        i = id % x->population;
        if (id < x->population) x->member[i] = id;
    }
    if (!ok) return;
    if (x->book.points[id].y <= vector(x, i)->y) x->member[i] = id;
}

extern const struct search_strategy search_differential;
const struct search_strategy search_differential = {.name = "differential",
                                                    .what = "differential evolution on the indices of values",
                                                    .open = differential_open,
                                                    .ask = differential_ask,
                                                    .tell = differential_tell,
                                                    .close = differential_close};
