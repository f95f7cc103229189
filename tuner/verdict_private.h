/* verdict_private.h - between verdict_reduce.c (a trial's letters become sessions), verdict_estimate.c (what they say) and
 * verdict.c (the clauses and the decision). */
#ifndef VERDICT_PRIVATE_H
#define VERDICT_PRIVATE_H

#include "verdict.h"

#define VERDICT_FLAT 1e-12 /* spread of ln times that is only rounding */

int trial_quads(const struct trial *t); /* all, discarded ones too */
bool trial_quad_kept(const struct trial_quad *q);
/* Both letters of each arm, ABBA or BAAB, in the order measured. */
void trial_quad_arms(const struct trial_quad *q, double a[2], double b[2]);

struct verdict_session {
    double z;
    int n;                 /* letters an arm */
    double mean[2], ss[2]; /* of ln letters of A, B: mean and sum of squared deviations */
    double mean_us[2];     /* of letters */
};

/* The kept quads of a trial. Index 0 is arm A, 1 is B. */
struct verdict_reduced {
    int n, nletters, quads, discarded; /* sessions with a kept quad; letters an arm; all quads */
    struct verdict_session *session;   /* ascending z */
    double *z;                         /* the same z */
    double *us[2], *ln[2];             /* letters */
    double
        *relative[2]; /* ln letter less the mean ln of the other arm in its quad, sign turned for A: all are ln(B/A) */
    double cycles[2]; /* sums of letter x clock */
    bool clocked;
};
int verdict_reduce(struct verdict_reduced *out, const struct trial *t, struct err *e); /* free it after a failure too */
void verdict_reduced_free(struct verdict_reduced *r);

/* Every number of v but the control's, the clauses and the decision. r is that of ab. */
int verdict_estimate(struct verdict *v, const struct trial *ab, const struct verdict_reduced *r,
                     const struct verdict_rule *rule, struct rng *rng, struct err *e);

#endif
