/* problem.h - plain values that every layer shares: the attention problem, what a template may know of a device, and
 * one kernel's launch. With their JSON forms, which is how they travel to workers and into the store. */
#ifndef PROBLEM_H
#define PROBLEM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define PROBLEM_HEAD_DIM_MAX 1024

enum dtype { DTYPE_F16, DTYPE_BF16 };
enum mask { MASK_NONE, MASK_CAUSAL };

/* O = softmax(scale Q K^T + mask) V; layouts in kernel_templates/README.md. */
struct problem {
    int batch, heads, kv_heads, seq_q, seq_kv, head_dim;
    enum dtype dtype;
    enum mask mask;
    double scale;
    bool lse;
};

/* What templates and constraints may know of a device. Zero means unknown. */
struct target {
    char driver[16];   /* "cuda", "opencl", "fake" */
    int index;         /* the driver's number of the device, or -1 when only the architecture is known */
    char language[16]; /* template language: "cuda" or "opencl" */
    char name[128];    /* as the driver says it */
    char arch[32];     /* "sm_90"; a build-target string in OpenCL, may be "" */
    char uuid[48];
    char driver_version[64];
    char compiler[128];       /* "NVRTC 13.0", "PoCL 3.1 ..." */
    int compute_capability;   /* 10 x major + minor; 0 in OpenCL */
    int64_t smem_block_bytes; /* shared (local) memory of a block, after opt-in */
    int64_t smem_sm_bytes;
    int64_t regs_block, threads_block, sms, l2_bytes, memory_bytes;
    int warp; /* 0 when unknown */
    int clock_mhz;
    bool is_host_cpu;    /* the device shares the host's cores: compiling must not overlap with timing */
    double peak_flops;   /* dense 16-bit matrix rate at the top clock, 0 when unknown; for the plausibility flag */
    double peak_bytes_s; /* device memory rate, 0 when unknown */
};

enum arg { ARG_Q, ARG_K, ARG_V, ARG_O, ARG_LSE, ARG_REF_O, ARG_REF_LOW, ARG_TILE, ARG_N };
/* REF_O: float, reference output; REF_LOW: float, straightforward computation rounded to the dtype. Only the template
 * `reference` has them. TILE: float, what a debug build shows; behind the arguments of the manifest. */

/* A descriptor for the copy engine of sm_90 and up, all of it but the address: a dense tensor seen as planes of rows of
 * columns, and the box that one copy moves (of one plane). What a box has beyond the tensor reads as zero and is not
 * written. Counts are in elements. */
struct tensor_map {
    enum dtype dtype;
    int64_t columns, rows, planes; /* columns 0: no map */
    int64_t box_columns, box_rows;
    int64_t swizzle_bytes; /* 0 none, 32, 64, 128 */
    int64_t l2_bytes;      /* how much the L2 fetches at least: 0 as asked, 64, 128, 256 */
};

#define LAUNCH_ARGS 16
#define LAUNCH_CLUSTER 8 /* blocks of a cluster that every device with clusters can run */

struct launch {
    char entry[64];
    int64_t grid[3], block[3], cluster[3]; /* cluster 0,0,0: none */
    int64_t shared_bytes;                  /* dynamic */
    int nargs;
    enum arg args[LAUNCH_ARGS]; /* the kernel's parameters in order: which tensor; one may be there again as a map */
    struct tensor_map maps[LAUNCH_ARGS]; /* of args[i], by value; columns 0: args[i] is a pointer */
};

const char *arg_name(enum arg a);
int arg_parse(enum arg *out, const char *name); /* 0 or -1 */
const char *dtype_name(enum dtype d);
const char *mask_name(enum mask m);

/* The tensor of argument a (q, k, v or o) as a map sees it; box and swizzle are zero. */
struct tensor_map problem_tensor_map(const struct problem *p, enum arg a);

/* Elements, useful operations (a causal pair that is masked costs nothing) and least device-memory bytes of one run. */
size_t problem_q_elements(const struct problem *p); /* also of O */
size_t problem_kv_elements(const struct problem *p);
size_t problem_rows(const struct problem *p); /* batch x heads x seq_q, elements of lse */
double problem_flops(const struct problem *p);
double problem_bytes(const struct problem *p);
/* Keys that query i sees: 0..n-1 of them. */
int problem_keys_seen(const struct problem *p, int i);
/* The roofline: no honest run is faster than this many microseconds. 0 when the target's rates are unknown. */
double problem_floor_us(const struct problem *p, const struct target *t);
/* How far apart two problems are, for what is known of one to be tried on the other; 0: the same shape. The sum of |log2| of the ratios of seq_q, of
 * seq_kv, of batch x heads and of query heads a kv head, 8 |log2| of that of head_dim (tiles and registers follow from it), 2 for another mask
 * and 1 for another dtype. INFINITY when a size is not positive. */
double problem_distance(const struct problem *a, const struct problem *b);
/* "attention 2x8x512x64 f16 full" */
void problem_text(const struct problem *p, char *out, size_t size);

/* New references; NULL when out of memory. */
json_t *problem_to_json(const struct problem *p);
json_t *target_to_json(const struct target *t);
json_t *launch_to_json(const struct launch *l);
/* ERR_BUG on a missing or mistyped member: these never come from a user. */
int problem_from_json(struct problem *p, const json_t *j, struct err *e);
int target_from_json(struct target *t, const json_t *j, struct err *e);
int launch_from_json(struct launch *l, const json_t *j, struct err *e);

#endif
