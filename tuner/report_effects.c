/* report_effects.c - what each parameter does: the best and the median score of each of its values, the share of the variance of the logarithm
 * of the score that it explains, and the pairs that explain most beyond their two parts (stats.h: stats_explained, stats_interaction).
 *
 * Searches do not sample evenly: a value that a strategy prefers is seen beside other good ones. Shares describe what was measured. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report_private.h"
#include "report_space_private.h"
#include "stats.h"

enum { PARAMS = 32, PAIRS = 5, LEVELS = 64 }; /* LEVELS: more make no table */

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
    int *level; /* of each score */
    double explained;
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
static int factor_open(struct factor *f, const char *name, const struct score *s, const double *y, int n, struct err *e)
{
    f->name = name;
    f->explained = NAN;
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
    stats_explained(y, f->level, n, &f->explained);
    return 0;
}

static void factor_free(struct factor *f)
{
    free(f->values);
    free(f->level);
}

static json_t *percent(double share)
{
    return real(100 * share);
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
    return json_pack("{s:s,s:o,s:o}", "param", f->name, "explained_percent", percent(f->explained), "values", values);
}

struct pair_of {
    int a, b;
    double explained;
};

static int strongest(const void *x, const void *y)
{
    const struct pair_of *a = x, *b = y;

    return (a->explained < b->explained) - (a->explained > b->explained);
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

/* Adds "interactions", the strongest first, and "grid" of the first, null when there is none. */
static void pairs(json_t *out, const struct score *s, const double *y, int n, const struct factor *f, int nf)
{
    struct pair_of found[PARAMS * PARAMS / 2];
    json_t *list = json_array();
    int k = 0;

    for (int a = 0; a < nf; a++)
        for (int b = a + 1; b < nf; b++) {
            double share;
            if (f[a].n > LEVELS || f[b].n > LEVELS) continue;
            if (stats_interaction(y, f[a].level, f[b].level, n, &share) == STATS_OK && share > 0)
                found[k++] = (struct pair_of){a, b, share};
        }
    qsort(found, (size_t)k, sizeof *found, strongest);
    for (int i = 0; i < k && i < PAIRS; i++)
        json_array_append_new(list, json_pack("{s:s,s:s,s:o}", "a", f[found[i].a].name, "b", f[found[i].b].name,
                                              "explained_percent", percent(found[i].explained)));
    json_object_set_new(out, "interactions", list);
    json_object_set_new(out, "grid", k > 0 ? grid(s, n, &f[found[0].a], &f[found[0].b]) : json_null());
}

static int more_explained(const void *x, const void *y)
{
    const struct factor *a = x, *b = y;
    double p = isfinite(a->explained) ? a->explained : -2, q = isfinite(b->explained) ? b->explained : -2;

    return p != q ? (p < q) - (p > q) : strcmp(a->name, b->name);
}

/* All scores are of one template, best first. */
static int template_json(const struct score *s, int n, json_t **out, struct err *e)
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
    for (int i = 0; rc == 0 && i < n; i++)
        y[i] = log(s[i].us);
    json_object_foreach(json_object_get(s->params, "params"), name, value) if (rc == 0 && nf < PARAMS) rc =
        factor_open(&f[nf++], name, s, y, n, e);
    if (rc == 0) {
        qsort(f, (size_t)nf, sizeof *f, more_explained);
        for (int i = 0; i < nf; i++)
            json_array_append_new(params, factor_json(s, n, &f[i]));
        *out = json_pack("{s:s,s:i,s:f,s:o,s:O}", "template", text(s->params, "template"), "candidates", n, "best_us",
                         s->us, "median_us", real(median), "params", params);
        if (*out) pairs(*out, s, y, n, f, nf);
        rc = *out ? 0 : err_nomem(e);
    }
    for (int i = 0; i < nf; i++)
        factor_free(&f[i]);
    json_decref(params);
    free(y);
    return rc;
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
        TRY(template_json(&x.of[i], n, &one, e));
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
