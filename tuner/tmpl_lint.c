/* A preprocessor's view of the kernel source: continued lines are joined, comments are blanks, the rest is tokens that know
 * where they stood. On that view: what is included, which names decide an #if, which parameters the kernel really uses.
 *
 * What would make this view differ from a compiler's is refused: trigraphs, raw strings, digit separators, lone carriage
 * returns, white space behind a continued line, quotes that do not close, letters beyond ASCII. It guards an author against
 * mistakes and a user against a template that reads files (docs/SECURITY.md). */
#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tmpl_private.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

enum kind { NAME, NUMBER, STRING, CHARACTER, SIGN };

struct token {
    enum kind kind;
    bool first; /* of its line */
    uint32_t at, n;
};

struct lint {
    const struct tmpl *t;
    char *c;        /* the source with continued lines joined, n bytes and a NUL */
    uint32_t *from; /* offset of each in the file */
    size_t n;
    struct token *tokens;
    size_t ntokens;
    const struct token *guards[64]; /* open #if: the name X of `#ifndef X`, or NULL */
    int depth;
    struct err *e;
};

static int fail(struct lint *l, size_t at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct lint *l, size_t at, const char *fmt, ...)
{
    const char *source = l->t->priv->source;
    struct pos pos = {.file = l->t->priv->source_path, .text = source, .line = 1, .column = 1};
    char what[512];
    va_list ap;

    for (uint32_t i = 0; i < l->from[at]; i++) {
        if (source[i] == '\n') {
            pos.line++;
            pos.column = 1;
        } else if (((unsigned char)source[i + 1] & 0xc0) != 0x80) {
            pos.column++;
        }
    }
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return err_at(l->e, &pos, "%s", what);
}

static bool token_is(const struct lint *l, const struct token *t, const char *text)
{
    return strlen(text) == t->n && memcmp(l->c + t->at, text, t->n) == 0;
}

static bool starts(const struct lint *l, const struct token *t, const char *text)
{
    return strlen(text) <= t->n && memcmp(l->c + t->at, text, strlen(text)) == 0;
}

static bool same(const struct lint *l, const struct token *a, const struct token *b)
{
    return a->n == b->n && memcmp(l->c + a->at, l->c + b->at, a->n) == 0;
}

/* Is there white space, and nothing else, in front of the line's end? */
static bool blank_to_end(const char *s)
{
    size_t n = strspn(s, " \t\v\f\r");

    return n > 0 && (s[n] == '\n' || s[n] == '\0');
}

/* Joins lines that end in a backslash. With white space behind it NVRTC does not join them, clang does: a comment of one would be a
 * directive of the other. */
static int splice(struct lint *l)
{
    const char *s = l->t->priv->source;
    size_t n = l->t->priv->source_n;

    l->c = malloc(n + 1);
    l->from = malloc((n + 1) * sizeof *l->from);
    if (!l->c || !l->from) return err_nomem(l->e);
    for (size_t i = 0; i < n; i++) {
        size_t k = i + 1;
        if (s[i] == '\\') {
            if (k + 1 < n && s[k] == '\r' && s[k + 1] == '\n') k++;
            if (k < n && s[k] == '\n') {
                i = k;
                continue;
            }
        }
        l->from[l->n] = (uint32_t)i;
        l->c[l->n++] = s[i];
    }
    l->c[l->n] = '\0';
    l->from[l->n] = (uint32_t)n;
    for (size_t i = 0; i < l->n; i++) {
        if (l->c[i] == '\0') return fail(l, i, "a zero byte in the source");
        if (l->c[i] == '\\' && blank_to_end(l->c + i + 1))
            return fail(l, i, "white space behind a backslash that ends a line: compilers disagree on it; delete it");
        if (l->c[i] == '\r' && l->c[i + 1] != '\n')
            return fail(l, i, "a carriage return without a line feed: compilers disagree on it");
        if (l->c[i] == '?' && l->c[i + 1] == '?' && l->c[i + 2] != '\0' && strchr("=/'()!<>-", l->c[i + 2]))
            return fail(l, i, "trigraphs are refused: some compilers read them, some do not");
    }
    return 0;
}

static bool name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$';
}

/* Past white space and comments; *newline is set when a line ended outside a comment. -1: a comment does not end. */
static int skip_blank(struct lint *l, size_t *i, bool *newline)
{
    const char *c = l->c;

    for (;;) {
        if (c[*i] == '\n') {
            *newline = true;
            ++*i;
        } else if (c[*i] != '\0' && strchr(" \t\v\f\r", c[*i])) {
            ++*i;
        } else if (c[*i] == '/' && c[*i + 1] == '/') {
            *i += strcspn(c + *i, "\n");
        } else if (c[*i] == '/' && c[*i + 1] == '*') {
            const char *end = strstr(c + *i + 2, "*/");
            if (!end) return fail(l, *i, "the comment does not end");
            *i = (size_t)(end - c) + 2;
        } else {
            return 0;
        }
    }
}

static int quoted(struct lint *l, struct token *t)
{
    const char *c = l->c + t->at;
    uint32_t k = 1;

    while (c[k] != c[0]) {
        if (c[k] == '\n' || c[k] == '\0') return fail(l, t->at, "the quote does not close on its line");
        if (c[k] == '\\' && c[k + 1] != '\0' && c[k + 1] != '\n') k++;
        k++;
    }
    t->kind = c[0] == '"' ? STRING : CHARACTER;
    t->n = k + 1;
    return 0;
}

/* A preprocessing number: 1.0e-3f, 0x1p+2 */
static int number(struct lint *l, struct token *t)
{
    const char *c = l->c + t->at;
    uint32_t k = 1;

    while (name_char(c[k]) || c[k] == '.' || ((c[k] == '+' || c[k] == '-') && strchr("eEpP", c[k - 1])))
        k++;
    if (c[k] == '\'') return fail(l, t->at + k, "digit separators are refused: OpenCL C reads them otherwise than C++");
    t->kind = NUMBER;
    t->n = k;
    return 0;
}

static int word(struct lint *l, struct token *t)
{
    static const char *const raw[] = {"R", "LR", "uR", "UR", "u8R"};

    t->kind = NAME;
    while (name_char(l->c[t->at + t->n]))
        t->n++;
    for (size_t i = 0; l->c[t->at + t->n] == '"' && i < COUNT(raw); i++)
        if (token_is(l, t, raw[i])) return fail(l, t->at, "raw strings are refused");
    return 0;
}

static int tokenize(struct lint *l)
{
    size_t cap = 0;
    bool newline = true;

    for (size_t i = 0;;) {
        struct token t = {.kind = SIGN};
        int rc = 0;
        if (skip_blank(l, &i, &newline) != 0) return -1;
        if (l->c[i] == '\0') return 0;
        t.at = (uint32_t)i;
        t.first = newline;
        newline = false;
        if (l->c[i] == '"' || l->c[i] == '\'')
            rc = quoted(l, &t);
        else if (isdigit((unsigned char)l->c[i]) || (l->c[i] == '.' && isdigit((unsigned char)l->c[i + 1])))
            rc = number(l, &t);
        else if (name_char(l->c[i]))
            rc = word(l, &t);
        else if (l->c[i] == '\\')
            rc = fail(l, i, "a backslash outside of text and line ends");
        else if (!isgraph((unsigned char)l->c[i]))
            rc = fail(l, i, "only ASCII may stand outside of comments and text: compilers disagree on the rest");
        else
            t.n = l->c[i] == '%' && l->c[i + 1] == ':' ? 2 : 1;
        if (rc != 0) return -1;
        i += t.n;
        if (l->ntokens == cap) {
            struct token *more = realloc(l->tokens, (cap ? 2 * cap : 1024) * sizeof *more);
            if (!more) return err_nomem(l->e);
            l->tokens = more;
            cap = cap ? 2 * cap : 1024;
        }
        l->tokens[l->ntokens++] = t;
    }
}

/* ---- names ---- */

static bool hash_sign(const struct lint *l, const struct token *t)
{
    return t->first && t->kind == SIGN && (token_is(l, t, "#") || token_is(l, t, "%:"));
}

/* Does the prelude define it? */
static bool given(const struct lint *l, const struct token *t)
{
    char name[80];

    if (t->n >= sizeof name) return false;
    snprintf(name, sizeof name, "%.*s", (int)t->n, l->c + t->at);
    if (tmpl_param_index(l->t, name) >= 0) return true;
    for (int i = 0; i < l->t->nderive; i++)
        if (strcmp(l->t->derive[i].why, name) == 0) return true;
    return tmpl_builtin(name) && strcmp(name, "DTYPE") != 0;
}

/* #define somewhere in the file. */
static bool defined_here(const struct lint *l, const struct token *t)
{
    for (size_t i = 0; i + 2 < l->ntokens; i++)
        if (hash_sign(l, &l->tokens[i]) && token_is(l, &l->tokens[i + 1], "define") && same(l, &l->tokens[i + 2], t))
            return true;
    return false;
}

static int check_condition_name(struct lint *l, const struct token *t)
{
    const char *known[TMPL_MAX_PARAMS], *near;
    char name[80];

    if (given(l, t) || starts(l, t, "__") || token_is(l, t, "defined") || token_is(l, t, "true") ||
        token_is(l, t, "false"))
        return 0;
    if (strcmp(l->t->language, "opencl") == 0 && (starts(l, t, "cl_khr_") || starts(l, t, "CL_VERSION_"))) return 0;
    if (defined_here(l, t)) return 0;
    snprintf(name, sizeof name, "%.*s", (int)t->n, l->c + t->at);
    for (int i = 0; i < l->t->nparams; i++)
        known[i] = l->t->params[i].range.name;
    near = err_nearest(name, known, (size_t)l->t->nparams);
    return fail(l, t->at, "nobody defines `%s`, so this condition never changes%s%s%s", name,
                near ? "; did you mean `" : "", near ? near : "", near ? "`?" : "");
}

/* ---- directives ---- */

static int check_include(struct lint *l, const struct token *word_)
{
    const char *s = l->c + word_->at + word_->n;
    size_t n;

    s += strspn(s, " \t");
    n = strcspn(s, ">\n");
    if (*s == '"') /* which a compiler looks for in the working directory first */
        return fail(l, (size_t)(s - l->c), "#include takes <name>, a header of the toolkit, not \"name\"");
    if (*s != '<' || s[n] != '>') return fail(l, word_->at, "#include needs the header's name itself: <name>");
    s++;
    n--;
    for (int i = 0; i < l->t->priv->nincludes; i++)
        if (strlen(l->t->priv->includes[i]) == n && memcmp(l->t->priv->includes[i], s, n) == 0) return 0;
    return fail(l, (size_t)(s - l->c), "`%.*s` is not among the `includes` of template.yaml", (int)(n < 100 ? n : 100),
                s);
}

static bool pragma_allowed(const char *s)
{
    static const char *const known[] = {"unroll", "nounroll", "OPENCL", "STDC", "nv_diag_suppress", "nv_diag_default"};
    size_t n;

    s += strspn(s, " \t");
    for (n = 0; name_char(s[n]); n++)
        ;
    for (size_t i = 0; i < COUNT(known); i++)
        if (strlen(known[i]) == n && memcmp(known[i], s, n) == 0) return true;
    return false;
}

/* X of `ifndef X`, `if !defined X` or `if !defined(X)` that is the whole directive; d: the directive's name, n tokens with it. */
static const struct token *guard_of(const struct lint *l, const struct token *d, size_t n)
{
    if (token_is(l, d, "ifndef")) return n >= 2 ? d + 1 : NULL;
    if (!token_is(l, d, "if") || n < 4 || !token_is(l, d + 1, "!") || !token_is(l, d + 2, "defined")) return NULL;
    if (n == 4) return d + 3;
    return n == 6 && token_is(l, d + 3, "(") && token_is(l, d + 5, ")") ? d + 4 : NULL;
}

static int open_or_close(struct lint *l, const struct token *d, size_t n)
{
    if (starts(l, d, "if")) {
        if (l->depth == (int)COUNT(l->guards)) return fail(l, d->at, "#if nested more than %zu deep", COUNT(l->guards));
        l->guards[l->depth++] = guard_of(l, d, n);
    } else if (l->depth == 0) {
        return fail(l, d->at, "#%.*s without an #if", (int)d->n, l->c + d->at);
    } else if (token_is(l, d, "endif")) {
        l->depth--;
    } else {
        l->guards[l->depth - 1] = NULL; /* #else, #elif: the other branch */
    }
    return 0;
}

/* A #define of a name that the prelude gives would win over it, and the parameter would be dead. */
static int check_define(struct lint *l, const struct token *d, size_t n)
{
    if (n < 2 || !given(l, d + 1)) return 0;
    if (token_is(l, d, "define"))
        for (int i = 0; i < l->depth; i++)
            if (l->guards[i] && same(l, l->guards[i], d + 1)) return 0;
    return fail(l, d[1].at, "`%.*s` comes from fatune; give it a default only under `#ifndef %.*s`", (int)d[1].n,
                l->c + d[1].at, (int)d[1].n, l->c + d[1].at);
}

/* d: the directive's name, n tokens with it. */
static int directive(struct lint *l, const struct token *d, size_t n)
{
    static const char *const conditions[] = {"if", "ifdef", "ifndef", "elif"};

    if (token_is(l, d, "include")) return check_include(l, d);
    if (token_is(l, d, "pragma")) {
        if (pragma_allowed(l->c + d->at + d->n)) return 0;
        return fail(l, d->at, "only #pragma unroll, nounroll, OPENCL, STDC and nv_diag_* are allowed");
    }
    if (token_is(l, d, "define") || token_is(l, d, "undef")) return check_define(l, d, n);
    if (token_is(l, d, "else") || token_is(l, d, "endif")) return open_or_close(l, d, n);
    for (size_t i = 0; i < COUNT(conditions); i++) {
        if (!token_is(l, d, conditions[i])) continue;
        for (size_t k = 1; k < n; k++)
            if (d[k].kind == NAME && check_condition_name(l, d + k) != 0) return -1;
        return open_or_close(l, d, n);
    }
    if (token_is(l, d, "error") || token_is(l, d, "warning")) return 0;
    return fail(l, d->at, "#%.*s is not allowed in a kernel", (int)(d->n < 60 ? d->n : 60), l->c + d->at);
}

static int directives(struct lint *l)
{
    for (size_t i = 0; i < l->ntokens; i++) {
        size_t n = 1;
        if (!hash_sign(l, &l->tokens[i])) continue;
        while (i + n < l->ntokens && !l->tokens[i + n].first)
            n++;
        if (n > 1 && directive(l, &l->tokens[i + 1], n - 1) != 0) return -1; /* a # alone does nothing */
    }
    return l->depth == 0 ? 0 : fail(l, l->n, "an #if is not closed");
}

/* Words that ask for files. */
static const struct {
    const char *text;
    bool opencl; /* there alone: on a CPU it would be an assembler's, which can read files */
} forbidden[] = {{"__has_include", false},
                 {"__has_include_next", false},
                 {"__has_embed", false},
                 {"__pragma", false},
                 {"asm", true},
                 {"__asm", true},
                 {"__asm__", true}};

static bool is_forbidden(const struct lint *l, size_t k)
{
    return !forbidden[k].opencl || strcmp(l->t->language, "opencl") == 0;
}

/* The ## that pastes tokens, NULL when there is none. */
static const struct token *pasting(const struct lint *l)
{
    for (size_t i = 0; i + 1 < l->ntokens; i++) {
        const struct token *t = &l->tokens[i];
        if ((token_is(l, t, "#") || token_is(l, t, "%:")) && t[1].at == t->at + t->n && same(l, t, t + 1)) return t;
    }
    return NULL;
}

/* Can shorter words and numbers of the file be put together to this one? */
static bool composable(const struct lint *l, const char *text)
{
    bool reached[32] = {true};
    size_t n = strlen(text);

    for (size_t at = 0; at < n; at++)
        for (size_t i = 0; reached[at] && i < l->ntokens; i++) {
            const struct token *t = &l->tokens[i];
            if ((t->kind == NAME || t->kind == NUMBER) && t->n < n && t->n <= n - at &&
                memcmp(l->c + t->at, text + at, t->n) == 0)
                reached[at + t->n] = true;
        }
    return reached[n];
}

static int not_pasted(struct lint *l, const char *text)
{
    const struct token *t = pasting(l);

    if (!t || !composable(l, text)) return 0;
    return fail(l, t->at, "`##` could make `%s` of names in this file, and a kernel must not: rename one", text);
}

static int check_words(struct lint *l)
{
    for (size_t i = 0; i < l->ntokens; i++) {
        const struct token *t = &l->tokens[i];
        if (t->kind != NAME) continue;
        for (size_t k = 0; k < COUNT(forbidden); k++)
            if (is_forbidden(l, k) && token_is(l, t, forbidden[k].text))
                return fail(l, t->at, "`%s` is not allowed in a kernel%s", forbidden[k].text,
                            forbidden[k].opencl ? " for OpenCL: on a CPU it could read files" : "");
        if (t->first && (token_is(l, t, "import") || token_is(l, t, "module")))
            return fail(l, t->at, "modules are not allowed in a kernel");
        if (token_is(l, t, "_Pragma") && (i + 2 >= l->ntokens || !token_is(l, t + 1, "(") || t[2].kind != STRING ||
                                          l->c[t[2].at] != '"' || !pragma_allowed(l->c + t[2].at + 1)))
            return fail(l, t->at, "only _Pragma(\"unroll ...\"), nounroll, OPENCL, STDC and nv_diag_* are allowed");
    }
    for (size_t k = 0; k < COUNT(forbidden); k++)
        if (is_forbidden(l, k) && forbidden[k].text[0] == '_' && not_pasted(l, forbidden[k].text) != 0) return -1;
    return not_pasted(l, "_Pragma"); /* `asm` of a, s and m is no keyword of OpenCL C */
}

/* ---- use ---- */

/* Is token i a use of its name, not only the question whether it is defined, or its default? */
static bool is_use(const struct lint *l, size_t i)
{
    const struct token *t = &l->tokens[i];

    if (i >= 1 && token_is(l, t - 1, "defined")) return false;
    if (i >= 2 && token_is(l, t - 1, "(") && token_is(l, t - 2, "defined")) return false;
    return !(i >= 2 && hash_sign(l, t - 2) &&
             (token_is(l, t - 1, "define") || token_is(l, t - 1, "undef") || token_is(l, t - 1, "ifdef") ||
              token_is(l, t - 1, "ifndef")));
}

static bool used(const struct lint *l, const char *name)
{
    for (size_t i = 0; i < l->ntokens; i++)
        if (l->tokens[i].kind == NAME && token_is(l, &l->tokens[i], name) && is_use(l, i)) return true;
    return false;
}

struct search_name {
    const char *name;
    bool found;
};

static int match(void *ctx, const char *name, const struct pos *at)
{
    struct search_name *s = ctx;
    (void)at;
    s->found = s->found || strcmp(s->name, name) == 0;
    return 0;
}

static bool rule_names(const struct space_rule *r, const char *name)
{
    struct search_name s = {name, false};

    return r->text && expr_names(r->text, &r->at, match, &s, NULL) == 0 && s.found;
}

/* Is the name used by a derived value from number `from` on that reaches the kernel? */
static bool derived_use(const struct lint *l, const char *name, const bool *live, int from)
{
    for (int i = from; i < l->t->nderive; i++)
        if (live[i] && rule_names(&l->t->derive[i], name)) return true;
    return false;
}

/* In the source, or by a tensor map: the kernel is given it as data. */
static bool reaches_kernel(const struct lint *l, const char *name)
{
    for (int i = TMPL_MAPS; i < TMPL_NLAUNCH; i++)
        if (rule_names(&l->t->priv->launch[i], name)) return true;
    return used(l, name);
}

static bool mentioned(const struct lint *l, const char *name)
{
    for (size_t i = 0; i < l->ntokens; i++)
        if (token_is(l, &l->tokens[i], name)) return true;
    return false;
}

static int check_use(struct lint *l)
{
    const struct tmpl *t = l->t;
    bool *live = calloc((size_t)t->nderive + 1, sizeof *live);
    int rc = 0;

    if (!live) return err_nomem(l->e);
    t->priv->tile_hooks = mentioned(l, TMPL_DEBUG);
    for (int i = t->nderive - 1; i >= 0; i--)
        live[i] = reaches_kernel(l, t->derive[i].why) || derived_use(l, t->derive[i].why, live, i + 1);
    for (int i = 0; i < t->nparams && rc == 0; i++) {
        const struct space_param *p = &t->params[i].range;
        if (reaches_kernel(l, p->name) || derived_use(l, p->name, live, 0)) continue;
        rc = err_at(l->e, &p->at,
                    "parameter `%s` changes nothing: neither %s nor a tensor map uses it or a value derived from it",
                    p->name, t->priv->source_name);
    }
    if (rc == 0 && !used(l, t->entry))
        rc = fail(l, 0, "the kernel `%s`, the manifest's `entry`, is not in the source", t->entry);
    free(live);
    return rc;
}

int tmpl_lint(const struct tmpl *t, struct err *e)
{
    struct lint l = {.t = t, .e = e};
    int rc = -1;

    if (splice(&l) == 0 && tokenize(&l) == 0 && directives(&l) == 0 && check_words(&l) == 0) rc = check_use(&l);
    free(l.c);
    free(l.from);
    free(l.tokens);
    return rc;
}
