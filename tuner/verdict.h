/* verdict.h - decide whether a candidate replaces the champion.
 *
 * Pure: no clock, no device, no store, no randomness but the stream handed in. Same input, same verdict, on any machine. Never
 * sees race data: the samples of a trial come from fresh sessions.
 *
 * Letters: A is the standing arm (champion or default), B the candidate. quad value y = (ln b1 + ln b2 - ln a1 - ln a2)/2,
 * session value z = mean of its y, estimate R = exp(mean z): B's time over A's. The unit of replication is the session.
 *
 * Discarded quads, and quads with a letter that is not a positive time up to STATS_LARGEST, are left out and counted. Outliers are counted and
 * stay. The order of sessions does not matter. Without any spread between sessions (below 1e-12, the rounding of ln) every interval
 * and bound is the estimate itself, and the decision stands; without spread inside the sessions g is +-infinity.
 * Two modes (stats_bimodality) among the letters, each taken relative to the other arm's letters of its quad so that what
 * both arms share cancels, more than min_gain/2 apart: UNDECIDED, under P6. */
#ifndef VERDICT_H
#define VERDICT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "rng.h"

struct trial_quad {
    bool baab, discarded;
    double letter[4];     /* medians, in the order measured, microseconds */
    double letter_mhz[4]; /* the clock while each was measured, 0: not known */
    double sm_mhz;        /* where none is known: the mean clock around the quad, 0: not known either */
};

struct trial_session {
    int n;
    struct trial_quad *quads;
};

struct trial {
    int n;
    struct trial_session *sessions; /* owned */
    int m;                          /* samples a letter */
    bool boxed;                     /* quads or letters were cut to fit a time box */
    bool invalid;                   /* a health clause failed: why in reason */
    char reason[256];
};
void trial_free(struct trial *t); /* NULL and twice are fine */
/* label[i] tells whether quad i, counted over all quads of all sessions, is an outlier: its y lies more than 3.5 modified z
 * (stats_outliers, pooled) from its session's median. Discarded quads are not. label may be NULL. Count in *count. */
int trial_outliers(const struct trial *t, bool *label, int *count, struct err *e);

/* exp(z): B's time over A's in one session, of the quads that count; NAN when there are none. */
double trial_session_ratio(const struct trial_session *s);

struct verdict_rule {
    double min_gain, hedges_g, alpha; /* alpha one-sided, already divided for the finalists (Holm's smallest) */
    double target_us;                 /* 0: none */
    int min_sessions;                 /* 8 */
    int resamples;                    /* 9999; more are drawn where (resamples + 1) alpha < 1 */
    bool control_required;            /* without a control P2 fails; else it passes and says that none was run */
};

enum verdict_outcome { VERDICT_PROMOTE, VERDICT_KEEP, VERDICT_UNDECIDED, VERDICT_INVALID };

/* X(bit, clause, question) */
#define VERDICT_CLAUSES(X)                                                                                             \
    X(VALID, "P1 valid trial")                                                                                         \
    X(CONTROL, "P2 A/A control")                                                                                       \
    X(GAIN, "P3 gain")                                                                                                 \
    X(EFFECT, "P4 effect size")                                                                                        \
    X(TARGET, "P5 target")                                                                                             \
    X(CONSISTENCY, "P6 consistency")                                                                                   \
    X(SANITIZER, "P7 sanitizer")
enum verdict_clause {
#define X(name, text) VERDICT_##name,
    VERDICT_CLAUSES(X)
#undef X
        VERDICT_NCLAUSES
};

struct verdict_interval {
    double low, high;
};

struct verdict {
    enum verdict_outcome outcome;
    unsigned failed;                 /* bit 1 << clause */
    char why[VERDICT_NCLAUSES][200]; /* one sentence a clause, with its numbers; "": not asked, which P7 alone can be */
    char note[400]; /* outliers, drift, a time box: what a reader should know beside the clauses, or "" */
    int sessions, quads, quads_discarded; /* sessions with a kept quad; all quads */
    int quads_outlying;                   /* labelled, not deleted */
    int sessions_drifting;                /* A's letters moved by more than 1% (Theil-Sen slope x length) */
    double ratio;                         /* exp(mean z): B / A */
    /* Mean of letter x clock, B / A; NAN unless every kept quad has its clocks: all four letters', or else one for the quad, which
     * cannot see an arm that moves the clock. */
    double ratio_cycles;
    /* two-sided 95%; NAN members when refused */
    struct verdict_interval ratio_t, ratio_boot_t, ratio_percentile, ratio_bca;
    double upper, lower; /* decision bounds on ln ratio, one-sided alpha: max and min of t and bootstrap-t */
    /* Of ln letters, positive = B faster. within: over the SD inside (session, arm), pooled. textbook: over the SD of all letters
     * of an arm, pooled, as if they were independent. dz = -mean z / sd z: another quantity, never called g. */
    double g_within, g_textbook, dz;
    struct verdict_interval g_ci;                          /* of g_within: percentile bootstrap over sessions, 95% */
    struct verdict_interval g_textbook_ci;                 /* noncentral t, 95% */
    double mean_a_us, mean_b_us, median_a_us, median_b_us; /* over letters */
    double upper_b_us;                                     /* of mean_b_us: one-sided 95%, t over session means */
    /* Beside the decision, for readers used to them. Each arm's mean alone, 95%, t over session means: pairing is ignored, so they
     * overlap where a paired gain is proven, and may miss each other where none is. */
    struct verdict_interval mean_a_ci, mean_b_ci;
    /* Of all letters, as if they were independent, which they are not: p says little. cliff: share of pairs of letters in
     * which B is faster less the share in which it is slower (Cliff 1993). */
    double mann_whitney_p, cliff;
    bool aa_present; /* was there a control? */
    double aa_ratio;
    struct verdict_interval aa_ci; /* 99%, t over sessions */
    bool bimodal;
    struct verdict_interval modes; /* B / A in either mode */
    double mode_share;             /* of the letters in the lower mode */
    double share_faster;           /* of sessions with z < 0 */
    /* When undecided: sessions that would decide at this gain and spread with power 90%, at most 1000; 0 when more sessions
     * are not what is missing. */
    int sessions_needed;
};

/* A trial may be judged at growing numbers of sessions, each time with alpha divided by how many looks there may be (Bonferroni: their
 * errors add up to alpha at most, however they depend on each other). Whether to go on to the next look: undecided for want of sessions,
 * and of nothing else. */
bool verdict_wants_sessions(const struct verdict *v);
/* aa may be NULL: P2's sentence says that the control was not run; rule->control_required tells whether that fails.
 * INVALID when P1 or P2 fails; else PROMOTE when no clause fails; else KEEP when even `lower` exceeds ln(1 - min_gain): a
 * gain above min_gain is ruled out; else UNDECIDED. Fails only for a rule out of range (ERR_BUG) or memory. rng is not advanced. */
int verdict_decide(struct verdict *out, const struct verdict_rule *rule, const struct trial *ab, const struct trial *aa,
                   const struct rng *rng, struct err *e);
/* P7, which comes behind the others since it runs the kernel for minutes: what sanitizers said of B, in words. Clean, or waived by a person: what
 * stands stands. Found: KEEP, more sessions would change nothing. Not run: UNDECIDED, nothing was found and nothing was shown. v: one that
 * promotes. */
enum verdict_sanitizer { VERDICT_SANITIZER_PASSED, VERDICT_SANITIZER_FOUND, VERDICT_SANITIZER_NOT_RUN };
void verdict_sanitize(struct verdict *v, enum verdict_sanitizer said, const char *why);
const char *verdict_name(enum verdict_outcome o);
/* B to A, by the 95% bootstrap-t interval of the ratio. SAME: the interval lies between 1 - same and 1 / (1 - same), where same is the
 * space's min_gain: what it takes for no gain is no difference. FASTER, SLOWER: the interval excludes 1. UNSURE: neither; or the trial is not
 * valid (P1); or it has two modes that are not both of that kind. */
enum verdict_relation { VERDICT_SAME, VERDICT_FASTER, VERDICT_SLOWER, VERDICT_UNSURE };
enum verdict_relation verdict_relation(const struct verdict *v, double same);
/* When UNSURE: sessions that would decide the relation at this ratio and spread with power 90%, more than there are and at most 1000; 0 when
 * more sessions are not what is missing. */
int verdict_relation_sessions(const struct verdict *v, double same);
const char *verdict_relation_name(enum verdict_relation r); /* same, faster, slower, undecided */
const char *verdict_clause_name(enum verdict_clause c);
/* Every number; what is not finite is null. New reference, NULL when out of memory. */
json_t *verdict_to_json(const struct verdict *v);

#endif
