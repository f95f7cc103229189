/* Both 16-bit types are one format with other field widths: 1 sign, E exponent and M mantissa bits, bias 2^(E-1)-1.
 * Encoding shifts the double's 53-bit significand down and rounds once, to nearest even; a carry out of the mantissa
 * runs into the exponent, which is the right result. The f64 row is the online softmax in double: one pass, no
 * workspace, and an error of a few 1e-16 of the sum, far below what it judges. */
#include "check_host.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

struct format {
    int exponent_bits, mantissa_bits;
};

static struct format format_of(enum dtype d)
{
    return d == DTYPE_BF16 ? (struct format){8, 7} : (struct format){5, 10};
}

uint16_t check_encode(enum dtype d, double x)
{
    struct format f = format_of(d);
    int bias = (1 << (f.exponent_bits - 1)) - 1;
    uint32_t infinity = ((1u << f.exponent_bits) - 1u) << f.mantissa_bits;
    uint64_t bits, significand, rest, half;
    uint32_t sign, value;
    int exponent, shift;
    memcpy(&bits, &x, sizeof bits);
    sign = (uint32_t)(bits >> 63) << 15;
    exponent = (int)((bits >> 52) & 0x7ff) - 1023;
    significand = bits & ((1ull << 52) - 1);
    if (exponent == 1024) {
        value = significand != 0 ? infinity | 1u << (f.mantissa_bits - 1) : infinity;
        return (uint16_t)(sign | value);
    }
    if (exponent > bias) return (uint16_t)(sign | infinity);
    significand |= 1ull << 52;
    shift = 52 - f.mantissa_bits;
    if (exponent < 1 - bias) shift += 1 - bias - exponent;
    if (shift > 53) return (uint16_t)sign; /* below half the smallest subnormal; covers zero and the double's own */
    half = 1ull << (shift - 1);
    rest = significand & ((1ull << shift) - 1);
    value = (uint32_t)(significand >> shift);
    if (rest > half || (rest == half && (value & 1u) != 0)) value++;
    if (exponent >= 1 - bias) value += (uint32_t)(exponent + bias - 1) << f.mantissa_bits;
    return (uint16_t)(sign | value); /* a carry past the largest finite value gives infinity's bits */
}

double check_decode(enum dtype d, uint16_t w)
{
    struct format f = format_of(d);
    int bias = (1 << (f.exponent_bits - 1)) - 1;
    uint64_t exponent = (w >> f.mantissa_bits) & ((1u << f.exponent_bits) - 1u);
    uint64_t mantissa = w & ((1u << f.mantissa_bits) - 1u);
    uint64_t bits = (uint64_t)(w >> 15) << 63;
    double x;
    if (exponent == 0) {
        x = ldexp((double)mantissa, 1 - bias - f.mantissa_bits);
        return bits != 0 ? -x : x;
    }
    if (exponent == (1u << f.exponent_bits) - 1u)
        bits |= 0x7ffull << 52;
    else
        bits |= (exponent + 1023 - (uint64_t)bias) << 52;
    bits |= mantissa << (52 - f.mantissa_bits);
    memcpy(&x, &bits, sizeof x);
    return x;
}

double check_unit(enum dtype d)
{
    return ldexp(1.0, -1 - format_of(d).mantissa_bits);
}

uint16_t check_nan(enum dtype d)
{
    return d == DTYPE_BF16 ? 0x7fc0 : 0x7e00;
}

uint16_t check_poison(enum dtype d, int which)
{
    if (d == DTYPE_BF16) return which == 0 ? 0x7fc1 : 0xffe2;
    return which == 0 ? 0x7e01 : 0xff02;
}

float *check_decode_table(enum dtype d)
{
    float *values = malloc(65536 * sizeof *values);
    if (values == NULL) return NULL;
    for (uint32_t w = 0; w < 65536; w++)
        values[w] = (float)check_decode(d, (uint16_t)w);
    return values;
}

static float as_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* check_decode of n words, without its branches: a word's bits are a float's, short of the bias of f16, which a power of two
 * makes good (subnormals included, infinity and NaN not). */
static void decode_row(enum dtype d, const uint16_t *w, double *out, size_t n)
{
    bool special = false;
    if (d == DTYPE_BF16) {
        for (size_t i = 0; i < n; i++)
            out[i] = (double)as_float((uint32_t)w[i] << 16);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        special |= (w[i] & 0x7c00u) == 0x7c00u;
        out[i] = (double)(as_float((w[i] & 0x7fffu) << 13 | (w[i] & 0x8000u) << 16) * 0x1p112f);
    }
    for (size_t i = 0; i < n && special; i++)
        out[i] = check_decode(d, w[i]);
}

/* Four sums side by side: the processor adds them at once. */
static double dot(const double *x, const double *y, size_t n)
{
    double sum[4] = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t j = 0; j < 4; j++)
            sum[j] += x[i + j] * y[i + j];
    for (; i < n; i++)
        sum[0] += x[i] * y[i];
    return sum[0] + sum[1] + (sum[2] + sum[3]);
}

void check_row_f64(const struct problem *p, const uint16_t *q, const uint16_t *k, const uint16_t *v, size_t row,
                   double *out_o, double *out_lse)
{
    size_t dim = (size_t)p->head_dim, seq_q = (size_t)p->seq_q, heads = (size_t)p->heads;
    size_t query = row % seq_q, head = row / seq_q % heads, batch = row / (seq_q * heads);
    size_t kv_head = head / (heads / (size_t)p->kv_heads);
    size_t first = (batch * (size_t)p->kv_heads + kv_head) * (size_t)p->seq_kv * dim;
    int seen = problem_keys_seen(p, (int)query);
    double highest = -INFINITY, sum = 0, x[PROBLEM_HEAD_DIM_MAX], y[PROBLEM_HEAD_DIM_MAX];
    assert(dim <= PROBLEM_HEAD_DIM_MAX);
    decode_row(p->dtype, q + row * dim, x, dim);
    for (size_t c = 0; c < dim; c++)
        out_o[c] = 0;
    for (int j = 0; j < seen; j++) {
        double logit, weight;
        decode_row(p->dtype, k + first + (size_t)j * dim, y, dim);
        logit = p->scale * dot(x, y, dim);
        if (logit > highest) {
            double shrink = exp(highest - logit); /* 0 the first time */
            sum *= shrink;
            for (size_t c = 0; c < dim; c++)
                out_o[c] *= shrink;
            highest = logit;
        }
        weight = exp(logit - highest);
        sum += weight;
        decode_row(p->dtype, v + first + (size_t)j * dim, y, dim);
        for (size_t c = 0; c < dim; c++)
            out_o[c] += weight * y[c];
    }
    if (seen > 0)
        for (size_t c = 0; c < dim; c++)
            out_o[c] /= sum;
    if (out_lse != NULL) *out_lse = seen > 0 ? highest + log(sum) : -INFINITY;
}
