/* importance_json.c - the same as JSON: percents, what matters most first, NAN as null. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "importance.h"

#define PAIRS 10 /* that are told of */

struct naming {
    const struct domain *d;
    const struct importance *m;
    importance_naming *name;
    const void *ctx;
};

static const char *param_name(const struct naming *x, int param)
{
    return domain_template(x->d, x->m->tmpl)->params[param].range.name;
}

static json_t *value_name(const struct naming *x, int param, int at)
{
    char number[32];

    if (x->name) return json_string(x->name(x->ctx, x->m->tmpl, param, at));
    snprintf(number, sizeof number, "%lld", (long long)domain_value(x->d, x->m->tmpl, param, at));
    return json_string(number);
}

static json_t *real_or_null(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *interval(const struct importance_share *s)
{
    return json_pack("[o,o]", real_or_null(100 * s->low), real_or_null(100 * s->high));
}

/* Adds "all_percent", "all_ci_percent" and the same of the faster half. */
static void add_shares(json_t *out, const struct importance_share of[IMPORTANCE_VIEWS])
{
    json_object_set_new(out, "all_percent", real_or_null(100 * of[IMPORTANCE_ALL].share));
    json_object_set_new(out, "all_ci_percent", interval(&of[IMPORTANCE_ALL]));
    json_object_set_new(out, "fast_percent", real_or_null(100 * of[IMPORTANCE_FAST].share));
    json_object_set_new(out, "fast_ci_percent", interval(&of[IMPORTANCE_FAST]));
}

/* The greater of both shares, by which all is ordered; what is not known last. */
static double weight(const struct importance_share of[IMPORTANCE_VIEWS])
{
    const double w = fmax(of[IMPORTANCE_ALL].share, of[IMPORTANCE_FAST].share);

    return isnan(w) ? -1 : w;
}

static json_t *view_json(const struct importance_view *v)
{
    return json_pack("{s:o,s:I,s:I,s:o,s:o,s:o,s:f,s:o,s:o}", "why", *v->why ? json_string(v->why) : json_null(),
                     "valid", (json_int_t)v->valid, "measured", (json_int_t)v->measured, "slowest_us",
                     real_or_null(v->slowest_us), "r2", real_or_null(v->r2), "effective", real_or_null(v->effective),
                     "unseen_percent", 100 * v->unseen, "additive_percent", real_or_null(100 * v->additive),
                     "rest_percent", real_or_null(100 * v->rest));
}

static json_t *values_json(const struct naming *x, int param)
{
    const struct importance_param *p = &x->m->params[param];
    json_t *list = json_array();

    for (int i = 0; i < p->nvalues; i++) {
        const struct importance_value *v = &p->values[i];
        json_array_append_new(list, json_pack("{s:o,s:I,s:I,s:o,s:o}", "value", value_name(x, param, i), "tried",
                                              (json_int_t)v->tried, "failed", (json_int_t)v->failed, "all_more_percent",
                                              real_or_null(100 * (v->cost[IMPORTANCE_ALL] - 1)), "fast_more_percent",
                                              real_or_null(100 * (v->cost[IMPORTANCE_FAST] - 1))));
    }
    return list;
}

/* Those that vary. */
static json_t *params_json(const struct naming *x)
{
    json_t *list = json_array(), *one;
    int order[CAND_MAX_PARAMS], n = 0;

    for (int k = 0; k < x->m->nparams; k++) {
        int at = n;
        if (x->m->params[k].nvalues < 2) continue;
        for (; at > 0 && weight(x->m->params[order[at - 1]].of) < weight(x->m->params[k].of); at--)
            order[at] = order[at - 1];
        order[at] = k;
        n++;
    }
    for (int i = 0; i < n; i++) {
        one = json_pack("{s:s,s:o}", "param", param_name(x, order[i]), "values", values_json(x, order[i]));
        add_shares(one, x->m->params[order[i]].of);
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *pairs_json(const struct naming *x)
{
    const struct importance_pair *strongest[PAIRS];
    json_t *list = json_array(), *one;
    int n = 0;

    for (int k = 0; k < x->m->npairs; k++) {
        const struct importance_pair *p = &x->m->pairs[k];
        int at = n < PAIRS ? n++ : PAIRS;
        for (; at > 0 && weight(strongest[at - 1]->of) < weight(p->of); at--)
            if (at < PAIRS) strongest[at] = strongest[at - 1];
        if (at < PAIRS) strongest[at] = p;
    }
    for (int i = 0; i < n && weight(strongest[i]->of) >= 0; i++) {
        one = json_pack("{s:s,s:s}", "a", param_name(x, strongest[i]->a), "b", param_name(x, strongest[i]->b));
        add_shares(one, strongest[i]->of);
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *failing_json(const struct naming *x)
{
    json_t *list = json_array();

    for (int i = 0; i < x->m->nfailing; i++) {
        const struct importance_failing *f = &x->m->failing[i];
        const struct importance_value *v = &x->m->params[f->param].values[f->value];
        json_array_append_new(list, json_pack("{s:s,s:o,s:I,s:I}", "param", param_name(x, f->param), "value",
                                              value_name(x, f->param, f->value), "tried", (json_int_t)v->tried,
                                              "failed", (json_int_t)v->failed));
    }
    return list;
}

json_t *importance_json(const struct importance *m, const struct domain *d, importance_naming *name, const void *ctx)
{
    const struct naming x = {d, m, name, ctx};

    return json_pack("{s:s,s:I,s:I,s:f,s:b,s:b,s:o,s:o,s:o,s:o,s:o}", "template", domain_template(d, m->tmpl)->name,
                     "tried", (json_int_t)m->tried, "failed", (json_int_t)m->failed, "valid", m->valid, "counted",
                     m->counted, "exact", m->exact, "all", view_json(&m->view[IMPORTANCE_ALL]), "fast",
                     view_json(&m->view[IMPORTANCE_FAST]), "params", params_json(&x), "pairs", pairs_json(&x),
                     "failing", failing_json(&x));
}

int importance_list(json_t **out, struct domain *d, const struct importance_point *points, size_t n, uint64_t seed,
                    importance_naming *name, const void *ctx, struct err *e)
{
    struct importance_point *own = malloc(sizeof *own * (n + 1));
    json_t *list = json_array();
    struct importance m;
    int rc = list && own ? 0 : err_nomem(e);

    for (int tmpl = 0; tmpl < domain_templates(d) && rc == 0; tmpl++) {
        size_t k = 0;
        for (size_t i = 0; i < n; i++)
            if (points[i].cand.tmpl == tmpl) own[k++] = points[i];
        if (k == 0) continue;
        TRY(importance_of(&m, d, tmpl, own, k, seed, e));
        if (json_array_append_new(list, importance_json(&m, d, name, ctx)) != 0) rc = err_nomem(e);
        importance_free(&m);
    }
out:
    free(own);
    if (rc != 0) {
        json_decref(list);
        return -1;
    }
    *out = list;
    return 0;
}
