/* What a sample is made of.
 *
 * Tensors. Each tensor lies at a random multiple of STEP bytes up to SLACK, drawn anew for each session: placement moves
 * times by tenths of a percent, and averaging over it is what sessions are for. Contents are N(0,1), since zeros draw
 * less power and run faster. Outputs belong to the arm, so that both arms can be verified after the last quad.
 *
 * COLD takes as many sets of tensors as make the inputs exceed twice the L2 (MAX_SETS at most: below 32 KiB a set the
 * launch itself is what is measured). Set s holds the same draws rotated, so that sets differ. A batch of k launches
 * walks over k sets in a row and the next one goes on from there, so an arm has a batch for each place to start. The
 * place in the walk is the bench's, shared by the arms: otherwise one arm would find what the other has just read.
 *
 * Verification. When the expected outputs have been recorded, the arm's outputs are poisoned: what bench_verify reads was
 * written by timed launches and by nothing else.
 *
 * k. Measured from single launches, then grown until a batch lasts BENCH_MIN_BATCH_US with a fifth to spare, so that noise
 * does not push samples below it. The median in bench_warm_up steers the warm-up alone; no statistic leaves this file. */
#include "bench.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "draw.h"
#include "rng.h"
#include "transfer.h"

#define SLACK_BYTES 8192u
#define STEP_BYTES 512u /* what NVIDIA's OpenCL asks of an offset; others ask less */
#define UNKNOWN_L2_BYTES ((int64_t)64 << 20)
#define MAX_SETS 4096
#define MAX_STARTS 64
#define STEADY_SPREAD 0.01
#define SAMPLE_TRIES 5
#define POISON 0x7fc1a5a5u /* a NaN as f32, and in both halves' places of o as good as any */

struct bench {
    const struct device_driver *drv;
    struct device *d;
    struct transfer *transfer;
    struct problem p;
    struct health *health;
    struct rng rng;
    bool cold;
    int nsets, cursor;               /* cursor: the set at which the next batch may start */
    struct device_buffer *inputs[3]; /* q, k, v of all sets */
    size_t *offsets[3];              /* of each set */
};

struct bench_arm {
    struct bench *bench;
    struct device_kernel *kernel;
    struct launch geometry;
    bool k_given;
    int k;
    double mhz;                       /* of the last batch, 0: not known */
    struct device_batch **batches;    /* by the set they start at; opened at their first use */
    struct device_buffer *outputs[2]; /* o and lse of all sets */
    size_t *offsets[2];
    unsigned char *expected; /* for each set: o, then lse */
    bool *written;           /* for each set: a batch has run on it since the outputs were poisoned */
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

/* Room for n tensors in one buffer, and their offsets; an absent tensor (0 bytes) still gets an address inside. A failure
 * here is the machine's: no candidate is to blame for the harness's memory. */
static enum device_class place(struct bench *b, size_t bytes, struct device_buffer **buffer, size_t **offsets,
                               struct err *e)
{
    size_t steps = bytes > 0 ? (bytes + STEP_BYTES - 1) / STEP_BYTES : 1;
    size_t stride = steps * STEP_BYTES + SLACK_BYTES, n = (size_t)b->nsets;
    struct err why = {0};
    enum device_class cls;
    *offsets = malloc(n * sizeof **offsets);
    if (*offsets == NULL) {
        err_nomem(e);
        return DEVICE_LOST;
    }
    for (size_t s = 0; s < n; s++)
        (*offsets)[s] = s * stride + (size_t)rng_below(&b->rng, SLACK_BYTES / STEP_BYTES + 1) * STEP_BYTES;
    cls = b->drv->alloc(b->d, n * stride, buffer, &why);
    if (cls == DEVICE_OK) return DEVICE_OK;
    err_set(e, ERR_DEVICE,
            "no device memory for the tensors (%zu bytes): %s; free the device of other processes or take a smaller "
            "problem",
            n * stride, why.text);
    return cls == DEVICE_STICKY ? DEVICE_STICKY : DEVICE_LOST;
}

/* An input of one set: the tensor's draws rotated left by shift. */
struct input {
    const struct draw *draw;
    uint64_t seed;
    const char *purpose;
    size_t n, shift;
};

static void make_input(void *ctx, void *bytes, size_t at, size_t m)
{
    const struct input *x = ctx;
    uint16_t *words = bytes;
    size_t first = (at / 2 + x->shift) % x->n, n = m / 2, before_end = n < x->n - first ? n : x->n - first;
    draw_words(x->draw, x->seed, x->purpose, first, words, before_end);
    draw_words(x->draw, x->seed, x->purpose, 0, words + before_end, n - before_end);
}

int bench_sets(const struct problem *p, const struct target *t, enum bench_cache cache)
{
    double bytes = (double)(arg_bytes(p, ARG_Q) + 2 * arg_bytes(p, ARG_K));
    double wanted = 2.0 * (double)(t->l2_bytes > 0 ? t->l2_bytes : UNKNOWN_L2_BYTES);
    double n = cache == BENCH_COLD ? floor(wanted / bytes) + 1 : 1;
    return n > MAX_SETS ? MAX_SETS : (int)n;
}

static enum device_class fill_sets(struct bench *b, const struct draw *draw, uint64_t seed, struct err *e)
{
    static const char *const purposes[] = {"bench:q", "bench:k", "bench:v"};
    enum device_class cls = DEVICE_OK;
    for (enum arg a = ARG_Q; a <= ARG_V && cls == DEVICE_OK; a++) {
        struct input x = {.draw = draw, .seed = seed, .purpose = purposes[a], .n = arg_bytes(&b->p, a) / 2};
        cls = place(b, 2 * x.n, &b->inputs[a], &b->offsets[a], e);
        for (size_t set = 0; set < (size_t)b->nsets && cls == DEVICE_OK; set++) {
            x.shift = x.n * set / (size_t)b->nsets;
            cls = transfer_write(b->transfer, b->inputs[a], b->offsets[a][set], 2 * x.n, make_input, &x, e);
        }
    }
    return cls;
}

enum device_class bench_open(struct bench **out, const struct device_driver *drv, struct device *d,
                             struct parallel *threads, const struct target *t, const struct problem *p,
                             enum bench_cache cache, uint64_t seed, struct health *h, struct err *e)
{
    struct bench *b = calloc(1, sizeof *b);
    struct draw *draw = NULL;
    enum device_class cls = DEVICE_LOST;
    if (b == NULL) {
        err_nomem(e);
        return DEVICE_LOST;
    }
    *b = (struct bench){.drv = drv, .d = d, .p = *p, .health = h, .cold = cache == BENCH_COLD};
    rng_init(&b->rng, seed, "bench");
    b->nsets = bench_sets(p, t, cache);
    if (transfer_open(&b->transfer, drv, d, threads, e) == 0 && draw_open(&draw, p->dtype, e) == 0)
        cls = fill_sets(b, draw, seed, e);
    draw_close(draw);
    if (cls != DEVICE_OK) {
        bench_close(b);
        return cls == DEVICE_FATE ? DEVICE_LOST : cls;
    }
    *out = b;
    return DEVICE_OK;
}

enum device_class bench_input(struct bench *b, enum arg a, uint16_t *words, struct err *e)
{
    return b->drv->read(b->d, b->inputs[a], b->offsets[a][0], words, arg_bytes(&b->p, a), e);
}

void bench_close(struct bench *b)
{
    if (b == NULL) return;
    for (int a = 0; a < 3; a++) {
        if (b->inputs[a] != NULL) b->drv->free(b->d, b->inputs[a]);
        free(b->offsets[a]);
    }
    transfer_close(b->transfer);
    free(b);
}

/* ---- arms ---- */

static enum device_class launch_of(const struct bench_arm *a, int set, struct device_launch *l, struct err *e)
{
    const struct bench *b = a->bench;
    *l = (struct device_launch){.kernel = a->kernel, .geometry = &a->geometry};
    for (int i = 0; i < a->geometry.nargs; i++) {
        enum arg role = a->geometry.args[i];
        if (role > ARG_LSE) {
            err_set(e, ERR_INPUT, "a kernel with the argument %s is a reference; it cannot be timed", arg_name(role));
            return DEVICE_FATE;
        }
        if (role <= ARG_V)
            l->args[i] = (struct device_arg){b->inputs[role], b->offsets[role][set]};
        else
            l->args[i] = (struct device_arg){a->outputs[role - ARG_O], a->offsets[role - ARG_O][set]};
    }
    return DEVICE_OK;
}

static enum device_class poison(struct bench_arm *a, struct err *e)
{
    const struct bench *b = a->bench;
    for (int s = 0; s < b->nsets; s++) {
        size_t o = (arg_bytes(&b->p, ARG_O) + 3) / 4 * 4, lse = arg_bytes(&b->p, ARG_LSE);
        enum device_class cls = b->drv->fill(b->d, a->outputs[0], a->offsets[0][s], o, POISON, e);
        if (cls == DEVICE_OK && lse > 0) cls = b->drv->fill(b->d, a->outputs[1], a->offsets[1][s], lse, POISON, e);
        if (cls != DEVICE_OK) return cls;
        a->written[s] = false;
    }
    return DEVICE_OK;
}

static size_t outputs_bytes(const struct bench_arm *a)
{
    return arg_bytes(&a->bench->p, ARG_O) + arg_bytes(&a->bench->p, ARG_LSE);
}

struct taking {
    unsigned char *expected;
    atomic_bool differs;
};

static void keep(void *ctx, const void *bytes, size_t at, size_t m)
{
    const struct taking *t = ctx;
    memcpy(t->expected + at, bytes, m);
}

static void compare(void *ctx, const void *bytes, size_t at, size_t m)
{
    struct taking *t = ctx;
    if (memcmp(t->expected + at, bytes, m) != 0) atomic_store(&t->differs, true);
}

/* The outputs of set s become the expected ones, or (same given) are compared with them; *same is left alone where they agree. */
static enum device_class read_outputs(struct bench_arm *a, int s, bool *same, struct err *e)
{
    const struct bench *b = a->bench;
    unsigned char *expected = a->expected + (size_t)s * outputs_bytes(a);
    for (int i = 0; i < 2; i++) {
        struct taking t = {.expected = expected};
        const size_t n = arg_bytes(&b->p, i == 0 ? ARG_O : ARG_LSE);
        enum device_class cls =
            transfer_read(b->transfer, a->outputs[i], a->offsets[i][s], n, same != NULL ? compare : keep, &t, e);
        if (cls != DEVICE_OK) return cls;
        if (atomic_load(&t.differs)) *same = false;
        expected += n;
    }
    return DEVICE_OK;
}

/* One run of each set, poisoned before, kept as what timed runs must leave; then poisoned again. */
static enum device_class record_expected(struct bench_arm *a, struct err *e)
{
    const struct bench *b = a->bench;
    enum device_class cls = poison(a, e);
    for (int s = 0; s < b->nsets && cls == DEVICE_OK; s++) {
        struct device_launch l;
        cls = launch_of(a, s, &l, e);
        if (cls == DEVICE_OK) cls = b->drv->run(b->d, &l, e);
        if (cls == DEVICE_OK) cls = read_outputs(a, s, NULL, e);
    }
    return cls == DEVICE_OK ? poison(a, e) : cls;
}

/* Batches start at multiples of this many sets. 1 up to 2 x MAX_STARTS sets, so that the walk leaves none out; with more
 * it bounds the number of batches, and since it is at most k, at least half of the sets are visited in a round. */
static int stride_of(const struct bench_arm *a)
{
    int stride = a->bench->nsets / MAX_STARTS;
    if (stride > a->k) stride = a->k;
    return stride > 1 ? stride : 1;
}

static void batches_drop(struct bench_arm *a)
{
    for (int s = 0; s < a->bench->nsets; s++) {
        if (a->batches[s] != NULL) a->bench->drv->batch_close(a->bench->d, a->batches[s]);
        a->batches[s] = NULL;
    }
}

static enum device_class start_open(struct bench_arm *a, int start, struct err *e)
{
    const struct bench *b = a->bench;
    int n = a->k < b->nsets ? a->k : b->nsets;
    struct device_launch *l = malloc((size_t)n * sizeof *l);
    enum device_class cls = DEVICE_OK;
    if (l == NULL) {
        err_nomem(e);
        return DEVICE_LOST;
    }
    for (int i = 0; i < n && cls == DEVICE_OK; i++)
        cls = launch_of(a, (start + i) % b->nsets, &l[i], e);
    if (cls == DEVICE_OK) cls = b->drv->batch_open(b->d, l, n, a->k, &a->batches[start], e);
    free(l);
    return cls;
}

/* One batch from the cursor on; the cursor moves behind it. */
static enum device_class batch_time(struct bench_arm *a, double *elapsed_us, struct err *e)
{
    struct bench *b = a->bench;
    int stride = stride_of(a), start = (b->cursor + stride - 1) / stride * stride;
    enum device_class cls = DEVICE_OK;
    if (start >= b->nsets) start = 0;
    if (a->batches[start] == NULL) cls = start_open(a, start, e);
    if (cls == DEVICE_OK) cls = b->drv->batch_run(b->d, a->batches[start], elapsed_us, &a->mhz, e);
    if (cls != DEVICE_OK) return cls;
    b->cursor = (start + a->k) % b->nsets;
    for (int i = 0; i < a->k && i < b->nsets; i++)
        a->written[(start + i) % b->nsets] = true;
    return DEVICE_OK;
}

static void set_k(struct bench_arm *a, double k)
{
    int next = k >= BENCH_MAX_K ? BENCH_MAX_K : k < 1 ? 1 : (int)ceil(k);
    if (next == a->k) return;
    batches_drop(a);
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
    size_t n = (size_t)b->nsets;
    enum device_class cls = DEVICE_LOST;
    if (a == NULL) {
        err_nomem(e);
        return DEVICE_LOST;
    }
    *a = (struct bench_arm){.bench = b, .kernel = kernel, .geometry = *geometry, .k_given = k > 0, .k = k > 0 ? k : 1};
    a->expected = malloc(n * outputs_bytes(a));
    a->batches = calloc(n, sizeof(struct device_batch *));
    a->written = calloc(n, sizeof *a->written);
    if (a->expected == NULL || a->batches == NULL || a->written == NULL)
        err_nomem(e);
    else
        cls = place(b, arg_bytes(&b->p, ARG_O), &a->outputs[0], &a->offsets[0], e);
    if (cls == DEVICE_OK) cls = place(b, arg_bytes(&b->p, ARG_LSE), &a->outputs[1], &a->offsets[1], e);
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
    if (a->batches != NULL) batches_drop(a);
    for (int i = 0; i < 2; i++) {
        if (a->outputs[i] != NULL) a->bench->drv->free(a->bench->d, a->outputs[i]);
        free(a->offsets[i]);
    }
    free(a->batches);
    free(a->written);
    free(a->expected);
    free(a);
}

int bench_arm_k(const struct bench_arm *a)
{
    return a->k;
}

double bench_arm_mhz(const struct bench_arm *a)
{
    return a->mhz;
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

/* Only sets that were timed hold anything; when none was (nothing ran since the last verification), one batch is. */
enum device_class bench_verify(struct bench_arm *a, bool *same, struct err *e)
{
    enum device_class cls = DEVICE_OK;
    bool any = false;
    double us;
    for (int s = 0; s < a->bench->nsets && !any; s++)
        any = a->written[s];
    if (!any) cls = batch_time(a, &us, e);
    *same = true;
    for (int s = 0; s < a->bench->nsets && cls == DEVICE_OK; s++)
        if (a->written[s]) cls = read_outputs(a, s, same, e);
    return cls == DEVICE_OK ? poison(a, e) : cls;
}

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

bool bench_steady(const double recent[BENCH_STEADY_SAMPLES])
{
    double sorted[BENCH_STEADY_SAMPLES], median;
    memcpy(sorted, recent, sizeof sorted);
    qsort(sorted, BENCH_STEADY_SAMPLES, sizeof *sorted, ascending);
    median = 0.5 * (sorted[BENCH_STEADY_SAMPLES / 2 - 1] + sorted[BENCH_STEADY_SAMPLES / 2]);
    return sorted[0] >= (1 - STEADY_SPREAD) * median &&
           sorted[BENCH_STEADY_SAMPLES - 1] <= (1 + STEADY_SPREAD) * median;
}

enum device_class bench_warm_up(struct bench_arm *a, double limit_s, bool *steady, struct err *e)
{
    double recent[BENCH_STEADY_SAMPLES], until_s = now_s() + limit_s;
    *steady = false;
    for (int i = 0; i == 0 || now_s() < until_s; i++) {
        enum device_class cls = bench_sample(a, &recent[i % BENCH_STEADY_SAMPLES], e);
        if (cls != DEVICE_OK) return cls;
        if (i < BENCH_STEADY_SAMPLES - 1 || !bench_steady(recent)) continue;
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
    out->mhz = calloc(4 * (size_t)m, sizeof *out->mhz);
    if (out->samples == NULL || out->mhz == NULL) {
        bench_quad_free(out);
        err_nomem(e);
        return DEVICE_LOST;
    }
    health_read(a->bench->health, &out->before);
    double dropped;
    enum device_class cls = bench_sample(outer, &dropped, e);
    for (int i = 0; i < 4 * m && cls == DEVICE_OK; i++) {
        cls = bench_sample(order[i / m], &out->samples[i], e);
        out->mhz[i] = bench_arm_mhz(order[i / m]);
    }
    if (cls != DEVICE_OK) {
        bench_quad_free(out);
        return cls;
    }
    health_read(a->bench->health, &out->after);
    return DEVICE_OK;
}

void bench_quad_orders(int *baab, int n, struct rng *r)
{
    for (int i = 0; i < n; i++)
        baab[i] = i % 2;
    if (n % 2 == 1) baab[n - 1] = (int)rng_below(r, 2);
    rng_shuffle(r, baab, (size_t)n);
}

void bench_quad_free(struct bench_quad *q)
{
    if (q == NULL) return;
    free(q->samples);
    free(q->mhz);
    q->samples = q->mhz = NULL;
}
