/* search.c - what all strategies share: the budget, the set of points proposed, fresh random points, the choice of a
 * strategy.
 *
 * Invariants: a point enters the set when it is proposed or learnt and never leaves; no proposal is in the set before it is made,
 * whatever a strategy does; all randomness comes from one stream keyed by (seed, "search").
 *
 * Fresh points: uniform draws from the domain are tried first. When the draws keep meeting points already proposed (a
 * small domain near its end) or meet no valid point (a sparse one), the domain is enumerated once into a list that is
 * drawn from. A domain too large to enumerate is scanned from a random rank over at most SCAN ranks. */
#include "search.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DRAWS 64
#define SCAN (1u << 20)

struct set { /* open addressing, ranks + 1, 0 is free */
    uint64_t *slots;
    size_t n, cap;
};

struct search {
    const struct search_strategy *strategy;
    void *state;
    struct domain *domain;
    struct rng rng;
    int budget, asked;
    bool exact, listed;
    uint64_t count, product; /* valid points (estimated unless exact), all points */
    uint64_t *left;          /* ranks of points not yet proposed, once listed; pruned when drawn */
    size_t nleft;
    struct set seen;
};

extern const struct search_strategy search_exhaustive, search_random, search_evolve, search_climb, search_anneal,
    search_genetic, search_differential, search_tabu;
const struct search_strategy *const search_strategies[] = {
    &search_exhaustive, &search_random,       &search_evolve, &search_climb, &search_anneal,
    &search_genetic,    &search_differential, &search_tabu,   NULL,
};

/* ---- the set of ranks ---- */

static size_t slot_of(const struct set *s, uint64_t key)
{
    uint64_t h = key * 0x9e3779b97f4a7c15u; /* Fibonacci hashing */
    size_t i = (size_t)(h ^ h >> 32) & (s->cap - 1);
    while (s->slots[i] && s->slots[i] != key)
        i = (i + 1) & (s->cap - 1);
    return i;
}

static bool set_has(const struct set *s, uint64_t rank)
{
    return s->cap && s->slots[slot_of(s, rank + 1)] != 0;
}

static bool set_add(struct set *s, uint64_t rank)
{
    if (2 * (s->n + 1) > s->cap) {
        struct set more = {.cap = s->cap ? 2 * s->cap : 256, .n = s->n};
        more.slots = calloc(more.cap, sizeof *more.slots);
        if (!more.slots) return false;
        for (size_t i = 0; i < s->cap; i++)
            if (s->slots[i]) more.slots[slot_of(&more, s->slots[i])] = s->slots[i];
        free(s->slots);
        *s = more;
    }
    s->slots[slot_of(s, rank + 1)] = rank + 1;
    s->n++;
    return true;
}

/* ---- fresh points ---- */

static bool list_all(struct search *s)
{
    uint64_t rank = 0;
    struct cand c;
    size_t cap = 0;
    s->listed = true;
    while (domain_next(s->domain, &rank, &c)) {
        if (search_seen(s, &c)) continue;
        if (s->nleft == cap) {
            cap = cap ? 2 * cap : 1024;
            uint64_t *more = realloc(s->left, cap * sizeof *more);
            if (!more) return false;
            s->left = more;
        }
        s->left[s->nleft++] = domain_rank(s->domain, &c);
    }
    return true;
}

static bool draw_listed(struct search *s, struct cand *out)
{
    while (s->nleft) {
        size_t i = (size_t)rng_below(&s->rng, s->nleft);
        /* A point that is handed out stays listed until it is proposed: the strategy may not take it. */
        if (!set_has(&s->seen, s->left[i])) return domain_from_rank(s->domain, s->left[i], out);
        s->left[i] = s->left[--s->nleft];
    }
    return false;
}

static bool scan(struct search *s, struct cand *out)
{
    uint64_t rank = rng_below(&s->rng, s->product);
    for (uint64_t i = 0; i < SCAN && i < s->product; i++, rank = rank + 1 < s->product ? rank + 1 : 0)
        if (!set_has(&s->seen, rank) && domain_from_rank(s->domain, rank, out) && domain_valid(s->domain, out, NULL))
            return true;
    return false;
}

bool search_fresh(struct search *s, struct cand *out)
{
    if (s->exact && s->seen.n >= s->count) return false;
    for (int i = 0; i < DRAWS && !s->listed; i++) {
        if (!domain_sample(s->domain, &s->rng, out)) break;
        if (!search_seen(s, out)) return true;
    }
    if (!domain_listable(s->domain)) return scan(s, out);
    if (!s->listed && !list_all(s)) return false;
    return draw_listed(s, out);
}

/* ---- the contract ---- */

static const struct search_strategy *strategy_by_name(const char *name)
{
    for (int i = 0; search_strategies[i]; i++)
        if (strcmp(search_strategies[i]->name, name) == 0) return search_strategies[i];
    return NULL;
}

static int unknown_strategy(const char *name, struct err *e)
{
    const char *names[16] = {"auto"};
    size_t n = 1;
    char list[256] = "auto";
    for (; search_strategies[n - 1] && n < 16; n++) {
        names[n] = search_strategies[n - 1]->name;
        strncat(list, ", ", sizeof list - strlen(list) - 1);
        strncat(list, names[n], sizeof list - strlen(list) - 1);
    }
    const char *near = err_nearest(name, names, n);
    if (near)
        return err_set(e, ERR_USAGE, "unknown strategy '%.80s': did you mean '%s'? There are %s", name, near, list);
    return err_set(e, ERR_USAGE, "unknown strategy '%.80s': there are %s", name, list);
}

int search_known(const char *name, struct err *e)
{
    return strcmp(name, "auto") == 0 || strategy_by_name(name) ? 0 : unknown_strategy(name, e);
}

static int choose(struct search *s, const char *name, struct err *e)
{
    if (strcmp(name, "auto") == 0)
        name = domain_listable(s->domain) && s->count <= (uint64_t)s->budget ? "exhaustive" : search_evolve.name;
    s->strategy = strategy_by_name(name);
    if (!s->strategy) return unknown_strategy(name, e);
    if (s->strategy == &search_exhaustive && !domain_listable(s->domain))
        return err_set(e, ERR_USAGE,
                       "strategy exhaustive: the space has %s%.3g valid points among %.3g, too many to visit "
                       "all\nnarrow it, or use "
                       "strategy auto",
                       s->exact ? "" : "about ", (double)s->count, (double)s->product);
    return 0;
}

int search_open(struct search **out, const char *strategy, struct domain *d, uint64_t seed, int budget, struct err *e)
{
    *out = NULL;
    if (budget < 1) return err_set(e, ERR_USAGE, "a search of %d evaluations finds nothing: give at least 1", budget);
    struct search *s = calloc(1, sizeof *s);
    if (!s) return err_nomem(e);
    s->domain = d;
    s->budget = budget;
    rng_init(&s->rng, seed, "search");
    s->count = domain_count(d, &s->exact);
    for (int i = 0; i < domain_templates(d); i++)
        s->product += domain_product(d, i);
    int rc = domain_counted(d, e);
    if (rc == 0 && s->exact && s->count == 0)
        rc = err_set(e, ERR_INPUT,
                     "the space has no valid point for this device: `fatune space` shows what excludes them");
    if (rc == 0) rc = choose(s, strategy, e);
    if (rc == 0 && !(s->state = s->strategy->open(s))) rc = err_nomem(e);
    if (rc == 0)
        *out = s;
    else
        search_close(s);
    return rc;
}

void search_close(struct search *s)
{
    if (!s) return;
    if (s->state) s->strategy->close(s->state);
    free(s->left);
    free(s->seen.slots);
    free(s);
}

const char *search_strategy_name(const struct search *s)
{
    return s->strategy->name;
}

bool search_ask(struct search *s, struct cand *out)
{
    if (s->asked >= s->budget || !s->strategy->ask(s->state, s, out)) return false;
    if (search_seen(s, out) && !search_fresh(s, out)) return false;
    if (!set_add(&s->seen, domain_rank(s->domain, out))) return false;
    s->asked++;
    return true;
}

int search_learn(struct search *s, const struct cand *c, bool ok, double us, struct err *e)
{
    assert(s->asked == 0);
    if (search_seen(s, c)) return 0;
    if (!set_add(&s->seen, domain_rank(s->domain, c))) return err_nomem(e);
    search_tell(s, c, ok, us);
    return 0;
}

void search_tell(struct search *s, const struct cand *c, bool ok, double us)
{
    if (!search_seen(s, c)) return;
    s->strategy->tell(s->state, s, c, ok && us > 0 && isfinite(us), us);
}

struct domain *search_domain(struct search *s)
{
    return s->domain;
}

struct rng *search_rng(struct search *s)
{
    return &s->rng;
}

bool search_seen(const struct search *s, const struct cand *c)
{
    return set_has(&s->seen, domain_rank(s->domain, c));
}

int search_budget(const struct search *s)
{
    return s->budget;
}

int search_asked(const struct search *s)
{
    return s->asked;
}
