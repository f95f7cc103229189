/* search_exhaustive.c - every valid point once, in a seeded random order.
 *
 * The order is a Fisher-Yates shuffle (Durstenfeld, CACM 7(7), 1964) of the domain's order, so that a run that is cut
 * by its time or budget has seen a uniform sample of the space and not one corner of it. Needs a domain that can be
 * enumerated (search_open sees to that): at most DOMAIN_LISTED ranks of 8 bytes. */
#include <stdlib.h>

#include "search.h"

struct exhaustive {
    uint64_t *ranks;
    uint64_t n, next;
};

static void *exhaustive_open(struct search *s)
{
    struct exhaustive *x = calloc(1, sizeof *x);
    struct domain *d = search_domain(s);
    bool exact;
    uint64_t rank = 0, count = domain_count(d, &exact);
    struct cand c;
    if (!x || !(x->ranks = malloc((size_t)(count ? count : 1) * sizeof *x->ranks))) {
        free(x);
        return NULL;
    }
    while (x->n < count && domain_next(d, &rank, &c))
        x->ranks[x->n++] = domain_rank(d, &c);
    for (uint64_t i = x->n; i > 1; i--) {
        uint64_t k = rng_below(search_rng(s), i), keep = x->ranks[i - 1];
        x->ranks[i - 1] = x->ranks[k];
        x->ranks[k] = keep;
    }
    return x;
}

static bool exhaustive_ask(void *state, struct search *s, struct cand *out)
{
    struct exhaustive *x = state;
    while (x->next < x->n && domain_from_rank(search_domain(s), x->ranks[x->next++], out))
        if (!search_seen(s, out)) return true;
    return false;
}

static void exhaustive_tell(void *state, struct search *s, const struct cand *c, bool ok, double us)
{
    (void)state, (void)s, (void)c, (void)ok, (void)us;
}

static void exhaustive_close(void *state)
{
    struct exhaustive *x = state;
    free(x->ranks);
    free(x);
}

extern const struct search_strategy search_exhaustive;
const struct search_strategy search_exhaustive = {.name = "exhaustive",
                                                  .what = "every valid point, in random order",
                                                  .open = exhaustive_open,
                                                  .ask = exhaustive_ask,
                                                  .tell = exhaustive_tell,
                                                  .close = exhaustive_close};
