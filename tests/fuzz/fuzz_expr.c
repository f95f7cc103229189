/* Expressions of strangers: a text is refused with a position or has one value, whatever the values of its names, and an instruction limit
 * ends it. */
#include <string.h>

#include "expr.h"
#include "fuzz.h"

static const char *const names[] = {"BLOCK_M", "BLOCK_N", "ZERO", "BIG", "LEAST"};
static const int64_t values[][5] = {
    {64, 32, 0, INT64_MAX, INT64_MIN}, {1, -1, 0, -INT64_MAX, 1}, {INT64_MIN, INT64_MAX, 1, 3, -1}};

struct answer {
    int integer_rc, bool_rc;
    int64_t integer;
    bool truth;
};

static struct answer evaluate(const struct expr *x)
{
    struct answer a = {0};
    struct err e = {0};

    a.integer_rc = expr_int(x, &a.integer, &e);
    FUZZ_REQUIRE(a.integer_rc == 0 || e.text[0]);
    e = (struct err){0};
    a.bool_rc = expr_bool(x, &a.truth, &e);
    FUZZ_REQUIRE(a.bool_rc == 0 || e.text[0]);
    return a;
}

static void same(const struct answer *a, const struct answer *b)
{
    FUZZ_REQUIRE(a->integer_rc == b->integer_rc && a->bool_rc == b->bool_rc);
    FUZZ_REQUIRE(a->integer_rc != 0 || a->integer == b->integer);
    FUZZ_REQUIRE(a->bool_rc != 0 || a->truth == b->truth);
}

/* x, and the same expression in parentheses (NULL when it is too long or too deep then), agree wherever they are asked. */
static void ask(struct expr_scope *s, const struct expr *x, const struct expr *wrapped)
{
    struct buf seen = {0};

    for (size_t set = 0; set < sizeof values / sizeof values[0]; set++) {
        struct answer first, again;
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            expr_set_slot(s, expr_slot(s, names[i]), values[set][i]);
        first = evaluate(x);
        again = evaluate(x);
        same(&first, &again);
        if (!wrapped) continue;
        again = evaluate(wrapped);
        same(&first, &again);
    }
    expr_values(x, &seen);
    buf_free(&seen);
}

static int count_name(void *ctx, const char *name, const struct pos *at)
{
    FUZZ_REQUIRE(*name && at->line >= 1 && at->column >= 1);
    ++*(int *)ctx;
    return 0;
}

void fuzz_one(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1), *in = malloc(n + 3);
    struct pos at = {.file = "fuzz.yaml", .text = text, .line = 1, .column = 1}, in_at = at;
    struct expr_scope *s = expr_scope_new();
    struct expr *x = NULL, *wrapped = NULL;
    struct err e = {0};
    int named = 0;

    if (!text || !in || !s) abort();
    memcpy(text, data, n);
    text[n] = '\0';
    snprintf(in, n + 3, "(%s)", text);
    in_at.text = in;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        expr_set_int(s, names[i], values[0][i]);
    expr_set_str(s, "DTYPE", "f16");
    expr_set_str(s, "EMPTY", "");
    FUZZ_REQUIRE(expr_names(text, &at, count_name, &named, &e) == 0 || e.code == ERR_INPUT);
    e = (struct err){0};
    if (expr_compile(&x, s, text, &at, &e) == 0) {
        if (expr_compile(&wrapped, s, in, &in_at, NULL) != 0) wrapped = NULL;
        (void)expr_want_int(x, NULL);
        (void)expr_want_bool(x, NULL);
        ask(s, x, wrapped);
        expr_free(wrapped);
        expr_free(x);
    } else {
        FUZZ_REQUIRE(e.code == ERR_INPUT && strncmp(e.text, "fuzz.yaml:", 10) == 0);
    }
    expr_scope_free(s);
    free(in);
    free(text);
}
