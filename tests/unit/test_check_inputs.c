/* test_check_inputs.c - the 16-bit types and f64 rows on the host against exhaustive and hand-made values; each input set is
 * what its name says, and what a law needs to be exact is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "check_fixture.h"
#include "check_host.h"
#include "check_inputs.h"
#include "draw.h"

/* ---- host arithmetic ---- */

static bool is_nan_word(enum dtype d, uint16_t w)
{
    uint16_t infinity = d == DTYPE_BF16 ? 0x7f80 : 0x7c00;
    return (w & 0x7fff) > infinity;
}

static void round_trip(void **state)
{
    (void)state;
    for (int d = 0; d < 2; d++)
        for (uint32_t w = 0; w < 65536; w++) {
            double x = check_decode((enum dtype)d, (uint16_t)w);
            if (is_nan_word((enum dtype)d, (uint16_t)w)) {
                assert_true(isnan(x));
                assert_true(is_nan_word((enum dtype)d, check_encode((enum dtype)d, x)));
            } else {
                assert_int_equal(check_encode((enum dtype)d, x), w);
            }
        }
}

/* Between every two neighbours: the midpoint goes to the even one, and what is just beside it to the nearer one. */
static void rounding(void **state)
{
    (void)state;
    for (int d = 0; d < 2; d++) {
        uint32_t infinity = d == DTYPE_BF16 ? 0x7f80 : 0x7c00;
        for (uint32_t w = 0; w + 1 < infinity; w++) {
            double a = check_decode((enum dtype)d, (uint16_t)w), b = check_decode((enum dtype)d, (uint16_t)(w + 1));
            double middle = 0.5 * (a + b);
            assert_int_equal(check_encode((enum dtype)d, middle), w + (w & 1));
            assert_int_equal(check_encode((enum dtype)d, nextafter(middle, 0)), w);
            assert_int_equal(check_encode((enum dtype)d, -nextafter(middle, b)), (w + 1) | 0x8000);
        }
    }
}

static void known_words(void **state)
{
    static const struct {
        enum dtype d;
        double x;
        uint16_t word;
    } rows[] = {
        {DTYPE_F16, 1, 0x3c00},        {DTYPE_F16, -2, 0xc000},        {DTYPE_F16, 65504, 0x7bff},
        {DTYPE_F16, 65519.99, 0x7bff}, {DTYPE_F16, 65520, 0x7c00},     {DTYPE_F16, 1e300, 0x7c00},
        {DTYPE_F16, 0x1p-24, 0x0001},  {DTYPE_F16, 0x1p-25, 0x0000},   {DTYPE_F16, 0x1.8p-25, 0x0001},
        {DTYPE_F16, -0.0, 0x8000},     {DTYPE_F16, 1.0 / 3, 0x3555},   {DTYPE_F16, -INFINITY, 0xfc00},
        {DTYPE_BF16, 1, 0x3f80},       {DTYPE_BF16, 3.140625, 0x4049}, {DTYPE_BF16, 0x1p-133, 0x0001},
        {DTYPE_BF16, 1e39, 0x7f80},    {DTYPE_BF16, 1.0 / 3, 0x3eab},  {DTYPE_BF16, 4.9e-324, 0x0000},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY(rows); i++)
        assert_int_equal(check_encode(rows[i].d, rows[i].x), rows[i].word);
    for (int d = 0; d < 2; d++)
        for (int which = 0; which < 2; which++)
            assert_true(isnan(check_decode((enum dtype)d, check_poison((enum dtype)d, which))));
}

/* Two keys, two columns, by hand: logits 0 and ln 3 give weights 1/4 and 3/4. */
static void row_by_hand(void **state)
{
    struct problem p = {
        .batch = 1, .heads = 2, .kv_heads = 1, .seq_q = 2, .seq_kv = 2, .head_dim = 2, .dtype = DTYPE_F16};
    uint16_t q[8] = {0}, k[4], v[4];
    double o[2], lse;
    const double key[4] = {0, 0, 1, 1}, value[4] = {1, -2, 5, 6};
    (void)state;
    p.scale = log(3.0) / 2; /* q = (1,1), key 1 = (1,1): q.k = 2 */
    for (int i = 0; i < 4; i++) {
        k[i] = check_encode(DTYPE_F16, key[i]);
        v[i] = check_encode(DTYPE_F16, value[i]);
    }
    q[6] = q[7] = check_encode(DTYPE_F16, 1); /* head 1, row 1 */
    check_row_f64(&p, q, k, v, 3, o, &lse);
    assert_true(fabs(o[0] - 4) < 1e-12 && fabs(o[1] - 4) < 1e-12);
    assert_true(fabs(lse - log(4.0)) < 1e-12);
    check_row_f64(&p, q, k, v, 0, o, &lse); /* q = 0: the mean */
    assert_true(fabs(o[0] - 3) < 1e-12 && fabs(o[1] - 2) < 1e-12 && fabs(lse - log(2.0)) < 1e-12);
    p.mask = MASK_CAUSAL; /* row 0 sees key 0 alone */
    check_row_f64(&p, q, k, v, 0, o, &lse);
    assert_true(fabs(o[0] - 1) < 1e-12 && fabs(o[1] + 2) < 1e-12 && fabs(lse) < 1e-12);
    p.seq_kv = 1; /* row 0 sees nothing */
    check_row_f64(&p, q, k, v, 0, o, &lse);
    assert_true(o[0] == 0 && o[1] == 0 && isinf(lse) && lse < 0);
}

/* ---- inputs ---- */

static void draw_plain(struct check_inputs *out, const struct problem *p, uint64_t seed)
{
    struct draw *d = NULL;
    assert_int_equal(draw_open(&d, p->dtype, NULL), 0);
    assert_int_equal(check_inputs_init(out, p, NULL), 0);
    check_inputs_plain(out, p, d, NULL, seed);
    draw_close(d);
}

static void stress(struct check_inputs *in, const struct check_inputs *plain, const struct problem *p, enum check_set s,
                   const float *decode)
{
    assert_int_equal(check_inputs_stress(in, plain, p, s, 3, decode, NULL, NULL), 0);
}

/* Each set is what its name says: seen from the logits of f64. */
static void input_sets(void **state)
{
    struct problem p = small;
    struct check_inputs plain, in;
    float *decode = check_decode_table(p.dtype);
    double o[16], lse;
    (void)state;
    assert_non_null(decode);
    assert_int_equal(check_inputs_init(&in, &p, NULL), 0);
    draw_plain(&plain, &p, 3);
    stress(&in, &plain, &p, CHECK_SET_LARGE, decode);
    check_row_f64(&p, in.q, in.k, in.v, 5, o, &lse);
    assert_true(lse > 100 && lse < 3000);
    for (size_t i = 0; i < problem_q_elements(&p); i++)
        assert_true(fmod((double)decode[in.q[i]], 1) == 0);
    stress(&in, &plain, &p, CHECK_SET_DOMINANT, decode);
    check_row_f64(&p, in.q, in.k, in.v, 5, o, &lse);
    assert_true(lse > 20 && lse < 80);
    for (enum check_set s = CHECK_SET_GROWING; s <= CHECK_SET_SHRINKING; s++) {
        struct problem prefix = p;
        double first, whole;
        stress(&in, &plain, &p, s, decode);
        check_row_f64(&p, in.q, in.k, in.v, 5, o, &whole);
        prefix.batch = 1;
        prefix.seq_kv = 8; /* the first keys of the first head */
        check_row_f64(&prefix, in.q, in.k, in.v, 5, o, &first);
        assert_true(whole < 80);
        if (s == CHECK_SET_GROWING)
            assert_true(whole - first > 15);
        else
            assert_true(whole - first < 1);
    }
    stress(&in, &plain, &p, CHECK_SET_EQUAL, decode);
    assert_memory_equal(in.k, in.k + 39 * 16, 32);
    stress(&in, &plain, &p, CHECK_SET_OFFSET, decode);
    for (size_t i = 0; i < problem_kv_elements(&p); i++)
        assert_true(fabs((double)decode[in.v[i]] - 100) < 8);
    check_inputs_free(&plain);
    check_inputs_free(&in);
    free(decode);
}

/* The sums that a law needs are exact in the dtype. */
static void law_inputs_exact(void **state)
{
    (void)state;
    for (int d = 0; d < 2; d++) {
        struct problem p = small;
        struct check_inputs plain, in[3];
        float *decode;
        p.dtype = (enum dtype)d;
        decode = check_decode_table(p.dtype);
        assert_non_null(decode);
        draw_plain(&plain, &p, 4);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(check_inputs_init(&in[i], &p, NULL), 0);
            assert_int_equal(check_inputs_law(&in[i], &plain, &p, CHECK_LAW_LINEAR, i, 4, decode, NULL, NULL), 0);
        }
        for (size_t i = 0; i < problem_kv_elements(&p); i++)
            assert_true(decode[in[0].v[i]] + decode[in[1].v[i]] == decode[in[2].v[i]]);
        for (int i = 0; i < 2; i++)
            assert_int_equal(check_inputs_law(&in[i], &plain, &p, CHECK_LAW_SHIFT, i, 4, decode, NULL, NULL), 0);
        for (size_t i = 0; i < problem_kv_elements(&p); i++)
            assert_true(fabsf(decode[in[1].k[i]] - decode[in[0].k[i]]) == 8);
        for (int i = 0; i < 3; i++)
            check_inputs_free(&in[i]);
        check_inputs_free(&plain);
        free(decode);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),  cmocka_unit_test(rounding),   cmocka_unit_test(known_words),
        cmocka_unit_test(row_by_hand), cmocka_unit_test(input_sets), cmocka_unit_test(law_inputs_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
