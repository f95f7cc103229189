/* cand_private.h - between cand.c (points), domain.c (enumeration) and domain_open.c (templates, ranges, rules). */
#ifndef CAND_PRIVATE_H
#define CAND_PRIVATE_H

#include "cand.h"

/* What a step excludes, as the first one that does. */
struct domain_tally {
    uint64_t is_false, failed;
};

struct domain_entry {
    struct tmpl *t;
    struct tmpl_bound *b; /* NULL: the valid points are listed instead */
    uint64_t *members;    /* then: their ranks in this template's product, ascending */
    size_t nmembers;
    char *unfit; /* a reason that only the space gives; tmpl_unfit has the others */
    int n;       /* parameters */
    int nvalues[CAND_MAX_PARAMS];
    int64_t *values[CAND_MAX_PARAMS];    /* after narrowing, ascending */
    uint64_t product;                    /* 0 when unfit */
    uint64_t below[CAND_MAX_PARAMS + 1]; /* points below a node of depth i: product of nvalues[i..n-1] */
    uint64_t start;                      /* rank of its first point in the domain */
    struct diagram *diagram;             /* once the domain was counted; NULL where points are listed */
    uint64_t count;                      /* then: its valid points, or an estimate */
    /* The last point placed: levels 0..placed-1 hold at[], with their steps true. */
    int placed;
    uint16_t at[CAND_MAX_PARAMS];
    struct domain_tally *tally; /* one a step */
};

struct domain {
    const struct space *space;
    int n;
    struct domain_entry *entry;
    uint64_t total;               /* all products */
    bool counted, exact, starved; /* starved: memory ran out while it was counted */
    uint64_t count;
    int nexclusions;
    struct domain_exclusion *exclusions;
};

/* Do the first n choices hold, as far as they decide anything? If not: the level at which they fail, the step, and whether that could not be
 * evaluated. Not for listed points. */
struct domain_failure {
    int level, step;
    bool failed;
};
bool domain_place(struct domain_entry *t, const uint16_t *at, int n, struct domain_failure *f, struct err *why);

#endif
