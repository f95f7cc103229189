/* profile.h - Nsight Compute (ncu) around `fatune eval`: one launch of one kernel, its counters, and the stored time they belong to.
 *
 * Clocks are left alone and, for a space that is measured warm, the caches too: the kernel is seen as it was timed, as far as replaying one
 * launch for every group of counters allows. The tool's own sections decide which counters this GPU has; one that the table lacks, or
 * that has no number or an unknown unit in it, is not known, never 0. A tool that is missing, refused, cut off or that has not seen the kernel
 * is *not run*. */
#ifndef PROFILE_H
#define PROFILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "digest.h"
#include "err.h"

enum profile_metric {
    PROFILE_TENSOR, /* % of active cycles in which the tensor pipe was */
    PROFILE_SM_BUSY, /* % of the peak of instructions: ncu's "SM Busy", of elapsed cycles in 2025.3, of active ones in 2024.1 */
    PROFILE_SM,         /* % of the peak, in elapsed cycles */
    PROFILE_L1,         /* % of the peak */
    PROFILE_L2,         /* % of the peak */
    PROFILE_DRAM,       /* % of the peak */
    PROFILE_DRAM_BYTES, /* a second */
    PROFILE_OCCUPANCY_MOST, /* % of the warps that a multiprocessor can hold: what registers, shared memory and block leave */
    PROFILE_OCCUPANCY, /* %, achieved */
    PROFILE_DURATION,  /* us of the launch that was looked at */
    PROFILE_METRIC_N
};

#define PROFILE_STALLS 32
struct profile_stall {
    char reason[32]; /* "long_scoreboard" */
    double warps;    /* that were stalled for it, on average, for each instruction issued */
};

struct profile_result {
    bool run; /* false: why says what was in the way */
    char why[1024];
    double value[PROFILE_METRIC_N];       /* NAN: not known */
    const char *metric[PROFILE_METRIC_N]; /* as ncu names what was read */
    int nstalls;
    struct profile_stall stall[PROFILE_STALLS]; /* most first */
};

/* What came of it. code: as in tool.h. log: its whole log, the table of --csv --page raw. words: what it printed beside. eval: what `fatune eval
 * --json` said, NULL: nothing. entry: the kernel's name. binary: digest that eval must have made, NULL: any. */
void profile_read(struct profile_result *out, int code, const char *log, const char *words, const json_t *eval,
                  const char *entry, const char *binary);
/* docs/JSON.md, counters. New reference. */
json_t *profile_to_json(const struct profile_result *r);

struct profile_job {
    const char *program;     /* ncu, looked for in PATH unless it has a slash */
    const char *const *eval; /* operands and options of `fatune eval`, NULL-terminated */
    const char *folder;      /* where ncu.log, ncu.json (eval's answer) and ncu.txt (what was printed) go */
    const char *entry, *binary;
    bool cold; /* caches are flushed in front of every replay */
    double minutes;
};
/* Runs it. ERR_INTERRUPTED, ERR_SYSTEM; what the tool does is a result. */
int profile_run(const struct profile_job *job, struct profile_result *out, struct err *e);

/* What the store knows of a candidate's time: the median letter of its newest trial in its track, 95% interval by order statistics. */
struct profile_time {
    double us, low_us, high_us; /* bounds: NAN when too few letters */
    int64_t trial;
    int letters;
    char environment[DIGEST_HEX]; /* in which it was measured */
    char device[128];
};
/* name: a version or a digest prefix; *found false: it was in no trial. */
int profile_time(struct profile_time *out, const char *store, const char *track, const char *name, bool *found,
                 struct err *e);

#endif
