/* An own loop over libyaml's events: yaml_parser_load would expand aliases and build before anybody could refuse. The tree is
 * built by recursion, whose depth the limit bounds. */
#include "doc.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "buf.h"

#define MAX_DEPTH 16
#define MAX_EVENTS 10000
#define MAX_SCALAR 4096
#define MAX_KEYS 256

struct reader {
    yaml_parser_t yaml;
    const char *path, *text;
    size_t n;
    int events;
    struct err *e;
};

static struct pos mark(const struct reader *r, yaml_mark_t m)
{
    return (struct pos){.file = r->path, .text = r->text, .line = (int)m.line + 1, .column = (int)m.column + 1};
}

/* libyaml's own complaint. */
static int bad_yaml(struct reader *r)
{
    const yaml_parser_t *y = &r->yaml;
    struct pos at = mark(r, y->problem_mark);
    const char *hint = "";

    if (y->error == YAML_MEMORY_ERROR) return err_nomem(r->e);
    if (y->problem_mark.index < r->n && memchr(r->text, '\t', r->n) && y->error == YAML_SCANNER_ERROR &&
        strstr(y->problem ? y->problem : "", "start any token"))
        hint = "; indent with spaces, not tabs, and quote text that begins with a special character";
    else if (y->error == YAML_SCANNER_ERROR && strstr(y->problem ? y->problem : "", "mapping values"))
        hint = "; is the indentation right, and is there a quote missing around text with `: `?";
    if (y->context && y->context_mark.line != y->problem_mark.line)
        return err_at(r->e, &at, "not YAML: %s, %s that began on line %zu%s", y->problem, y->context,
                      y->context_mark.line + 1, hint);
    return err_at(r->e, &at, "not YAML: %s%s%s%s", y->problem ? y->problem : "unreadable", y->context ? ", " : "",
                  y->context ? y->context : "", hint);
}

/* The next event; the caller deletes it. */
static int next(struct reader *r, yaml_event_t *ev)
{
    if (!yaml_parser_parse(&r->yaml, ev)) return bad_yaml(r);
    if (++r->events > MAX_EVENTS) {
        struct pos at = mark(r, ev->start_mark);
        yaml_event_delete(ev);
        return err_at(r->e, &at, "more than %d YAML elements", MAX_EVENTS);
    }
    return 0;
}

static int no_extras(struct reader *r, const struct pos *at, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor)
        return err_at(r->e, at, "anchors (&%.40s) are not supported: write the value out", (const char *)anchor);
    if (tag) return err_at(r->e, at, "tags (%.60s) are not supported: every value is plain text", (const char *)tag);
    return 0;
}

static void release(struct doc_node *n)
{
    for (int i = 0; i < n->n; i++)
        release(&n->item[i]);
    free(n->item);
    free(n->key);
    free(n->text);
}

void doc_free(struct doc_node *root)
{
    if (!root) return;
    release(root);
    free(root);
}

static int scalar(struct reader *r, const yaml_event_t *ev, char **out, struct pos *at)
{
    const char *text = (const char *)ev->data.scalar.value;
    size_t n = ev->data.scalar.length;

    if (no_extras(r, at, ev->data.scalar.anchor, ev->data.scalar.tag) != 0) return -1;
    if (n > MAX_SCALAR) return err_at(r->e, at, "the text is longer than %d bytes", MAX_SCALAR);
    if (memchr(text, '\0', n)) return err_at(r->e, at, "a zero byte in the text");
    if (ev->data.scalar.style == YAML_SINGLE_QUOTED_SCALAR_STYLE ||
        ev->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE)
        at->column++;
    *out = strdup(text);
    return *out ? 0 : err_nomem(r->e);
}

static int grow(struct reader *r, struct doc_node *n, struct doc_node **slot)
{
    if ((n->n & (n->n - 1)) == 0) { /* at every power of two */
        struct doc_node *more = realloc(n->item, (size_t)(n->n ? 2 * n->n : 1) * sizeof *more);
        if (!more) return err_nomem(r->e);
        n->item = more;
    }
    *slot = &n->item[n->n++];
    **slot = (struct doc_node){0};
    return 0;
}

static int value(struct reader *r, yaml_event_t *ev, struct doc_node *out, int depth);

static int key(struct reader *r, const yaml_event_t *ev, const struct doc_node *map, struct doc_node *out)
{
    out->key_at = mark(r, ev->start_mark);
    if (ev->type == YAML_ALIAS_EVENT)
        return err_at(r->e, &out->key_at, "aliases (*%.40s) are not supported: write the value out",
                      (const char *)ev->data.alias.anchor);
    if (ev->type != YAML_SCALAR_EVENT) return err_at(r->e, &out->key_at, "a key must be plain text");
    if (scalar(r, ev, &out->key, &out->key_at) != 0) return -1;
    if (strcmp(out->key, "<<") == 0)
        return err_at(r->e, &out->key_at, "merge keys (<<) are not supported: write the values out");
    if (map->n > MAX_KEYS) return err_at(r->e, &out->key_at, "more than %d keys in one mapping", MAX_KEYS);
    for (int i = 0; i + 1 < map->n; i++)
        if (strcmp(map->item[i].key, out->key) == 0)
            return err_at(r->e, &out->key_at, "`%.80s` is given twice; the first is on line %d", out->key,
                          map->item[i].key_at.line);
    return 0;
}

static int members(struct reader *r, struct doc_node *out, yaml_event_type_t end, int depth)
{
    for (;;) {
        struct doc_node *child = NULL;
        yaml_event_t ev;
        int rc = 0;

        if (next(r, &ev) != 0) return -1;
        if (ev.type == end) {
            yaml_event_delete(&ev);
            return 0;
        }
        rc = grow(r, out, &child);
        if (rc == 0 && out->kind == DOC_MAP) {
            rc = key(r, &ev, out, child);
            yaml_event_delete(&ev);
            if (rc != 0 || next(r, &ev) != 0) return -1;
        }
        if (rc == 0) rc = value(r, &ev, child, depth + 1);
        yaml_event_delete(&ev);
        if (rc != 0) return -1;
    }
}

static int value(struct reader *r, yaml_event_t *ev, struct doc_node *out, int depth)
{
    out->at = mark(r, ev->start_mark);
    if (depth > MAX_DEPTH) return err_at(r->e, &out->at, "nested more than %d deep", MAX_DEPTH);
    switch (ev->type) {
    case YAML_SCALAR_EVENT:
        out->kind = DOC_TEXT;
        return scalar(r, ev, &out->text, &out->at);
    case YAML_SEQUENCE_START_EVENT:
        out->kind = DOC_LIST;
        if (no_extras(r, &out->at, ev->data.sequence_start.anchor, ev->data.sequence_start.tag) != 0) return -1;
        return members(r, out, YAML_SEQUENCE_END_EVENT, depth);
    case YAML_MAPPING_START_EVENT:
        out->kind = DOC_MAP;
        if (no_extras(r, &out->at, ev->data.mapping_start.anchor, ev->data.mapping_start.tag) != 0) return -1;
        return members(r, out, YAML_MAPPING_END_EVENT, depth);
    case YAML_ALIAS_EVENT:
        return err_at(r->e, &out->at, "aliases (*%.40s) are not supported: write the value out",
                      (const char *)ev->data.alias.anchor);
    default:
        return err_at(r->e, &out->at, "the file is empty");
    }
}

/* Bytes that no text file has, found before libyaml sees them: its messages for these have no line. */
static int clean_text(struct reader *r)
{
    struct pos at = {.file = r->path, .text = r->text, .line = 1, .column = 1};
    const unsigned char *s = (const unsigned char *)r->text;

    if (r->n > DOC_MAX_BYTES) {
        at.text = NULL;
        return err_at(r->e, &at, "the file is larger than %u KiB", DOC_MAX_BYTES >> 10);
    }
    for (size_t i = 0; i < r->n;) {
        size_t len = buf_utf8(r->text + i, r->n - i);
        if (len == 0 || (s[i] < 0x20 && s[i] != '\n' && s[i] != '\r' && s[i] != '\t') || s[i] == 0x7f) {
            at.text = NULL; /* not fit for a terminal */
            return err_at(r->e, &at, len == 0 ? "byte 0x%02x is not UTF-8 text" : "control character 0x%02x", s[i]);
        }
        at.column++;
        if (s[i] == '\n') {
            at.line++;
            at.column = 1;
        }
        i += len;
    }
    return 0;
}

/* Reads up to and including one event of this type. */
static int skip(struct reader *r, yaml_event_type_t type, const char *otherwise)
{
    yaml_event_t ev;
    struct pos at;
    bool found;

    if (next(r, &ev) != 0) return -1;
    at = mark(r, ev.start_mark);
    found = ev.type == type;
    yaml_event_delete(&ev);
    return found ? 0 : err_at(r->e, &at, "%s", otherwise);
}

static int document(struct reader *r, struct doc_node *root)
{
    yaml_event_t ev;
    int rc;

    if (skip(r, YAML_STREAM_START_EVENT, "no YAML") != 0 ||
        skip(r, YAML_DOCUMENT_START_EVENT, "the file is empty") != 0 || next(r, &ev) != 0)
        return -1;
    rc = value(r, &ev, root, 1);
    yaml_event_delete(&ev);
    if (rc != 0 || skip(r, YAML_DOCUMENT_END_EVENT, "more than one value") != 0) return -1;
    return skip(r, YAML_STREAM_END_EVENT, "a second document begins here; a file holds one");
}

int doc_parse(struct doc_node **root, const char *text, size_t n, const char *path, struct err *e)
{
    struct reader r = {.path = path, .text = text, .n = n, .e = e};
    struct doc_node *tree;
    int rc;

    if (clean_text(&r) != 0) return -1;
    tree = calloc(1, sizeof *tree);
    if (!tree) return err_nomem(e);
    if (!yaml_parser_initialize(&r.yaml)) {
        free(tree);
        return err_nomem(e);
    }
    yaml_parser_set_encoding(&r.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.yaml, (const unsigned char *)text, n);
    rc = document(&r, tree);
    yaml_parser_delete(&r.yaml);
    if (rc != 0)
        doc_free(tree);
    else
        *root = tree;
    return rc;
}

/* ---- readers ---- */

static const char *kind_text(const struct doc_node *n)
{
    return n->kind == DOC_LIST ? "a list" : n->kind == DOC_MAP ? "a mapping" : n->text[0] ? "text" : "nothing";
}

/* "`batch` " or "" for an item of a list. */
#define NAMED(n) (n)->key ? "`" : "", (n)->key ? (n)->key : "", (n)->key ? "` " : ""

static int wanted(const struct doc_node *n, const char *what, struct err *e)
{
    if (n->kind == DOC_TEXT && n->text[0])
        return err_at(e, &n->at, "%s%.80s%smust be %s, not `%.80s`", NAMED(n), what, n->text);
    return err_at(e, &n->at, "%s%.80s%smust be %s, not %s", NAMED(n), what, kind_text(n));
}

static int unknown_key(const struct doc_node *m, const char *what, const char *const *keys, size_t nkeys, struct err *e)
{
    const char *near = err_nearest(m->key, keys, nkeys);
    char all[256] = "";

    if (near) return err_at(e, &m->key_at, "unknown key `%.80s` in %s; did you mean `%s`?", m->key, what, near);
    for (size_t i = 0; i < nkeys; i++) {
        size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%s%s", i > 0 ? ", " : "", keys[i]);
    }
    return err_at(e, &m->key_at, "unknown key `%.80s` in %s; it may have: %s", m->key, what, all);
}

int doc_keys(const struct doc_node *map, const char *what, const char *const *keys, size_t nkeys, struct err *e)
{
    if (map->kind != DOC_MAP)
        return err_at(e, &map->at, "%s must be a mapping (`key: value`), not %s", what, kind_text(map));
    for (int i = 0; i < map->n; i++) {
        size_t k = 0;
        while (k < nkeys && strcmp(keys[k], map->item[i].key) != 0)
            k++;
        if (k == nkeys) return unknown_key(&map->item[i], what, keys, nkeys, e);
    }
    return 0;
}

const struct doc_node *doc_get(const struct doc_node *map, const char *name)
{
    for (int i = 0; map->kind == DOC_MAP && i < map->n; i++)
        if (strcmp(map->item[i].key, name) == 0) return &map->item[i];
    return NULL;
}

int doc_need(const struct doc_node **out, const struct doc_node *map, const char *name, struct err *e)
{
    *out = doc_get(map, name);
    if (*out) return 0;
    return err_at(e, &map->at, "%s%.80s%sneeds the key `%s`", map->key ? "`" : "the file", map->key ? map->key : " ",
                  map->key ? "` " : "", name);
}

int doc_int(const struct doc_node *n, int64_t least, int64_t most, int64_t *out, struct err *e)
{
    const char *s = n->kind == DOC_TEXT ? n->text : "", *digits = s + (s[0] == '-');
    size_t len = strlen(digits);
    long long v = 0;
    bool good = len > 0 && len <= 19 && strspn(digits, "0123456789") == len && (digits[0] != '0' || len == 1) &&
                strcmp(s, "-0") != 0;

    if (good) {
        errno = 0;
        v = strtoll(s, NULL, 10);
        good = errno == 0 && v >= least && v <= most;
    }
    if (good) {
        *out = v;
        return 0;
    }
    {
        char what[96];
        if (most == INT64_MAX)
            snprintf(what, sizeof what, "an integer from %" PRId64 " to 2^63 - 1", least);
        else if (least == INT64_MIN)
            snprintf(what, sizeof what, "an integer");
        else
            snprintf(what, sizeof what, "an integer from %" PRId64 " to %" PRId64, least, most);
        return wanted(n, what, e);
    }
}

/* [-]digits[.digits][e[+-]digits], and no leading zero before another digit. */
static bool number_form(const char *s)
{
    size_t n;

    if (*s == '-') s++;
    n = strspn(s, "0123456789");
    if (n == 0 || (n > 1 && s[0] == '0')) return false;
    s += n;
    if (*s == '.') {
        s++;
        n = strspn(s, "0123456789");
        if (n == 0) return false;
        s += n;
    }
    if (*s == 'e' || *s == 'E') {
        s++;
        if (*s == '+' || *s == '-') s++;
        n = strspn(s, "0123456789");
        if (n == 0 || n > 4) return false;
        s += n;
    }
    return *s == '\0';
}

int doc_double(const struct doc_node *n, double least, double most, double *out, struct err *e)
{
    const char *s = n->kind == DOC_TEXT ? n->text : "";
    char what[96];

    if (strlen(s) <= 64 && number_form(s)) {
        double v = strtod(s, NULL);
        if (isfinite(v) && v >= least && v <= most) {
            *out = v;
            return 0;
        }
    }
    snprintf(what, sizeof what, "a number from %g to %g", least, most);
    return wanted(n, what, e);
}

int doc_choice(const struct doc_node *n, const char *const *words, int nwords, int *out, struct err *e)
{
    const char *near;
    char what[160] = "";

    for (int i = 0; n->kind == DOC_TEXT && i < nwords; i++)
        if (strcmp(n->text, words[i]) == 0) {
            *out = i;
            return 0;
        }
    for (int i = 0; i < nwords; i++) {
        size_t used = strlen(what);
        snprintf(what + used, sizeof what - used, "%s%s", i == 0 ? "" : i + 1 < nwords ? ", " : " or ", words[i]);
    }
    near = n->kind == DOC_TEXT ? err_nearest(n->text, words, (size_t)nwords) : NULL;
    if (!near) return wanted(n, what, e);
    return err_at(e, &n->at, "%s%.80s%smust be %s, not `%.80s`; did you mean `%s`?", NAMED(n), what, n->text, near);
}

int doc_bool(const struct doc_node *n, bool *out, struct err *e)
{
    static const char *const words[] = {"false", "true"};
    int i;

    if (doc_choice(n, words, 2, &i, e) != 0) return -1;
    *out = i == 1;
    return 0;
}

int doc_text(const struct doc_node *n, char **out, struct err *e)
{
    if (n->kind != DOC_TEXT || n->text[strspn(n->text, " \t\r\n")] == '\0') return wanted(n, "text", e);
    *out = strdup(n->text);
    return *out ? 0 : err_nomem(e);
}

int doc_name(const struct doc_node *n, char **out, struct err *e)
{
    const char *s = n->kind == DOC_TEXT ? n->text : "";
    size_t len = strlen(s), i = 0;

    while (i < len && (isalnum((unsigned char)s[i]) || strchr("_-.", s[i])))
        i++;
    if (len == 0 || len > 63 || i < len || s[0] == '.' || s[0] == '-')
        return wanted(n, "a name (letters, digits, `_`, `-` and `.`, at most 63)", e);
    return doc_text(n, out, e);
}

int doc_list(const struct doc_node *n, struct err *e)
{
    return n->kind == DOC_LIST ? 0 : wanted(n, "a list (`[a, b]`)", e);
}
