/* ceiling.h - what a device does at most, measured.
 *
 * Kernels of fatune's own (kernel_templates/ceiling_*) do one thing and nothing else: matrix products, exponentials, reads from the L2, reads
 * from the device's memory. They go the way of every candidate: rendered, compiled in a worker, timed in batches by the device worker
 * (bench.h), their output after the timed runs compared with the one before. Each says in its manifest, as a derived value, how much work one
 * launch does. A ceiling is the best sample of the best point of all its templates that can run here; it is no datasheet's figure.
 *
 * Measured once for an environment (device, driver, compiler, fatune) and its templates, and kept in the folder `ceilings` beside the store. */
#ifndef CEILING_H
#define CEILING_H

#include <jansson.h>
#include <stdbool.h>

#include "err.h"
#include "problem.h"

enum ceiling_kind {
    CEILING_MATRIX, /* FLOP/s: tensor cores, f16 with sums in f32; multiply-adds in f32 in OpenCL */
    CEILING_EXP,    /* exponentials a second, f32, base 2 */
    CEILING_L2,     /* bytes a second, read */
    CEILING_DRAM,   /* the same of the device's memory */
    CEILING_N
};
const char *ceiling_name(enum ceiling_kind k); /* "matrix", "exp", "l2", "dram" */
const char *ceiling_unit(enum ceiling_kind k);

#define CEILING_SAMPLES 32

struct ceiling {
    int n;                      /* samples; 0: not measured, why says why not */
    double us[CEILING_SAMPLES]; /* of a launch */
    double work;                /* of a launch */
    char kernel[256];           /* template and parameters of the fastest */
    char why[512];
};
/* Work a second: the best sample's, which is the ceiling, the median's and the worst's. 0 where nothing was measured. */
struct ceiling_rates {
    double best, median, worst;
};
struct ceiling_rates ceiling_rates(const struct ceiling *c);

struct ceilings {
    struct ceiling of[CEILING_N];
    bool measured;   /* by this call, not taken from the file */
    char file[4096]; /* where they are kept */
};

struct ceiling_job {
    const struct target *target;
    const char *templates;                         /* extra folder, or NULL */
    const char *store;                             /* its file: they are kept beside it */
    bool fresh;                                    /* measure again */
    void (*progress)(void *ctx, const char *what); /* may be NULL: what is measured now */
    void *ctx;
};
/* A ceiling that cannot be measured says why and is no error; ERR_INPUT: a template cannot be read; ERR_DEVICE: the device does not answer;
 * ERR_SYSTEM, ERR_INTERRUPTED. Nothing is kept unless every ceiling that the device can have was measured. */
int ceiling_measure(const struct ceiling_job *job, struct ceilings *out, struct err *e);

/* docs/JSON.md, list of ceiling. New reference. */
json_t *ceilings_to_json(const struct ceilings *c);
/* The samples of such a list; -1 when it is none. */
int ceilings_from_json(struct ceilings *out, const json_t *list);

#endif
