/* Domains: counts against brute force, order, ranks, sampling, neighbours, identity, JSON, parsing. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "cand.h"

static const struct target cl = {
    .driver = "fake", .language = "opencl", .smem_block_bytes = 32768, .threads_block = 1024};
static const struct target cu = {
    .driver = "fake", .language = "cuda", .smem_block_bytes = 49152, .threads_block = 1024};

struct fixture {
    struct space s;
    struct domain *d;
};

static int opened(struct fixture *f, const char *rest, const struct target *t, struct err *e)
{
    static const char *const dirs[] = {"no/such/folder", "tests/data/templates"};
    char text[2048];
    snprintf(text, sizeof text, "name: t\nproblem: {batch: 2, heads: 8, seq_q: 512, head_dim: 64}\n%s", rest);
    *f = (struct fixture){0};
    if (space_parse(&f->s, text, strlen(text), "t.yaml", e) != 0) return -1;
    if (domain_open(&f->d, &f->s, dirs, 2, t, e) == 0) return 0;
    space_free(&f->s);
    return -1;
}

static void open_(struct fixture *f, const char *rest, const struct target *t)
{
    struct err e = {0};
    if (opened(f, rest, t, &e) != 0) fail_msg("%s", e.text);
}

static void close_(struct fixture *f)
{
    domain_close(f->d);
    space_free(&f->s);
}

#define TWO "templates: [tile_cu, tile_cl]\n"

/* tile_cl at head_dim 64, 32768 bytes: tiles always fit; BLOCK_N // SPLIT >= 16 fails for SPLIT 0 (cannot be evaluated) and for
 * BLOCK_N 16 with SPLIT 2. */
static void test_count(void **state)
{
    struct fixture f;
    const struct domain_exclusion *x;
    bool exact;
    int n;
    (void)state;
    open_(&f, TWO, &cl);
    assert_int_equal(domain_templates(f.d), 2);
    assert_non_null(strstr(domain_unfit(f.d, 0), "written in cuda"));
    assert_null(domain_unfit(f.d, 1));
    assert_int_equal(domain_product(f.d, 0), 0);
    assert_int_equal(domain_product(f.d, 1), 27);
    assert_int_equal(domain_count(f.d, &exact), 15);
    assert_true(exact);
    n = domain_exclusions(f.d, &x);
    assert_int_equal(n, 3);
    assert_string_equal(x[0].text, "LOCAL_BYTES <= DEV_SMEM");
    assert_int_equal(x[0].points, 0);
    assert_string_equal(x[1].why, "a part has at least 16 keys");
    assert_int_equal(x[1].points, 3);
    assert_false(x[1].failed);
    assert_int_equal(x[2].points, 9);
    assert_true(x[2].failed);
    assert_int_equal(x[2].tmpl, 1);
    assert_int_equal(domain_exclusions(f.d, &x), 3);
    close_(&f);
}

/* Every way to walk agrees with looking at each rank by itself. */
static void check_walks(struct fixture *f)
{
    uint64_t rank = 0, total = 0, valid = 0;
    struct cand c, next;
    struct domain *fresh;
    struct err e = {0};
    static const char *const dirs[] = {"tests/data/templates"};
    bool more;

    for (int i = 0; i < domain_templates(f->d); i++)
        total += domain_product(f->d, i);
    assert_int_equal(domain_open(&fresh, &f->s, dirs, 1, &cl, &e), 0);
    more = domain_next(f->d, &rank, &next);
    for (uint64_t r = 0; r < total; r++) {
        assert_true(domain_from_rank(fresh, r, &c));
        assert_int_equal(domain_rank(fresh, &c), r);
        if (!domain_valid(fresh, &c, NULL)) continue;
        valid++;
        assert_true(more);
        assert_true(cand_equal(f->d, &c, &next));
        assert_int_equal(rank, r + 1);
        more = domain_next(f->d, &rank, &next);
    }
    assert_false(more);
    assert_false(domain_from_rank(fresh, total, &c));
    assert_int_equal(domain_count(f->d, NULL), valid);
    domain_close(fresh);
}

static void test_walks(void **state)
{
    static const char *const spaces[] = {
        "templates: [tile_cl]\n", "templates: [tile_cl]\nparams: {SPLIT: [1, 2], BLOCK_M: [64]}\n",
        "templates: [tile_cl]\nconstraints: [BLOCK_M == 17]\n", "templates: [tile_cl]\nconstraints: [HEADS == 9]\n",
        ("templates: [tile_cl, wide]\nparams: {P0: [1, 3, 8], P4: [1, 2], P5: [5], P6: [1, 8]}\n"
         "constraints: [BLOCK_N ~= 32, P2 // (P1 - 2) < 3]\n")};
    (void)state;
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++) {
        struct fixture f;
        open_(&f, spaces[i], &cl);
        check_walks(&f);
        close_(&f);
    }
}

/* A jump back and forth, rendering in between, must not leave stale values in the scope. */
static void test_cursor(void **state)
{
    struct fixture f;
    struct rng r;
    (void)state;
    open_(&f, "templates: [tile_cl]\n", &cl);
    rng_init(&r, 3, "test");
    for (int i = 0; i < 2000; i++) {
        struct cand c;
        struct rendered out = {0};
        int64_t n, split;
        assert_true(domain_from_rank(f.d, rng_below(&r, 27), &c));
        if (i % 3 == 0 && cand_render(f.d, &c, &out, NULL) == 0) rendered_free(&out);
        assert_true(domain_from_rank(f.d, rng_below(&r, 27), &c));
        n = domain_value(f.d, 0, 1, c.at[1]);
        split = domain_value(f.d, 0, 2, c.at[2]);
        assert_int_equal(domain_valid(f.d, &c, NULL), split > 0 && n / split >= 16);
    }
    close_(&f);
}

static void test_wide(void **state)
{
    struct fixture f;
    struct timespec from, to;
    const struct domain_exclusion *x;
    uint64_t left;
    bool exact;
    double s;
    (void)state;
    open_(&f, "templates: [wide]\n", &cl);
    assert_int_equal(domain_product(f.d, 0), DOMAIN_EXACT);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    left = domain_count(f.d, &exact);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    s = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    print_message("2^21 points counted in %.2f s\n", s);
    assert_true(exact);
    assert_true(s < 30); /* a sanitizer's build on a busy machine; the plain build needs about a second */
    assert_int_equal(domain_exclusions(f.d, &x), 2);
    assert_int_equal(x[0].points, 10 * 32768); /* pairs of 1..8 with a sum beyond 12: 4 + 3 + 2 + 1 */
    assert_int_equal(left, DOMAIN_EXACT - x[0].points - x[1].points);
    close_(&f);
}

static void test_wider(void **state)
{
    struct fixture f;
    const struct domain_exclusion *x;
    bool exact;
    uint64_t n;
    (void)state;
    open_(&f, "templates: [wider]\n", &cl);
    assert_int_equal(domain_product(f.d, 0), 1280000000);
    n = domain_count(f.d, &exact);
    assert_false(exact);
    assert_int_equal(domain_count(f.d, NULL), n);
    domain_exclusions(f.d, &x);
    /* pairs of 1..20 with a sum up to 12: 66 of 400 */
    assert_true(llabs((long long)x[0].points - 1280000000LL * 334 / 400) < 1280000000 / 100);
    assert_true(n > 100000000 && n < 212000000);
    close_(&f);
}

static void test_sample(void **state)
{
    struct fixture f;
    struct rng r;
    struct cand c;
    int seen[27] = {0};
    (void)state;
    open_(&f, "templates: [tile_cl]\n", &cl);
    rng_init(&r, 1, "test sample");
    for (int i = 0; i < 15000; i++) {
        assert_true(domain_sample(f.d, &r, &c));
        assert_true(domain_valid(f.d, &c, NULL));
        seen[domain_rank(f.d, &c)]++;
    }
    for (uint64_t i = 0; i < 27; i++) {
        domain_from_rank(f.d, i, &c);
        if (domain_valid(f.d, &c, NULL))
            assert_true(seen[i] > 850 && seen[i] < 1150); /* 1000 +- 5 sigma */
        else
            assert_int_equal(seen[i], 0);
    }
    close_(&f);
    open_(&f, "templates: [tile_cl]\nconstraints: [BLOCK_M < 0]\n", &cl);
    assert_false(domain_sample(f.d, &r, &c));
    assert_int_equal(domain_count(f.d, NULL), 0);
    close_(&f);
    open_(&f, "templates: [tile_cu]\n", &cl); /* nothing usable */
    assert_false(domain_sample(f.d, &r, &c));
    assert_int_equal(domain_count(f.d, NULL), 0);
    close_(&f);
}

static void test_neighbours(void **state)
{
    struct fixture f;
    struct cand c, out[16];
    int n;
    (void)state;
    open_(&f, "templates: [tile_cl]\n", &cl);
    assert_int_equal(cand_parse(f.d, NULL, "BLOCK_M=16,BLOCK_N=16,SPLIT=1", &c, NULL), 0);
    n = domain_neighbours(f.d, &c, false, out, 16);
    assert_int_equal(n, 4); /* BLOCK_M 32, 64; BLOCK_N 32, 64; SPLIT 0 and 2 are excluded */
    n = domain_neighbours(f.d, &c, true, out, 16);
    assert_int_equal(n, 2);
    assert_int_equal(domain_value(f.d, 0, 0, out[0].at[0]), 32);
    assert_int_equal(domain_value(f.d, 0, 1, out[1].at[1]), 32);
    assert_int_equal(domain_neighbours(f.d, &c, false, out, 3), 3);
    close_(&f);
}

static void text_of(const struct fixture *f, const struct cand *c, char *out, size_t size)
{
    struct buf b = {0};
    cand_text(f->d, c, &b);
    snprintf(out, size, "%s", buf_text(&b));
    buf_free(&b);
}

static void test_defaults(void **state)
{
    struct fixture f;
    struct cand c;
    char text[200];
    (void)state;
    open_(&f, "templates: [tile_cl]\n", &cl);
    assert_true(domain_default(f.d, 0, &c));
    text_of(&f, &c, text, sizeof text);
    assert_string_equal(text, "tile_cl BLOCK_M=32 BLOCK_N=64 SPLIT=1");
    close_(&f);
    open_(&f, "templates: [tile_cl]\nparams: {BLOCK_N: [16, 32], BLOCK_M: [64, 16]}\n", &cl);
    assert_true(domain_default(f.d, 0, &c));
    text_of(&f, &c, text, sizeof text);
    assert_string_equal(text, "tile_cl BLOCK_M=16 BLOCK_N=32 SPLIT=1");
    close_(&f);
    open_(&f, "templates: [tile_cl]\nconstraints: [SPLIT ~= 1]\n", &cl);
    assert_false(domain_default(f.d, 0, &c));
    close_(&f);
}

static void test_why(void **state)
{
    struct fixture f;
    struct err e = {0};
    struct cand c;
    (void)state;
    open_(&f, "templates: [tile_cl]\nconstraints: [BLOCK_M <= 32]\n", &cl);
    assert_int_equal(cand_parse(f.d, NULL, "BLOCK_M=64", &c, NULL), 0);
    assert_false(domain_valid(f.d, &c, &e));
    assert_string_equal(e.text, "`BLOCK_M <= 32` is false: BLOCK_M = 64");
    memset(&e, 0, sizeof e);
    assert_int_equal(cand_parse(f.d, NULL, "SPLIT=0", &c, NULL), 0);
    assert_false(domain_valid(f.d, &c, &e));
    assert_non_null(strstr(e.text, "division by zero (BLOCK_N = 64, SPLIT = 0)"));
    close_(&f);
}

static void test_identity(void **state)
{
    struct fixture f, g;
    struct cand c, d, back;
    char a[65], b[65];
    json_t *j;
    struct err e = {0};
    (void)state;
    open_(&f, "templates: [tile_cl]\n", &cl);
    open_(&g, "templates: [wide, tile_cl]\nparams: {BLOCK_M: [64, 32]}\nsearch: {seed: 9}\n", &cl);
    assert_int_equal(cand_parse(f.d, NULL, "BLOCK_M=64", &c, NULL), 0);
    assert_int_equal(cand_parse(g.d, NULL, "BLOCK_M=64", &d, NULL), 0);
    cand_id(f.d, &c, a);
    cand_id(g.d, &d, b);
    assert_string_equal(a, b); /* across domains */
    assert_int_equal(cand_parse(g.d, NULL, "BLOCK_M=32", &d, NULL), 0);
    cand_id(g.d, &d, b);
    assert_string_not_equal(a, b);
    j = cand_to_json(f.d, &c);
    assert_non_null(j);
    assert_int_equal(cand_from_json(f.d, j, &back, &e), 0);
    assert_true(cand_equal(f.d, &c, &back));
    json_object_set_new(json_object_get(j, "params"), "BLOCK_M", json_integer(48));
    assert_int_equal(cand_from_json(f.d, j, &back, &e), -1);
    assert_non_null(strstr(e.text, "no such value of BLOCK_M"));
    json_object_set_new(json_object_get(j, "params"), "X", json_integer(1));
    assert_int_equal(cand_from_json(f.d, j, &back, NULL), -1);
    json_decref(j);
    close_(&f);
    close_(&g);
}

static void test_parse(void **state)
{
    static const struct {
        const char *tmpl, *text, *says;
    } bad[] = {{NULL, "BLOCK_M", "NAME=INTEGER"},
               {NULL, "=3", "NAME=INTEGER"},
               {NULL, "BLOCK_M=x", "no integer"},
               {NULL, "BLOCK_M=16x", "no integer"},
               {NULL, "BLOCK_M=16,BLOCK_M=32", "set twice"},
               {NULL, "STAGES=2", "no usable template"},
               {"tile_cu", "STAGES=2", "left out here"},
               {"tile_clx", "", "did you mean `tile_cl`"},
               {"tile_cl", "BLOCKM=16", "did you mean `BLOCK_M`"},
               {"tile_cl", "BLOCK_M=48", "its values are 16 32 64"}};
    struct fixture f;
    struct cand c;
    (void)state;
    open_(&f, TWO, &cl);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err e = {0};
        assert_int_equal(cand_parse(f.d, bad[i].tmpl, bad[i].text, &c, &e), -1);
        assert_int_equal(e.code, ERR_USAGE);
        if (!strstr(e.text, bad[i].says)) fail_msg("%s: %s", bad[i].text, e.text);
    }
    assert_int_equal(cand_parse(f.d, NULL, "", &c, NULL), 0);
    assert_int_equal(c.tmpl, 1);
    close_(&f);
}

static void test_render(void **state)
{
    struct fixture f;
    struct err e = {0};
    int64_t x;
    struct rendered r = {0};
    struct cand c;
    (void)state;
    open_(&f, TWO, &cu);
    assert_true(domain_default(f.d, 0, &c));
    assert_int_equal(cand_render(f.d, &c, &r, NULL), 0);
    assert_non_null(strstr(buf_text(&r.source), "#define BLOCK_M 64\n#define STAGES 2\n"));
    assert_int_equal(r.launch.shared_bytes, 16384);
    rendered_free(&r);
    assert_int_equal(cand_value(f.d, &c, "BLOCK_M", &x, NULL), 0);
    assert_int_equal(x, 64);
    c.at[0] = 0; /* a derived value follows the point, not what was rendered last */
    assert_int_equal(cand_value(f.d, &c, "BLOCK_M", &x, NULL), 0);
    assert_int_equal(x, 32);
    assert_int_equal(cand_value(f.d, &c, "SEQ_Q", &x, NULL), 0);
    assert_int_equal(x, 512);
    assert_int_equal(cand_value(f.d, &c, "FLOP", &x, &e), -1);
    assert_non_null(strstr(e.text, "tile_cu has no value FLOP"));
    c = (struct cand){.tmpl = 1};
    assert_int_equal(cand_value(f.d, &c, "BLOCK_M", &x, NULL), -1);
    assert_int_equal(cand_render(f.d, &c, &r, NULL), -1);
    close_(&f);
}

static void test_unfit_by_space(void **state)
{
    struct fixture f;
    struct err e = {0};
    (void)state;
    open_(&f, TWO "params: {BLOCK_M: [128]}\n", &cl); /* tile_cu alone offers it */
    assert_non_null(strstr(domain_unfit(f.d, 1), "none of the values that the space gives BLOCK_M (line 4)"));
    assert_int_equal(domain_count(f.d, NULL), 0);
    close_(&f);
    assert_int_equal(opened(&f, TWO "params: {BLOCK_M: [1280]}\n", &cl, &e), -1);
    assert_non_null(strstr(
        e.text, "t.yaml:4:20: no listed template offers BLOCK_M = 1280; tile_cu has 32 64 128; tile_cl has 16 32 64"));
    /* a rule for one template leaves the other alone */
    open_(&f, TWO "constraints: [STAGES == 77]\n", &cl);
    assert_int_equal(domain_count(f.d, NULL), 15);
    close_(&f);
}

/* On this device every template of its language can serve and has points, each of which renders, and one has its default: the arm to
 * beat. (No one tile divides every length, so not every template's default is a point of every space.) */
static void shipped(const char *path, const struct target *t)
{
    static const char *const dirs[] = {"kernel_templates"};
    struct space s = {0};
    struct domain *d = NULL;
    struct err e = {0};
    uint64_t rank = 0, points[16] = {0};
    int usable = 0, defaults = 0;
    struct cand c;

    if (space_load(&s, path, &e) != 0 || domain_open(&d, &s, dirs, 1, t, &e) != 0) fail_msg("%s", e.text);
    assert_in_range(domain_templates(d), 1, 16);
    while (domain_next(d, &rank, &c)) {
        struct rendered r = {0};
        if (cand_render(d, &c, &r, &e) != 0) fail_msg("%s", e.text);
        rendered_free(&r);
        points[c.tmpl]++;
    }
    for (int i = 0; i < domain_templates(d); i++) {
        const struct tmpl *template = domain_template(d, i);
        bool speaks = strcmp(template->language, t->language) == 0;
        if (speaks != (domain_unfit(d, i) == NULL))
            fail_msg("%s, %s on %s: %s", path, template->name, t->language,
                     speaks ? domain_unfit(d, i) : "not left out");
        if (!speaks) continue;
        usable++;
        defaults += domain_default(d, i, &c);
        if (points[i] == 0) fail_msg("%s, %s: no points", path, template->name);
    }
    if (usable > 0 && defaults == 0) fail_msg("%s: no default is a point on %s", path, t->language);
    domain_close(d);
    space_free(&s);
}

static void test_shipped(void **state)
{
    const struct target gpu = {.driver = "fake",
                               .language = "cuda",
                               .compute_capability = 90,
                               .smem_block_bytes = 232448,
                               .smem_sm_bytes = 233472,
                               .regs_block = 65536,
                               .threads_block = 1024,
                               .sms = 132,
                               .l2_bytes = 52428800,
                               .warp = 32};
    const struct target cpu = {.driver = "fake",
                               .language = "opencl",
                               .smem_block_bytes = 524288,
                               .threads_block = 4096,
                               .sms = 2,
                               .l2_bytes = 33554432};
    glob_t found;

    (void)state;
    assert_int_equal(glob("spaces/*.yaml", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 11);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        shipped(found.gl_pathv[i], &gpu);
        shipped(found.gl_pathv[i], &cpu);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),          cmocka_unit_test(test_walks),    cmocka_unit_test(test_cursor),
        cmocka_unit_test(test_wide),           cmocka_unit_test(test_wider),    cmocka_unit_test(test_sample),
        cmocka_unit_test(test_neighbours),     cmocka_unit_test(test_defaults), cmocka_unit_test(test_why),
        cmocka_unit_test(test_identity),       cmocka_unit_test(test_parse),    cmocka_unit_test(test_render),
        cmocka_unit_test(test_unfit_by_space), cmocka_unit_test(test_shipped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
