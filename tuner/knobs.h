/* knobs.h - which parameters did nothing: pure.
 *
 * A parameter is dead among some candidates when all of them that agree in every other parameter have the same identity (code
 * and launch), and at least one pair of such candidates was seen. It says nothing of values and neighbours that were not. */
#ifndef KNOBS_H
#define KNOBS_H

#include <jansson.h>
#include <stdint.h>

#include "cand.h"
#include "err.h"

struct knobs_point {
    struct cand cand;
    uint64_t identity; /* of the digest of code and launch, digest_u64 */
};

struct knobs_pairs {
    int seen, equal; /* pairs that differ in one parameter alone, and those of them with one identity */
};

/* out: one for each of nparams parameters. All points are of one template; the same point twice makes no pair. */
int knobs_count(struct knobs_pairs *out, int nparams, const struct knobs_point *points, int n, struct err *e);

/* The dead ones of all templates, in the domain's order: [{"template", "param", "pairs"}]. New reference. points are put in order. */
int knobs_dead(json_t **out, const struct domain *d, struct knobs_point *points, int n, struct err *e);

#endif
