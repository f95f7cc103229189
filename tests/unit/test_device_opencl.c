/* The OpenCL driver on whatever device is here (PoCL on a CPU at least), and the two OpenCL templates against attention
 * computed on the host in double precision. Inputs lie between NaN and outputs between guard words, so that a read or a
 * write outside a tensor shows. Exits 77 when there is no device. */
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
#include <time.h>
#include <unistd.h>

#include "device_opencl_api.h"

#define GUARD                                                                                                          \
    4096u /* bytes in front of and behind a tensor; devices ask for offsets that are multiples of 128 to 512 */

/* What PoCL, LLVM and the loader keep until the process ends is theirs. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libpocl\nleak:libOpenCL\nleak:libLLVM\nleak:libclang\nleak:libhwloc\nleak:ld-linux\nleak:_dl_\n";
}

static const struct device_driver *const drv = &device_opencl;

struct fixture {
    struct target target;
    struct device *dev;
};

static void ok(enum device_class c, const struct err *e)
{
    if (c != DEVICE_OK) fail_msg("class %d: %s", (int)c, e->text);
}

static int setup(void **state)
{
    static struct fixture f;
    struct err e = {0};
    f = (struct fixture){0};
    if (drv->enumerate(&f.target, 1, NULL) != 1) return -1;
    ok(drv->open(&f.dev, &f.target, &e), &e);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    drv->close(f->dev);
    return 0;
}

static struct device_binary compiled(const struct fixture *f, const char *text, const char *entry)
{
    struct err e = {0};
    struct device_binary b;
    const struct device_source src = {.text = text, .entry = entry};
    enum device_class c = drv->compile(&f->target, &src, &b, &e);
    if (c != DEVICE_OK) fail_msg("%s\n%s", e.text, buf_text(&b.log));
    return b;
}

static void binary_free(struct device_binary *b)
{
    buf_free(&b->image);
    buf_free(&b->ptx);
    buf_free(&b->log);
}

static struct device_kernel *loaded(const struct fixture *f, const char *text, const struct launch *l)
{
    struct err e = {0};
    struct device_kernel *k;
    struct device_binary b = compiled(f, text, l->entry);
    ok(drv->load(f->dev, b.image.p, b.image.n, l, &k, &e), &e);
    binary_free(&b);
    return k;
}

static struct device_buffer *allocated(const struct fixture *f, size_t bytes)
{
    struct err e = {0};
    struct device_buffer *b;
    ok(drv->alloc(f->dev, bytes, &b, &e), &e);
    return b;
}

/* ------------------------------------------------------------------ the driver */

static void test_classes(void **state)
{
    (void)state;
    const char *name;
    assert_int_equal(opencl_class(CL_SUCCESS, false, &name), DEVICE_OK);
    assert_string_equal(name, "CL_SUCCESS");
    assert_int_equal(opencl_class(CL_OUT_OF_RESOURCES, false, &name), DEVICE_FATE);
    assert_string_equal(name, "CL_OUT_OF_RESOURCES");
    assert_int_equal(opencl_class(CL_OUT_OF_RESOURCES, true, NULL), DEVICE_STICKY);
    assert_int_equal(opencl_class(CL_INVALID_WORK_GROUP_SIZE, false, NULL), DEVICE_FATE);
    assert_int_equal(opencl_class(CL_INVALID_WORK_ITEM_SIZE, false, NULL), DEVICE_FATE);
    assert_int_equal(opencl_class(CL_MEM_OBJECT_ALLOCATION_FAILURE, false, NULL), DEVICE_FATE);
    assert_int_equal(opencl_class(CL_INVALID_BINARY, false, NULL), DEVICE_FATE);
    assert_int_equal(opencl_class(CL_DEVICE_NOT_AVAILABLE, true, NULL), DEVICE_LOST);
    assert_int_equal(opencl_class(-9999, true, NULL), DEVICE_STICKY);
    assert_int_equal(opencl_class(-123456, false, &name), DEVICE_STICKY);
    assert_string_equal(name, "unknown OpenCL error");
}

/* In a child, because the loader looks for platforms once in a process: no platform is no error, and the note says what
 * to install. */
static void test_no_platform(void **state)
{
    (void)state;
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct target t;
        struct buf note = {0};
        setenv("OCL_ICD_VENDORS", "/nonexistent", 1);
        const int n = drv->enumerate(&t, 1, &note);
        _exit(n == 0 && strstr(buf_text(&note), "apt-get install") && note.p[note.n - 1] == '\n' ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_enumerate(void **state)
{
    const struct fixture *f = *state;
    const struct target *t = &f->target;
    struct target again;
    assert_string_equal(t->driver, "opencl");
    assert_string_equal(t->language, "opencl");
    assert_true(t->name[0] && t->compiler[0] && t->driver_version[0] && t->uuid[0]);
    assert_int_equal(t->compute_capability, 0);
    assert_true(t->smem_block_bytes >= 32768); /* the least that OpenCL 1.2 allows in a full profile */
    assert_true(t->threads_block >= 1 && t->sms >= 1 && t->memory_bytes > 0);
    assert_int_equal(drv->enumerate(&again, 1, NULL), 1);
    assert_string_equal(again.uuid, t->uuid);
    assert_null(drv->arch_target);
}

static void test_no_such_device(void **state)
{
    const struct fixture *f = *state;
    struct err e = {0};
    struct device *d;
    struct target t = f->target;
    t.index = 1000;
    assert_int_equal(drv->open(&d, &t, &e), DEVICE_LOST);
    assert_int_equal(e.code, ERR_DEVICE);
    assert_non_null(strstr(e.text, "fatune devices"));
    t = f->target;
    snprintf(t.name, sizeof t.name, "another device");
    e = (struct err){0};
    assert_int_equal(drv->open(&d, &t, &e), DEVICE_LOST);
    assert_non_null(strstr(e.text, "another device"));
}

static void test_compile_errors(void **state)
{
    const struct fixture *f = *state;
    struct err e = {0};
    struct device_binary b;
    struct device_source src = {.text = "__kernel void f(__global int *p) { p[0] = surely_unknown; }", .entry = "f"};
    assert_int_equal(drv->compile(&f->target, &src, &b, &e), DEVICE_FATE);
    assert_non_null(strstr(buf_text(&b.log), "surely_unknown"));
    binary_free(&b);
    src = (struct device_source){.text = "__kernel void f(__global int *p) { p[0] = 1; }", .entry = "g"};
    e = (struct err){0};
    assert_int_equal(drv->compile(&f->target, &src, &b, &e), DEVICE_FATE);
    assert_non_null(strstr(e.text, "entry"));
    binary_free(&b);
    /* options reach the compiler */
    const char *const options[] = {"-DANSWER=42", NULL};
    src = (struct device_source){
        .text = "__kernel void f(__global int *p) { p[0] = ANSWER; }", .entry = "f", .options = options};
    e = (struct err){0};
    ok(drv->compile(&f->target, &src, &b, &e), &e);
    assert_true(b.image.n > 0);
    binary_free(&b);
}

static void test_digest_and_resources(void **state)
{
    const struct fixture *f = *state;
    static const char body[] =
        "__kernel __attribute__((reqd_work_group_size(8, 1, 1))) void f(__global int *p)\n"
        "{ __local int t[64]; t[get_local_id(0)] = p[0] * FACTOR; barrier(CLK_LOCAL_MEM_FENCE);\n"
        "  p[get_global_id(0)] = t[7 - get_local_id(0)]; }\n";
    static const char *const heads[] = {"#define FACTOR 3\n", "#define DEAD 7\n#define FACTOR 3\n",
                                        "#define FACTOR 5\n"};
    char digest[3][65];
    for (int i = 0; i < 3; i++) {
        struct buf text = {0};
        buf_puts(&text, heads[i]);
        buf_puts(&text, body);
        struct device_binary b = compiled(f, buf_text(&text), "f");
        memcpy(digest[i], b.code_digest, sizeof digest[i]);
        assert_true(b.res.shared_static_bytes >= 256);
        assert_int_equal(b.res.registers, -1);
        /* PoCL: the code for the kernel's own local size is in the binary, so that no launch compiles. */
        if (strstr(f->target.compiler, "PoCL"))
            assert_non_null(memmem(b.image.p, b.image.n, "8-1-1-goffs0-smallgrid", 22));
        binary_free(&b);
        buf_free(&text);
    }
    if (digest[0][0] == 0) return; /* a driver whose binaries are opaque */
    assert_string_equal(digest[0], digest[1]);
    assert_string_not_equal(digest[0], digest[2]);
}

static void test_load_errors(void **state)
{
    const struct fixture *f = *state;
    struct err e = {0};
    struct device_kernel *k;
    struct launch l = {.entry = "f", .grid = {1, 1, 1}, .block = {1, 1, 1}, .nargs = 2, .args = {ARG_Q, ARG_O}};
    assert_int_equal(drv->load(f->dev, "not a program", 13, &l, &k, &e), DEVICE_FATE);
    assert_null(k);
    struct device_binary b = compiled(f, "__kernel void f(__global int *p) { p[0] = 1; }", "f");
    e = (struct err){0};
    assert_int_equal(drv->load(f->dev, b.image.p, b.image.n, &l, &k, &e), DEVICE_FATE);
    assert_non_null(strstr(e.text, "takes 1 arguments"));
    binary_free(&b);
    e = (struct err){0};
    ok(drv->canary(f->dev, &e), &e);
}

static void test_buffers(void **state)
{
    const struct fixture *f = *state;
    struct err e = {0};
    struct device_buffer *b = allocated(f, 4096);
    uint32_t got[1024], part[4] = {1, 2, 3, 4};
    ok(drv->fill(f->dev, b, 0, 4096, 0x7fc00001u, &e), &e);
    ok(drv->fill(f->dev, b, 1024, 8, 5, &e), &e);
    ok(drv->fill(f->dev, b, 4096, 0, 9, &e), &e);
    ok(drv->write(f->dev, b, 2048, part, sizeof part, &e), &e);
    ok(drv->read(f->dev, b, 0, got, sizeof got, &e), &e);
    for (size_t i = 0; i < 1024; i++) {
        uint32_t want = i == 256 || i == 257 ? 5 : i >= 512 && i < 516 ? (uint32_t)(i - 511) : 0x7fc00001u;
        assert_int_equal(got[i], want);
    }
    ok(drv->read(f->dev, b, 2052, part, 4, &e), &e);
    assert_int_equal(part[0], 2);
    assert_int_equal(drv->read(f->dev, b, 4096, part, 4, &e), DEVICE_FATE); /* outside */
    drv->free(f->dev, b);
    drv->free(f->dev, NULL);
    e = (struct err){0};
    assert_int_not_equal(drv->alloc(f->dev, (size_t)1 << 50, &b, &e), DEVICE_OK);
    assert_null(b);
    assert_non_null(strstr(e.text, "1125899906842624 bytes"));
}

static const char add_source[] = "__kernel void add(__global const uint *q, __global uint *o)\n"
                                 "{ o[get_global_id(0)] += q[get_global_id(0)] + get_num_groups(0); }\n";

static void test_offsets(void **state)
{
    const struct fixture *f = *state;
    struct err e = {0};
    const struct launch g = {
        .entry = "add", .grid = {4, 1, 1}, .block = {16, 1, 1}, .nargs = 2, .args = {ARG_Q, ARG_O}};
    struct device_kernel *k = loaded(f, add_source, &g);
    struct device_buffer *b = allocated(f, 8192);
    struct device_launch l = {.kernel = k, .geometry = &g, .args = {{b, 1024}, {b, 2048}}};
    uint32_t all[2048];
    for (uint32_t i = 0; i < 2048; i++)
        all[i] = 1000 * i;
    ok(drv->write(f->dev, b, 0, all, sizeof all, &e), &e);
    for (int i = 0; i < 3; i++) /* the sub-buffers are used again */
        ok(drv->run(f->dev, &l, &e), &e);
    l.args[1].offset = 4096;
    ok(drv->run(f->dev, &l, &e), &e);
    ok(drv->read(f->dev, b, 0, all, sizeof all, &e), &e);
    for (uint32_t i = 0; i < 2048; i++) {
        uint32_t times = i >= 512 && i < 576 ? 3 : i >= 1024 && i < 1088 ? 1 : 0, at = i >= 1024 ? i - 1024 : i - 512;
        assert_int_equal(all[i], 1000 * i + times * (1000 * (at + 256) + 4));
    }
    l.args[1].offset = 8192; /* behind the end */
    assert_int_equal(drv->run(f->dev, &l, &e), DEVICE_LOST);
    assert_non_null(strstr(e.text, "bug in fatune"));
    drv->unload(f->dev, k);
    drv->free(f->dev, b);
}

static void test_launch_errors(void **state)
{
    const struct fixture *f = *state;
    struct err e = {0};
    struct launch g = {.entry = "add", .grid = {1, 1, 1}, .nargs = 2, .args = {ARG_Q, ARG_O}};
    g.block[0] = 2 * f->target.threads_block;
    g.block[1] = g.block[2] = 1;
    struct device_kernel *k = loaded(f, add_source, &g);
    struct device_buffer *b = allocated(f, 64 * (size_t)f->target.threads_block);
    struct device_launch l = {.kernel = k, .geometry = &g, .args = {{b, 0}, {b, 0}}};
    assert_int_equal(drv->run(f->dev, &l, &e), DEVICE_FATE);
    assert_non_null(strstr(e.text, "CL_INVALID_WORK_"));
    struct device_batch *batch;
    double us = -1, mhz = -1;
    e = (struct err){0};
    ok(drv->batch_open(f->dev, &l, 1, 3, &batch, &e), &e);
    assert_int_equal(drv->batch_run(f->dev, batch, &us, &mhz, &e), DEVICE_FATE);
    drv->batch_close(f->dev, batch);
    g.block[0] = 1;
    g.shared_bytes = 128;
    e = (struct err){0};
    assert_int_equal(drv->run(f->dev, &l, &e), DEVICE_FATE);
    assert_non_null(strstr(e.text, "launch.shared"));
    e = (struct err){0};
    assert_int_equal(drv->batch_open(f->dev, &l, 1, 0, &batch, &e), DEVICE_FATE);
    drv->unload(f->dev, k);
    drv->free(f->dev, b);
    e = (struct err){0};
    ok(drv->canary(f->dev, &e), &e);
    ok(drv->canary(f->dev, &e), &e);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* 7 launches over 3 argument sets run 3, 2 and 2 times; the time is positive and no longer than the host saw. */
static void test_batch(void **state)
{
    const struct fixture *f = *state;
    struct err e = {0};
    const struct launch g = {
        .entry = "add", .grid = {4, 1, 1}, .block = {16, 1, 1}, .nargs = 2, .args = {ARG_Q, ARG_O}};
    struct device_kernel *k = loaded(f, add_source, &g);
    struct device_buffer *b = allocated(f, 4096);
    struct device_launch l[3];
    struct device_batch *batch;
    uint32_t all[1024];
    double us = -1, mhz = -1;
    ok(drv->fill(f->dev, b, 0, 4096, 0, &e), &e);
    for (size_t i = 0; i < 3; i++)
        l[i] = (struct device_launch){.kernel = k, .geometry = &g, .args = {{b, 0}, {b, 1024 * (i + 1)}}};
    ok(drv->batch_open(f->dev, l, 3, 7, &batch, &e), &e);
    for (int i = 0; i < 2; i++) {
        const double t0 = now_us();
        ok(drv->batch_run(f->dev, batch, &us, &mhz, &e), &e);
        assert_true(us > 0 && us <= now_us() - t0 + 1);
        assert_true(mhz == 0); /* OpenCL does not say */
    }
    ok(drv->read(f->dev, b, 0, all, sizeof all, &e), &e);
    static const uint32_t times[4] = {0, 6, 4, 4};
    for (uint32_t i = 0; i < 1024; i++)
        assert_int_equal(all[i], i % 256 < 64 ? 4 * times[i / 256] : 0);
    drv->batch_close(f->dev, batch);
    drv->batch_close(f->dev, NULL);
    drv->unload(f->dev, k);
    drv->free(f->dev, b);
}

/* Twice the work takes about twice the time: the clock measures the kernels and not the call. */
static void test_batch_clock(void **state)
{
    const struct fixture *f = *state;
    struct err e = {0};
    static const char text[] =
        "__kernel void spin(__global uint *o)\n"
        "{ uint x = get_global_id(0); for (int i = 0; i < 200000; i++) x = x * 1664525u + (x >> 7);\n"
        "  o[get_global_id(0)] = x; }\n";
    const struct launch g = {.entry = "spin", .grid = {8, 1, 1}, .block = {1, 1, 1}, .nargs = 1, .args = {ARG_O}};
    struct device_kernel *k = loaded(f, text, &g);
    struct device_buffer *b = allocated(f, 256);
    const struct device_launch l = {.kernel = k, .geometry = &g, .args = {{b, 0}}};
    double best[2] = {INFINITY, INFINITY};
    for (int i = 0; i < 2; i++) {
        struct device_batch *batch;
        ok(drv->batch_open(f->dev, &l, 1, i == 0 ? 2 : 16, &batch, &e), &e);
        for (int r = 0; r < 9; r++) {
            double us, mhz;
            ok(drv->batch_run(f->dev, batch, &us, &mhz, &e), &e);
            best[i] = fmin(best[i], us);
        }
        drv->batch_close(f->dev, batch);
    }
    assert_true(best[1] > 3 * best[0] && best[1] < 20 * best[0]); /* 8 times, on a machine that may be busy */
    drv->unload(f->dev, k);
    drv->free(f->dev, b);
}

/* ------------------------------------------------------------------ the templates */

static uint16_t encode(enum dtype t, double x)
{
    const uint16_t sign = signbit(x) ? 0x8000u : 0;
    if (t == DTYPE_BF16) {
        const float y = (float)x;
        uint32_t u;
        memcpy(&u, &y, sizeof u);
        return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
    if (x == 0) return sign;
    const int e = ilogb(x) < -14 ? -14 : ilogb(x);
    const int m =
        (int)nearbyint(ldexp(fabs(x), 10 - e)); /* below 1024 for subnormals; a carry moves into the exponent */
    return (uint16_t)(sign + ((e + 14) << 10) + m);
}

static double decode(enum dtype t, uint16_t h)
{
    const int e = (h >> 10) & 31, m = h & 1023;
    if (t == DTYPE_BF16) {
        const uint32_t u = (uint32_t)h << 16;
        float y;
        memcpy(&y, &u, sizeof y);
        return (double)y;
    }
    const double x = e == 31 ? (m ? (double)NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return h & 0x8000 ? -x : x;
}

struct shape {
    struct problem p;
    double
        q_size;   /* inputs are uniform in +-q_size (q), +-1 (k, v); 0: equal weights over two adjacent values, a tie */
    int point[6]; /* BLOCK_M BLOCK_N VEC REGS UNROLL KV_F32 of fa_opencl */
};

struct tensors {
    uint16_t *in[3];       /* q k v */
    double *o, *lse, *low; /* low: logits and probabilities rounded to the dtype */
};

static void host_row(const struct problem *p, const struct tensors *t, size_t row, double *s)
{
    const size_t d = (size_t)p->head_dim, head = row / (size_t)p->seq_q, h = head % (size_t)p->heads;
    const size_t kv = head / (size_t)p->heads * (size_t)p->kv_heads + h / (size_t)(p->heads / p->kv_heads);
    const uint16_t *q = t->in[0] + row * d, *k = t->in[1] + kv * (size_t)p->seq_kv * d;
    const uint16_t *v = t->in[2] + kv * (size_t)p->seq_kv * d;
    const int i = (int)(row % (size_t)p->seq_q), last = i + p->seq_kv - p->seq_q + 1;
    const int n = p->mask == MASK_CAUSAL ? (last < 0 ? 0 : last > p->seq_kv ? p->seq_kv : last) : p->seq_kv;
    for (int low = 0; low < 2; low++) {
        double top = -INFINITY, sum = 0, *o = (low ? t->low : t->o) + row * d;
        for (int j = 0; j < n; j++) {
            s[j] = 0;
            for (size_t c = 0; c < d; c++)
                s[j] += decode(p->dtype, q[c]) * decode(p->dtype, k[(size_t)j * d + c]);
            s[j] *= p->scale;
            if (low) s[j] = decode(p->dtype, encode(p->dtype, s[j]));
            top = fmax(top, s[j]);
        }
        for (int j = 0; j < n; j++)
            sum += exp(s[j] - top);
        for (size_t c = 0; c < d; c++) {
            o[c] = 0;
            for (int j = 0; j < n; j++) {
                double w = exp(s[j] - top) / sum;
                if (low) w = decode(p->dtype, encode(p->dtype, w));
                o[c] += w * decode(p->dtype, v[(size_t)j * d + c]);
            }
            if (low) o[c] = decode(p->dtype, encode(p->dtype, o[c]));
        }
        if (!low) t->lse[row] = n > 0 ? top + log(sum) : -INFINITY;
    }
}

static struct tensors host_tensors(const struct shape *s)
{
    const struct problem *p = &s->p;
    struct tensors t = {0};
    const size_t nq = problem_q_elements(p), nkv = problem_kv_elements(p), rows = problem_rows(p);
    uint64_t x = 88172645463325252u;
    for (int i = 0; i < 3; i++) {
        const size_t n = i == 0 ? nq : nkv;
        t.in[i] = malloc(n * sizeof *t.in[i]);
        assert_non_null(t.in[i]);
        for (size_t j = 0; j < n; j++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            const double u = (double)(x >> 11) / 4503599627370496.0 - 1;
            t.in[i][j] = encode(p->dtype, i == 0 ? u * s->q_size : u);
        }
    }
    for (size_t i = 0; s->q_size == 0 && i < nkv; i++)
        if (i / (size_t)p->head_dim % 2 == 1) t.in[2][i] = (uint16_t)(t.in[2][i - (size_t)p->head_dim] + 1);
    t.o = calloc(nq, sizeof *t.o);
    t.low = calloc(nq, sizeof *t.low);
    t.lse = calloc(rows, sizeof *t.lse);
    double *row = calloc((size_t)p->seq_kv, sizeof *row);
    assert_true(t.o && t.low && t.lse && row);
    for (size_t i = 0; i < rows; i++)
        host_row(p, &t, i, row);
    free(row);
    return t;
}

static void tensors_free(struct tensors *t)
{
    for (int i = 0; i < 3; i++)
        free(t->in[i]);
    free(t->o);
    free(t->low);
    free(t->lse);
}

/* The macros that every template gets (kernel_templates/README.md), then the kernel file. */
static void render(struct buf *out, const struct shape *s, const char *file)
{
    static const char *const names[6] = {"BLOCK_M", "BLOCK_N", "VEC", "REGS", "UNROLL", "KV_F32"};
    const struct problem *p = &s->p;
    struct buf body = {0};
    struct err e = {0};
    buf_printf(out, "#define BATCH %d\n#define HEADS %d\n#define KV_HEADS %d\n#define SEQ_Q %d\n#define SEQ_KV %d\n",
               p->batch, p->heads, p->kv_heads, p->seq_q, p->seq_kv);
    buf_printf(out, "#define HEAD_DIM %d\n#define CAUSAL %d\n#define DTYPE_BF16 %d\n#define WRITE_LSE %d\n",
               p->head_dim, p->mask == MASK_CAUSAL, p->dtype == DTYPE_BF16, p->lse);
    buf_printf(out, "#define SCALE %.9ef\n", p->scale);
    for (int i = 0; i < 6; i++)
        buf_printf(out, "#define %s %d\n", names[i], s->point[i]);
    if (buf_read_file(&body, file, 1 << 20, ERR_INPUT, &e) != 0) fail_msg("%s", e.text);
    buf_add(out, body.p, body.n);
    buf_free(&body);
}

struct outputs {
    void *bytes[ARG_N]; /* the tensor of each argument */
};

/* A tensor of n bytes at offset GUARD of a buffer filled with NaN. */
static struct device_arg guarded(const struct fixture *f, const void *bytes, size_t n)
{
    struct err e = {0};
    const size_t all = 2 * GUARD + (n + 3) / 4 * 4;
    struct device_buffer *b = allocated(f, all);
    ok(drv->fill(f->dev, b, 0, all, 0x7fff7fffu, &e), &e);
    if (bytes) ok(drv->write(f->dev, b, GUARD, bytes, n, &e), &e);
    return (struct device_arg){b, GUARD};
}

/* The tensor; fails when the words around it were written. */
static void *unguarded(const struct fixture *f, struct device_arg a, size_t n)
{
    struct err e = {0};
    const size_t all = 2 * GUARD + (n + 3) / 4 * 4;
    unsigned char *raw = malloc(all), *out = malloc(n);
    assert_true(raw && out);
    ok(drv->read(f->dev, a.buffer, 0, raw, all, &e), &e);
    for (size_t i = 0; i < all; i++)
        if (i < GUARD || i >= GUARD + n) assert_int_equal(raw[i], i % 2 ? 0x7f : 0xff);
    memcpy(out, raw + GUARD, n);
    free(raw);
    return out;
}

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
        return 4 * problem_rows(p);
    default:
        return 4 * problem_q_elements(p);
    }
}

/* Compiles, loads and runs twice; the bits of both runs must agree. */
static struct outputs run_template(const struct fixture *f, const struct shape *s, const char *file,
                                   const struct launch *g, const struct tensors *t)
{
    struct err e = {0};
    struct buf text = {0};
    struct outputs first = {0}, second = {0};
    render(&text, s, file);
    struct device_kernel *k = loaded(f, buf_text(&text), g);
    for (int run = 0; run < 2; run++) {
        struct outputs *o = run ? &second : &first;
        struct device_launch l = {.kernel = k, .geometry = g};
        for (int i = 0; i < g->nargs; i++)
            l.args[i] = guarded(f, g->args[i] <= ARG_V ? t->in[g->args[i]] : NULL, arg_bytes(&s->p, g->args[i]));
        ok(drv->run(f->dev, &l, &e), &e);
        for (int i = 0; i < g->nargs; i++) {
            o->bytes[g->args[i]] = unguarded(f, l.args[i], arg_bytes(&s->p, g->args[i]));
            drv->free(f->dev, l.args[i].buffer);
        }
    }
    for (int a = 0; a < ARG_N; a++) {
        if (!first.bytes[a]) continue;
        assert_true(memcmp(first.bytes[a], second.bytes[a], arg_bytes(&s->p, (enum arg)a)) == 0);
        free(second.bytes[a]);
    }
    drv->unload(f->dev, k);
    buf_free(&text);
    return first;
}

static void outputs_free(struct outputs *o)
{
    for (int a = 0; a < ARG_N; a++)
        free(o->bytes[a]);
}

static void close_to(const char *what, size_t i, double got, double want, double abs_tol, double rel_tol)
{
    if (got == want) return; /* infinities */
    if (!(fabs(got - want) <= abs_tol + rel_tol * fabs(want)))
        fail_msg("%s[%zu] is %.9g, should be %.9g", what, i, got, want);
}

static void check_fa(const struct fixture *f, const struct shape *s)
{
    const struct problem *p = &s->p;
    struct launch g = {.entry = "attention_forward", .nargs = 5, .args = {ARG_Q, ARG_K, ARG_V, ARG_O, ARG_LSE}};
    g.grid[0] = (p->seq_q + s->point[0] - 1) / s->point[0];
    g.grid[1] = p->heads;
    g.grid[2] = p->batch;
    g.block[0] = s->point[0] / s->point[2];
    g.block[1] = g.block[2] = 1;
    struct tensors t = host_tensors(s);
    struct outputs o = run_template(f, s, "kernel_templates/fa_opencl/kernel.cl", &g, &t);
    const double ulp = p->dtype == DTYPE_BF16 ? 0x1p-8 : 0x1p-11;
    /* An f32 logit of size x is off by x 2^-22 or so, and the weights by as much. */
    const double abs_tol = 1e-6 + 1e-6 * s->q_size * p->head_dim * p->scale;
    const uint16_t *got = o.bytes[ARG_O];
    const float *lse = o.bytes[ARG_LSE];
    for (size_t i = 0; i < problem_q_elements(p); i++) {
        close_to("o", i, decode(p->dtype, got[i]), t.o[i], abs_tol, 1.01 * ulp);
        if (s->q_size == 0) assert_int_equal(got[i], encode(p->dtype, t.o[i]));
    }
    for (size_t i = 0; i < problem_rows(p); i++) {
        uint32_t bits;
        memcpy(&bits, &lse[i], sizeof bits);
        if (p->lse)
            close_to("lse", i, (double)lse[i], t.lse[i], 1e-5, 2e-6);
        else
            assert_int_equal(bits, 0x7fff7fffu); /* not asked for, not touched */
    }
    outputs_free(&o);
    tensors_free(&t);
}

static void check_reference(const struct fixture *f, const struct shape *s)
{
    const struct problem *p = &s->p;
    struct launch g = {.entry = "attention_reference",
                       .block = {1, 1, 1},
                       .nargs = 6,
                       .args = {ARG_Q, ARG_K, ARG_V, ARG_REF_O, ARG_LSE, ARG_REF_LOW}};
    g.grid[0] = (p->seq_q + 15) / 16;
    g.grid[1] = p->heads;
    g.grid[2] = p->batch;
    struct tensors t = host_tensors(s);
    struct outputs o = run_template(f, s, "kernel_templates/reference_opencl/kernel.cl", &g, &t);
    const double ulp = p->dtype == DTYPE_BF16 ? 0x1p-8 : 0x1p-11, logit = s->q_size * p->head_dim * p->scale;
    const float *ref = o.bytes[ARG_REF_O], *low = o.bytes[ARG_REF_LOW], *lse = o.bytes[ARG_LSE];
    double off_host = 0, off_ref = 0;
    for (size_t i = 0; i < problem_q_elements(p); i++) {
        close_to("ref_o", i, (double)ref[i], t.o[i], 1e-6 + 1e-6 * logit, 2e-6);
        /* Two roundings of one logit may fall apart by an ulp of it; none of the two is wrong. */
        close_to("ref_low", i, (double)low[i], t.low[i], 2 * ulp * (1 + logit / 8), 2 * ulp);
        assert_true((double)low[i] == decode(p->dtype, encode(p->dtype, (double)low[i])));
        if (s->q_size == 0) assert_true((double)low[i] == t.low[i]);
        off_host = fmax(off_host, fabs(t.low[i] - t.o[i]));
        off_ref = fmax(off_ref, fabs((double)low[i] - (double)ref[i]));
    }
    /* The error of the straightforward computation, the yardstick of the check, is the host's. */
    assert_true(off_ref <= 1.5 * off_host + 1e-6 && off_host <= 1.5 * off_ref + 1e-6);
    for (size_t i = 0; i < problem_rows(p) && p->lse; i++)
        close_to("lse", i, (double)lse[i], t.lse[i], 1e-5, 2e-6);
    outputs_free(&o);
    tensors_free(&t);
}

#define F16 DTYPE_F16
#define BF16 DTYPE_BF16
/* batch heads kv_heads seq_q seq_kv head_dim dtype mask scale lse */
static const struct shape shapes[] = {
    {{1, 2, 2, 64, 64, 64, F16, MASK_NONE, 0.125, true}, 2, {32, 16, 8, 8, 2, 1}}, /* the defaults */
    {{2, 4, 2, 33, 47, 32, F16, MASK_NONE, 0.2, false}, 2, {16, 16, 4, 16, 1, 1}},
    {{1, 2, 1, 129, 127, 64, BF16, MASK_NONE, 0.125, true}, 2, {64, 64, 16, 16, 2, 0}},
    {{1, 3, 1, 65, 65, 48, F16, MASK_CAUSAL, 0.15, true}, 2, {64, 32, 8, 8, 1, 1}},
    {{1, 2, 2, 70, 37, 80, BF16, MASK_CAUSAL, 0.11, true}, 2, {32, 64, 4, 8, 2, 0}}, /* rows that see no key */
    {{1, 1, 1, 5, 131, 128, F16, MASK_CAUSAL, 0.09, true}, 2, {64, 64, 1, 8, 2, 0}}, /* more keys than queries */
    {{1, 2, 2, 130, 130, 64, F16, MASK_CAUSAL, 0.125, true}, 2, {128, 32, 16, 8, 2, 1}},
    {{1, 1, 1, 1, 1, 16, BF16, MASK_NONE, 1, true}, 2, {128, 16, 1, 16, 2, 1}},
    {{1, 1, 1, 40, 72, 64, F16, MASK_NONE, 1, true}, 600, {16, 32, 4, 8, 1, 1}}, /* logits of 1e4 */
    {{1, 1, 1, 4, 2, 64, F16, MASK_NONE, 1, true}, 0, {32, 16, 8, 8, 2, 1}},
    {{1, 1, 1, 4, 2, 64, BF16, MASK_NONE, 1, true}, 0, {32, 16, 8, 8, 2, 1}},
};

static void test_fa(void **state)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_fa(*state, &shapes[i]);
}

static void test_reference(void **state)
{
    struct shape wide = {{1, 1, 1, 19, 35, 256, F16, MASK_CAUSAL, 0.0625, true}, 2, {0}};
    check_reference(*state, &wide);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_reference(*state, &shapes[i]);
}

int main(void)
{
    const struct CMUnitTest pure[] = {cmocka_unit_test(test_classes), cmocka_unit_test(test_no_platform)};
    const struct CMUnitTest on_device[] = {
        cmocka_unit_test(test_enumerate),      cmocka_unit_test(test_no_such_device),
        cmocka_unit_test(test_compile_errors), cmocka_unit_test(test_digest_and_resources),
        cmocka_unit_test(test_load_errors),    cmocka_unit_test(test_buffers),
        cmocka_unit_test(test_offsets),        cmocka_unit_test(test_launch_errors),
        cmocka_unit_test(test_batch),          cmocka_unit_test(test_batch_clock),
        cmocka_unit_test(test_reference),      cmocka_unit_test(test_fa),
    };
    struct target t;
    struct buf note = {0};
    if (cmocka_run_group_tests_name("opencl classes", pure, NULL, NULL) != 0) return 1;
    const int n = drv->enumerate(&t, 1, &note);
    if (n == 0) printf("skipped: no OpenCL device\n%s", buf_text(&note));
    if (n == 0 && note.n == 0) return 1; /* what to install must be said */
    buf_free(&note);
    return n == 0 ? 77 : cmocka_run_group_tests_name("opencl device", on_device, setup, teardown);
}
