/* report_effects.c - what was measured of each parameter: the best and the median score of each of its values, and of the pair of values that
 * matter most together. Searches do not sample evenly: a value that a strategy prefers is seen beside other good ones. What that says of the whole
 * space is for importance.h to tell. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report_private.h"
#include "report_space_private.h"
#include "stats.h"

enum { PARAMS = 32, LEVELS = 64 }; /* LEVELS: more make no table */

struct score {
    json_t *params; /* owned; of a point */
    double us;
};

struct scores { /* those of one template lie side by side after sorting */
    struct score *of;
    int n, room;
    struct err *e;
};

struct factor {
    const char *name;
    int64_t *values; /* ascending, each once */
    int n;
    int *level;   /* of each score */
    size_t place; /* what mattered most first */
};

static int take(void *ctx, const json_t *params, const char *cand, double us)
{
    struct scores *s = ctx;

    (void)cand;
    if (!(us > 0 && us <= STATS_LARGEST)) return 0;
    if (s->n == s->room) {
        struct score *more = realloc(s->of, sizeof *more * (size_t)(s->room = s->room ? 2 * s->room : 256));
        if (!more) return err_nomem(s->e);
        s->of = more;
    }
    s->of[s->n++] = (struct score){json_incref((json_t *)(uintptr_t)params), us};
    return 0;
}

/* By template, and there as they came: best first. */
static int by_template(const void *a, const void *b)
{
    const struct score *x = a, *y = b;
    int order = strcmp(text(x->params, "template"), text(y->params, "template"));

    return order ? order : (x->us > y->us) - (x->us < y->us);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int64_t value_of(const struct score *s, const char *name)
{
    return json_integer_value(json_object_get(json_object_get(s->params, "params"), name));
}

/* Owns what it fills even when it fails. */
static int factor_open(struct factor *f, const char *name, const struct score *s, int n, struct err *e)
{
    f->name = name;
    f->values = malloc(sizeof *f->values * (size_t)n);
    f->level = malloc(sizeof *f->level * (size_t)n);
    if (!f->values || !f->level) return err_nomem(e);
    for (int i = 0; i < n; i++)
        f->values[i] = value_of(&s[i], name);
    qsort(f->values, (size_t)n, sizeof *f->values, by_value);
    f->n = 0;
    for (int i = 0; i < n; i++)
        if (i == 0 || f->values[i] != f->values[f->n - 1]) f->values[f->n++] = f->values[i];
    for (int i = 0; i < n; i++) {
        int64_t v = value_of(&s[i], name);
        f->level[i] = (int)((int64_t *)bsearch(&v, f->values, (size_t)f->n, sizeof v, by_value) - f->values);
    }
    return 0;
}

static void factor_free(struct factor *f)
{
    free(f->values);
    free(f->level);
}

/* {"n", "best_us", "median_us"} of the scores at a's level and, unless b is NULL, b's; n 0: absent. */
static json_t *cell(const struct score *s, int n, const struct factor *a, int at, const struct factor *b, int bt)
{
    double *us = malloc(sizeof *us * (size_t)n), median;
    json_t *out = NULL;
    int k = 0;

    for (int i = 0; us && i < n; i++)
        if (a->level[i] == at && (!b || b->level[i] == bt)) us[k++] = s[i].us;
    if (k > 0 && stats_median(us, k, &median) == STATS_OK)
        out = json_pack("{s:i,s:f,s:f}", "n", k, "best_us", us[0], "median_us", median); /* they are sorted */
    free(us);
    return out;
}

static json_t *factor_json(const struct score *s, int n, const struct factor *f)
{
    json_t *values = json_array();

    for (int v = 0; v < f->n; v++) {
        json_t *row = cell(s, n, f, v, NULL, 0);
        json_object_set_new(row, "value", json_integer(f->values[v]));
        json_array_append_new(values, row);
    }
    return json_pack("{s:s,s:o}", "param", f->name, "values", values);
}

static json_t *grid(const struct score *s, int n, const struct factor *a, const struct factor *b)
{
    json_t *cells = json_array();

    for (int i = 0; i < a->n; i++)
        for (int j = 0; j < b->n; j++) {
            json_t *row = cell(s, n, a, i, b, j);
            if (!row) continue;
            json_object_set_new(row, "a", json_integer(a->values[i]));
            json_object_set_new(row, "b", json_integer(b->values[j]));
            json_array_append_new(cells, row);
        }
    return json_pack("{s:s,s:s,s:o}", "a", a->name, "b", b->name, "cells", cells);
}

static const struct factor *named(const struct factor *f, int nf, const char *name)
{
    for (int i = 0; i < nf; i++)
        if (strcmp(f[i].name, name) == 0 && f[i].n <= LEVELS) return &f[i];
    return NULL;
}

/* Of the pair that matters most together; null where that is not known. */
static json_t *grid_of(const struct score *s, int n, const struct factor *f, int nf, const json_t *importance)
{
    const json_t *pair = json_array_get(json_object_get(importance, "pairs"), 0);
    const struct factor *a = named(f, nf, text(pair, "a")), *b = named(f, nf, text(pair, "b"));

    return a && b ? grid(s, n, a, b) : json_null();
}

static size_t place_of(const json_t *importance, const char *name)
{
    const json_t *params = json_object_get(importance, "params");
    size_t i = 0;

    while (i < json_array_size(params) && strcmp(text(json_array_get(params, i), "param"), name) != 0)
        i++;
    return i;
}

static int more_important(const void *x, const void *y)
{
    const struct factor *a = x, *b = y;

    return a->place != b->place ? (a->place > b->place) - (a->place < b->place) : strcmp(a->name, b->name);
}

/* All scores are of one template, best first. */
static int template_json(const struct score *s, int n, const json_t *importance, json_t **out, struct err *e)
{
    struct factor f[PARAMS] = {0};
    double *y = malloc(sizeof *y * (size_t)n), median = NAN;
    json_t *params = json_array();
    const char *name;
    const json_t *value;
    int nf = 0, rc = y && params ? 0 : err_nomem(e);

    for (int i = 0; rc == 0 && i < n; i++)
        y[i] = s[i].us;
    if (rc == 0) stats_median(y, n, &median);
    json_object_foreach(json_object_get(s->params, "params"), name, value) if (rc == 0 && nf < PARAMS) rc =
        factor_open(&f[nf++], name, s, n, e);
    if (rc == 0) {
        for (int i = 0; i < nf; i++)
            f[i].place = place_of(importance, f[i].name);
        qsort(f, (size_t)nf, sizeof *f, more_important);
        for (int i = 0; i < nf; i++)
            json_array_append_new(params, factor_json(s, n, &f[i]));
        *out =
            json_pack("{s:s,s:i,s:f,s:o,s:O,s:o}", "template", text(s->params, "template"), "candidates", n, "best_us",
                      s->us, "median_us", real(median), "params", params, "grid", grid_of(s, n, f, nf, importance));
        rc = *out ? 0 : err_nomem(e);
    }
    for (int i = 0; i < nf; i++)
        factor_free(&f[i]);
    json_decref(params);
    free(y);
    return rc;
}

/* Of the template that these scores are of; NULL: it is not told. */
static const json_t *importance_of(const struct store_run *run, const struct score *s)
{
    const json_t *list = json_object_get(run->summary, "importance");

    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(text(json_array_get(list, i), "template"), text(s->params, "template")) == 0)
            return json_array_get(list, i);
    return NULL;
}

int report_effects(struct store *s, const struct store_run *run, json_t **out, struct err *e)
{
    struct scores x = {.e = e};
    json_t *list = json_array(), *one;
    int rc;

    *out = NULL;
    TRY(store_best(s, run->track, run->environment, INT64_MAX, INT_MAX, take, &x, e));
    if (e->code != ERR_OK) { /* it ended there */
        rc = -1;
        goto out;
    }
    if (x.n > 0) qsort(x.of, (size_t)x.n, sizeof *x.of, by_template);
    for (int i = 0, n; i < x.n; i += n) {
        size_t at = 0;
        for (n = 1; i + n < x.n && strcmp(text(x.of[i].params, "template"), text(x.of[i + n].params, "template")) == 0;)
            n++;
        TRY(template_json(&x.of[i], n, importance_of(run, &x.of[i]), &one, e));
        while (at < json_array_size(list) &&
               number(json_array_get(list, at), "best_us") <= json_number_value(json_object_get(one, "best_us")))
            at++;
        if (json_array_insert_new(list, at, one) != 0) {
            rc = err_nomem(e);
            goto out;
        }
    }
    *out = json_incref(list);
out:
    for (int i = 0; i < x.n; i++)
        json_decref(x.of[i].params);
    free(x.of);
    json_decref(list);
    return rc;
}
