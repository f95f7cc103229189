/* check_private.h - one check under way, shared by check.c (the stages), check_memory.c (tensors and launches) and
 * check_judge.c (what the outputs say).
 *
 * Functions that touch the device return its class; when that is DEVICE_OK, c->out->fate tells whether the check is
 * decided. DEVICE_LOST means that c->e is set, also for the host's own failures. */
#ifndef CHECK_PRIVATE_H
#define CHECK_PRIVATE_H

#include "check.h"
#include "check_inputs.h"

#define CHECK_LSE_ATOL 1e-3
#define CHECK_LSE_RTOL 1e-6

/* Device memory of one argument: band, tensor, band. bytes may be 0: then any write is caught. */
struct check_tensor {
    struct device_buffer *buffer;
    size_t bytes;
};

struct check_outputs {
    uint16_t *o;
    float *lse; /* NULL unless the problem has lse */
};

struct check {
    const struct device_driver *drv;
    struct device *d;
    const struct problem *p;
    const struct check_kernel *candidate, *reference;
    const struct check_rule *rule;
    void (*progress)(void *ctx, const char *stage);
    void *ctx;
    struct check_report *out;
    struct err *e;

    struct check_tensor tensors[ARG_N];
    struct check_inputs plain, in; /* drawn once; what the current set runs on */
    struct check_outputs run[2];
    float *ref_o, *ref_low, *ref_lse;
    float *decode;
    uint16_t *scratch; /* the largest input with both bands */
    double started_s, first_run_s;
    bool blame_candidate; /* the candidate has run since the device was last known good */
    json_t *sets, *laws;
    int repeats_done;
    bool repeats_cut;
};

/* ---- check.c ---- */
void check_progress(struct check *c, const char *stage);
/* The first fate stays. */
void check_fate(struct check *c, enum fate f, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool check_decided(const struct check *c, enum device_class cls);

/* ---- check_memory.c ---- */
enum device_class check_alloc(struct check *c);
void check_release(struct check *c);
/* c->in to the device, NaN around it. */
enum device_class check_put_inputs(struct check *c);
/* Every word of q, k, v and of the NaN around them; `set` is for the text. */
enum device_class check_verify_inputs(struct check *c, const char *set);
/* One run with outputs poisoned by pattern `which` (0 or 1), fetched to `to`, guard bands verified. */
enum device_class check_run_candidate(struct check *c, int which, struct check_outputs *to, const char *stage);
/* Fills ref_o, ref_low and ref_lse. */
enum device_class check_run_reference(struct check *c);

/* ---- check_judge.c ---- */
/* The reference against f64 on sampled rows: how many, and the largest difference. */
enum device_class check_trust_reference(struct check *c, const char *set, size_t *rows, double *worst);
/* Runs a and b, poisoned by patterns 0 and 1: unwritten elements, then differences. */
void check_judge_runs(struct check *c, const char *set, const struct check_outputs *a, const struct check_outputs *b);
/* c->run[0] against the reference; appends to c->sets. */
enum device_class check_judge_set(struct check *c, const char *set, size_t rows_f64, double reference_error);
/* c->run[0] against ref_o, which holds what the law predicts; ref_low holds the magnitudes that went into it. Appends to
 * c->laws. */
void check_judge_law(struct check *c, enum check_law l);

#endif
