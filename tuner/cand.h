/* cand.h - a candidate is a point of a domain: a template and one value for each of its parameters.
 *
 * The domain is the union over the usable templates of the points that no constraint excludes. It is ordered: templates as
 * the space lists them, parameters as the manifest lists them, the last one fastest; a point's rank in the full product is
 * its identity inside a domain, its canonical id is a digest that holds across domains. */
#ifndef CAND_H
#define CAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "problem.h"
#include "rng.h"
#include "space.h"
#include "tmpl.h"

#define CAND_MAX_PARAMS 32

struct cand {
    int tmpl;                     /* index into the domain's templates */
    uint16_t at[CAND_MAX_PARAMS]; /* index into the parameter's values, in manifest order */
};

struct domain;
/* Folders are searched for `name`: dirs[0..ndirs-1] in order. Unknown template, unknown parameter, a value that the manifest
 * does not offer, a constraint that names nothing: ERR_INPUT with a position. target may be an architecture only. */
int domain_open(struct domain **out, const struct space *s, const char *const *dirs, int ndirs, const struct target *t,
                struct err *e);
void domain_close(struct domain *d);

int domain_templates(const struct domain *d);
const struct tmpl *domain_template(const struct domain *d, int i);
const char *domain_unfit(const struct domain *d, int i); /* why template i is left out here, or NULL */
int domain_nvalues(const struct domain *d, int tmpl, int param);
int64_t domain_value(const struct domain *d, int tmpl, int param, int at);

/* Product size of a template's ranges after narrowing (0 when unfit); at most 2^63-1, more is refused at open. */
uint64_t domain_product(const struct domain *d, int tmpl);
/* Valid points. Exact (and *exact = true) for any product of up to DOMAIN_EXACT points over all templates (unless more than eight parameters
 * have one value), and beyond that wherever the constraints tie few parameters together (domain_diagram.h); else an estimate from 100,000 draws. Cached. */
#define DOMAIN_EXACT (1u << 21)
uint64_t domain_count(struct domain *d, bool *exact);
/* Counts; an error when memory ran out on the way, so that count and draws are not what the constraints leave. */
int domain_counted(struct domain *d, struct err *e);
uint64_t domain_count_of(struct domain *d, int tmpl); /* of one template, exact or not with the rest */
/* Are they few enough to be listed: exact, and at most DOMAIN_LISTED? */
#define DOMAIN_LISTED (1u << 21)
bool domain_listable(struct domain *d);

/* Is this point valid? why (may be NULL) receives the text of the first constraint that excludes it. */
bool domain_valid(struct domain *d, const struct cand *c, struct err *why);
/* Valid points in order: start with *rank = 0, returns false at the end; *rank moves past the point returned. */
bool domain_next(struct domain *d, uint64_t *rank, struct cand *c);
uint64_t domain_rank(const struct domain *d, const struct cand *c);           /* in the concatenated products */
bool domain_from_rank(const struct domain *d, uint64_t rank, struct cand *c); /* valid or not; false past the end */
/* Uniform over valid points: one draw where the count is exact, else by rejection of what the diagram cannot tell; false when there is none, or 100,000
 * draws met none. */
bool domain_sample(struct domain *d, struct rng *r, struct cand *c);
double domain_acceptance(struct domain *d); /* the share of its draws that are valid: 1 where the count is exact */
bool domain_sample_of(struct domain *d, int tmpl, struct rng *r, struct cand *c); /* of one template */
/* Valid points that differ in one parameter (any value; with `adjacent` only the next smaller and larger). Returns the count
 * written, at most max. */
int domain_neighbours(struct domain *d, const struct cand *c, bool adjacent, struct cand *out, int max);
/* The manifest's default configuration of template i (nearest valid value where the space narrowed it away: the value in the range
 * closest to the default); false when that point is excluded. */
bool domain_default(struct domain *d, int tmpl, struct cand *c);

/* Per constraint: how many points of the product it excludes (as the first one false), for `fatune space`. */
struct domain_exclusion {
    int tmpl;
    const char *text, *why;
    struct pos at;
    uint64_t points;
    bool failed; /* could not be evaluated */
};
int domain_exclusions(struct domain *d,
                      const struct domain_exclusion **out); /* count; borrowed; sampled when not exact */

bool cand_equal(const struct domain *d, const struct cand *a, const struct cand *b);
/* Canonical id: SHA-256 over template digest, problem, parameter names and values. */
void cand_id(const struct domain *d, const struct cand *c, char out[65]);
/* "fa_wmma BLOCK_M=64 BLOCK_N=64 ..." */
void cand_text(const struct domain *d, const struct cand *c, struct buf *out);
json_t *cand_to_json(const struct domain *d, const struct cand *c); /* {"template": ..., "params": {...}} */
int cand_from_json(const struct domain *d, const json_t *j, struct cand *c, struct err *e);
/* "K=V,K=V" over the default of template (NULL: the first usable that knows all keys). ERR_USAGE on unknown names or values. */
int cand_parse(struct domain *d, const char *tmpl, const char *text, struct cand *c, struct err *e);
/* The same over c itself, which stays as it is when text is refused. */
int cand_change(const struct domain *d, const char *text, struct cand *c, struct err *e);
/* Source and launch of a point. A failure is the candidate's: fate RENDER. */
int cand_render(struct domain *d, const struct cand *c, struct rendered *out, struct err *e);
/* What a name of its template (a parameter, a derived value, one of the problem or the device) is at a point. ERR_INPUT: it has none such. */
int cand_value(struct domain *d, const struct cand *c, const char *name, int64_t *out, struct err *e);

#endif
