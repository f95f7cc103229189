/* A point is placed level by level (tmpl_place): each constraint is evaluated as soon as its last parameter is known, and only
 * what changed since the last point is evaluated again. What the constraints leave is kept as a diagram (domain_diagram.h) from the first
 * time that points are counted, drawn or walked; only where it ends early are points evaluated again. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cand_private.h"
#include "domain_diagram.h"

#define SAMPLES 100000
/* Edges of all diagrams of a domain: a second's work at most, and some 150 MB. Any product of DOMAIN_EXACT points has at most twice as many, and some
 * for parameters of one value. */
#define EDGES (3u * DOMAIN_EXACT)

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

static bool is_member(const struct domain_entry *t, const uint16_t *at)
{
    const uint64_t rank = rank_in(t, at);
    const size_t i = member_from(t, rank);

    return i < t->nmembers && t->members[i] == rank;
}

bool domain_place(struct domain_entry *t, const uint16_t *at, int n, struct domain_failure *f, struct err *why)
{
    int level = 0;

    f->step = tmpl_place(t->b, -1, 0, &f->failed, why);
    f->level = -1;
    if (f->step >= 0) return false;
    while (level < t->placed && level < n && t->at[level] == at[level])
        level++;
    if (level == n) return true;
    for (; level < n; level++) {
        t->placed = level; /* this level is being changed */
        t->at[level] = at[level];
        f->step = tmpl_place(t->b, level, t->values[level][at[level]], &f->failed, why);
        f->level = level;
        if (f->step >= 0) return false;
    }
    t->placed = n;
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

/* The diagram ends early: what is behind it is drawn. */
static bool estimate(struct domain_entry *t)
{
    struct domain_tally *drawn = calloc((size_t)tmpl_nsteps(t->b) + 1, sizeof *drawn);
    const uint64_t points = diagram_points(t->diagram);
    const double one = (double)points / SAMPLES; /* what a draw stands for */
    struct rng r;
    uint64_t hits = 0;

    if (!drawn) return false;
    rng_init(&r, 1, "domain count"); /* the same estimate every time */
    for (int i = 0; i < SAMPLES && points > 0; i++) {
        uint16_t at[CAND_MAX_PARAMS];
        struct domain_failure f;
        diagram_pick(t, rng_below(&r, points), at);
        if (domain_place(t, at, t->n, &f, NULL))
            hits++;
        else
            ++*(f.failed ? &drawn[f.step].failed : &drawn[f.step].is_false);
    }
    for (int k = 0; k < tmpl_nsteps(t->b); k++) {
        t->tally[k].is_false += (uint64_t)((double)drawn[k].is_false * one + 0.5);
        t->tally[k].failed += (uint64_t)((double)drawn[k].failed * one + 0.5);
    }
    free(drawn);
    t->count = (uint64_t)((double)hits * one + 0.5);
    return true;
}

/* false: no memory. */
static bool count_entry(struct domain_entry *t, uint64_t *edges)
{
    if (!(t->diagram = diagram_build(t, edges)) || !diagram_tally(t)) return false;
    t->count = diagram_points(t->diagram);
    return diagram_whole(t) || estimate(t);
}

uint64_t domain_count(struct domain *d, bool *exact)
{
    uint64_t edges = EDGES;

    if (!d->counted) {
        d->exact = true;
        for (int i = 0; i < d->n; i++) {
            struct domain_entry *t = &d->entry[i];
            if (t->product == 0) continue;
            d->starved = !count_entry(t, &edges) || d->starved;
            d->exact = d->exact && diagram_whole(t);
            d->count += t->count;
        }
        d->counted = true;
    }
    if (exact) *exact = d->exact;
    return d->count;
}

int domain_counted(struct domain *d, struct err *e)
{
    domain_count(d, NULL);
    return d->starved ? err_nomem(e) : 0;
}

bool domain_listable(struct domain *d)
{
    bool exact;
    const uint64_t n = domain_count(d, &exact);

    return exact && (n <= DOMAIN_LISTED || d->entry->members);
}

uint64_t domain_count_of(struct domain *d, int tmpl)
{
    domain_count(d, NULL);
    return d->entry[tmpl].members ? d->entry[tmpl].nmembers : d->entry[tmpl].count;
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
    if (t->members) {
        if (is_member(t, c->at)) return true;
        err_set(why, ERR_INPUT, "the recording has no such point");
        return false;
    }
    if (t->diagram) {
        const bool has = diagram_has(t, c->at);
        if (has && diagram_whole(t)) return true;
        if (!has && !why) return false;
    }
    return domain_place(t, c->at, t->n, &f, why);
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

/* The first valid point of a template that is not before at. */
static bool next_in(struct domain_entry *t, uint16_t *at)
{
    struct domain_failure f;

    if (!t->diagram) return false;
    while (diagram_next(t, at)) {
        if (diagram_whole(t) || domain_place(t, at, t->n, &f, NULL)) return true;
        if (!advance(t, at, f.level)) break;
    }
    return false;
}

bool domain_next(struct domain *d, uint64_t *rank, struct cand *c)
{
    struct cand at;

    domain_count(d, NULL);
    while (domain_from_rank(d, *rank, &at)) {
        struct domain_entry *t = &d->entry[at.tmpl];
        size_t i = t->members ? member_from(t, *rank - t->start) : 0;
        bool more =
            t->members ? i < t->nmembers && domain_from_rank(d, t->start + t->members[i], &at) : next_in(t, at.at);
        if (more) {
            *rank = domain_rank(d, &at) + 1;
            *c = at;
            return true;
        }
        *rank = t->start + t->product;
    }
    return false;
}

/* Points to draw from: each valid one once, and those that a diagram cannot tell. */
static uint64_t drawn_from(const struct domain_entry *t)
{
    return t->members ? t->nmembers : t->diagram ? diagram_points(t->diagram) : 0;
}

/* Uniformly over the valid points of templates first..end-1. */
static bool draw(struct domain *d, int first, int end, struct rng *r, struct cand *c)
{
    uint64_t points = 0;

    domain_count(d, NULL);
    for (int i = first; i < end; i++)
        points += drawn_from(&d->entry[i]);
    for (int i = 0; i < SAMPLES && points > 0; i++) {
        uint64_t drawn = rng_below(r, points);
        struct domain_entry *t = &d->entry[first];
        struct domain_failure f;
        for (; drawn >= drawn_from(t); t++)
            drawn -= drawn_from(t);
        if (t->members) return domain_from_rank(d, t->start + t->members[drawn], c);
        *c = (struct cand){.tmpl = (int)(t - d->entry)};
        diagram_pick(t, drawn, c->at);
        if (diagram_whole(t) || domain_place(t, c->at, t->n, &f, NULL)) return true;
    }
    return false;
}

double domain_acceptance(struct domain *d)
{
    double points = 0;

    domain_count(d, NULL);
    for (int i = 0; i < d->n; i++)
        points += (double)drawn_from(&d->entry[i]);
    return points > 0 ? (double)d->count / points : 0;
}

bool domain_sample(struct domain *d, struct rng *r, struct cand *c)
{
    return draw(d, 0, d->n, r, c);
}

bool domain_sample_of(struct domain *d, int tmpl, struct rng *r, struct cand *c)
{
    return draw(d, tmpl, tmpl + 1, r, c);
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
