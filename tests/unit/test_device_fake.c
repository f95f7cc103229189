/* test_device_fake.c - the fake device keeps its manual's promises: conditions, identity of code, damaged images, classes
 * of errors, and times that depend on the parameters alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "check_host.h"
#include "device_fake.h"
#include "fake_attention.h"
#include "fake_code.h"

static const struct target target = {.driver = "fake", .memory_bytes = 1 << 20};

static char *source(int block_m, int warps, const char *body, char text[2048])
{
    snprintf(
        text, 2048,
        "#define BATCH 1\n#define HEADS 1\n#define KV_HEADS 1\n#define SEQ_Q 4\n#define SEQ_KV 4\n#define HEAD_DIM 4\n"
        "#define CAUSAL 0\n#define DTYPE_BF16 0\n#define WRITE_LSE 0\n#define SCALE 0.5f\n#define BLOCK_M %d\n"
        "#define WARPS (%d)\n#line 1 \"kernel.cu\"\n#ifndef BLOCK_M\n#define BLOCK_M 999\n#endif\n%s\n",
        block_m, warps, body);
    return text;
}

static enum device_class compile(int block_m, int warps, const char *body, struct device_binary *out)
{
    char text[2048];
    const struct device_source s = {.text = source(block_m, warps, body, text), .entry = "f"};
    struct err e = {0};
    return device_fake.compile(&target, &s, out, &e);
}

/* Does the marker's condition hold for BLOCK_M=32, WARPS=4? */
static void conditions(void **state)
{
    static const struct {
        const char *body;
        bool active;
    } rows[] = {{"// fake: wrong", true},
                {"x = 1; // fake: wrong when BLOCK_M=32", true},
                {"// fake: wrong when BLOCK_M=64", false},
                {"// fake: wrong when BLOCK_M=32 WARPS=4", true},
                {"// fake: wrong when BLOCK_M=32 WARPS=8", false},
                {"// fake: wrong when NOBODY=1", false},
                {"// fake: when BLOCK_M=64\n// fake: wrong", false},
                {"// fake: when BLOCK_M=64\n// fake: when\n// fake: wrong", true},
                {"// fake: when WARPS=4\n// fake: nan\n// fake: wrong", true},
                {"// wrong", false}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[2048];
        struct fake_code c;
        assert_int_equal(fake_code_parse(&c, source(32, 4, rows[i].body, text), "f", NULL), 0);
        assert_int_equal(fake_code_mark(&c, "wrong") != NULL, rows[i].active);
        assert_true(fake_code_def(&c, "BLOCK_M", 0) == 32 && fake_code_def(&c, "WARPS", 0) == 4);
    }
}

static void compile_faults(void **state)
{
    struct device_binary b = {0};
    (void)state;
    assert_int_equal(compile(32, 4, "// FAKE_COMPILE_ERROR", &b), DEVICE_FATE);
    assert_non_null(strstr(buf_text(&b.log), "error"));
    device_binary_free(&b);
    assert_int_equal(compile(32, 4, "// FAKE_COMPILE_ERROR when BLOCK_M=64", &b), DEVICE_OK);
    device_binary_free(&b);
    assert_int_equal(compile(64, 4, "// FAKE_COMPILE_ERROR when BLOCK_M=64", &b), DEVICE_FATE);
    device_binary_free(&b);
    assert_int_equal(compile(32, 4, "// fake: no_such_fault", &b), DEVICE_FATE);
    device_binary_free(&b);
}

/* The process of a kernel with this body ends by this signal. */
static int signal_of(const char *body, bool compile_only)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        struct device_binary b = {0};
        struct device *d = NULL;
        struct device_kernel *k = NULL;
        const struct launch l = {.entry = "f"};
        alarm(1); /* ends a hang */
        if (compile(32, 4, body, &b) != DEVICE_OK || compile_only) _exit(1);
        if (device_fake.open(&d, &target, NULL) != DEVICE_OK) _exit(2);
        if (device_fake.load(d, b.image.p, b.image.n, &l, &k, NULL) != DEVICE_OK) _exit(3);
        const struct device_launch go = {.kernel = k, .geometry = &l};
        device_fake.run(d, &go, NULL);
        _exit(4);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void crashes_and_hangs(void **state)
{
    (void)state;
    assert_int_equal(signal_of("// FAKE_COMPILE_CRASH", true), SIGABRT);
    assert_int_equal(signal_of("// FAKE_COMPILE_HANG", true), SIGALRM);
    assert_int_equal(signal_of("// fake: segv", false), SIGSEGV);
    assert_int_equal(signal_of("// fake: hang", false), SIGALRM);
}

/* A dead parameter changes neither digest nor time; a living one changes both; so does the kernel's text. */
static void identity(void **state)
{
    struct device_binary a = {0}, b = {0};
    (void)state;
    assert_int_equal(compile(32, 4, "// fake: dead WARPS", &a), DEVICE_OK);
    assert_int_equal(compile(32, 8, "// fake: dead WARPS", &b), DEVICE_OK);
    assert_string_equal(a.code_digest, b.code_digest);
    assert_true(device_fake_true_us(a.image.p, a.image.n) == device_fake_true_us(b.image.p, b.image.n));
    device_binary_free(&b);
    assert_int_equal(compile(64, 4, "// fake: dead WARPS", &b), DEVICE_OK);
    assert_string_not_equal(a.code_digest, b.code_digest);
    assert_true(device_fake_true_us(a.image.p, a.image.n) != device_fake_true_us(b.image.p, b.image.n));
    device_binary_free(&b);
    assert_int_equal(compile(32, 4, "// fake: dead WARPS\n// another kernel", &b), DEVICE_OK);
    assert_string_not_equal(a.code_digest, b.code_digest);
    device_binary_free(&b);
    device_binary_free(&a);
}

/* An image with any byte changed, or cut anywhere, is refused as the candidate's fault. */
static void damaged_images(void **state)
{
    struct device_binary b = {0};
    struct device *d = NULL;
    const struct launch l = {.entry = "f"};
    (void)state;
    assert_int_equal(compile(32, 4, "", &b), DEVICE_OK);
    assert_int_equal(device_fake.open(&d, &target, NULL), DEVICE_OK);
    for (size_t i = 0; i < 2 * b.image.n; i++) {
        struct device_kernel *k = NULL;
        char *copy = malloc(b.image.n);
        size_t n = i < b.image.n ? b.image.n : i - b.image.n;
        assert_non_null(copy);
        memcpy(copy, b.image.p, b.image.n);
        /* the last line's own words are not covered by its digest */
        bool covered = i < b.image.n - 69 || i >= b.image.n;
        if (i < b.image.n) copy[i] ^= 1;
        if (covered) assert_int_equal(device_fake.load(d, copy, n, &l, &k, NULL), DEVICE_FATE);
        free(copy);
    }
    device_fake.close(d);
    device_binary_free(&b);
}

/* The host's attention agrees with the f64 row, in odd sizes, with the mask and groups. */
static void attention_is_right(void **state)
{
    static const int sizes[][3] = {{1, 1, 1}, {5, 3, 7}, {9, 17, 16}, {33, 30, 12}};
    float *decode = check_decode_table(DTYPE_F16);
    (void)state;
    assert_non_null(decode);
    for (size_t i = 0; i < 8; i++) {
        const struct problem p = {.batch = 2,
                                  .heads = 4,
                                  .kv_heads = 2,
                                  .seq_q = sizes[i / 2][0],
                                  .seq_kv = sizes[i / 2][1],
                                  .head_dim = sizes[i / 2][2],
                                  .mask = i % 2 == 1 ? MASK_CAUSAL : MASK_NONE,
                                  .scale = 0.3};
        const struct fake_attention how = {.subtract_maximum = true, .scale = p.scale};
        size_t nq = problem_q_elements(&p), nkv = problem_kv_elements(&p), rows = problem_rows(&p);
        uint16_t *q = malloc(2 * nq), *k = malloc(2 * nkv), *v = malloc(2 * nkv);
        float *o = malloc(4 * nq), *lse = malloc(4 * rows);
        assert_true(q != NULL && k != NULL && v != NULL && o != NULL && lse != NULL);
        for (size_t j = 0; j < nq; j++)
            q[j] = check_encode(DTYPE_F16, sin((double)j));
        for (size_t j = 0; j < nkv; j++) {
            k[j] = check_encode(DTYPE_F16, 2 * cos(1.7 * (double)j));
            v[j] = check_encode(DTYPE_F16, sin(2.3 * (double)j));
        }
        assert_int_equal(fake_attention(&p, &how, q, k, v, decode, o, lse), 0);
        for (size_t r = 0; r < rows; r++) {
            double want[16], want_lse;
            check_row_f64(&p, q, k, v, r, want, &want_lse);
            for (size_t c = 0; c < (size_t)p.head_dim; c++)
                assert_true(fabs((double)o[r * (size_t)p.head_dim + c] - want[c]) < 1e-5);
            assert_true((double)lse[r] == want_lse || fabs((double)lse[r] - want_lse) < 1e-5);
        }
        free(q);
        free(k);
        free(v);
        free(o);
        free(lse);
    }
    free(decode);
}

/* Reads and writes beyond a buffer, and memory beyond the device's, are refused. */
static void memory_limits(void **state)
{
    struct device *d = NULL;
    struct device_buffer *a = NULL, *b = NULL;
    char bytes[64] = {0};
    (void)state;
    assert_int_equal(device_fake.open(&d, &target, NULL), DEVICE_OK);
    assert_int_equal(device_fake.alloc(d, 64, &a, NULL), DEVICE_OK);
    assert_int_equal(device_fake.write(d, a, 0, bytes, 64, NULL), DEVICE_OK);
    assert_int_equal(device_fake.write(d, a, 1, bytes, 64, NULL), DEVICE_FATE);
    assert_int_equal(device_fake.read(d, a, 65, bytes, 0, NULL), DEVICE_FATE);
    assert_int_equal(device_fake.fill(d, a, 2, 4, 0, NULL), DEVICE_FATE);
    assert_int_equal(device_fake.alloc(d, 1 << 20, &b, NULL), DEVICE_FATE);
    assert_int_equal(device_fake.canary(d, NULL), DEVICE_OK);
    device_fake.free(d, a);
    assert_int_equal(device_fake.alloc(d, 1 << 20, &b, NULL), DEVICE_OK);
    device_fake.free(d, b);
    device_fake.close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions),    cmocka_unit_test(compile_faults), cmocka_unit_test(crashes_and_hangs),
        cmocka_unit_test(identity),      cmocka_unit_test(damaged_images), cmocka_unit_test(attention_is_right),
        cmocka_unit_test(memory_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
