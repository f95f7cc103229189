/* Expressions: values, exactness, what is refused and where the caret points. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "expr.h"

static struct expr_scope *new_scope(void)
{
    struct expr_scope *s = expr_scope_new();
    assert_non_null(s);
    assert_int_equal(expr_set_int(s, "BLOCK_M", 64), 0);
    assert_int_equal(expr_set_int(s, "BLOCK_N", 32), 0);
    assert_int_equal(expr_set_int(s, "ZERO", 0), 0);
    assert_int_equal(expr_set_int(s, "NEG", -7), 0);
    assert_int_equal(expr_set_int(s, "BIG", INT64_MAX), 0);
    assert_int_equal(expr_set_str(s, "DTYPE", "f16"), 0);
    return s;
}

static struct expr *compiled(struct expr_scope *s, const char *text)
{
    struct pos at = {.file = "t.yaml", .text = text, .line = 1, .column = 1};
    struct err e = {0};
    struct expr *x = NULL;
    if (expr_compile(&x, s, text, &at, &e) != 0) fail_msg("%s", e.text);
    return x;
}

static void test_integers(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {{"1 + 2 * 3", 7},
                 {"(1 + 2) * 3", 9},
                 {"10 - 4 - 3", 3},
                 {"-BLOCK_M + 1", -63},
                 {"- - 5", 5},
                 {"BLOCK_M // 5", 12},
                 {"NEG // 2", -4},
                 {"NEG % 4", 1},
                 {"7 % NEG", 0},
                 {"8 % NEG", -6},
                 {"BLOCK_M / 4", 16},
                 {"ceil_div(65, BLOCK_M)", 2},
                 {"ceil_div(64, BLOCK_M)", 1},
                 {"ceil_div(NEG, 2)", -3},
                 {"min(3, 1, 2)", 1},
                 {"max(BLOCK_M, BLOCK_N)", 64},
                 {"abs(NEG)", 7},
                 {"2 * BLOCK_M * (BLOCK_N + 8)", 5120},
                 {"BLOCK_M > 32 and 2 or 3", 2},
                 {"BLOCK_M > 64 and 2 or 3", 3},
                 {"9223372036854775807", INT64_MAX},
                 {"BIG - 1", INT64_MAX - 1},
                 {"100 // 7 % 5 * 2", 8}};
    struct expr_scope *s = new_scope();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct expr *x = compiled(s, cases[i].text);
        struct err e = {0};
        int64_t v = 0;
        if (expr_int(x, &v, &e) != 0) fail_msg("%s", e.text);
        if (v != cases[i].value) fail_msg("%s gives %lld", cases[i].text, (long long)v);
        expr_free(x);
    }
    expr_scope_free(s);
}

static void test_truth(void **state)
{
    static const struct {
        const char *text;
        bool value;
    } cases[] = {{"BLOCK_M == 64", true},
                 {"BLOCK_M ~= 64", false},
                 {"BLOCK_N < BLOCK_M and BLOCK_M <= 64", true},
                 {"not (BLOCK_M == 64)", false},
                 {"DTYPE == 'f16'", true},
                 {"DTYPE == \"bf16\" or BLOCK_M >= 128", false},
                 {"not (ZERO ~= 0) and 1 < 2", true},
                 {"ZERO == 0 or BLOCK_M // ZERO > 1", true},
                 {"1 > 2 or 2 > 1 and 3 > 4", false}};
    struct expr_scope *s = new_scope();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct expr *x = compiled(s, cases[i].text);
        struct err e = {0};
        bool v = !cases[i].value;
        if (expr_bool(x, &v, &e) != 0) fail_msg("%s", e.text);
        if (v != cases[i].value) fail_msg("%s is %d", cases[i].text, v);
        expr_free(x);
    }
    expr_scope_free(s);
}

static void test_run_time_errors(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {{"BLOCK_M // ZERO", "division by zero (BLOCK_M = 64, ZERO = 0)"},
                 {"BLOCK_M % ZERO", "division by zero"},
                 {"5 / ZERO", "division by zero"},
                 {"BLOCK_M / 5", "leaves a fraction"},
                 {"BIG + 1", "beyond 2^63"},
                 {"BIG * 2", "beyond 2^63"},
                 {"-BIG - 2", "beyond 2^63"},
                 {"(-BIG - 1) // -1", "beyond 2^63"},
                 {"abs(-BIG - 1)", "beyond 2^63"},
                 {"ceil_div(1, ZERO)", "division by zero"}};
    struct expr_scope *s = new_scope();
    (void)state;
    for (int round = 0; round < 2; round++) /* an error must not leave the state unusable */
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            struct expr *x = compiled(s, cases[i].text);
            struct err e = {0};
            int64_t v;
            assert_int_equal(expr_int(x, &v, &e), -1);
            assert_int_equal(e.code, ERR_INPUT);
            if (!strstr(e.text, cases[i].says)) fail_msg("%s: %s", cases[i].text, e.text);
            assert_int_equal(expr_int(x, &v, NULL), -1);
            expr_free(x);
        }
    expr_scope_free(s);
}

/* column of the caret, and a part of the message */
static void test_refused(void **state)
{
    static const struct {
        const char *text;
        int column;
        const char *says;
    } cases[] = {{"", 1, "is wanted"},
                 {"BLOCK_M +", 10, "ends where a value"},
                 {"BLOCK_M BLOCK_N", 9, "operator is wanted"},
                 {"(BLOCK_M", 9, "`)` is wanted"},
                 {"BLOK_M > 1", 1, "did you mean `BLOCK_M`"},
                 {"1 + BLOCKN", 5, "did you mean `BLOCK_N`"},
                 {"BLOCK_M != 1", 9, "write ~="},
                 {"BLOCK_M = 1", 9, "write =="},
                 {"1.5 > 1", 1, "decimal integers"},
                 {"0x10", 1, "decimal integers"},
                 {"1e3", 1, "decimal integers"},
                 {"9223372036854775808", 1, "larger than"},
                 {"BLOCK_M.x", 8, "may not stand"},
                 {"os.exit()", 3, "may not stand"},
                 {"{}", 1, "may not stand"},
                 {"a[1]", 2, "may not stand"},
                 {"'a' .. 'b'", 5, "not an operator"},
                 {"function() end", 1, "may not stand"},
                 {"print(1)", 1, "is no function"},
                 {"mim(1, 2)", 1, "did you mean `min`"},
                 {"min(1)", 1, "at least 2"},
                 {"abs(1, 2)", 1, "takes 1 value,"},
                 {"DTYPE + 1", 1, "wants an integer"},
                 {"DTYPE == 1", 1, "compares a string with an integer"},
                 {"1 < 2 < 3", 1, "compares a truth value"},
                 {"not BLOCK_M == 1", 5, "not` binds tighter"},
                 {"BLOCK_M and 1 > 2", 1, "wants a truth value"},
                 {"'abc", 1, "does not end"},
                 {"'a\\n'", 3, "a string holds"},
                 {"1 == 1 --x", 10, "unknown name"},
                 {"nil", 1, "may not stand"},
                 {"BLOCK_M ^ 2", 9, "not an operator"},
                 {"#DTYPE", 1, "may not stand"},
                 {"BLOCK_M > 1 ; 2", 13, "may not stand"},
                 {"\x01", 1, "byte 0x01"}};
    struct expr_scope *s = new_scope();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pos at = {.file = "t.yaml", .text = cases[i].text, .line = 1, .column = 1};
        struct err e = {0};
        struct expr *x = NULL;
        char where[64];
        snprintf(where, sizeof where, "t.yaml:1:%d: ", cases[i].column);
        assert_int_equal(expr_compile(&x, s, cases[i].text, &at, &e), -1);
        if (strncmp(e.text, where, strlen(where)) != 0 || !strstr(e.text, cases[i].says))
            fail_msg("%s -> %s", cases[i].text, e.text);
        assert_null(x);
    }
    expr_scope_free(s);
}

static void test_kinds(void **state)
{
    struct expr_scope *s = new_scope();
    struct expr *x = compiled(s, "BLOCK_M");
    struct err e = {0};
    bool b;
    (void)state;
    assert_int_equal(expr_want_int(x, &e), 0);
    assert_int_equal(expr_want_bool(x, &e), -1);
    assert_non_null(strstr(e.text, "is not true or false"));
    assert_int_equal(expr_bool(x, &b, NULL), -1);
    assert_true(expr_uses(x, "BLOCK_M"));
    assert_false(expr_uses(x, "BLOCK_N"));
    assert_string_equal(expr_text(x), "BLOCK_M");
    expr_free(x);
    expr_scope_free(s);
}

/* Deep nesting and long chains end in an error, not in a crash. */
static void test_hostile(void **state)
{
    static const char *const pieces[] = {"(", "-", "not ", "1+", "min(1,", "1==1 and "};
    struct expr_scope *s = new_scope();
    (void)state;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        char text[6000] = "";
        struct pos at = {.file = "t", .text = text, .line = 1, .column = 1};
        struct err e = {0};
        struct expr *x = NULL;
        while (strlen(text) < 4000)
            strcat(text, pieces[i]);
        strcat(text, "1");
        assert_int_equal(expr_compile(&x, s, text, &at, &e), -1);
        assert_int_equal(e.code, ERR_INPUT);
        while (strlen(text) < 5000)
            strcat(text, "+1");
        assert_int_equal(expr_compile(&x, s, text, &at, NULL), -1);
    }
    { /* the deepest that is allowed does compile in Lua */
        char text[400] = "";
        struct expr *x;
        int64_t v;
        for (int i = 0; i < 79; i++)
            strcat(text, "1+");
        strcat(text, "1");
        x = compiled(s, text);
        assert_int_equal(expr_int(x, &v, NULL), 0);
        assert_int_equal(v, 80);
        expr_free(x);
    }
    expr_scope_free(s);
}

static int collect(void *ctx, const char *name, const struct pos *at)
{
    char *out = ctx;
    sprintf(out + strlen(out), "%s@%d ", name, at->column);
    return 0;
}

static void test_names(void **state)
{
    const char *file = "x: A + min(B, 2) * A\n";
    struct pos at = {.file = "t", .text = file, .line = 1, .column = 4};
    char out[100] = "";
    struct err e = {0};
    (void)state;
    assert_int_equal(expr_names("A + min(B, 2) * A", &at, collect, out, &e), 0);
    assert_string_equal(out, "A@4 B@12 A@20 ");
    assert_int_equal(expr_names("A ; B", &at, collect, out, &e), -1);
}

static void test_slots(void **state)
{
    struct expr_scope *s = new_scope();
    struct expr *x = compiled(s, "BLOCK_M + BLOCK_N");
    int slot = expr_slot(s, "BLOCK_N");
    int64_t v;
    (void)state;
    for (int64_t i = -3; i < 3; i++) {
        expr_set_slot(s, slot, i);
        assert_int_equal(expr_slot_value(s, slot), i);
        assert_int_equal(expr_int(x, &v, NULL), 0);
        assert_int_equal(v, 64 + i);
    }
    assert_int_equal(expr_slot(s, "NOBODY"), -1);
    expr_free(x);
    expr_scope_free(s);
}

/* ---- random expressions against 128-bit arithmetic ---- */

struct random_expr {
    char text[2048];
    uint64_t state;
    bool undefined;
};

static unsigned draw(struct random_expr *r, unsigned n)
{
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(r->state >> 33) % n;
}

static __int128 floor_div(__int128 a, __int128 b)
{
    __int128 q = a / b;
    return q * b != a && (a < 0) != (b < 0) ? q - 1 : q;
}

/* Appends an expression, parenthesized or not, and returns its value; any overflow makes it undefined. */
static __int128 grow(struct random_expr *r, int depth)
{
    static const char *const ops[] = {" + ", "-", " * ", " // ", "%"};
    __int128 a, b, v;
    unsigned op;

    if (depth == 0 || draw(r, 5) == 0) {
        static const char *const leaf[] = {"0", "1", "3", "BLOCK_M", "NEG", "BIG", "7919"};
        static const int64_t value[] = {0, 1, 3, 64, -7, INT64_MAX, 7919};
        unsigned i = draw(r, 7);
        strcat(r->text, leaf[i]);
        return value[i];
    }
    op = draw(r, 5);
    strcat(r->text, "(");
    a = grow(r, depth - 1);
    strcat(r->text, ops[op]);
    if (op == 1) strcat(r->text, " "); /* no comment of Lua's: two minus signs */
    b = grow(r, depth - 1);
    strcat(r->text, ")");
    if (r->undefined || (op >= 3 && b == 0)) {
        r->undefined = true;
        return 0;
    }
    v = op == 0 ? a + b : op == 1 ? a - b : op == 2 ? a * b : op == 3 ? floor_div(a, b) : a - b * floor_div(a, b);
    if (v > INT64_MAX || v < INT64_MIN) r->undefined = true;
    return v;
}

static void test_random(void **state)
{
    struct expr_scope *s = new_scope();
    struct random_expr r = {.state = 1};
    int defined = 0;
    (void)state;
    for (int i = 0; i < 4000; i++) {
        struct expr *x;
        __int128 want;
        int64_t v = 0;
        int rc;
        r.text[0] = '\0';
        r.undefined = false;
        want = grow(&r, 5);
        x = compiled(s, r.text);
        rc = expr_int(x, &v, NULL);
        if (r.undefined ? rc == 0 : rc != 0 || v != (int64_t)want) fail_msg("%s", r.text);
        defined += rc == 0;
        expr_free(x);
    }
    assert_true(defined > 500 && defined < 3500); /* both kinds were met */
    expr_scope_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers), cmocka_unit_test(test_truth), cmocka_unit_test(test_run_time_errors),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_kinds), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_names),    cmocka_unit_test(test_slots), cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
