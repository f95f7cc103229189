/* importance_points.c - the points that were tried, and the valid points of the template that stand for all. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "importance_private.h"
#include "stats.h"

#define DRAWS 400000 /* for valid points, where they cannot be walked: seconds at most */

/* ---- points ---- */

static int by_rank(const void *a, const void *b)
{
    const struct importance_tried *x = a, *y = b;

    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static const struct importance_tried *find(const struct importance_work *w, uint64_t rank)
{
    const struct importance_tried key = {.rank = rank};
    size_t low = 0, high = w->ntried;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (w->tried[middle].rank < key.rank)
            low = middle + 1;
        else
            high = middle;
    }
    return low < w->ntried && w->tried[low].rank == rank ? &w->tried[low] : NULL;
}

static int take_points(struct importance_work *w, const struct importance_point *points, size_t n, struct err *e)
{
    w->tried = malloc(sizeof *w->tried * (n + 1));
    if (!w->tried) return err_nomem(e);
    for (size_t i = 0; i < n; i++) {
        const double us = points[i].us;
        w->tried[i] = (struct importance_tried){.rank = domain_rank(w->d, &points[i].cand),
                                                .order = i,
                                                .y = us > 0 && us <= STATS_LARGEST ? log(us) : NAN,
                                                .fitted = SIZE_MAX};
    }
    if (n > 0) qsort(w->tried, n, sizeof *w->tried, by_rank);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || w->tried[i].rank != w->tried[w->ntried - 1].rank) w->tried[w->ntried++] = w->tried[i];
    for (size_t i = 0; i < w->ntried; i++)
        w->out->failed += isnan(w->tried[i].y);
    w->out->tried = w->ntried;
    return 0;
}

/* ---- valid points ---- */

/* All of them: counted, and IMPORTANCE_VALID kept by reservoir (Vitter 1985, algorithm R). Where each was tried, all that worked are kept. */
static int walk(struct importance_work *w, struct err *e)
{
    uint64_t rank = w->start, n = 0, known = 0, worked = 0;
    struct cand c;

    while (domain_next(w->d, &rank, &c) && c.tmpl == w->out->tmpl) {
        const struct importance_tried *t = find(w, rank - 1);
        known += t != NULL;
        n++;
        if (t && isnan(t->y)) continue;
        if (w->nvalid < IMPORTANCE_VALID) {
            w->valid[w->nvalid++] = rank - 1;
            worked++;
        } else {
            const uint64_t at = rng_below(&w->rng, ++worked);
            if (at < IMPORTANCE_VALID) w->valid[at] = rank - 1;
        }
    }
    w->out->valid = (double)n;
    w->out->counted = true;
    w->out->exact = n > 0 && known == n;
    if (w->out->exact && w->ntried > IMPORTANCE_VALID) {
        uint64_t *all = realloc(w->valid, sizeof *all * w->ntried);
        if (!all) return err_nomem(e);
        w->valid = all;
        w->nvalid = 0;
        for (size_t i = 0; i < w->ntried; i++)
            if (!isnan(w->tried[i].y)) all[w->nvalid++] = w->tried[i].rank;
    }
    if (!w->out->exact && n > IMPORTANCE_VALID) w->sampled = 1 - (double)w->nvalid / (double)n;
    return 0;
}

/* Where there are too many to walk: by chance, uniformly. */
static void draw(struct importance_work *w)
{
    const double most = DRAWS * domain_acceptance(w->d); /* where draws are rejected, those count too */

    for (int i = 0; i < most && w->nvalid < IMPORTANCE_VALID; i++) {
        const struct importance_tried *t;
        uint64_t rank;
        struct cand c;
        if (!domain_sample_of(w->d, w->out->tmpl, &w->rng, &c)) break;
        rank = domain_rank(w->d, &c);
        t = find(w, rank);
        if (!t || !isnan(t->y)) w->valid[w->nvalid++] = rank;
    }
    w->out->valid = (double)domain_count_of(w->d, w->out->tmpl);
    w->sampled = 1;
}

static int find_valid(struct importance_work *w, struct err *e)
{
    w->valid = malloc(sizeof *w->valid * IMPORTANCE_VALID);
    if (!w->valid) return err_nomem(e);
    if (domain_counted(w->d, e) != 0) return -1;
    if (domain_listable(w->d)) return walk(w, e);
    draw(w);
    return 0;
}

/* Indices of the parameters that vary. */
static void fill_row(const struct importance_work *w, struct importance_rows *rows, size_t i, uint64_t rank)
{
    struct cand c;

    domain_from_rank(w->d, rank, &c);
    for (int k = 0; k < w->nlive; k++)
        rows->at[i * (size_t)w->nlive + (size_t)k] = c.at[w->live[k]];
}

static int open_rows(const struct importance_work *w, struct importance_rows *rows, size_t n, struct err *e)
{
    *rows = (struct importance_rows){.nparams = w->nlive, .n = n};
    for (int k = 0; k < w->nlive; k++)
        rows->nvalues[k] = domain_nvalues(w->d, w->out->tmpl, w->live[k]);
    rows->at = malloc(sizeof *rows->at * (n * (size_t)w->nlive + 1));
    return rows->at ? 0 : err_nomem(e);
}

/* The valid points as rows, and what is known of them. */
static int tabulate(struct importance_work *w, struct err *e)
{
    if (open_rows(w, &w->rows, w->nvalid, e) != 0) return -1;
    w->y = malloc(sizeof *w->y * (w->nvalid + 1));
    w->fitted_as = malloc(sizeof *w->fitted_as * (w->nvalid + 1));
    if (!w->y || !w->fitted_as) return err_nomem(e);
    for (size_t i = 0; i < w->nvalid; i++) {
        const struct importance_tried *t = find(w, w->valid[i]);
        fill_row(w, &w->rows, i, w->valid[i]);
        w->y[i] = t ? t->y : NAN;
        w->fitted_as[i] = t ? t->fitted : SIZE_MAX;
    }
    return 0;
}

/* The points that worked, or IMPORTANCE_FITTED of them by chance (Knuth's algorithm S), in order of rank. */
static int choose_fitted(struct importance_work *w, struct err *e)
{
    size_t left = w->ntried - w->out->failed, wanted = left < IMPORTANCE_FITTED ? left : IMPORTANCE_FITTED, n = 0;

    if (open_rows(w, &w->fitted, wanted, e) != 0) return -1;
    w->fitted_y = malloc(sizeof *w->fitted_y * (wanted + 1));
    if (!w->fitted_y) return err_nomem(e);
    for (size_t i = 0; i < w->ntried; i++) {
        struct importance_tried *t = &w->tried[i];
        if (isnan(t->y)) continue;
        if (rng_below(&w->rng, left--) >= wanted - n) continue;
        fill_row(w, &w->fitted, n, t->rank);
        w->fitted_y[n] = t->y;
        t->fitted = n++;
    }
    return 0;
}

int importance_work_open(struct importance_work *w, const struct importance_point *points, size_t n, struct err *e)
{
    const struct cand first = {.tmpl = w->out->tmpl};
    int rc = 0;

    if (domain_product(w->d, w->out->tmpl) == 0) return 0; /* it has no points here */
    w->start = domain_rank(w->d, &first);
    for (int k = 0; k < domain_template(w->d, w->out->tmpl)->nparams; k++)
        if (domain_nvalues(w->d, w->out->tmpl, k) > 1) w->live[w->nlive++] = k;
    TRY(take_points(w, points, n, e));
    TRY(find_valid(w, e));
    TRY(choose_fitted(w, e));
    rc = tabulate(w, e);
out:
    return rc;
}

void importance_work_close(struct importance_work *w)
{
    free(w->tried);
    free(w->valid);
    free(w->rows.at);
    free(w->y);
    free(w->fitted_as);
    free(w->fitted.at);
    free(w->fitted_y);
}
