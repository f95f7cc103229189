/* test_check.c - on the fake device: a correct kernel passes at both levels in both dtypes and masks; each planted fault
 * gets its fate, and a text that names the place; threads change nothing, and memory may be used again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "check_diagnose.h"
#include "check_fixture.h"
#include "check_host.h"
#include "check_inputs.h"
#include "device_fake.h"
#include "parallel.h"

/* ---- the fake device, opened, with a kernel and a reference ---- */

struct bed {
    struct target t;
    struct device *d;
    struct device_kernel *kernel, *reference;
    struct launch kernel_launch, reference_launch;
    struct parallel *threads;
    int steps; /* calls of progress */
};

static struct device_kernel *load(struct bed *b, const struct problem *p, const char *body, const struct launch *l)
{
    struct device_kernel *k = NULL;
    struct device_binary binary = {0};
    struct err e = {0};
    char text[4096];
    snprintf(text, sizeof text,
             "#define BATCH %d\n#define HEADS %d\n#define KV_HEADS %d\n#define SEQ_Q %d\n#define SEQ_KV %d\n#define "
             "HEAD_DIM %d\n"
             "#define CAUSAL %d\n#define DTYPE_BF16 %d\n#define WRITE_LSE %d\n#define SCALE %.9gf\n#define BLOCK_M 32\n"
             "#line 1 \"kernel.cu\"\n%s\n",
             p->batch, p->heads, p->kv_heads, p->seq_q, p->seq_kv, p->head_dim, p->mask == MASK_CAUSAL,
             p->dtype == DTYPE_BF16, p->lse, p->scale, body);
    const struct device_source source = {.text = text, .entry = l->entry};
    assert_int_equal(device_fake.compile(&b->t, &source, &binary, &e), DEVICE_OK);
    assert_int_equal(device_fake.load(b->d, binary.image.p, binary.image.n, l, &k, &e), DEVICE_OK);
    device_binary_free(&binary);
    return k;
}

static void bed_open(struct bed *b, const struct problem *p, const char *body)
{
    struct err e = {0};
    struct buf note = {0};
    *b = (struct bed){0};
    assert_int_equal(device_fake.enumerate(&b->t, 1, &note), 1);
    buf_free(&note);
    assert_int_equal(device_fake.open(&b->d, &b->t, &e), DEVICE_OK);
    b->kernel_launch =
        (struct launch){.entry = "attention_forward", .nargs = 5, .args = {ARG_Q, ARG_K, ARG_V, ARG_O, ARG_LSE}};
    b->reference_launch = (struct launch){
        .entry = "attention_reference", .nargs = 6, .args = {ARG_Q, ARG_K, ARG_V, ARG_REF_O, ARG_LSE, ARG_REF_LOW}};
    b->kernel = load(b, p, body, &b->kernel_launch);
    b->reference = load(b, p, "", &b->reference_launch);
}

static void bed_close(struct bed *b)
{
    device_fake.unload(b->d, b->kernel);
    device_fake.unload(b->d, b->reference);
    device_fake.close(b->d);
}

static void count_step(void *ctx, const char *stage)
{
    struct bed *b = ctx;
    assert_non_null(stage);
    b->steps++;
}

static const struct check_rule quick = {.level = CHECK_QUICK, .seed = 7, .atol = 1e-2, .rtol = 5e-2, .repeats = 6};
static const struct check_rule full = {.level = CHECK_FULL, .seed = 7, .atol = 1e-2, .rtol = 5e-2, .repeats = 3};

static enum device_class run_with(const struct device_driver *drv, struct bed *b, const struct problem *p,
                                  const struct check_rule *rule, struct check_report *out, struct err *e)
{
    const struct check_kernel candidate = {b->kernel, &b->kernel_launch},
                              reference = {b->reference, &b->reference_launch};
    struct check *c = NULL;
    enum device_class cls;
    assert_int_equal(check_open(&c, drv, b->d, b->threads, p, e), DEVICE_OK);
    cls = check_run(c, &candidate, &reference, rule, count_step, b, out, e);
    check_close(c);
    return cls;
}

static enum device_class run(struct bed *b, const struct problem *p, const struct check_rule *rule,
                             struct check_report *out, struct err *e)
{
    return run_with(&device_fake, b, p, rule, out, e);
}

/* The fate of a kernel with this body; report must be freed. */
static enum fate judge(const struct problem *p, const char *body, const struct check_rule *rule,
                       struct check_report *out)
{
    struct bed b;
    struct err e = {0};
    enum device_class cls;
    bed_open(&b, p, body);
    cls = run(&b, p, rule, out, &e);
    if (cls != DEVICE_OK && out->fate != FATE_CRASH) fail_msg("%s: class %d: %s", body, (int)cls, e.text);
    bed_close(&b);
    return out->fate;
}

/* ---- verdicts ---- */

static void good_kernel_passes(void **state)
{
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        struct problem p = small;
        struct check_report r;
        struct bed b;
        struct err e = {0};
        json_t *sets;
        p.dtype = (variant & 1) != 0 ? DTYPE_BF16 : DTYPE_F16;
        p.mask = (variant & 2) != 0 ? MASK_CAUSAL : MASK_NONE;
        p.lse = (variant & 4) == 0;
        if (variant == 3) p.seq_q = 61; /* 21 rows of each head see no key; odd sizes */
        if (variant == 6) p.head_dim = 7;
        if (variant == 7) { /* odd: tensors end inside a step of 4 bytes */
            p.batch = p.heads = 1;
            p.seq_q = 13;
            p.seq_kv = 11;
            p.head_dim = 15;
        }
        bed_open(&b, &p, "");
        assert_int_equal(run(&b, &p, &full, &r, &e), DEVICE_OK);
        if (r.fate != FATE_OK) fail_msg("variant %d: %s: %s", variant, fate_name(r.fate), r.text);
        assert_string_equal(r.text, "");
        sets = json_object_get(r.json, "sets");
        assert_int_equal(json_array_size(sets), CHECK_SET_N);
        assert_int_equal(json_array_size(json_object_get(r.json, "laws")), CHECK_LAW_N);
        for (size_t i = 0; i < json_array_size(sets); i++) {
            const json_t *s = json_array_get(sets, i);
            assert_true(json_number_value(json_object_get(s, "two_times_ratio")) <= 1);
            if (i == 0) assert_true(json_number_value(json_object_get(s, "max_abs")) > 0);
            assert_int_equal(json_array_size(json_object_get(s, "worst")), CHECK_WORST);
            assert_int_equal(json_object_get(s, "lse_error") != NULL, p.lse);
        }
        assert_int_equal(json_integer_value(json_object_get(json_object_get(r.json, "repeats"), "done")), full.repeats);
        assert_true(b.steps > 20);
        check_report_free(&r);
        bed_close(&b);
    }
}

/* body, level, fate, words that the text must hold */
static void faults(void **state)
{
    static const struct {
        const char *body;
        bool full;
        enum fate fate;
        const char *words[3];
    } rows[] = {
        {"// fake: wrong", false, FATE_WRONG, {"plain", "batch 0 head 1 row 12 column 0", "a single element"}},
        {"// fake: nan", false, FATE_WRONG, {"batch 0 head 1 row 12 column 0", "nan", "1 not finite"}},
        {"// fake: unwritten", false, FATE_WRONG, {"never written", "1152 of 2304", "batch 1 head 0 row 0 column 0"}},
        {"// fake: readold", false, FATE_WRONG, {"row 12", "nan", "lay in the output before"}},
        {"// fake: nondet", false, FATE_NONDET, {"batch 0 head 1 row 12 column 0", "differ in 1 of 2304", ""}},
        {"// fake: nondet 5", false, FATE_NONDET, {"repeats", "in repeat", "differ in 1 of 2304"}},
        {"// fake: corrupt", false, FATE_CORRUPT, {"past the end of its output o", "0 bytes past its end", "1 of"}},
        {"// fake: input", false, FATE_CORRUPT, {"changed its input k at element 0", "", ""}},
        {"// fake: launch", false, FATE_LAUNCH, {"refused", "", ""}},
        {"// fake: sticky", false, FATE_CRASH, {"ILLEGAL_ADDRESS", "", ""}},
        {"// fake: badlse", false, FATE_WRONG, {"lse is off", "row 72", ""}},
        {"// fake: scale 0.675", false, FATE_WRONG, {"scaled", "0.675", ""}},
        {"// fake: stalerow 17", false, FATE_WRONG, {"row 17", "only row 17", "rows"}},
        {"// fake: tail 32", false, FATE_WRONG, {"only the tail rows from 32 on", "not a multiple of", ""}},
        {"// fake: column 3", false, FATE_WRONG, {"only column 3", "column 3:", ""}},
        {"// fake: nomax", true, FATE_WRONG, {"large_logits", "NaN or infinite", ""}},
        {"// fake: wrong when BLOCK_M=64", true, FATE_OK, {"", "", ""}},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY(rows); i++) {
        struct check_report r;
        enum fate f = judge(&small, rows[i].body, rows[i].full ? &full : &quick, &r);
        if (f != rows[i].fate)
            fail_msg("%s: %s, not %s: %s", rows[i].body, fate_name(f), fate_name(rows[i].fate), r.text);
        for (int w = 0; w < 3; w++)
            if (strstr(r.text, rows[i].words[w]) == NULL)
                fail_msg("%s: no `%s` in: %s", rows[i].body, rows[i].words[w], r.text);
        assert_non_null(r.json);
        assert_string_equal(json_string_value(json_object_get(r.json, "fate")), fate_name(f));
        check_report_free(&r);
    }
}

/* Outputs that nobody fills before the first run: a right kernel still passes, and every fault is still a failure. */
static void unwritten_outputs(void **state)
{
    static const char *const wrong[] = {"// fake: wrong",    "// fake: unwritten", "// fake: readold",
                                        "// fake: nondet 5", "// fake: corrupt",   "// fake: input"};
    struct check_rule rule = full;
    struct check_report r;
    (void)state;
    rule.unwritten = true;
    assert_int_equal(judge(&small, "", &rule, &r), FATE_OK);
    check_report_free(&r);
    for (size_t i = 0; i < ARRAY(wrong); i++) {
        if (judge(&small, wrong[i], &rule, &r) == FATE_OK) fail_msg("%s passes", wrong[i]);
        check_report_free(&r);
    }
}

/* Within atol and rtol, but far beyond what rounding explains: the two-times rule alone must refuse it. */
static void two_times_rule(void **state)
{
    struct check_report r;
    struct check_rule loose = quick;
    (void)state;
    assert_int_equal(judge(&small, "// fake: scale 1.02", &quick, &r), FATE_WRONG);
    assert_non_null(strstr(r.text, "two-times rule alone"));
    check_report_free(&r);
    loose.atol = 100; /* NaN passes no tolerance */
    assert_int_equal(judge(&small, "// fake: nan", &loose, &r), FATE_WRONG);
    check_report_free(&r);
}

/* Tolerances of a user decide too: correct rounding is not zero. */
static void user_tolerance(void **state)
{
    struct check_report r;
    struct check_rule strict = quick;
    (void)state;
    strict.atol = 1e-6;
    strict.rtol = 0;
    assert_int_equal(judge(&small, "", &strict, &r), FATE_WRONG);
    check_report_free(&r);
}

/* What tensor-core kernels do, weights rounded to the dtype before the second product, is honest in every set and law, on
 * shapes so small that luck could decide, too. */
static void no_false_alarm(void **state)
{
    static const int shapes[][3] = {{1, 1, 16}, {1, 40, 32}, {5, 3, 8}, {17, 33, 16}, {64, 64, 64}};
    (void)state;
    for (size_t i = 0; i < ARRAY(shapes) * 8; i++) {
        struct problem p = small;
        struct check_rule rule = full;
        struct check_report r;
        enum fate f;
        p.seq_q = shapes[i / 8][0];
        p.seq_kv = shapes[i / 8][1];
        p.head_dim = shapes[i / 8][2];
        p.dtype = (enum dtype)(i % 2);
        p.mask = (enum mask)(i / 2 % 2);
        rule.seed = 100 + i;
        f = judge(&p, "// fake: roundp", &rule, &r);
        if (f != FATE_OK) fail_msg("%zu: %s: %s", i, fate_name(f), r.text);
        check_report_free(&r);
    }
}

/* The nomax kernel is right on plain inputs: only the stress inputs tell. */
static void stress_is_needed(void **state)
{
    struct check_report r;
    (void)state;
    assert_int_equal(judge(&small, "// fake: nomax", &quick, &r), FATE_OK);
    check_report_free(&r);
}

static void bad_reference_is_an_error(void **state)
{
    static const char *const bodies[] = {"// fake: scale 1.01", "// fake: launch", "// fake: badlse", "// fake: sticky",
                                         "// fake: nan"};
    (void)state;
    for (size_t i = 0; i < ARRAY(bodies); i++) {
        struct check_report r;
        struct bed b;
        struct err e = {0};
        bed_open(&b, &small, "");
        device_fake.unload(b.d, b.reference);
        b.reference = load(&b, &small, bodies[i], &b.reference_launch);
        assert_int_equal(run(&b, &small, &quick, &r, &e), DEVICE_LOST);
        assert_int_equal(e.code, ERR_DEVICE);
        assert_non_null(strstr(e.text, "reference kernel"));
        assert_null(r.json);
        bed_close(&b);
    }
}

static void lost_device_blames_nobody(void **state)
{
    struct check_report r;
    struct bed b;
    struct err e = {0};
    (void)state;
    bed_open(&b, &small, "// fake: lost");
    assert_int_equal(run(&b, &small, &quick, &r, &e), DEVICE_LOST);
    assert_int_equal(r.fate, FATE_OK);
    assert_int_equal(e.code, ERR_DEVICE);
    bed_close(&b);
}

/* Memory of the check itself is not the candidate's. */
static void out_of_memory_blames_nobody(void **state)
{
    struct check_report r;
    struct bed b;
    struct err e = {0};
    (void)state;
    assert_int_equal(setenv("FATUNE_FAKE_DEVICE", "oom=1", 1), 0);
    bed_open(&b, &small, "");
    assert_int_equal(unsetenv("FATUNE_FAKE_DEVICE"), 0);
    assert_int_equal(run(&b, &small, &quick, &r, &e), DEVICE_LOST);
    assert_non_null(strstr(e.text, "no device memory"));
    bed_close(&b);
}

static void time_box(void **state)
{
    struct check_report r;
    struct check_rule rule = quick;
    const json_t *repeats;
    (void)state;
    rule.repeats = 1000;
    rule.box_s = 1e-6;
    assert_int_equal(judge(&small, "", &rule, &r), FATE_OK);
    repeats = json_object_get(r.json, "repeats");
    assert_int_equal(json_integer_value(json_object_get(repeats, "wanted")), 1000);
    assert_int_equal(json_integer_value(json_object_get(repeats, "done")), 2);
    assert_string_equal(json_string_value(json_object_get(repeats, "why")), "time box");
    check_report_free(&r);
}

/* Another seed, other inputs; the same seed, the same numbers. */
static void seeds(void **state)
{
    struct check_report a, b, c;
    struct check_rule other = quick;
    double x, y, z;
    (void)state;
    other.seed = 8;
    judge(&small, "", &quick, &a);
    judge(&small, "", &quick, &b);
    judge(&small, "", &other, &c);
    x = json_number_value(json_object_get(json_array_get(json_object_get(a.json, "sets"), 0), "rel_l2"));
    y = json_number_value(json_object_get(json_array_get(json_object_get(b.json, "sets"), 0), "rel_l2"));
    z = json_number_value(json_object_get(json_array_get(json_object_get(c.json, "sets"), 0), "rel_l2"));
    assert_true(x == y && x != z && x > 0);
    check_report_free(&a);
    check_report_free(&b);
    check_report_free(&c);
}

/* ---- patterns, from planted errors ---- */

static const struct problem wide = {
    .batch = 2, .heads = 4, .kv_heads = 4, .seq_q = 128, .seq_kv = 128, .head_dim = 32, .dtype = DTYPE_F16, .scale = 1};

static bool in_head(size_t i)
{
    return i / (128 * 32) == 5;
}
static bool in_tile(size_t i)
{
    return i / 32 % 128 / 32 == 1;
}
static bool every_eighth(size_t i)
{
    return i / 32 % 8 == 3;
}
static bool stripe(size_t i)
{
    return i % 32 >= 16;
}
static bool late_rows(size_t i)
{
    return i / 32 % 128 >= 50;
}
static bool second_batch(size_t i)
{
    return i / (128 * 32) >= 4;
}
static bool all(size_t i)
{
    return i < SIZE_MAX;
}

static void patterns(void **state)
{
    static const struct {
        bool (*bad)(size_t i);
        const char *words;
    } rows[] = {
        {in_head, "only head 1 of batch 1"},
        {in_tile, "inside one tile of 32 rows"},
        {every_eighth, "index modulo 8 is 3"},
        {stripe, "stripe of columns 16 to 31"},
        {late_rows, "only rows 50 to 127"},
        {second_batch, "only batch 1"},
        {all, "everywhere"},
    };
    size_t n = problem_q_elements(&wide);
    uint16_t *got = malloc(n * sizeof *got);
    float *expected = malloc(n * sizeof *expected), *decode = check_decode_table(DTYPE_F16);
    const struct check_limit limit = {.atol = 1e-2, .rtol = 0, .bound = INFINITY};
    (void)state;
    assert_true(got != NULL && expected != NULL && decode != NULL);
    for (size_t r = 0; r < ARRAY(rows); r++) {
        struct check_diagnosis d;
        size_t bad = 0;
        for (size_t i = 0; i < n; i++) {
            expected[i] = (float)((double)(i * 7919 % 1000) / 500 - 1);
            got[i] = check_encode(DTYPE_F16, (double)expected[i] + (rows[r].bad(i) ? 0.5 + (double)(i % 7) : 0));
            bad += rows[r].bad(i);
        }
        assert_int_equal(check_diagnose(&wide, got, expected, &limit, decode, &d, NULL), 0);
        assert_int_equal(d.bad, bad);
        assert_true(rows[r].bad(d.first.at));
        if (strstr(d.pattern, rows[r].words) == NULL) fail_msg("no `%s` in `%s`", rows[r].words, d.pattern);
    }
    free(got);
    free(expected);
    free(decode);
}

/* The worst five are sorted, and a NaN comes before any number. */
static void worst_five(void **state)
{
    struct problem p = {
        .batch = 1, .heads = 1, .kv_heads = 1, .seq_q = 4, .seq_kv = 4, .head_dim = 4, .dtype = DTYPE_BF16};
    uint16_t got[16];
    float expected[16] = {0}, *decode = check_decode_table(DTYPE_BF16);
    struct check_compare c;
    char place[96];
    (void)state;
    assert_non_null(decode);
    for (int i = 0; i < 16; i++)
        got[i] = check_encode(DTYPE_BF16, i * 5 % 16);
    got[9] = 0x7fc0;
    check_compare(&p, NULL, got, expected, NULL, 0.5, 0, decode, &c);
    assert_int_equal(c.worst.n, 5);
    assert_int_equal(c.nonfinite, 1);
    assert_int_equal(c.bad, 15);
    assert_int_equal(c.worst.of[0].at, 9);
    assert_true(c.worst.of[1].got == 15 && c.worst.of[2].got == 14 && c.worst.of[3].got == 12 &&
                c.worst.of[4].got == 11);
    assert_true(c.max_abs == 15);
    check_place(&p, 9, place, sizeof place);
    assert_string_equal(place, "batch 0 head 0 row 2 column 1");
    free(decode);
}

/* Fast enough that spaces of the canonical shape can be run through it. */
static void fake_speed(void **state)
{
    struct problem p = {.batch = 1,
                        .heads = 1,
                        .kv_heads = 1,
                        .seq_q = 512,
                        .seq_kv = 512,
                        .head_dim = 64,
                        .dtype = DTYPE_F16,
                        .scale = 0.125};
    struct check_report r;
    struct check_rule rule = quick;
    (void)state;
    rule.repeats = 2;
    assert_int_equal(judge(&p, "", &rule, &r), FATE_OK);
    assert_true(json_number_value(json_object_get(r.json, "first_run_s")) < 2);
    check_report_free(&r);
}

/* A problem whose tensors span several chunks, so that threads share them. */
static const struct problem long_one = {.batch = 2,
                                        .heads = 3,
                                        .kv_heads = 3,
                                        .seq_q = 1030,
                                        .seq_kv = 24,
                                        .head_dim = 64,
                                        .dtype = DTYPE_F16,
                                        .scale = 0.125,
                                        .lse = true};

/* Everything the report says but the times, for a kernel and a number of threads; to be freed. */
static char *report_of(const struct device_driver *drv, const char *body, const struct check_rule *rule, int threads,
                       struct check_report *r)
{
    struct bed b;
    struct err e = {0};
    char *text;
    bed_open(&b, &long_one, body);
    if (threads > 0) assert_int_equal(parallel_open(&b.threads, threads, &e), 0);
    if (run_with(drv, &b, &long_one, rule, r, &e) != DEVICE_OK) fail_msg("%s: %s", body, e.text);
    assert_int_equal(json_object_del(r->json, "seconds") | json_object_del(r->json, "first_run_s"), 0);
    text = json_dumps(r->json, JSON_SORT_KEYS);
    assert_non_null(text);
    parallel_close(b.threads);
    bed_close(&b);
    return text;
}

static const struct {
    const char *body;
    enum fate fate;
} rows[] = {{"", FATE_OK},
            {"// fake: wrong", FATE_WRONG},
            {"// fake: nan", FATE_WRONG},
            {"// fake: unwritten", FATE_WRONG},
            {"// fake: nondet 5", FATE_NONDET},
            {"// fake: corrupt", FATE_CORRUPT},
            {"// fake: input", FATE_CORRUPT},
            {"// fake: badlse", FATE_WRONG},
            {"// fake: scale 0.675", FATE_WRONG}};

static void threads_change_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY(rows); i++) {
        struct check_report r;
        char *alone = report_of(&device_fake, rows[i].body, i == 0 ? &full : &quick, 0, &r);
        assert_int_equal(r.fate, rows[i].fate);
        check_report_free(&r);
        for (int threads = 1; threads <= 5; threads += 2) {
            char *together = report_of(&device_fake, rows[i].body, i == 0 ? &full : &quick, threads, &r);
            assert_string_equal(alone, together);
            check_report_free(&r);
            free(together);
        }
        free(alone);
    }
}

/* Repeats are compared where the driver can; a driver that cannot has the same said of everybody. */
static void host_and_device_compare_alike(void **state)
{
    struct device_driver host = device_fake;
    (void)state;
    host.same = NULL;
    for (size_t i = 0; i < ARRAY(rows); i++) {
        struct check_report on[2];
        char *text[2];
        for (int k = 0; k < 2; k++) {
            json_t *repeats;
            text[k] = report_of(k ? &host : &device_fake, rows[i].body, i == 0 ? &full : &quick, 0, &on[k]);
            repeats = json_object_get(on[k].json, "repeats");
            assert_string_equal(json_string_value(json_object_get(repeats, "compared_on")),
                                k == 0 && json_integer_value(json_object_get(repeats, "done")) > 0 ? "device" : "host");
            json_object_del(repeats, "compared_on");
            free(text[k]);
            text[k] = json_dumps(on[k].json, JSON_SORT_KEYS);
        }
        assert_string_equal(text[0], text[1]);
        assert_string_equal(on[0].text, on[1].text);
        for (int k = 0; k < 2; k++) {
            check_report_free(&on[k]);
            free(text[k]);
        }
    }
}

/* A driver that counts launches of the reference, and whose candidate may reach the buffer allocated last. */
static struct {
    struct device_kernel *reference;
    struct device_buffer *last;
    int references, candidates, strikes_at;
} watched;

static enum device_class watched_alloc(struct device *d, size_t n, struct device_buffer **out, struct err *e)
{
    enum device_class cls = device_fake.alloc(d, n, out, e);
    watched.last = *out;
    return cls;
}

static enum device_class watched_run(struct device *d, const struct device_launch *l, struct err *e)
{
    const bool reference = l->kernel == watched.reference;
    watched.references += reference;
    if (!reference && ++watched.candidates == watched.strikes_at) {
        const unsigned char byte = 0x5a;
        assert_int_equal(device_fake.write(d, watched.last, 5000, &byte, 1, e), DEVICE_OK);
    }
    return device_fake.run(d, l, e);
}

static struct device_driver watch(const struct bed *b)
{
    struct device_driver drv = device_fake;
    memset(&watched, 0, sizeof watched);
    watched.reference = b->reference;
    drv.alloc = watched_alloc;
    drv.run = watched_run;
    return drv;
}

/* The reference is computed once for inputs that stay the same, and again when something else took their place or somebody is WRONG by it. */
static void reference_is_kept(void **state)
{
    static const struct {
        const char *body;
        enum fate fate;
        uint64_t seed;
        bool full;
        int references;
    } steps[] = {{"", FATE_OK, 7, false, 1},
                 {"", FATE_OK, 7, false, 0},
                 {"// fake: nondet 5", FATE_NONDET, 7, false, 0},
                 {"// fake: corrupt", FATE_CORRUPT, 7, false, 0},
                 {"", FATE_OK, 7, false, 0},
                 {"// fake: wrong", FATE_WRONG, 7, false, 1}, /* blamed only beside a reference of this very moment */
                 {"", FATE_OK, 7, false, 0},
                 {"", FATE_OK, 8, false, 1},
                 {"", FATE_OK, 7, false, 1},
                 {"", FATE_OK, 7, true, CHECK_SET_N - 1},
                 {"", FATE_OK, 7, false, 1}};
    struct bed b;
    struct device_driver drv;
    struct check *c = NULL;
    struct err e = {0};
    char *first = NULL;
    (void)state;
    bed_open(&b, &small, "");
    drv = watch(&b);
    assert_int_equal(check_open(&c, &drv, b.d, NULL, &small, &e), DEVICE_OK);
    for (size_t i = 0; i < ARRAY(steps); i++) {
        struct device_kernel *k = load(&b, &small, steps[i].body, &b.kernel_launch);
        const struct check_kernel candidate = {k, &b.kernel_launch}, reference = {b.reference, &b.reference_launch};
        struct check_rule rule = steps[i].full ? full : quick;
        struct check_report r;
        char *text;
        rule.seed = steps[i].seed;
        watched.references = 0;
        assert_int_equal(check_run(c, &candidate, &reference, &rule, count_step, &b, &r, &e), DEVICE_OK);
        if (r.fate != steps[i].fate || watched.references != steps[i].references)
            fail_msg("step %zu: %s, %d references: %s", i, fate_name(r.fate), watched.references, r.text);
        json_object_del(r.json, "seconds");
        json_object_del(r.json, "first_run_s");
        text = json_dumps(r.json, JSON_SORT_KEYS);
        if (first == NULL)
            first = strdup(text);
        else if (steps[i].fate == FATE_OK && steps[i].seed == 7 && !steps[i].full)
            assert_string_equal(text, first);
        free(text);
        check_report_free(&r);
        device_fake.unload(b.d, k);
    }
    free(first);
    check_close(c);
    bed_close(&b);
}

/* What repeats are compared with is not the candidate's to change: run 3 is the first repeat, whose copy lies in the last buffer (lse). */
static void strikes_elsewhere(void **state)
{
    (void)state;
    for (int at = 3; at <= 8; at++) {
        struct bed b;
        struct check_report r;
        struct err e = {0};
        struct device_driver drv;
        bed_open(&b, &small, "");
        drv = watch(&b);
        watched.strikes_at = at;
        assert_int_equal(run_with(&drv, &b, &small, &quick, &r, &e), DEVICE_OK);
        assert_int_equal(watched.candidates, 8); /* A, B and six repeats: each was looked at all the same */
        assert_int_equal(r.fate, FATE_CORRUPT);
        assert_non_null(strstr(r.text, "none of its arguments"));
        check_report_free(&r);
        bed_close(&b);
    }
}

/* One check after another on the same memory: what a wrong kernel has left there does not reach the next verdict. */
static void memory_is_used_again(void **state)
{
    static const char *const bodies[] = {"// fake: nondet 5", "// fake: unwritten", "// fake: input", "// fake: nan"};
    struct bed b;
    struct check *c = NULL;
    struct err e = {0};
    (void)state;
    bed_open(&b, &long_one, "");
    assert_int_equal(parallel_open(&b.threads, 3, &e), 0);
    assert_int_equal(check_open(&c, &device_fake, b.d, b.threads, &long_one, &e), DEVICE_OK);
    for (size_t i = 0; i < 2 * ARRAY(bodies); i++) {
        struct device_kernel *bad = i % 2 == 0 ? load(&b, &long_one, bodies[i / 2], &b.kernel_launch) : NULL;
        const struct check_kernel candidate = {bad != NULL ? bad : b.kernel, &b.kernel_launch},
                                  reference = {b.reference, &b.reference_launch};
        struct check_rule rule = quick;
        struct check_report r;
        rule.seed = 50 + i / 2; /* the good kernel gets the inputs of the bad one before it */
        assert_int_equal(check_run(c, &candidate, &reference, &rule, NULL, NULL, &r, &e), DEVICE_OK);
        assert_int_equal(r.fate == FATE_OK, bad == NULL);
        check_report_free(&r);
        device_fake.unload(b.d, bad);
    }
    check_close(c);
    parallel_close(b.threads);
    bed_close(&b);
}

/* What something else computed on the plain inputs: the host's f64 rows are right, a word that is off is named, lse is not asked for. */
static void output_from_elsewhere(void **state)
{
    struct problem p = small;
    size_t n = problem_q_elements(&p), dim = (size_t)p.head_dim;
    uint16_t *o = calloc(n, sizeof *o);
    double row[16], lse;
    (void)state;
    assert_non_null(o);
    for (int variant = 0; variant < 4; variant++) {
        struct bed b;
        struct check *c = NULL;
        struct err e = {0};
        struct check_report r = {0};
        const uint16_t *in[3];
        p.dtype = variant % 2 ? DTYPE_BF16 : DTYPE_F16;
        p.mask = variant / 2 ? MASK_CAUSAL : MASK_NONE;
        bed_open(&b, &p, "");
        const struct check_kernel reference = {b.reference, &b.reference_launch};
        assert_int_equal(check_open(&c, &device_fake, b.d, NULL, &p, &e), DEVICE_OK);
        check_plain(c, quick.seed, in);
        for (size_t i = 0; i < n / dim; i++) {
            check_row_f64(&p, in[0], in[1], in[2], i, row, &lse);
            for (size_t k = 0; k < dim; k++)
                o[i * dim + k] = check_encode(p.dtype, row[k]);
        }
        assert_int_equal(check_output(c, &reference, &quick, o, count_step, &b, &r, &e), DEVICE_OK);
        assert_int_equal(r.fate, FATE_OK);
        assert_string_equal(r.text, "");
        assert_int_equal(json_array_size(json_object_get(r.json, "sets")), 1);
        check_report_free(&r);
        o[3 * dim + 5] = check_encode(p.dtype, check_decode(p.dtype, o[3 * dim + 5]) + 1);
        assert_int_equal(check_output(c, &reference, &quick, o, count_step, &b, &r, &e), DEVICE_OK);
        assert_int_equal(r.fate, FATE_WRONG);
        assert_non_null(strstr(r.text, "plain: 1 of"));
        assert_non_null(strstr(r.text, "row 3 column 5"));
        check_report_free(&r);
        o[0] = check_nan(p.dtype);
        assert_int_equal(check_output(c, &reference, &quick, o, count_step, &b, &r, &e), DEVICE_OK);
        assert_int_equal(r.fate, FATE_WRONG);
        check_report_free(&r);
        /* another seed, other inputs */
        const struct check_rule other = {.level = CHECK_QUICK, .seed = 8, .atol = 1e-2, .rtol = 5e-2};
        assert_int_equal(check_output(c, &reference, &other, o, count_step, &b, &r, &e), DEVICE_OK);
        assert_int_equal(r.fate, FATE_WRONG);
        check_report_free(&r);
        check_close(c);
        bed_close(&b);
    }
    free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(memory_is_used_again),
        cmocka_unit_test(good_kernel_passes),
        cmocka_unit_test(faults),
        cmocka_unit_test(unwritten_outputs),
        cmocka_unit_test(two_times_rule),
        cmocka_unit_test(user_tolerance),
        cmocka_unit_test(no_false_alarm),
        cmocka_unit_test(stress_is_needed),
        cmocka_unit_test(bad_reference_is_an_error),
        cmocka_unit_test(lost_device_blames_nobody),
        cmocka_unit_test(out_of_memory_blames_nobody),
        cmocka_unit_test(time_box),
        cmocka_unit_test(seeds),
        cmocka_unit_test(patterns),
        cmocka_unit_test(worst_five),
        cmocka_unit_test(output_from_elsewhere),
        cmocka_unit_test(host_and_device_compare_alike),
        cmocka_unit_test(reference_is_kept),
        cmocka_unit_test(strikes_elsewhere),
        cmocka_unit_test(fake_speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
