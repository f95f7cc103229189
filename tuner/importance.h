/* importance.h - which parameters mattered, by how much, and which only together: pure.
 *
 * From the points of one template that were measured, adaptively as a rule, to shares of the variance of y = ln time over its *valid points*,
 * each of which counts alike:
 *
 *   share of a        Var(E[y | a]) / Var(y), the main effect, E and Var over valid points
 *   share of a x b    what the table of both explains beyond the best sum of a function of a and one of b, over Var(y)
 *   additive          what the best sum of a function of each parameter explains, over Var(y)
 *   rest              1 - additive - all pairs, 0 at least: interactions of more than two, noise, what the model does not know
 *
 * On a product space these are the terms of functional ANOVA, as Hutter, Hoos & Leyton-Brown define importance ("An efficient approach for
 * assessing hyperparameter importance", ICML 2014), and add up to 1. Constraints tie parameters to each other. Marginals over the product
 * would then be made of points that do not exist, so they are taken over valid ones (Hooker 2007, "Generalized functional ANOVA diagnostics
 * for high dimensional functions of dependent variables", J. Comput. Graph. Stat. 16, has the same least squares for pairs): a and b that
 * are tied share what they explain, each is credited with all of it, and shares of a may add up to more than 1; additive counts it once.
 *
 * What is known of y: the measured value where a point was measured, else what a forest of regression trees expects (importance_forest.c),
 * so that where every valid point was measured nothing is estimated. Var(y) is that of those values, and for the points that were not
 * measured what the forest errs by, squared: shares of a forest alone would flatter it.
 *
 * A search measures the good region densely. That bends neither shares, which are sums over valid points, nor the judgement of the
 * forest: r2 is out of bag, and a measured point weighs as many valid points as share its leaves, so a hundred points around the optimum
 * count as the corner that they are. effective is the number of equally weighted points that weights so uneven are worth (Kish
 * 1965). Nothing can judge what a forest says of a region where nobody has been: unseen is the part of the valid points that have a value
 * which no measured point has. With fewer than IMPORTANCE_FEW points, or fewer than half as many effective ones, with more unseen than
 * IMPORTANCE_MOST_UNSEEN, or an r2 below IMPORTANCE_LEAST_R2, no shares are given.
 *
 * The interval of a share is the share -+ 2 standard errors by the delete-d jackknife (Shao & Wu 1989, Ann. Statist. 17) over bags of
 * trees that see two thirds of the points each, times the root of the part of the valid points that was not measured. It holds what another
 * sample would change. It does not hold that a forest of few points draws interactions too weak.
 *
 * All of that twice: over all valid points, where how bad the bad ones are weighs most, and over the faster half of them, which tells what
 * separates the good from the best. The half is made by what is known of y; it has a forest of its own, of the measured points in it, since
 * one that has to tell slow from slower as well sees little of what is left there. Points that failed belong to neither. */
#ifndef IMPORTANCE_H
#define IMPORTANCE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cand.h"
#include "err.h"

#define IMPORTANCE_FEW 20
#define IMPORTANCE_LEAST_R2 0.5
#define IMPORTANCE_MOST_UNSEEN 0.25
#define IMPORTANCE_VALID 8192  /* valid points that stand for all where there are more: drawn by chance, uniformly */
#define IMPORTANCE_FITTED 6000 /* measured points that the forest sees at most, likewise */
#define IMPORTANCE_FAILS_ALPHA                                                                                         \
    0.01 /* chance that any value of any parameter is named without reason (Fisher's test, Bonferroni) */

struct importance_point {
    struct cand cand;
    double us; /* time of a launch; not above 0, or no number: it failed */
};

enum importance_over { IMPORTANCE_ALL, IMPORTANCE_FAST, IMPORTANCE_VIEWS };

struct importance_share {
    double share, low, high; /* of the variance; NAN where nothing can be told */
};

struct importance_view {
    char why[160];     /* nothing can be told of it; "": it can */
    size_t valid;      /* points that stand for it */
    size_t measured;   /* of them */
    double slowest_us; /* of them */
    double r2;         /* of the forest, for points that it has not seen; NAN: no forest was needed */
    double effective;  /* measured points, after weighing; NAN likewise */
    double unseen;     /* part of valid */
    double additive, rest;
};

struct importance_value {
    size_t tried, failed;
    double cost
        [IMPORTANCE_VIEWS]; /* geometric mean time over that of the best value, other parameters' main effects taken off; 1: it is
                                      the best; NAN: no such point there, or nothing can be told */
};

struct importance_param {
    struct importance_share of[IMPORTANCE_VIEWS];
    int nvalues;                     /* 1: it is not varied, and its shares are 0 */
    struct importance_value *values; /* by index, owned */
};

struct importance_pair {
    int a, b;
    struct importance_share of[IMPORTANCE_VIEWS];
};

struct importance_failing { /* a value of which more points fail than chance makes */
    int param, value;
    double p; /* of Fisher's exact test, one-sided */
};

struct importance {
    int tmpl;
    size_t tried, failed; /* points, each once */
    double valid;         /* valid points of the template, failed ones included */
    bool counted;         /* false: valid is an estimate */
    bool exact;           /* each of them was tried: nothing is estimated */
    struct importance_view view[IMPORTANCE_VIEWS];
    int nparams;
    struct importance_param params[CAND_MAX_PARAMS];
    int npairs;
    struct importance_pair *pairs; /* owned; of parameters that are varied */
    int nfailing;
    struct importance_failing *failing; /* owned; strongest first */
};

/* points: of this template; one that comes twice counts as it came first. Equal seeds give equal results, on any machine with these
 * doubles. ERR_SYSTEM: out of memory. */
int importance_of(struct importance *out, struct domain *d, int tmpl, const struct importance_point *points, size_t n,
                  uint64_t seed, struct err *e);
void importance_free(struct importance *m);

/* How a value is written; NULL: as the domain's number. Borrowed. */
typedef const char *importance_naming(const void *ctx, int tmpl, int param, int at);
/* docs/JSON.md: importance. New reference; NULL: out of memory. */
json_t *importance_json(const struct importance *m, const struct domain *d, importance_naming *name, const void *ctx);

/* The above for each template of the points, in the domain's order. New reference. */
int importance_list(json_t **out, struct domain *d, const struct importance_point *points, size_t n, uint64_t seed,
                    importance_naming *name, const void *ctx, struct err *e);

#endif
