/* The CUDA driver on a real GPU: buffers, launches, batches, and the class of each kind of failure. What poisons a context
 * happens in a child. Skipped (77) without a device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device.h"
#include "health.h"
#include "hopper_source.h"

/* For builds with AddressSanitizer: the driver maps memory where the shadow's gap is, and keeps what it allocates. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "protect_shadow_gap=0:detect_leaks=0";
}

static const struct device_driver *driver;
static struct target target; /* the first device; filled once, in main */

enum { N = 1 << 16 };

/* o[i] = 2 q[i], some shared memory, and a spin that makes the duration long enough to time. */
static const char source[] =
    "extern \"C\" __global__ void twice(const float *q, float *o)\n"
    "{\n"
    "    extern __shared__ float s[];\n"
    "    int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
    "    s[threadIdx.x] = q[i];\n"
    "    __syncthreads();\n"
    "    o[i] = 2.0f * s[threadIdx.x];\n"
    "}\n"
    "extern \"C\" __global__ void slow(const float *q, float *o)\n"
    "{\n"
    "    long long start = clock64();\n"
    "    while (clock64() - start < 20000) {}\n"
    "    if (threadIdx.x == 0 && blockIdx.x == 0) o[0] += q[0];\n"
    "}\n"
    "extern \"C\" __global__ void wild(const float *q, float *o)\n"
    "{\n"
    "    *(float *)(((unsigned long long)o & 0xffff) + 64) = q[0];\n"
    "}\n"
    "extern \"C\" __global__ void trapped(const float *q, float *o) { asm volatile(\"trap;\"); o[0] = q[0]; }\n"
    "extern \"C\" __global__ void __launch_bounds__(64) narrow(const float *q, float *o) { o[threadIdx.x] = q[0]; }\n";

struct fixture {
    struct device *d;
    struct device_buffer *q, *o;
    struct device_binary binary;
    struct err e;
};

static struct launch launch_of(const char *entry)
{
    struct launch l = {.grid = {N / 256, 1, 1}, .block = {256, 1, 1}, .nargs = 2, .args = {ARG_Q, ARG_O}};
    snprintf(l.entry, sizeof l.entry, "%s", entry);
    if (strcmp(entry, "twice") == 0) l.shared_bytes = 1024;
    return l;
}

/* All that a test needs; asserts on the way. */
static void begin_with(struct fixture *f, const char *text, const char *entry)
{
    struct device_source src = {.text = text, .entry = entry};
    *f = (struct fixture){0};
    enum device_class class = driver->open(&f->d, &target, &f->e);
    if (class != DEVICE_OK) print_error("%s\n", f->e.text);
    assert_int_equal(class, DEVICE_OK);
    class = driver->compile(&target, &src, &f->binary, &f->e);
    if (class != DEVICE_OK) print_error("%s\n", f->e.text);
    assert_int_equal(class, DEVICE_OK);
    assert_int_equal(driver->alloc(f->d, N * sizeof(float), &f->q, &f->e), DEVICE_OK);
    assert_int_equal(driver->alloc(f->d, N * sizeof(float), &f->o, &f->e), DEVICE_OK);
}

static void begin(struct fixture *f, const char *entry)
{
    begin_with(f, source, entry);
}

static void end(struct fixture *f)
{
    driver->free(f->d, f->q);
    driver->free(f->d, f->o);
    device_binary_free(&f->binary);
    driver->close(f->d);
}

static enum device_class load(struct fixture *f, const struct launch *l, struct device_kernel **k)
{
    return driver->load(f->d, f->binary.image.p, f->binary.image.n, l, k, &f->e);
}

static struct device_launch bind(const struct fixture *f, const struct launch *l, const struct device_kernel *k)
{
    return (struct device_launch){.kernel = k, .geometry = l, .args = {{f->q, 0}, {f->o, 0}}};
}

static void target_is_filled(void **state)
{
    (void)state;
    print_message("%s, %s, %s, %s, %s\n", target.name, target.arch, target.uuid, target.driver_version,
                  target.compiler);
    print_message("shared %lld/%lld B, %lld SMs, L2 %lld B, memory %lld B, %d MHz, %.0f TFLOP/s, %.0f GB/s\n",
                  (long long)target.smem_block_bytes, (long long)target.smem_sm_bytes, (long long)target.sms,
                  (long long)target.l2_bytes, (long long)target.memory_bytes, target.clock_mhz,
                  target.peak_flops * 1e-12, target.peak_bytes_s * 1e-9);
    assert_true(target.compute_capability >= 70 && target.sms > 0 && target.warp == 32);
    assert_true(target.smem_block_bytes >= 48 * 1024 && target.threads_block == 1024 && target.regs_block >= 32768);
    assert_true(strlen(target.uuid) == 40 && strstr(target.driver_version, "CUDA "));
    assert_true(target.memory_bytes > 0 && target.l2_bytes > 0);
    /* The table of architectures and the device must agree. */
    struct target planned;
    struct err e = {0};
    if (driver->arch_target(&planned, target.arch, &e) == 0) {
        assert_int_equal(planned.compute_capability, target.compute_capability);
        assert_int_equal(planned.smem_block_bytes, target.smem_block_bytes);
        assert_int_equal(planned.smem_sm_bytes, target.smem_sm_bytes);
        assert_int_equal(planned.regs_block, target.regs_block);
        assert_int_equal(planned.threads_block, target.threads_block);
    }
}

static void buffers(void **state)
{
    struct fixture f;
    uint32_t words[16], back[16];
    (void)state;
    begin(&f, "twice");
    for (uint32_t i = 0; i < 16; i++)
        words[i] = 0x01010101u * i;
    assert_int_equal(driver->fill(f.d, f.q, 0, N * 4, 0xdeadbeefu, &f.e), DEVICE_OK);
    assert_int_equal(driver->write(f.d, f.q, 128, words, sizeof words, &f.e), DEVICE_OK);
    assert_int_equal(driver->read(f.d, f.q, 128, back, sizeof back, &f.e), DEVICE_OK);
    assert_memory_equal(words, back, sizeof words);
    assert_int_equal(driver->read(f.d, f.q, 128 + sizeof words, back, 4, &f.e), DEVICE_OK);
    assert_int_equal(back[0], 0xdeadbeefu);
    assert_int_equal(driver->fill(f.d, f.q, 132, 8, 7, &f.e), DEVICE_OK);
    assert_int_equal(driver->read(f.d, f.q, 128, back, 16, &f.e), DEVICE_OK);
    assert_int_equal(back[0], words[0]);
    assert_int_equal(back[1], 7);
    assert_int_equal(back[2], 7);
    assert_int_equal(back[3], words[3]);
    assert_int_equal(driver->read(f.d, f.q, N * 4 - 4, back, 8, &f.e), DEVICE_LOST);
    assert_int_equal(f.e.code, ERR_BUG);
    assert_int_equal(driver->canary(f.d, &f.e), DEVICE_OK);
    end(&f);
}

/* Lengths about one pass of all threads and several; one bit in the first word, the last, and the one behind. */
static void comparisons(void **state)
{
    enum { WORDS = 3 * 512 * 256 + 1001 };
    static const size_t lengths[] = {0, 1, 255, 512 * 256, 512 * 256 + 1, WORDS - 1};
    struct fixture f;
    struct device_buffer *a, *b;
    bool same;
    (void)state;
    begin(&f, "twice");
    assert_int_equal(driver->alloc(f.d, WORDS * 4, &a, &f.e), DEVICE_OK);
    assert_int_equal(driver->alloc(f.d, WORDS * 4, &b, &f.e), DEVICE_OK);
    assert_int_equal(driver->fill(f.d, a, 0, WORDS * 4, 0x7fc1ffc2u, &f.e), DEVICE_OK);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const size_t n = lengths[i];
        const size_t places[] = {0, n / 2, n - 1, n};
        for (size_t k = 0; k < 4; k++) {
            const uint32_t other = 0x7fc1ffc3u;
            if (n == 0 && k < 3) continue;
            assert_int_equal(driver->fill(f.d, b, 0, WORDS * 4, 0x7fc1ffc2u, &f.e), DEVICE_OK);
            assert_int_equal(driver->same(f.d, a, b, n * 4, &same, &f.e), DEVICE_OK);
            assert_true(same);
            assert_int_equal(driver->write(f.d, b, places[k] * 4, &other, 4, &f.e), DEVICE_OK);
            assert_int_equal(driver->same(f.d, a, b, n * 4, &same, &f.e), DEVICE_OK);
            assert_int_equal(same, places[k] == n);
        }
    }
    assert_int_equal(driver->same(f.d, a, b, WORDS * 4 + 4, &same, &f.e), DEVICE_LOST);
    assert_false(same);
    driver->free(f.d, a);
    driver->free(f.d, b);
    end(&f);
}

/* A copy into page-locked memory that is waited for holds what the kernel before it wrote. */
static void reads_that_are_started(void **state)
{
    struct fixture f;
    uint32_t *words;
    (void)state;
    begin(&f, "twice");
    words = driver->host_alloc(f.d, N * 4);
    assert_non_null(words);
    for (uint32_t round = 1; round <= 3; round++) {
        assert_int_equal(driver->fill(f.d, f.q, 0, N * 4, round, &f.e), DEVICE_OK);
        memset(words, 0, N * 4);
        assert_int_equal(driver->read_start(f.d, f.q, 4, words, N * 4 - 4, &f.e), DEVICE_OK);
        assert_int_equal(driver->wait(f.d, &f.e), DEVICE_OK);
        for (uint32_t i = 0; i + 1 < N; i++)
            assert_int_equal(words[i], round);
        assert_int_equal(words[N - 1], 0);
        assert_int_equal(driver->write(f.d, f.q, 0, words, N * 4, &f.e), DEVICE_OK);
    }
    assert_int_equal(driver->read_start(f.d, f.q, N * 4, words, 4, &f.e), DEVICE_LOST);
    driver->host_free(f.d, words);
    end(&f);
}

static void run_and_resources(void **state)
{
    struct fixture f;
    struct device_kernel *k;
    float *host = malloc(N * sizeof *host);
    (void)state;
    assert_non_null(host);
    begin(&f, "twice");
    struct launch l = launch_of("twice");
    assert_int_equal(load(&f, &l, &k), DEVICE_OK);
    struct device_resources res = {-1, -1, -1, -5, -6, -7, -8};
    assert_int_equal(driver->resources(f.d, k, &res, &f.e), DEVICE_OK);
    /* The driver may round up to what it allocates. */
    print_message("registers: compiler %lld, loaded module %lld\n", (long long)f.binary.res.registers,
                  (long long)res.registers);
    assert_true(res.registers >= f.binary.res.registers && res.registers < f.binary.res.registers + 8);
    assert_int_equal(res.shared_static_bytes, f.binary.res.shared_static_bytes);
    assert_int_equal(res.stack_bytes, 0);
    assert_int_equal(res.spill_store_bytes, -5);
    assert_int_equal(res.tensor_ops, -8);
    for (int i = 0; i < N; i++)
        host[i] = (float)i;
    assert_int_equal(driver->write(f.d, f.q, 0, host, N * sizeof *host, &f.e), DEVICE_OK);
    assert_int_equal(driver->fill(f.d, f.o, 0, N * sizeof *host, 0x7fc00000u, &f.e), DEVICE_OK);
    struct device_launch dl = bind(&f, &l, k);
    assert_int_equal(driver->run(f.d, &dl, &f.e), DEVICE_OK);
    assert_int_equal(driver->read(f.d, f.o, 0, host, N * sizeof *host, &f.e), DEVICE_OK);
    for (int i = 0; i < N; i++)
        assert_true(host[i] == 2.0f * (float)i);
    /* An offset moves the pointer: element 64 becomes the first. */
    l.grid[0] = 1;
    l.block[0] = 32;
    dl.args[0].offset = 64 * sizeof(float);
    assert_int_equal(driver->run(f.d, &dl, &f.e), DEVICE_OK);
    assert_int_equal(driver->read(f.d, f.o, 0, host, 4 * sizeof *host, &f.e), DEVICE_OK);
    assert_true(host[0] == 128.0f && host[1] == 130.0f);
    driver->unload(f.d, k);
    end(&f);
    free(host);
}

/* The shortest of 20 runs; *mhz (may be NULL): the last one's clock. */
static double batch_us(struct fixture *f, const struct device_launch *sets, int n, int k, double *mhz)
{
    struct device_batch *b;
    double best = INFINITY, us = 0;
    enum device_class class = driver->batch_open(f->d, sets, n, k, &b, &f->e);
    if (class != DEVICE_OK) print_error("%s\n", f->e.text);
    assert_int_equal(class, DEVICE_OK);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(driver->batch_run(f->d, b, &us, mhz, &f->e), DEVICE_OK);
        assert_true(isfinite(us) && us > 0);
        if (us < best) best = us;
    }
    driver->batch_close(f->d, b);
    return best;
}

/* The clock of a batch, by a kernel that counts 20000 cycles on every multiprocessor: a launch takes that many and a little more. */
static void batches_have_a_clock(void **state)
{
    struct fixture f;
    struct device_kernel *k;
    double mhz = -1;
    (void)state;
    begin(&f, "slow");
    struct launch l = launch_of("slow");
    l.grid[0] = 4 * target.sms;
    l.block[0] = 32;
    assert_int_equal(load(&f, &l, &k), DEVICE_OK);
    struct device_launch dl = bind(&f, &l, k);
    double us = batch_us(&f, &dl, 1, 200, &mhz) / 200;
    print_message("SM clock %.1f MHz of at most %d: %.0f cycles a launch of 20000\n", mhz, (int)target.clock_mhz,
                  us * mhz);
    assert_true(mhz > 100 && mhz < 1.02 * (double)target.clock_mhz);
    assert_true(us * mhz > 20000 && us * mhz < 30000);
    driver->unload(f.d, k);
    end(&f);
}

static void batches_are_timed(void **state)
{
    struct fixture f;
    struct device_kernel *k;
    float first;
    (void)state;
    begin(&f, "slow");
    struct launch l = launch_of("slow");
    l.grid[0] = 1;
    l.block[0] = 32;
    assert_int_equal(load(&f, &l, &k), DEVICE_OK);
    struct device_launch dl = bind(&f, &l, k);
    batch_us(&f, &dl, 1, 200, NULL); /* warms the clock */
    double t1 = batch_us(&f, &dl, 1, 1, NULL), t20 = batch_us(&f, &dl, 1, 20, NULL);
    double t200 = batch_us(&f, &dl, 1, 200, NULL);
    double slope = (t200 - t20) / 180;
    print_message("20000 clocks: k=1 %.2f us, k=20 %.2f us, k=200 %.2f us; slope %.3f us, offset %.2f us\n", t1, t20,
                  t200, slope, t20 - 20 * slope);
    assert_true(slope > 5 && slope < 60);     /* 20000 clocks at 0.35 to 4 GHz, plus the launch */
    assert_true(fabs(t20 - 20 * slope) < 25); /* what does not grow with k: under 25 us */
    assert_true(t1 < 3 * slope + 25);
    /* Every launch ran: o[0] counts them. */
    float one = 1;
    assert_int_equal(driver->write(f.d, f.q, 0, &one, sizeof one, &f.e), DEVICE_OK);
    assert_int_equal(driver->fill(f.d, f.o, 0, 8, 0, &f.e), DEVICE_OK);
    struct device_launch sets[2] = {dl, dl};
    sets[1].args[1].offset = 4;
    batch_us(&f, sets, 2, 7, NULL); /* 20 runs: 4 launches of the first set each, 3 of the second */
    float pair[2];
    assert_int_equal(driver->read(f.d, f.o, 0, pair, sizeof pair, &f.e), DEVICE_OK);
    first = pair[0];
    assert_true(first == 80.0f && pair[1] == 60.0f);
    driver->unload(f.d, k);
    end(&f);
}

/* What the device refuses costs the candidate, not the context. */
static void refusals_leave_the_context_alive(void **state)
{
    struct fixture f;
    struct device_kernel *k = NULL;
    struct device_batch *b;
    (void)state;
    begin(&f, "narrow");
    struct launch l = launch_of("narrow");
    l.shared_bytes = target.smem_block_bytes + 1024;
    assert_int_equal(load(&f, &l, &k), DEVICE_FATE);
    assert_null(k);
    print_message("%s\n", f.e.text);
    f.e = (struct err){0};
    l = launch_of("no_such_kernel");
    assert_int_equal(load(&f, &l, &k), DEVICE_FATE);
    print_message("%s\n", f.e.text);
    f.e = (struct err){0};
    assert_int_equal(driver->load(f.d, f.binary.image.p, f.binary.image.n / 2, &l, &k, &f.e), DEVICE_FATE);
    f.e = (struct err){0};
    /* More threads than __launch_bounds__ allows: in a plain launch and while a batch is recorded. */
    l = launch_of("narrow");
    assert_int_equal(load(&f, &l, &k), DEVICE_OK);
    l.block[0] = 1024;
    struct device_launch dl = bind(&f, &l, k);
    assert_int_equal(driver->run(f.d, &dl, &f.e), DEVICE_FATE);
    print_message("%s\n", f.e.text);
    f.e = (struct err){0};
    enum device_class class = driver->batch_open(f.d, &dl, 1, 5, &b, &f.e);
    double us = 0;
    if (class == DEVICE_OK) { /* a driver that checks no earlier than at the launch */
        class = driver->batch_run(f.d, b, &us, NULL, &f.e);
        driver->batch_close(f.d, b);
    }
    assert_true(us == 0);
    print_message("%s\n", f.e.text);
    assert_int_equal(class, DEVICE_FATE);
    f.e = (struct err){0};
    l.block[0] = 0;
    assert_int_equal(driver->run(f.d, &dl, &f.e), DEVICE_FATE);
    f.e = (struct err){0};
    l.block[0] = 64;
    assert_int_equal(driver->canary(f.d, &f.e), DEVICE_OK);
    assert_int_equal(driver->run(f.d, &dl, &f.e), DEVICE_OK);
    driver->unload(f.d, k);
    end(&f);
}

/* More memory than the device has is the machine's fault, and survived. */
static void full_memory_is_lost_not_fate(void **state)
{
    struct fixture f;
    struct device_buffer *huge;
    (void)state;
    begin(&f, "twice");
    assert_int_equal(driver->alloc(f.d, (size_t)target.memory_bytes * 2, &huge, &f.e), DEVICE_LOST);
    assert_null(huge);
    f.e = (struct err){0};
    assert_int_equal(driver->canary(f.d, &f.e), DEVICE_OK);
    end(&f);
}

static void largest_shared_memory_runs(void **state)
{
    struct fixture f;
    struct device_kernel *k;
    (void)state;
    begin(&f, "twice");
    struct launch l = launch_of("twice");
    l.shared_bytes = target.smem_block_bytes;
    assert_int_equal(load(&f, &l, &k), DEVICE_OK);
    struct device_launch dl = bind(&f, &l, k);
    assert_int_equal(driver->run(f.d, &dl, &f.e), DEVICE_OK);
    driver->unload(f.d, k);
    end(&f);
}

static void only_hopper(void)
{
    if (target.compute_capability >= 90) return;
    print_message("clusters and tensor maps need sm_90\n");
    skip();
}

static void expect_fate(enum device_class class, struct err *e, const char *says)
{
    assert_int_equal(class, DEVICE_FATE);
    if (!strstr(e->text, says)) fail_msg("'%s' lacks '%s'", e->text, says);
    *e = (struct err){0};
}

enum { RANKS = 24 };

/* Every block was in a cluster of `size`, and knew its place. */
static void expect_ranks(struct fixture *f, uint32_t size)
{
    uint32_t got[RANKS];
    assert_int_equal(driver->read(f->d, f->o, 0, got, sizeof got, &f->e), DEVICE_OK);
    for (uint32_t i = 0; i < RANKS; i++)
        assert_int_equal(got[i], 256 * size + i % size);
    assert_int_equal(driver->fill(f->d, f->o, 0, sizeof got, 0, &f->e), DEVICE_OK);
}

/* Alone and in a batch, by size; what cannot be is refused with its reason, and the context lives. */
static void clusters(void **state)
{
    struct fixture f;
    struct device_kernel *k;
    (void)state;
    only_hopper();
    begin_with(&f, hopper_source, "ranks");
    for (int size = 1; size <= 8; size *= 2) {
        struct launch l = {.entry = "ranks",
                           .grid = {RANKS, 1, 1},
                           .block = {32, 1, 1},
                           .cluster = {size, 1, 1},
                           .nargs = 1,
                           .args = {ARG_O}};
        assert_int_equal(load(&f, &l, &k), DEVICE_OK);
        struct device_launch dl = {.kernel = k, .geometry = &l, .args = {{f.o, 0}}};
        assert_int_equal(driver->run(f.d, &dl, &f.e), DEVICE_OK);
        expect_ranks(&f, (uint32_t)size);
        assert_true(batch_us(&f, &dl, 1, 10, NULL) > 0);
        expect_ranks(&f, (uint32_t)size);
        l.cluster[0] = 16;
        expect_fate(driver->run(f.d, &dl, &f.e), &f.e, "more than 8 blocks");
        l.cluster[0] = 5;
        expect_fate(driver->run(f.d, &dl, &f.e), &f.e, "does not divide the grid");
        driver->unload(f.d, k);
    }
    assert_int_equal(driver->canary(f.d, &f.e), DEVICE_OK);
    end(&f);
}

/* Blocks with more threads than the kernel was compiled for: refused when it is loaded, or (driver 580 answers that a cluster has room)
 * when it is launched; never run, and the context lives. */
static void a_cluster_without_room_is_refused(void **state)
{
    struct fixture f;
    struct device_kernel *k = NULL;
    (void)state;
    only_hopper();
    begin(&f, "narrow");
    struct launch l = launch_of("narrow");
    l.cluster[0] = 2, l.cluster[1] = l.cluster[2] = 1;
    l.block[0] = 1024; /* __launch_bounds__(64) */
    enum device_class class = load(&f, &l, &k);
    if (class == DEVICE_OK) {
        struct device_launch dl = bind(&f, &l, k);
        class = driver->run(f.d, &dl, &f.e);
        driver->unload(f.d, k);
    }
    print_message("%s\n", f.e.text);
    assert_int_equal(class, DEVICE_FATE);
    f.e = (struct err){0};
    assert_int_equal(driver->canary(f.d, &f.e), DEVICE_OK);
    end(&f);
}

enum { MAP_COLUMNS = 128, MAP_ROWS = 40, MAP_PLANES = 3, MAP_WORDS = MAP_COLUMNS * MAP_ROWS * MAP_PLANES };
enum {
    GRID_X = MAP_COLUMNS / BOX_COLUMNS,
    GRID_Y = (MAP_ROWS + BOX_ROWS - 1) / BOX_ROWS,
    BOXED_WORDS = GRID_X * GRID_Y * MAP_PLANES * BOX_WORDS
};

static uint16_t word_at(int set, int plane, int row, int column)
{
    int number = (plane * MAP_ROWS + row) * MAP_COLUMNS + column + 7 * set;

    return (uint16_t)(row < MAP_ROWS ? 1 + number % 60000 : 0);
}

/* A 128-byte row of a box has its 16-byte pieces exchanged by its number. */
static void expect_boxes(struct fixture *f, int set, size_t offset)
{
    uint16_t *got = malloc(BOXED_WORDS * sizeof *got);
    assert_non_null(got);
    assert_int_equal(driver->read(f->d, f->o, offset, got, BOXED_WORDS * sizeof *got, &f->e), DEVICE_OK);
    for (int i = 0; i < BOXED_WORDS; i++) {
        int box = i / BOX_WORDS, row = i % BOX_WORDS / BOX_COLUMNS, piece = i % BOX_COLUMNS / 8 ^ row % 8;
        int plane = box / GRID_X / GRID_Y, y = box / GRID_X % GRID_Y * BOX_ROWS + row;
        assert_int_equal(got[i], word_at(set, plane, y, box % GRID_X * BOX_COLUMNS + 8 * piece + i % 8));
    }
    assert_int_equal(driver->fill(f->d, f->o, offset, BOXED_WORDS * sizeof *got, 0xffffffffu, &f->e), DEVICE_OK);
    free(got);
}

/* Boxes arrive where the map says, swizzled, with zeros beyond the tensor; each launch of a batch has the map of its own
 * buffers. */
static void tensor_maps(void **state)
{
    enum { FIRST = 256, SECOND = 64 * 1024 };
    struct fixture f;
    struct device_kernel *k;
    uint16_t *words = malloc(MAP_WORDS * sizeof *words);
    (void)state;
    only_hopper();
    assert_non_null(words);
    begin_with(&f, hopper_source, "boxes");
    for (int set = 0; set < 2; set++) {
        for (int i = 0; i < MAP_WORDS; i++)
            words[i] = word_at(set, i / MAP_COLUMNS / MAP_ROWS, i / MAP_COLUMNS % MAP_ROWS, i % MAP_COLUMNS);
        assert_int_equal(driver->write(f.d, f.q, set == 0 ? FIRST : SECOND, words, MAP_WORDS * sizeof *words, &f.e),
                         DEVICE_OK);
    }
    struct launch l = {.entry = "boxes",
                       .grid = {GRID_X, GRID_Y, MAP_PLANES},
                       .block = {32, 1, 1},
                       .nargs = 2,
                       .args = {ARG_Q, ARG_O}};
    l.maps[0] = (struct tensor_map){.columns = MAP_COLUMNS,
                                    .rows = MAP_ROWS,
                                    .planes = MAP_PLANES,
                                    .box_columns = BOX_COLUMNS,
                                    .box_rows = BOX_ROWS,
                                    .swizzle_bytes = 128,
                                    .l2_bytes = 256};
    assert_int_equal(load(&f, &l, &k), DEVICE_OK);
    struct device_launch sets[2] = {{.kernel = k, .geometry = &l, .args = {{f.q, FIRST}, {f.o, 0}}},
                                    {.kernel = k, .geometry = &l, .args = {{f.q, SECOND}, {f.o, SECOND}}}};
    for (int set = 0; set < 2; set++) {
        enum device_class class = driver->run(f.d, &sets[set], &f.e);
        if (class != DEVICE_OK) print_error("%s\n", f.e.text);
        assert_int_equal(class, DEVICE_OK);
        expect_boxes(&f, set, set == 0 ? 0 : SECOND);
    }
    assert_true(batch_us(&f, sets, 2, 5, NULL) > 0);
    expect_boxes(&f, 0, 0);
    expect_boxes(&f, 1, SECOND);
    /* What the driver cannot encode is a fate; a misaligned buffer is fatune's own fault. */
    l.maps[0].box_columns = 72;
    expect_fate(driver->run(f.d, &sets[0], &f.e), &f.e, "encoding the tensor map of q (box 72 x 16, swizzle 128)");
    l.maps[0].box_columns = BOX_COLUMNS;
    sets[0].args[0].offset = 8;
    assert_int_equal(driver->run(f.d, &sets[0], &f.e), DEVICE_LOST);
    assert_int_equal(f.e.code, ERR_BUG);
    f.e = (struct err){0};
    assert_int_equal(driver->canary(f.d, &f.e), DEVICE_OK);
    driver->unload(f.d, k);
    end(&f);
    free(words);
}

/* In a child, whose exit status is the class: 10 + class, when the device then refuses all work as well. */
static int poison(const char *entry, bool in_batch)
{
    struct device_source src = {.text = source, .entry = entry};
    struct device *d;
    struct device_buffer *q, *o;
    struct device_binary binary;
    struct device_kernel *k;
    struct device_batch *b;
    struct err e = {0};
    double us = 0;
    struct launch l = launch_of(entry);
    if (driver->open(&d, &target, &e) != DEVICE_OK || driver->compile(&target, &src, &binary, &e) != DEVICE_OK ||
        driver->alloc(d, N * 4, &q, &e) != DEVICE_OK || driver->alloc(d, N * 4, &o, &e) != DEVICE_OK ||
        driver->load(d, binary.image.p, binary.image.n, &l, &k, &e) != DEVICE_OK) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    struct device_launch dl = {.kernel = k, .geometry = &l, .args = {{q, 0}, {o, 0}}};
    enum device_class class = DEVICE_OK;
    if (!in_batch)
        class = driver->run(d, &dl, &e);
    else if (driver->batch_open(d, &dl, 1, 3, &b, &e) == DEVICE_OK)
        class = driver->batch_run(d, b, &us, NULL, &e);
    fprintf(stderr, "%s\n", e.text);
    if (us != 0) return 2; /* a time from a failed batch */
    e = (struct err){0};
    if (driver->canary(d, &e) != DEVICE_STICKY) return 3;
    driver->close(d); /* must not hang */
    return 10 + (int)class;
}

/* main() runs this before CUDA is used here: a child of a process with a context cannot use the device. */
static int poison_in_child(const char *entry, bool in_batch)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) _exit(poison(entry, in_batch));
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return -1;
    return WEXITSTATUS(status);
}

static int wild_run, wild_batch, trap_run;

static void sticky_errors(void **state)
{
    (void)state;
    assert_int_equal(wild_run, 10 + DEVICE_STICKY);
    assert_int_equal(wild_batch, 10 + DEVICE_STICKY);
    assert_int_equal(trap_run, 10 + DEVICE_STICKY);
}

static void wrong_device_is_lost(void **state)
{
    struct target t = target;
    struct device *d;
    struct err e = {0};
    (void)state;
    snprintf(t.uuid, sizeof t.uuid, "GPU-00000000-0000-0000-0000-000000000000");
    assert_int_equal(driver->open(&d, &t, &e), DEVICE_LOST);
    assert_null(d);
    e = (struct err){0};
    t.uuid[0] = '\0';
    t.index = 4096;
    assert_int_equal(driver->open(&d, &t, &e), DEVICE_LOST);
}

static void health_of_the_device(void **state)
{
    struct buf note = {0};
    struct health_reading r;
    struct fixture f;
    (void)state;
    begin(&f, "twice");
    struct health *h = health_open(&target, &note);
    assert_non_null(h);
    health_read(h, &r);
    json_t *environment = health_environment(h), *reading = health_to_json(&r);
    assert_non_null(environment);
    assert_non_null(reading);
    char *text = json_dumps(environment, 0), *now = json_dumps(reading, 0);
    print_message("%s\n%s\n%s", text, now, buf_text(&note));
    if (note.n == 0) {
        assert_true(r.sm_mhz > 0 && r.temperature_c > 0 && r.power_mw > 0 && r.throttle >= 0);
        assert_non_null(json_object_get(environment, "driver"));
        assert_non_null(json_object_get(environment, "max_sm_mhz"));
    }
    free(text);
    free(now);
    json_decref(environment);
    json_decref(reading);
    health_close(h);
    buf_free(&note);
    end(&f);
}

/* The first device, asked for by a child, so that this process may still fork children that use CUDA. */
static bool find_target(void)
{
    int pipe_ends[2], status;
    if (pipe(pipe_ends) != 0) return false;
    pid_t pid = fork();
    if (pid == 0) {
        struct buf note = {0};
        int n = driver->enumerate(&target, 1, &note);
        fputs(buf_text(&note), stderr);
        _exit(n == 1 && write(pipe_ends[1], &target, sizeof target) == (ssize_t)sizeof target ? 0 : 1);
    }
    close(pipe_ends[1]);
    bool ok = pid > 0 && read(pipe_ends[0], &target, sizeof target) == (ssize_t)sizeof target;
    close(pipe_ends[0]);
    return pid > 0 && waitpid(pid, &status, 0) == pid && ok && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sticky_errors),
        cmocka_unit_test(target_is_filled),
        cmocka_unit_test(buffers),
        cmocka_unit_test(comparisons),
        cmocka_unit_test(reads_that_are_started),
        cmocka_unit_test(run_and_resources),
        cmocka_unit_test(batches_are_timed),
        cmocka_unit_test(batches_have_a_clock),
        cmocka_unit_test(refusals_leave_the_context_alive),
        cmocka_unit_test(full_memory_is_lost_not_fate),
        cmocka_unit_test(largest_shared_memory_runs),
        cmocka_unit_test(clusters),
        cmocka_unit_test(a_cluster_without_room_is_refused),
        cmocka_unit_test(tensor_maps),
        cmocka_unit_test(wrong_device_is_lost),
        cmocka_unit_test(health_of_the_device),
    };
    driver = device_driver_named("cuda");
    if (!driver) {
        puts("skipped: this build has no CUDA");
        return 77;
    }
    if (!find_target()) {
        puts("skipped: no CUDA device");
        return 77;
    }
    wild_run = poison_in_child("wild", false);
    wild_batch = poison_in_child("wild", true);
    trap_run = poison_in_child("trapped", false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
