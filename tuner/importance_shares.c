/* importance_shares.c - sums of squares of a function that is known at each row. Least squares over tables and over sums of functions of one
 * parameter each, by turns (backfitting: Buja, Hastie & Tibshirani, "Linear smoothers and additive models", Ann. Statist. 17, 1989), which
 * needs no basis, so what constraints make collinear does no harm. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "importance_private.h"

#define TURNS 200
#define STILL 1e-9       /* of the total: a turn that gains less is the last */
#define CELLS (1u << 16) /* more make no table */

/* What is decomposed. */
struct used {
    const struct importance_rows *rows;
    size_t n;
    double *y; /* f about its mean */
    double total, sampled;
};

static int value_of(const struct used *u, size_t i, int param)
{
    return u->rows->at[i * (size_t)u->rows->nparams + (size_t)param];
}

/* Squares beyond what so many more levels explain by chance. */
static double beyond_chance(const struct used *u, double explained, double within, size_t freedom, size_t cells)
{
    if (u->n <= cells) return explained;
    return explained - u->sampled * (double)freedom * within / (double)(u->n - cells);
}

/* Sum and number of y by index of a table. */
struct table {
    double *sum, *n;
};

static int table_open(struct table *t, size_t cells, struct err *e)
{
    t->sum = calloc(cells, sizeof *t->sum);
    t->n = calloc(cells, sizeof *t->n);
    return t->sum && t->n ? 0 : err_nomem(e);
}

static void table_free(struct table *t)
{
    free(t->sum);
    free(t->n);
    *t = (struct table){0};
}

/* Sum of squares between the cells; *filled: those that have a row. */
static double between(const struct table *t, size_t cells, size_t *filled)
{
    double squares = 0;

    *filled = 0;
    for (size_t i = 0; i < cells; i++)
        if (t->n[i] > 0) {
            squares += t->sum[i] * t->sum[i] / t->n[i];
            ++*filled;
        }
    return squares;
}

static int main_effect(const struct used *u, int param, double *out, struct err *e)
{
    const size_t cells = (size_t)u->rows->nvalues[param];
    struct table t;
    size_t filled;
    int rc;

    TRY(table_open(&t, cells, e));
    for (size_t i = 0; i < u->n; i++) {
        t.sum[value_of(u, i, param)] += u->y[i];
        t.n[value_of(u, i, param)]++;
    }
    *out = between(&t, cells, &filled);
    *out = beyond_chance(u, *out, u->total - *out, filled - 1, filled);
out:
    table_free(&t);
    return rc;
}

/* What the best row + column leaves of the table's cells, by turns. effect: na + nb zeros. */
static double additive_leaves(const struct table *t, size_t na, size_t nb, double *effect, double enough)
{
    double *a = effect, *b = effect + na, left = INFINITY;

    for (int turn = 0; turn < TURNS; turn++) {
        double now = 0;
        for (size_t i = 0; i < na; i++) {
            double sum = 0, n = 0;
            for (size_t j = 0; j < nb; j++) {
                sum += t->sum[i * nb + j] - t->n[i * nb + j] * b[j];
                n += t->n[i * nb + j];
            }
            a[i] = n > 0 ? sum / n : 0;
        }
        for (size_t j = 0; j < nb; j++) {
            double sum = 0, n = 0;
            for (size_t i = 0; i < na; i++) {
                sum += t->sum[i * nb + j] - t->n[i * nb + j] * a[i];
                n += t->n[i * nb + j];
            }
            b[j] = n > 0 ? sum / n : 0;
        }
        for (size_t i = 0; i < na; i++)
            for (size_t j = 0; j < nb; j++)
                if (t->n[i * nb + j] > 0) {
                    const double off = t->sum[i * nb + j] / t->n[i * nb + j] - a[i] - b[j];
                    now += t->n[i * nb + j] * off * off;
                }
        if (left - now <= enough) return now;
        left = now;
    }
    return left;
}

static int interaction(const struct used *u, int a, int b, double *out, struct err *e)
{
    const size_t na = (size_t)u->rows->nvalues[a], nb = (size_t)u->rows->nvalues[b];
    double *effect = NULL, cells;
    struct table t = {0};
    size_t filled, freedom;
    int rc = 0;

    *out = 0;
    if (na * nb > CELLS) goto out;
    TRY(table_open(&t, na * nb, e));
    effect = calloc(na + nb, sizeof *effect);
    if (!effect) {
        rc = err_nomem(e);
        goto out;
    }
    for (size_t i = 0; i < u->n; i++) {
        const size_t cell = (size_t)value_of(u, i, a) * nb + (size_t)value_of(u, i, b);
        t.sum[cell] += u->y[i];
        t.n[cell]++;
    }
    cells = between(&t, na * nb, &filled);
    freedom = filled > na + nb - 1 ? filled - (na + nb - 1) : 0;
    *out = beyond_chance(u, additive_leaves(&t, na, nb, effect, STILL * u->total), u->total - cells, freedom, filled);
out:
    table_free(&t);
    free(effect);
    return rc;
}

/* The residual moves to the next parameter: what is left of y, with this one's effect put back, is averaged by value. Returns what is left. */
static double turn(const struct used *u, double *rest, int param, double *effect, struct table *t)
{
    const size_t cells = (size_t)u->rows->nvalues[param];
    double left = 0;

    memset(t->sum, 0, sizeof *t->sum * cells);
    memset(t->n, 0, sizeof *t->n * cells);
    for (size_t i = 0; i < u->n; i++) {
        t->sum[value_of(u, i, param)] += rest[i];
        t->n[value_of(u, i, param)]++;
    }
    for (size_t v = 0; v < cells; v++)
        if (t->n[v] > 0)
            effect[v] += t->sum[v] / t->n[v];
        else
            effect[v] = NAN;
    for (size_t i = 0; i < u->n; i++) {
        const int v = value_of(u, i, param);
        rest[i] -= t->sum[v] / t->n[v];
        left += rest[i] * rest[i];
    }
    return left;
}

static int additive(const struct used *u, double *const *effects, double *out, struct err *e)
{
    double *rest = malloc(sizeof *rest * u->n), left = u->total, before;
    size_t most = 1;
    struct table t = {0};
    int rc;

    for (int k = 0; k < u->rows->nparams; k++) {
        memset(effects[k], 0, sizeof *effects[k] * (size_t)u->rows->nvalues[k]);
        if ((size_t)u->rows->nvalues[k] > most) most = (size_t)u->rows->nvalues[k];
    }
    TRY(table_open(&t, most, e));
    if (!rest) {
        rc = err_nomem(e);
        goto out;
    }
    memcpy(rest, u->y, sizeof *rest * u->n);
    for (int i = 0; i < TURNS; i++) {
        before = left;
        for (int k = 0; k < u->rows->nparams; k++)
            left = turn(u, rest, k, effects[k], &t);
        if (before - left <= STILL * u->total) break;
    }
    *out = u->total - left;
out:
    table_free(&t);
    free(rest);
    return rc;
}

static int centre(struct used *u, const double *f, struct err *e)
{
    double mean = 0;

    u->y = malloc(sizeof *u->y * (u->n + 1));
    if (!u->y) return err_nomem(e);
    for (size_t i = 0; i < u->n; i++)
        mean += f[i] / (double)u->n;
    for (size_t i = 0; i < u->n; i++) {
        u->y[i] = f[i] - mean;
        u->total += u->y[i] * u->y[i];
    }
    return 0;
}

int importance_squares(struct importance_squares *out, const struct importance_rows *rows, const double *f,
                       double sampled, double *const *effects, struct err *e)
{
    struct used u = {.rows = rows, .n = rows->n, .sampled = sampled};
    const size_t p = (size_t)rows->nparams;
    int rc;

    *out = (struct importance_squares){.additive = NAN};
    TRY(centre(&u, f, e));
    out->total = u.total;
    out->pairs = calloc(p * p + 1, sizeof *out->pairs);
    if (!out->pairs) {
        rc = err_nomem(e);
        goto out;
    }
    for (int a = 0; a < rows->nparams; a++) {
        TRY(main_effect(&u, a, &out->of[a], e));
        for (int b = a + 1; b < rows->nparams; b++)
            TRY(interaction(&u, a, b, &out->pairs[out->npairs++], e));
    }
    if (effects) TRY(additive(&u, effects, &out->additive, e));
out:
    free(u.y);
    if (rc != 0) importance_squares_free(out);
    return rc;
}

void importance_squares_free(struct importance_squares *s)
{
    free(s->pairs);
    s->pairs = NULL;
}
