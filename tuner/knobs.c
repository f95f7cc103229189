/* For each parameter the points are sorted by all others: candidates that agree there lie side by side, and at most as many as
 * the parameter has values. */
#include "knobs.h"

#include <stdlib.h>

struct order {
    int nparams, param; /* by the parameters other than this one */
};

static int compare_others(const struct order *o, const struct knobs_point *a, const struct knobs_point *b)
{
    for (int i = 0; i < o->nparams; i++)
        if (i != o->param && a->cand.at[i] != b->cand.at[i]) return a->cand.at[i] < b->cand.at[i] ? -1 : 1;
    return 0;
}

static int compare(const void *a, const void *b, void *ctx)
{
    const struct order *o = ctx;
    const struct knobs_point *x = *(const struct knobs_point *const *)a, *y = *(const struct knobs_point *const *)b;
    int c = compare_others(o, x, y);

    return c != 0 ? c : (x->cand.at[o->param] > y->cand.at[o->param]) - (x->cand.at[o->param] < y->cand.at[o->param]);
}

static void count(struct knobs_pairs *out, const struct order *o, const struct knobs_point *const *sorted, int n)
{
    *out = (struct knobs_pairs){0};
    for (int i = 0; i < n; i++)
        for (int k = i + 1; k < n && compare_others(o, sorted[i], sorted[k]) == 0; k++) {
            if (sorted[i]->cand.at[o->param] == sorted[k]->cand.at[o->param]) continue;
            out->seen++;
            out->equal += sorted[i]->identity == sorted[k]->identity;
        }
}

int knobs_count(struct knobs_pairs *out, int nparams, const struct knobs_point *points, int n, struct err *e)
{
    const struct knobs_point **sorted = calloc((size_t)n + 1, sizeof *sorted);

    if (!sorted) return err_nomem(e);
    for (int i = 0; i < n; i++)
        sorted[i] = &points[i];
    for (int param = 0; param < nparams; param++) {
        struct order o = {nparams, param};
        qsort_r(sorted, (size_t)n, sizeof *sorted, compare, &o);
        count(&out[param], &o, sorted, n);
    }
    free(sorted);
    return 0;
}

static int by_template(const void *a, const void *b)
{
    const struct knobs_point *x = a, *y = b;

    return (x->cand.tmpl > y->cand.tmpl) - (x->cand.tmpl < y->cand.tmpl);
}

static int add_dead(json_t *list, const struct tmpl *t, const struct knobs_point *points, int n, struct err *e)
{
    struct knobs_pairs pairs[CAND_MAX_PARAMS];

    if (knobs_count(pairs, t->nparams, points, n, e) != 0) return -1;
    for (int i = 0; i < t->nparams; i++) {
        if (pairs[i].seen == 0 || pairs[i].equal < pairs[i].seen) continue;
        if (json_array_append_new(list, json_pack("{s:s,s:s,s:i}", "template", t->name, "param",
                                                  t->params[i].range.name, "pairs", pairs[i].seen)) != 0)
            return err_nomem(e);
    }
    return 0;
}

int knobs_dead(json_t **out, const struct domain *d, struct knobs_point *points, int n, struct err *e)
{
    json_t *list = json_array();
    int rc = list ? 0 : err_nomem(e);

    if (n > 0) qsort(points, (size_t)n, sizeof *points, by_template);
    for (int from = 0, to; from < n && rc == 0; from = to) {
        int tmpl = points[from].cand.tmpl;
        for (to = from; to < n && points[to].cand.tmpl == tmpl;)
            to++;
        rc = add_dead(list, domain_template(d, tmpl), points + from, to - from, e);
    }
    if (rc != 0) {
        json_decref(list);
        return -1;
    }
    *out = list;
    return 0;
}
