/* test_bench.c - on the fake device, whose true times are known: k, samples, letters in order, both caches, unusable
 * timers, and the verification that catches a kernel which breaks while it is timed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "device_fake.h"

static const struct problem small = {.batch = 1,
                                     .heads = 2,
                                     .kv_heads = 2,
                                     .seq_q = 16,
                                     .seq_kv = 24,
                                     .head_dim = 16,
                                     .dtype = DTYPE_F16,
                                     .scale = 0.25,
                                     .lse = true};

struct bed {
    struct target t;
    struct device *d;
    struct health *h;
    struct bench *bench;
    struct launch launch;
    struct device_kernel *kernels[2];
    struct bench_arm *arms[2];
};

static struct device_kernel *load(struct bed *b, const char *body)
{
    struct device_kernel *k = NULL;
    struct device_binary binary = {0};
    struct err e = {0};
    char text[2048];
    snprintf(
        text, sizeof text,
        "#define BATCH 1\n#define HEADS 2\n#define KV_HEADS 2\n#define SEQ_Q 16\n#define SEQ_KV 24\n#define HEAD_DIM "
        "16\n"
        "#define CAUSAL 0\n#define DTYPE_BF16 0\n#define WRITE_LSE 1\n#define SCALE 0.25f\n#line 1 \"kernel.cu\"\n%s\n",
        body);
    const struct device_source source = {.text = text, .entry = "f"};
    assert_int_equal(device_fake.compile(&b->t, &source, &binary, &e), DEVICE_OK);
    assert_int_equal(device_fake.load(b->d, binary.image.p, binary.image.n, &b->launch, &k, &e), DEVICE_OK);
    device_binary_free(&binary);
    return k;
}

static void bed_open(struct bed *b, const char *settings, enum bench_cache cache, const char *first, const char *second)
{
    struct err e = {0};
    struct buf note = {0};
    *b = (struct bed){.launch = {.entry = "f", .nargs = 5, .args = {ARG_Q, ARG_K, ARG_V, ARG_O, ARG_LSE}}};
    assert_int_equal(setenv("FATUNE_FAKE_DEVICE", settings, 1), 0);
    assert_int_equal(device_fake.enumerate(&b->t, 1, &note), 1);
    buf_free(&note);
    b->t.l2_bytes = 16384;
    assert_int_equal(device_fake.open(&b->d, &b->t, &e), DEVICE_OK);
    b->h = health_open(&b->t, NULL);
    assert_non_null(b->h);
    assert_int_equal(bench_open(&b->bench, &device_fake, b->d, NULL, &b->t, &small, cache, 5, b->h, &e), DEVICE_OK);
    b->kernels[0] = load(b, first);
    if (second != NULL) b->kernels[1] = load(b, second);
}

static struct bench_arm *arm(struct bed *b, int i, int k)
{
    struct err e = {0};
    assert_int_equal(bench_arm_open(b->bench, b->kernels[i], &b->launch, k, &b->arms[i], &e), DEVICE_OK);
    return b->arms[i];
}

static void bed_close(struct bed *b)
{
    for (int i = 0; i < 2; i++) {
        bench_arm_close(b->arms[i]);
        device_fake.unload(b->d, b->kernels[i]);
    }
    bench_close(b->bench);
    health_close(b->h);
    device_fake.close(b->d);
    assert_int_equal(unsetenv("FATUNE_FAKE_DEVICE"), 0);
}

#define QUIET "noise=0,session=0,spikes=0"

/* The smallest k whose batch lasts 240 us, within one launch; 1 for long launches; never beyond BENCH_MAX_K. */
static void k_is_chosen(void **state)
{
    static const struct {
        const char *body;
        int low, high;
    } rows[] = {{"// fake: time_us 20", 12, 13},
                {"// fake: time_us 7", 35, 36},
                {"// fake: time_us 250", 1, 1},
                {"// fake: time_us 9000", 1, 1},
                {"// fake: time_us 0.01", BENCH_MAX_K, BENCH_MAX_K}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bed b;
        struct bench_arm *a;
        struct err e = {0};
        double us = 0, want;
        bed_open(&b, QUIET, BENCH_WARM, rows[i].body, NULL);
        a = arm(&b, 0, 0);
        assert_in_range(bench_arm_k(a), rows[i].low, rows[i].high);
        assert_int_equal(bench_sample(a, &us, &e), DEVICE_OK);
        want = strtod(strrchr(rows[i].body, ' '), NULL);
        assert_true(fabs(us - want) < 1e-9 * want);
        bed_close(&b);
    }
}

/* A k that was asked for is kept, however short the batch. */
static void k_is_kept(void **state)
{
    struct bed b;
    struct bench_arm *a;
    struct err e = {0};
    double us = 0;
    (void)state;
    bed_open(&b, QUIET, BENCH_WARM, "// fake: time_us 3", NULL);
    a = arm(&b, 0, 4);
    assert_int_equal(bench_sample(a, &us, &e), DEVICE_OK);
    assert_int_equal(bench_arm_k(a), 4);
    assert_true(fabs(us - 3) < 1e-9);
    bed_close(&b);
}

/* ABBA and BAAB, m samples a letter, told apart by the arms' times. */
static void quads_in_order(void **state)
{
    struct bed b;
    struct bench_quad q;
    struct err e = {0};
    (void)state;
    bed_open(&b, QUIET, BENCH_WARM, "// fake: time_us 10", "// fake: time_us 30");
    arm(&b, 0, 0);
    arm(&b, 1, 0);
    for (int baab = 0; baab < 2; baab++) {
        assert_int_equal(bench_quad(b.arms[0], b.arms[1], baab == 1, 3, &q, &e), DEVICE_OK);
        assert_int_equal(q.m, 3);
        assert_int_equal(q.baab, baab == 1);
        for (int i = 0; i < 12; i++) {
            bool outer = i / 3 == 0 || i / 3 == 3;
            assert_true(fabs(q.samples[i] - (outer == (baab == 0) ? 10 : 30)) < 1e-9);
        }
        assert_int_equal(q.before.throttle, -1); /* unknown here, never a guess */
        bench_quad_free(&q);
        bench_quad_free(&q);
    }
    bed_close(&b);
}

/* Each sample's clock, where the device says it; an arm may run at one of its own. */
static void clocks(void **state)
{
    struct bed b;
    struct bench_quad q;
    struct err e = {0};
    (void)state;
    for (int known = 0; known < 2; known++) {
        bed_open(&b, known ? QUIET ",clock=2000" : QUIET, BENCH_WARM, "// fake: time_us 10", "// fake: clock 0.9");
        arm(&b, 0, 0);
        arm(&b, 1, 0);
        assert_int_equal(bench_quad(b.arms[0], b.arms[1], true, 2, &q, &e), DEVICE_OK);
        for (int i = 0; i < 8; i++) {
            const double mhz = i / 2 == 0 || i / 2 == 3 ? 1800 : 2000;
            assert_true(fabs(q.mhz[i] - known * mhz) < 1e-9);
        }
        assert_true(fabs(bench_arm_mhz(b.arms[1]) - known * 1800) < 1e-9);
        bench_quad_free(&q);
        bed_close(&b);
    }
}

/* The first sample of a quad is not the first that was taken: on a device that slows down steadily the step to it is double. */
static void a_sample_is_dropped_before_a_quad(void **state)
{
    struct bed b;
    struct bench_quad q;
    struct err e = {0};
    double before;
    (void)state;
    bed_open(&b, QUIET ",drift=10", BENCH_WARM, "// fake: time_us 10", "// fake: time_us 10");
    arm(&b, 0, 0);
    arm(&b, 1, 0);
    assert_int_equal(bench_sample(b.arms[0], &before, &e), DEVICE_OK);
    assert_int_equal(bench_quad(b.arms[0], b.arms[1], false, 3, &q, &e), DEVICE_OK);
    const double step = q.samples[1] - q.samples[0];
    assert_true(step > 0);
    assert_true(fabs((q.samples[0] - before) / step - 2) < 0.1);
    bench_quad_free(&q);
    bed_close(&b);
}

/* As many quads begin with B as with A, in no fixed order; the odd one falls either way. */
static void orders_are_balanced_and_random(void **state)
{
    enum { DRAWS = 4000 };
    struct rng r;
    int first = 0, odd = 0, runs = 0;
    (void)state;
    rng_init(&r, 3, "orders");
    for (int k = 0; k < DRAWS; k++) {
        int baab[21], sum = 0;
        bench_quad_orders(baab, 20, &r);
        for (int i = 0; i < 20; i++)
            sum += baab[i];
        assert_int_equal(sum, 10);
        first += baab[0];
        for (int i = 1; i < 20; i++)
            runs += baab[i] != baab[i - 1];
        bench_quad_orders(baab, 1, &r);
        odd += baab[0];
    }
    assert_in_range(first, DRAWS / 2 - 110, DRAWS / 2 + 110); /* 3.5 binomial SD */
    assert_in_range(odd, DRAWS / 2 - 110, DRAWS / 2 + 110);
    assert_true(fabs((double)runs / DRAWS - 10.0) < 0.15); /* 19 steps, each a change with 10/19 */
}

static void verify(const char *body, enum bench_cache cache, int samples, bool expected)
{
    struct bed b;
    struct bench_arm *a;
    struct err e = {0};
    double us;
    bool same = !expected;
    bed_open(&b, QUIET, cache, body, "");
    a = arm(&b, 0, 0);
    arm(&b, 1, 0);
    for (int i = 0; i < samples; i++) {
        assert_int_equal(bench_sample(a, &us, &e), DEVICE_OK);
        assert_int_equal(bench_sample(b.arms[1], &us, &e), DEVICE_OK);
    }
    assert_int_equal(bench_verify(a, &same, &e), DEVICE_OK);
    assert_int_equal(same, expected);
    assert_int_equal(bench_verify(a, &same, &e), DEVICE_OK); /* again, with nothing timed in between */
    assert_int_equal(same, expected);
    assert_int_equal(bench_verify(b.arms[1], &same, &e), DEVICE_OK); /* the other arm is not blamed */
    assert_true(same);
    bed_close(&b);
}

static void verification(void **state)
{
    (void)state;
    for (int cache = 0; cache < 2; cache++) {
        verify("", (enum bench_cache)cache, 5, true);
        verify("// fake: latewrong 100000", (enum bench_cache)cache, 5, true);
        verify("// fake: latewrong 200", (enum bench_cache)cache, 30, false);
        verify("// fake: nondet", (enum bench_cache)cache, 2, false);
    }
}

/* A driver in front of the fake one that writes down which q each timed launch reads, in order. */
#define LOG_MAX 4096
static struct {
    const struct device_batch *batches[256];
    size_t first[256], n[256]; /* of each batch in q */
    size_t q[LOG_MAX];
    int nbatches, nq;
    size_t seen[LOG_MAX];
    int nseen;
} spy;

static enum device_class spy_batch_open(struct device *d, const struct device_launch *l, int n, int k,
                                        struct device_batch **out, struct err *e)
{
    enum device_class cls = device_fake.batch_open(d, l, n, k, out, e);
    assert_in_range(spy.nbatches, 0, 255);
    assert_in_range(spy.nq + k, 0, LOG_MAX);
    spy.batches[spy.nbatches] = *out;
    spy.first[spy.nbatches] = (size_t)spy.nq;
    spy.n[spy.nbatches++] = (size_t)k;
    for (int i = 0; i < k; i++)
        spy.q[spy.nq++] = l[i % n].args[0].offset;
    return cls;
}

static enum device_class spy_batch_run(struct device *d, struct device_batch *b, double *us, double *mhz, struct err *e)
{
    for (int i = spy.nbatches - 1; i >= 0; i--) {
        if (spy.batches[i] != b) continue;
        for (size_t j = 0; j < spy.n[i] && spy.nseen < LOG_MAX; j++)
            spy.seen[spy.nseen++] = spy.q[spy.first[i] + j];
        break;
    }
    return device_fake.batch_run(d, b, us, mhz, e);
}

/* COLD: whichever arm runs, a tensor is read again only when more than twice the L2 has been read since (sets are of
 * 4 KiB). WARM: one set. */
static void cold_rotates(void **state)
{
    static const struct {
        int k[2], l2_bytes, distance;
    } rows[] = {{{3, 3}, 16384, 9},
                {{3, 5}, 16384, 9},
                {{5, 4}, 16384, 9},
                {{20, 7}, 16384, 9},
                {{1, 1}, 16384, 9},
                /* 201 sets: batches start at every third, half of the sets at least are visited */
                {{4, 5}, 409600, 101}};
    struct device_driver driver = device_fake;
    (void)state;
    driver.batch_open = spy_batch_open;
    driver.batch_run = spy_batch_run;
    for (size_t t = 0; t < 2 * sizeof rows / sizeof *rows; t++) {
        const bool cold = t % 2 == 1;
        struct bed b;
        struct err e = {0};
        double us;
        bool same = false;
        memset(&spy, 0, sizeof spy);
        bed_open(&b, QUIET, BENCH_WARM, "", "");
        bench_close(b.bench);
        b.t.l2_bytes = rows[t / 2].l2_bytes;
        assert_int_equal(
            bench_open(&b.bench, &driver, b.d, NULL, &b.t, &small, cold ? BENCH_COLD : BENCH_WARM, 5, b.h, &e),
            DEVICE_OK);
        for (int i = 0; i < 2; i++)
            arm(&b, i, rows[t / 2].k[i]);
        for (int i = 0; i < 200; i++)
            assert_int_equal(bench_sample(b.arms[i / 5 % 2], &us, &e), DEVICE_OK);
        assert_true(spy.nseen > 50);
        for (int i = 0; i < spy.nseen; i++) {
            int back = i - 1;
            while (back >= 0 && spy.seen[back] != spy.seen[i])
                back--;
            if (cold && back >= 0) assert_true(i - back >= rows[t / 2].distance);
            if (!cold) assert_int_equal(spy.seen[i], spy.seen[0]);
            assert_int_equal(spy.seen[i] % 512, 0);
        }
        for (int i = 0; i < 2; i++) {
            assert_int_equal(bench_verify(b.arms[i], &same, &e), DEVICE_OK);
            assert_true(same);
        }
        bed_close(&b);
    }
}

/* A driver that keeps what is written to q, set after set. */
#define KEPT_MAX 500000
static struct {
    struct device_buffer *q;
    size_t n;
    uint16_t words[KEPT_MAX];
} kept;

static enum device_class keep_write(struct device *d, struct device_buffer *b, size_t offset, const void *src, size_t n,
                                    struct err *e)
{
    if (kept.q == NULL) kept.q = b;
    if (kept.q == b) {
        assert_in_range(kept.n + n / 2, 1, KEPT_MAX);
        memcpy(kept.words + kept.n, src, n);
        kept.n += n / 2;
    }
    return device_fake.write(d, b, offset, src, n, e);
}

/* Set i holds set 0's words rotated left by n i / sets; any number of threads draws the same. */
static void sets_are_rotated(void **state)
{
    static uint16_t alone[KEPT_MAX];
    struct problem p = small;
    struct device_driver driver = device_fake;
    size_t n, sets = 3;
    (void)state;
    p.seq_q = 1030; /* several chunks of a transfer */
    p.head_dim = 65;
    n = problem_q_elements(&p);
    driver.write = keep_write;
    for (int threads = 1; threads <= 5; threads += 2) {
        struct bed b;
        struct parallel *pool = NULL;
        struct err e = {0};
        bed_open(&b, QUIET, BENCH_WARM, "", NULL);
        bench_close(b.bench);
        b.t.l2_bytes = (int64_t)(2.5 * 0.5 * (double)(2 * n + 4 * problem_kv_elements(&p)));
        memset(&kept, 0, sizeof kept);
        assert_int_equal(parallel_open(&pool, threads, &e), 0);
        assert_int_equal(bench_open(&b.bench, &driver, b.d, pool, &b.t, &p, BENCH_COLD, 5, b.h, &e), DEVICE_OK);
        assert_int_equal(kept.n, sets * n);
        for (size_t i = 0; i < kept.n; i++)
            assert_int_equal(kept.words[i], kept.words[(i % n + n * (i / n) / sets) % n]);
        if (threads == 1) memcpy(alone, kept.words, sizeof alone);
        assert_memory_equal(alone, kept.words, sizeof alone);
        bed_close(&b);
        parallel_close(pool);
    }
}

/* Every third reading is zero, negative, NaN or infinite: such a sample is never returned. */
static void bad_timer_is_retried(void **state)
{
    struct bed b;
    struct err e = {0};
    (void)state;
    bed_open(&b, QUIET ",bad_timer=3", BENCH_WARM, "// fake: time_us 50", NULL);
    arm(&b, 0, 5);
    for (int i = 0; i < 40; i++) {
        double us = NAN;
        assert_int_equal(bench_sample(b.arms[0], &us, &e), DEVICE_OK);
        assert_true(fabs(us - 50) < 1e-9);
    }
    bed_close(&b);
}

static void dead_timer_is_a_fate(void **state)
{
    struct bed b;
    struct err e = {0};
    double us;
    (void)state;
    bed_open(&b, QUIET ",bad_timer=1", BENCH_WARM, "// fake: time_us 50", NULL);
    arm(&b, 0, 5);
    assert_int_equal(bench_sample(b.arms[0], &us, &e), DEVICE_FATE);
    assert_non_null(strstr(e.text, "timer"));
    bed_close(&b);
}

static void warm_up(void **state)
{
    struct bed b;
    struct err e = {0};
    bool steady = false;
    (void)state;
    bed_open(&b, QUIET, BENCH_WARM, "", NULL);
    assert_int_equal(bench_warm_up(arm(&b, 0, 0), 10, &steady, &e), DEVICE_OK);
    assert_true(steady);
    bed_close(&b);
    bed_open(&b, "noise=0.2", BENCH_WARM, "", NULL);
    assert_int_equal(bench_warm_up(arm(&b, 0, 0), 0.02, &steady, &e), DEVICE_OK);
    assert_false(steady);
    bed_close(&b);
}

/* What breaks under the clock is classified before its time is believed. */
static void faults_are_classified(void **state)
{
    static const struct {
        const char *body;
        enum device_class cls;
    } rows[] = {{"// fake: sticky", DEVICE_STICKY}, {"// fake: launch", DEVICE_FATE}, {"// fake: lost", DEVICE_LOST}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct bed b;
        struct bench_arm *a = NULL;
        struct err e = {0};
        bed_open(&b, QUIET, BENCH_WARM, rows[i].body, NULL);
        assert_int_equal(bench_arm_open(b.bench, b.kernels[0], &b.launch, 0, &a, &e), rows[i].cls);
        assert_null(a);
        assert_int_equal(e.code, ERR_DEVICE);
        bed_close(&b);
    }
}

static void no_memory_blames_nobody(void **state)
{
    struct bed b;
    struct bench *bench = NULL;
    struct err e = {0};
    (void)state;
    bed_open(&b, QUIET, BENCH_WARM, "", NULL);
    bench_close(b.bench);
    b.bench = NULL;
    device_fake.unload(b.d, b.kernels[0]);
    b.kernels[0] = NULL;
    device_fake.close(b.d);
    b.t.memory_bytes = 4096;
    assert_int_equal(device_fake.open(&b.d, &b.t, &e), DEVICE_OK);
    assert_int_equal(bench_open(&bench, &device_fake, b.d, NULL, &b.t, &small, BENCH_WARM, 1, b.h, &e), DEVICE_LOST);
    assert_null(bench);
    assert_non_null(strstr(e.text, "no device memory"));
    bed_close(&b);
}

/* Noise comes from the seed and the inputs: two sessions with the same draws see the same times, another seed others. */
static void noise_is_reproducible(void **state)
{
    double us[3][20];
    (void)state;
    for (int run = 0; run < 3; run++) {
        struct bed b;
        struct err e = {0};
        bed_open(&b, run == 2 ? "seed=1,noise=0.01,spikes=0" : "seed=2,noise=0.01,spikes=0", BENCH_WARM,
                 "// fake: time_us 20", NULL);
        arm(&b, 0, 20);
        for (int i = 0; i < 20; i++)
            assert_int_equal(bench_sample(b.arms[0], &us[run][i], &e), DEVICE_OK);
        bed_close(&b);
    }
    assert_memory_equal(us[0], us[1], sizeof us[0]);
    assert_memory_not_equal(us[0], us[2], sizeof us[0]);
    for (int i = 0; i < 20; i++)
        assert_true(fabs(us[0][i] / 20 - 1) < 0.08);
}

/* What an arm that is timed elsewhere is told: the sets, and set 0's words, which are the same in either cache. */
static void elsewhere(void **state)
{
    static const size_t elements[3] = {2 * 16 * 16, 2 * 24 * 16, 2 * 24 * 16};
    uint16_t words[2][3][2 * 24 * 16] = {0};
    double recent[BENCH_STEADY_SAMPLES];
    (void)state;
    for (int cold = 0; cold < 2; cold++) {
        struct bed b;
        struct err e = {0};
        bed_open(&b, QUIET, cold ? BENCH_COLD : BENCH_WARM, "", NULL);
        assert_int_equal(bench_sets(&small, &b.t, BENCH_WARM), 1);
        assert_int_equal(bench_sets(&small, &b.t, BENCH_COLD), 9); /* 4096 bytes a set, more than twice 16384 */
        for (int a = 0; a < 3; a++)
            assert_int_equal(bench_input(b.bench, (enum arg)(ARG_Q + a), words[cold][a], &e), DEVICE_OK);
        bed_close(&b);
    }
    assert_memory_equal(words[0], words[1], sizeof words[0]);
    for (int a = 0; a < 3; a++) {
        size_t zeros = 0;
        for (size_t i = 0; i < elements[a]; i++)
            zeros += words[0][a][i] == 0;
        assert_in_range(zeros, 0, elements[a] / 20); /* N(0,1) as f16 */
    }
    assert_memory_not_equal(words[0][1], words[0][2], 2 * elements[1]);
    for (int i = 0; i < BENCH_STEADY_SAMPLES; i++)
        recent[i] = 100 + (i % 2 ? 0.9 : -0.9);
    assert_true(bench_steady(recent));
    recent[7] = 102;
    assert_false(bench_steady(recent));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(k_is_chosen),
        cmocka_unit_test(k_is_kept),
        cmocka_unit_test(quads_in_order),
        cmocka_unit_test(clocks),
        cmocka_unit_test(a_sample_is_dropped_before_a_quad),
        cmocka_unit_test(orders_are_balanced_and_random),
        cmocka_unit_test(verification),
        cmocka_unit_test(cold_rotates),
        cmocka_unit_test(sets_are_rotated),
        cmocka_unit_test(bad_timer_is_retried),
        cmocka_unit_test(dead_timer_is_a_fate),
        cmocka_unit_test(warm_up),
        cmocka_unit_test(faults_are_classified),
        cmocka_unit_test(no_memory_blames_nobody),
        cmocka_unit_test(noise_is_reproducible),
        cmocka_unit_test(elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
