/* A point is placed level by level (tmpl_place): each constraint is evaluated as soon as its last parameter is known, and only
 * what changed since the last point is evaluated again. A level that fails excludes everything below it, so a walk skips
 * whole subtrees without visiting their points. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cand_private.h"

#define SAMPLES 100000

int domain_templates(const struct domain *d)
{
    return d->n;
}

const struct tmpl *domain_template(const struct domain *d, int i)
{
    return d->entry[i].t;
}

const char *domain_unfit(const struct domain *d, int i)
{
    const char *why = d->entry[i].b ? tmpl_unfit(d->entry[i].b) : NULL;
    return why ? why : d->entry[i].unfit;
}

int domain_nvalues(const struct domain *d, int tmpl, int param)
{
    return d->entry[tmpl].nvalues[param];
}

int64_t domain_value(const struct domain *d, int tmpl, int param, int at)
{
    return d->entry[tmpl].values[param][at];
}

uint64_t domain_product(const struct domain *d, int tmpl)
{
    return d->entry[tmpl].product;
}

/* ---- templates whose valid points are listed ---- */

static uint64_t rank_in(const struct domain_entry *t, const uint16_t *at)
{
    uint64_t rank = 0;

    for (int k = 0; k < t->n; k++)
        rank += at[k] * t->below[k + 1];
    return rank;
}

/* The first member at or behind this rank; nmembers when there is none. */
static size_t member_from(const struct domain_entry *t, uint64_t rank)
{
    size_t low = 0, high = t->nmembers;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->members[middle] < rank)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_member(const struct domain_entry *t, const uint16_t *at, struct domain_failure *f, struct err *why)
{
    const uint64_t rank = rank_in(t, at);
    const size_t i = member_from(t, rank);

    *f = (struct domain_failure){.level = t->n - 1};
    if (i < t->nmembers && t->members[i] == rank) return true;
    err_set(why, ERR_INPUT, "the recording has no such point");
    return false;
}

bool domain_place(struct domain_entry *t, const uint16_t *at, struct domain_failure *f, struct err *why)
{
    int level = 0;

    if (t->members) return is_member(t, at, f, why);
    f->step = tmpl_place(t->b, -1, 0, &f->failed, why);
    f->level = -1;
    if (f->step >= 0) return false;
    while (level < t->placed && t->at[level] == at[level])
        level++;
    for (; level < t->n; level++) {
        t->placed = level; /* this level is being changed */
        t->at[level] = at[level];
        f->step = tmpl_place(t->b, level, t->values[level][at[level]], &f->failed, why);
        f->level = level;
        if (f->step >= 0) return false;
    }
    t->placed = t->n;
    return true;
}

/* Moves to the next point that differs at `level` or above; false when there is none. */
static bool advance(const struct domain_entry *t, uint16_t *at, int level)
{
    for (int i = level + 1; i < t->n; i++)
        at[i] = 0;
    for (; level >= 0; level--) {
        if (at[level] + 1 < t->nvalues[level]) {
            at[level]++;
            return true;
        }
        at[level] = 0;
    }
    return false;
}

/* ---- counting ---- */

static void tally(struct domain_entry *t, const struct domain_failure *f, uint64_t points)
{
    if (f->failed)
        t->tally[f->step].failed += points;
    else
        t->tally[f->step].is_false += points;
}

static uint64_t count_exactly(struct domain_entry *t)
{
    uint16_t at[CAND_MAX_PARAMS] = {0};
    struct domain_failure f;
    uint64_t n = 0;
    int level;

    do {
        if (domain_place(t, at, &f, NULL)) {
            n++;
            level = t->n - 1;
        } else {
            tally(t, &f, t->below[f.level + 1]);
            level = f.level;
        }
    } while (advance(t, at, level));
    return n;
}

static uint64_t scaled(const struct domain *d, uint64_t hits)
{
    return (uint64_t)((double)d->total * ((double)hits / SAMPLES) + 0.5);
}

static uint64_t estimate(struct domain *d)
{
    struct rng r;
    uint64_t hits = 0;

    rng_init(&r, 1, "domain count"); /* the same estimate every time */
    for (int i = 0; i < SAMPLES; i++) {
        struct domain_failure f;
        struct cand c;
        domain_from_rank(d, rng_below(&r, d->total), &c);
        if (domain_place(&d->entry[c.tmpl], c.at, &f, NULL))
            hits++;
        else
            tally(&d->entry[c.tmpl], &f, 1);
    }
    for (int i = 0; i < d->n; i++)
        for (int k = 0; k < tmpl_nsteps(d->entry[i].b); k++) {
            d->entry[i].tally[k].is_false = scaled(d, d->entry[i].tally[k].is_false);
            d->entry[i].tally[k].failed = scaled(d, d->entry[i].tally[k].failed);
        }
    return scaled(d, hits);
}

uint64_t domain_count(struct domain *d, bool *exact)
{
    if (!d->counted) {
        d->exact = d->total <= DOMAIN_EXACT;
        for (int i = 0; i < d->n && d->exact; i++)
            if (d->entry[i].product > 0) d->count += count_exactly(&d->entry[i]);
        if (!d->exact) d->count = estimate(d);
        d->counted = true;
    }
    if (exact) *exact = d->exact;
    return d->count;
}

int domain_exclusions(struct domain *d, const struct domain_exclusion **out)
{
    int most = 0;

    *out = d->exclusions;
    if (d->exclusions) return d->nexclusions;
    domain_count(d, NULL);
    for (int i = 0; i < d->n; i++)
        most += 2 * tmpl_nsteps(d->entry[i].b);
    d->exclusions = calloc((size_t)most + 1, sizeof *d->exclusions);
    if (!d->exclusions) return 0;
    for (int i = 0; i < d->n; i++)
        for (int k = 0; k < tmpl_nsteps(d->entry[i].b) && d->entry[i].product > 0; k++) {
            struct tmpl_step step = tmpl_step(d->entry[i].b, k);
            const struct domain_tally *t = &d->entry[i].tally[k];
            struct domain_exclusion x = {
                .tmpl = i, .text = step.rule->text, .at = step.rule->at, .why = step.derive ? NULL : step.rule->why};
            x.points = t->is_false;
            if (!step.derive) d->exclusions[d->nexclusions++] = x;
            x.points = t->failed;
            x.failed = true;
            if (t->failed > 0) d->exclusions[d->nexclusions++] = x;
        }
    *out = d->exclusions;
    return d->nexclusions;
}

/* ---- points ---- */

bool domain_valid(struct domain *d, const struct cand *c, struct err *why)
{
    struct domain_entry *t = &d->entry[c->tmpl];
    struct domain_failure f;

    if (t->product == 0) {
        err_set(why, ERR_INPUT, "%s is left out here: %s", t->t->name, domain_unfit(d, c->tmpl));
        return false;
    }
    return domain_place(t, c->at, &f, why);
}

bool domain_from_rank(const struct domain *d, uint64_t rank, struct cand *c)
{
    for (int i = 0; i < d->n; i++) {
        const struct domain_entry *t = &d->entry[i];
        if (rank >= t->product) {
            rank -= t->product;
            continue;
        }
        *c = (struct cand){.tmpl = i};
        for (int k = 0; k < t->n; k++) {
            c->at[k] = (uint16_t)(rank / t->below[k + 1]);
            rank %= t->below[k + 1];
        }
        return true;
    }
    return false;
}

uint64_t domain_rank(const struct domain *d, const struct cand *c)
{
    const struct domain_entry *t = &d->entry[c->tmpl];

    assert(t->product > 0);
    return t->start + rank_in(t, c->at);
}

bool domain_next(struct domain *d, uint64_t *rank, struct cand *c)
{
    struct cand at;

    while (domain_from_rank(d, *rank, &at)) {
        struct domain_entry *t = &d->entry[at.tmpl];
        bool more = true;
        if (t->members) {
            const size_t i = member_from(t, *rank - t->start);
            more = i < t->nmembers && domain_from_rank(d, t->start + t->members[i], &at);
        }
        while (more) {
            struct domain_failure f;
            if (domain_place(t, at.at, &f, NULL)) {
                *rank = domain_rank(d, &at) + 1;
                *c = at;
                return true;
            }
            more = advance(t, at.at, f.level);
        }
        *rank = t->start + t->product;
    }
    return false;
}

/* The i-th of all points that are listed. */
static bool sample_members(const struct domain *d, uint64_t i, struct cand *c)
{
    for (const struct domain_entry *t = d->entry; t < d->entry + d->n; i -= t->nmembers, t++)
        if (i < t->nmembers) return domain_from_rank(d, t->start + t->members[i], c);
    return false;
}

bool domain_sample(struct domain *d, struct rng *r, struct cand *c)
{
    if (d->n > 0 && d->entry->members) return sample_members(d, rng_below(r, d->count), c);
    for (int i = 0; i < SAMPLES && d->total > 0; i++) {
        struct domain_failure f;
        struct cand drawn;
        domain_from_rank(d, rng_below(r, d->total), &drawn);
        if (!domain_place(&d->entry[drawn.tmpl], drawn.at, &f, NULL)) continue;
        *c = drawn;
        return true;
    }
    return false;
}

int domain_neighbours(struct domain *d, const struct cand *c, bool adjacent, struct cand *out, int max)
{
    const struct domain_entry *t = &d->entry[c->tmpl];
    int n = 0;

    for (int k = 0; k < t->n; k++)
        for (int v = 0; v < t->nvalues[k] && n < max; v++) {
            struct cand near = *c;
            if (v == c->at[k] || (adjacent && abs(v - c->at[k]) != 1)) continue;
            near.at[k] = (uint16_t)v;
            if (domain_valid(d, &near, NULL)) out[n++] = near;
        }
    return n;
}

bool domain_default(struct domain *d, int tmpl, struct cand *c)
{
    const struct domain_entry *t = &d->entry[tmpl];

    *c = (struct cand){.tmpl = tmpl};
    if (t->product == 0 || t->members) return false; /* a list of points knows no default */
    for (int k = 0; k < t->n; k++) {
        int64_t want = t->t->params[k].fallback;
        for (int v = 1; v < t->nvalues[k]; v++)
            if (llabs(t->values[k][v] - want) < llabs(t->values[k][c->at[k]] - want)) c->at[k] = (uint16_t)v;
    }
    return domain_valid(d, c, NULL);
}
