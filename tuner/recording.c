/* Values are numbered as they are met, by a name's text; when all rows are in, each parameter's values are put in order and the rows
 * renumbered and sorted. */
#include "recording.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "buf.h"
#include "cand_private.h"

#define MOST_BYTES (1u << 30)
#define MOST_VALUES 65535
#define MOST_TABLES 64

/* ---- rows ---- */

static int row_new(struct recording *r, struct recording_point **out, struct err *e)
{
    if ((r->n & (r->n - 1)) == 0) {
        struct recording_point *more = realloc(r->points, (r->n ? 2 * r->n : 1) * sizeof *more);
        if (!more) return err_nomem(e);
        r->points = more;
    }
    *out = &r->points[r->n++];
    **out = (struct recording_point){.us = (double)NAN};
    return 0;
}

static int table_new(struct recording *r, const char *name, struct err *e)
{
    struct recording_table *more;

    if (r->ntables == MOST_TABLES) return err_set(e, ERR_INPUT, "it has points of more than %d kinds", MOST_TABLES);
    if (!(more = realloc(r->tables, ((size_t)r->ntables + 1) * sizeof *more))) return err_nomem(e);
    r->tables = more;
    more[r->ntables] = (struct recording_table){.name = strdup(name)};
    return more[r->ntables].name ? r->ntables++, 0 : err_nomem(e);
}

static int param_new(struct recording_table *t, const char *name, size_t n, struct err *e)
{
    if (t->nparams == CAND_MAX_PARAMS) return err_set(e, ERR_INPUT, "it has more than %d parameters", CAND_MAX_PARAMS);
    t->params[t->nparams] = (struct recording_param){.name = strndup(name, n)};
    if (!t->params[t->nparams].name) return err_nomem(e);
    t->nparams++;
    return 0;
}

/* The number of a value of parameter k, a new one where it was not met before. */
static int value_number(struct recording_table *t, int k, const char *text, size_t n, uint16_t *out, struct err *e)
{
    struct recording_param *p = &t->params[k];

    for (int v = 0; v < p->nvalues; v++)
        if (strncmp(p->values[v], text, n) == 0 && p->values[v][n] == '\0') {
            *out = (uint16_t)v;
            return 0;
        }
    if (p->nvalues == MOST_VALUES)
        return err_set(e, ERR_INPUT, "parameter %.80s has more than %d values", p->name, MOST_VALUES);
    char **more = realloc(p->values, ((size_t)p->nvalues + 1) * sizeof *more);
    if (!more) return err_nomem(e);
    p->values = more;
    if (!(more[p->nvalues] = strndup(text, n))) return err_nomem(e);
    *out = (uint16_t)p->nvalues++;
    return 0;
}

static void row_time(struct recording_point *row, bool ok, double ms)
{
    row->ok = ok && isfinite(ms) && ms > 0;
    if (row->ok) row->us = 1e3 * ms;
}

/* ---- in order ---- */

static bool is_number(const char *s, double *out)
{
    char *end;

    *out = strtod(s, &end);
    return end != s && *end == '\0' && isfinite(*out);
}

struct numbered {
    double value;
    int was;
};

static int by_value(const void *a, const void *b)
{
    const struct numbered *x = a, *y = b;

    return x->value != y->value ? (x->value > y->value) - (x->value < y->value) : x->was - y->was;
}

static int order_values(struct recording *r, int table, int k, struct err *e)
{
    struct recording_param *p = &r->tables[table].params[k];
    struct numbered *order = calloc((size_t)p->nvalues + 1, sizeof *order);
    char **values = calloc((size_t)p->nvalues + 1, sizeof *values);
    uint16_t *now = calloc((size_t)p->nvalues + 1, sizeof *now);
    bool numbers = p->nvalues > 0;
    int rc = order && values && now ? 0 : err_nomem(e);

    for (int v = 0; v < p->nvalues && numbers && rc == 0; v++) {
        numbers = is_number(p->values[v], &order[v].value);
        order[v].was = v;
    }
    if (numbers && rc == 0) {
        qsort(order, (size_t)p->nvalues, sizeof *order, by_value);
        for (int v = 0; v < p->nvalues; v++) {
            values[v] = p->values[order[v].was];
            now[order[v].was] = (uint16_t)v;
        }
        memcpy(p->values, values, (size_t)p->nvalues * sizeof *values);
        for (size_t i = 0; i < r->n; i++)
            if (r->points[i].at.tmpl == table) r->points[i].at.at[k] = now[r->points[i].at.at[k]];
    }
    free(order);
    free(values);
    free(now);
    return rc;
}

static int by_place(const void *a, const void *b)
{
    const struct recording_point *x = a, *y = b;

    if (x->at.tmpl != y->at.tmpl) return x->at.tmpl < y->at.tmpl ? -1 : 1;
    for (int k = 0; k < CAND_MAX_PARAMS; k++)
        if (x->at.at[k] != y->at.at[k]) return x->at.at[k] < y->at.at[k] ? -1 : 1;
    return 0;
}

/* qsort is not stable: places are, since the first of equal ones is found by where it stood. */
static int order_rows(struct recording *r, struct err *e)
{
    struct recording_point *sorted, *end, *to;

    if (r->n == 0) return err_set(e, ERR_INPUT, "it lists no points");
    if (!(sorted = malloc(r->n * sizeof *sorted))) return err_nomem(e);
    memcpy(sorted, r->points, r->n * sizeof *sorted);
    qsort(sorted, r->n, sizeof *sorted, by_place);
    end = sorted + r->n;
    to = sorted;
    for (const struct recording_point *p = sorted + 1; p < end; p++)
        if (by_place(to, p) != 0) *++to = *p;
    const size_t left = (size_t)(to - sorted) + 1;
    /* Backwards, so that the one listed first is written last. */
    for (size_t i = r->n; i-- > 0 && left < r->n;)
        *(struct recording_point *)bsearch(&r->points[i], sorted, left, sizeof *sorted, by_place) = r->points[i];
    free(r->points);
    r->points = sorted;
    r->n = left;
    return 0;
}

static int put_in_order(struct recording *r, struct err *e)
{
    for (int t = 0; t < r->ntables; t++)
        for (int k = 0; k < r->tables[t].nparams; k++)
            if (order_values(r, t, k, e) != 0) return -1;
    return order_rows(r, e);
}

/* ---- CSV ---- */

static const char *field(const char **at, const char *end, size_t *n)
{
    const char *begin = *at, *stop = memchr(begin, ',', (size_t)(end - begin));

    if (!stop) stop = end;
    *n = (size_t)(stop - begin);
    *at = stop < end ? stop + 1 : NULL;
    return begin;
}

static bool named(const char *s, size_t n, const char *name)
{
    return n == strlen(name) && memcmp(s, name, n) == 0;
}

static int csv_head(struct recording *r, const char *at, const char *end, int *status, int *time, int *columns,
                    struct err *e)
{
    *status = *time = -1;
    for (*columns = 0; at; ++*columns) {
        size_t n;
        const char *s = field(&at, end, &n);
        if (*status < 0 && named(s, n, "status")) *status = *columns;
        if (*time < 0 && named(s, n, "mean_ms")) *time = *columns;
        if (*status < 0 && param_new(r->tables, s, n, e) != 0) return -1;
    }
    if (*status < 1 || *time < 0)
        return err_set(e, ERR_INPUT, "the columns `status` and `mean_ms` behind those of the parameters are missing");
    return 0;
}

static int csv_row(struct recording *r, const char *at, const char *end, int status, int time, int columns,
                   struct err *e)
{
    struct recording_point *row;
    double ms = (double)NAN;
    bool ok = false;
    int k = 0;

    if (row_new(r, &row, e) != 0) return -1;
    for (; at; k++) {
        size_t n;
        const char *s = field(&at, end, &n);
        if (k < status && value_number(r->tables, k, s, n, &row->at.at[k], e) != 0) return -1;
        if (k == status) ok = named(s, n, "ok");
        if (k == time && n > 0) ms = strtod(s, NULL);
    }
    if (k != columns) return err_set(e, ERR_INPUT, "it has %d fields, the first line %d", k, columns);
    row_time(row, ok, ms);
    return ok && !row->ok ? err_set(e, ERR_INPUT, "status is ok and mean_ms is no time") : 0;
}

static int check_text(const char *at, const char *end, struct err *e)
{
    for (size_t n; at < end; at += n)
        if ((n = buf_utf8(at, (size_t)(end - at))) == 0)
            return err_set(e, ERR_INPUT, "byte 0x%02x is not UTF-8 text", (unsigned char)*at);
    return 0;
}

static int read_csv(struct recording *r, const char *text, struct err *e)
{
    int status = -1, time = -1, columns = 0, line = 1;

    if (table_new(r, r->name, e) != 0) return -1;
    for (const char *at = text; *at; line++) {
        const char *end = at + strcspn(at, "\n"), *stop = end > at && end[-1] == '\r' ? end - 1 : end;
        int rc = check_text(at, stop, e);
        if (rc == 0 && line == 1) rc = csv_head(r, at, stop, &status, &time, &columns, e);
        if (rc == 0 && line > 1 && stop > at) rc = csv_row(r, at, stop, status, time, columns, e);
        if (rc != 0) {
            err_context(e, "line %d", line);
            return -1;
        }
        at = *end ? end + 1 : end;
    }
    return 0;
}

/* ---- JSON ---- */

static int json_value(struct recording_table *t, int k, const json_t *v, uint16_t *out, struct err *e)
{
    char text[64];
    const char *s = json_string_value(v);

    if (json_is_boolean(v)) s = json_is_true(v) ? "1" : "0";
    if (json_is_integer(v)) snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    if (json_is_real(v)) snprintf(text, sizeof text, "%.17g", json_real_value(v));
    if (!s && !json_is_number(v))
        return err_set(e, ERR_INPUT, "parameter %.80s is missing, or neither number nor text", t->params[k].name);
    if (!s) s = text;
    return value_number(t, k, s, strlen(s), out, e);
}

static int json_row(struct recording *r, int table, const json_t *configuration, const json_t *time, bool ok,
                    struct err *e)
{
    struct recording_table *t = &r->tables[table];
    struct recording_point *row;

    if (row_new(r, &row, e) != 0) return -1;
    row->at.tmpl = table;
    for (int k = 0; k < t->nparams; k++)
        if (json_value(t, k, json_object_get(configuration, t->params[k].name), &row->at.at[k], e) != 0) return -1;
    row_time(row, ok && json_is_number(time), json_number_value(time));
    return 0;
}

/* Is this member the table's name and not a parameter? */
static bool names_table(const char *key, const json_t *v)
{
    return strcmp(key, "template") == 0 && json_is_string(v);
}

static int json_params(struct recording *r, const char *name, const json_t *names, struct err *e)
{
    const char *key;
    json_t *v;

    if (table_new(r, name, e) != 0) return -1;
    json_object_foreach((json_t *)names, key, v)
    {
        if (!names_table(key, v) && param_new(&r->tables[r->ntables - 1], key, strlen(key), e) != 0) return -1;
    }
    return r->tables[r->ntables - 1].nparams > 0 ? 0 : err_set(e, ERR_INPUT, "it names no parameters");
}

static int read_cache(struct recording *r, const json_t *doc, struct err *e)
{
    const char *key;
    json_t *row;

    if (json_params(r, r->name, json_object_get(doc, "tune_params"), e) != 0) return -1;
    json_object_foreach(json_object_get(doc, "cache"), key, row)
    {
        if (json_row(r, 0, row, json_object_get(row, "time"), true, e) != 0) {
            err_context(e, "cache entry %.200s", key);
            return -1;
        }
    }
    return 0;
}

/* The table of this name, made of the first configuration that has it. */
static int t4_table(struct recording *r, const json_t *configuration, int *out, struct err *e)
{
    const json_t *named = json_object_get(configuration, "template");
    const char *name = json_is_string(named) ? json_string_value(named) : r->name;

    for (*out = 0; *out < r->ntables; ++*out)
        if (strcmp(r->tables[*out].name, name) == 0) return 0;
    return json_params(r, name, configuration, e);
}

static const json_t *t4_time(const json_t *result)
{
    const json_t *list = json_object_get(result, "measurements"), *m;
    size_t i;

    json_array_foreach(list, i, m)
    {
        const char *name = json_string_value(json_object_get(m, "name"));
        if (name && strcmp(name, "time") == 0) return json_object_get(m, "value");
    }
    return NULL;
}

static int read_t4(struct recording *r, const json_t *doc, struct err *e)
{
    const json_t *list = json_object_get(doc, "results"), *row;
    size_t i;

    json_array_foreach(list, i, row)
    {
        const char *fate = json_string_value(json_object_get(row, "invalidity"));
        const json_t *configuration = json_object_get(row, "configuration");
        int table;
        if (t4_table(r, configuration, &table, e) != 0 ||
            json_row(r, table, configuration, t4_time(row), fate && strcmp(fate, "correct") == 0, e) != 0) {
            err_context(e, "result %zu", i + 1);
            return -1;
        }
    }
    return 0;
}

static int read_document(struct recording *r, const json_t *doc, struct err *e)
{
    if (json_is_object(json_object_get(doc, "cache"))) return read_cache(r, doc, e);
    if (json_is_array(json_object_get(doc, "results"))) return read_t4(r, doc, e);
    return err_set(e, ERR_INPUT, "it has neither `cache` (Kernel Tuner) nor `results` (T4)");
}

static int read_json(struct recording *r, const char *text, size_t n, struct err *e)
{
    json_error_t at;
    json_t *doc = json_loadb(text, n, JSON_REJECT_DUPLICATES, &at);
    int rc;

    if (!doc) return err_set(e, ERR_INPUT, "line %d, column %d: %.150s", at.line, at.column, at.text);
    rc = read_document(r, doc, e);
    json_decref(doc);
    return rc;
}

/* ---- the file ---- */

static int read_all(struct buf *out, const char *path, struct err *e)
{
    gzFile f = gzopen(path, "rb");
    char piece[1 << 16];
    int n, why;
    const char *words;

    if (!f) return err_set(e, ERR_INPUT, "it cannot be opened");
    while ((n = gzread(f, piece, sizeof piece)) > 0 && out->n < MOST_BYTES)
        buf_add(out, piece, (size_t)n);
    words = gzerror(f, &why);
    if (n < 0) err_set(e, ERR_INPUT, "it cannot be read: %.100s", why == Z_ERRNO ? "the system refuses" : words);
    if (n > 0) err_set(e, ERR_INPUT, "it holds more than %u MiB", MOST_BYTES >> 20);
    if (gzclose_r(f) == Z_BUF_ERROR && n == 0) return err_set(e, ERR_INPUT, "it is cut off");
    return n != 0 ? -1 : buf_check(out, e);
}

static char *name_of(const char *path)
{
    const char *base = strrchr(path, '/');

    base = base ? base + 1 : path;
    return strndup(base, strcspn(base, "."));
}

int recording_read(struct recording *out, const char *path, struct err *e)
{
    struct buf text = {0};
    struct err why = {0};
    const char *first;
    int rc;

    *out = (struct recording){.name = name_of(path)};
    if (!out->name) return err_nomem(e);
    TRY(read_all(&text, path, &why));
    first = buf_text(&text) + strspn(buf_text(&text), " \t\r\n");
    TRY(*first == '{' ? read_json(out, buf_text(&text), text.n, &why) : read_csv(out, buf_text(&text), &why));
    TRY(put_in_order(out, &why));
out:
    buf_free(&text);
    if (rc != 0) {
        recording_free(out);
        err_set(e, why.code,
                "%.500s: %.1000s\na recording is CSV with `status` and `mean_ms`, a cache of Kernel Tuner or T4 "
                "files, plain or gzip",
                path, why.text);
    }
    return rc;
}

int recording_document(struct recording *out, const char *name, const json_t *doc, struct err *e)
{
    int rc;

    *out = (struct recording){.name = strdup(name)};
    if (!out->name) return err_nomem(e);
    TRY(read_document(out, doc, e));
    rc = put_in_order(out, e);
out:
    if (rc != 0) recording_free(out);
    return rc;
}

void recording_free(struct recording *r)
{
    for (int i = 0; i < r->ntables; i++) {
        struct recording_table *t = &r->tables[i];
        for (int k = 0; k < t->nparams; k++) {
            for (int v = 0; v < t->params[k].nvalues; v++)
                free(t->params[k].values[v]);
            free(t->params[k].values);
            free(t->params[k].name);
        }
        free(t->name);
    }
    free(r->tables);
    free(r->points);
    free(r->name);
    *r = (struct recording){0};
}
