/* Spaces: what is read, what the digest sees, and the exact words for every mistake in tests/data/bad.
 *
 * FATUNE_GOLDEN=write writes the words down instead of comparing them: then read the difference before committing it. */
#include <dirent.h>
#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "cand.h"
#include "space.h"

static const char minimal[] =
    "name: m\nproblem: {batch: 2, heads: 8, seq_q: 512, head_dim: 64}\ntemplates: [tile_cl]\n";

static void parse(struct space *s, const char *text)
{
    struct err e = {0};
    if (space_parse(s, text, strlen(text), "t.yaml", &e) != 0) fail_msg("%s", e.text);
}

static void test_defaults(void **state)
{
    struct space s = {0};
    (void)state;
    parse(&s, minimal);
    assert_int_equal(s.problem.kv_heads, 8);
    assert_int_equal(s.problem.seq_kv, 512);
    assert_int_equal(s.problem.dtype, DTYPE_F16);
    assert_int_equal(s.problem.mask, MASK_NONE);
    assert_true(fabs(s.problem.scale - 0.125) < 1e-15);
    assert_false(s.problem.lse);
    assert_string_equal(s.search.strategy, "auto");
    assert_int_equal(s.search.evaluations, 400);
    assert_true(s.search.minutes == 20);
    assert_int_equal(s.search.seed, 42);
    assert_true(s.validate.atol == 1e-2 && s.validate.rtol == 5e-2);
    assert_int_equal(s.validate.repeats, 20);
    assert_int_equal(s.measure.cold, 0);
    assert_true(s.promote.min_gain == 0.005 && s.promote.hedges_g == 0.8 && s.promote.alpha == 0.005 &&
                s.promote.target_us == 0);
    assert_int_equal(s.promote.sessions, 12);
    assert_int_equal(s.promote.nlooks, 0);
    space_free(&s);
    space_free(&s);
}

static void test_looks(void **state)
{
    struct space s = {0};
    (void)state;
    parse(&s,
          "name: l\nproblem: {batch: 1, heads: 2, seq_q: 3, head_dim: 64}\ntemplates: [a]\npromote: {looks: [10, 20, "
          "100]}\n");
    assert_int_equal(s.promote.nlooks, 3);
    assert_int_equal(s.promote.sessions, 10);
    assert_int_equal(s.promote.looks[2], 100);
    space_free(&s);
}

static void test_everything(void **state)
{
    struct space s = {0};
    (void)state;
    parse(&s, "name: all\nproblem: {op: attention_forward, batch: 1, heads: 12, kv_heads: 4, seq_q: 3, seq_kv: 7, "
              "head_dim: 80, dtype: bf16,\n"
              "  mask: causal, scale: 0.5, lse: true}\ntemplates: [b, a]\nparams:\n  BLOCK_M: [64, 16]\n  ONE: "
              "3\nconstraints:\n  - BLOCK_M > 16\n"
              "  - {if: ONE == 3, why: because}\nsearch: {strategy: random, evaluations: 7, minutes: 0.5, seed: "
              "9223372036854775807}\n"
              "validate: {atol: 0, rtol: 1, repeats: 2}\nmeasure: {cache: cold}\n"
              "promote: {min_gain: 0, hedges_g: 1.5, alpha: 0.01, target_us: 255, sessions: 100}\n");
    assert_int_equal(s.problem.kv_heads, 4);
    assert_int_equal(s.problem.seq_kv, 7);
    assert_int_equal(s.problem.dtype, DTYPE_BF16);
    assert_int_equal(s.problem.mask, MASK_CAUSAL);
    assert_true(s.problem.scale == 0.5 && s.problem.lse);
    assert_int_equal(s.ntemplates, 2);
    assert_string_equal(s.templates[0].name, "b");
    assert_int_equal(s.nparams, 2);
    assert_int_equal(s.params[0].n, 2);
    assert_int_equal(s.params[0].values[0], 16);
    assert_int_equal(s.params[0].value_at[0].column, 17);
    assert_int_equal(s.params[1].values[0], 3);
    assert_int_equal(s.nrules, 2);
    assert_null(s.rules[0].why);
    assert_string_equal(s.rules[1].why, "because");
    assert_string_equal(s.search.strategy, "random");
    assert_true(s.search.seed == INT64_MAX);
    assert_int_equal(s.measure.cold, 1);
    assert_true(s.promote.target_us == 255);
    space_free(&s);
}

static void digest_of(const char *text, char out[65])
{
    struct space s = {0};
    parse(&s, text);
    memcpy(out, s.digest, 65);
    space_free(&s);
}

/* Comments, layout and written-out defaults do not count; every field does. */
static void test_digest(void **state)
{
    static const char *const same[] = {"# c\nproblem:\n  head_dim: 64\n  seq_q: 512\n  heads: 8\n  batch: 2\n  "
                                       "kv_heads: 8\ntemplates:\n  - tile_cl\nname: m\n",
                                       "name: m\nproblem: {batch: 2, heads: 8, seq_q: 512, head_dim: 64, scale: 0.125, "
                                       "mask: none}\ntemplates: [tile_cl]\n"
                                       "search: {seed: 42}\nvalidate: {}\nmeasure: {cache: warm}\npromote: {target_us: "
                                       "none, alpha: 5e-3}\nparams: {}\nconstraints: []\n",
                                       "name: m\nproblem: {batch: 2, heads: 8, seq_q: 512, head_dim: 64}\n"
                                       "templates: [tile_cl]\ncontestants: [a, {name: b, command: [./b]}]\n"};
    static const char *const other[] = {
        "name: n\nproblem: {batch: 2, heads: 8, seq_q: 512, head_dim: 64}\ntemplates: [tile_cl]\n",
        "name: m\nproblem: {batch: 2, heads: 8, seq_q: 511, head_dim: 64}\ntemplates: [tile_cl]\n",
        "name: m\nproblem: {batch: 2, heads: 8, seq_q: 512, head_dim: 64, lse: true}\ntemplates: [tile_cl]\n",
        "name: m\nproblem: {batch: 2, heads: 8, seq_q: 512, head_dim: 64}\ntemplates: [tile_cl]\nsearch: {seed: 41}\n",
        "name: m\nproblem: {batch: 2, heads: 8, seq_q: 512, head_dim: 64}\ntemplates: [tile_cl]\nmeasure: {cache: "
        "cold}\n",
        "name: m\nproblem: {batch: 2, heads: 8, seq_q: 512, head_dim: 64}\ntemplates: [tile_cl]\npromote: {sessions: "
        "13}\n",
        "name: m\nproblem: {batch: 2, heads: 8, seq_q: 512, head_dim: 64}\ntemplates: [tile_cl]\npromote: {looks: [12, "
        "20]}\n",
        "name: m\nproblem: {batch: 2, heads: 8, seq_q: 512, head_dim: 64}\ntemplates: [tile_cl]\nparams: {BLOCK_M: "
        "[16]}\n",
        "name: m\nproblem: {batch: 2, heads: 8, seq_q: 512, head_dim: 64}\ntemplates: [tile_cl]\nconstraints: [BLOCK_M "
        "> 1]\n"};
    char first[65], d[65], e[65];
    (void)state;
    digest_of(minimal, first);
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        digest_of(same[i], d);
        assert_string_equal(d, first);
    }
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        digest_of(other[i], d);
        assert_string_not_equal(d, first);
    }
    digest_of("name: m\nproblem: {batch: 2, heads: 8, seq_q: 512, head_dim: 64}\ntemplates: [tile_cl]\n"
              "params: {A: [1, 2], B: [3]}\nconstraints: ['A   >\t1']\n",
              d);
    digest_of("name: m\nproblem: {batch: 2, heads: 8, seq_q: 512, head_dim: 64}\ntemplates: [tile_cl]\n"
              "params: {B: [3], A: [2, 1]}\nconstraints: [{if: 'A > 1', why: said otherwise}]\n",
              e);
    assert_string_equal(d, e);
}

static void test_shipped(void **state)
{
    glob_t found;
    (void)state;
    assert_int_equal(glob("spaces/*.yaml", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 11);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct space s = {0};
        struct err e = {0};
        char name[256];
        if (space_load(&s, found.gl_pathv[i], &e) != 0) fail_msg("%s", e.text);
        snprintf(name, sizeof name, "spaces/%s.yaml", s.name);
        assert_string_equal(name, found.gl_pathv[i]); /* found by the name that reports and the registry give */
        space_free(&s);
    }
    globfree(&found);
}

static void test_files(void **state)
{
    struct space s = {0};
    struct err e = {0}, f = {0};
    (void)state;
    assert_int_equal(space_load(&s, "spaces/none.yaml", &e), -1);
    assert_int_equal(e.code, ERR_INPUT);
    assert_int_equal(space_load(&s, "spaces", &f), -1);
    assert_int_equal(f.code, ERR_INPUT);
    assert_null(s.text);
}

/* ---- golden messages ---- */

/* The message of a file, from parsing or from opening its domain on a made-up device. */
static void message_of(const char *path, struct err *e)
{
    const char *const dirs[] = {"tests/data/templates"};
    const struct target target = {
        .driver = "fake", .language = "opencl", .smem_block_bytes = 32768, .threads_block = 1024};
    struct space s = {0};
    struct domain *d = NULL;

    if (space_load(&s, path, e) == 0 && domain_open(&d, &s, dirs, 1, &target, e) == 0) {
        domain_close(d);
        fail_msg("%s has no mistake", path);
    }
    space_free(&s);
}

static void test_bad(void **state)
{
    const char *mode = getenv("FATUNE_GOLDEN");
    DIR *dir = opendir("tests/data/bad");
    const struct dirent *entry;
    int n = 0, wrong = 0;
    (void)state;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name);
        char path[300], golden[300];
        struct err e = {0};
        struct buf want = {0};
        if (len < 6 || strcmp(entry->d_name + len - 5, ".yaml") != 0) continue;
        snprintf(path, sizeof path, "tests/data/bad/%s", entry->d_name);
        snprintf(golden, sizeof golden, "tests/data/bad/%.*s.txt", (int)len - 5, entry->d_name);
        message_of(path, &e);
        assert_int_equal(e.code, ERR_INPUT);
        strcat(e.text, "\n");
        if (mode && strcmp(mode, "write") == 0)
            assert_int_equal(buf_write_file(golden, e.text, strlen(e.text), NULL), 0);
        if (buf_read_file(&want, golden, 1 << 16, ERR_INPUT, NULL) != 0 || strcmp(buf_text(&want), e.text) != 0) {
            print_error("%s says:\n%swanted:\n%s", path, e.text, buf_text(&want));
            wrong++;
        }
        buf_free(&want);
        n++;
    }
    closedir(dir);
    assert_int_equal(wrong, 0);
    assert_true(n >= 68);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_defaults),   cmocka_unit_test(test_looks),
                                       cmocka_unit_test(test_everything), cmocka_unit_test(test_digest),
                                       cmocka_unit_test(test_shipped),    cmocka_unit_test(test_files),
                                       cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
