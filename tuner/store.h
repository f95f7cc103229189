/* store.h - what fatune remembers: one SQLite file, one writer.
 *
 * The only user of SQLite. journal_mode DELETE, synchronous EXTRA, foreign_keys on, trusted_schema off, STRICT tables,
 * application_id and user_version set (PRAGMAs and reasons: store.c's head). The writer holds an flock on FILE.lock for its
 * lifetime; a second writer gets ERR_LOCKED, naming the holder's pid. Readers open read-only and take no lock. A store from a
 * newer fatune is refused without writing; an older one is copied (FILE.bak-vN) and migrated in one transaction;
 * readers take it as it is.
 *
 * One function that writes is one transaction: a finished stage of one candidate, one session, or one whole verdict with its
 * promotion. Raw samples are BLOBs of little-endian doubles with their digest. All errors are ERR_STORE (ERR_LOCKED apart),
 * naming the file, what was attempted, and for a full disk the free space. Times are UTC, ISO 8601, taken here.
 *
 * Identities: a *track* is what a champion is champion of: (space name, problem, cache state, device model), as a digest. An
 * *environment* is a digest of device uuid, driver, compiler, clocks policy, fatune version: numbers of different environments
 * are never compared. */
#ifndef STORE_H
#define STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "fate.h"
#include "verdict.h"

#define STORE_SCHEMA 4

struct store;

enum store_mode { STORE_READ, STORE_WRITE };
/* STORE_WRITE creates the file and its folder. STORE_READ of a missing file: ERR_STORE, "no store at ... ; run `fatune run`". */
int store_open(struct store **out, const char *path, enum store_mode mode, struct err *e);
void store_close(struct store *s);
const char *store_path(const struct store *s);
/* Copies the store to FILE.snapshot-<UTC>, removes all but the newest `keep` such files, and writes the name to path. A damaged
 * store is refused with the name of its newest copy. */
#define STORE_PATH_MAX 4224
int store_snapshot(struct store *s, int keep, char path[STORE_PATH_MAX], struct err *e);

/* ---- identities; each returns the row's id in *id, creating it when new ---- */
int store_environment(struct store *s, const char *digest, const json_t *facts, int64_t *id, struct err *e);
int store_space(struct store *s, const char *digest, const char *name, const char *text, const json_t *problem,
                int64_t *id, struct err *e);
/* Name and text of a stored space; both to be freed by the caller. */
int store_space_text(struct store *s, int64_t space, char **name, char **text, struct err *e);
/* digest: cand_id. params: cand_to_json. */
int store_candidate(struct store *s, const char *digest, const json_t *params, int64_t *id, struct err *e);

/* ---- runs ---- */
struct store_run {
    int64_t id, space, environment;
    char
        key[65]; /* what makes two invocations the same run: space digest, track, environment, seed, strategy, budget */
    char track[65];
    char state[16]; /* search | race | confirm | done | failed */
    char started[32], ended[32];
    double elapsed_s;           /* over all invocations */
    json_t *settings, *summary; /* owned; summary NULL until done */
};
void store_run_free(struct store_run *r);
/* The newest run with this key, *found = false when none. */
int store_run_find(struct store *s, const char *key, struct store_run *out, bool *found, struct err *e);
int store_run_begin(struct store *s, int64_t space, int64_t environment, const char *key, const char *track,
                    const json_t *settings, int64_t *id, struct err *e);
int store_run_state(struct store *s, int64_t run, const char *state, double add_elapsed_s, const json_t *summary,
                    struct err *e); /* state and summary may be NULL: kept */
int store_run_get(struct store *s, int64_t id, struct store_run *out, struct err *e);
/* Newest first; calls f until it returns non-zero. track NULL: all. */
int store_runs(struct store *s, const char *track, int (*f)(void *ctx, const struct store_run *r), void *ctx,
               struct err *e);

/* ---- evaluations: proposal seq of a run, its fate, its search score ---- */
struct store_evaluation {
    int64_t run, candidate;
    int seq;
    char cand[65]; /* candidate digest */
    enum fate fate;
    double us;       /* search score, NAN unless fate OK */
    char binary[65]; /* cache key of the binary, "" when none */
    char code[65];   /* code digest, "" when unknown */
    int alias_of;    /* seq of the evaluation with equal code that was measured instead, -1 */
    json_t *params;  /* owned; read only */
    json_t *detail;  /* owned: resources, check report, health, k */
    char *log;       /* owned: compiler log or crash text, NULL when empty; capped at 64 KiB */
    char at[32];     /* when it was written; not to be filled */
    const double *samples;
    int nsamples; /* written as a series of phase 'search'; not read back here */
};
void store_evaluation_free(struct store_evaluation *v);
/* One transaction. candidate 0: the one of cand and params, which is added where it is new. */
int store_evaluation_put(struct store *s, struct store_evaluation *v, struct err *e);
/* In order of seq. */
int store_evaluations(struct store *s, int64_t run, int (*f)(void *ctx, const struct store_evaluation *v), void *ctx,
                      struct err *e);
/* How many there are, and the number behind the last one. */
int store_evaluations_count(struct store *s, int64_t run, int *n, int *end, struct err *e);
/* The one with this number; *found. */
int store_evaluation_get(struct store *s, int64_t run, int seq, struct store_evaluation *out, bool *found,
                         struct err *e);
/* The newest evaluation of this candidate in this environment with this cache state of any run; *found. */
int store_evaluation_known(struct store *s, const char *cand, int64_t environment, const char *track,
                           struct store_evaluation *out, bool *found, struct err *e);

/* The raw samples of one evaluation, malloc'ed; *samples NULL when it has none. Their digest is checked. */
int store_evaluation_samples(struct store *s, int64_t run, int seq, double **samples, int *n, struct err *e);

/* A candidate's proof at a level ("quick", "full") for one binary: checks need not be repeated on resume. */
int store_check_put(struct store *s, int64_t run, int64_t candidate, const char *binary, const char *level,
                    enum fate fate, const json_t *report, struct err *e);
int store_check_get(struct store *s, int64_t run, int64_t candidate, const char *level, enum fate *fate,
                    json_t **report, bool *found, struct err *e);

/* ---- race ---- */
/* One block's samples of a run: ids[i] (evaluation seq), us[i] (NAN when failed). */
int store_race_block(struct store *s, int64_t run, int block, const int *seqs, const double *us, int n, struct err *e);
/* Calls f for each stored measurement in the order stored. */
int store_race(struct store *s, int64_t run, int (*f)(void *ctx, int block, int seq, double us), void *ctx,
               struct err *e);
int store_race_clear(struct store *s, int64_t run, struct err *e); /* a race that is started again */

/* ---- trials ---- */
/* kind: "ab", "aa" or "contestant"; a, b: candidate ids (a contestant is a candidate whose params are {"contestant": name, "version":
 * text}; no verdict may cite its trials: a trigger). settings: S, Q, m, k of both arms, cache state, input seed, boxed. */
int store_trial_begin(struct store *s, int64_t run, const char *kind, int64_t a, int64_t b, const json_t *settings,
                      int64_t *id, struct err *e);
/* An unfinished trial of this run with these arms, to go on with; *found, its id, settings and sessions already kept. A control
 * ("aa") serves all verdicts of its run and is found even when one cites it. */
int store_trial_find(struct store *s, int64_t run, const char *kind, int64_t a, int64_t b, int64_t *id,
                     json_t **settings, struct trial *kept, bool *found, struct err *e);
/* One session: its quads with raw samples (4 x m each, in the order measured) and health, one transaction. Members of health
 * that are read back into the trial: of the session "invalid" (why), "boxed" (true); of a quad "letter_mhz" (four numbers). */
struct store_quad {
    struct trial_quad quad;
    const double *samples;
    int nsamples;
    json_t *health; /* borrowed */
};
int store_session_put(struct store *s, int64_t trial, int session, uint64_t seed, const struct store_quad *quads, int n,
                      const json_t *health, struct err *e);
int store_trial_get(struct store *s, int64_t trial, struct trial *out, json_t **settings, struct err *e);
/* Raw samples in the order measured, n of each quad; f's non-zero ends. Their digests are checked (as by store_trial_get). */
int store_trial_samples(struct store *s, int64_t trial,
                        int (*f)(void *ctx, int session, int quad, const double *samples, int n), void *ctx,
                        struct err *e);
/* What stands beside the numbers of a trial: each session's record (quad -1), behind it the health of its quads, in order; NULL when there is
 * none. f's non-zero ends. */
int store_trial_health(struct store *s, int64_t trial,
                       int (*f)(void *ctx, int session, int quad, bool discarded, const json_t *health), void *ctx,
                       struct err *e);
/* A trial with all that was kept of it, for whoever checks it by himself: "id", "run", "kind", arms "a" and "b" (digests) with "a_params" and
 * "b_params", "settings", "at"; "sessions" ("session", "seed", "health", "at") and "quads" ("session", "quad", "baab", "discarded", "letter0" to
 * "letter3", "sm_mhz", "health", "samples_us", "digest" of those samples as little-endian doubles), in the order measured. A letter that has no
 * time is absent. New reference. */
int store_trial_json(struct store *s, int64_t trial, json_t **out, struct err *e);
/* SHA-256 over samples as the store keeps them: little-endian doubles. */
int store_samples_digest(char out[65], const double *samples, int n, struct err *e);
/* The newest finished trial (a verdict cites it, or its run is done) of a and b in a track, in either order: `compare --stored`. *swapped: b
 * was its arm a. Its arms share an environment, whatever those of a's and b's versions are. */
int store_trial_latest(struct store *s, const char *track, int64_t a, int64_t b, int64_t *trial, bool *swapped,
                       bool *found, struct err *e);
/* Finished trials of a track with at least one session, newest first; calls f until it returns non-zero. */
struct store_trial {
    int64_t id;
    char kind[16], created[32];
    char a[65],
        b[65]; /* names: of the candidate's newest version there, of the contestant, else 12 digits of the digest */
    int sessions;
};
int store_trials(struct store *s, const char *track, int (*f)(void *ctx, const struct store_trial *t), void *ctx,
                 struct err *e);
/* The same of a candidate and the contestant of that name; *contestant_is_b: the arms' order in it. */
int store_trial_contestant(struct store *s, const char *track, int64_t candidate, const char *contestant,
                           int64_t *trial, bool *contestant_is_b, bool *found, struct err *e);

/* ---- versions, verdicts, champions ---- */
struct store_version {
    int64_t id, candidate, run, environment;
    char track[65], name[64], cand[65], created[32], space[128], device[128], binary[65];
    json_t *params, *source_facts; /* owned */
};
void store_version_free(struct store_version *v);
struct store_champion {
    int64_t id;
    struct store_version version;
    char at[32], action[16]; /* crown | promote | settle | refute | revoke | restore | rollback */
    int64_t verdict, run;    /* the verdict that made it, and its run; 0: none */
    char note[256];
    /* Of a standing champion (not in the history): it was promoted over another, and no later night has settled it. */
    bool provisional;
};
void store_champion_free(struct store_champion *c);

struct store_decision {          /* what one verdict writes */
    int64_t run, trial, control; /* control 0: none */
    const char *track;
    const struct verdict *verdict; /* NULL: a default is crowned and nobody was there to try */
    int64_t candidate;             /* arm B */
    const char *binary;
    const json_t *facts;        /* resources, tensor ops, source digest ... of the new version */
    const char *action;         /* NULL: the champion stays; "crown" | "promote" */
    int64_t champion_candidate; /* with an action: who becomes champion (B, or A when the default is crowned) */
    const char *as;             /* version name, NULL: next free v<N> of the track */
    const char *note;
};
/* The n > 0 decisions of one confirmation, at most one of them with an action, and the summary (NULL: as it was) by which their run goes on behind
 * them, in one transaction. version_name (may be NULL) receives the new champion's name. A taken name is ERR_USAGE before anything is written. */
int store_decide(struct store *s, const struct store_decision *d, int n, const json_t *summary, char version_name[64],
                 struct err *e);
/* Standing champion of a track, as the log says; *found. */
int store_champion(struct store *s, const char *track, struct store_champion *out, bool *found, struct err *e);
/* Oldest first, every action; track NULL: all tracks. */
int store_champion_history(struct store *s, const char *track, int (*f)(void *ctx, const struct store_champion *c),
                           void *ctx, struct err *e);
/* Who would stand if the standing champion's promotion were refuted; *found. */
int store_champion_before(struct store *s, const char *track, struct store_version *out, bool *found, struct err *e);
/* The first champion that was not revoked since; *found. */
int store_champion_first(struct store *s, const char *track, struct store_version *out, bool *found, struct err *e);
/* Appends a revocation; the champion before it stands again (logged as restore), or none. ERR_USAGE when there is none. */
int store_champion_revoke(struct store *s, const char *track, const char *why, struct err *e);
/* An earlier champion stands again; those after it leave, but their rows stay. ERR_USAGE when name does not lie below the standing one:
 * it never stood, was revoked or refuted, or stands. */
int store_champion_rollback(struct store *s, const char *track, const char *name, const char *why, struct err *e);
/* What a later night made of a provisional promotion. d: run, trial, control, track, verdict (NULL: it could not be tried), candidate (the
 * champion before, which is arm B of the trial), note. refuted: the champion before stands again (refute, and restore); else settle. One
 * transaction. ERR_BUG when the standing champion is not provisional. */
int store_settle(struct store *s, const struct store_decision *d, bool refuted, struct err *e);
/* Name ("v3") or digest prefix (at least 6 hex digits). In several tracks: the newest, of those whose digest begins with
 * track unless that is NULL; ambiguous prefixes are ERR_USAGE listing the matches. */
int store_version_find(struct store *s, const char *track, const char *name, struct store_version *out, bool *found,
                       struct err *e);
/* A candidate without a name, by digest prefix, as its newest run has it (of the track, unless NULL): id 0, no facts, its name the first 12
 * digits. *found false: there is none, or prefix is no digest's. */
int store_version_unnamed(struct store *s, const char *track, const char *prefix, struct store_version *out,
                          bool *found, struct err *e);
int store_versions(struct store *s, const char *track, int (*f)(void *ctx, const struct store_version *v), void *ctx,
                   struct err *e);
/* Everything known of one candidate for `fatune show`: evaluations, checks, trials, verdicts, as JSON. New reference. */
int store_candidate_json(struct store *s, const char *digest_prefix, json_t **out, bool *found, struct err *e);
/* Tracks, newest first, as their newest runs have them; calls f until it returns non-zero. */
struct store_track {
    char digest[65], space[128], device[128]; /* names */
    const json_t *problem;                    /* borrowed; as problem_to_json gave it */
};
int store_tracks(struct store *s, int (*f)(void *ctx, const struct store_track *t), void *ctx, struct err *e);
/* ---- nights: the ledger ---- */
struct store_night {
    int64_t run;
    int number; /* of the track, from 1 */
    char track[65], space[128], device[128], environment[65];
    char outcome[16];   /* crowned | promoted | refuted | kept | broken | none: nobody stands */
    char promotion[16]; /* what became of a provisional promotion: settled | refuted | open; "": there was none */
    char before[64], after[64];                /* names of the versions, "": nobody */
    double control, control_low, control_high; /* A/A ratio of the standing arm, 99%; NAN: not measured */
    int trials;                                /* that could have changed the champion */
    double alpha;                              /* spent on them, added up */
    int64_t anchor;                            /* candidate, 0: none */
    double anchor_us;                          /* median letter, NAN: not measured */
    double seconds;
    char note[512], at[32];
};
/* The row of a night that is over, with its run's state and summary, in one transaction; names, environment and date are filled from run
 * and track. state: done | failed. A number that the track has already is ERR_BUG. */
int store_night_put(struct store *s, const struct store_night *n, const char *state, double add_elapsed_s,
                    const json_t *summary, struct err *e);
/* Oldest first; track NULL: all. A store that has no nights yet has none. */
int store_nights(struct store *s, const char *track, int (*f)(void *ctx, const struct store_night *n), void *ctx,
                 struct err *e);
/* Candidates measured well in runs of this track before `run`, best first, each once, at most n: their score in this environment, or, when
 * none was measured in it, in the newest that has any. For proposals: a score selects, it never decides. */
int store_best(struct store *s, const char *track, int64_t environment, int64_t run, int n,
               int (*f)(void *ctx, const json_t *params, const char *cand, double us), void *ctx, struct err *e);

/* ---- imports: what others measured. Points to try, never results ---- */
struct store_prior {
    json_t *params; /* as cand_to_json has a point; borrowed */
    double us;
};
struct store_import {
    int64_t id;
    char file[256], space[128], at[32];
    const json_t *problem; /* of the space; borrowed */
};
/* One import: n points of a space, which are kept together. *added false: points of this digest were imported into this space before, and nothing is
 * written. */
int store_import_put(struct store *s, int64_t space, const char *file, const char *digest, const struct store_prior *p,
                     int n, bool *added, struct err *e);
/* Newest first; calls f until it returns non-zero. A store of an older schema has none. */
int store_imports(struct store *s, int (*f)(void *ctx, const struct store_import *i), void *ctx, struct err *e);
/* The points of one, best first, until f returns non-zero. */
int store_priors(struct store *s, int64_t import, int (*f)(void *ctx, const json_t *params, double us), void *ctx,
                 struct err *e);

/* A decision as it was written. body: what verdict_to_json gave. */
struct store_verdict {
    int64_t id, run, trial, control; /* control 0: none */
    char cand[65], created[32];      /* candidate: arm B of the trial */
    json_t *body;                    /* owned */
};
void store_verdict_free(struct store_verdict *v); /* NULL and twice are fine */
int store_verdict_get(struct store *s, int64_t verdict, struct store_verdict *out, struct err *e);

#endif
