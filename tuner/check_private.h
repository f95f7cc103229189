/* check_private.h - one check under way, shared by check.c (the stages), check_memory.c (tensors and launches) and
 * check_judge.c (what the outputs say).
 *
 * Functions that touch the device return its class; when that is DEVICE_OK, c->out->fate tells whether the check is
 * decided. DEVICE_LOST means that c->e is set, also for the host's own failures. */
#ifndef CHECK_PRIVATE_H
#define CHECK_PRIVATE_H

#include "check.h"
#include "check_inputs.h"
#include "draw.h"
#include "transfer.h"

#define CHECK_LSE_ATOL 1e-3
#define CHECK_LSE_RTOL 1e-6
#define CHECK_CHUNK 32768u      /* elements that a thread takes at a time */
#define CHECK_GUARD_BYTES 4096u /* of each of the two bands around a tensor */

/* Device memory of one argument: band, tensor, band. bytes may be 0: then any write is caught. */
struct check_tensor {
    struct device_buffer *buffer;
    size_t bytes;
    bool guarded; /* an output: its bands hold their pattern */
};

/* An output's buffer on the host, bands included, after two runs. Of the second there are only the bands, and the chunks in
 * which it differs from the first. */
struct check_image {
    unsigned char *bytes[2];
    bool *differs; /* of each TRANSFER_CHUNK */
};

/* The tensors in the images. */
struct check_outputs {
    uint16_t *o;
    float *lse; /* NULL unless the problem has lse */
};

struct check {
    /* as long as it is open */
    const struct device_driver *drv;
    struct device *d;
    struct problem problem;
    const struct problem *p; /* the one above */
    struct parallel *threads;
    struct transfer *transfer;
    struct draw *draw;
    float *decode;
    struct check_inputs plain,
        in; /* drawn once for each run; what other sets and laws run on, made when first needed */
    struct check_image image_o, image_lse;
    struct check_outputs run[2];
    float *ref_o, *ref_low, *ref_lse;

    /* The plain inputs drawn last, and what the reference makes of them, as long as nothing else was put in its place: candidates that are
     * checked on the same inputs one after the other share it. */
    struct {
        bool drawn, computed;
        uint64_t seed;
        const struct device_kernel *reference;
        size_t rows; /* compared with f64 */
        double worst;
    } kept;

    /* one check_run */
    const struct check_kernel *candidate, *reference;
    const struct check_rule *rule;
    void (*progress)(void *ctx, const char *stage);
    void *ctx;
    struct check_report *out;
    struct err *e;
    struct check_tensor tensors[ARG_N];
    struct device_buffer
        *first[ARG_N];              /* of o and lse, while repeats are compared on the device: run[0] with its bands */
    const struct check_inputs *now; /* plain or in: what is on the device */
    size_t ref_bad;                 /* first element of ref_o or ref_low that is not finite, SIZE_MAX when all are */
    double started_s, first_run_s;
    bool blame_candidate; /* the candidate has run since the device was last known good */
    json_t *sets, *laws;
    int repeats_done;
    bool repeats_cut, repeats_on_device;
    size_t tile_bytes; /* of what a debug build shows, 0: there is none */
};

/* ---- check.c ---- */
void check_progress(struct check *c, const char *stage);
/* The first fate stays. */
void check_fate(struct check *c, enum fate f, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool check_decided(const struct check *c, enum device_class cls);
void check_begin(struct check *c, const struct check_kernel *candidate, const struct check_kernel *reference,
                 const struct check_rule *rule, void (*progress)(void *ctx, const char *stage), void *ctx,
                 struct check_report *out, struct err *e);
/* The plain inputs of a seed, unless they are there. */
void check_draw_plain(struct check *c, uint64_t seed);
/* The inputs of a set, drawn from the rule's seed or made from what is drawn already, to the device. */
enum device_class check_put_set(struct check *c, enum check_set s);

/* ---- check_memory.c ---- */
enum device_class check_host_open(struct check *c);
void check_host_close(struct check *c);
enum device_class check_device_open(struct check *c);
void check_device_close(struct check *c);
/* in to the device, NaN around it. */
enum device_class check_put_inputs(struct check *c, const struct check_inputs *in);
/* Every word of q, k, v and of the NaN around them; `set` is for the text. */
enum device_class check_verify_inputs(struct check *c, const char *set);
/* One run with outputs poisoned by pattern `poison` (0 or 1), fetched to run[to], guard bands verified. to 1: run[0] must hold
 * what to compare with. */
enum device_class check_run_candidate(struct check *c, int poison, int to, const char *stage);
/* run[0] to the device, for check_repeat. Where the device cannot compare, or has no room, nothing happens. */
enum device_class check_keep_first(struct check *c);
/* One more run with pattern 1, compared with run[0] bit for bit, bands included. *same: nothing differs; else run[1] is fetched as
 * check_run_candidate does. */
enum device_class check_repeat(struct check *c, bool *same);
/* What check_keep_first put there is still there. */
enum device_class check_verify_first(struct check *c);
/* What a debug build shows: nothing yet of this tile; and what it has shown. */
enum device_class check_put_tile(struct check *c, const struct check_tile *t);
enum device_class check_get_tile(struct check *c, float *to);
/* Word i of o in run[1], of which only what differs from run[0] is there. */
uint16_t check_second(const struct check *c, size_t i);
/* Fills ref_o, ref_low, ref_lse and ref_bad; nothing is kept any more. */
enum device_class check_run_reference(struct check *c);

/* ---- check_judge.c ---- */
/* The reference against f64 on sampled rows: how many, and the largest difference. */
enum device_class check_trust_reference(struct check *c, const char *set, size_t *rows, double *worst);
/* run[0] and run[1], poisoned by patterns 0 and 1: unwritten elements, then differences. */
void check_judge_runs(struct check *c, const char *set);
/* c->run[0] against the reference; appends to c->sets. */
enum device_class check_judge_set(struct check *c, const char *set, size_t rows_f64, double reference_error);
/* c->run[0] against ref_o, which holds what the law predicts; ref_low holds the magnitudes that went into it. Appends to
 * c->laws. */
void check_judge_law(struct check *c, enum check_law l);

#endif
