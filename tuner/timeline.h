/* timeline.h - where the time of a search went: of the device worker, of the supervisor, of the compile workers.
 *
 * Pure: the caller brings the clock (seconds, monotonic) and says what changes. The supervisor always does one thing; the device worker
 * opens, works on a request, or is idle, and then it waits for what the supervisor is doing at that time. Each instant is charged once to
 * the supervisor and once to the device worker, so that the parts of either add up to the wall time. */
#ifndef TIMELINE_H
#define TIMELINE_H

#include <jansson.h>
#include <stdbool.h>

/* X(NAME, member of the JSON) */
#define TIMELINE_DOINGS(X)                                                                                             \
    X(OTHER, "other")   /* of the supervisor's work */                                                                 \
    X(RENDER, "render") /* a point becomes source, and is looked up in the cache */                                    \
    X(STORE, "store")                                                                                                  \
    X(STRATEGY, "strategy") /* proposals, answers */                                                                   \
    X(WAIT, "waiting")      /* nothing to do: the device worker or the compilers are awaited */

enum timeline_doing {
#define X(name, member) TIMELINE_##name,
    TIMELINE_DOINGS(X)
#undef X
        TIMELINE_DOING_N
};

enum timeline_device { TIMELINE_IDLE, TIMELINE_WORKING, TIMELINE_OPENING };

#define TIMELINE_LAST 16

/* What a worker says of one request, in seconds by its own clock. */
struct timeline_work {
    double whole, check, measure;
};

/* All zero: nothing yet. Members are seconds but where they say otherwise. */
struct timeline {
    double wall, supervisor[TIMELINE_DOING_N], idle[TIMELINE_DOING_N]; /* idle: by what the supervisor did meanwhile */
    double check, measure;
    double load;     /* the rest of what the worker did: loading kernels, canaries */
    double messages; /* on the way to the worker and back */
    double opening;
    double lost;                       /* with requests that were never answered */
    double compilers, compilers_could; /* compile workers at work; all of them for the whole time */
    int invocations;
    bool running; /* nothing is charged unless it is */
    double at, request, compiled;
    int workers;
    enum timeline_doing doing;
    enum timeline_device device;
    double last[TIMELINE_LAST]; /* of the request: how long the supervisor did what, the newest last */
    enum timeline_doing last_doing[TIMELINE_LAST];
    int nlast;
};

/* Another invocation of the same search begins: the device is idle. compiled: what all compile workers together have worked so far. */
void timeline_begin(struct timeline *t, int workers, double compiled, double now);
/* From now on the supervisor does this. Returns what it did before, to go back to. */
enum timeline_doing timeline_do(struct timeline *t, enum timeline_doing doing, double now);
/* From now on the device worker does this. A request that it leaves without timeline_answered was lost. */
void timeline_device(struct timeline *t, enum timeline_device state, double now);
/* The request is answered, the worker idle. What the worker did not need of the time since the request it spent idle behind its answer, while
 * the supervisor was busy elsewhere, as far as it was; the rest are messages. Work that does not fit into that time is cut to it: it is
 * another process's word. */
void timeline_answered(struct timeline *t, const struct timeline_work *w, double now);
/* Charges what has passed, so that the members can be read; compiled as above. */
void timeline_charge(struct timeline *t, double compiled, double now);
/* The same, and ends this invocation. */
void timeline_end(struct timeline *t, double compiled, double now);
/* docs/JSON.md, search time. New reference, NULL: no memory. */
json_t *timeline_to_json(const struct timeline *t);
/* What an earlier invocation kept, to be added to; NULL or what makes no sense: nothing. */
void timeline_from_json(struct timeline *t, const json_t *j);

#endif
