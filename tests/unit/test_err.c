/* Errors: the first one stays, context goes in front, the caret stands under its column. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "err.h"

static void first_wins(void **state)
{
    struct err e = {0};

    (void)state;
    err_context(&e, "ignored without an error");
    assert_int_equal(e.code, ERR_OK);
    assert_string_equal(e.text, "");
    assert_int_equal(err_set(&e, ERR_STORE, "cause %d", 7), -1);
    assert_int_equal(err_set(&e, ERR_BUG, "later"), -1);
    assert_int_equal(err_nomem(&e), -1);
    assert_int_equal(err_at(&e, &(struct pos){.file = "f", .line = 1, .column = 1}, "later"), -1);
    assert_int_equal(e.code, ERR_STORE);
    assert_string_equal(e.text, "cause 7");
    assert_int_equal(err_set(NULL, ERR_BUG, "nobody asked"), -1);
    err_context(NULL, "nobody asked");
}

static void context_in_front(void **state)
{
    struct err e = {0};
    char longest[2000];

    (void)state;
    err_set(&e, ERR_INPUT, "cause");
    err_context(&e, "inner %d", 1);
    err_context(&e, "outer");
    assert_string_equal(e.text, "outer: inner 1: cause");
    /* However much is put in front, text stays a string within its bounds, and the outermost context stays whole. */
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    for (int i = 0; i < 10; i++)
        err_context(&e, "%s", longest);
    err_context(&e, "last");
    assert_true(memchr(e.text, '\0', sizeof e.text) != NULL);
    assert_int_equal(strncmp(e.text, "last: xxx", 9), 0);
    assert_true(strlen(e.text) > sizeof e.text - 600);
}

static void caret(void **state)
{
    struct err e = {0};
    const char *text = "first\n\tsecond: wrong\nthird";

    (void)state;
    err_at(&e, &(struct pos){.file = "s.yaml", .text = text, .line = 2, .column = 10}, "no");
    assert_int_equal(e.code, ERR_INPUT);
    /* The tab is repeated in the caret's line, so that both are equally wide whatever a tab is. */
    assert_string_equal(e.text, "s.yaml:2:10: no\n    \tsecond: wrong\n    \t        ^");

    e = (struct err){0};
    err_at(&e, &(struct pos){.file = "s.yaml", .text = text, .line = 3, .column = 6}, "end");
    assert_string_equal(e.text, "s.yaml:3:6: end\n    third\n         ^");

    /* Positions that are not in the text are named, and nothing is quoted. */
    e = (struct err){0};
    err_at(&e, &(struct pos){.file = "s.yaml", .text = text, .line = 9, .column = 1}, "x");
    assert_string_equal(e.text, "s.yaml:9:1: x");
    e = (struct err){0};
    err_at(&e, &(struct pos){.file = "s.yaml", .text = text, .line = 1, .column = 400}, "x");
    assert_string_equal(e.text, "s.yaml:1:400: x");
    e = (struct err){0};
    err_at(&e, &(struct pos){.line = 1, .column = 1}, "x");
    assert_string_equal(e.text, "?:1:1: x");
    /* No escape sequence reaches a terminal. */
    e = (struct err){0};
    err_at(&e, &(struct pos){.file = "s", .text = "a\033[31mb\r\n", .line = 1, .column = 1}, "x");
    assert_string_equal(e.text, "s:1:1: x\n    a?[31mb\n    ^");
}

static void cut(void **state)
{
    struct err e = {0};
    char line[5000];

    (void)state;
    memset(line, 'y', sizeof line);
    line[sizeof line - 1] = '\0';
    err_at(&e, &(struct pos){.file = "s", .text = line, .line = 1, .column = 3}, "%s", line);
    assert_true(strlen(e.text) < sizeof e.text);
    e = (struct err){0};
    err_set(&e, ERR_BUG, "%s", line);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
}

static void codes(void **state)
{
    (void)state;
    assert_string_equal(err_code_name(ERR_DEVICE), "DEVICE");
    assert_int_equal(err_exit_code(ERR_OK), 0);
    assert_int_equal(err_exit_code(ERR_USAGE), 2);
    assert_int_equal(err_exit_code(ERR_INPUT), 3);
    assert_int_equal(err_exit_code(ERR_DEVICE), 4);
    assert_int_equal(err_exit_code(ERR_STORE), 5);
    assert_int_equal(err_exit_code(ERR_LOCKED), 6);
    assert_int_equal(err_exit_code(ERR_SYSTEM), 70);
    assert_int_equal(err_exit_code(ERR_BUG), 70);
    assert_int_equal(err_exit_code(ERR_INTERRUPTED), 130);
}

static void nearest(void **state)
{
    static const char *const names[] = {"head_dim", "heads", "kv_heads", "batch", "op"};

    (void)state;
    assert_string_equal(err_nearest("head_dims", names, 5), "head_dim");
    /* A swap costs two, and a third of five letters is one. */
    assert_null(err_nearest("haeds", names, 5));
    assert_string_equal(err_nearest("haeds", (const char *const[]){"other", "heads", "hands"}, 3), "hands");
    assert_string_equal(err_nearest("head", names, 5), "heads");
    assert_string_equal(err_nearest("ob", names, 5), "op");
    assert_null(err_nearest("sequence", names, 5));
    assert_null(err_nearest("heads", names, 0));
    assert_string_equal(err_nearest("batch", names, 5), "batch");
    /* Words longer than the table of distances. */
    char a[200], b[200];
    memset(a, 'a', sizeof a);
    memset(b, 'a', sizeof b);
    a[150] = b[199] = '\0';
    assert_string_equal(err_nearest(a, (const char *const[]){b}, 1), b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_wins), cmocka_unit_test(context_in_front),
        cmocka_unit_test(caret),      cmocka_unit_test(cut),
        cmocka_unit_test(codes),      cmocka_unit_test(nearest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
