/* Templates: rendering, fitness, evaluation, and every lint with the position it reports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tmpl.h"

static const struct target cl = {
    .driver = "fake", .language = "opencl", .smem_block_bytes = 32768, .threads_block = 1024, .sms = 4};
static const struct target cu = {
    .driver = "fake", .language = "cuda", .smem_block_bytes = 49152, .threads_block = 1024, .compute_capability = 89};
static const struct problem small = {
    .batch = 2, .heads = 8, .kv_heads = 8, .seq_q = 100, .seq_kv = 512, .head_dim = 64, .scale = 0.125};

static struct tmpl *load(const char *folder)
{
    struct err e = {0};
    struct tmpl *t = NULL;
    if (tmpl_load(&t, folder, &e) != 0) fail_msg("%s", e.text);
    return t;
}

static struct tmpl_bound *bind(const struct tmpl *t, const struct problem *p, const struct target *d)
{
    struct err e = {0};
    struct tmpl_bound *b = NULL;
    if (tmpl_bind(&b, t, p, d, &e) != 0) fail_msg("%s", e.text);
    return b;
}

static void has(struct rendered *r, const char *text)
{
    if (!strstr(buf_text(&r->source), text)) fail_msg("no `%s` in:\n%.1500s", text, buf_text(&r->source));
}

static void test_render_opencl(void **state)
{
    struct tmpl *t = load("tests/data/templates/tile_cl/");
    struct tmpl_bound *b = bind(t, &small, &cl);
    struct rendered r = {0};
    struct err e = {0};
    (void)state;
    assert_null(tmpl_unfit(b));
    assert_int_equal(t->params[1].range.values[0], 16); /* sorted */
    assert_int_equal(tmpl_set(b, (const int64_t[]){32, 64, 2}, &e), 0);
    assert_int_equal(tmpl_excluded(b, &e), -1);
    assert_int_equal(tmpl_render(b, &r, &e), 0);
    has(&r, "#define BATCH 2\n");
    has(&r, "#define SEQ_Q 100\n");
    has(&r, "#define CAUSAL 0\n");
    has(&r, "#define DTYPE_BF16 0\n");
    has(&r, "#define SCALE 0.125f\n");
    has(&r, "#define DEV_SMS 4\n");
    has(&r, "#define BLOCK_N 64\n");
    has(&r, "#define THREADS 64\n#define LOCAL_BYTES 12288\n#line 1 \"kernel.cl\"\n#ifndef BLOCK_M\n");
    assert_string_equal(r.launch.entry, "tile");
    assert_int_equal(r.launch.grid[0], 4);
    assert_int_equal(r.launch.grid[1], 8);
    assert_int_equal(r.launch.block[0], 64);
    assert_int_equal(r.launch.cluster[0], 0);
    assert_int_equal(r.launch.nargs, 4);
    assert_null(r.options[0]);
    assert_false(r.needs_headers);
    rendered_free(&r);
    rendered_free(&r);
    tmpl_bound_free(b);
    tmpl_free(t);
}

static void test_render_cuda(void **state)
{
    struct tmpl *t = load("tests/data/templates/tile_cu");
    struct problem p = small;
    struct tmpl_bound *b;
    struct rendered r = {0};
    (void)state;
    p.scale = 1;
    p.lse = true;
    p.dtype = DTYPE_BF16;
    p.mask = MASK_CAUSAL;
    b = bind(t, &p, &cu);
    assert_int_equal(tmpl_set(b, (const int64_t[]){64, 3}, NULL), 0);
    assert_int_equal(tmpl_render(b, &r, NULL), 0);
    has(&r, "#define SCALE 1.0f\n");
    has(&r, "#define CAUSAL 1\n");
    has(&r, "#define WRITE_LSE 1\n");
    has(&r, "#define DTYPE_BF16 1\n");
    has(&r, "#define DEV_ARCH 89\n");
    assert_int_equal(r.launch.shared_bytes, 24576);
    assert_int_equal(r.launch.cluster[1], 2);
    assert_string_equal(r.options[0], "--use_fast_math");
    assert_string_equal(r.options[1], "--maxrregcount=128");
    assert_true(r.needs_headers);
    rendered_free(&r);
    assert_int_equal(tmpl_set(b, (const int64_t[]){128, 3}, NULL), 0); /* 49152 bytes: just fits */
    assert_int_equal(tmpl_excluded(b, NULL), -1);
    tmpl_bound_free(b);
    tmpl_free(t);
}

static void test_fitness(void **state)
{
    struct tmpl *t = load("tests/data/templates/tile_cl");
    struct problem p = small;
    struct tmpl_bound *b = bind(t, &small, &cu);
    (void)state;
    assert_non_null(strstr(tmpl_unfit(b), "written in opencl"));
    tmpl_bound_free(b);
    p.dtype = DTYPE_BF16;
    b = bind(t, &p, &cl);
    assert_non_null(strstr(tmpl_unfit(b), "only f16 is written (needs DTYPE == 'f16'; here DTYPE = 'bf16')"));
    tmpl_bound_free(b);
    p = small;
    p.lse = true;
    b = bind(t, &p, &cl);
    assert_non_null(strstr(tmpl_unfit(b), "asks for lse"));
    tmpl_bound_free(b);
    tmpl_free(t);
}

static void test_evaluation(void **state)
{
    struct tmpl *t = load("tests/data/templates/tile_cl");
    struct problem p = small;
    struct tmpl_bound *b;
    struct rendered r = {0};
    struct err e = {0};
    bool failed;
    (void)state;
    p.head_dim = 256;
    b = bind(t, &p, &cl);
    assert_int_equal(tmpl_set(b, (const int64_t[]){64, 64, 1}, NULL), 0);
    assert_int_equal(tmpl_excluded(b, NULL), 0);
    assert_int_equal(tmpl_set(b, (const int64_t[]){16, 16, 2}, NULL), 0);
    assert_int_equal(tmpl_excluded(b, NULL), 1);
    assert_int_equal(tmpl_set(b, (const int64_t[]){16, 16, 0}, NULL), 0);
    assert_int_equal(tmpl_excluded(b, &e), -2);
    assert_non_null(strstr(e.text, "division by zero"));
    /* no threads: the geometry is refused */
    memset(&e, 0, sizeof e);
    assert_int_equal(tmpl_render(b, &r, &e), -1);
    assert_non_null(strstr(e.text, "template.yaml:20:12: block is 0: it must be positive (THREADS = 0)"));
    /* bit by bit */
    assert_int_equal(tmpl_nsteps(b), 4);
    assert_int_equal(tmpl_step(b, 0).level, 2);
    assert_int_equal(tmpl_step(b, 2).level, 1);
    memset(&e, 0, sizeof e);
    assert_int_equal(tmpl_place(b, -1, 0, &failed, NULL), -1);
    assert_int_equal(tmpl_place(b, 0, 64, &failed, NULL), -1);
    assert_int_equal(tmpl_place(b, 1, 64, &failed, &e), 2);
    assert_false(failed);
    assert_string_equal(
        e.text,
        "tiles exceed the local memory (`LOCAL_BYTES <= DEV_SMEM` is false: LOCAL_BYTES = 65536, DEV_SMEM = 32768)");
    assert_int_equal(tmpl_place(b, 0, 16, &failed, NULL), -1);
    assert_int_equal(tmpl_place(b, 1, 16, &failed, NULL), -1);
    assert_int_equal(tmpl_place(b, 2, 0, &failed, NULL), 3);
    assert_true(failed);
    tmpl_bound_free(b);
    tmpl_free(t);
}

static const struct target hopper = {
    .driver = "fake", .language = "cuda", .smem_block_bytes = 232448, .threads_block = 1024, .compute_capability = 90};

static void test_tensor_maps(void **state)
{
    struct tmpl *t = load("tests/data/templates/mapped");
    struct problem p = small;
    struct tmpl_bound *b = bind(t, &small, &cu);
    struct rendered r = {0};
    (void)state;
    assert_string_equal(tmpl_unfit(b), "its tensor maps need sm_90; here sm_89");
    tmpl_bound_free(b);
    p.head_dim = 60;
    b = bind(t, &p, &hopper);
    assert_string_equal(tmpl_unfit(b), "its tensor maps need rows of a multiple of 16 bytes; here HEAD_DIM = 60");
    tmpl_bound_free(b);
    p = small;
    p.kv_heads = 2;
    b = bind(t, &p, &hopper);
    assert_null(tmpl_unfit(b));
    assert_int_equal(tmpl_set(b, (const int64_t[]){64, 32, 2, 0}, NULL), 0);
    assert_int_equal(tmpl_render(b, &r, NULL), 0);
    assert_int_equal(r.launch.cluster[0], 2);
    assert_int_equal(r.launch.nargs, 4);
    const enum arg args[] = {ARG_Q, ARG_K, ARG_V, ARG_O};
    assert_memory_equal(r.launch.args, args, sizeof args);
    const struct tensor_map k = {.dtype = DTYPE_F16,
                                 .columns = 64,
                                 .rows = 512,
                                 .planes = 4,
                                 .box_columns = 16,
                                 .box_rows = 64,
                                 .swizzle_bytes = 32};
    assert_memory_equal(&r.launch.maps[1], &k, sizeof k);
    assert_int_equal(r.launch.maps[2].l2_bytes, 256); /* not given */
    assert_int_equal(r.launch.maps[0].columns, 0);
    assert_int_equal(r.launch.maps[3].columns, 0);
    rendered_free(&r);
    tmpl_bound_free(b);
    tmpl_free(t);
}

/* ---- a template written for one test ---- */

static char folder[64] = "/tmp/fatune-tmpl-XXXXXX", inside[96];

static void put(const char *name, const char *text)
{
    char path[160];
    FILE *f;
    snprintf(path, sizeof path, "%s/%s", inside, name);
    unlink(path);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(inside, sizeof inside, "%s/mine", folder);
    return mkdir(inside, 0700);
}

static int teardown(void **state)
{
    static const char *const files[] = {"template.yaml", "kernel.cl", "kernel.cu"};
    char path[160];
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", inside, files[i]);
        unlink(path);
    }
    return rmdir(inside) != 0 || rmdir(folder) != 0;
}

static const char kernel[] = "__kernel void f(__global float *o) { o[0] = A; }\n";

/* head: lines for language, source and whatever comes before params */
static void manifest(const char *head, const char *params, const char *tail)
{
    char text[2048];
    snprintf(text, sizeof text,
             "name: mine\nlanguage: opencl\nentry: f\n%s\nparams:\n%s\n%s\nlaunch: {grid: ['1', '1', '1'], block: "
             "['A', '1', '1'], shared: '0'}\n"
             "arguments: [q, k, v, o]\n",
             head, params, tail);
    put("template.yaml", text);
}

#define SOURCE "source: kernel.cl"
#define PARAM_A "  A: {values: [1, 2], default: 1, what: 'a'}"

static void refused(const char *says)
{
    struct err e = {0};
    struct tmpl *t = NULL;
    assert_int_equal(tmpl_load(&t, inside, &e), -1);
    assert_int_equal(e.code, ERR_INPUT);
    if (!strstr(e.text, says)) fail_msg("wanted `%s`, got:\n%s", says, e.text);
}

static void test_manifest_refused(void **state)
{
    static const struct {
        const char *head, *params, *tail, *says;
    } cases[] = {{SOURCE "\nsuorce: x", PARAM_A, "",
                  "template.yaml:5:1: unknown key `suorce` in a manifest; did you mean `source`?"},
                 {"source: ../kernel.cl", PARAM_A, "", "4:9: `source` must be a name"},
                 {"source: /etc/passwd", PARAM_A, "", "must be a name"},
                 {"source: none.cl", PARAM_A, "", "cannot open"},
                 {SOURCE "\nincludes: [cuda_fp16.h]", PARAM_A, "", "an OpenCL kernel includes nothing"},
                 {SOURCE "\noptions: [-I/]", PARAM_A, "", "5:11: compiler option `-I/` is not on the list"},
                 {SOURCE "\noptions: [--use_fast_math]", PARAM_A, "", "is not on the list for opencl"},
                 {SOURCE, "  A: {values: [1, 2], default: 3, what: 'a'}", "",
                  "6:32: the default of `A` is not one of its values"},
                 {SOURCE, "  A: {values: [1, 1], default: 1, what: 'a'}", "", "1 is listed twice"},
                 {SOURCE, "  A: {values: [1], default: 1}", "", "needs the key `what`"},
                 {SOURCE, "  a: {values: [1], default: 1, what: 'a'}", "", "no name for a parameter"},
                 {SOURCE, "  SEQ_Q: {values: [1], default: 1, what: 'a'}", "", "fatune defines itself"},
                 {SOURCE, PARAM_A, "derive: [{name: A, value: '1'}]", "`A` is a parameter already"},
                 {SOURCE, PARAM_A, "derive: [{name: B, value: 'C + 1'}, {name: C, value: '1'}]", "unknown name `C`"},
                 {SOURCE, PARAM_A, "derive: [{name: B, value: 'A > 1'}]", "does not give an integer"},
                 {SOURCE, PARAM_A, "constraints: [A > 1]", "says why"},
                 {SOURCE, PARAM_A, "constraints: [{if: 'AA > 1', why: w}]", "unknown name `AA`; did you mean `A`?"},
                 {SOURCE, PARAM_A, "constraints: [{if: 'A', why: w}]", "is not true or false"},
                 {SOURCE, PARAM_A, "requires: [{if: 'A > 1', why: w}]", "unknown name `A`"},
                 {SOURCE, PARAM_A, "spills: '1 > 2'", "does not give an integer"},
                 {SOURCE, PARAM_A, "spills: 'B'", "unknown name `B`"},
                 {SOURCE "\nname: mine", PARAM_A, "", "`name` is given twice"}};
    (void)state;
    put("kernel.cl", kernel);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        manifest(cases[i].head, cases[i].params, cases[i].tail);
        refused(cases[i].says);
    }
    manifest(SOURCE, PARAM_A, "");
    tmpl_free(load(inside));
}

/* A CUDA manifest whose line 7 is the tensor maps, line 8 the arguments. */
static void manifest_of_maps(const char *launch, const char *maps, const char *arguments)
{
    char text[2048];
    snprintf(
        text, sizeof text,
        "name: mine\nlanguage: cuda\nsource: kernel.cu\nentry: f\nparams: {A: {values: [8, 64, 80, 512], default: 8, "
        "what: 'a'}}\nlaunch: {grid: ['16', '1', '1'], block: ['1', '1', '1'], shared: '0'%s}\n"
        "tensor_maps: [%s]\narguments: [%s]\n",
        launch, maps, arguments);
    put("template.yaml", text);
}

#define K_MAP "{name: k_map, tensor: k, box: ['A', '16']}"

static void test_tensor_maps_refused(void **state)
{
    static const struct {
        const char *maps, *arguments, *says;
    } cases[] = {
        {"{name: k_map, tensor: lse, box: ['A', '16']}", "q, k_map, o",
         "7:37: `tensor` must be q, k, v or o, not `lse`"},
        {"{name: k, tensor: k, box: ['A', '16']}", "q, k, o",
         "7:22: `k` is the tensor's own pointer among the arguments; name the map otherwise, `k_map`"},
        {K_MAP ", " K_MAP, "q, k_map, o", "7:66: two tensor maps are named `k_map`; give each a name of its own"},
        {K_MAP, "q, k, o", "8:12: the tensor map `k_map` is not among the arguments; list it or remove it"},
        {K_MAP, "q, k_map, k_map, o", "8:23: argument `k_map` is listed twice"},
        {K_MAP, "q, v_map, o", "8:16: an argument is one of q, k, v, o and lse, or the name of a tensor map"},
        {K_MAP, "q, k_map", "no argument receives the output: `o` is missing"},
        {"{name: k_map, tensor: k}", "q, k_map, o", "needs the key `box`"},
        {"{name: k_map, tensor: k, box: ['A']}", "q, k_map, o",
         "7:45: `box` needs two expressions, columns and rows, not 1"},
        {"{name: k_map, tensor: k, box: ['A', '16'], swizle: '32'}", "q, k_map, o",
         "unknown key `swizle` in a tensor map; did you mean `swizzle`?"},
        {"{name: k_map, tensor: k, box: ['B', '16']}", "q, k_map, o", "7:47: unknown name `B`"},
        {"{name: k_map, tensor: k, box: ['A > 1', '16']}", "q, k_map, o", "does not give an integer"},
        /* what depends on no parameter is known before anything is rendered */
        {"{name: k_map, tensor: k, box: ['4 * 128', 'A']}", "q, k_map, o",
         "7:47: box columns is 512: a box has 1 to 256 columns; take several boxes"},
        {"{name: k_map, tensor: k, box: ['20', 'A']}", "q, k_map, o",
         "7:47: box columns is 20: a row of a box is a multiple of 16 bytes; take a multiple of 8 columns"},
        {"{name: k_map, tensor: k, box: ['A', '0']}", "q, k_map, o", "7:52: box rows is 0: a box has 1 to 256 rows"},
        {"{name: k_map, tensor: k, box: ['A', '257']}", "q, k_map, o",
         "7:52: box rows is 257: a box has 1 to 256 rows"},
        {"{name: k_map, tensor: k, box: ['A', '16'], swizzle: '96'}", "q, k_map, o",
         "7:68: swizzle is 96: a swizzle spans 32, 64 or 128 bytes, or 0 for none"},
        {"{name: k_map, tensor: k, box: ['A', '16'], l2_promotion: '32'}", "q, k_map, o",
         "7:73: l2_promotion is 32: the L2 fetches 64, 128 or 256 bytes, or 0 for what is asked"},
        {"{name: k_map, tensor: k, box: ['40', 'A'], swizzle: '64'}", "q, k_map, o",
         "7:47: box columns is 40: a row of the box, two bytes a column, is longer than the swizzle; take narrower"},
        {"{name: k_map, tensor: k, box: ['A', '1 // 0']}", "q, k_map, o", "division by zero"},
        {K_MAP
         ", {name: a, tensor: k, box: ['8', '8']}, {name: b, tensor: k, box: ['8', '8']}, {name: c, tensor: k, box: "
         "['8', '8']}, {name: d, tensor: k, box: ['8', '8']}, {name: e, tensor: k, box: ['8', '8']}, {name: f, tensor: "
         "k, box: ['8', '8']}, {name: g, tensor: k, box: ['8', '8']}, {name: h, tensor: k, box: ['8', '8']}",
         "q, k_map, o", "7:14: 9 tensor maps; at most 8"},
    };
    (void)state;
    put("kernel.cu", "void f() { }\n"); /* A reaches the kernel by the map alone */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        manifest_of_maps("", cases[i].maps, cases[i].arguments);
        refused(cases[i].says);
    }
    put("kernel.cl", kernel);
    manifest(SOURCE, PARAM_A, "tensor_maps: []");
    refused("7:1: tensor maps are CUDA's");
}

/* What depends on a parameter excludes the points where it does not hold, each with its reason. */
static void test_tensor_maps_render(void **state)
{
    static const struct {
        int64_t a;
        const char *says;
    } cases[] = {{512, "7:47: box columns is 512: a box has 1 to 256 columns; take several boxes (A = 512)"},
                 {80, "7:47: box columns is 80: a row of the box"},
                 {64, NULL},
                 {8, "template.yaml:6:82: cluster is 16: more than 8 blocks"}};
    struct tmpl *t;
    struct tmpl_bound *b;
    (void)state;
    put("kernel.cu", "void f() { }\n");
    manifest_of_maps(", cluster: ['A == 8 and 16 or 4', '1', '1']",
                     "{name: k_map, tensor: k, box: ['A', '16'], swizzle: '128'}", "q, k, k_map, o");
    t = load(inside);
    b = bind(t, &small, &hopper);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rendered r = {0};
        struct err e = {0};
        assert_int_equal(tmpl_set(b, &cases[i].a, &e), 0);
        assert_int_equal(tmpl_render(b, &r, &e), cases[i].says ? -1 : 0);
        if (cases[i].says && !strstr(e.text, cases[i].says)) fail_msg("wanted `%s`, got:\n%s", cases[i].says, e.text);
        rendered_free(&r);
    }
    tmpl_bound_free(b);
    tmpl_free(t);
}

static void test_source_refused(void **state)
{
    static const struct {
        const char *source, *says;
    } cases[] = {
        {"void f() { }\n", "template.yaml:6:3: parameter `A` changes nothing"},
        {"#ifndef A\n#define A 1\n#endif\n#if defined(A)\n#endif\n// A\n/* A */ void f() { char *s = \"A\"; }\n",
         "parameter `A` changes nothing"},
        {"void g() { A; }\n", "kernel.cl:1:1: the kernel `f`"},
        {"#define A 2\nvoid f() { A; }\n", "kernel.cl:1:9: `A` comes from fatune"},
        {"#ifndef B\n#define A 2\n#endif\nvoid f() { A; }\n", "nobody defines `B`"},
        {"#ifndef A\n#else\n#define A 2\n#endif\nvoid f() { A; }\n", "3:9: `A` comes from fatune"},
        {"#undef HEAD_DIM\nvoid f() { A; }\n", "`HEAD_DIM` comes from fatune"},
        {"#if AA\n#endif\nvoid f() { A; }\n",
         "kernel.cl:1:5: nobody defines `AA`, so this condition never changes; did you mean `A`?"},
        {"#if A > 1 && USE_FOO\n#endif\nvoid f() { A; }\n", "1:14: nobody defines `USE_FOO`"},
        {"#if A\n#elif B\n#endif\nvoid f() { A; }\n", "2:7: nobody defines `B`"},
        {"#ifdef B\n#endif\nvoid f() { A; }\n", "1:8: nobody defines `B`"},
        {"#include \"/etc/passwd\"\nvoid f() { A; }\n", "1:10: #include takes <name>, a header of the toolkit"},
        {"#include </etc/passwd>\nvoid f() { A; }\n", "1:11: `/etc/passwd` is not among"},
        {"#include <../../x.h>\nvoid f() { A; }\n", "1:11: `../../x.h` is not among"},
        {"  #  include <stdio.h>\nvoid f() { A; }\n", "`stdio.h` is not among"},
        {"#inc\\\nlude <x.h>\nvoid f() { A; }\n", "2:7: `x.h` is not among"},
        {"#inc\\\r\nlude <x.h>\nvoid f() { A; }\n", "2:7: `x.h` is not among"},
        {"// c \\ \n#include <x.h>\nvoid f() { A; }\n", "1:6: white space behind a backslash"},
        {"void f() { A; } // c \\\t", "1:22: white space behind a backslash"},
        {"%:include <x.h>\nvoid f() { A; }\n", "`x.h` is not among"},
        {"/* */ # /* */ include <x.h>\nvoid f() { A; }\n", "`x.h` is not among"},
        {"# /*\n*/ include <x.h>\nvoid f() { A; }\n", "`x.h` is not among"},
        {"\xc2\xa0#include <x.h>\nvoid f() { A; }\n", "1:1: only ASCII"},
        {"\xef\xbb\xbf#include <x.h>\nvoid f() { A; }\n", "1:1: only ASCII"},
        {"\001#include <x.h>\nvoid f() { A; }\n", "1:1: only ASCII"},
        {"#include/**/\"x.h\"\nvoid f() { A; }\n", "needs the header's name itself"},
        {"#define H <x.h>\n#include H\nvoid f() { A; }\n", "2:2: #include needs the header's name itself"},
        {"#include <x.h\nvoid f() { A; }\n", "needs the header's name itself"},
        {"#include_next <x.h>\nvoid f() { A; }\n", "#include_next is not allowed"},
        {"#import \"x.h\"\nvoid f() { A; }\n", "#import is not allowed"},
        {"#embed \"x.h\"\nvoid f() { A; }\n", "#embed is not allowed"},
        {"#line 3 \"x\"\nvoid f() { A; }\n", "#line is not allowed"},
        {"#pragma GCC dependency \"x\"\nvoid f() { A; }\n", "only #pragma unroll"},
        {"void f() { A; _Pragma(\"clang module load x\") }\n", "1:15: only _Pragma"},
        {"#define P(x) _Pragma(#x)\nvoid f() { A; }\n", "1:14: only _Pragma"},
        {"#if __has_include(\"x.h\")\n#endif\nvoid f() { A; }\n", "`__has_include` is not allowed"},
        {"#define s_include\n#define C(a, b) a##b\n#if C(__ha, s_include)(\"x.h\")\n#endif\nvoid f() { A; }\n",
         "2:18: `##` could make `__has_include` of names"},
        {"#define C(a, b) a %:%: b\nC(__ha, s_embed) C(_, _ha)\nvoid f() { A; }\n", "`##` could make `__has_embed`"},
        {"#define C(a, b) a##b\nvoid f() { A; C(_Pra, gma)(\"GCC dependency\"); }\n", "`##` could make `_Pragma`"},
        {"#define C(a, b) a##b\nvoid f() { A; C(__as, m__)(\".incbin\"); }\n", "`##` could make `__asm__`"},
        {"?\?=include \"x.h\"\nvoid f() { A; }\n", "1:1: trigraphs are refused"},
        {"// ?\?/\n#include \"x.h\"\nvoid f() { A; }\n", "trigraphs are refused"},
        {"char *s = R\"(/*)\";\n#include \"x.h\"\nvoid f() { A; }\n", "raw strings are refused"},
        {"int x = 1'0 + \"'/*\";\n#include \"x.h\"\nvoid f() { A; }\n", "digit separators are refused"},
        {"// c\r#include \"x.h\"\nvoid f() { A; }\n", "carriage return"},
        {"char *s = \"abc\n;\nvoid f() { A; }\n", "1:11: the quote does not close"},
        {"void f() { A; }\n/* never\n", "2:1: the comment does not end"},
        {"#if A\nvoid f() { A; }\n", "an #if is not closed"},
        {"#endif\nvoid f() { A; }\n", "#endif without an #if"},
        {"void f() { A; __asm__(\".incbin \\\"x\\\"\"); }\n", "1:15: `__asm__` is not allowed in a kernel for OpenCL"},
        {"import <x.h>\nvoid f() { A; }\n", "modules are not allowed"}};
    (void)state;
    manifest(SOURCE, PARAM_A, "");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put("kernel.cl", cases[i].source);
        refused(cases[i].says);
    }
}

static void test_source_accepted(void **state)
{
    static const char *const sources[] = {
        "#ifndef A\n#define A 1\n#endif\nvoid f() { A; }\n",
        "#if !defined(A)\n#define A 1\n#endif\nvoid f() { A; }\n",
        "#if CAUSAL && A > 1 && defined(cl_khr_fp16) && __OPENCL_VERSION__ >= 120\n#endif\nvoid f() { A; }\n",
        "#define MY 1\r\n#if MY // it's fine\r\n#endif\r\nvoid f() { A; }\r\n",
        "#pragma OPENCL EXTENSION cl_khr_fp16 : enable\nvoid f() { A; }\n",
        "void f() { _Pragma(\"unroll 4\") for (;;) A; char c = '\\''; char *s = \"\\\"//\"; }\n",
        "#\n#error no\nvoid f() { A; }\n",
        "#define T(x) \\\n  (x + 1.0e-3f)\nvoid f() { A; }\n",
        "#define C(a, b) a##b\nvoid f() { _Pragma(\"unroll\") for (;;) C(A, ); } // \xc3\xa4\n"};
    (void)state;
    manifest(SOURCE, PARAM_A, "");
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        put("kernel.cl", sources[i]);
        tmpl_free(load(inside));
    }
    manifest(SOURCE, PARAM_A,
             "derive: [{name: B, value: '2 * A'}, {name: C, value: 'B + 1'}]"); /* A reaches the kernel through C */
    put("kernel.cl", "void f() { C; }\n");
    tmpl_free(load(inside));
}

static void test_no_file_outside(void **state)
{
    char path[160];
    (void)state;
    manifest(SOURCE, PARAM_A, "");
    snprintf(path, sizeof path, "%s/kernel.cl", inside);
    unlink(path);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    refused("is a link");
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    refused("not a plain file");
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    refused("not a plain file");
    rmdir(path);
    put("kernel.cl", kernel);
    tmpl_free(load(inside));
}

/* A constant that cannot be computed is the manifest's error, with its place. */
static void test_constant_failure(void **state)
{
    struct tmpl *t;
    struct tmpl_bound *b = NULL;
    struct err e = {0};
    (void)state;
    put("kernel.cl", kernel);
    manifest(SOURCE, PARAM_A, "constraints: [{if: 'SEQ_Q // CAUSAL > 1', why: w}]");
    t = load(inside);
    assert_int_equal(tmpl_bind(&b, t, &small, &cl, &e), -1);
    assert_non_null(strstr(e.text, "template.yaml:7:21: `SEQ_Q // CAUSAL > 1`: division by zero"));
    tmpl_free(t);
}

static void test_spills(void **state)
{
    struct rendered r = {0};
    struct tmpl_bound *b;
    struct tmpl *t;
    struct err e = {0};
    (void)state;
    put("kernel.cl", kernel);
    manifest(SOURCE, PARAM_A, "spills: '8 * A - 12'");
    t = load(inside);
    b = bind(t, &small, &cl);
    assert_int_equal(tmpl_set(b, (const int64_t[]){2}, NULL), 0);
    assert_int_equal(tmpl_render(b, &r, NULL), 0);
    assert_int_equal(r.spills, 4);
    rendered_free(&r);
    assert_int_equal(tmpl_set(b, (const int64_t[]){1}, NULL), 0);
    assert_int_equal(tmpl_render(b, &r, &e), -1);
    assert_non_null(strstr(e.text, "template.yaml:7:10: spills is -4: it must not be negative (A = 1)"));
    tmpl_bound_free(b);
    tmpl_free(t);
}

/* The templates that ship with fatune load; the kernels that anybody wrote so far. */
static void test_shipped(void **state)
{
    static const char *const names[] = {"fa_wmma", "fa_opencl", "reference_cuda", "reference_opencl"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "kernel_templates/%s", names[i]);
        tmpl_free(load(path));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_render_opencl),
                                       cmocka_unit_test(test_render_cuda),
                                       cmocka_unit_test(test_tensor_maps),
                                       cmocka_unit_test(test_tensor_maps_refused),
                                       cmocka_unit_test(test_tensor_maps_render),
                                       cmocka_unit_test(test_fitness),
                                       cmocka_unit_test(test_evaluation),
                                       cmocka_unit_test(test_manifest_refused),
                                       cmocka_unit_test(test_source_refused),
                                       cmocka_unit_test(test_source_accepted),
                                       cmocka_unit_test(test_no_file_outside),
                                       cmocka_unit_test(test_constant_failure),
                                       cmocka_unit_test(test_spills),
                                       cmocka_unit_test(test_shipped)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
