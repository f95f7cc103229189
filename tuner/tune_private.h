/* tune_private.h - shared by tune*.c: the state of one run, and its stages. */
#ifndef TUNE_PRIVATE_H
#define TUNE_PRIVATE_H

#include "cand.h"
#include "contestant.h"
#include "farm.h"
#include "health.h"
#include "paths.h"
#include "race.h"
#include "rng.h"
#include "sanitize.h"
#include "space.h"
#include "store.h"
#include "timeline.h"
#include "tune.h"
#include "worker.h"

#define TUNE_LAG 32 /* proposals in flight; fixed, so that proposals do not depend on the number of cores */
#define TUNE_FINALISTS 3
#define TUNE_RACE_KEEP 8
#define TUNE_LEAST_SESSIONS 8
#define TUNE_RESAMPLES 9999
/* A candidate that twice in a row takes longer than this times the best is not sampled further. The race keeps what is within RACE_SCREEN of the
 * best, so to be wronged it would have to take twice its median, twice; the slowest of 6,585 samples on an H200 took 1.023 times
 * (results/recorded/h200_space_s512). On the host's CPU, where other work can double a time, nobody is stopped. */
#define TUNE_STOP_FACTOR (2 * RACE_SCREEN)

struct tune_shape;

/* One proposal of the run. */
struct tune_item {
    int seq;
    struct cand cand;
    const struct tune_shape *shape; /* NULL: the space's own; borrowed */
    char id[DIGEST_HEX];
    int64_t row; /* candidate's id in the store, 0 when not stored */
    bool debug;  /* set by who makes it: its debug build */
    bool rendered;
    struct launch *launch; /* owned; NULL: not rendered */
    struct farm_job job;
    char identity[DIGEST_HEX]; /* of code and launch, "" unknown */
    enum fate fate;
    double us;     /* search score, NAN unless OK */
    int k;         /* launches a sample */
    int alias_of;  /* seq, -1 */
    double bar_us; /* the best that was told when the search asked for it, 0: none: by that it may be hopeless */
    bool done, committed, known;
    const json_t
        *seed; /* of the run's settings: why it is proposed; NULL: the strategy, a champion or a default. Borrowed */
    json_t *detail;
    char *log;
    struct tune_item *next; /* in the search's list of those to be committed */
};

/* Another problem that a configuration is checked on. */
struct tune_shape {
    struct problem problem;
    struct domain *domain; /* of the one template */
    struct tune_item reference, item;
};
#define TUNE_SHAPES 3
#define TUNE_APART 5

struct tune_named {
    const char *name; /* of the item, NULL: free */
    struct tune_item *item;
};

/* The request that the device worker has, or has answered; at most one. */
struct tune_call {
    json_t *request; /* NULL: none is out */
    json_t *reply;
    enum worker_outcome outcome;
    bool begun; /* the worker has said that it works on it */
    bool answered;
    size_t printed; /* by the worker until then */
};

/* How a candidate is to be timed. */
struct tune_timing {
    int samples;    /* 0: not at all */
    double stop_us; /* one sample is enough when it and the one before it took longer; 0: never */
};

/* A trial's size after the time box. */
struct tune_plan {
    int sessions, quads, m;
    double warm_s;
    bool boxed;
    int look; /* go on to this many, whatever the trial began with; 0: it has the sessions that it began with */
};

struct tune {
    const struct tune_options *o;
    struct space space;
    struct target target;
    struct paths paths;
    char cache[4096];
    struct store *store;
    struct domain *domain;
    struct worker_loop *loop;
    struct farm *farm;
    struct worker *device;
    struct tune_call call;
    double deadline_s;
    double open_s;       /* what a fresh device worker took at last, 0 none yet */
    json_t *environment; /* facts: target, fatune, state of the device at the start */
    char environment_digest[DIGEST_HEX], track[DIGEST_HEX];
    struct tune_item reference;
    struct tune_item again; /* the second copy of an A/A trial */
    int night;              /* number of the night of the track, 0: this is none */
    json_t *night_facts;    /* what this night has done so far; kept in the run's summary */
    struct store_run run;
    uint64_t seed;
    char strategy[32];
    int evaluations;
    double minutes, started, elapsed_before;
    struct tune_item **items; /* by seq */
    int nitems, items_cap, nforced;
    struct tune_named *named; /* items by id and by identity: a hash table, open addressing */
    size_t nnamed, named_cap;
    struct tune_item apart[TUNE_APART]; /* a night's own, which are no proposals */
    int napart;
    struct tune_shape shapes[TUNE_SHAPES];
    int recalled;               /* evaluations of this run that are in the store alone: its search was over */
    struct tune_item *standing; /* arm A: champion or default; in items */
    struct store_champion champion;
    bool has_champion;
    bool outdated;                               /* a proposal of this run differs from the one in the store */
    int64_t confirms;                            /* the finished run that is confirmed again, 0: none */
    struct tune_item *standings[TUNE_RACE_KEEP]; /* race's best, standing arm left out */
    int nstandings;
    json_t *trials;           /* of the summary */
    struct tune_item *winner; /* who stands after the decision: it meets the contestants */
    struct sanitize_waivers *waivers;
    struct contestant_program *programs;
    struct contestant **contestants; /* NULL: not started, or met already */
    int ncontestants;
    json_t *meetings; /* of the summary */
    json_t *decided;  /* the summary of this run as its decision left it, when it goes on behind that */
    char doing_text[256];
    struct tune_progress progress;
    char best_text[512];
    struct timeline clock;                    /* of the search, over all invocations */
    int unkept;                               /* evaluations since the clock was kept */
    int stopped;                              /* evaluations that ended with one sample */
    double told_us;                           /* the best answer that the strategy has been told, 0: none */
    struct tune_item *measured;               /* what the device worker has; in items, NULL: nothing */
    struct tune_item *settled, **settled_end; /* done, to be committed in this order */
    struct tune_item *sampled;                /* whose samples these are */
    double samples[8];
    int nsamples;
};

/* ---- tune_open.c ---- */
/* Space, device, templates, workers; the store unless store_path is NULL. */
int tune_open(struct tune *t, const struct tune_options *o, bool with_store, struct err *e);
/* The same for a space that is in memory: compare. Takes the space. */
int tune_open_space(struct tune *t, const struct tune_options *o, struct space *space, bool with_store, struct err *e);
void tune_close(struct tune *t);
double tune_elapsed(const struct tune *t); /* all invocations of this run */
void tune_report(struct tune *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tune_tick(struct tune *t);
/* ERR_INTERRUPTED when a signal has arrived. */
int tune_interrupted(struct tune *t, struct err *e);
/* Renders and compiles the reference template of the device's language for p. ERR_DEVICE when it cannot serve it. */
int tune_reference(struct tune *t, const struct problem *p, struct tune_item *out, struct err *e);

/* ---- tune.c ---- */
/* Finds the run to go on with, or begins one; the standing champion. */
int tune_begin(struct tune *t, struct err *e);
/* Search and race, or what the store has of them; confirmation and decision; contestants. */
int tune_stages(struct tune *t, struct err *e);
/* What `fatune run --json` prints; new reference, NULL with e set. */
json_t *tune_summary(struct tune *t, struct err *e);
/* The list `member` of the summary of the run that is confirmed again, whose evaluations that was found from: this run has but a few of its
 * own. New reference, empty where there was none; NULL with e set. */
json_t *tune_confirmed(struct tune *t, const char *member, struct err *e);
/* tune_importance.c: which parameters mattered, of each template that reached the race, by this run's evaluations (docs/JSON.md: list of
 * importance). New reference, NULL with e set. */
json_t *tune_importance_json(struct tune *t, struct err *e);
/* The standing champion as a point of this space; ERR_INPUT when it is none any more, or its template has changed. tune_search.c */
int tune_champion_point(struct tune *t, const struct store_version *v, struct cand *out, struct err *e);
/* The run's state becomes "confirm"; its standings, and who stood, are kept so that a restart goes on there. */
int tune_to_confirm(struct tune *t, struct err *e);
/* Keeps the search's clock and the time of this invocation in the run, so that a killed one has them. */
int tune_clock_keep(struct tune *t, struct err *e);
/* docs/JSON.md, search time; null when nothing was searched. New reference. */
json_t *tune_clock_json(const struct tune *t);
/* The summary by which a restart goes on: behind the race, and when winner is given, behind the decision. New reference, NULL: no memory. */
json_t *tune_state(struct tune *t, const struct tune_item *winner);

/* ---- tune_shape.c ---- */
/* The full check of the configuration c, which is of's, on shapes beside the space's own: one token less, one query, and one that this
 * run's seed draws; none is larger. *out: list of {"problem", "fate", "left_out"}, new reference. ERR_INPUT: it gives wrong results on one
 * that its template says it can serve. */
int tune_check_shapes(struct tune *t, const struct tune_item *of, const char *name, json_t **out, struct err *e);
void tune_shapes_close(struct tune *t);

/* ---- tune_item.c: one candidate ---- */
/* What i is a point of. */
struct domain *tune_domain(const struct tune *t, const struct tune_item *i);
struct tune_item *tune_item_new(struct tune *t, const struct cand *c, struct err *e); /* appended to items */
void tune_item_free(struct tune_item *i);
/* What a proposal is known by stays; the rest is in the store and in the cache. A search of any length holds no more of it. */
void tune_item_release(struct tune_item *i);
/* Brings its detail back from the store. */
int tune_item_detail(struct tune *t, struct tune_item *i, struct err *e);
void tune_items_free(struct tune *t);
/* From now on i is found by its id, and by its identity where it has one. What is found already stays. */
int tune_item_name(struct tune *t, struct tune_item *i, struct err *e);
struct tune_item *tune_item_named(const struct tune *t, const char *name); /* NULL: none; name "" is nobody's */
/* Renders and queues the compilation; a failure is the item's fate. -1: the machine. */
int tune_prepare(struct tune *t, struct tune_item *i, struct err *e);
/* Waits until the binary of an item that has passed once is in the cache (again). */
int tune_ready(struct tune *t, struct tune_item *i, struct err *e);
json_t *tune_kernel_json(const struct tune_item *i);
json_t *tune_bench_json(const struct tune *t, uint64_t seed);
/* Sends an evaluate request: full check or quick, and samples timed launches (either may be left out). Fills fate, us, k, detail, log.
 * samples_out: at least nsamples doubles, may be NULL. -1: the machine's fault. */
enum tune_check { TUNE_NO_CHECK, TUNE_QUICK, TUNE_FULL };
int tune_evaluate(struct tune *t, struct tune_item *i, enum tune_check check, int nsamples, double *samples_out,
                  int *got, struct err *e);
/* Its two halves, between which the supervisor may do something else: the request, */
int tune_evaluate_ask(struct tune *t, const struct tune_item *i, enum tune_check check,
                      const struct tune_timing *timing, struct err *e);
/* and what it came to, with the same timing. */
int tune_evaluate_take(struct tune *t, struct tune_item *i, const struct tune_timing *timing, double *samples_out,
                       int *got, struct err *e);
/* One timed sample without a check, for the race; the kernel stays loaded. *ok false: the item's fate says why. */
int tune_sample(struct tune *t, struct tune_item *i, double *us, bool *ok, struct err *e);
/* Sends request (taken) to the device worker, a live one. One that did not survive becomes *fate and *text (owned), and *reply is NULL. -1:
 * the machine's fault. */
int tune_device_call(struct tune *t, json_t *request, enum fate *fate, char **text, json_t **reply, struct err *e);
/* Its two halves. One request may be out; while it is, the loop must be turned (worker_pump) for it to be answered. Takes request. */
int tune_device_ask(struct tune *t, json_t *request, struct err *e);
bool tune_device_answered(const struct tune *t);
int tune_device_take(struct tune *t, enum fate *fate, char **text, json_t **reply, struct err *e);
/* Nobody wants the answer any more: the worker is stopped. Nothing when no request is out. */
void tune_device_drop(struct tune *t);
/* A fresh device worker, opened. */
int tune_device_fresh(struct tune *t, struct err *e);
double tune_item_floor(const struct tune *t);
double tune_stop_factor(const struct tune *t); /* TUNE_STOP_FACTOR, or 0: nobody is stopped */

/* ---- tune.c ---- */
/* The point that set ("K=V,...", NULL: none) makes of a default; tmpl NULL: of the first template where it is valid. */
int tune_point(struct tune *t, const char *tmpl, const char *set, struct cand *c, struct err *e);

/* ---- tune_seeds.c ---- */
/* The points that a run of this space proposes first, in their order, from what the store knows now: list of seed, without what became of them; new
 * reference. With --fresh there are none. */
int tune_seeds(struct tune *t, int64_t environment, json_t **out, struct err *e);

/* ---- stages ---- */
int tune_search(struct tune *t, struct err *e);  /* tune_search.c */
int tune_race(struct tune *t, struct err *e);    /* tune_race.c */
int tune_confirm(struct tune *t, struct err *e); /* tune_confirm.c: full checks, trials, verdicts, the champion */

/* The full check of an item that is ready, once a run and shape: the proof is kept. Not *passed: its fate says why, and it is out.
 * tune_confirm.c */
int tune_prove(struct tune *t, struct tune_item *i, bool *passed, struct err *e);

/* ---- tune_sanitize.c ---- */
/* Reads the waivers; says early when the space asks for sanitizers and there is none. */
int tune_sanitizers(struct tune *t, struct err *e);
/* Every sanitizer around the item's binary, one sentence, and what --json prints of them (new reference). ERR_INTERRUPTED. */
int tune_sanitize(struct tune *t, const struct tune_item *i, enum verdict_sanitizer *outcome, char why[200],
                  json_t **tools, struct err *e);

/* tune_trial.c */
struct tune_plan tune_plan_trial(const struct tune *t, const struct tune_item *a, const struct tune_item *b,
                                 double box_s);
struct tune_plan tune_plan_samples(const struct tune *t, double sample_us, double box_s);
double tune_sample_us(const struct tune_item *i); /* what one sample lasts */

/* The quads of one session as they arrive. */
struct tune_session {
    struct tune *t;
    struct store_quad *quads;
    int n, max, m;
    int others;                /* quads that saw a stranger on the device */
    struct health_pause pause; /* behind each quad, where the supervisor composes them */
    bool nomem;
    bool over; /* the session failed, and so would the next */
};
/* samples: 4 x m in the order measured, malloc'ed, taken. clocks: of each, MHz; before, after: health readings; all borrowed, may be NULL.
 * What they say. */
enum health_change tune_quad_take(struct tune_session *s, bool baab, double *samples, const double *clocks,
                                  const json_t *before, const json_t *after);

/* What a trial is between, and how one session of it is made. */
struct tune_pairing {
    const char *kind;   /* as in the store */
    int64_t row[2];     /* candidates a, b */
    int k[2];           /* launches a sample; a trial that goes on sets them to what they were */
    json_t *contestant; /* what the settings say of it, NULL: none; borrowed */
    bool again;         /* one source in both arms, b's compiled a second time */
    /* *ok false: this try gave no session; why says so. *record: kept with the session, new reference. -1: the machine. */
    int (*session)(void *ctx, const struct tune_plan *p, uint64_t seed, struct tune_session *s, bool *ok, char why[256],
                   json_t **record, struct err *e);
    void *ctx;
};
int tune_trial_of(struct tune *t, struct tune_pairing *pair, const struct tune_plan *plan, struct trial *out,
                  int64_t *trial_id, struct err *e);
/* Sessions of a against b, going on with an unfinished trial of the run. Arms of one source (aa) are compiled apart: b's again, and loaded
 * as a module of its own. *trial_id: its row. */
int tune_trial(struct tune *t, const char *kind, struct tune_item *a, struct tune_item *b, const struct tune_plan *plan,
               struct trial *out, int64_t *trial_id, struct err *e);
/* tune_letters.c: docs/JSON.md, list of quad, in the order measured; swapped: the arms change places. New reference. */
int tune_quads_json(struct store *s, int64_t trial, bool swapped, json_t **out, struct err *e);
/* tune_arm.c: the two sides of a comparison */
struct tune_arm {
    const char *given, *label; /* on the command line; for people */
    char *base;                /* given, up to a colon; owned */
    const char *changes;       /* behind it: "K=V,...", NULL: none */
    bool known;                /* base is in the store: */
    struct store_version v;
};
struct tune_pair {
    struct tune_arm arm[2];
    int contestant; /* the arm that is one, -1: none */
    struct contestant_program program;
    char track[65];
    struct space space; /* as the store has it */
};
/* extra: folder of contestants, or NULL. stored: a contestant's program is not looked for. */
int tune_pair_find(struct tune_pair *p, struct store *s, const char *track, const char *a, const char *b, bool stored,
                   const char *extra, struct err *e);
void tune_pair_free(struct tune_pair *p);
/* The point that an arm which is no contestant stands for. */
int tune_arm_cand(struct tune *t, const struct tune_arm *a, struct cand *c, struct err *e);
/* tune_contest.c */
struct tune_meeting {
    struct trial trial;
    int64_t id;
    json_t *facts; /* of the contestant: name, version, choice, wrong (text or null), k */
};
/* Item i, which is ready, against c, whose arm is `side` (0: a). When c is out afterwards, the meeting is empty. */
int tune_meet(struct tune *t, struct tune_item *i, struct contestant *c, int side, double box_s,
              struct tune_meeting *out, struct err *e);
void tune_meeting_free(struct tune_meeting *m);
int tune_meeting_verdict(const struct tune *t, const struct tune_meeting *m, struct verdict *out, struct err *e);
int tune_contestant_open(struct tune *t, const struct contestant_program *p, struct contestant **out, struct err *e);
/* Those of the space: their programs, */
int tune_contestants_find(struct tune *t, struct err *e);
/* their start, which does not wait, */
int tune_contestants_start(struct tune *t, struct err *e);
/* their hellos, */
int tune_contestants_settle(struct tune *t, struct err *e);
/* their trials against the winner, */
int tune_contest(struct tune *t, struct err *e);
void tune_contestants_close(struct tune *t);
/* and the commands of those whose name alone does not lead to them. New reference. */
json_t *tune_contestants_json(const struct tune *t);
/* Facts of a version: resources, launch, source digest, tensor instructions. New reference. */
json_t *tune_facts(struct tune *t, struct tune_item *i);

#endif
