/* The YAML subset: trees, positions, readers, and that hostile files cost neither time nor memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#include "buf.h"
#include "doc.h"

static struct doc_node *parsed(const char *text)
{
    struct err e = {0};
    struct doc_node *root = NULL;
    if (doc_parse(&root, text, strlen(text), "t.yaml", &e) != 0) fail_msg("%s", e.text);
    return root;
}

static void test_tree(void **state)
{
    const char *text = "# c\na: 1\nb:\n  - x y\n  - {k: \"q\", l: 'it''s'}\n  - []\nc: >-\n  two\n  lines\n";
    struct doc_node *root = parsed(text);
    const struct doc_node *b = doc_get(root, "b");
    (void)state;
    assert_int_equal(root->kind, DOC_MAP);
    assert_int_equal(root->n, 3);
    assert_string_equal(doc_get(root, "a")->text, "1");
    assert_int_equal(doc_get(root, "a")->key_at.line, 2);
    assert_int_equal(doc_get(root, "a")->at.column, 4);
    assert_int_equal(b->n, 3);
    assert_string_equal(b->item[0].text, "x y");
    assert_int_equal(b->item[0].at.line, 4);
    assert_int_equal(b->item[0].at.column, 5);
    assert_string_equal(doc_get(&b->item[1], "k")->text, "q");
    assert_int_equal(doc_get(&b->item[1], "k")->at.column, 10); /* behind the quote */
    assert_string_equal(doc_get(&b->item[1], "l")->text, "it's");
    assert_int_equal(b->item[2].kind, DOC_LIST);
    assert_int_equal(b->item[2].n, 0);
    assert_string_equal(doc_get(root, "c")->text, "two lines");
    assert_null(doc_get(root, "d"));
    doc_free(root);
}

static void test_integers(void **state)
{
    static const char *const bad[] = {
        "010", "+1",  "1e3", "1.0", "0x10", "1_000", " ", "\"-\"", "-0", "--1", "9223372036854775808",
        "yes", "1 2", "12a", "[1]"};
    char text[64];
    int64_t v;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct doc_node *root;
        struct err e = {0};
        snprintf(text, sizeof text, "a: %s\n", bad[i]);
        root = parsed(text);
        v = 77;
        if (doc_int(doc_get(root, "a"), INT64_MIN, INT64_MAX, &v, &e) == 0) fail_msg("%s is accepted", bad[i]);
        assert_int_equal(e.code, ERR_INPUT);
        assert_int_equal(v, 77);
        doc_free(root);
    }
    for (int64_t want = -3; want < 1200; want += 7) {
        struct doc_node *root;
        snprintf(text, sizeof text, "a: %lld\n", (long long)want);
        root = parsed(text);
        assert_int_equal(doc_int(doc_get(root, "a"), -3, 1200, &v, NULL), 0);
        assert_int_equal(v, want);
        assert_int_equal(doc_int(doc_get(root, "a"), want + 1, 2000, &v, NULL), -1);
        doc_free(root);
    }
}

static void test_doubles(void **state)
{
    static const struct {
        const char *text;
        double v;
    } good[] = {{"0.5", 0.5}, {"1e-2", 0.01}, {"1.0e-2", 0.01}, {"-3", -3}, {"0", 0}, {"2E+1", 20}};
    static const char *const bad[] = {".5",    "5.",  "nan",  "inf",   "1e", "1e99999",
                                      "0x1p3", "1,5", "01.5", "1e400", "",   "1.5f"};
    char text[64];
    double v;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct doc_node *root;
        snprintf(text, sizeof text, "a: %s\n", good[i].text);
        root = parsed(text);
        assert_int_equal(doc_double(doc_get(root, "a"), -100, 100, &v, NULL), 0);
        assert_true(v == good[i].v);
        doc_free(root);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct doc_node *root;
        snprintf(text, sizeof text, "a: %s\n", bad[i]);
        root = parsed(text);
        if (doc_double(doc_get(root, "a"), -1e300, 1e300, &v, NULL) == 0) fail_msg("%s is accepted", bad[i]);
        doc_free(root);
    }
}

static void test_names(void **state)
{
    static const char *const bad[] = {
        "../x", "a/b", ".hidden",   "-x",
        "\"\"", "a b", "\"a\\nb\"", "a123456789012345678901234567890123456789012345678901234567890123"};
    struct doc_node *root = parsed("a: fa_wmma-2.1\n");
    char *s = NULL;
    (void)state;
    assert_int_equal(doc_name(doc_get(root, "a"), &s, NULL), 0);
    assert_string_equal(s, "fa_wmma-2.1");
    free(s);
    doc_free(root);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "a: %s\n", bad[i]);
        root = parsed(text);
        if (doc_name(doc_get(root, "a"), &s, NULL) == 0) fail_msg("%s is accepted", bad[i]);
        doc_free(root);
    }
}

/* A position counts characters, not bytes: the caret stands right under UTF-8 text. */
static void test_utf8(void **state)
{
    struct doc_node *root = parsed("\xef\xbb\xbf# \xc3\xa9\n\"\xc3\xa9\xc3\xa9\": [a, b]\n");
    (void)state;
    assert_string_equal(root->item[0].key, "\xc3\xa9\xc3\xa9");
    assert_int_equal(root->item[0].item[0].at.column, 8);
    doc_free(root);
}

static void repeat(struct buf *b, const char *piece, size_t bytes)
{
    while (b->n < bytes)
        buf_puts(b, piece);
}

/* FAULTS row 2. The process's peak memory may grow by less than 16 MB, and each refusal takes less than 100 ms of its own time. */
static void test_hostile(void **state)
{
    static const struct {
        const char *front, *piece;
        size_t bytes;
    } files[] = {{"", "[", 200000},
                 {"", "{a: ", 200000},
                 {"", "- ", 200000},
                 {"a: ", "&a ", 200000},
                 {"a: &x [1]\nb: ", "[*x, *x], ", 200000},
                 {"a: \"", "x", 260000},
                 {"", "? ", 200000},
                 {"", "a: 1\n", 200000},
                 {"[", "1,", 200000},
                 {"", "# c\n", 260000},
                 {"", "---\n", 200000},
                 {"a: |\n", " x\n", 200000},
                 {"", "!!str ", 100000},
                 {"", "x", 400000},
                 {"%TAG ! tag:x,2000:\n", "a", 2000},
                 {"\"", "\\", 100000},
                 {"a: '", "''", 200000},
                 {"", "\n", 250000},
                 {"", ":", 200000},
                 {"", "%", 100000}};
    struct rusage before, after;
    (void)state;
    getrusage(RUSAGE_SELF, &before);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct buf b = {0};
        struct err e = {0};
        struct doc_node *root = NULL;
        struct timespec from, to;
        double ms;
        buf_puts(&b, files[i].front);
        repeat(&b, files[i].piece, files[i].bytes);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
        if (doc_parse(&root, buf_text(&b), b.n, "h", &e) == 0) fail_msg("file %zu is accepted", i);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
        ms = (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
        assert_int_equal(e.code, ERR_INPUT);
        if (ms >= 100) fail_msg("file %zu took %.0f ms", i, ms);
        buf_free(&b);
    }
    getrusage(RUSAGE_SELF, &after);
#ifndef __SANITIZE_ADDRESS__ /* its quarantine keeps what was freed */
    assert_true(after.ru_maxrss - before.ru_maxrss < 16 << 10);
#endif
}

/* Every prefix of a good file, and every byte of it changed: an answer, never a crash. */
static void test_mutations(void **state)
{
    const char *text = "name: m\nlist: [1, {a: \"b\", c: 'd'}]\ntext: >\n  x\n  y\n- z\n";
    size_t n = strlen(text);
    char copy[128];
    (void)state;
    for (size_t i = 0; i <= n; i++) {
        struct doc_node *root = NULL;
        if (doc_parse(&root, text, i, "m", NULL) == 0) doc_free(root);
    }
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < 256; c++) {
            struct doc_node *root = NULL;
            memcpy(copy, text, n + 1);
            copy[i] = (char)c;
            if (doc_parse(&root, copy, n, "m", NULL) == 0) doc_free(root);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tree),     cmocka_unit_test(test_integers),
                                       cmocka_unit_test(test_doubles),  cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_utf8),     cmocka_unit_test(test_hostile),
                                       cmocka_unit_test(test_mutations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
