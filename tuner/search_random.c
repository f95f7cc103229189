/* search_random.c - uniform random search without replacement over the valid points.
 *
 * The baseline that every other strategy must beat; with a hundred evaluations it has met the best 5% of any space with
 * a probability above 99% (Bergstra and Bengio, "Random search for hyper-parameter optimization", JMLR 13, 2012).
 * Answers teach it nothing. */
#include "search.h"

static void *random_open(struct search *s)
{
    return s; /* no state of its own */
}

static bool random_ask(void *state, struct search *s, struct cand *out)
{
    (void)state;
    return search_fresh(s, out);
}

static void random_tell(void *state, struct search *s, const struct cand *c, bool ok, double us)
{
    (void)state, (void)s, (void)c, (void)ok, (void)us;
}

static void random_close(void *state)
{
    (void)state;
}

extern const struct search_strategy search_random;
const struct search_strategy search_random = {.name = "random",
                                              .what = "uniform random points, none twice",
                                              .open = random_open,
                                              .ask = random_ask,
                                              .tell = random_tell,
                                              .close = random_close};
