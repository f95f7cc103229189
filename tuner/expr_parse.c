/* Precedence climbing over Lua's own operator levels, for positions and types that Lua's compiler does not give.
 *
 * The output is Lua again, with arithmetic as calls of add, sub, mul, div, idiv, mod (expr.c), which know overflow, zero and
 * fractions, and with names as v[slot]. Every operation is wrapped, so precedence is decided here once. */
#include "expr_private.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 80 /* Lua's compiler allows 200 nested levels */

enum kind { END, INT, STR, NAME, OP };

struct token {
    enum kind kind;
    char op[4]; /* OP: also "and", "or", "not" */
    size_t at, n;
    int64_t value;
};

struct parse {
    const struct expr_scope *scope; /* NULL: tokens only */
    const char *text;
    const struct pos *at;
    struct token t; /* not yet consumed */
    int depth;
    struct expr_code *out;
    struct err *e;
};

struct node {
    unsigned types;
    int height;
    size_t at;
};

static const char *const functions[] = {"min", "max", "abs", "ceil_div"};
static const char *const words[] = {"and", "or", "not"};
static const char *const foreign[] = {"true",  "false",  "nil",   "function", "end", "if", "then",
                                      "else",  "elseif", "while", "for",      "in",  "do", "repeat",
                                      "until", "return", "break", "local",    "goto"};

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static bool listed(const char *const *list, size_t n, const char *s, size_t len)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(list[i]) == len && memcmp(list[i], s, len) == 0) return true;
    return false;
}

bool expr_reserved(const char *name)
{
    size_t n = strlen(name);
    return listed(functions, COUNT(functions), name, n) || listed(words, COUNT(words), name, n) ||
           listed(foreign, COUNT(foreign), name, n);
}

/* The place of text[offset] in the user's file, where the file shows the text literally; where it is folded or escaped, the
 * place where it begins. */
static struct pos place(const struct pos *at, const char *text, size_t offset)
{
    struct pos p = *at;
    const char *line = at->text;

    for (int i = 1; line && i < at->line; i++) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    for (int i = 1; line && i < at->column && *line; line++) /* columns count characters */
        if (((unsigned char)line[1] & 0xc0) != 0x80) i++;
    if (line && strncmp(line, text, offset) == 0 && !memchr(text, '\n', offset))
        for (size_t i = 0; i < offset; i++)
            if (((unsigned char)text[i] & 0xc0) != 0x80) p.column++;
    return p;
}

static int fail(struct parse *p, size_t offset, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct parse *p, size_t offset, const char *fmt, ...)
{
    char what[512];
    struct pos at = place(p->at, p->text, offset);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return err_at(p->e, &at, "%s", what);
}

static int next_number(struct parse *p, struct token *t)
{
    const char *s = p->text + t->at;
    uint64_t v = 0;

    for (t->n = 0; isdigit((unsigned char)s[t->n]); t->n++) {
        uint64_t digit = (uint64_t)(s[t->n] - '0');
        if (v > ((uint64_t)INT64_MAX - digit) / 10) return fail(p, t->at, "the number is larger than 2^63 - 1");
        v = v * 10 + digit;
    }
    if (isalnum((unsigned char)s[t->n]) || s[t->n] == '.' || s[t->n] == '_')
        return fail(p, t->at, "numbers are decimal integers, without fraction, exponent or suffix");
    t->kind = INT;
    t->value = (int64_t)v;
    return 0;
}

static int next_operator(struct parse *p, struct token *t)
{
    static const char *const two[] = {"==", "~=", "<=", ">=", "//"};
    static const struct {
        const char *text, *instead;
    } wrong[] = {{"!=", "~="},
                 {"&&", "and"},
                 {"||", "or"},
                 {"<<", "* and a power of two"},
                 {">>", "// and a power of two"},
                 {"..", "an integer expression"},
                 {"!", "not"},
                 {"=", "=="},
                 {"^", "*"}};
    const char *s = p->text + t->at;

    t->kind = OP;
    for (size_t i = 0; i < COUNT(two); i++)
        if (strncmp(s, two[i], 2) == 0) {
            t->n = 2;
            memcpy(t->op, two[i], 3);
            return 0;
        }
    for (size_t i = 0; i < COUNT(wrong); i++)
        if (strncmp(s, wrong[i].text, strlen(wrong[i].text)) == 0)
            return fail(p, t->at, "`%s` is not an operator here: write %s", wrong[i].text, wrong[i].instead);
    if (strchr("+-*/%(),<>", *s)) {
        t->n = 1;
        t->op[0] = *s;
        return 0;
    }
    if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f)
        return fail(p, t->at, "a character that no expression may contain (byte 0x%02x)", (unsigned char)*s);
    return fail(
        p, t->at,
        "`%c` may not stand in an expression; it has names, integers, 'strings', + - * // %% ( ) == ~= < <= > >= "
        "and or not, min max abs ceil_div",
        *s);
}

/* Reads the token behind p->t into p->t. */
static int next(struct parse *p)
{
    struct token t = {.at = p->t.at + p->t.n};
    const char *s;

    t.at += strspn(p->text + t.at, " \t\r\n");
    s = p->text + t.at;
    if (*s == '\0') {
        p->t = t;
        return 0;
    }
    if (isdigit((unsigned char)*s)) {
        if (next_number(p, &t) != 0) return -1;
    } else if (isalpha((unsigned char)*s) || *s == '_') {
        while (isalnum((unsigned char)s[t.n]) || s[t.n] == '_')
            t.n++;
        t.kind = NAME;
        if (t.n > EXPR_NAME_MAX) return fail(p, t.at, "the name is longer than %d characters", EXPR_NAME_MAX);
        if (listed(words, COUNT(words), s, t.n)) {
            t.kind = OP;
            memcpy(t.op, s, t.n);
        } else if (listed(foreign, COUNT(foreign), s, t.n)) {
            return fail(p, t.at, "`%.*s` may not stand in an expression", (int)t.n, s);
        }
    } else if (*s == '\'' || *s == '"') {
        const char *end = strchr(s + 1, *s);
        if (!end) return fail(p, t.at, "the string does not end");
        t.n = (size_t)(end - s) + 1;
        t.kind = STR;
        for (size_t i = 1; i + 1 < t.n; i++)
            if (!isalnum((unsigned char)s[i]) && !strchr("_-. ", s[i]))
                return fail(p, t.at + i, "a string holds letters, digits, _ - . and spaces only");
    } else if (next_operator(p, &t) != 0) {
        return -1;
    }
    p->t = t;
    return 0;
}

static bool is(const struct parse *p, const char *op)
{
    return p->t.kind == OP && strcmp(p->t.op, op) == 0;
}

static int expect(struct parse *p, const char *op, const char *what)
{
    if (is(p, op)) return next(p);
    if (p->t.kind == END) return fail(p, p->t.at, "the expression ends where %s is wanted", what);
    return fail(p, p->t.at, "%s is wanted here, not `%.*s`", what, (int)p->t.n, p->text + p->t.at);
}

/* Puts text in front of what was written since mark. */
static void wrap(struct buf *b, size_t mark, const char *front)
{
    size_t n = strlen(front);

    buf_puts(b, front); /* grows; the bytes are placed below */
    if (b->failed) return;
    memmove(b->p + mark + n, b->p + mark, b->n - n - mark);
    memcpy(b->p + mark, front, n);
}

static const char *type_text(unsigned types)
{
    if (types == EXPR_INT) return "an integer";
    if (types == EXPR_STR) return "a string";
    if ((types & ~(unsigned)EXPR_TRUTH) == 0) return "a truth value";
    return "not always an integer";
}

static int want(struct parse *p, const struct node *n, unsigned types, const char *op)
{
    if ((n->types & ~types) == 0) return 0;
    return fail(p, n->at, "`%s` wants %s here, but this is %s%s", op, type_text(types), type_text(n->types),
                types == EXPR_TRUTH && n->types == EXPR_INT ? " (compare it: `... ~= 0`; `not` binds tighter than `==`)"
                                                            : "");
}

static int or_level(struct parse *p, struct node *n, int level);

static int name_operand(struct parse *p, struct node *n, const char *name)
{
    struct expr_code *out = p->out;
    int slot = expr_slot(p->scope, name), i = 0;

    if (slot < 0) {
        const char *const *known, *near;
        int nknown = expr_known(p->scope, &known);
        near = err_nearest(name, known, (size_t)nknown);
        if (!near) near = err_nearest(name, functions, COUNT(functions));
        return fail(p, n->at, "unknown name `%s`%s%s%s", name, near ? "; did you mean `" : "", near ? near : "",
                    near ? "`?" : "");
    }
    while (i < out->nslots && out->slots[i] != slot)
        i++;
    if (i == EXPR_SLOTS_MAX) return fail(p, n->at, "more than %d different names in one expression", EXPR_SLOTS_MAX);
    if (i == out->nslots) out->slots[out->nslots++] = slot;
    n->types = expr_slot_type(p->scope, slot);
    buf_printf(&out->lua, "v[%d]", slot + 1);
    return 0;
}

static int call(struct parse *p, struct node *n, const char *name)
{
    int args = 0, least = strcmp(name, "abs") == 0 ? 1 : 2;
    bool exact = name[0] == 'a' || name[0] == 'c'; /* abs and ceil_div; min and max take any number */

    buf_printf(&p->out->lua, "%s(", name);
    if (next(p) != 0) return -1; /* the parenthesis */
    do {
        struct node arg;
        if (args > 0) {
            if (next(p) != 0) return -1;
            buf_puts(&p->out->lua, ",");
        }
        if (or_level(p, &arg, 0) != 0 || want(p, &arg, EXPR_INT, name) != 0) return -1;
        if (arg.height > n->height) n->height = arg.height;
        if (++args > 16) return fail(p, arg.at, "`%s` takes at most 16 values", name);
    } while (is(p, ","));
    if (args < least || (exact && args > least))
        return fail(p, n->at, "`%s` takes %s%d value%s, not %d", name, exact ? "" : "at least ", least,
                    least == 1 ? "" : "s", args);
    n->types = EXPR_INT;
    n->height++;
    buf_puts(&p->out->lua, ")");
    return expect(p, ")", "`)`");
}

static int operand(struct parse *p, struct node *n)
{
    struct token t = p->t;
    const char *s = p->text + t.at;
    char name[EXPR_NAME_MAX + 1];

    *n = (struct node){.at = t.at};
    if (t.kind == END) return fail(p, t.at, "the expression ends where a value is wanted");
    if (t.kind == OP && !is(p, "(")) return fail(p, t.at, "a value is wanted here, not `%s`", t.op);
    if (next(p) != 0) return -1;
    switch (t.kind) {
    case INT:
        n->types = EXPR_INT;
        buf_printf(&p->out->lua, "%" PRId64, t.value);
        return 0;
    case STR:
        n->types = EXPR_STR;
        buf_printf(&p->out->lua, "'%.*s'", (int)t.n - 2, s + 1);
        return 0;
    case NAME:
        snprintf(name, sizeof name, "%.*s", (int)t.n, s);
        if (!is(p, "(")) return name_operand(p, n, name);
        if (!listed(functions, COUNT(functions), s, t.n)) {
            const char *near = err_nearest(name, functions, COUNT(functions));
            return fail(p, t.at, "`%s` is no function; there are min, max, abs and ceil_div%s%s%s", name,
                        near ? "; did you mean `" : "", near ? near : "", near ? "`?" : "");
        }
        return call(p, n, name);
    default: /* a parenthesis */
        if (or_level(p, n, 0) != 0) return -1;
        n->at = t.at;
        return expect(p, ")", "`)`");
    }
}

static int unary(struct parse *p, struct node *n)
{
    size_t mark = p->out->lua.n, at = p->t.at;
    bool negate = is(p, "-");

    if (!negate && !is(p, "not")) return operand(p, n);
    if (++p->depth > DEPTH_MAX) return fail(p, at, "the expression is nested more than %d deep", DEPTH_MAX);
    if (next(p) != 0 || unary(p, n) != 0 || want(p, n, negate ? EXPR_INT : EXPR_TRUTH, negate ? "-" : "not") != 0)
        return -1;
    p->depth--;
    if (negate) {
        wrap(&p->out->lua, mark, "sub(0,");
    } else {
        wrap(&p->out->lua, mark, "(not ");
        n->types = (n->types & EXPR_TRUE ? EXPR_FALSE : 0) | (n->types & EXPR_FALSE ? EXPR_TRUE : 0);
    }
    buf_puts(&p->out->lua, ")");
    n->at = at;
    n->height++;
    return 0;
}

static const struct {
    const char *op, *function;
    int level;
} operators[] = {{"or", NULL, 0},  {"and", NULL, 1}, {"<", NULL, 2},     {"<=", NULL, 2},  {">", NULL, 2},
                 {">=", NULL, 2},  {"==", NULL, 2},  {"~=", NULL, 2},    {"+", "add(", 3}, {"-", "sub(", 3},
                 {"*", "mul(", 4}, {"/", "div(", 4}, {"//", "idiv(", 4}, {"%", "mod(", 4}};

/* Types of l op r, with the complaints that they deserve. */
static int combine(struct parse *p, struct node *l, const struct node *r, const char *op, int level)
{
    if (level >= 3) {
        if (want(p, l, EXPR_INT, op) != 0 || want(p, r, EXPR_INT, op) != 0) return -1;
        l->types = EXPR_INT;
    } else if (level == 2) {
        unsigned both = op[0] == '=' || op[0] == '~' ? (unsigned)EXPR_STR | EXPR_INT : (unsigned)EXPR_INT;
        if ((l->types & ~both) || (r->types & ~both) || l->types != r->types)
            return fail(p, l->at, "`%s` compares %s with %s", op, type_text(l->types), type_text(r->types));
        l->types = EXPR_TRUTH;
    } else if (!(l->types & EXPR_TRUTH)) {
        return want(p, l, EXPR_TRUTH, op);
    } else if (level == 1) {
        l->types = (l->types & EXPR_FALSE) | (l->types & ~(unsigned)EXPR_FALSE ? r->types : 0);
    } else {
        l->types = (l->types & ~(unsigned)EXPR_FALSE) | (l->types & EXPR_FALSE ? r->types : 0);
    }
    if (r->height > l->height) l->height = r->height;
    if (++l->height > DEPTH_MAX) return fail(p, r->at, "the expression is nested more than %d deep", DEPTH_MAX);
    return 0;
}

static int or_level(struct parse *p, struct node *n, int level)
{
    size_t mark = p->out->lua.n;

    if (level > 4) return unary(p, n);
    if (level == 0 && ++p->depth > DEPTH_MAX)
        return fail(p, p->t.at, "the expression is nested more than %d deep", DEPTH_MAX);
    if (or_level(p, n, level + 1) != 0) return -1;
    for (;;) {
        struct node r;
        size_t i = 0;
        while (i < COUNT(operators) && (operators[i].level != level || !is(p, operators[i].op)))
            i++;
        if (i == COUNT(operators)) break;
        if (operators[i].function) {
            wrap(&p->out->lua, mark, operators[i].function);
            buf_puts(&p->out->lua, ",");
        } else {
            wrap(&p->out->lua, mark, "(");
            buf_printf(&p->out->lua, " %s ", operators[i].op);
        }
        if (next(p) != 0 || or_level(p, &r, level + 1) != 0 || combine(p, n, &r, operators[i].op, level) != 0)
            return -1;
        buf_puts(&p->out->lua, ")");
    }
    if (level == 0) p->depth--;
    return 0;
}

int expr_translate(struct expr_code *out, const struct expr_scope *s, const char *text, const struct pos *at,
                   struct err *e)
{
    struct parse p = {.scope = s, .text = text, .at = at, .out = out, .e = e};
    struct node n;

    if (strlen(text) > EXPR_TEXT_MAX) return fail(&p, 0, "the expression is longer than %d characters", EXPR_TEXT_MAX);
    if (next(&p) != 0) return -1;
    if (p.t.kind == END) return fail(&p, 0, "an expression is wanted here");
    if (or_level(&p, &n, 0) != 0) return -1;
    if (p.t.kind != END) return fail(&p, p.t.at, "an operator is wanted here, not `%.*s`", (int)p.t.n, text + p.t.at);
    out->types = n.types;
    return buf_check(&out->lua, e);
}

int expr_names(const char *text, const struct pos *at, int (*f)(void *ctx, const char *name, const struct pos *at),
               void *ctx, struct err *e)
{
    struct parse p = {.text = text, .at = at, .e = e};
    char name[EXPR_NAME_MAX + 1];
    int rc;

    if (strlen(text) > EXPR_TEXT_MAX) return fail(&p, 0, "the expression is longer than %d characters", EXPR_TEXT_MAX);
    do {
        struct pos here;
        if (next(&p) != 0) return -1;
        if (p.t.kind != NAME || listed(functions, COUNT(functions), text + p.t.at, p.t.n)) continue;
        snprintf(name, sizeof name, "%.*s", (int)p.t.n, text + p.t.at);
        here = place(at, text, p.t.at);
        rc = f(ctx, name, &here);
        if (rc != 0) return rc;
    } while (p.t.kind != END);
    return 0;
}
