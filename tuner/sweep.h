/* sweep.h - compiles the points of a space for one target, which need not be here: what fails, what spills, what is dead.
 *
 * Through the same workers, deadlines, limits and cache as a run, so a run afterwards finds its binaries made. Runs nothing. */
#ifndef SWEEP_H
#define SWEEP_H

#include <jansson.h>
#include <limits.h>

#include "cand.h"
#include "err.h"
#include "fate.h"
#include "problem.h"

#define SWEEP_ALL INT_MAX

struct sweep_progress {
    int done, total, compiling;
    int fates[FATE_N];
    double elapsed_s;
};

struct sweep_options {
    const char *cache;
    int jobs, points; /* points: of each template, drawn by the seed; SWEEP_ALL */
    double deadline_s;
    uint64_t seed;
    void (*progress)(void *ctx, const struct sweep_progress *p); /* may be NULL */
    void *ctx;
};

/* *out: new reference, docs/JSON.md: compilation. *failed: points with another fate than OK. -1: the machine's fault, or
 * ERR_INTERRUPTED; what was compiled is in the cache. */
int sweep_run(json_t **out, int *failed, struct domain *d, const struct target *t, const struct sweep_options *o,
              struct err *e);

#endif
