/* Every input set is made so that the f32 reference can be believed on it.
 *
 * large_logits       q and k are small integers times powers of two: each dot product is exact in f32, logits spread by
 *                    LARGE_LOGIT, and the best keys of a row either tie exactly or are far apart. exp without the
 *                    maximum subtracted overflows.
 * dominant_key       one key of each head takes all the weight of the rows that see it.
 * equal_rows         all keys of a head equal, all queries equal: the output is the mean of V.
 * growing_maximum    the logit climbs with the key's index by RAMP_LOGIT in all, so that each tile of an online softmax
 * shrinking_maximum  rescales what lies before it; or never does.
 * offset_v           V = N(0,1) + 100: what is not weighted to exactly 1 shows.
 * Logits of the middle four stay below 80, so that they test rescaling alone and not overflow.
 *
 * Laws: sums that must be exact in the dtype are taken on a coarse grid (steps of 1/16 below 8, of 1/8 below 16: at most
 * 7 bits). */
#include "check_inputs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "check_host.h"
#include "rng.h"

#define LARGE_LOGIT 300.0
#define DOMINANT_LOGIT 40.0
#define RAMP_LOGIT 40.0
#define OFFSET_V 100.0
#define MAX_FACTOR 512.0 /* keeps the integers times it below f16's 65504 */

const char *check_set_name(enum check_set s)
{
    static const char *const names[] = {
#define X(name, text) text,
        CHECK_SETS(X)
#undef X
    };
    return names[s];
}

const char *check_law_name(enum check_law l)
{
    static const char *const names[] = {
#define X(name, text, runs) text,
        CHECK_LAWS(X)
#undef X
    };
    return names[l];
}

int check_law_runs(enum check_law l)
{
    static const int n[] = {
#define X(name, text, runs) runs,
        CHECK_LAWS(X)
#undef X
    };
    return n[l];
}

int check_inputs_init(struct check_inputs *in, const struct problem *p, struct err *e)
{
    size_t nq = problem_q_elements(p), nkv = problem_kv_elements(p);
    in->q = malloc(nq * sizeof *in->q);
    in->k = malloc(nkv * sizeof *in->k);
    in->v = malloc(nkv * sizeof *in->v);
    if (in->q != NULL && in->k != NULL && in->v != NULL) return 0;
    check_inputs_free(in);
    return err_nomem(e);
}

void check_inputs_free(struct check_inputs *in)
{
    free(in->q);
    free(in->k);
    free(in->v);
    *in = (struct check_inputs){0};
}

void check_inputs_plain(struct check_inputs *in, const struct problem *p, const struct draw *d,
                        struct parallel *threads, uint64_t seed)
{
    draw_tensor(d, threads, seed, "check:q", in->q, problem_q_elements(p));
    draw_tensor(d, threads, seed, "check:k", in->k, problem_kv_elements(p));
    draw_tensor(d, threads, seed, "check:v", in->v, problem_kv_elements(p));
}

static void copy_all(struct check_inputs *out, const struct check_inputs *in, const struct problem *p)
{
    memcpy(out->q, in->q, problem_q_elements(p) * sizeof *out->q);
    memcpy(out->k, in->k, problem_kv_elements(p) * sizeof *out->k);
    memcpy(out->v, in->v, problem_kv_elements(p) * sizeof *out->v);
}

/* x -> a x + b on every element. */
static void affine(uint16_t *words, size_t n, enum dtype d, const float *decode, double a, double b)
{
    for (size_t i = 0; i < n; i++)
        words[i] = check_encode(d, a * (double)decode[words[i]] + b);
}

/* x -> the nearest multiple of step, at most limit in magnitude. */
static void coarsen(uint16_t *words, size_t n, enum dtype d, const float *decode, double step, double limit)
{
    for (size_t i = 0; i < n; i++) {
        double x = rint((double)decode[words[i]] / step) * step;
        words[i] = check_encode(d, fmin(fmax(x, -limit), limit));
    }
}

static double power_of_two_below(double x, double limit)
{
    double f = exp2(floor(log2(x)));
    return fmin(fmax(f, 1.0), limit);
}

/* Both tensors become integers of magnitude <= 6 (standard deviation 1.5) times powers of two. */
static void large_logits(struct check_inputs *in, const struct problem *p, const float *decode)
{
    double spread = 1.5 * 1.5 * sqrt((double)p->head_dim) * fmax(fabs(p->scale), 1e-9);
    double factor = power_of_two_below(LARGE_LOGIT / spread, MAX_FACTOR * MAX_FACTOR);
    double fq = fmin(factor, MAX_FACTOR), fk = factor / fq;
    size_t nq = problem_q_elements(p), nkv = problem_kv_elements(p);
    affine(in->q, nq, p->dtype, decode, 1.5, 0);
    affine(in->k, nkv, p->dtype, decode, 1.5, 0);
    coarsen(in->q, nq, p->dtype, decode, 1, 6);
    coarsen(in->k, nkv, p->dtype, decode, 1, 6);
    affine(in->q, nq, p->dtype, decode, fq, 0);
    affine(in->k, nkv, p->dtype, decode, fk, 0);
}

/* A direction of +-1 for each head of k; q is moved along it, so that a key a*u has the logit a * scale * head_dim. */
static int direction(uint64_t seed, size_t kv_head, size_t column)
{
    uint64_t x = seed ^ (kv_head * 0x9e3779b97f4a7c15ull) ^ (column * 0xbf58476d1ce4e5b9ull);
    x = (x ^ x >> 31) * 0x94d049bb133111ebull;
    return (x >> 40 & 1) != 0 ? 1 : -1;
}

/* q = 0.25 q + u */
static void align_queries(struct check_inputs *in, const struct problem *p, uint64_t seed, const float *decode)
{
    size_t dim = (size_t)p->head_dim, group = (size_t)(p->heads / p->kv_heads), n = problem_q_elements(p);
    for (size_t i = 0; i < n; i++) {
        size_t plane = i / (dim * (size_t)p->seq_q), batch = plane / (size_t)p->heads;
        size_t kv_head = batch * (size_t)p->kv_heads + plane % (size_t)p->heads / group;
        in->q[i] = check_encode(p->dtype, 0.25 * (double)decode[in->q[i]] + (double)direction(seed, kv_head, i % dim));
    }
}

/* The factor a of u at which a key's logit is `logit`. */
static double along(const struct problem *p, double logit)
{
    double a = logit / (fmax(fabs(p->scale), 1e-9) * (double)p->head_dim);
    return copysign(fmin(a, 1024.0), p->scale);
}

static void dominant_key(struct check_inputs *in, const struct problem *p, uint64_t seed, const float *decode)
{
    size_t dim = (size_t)p->head_dim, planes = (size_t)p->batch * (size_t)p->kv_heads;
    double a = along(p, DOMINANT_LOGIT);
    struct rng r;
    rng_init(&r, seed, "check:dominant_key");
    align_queries(in, p, seed, decode);
    for (size_t plane = 0; plane < planes; plane++) {
        size_t j = (size_t)rng_below(&r, (uint64_t)p->seq_kv);
        uint16_t *key = in->k + (plane * (size_t)p->seq_kv + j) * dim;
        for (size_t c = 0; c < dim; c++)
            key[c] = check_encode(p->dtype, a * (double)direction(seed, plane, c));
    }
}

static void ramp(struct check_inputs *in, const struct problem *p, uint64_t seed, const float *decode, bool grow)
{
    size_t dim = (size_t)p->head_dim, seq = (size_t)p->seq_kv, n = problem_kv_elements(p);
    double top = along(p, RAMP_LOGIT);
    align_queries(in, p, seed, decode);
    for (size_t i = 0; i < n; i++) {
        size_t plane = i / (dim * seq), j = i / dim % seq;
        double t = seq > 1 ? (double)j / (double)(seq - 1) : 1.0;
        double a = top * (grow ? t : 1.0 - t);
        in->k[i] = check_encode(p->dtype, 0.5 * (double)decode[in->k[i]] + a * (double)direction(seed, plane, i % dim));
    }
}

static void equal_rows(uint16_t *words, size_t planes, size_t seq, size_t dim)
{
    for (size_t plane = 0; plane < planes; plane++)
        for (size_t j = 1; j < seq; j++)
            memcpy(words + (plane * seq + j) * dim, words + plane * seq * dim, dim * sizeof *words);
}

void check_inputs_stress(struct check_inputs *out, const struct check_inputs *plain, const struct problem *p,
                         enum check_set s, uint64_t seed, const float *decode)
{
    size_t dim = (size_t)p->head_dim;
    copy_all(out, plain, p);
    switch (s) {
    case CHECK_SET_LARGE:
        large_logits(out, p, decode);
        break;
    case CHECK_SET_DOMINANT:
        dominant_key(out, p, seed, decode);
        break;
    case CHECK_SET_EQUAL:
        equal_rows(out->q, (size_t)p->batch * (size_t)p->heads, (size_t)p->seq_q, dim);
        equal_rows(out->k, (size_t)p->batch * (size_t)p->kv_heads, (size_t)p->seq_kv, dim);
        break;
    case CHECK_SET_GROWING:
        ramp(out, p, seed, decode, true);
        break;
    case CHECK_SET_SHRINKING:
        ramp(out, p, seed, decode, false);
        break;
    case CHECK_SET_OFFSET:
        affine(out->v, problem_kv_elements(p), p->dtype, decode, 1, OFFSET_V);
        break;
    case CHECK_SET_PLAIN:
    case CHECK_SET_N:
        break;
    }
}

/* One permutation of the keys for all heads; k and v follow it together. */
static int permute(struct check_inputs *out, const struct check_inputs *plain, const struct problem *p, uint64_t seed,
                   struct err *e)
{
    size_t dim = (size_t)p->head_dim, seq = (size_t)p->seq_kv, planes = (size_t)p->batch * (size_t)p->kv_heads;
    int *order = malloc(seq * sizeof *order);
    struct rng r;
    if (order == NULL) return err_nomem(e);
    for (size_t j = 0; j < seq; j++)
        order[j] = (int)j;
    rng_init(&r, seed, "check:permute");
    rng_shuffle(&r, order, seq);
    for (size_t plane = 0; plane < planes; plane++)
        for (size_t j = 0; j < seq; j++) {
            size_t to = (plane * seq + j) * dim, from = (plane * seq + (size_t)order[j]) * dim;
            memcpy(out->k + to, plain->k + from, dim * sizeof *out->k);
            memcpy(out->v + to, plain->v + from, dim * sizeof *out->v);
        }
    free(order);
    return 0;
}

int check_inputs_law(struct check_inputs *out, const struct check_inputs *plain, const struct problem *p,
                     enum check_law l, int run, uint64_t seed, const float *decode, struct err *e)
{
    size_t n = problem_kv_elements(p), dim = (size_t)p->head_dim;
    copy_all(out, plain, p);
    switch (l) {
    case CHECK_LAW_ONES:
        affine(out->v, n, p->dtype, decode, 0, 1);
        break;
    case CHECK_LAW_LINEAR: /* v1 = v, v2 = v read backwards */
        coarsen(out->v, n, p->dtype, decode, 1.0 / 16, 4 - 1.0 / 16);
        if (run == 0) break;
        for (size_t i = 0; i < n; i++) {
            double back = rint((double)decode[plain->v[n - 1 - i]] * 16) / 16;
            back = fmin(fmax(back, -4 + 1.0 / 16), 4 - 1.0 / 16);
            if (run == 2) back += (double)decode[out->v[i]];
            out->v[i] = check_encode(p->dtype, back);
        }
        break;
    case CHECK_LAW_PERMUTE:
        return run == 0 ? 0 : permute(out, plain, p, seed, e);
    case CHECK_LAW_SHIFT: /* k + w for all keys adds scale q.w to every logit of a row */
        coarsen(out->k, n, p->dtype, decode, 1.0 / 8, 4 - 1.0 / 8);
        if (run == 0) break;
        for (size_t i = 0; i < n; i++)
            out->k[i] = check_encode(p->dtype, (double)decode[out->k[i]] + 8.0 * direction(seed, 0, i % dim));
        break;
    case CHECK_LAW_N:
        break;
    }
    return 0;
}
