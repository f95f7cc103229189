/* search_model.c - the Gaussian process.
 *
 * Rasmussen and Williams, "Gaussian Processes for Machine Learning" (MIT Press 2006): prediction is algorithm 2.1, the
 * likelihood eq. 2.30 with the signal's variance at its optimum. The kernel of two points of one template is k(a, b) =
 * SHARED + (1 - SHARED) exp(-sum_i t_i d_i),    d_i = (|a_i - b_i| / (n_i - 1) + [a_i != b_i]) / 2, a_i the index of
 * parameter i's value, n_i its number of values: the first half of d_i knows that values are ordered, the second that
 * any change of a compile-time constant makes another kernel. An exponential of a distance (not of its square) suits
 * the jumps that tuning spaces have. Each of its factors is positive definite, so the product is. The scales t_i have a
 * log-normal prior, which keeps a handful of points from switching parameters off.
 *
 * The factor of the covariance grows by a row when a point is added; values may change without touching it. */
#include "search_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHARED 0.15
#define PRIOR_SD 1.0 /* of ln t_i */
#define STEP 2.2     /* factor by which a scale is tried */
#define MIN_POINTS 6 /* to fit a template's scales */

struct template_scales {
    int nparams;
    double theta[CAND_MAX_PARAMS], prior, per_step[CAND_MAX_PARAMS];
};

struct factor { /* lower Cholesky factor of correlation + noise, rows packed: row i begins at i(i+1)/2 */
    double *l;
    int n, cap;
};

struct search_model {
    struct template_scales *scales;
    int ntemplates;
    double noise;
    struct factor factor;
    struct cand *points;
    double *z; /* L^-1 (values - mean) */
    double *work;
    double mean, variance;
    bool valued;
};

static double *row_of(const struct factor *f, int i)
{
    return f->l + (size_t)i * ((size_t)i + 1) / 2;
}

static double correlation(const struct search_model *m, const struct cand *a, const struct cand *b)
{
    double sum = 0;
    if (a->tmpl != b->tmpl) return 0;
    const struct template_scales *t = &m->scales[a->tmpl];
    for (int i = 0; i < t->nparams; i++) {
        if (a->at[i] == b->at[i]) continue;
        sum += t->theta[i] * 0.5 * (1 + abs((int)a->at[i] - (int)b->at[i]) * t->per_step[i]);
    }
    return exp(-sum);
}

static double covariance(const struct search_model *m, const struct cand *a, const struct cand *b)
{
    return a->tmpl != b->tmpl ? 0 : SHARED + (1 - SHARED) * correlation(m, a, b);
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
static void append(const struct search_model *m, struct factor *f, const struct cand *points, const struct cand *c)
{
    double *row = row_of(f, f->n), sum = 1 + m->noise;
    for (int i = 0; i < f->n; i++)
        row[i] = covariance(m, &points[i], c);
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
    m->noise = 1e-2;
    m->scales = calloc((size_t)m->ntemplates, sizeof *m->scales);
    if (!m->scales) {
        search_model_close(m);
        return NULL;
    }
    for (int t = 0; t < m->ntemplates; t++) {
        struct template_scales *s = &m->scales[t];
        int live = 0;
        s->nparams = domain_unfit(d, t) ? 0 : domain_template(d, t)->nparams;
        for (int i = 0; i < s->nparams; i++) {
            int n = domain_nvalues(d, t, i);
            live += n > 1;
            s->per_step[i] = n > 1 ? 1.0 / (n - 1) : 0;
        }
        s->prior = 3.0 / (live ? live : 1); /* typical points share exp(-1.5) */
        for (int i = 0; i < s->nparams; i++)
            s->theta[i] = s->prior;
    }
    return m;
}

void search_model_close(struct search_model *m)
{
    if (!m) return;
    free(m->scales);
    free(m->factor.l);
    free(m->points);
    free(m->z);
    free(m->work);
    free(m);
}

void search_model_clear(struct search_model *m)
{
    m->factor.n = 0;
    m->valued = false;
}

int search_model_size(const struct search_model *m)
{
    return m->factor.n;
}

int search_model_add(struct search_model *m, const struct cand *c)
{
    int cap = m->factor.cap;
    if (reserve(&m->factor, m->factor.n + 1) != 0) return -1;
    if (m->factor.cap != cap || !m->points) {
        size_t n = (size_t)m->factor.cap;
        struct cand *points = realloc(m->points, n * sizeof *points);
        if (points) m->points = points;
        double *z = realloc(m->z, n * sizeof *z);
        if (z) m->z = z;
        double *work = realloc(m->work, n * sizeof *work);
        if (work) m->work = work;
        if (!points || !z || !work) {
            m->factor.cap = cap;
            return -1;
        }
    }
    append(m, &m->factor, m->points, c);
    m->points[m->factor.n - 1] = *c;
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

void search_model_values(struct search_model *m, const double *values)
{
    int n = m->factor.n;
    double sum = 0;
    if (n == 0) return;
    m->mean = mean_of(values, n);
    for (int i = 0; i < n; i++)
        m->z[i] = values[i] - m->mean;
    solve(&m->factor, m->z);
    for (int i = 0; i < n; i++)
        sum += m->z[i] * m->z[i];
    m->variance = sum / n > 1e-12 ? sum / n : 1e-12;
    m->valued = true;
}

void search_model_predict(struct search_model *m, const struct cand *c, double *mean, double *sd)
{
    double explained = 0, shift = 0;
    *mean = 0;
    *sd = 1;
    if (!m->valued) return;
    for (int i = 0; i < m->factor.n; i++)
        m->work[i] = covariance(m, &m->points[i], c);
    solve(&m->factor, m->work);
    for (int i = 0; i < m->factor.n; i++) {
        explained += m->work[i] * m->work[i];
        shift += m->work[i] * m->z[i];
    }
    *mean = m->mean + shift;
    *sd = sqrt(m->variance * (explained < 1 ? 1 - explained : 1e-9));
}

double search_model_likeness(const struct search_model *m, const struct cand *a, const struct cand *b)
{
    return correlation(m, a, b);
}

/* ---- length scales ---- */

struct fit {
    struct factor factor;
    double *z;
    const struct cand *points;
    const double *values;
    int n;
};

/* Log likelihood of the points with the signal's variance at its optimum, plus the log prior of the scales. */
static double likelihood(const struct search_model *m, struct fit *f)
{
    double mean = mean_of(f->values, f->n), squares = 0, logs = 0, prior = 0;
    f->factor.n = 0;
    for (int i = 0; i < f->n; i++) {
        append(m, &f->factor, f->points, &f->points[i]);
        logs += log(row_of(&f->factor, i)[i]);
        f->z[i] = f->values[i] - mean;
    }
    solve(&f->factor, f->z);
    for (int i = 0; i < f->n; i++)
        squares += f->z[i] * f->z[i];
    for (int t = 0; t < m->ntemplates; t++)
        for (int i = 0; i < m->scales[t].nparams; i++) {
            double x = log(m->scales[t].theta[i] / m->scales[t].prior) / PRIOR_SD;
            prior -= 0.5 * x * x;
        }
    return -0.5 * f->n * log(squares / f->n + 1e-12) - logs + prior;
}

/* Moves *x up or down by a factor when that is likelier. */
static void try_scale(const struct search_model *m, struct fit *f, double *x, double factor, double low, double high,
                      double *best)
{
    double was = *x;
    for (int way = 0; way < 2; way++) {
        double next = way ? was / factor : was * factor;
        if (next < low || next > high) continue;
        *x = next;
        double l = likelihood(m, f);
        if (l > *best) {
            *best = l;
            return;
        }
        *x = was;
    }
}

int search_model_fit(struct search_model *m, const struct cand *points, const double *values, int n)
{
    struct fit f = {.points = points, .values = values, .n = n};
    if (n < MIN_POINTS) return 0;
    f.z = malloc((size_t)n * sizeof *f.z);
    if (!f.z || reserve(&f.factor, n) != 0) {
        free(f.z);
        return -1;
    }
    double best = likelihood(m, &f);
    for (int t = 0; t < m->ntemplates; t++) {
        int here = 0;
        for (int i = 0; i < n; i++)
            here += points[i].tmpl == t;
        if (here < MIN_POINTS) continue;
        for (int i = 0; i < m->scales[t].nparams; i++)
            if (m->scales[t].per_step[i] > 0) try_scale(m, &f, &m->scales[t].theta[i], STEP, 1e-3, 50, &best);
    }
    try_scale(m, &f, &m->noise, 4, 1e-4, 0.7, &best);
    free(f.factor.l);
    free(f.z);
    return 0;
}
