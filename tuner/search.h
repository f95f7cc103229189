/* search.h - ask/tell strategies over a domain. Knows no device, reads no clock, no file, no global: recorded spaces can be
 * replayed through it, and equal seeds with equal answers give equal proposals.
 *
 * Contract: ask never proposes a point twice. Answers may lag: tune.c keeps a fixed number of proposals in flight and tells in
 * the order of asking, so proposal n depends on the answers 0..n-lag alone, whatever finishes first.
 *
 * A strategy is one search_<name>.c file with a row in search_strategies[]: a paragraph with its source opens the file. */
#ifndef SEARCH_H
#define SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "cand.h"
#include "err.h"
#include "rng.h"

struct search;

struct search_strategy {
    const char *name, *what;
    /* Returns false when it has nothing left to propose. */
    void *(*open)(struct search *s); /* NULL: out of memory */
    bool (*ask)(void *state, struct search *s, struct cand *out);
    void (*tell)(void *state, struct search *s, const struct cand *c, bool ok, double us);
    void (*close)(void *state);
};
extern const struct search_strategy *const search_strategies[]; /* NULL-terminated: exhaustive, random, adaptive ones */

/* ERR_USAGE: no strategy is called so; which there are. */
int search_known(const char *name, struct err *e);
/* strategy "auto": exhaustive when the domain is exact and fits the budget, else the adaptive default. The domain must outlive
 * the search. budget: most proposals. ERR_USAGE for an unknown strategy or one that cannot serve this domain, ERR_INPUT for a
 * domain without a valid point. */
int search_open(struct search **out, const char *strategy, struct domain *d, uint64_t seed, int budget, struct err *e);
void search_close(struct search *s);
const char *search_strategy_name(const struct search *s); /* what auto became */
/* false: budget used or space exhausted. */
bool search_ask(struct search *s, struct cand *out);
/* A point that was measured without being asked for, and its answer: it teaches as any other, is never proposed, and costs nothing of the budget. Only
 * before the first ask. What is known already changes nothing. */
int search_learn(struct search *s, const struct cand *c, bool ok, double us, struct err *e);
/* us: microseconds when ok; a failed candidate (ok = false) teaches too. What was neither proposed nor learnt is not heard. */
void search_tell(struct search *s, const struct cand *c, bool ok, double us);

/* For strategies: what they may use of the search. */
struct domain *search_domain(struct search *s);
struct rng *search_rng(struct search *s);
bool search_seen(const struct search *s, const struct cand *c); /* already proposed, or learnt */
int search_budget(const struct search *s);
int search_asked(const struct search *s);
/* A uniformly drawn point that was not proposed yet; false when none is left, or none can be found (see search.c). */
bool search_fresh(struct search *s, struct cand *out);

#endif
