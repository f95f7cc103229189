/* verdict.h - decide whether a candidate replaces the champion.
 *
 * Pure: no clock, no device, no store, no randomness but the stream handed in. Same input, same verdict, on any machine. Never
 * sees race data: the samples of a trial come from fresh sessions.
 *
 * Letters: A is the standing arm (champion or default), B the candidate. quad value y = (ln b1 + ln b2 - ln a1 - ln a2)/2,
 * session value z = mean of its y, estimate R = exp(mean z): B's time over A's. The unit of replication is the session. */
#ifndef VERDICT_H
#define VERDICT_H

#include <jansson.h>
#include <stdbool.h>

#include "err.h"
#include "rng.h"

struct trial_quad {
    bool baab, discarded;
    double letter[4]; /* medians, in the order measured, microseconds */
    double sm_mhz;    /* mean clock around the quad, 0 when unknown */
};

struct trial_session { int n; struct trial_quad *quads; };

struct trial {
    int n; struct trial_session *sessions; /* owned */
    int m;                /* samples a letter */
    bool boxed;           /* quads or letters were cut to fit a time box */
    bool invalid;         /* a health clause failed: why in reason */
    char reason[256];
};
void trial_free(struct trial *t);

struct verdict_rule {
    double min_gain, hedges_g, alpha; /* alpha one-sided, already divided for the finalists (Holm's smallest) */
    double target_us;                 /* 0: none */
    int min_sessions;                 /* 8 */
    int resamples;                    /* 9999 */
};

enum verdict_outcome { VERDICT_PROMOTE, VERDICT_KEEP, VERDICT_UNDECIDED, VERDICT_INVALID };

/* X(bit, clause, question) */
#define VERDICT_CLAUSES(X)                                                                                             \
    X(VALID, "P1 valid trial")                                                                                         \
    X(CONTROL, "P2 A/A control")                                                                                       \
    X(GAIN, "P3 gain")                                                                                                 \
    X(EFFECT, "P4 effect size")                                                                                        \
    X(TARGET, "P5 target")                                                                                             \
    X(CONSISTENCY, "P6 consistency")
enum verdict_clause {
#define X(name, text) VERDICT_##name,
    VERDICT_CLAUSES(X)
#undef X
    VERDICT_NCLAUSES
};

struct verdict_interval { double low, high; };

struct verdict {
    enum verdict_outcome outcome;
    unsigned failed;                       /* bit 1 << clause */
    char why[VERDICT_NCLAUSES][200];       /* one sentence a clause, with its numbers */
    int sessions, quads, quads_discarded;
    double ratio;                          /* exp(mean z): B / A */
    struct verdict_interval ratio_t, ratio_boot_t, ratio_percentile, ratio_bca; /* two-sided 95%; NAN members when refused */
    double upper, lower;                   /* decision bounds on ln ratio, one-sided alpha: max and min of t and bootstrap-t */
    double g_within, g_textbook, dz;
    struct verdict_interval g_ci;          /* bootstrap over sessions, 95% */
    double mean_a_us, mean_b_us, median_a_us, median_b_us; /* over letters */
    double aa_ratio; struct verdict_interval aa_ci; bool aa_present; /* the control */
    double share_faster;                   /* of sessions with z < 0 */
    int sessions_needed;                   /* when undecided: sessions that would decide at this spread, 0 when it cannot */
};

/* aa may be NULL: then P2 is reported as not run and does not pass silently: the rule's caller says so. */
int verdict_decide(struct verdict *out, const struct verdict_rule *rule, const struct trial *ab, const struct trial *aa,
                   const struct rng *rng, struct err *e);
const char *verdict_name(enum verdict_outcome o);
const char *verdict_clause_name(enum verdict_clause c);
json_t *verdict_to_json(const struct verdict *v);

#endif
