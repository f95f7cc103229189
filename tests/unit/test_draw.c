/* test_draw.c - drawn tensors are N(0,1) rounded to nearest (each word's probability from GSL's distribution function,
 * moments, tails, Kolmogorov-Smirnov), and the same for any number of threads and any way of cutting them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "draw.h"

#define N ((size_t)1 << 22)

static uint16_t *words;
static size_t count[65536];

static struct draw *open_draw(enum dtype d)
{
    struct draw *out = NULL;
    struct err e = {0};
    assert_int_equal(draw_open(&out, d, &e), 0);
    return out;
}

static void tensor(enum dtype d, struct parallel *threads, uint64_t seed, uint16_t *to, size_t n)
{
    struct draw *draw = open_draw(d);
    draw_tensor(draw, threads, seed, "test", to, n);
    draw_close(draw);
}

static void count_words(enum dtype d, uint64_t seed)
{
    tensor(d, NULL, seed, words, N);
    memset(count, 0, sizeof count);
    for (size_t i = 0; i < N; i++)
        count[words[i]]++;
}

/* P(x rounds to the word), by GSL. */
static double probability(enum dtype d, uint16_t w)
{
    const uint16_t magnitude = w & 0x7fff;
    const double x = check_decode(d, magnitude), above = 0.5 * (x + check_decode(d, (uint16_t)(magnitude + 1)));
    const double below = magnitude > 0 ? 0.5 * (x + check_decode(d, (uint16_t)(magnitude - 1))) : 0;
    return gsl_cdf_ugaussian_Q(below) - gsl_cdf_ugaussian_Q(above);
}

/* Chi-square over all words with an expectation of 16 and more, the others pooled by sign into what lies in the middle and
 * in the tails; two-sided 0.1%. */
static void each_word_has_its_probability(void **state)
{
    (void)state;
    for (int d = 0; d < 2; d++) {
        const uint32_t infinity = d == DTYPE_BF16 ? 0x7f80 : 0x7c00;
        double chi2 = 0, expected[4] = {0}, got[4] = {0}, p;
        int cells = 0;
        count_words((enum dtype)d, 11);
        for (uint32_t w = 0; w < 65536; w++) {
            const uint32_t magnitude = w & 0x7fff;
            if (magnitude >= infinity) {
                assert_int_equal(count[w], 0);
                continue;
            }
            const double e = (double)N * probability((enum dtype)d, (uint16_t)w);
            if (e < 16) {
                const int pool = 2 * (int)(w >> 15) + (check_decode((enum dtype)d, (uint16_t)magnitude) > 1);
                expected[pool] += e;
                got[pool] += (double)count[w];
                continue;
            }
            chi2 += ((double)count[w] - e) * ((double)count[w] - e) / e;
            cells++;
        }
        for (int i = 0; i < 4; i++) {
            assert_true(expected[i] > 16);
            chi2 += (got[i] - expected[i]) * (got[i] - expected[i]) / expected[i];
            cells++;
        }
        p = gsl_cdf_chisq_Q(chi2, cells - 1);
        if (!(p > 0.0005 && p < 0.9995)) fail_msg("dtype %d: chi-square %g over %d cells, p %g", d, chi2, cells, p);
    }
}

static void moments_and_tails(void **state)
{
    static const double beyond[] = {2, 3, 4, 4.5};
    (void)state;
    for (int d = 0; d < 2; d++) {
        const uint32_t infinity = d == DTYPE_BF16 ? 0x7f80 : 0x7c00;
        double sum[5] = {0};
        double scale = 1 / sqrt((double)N);
        count_words((enum dtype)d, 12);
        for (uint32_t w = 0; w < 65536; w++)
            for (int k = 1; k <= 4 && count[w] > 0; k++)
                sum[k] += (double)count[w] * pow(check_decode((enum dtype)d, (uint16_t)w), k);
        assert_true(fabs(sum[1] / (double)N) < 4 * scale);
        /* rounding adds u^2/3 of the mean square at most, which is 5e-6 in bf16 */
        assert_true(fabs(sum[2] / (double)N - 1) < 4 * sqrt(2.0) * scale + 1e-5);
        assert_true(fabs(sum[3] / (double)N) < 4 * sqrt(15.0) * scale);
        assert_true(fabs(sum[4] / (double)N - 3) < 4 * sqrt(96.0) * scale + 1e-4);
        for (size_t t = 0; t < sizeof beyond / sizeof beyond[0]; t++) {
            double got = 0, e = 0;
            for (uint32_t w = 0; w < 65536; w++)
                if ((w & 0x7fff) < infinity && fabs(check_decode((enum dtype)d, (uint16_t)w)) >= beyond[t]) {
                    got += (double)count[w];
                    e += (double)N * probability((enum dtype)d, (uint16_t)w);
                }
            if (!(e > 20 && fabs(got - e) < 4 * sqrt(e)))
                fail_msg("dtype %d: %g beyond %g, expected %g", d, got, beyond[t], e);
        }
    }
}

/* Kolmogorov-Smirnov against the normal distribution, at the words' upper edges, where rounding changes nothing: 0.1% is at
 * 1.95 / sqrt(N). */
static void kolmogorov_smirnov(void **state)
{
    (void)state;
    for (int d = 0; d < 2; d++) {
        const uint32_t infinity = d == DTYPE_BF16 ? 0x7f80 : 0x7c00;
        double worst = 0;
        size_t below = 0;
        count_words((enum dtype)d, 13);
        for (uint32_t w = infinity - 1; w > 0; w--) { /* the negative ones, upwards */
            const double x = check_decode((enum dtype)d, (uint16_t)w);
            const double edge = -0.5 * (x + check_decode((enum dtype)d, (uint16_t)(w - 1)));
            below += count[0x8000 | w];
            worst = fmax(worst, fabs((double)below / (double)N - gsl_cdf_ugaussian_P(edge)));
        }
        below += count[0x8000] + count[0];
        for (uint32_t w = 0; w + 1 < infinity; w++) {
            const double x = check_decode((enum dtype)d, (uint16_t)w);
            const double edge = 0.5 * (x + check_decode((enum dtype)d, (uint16_t)(w + 1)));
            if (w > 0) below += count[w];
            worst = fmax(worst, fabs((double)below / (double)N - gsl_cdf_ugaussian_P(edge)));
        }
        assert_true(worst * sqrt((double)N) < 1.95);
        assert_true(worst * sqrt((double)N) >
                    0.2); /* a chance as small again: not a table of quantiles read in order */
    }
}

/* Neighbours are independent: the sum of products of elements k apart. */
static void no_correlation(void **state)
{
    static const size_t lags[] = {1, 2, 3, 64, 128, 4096, 32768, 65536};
    (void)state;
    tensor(DTYPE_F16, NULL, 14, words, N);
    for (size_t l = 0; l < sizeof lags / sizeof lags[0]; l++) {
        double sum = 0;
        for (size_t i = lags[l]; i < N; i++)
            sum += check_decode(DTYPE_F16, words[i]) * check_decode(DTYPE_F16, words[i - lags[l]]);
        assert_true(fabs(sum) < 4 * sqrt((double)N));
    }
}

static void any_number_of_threads_and_any_cut(void **state)
{
    const size_t n = 300001;
    uint16_t *other = malloc(n * sizeof *other);
    struct draw *draw = open_draw(DTYPE_F16);
    (void)state;
    assert_non_null(other);
    tensor(DTYPE_F16, NULL, 15, words, n);
    for (int threads = 1; threads <= 7; threads += 3) {
        struct parallel *p = NULL;
        struct err e = {0};
        assert_int_equal(parallel_open(&p, threads, &e), 0);
        memset(other, 0, n * sizeof *other);
        tensor(DTYPE_F16, p, 15, other, n);
        assert_memory_equal(words, other, n * sizeof *other);
        parallel_close(p);
    }
    memset(other, 0, n * sizeof *other);
    for (size_t first = 0, m; first < n; first += m) {
        m = first * 7 % 1013 + 1;
        if (m > n - first) m = n - first;
        draw_words(draw, 15, "test", first, other + first, m);
    }
    assert_memory_equal(words, other, n * sizeof *other);
    draw_words(draw, 16, "test", 0, other, n);
    assert_memory_not_equal(words, other, n * sizeof *other);
    draw_words(draw, 15, "another", 0, other, n);
    assert_memory_not_equal(words, other, n * sizeof *other);
    draw_close(draw);
    free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_word_has_its_probability),
        cmocka_unit_test(moments_and_tails),
        cmocka_unit_test(kolmogorov_smirnov),
        cmocka_unit_test(no_correlation),
        cmocka_unit_test(any_number_of_threads_and_any_cut),
    };
    int failed;
    words = malloc(N * sizeof *words);
    if (words == NULL) return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(words);
    return failed;
}
