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
#define WORDS 65536u
#define CHUNK 32768u     /* elements, about, that a thread takes at a time */
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

/* One set or law being made: what the threads need to make their part. */
struct making {
    struct check_inputs *out;
    const struct check_inputs *plain;
    const struct problem *p;
    const float *decode;
    struct parallel *threads;
    uint64_t seed;
    uint16_t *words;        /* the tensor that a map is applied to */
    const uint16_t *map[2]; /* by the direction's sign where there are two */
    double top;             /* of a ramp, and whether it grows */
    bool grow;
    const int *order; /* of the keys */
    int run;
};

/* Rows of q, or of k and v, shared among the threads. */
static void each_row(struct making *m, size_t rows, void (*fn)(void *ctx, size_t first, size_t end))
{
    size_t chunk = CHUNK / (size_t)m->p->head_dim;
    parallel_for(m->threads, rows, chunk > 0 ? chunk : 1, fn, m);
}

static size_t q_rows(const struct problem *p)
{
    return problem_rows(p);
}

static size_t kv_rows(const struct problem *p)
{
    return problem_kv_elements(p) / (size_t)p->head_dim;
}

static void copy_q(void *ctx, size_t first, size_t end)
{
    const struct making *m = ctx;
    const size_t dim = (size_t)m->p->head_dim;
    memcpy(m->out->q + first * dim, m->plain->q + first * dim, (end - first) * dim * sizeof *m->out->q);
}

static void copy_kv(void *ctx, size_t first, size_t end)
{
    const struct making *m = ctx;
    const size_t dim = (size_t)m->p->head_dim, bytes = (end - first) * dim * sizeof *m->out->k;
    memcpy(m->out->k + first * dim, m->plain->k + first * dim, bytes);
    memcpy(m->out->v + first * dim, m->plain->v + first * dim, bytes);
}

static void copy_all(struct making *m)
{
    each_row(m, q_rows(m->p), copy_q);
    each_row(m, kv_rows(m->p), copy_kv);
}

/* A function of an element alone is a map from words to words: worked out once for each word, then looked up. */
struct map {
    uint16_t word[WORDS];
};

static void map_open(struct map *map)
{
    for (uint32_t w = 0; w < WORDS; w++)
        map->word[w] = (uint16_t)w;
}

/* x -> a x + b, after what the map does already. */
static void affine(struct map *map, enum dtype d, const float *decode, double a, double b)
{
    for (uint32_t w = 0; w < WORDS; w++)
        map->word[w] = check_encode(d, a * (double)decode[map->word[w]] + b);
}

/* x -> the nearest multiple of step, at most limit in magnitude. */
static void coarsen(struct map *map, enum dtype d, const float *decode, double step, double limit)
{
    for (uint32_t w = 0; w < WORDS; w++) {
        double x = rint((double)decode[map->word[w]] / step) * step;
        map->word[w] = check_encode(d, fmin(fmax(x, -limit), limit));
    }
}

static void apply_rows(void *ctx, size_t first, size_t end)
{
    const struct making *m = ctx;
    const size_t dim = (size_t)m->p->head_dim;
    for (size_t i = first * dim; i < end * dim; i++)
        m->words[i] = m->map[0][m->words[i]];
}

static void apply(struct making *m, const struct map *map, uint16_t *words)
{
    m->map[0] = map->word;
    m->words = words;
    each_row(m, words == m->out->q ? q_rows(m->p) : kv_rows(m->p), apply_rows);
}

static double power_of_two_below(double x, double limit)
{
    double f = exp2(floor(log2(x)));
    return fmin(fmax(f, 1.0), limit);
}

/* Both tensors become integers of magnitude <= 6 (standard deviation 1.5) times powers of two. */
static void large_logits(struct making *m, struct map *map)
{
    const struct problem *p = m->p;
    double spread = 1.5 * 1.5 * sqrt((double)p->head_dim) * fmax(fabs(p->scale), 1e-9);
    double factor = power_of_two_below(LARGE_LOGIT / spread, MAX_FACTOR * MAX_FACTOR);
    double fq = fmin(factor, MAX_FACTOR), fk = factor / fq;
    for (int tensor = 0; tensor < 2; tensor++) {
        map_open(map);
        affine(map, p->dtype, m->decode, 1.5, 0);
        coarsen(map, p->dtype, m->decode, 1, 6);
        affine(map, p->dtype, m->decode, tensor == 0 ? fq : fk, 0);
        apply(m, map, tensor == 0 ? m->out->q : m->out->k);
    }
}

/* A direction of +-1 for each head of k; q is moved along it, so that a key a*u has the logit a * scale * head_dim. */
static int direction(uint64_t seed, size_t kv_head, size_t column)
{
    uint64_t x = seed ^ (kv_head * 0x9e3779b97f4a7c15ull) ^ (column * 0xbf58476d1ce4e5b9ull);
    x = (x ^ x >> 31) * 0x94d049bb133111ebull;
    return (x >> 40 & 1) != 0 ? 1 : -1;
}

static size_t kv_head_of(const struct problem *p, size_t q_row)
{
    const size_t plane = q_row / (size_t)p->seq_q, heads = (size_t)p->heads, kv_heads = (size_t)p->kv_heads;
    return plane / heads * kv_heads + plane % heads / (heads / kv_heads);
}

static void align_rows(void *ctx, size_t first, size_t end)
{
    const struct making *m = ctx;
    const size_t dim = (size_t)m->p->head_dim;
    for (size_t row = first; row < end; row++)
        for (size_t c = 0; c < dim; c++) {
            uint16_t *x = &m->out->q[row * dim + c];
            *x = m->map[direction(m->seed, kv_head_of(m->p, row), c) > 0][*x];
        }
}

/* q = 0.25 q + u */
static void align_queries(struct making *m, struct map map[2])
{
    for (int i = 0; i < 2; i++) {
        map_open(&map[i]);
        affine(&map[i], m->p->dtype, m->decode, 0.25, i == 0 ? -1 : 1);
        m->map[i] = map[i].word;
    }
    each_row(m, q_rows(m->p), align_rows);
}

/* The factor a of u at which a key's logit is `logit`. */
static double along(const struct problem *p, double logit)
{
    double a = logit / (fmax(fabs(p->scale), 1e-9) * (double)p->head_dim);
    return copysign(fmin(a, 1024.0), p->scale);
}

static void dominant_key(struct making *m, struct map map[2])
{
    const struct problem *p = m->p;
    size_t dim = (size_t)p->head_dim, planes = (size_t)p->batch * (size_t)p->kv_heads;
    double a = along(p, DOMINANT_LOGIT);
    struct rng r;
    rng_init(&r, m->seed, "check:dominant_key");
    align_queries(m, map);
    for (size_t plane = 0; plane < planes; plane++) {
        size_t j = (size_t)rng_below(&r, (uint64_t)p->seq_kv);
        uint16_t *key = m->out->k + (plane * (size_t)p->seq_kv + j) * dim;
        for (size_t c = 0; c < dim; c++)
            key[c] = check_encode(p->dtype, a * (double)direction(m->seed, plane, c));
    }
}

static void ramp_rows(void *ctx, size_t first, size_t end)
{
    const struct making *m = ctx;
    const size_t dim = (size_t)m->p->head_dim, seq = (size_t)m->p->seq_kv;
    for (size_t row = first; row < end; row++) {
        double t = seq > 1 ? (double)(row % seq) / (double)(seq - 1) : 1.0, a = m->top * (m->grow ? t : 1.0 - t);
        for (size_t c = 0; c < dim; c++) {
            uint16_t *x = &m->out->k[row * dim + c];
            *x = check_encode(m->p->dtype, 0.5 * (double)m->decode[*x] + a * (double)direction(m->seed, row / seq, c));
        }
    }
}

static void ramp(struct making *m, struct map map[2], bool grow)
{
    m->top = along(m->p, RAMP_LOGIT);
    m->grow = grow;
    align_queries(m, map);
    each_row(m, kv_rows(m->p), ramp_rows);
}

/* Each row of a head becomes the head's first, in q and in k. */
static void equal_q(void *ctx, size_t first, size_t end)
{
    const struct making *m = ctx;
    const size_t dim = (size_t)m->p->head_dim, seq = (size_t)m->p->seq_q;
    for (size_t row = first; row < end; row++)
        memcpy(m->out->q + row * dim, m->plain->q + row / seq * seq * dim, dim * sizeof *m->out->q);
}

static void equal_k(void *ctx, size_t first, size_t end)
{
    const struct making *m = ctx;
    const size_t dim = (size_t)m->p->head_dim, seq = (size_t)m->p->seq_kv;
    for (size_t row = first; row < end; row++)
        memcpy(m->out->k + row * dim, m->plain->k + row / seq * seq * dim, dim * sizeof *m->out->k);
}

int check_inputs_stress(struct check_inputs *out, const struct check_inputs *plain, const struct problem *p,
                        enum check_set s, uint64_t seed, const float *decode, struct parallel *threads, struct err *e)
{
    struct making m = {.out = out, .plain = plain, .p = p, .decode = decode, .threads = threads, .seed = seed};
    struct map *map = malloc(2 * sizeof *map);
    if (map == NULL) return err_nomem(e);
    copy_all(&m);
    switch (s) {
    case CHECK_SET_LARGE:
        large_logits(&m, map);
        break;
    case CHECK_SET_DOMINANT:
        dominant_key(&m, map);
        break;
    case CHECK_SET_EQUAL:
        each_row(&m, q_rows(p), equal_q);
        each_row(&m, kv_rows(p), equal_k);
        break;
    case CHECK_SET_GROWING:
    case CHECK_SET_SHRINKING:
        ramp(&m, map, s == CHECK_SET_GROWING);
        break;
    case CHECK_SET_OFFSET:
        map_open(map);
        affine(map, p->dtype, decode, 1, OFFSET_V);
        apply(&m, map, out->v);
        break;
    case CHECK_SET_PLAIN:
    case CHECK_SET_N:
        break;
    }
    free(map);
    return 0;
}

static void permute_rows(void *ctx, size_t first, size_t end)
{
    const struct making *m = ctx;
    const size_t dim = (size_t)m->p->head_dim, seq = (size_t)m->p->seq_kv;
    for (size_t row = first; row < end; row++) {
        size_t from = (row / seq * seq + (size_t)m->order[row % seq]) * dim;
        memcpy(m->out->k + row * dim, m->plain->k + from, dim * sizeof *m->out->k);
        memcpy(m->out->v + row * dim, m->plain->v + from, dim * sizeof *m->out->v);
    }
}

/* One permutation of the keys for all heads; k and v follow it together. */
static int permute(struct making *m, struct err *e)
{
    const size_t seq = (size_t)m->p->seq_kv;
    int *order = malloc(seq * sizeof *order);
    struct rng r;
    if (order == NULL) return err_nomem(e);
    for (size_t j = 0; j < seq; j++)
        order[j] = (int)j;
    rng_init(&r, m->seed, "check:permute");
    rng_shuffle(&r, order, seq);
    m->order = order;
    each_row(m, kv_rows(m->p), permute_rows);
    free(order);
    return 0;
}

/* v1 = v, v2 = v read backwards, both coarse by the map; run 2: their sum. */
static void linear_rows(void *ctx, size_t first, size_t end)
{
    const struct making *m = ctx;
    const size_t dim = (size_t)m->p->head_dim, n = problem_kv_elements(m->p);
    for (size_t i = first * dim; i < end * dim; i++) {
        uint16_t back = m->map[0][m->plain->v[n - 1 - i]], *v = &m->out->v[i];
        *v = m->run == 1 ? back : check_encode(m->p->dtype, (double)m->decode[*v] + (double)m->decode[back]);
    }
}

static void linear(struct making *m, struct map *map)
{
    map_open(map);
    coarsen(map, m->p->dtype, m->decode, 1.0 / 16, 4 - 1.0 / 16);
    apply(m, map, m->out->v);
    if (m->run > 0) each_row(m, kv_rows(m->p), linear_rows);
}

static void shift_rows(void *ctx, size_t first, size_t end)
{
    const struct making *m = ctx;
    const size_t dim = (size_t)m->p->head_dim;
    for (size_t row = first; row < end; row++)
        for (size_t c = 0; c < dim; c++) {
            uint16_t *x = &m->out->k[row * dim + c];
            *x = m->map[direction(m->seed, 0, c) > 0][*x];
        }
}

/* k + w for all keys adds scale q.w to every logit of a row; run 0: w = 0. */
static void shift(struct making *m, struct map map[2])
{
    for (int i = 0; i < 2; i++) {
        map_open(&map[i]);
        coarsen(&map[i], m->p->dtype, m->decode, 1.0 / 8, 4 - 1.0 / 8);
        if (m->run > 0) affine(&map[i], m->p->dtype, m->decode, 1, i == 0 ? -8 : 8);
        m->map[i] = map[i].word;
    }
    each_row(m, kv_rows(m->p), shift_rows);
}

int check_inputs_law(struct check_inputs *out, const struct check_inputs *plain, const struct problem *p,
                     enum check_law l, int run, uint64_t seed, const float *decode, struct parallel *threads,
                     struct err *e)
{
    struct making m = {
        .out = out, .plain = plain, .p = p, .decode = decode, .threads = threads, .seed = seed, .run = run};
    struct map *map = malloc(2 * sizeof *map);
    int rc = 0;
    if (map == NULL) return err_nomem(e);
    copy_all(&m);
    switch (l) {
    case CHECK_LAW_ONES:
        map_open(map);
        affine(map, p->dtype, decode, 0, 1);
        apply(&m, map, out->v);
        break;
    case CHECK_LAW_LINEAR:
        linear(&m, map);
        break;
    case CHECK_LAW_PERMUTE:
        rc = run == 0 ? 0 : permute(&m, e);
        break;
    case CHECK_LAW_SHIFT:
        shift(&m, map);
        break;
    case CHECK_LAW_N:
        break;
    }
    free(map);
    return rc;
}
