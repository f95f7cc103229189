/* search_model.c - the Gaussian process: one for each template, since nothing is known of what they share but the unit of time.
 *
 * Rasmussen and Williams, "Gaussian Processes for Machine Learning" (MIT Press 2006): prediction is algorithm 2.1, the
 * likelihood eq. 2.30 with the signal's variance at its optimum. The kernel of two points is k(a, b) = SHARED + (1 - SHARED)
 * exp(-sum_i t_i d_i),    d_i = (|a_i - b_i| / (n_i - 1) + [a_i != b_i]) / 2, a_i the index of
 * parameter i's value, n_i its number of values: the first half of d_i knows that values are ordered, the second that
 * any change of a compile-time constant makes another kernel. An exponential of a distance (not of its square) suits
 * the jumps that tuning spaces have. Each of its factors is positive definite, so the product is. The scales t_i have a
 * log-normal prior, which keeps a handful of points from switching parameters off. A template's mean and variance count BORROWED
 * points' worth of what all templates together say, so that two bad draws do not condemn it.
 *
 * The factor of the covariance grows by a row when a point is added; values may change without touching it. A view keeps
 * L^-1 k for each of its points and adds an entry when the factor gets a row, for all its points in one loop: looking at thousands
 * of points after each answer costs what a few dozen from scratch would. */
#include "search_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHARED 0.15
#define PRIOR_SD 1.0 /* of ln t_i */
#define STEP 2.2     /* factor by which a scale is tried */
#define MIN_POINTS 6 /* to fit a template's scales */
#define BORROWED 5.0

struct factor { /* lower Cholesky factor of correlation + noise, rows packed: row i begins at i(i+1)/2 */
    double *l;
    int n, cap;
};

struct process { /* of a template */
    int nparams;
    double theta[CAND_MAX_PARAMS], prior, per_step[CAND_MAX_PARAMS], noise;
    struct factor factor;
    struct cand *points;
    double *z; /* L^-1 (values - mean) */
    double mean, variance;
};

struct search_model {
    struct process *of;
    int ntemplates;
    int *order, n, cap;  /* the points' templates, in the order in which they came */
    unsigned generation; /* how often it was cleared */
    bool valued;
};

/* A view's points of one template. */
struct part {
    int n, cap, rows, rows_cap;
    int *index; /* of a point in the view */
    struct cand *points;
    double *entries;   /* row i, cap wide: entry i of L^-1 k for each point */
    double *explained; /* squares of its entries, summed */
    double *shift;     /* entries times z, summed */
};

struct search_view {
    struct search_model *model;
    unsigned generation;
    struct part *of;
};

static double *row_of(const struct factor *f, int i)
{
    return f->l + (size_t)i * ((size_t)i + 1) / 2;
}

static double correlation(const struct process *p, const struct cand *a, const struct cand *b)
{
    double sum = 0;
    for (int i = 0; i < p->nparams; i++) {
        if (a->at[i] == b->at[i]) continue;
        sum += p->theta[i] * 0.5 * (1 + abs((int)a->at[i] - (int)b->at[i]) * p->per_step[i]);
    }
    return exp(-sum);
}

static double covariance(const struct process *p, const struct cand *a, const struct cand *b)
{
    return SHARED + (1 - SHARED) * correlation(p, a, b);
}

/* Solves L x = x in place. */
static void solve(const struct factor *f, double *x)
{
    for (int i = 0; i < f->n; i++) {
        const double *row = row_of(f, i);
        double sum = x[i];
        for (int k = 0; k < i; k++)
            sum -= row[k] * x[k];
        x[i] = sum / row[i];
    }
}

/* Appends a point's row to the factor; points[0..n-1] are those in it. The caller has made room. */
static void append(const struct process *p, struct factor *f, const struct cand *points, const struct cand *c)
{
    double *row = row_of(f, f->n), sum = 1 + p->noise;
    for (int i = 0; i < f->n; i++)
        row[i] = covariance(p, &points[i], c);
    solve(f, row);
    for (int i = 0; i < f->n; i++)
        sum -= row[i] * row[i];
    row[f->n++] = sqrt(sum > 1e-9 ? sum : 1e-9);
}

static int reserve(struct factor *f, int n)
{
    if (n <= f->cap) return 0;
    int cap = f->cap ? f->cap : 64;
    while (cap < n)
        cap *= 2;
    double *l = realloc(f->l, (size_t)cap * ((size_t)cap + 1) / 2 * sizeof *l);
    if (!l) return -1;
    f->l = l;
    f->cap = cap;
    return 0;
}

struct search_model *search_model_open(struct domain *d)
{
    struct search_model *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    m->ntemplates = domain_templates(d);
    m->of = calloc((size_t)m->ntemplates, sizeof *m->of);
    if (!m->of) {
        search_model_close(m);
        return NULL;
    }
    for (int t = 0; t < m->ntemplates; t++) {
        struct process *p = &m->of[t];
        int live = 0;
        p->noise = 1e-2;
        p->nparams = domain_unfit(d, t) ? 0 : domain_template(d, t)->nparams;
        for (int i = 0; i < p->nparams; i++) {
            int n = domain_nvalues(d, t, i);
            live += n > 1;
            p->per_step[i] = n > 1 ? 1.0 / (n - 1) : 0;
        }
        p->prior = 3.0 / (live ? live : 1); /* typical points share exp(-1.5) */
        for (int i = 0; i < p->nparams; i++)
            p->theta[i] = p->prior;
    }
    return m;
}

void search_model_close(struct search_model *m)
{
    if (!m) return;
    for (int t = 0; t < m->ntemplates && m->of; t++) {
        free(m->of[t].factor.l);
        free(m->of[t].points);
        free(m->of[t].z);
    }
    free(m->of);
    free(m->order);
    free(m);
}

void search_model_clear(struct search_model *m)
{
    for (int t = 0; t < m->ntemplates; t++)
        m->of[t].factor.n = 0;
    m->n = 0;
    m->generation++;
    m->valued = false;
}

int search_model_size(const struct search_model *m)
{
    return m->n;
}

static int reserve_order(struct search_model *m)
{
    if (m->n < m->cap) return 0;
    int cap = m->cap ? 2 * m->cap : 128;
    int *order = realloc(m->order, (size_t)cap * sizeof *order);
    if (!order) return -1;
    m->order = order;
    m->cap = cap;
    return 0;
}

static int reserve_process(struct process *p)
{
    int cap = p->factor.cap;
    if (reserve(&p->factor, p->factor.n + 1) != 0) return -1;
    if (p->factor.cap == cap) return 0;
    size_t n = (size_t)p->factor.cap;
    struct cand *points = realloc(p->points, n * sizeof *points);
    if (points) p->points = points;
    double *z = realloc(p->z, n * sizeof *z);
    if (z) p->z = z;
    if (points && z) return 0;
    p->factor.cap = cap;
    return -1;
}

int search_model_add(struct search_model *m, const struct cand *c)
{
    struct process *p = &m->of[c->tmpl];
    if (reserve_order(m) != 0 || reserve_process(p) != 0) return -1;
    append(p, &p->factor, p->points, c);
    p->points[p->factor.n - 1] = *c;
    m->order[m->n++] = c->tmpl;
    m->valued = false;
    return 0;
}

static double mean_of(const double *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i];
    return n ? sum / n : 0;
}

/* z = L^-1 (z - mean); the sum of its squares. */
static double whiten(const struct factor *f, double *z, double mean)
{
    double sum = 0;
    for (int i = 0; i < f->n; i++)
        z[i] -= mean;
    solve(f, z);
    for (int i = 0; i < f->n; i++)
        sum += z[i] * z[i];
    return sum;
}

/* Deals the values out to their processes. */
static void deal(struct search_model *m, const double *values)
{
    for (int t = 0; t < m->ntemplates; t++)
        m->of[t].factor.n = 0;
    for (int i = 0; i < m->n; i++) {
        struct process *p = &m->of[m->order[i]];
        p->z[p->factor.n++] = values[i];
    }
}

void search_model_values(struct search_model *m, const double *values)
{
    double sum = 0, all = mean_of(values, m->n);
    if (m->n == 0) return;
    deal(m, values);
    for (int t = 0; t < m->ntemplates; t++) {
        struct process *p = &m->of[t];
        double borrowed = m->ntemplates > 1 ? BORROWED : 0, n = p->factor.n + borrowed;
        p->mean = n > 0 ? (p->factor.n * mean_of(p->z, p->factor.n) + borrowed * all) / n : all;
        p->variance = whiten(&p->factor, p->z, p->mean);
        sum += p->variance;
    }
    double variance = sum / m->n > 1e-12 ? sum / m->n : 1e-12;
    for (int t = 0; t < m->ntemplates; t++) {
        struct process *p = &m->of[t];
        p->variance = (p->variance + BORROWED * variance) / (p->factor.n + BORROWED);
    }
    m->valued = true;
}

double search_model_likeness(const struct search_model *m, const struct cand *a, const struct cand *b)
{
    return a->tmpl == b->tmpl ? correlation(&m->of[a->tmpl], a, b) : 0;
}

/* ---- views ---- */

struct search_view *search_view_open(struct search_model *m)
{
    struct search_view *v = calloc(1, sizeof *v);
    if (!v) return NULL;
    v->model = m;
    v->of = calloc((size_t)m->ntemplates, sizeof *v->of);
    if (v->of) return v;
    free(v);
    return NULL;
}

void search_view_close(struct search_view *v)
{
    if (!v) return;
    for (int t = 0; t < v->model->ntemplates; t++) {
        free(v->of[t].index);
        free(v->of[t].points);
        free(v->of[t].entries);
        free(v->of[t].explained);
        free(v->of[t].shift);
    }
    free(v->of);
    free(v);
}

/* Room for n points in a part that has none. */
static int reserve_part(struct part *w, int n)
{
    if (n <= w->cap) return 0;
    int *index = realloc(w->index, (size_t)n * sizeof *index);
    if (index) w->index = index;
    struct cand *points = realloc(w->points, (size_t)n * sizeof *points);
    if (points) w->points = points;
    double *explained = realloc(w->explained, (size_t)n * sizeof *explained);
    if (explained) w->explained = explained;
    double *shift = realloc(w->shift, (size_t)n * sizeof *shift);
    if (shift) w->shift = shift;
    free(w->entries); /* rows of another width */
    w->entries = NULL;
    w->rows_cap = 0;
    w->cap = index && points && explained && shift ? n : 0;
    return w->cap ? 0 : -1;
}

static int reserve_rows(struct part *w, int rows)
{
    if (rows <= w->rows_cap) return 0;
    int cap = w->rows_cap ? w->rows_cap : 32;
    while (cap < rows)
        cap *= 2;
    double *entries = realloc(w->entries, (size_t)cap * (size_t)w->cap * sizeof *entries);
    if (!entries) return -1;
    w->entries = entries;
    w->rows_cap = cap;
    return 0;
}

static void restart(struct part *w)
{
    w->rows = 0;
    for (int k = 0; k < w->n; k++)
        w->explained[k] = 0;
}

int search_view_set(struct search_view *v, const struct cand *points, int n)
{
    for (int t = 0; t < v->model->ntemplates; t++) {
        struct part *w = &v->of[t];
        int here = 0;
        for (int i = 0; i < n; i++)
            here += points[i].tmpl == t;
        w->n = 0;
        if (reserve_part(w, here) != 0) return -1;
        for (int i = 0; i < n; i++) {
            if (points[i].tmpl != t) continue;
            w->index[w->n] = i;
            w->points[w->n++] = points[i];
        }
        restart(w);
    }
    v->generation = v->model->generation;
    return 0;
}

/* The next row of the factor, for all points of the part. */
static void add_row(struct part *w, const struct process *p)
{
    const double *row = row_of(&p->factor, w->rows);
    const size_t width = (size_t)w->cap;
    double *to = w->entries + (size_t)w->rows * width;
    for (int k = 0; k < w->n; k++)
        to[k] = covariance(p, &p->points[w->rows], &w->points[k]);
    for (int j = 0; j < w->rows; j++) {
        const double *from = w->entries + (size_t)j * width, share = row[j];
        for (int k = 0; k < w->n; k++)
            to[k] -= share * from[k];
    }
    const double scale = 1 / row[w->rows];
    for (int k = 0; k < w->n; k++) {
        to[k] *= scale;
        w->explained[k] += to[k] * to[k];
    }
    w->rows++;
}

static int predict_part(struct part *w, const struct process *p, double *mean, double *sd)
{
    if (w->n == 0) return 0;
    if (reserve_rows(w, p->factor.n) != 0) return -1;
    while (w->rows < p->factor.n)
        add_row(w, p);
    for (int k = 0; k < w->n; k++)
        w->shift[k] = 0;
    for (int i = 0; i < w->rows; i++) {
        const double *from = w->entries + (size_t)i * (size_t)w->cap, z = p->z[i];
        for (int k = 0; k < w->n; k++)
            w->shift[k] += z * from[k];
    }
    for (int k = 0; k < w->n; k++) {
        mean[w->index[k]] = p->mean + w->shift[k];
        sd[w->index[k]] = sqrt(p->variance * (w->explained[k] < 1 ? 1 - w->explained[k] : 1e-9));
    }
    return 0;
}

int search_view_predict(struct search_view *v, double *mean, double *sd)
{
    const struct search_model *m = v->model;
    for (int t = 0; t < m->ntemplates; t++) {
        struct part *w = &v->of[t];
        if (v->generation != m->generation) restart(w);
        if (m->valued && predict_part(w, &m->of[t], mean, sd) != 0) return -1;
        for (int k = 0; k < w->n && !m->valued; k++) {
            mean[w->index[k]] = 0;
            sd[w->index[k]] = 1;
        }
    }
    v->generation = m->generation;
    return 0;
}

/* ---- length scales ---- */

struct fit {
    struct factor factor;
    double *z;
    struct cand *points;
    double *values;
    int n;
};

/* Log likelihood of the points with the signal's variance at its optimum, plus the log prior of the scales. */
static double likelihood(const struct process *p, struct fit *f)
{
    double mean = mean_of(f->values, f->n), logs = 0, prior = 0;
    f->factor.n = 0;
    for (int i = 0; i < f->n; i++) {
        append(p, &f->factor, f->points, &f->points[i]);
        logs += log(row_of(&f->factor, i)[i]);
        f->z[i] = f->values[i];
    }
    double squares = whiten(&f->factor, f->z, mean);
    for (int i = 0; i < p->nparams; i++) {
        double x = log(p->theta[i] / p->prior) / PRIOR_SD;
        prior -= 0.5 * x * x;
    }
    return -0.5 * f->n * log(squares / f->n + 1e-12) - logs + prior;
}

/* Moves *x up or down by a factor when that is likelier. */
static void try_scale(const struct process *p, struct fit *f, double *x, double factor, double low, double high,
                      double *best)
{
    double was = *x;
    for (int way = 0; way < 2; way++) {
        double next = way ? was / factor : was * factor;
        if (next < low || next > high) continue;
        *x = next;
        double l = likelihood(p, f);
        if (l > *best) {
            *best = l;
            return;
        }
        *x = was;
    }
}

static void fit_process(struct process *p, struct fit *f)
{
    double best = likelihood(p, f);
    for (int i = 0; i < p->nparams; i++)
        if (p->per_step[i] > 0) try_scale(p, f, &p->theta[i], STEP, 1e-3, 50, &best);
    try_scale(p, f, &p->noise, 4, 1e-4, 0.7, &best);
}

int search_model_fit(struct search_model *m, const struct cand *points, const double *values, int n)
{
    if (n < MIN_POINTS) return 0;
    struct fit f = {.z = malloc((size_t)n * sizeof *f.z),
                    .points = malloc((size_t)n * sizeof *f.points),
                    .values = malloc((size_t)n * sizeof *f.values)};
    int rc = f.z && f.points && f.values ? reserve(&f.factor, n) : -1;
    for (int t = 0; t < m->ntemplates && rc == 0; t++) {
        f.n = 0;
        for (int i = 0; i < n; i++) {
            if (points[i].tmpl != t) continue;
            f.points[f.n] = points[i];
            f.values[f.n++] = values[i];
        }
        if (f.n >= MIN_POINTS) fit_process(&m->of[t], &f);
    }
    free(f.factor.l);
    free(f.points);
    free(f.values);
    free(f.z);
    return rc;
}
