/* Importance: shares of functions whose decomposition is known, against brute force; what must not be told; failures; determinism. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "importance.h"
#include "recording.h"
#include "rng.h"
#include "space.h"

enum { MOST = 130000, LEVELS = 64 };

#define assert_near(a, b, within) assert_true(fabs((a) - (b)) <= (within)) /* cmocka's are of floats */

/* A domain of listed points, and ln time at each of them. */
struct bench {
    struct recording r;
    struct recording_table table;
    struct domain *d;
    double *y;
};

typedef double function(const uint16_t *at);
typedef bool condition(const uint16_t *at);

static bool always(const uint16_t *at)
{
    (void)at;
    return true;
}

static void bench_open(struct bench *b, int n, const int *nvalues, function *f, condition *valid)
{
    static char *const names[] = {"A", "B", "C", "D", "E", "F", "G", "H"};
    struct err e = {0};
    size_t product = 1;

    *b = (struct bench){.table = {.name = (char *)(uintptr_t) "made", .nparams = n}};
    b->r = (struct recording){.name = b->table.name, .ntables = 1, .tables = &b->table};
    for (int k = 0; k < n; k++) {
        product *= (size_t)nvalues[k];
        b->table.params[k] = (struct recording_param){.name = names[k], .nvalues = nvalues[k]};
    }
    b->r.points = calloc(product, sizeof *b->r.points);
    b->y = calloc(product, sizeof *b->y);
    for (size_t i = 0; i < product; i++) {
        struct recording_point p = {.ok = true};
        size_t rank = i;
        for (int k = n - 1; k >= 0; k--) {
            p.at.at[k] = (uint16_t)(rank % (size_t)nvalues[k]);
            rank /= (size_t)nvalues[k];
        }
        if (!valid(p.at.at)) continue;
        b->y[b->r.n] = f(p.at.at);
        b->r.points[b->r.n++] = p;
    }
    if (recording_domain(&b->d, &b->r, &e) != 0) fail_msg("%s", e.text);
}

static void bench_close(struct bench *b)
{
    domain_close(b->d);
    free(b->r.points);
    free(b->y);
}

static struct importance_point points[MOST];

/* Every point i for which chance(i) says so. Returns how many. */
static size_t take(const struct bench *b, double (*chance)(double y), uint64_t seed)
{
    struct rng rng;
    size_t n = 0;

    rng_init(&rng, seed, "test");
    for (size_t i = 0; i < b->r.n; i++)
        if (!chance || rng_uniform(&rng) < chance(b->y[i]))
            points[n++] = (struct importance_point){b->r.points[i].at, exp(b->y[i])};
    return n;
}

static void of(struct importance *m, const struct bench *b, size_t n)
{
    struct err e = {0};

    if (importance_of(m, b->d, 0, points, n, 1, &e) != 0) fail_msg("%s", e.text);
}

/* ---- the truth, by group means and elimination ---- */

static double variance(const double *y, size_t n)
{
    double mean = 0, sum = 0;

    for (size_t i = 0; i < n; i++)
        mean += y[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        sum += (y[i] - mean) * (y[i] - mean);
    return sum / (double)n;
}

/* Variance of the means of y over the cells of a, or of a and b (b >= 0). */
static double variance_of_means(const struct bench *b, const double *y, const bool *in, int a, int c)
{
    static double sum[LEVELS * LEVELS], n[LEVELS * LEVELS];
    double mean = 0, all = 0, v = 0;

    memset(sum, 0, sizeof sum);
    memset(n, 0, sizeof n);
    for (size_t i = 0; i < b->r.n; i++) {
        const uint16_t *at = b->r.points[i].at.at;
        const int cell = at[a] * LEVELS + (c >= 0 ? at[c] : 0);
        if (in && !in[i]) continue;
        sum[cell] += y[i];
        n[cell]++;
        mean += y[i];
        all++;
    }
    mean /= all;
    for (int i = 0; i < LEVELS * LEVELS; i++)
        if (n[i] > 0) v += n[i] / all * pow(sum[i] / n[i] - mean, 2);
    return v;
}

/* Variance that the best sum of functions of the parameters of `set` explains: normal equations of indicators, solved by elimination with pivots
 * in the order that comes; what is collinear is left out. */
static double variance_of_sum(const struct bench *b, const double *y, unsigned set)
{
    static double m[LEVELS][LEVELS + 1];
    int first[CAND_MAX_PARAMS], n = 1;
    double mean = 0, explained = 0, row[LEVELS];

    for (int k = 0; k < b->table.nparams; k++)
        if (set >> k & 1) {
            first[k] = n;
            n += b->table.params[k].nvalues;
        }
    memset(m, 0, sizeof m);
    for (size_t i = 0; i < b->r.n; i++) {
        memset(row, 0, sizeof row);
        row[0] = 1;
        for (int k = 0; k < b->table.nparams; k++)
            if (set >> k & 1) row[first[k] + b->r.points[i].at.at[k]] = 1;
        for (int r = 0; r < n; r++) {
            for (int c = 0; c < n; c++)
                m[r][c] += row[r] * row[c];
            m[r][n] += row[r] * y[i];
        }
        mean += y[i] / (double)b->r.n;
    }
    for (int p = 0; p < n; p++) { /* Cholesky's way: what a pivot explains is its right side squared over it */
        if (m[p][p] < 1e-9) continue;
        explained += m[p][n] * m[p][n] / m[p][p];
        for (int r = p + 1; r < n; r++) {
            const double factor = m[r][p] / m[p][p];
            for (int c = p; c <= n; c++)
                m[r][c] -= factor * m[p][c];
        }
    }
    return explained / (double)b->r.n - mean * mean;
}

/* ---- everything is known ---- */

static double sums(const uint16_t *at)
{
    static const double a[] = {0, 0.5, 0.2, 1.5}, c[] = {0.3, 0, 0.1, 0.05, 0.9};

    return 2 + a[at[0]] + c[at[2]];
}

static void additive(void **state)
{
    struct importance m;
    struct bench b;

    (void)state;
    bench_open(&b, 3, (const int[]){4, 3, 5}, sums, always);
    of(&m, &b, take(&b, NULL, 1));
    assert_true(m.exact && m.counted && m.tried == 60 && m.failed == 0 && m.valid == 60);
    assert_string_equal(m.view[0].why, "");
    for (int k = 0; k < 3; k++) {
        const double is = variance_of_means(&b, b.y, NULL, k, -1) / variance(b.y, b.r.n);
        assert_near(m.params[k].of[0].share, is, 1e-9);
        assert_near(m.params[k].of[0].low, is, 1e-9);
        assert_near(m.pairs[k].of[0].share, 0, 1e-6);
    }
    assert_true(m.params[0].of[0].share > 0.5 && m.params[1].of[0].share < 1e-12);
    assert_near(m.view[0].additive, 1, 1e-6);
    assert_near(m.view[0].rest, 0, 1e-6);
    assert_near(m.params[0].values[0].cost[0], 1, 1e-9);
    assert_near(m.params[0].values[3].cost[0], exp(1.5), 1e-6);
    assert_near(m.params[2].values[0].cost[0], exp(0.3), 1e-6);
    assert_near(m.params[1].values[2].cost[0], 1, 1e-6);
    /* The faster half: no point of it has the slowest value, and its own shares are those of the points in it. */
    assert_true(isnan(m.params[0].values[3].cost[1]));
    assert_true(m.view[1].valid >= 30 && m.view[1].valid < 40);
    bool in[60];
    double fast[60];
    size_t n = 0;
    for (size_t i = 0; i < 60; i++)
        if ((in[i] = exp(b.y[i]) <= m.view[1].slowest_us * (1 + 1e-12))) fast[n++] = b.y[i];
    assert_int_equal(n, m.view[1].valid);
    for (int k = 0; k < 3; k++)
        assert_near(m.params[k].of[1].share, variance_of_means(&b, b.y, in, k, -1) / variance(fast, n), 1e-9);
    importance_free(&m);
    bench_close(&b);
}

static double exclusive(const uint16_t *at)
{
    return 1 + (at[1] ^ at[3]);
}

static double parity(const uint16_t *at)
{
    return 1 + (at[0] ^ at[1] ^ at[3]);
}

static void pure_interactions(void **state)
{
    struct importance m;
    struct bench b;

    (void)state;
    bench_open(&b, 4, (const int[]){2, 2, 2, 2}, exclusive, always);
    of(&m, &b, take(&b, NULL, 1));
    for (int k = 0; k < 4; k++)
        assert_near(m.params[k].of[0].share, 0, 1e-9);
    for (int k = 0; k < m.npairs; k++)
        assert_near(m.pairs[k].of[0].share, m.pairs[k].a == 1 && m.pairs[k].b == 3, 1e-9);
    assert_near(m.view[0].additive, 0, 1e-9);
    assert_near(m.view[0].rest, 0, 1e-9);
    assert_string_equal(m.view[1].why, "all points there are equally fast");
    assert_true(isnan(m.params[1].of[1].share) && isnan(m.params[1].values[0].cost[1]));
    importance_free(&m);
    bench_close(&b);
    bench_open(&b, 4, (const int[]){2, 2, 2, 2}, parity, always);
    of(&m, &b, take(&b, NULL, 1));
    assert_near(m.view[0].additive, 0, 1e-9);
    assert_near(m.view[0].rest, 1, 1e-9);
    importance_free(&m);
    bench_close(&b);
}

static double mixed(const uint16_t *at)
{
    return 0.4 * at[0] + 0.1 * at[1] * at[1] + 0.3 * (at[0] == 2 && at[2] < 2) + 0.05 * at[2] * at[1] + 0.01 * at[3];
}

/* A and B share a budget, as tiles do. */
static bool budget(const uint16_t *at)
{
    return at[0] + at[1] <= 4 && (at[2] != 1 || at[1] > 0);
}

static void constraints(void **state)
{
    static const int nvalues[] = {4, 5, 4, 3};
    struct importance m;
    struct bench b;
    double all;

    (void)state;
    bench_open(&b, 4, nvalues, mixed, budget);
    assert_true(b.r.n < 240 * 3 / 4);
    all = variance(b.y, b.r.n);
    of(&m, &b, take(&b, NULL, 1));
    for (int k = 0; k < 4; k++)
        assert_near(m.params[k].of[0].share, variance_of_means(&b, b.y, NULL, k, -1) / all, 1e-9);
    for (int k = 0; k < m.npairs; k++) {
        const int a = m.pairs[k].a, c = m.pairs[k].b;
        const double is = (variance_of_means(&b, b.y, NULL, a, c) - variance_of_sum(&b, b.y, 1u << a | 1u << c)) / all;
        assert_near(m.pairs[k].of[0].share, is, 1e-6);
    }
    assert_near(m.view[0].additive, variance_of_sum(&b, b.y, 15) / all, 1e-6);
    importance_free(&m);
    bench_close(&b);
}

static double threefold(const uint16_t *at)
{
    return 0.2 * at[0] + 0.1 * at[1] * at[2] + 0.3 * (at[0] == 1 && at[1] == 2 && at[2] == 1);
}

/* On a product space both definitions of a pair agree, and everything adds up. */
static void adds_up(void **state)
{
    static const int nvalues[] = {4, 5, 4};
    struct importance m;
    struct bench b;
    double all, sum = 0;

    (void)state;
    bench_open(&b, 3, nvalues, threefold, always);
    all = variance(b.y, b.r.n);
    of(&m, &b, take(&b, NULL, 1));
    for (int k = 0; k < m.npairs; k++) {
        const double is = variance_of_means(&b, b.y, NULL, m.pairs[k].a, m.pairs[k].b) -
                          variance_of_means(&b, b.y, NULL, m.pairs[k].a, -1) -
                          variance_of_means(&b, b.y, NULL, m.pairs[k].b, -1);
        assert_near(m.pairs[k].of[0].share, is / all, 1e-6);
        sum += m.pairs[k].of[0].share + m.params[k].of[0].share;
    }
    assert_true(m.view[0].rest > 0.001);
    assert_near(sum + m.view[0].rest, 1, 1e-6);
    importance_free(&m);
    bench_close(&b);
}

/* ---- little is known ---- */

static const int six[] = {4, 4, 4, 4, 4, 4};

/* C, D and F do nothing; the best corner is A 0, B 0, E 3. */
static double kernel(const uint16_t *at)
{
    static const double a[] = {0, 0.1, 0.5, 1.1}, c[] = {0, 0.05, 0.1, 0.6}, f[] = {0.4, 0.3, 0.1, 0};

    return 1 + a[at[0]] + c[at[1]] + f[at[4]] + 0.4 * (at[0] >= 2 && at[4] < 2);
}

static double tenth(double y)
{
    (void)y;
    return 0.1;
}

static void near_truth(const struct importance *m, const struct bench *b, double within)
{
    const double all = variance(b->y, b->r.n);

    for (int k = 0; k < 6; k++) {
        const struct importance_share *s = &m->params[k].of[0];
        const double is = variance_of_means(b, b->y, NULL, k, -1) / all;
        assert_near(s->share, is, within);
        assert_true(s->low <= s->share && s->share <= s->high && s->high - s->low > 1e-6);
        if (k == 2 || k == 3 || k == 5) assert_true(s->share < 0.02);
    }
    for (int k = 0; k < m->npairs; k++) {
        const double is = (variance_of_means(b, b->y, NULL, m->pairs[k].a, m->pairs[k].b) -
                           variance_of_means(b, b->y, NULL, m->pairs[k].a, -1) -
                           variance_of_means(b, b->y, NULL, m->pairs[k].b, -1)) /
                          all;
        assert_near(m->pairs[k].of[0].share, is, within);
    }
}

static void sampled(void **state)
{
    struct importance m;
    struct bench b;

    (void)state;
    bench_open(&b, 6, six, kernel, always);
    of(&m, &b, take(&b, tenth, 3));
    assert_true(!m.exact && m.valid == 4096 && m.tried < 600);
    assert_true(m.view[0].r2 > 0.9 && m.view[0].effective > 100);
    near_truth(&m, &b, 0.05);
    assert_near(m.params[0].values[3].cost[0] / m.params[0].values[1].cost[0], exp(1.2), 0.4);
    importance_free(&m);
    bench_close(&b);
}

/* Most of what is within 0.35 of the best, and one in twenty-five of all else. */
static double near_best(double y)
{
    return y < 1.35 ? 0.8 : 0.04;
}

static double adaptive_naive(size_t n, int param)
{
    double sum[4] = {0}, count[4] = {0}, mean = 0, total = 0, between = 0;

    for (size_t i = 0; i < n; i++) {
        const double y = log(points[i].us);
        sum[points[i].cand.at[param]] += y;
        count[points[i].cand.at[param]]++;
        mean += y / (double)n;
    }
    for (size_t i = 0; i < n; i++)
        total += pow(log(points[i].us) - mean, 2);
    for (int v = 0; v < 4; v++)
        if (count[v] > 0) between += count[v] * pow(sum[v] / count[v] - mean, 2);
    return between / total;
}

static void adaptive(void **state)
{
    struct importance m;
    struct bench b;
    size_t n;
    double is;

    (void)state;
    bench_open(&b, 6, six, kernel, always);
    is = variance_of_means(&b, b.y, NULL, 1, -1) / variance(b.y, b.r.n);
    n = take(&b, near_best, 5);
    assert_true(n > 300 && n < 1000);
    /* What the points say by themselves is far off. */
    assert_true(fabs(adaptive_naive(n, 1) - is) > 0.15);
    of(&m, &b, n);
    assert_string_equal(m.view[0].why, "");
    assert_true(m.view[0].effective < 0.5 * (double)n);
    near_truth(&m, &b, 0.08);
    importance_free(&m);
    bench_close(&b);
}

static double corner(double y)
{
    return y < 1.16;
}

/* Nobody has been to A 2 and 3, B 3, E 0: a forest has no idea of them, and would find the corner easy. */
static void nobody_was_there(void **state)
{
    struct importance m;
    struct bench b;

    (void)state;
    bench_open(&b, 6, six, kernel, always);
    of(&m, &b, take(&b, corner, 1));
    assert_true(m.view[0].unseen > 0.5);
    assert_non_null(strstr(m.view[0].why, "of the valid points there have a value that no measured one has"));
    assert_true(isnan(m.params[0].of[0].share));
    importance_free(&m);
    bench_close(&b);
}

static void too_few(void **state)
{
    struct importance m;
    struct bench b;

    (void)state;
    bench_open(&b, 6, six, kernel, always);
    for (size_t n = 0; n < IMPORTANCE_FEW; n += IMPORTANCE_FEW - 1) {
        take(&b, tenth, 3);
        of(&m, &b, n);
        assert_int_equal(m.tried, n);
        for (int over = 0; over < IMPORTANCE_VIEWS; over++) {
            assert_non_null(strstr(m.view[over].why, ", and 20 are needed"));
            for (int k = 0; k < 6; k++)
                assert_true(isnan(m.params[k].of[over].share) && isnan(m.params[k].values[0].cost[over]));
            for (int k = 0; k < m.npairs; k++)
                assert_true(isnan(m.pairs[k].of[over].low));
        }
        importance_free(&m);
    }
    bench_close(&b);
}

static double chance(const uint16_t *at)
{
    struct rng rng;
    uint64_t seed = 0;

    for (int k = 0; k < 6; k++)
        seed = 4 * seed + at[k];
    rng_init(&rng, seed, "noise");
    return rng_uniform(&rng);
}

/* What no parameter explains is not explained. */
static void noise(void **state)
{
    struct importance m;
    struct bench b;

    (void)state;
    bench_open(&b, 6, six, chance, always);
    of(&m, &b, take(&b, tenth, 3));
    assert_true(m.view[0].r2 < 0.1);
    assert_non_null(strstr(m.view[0].why, "a model of the measured points explains"));
    importance_free(&m);
    bench_close(&b);
}

/* ---- sizes ---- */

static double big(const uint16_t *at)
{
    return 0.02 * at[0] + 0.01 * at[1] + 1e-4 * at[0] * at[1];
}

static double most(double y)
{
    (void)y;
    return 0.8;
}

/* 125,000 valid points, 100,000 of them measured: a sample stands for either. And 20^7, which nobody can walk. */
static void many(void **state)
{
    static const char *const dirs[] = {"tests/data/templates"};
    static const char text[] = "name: t\nproblem: {batch: 2, heads: 8, seq_q: 512, head_dim: 64}\ntemplates: [wider]\n";
    const struct target cl = {.driver = "fake", .language = "opencl", .smem_block_bytes = 32768, .threads_block = 1024};
    struct importance m;
    struct bench b;
    struct space s = {0};
    struct domain *d = NULL;
    struct rng rng;
    struct err e = {0};
    size_t n;
    double all;

    (void)state;
    bench_open(&b, 3, (const int[]){50, 50, 50}, big, always);
    all = variance(b.y, b.r.n);
    n = take(&b, most, 1);
    of(&m, &b, n);
    assert_true(m.tried == n && m.view[0].valid == IMPORTANCE_VALID);
    for (int k = 0; k < 3; k++)
        assert_near(m.params[k].of[0].share, variance_of_means(&b, b.y, NULL, k, -1) / all, 0.02);
    for (int k = 0; k < m.npairs; k++) /* 2,500 cells for 8,192 points: by chance alone they would explain a lot */
        assert_near(m.pairs[k].of[0].share, 0, 0.01);
    importance_free(&m);
    bench_close(&b);

    if (space_parse(&s, text, sizeof text - 1, "t.yaml", &e) != 0 || domain_open(&d, &s, dirs, 1, &cl, &e) != 0)
        fail_msg("%s", e.text);
    rng_init(&rng, 1, "points");
    for (size_t i = 0; i < 600; i++) {
        assert_true(domain_sample(d, &rng, &points[i].cand));
        points[i].us = exp(0.1 * points[i].cand.at[2] + 0.05 * points[i].cand.at[6]);
    }
    if (importance_of(&m, d, 0, points, 600, 1, &e) != 0) fail_msg("%s", e.text);
    assert_true(!m.counted && m.valid > 1e8 && m.valid < 2.12e8);
    /* P2 and P6 are almost free of the rules, and their effects are 2 : 1. */
    assert_near(m.params[2].of[0].share, 0.8, 0.06);
    assert_near(m.params[6].of[0].share, 0.2, 0.06);
    importance_free(&m);
    domain_close(d);
    space_free(&s);
}

/* ---- failures ---- */

static void failures(void **state)
{
    struct importance m;
    struct bench b;
    struct rng rng;
    size_t n, failed = 0;

    (void)state;
    bench_open(&b, 6, six, kernel, always);
    n = take(&b, tenth, 7);
    rng_init(&rng, 1, "failures");
    for (size_t i = 0; i < n; i++) { /* everywhere by chance, and half of B 3 */
        const bool fails = rng_uniform(&rng) < (points[i].cand.at[1] == 3 ? 0.5 : 0.05);
        if (fails) points[i].us = NAN;
        failed += fails;
    }
    of(&m, &b, n);
    assert_int_equal(m.failed, failed);
    assert_int_equal(m.nfailing, 1);
    assert_true(m.failing[0].param == 1 && m.failing[0].value == 3 && m.failing[0].p < 1e-6);
    assert_true(m.params[1].values[3].failed > m.params[1].values[3].tried / 3);
    importance_free(&m);
    for (size_t i = 0; i < n; i++)
        points[i].us = i % 9 == 0 ? 0 : exp(kernel(points[i].cand.at)); /* a time of 0 is a failure */
    of(&m, &b, n);
    assert_int_equal(m.failed, (n + 8) / 9);
    assert_int_equal(m.nfailing, 0);
    importance_free(&m);
    for (size_t i = 0; i < n; i++)
        points[i].us = NAN;
    of(&m, &b, n);
    assert_true(m.failed == n && *m.view[0].why && *m.view[1].why && m.nfailing == 0);
    importance_free(&m);
    bench_close(&b);
}

/* ---- determinism ---- */

static char *bytes(const struct bench *b, size_t n, uint64_t seed)
{
    struct err e = {0};
    json_t *list;
    char *out;

    if (importance_list(&list, b->d, points, n, seed, NULL, NULL, &e) != 0) fail_msg("%s", e.text);
    out = json_dumps(list, JSON_SORT_KEYS);
    json_decref(list);
    return out;
}

static void same_bytes(void **state)
{
    struct bench b;
    char *first, *again, *other;
    size_t n;

    (void)state;
    bench_open(&b, 6, six, kernel, always);
    n = take(&b, tenth, 3);
    first = bytes(&b, n, 1);
    other = bytes(&b, n, 2);
    assert_string_not_equal(first, other);
    for (size_t i = 0; i < n / 2; i++) { /* the order that points come in is nothing */
        const struct importance_point p = points[i];
        points[i] = points[n - 1 - i];
        points[n - 1 - i] = p;
    }
    points[n] = points[0]; /* nor is what comes again */
    points[n].us = 1e9;
    again = bytes(&b, n + 1, 1);
    assert_string_equal(first, again);
    free(first);
    free(again);
    free(other);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(additive),
                                       cmocka_unit_test(pure_interactions),
                                       cmocka_unit_test(constraints),
                                       cmocka_unit_test(adds_up),
                                       cmocka_unit_test(sampled),
                                       cmocka_unit_test(adaptive),
                                       cmocka_unit_test(nobody_was_there),
                                       cmocka_unit_test(too_few),
                                       cmocka_unit_test(noise),
                                       cmocka_unit_test(many),
                                       cmocka_unit_test(failures),
                                       cmocka_unit_test(same_bytes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
