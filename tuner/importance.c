/* importance.c - how surely the valid points are known, and what follows for each parameter. */
#include "importance.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "importance_private.h"
#include "stats.h"

/* One view being made: its valid points, what is known of them, and a forest of those of them that were measured. */
struct view {
    struct importance_work *w;
    struct importance_view *out;
    enum importance_over over;
    struct importance_rows rows, fitted;
    double *y;         /* of rows: ln us; NAN: it was not measured */
    size_t *fitted_as; /* of rows: the row of fitted; SIZE_MAX: none */
    double *fitted_y;
    struct importance_forest forest; /* without `expect`: there is none */
    double *f, *bag_f;               /* of rows: measured, or expected; by one bag */
    double unknown;                  /* part of rows that was not measured */
    double error;                    /* mean square of what the forest errs by */
};

/* ---- what is known ---- */

static const size_t NOWHERE = SIZE_MAX;

static int copy_rows(struct importance_rows *to, const struct importance_rows *from, size_t room, struct err *e)
{
    *to = *from;
    to->n = 0;
    to->at = malloc(sizeof *to->at * (room * (size_t)from->nparams + 1));
    return to->at ? 0 : err_nomem(e);
}

static void add_row(struct importance_rows *to, const struct importance_rows *from, size_t i)
{
    const size_t p = (size_t)to->nparams;

    memcpy(to->at + to->n++ * p, from->at + i * p, sizeof *to->at * p);
}

/* Those of the points, and of the measured ones, that are not slower than this. f: of the points. */
static int select_points(struct view *v, const double *f, double limit, struct err *e)
{
    const struct importance_work *w = v->w;
    size_t *place = malloc(sizeof *place * (w->fitted.n + 1)), room = w->nvalid + 1;
    int rc = 0;

    v->y = malloc(sizeof *v->y * room);
    v->f = malloc(sizeof *v->f * room);
    v->bag_f = malloc(sizeof *v->bag_f * room);
    v->fitted_as = malloc(sizeof *v->fitted_as * room);
    v->fitted_y = malloc(sizeof *v->fitted_y * (w->fitted.n + 1));
    if (!place || !v->y || !v->f || !v->bag_f || !v->fitted_as || !v->fitted_y) TRY(err_nomem(e));
    TRY(copy_rows(&v->rows, &w->rows, w->nvalid, e));
    TRY(copy_rows(&v->fitted, &w->fitted, w->fitted.n, e));
    for (size_t i = 0; i < w->fitted.n; i++) {
        place[i] = NOWHERE;
        if (w->fitted_y[i] > limit) continue;
        place[i] = v->fitted.n;
        v->fitted_y[v->fitted.n] = w->fitted_y[i];
        add_row(&v->fitted, &w->fitted, i);
    }
    for (size_t i = 0; i < w->nvalid; i++) {
        const size_t n = v->rows.n;
        if (f[i] > limit) continue;
        v->y[n] = w->y[i];
        v->fitted_as[n] = w->fitted_as[i] == NOWHERE ? NOWHERE : place[w->fitted_as[i]];
        add_row(&v->rows, &w->rows, i);
    }
out:
    free(place);
    return rc;
}

/* Measured, or the mean of the bags; without either, NAN. */
static void expect(struct view *v)
{
    for (size_t i = 0; i < v->rows.n; i++) {
        v->f[i] = v->y[i];
        if (!isnan(v->f[i]) || !v->forest.expect) continue;
        v->f[i] = 0;
        for (size_t bag = 0; bag < IMPORTANCE_BAGS; bag++)
            v->f[i] += v->forest.expect[bag * v->rows.n + i] / IMPORTANCE_BAGS;
    }
}

static void view_close(struct view *v)
{
    free(v->rows.at);
    free(v->fitted.at);
    free(v->y);
    free(v->fitted_as);
    free(v->fitted_y);
    free(v->f);
    free(v->bag_f);
    importance_forest_free(&v->forest);
}

/* ---- how surely ---- */

static bool few(struct importance_view *v, double have, double least, const char *what)
{
    if (have >= least) return false;
    snprintf(v->why, sizeof v->why, "%.0f %s, and %.0f are needed", floor(have), what, least);
    return true;
}

/* Out of bag, each measured point weighing what it stands for. */
static void judge(struct view *v)
{
    const double *y = v->fitted_y, *weight = v->forest.weight, *oob = v->forest.oob;
    double sum = 0, squares = 0, mean = 0, error = 0, total = 0;

    for (size_t i = 0; i < v->fitted.n; i++) {
        if (isnan(oob[i])) continue;
        sum += weight[i];
        squares += weight[i] * weight[i];
        mean += weight[i] * y[i];
    }
    v->out->effective = squares > 0 ? sum * sum / squares : 0;
    if (!(sum > 0)) return;
    mean /= sum;
    for (size_t i = 0; i < v->fitted.n; i++) {
        if (isnan(oob[i])) continue;
        error += weight[i] * (y[i] - oob[i]) * (y[i] - oob[i]);
        total += weight[i] * (y[i] - mean) * (y[i] - mean);
    }
    v->error = error / sum;
    if (total > 0) v->out->r2 = 1 - error / total;
}

/* Part of the view's points that have a value which no measured point there has: whatever is expected of them is a guess. */
static int count_unseen(struct view *v, struct err *e)
{
    const size_t p = (size_t)v->rows.nparams;
    bool *seen[CAND_MAX_PARAMS + 1] = {NULL};
    size_t n = 0, strange = 0;

    for (size_t k = 0; k < p; k++)
        n += (size_t)v->rows.nvalues[k];
    seen[0] = calloc(n + 1, sizeof **seen);
    if (!seen[0]) return err_nomem(e);
    for (size_t k = 1; k < p; k++)
        seen[k] = seen[k - 1] + v->rows.nvalues[k - 1];
    for (size_t i = 0; i < v->fitted.n * p; i++)
        seen[i % p][v->fitted.at[i]] = true;
    for (size_t i = 0; i < v->rows.n; i++) {
        bool known = true;
        for (size_t k = 0; k < p; k++)
            known = known && (seen[k][v->rows.at[i * p + k]] || !isnan(v->y[i]));
        strange += !known;
    }
    if (v->rows.n > 0) v->out->unseen = (double)strange / (double)v->rows.n;
    free(seen[0]);
    return 0;
}

static int look(struct view *v, struct err *e)
{
    struct importance_view *out = v->out;

    *out = (struct importance_view){.r2 = NAN, .effective = NAN, .additive = NAN, .rest = NAN, .slowest_us = NAN};
    out->valid = v->rows.n;
    for (size_t i = 0; i < v->rows.n; i++) {
        out->measured += !isnan(v->y[i]);
        out->slowest_us = fmax(out->slowest_us, exp(v->f[i]));
    }
    if (v->rows.n > 0) v->unknown = 1 - (double)out->measured / (double)v->rows.n;
    if (v->forest.expect) judge(v);
    return count_unseen(v, e);
}

/* Shares, or why there are none. */
static bool can_tell(struct view *v, double total)
{
    struct importance_view *out = v->out;
    const bool exact = v->w->out->exact;

    if (!exact && few(out, (double)v->fitted.n, IMPORTANCE_FEW, "points there have a time")) return false;
    if (!exact && few(out, out->effective, IMPORTANCE_FEW / 2.0, "points are what those measured there are worth"))
        return false;
    if (v->rows.n < 2 || !(total > 0))
        snprintf(out->why, sizeof out->why, "all points there are equally fast");
    else if (!exact && out->unseen > IMPORTANCE_MOST_UNSEEN)
        snprintf(out->why, sizeof out->why, "%.0f%% of the valid points there have a value that no measured one has",
                 100 * out->unseen);
    else if (!exact && !(out->r2 >= IMPORTANCE_LEAST_R2))
        snprintf(
            out->why, sizeof out->why,
            "a model of the measured points explains %.0f%% of the variance of those it has not seen, and %.0f%% is "
            "needed",
            100 * fmax(0, out->r2), 100 * IMPORTANCE_LEAST_R2);
    return !*out->why;
}

/* ---- shares ---- */

struct spread {
    double sum, squares;
};

static void add(struct spread *s, double x)
{
    s->sum += x;
    s->squares += x * x;
}

/* share -+ two standard errors (importance.h), inside 0 to 1. */
static struct importance_share share_of(const struct view *v, double share, const struct spread *s)
{
    const double bags = IMPORTANCE_BAGS, n = (double)v->fitted.n, in = (double)v->forest.in_bag;
    double half = 0;

    if (!v->w->out->exact)
        half = 2 * sqrt(v->unknown * in / (n - in) * fmax(0, s->squares - s->sum * s->sum / bags) / bags);
    share = fmin(1, fmax(0, share));
    return (struct importance_share){share, fmax(0, share - half), fmin(1, share + half)};
}

/* The variance that shares are of, as a sum of squares over the view's points. */
static double variance(const struct view *v, double total)
{
    return total + v->unknown * v->error * (double)v->rows.n;
}

/* What one bag would make of it: the measured points that it does not see are expected as well. */
static int add_bag(struct view *v, int bag, struct spread *mains, struct spread *pairs, struct err *e)
{
    const struct importance_work *w = v->w;
    const double *expected = v->forest.expect + (size_t)bag * v->rows.n;
    const bool *seen = v->forest.seen + (size_t)bag * v->fitted.n;
    struct importance_squares s;
    double all;

    for (size_t i = 0; i < v->rows.n; i++) {
        const bool known = !isnan(v->y[i]) && (v->fitted_as[i] == NOWHERE || seen[v->fitted_as[i]]);
        v->bag_f[i] = known ? v->y[i] : expected[i];
    }
    if (importance_squares(&s, &v->rows, v->bag_f, w->sampled, NULL, e) != 0) return -1;
    all = variance(v, s.total);
    for (int k = 0; k < w->nlive; k++)
        add(&mains[k], s.of[k] / all);
    for (size_t k = 0; k < s.npairs; k++)
        add(&pairs[k], s.pairs[k] / all);
    importance_squares_free(&s);
    return 0;
}

static void take_costs(const struct view *v, double *const *effects)
{
    for (int k = 0; k < v->w->nlive; k++) {
        struct importance_param *p = &v->w->out->params[v->w->live[k]];
        double best = INFINITY;
        for (int i = 0; i < p->nvalues; i++)
            best = fmin(best, effects[k][i]);
        for (int i = 0; i < p->nvalues; i++)
            p->values[i].cost[v->over] = exp(effects[k][i] - best);
    }
}

static int take_shares(struct view *v, const struct importance_squares *s, double *const *effects, struct err *e)
{
    struct importance *m = v->w->out;
    struct spread mains[CAND_MAX_PARAMS] = {{0}}, *pairs = calloc(s->npairs + 1, sizeof *pairs);
    const double all = variance(v, s->total);
    int rc = pairs ? 0 : err_nomem(e);

    for (int bag = 0; bag < IMPORTANCE_BAGS && !m->exact && rc == 0; bag++)
        rc = add_bag(v, bag, mains, pairs, e);
    v->out->additive = fmin(1, s->additive / all);
    v->out->rest = 1 - v->out->additive;
    for (int k = 0; k < v->w->nlive && rc == 0; k++)
        m->params[v->w->live[k]].of[v->over] = share_of(v, s->of[k] / all, &mains[k]);
    for (size_t k = 0; k < s->npairs && rc == 0; k++) {
        m->pairs[k].of[v->over] = share_of(v, s->pairs[k] / all, &pairs[k]);
        v->out->rest -= m->pairs[k].of[v->over].share;
    }
    v->out->rest = fmax(0, v->out->rest);
    take_costs(v, effects);
    free(pairs);
    return rc;
}

/* An array for each parameter that varies, in one piece. */
static int effects_open(double **effects, const struct importance_rows *rows, struct err *e)
{
    size_t n = 0;

    for (int k = 0; k < rows->nparams; k++)
        n += (size_t)rows->nvalues[k];
    effects[0] = calloc(n + 1, sizeof **effects);
    if (!effects[0]) return err_nomem(e);
    for (int k = 1; k < rows->nparams; k++)
        effects[k] = effects[k - 1] + rows->nvalues[k - 1];
    return 0;
}

/* f: of the work's points, by which those of the view are chosen. */
static int view_open(struct view *v, const double *f, double limit, struct err *e)
{
    double *effects[CAND_MAX_PARAMS + 1] = {NULL};
    struct importance_squares s = {0};
    int rc;

    TRY(select_points(v, f, limit, e));
    if (!v->w->out->exact && v->fitted.n >= IMPORTANCE_FEW)
        TRY(importance_forest(&v->forest, &v->fitted, v->fitted_y, &v->rows, &v->w->rng, e));
    expect(v);
    TRY(look(v, e));
    TRY(effects_open(effects, &v->rows, e));
    TRY(importance_squares(&s, &v->rows, v->f, v->w->sampled, effects, e));
    if (can_tell(v, s.total)) rc = take_shares(v, &s, effects, e);
out:
    free(effects[0]);
    importance_squares_free(&s);
    return rc;
}

/* ---- failures ---- */

static int by_chance(const void *a, const void *b)
{
    const struct importance_failing *x = a, *y = b;

    if (x->p != y->p) return x->p < y->p ? -1 : 1;
    return x->param != y->param ? x->param - y->param : x->value - y->value;
}

static int failures(struct importance_work *w, struct err *e)
{
    struct importance *m = w->out;
    size_t tests = 0;
    struct cand c;

    for (size_t i = 0; i < w->ntried; i++) {
        domain_from_rank(w->d, w->tried[i].rank, &c);
        for (int k = 0; k < m->nparams; k++) {
            m->params[k].values[c.at[k]].tried++;
            m->params[k].values[c.at[k]].failed += isnan(w->tried[i].y);
        }
    }
    for (int k = 0; k < m->nparams; k++)
        for (int i = 0; i < m->params[k].nvalues; i++)
            tests += m->params[k].values[i].tried > 0;
    m->failing = calloc(tests + 1, sizeof *m->failing);
    if (!m->failing) return err_nomem(e);
    for (int k = 0; k < m->nparams; k++)
        for (int i = 0; i < m->params[k].nvalues; i++) {
            const struct importance_value *v = &m->params[k].values[i];
            double p;
            if (v->failed == 0) continue;
            p = stats_hypergeometric_tail((unsigned)v->failed, (unsigned)m->failed, (unsigned)(m->tried - m->failed),
                                          (unsigned)v->tried);
            if (p * (double)tests < IMPORTANCE_FAILS_ALPHA)
                m->failing[m->nfailing++] = (struct importance_failing){k, i, p};
        }
    qsort(m->failing, (size_t)m->nfailing, sizeof *m->failing, by_chance);
    return 0;
}

/* ---- all ---- */

static const struct importance_share unknown = {NAN, NAN, NAN};

static int open_result(struct importance_work *w, struct err *e)
{
    struct importance *m = w->out;

    m->nparams = domain_template(w->d, m->tmpl)->nparams;
    for (int k = 0; k < m->nparams; k++) {
        struct importance_param *p = &m->params[k];
        p->nvalues = domain_nvalues(w->d, m->tmpl, k);
        if (p->nvalues > 1) p->of[IMPORTANCE_ALL] = p->of[IMPORTANCE_FAST] = unknown;
        p->values = calloc((size_t)p->nvalues + 1, sizeof *p->values);
        if (!p->values) return err_nomem(e);
        for (int i = 0; i < p->nvalues; i++)
            p->values[i].cost[IMPORTANCE_ALL] = p->values[i].cost[IMPORTANCE_FAST] = NAN;
    }
    m->pairs = calloc((size_t)w->nlive * (size_t)w->nlive + 1, sizeof *m->pairs);
    if (!m->pairs) return err_nomem(e);
    for (int a = 0; a < w->nlive; a++)
        for (int b = a + 1; b < w->nlive; b++)
            m->pairs[m->npairs++] = (struct importance_pair){w->live[a], w->live[b], {unknown, unknown}};
    return 0;
}

static int views(struct importance_work *w, struct err *e)
{
    struct view all = {.w = w, .out = &w->out->view[IMPORTANCE_ALL], .over = IMPORTANCE_ALL};
    struct view fast = {.w = w, .out = &w->out->view[IMPORTANCE_FAST], .over = IMPORTANCE_FAST};
    double median = -INFINITY;
    int rc;

    TRY(view_open(&all, w->y, INFINITY, e));
    stats_median(all.f, (int)all.rows.n, &median);
    rc = view_open(&fast, all.f, median, e);
out:
    view_close(&all);
    view_close(&fast);
    return rc;
}

int importance_of(struct importance *out, struct domain *d, int tmpl, const struct importance_point *points, size_t n,
                  uint64_t seed, struct err *e)
{
    struct importance_work w = {.out = out, .d = d};
    int rc;

    *out = (struct importance){.tmpl = tmpl};
    rng_init(&w.rng, seed, "importance");
    TRY(importance_work_open(&w, points, n, e));
    TRY(open_result(&w, e));
    TRY(failures(&w, e));
    rc = views(&w, e);
out:
    importance_work_close(&w);
    if (rc != 0) importance_free(out);
    return rc;
}

void importance_free(struct importance *m)
{
    for (int k = 0; k < m->nparams; k++)
        free(m->params[k].values);
    free(m->pairs);
    free(m->failing);
    *m = (struct importance){0};
}
