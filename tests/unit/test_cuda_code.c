/* What fatune reads of compiler output and knows of architectures, on fixed texts: no CUDA is needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "cuda_arch.h"
#include "cuda_code.h"

static void log_of_cuda_12(void **state)
{
    static const char log[] =
        "ptxas info    : 0 bytes gmem\n"
        "ptxas info    : Compiling entry function 'attention' for 'sm_90a'\n"
        "ptxas info    : Function properties for attention\n"
        "    48 bytes stack frame, 44 bytes spill stores, 40 bytes spill loads\n"
        "ptxas info    : Used 168 registers, used 3 barriers, 1024 bytes smem, 568 bytes cmem[0], 8 bytes cmem[2]\n"
        "ptxas info    : Compiling entry function 'attention_forward' for 'sm_90a'\n"
        "ptxas info    : Function properties for attention_forward\n"
        "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
        "ptxas info    : Used 255 registers, 568 bytes cmem[0]\n";
    struct device_resources r = {.tensor_ops = 17};
    (void)state;
    cuda_code_read_log(log, "attention", &r);
    assert_int_equal(r.registers, 168);
    assert_int_equal(r.barriers, 3);
    assert_int_equal(r.shared_static_bytes, 1024);
    assert_int_equal(r.stack_bytes, 48);
    assert_int_equal(r.spill_store_bytes, 44);
    assert_int_equal(r.spill_load_bytes, 40);
    assert_int_equal(r.tensor_ops, 17);
    cuda_code_read_log(log, "attention_forward", &r);
    assert_int_equal(r.registers, 255);
    assert_int_equal(r.barriers, 0);
    assert_int_equal(r.shared_static_bytes, 0);
    assert_int_equal(r.stack_bytes, 0);
    cuda_code_read_log(log, "attention_fwd", &r);
    assert_int_equal(r.registers, -1);
    assert_int_equal(r.stack_bytes, -1);
}

static void log_of_cuda_13_and_called_functions(void **state)
{
    static const char log[] =
        "ptxas info    : Compiling entry function 'k' for 'sm_80'\n"
        "ptxas info    : Function properties for k\n"
        "ptxas         .     16 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
        "ptxas info    : Used 24 registers, used 1 barriers, 16 bytes cumulative stack size, 1024 bytes "
        "smem, 368 bytes cmem[0]\n"
        "ptxas info    : Function properties for helper\n"
        "ptxas         .     96 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads";
    struct device_resources r;
    (void)state;
    cuda_code_read_log(log, "k", &r);
    assert_int_equal(r.registers, 24);
    assert_int_equal(r.barriers, 1);
    assert_int_equal(r.shared_static_bytes, 1024);
    assert_int_equal(r.stack_bytes, 96);
    assert_int_equal(r.spill_store_bytes, 8);
    assert_int_equal(r.spill_load_bytes, 12);
    cuda_code_read_log("", "k", &r);
    assert_int_equal(r.registers, -1);
    cuda_code_read_log("Compiling entry function '", "k", &r);
    assert_int_equal(r.registers, -1);
}

static void tensor_ops_in_ptx(void **state)
{
    (void)state;
    assert_int_equal(cuda_code_tensor_ops(""), 0);
    assert_int_equal(cuda_code_tensor_ops("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1};"), 1);
    assert_int_equal(
        cuda_code_tensor_ops("@%p1 mma.sync.a {};mma.sync.b {};\n{wgmma.mma_async.sync.aligned.m64n64k16 x;}"), 3);
    assert_int_equal(cuda_code_tensor_ops("wmma.mma.sync.a;\nwmma.load.a.sync x;\nwgmma.fence.sync.aligned;"), 1);
    assert_int_equal(cuda_code_tensor_ops("tcgen05.mma.cta_group::1.kind::f16 [d], a, b, i, p;"), 1);
    assert_int_equal(cuda_code_tensor_ops("// mma.sync.a\n/* mma.sync.b \n*/ .file 1 \"mma.sync.c\"\nmma.sync.d;"), 1);
    assert_int_equal(cuda_code_tensor_ops("call gamma.mma.x; %mma.r; fmma.sync; .mma.sync"), 0);
    assert_int_equal(cuda_code_tensor_ops("mma.sync.a; /* never closed mma.sync.b"), 1);
    assert_int_equal(cuda_code_tensor_ops("/"), 0);
}

static void architectures(void **state)
{
    static const struct {
        const char *name;
        int cc;
        int64_t smem;
    } known[] = {{"sm_70", 70, 96 * 1024},     {"sm_80", 80, 163 * 1024},    {"sm_86", 86, 99 * 1024},
                 {"sm_89", 89, 99 * 1024},     {"sm_90", 90, 227 * 1024},    {"sm_90a", 90, 227 * 1024},
                 {"sm_100a", 100, 227 * 1024}, {"sm_103f", 103, 227 * 1024}, {"sm_120", 120, 99 * 1024}};
    static const char *const unknown[] = {"",       "sm_",    "sm_91",  "sm_90b",  "sm_89a",
                                          "sm_090", "sm_ 90", "sm_+90", "sm_90aa", "sm_90f",
                                          "90",     "SM_90",  "sm_-90", "sm_9000", "compute_90"};
    struct target t;
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct err e = {0};
        assert_int_equal(cuda_arch_target(&t, known[i].name, &e), 0);
        assert_int_equal(e.code, ERR_OK);
        assert_int_equal(t.compute_capability, known[i].cc);
        assert_int_equal(t.smem_block_bytes, known[i].smem);
        assert_int_equal(t.index, -1);
        assert_int_equal(t.warp, 32);
        assert_string_equal(t.arch, known[i].name);
        assert_string_equal(t.driver, "cuda");
        assert_string_equal(t.language, "cuda");
    }
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        struct err e = {0};
        assert_int_equal(cuda_arch_target(&t, unknown[i], &e), -1);
        assert_int_equal(e.code, ERR_USAGE);
        assert_non_null(strstr(e.text, "sm_89"));
    }
    char name[32];
    cuda_arch_name(name, sizeof name, 89);
    assert_string_equal(name, "sm_89");
    cuda_arch_name(name, sizeof name, 90);
    assert_string_equal(name, "sm_90a");
    assert_int_equal(cuda_arch_tensor_rate(90), 4096);
    assert_int_equal(cuda_arch_tensor_rate(91), 0);
}

static void resources_travel(void **state)
{
    struct device_resources a = {1, 2, 3, 4, 5, 6, -1}, b = {0};
    struct err e = {0};
    (void)state;
    json_t *j = device_resources_to_json(&a);
    assert_non_null(j);
    assert_int_equal(device_resources_from_json(&b, j, &e), 0);
    assert_memory_equal(&a, &b, sizeof a);
    json_object_del(j, "barriers");
    assert_int_equal(device_resources_from_json(&b, j, &e), -1);
    assert_int_equal(e.code, ERR_BUG);
    assert_non_null(strstr(e.text, "barriers"));
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_of_cuda_12),    cmocka_unit_test(log_of_cuda_13_and_called_functions),
        cmocka_unit_test(tensor_ops_in_ptx), cmocka_unit_test(architectures),
        cmocka_unit_test(resources_travel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
