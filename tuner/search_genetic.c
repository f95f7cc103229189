/* search_genetic.c - a genetic algorithm whose crossover and mutation know the constraints.
 *
 * Steady state, one child at a time, parents chosen by rank (Whitley, "The GENITOR algorithm and selection pressure",
 * Proc. 3rd Int. Conf. on Genetic Algorithms, 1989): the population is the best POPULATION points that worked, so a
 * child enters by being faster than the slowest and a failure never does. It begins with the templates' defaults and
 * random points. Crossover is uniform (Syswerda, "Uniform crossover in genetic algorithms", same proceedings) between two
 * parents of one template; parents of two templates leave the first to mutation alone, so templates compete by their
 * members' times.
 *
 * Constraints: a child that is invalid is repaired, not thrown away. It is built from its first, valid, parent gene by
 * gene, and a gene that would make it invalid waits or is left out (repair as in Michalewicz, "Genetic Algorithms + Data
 * Structures = Evolution Programs", Springer, 1996). A child that was proposed before walks on to a near point that was
 * not. Answers lag: further children of the present population. */
#include "search_common.h"

#include <math.h>
#include <stdlib.h>

#define POPULATION 20
#define BIAS 1.7      /* the best is chosen this many times as often as the middle one */
#define CROSSOVER 0.8 /* share of children with two parents */
#define MATES 4       /* draws for a second parent of the same template */

struct genetic {
    struct search_book book;
    int next_default;
    int population;
};

static void genetic_close(void *state)
{
    struct genetic *x = state;
    if (!x) return;
    search_book_free(&x->book);
    free(x);
}

static void *genetic_open(struct search *s)
{
    struct genetic *x = calloc(1, sizeof *x);
    if (!x) return NULL;
    int few = search_budget(s) / 5; /* a small budget must leave room for children */
    x->population = few < 4 ? 4 : few < POPULATION ? few : POPULATION;
    return x;
}

/* Linear ranking: the density falls from BIAS at the best to 2 - BIAS at the last. */
static const struct cand *parent(const struct genetic *x, struct rng *r)
{
    int n = x->book.nranking < x->population ? x->book.nranking : x->population;
    double u = rng_uniform(r), slope = BIAS - 1;
    double at = n * (BIAS - sqrt(BIAS * BIAS - 4 * slope * u)) / (2 * slope);
    int i = (int)at;
    return &x->book.points[x->book.ranking[i < n ? i : n - 1]].c;
}

static void child(const struct genetic *x, struct search *s, const struct cand **from, struct cand *want)
{
    const struct domain *d = search_domain(s);
    struct rng *r = search_rng(s);
    const struct cand *mother = parent(x, r);
    int n = search_params(d, mother->tmpl);
    bool crossed = false;
    *from = mother;
    *want = *mother;
    if (rng_uniform(r) < CROSSOVER)
        for (int i = 0; i < MATES && !crossed; i++) {
            const struct cand *father = parent(x, r);
            if (father == mother || father->tmpl != mother->tmpl) continue;
            crossed = true;
            for (int k = 0; k < n; k++)
                if (rng_below(r, 2)) want->at[k] = father->at[k];
        }
    for (int k = 0; k < n; k++)
        if (rng_uniform(r) < 1.0 / n) search_move(d, want, k, r);
    if (!crossed) search_step(d, want, r);
}

static bool genetic_ask(void *state, struct search *s, struct cand *out)
{
    struct genetic *x = state;
    if (search_book_reserve(&x->book) != 0) return false;
    if (!search_default(s, &x->next_default, out)) {
        if (x->book.n < x->population || x->book.nranking < 2) {
            if (!search_fresh(s, out)) return false;
        } else {
            const struct cand *from;
            struct cand want;
            child(x, s, &from, &want);
            if (!search_reach(s, from, &want, out)) return false;
        }
    }
    search_book_add(&x->book, search_domain(s), out, INFINITY, 0);
    return true;
}

static void genetic_tell(void *state, struct search *s, const struct cand *c, bool ok, double us)
{
    struct genetic *x = state;
    search_book_tell(&x->book, search_domain(s), c, ok, us);
}

extern const struct search_strategy search_genetic;
const struct search_strategy search_genetic = {.name = "genetic",
                                               .what = "a genetic algorithm that repairs invalid children",
                                               .open = genetic_open,
                                               .ask = genetic_ask,
                                               .tell = genetic_tell,
                                               .close = genetic_close};
