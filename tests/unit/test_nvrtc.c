/* Compiles through the CUDA driver's compile() on a machine that needs no GPU: what the log, PTX and cubin tell, and that
 * the code digest sees code and nothing else. Skipped (77) when NVRTC is not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_code.h"
#include "device.h"
#include "digest.h"
#include "hopper_source.h"

static const struct device_driver *driver;

static enum device_class compile(const char *arch, const char *text, const char *entry, const char *const *options,
                                 struct device_binary *out, struct err *e)
{
    struct target t;
    struct err mine = {0};
    if (driver->arch_target(&t, arch, &mine) != 0) {
        t = (struct target){.index = -1}; /* for architectures that do not exist */
        snprintf(t.arch, sizeof t.arch, "%s", arch);
    }
    struct device_source src = {.text = text, .entry = entry, .options = options};
    return driver->compile(&t, &src, out, e);
}

/* Compiles what must compile and returns its digest. */
static void digest_of(char out[DIGEST_HEX], const char *arch, const char *text, const char *entry)
{
    struct device_binary b;
    struct err e = {0};
    enum device_class class = compile(arch, text, entry, NULL, &b, &e);
    if (class != DEVICE_OK) print_error("%s\n%s\n", e.text, buf_text(&b.log));
    assert_int_equal(class, DEVICE_OK);
    assert_int_equal(strlen(b.code_digest), 64);
    memcpy(out, b.code_digest, DIGEST_HEX);
    device_binary_free(&b);
}

static const char scale_source[] =
    "extern \"C\" __global__ void __launch_bounds__(256) scale(float *o, const float *q)\n"
    "{\n"
    "    __shared__ float s[256];\n"
    "    int i = threadIdx.x;\n"
    "    s[i] = q[i];\n"
    "    __syncthreads();\n"
    "    o[i] = 3.0f * s[i ^ 1];\n"
    "}\n";

static void resources_and_ptx(void **state)
{
    static const char *const archs[] = {"sm_80", "sm_89", "sm_90a"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct device_binary b;
        struct err e = {0};
        assert_int_equal(compile(archs[i], scale_source, "scale", NULL, &b, &e), DEVICE_OK);
        assert_true(b.res.registers > 2 && b.res.registers < 64);
        assert_int_equal(b.res.shared_static_bytes, 1024);
        assert_int_equal(b.res.stack_bytes, 0);
        assert_int_equal(b.res.spill_store_bytes, 0);
        assert_int_equal(b.res.spill_load_bytes, 0);
        assert_int_equal(b.res.barriers, 1);
        assert_int_equal(b.res.tensor_ops, 0);
        assert_non_null(strstr(buf_text(&b.log), "Compiling entry function 'scale'"));
        assert_non_null(strstr(buf_text(&b.ptx), ".entry scale"));
        assert_non_null(strstr(buf_text(&b.ptx), archs[i]));
        assert_true(cuda_code_image_ok(b.image.p, b.image.n));
        assert_true(cuda_code_has_kernel(b.image.p, b.image.n, "scale"));
        assert_false(cuda_code_has_kernel(b.image.p, b.image.n, "scal"));
        assert_int_equal(e.code, ERR_OK);
        device_binary_free(&b);
    }
}

static void spills_are_seen(void **state)
{
    static const char source[] =
        "extern \"C\" __global__ void spill(float *o, const float *q)\n"
        "{\n"
        "    float a[120];\n"
        "    #pragma unroll\n"
        "    for (int i = 0; i < 120; i++) a[i] = q[i * 128 + threadIdx.x];\n"
        "    __syncthreads();\n"
        "    #pragma unroll\n"
        "    for (int i = 0; i < 120; i++) o[i * 128 + threadIdx.x] = a[i] * a[(i * 7) % 120];\n"
        "}\n";
    static const char *const few[] = {"--maxrregcount=32", NULL};
    struct device_binary b;
    struct err e = {0};
    (void)state;
    assert_int_equal(compile("sm_80", source, "spill", few, &b, &e), DEVICE_OK);
    assert_true(b.res.registers > 0 && b.res.registers <= 32);
    assert_true(b.res.spill_store_bytes > 0 && b.res.spill_load_bytes > 0 && b.res.stack_bytes > 0);
    device_binary_free(&b);
}

static void tensor_ops_are_counted(void **state)
{
    static const char source[] = "extern \"C\" __global__ void tensor(float *o, const unsigned *q)\n"
                                 "{\n"
                                 "    float c[4] = {0, 0, 0, 0};\n"
                                 "    unsigned a0 = q[0], a1 = q[1], a2 = q[2], a3 = q[3], b0 = q[4], b1 = q[5];\n"
                                 "#define STEP asm volatile(\"/* not an mma.sync.fake */ "
                                 "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 \" \\\n"
                                 "        \"{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\" \\\n"
                                 "        : \"+f\"(c[0]), \"+f\"(c[1]), \"+f\"(c[2]), \"+f\"(c[3]) \\\n"
                                 "        : \"r\"(a0), \"r\"(a1), \"r\"(a2), \"r\"(a3), \"r\"(b0), \"r\"(b1));\n"
                                 "    STEP STEP STEP\n"
                                 "    o[threadIdx.x] = c[0] + c[1] + c[2] + c[3];\n"
                                 "}\n";
    struct device_binary b;
    struct err e = {0};
    (void)state;
    assert_int_equal(compile("sm_80", source, "tensor", NULL, &b, &e), DEVICE_OK);
    assert_int_equal(b.res.tensor_ops, 3);
    device_binary_free(&b);
}

static void hopper_kernels_compile(void **state)
{
    static const char *const entries[] = {"boxes", "ranks"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char digest[DIGEST_HEX];
        digest_of(digest, "sm_90a", hopper_source, entries[i]);
    }
}

static void wgmma_is_counted(void **state)
{
    static const char source[] =
        "extern \"C\" __global__ void __launch_bounds__(128) group(float *o, unsigned long long a, unsigned long long "
        "b)\n"
        "{\n"
        "    float c[4] = {0, 0, 0, 0};\n"
        "    asm volatile(\"wgmma.fence.sync.aligned;\");\n"
        "    for (int i = 0; i < 2; i++)\n"
        "        asm volatile(\"wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%0,%1,%2,%3}, %4, %5, 1, 1, 1, 0, "
        "0;\"\n"
        "            : \"+f\"(c[0]), \"+f\"(c[1]), \"+f\"(c[2]), \"+f\"(c[3]) : \"l\"(a), \"l\"(b));\n"
        "    asm volatile(\"wgmma.commit_group.sync.aligned;\\nwgmma.wait_group.sync.aligned 0;\");\n"
        "    o[threadIdx.x] = c[0] + c[1] + c[2] + c[3];\n"
        "}\n";
    struct device_binary b;
    struct err e = {0};
    (void)state;
    assert_int_equal(compile("sm_90a", source, "group", NULL, &b, &e), DEVICE_OK);
    assert_int_equal(b.res.tensor_ops, 2); /* the loop is unrolled; fences and waits are none */
    device_binary_free(&b);
}

static void digest_ignores_names_and_layout(void **state)
{
    static const char *const same[][2] = {
        {"extern \"C\" __global__ void __launch_bounds__(256) another_name(float *o, const float *q)\n"
         "{ __shared__ float s[256]; int i = threadIdx.x; s[i] = q[i]; __syncthreads(); o[i] = 3.0f * s[i ^ 1]; }\n",
         "another_name"},
        {"/* a comment */\n#define UNUSED 7\n", "scale"},
        {"extern \"C\" __global__ void __launch_bounds__(256) k(float *out, const float *in)\n"
         "{\n\n   __shared__ float tile[256]; const int lane = threadIdx.x;\n tile[lane] = in[lane]; __syncthreads();\n"
         "   out[lane] = (1.0f + 2.0f) * tile[lane ^ 1]; }\n",
         "k"},
    };
    static const char *const archs[] = {"sm_80", "sm_90a", "sm_100a"};
    (void)state;
    for (size_t a = 0; a < 3; a++) {
        char first[DIGEST_HEX], other[DIGEST_HEX], text[4096];
        digest_of(first, archs[a], scale_source, "scale");
        for (size_t i = 0; i < 3; i++) {
            snprintf(text, sizeof text, "%s%s", same[i][0], i == 1 ? scale_source : "");
            digest_of(other, archs[a], text, same[i][1]);
            assert_string_equal(first, other);
        }
    }
}

static void digest_sees_code_and_resources(void **state)
{
    /* Each differs from scale_source in one thing: factor, shared size, launch bounds, order of parameters. */
    static const char *const others[] = {
        "extern \"C\" __global__ void __launch_bounds__(256) scale(float *o, const float *q)\n"
        "{ __shared__ float s[256]; int i = threadIdx.x; s[i] = q[i]; __syncthreads(); o[i] = 3.5f * s[i ^ 1]; }\n",
        "extern \"C\" __global__ void __launch_bounds__(256) scale(float *o, const float *q)\n"
        "{ __shared__ float s[260]; int i = threadIdx.x; s[i] = q[i]; __syncthreads(); o[i] = 3.0f * s[i ^ 1]; }\n",
        "extern \"C\" __global__ void __launch_bounds__(128) scale(float *o, const float *q)\n"
        "{ __shared__ float s[256]; int i = threadIdx.x; s[i] = q[i]; __syncthreads(); o[i] = 3.0f * s[i ^ 1]; }\n",
        "extern \"C\" __global__ void __launch_bounds__(256) scale(const float *q, float *o)\n"
        "{ __shared__ float s[256]; int i = threadIdx.x; s[i] = q[i]; __syncthreads(); o[i] = 3.0f * s[i ^ 1]; }\n",
    };
    char first[DIGEST_HEX], again[DIGEST_HEX], other[DIGEST_HEX];
    (void)state;
    digest_of(first, "sm_80", scale_source, "scale");
    digest_of(again, "sm_80", scale_source, "scale");
    assert_string_equal(first, again);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        digest_of(other, "sm_80", others[i], "scale");
        assert_string_not_equal(first, other);
    }
    digest_of(other, "sm_89", scale_source, "scale");
    assert_string_not_equal(first, other);
}

/* The same module launched at another entry is another candidate. */
static void digest_sees_the_entry(void **state)
{
    static const char two[] = "__constant__ float table[4] = {1, 2, 3, 4};\n"
                              "extern \"C\" __global__ void a(float *o) { o[threadIdx.x] = table[threadIdx.x & 3]; }\n"
                              "extern \"C\" __global__ void b(float *o) { o[threadIdx.x] = 5.0f; }\n";
    static const char swapped[] =
        "__constant__ float numbers[4] = {1, 2, 3, 4};\n"
        "extern \"C\" __global__ void y(float *o) { o[threadIdx.x] = 5.0f; }\n"
        "extern \"C\" __global__ void z(float *o) { o[threadIdx.x] = numbers[threadIdx.x & 3]; }\n";
    static const char constant[] =
        "__constant__ float table[4] = {1, 2, 3, 5};\n"
        "extern \"C\" __global__ void a(float *o) { o[threadIdx.x] = table[threadIdx.x & 3]; }\n"
        "extern \"C\" __global__ void b(float *o) { o[threadIdx.x] = 5.0f; }\n";
    char a[DIGEST_HEX], b[DIGEST_HEX], z[DIGEST_HEX], c[DIGEST_HEX];
    (void)state;
    digest_of(a, "sm_90a", two, "a");
    digest_of(b, "sm_90a", two, "b");
    digest_of(z, "sm_90a", swapped, "z");
    digest_of(c, "sm_90a", constant, "a");
    assert_string_not_equal(a, b);
    assert_string_equal(a, z);
    assert_string_not_equal(a, c);
}

static void expect_fate(const char *arch, const char *text, const char *entry, const char *const *options,
                        const char *says)
{
    struct device_binary b;
    struct err e = {0};
    assert_int_equal(compile(arch, text, entry, options, &b, &e), DEVICE_FATE);
    assert_int_equal(e.code, ERR_DEVICE);
    if (!strstr(e.text, says)) print_error("'%s' lacks '%s'\n", e.text, says);
    assert_non_null(strstr(e.text, says));
    device_binary_free(&b);
}

static void faults_of_the_source(void **state)
{
    static const char syntax[] = "extern \"C\" __global__ void k(float *o)\n{\n    o[0] = nonsense;\n}\n";
    static const char shared[] =
        "extern \"C\" __global__ void k(float *o)\n"
        "{ __shared__ float s[100000]; s[threadIdx.x] = o[1]; __syncthreads(); o[0] = s[o[2] > 0]; }\n";
    static const char regs[] = "extern \"C\" __global__ void k(float *o)\n"
                               "{ asm volatile(\"setmaxnreg.inc.sync.aligned.u32 240;\"); o[0] = 1; }\n";
    static const char bad_asm[] =
        "extern \"C\" __global__ void k(float *o) { asm volatile(\"frobnicate %r1;\"); o[0] = 1; }\n";
    static const char *const bad_option[] = {"--no-such-option", NULL};
    struct device_binary b;
    struct err e = {0};
    (void)state;
    assert_int_equal(compile("sm_80", syntax, "k", NULL, &b, &e), DEVICE_FATE);
    assert_non_null(strstr(buf_text(&b.log), "kernel.cu(3)"));
    assert_non_null(strstr(e.text, "nonsense"));
    assert_string_equal(b.code_digest, "");
    device_binary_free(&b);
    expect_fate("sm_80", shared, "k", NULL, "shared");
    expect_fate("sm_80", bad_asm, "k", NULL, "frobnicate");
    expect_fate("sm_80", scale_source, "scale", bad_option, "option");
    expect_fate("sm_80", scale_source, "missing", NULL, "missing");
    expect_fate("sm_90a", regs, "k", NULL, "C7508");
}

static void faults_of_the_machine(void **state)
{
    struct device_binary b;
    struct err e = {0};
    (void)state;
    assert_int_equal(compile("sm_999", scale_source, "scale", NULL, &b, &e), DEVICE_LOST);
    assert_non_null(strstr(e.text, "sm_999"));
    device_binary_free(&b);

    char *before = getenv("FATUNE_NVRTC") ? strdup(getenv("FATUNE_NVRTC")) : NULL;
    e = (struct err){0};
    setenv("FATUNE_NVRTC", "/nonexistent/libnvrtc.so", 1);
    assert_int_equal(compile("sm_80", scale_source, "scale", NULL, &b, &e), DEVICE_LOST);
    assert_non_null(strstr(e.text, "FATUNE_NVRTC"));
    device_binary_free(&b);
    if (before)
        setenv("FATUNE_NVRTC", before, 1);
    else
        unsetenv("FATUNE_NVRTC");
    free(before);
}

static void log_is_capped(void **state)
{
    struct buf text = {0};
    struct device_binary b;
    struct err e = {0};
    (void)state;
    buf_puts(&text, "extern \"C\" __global__ void k(float *o)\n{\n");
    for (int i = 0; i < 1500; i++)
        buf_printf(&text, "    int this_variable_is_declared_and_never_used_%d;\n", i);
    buf_puts(&text, "    o[0] = 1;\n}\n");
    assert_int_equal(compile("sm_80", buf_text(&text), "k", NULL, &b, &e), DEVICE_OK);
    assert_int_equal(b.log.n, 64 * 1024);
    assert_non_null(strstr(buf_text(&b.log), "cut at 64 KiB"));
    assert_true(b.res.registers > 0); /* read before the cut */
    device_binary_free(&b);
    buf_free(&text);
}

static void include_folder(void **state)
{
    static const char source[] = "#include \"kernel_header.h\"\n"
                                 "extern \"C\" __global__ void k(float *o) { o[0] = ANSWER; }\n";
    char dir[] = "/tmp/fatune_nvrtc_XXXXXX", path[64];
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/kernel_header.h", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("#define ANSWER 42.0f\n", f);
    fclose(f);
    expect_fate("sm_80", source, "k", NULL, "kernel_header.h");
    struct target t;
    struct err e = {0};
    struct device_binary b;
    struct device_source src = {.text = source, .entry = "k", .include_dir = dir};
    assert_int_equal(driver->arch_target(&t, "sm_80", &e), 0);
    assert_int_equal(driver->compile(&t, &src, &b, &e), DEVICE_OK);
    device_binary_free(&b);
    remove(path);
    remove(dir);
}

/* NVRTC 12.9 and later open the driver for their cache unless told not to. Tells something only where a driver is. */
static void no_driver_is_opened(void **state)
{
    char digest[DIGEST_HEX];
    (void)state;
    digest_of(digest, "sm_90a", scale_source, "scale");
    assert_null(dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD));
}

/* Whatever a damaged file says, the reader stays inside it (the sanitizer build proves that). */
static void hostile_images(void **state)
{
    struct device_binary b;
    struct err e = {0};
    char out[DIGEST_HEX];
    uint64_t x = 88172645463325252u;
    (void)state;
    assert_int_equal(compile("sm_90a", scale_source, "scale", NULL, &b, &e), DEVICE_OK);
    size_t n = b.image.n;
    for (size_t i = 0; i < n; i += 1 + i / 200) {
        char *copy = malloc(i + 1);
        assert_non_null(copy);
        memcpy(copy, b.image.p, i);
        assert_int_equal(cuda_code_digest(out, copy, i, "scale", &e), 0);
        assert_false(cuda_code_image_ok(copy, i) && out[0] && strcmp(out, b.code_digest) != 0);
        free(copy);
    }
    assert_false(cuda_code_image_ok(b.image.p, 64));
    assert_false(cuda_code_image_ok(b.image.p, n / 2));
    assert_false(cuda_code_image_ok("not an image", 12));
    assert_false(cuda_code_image_ok(NULL, 0));
    for (int round = 0; round < 3000; round++) {
        char *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, b.image.p, n);
        for (int flips = 0; flips < 1 + round % 4; flips++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            copy[round % 2 ? x % n : n - 1 - x % (n < 2000 ? n : 2000)] ^= (char)(1u << (x >> 33) % 8);
        }
        assert_int_equal(cuda_code_digest(out, copy, n, "scale", &e), 0);
        free(copy);
    }
    device_binary_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resources_and_ptx),
        cmocka_unit_test(spills_are_seen),
        cmocka_unit_test(tensor_ops_are_counted),
        cmocka_unit_test(wgmma_is_counted),
        cmocka_unit_test(hopper_kernels_compile),
        cmocka_unit_test(digest_ignores_names_and_layout),
        cmocka_unit_test(digest_sees_code_and_resources),
        cmocka_unit_test(digest_sees_the_entry),
        cmocka_unit_test(faults_of_the_source),
        cmocka_unit_test(faults_of_the_machine),
        cmocka_unit_test(log_is_capped),
        cmocka_unit_test(include_folder),
        cmocka_unit_test(no_driver_is_opened),
        cmocka_unit_test(hostile_images),
    };
    struct device_binary b = {0};
    struct err e = {0};
    driver = device_driver_named("cuda");
    if (!driver) {
        puts("skipped: this build has no CUDA");
        return 77;
    }
    enum device_class class = compile("sm_80", "extern \"C\" __global__ void k() {}", "k", NULL, &b, &e);
    device_binary_free(&b);
    if (class == DEVICE_LOST && strstr(e.text, "was not found")) {
        puts("skipped: NVRTC not found");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
