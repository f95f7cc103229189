/* What a sample is made of.
 *
 * Tensors. q, k and v of a set lie in one buffer each, at a random multiple of 256 bytes up to SLACK, drawn anew for each
 * session: placement moves times by tenths of a percent, and averaging over it is what sessions are for. Contents are
 * N(0,1), since zeros draw less power and run faster. COLD takes as many sets as make the inputs exceed twice the L2; set
 * s holds the same draws rotated by s steps, so that no two sets are equal. Outputs belong to the arm, one per set, so
 * that both arms can be verified after the last quad.
 *
 * Verification. When the expected outputs have been recorded, the arm's outputs are poisoned: what bench_verify reads was
 * written by timed launches and by nothing else.
 *
 * k. Measured from single launches, then grown until a batch lasts BENCH_MIN_BATCH_US with a fifth to spare, so that noise
 * does not push samples below it. The median in bench_warm_up steers the warm-up alone; no statistic leaves this file. */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rng.h"

#define SLACK_BYTES 4096u
#define STEP_BYTES 256u
#define UNKNOWN_L2_BYTES ((int64_t)64 << 20)
#define MAX_SETS 64
#define STEADY_SAMPLES 20
#define STEADY_SPREAD 0.01
#define SAMPLE_TRIES 5
#define POISON 0x7fc1a5a5u /* a NaN as f32, and in both halves' places of o as good as any */

struct bench {
    const struct device_driver *drv;
    struct device *d;
    struct problem p;
    struct health *health;
    struct rng rng;
    bool cold;
    int nsets;
    struct device_arg sets[MAX_SETS][3]; /* q, k, v */
};

struct bench_arm {
    struct bench *bench;
    struct device_kernel *kernel;
    struct launch geometry;
    bool k_given;
    int k;
    struct device_batch *batch; /* NULL until the first sample, and after a change of k */
    struct device_arg o[MAX_SETS], lse[MAX_SETS];
    unsigned char *expected; /* for each set: o, then lse */
    bool written;            /* a batch has run since the outputs were poisoned */
};

static size_t arg_bytes(const struct problem *p, enum arg a)
{
    switch (a) {
    case ARG_Q:
    case ARG_O:
        return 2 * problem_q_elements(p);
    case ARG_K:
    case ARG_V:
        return 2 * problem_kv_elements(p);
    case ARG_LSE:
        return p->lse ? 4 * problem_rows(p) : 0;
    default:
        return 4 * problem_q_elements(p);
    }
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- tensors ---- */

/* A failure here is the machine's: no candidate is to blame for the harness's memory. */
static enum device_class place(struct bench *b, size_t bytes, struct device_arg *out, struct err *e)
{
    size_t offset = (size_t)rng_below(&b->rng, SLACK_BYTES / STEP_BYTES + 1) * STEP_BYTES;
    struct err why = {0};
    enum device_class cls = b->drv->alloc(b->d, SLACK_BYTES + (bytes / 16 + 1) * 16, &out->buffer, &why);
    if (cls == DEVICE_OK) {
        out->offset = offset;
        return DEVICE_OK;
    }
    err_set(e, ERR_DEVICE,
            "no device memory for the tensors (%zu bytes): %s; free the device of other processes or take a "
            "smaller problem",
            bytes, why.text);
    return cls == DEVICE_STICKY ? DEVICE_STICKY : DEVICE_LOST;
}

/* words rotated left by shift, in two writes. */
static enum device_class write_rotated(struct bench *b, const struct device_arg *to, const uint16_t *words, size_t n,
                                       size_t shift, struct err *e)
{
    enum device_class cls = b->drv->write(b->d, to->buffer, to->offset, words + shift, 2 * (n - shift), e);
    if (cls == DEVICE_OK && shift > 0)
        cls = b->drv->write(b->d, to->buffer, to->offset + 2 * (n - shift), words, 2 * shift, e);
    return cls;
}

/* Nearest word of the dtype; what is below f16's normal range becomes 0. For inputs alone: check has the exact one. */
static uint16_t input_word(enum dtype d, float x)
{
    uint32_t bits, sign, dropped = d == DTYPE_BF16 ? 16 : 13, rebias = d == DTYPE_BF16 ? 0 : (127u - 15u) << 10;
    memcpy(&bits, &x, sizeof bits);
    sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    if (fabsf(x) < 0x1p-14f) return (uint16_t)sign;
    bits = (bits + (1u << (dropped - 1)) - 1 + (bits >> dropped & 1u)) >> dropped;
    return (uint16_t)(sign | (bits - rebias));
}

static int sets_wanted(const struct bench *b, const struct target *t)
{
    const struct problem *p = &b->p;
    double bytes = (double)(arg_bytes(p, ARG_Q) + 2 * arg_bytes(p, ARG_K));
    double wanted = 2.0 * (double)(t->l2_bytes > 0 ? t->l2_bytes : UNKNOWN_L2_BYTES);
    double n = b->cold ? floor(wanted / bytes) + 1 : 1;
    return n > MAX_SETS ? MAX_SETS : (int)n;
}

static enum device_class fill_sets(struct bench *b, struct err *e)
{
    enum device_class cls = DEVICE_OK;
    for (enum arg a = ARG_Q; a <= ARG_V && cls == DEVICE_OK; a++) {
        size_t n = arg_bytes(&b->p, a) / 2;
        uint16_t *words = malloc(n * sizeof *words);
        if (words == NULL) {
            err_nomem(e);
            return DEVICE_LOST;
        }
        for (size_t i = 0; i < n; i++)
            words[i] = input_word(b->p.dtype, (float)rng_normal(&b->rng));
        for (int s = 0; s < b->nsets && cls == DEVICE_OK; s++) {
            cls = place(b, 2 * n, &b->sets[s][a], e);
            if (cls == DEVICE_OK) cls = write_rotated(b, &b->sets[s][a], words, n, n * (size_t)s / (size_t)b->nsets, e);
        }
        free(words);
    }
    return cls;
}

enum device_class bench_open(struct bench **out, const struct device_driver *drv, struct device *d,
                             const struct target *t, const struct problem *p, enum bench_cache cache, uint64_t seed,
                             struct health *h, struct err *e)
{
    struct bench *b = calloc(1, sizeof *b);
    enum device_class cls;
    if (b == NULL) {
        err_nomem(e);
        return DEVICE_LOST;
    }
    *b = (struct bench){.drv = drv, .d = d, .p = *p, .health = h, .cold = cache == BENCH_COLD};
    rng_init(&b->rng, seed, "bench");
    b->nsets = sets_wanted(b, t);
    cls = fill_sets(b, e);
    if (cls != DEVICE_OK) {
        bench_close(b);
        return cls == DEVICE_FATE ? DEVICE_LOST : cls;
    }
    *out = b;
    return DEVICE_OK;
}

void bench_close(struct bench *b)
{
    if (b == NULL) return;
    for (int s = 0; s < b->nsets; s++)
        for (int a = 0; a < 3; a++)
            if (b->sets[s][a].buffer != NULL) b->drv->free(b->d, b->sets[s][a].buffer);
    free(b);
}

/* ---- arms ---- */

static enum device_class launches_of(const struct bench_arm *a, struct device_launch *l, struct err *e)
{
    const struct bench *b = a->bench;
    for (int s = 0; s < b->nsets; s++) {
        l[s] = (struct device_launch){.kernel = a->kernel, .geometry = &a->geometry};
        for (int i = 0; i < a->geometry.nargs; i++) {
            enum arg role = a->geometry.args[i];
            if (role > ARG_LSE) {
                err_set(e, ERR_INPUT, "a kernel with the argument %s is a reference; it cannot be timed",
                        arg_name(role));
                return DEVICE_FATE;
            }
            l[s].args[i] = role <= ARG_V ? b->sets[s][role] : role == ARG_O ? a->o[s] : a->lse[s];
        }
    }
    return DEVICE_OK;
}

static enum device_class poison(struct bench_arm *a, struct err *e)
{
    const struct bench *b = a->bench;
    for (int s = 0; s < b->nsets; s++) {
        size_t o = (arg_bytes(&b->p, ARG_O) + 3) / 4 * 4, lse = arg_bytes(&b->p, ARG_LSE);
        enum device_class cls = b->drv->fill(b->d, a->o[s].buffer, a->o[s].offset, o, POISON, e);
        if (cls == DEVICE_OK && lse > 0) cls = b->drv->fill(b->d, a->lse[s].buffer, a->lse[s].offset, lse, POISON, e);
        if (cls != DEVICE_OK) return cls;
    }
    a->written = false;
    return DEVICE_OK;
}

static enum device_class read_outputs(struct bench_arm *a, int s, unsigned char *to, struct err *e)
{
    const struct bench *b = a->bench;
    size_t o = arg_bytes(&b->p, ARG_O), lse = arg_bytes(&b->p, ARG_LSE);
    enum device_class cls = b->drv->read(b->d, a->o[s].buffer, a->o[s].offset, to, o, e);
    if (cls == DEVICE_OK && lse > 0) cls = b->drv->read(b->d, a->lse[s].buffer, a->lse[s].offset, to + o, lse, e);
    return cls;
}

static size_t outputs_bytes(const struct bench_arm *a)
{
    return arg_bytes(&a->bench->p, ARG_O) + arg_bytes(&a->bench->p, ARG_LSE);
}

/* One run of each set, poisoned before, kept as what timed runs must leave; then poisoned again. */
static enum device_class record_expected(struct bench_arm *a, struct err *e)
{
    const struct bench *b = a->bench;
    struct device_launch l[MAX_SETS];
    enum device_class cls = launches_of(a, l, e);
    if (cls == DEVICE_OK) cls = poison(a, e);
    for (int s = 0; s < b->nsets && cls == DEVICE_OK; s++) {
        cls = b->drv->run(b->d, &l[s], e);
        if (cls == DEVICE_OK) cls = read_outputs(a, s, a->expected + (size_t)s * outputs_bytes(a), e);
    }
    return cls == DEVICE_OK ? poison(a, e) : cls;
}

static void batch_drop(struct bench_arm *a)
{
    if (a->batch != NULL) a->bench->drv->batch_close(a->bench->d, a->batch);
    a->batch = NULL;
}

static enum device_class batch_time(struct bench_arm *a, double *elapsed_us, struct err *e)
{
    const struct bench *b = a->bench;
    enum device_class cls = DEVICE_OK;
    if (a->batch == NULL) {
        struct device_launch l[MAX_SETS];
        cls = launches_of(a, l, e);
        if (cls == DEVICE_OK) cls = b->drv->batch_open(b->d, l, b->nsets, a->k, &a->batch, e);
    }
    if (cls == DEVICE_OK) cls = b->drv->batch_run(b->d, a->batch, elapsed_us, e);
    if (cls == DEVICE_OK) a->written = true;
    return cls;
}

static void set_k(struct bench_arm *a, double k)
{
    int next = k >= BENCH_MAX_K ? BENCH_MAX_K : k < 1 ? 1 : (int)ceil(k);
    if (next == a->k) return;
    batch_drop(a);
    a->k = next;
}

static bool believable(double us)
{
    return isfinite(us) && us > 0;
}

/* The first batch of each k warms caches and clocks and is not used. A launch that is long enough by itself is not made
 * again. */
static enum device_class choose_k(struct bench_arm *a, struct err *e)
{
    const double wanted_us = 1.2 * BENCH_MIN_BATCH_US;
    a->k = 1;
    for (int try = 0; try < 2 * SAMPLE_TRIES; try++) {
        double us = 0;
        enum device_class cls = batch_time(a, &us, e);
        if (cls == DEVICE_OK && !(believable(us) && us >= 10 * wanted_us)) cls = batch_time(a, &us, e);
        if (cls != DEVICE_OK) return cls;
        if (!believable(us)) continue;
        if (us >= wanted_us || a->k == BENCH_MAX_K) return DEVICE_OK;
        /* from one launch, whose time holds the start of the batch, only a first guess; then by what is missing */
        set_k(a, fmax(a->k + 1, a->k * wanted_us / us));
    }
    return DEVICE_OK; /* bench_sample judges */
}

enum device_class bench_arm_open(struct bench *b, struct device_kernel *kernel, const struct launch *geometry, int k,
                                 struct bench_arm **out, struct err *e)
{
    struct bench_arm *a = calloc(1, sizeof *a);
    enum device_class cls = DEVICE_OK;
    if (a != NULL) {
        *a = (struct bench_arm){.bench = b, .kernel = kernel, .geometry = *geometry, .k_given = k > 0, .k = k};
        a->expected = malloc((size_t)b->nsets * outputs_bytes(a));
    }
    if (a == NULL || a->expected == NULL) {
        free(a);
        err_nomem(e);
        return DEVICE_LOST;
    }
    for (int s = 0; s < b->nsets && cls == DEVICE_OK; s++) {
        cls = place(b, arg_bytes(&b->p, ARG_O), &a->o[s], e);
        if (cls == DEVICE_OK) cls = place(b, arg_bytes(&b->p, ARG_LSE), &a->lse[s], e);
    }
    if (cls == DEVICE_OK) cls = record_expected(a, e);
    if (cls == DEVICE_OK && !a->k_given) cls = choose_k(a, e);
    if (cls != DEVICE_OK) {
        bench_arm_close(a);
        return cls;
    }
    *out = a;
    return DEVICE_OK;
}

void bench_arm_close(struct bench_arm *a)
{
    if (a == NULL) return;
    batch_drop(a);
    for (int s = 0; s < a->bench->nsets; s++) {
        if (a->o[s].buffer != NULL) a->bench->drv->free(a->bench->d, a->o[s].buffer);
        if (a->lse[s].buffer != NULL) a->bench->drv->free(a->bench->d, a->lse[s].buffer);
    }
    free(a->expected);
    free(a);
}

int bench_arm_k(const struct bench_arm *a)
{
    return a->k;
}

/* ---- samples ---- */

enum device_class bench_sample(struct bench_arm *a, double *us, struct err *e)
{
    double elapsed_us = 0;
    for (int try = 0; try < SAMPLE_TRIES; try++) {
        enum device_class cls = batch_time(a, &elapsed_us, e);
        bool can_grow = !a->k_given && a->k < BENCH_MAX_K;
        if (cls != DEVICE_OK) return cls;
        if (believable(elapsed_us) && (elapsed_us >= BENCH_MIN_BATCH_US || !can_grow)) {
            *us = elapsed_us / a->k;
            return DEVICE_OK;
        }
        if (can_grow) set_k(a, 2.0 * a->k);
    }
    err_set(e, ERR_DEVICE,
            "the timer gave no usable time in %d tries (the last: %g us for %d launches; a batch must last %g us); the "
            "kernel may "
            "return without working",
            SAMPLE_TRIES, elapsed_us, a->k, BENCH_MIN_BATCH_US);
    return DEVICE_FATE;
}

enum device_class bench_verify(struct bench_arm *a, bool *same, struct err *e)
{
    size_t n = outputs_bytes(a);
    unsigned char *got = malloc(n);
    enum device_class cls = DEVICE_OK;
    double us;
    int sets = a->bench->nsets < a->k ? a->bench->nsets : a->k; /* a batch of k launches touches no more */
    if (got == NULL) {
        err_nomem(e);
        return DEVICE_LOST;
    }
    if (!a->written) cls = batch_time(a, &us, e);
    *same = true;
    for (int s = 0; s < sets && cls == DEVICE_OK; s++) {
        cls = read_outputs(a, s, got, e);
        if (cls == DEVICE_OK && memcmp(got, a->expected + (size_t)s * n, n) != 0) *same = false;
    }
    free(got);
    return cls == DEVICE_OK ? poison(a, e) : cls;
}

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static bool within_spread(const double *recent)
{
    double sorted[STEADY_SAMPLES], median;
    memcpy(sorted, recent, sizeof sorted);
    qsort(sorted, STEADY_SAMPLES, sizeof *sorted, ascending);
    median = 0.5 * (sorted[STEADY_SAMPLES / 2 - 1] + sorted[STEADY_SAMPLES / 2]);
    return sorted[0] >= (1 - STEADY_SPREAD) * median && sorted[STEADY_SAMPLES - 1] <= (1 + STEADY_SPREAD) * median;
}

enum device_class bench_warm_up(struct bench_arm *a, double limit_s, bool *steady, struct err *e)
{
    double recent[STEADY_SAMPLES], until_s = now_s() + limit_s;
    *steady = false;
    for (int i = 0; i == 0 || now_s() < until_s; i++) {
        enum device_class cls = bench_sample(a, &recent[i % STEADY_SAMPLES], e);
        if (cls != DEVICE_OK) return cls;
        if (i < STEADY_SAMPLES - 1 || !within_spread(recent)) continue;
        *steady = true;
        break;
    }
    return DEVICE_OK;
}

enum device_class bench_quad(struct bench_arm *a, struct bench_arm *b, bool baab, int m, struct bench_quad *out,
                             struct err *e)
{
    struct bench_arm *const outer = baab ? b : a, *const inner = baab ? a : b;
    struct bench_arm *const order[4] = {outer, inner, inner, outer};
    *out = (struct bench_quad){.baab = baab, .m = m};
    if (m < 1) {
        err_set(e, ERR_BUG, "a letter of %d samples", m);
        return DEVICE_LOST;
    }
    out->samples = calloc(4 * (size_t)m, sizeof *out->samples);
    if (out->samples == NULL) {
        err_nomem(e);
        return DEVICE_LOST;
    }
    health_read(a->bench->health, &out->before);
    for (int letter = 0; letter < 4; letter++)
        for (int i = 0; i < m; i++) {
            enum device_class cls = bench_sample(order[letter], &out->samples[letter * m + i], e);
            if (cls == DEVICE_OK) continue;
            bench_quad_free(out);
            return cls;
        }
    health_read(a->bench->health, &out->after);
    return DEVICE_OK;
}

void bench_quad_free(struct bench_quad *q)
{
    if (q == NULL) return;
    free(q->samples);
    q->samples = NULL;
}
