/* Panels of 8: K is packed as [key / 8][column][8 keys] and V as [column / 8][key][8 columns], so that both products are
 * sums of 8-wide vectors over contiguous memory, in the order in which a plain loop would add. Four queries share each
 * load. */
#include "fake_attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#define WIDE 8
#define ROWS 4

typedef float wide __attribute__((vector_size(WIDE * sizeof(float))));

struct work {
    const struct problem *p;
    const struct fake_attention *how;
    const float *decode;
    size_t dim, seq, dim_padded, seq_padded;
    float *k, *v;          /* panels of one head */
    float *q, *weight, *o; /* ROWS queries: [ROWS][dim], [ROWS][seq_padded], [ROWS][dim_padded] */
};

static void pack(struct work *w, const uint16_t *k, const uint16_t *v)
{
    memset(w->k, 0, w->dim * w->seq_padded * sizeof *w->k);
    memset(w->v, 0, w->dim_padded * w->seq * sizeof *w->v);
    for (size_t j = 0; j < w->seq; j++)
        for (size_t c = 0; c < w->dim; c++) {
            w->k[(j / WIDE * w->dim + c) * WIDE + j % WIDE] = w->decode[k[j * w->dim + c]];
            w->v[(c / WIDE * w->seq + j) * WIDE + c % WIDE] = w->decode[v[j * w->dim + c]];
        }
}

/* out[r][0..8) += sum over i < n of a[r * stride + i] * b[i][0..8) */
static void multiply(const float *a, size_t stride, const float *b, size_t n, float *out, size_t out_stride)
{
    wide sum[ROWS] = {0};
    for (size_t i = 0; i < n; i++) {
        wide x;
        memcpy(&x, b + i * WIDE, sizeof x);
        for (int r = 0; r < ROWS; r++)
            sum[r] += a[(size_t)r * stride + i] * x;
    }
    for (int r = 0; r < ROWS; r++)
        memcpy(out + (size_t)r * out_stride, &sum[r], sizeof sum[r]);
}

/* Logits of one query become weights, zero past `seen`; returns their sum. */
static float softmax(const struct work *w, float *row, size_t seen, float *highest)
{
    float scale = (float)w->how->scale, top = -INFINITY, sum = 0;
    for (size_t j = 0; j < seen; j++) {
        row[j] *= scale;
        if (row[j] > top) top = row[j];
    }
    *highest = w->how->subtract_maximum && seen > 0 ? top : 0;
    for (size_t j = 0; j < seen; j++) {
        row[j] = expf(row[j] - *highest);
        sum += row[j];
        if (w->how->round_weights) row[j] = w->decode[check_encode(w->p->dtype, (double)row[j])];
    }
    for (size_t j = seen; j < w->seq_padded; j++)
        row[j] = 0;
    return sum;
}

/* Queries i .. i+n-1 of one head. */
static void rows(struct work *w, const uint16_t *q, size_t i, size_t n, float *o, float *lse)
{
    size_t most = 0;
    float sum[ROWS] = {0}, highest[ROWS];
    memset(w->q, 0, ROWS * w->dim * sizeof *w->q);
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < w->dim; c++)
            w->q[r * w->dim + c] = w->decode[q[(i + r) * w->dim + c]];
    for (size_t j = 0; j < w->seq; j += WIDE)
        multiply(w->q, w->dim, w->k + j * w->dim, w->dim, w->weight + j, w->seq_padded);
    for (size_t r = 0; r < n; r++) {
        size_t seen = (size_t)problem_keys_seen(w->p, (int)(i + r));
        sum[r] = softmax(w, w->weight + r * w->seq_padded, seen, &highest[r]);
        if (seen > most) most = seen;
    }
    for (size_t c = 0; c < w->dim; c += WIDE)
        multiply(w->weight, w->seq_padded, w->v + c * w->seq, most, w->o + c, w->dim_padded);
    for (size_t r = 0; r < n; r++) {
        bool seen = problem_keys_seen(w->p, (int)(i + r)) > 0;
        for (size_t c = 0; c < w->dim; c++)
            o[(i + r) * w->dim + c] = seen ? w->o[r * w->dim_padded + c] / sum[r] : 0;
        lse[i + r] = seen ? highest[r] + logf(sum[r]) : -INFINITY;
    }
}

int fake_attention(const struct problem *p, const struct fake_attention *how, const uint16_t *q, const uint16_t *k,
                   const uint16_t *v, const float *decode, float *o, float *lse)
{
    size_t dim = (size_t)p->head_dim, seq_q = (size_t)p->seq_q, heads = (size_t)p->heads;
    size_t group = heads / (size_t)p->kv_heads;
    struct work w = {.p = p, .how = how, .decode = decode, .dim = dim, .seq = (size_t)p->seq_kv};
    int rc = -1;
    w.dim_padded = (dim + WIDE - 1) / WIDE * WIDE;
    w.seq_padded = (w.seq + WIDE - 1) / WIDE * WIDE;
    w.k = malloc(dim * w.seq_padded * sizeof *w.k);
    w.v = malloc(w.dim_padded * w.seq * sizeof *w.v);
    w.q = malloc(ROWS * dim * sizeof *w.q);
    w.weight = calloc(ROWS * w.seq_padded, sizeof *w.weight);
    w.o = malloc(ROWS * w.dim_padded * sizeof *w.o);
    if (w.k == NULL || w.v == NULL || w.q == NULL || w.weight == NULL || w.o == NULL) goto out;
    for (size_t plane = 0; plane < (size_t)p->batch * heads; plane++) {
        size_t kv = plane / heads * (size_t)p->kv_heads + plane % heads / group;
        if (plane % group == 0) pack(&w, k + kv * w.seq * dim, v + kv * w.seq * dim);
        for (size_t i = 0; i < seq_q; i += ROWS)
            rows(&w, q + plane * seq_q * dim, i, seq_q - i < ROWS ? seq_q - i : ROWS, o + plane * seq_q * dim,
                 lse + plane * seq_q);
    }
    rc = 0;
out:
    free(w.k);
    free(w.v);
    free(w.q);
    free(w.weight);
    free(w.o);
    return rc;
}
