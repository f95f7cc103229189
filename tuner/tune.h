/* tune.h - the pipeline: space -> cand -> tmpl -> jit -> check -> bench -> verdict -> store.
 *
 * Runs in the supervisor. Resumable: every finished stage of a candidate, every session and every verdict is one committed
 * transaction, and a run that is started again with the same key (space, track, environment, seed, strategy, budget) goes on behind
 * the last of them. A run that is already done is confirmed again: its best challenger meets the standing champion in fresh sessions.
 * Prints nothing: progress goes to the caller. */
#ifndef TUNE_H
#define TUNE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "digest.h"
#include "err.h"
#include "fate.h"
#include "problem.h"
#include "verdict.h"

struct buf;
struct check_tile;
struct space;
struct store;

enum tune_phase { TUNE_PREPARE, TUNE_SEARCH, TUNE_RACE, TUNE_CHECK, TUNE_CONFIRM, TUNE_CONTEST, TUNE_COMPILE };

struct tune_progress {
    enum tune_phase phase;
    const char *event;        /* a line for people that something happened, or NULL */
    int done, total;          /* of this phase; total 0: unknown */
    double elapsed_s, left_s; /* left_s < 0: unknown */
    double best_us;           /* 0: none yet; a search score, not a result */
    const char *best;         /* the candidate's text, "" */
    const char *doing;        /* what a contestant says it does, "" */
    int compiling;            /* jobs not yet done */
    int fates[FATE_N];
    int aliases, known;
};

struct tune_options {
    const char *space;     /* path */
    const char *device;    /* NULL: auto */
    const char *store;     /* path of the store */
    struct store *opened;  /* that store, open for writing, kept by the caller; NULL: it is opened here */
    const char *templates; /* extra folder of templates, or NULL */
    const char *strategy;  /* NULL: the space's */
    int evaluations;       /* 0: the space's */
    double minutes;        /* 0: the space's */
    bool has_seed;
    uint64_t seed;
    int jobs;        /* 0: one a core */
    int sessions;    /* of a comparison; 0: the space's */
    bool samples;    /* of a comparison: with every quad */
    bool other_mask; /* of an evaluation: the space's problem under the mask that it does not have */
    const char *as;  /* name of the version that may be crowned, NULL: next v<N> */
    bool no_promote, fresh;
    bool unwritten;          /* of an evaluation: check.h */
    const char *waivers;     /* of sanitizers' reports (sanitize.h), for spaces that ask for sanitizers; or NULL */
    const char *contestants; /* extra folder of contestants, or NULL */
    bool no_contestants;     /* the space's are not met */
    bool allow_contestants;  /* programs that a space brings may run */
    void (*progress)(void *ctx, const struct tune_progress *p);
    void *ctx;
};

/* The whole of `fatune run`. *summary: new reference, what --json prints (schema: docs/JSON.md). ERR_INTERRUPTED: committed, resumable. */
int tune_run(const struct tune_options *o, json_t **summary, struct err *e);

/* One night of a space, from cron: the standing champion is compiled and checked anew, with fresh inputs and on shapes beside its own; a
 * promotion that no night has settled is tried again with changed signs; a search that starts from what is known, race, confirmation and
 * decision as in a run; the anchor; a row in the ledger. A night that was cut off goes on. *out (schema: docs/JSON.md) is set as well when
 * the champion does not pass: ERR_INPUT, the row is written, nobody takes its place. Contestants are not met. */
int tune_night(const struct tune_options *o, json_t **out, struct err *e);

/* `fatune eval`: one candidate from source to time. set: "K=V,..." over the default, or NULL. full: every stress input and law.
 * Nothing is stored. *out: fate, text, resources, report, samples, launch, source digest. */
int tune_eval(const struct tune_options *o, const char *tmpl, const char *set, bool full, int samples, json_t **out,
              struct err *e);

/* `fatune oracle`: a tile of S, P and O, as a candidate's debug build shows it, against f64. Point as in tune_eval. tile: rows 0 for as many
 * as are usual. inputs: a set that check_knows_set. folder: is there, and gets the .npy files. *out: docs/JSON.md, oracle. ERR_INPUT: the
 * template has no tile hooks. */
int tune_oracle(const struct tune_options *o, const char *tmpl, const char *set, const struct check_tile *tile,
                const char *inputs, const char *folder, json_t **out, struct err *e);

/* The rule of the space's decisions, with one of so many shares of alpha: finalists x looks. */
struct verdict_rule tune_promotion_rule(const struct space *s, int shares);
/* What a champion is champion of: digest of the space's name, problem and cache state, and of the device's model. */
int tune_track(char out[DIGEST_HEX], const struct space *s, const struct target *t, struct err *e);
/* docs/JSON.md, list of seed: what a run proposed because something was known of it. *out: new reference. */
int tune_seeds_used(struct store *s, int64_t run, json_t **out, struct err *e);
/* Such a list in words: "3 points from s512 (champion v4), 1 from ..."; nothing when it is empty. */
void tune_seeds_text(const json_t *seeds, struct buf *out);
/* What the device did while a trial was measured, from the store. *out: docs/JSON.md, trial health; new reference. */
int tune_trial_health(struct store *s, int64_t trial, json_t **out, struct err *e);

/* `fatune compare A B`: fresh sessions of two configurations of one track, interleaved; stored as a trial, no promotion. a, b: a version's name,
 * "champion", a candidate's digest prefix or the name of a template (its default), each maybe with ":K=V,..." to change parameters; one
 * of them may be a contestant. Equal ones are an A/A trial: b is compiled again. track: a prefix of its digest, or NULL. *out: docs/JSON.md,
 * comparison. stored: from the records instead. */
int tune_compare(const struct tune_options *o, const char *track, const char *a, const char *b, bool stored,
                 json_t **out, struct err *e);

/* The environment that results of this target are kept under: those of different ones are never compared. */
void tune_environment(char out[DIGEST_HEX], const struct target *t);

/* docs/JSON.md, list of arm: A and B of a trial by themselves. New reference, NULL when out of memory. */
json_t *tune_letters_json(const struct trial *t);

#endif
