/* Rows are computed on all cores, each by one thread and in one order. A row's own s are sorted once, so that a reference is looked up among
 * them and not searched for. */
#include "check_tile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check_host.h"

#define MOST_CELLS (4u << 20) /* rows x keys: 48 MiB on the device, five times as much here */

int check_tile_valid(const struct problem *p, const struct check_tile *t, struct err *e)
{
    const size_t most = MOST_CELLS / (size_t)p->seq_kv;

    if (t->batch < 0 || t->batch >= p->batch || t->head < 0 || t->head >= p->heads)
        return err_set(e, ERR_USAGE, "no head %d of batch %d; there are %d batches of %d heads, from 0", t->head,
                       t->batch, p->batch, p->heads);
    if (t->row < 0 || t->rows < 1 || t->row >= p->seq_q || t->rows > p->seq_q - t->row)
        return err_set(e, ERR_USAGE, "no rows %d:%d; a head has %d query rows, from 0: --rows FROM:N", t->row, t->rows,
                       p->seq_q);
    if ((size_t)t->rows > most)
        return err_set(
            e, ERR_USAGE,
            "%d rows of %d keys are more than the %u numbers that a tile may have; --rows %d:%zu is the most "
            "here",
            t->rows, p->seq_kv, MOST_CELLS, t->row, most > 0 ? most : 1);
    return 0;
}

size_t check_tile_floats(const struct problem *p, const struct check_tile *t)
{
    return CHECK_TILE_HEAD + 3 * (size_t)t->rows * (size_t)p->seq_kv;
}

static bool shown(const float *x)
{
    uint32_t bits;
    memcpy(&bits, x, sizeof bits);
    return bits != CHECK_UNSHOWN;
}

static double dot(const struct check_tile_work *w, const uint16_t *x, const uint16_t *y)
{
    double sum = 0;
    for (size_t c = 0; c < w->dim; c++)
        sum += (double)w->decode[x[c]] * (double)w->decode[y[c]];
    return sum;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool visible(const struct check_tile_work *w, size_t row, size_t key)
{
    return (int)key < problem_keys_seen(w->p, w->at->row + (int)row);
}

/* Scores of the inputs, and the kernel's own in order. */
static void row_scores(struct check_tile_work *w, size_t row)
{
    double *sorted = w->sorted + row * w->keys;
    size_t n = 0;
    for (size_t j = 0; j < w->keys; j++) {
        const double own = (double)w->got->s[row * w->keys + j];
        w->s[row * w->keys + j] =
            visible(w, row, j) ? w->p->scale * dot(w, w->q + row * w->dim, w->k + j * w->dim) : -INFINITY;
        if (isfinite(own)) sorted[n++] = own;
    }
    qsort(sorted, n, sizeof *sorted, ascending);
    w->nsorted[row] = n;
    w->top[row] = n > 0 ? sorted[n - 1] : -INFINITY;
    w->norm_q[row] = sqrt(dot(w, w->q + row * w->dim, w->q + row * w->dim));
}

/* What the row's own scores and references should give for P. A masked key has none, whatever it is taken against. */
static void row_weights(struct check_tile_work *w, size_t row)
{
    w->reference[row] = -INFINITY;
    for (size_t at = row * w->keys; at < (row + 1) * w->keys; at++) {
        const double s = (double)w->got->s[at], m = (double)w->got->m[at];
        const bool hidden = !visible(w, row, at - row * w->keys);
        w->weight[at] = NAN;
        if (!shown(&w->got->s[at]) ? hidden : s == -INFINITY) w->weight[at] = 0;
        if (!isfinite(s) || !isfinite(m)) continue;
        w->weight[at] = exp(s - m);
        w->reference[row] = fmax(w->reference[row], m);
    }
}

/* The weight of a key in O, relative to the row's reference. */
static double share(const struct check_tile_work *w, size_t row, size_t key)
{
    const size_t at = row * w->keys + key;
    const double p = (double)w->got->p[at], m = (double)w->got->m[at];
    if (!shown(&w->got->p[at]) || p == 0) return 0;
    return p * exp(m - w->reference[row]);
}

static void row_output(struct check_tile_work *w, size_t row)
{
    double *o = w->o + row * w->dim, *size = w->allowed + row * w->dim, sum = 0;
    const double u = check_unit(w->p->dtype);
    for (size_t j = 0; j < w->keys; j++) {
        const double x = share(w, row, j);
        if (x == 0) continue;
        sum += x;
        for (size_t c = 0; c < w->dim; c++) {
            const double y = x * (double)w->decode[w->v[j * w->dim + c]];
            o[c] += y;
            size[c] += fabs(y);
        }
    }
    w->sum[row] = sum;
    for (size_t c = 0; c < w->dim && sum != 0; c++) {
        o[c] /= sum;
        size[c] = u * fabs(o[c]) + 2 * u * size[c] / sum + (double)w->keys * 0x1p-25 * w->largest_v;
    }
}

static void rows_compute(void *ctx, size_t first, size_t end)
{
    struct check_tile_work *w = ctx;
    for (size_t row = first; row < end; row++) {
        row_scores(w, row);
        row_weights(w, row);
        row_output(w, row);
    }
}

/* check_row_f64 takes whole tensors, and the number of a row in them. */
static void truth(struct check_tile_work *w, const uint16_t *const in[3])
{
    const size_t first =
        ((size_t)w->at->batch * (size_t)w->p->heads + (size_t)w->at->head) * (size_t)w->p->seq_q + (size_t)w->at->row;
    for (size_t row = 0; row < w->rows; row++)
        check_row_f64(w->p, in[0], in[1], in[2], first + row, w->truth + row * w->dim, NULL);
}

static void keys_measure(struct check_tile_work *w)
{
    for (size_t j = 0; j < w->keys; j++) {
        w->norm_k[j] = sqrt(dot(w, w->k + j * w->dim, w->k + j * w->dim));
        for (size_t c = 0; c < w->dim; c++)
            w->largest_v = fmax(w->largest_v, fabs((double)w->decode[w->v[j * w->dim + c]]));
    }
}

int check_tile_open(struct check_tile_work *w, const struct problem *p, const struct check_tile *at,
                    const uint16_t *const in[3], const float *decode, const struct check_shown *got,
                    struct parallel *threads, struct err *e)
{
    const size_t rows = (size_t)at->rows, keys = (size_t)p->seq_kv, dim = (size_t)p->head_dim;
    const size_t plane = (size_t)at->batch * (size_t)p->heads + (size_t)at->head,
                 plane_kv = (size_t)at->batch * (size_t)p->kv_heads +
                            (size_t)at->head / ((size_t)p->heads / (size_t)p->kv_heads);
    *w = (struct check_tile_work){
        .p = p, .at = at, .decode = decode, .got = got, .rows = rows, .keys = keys, .dim = dim};
    const struct {
        double **to;
        size_t n;
    } arrays[] = {{&w->s, rows * keys}, {&w->weight, rows * keys}, {&w->sorted, rows * keys},
                  {&w->o, rows * dim},  {&w->allowed, rows * dim}, {&w->truth, rows * dim},
                  {&w->top, rows},      {&w->reference, rows},     {&w->sum, rows},
                  {&w->norm_q, rows},   {&w->norm_k, keys}};
    bool ok = (w->nsorted = calloc(rows, sizeof *w->nsorted)) != NULL;
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        ok = (*arrays[i].to = calloc(arrays[i].n, sizeof(double))) != NULL && ok;
    if (!ok) {
        check_tile_close(w);
        return err_nomem(e);
    }
    w->q = in[0] + (plane * (size_t)p->seq_q + (size_t)at->row) * dim;
    w->k = in[1] + plane_kv * keys * dim;
    w->v = in[2] + plane_kv * keys * dim;
    keys_measure(w);
    truth(w, in);
    parallel_for(threads, rows, 1, rows_compute, w);
    return 0;
}

void check_tile_close(struct check_tile_work *w)
{
    double **const arrays[] = {&w->s,   &w->weight,    &w->sorted, &w->o,      &w->allowed, &w->truth,
                               &w->top, &w->reference, &w->sum,    &w->norm_q, &w->norm_k};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        free(*arrays[i]);
        *arrays[i] = NULL;
    }
    free(w->nsorted);
    w->nsorted = NULL;
}

/* ---- cells ---- */

double check_tile_allowed(const struct check_tile_work *w, enum check_stage stage, size_t at)
{
    const double s = stage == CHECK_STAGE_O ? 0 : fabs((double)w->got->s[at]);
    const double m = stage == CHECK_STAGE_O ? 0 : fabs((double)w->got->m[at]);
    switch (stage) {
    case CHECK_STAGE_S:
        return 0x1p-16 * fabs(w->p->scale) * w->norm_q[at / w->keys] * w->norm_k[at % w->keys] + 1e-6;
    case CHECK_STAGE_M:
        return 0x1p-19 * (1 + m);
    case CHECK_STAGE_P:
        return w->weight[at] * (check_unit(w->p->dtype) + 0x1p-20 + 0x1p-21 * (s + m)) + 0x1p-24;
    case CHECK_STAGE_O:
    case CHECK_STAGE_N:
        break;
    }
    return w->allowed[at];
}

static enum check_cell judged(double got, double expected, double allowed)
{
    return got == expected || fabs(got - expected) <= allowed ? CHECK_GOOD : CHECK_BAD;
}

static enum check_cell score(const struct check_tile_work *w, size_t at, double got, double expected)
{
    if (expected == -INFINITY && (!shown(&w->got->s[at]) || got == -INFINITY)) return CHECK_NO_MATTER;
    return judged(got, expected, check_tile_allowed(w, CHECK_STAGE_S, at));
}

/* *expected: the nearest of the row's own scores. */
static enum check_cell reference(const struct check_tile_work *w, size_t at, double got, double *expected)
{
    const size_t row = at / w->keys, n = w->nsorted[row];
    const double *sorted = w->sorted + row * w->keys;
    size_t low = 0, high = n;
    *expected = w->top[row];
    if (!isfinite(w->got->s[at]) || !shown(&w->got->p[at])) return CHECK_NO_MATTER;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (sorted[middle] < got)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = low > 0 ? low - 1 : 0; i <= low && i < n; i++)
        if (judged(got, sorted[i], check_tile_allowed(w, CHECK_STAGE_M, at)) == CHECK_GOOD) {
            *expected = sorted[i];
            return CHECK_GOOD;
        }
    return CHECK_BAD;
}

enum check_cell check_tile_cell(const struct check_tile_work *w, enum check_stage stage, size_t at, double *got,
                                double *expected)
{
    const float *const numbers[CHECK_STAGE_N] = {w->got->s, w->got->m, w->got->p, w->got->o};
    const double *const wanted[CHECK_STAGE_N] = {w->s, w->s, w->weight, w->o};
    *got = (double)numbers[stage][at];
    *expected = wanted[stage][at];
    switch (stage) {
    case CHECK_STAGE_S:
        return score(w, at, *got, *expected);
    case CHECK_STAGE_M:
        return reference(w, at, *got, expected);
    case CHECK_STAGE_P:
        if (isnan(*expected) || (*expected == 0 && (*got == 0 || !shown(&w->got->p[at])))) return CHECK_NO_MATTER;
        break;
    case CHECK_STAGE_O:
    case CHECK_STAGE_N:
        if (!isfinite(*expected)) return CHECK_NO_MATTER;
        break;
    }
    return judged(*got, *expected, check_tile_allowed(w, stage, at));
}

size_t check_tile_bad(const struct check_tile_work *w, const float *o)
{
    size_t bad = 0;
    for (size_t at = 0; at < w->rows * w->dim; at++)
        bad += isfinite(w->o[at]) && judged((double)o[at], w->o[at], w->allowed[at]) == CHECK_BAD;
    return bad;
}

/* ---- report ---- */

struct stage {
    const struct check_tile_work *w;
    enum check_stage stage;
};

static enum check_cell cell(const void *ctx, size_t at, double *got, double *expected)
{
    const struct stage *s = ctx;
    return check_tile_cell(s->w, s->stage, at, got, expected);
}

static json_t *worst_json(const struct check_tile_work *w, const struct check_worst *worst, size_t columns,
                          const char *column)
{
    json_t *list = json_array();
    for (int i = 0; i < worst->n; i++) {
        const struct check_element *x = &worst->of[i];
        json_array_append_new(list, json_pack("{s:I, s:I, s:o, s:o}", "row",
                                              (json_int_t)(x->at / columns + (size_t)w->at->row), column,
                                              (json_int_t)(x->at % columns), "got", check_number(x->got), "expected",
                                              check_number(x->expected)));
    }
    return list;
}

static int stage_report(const struct check_tile_work *w, enum check_stage stage, bool *departs, json_t **out,
                        struct err *e)
{
    static const char *const names[CHECK_STAGE_N] = {"S", "M", "P", "O"};
    const bool keys = stage != CHECK_STAGE_O;
    const struct stage s = {w, stage};
    const struct check_table t = {.planes = 1,
                                  .heads = 1,
                                  .rows = w->rows,
                                  .columns = keys ? w->keys : w->dim,
                                  .first_row = (size_t)w->at->row,
                                  .all_rows = (size_t)w->p->seq_q,
                                  .column = keys ? "key" : "column",
                                  .tiny = stage == CHECK_STAGE_M ? INFINITY
                                          : keys                 ? 1e-3
                                                                 : 0.05,
                                  .ctx = &s,
                                  .cell = cell};
    struct check_diagnosis d;
    char why[512] = "";
    if (check_describe(&t, &d, e) != 0) return -1;
    *departs = d.bad > 0;
    if (d.bad > 0) check_tile_why(w, stage, &d, why, sizeof why);
    *out = json_pack("{s:s, s:I, s:I, s:o, s:s, s:s, s:o}", "stage", names[stage], "cells", (json_int_t)d.matter, "bad",
                     (json_int_t)d.bad, "largest", check_number(d.largest), "why", why, "where", d.pattern, "worst",
                     worst_json(w, &d.worst, t.columns, t.column));
    return *out != NULL ? 0 : err_nomem(e);
}

int check_tile_report(const struct check_tile_work *w, enum check_stage *first, json_t **report, struct err *e)
{
    *first = CHECK_STAGE_N;
    *report = json_array();
    for (int stage = 0; stage < CHECK_STAGE_N; stage++) {
        json_t *j;
        bool departs;
        if (stage_report(w, (enum check_stage)stage, &departs, &j, e) != 0) {
            json_decref(*report);
            return -1;
        }
        json_array_append_new(*report, j);
        if (departs && *first == CHECK_STAGE_N) *first = (enum check_stage)stage;
    }
    return 0;
}
