/* search_common.c - the parts of search_common.h. */
#include "search_common.h"

#include <math.h>
#include <stdlib.h>

#define WALK 32  /* steps from a point that was proposed before, until chance decides */
#define BLIND 4  /* one in so many points is not random while nothing has worked */
#define PASSES 2 /* a parameter that cannot move yet may after another did */

/* ---- the book ---- */

void search_book_free(struct search_book *b)
{
    free(b->points);
    free(b->ranking);
    free(b->slots);
    *b = (struct search_book){0};
}

static size_t slot_of(const struct search_book *b, uint64_t rank)
{
    uint64_t h = (rank + 1) * 0x9e3779b97f4a7c15u;
    size_t i = (size_t)(h ^ h >> 32) & (b->nslots - 1);
    while (b->slots[i] && b->points[b->slots[i] - 1].rank != rank)
        i = (i + 1) & (b->nslots - 1);
    return i;
}

int search_book_reserve(struct search_book *b)
{
    if (b->n < b->cap) return 0;
    int cap = b->cap ? 2 * b->cap : 256;
    struct search_point *points = realloc(b->points, (size_t)cap * sizeof *points);
    if (points) b->points = points;
    int *ranking = realloc(b->ranking, (size_t)cap * sizeof *ranking);
    if (ranking) b->ranking = ranking;
    int *slots = calloc(2 * (size_t)cap, sizeof *slots); /* never more than half full */
    if (!points || !ranking || !slots) {
        free(slots);
        return -1;
    }
    free(b->slots);
    b->slots = slots;
    b->nslots = 2 * (size_t)cap;
    b->cap = cap;
    for (int i = 0; i < b->n; i++)
        b->slots[slot_of(b, b->points[i].rank)] = i + 1;
    return 0;
}

int search_book_add(struct search_book *b, const struct domain *d, const struct cand *c, double y, int of)
{
    struct search_point p = {.c = *c, .rank = domain_rank(d, c), .y = y, .of = of};
    b->slots[slot_of(b, p.rank)] = b->n + 1;
    b->points[b->n] = p;
    return b->n++;
}

int search_book_find(const struct search_book *b, const struct domain *d, const struct cand *c)
{
    return b->nslots ? b->slots[slot_of(b, domain_rank(d, c))] - 1 : -1;
}

int search_book_tell(struct search_book *b, const struct domain *d, const struct cand *c, bool ok, double us)
{
    int id = search_book_find(b, d, c), at;
    if (id < 0 && search_book_reserve(b) == 0) id = search_book_add(b, d, c, INFINITY, SEARCH_LEARNT);
    if (id < 0 || b->points[id].answer != SEARCH_PENDING) return -1;
    struct search_point *p = &b->points[id];
    p->answer = ok ? SEARCH_WORKED : SEARCH_FAILED;
    *(ok ? &b->worked : &b->failed) += 1;
    if (!ok) return id;
    p->y = log(us);
    for (at = b->nranking++; at > 0 && b->points[b->ranking[at - 1]].y > p->y; at--)
        b->ranking[at] = b->ranking[at - 1];
    b->ranking[at] = id;
    return id;
}

int search_book_blind(const struct search_book *b, struct rng *r)
{
    int oldest = b->worked + b->failed; /* answers come in the order of asking */
    return oldest < b->n && rng_below(r, BLIND) == 0 ? oldest : -1;
}

/* ---- points ---- */

int search_params(const struct domain *d, int tmpl)
{
    return domain_unfit(d, tmpl) ? 0 : domain_template(d, tmpl)->nparams;
}

bool search_default(struct search *s, int *next, struct cand *out)
{
    struct domain *d = search_domain(s);
    while (*next < domain_templates(d)) {
        int t = (*next)++;
        if (!domain_unfit(d, t) && domain_default(d, t, out) && !search_seen(s, out)) return true;
    }
    return false;
}

void search_move(const struct domain *d, struct cand *c, int i, struct rng *r)
{
    int n = domain_nvalues(d, c->tmpl, i), at = c->at[i];
    if (n < 2) return;
    if (rng_uniform(r) < 0.6)
        at += rng_below(r, 2) ? 1 : -1;
    else
        at = (at + 1 + (int)rng_below(r, (uint64_t)n - 1)) % n;
    if (at < 0) at = 1;
    if (at >= n) at = n - 2;
    c->at[i] = (uint16_t)at;
}

bool search_step(const struct domain *d, struct cand *c, struct rng *r)
{
    int free_ones[CAND_MAX_PARAMS], n = 0, params = search_params(d, c->tmpl);
    for (int i = 0; i < params; i++)
        if (domain_nvalues(d, c->tmpl, i) > 1) free_ones[n++] = i;
    if (n == 0) return false;
    search_move(d, c, free_ones[rng_below(r, (uint64_t)n)], r);
    return true;
}

void search_repair(struct search *s, const struct cand *from, const struct cand *want, struct cand *out)
{
    struct domain *d = search_domain(s);
    int order[CAND_MAX_PARAMS], n = 0, moved = 1, params = search_params(d, from->tmpl);
    for (int i = 0; i < params; i++)
        if (from->at[i] != want->at[i]) order[n++] = i;
    *out = *want;
    if (n == 0 || search_seen(s, out) || domain_valid(d, out, NULL)) return; /* what was proposed is valid */
    *out = *from;
    rng_shuffle(search_rng(s), order, (size_t)n);
    for (int pass = 0; pass < PASSES && moved; pass++) {
        moved = 0;
        for (int i = 0; i < n; i++) {
            struct cand c = *out;
            if (c.at[order[i]] == want->at[order[i]]) continue;
            c.at[order[i]] = want->at[order[i]];
            if (!search_seen(s, &c) && !domain_valid(d, &c, NULL)) continue;
            *out = c;
            moved++;
        }
    }
}

bool search_reach(struct search *s, const struct cand *from, const struct cand *want, struct cand *out)
{
    struct domain *d = search_domain(s);
    search_repair(s, from, want, out);
    for (int steps = 0; search_seen(s, out); steps++) {
        struct cand c = *out;
        if (steps == WALK || !search_step(d, &c, search_rng(s))) return search_fresh(s, out);
        if (search_seen(s, &c) || domain_valid(d, &c, NULL)) *out = c;
    }
    return true;
}

/* ---- the neighbourhood ---- */

size_t search_moves_most(const struct domain *d)
{
    size_t most = 1;
    for (int t = 0; t < domain_templates(d); t++) {
        size_t n = 0;
        for (int i = 0; i < search_params(d, t); i++)
            n += (size_t)domain_nvalues(d, t, i);
        if (n > most) most = n;
    }
    return most;
}

void search_moves_start(struct search *s, const struct cand *c, struct search_moves *m)
{
    const struct domain *d = search_domain(s);
    int params = search_params(d, c->tmpl);
    m->n = m->next = 0;
    for (int i = 0; i < params; i++)
        for (int v = 0; v < domain_nvalues(d, c->tmpl, i); v++)
            if (v != c->at[i]) m->at[m->n++] = i << 16 | v;
    rng_shuffle(search_rng(s), m->at, (size_t)m->n);
}

void search_moves_apply(const struct search_moves *m, int i, const struct cand *c, struct cand *out)
{
    *out = *c;
    out->at[m->at[i] >> 16] = (uint16_t)(m->at[i] & 0xffff);
}

bool search_moves_next(struct search *s, const struct cand *c, struct search_moves *m, struct cand *out)
{
    while (m->next < m->n) {
        search_moves_apply(m, m->next++, c, out);
        if (!search_seen(s, out) && domain_valid(search_domain(s), out, NULL)) return true;
    }
    return false;
}
