/* stats_factors.c - how much of a spread a factor, and a pair of factors, explains. See stats.h.
 *
 * Values enter through the sums of their cells alone, so that the work behind one pass over the data depends on the numbers of levels. */
#include <gsl/gsl_errno.h>
#include <gsl/gsl_multifit.h>
#include <math.h>
#include <stdlib.h>

#include "stats.h"

struct cells {
    int na, nb, used; /* levels; cells that have a value */
    int n;
    double total, within; /* sums of squares about the mean, and about the means of the cells */
    double *count, *mean; /* na x nb */
};

static void cells_free(struct cells *c)
{
    free(c->count);
    free(c->mean);
}

static int levels(const int *factor, int n)
{
    int most = 0;

    for (int i = 0; i < n; i++)
        if (factor[i] >= most) most = factor[i] + 1;
    return most;
}

/* b NULL: one factor. */
static enum stats_status cells_of(struct cells *c, const double *y, const int *a, const int *b, int n)
{
    double mean;
    enum stats_status s = stats_mean(y, n, &mean);

    *c = (struct cells){.n = n};
    if (s != STATS_OK) return s;
    c->na = levels(a, n);
    c->nb = b ? levels(b, n) : 1;
    c->count = calloc((size_t)c->na * (size_t)c->nb, sizeof *c->count);
    c->mean = calloc((size_t)c->na * (size_t)c->nb, sizeof *c->mean);
    if (!c->count || !c->mean) {
        cells_free(c);
        *c = (struct cells){0};
        return STATS_NOMEM;
    }
    for (int i = 0; i < n; i++) {
        int at = a[i] * c->nb + (b ? b[i] : 0);
        double from_old = y[i] - c->mean[at];

        if (c->count[at]++ == 0) c->used++;
        c->mean[at] += from_old / c->count[at]; /* Welford 1962 */
        c->within += from_old * (y[i] - c->mean[at]);
        c->total += (y[i] - mean) * (y[i] - mean);
    }
    return STATS_OK;
}

/* (explained - what as many levels without any effect would explain on average) / total. */
static enum stats_status share(double explained, int freedom, const struct cells *c, double *out)
{
    if (!(c->total > 0)) return STATS_FLAT;
    *out = (explained - freedom * c->within / (c->n - c->used)) / c->total;
    return STATS_OK;
}

enum stats_status stats_explained(const double *y, const int *a, int n, double *out)
{
    struct cells c;
    enum stats_status s = cells_of(&c, y, a, NULL, n);

    if (s == STATS_OK && (c.used < 2 || n <= c.used)) s = STATS_FEW;
    if (s == STATS_OK) s = share(c.total - c.within, c.used - 1, &c, out);
    cells_free(&c);
    return s;
}

/* The least squares of row + column over the cells, weighted by their counts: what is left, and the rank of the model. Rows of zeros fill up
 * where there are fewer cells than levels, as GSL asks for at least as many. */
static enum stats_status additive(const struct cells *c, double *left, int *rank)
{
    size_t p = (size_t)(c->na + c->nb), rows = (size_t)c->used > p ? (size_t)c->used : p, r = 0, found = 0;
    gsl_matrix *x = gsl_matrix_calloc(rows, p), *covariance = gsl_matrix_alloc(p, p);
    gsl_vector *w = gsl_vector_calloc(rows), *y = gsl_vector_calloc(rows), *fit = gsl_vector_alloc(p);
    gsl_multifit_linear_workspace *work = gsl_multifit_linear_alloc(rows, p);
    double ignored;
    enum stats_status s = x && covariance && w && y && fit && work ? STATS_OK : STATS_NOMEM;

    for (int i = 0; i < c->na * c->nb && s == STATS_OK; i++) {
        if (c->count[i] == 0) continue;
        gsl_matrix_set(x, r, (size_t)(i / c->nb), 1);
        gsl_matrix_set(x, r, (size_t)(c->na + i % c->nb), 1);
        gsl_vector_set(w, r, c->count[i]);
        gsl_vector_set(y, r, c->mean[i]);
        r++;
    }
    if (s == STATS_OK &&
        gsl_multifit_wlinear_tsvd(x, w, y, 1e-10, fit, covariance, &ignored, &found, work) != GSL_SUCCESS)
        s = STATS_REFUSED;
    *rank = (int)found;
    *left = c->within; /* GSL's own sum is 0 where there are as many rows as columns */
    for (int i = 0; i < c->na * c->nb && s == STATS_OK; i++) {
        double off =
            c->mean[i] - gsl_vector_get(fit, (size_t)(i / c->nb)) - gsl_vector_get(fit, (size_t)(c->na + i % c->nb));
        *left += c->count[i] * off * off;
    }
    gsl_multifit_linear_free(work);
    gsl_matrix_free(x);
    gsl_matrix_free(covariance);
    gsl_vector_free(w);
    gsl_vector_free(y);
    gsl_vector_free(fit);
    return s;
}

enum stats_status stats_interaction(const double *y, const int *a, const int *b, int n, double *out)
{
    struct cells c;
    double left;
    int rank;
    enum stats_status s = cells_of(&c, y, a, b, n);

    if (s == STATS_OK && (c.used < 4 || n <= c.used)) s = STATS_FEW;
    if (s == STATS_OK) s = additive(&c, &left, &rank);
    if (s == STATS_OK && c.used <= rank) s = STATS_FEW;
    if (s == STATS_OK) s = share(left - c.within, c.used - rank, &c, out);
    cells_free(&c);
    return s;
}
