/* bench.h - measures; computes no statistic.
 *
 * Vocabulary, which is also the store's schema:
 *   sample   one timed batch of k launches, value = device time / k in microseconds; k is chosen once per (kernel, shape)
 *            so that a batch lasts at least min_batch_us (200: an event's step is below 0.25% of it), at most BENCH_MAX_K;
 *   letter   the median of m consecutive samples of one arm;
 *   quad     ABBA or BAAB, four letters;
 *   session  one fresh process: new context, new buffers at random 512-byte offsets, warm-up to a steady clock, one
 *            discarded quad, then Q quads.
 * Cache state: WARM runs over one set of tensors; COLD rotates over enough sets that their bytes exceed twice the L2.
 * Inputs are N(0,1), the same for both arms. After the last quad each arm's output is compared bit for bit with the output
 * of a run made before timing: a kernel that breaks while timed is not believed. */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "device.h"
#include "err.h"
#include "health.h"
#include "parallel.h"
#include "problem.h"
#include "rng.h"

#define BENCH_MAX_K 2000
#define BENCH_MIN_BATCH_US 200.0

/* Whether us can be the time of a launch: what another process reports may be any number. */
#define BENCH_MOST_US 3.6e9
static inline bool bench_is_time(double us)
{
    return us > 0 && us <= BENCH_MOST_US;
}

enum bench_cache { BENCH_WARM, BENCH_COLD };

struct bench; /* tensors of one problem on one device, inputs filled */

/* seed draws inputs and buffer offsets. threads (NULL: the caller's alone) draw and compare; none runs while anything is timed. */
enum device_class bench_open(struct bench **out, const struct device_driver *drv, struct device *d,
                             struct parallel *threads, const struct target *t, const struct problem *p,
                             enum bench_cache cache, uint64_t seed, struct health *h, struct err *e);
void bench_close(struct bench *b);

struct bench_arm; /* a kernel prepared for timing in b: its k, its batch, its expected output */
/* Chooses k unless k > 0, runs once to record the expected output. Does not own the kernel. */
enum device_class bench_arm_open(struct bench *b, struct device_kernel *kernel, const struct launch *geometry, int k,
                                 struct bench_arm **out, struct err *e);
void bench_arm_close(struct bench_arm *a);
int bench_arm_k(const struct bench_arm *a);

/* One sample. A time that is not finite and positive, or a batch under min_batch_us with room to grow, doubles k (unless k was given) and
 * tries again, five times at most, then DEVICE_FATE. */
enum device_class bench_sample(struct bench_arm *a, double *us, struct err *e);
/* The clock of a's last sample in MHz, 0: not known. */
double bench_arm_mhz(const struct bench_arm *a);
/* Bitwise comparison with the expected output: *same. */
enum device_class bench_verify(struct bench_arm *a, bool *same, struct err *e);
/* Runs samples of a until 20 in a row stay within 1% of their median, or limit_s has passed; *steady says which. */
enum device_class bench_warm_up(struct bench_arm *a, double limit_s, bool *steady, struct err *e);

/* For an arm that is timed elsewhere. How many sets of tensors, from the problem and the L2 alone; */
int bench_sets(const struct problem *p, const struct target *t, enum bench_cache cache);
/* set 0's words of ARG_Q, ARG_K or ARG_V (set i has them rotated left by n*i/sets); */
enum device_class bench_input(struct bench *b, enum arg a, uint16_t *words, struct err *e);
/* and the rule of bench_warm_up. */
#define BENCH_STEADY_SAMPLES 20
bool bench_steady(const double recent[BENCH_STEADY_SAMPLES]);

struct bench_quad {
    bool baab;       /* order of the letters: false ABBA, true BAAB */
    int m;           /* samples a letter */
    double *samples; /* 4 x m, in the order measured; owned */
    double *mhz;     /* 4 x m, their clocks, 0: not known; owned */
    struct health_reading before, after;
};
/* Samples the arm that comes first once before the letters and drops it: the device has been idle while its health was read, and its
 * first sample then is up to 1% slow. So each arm has one letter behind its own kind and one behind the other. */
enum device_class bench_quad(struct bench_arm *a, struct bench_arm *b, bool baab, int m, struct bench_quad *out,
                             struct err *e);
void bench_quad_free(struct bench_quad *q);
/* Which of a session's n quads are BAAB (1): half of them in a random order, a coin for the odd one. What depends on a place in the quad
 * thus cancels within a session; coins alone would leave a bias of chance in short ones. */
void bench_quad_orders(int *baab, int n, struct rng *r);

#endif
