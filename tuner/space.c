/* A space is read key by key in the order of the table in read_space; every default is set first, so that a missing section
 * and a missing key mean the same. The digest is taken from a canonical text of the result, not from the file. */
#include "space.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "digest.h"
#include "expr.h"
#include "space_private.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define MAX_VALUES 4096
#define LEAST_SESSIONS 8
#define MOST_SESSIONS 100
#define MAX_ELEMENTS INT32_MAX /* of one tensor: kernels index with 32-bit integers */

int space_check_name(const char *name, const struct pos *at, struct err *e)
{
    size_t n = strlen(name);

    if (n > 0 && n <= EXPR_NAME_MAX && isupper((unsigned char)name[0]) &&
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == n)
        return 0;
    return err_at(e, at,
                  "`%.80s` is no name for a parameter: capitals, digits and underscores, at most %d, a letter first",
                  name, EXPR_NAME_MAX);
}

struct read_value {
    int64_t v;
    struct pos at;
};

static int by_value(const void *a, const void *b)
{
    const struct read_value *x = a, *y = b;
    return x->v != y->v               ? (x->v < y->v ? -1 : 1)
           : x->at.line != y->at.line ? x->at.line - y->at.line
                                      : x->at.column - y->at.column;
}

int space_values_read(struct space_param *out, const struct doc_node *values, struct err *e)
{
    const struct doc_node *item = values->kind == DOC_LIST ? values->item : values;
    int n = values->kind == DOC_LIST ? values->n : 1, rc = -1;
    struct read_value *read;

    if (n < 1) return err_at(e, &values->at, "an empty list of values");
    if (n > MAX_VALUES) return err_at(e, &values->at, "%d values; at most %d", n, MAX_VALUES);
    read = calloc((size_t)n, sizeof *read);
    out->values = calloc((size_t)n, sizeof *out->values);
    out->value_at = calloc((size_t)n, sizeof *out->value_at);
    out->n = n;
    if (!read || !out->values || !out->value_at) {
        err_nomem(e);
        goto out;
    }
    for (int i = 0; i < n; i++) {
        TRY(doc_int(&item[i], INT32_MIN, INT32_MAX, &read[i].v, e));
        read[i].at = item[i].at;
    }
    qsort(read, (size_t)n, sizeof *read, by_value);
    for (int i = 0; i < n; i++) {
        out->values[i] = read[i].v;
        out->value_at[i] = read[i].at;
        if (i == 0 || read[i].v != read[i - 1].v) continue;
        rc = err_at(e, &read[i].at, "%" PRId64 " is listed twice", read[i].v);
        goto out;
    }
    rc = 0;
out:
    free(read);
    return rc;
}

void space_param_free(struct space_param *p)
{
    free(p->name);
    free(p->values);
    free(p->value_at);
    *p = (struct space_param){0};
}

static int any_name(void *ctx, const char *name, const struct pos *at)
{
    (void)ctx;
    (void)name;
    (void)at;
    return 0;
}

static int read_rule(struct space_rule *out, const struct doc_node *n, bool need_why, struct err *e)
{
    static const char *const keys[] = {"if", "why"};
    const struct doc_node *text = n, *why = NULL;

    if (n->kind == DOC_MAP) {
        if (doc_keys(n, "a constraint", keys, COUNT(keys), e) != 0 || doc_need(&text, n, "if", e) != 0) return -1;
        why = doc_get(n, "why");
    }
    if (need_why && !why) return err_at(e, &n->at, "a constraint of a template says why: {if: \"...\", why: \"...\"}");
    if (doc_text(text, &out->text, e) != 0 || (why && doc_text(why, &out->why, e) != 0)) return -1;
    out->at = text->at;
    return expr_names(out->text, &out->at, any_name, NULL, e);
}

int space_rules_read(struct space_rule **rules, int *n, const struct doc_node *list, bool need_why, struct err *e)
{
    if (doc_list(list, e) != 0) return -1;
    *rules = calloc((size_t)list->n + 1, sizeof **rules);
    if (!*rules) return err_nomem(e);
    for (int i = 0; i < list->n; i++) {
        *n = i + 1;
        if (read_rule(&(*rules)[i], &list->item[i], need_why, e) != 0) return -1;
    }
    return 0;
}

void space_rules_free(struct space_rule *rules, int n)
{
    for (int i = 0; i < n; i++) {
        free(rules[i].text);
        free(rules[i].why);
    }
    free(rules);
}

/* ---- sections ---- */

static int read_int(const struct doc_node *map, const char *key, int least, int most, int *out, struct err *e)
{
    const struct doc_node *n = doc_get(map, key);
    int64_t v;

    if (!n) return 0;
    if (doc_int(n, least, most, &v, e) != 0) return -1;
    *out = (int)v;
    return 0;
}

static int read_double(const struct doc_node *map, const char *key, double least, double most, double *out,
                       struct err *e)
{
    const struct doc_node *n = doc_get(map, key);
    return n ? doc_double(n, least, most, out, e) : 0;
}

static int read_choice(const struct doc_node *map, const char *key, const char *const *words, int nwords, int *out,
                       struct err *e)
{
    const struct doc_node *n = doc_get(map, key);
    return n ? doc_choice(n, words, nwords, out, e) : 0;
}

/* Batch x heads x length x head_dim of both tensors must be countable by a kernel. */
static int check_problem(const struct problem *p, const struct doc_node *map, struct err *e)
{
    const struct doc_node *kv = doc_get(map, "kv_heads");
    double q = (double)p->batch * p->heads * p->seq_q * p->head_dim,
           k = (double)p->batch * p->kv_heads * p->seq_kv * p->head_dim;

    if (p->heads % p->kv_heads != 0)
        return err_at(e, &kv->at,
                      "heads (%d) must be a multiple of kv_heads (%d): query heads share key heads in equal groups",
                      p->heads, p->kv_heads);
    if (q > MAX_ELEMENTS || k > MAX_ELEMENTS)
        return err_at(e, &map->at, "%s has %.3g elements; at most %d, because kernels index with 32-bit integers",
                      q >= k ? "q" : "k", q >= k ? q : k, MAX_ELEMENTS);
    return 0;
}

static int read_problem(struct problem *p, const struct doc_node *map, struct err *e)
{
    static const char *const keys[] = {"op",       "batch", "heads", "kv_heads", "seq_q", "seq_kv",
                                       "head_dim", "dtype", "mask",  "scale",    "lse"};
    static const char *const ops[] = {"attention_forward"};
    static const struct {
        const char *key;
        int most;
        size_t offset;
    } required[] = {{"batch", 65536, offsetof(struct problem, batch)},
                    {"heads", 4096, offsetof(struct problem, heads)},
                    {"seq_q", 1 << 20, offsetof(struct problem, seq_q)},
                    {"head_dim", PROBLEM_HEAD_DIM_MAX, offsetof(struct problem, head_dim)}};
    const char *dtypes[] = {dtype_name(DTYPE_F16), dtype_name(DTYPE_BF16)};
    static const char *const masks[] = {"none", "causal"};
    const struct doc_node *n;
    int op = 0, dtype = 0, mask = 0;

    if (doc_keys(map, "`problem`", keys, COUNT(keys), e) != 0 || read_choice(map, "op", ops, 1, &op, e) != 0) return -1;
    for (size_t i = 0; i < COUNT(required); i++) {
        int *field = (int *)(void *)((char *)p + required[i].offset);
        if (doc_need(&n, map, required[i].key, e) != 0 ||
            read_int(map, required[i].key, 1, required[i].most, field, e) != 0)
            return -1;
    }
    p->kv_heads = p->heads;
    p->seq_kv = p->seq_q;
    if (read_int(map, "kv_heads", 1, p->heads, &p->kv_heads, e) != 0 ||
        read_int(map, "seq_kv", 1, 1 << 20, &p->seq_kv, e) != 0 ||
        read_choice(map, "dtype", dtypes, COUNT(dtypes), &dtype, e) != 0 ||
        read_choice(map, "mask", masks, COUNT(masks), &mask, e) != 0)
        return -1;
    p->dtype = dtype == 0 ? DTYPE_F16 : DTYPE_BF16;
    p->mask = mask == 0 ? MASK_NONE : MASK_CAUSAL;
    p->scale = 1.0 / sqrt(p->head_dim);
    n = doc_get(map, "scale");
    if (n && (n->kind != DOC_TEXT || strcmp(n->text, "auto") != 0) && doc_double(n, 1e-6, 1e6, &p->scale, e) != 0)
        return -1;
    n = doc_get(map, "lse");
    if (n && doc_bool(n, &p->lse, e) != 0) return -1;
    return check_problem(p, map, e);
}

static int read_templates(struct space *s, const struct doc_node *list, struct err *e)
{
    if (doc_list(list, e) != 0) return -1;
    if (list->n < 1) return err_at(e, &list->at, "an empty list of templates");
    s->templates = calloc((size_t)list->n, sizeof *s->templates);
    if (!s->templates) return err_nomem(e);
    for (int i = 0; i < list->n; i++) {
        s->ntemplates = i + 1;
        s->templates[i].at = list->item[i].at;
        if (doc_name(&list->item[i], &s->templates[i].name, e) != 0) return -1;
        for (int j = 0; j < i; j++)
            if (strcmp(s->templates[j].name, s->templates[i].name) == 0)
                return err_at(e, &s->templates[i].at, "template `%s` is listed twice", s->templates[i].name);
    }
    return 0;
}

static int read_params(struct space *s, const struct doc_node *map, struct err *e)
{
    if (map->kind != DOC_MAP) return err_at(e, &map->at, "`params` must be a mapping of names to lists of values");
    s->params = calloc((size_t)map->n + 1, sizeof *s->params);
    if (!s->params) return err_nomem(e);
    for (int i = 0; i < map->n; i++) {
        struct space_param *p = &s->params[i];
        s->nparams = i + 1;
        p->at = map->item[i].key_at;
        p->name = strdup(map->item[i].key);
        if (!p->name) return err_nomem(e);
        if (space_check_name(p->name, &p->at, e) != 0 || space_values_read(p, &map->item[i], e) != 0) return -1;
    }
    return 0;
}

static int read_search(struct space *s, const struct doc_node *map, struct err *e)
{
    static const char *const keys[] = {"strategy", "evaluations", "minutes", "seed"};
    const struct doc_node *n;
    int64_t seed;

    if (doc_keys(map, "`search`", keys, COUNT(keys), e) != 0 ||
        read_int(map, "evaluations", 1, 1000000, &s->search.evaluations, e) != 0 ||
        read_double(map, "minutes", 0.01, 10080, &s->search.minutes, e) != 0)
        return -1;
    n = doc_get(map, "strategy");
    if (n) {
        char *name;
        if (doc_name(n, &name, e) != 0) return -1;
        if (strlen(name) >= sizeof s->search.strategy) {
            free(name);
            return err_at(e, &n->at, "no strategy has a name of more than %zu characters",
                          sizeof s->search.strategy - 1);
        }
        memcpy(s->search.strategy, name, strlen(name) + 1);
        free(name);
    }
    n = doc_get(map, "seed");
    if (n && doc_int(n, 0, INT64_MAX, &seed, e) != 0) return -1;
    if (n) s->search.seed = (uint64_t)seed;
    return 0;
}

static int read_validate(struct space *s, const struct doc_node *map, struct err *e)
{
    static const char *const keys[] = {"atol", "rtol", "repeats"};

    if (doc_keys(map, "`validate`", keys, COUNT(keys), e) != 0 ||
        read_double(map, "atol", 0, 1, &s->validate.atol, e) != 0 ||
        read_double(map, "rtol", 0, 1, &s->validate.rtol, e) != 0 ||
        read_int(map, "repeats", 2, 1000, &s->validate.repeats, e) != 0)
        return -1;
    if (s->validate.atol > 0 || s->validate.rtol > 0) return 0;
    return err_at(e, &map->at, "atol and rtol are both 0: no 16-bit result can pass; give one of them");
}

static int read_measure(struct space *s, const struct doc_node *map, struct err *e)
{
    static const char *const keys[] = {"cache"}, *const caches[] = {"warm", "cold"};

    if (doc_keys(map, "`measure`", keys, COUNT(keys), e) != 0) return -1;
    return read_choice(map, "cache", caches, COUNT(caches), &s->measure.cold, e);
}

/* looks: [12, 20, 30] */
static int read_looks(struct space *s, const struct doc_node *map, struct err *e)
{
    const struct doc_node *list = doc_get(map, "looks"), *sessions = doc_get(map, "sessions");

    if (!list) return 0;
    if (doc_list(list, e) != 0) return -1;
    if (sessions) return err_at(e, &sessions->at, "`looks` begins with the number of sessions: leave `sessions` out");
    if (list->n < 2 || list->n > SPACE_LOOKS)
        return err_at(e, &list->at,
                      "`looks` are 2 to %d growing numbers of sessions, as in [12, 20, 30]; for one, give `sessions`",
                      SPACE_LOOKS);
    for (int i = 0; i < list->n; i++) {
        int64_t v;
        if (doc_int(&list->item[i], LEAST_SESSIONS, MOST_SESSIONS, &v, e) != 0) return -1;
        if (i > 0 && v <= s->promote.looks[i - 1])
            return err_at(e, &list->item[i].at, "`looks` must grow: %" PRId64 " comes after %d", v,
                          s->promote.looks[i - 1]);
        s->promote.looks[i] = (int)v;
    }
    s->promote.nlooks = list->n;
    s->promote.sessions = s->promote.looks[0];
    return 0;
}

static int read_promote(struct space *s, const struct doc_node *map, struct err *e)
{
    static const char *const keys[] = {"min_gain", "hedges_g", "alpha", "target_us", "sessions", "looks", "sanitize"};
    static const char *const sanitize[] = {"no", "required"};
    const struct doc_node *n;

    if (doc_keys(map, "`promote`", keys, COUNT(keys), e) != 0 ||
        read_double(map, "min_gain", 0, 0.9, &s->promote.min_gain, e) != 0 ||
        read_double(map, "hedges_g", 0, 100, &s->promote.hedges_g, e) != 0 ||
        read_double(map, "alpha", 1e-5, 0.2, &s->promote.alpha, e) != 0 ||
        read_int(map, "sessions", LEAST_SESSIONS, MOST_SESSIONS, &s->promote.sessions, e) != 0 ||
        read_looks(s, map, e) != 0 ||
        read_choice(map, "sanitize", sanitize, COUNT(sanitize), &s->promote.sanitize, e) != 0)
        return -1;
    n = doc_get(map, "target_us");
    if (!n || (n->kind == DOC_TEXT && strcmp(n->text, "none") == 0)) return 0;
    return doc_double(n, 1e-3, 1e9, &s->promote.target_us, e);
}

static int read_command(struct space_contestant *c, const struct doc_node *list, struct err *e)
{
    if (doc_list(list, e) != 0) return -1;
    if (list->n < 1) return err_at(e, &list->at, "an empty command: it begins with a program, as in [./bench, --fast]");
    c->command_at = list->item[0].at;
    c->command = calloc((size_t)list->n + 1, sizeof *c->command);
    if (!c->command) return err_nomem(e);
    for (int i = 0; i < list->n; i++)
        if (doc_text(&list->item[i], &c->command[i], e) != 0) return -1;
    return 0;
}

static int read_contestant(struct space_contestant *c, const struct doc_node *n, struct err *e)
{
    static const char *const keys[] = {"name", "command"};
    const struct doc_node *name = n, *command = NULL;

    if (n->kind == DOC_MAP) {
        if (doc_keys(n, "a contestant", keys, COUNT(keys), e) != 0) return -1;
        name = doc_get(n, "name");
        command = doc_get(n, "command");
        if (!name || !command)
            return err_at(e, &n->at, "a contestant is a name, or both of {name: mine, command: [./bench, --fast]}");
    }
    c->at = name->at;
    if (doc_name(name, &c->name, e) != 0) return -1;
    if (strcmp(c->name, "champion") == 0)
        return err_at(e, &c->at, "no contestant may be called `champion`: that word means the standing version");
    return command ? read_command(c, command, e) : 0;
}

static int read_contestants(struct space *s, const struct doc_node *list, struct err *e)
{
    if (doc_list(list, e) != 0) return -1;
    s->contestants = calloc((size_t)list->n + 1, sizeof *s->contestants);
    if (!s->contestants) return err_nomem(e);
    for (int i = 0; i < list->n; i++) {
        s->ncontestants = i + 1;
        if (read_contestant(&s->contestants[i], &list->item[i], e) != 0) return -1;
        for (int j = 0; j < i; j++)
            if (strcmp(s->contestants[j].name, s->contestants[i].name) == 0)
                return err_at(e, &s->contestants[i].at, "contestant `%s` is listed twice", s->contestants[i].name);
    }
    return 0;
}

static int read_name(struct space *s, const struct doc_node *n, struct err *e)
{
    return doc_name(n, &s->name, e);
}

static int read_problem_of(struct space *s, const struct doc_node *n, struct err *e)
{
    return read_problem(&s->problem, n, e);
}

static int read_rules(struct space *s, const struct doc_node *n, struct err *e)
{
    return space_rules_read(&s->rules, &s->nrules, n, false, e);
}

static int read_space(struct space *s, const struct doc_node *root, struct err *e)
{
    static const struct {
        const char *key;
        int (*read)(struct space *s, const struct doc_node *n, struct err *e);
        bool required;
    } sections[] = {{"name", read_name, true},           {"problem", read_problem_of, true},
                    {"templates", read_templates, true}, {"params", read_params, false},
                    {"constraints", read_rules, false},  {"search", read_search, false},
                    {"validate", read_validate, false},  {"measure", read_measure, false},
                    {"promote", read_promote, false},    {"contestants", read_contestants, false}};
    const char *keys[COUNT(sections)];
    const struct doc_node *n;

    for (size_t i = 0; i < COUNT(sections); i++)
        keys[i] = sections[i].key;
    if (doc_keys(root, "a space", keys, COUNT(sections), e) != 0) return -1;
    for (size_t i = 0; i < COUNT(sections); i++) {
        if (sections[i].required && doc_need(&n, root, keys[i], e) != 0) return -1;
        n = doc_get(root, keys[i]);
        if (n && sections[i].read(s, n, e) != 0) return -1;
    }
    return 0;
}

static void defaults(struct space *s)
{
    memcpy(s->search.strategy, "auto", 5);
    s->search.evaluations = 400;
    s->search.minutes = 20;
    s->search.seed = 42;
    s->validate.atol = 1e-2;
    s->validate.rtol = 5e-2;
    s->validate.repeats = 20;
    s->promote.min_gain = 0.005;
    s->promote.hedges_g = 0.8;
    s->promote.alpha = 0.005;
    s->promote.sessions = 12;
}

/* ---- digest ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct space_param *const *)a)->name, (*(const struct space_param *const *)b)->name);
}

/* White space between tokens means nothing. */
static void rule_text(struct buf *b, const char *text)
{
    bool space = false, any = false;

    buf_puts(b, "rule ");
    for (; *text; text++) {
        if (isspace((unsigned char)*text)) {
            space = any;
            continue;
        }
        if (space) buf_puts(b, " ");
        buf_add(b, text, 1);
        any = true;
        space = false;
    }
    buf_puts(b, "\n");
}

static int take_digest(struct space *s, struct err *e)
{
    const struct problem *p = &s->problem;
    const struct space_param **sorted = calloc((size_t)s->nparams + 1, sizeof(struct space_param *));
    struct buf b = {0};
    int rc;

    if (!sorted) return err_nomem(e);
    buf_printf(&b, "name %s\nproblem %d %d %d %d %d %d %s %s %.17g %d\n", s->name, p->batch, p->heads, p->kv_heads,
               p->seq_q, p->seq_kv, p->head_dim, dtype_name(p->dtype), mask_name(p->mask), p->scale, p->lse);
    for (int i = 0; i < s->ntemplates; i++)
        buf_printf(&b, "template %s\n", s->templates[i].name);
    for (int i = 0; i < s->nparams; i++)
        sorted[i] = &s->params[i];
    qsort(sorted, (size_t)s->nparams, sizeof *sorted, by_name);
    for (int i = 0; i < s->nparams; i++) {
        buf_printf(&b, "param %s", sorted[i]->name);
        for (int k = 0; k < sorted[i]->n; k++)
            buf_printf(&b, " %" PRId64, sorted[i]->values[k]);
        buf_puts(&b, "\n");
    }
    for (int i = 0; i < s->nrules; i++)
        rule_text(&b, s->rules[i].text);
    buf_printf(&b, "search %s %d %.17g %" PRIu64 "\n", s->search.strategy, s->search.evaluations, s->search.minutes,
               s->search.seed);
    buf_printf(&b, "validate %.17g %.17g %d\ncold %d\n", s->validate.atol, s->validate.rtol, s->validate.repeats,
               s->measure.cold);
    buf_printf(&b, "promote %.17g %.17g %.17g %.17g %d\n", s->promote.min_gain, s->promote.hedges_g, s->promote.alpha,
               s->promote.target_us, s->promote.sessions);
    for (int i = 0; i < s->promote.nlooks; i++)
        buf_printf(&b, "look %d\n", s->promote.looks[i]);
    if (s->promote.sanitize) buf_puts(&b, "sanitize required\n");
    rc = buf_check(&b, e);
    if (rc == 0) digest_bytes(s->digest, b.p, b.n);
    buf_free(&b);
    free(sorted);
    return rc;
}

int space_parse(struct space *out, const char *text, size_t n, const char *path, struct err *e)
{
    struct space s = {0};
    struct doc_node *root = NULL;
    int rc = -1;

    s.path = strdup(path);
    s.text = malloc(n + 1);
    if (!s.path || !s.text) {
        err_nomem(e);
        goto out;
    }
    if (n > 0) memcpy(s.text, text, n);
    s.text[n] = '\0';
    defaults(&s);
    TRY(doc_parse(&root, s.text, n, s.path, e));
    TRY(read_space(&s, root, e));
    TRY(take_digest(&s, e));
    *out = s;
out:
    doc_free(root);
    if (rc != 0) space_free(&s);
    return rc;
}

int space_load(struct space *out, const char *path, struct err *e)
{
    struct buf b = {0};
    int rc = buf_read_file(&b, path, DOC_MAX_BYTES, ERR_INPUT, e);

    if (rc == 0) rc = space_parse(out, buf_text(&b), b.n, path, e);
    buf_free(&b);
    return rc;
}

void space_free(struct space *s)
{
    if (!s) return;
    for (int i = 0; i < s->ntemplates; i++)
        free(s->templates[i].name);
    for (int i = 0; i < s->nparams; i++)
        space_param_free(&s->params[i]);
    space_rules_free(s->rules, s->nrules);
    for (int i = 0; i < s->ncontestants; i++) {
        for (char **word = s->contestants[i].command; word && *word; word++)
            free(*word);
        free(s->contestants[i].command);
        free(s->contestants[i].name);
    }
    free(s->contestants);
    free(s->templates);
    free(s->params);
    free(s->name);
    free(s->path);
    free(s->text);
    *s = (struct space){0};
}
