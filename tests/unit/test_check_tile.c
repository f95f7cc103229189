/* A tile as kernels of several habits would show it: references that are running maxima, lag behind, or are those of parts of the keys, all of
 * which are right; and with one mistake in each, which must be blamed on its stage and on no other. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check_host.h"
#include "check_tile.h"
#include "npy.h"
#include "rng.h"

enum { ROWS = 24, KEYS = 52, DIM = 32, TILE = 16, SEQ_Q = 40 };

struct habit {
    double lag;    /* the reference moves when a maximum exceeds it by more */
    int parts;     /* of the keys, each with a reference of its own: tiles in turns */
    bool backward; /* from the last tile */
};

static struct problem problem = {
    .batch = 1, .heads = 2, .kv_heads = 1, .seq_q = SEQ_Q, .seq_kv = KEYS, .head_dim = DIM, .scale = 0.18};
static const struct check_tile place = {.batch = 0, .head = 1, .row = 10, .rows = ROWS};
static uint16_t q[2 * SEQ_Q * DIM], k[KEYS * DIM], v[KEYS * DIM];
static float s[ROWS * KEYS], p[ROWS * KEYS], m[ROWS * KEYS], o[ROWS * DIM];
static float *decode;

static void draw(uint16_t *to, size_t n, const char *purpose, double spread)
{
    struct rng r;
    rng_init(&r, 3, purpose);
    for (size_t i = 0; i < n; i++)
        to[i] = check_encode(problem.dtype, spread * 2 * ((double)(rng_u64(&r) >> 11) * 0x1p-53 - 0.5) * 1.7320508);
}

static float rounded(double x)
{
    return decode[check_encode(problem.dtype, x)];
}

/* One row, one part of its keys: adds to acc and l, against *top. */
static void part(size_t row, const struct habit *h, int which, double acc[DIM], double *l, double *top)
{
    const int tiles = (KEYS + TILE - 1) / TILE, seen = problem_keys_seen(&problem, place.row + (int)row);
    *top = -INFINITY;
    for (int i = 0; i < tiles; i++) {
        const int tile = h->backward ? tiles - 1 - i : i;
        double highest = -INFINITY, keep = 1;
        if (tile % h->parts != which) continue;
        for (int j = tile * TILE; j < (tile + 1) * TILE && j < KEYS; j++) {
            double x = 0;
            for (size_t c = 0; c < DIM; c++)
                x += (double)decode[q[(SEQ_Q + (size_t)place.row + row) * DIM + c]] *
                     (double)decode[k[(size_t)j * DIM + c]];
            s[row * KEYS + (size_t)j] = j < seen ? (float)(x * problem.scale) : -INFINITY;
            highest = fmax(highest, (double)s[row * KEYS + (size_t)j]);
        }
        if (highest > *top + h->lag) {
            keep = exp(*top - highest);
            *top = highest;
        }
        *l *= keep;
        for (size_t c = 0; c < DIM; c++)
            acc[c] *= keep;
        for (size_t j = (size_t)tile * TILE; j < ((size_t)tile + 1) * TILE && j < KEYS; j++) {
            const size_t at = row * KEYS + j;
            const double x = s[at] == -INFINITY ? 0 : exp((double)s[at] - *top);
            m[at] = (float)*top;
            p[at] = rounded(x);
            *l += x;
            for (size_t c = 0; c < DIM; c++)
                acc[c] += (double)p[at] * (double)decode[v[j * DIM + c]];
        }
    }
}

static void compute(const struct habit *h)
{
    for (size_t row = 0; row < ROWS; row++) {
        double sum[DIM] = {0}, total = 0, l[4] = {0}, acc[4][DIM] = {{0}}, top[4], highest = -INFINITY;
        for (int i = 0; i < h->parts; i++) {
            part(row, h, i, acc[i], &l[i], &top[i]);
            highest = fmax(highest, top[i]);
        }
        for (int i = 0; i < h->parts && isfinite(highest); i++) {
            total += l[i] * exp(top[i] - highest);
            for (size_t c = 0; c < DIM; c++)
                sum[c] += acc[i][c] * exp(top[i] - highest);
        }
        for (size_t c = 0; c < DIM; c++)
            o[row * DIM + c] = rounded(total > 0 ? sum[c] / total : 0);
    }
}

static void prepare(enum dtype d, enum mask mask, double spread, const struct habit *h)
{
    problem.dtype = d;
    problem.mask = mask;
    free(decode);
    decode = check_decode_table(d);
    assert_non_null(decode);
    draw(q, 2 * SEQ_Q * DIM, "q", spread);
    draw(k, KEYS * DIM, "k", spread);
    draw(v, KEYS * DIM, "v", 1);
    compute(h);
}

/* The report's stages; *first departs first. */
static json_t *judged(enum check_stage *first)
{
    const uint16_t *const in[3] = {q, k, v};
    const struct check_shown shown = {s, p, m, o};
    struct check_tile_work w;
    struct err e = {0};
    json_t *report = NULL;
    if (check_tile_open(&w, &problem, &place, in, decode, &shown, NULL, &e) != 0 ||
        check_tile_report(&w, first, &report, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(check_tile_bad(&w, o) > 0,
                     json_integer_value(json_object_get(json_array_get(report, 3), "bad")) > 0);
    check_tile_close(&w);
    return report;
}

static void right(const char *what)
{
    enum check_stage first;
    json_t *report = judged(&first);
    if (first != CHECK_STAGE_N) fail_msg("%s: %s", what, json_dumps(report, 0));
    json_decref(report);
}

/* The stage departs first, and says so. */
static void wrong(enum check_stage stage, const char *why, const char *where)
{
    enum check_stage first;
    json_t *report = judged(&first), *j = json_array_get(report, (size_t)stage);
    const char *said = json_string_value(json_object_get(j, "why"));
    const char *place_said = json_string_value(json_object_get(j, "where"));
    if (first != stage || strstr(said, why) == NULL || strstr(place_said, where) == NULL)
        fail_msg("`%s`, `%s` expected of stage %d: %s", why, where, (int)stage, json_dumps(report, 0));
    json_decref(report);
}

static const struct habit plain = {.parts = 1};

static void habits(void **state)
{
    static const struct habit all[] = {
        {.parts = 1}, {.parts = 1, .backward = true}, {.parts = 1, .lag = 5.5}, {.parts = 2}, {.parts = 4, .lag = 2}};
    (void)state;
    for (size_t h = 0; h < sizeof all / sizeof all[0]; h++)
        for (int d = DTYPE_F16; d <= DTYPE_BF16; d++)
            for (int mask = MASK_NONE; mask <= MASK_CAUSAL; mask++)
                for (double spread = 0.25; spread < 20; spread *= 8) {
                    char what[96];
                    snprintf(what, sizeof what, "habit %zu, dtype %d, mask %d, spread %g", h, d, mask, spread);
                    prepare((enum dtype)d, (enum mask)mask, spread, &all[h]);
                    right(what);
                }
}

/* What a kernel need not compute it need not show. */
static void unshown(void **state)
{
    const uint32_t bits = CHECK_UNSHOWN;
    (void)state;
    prepare(DTYPE_F16, MASK_CAUSAL, 1, &plain);
    for (size_t at = 0; at < ROWS * KEYS; at++) {
        if (s[at] != -INFINITY) continue;
        memcpy(&s[at], &bits, sizeof bits);
        memcpy(&p[at], &bits, sizeof bits);
        memcpy(&m[at], &bits, sizeof bits);
    }
    right("hidden keys are not shown");
    for (size_t at = 0; at < ROWS * KEYS; at++)
        if (at % KEYS / TILE == 1) memcpy(&s[at], &bits, sizeof bits);
    wrong(CHECK_STAGE_S, "never computed", "inside one tile of 16 keys");
}

static void scores(void **state)
{
    (void)state;
    prepare(DTYPE_F16, MASK_NONE, 1, &plain);
    for (size_t at = 0; at < ROWS * KEYS; at++)
        s[at] *= -1;
    wrong(CHECK_STAGE_S, "all scaled by one factor, -1: the sign is turned", "");
    prepare(DTYPE_F16, MASK_NONE, 1, &plain);
    for (size_t at = 0; at < ROWS * KEYS; at++)
        s[at] *= (float)problem.scale;
    wrong(CHECK_STAGE_S, "as if the scale were applied twice", "");
    prepare(DTYPE_BF16, MASK_NONE, 1, &plain);
    for (size_t at = 0; at < ROWS * KEYS; at++)
        if (at % KEYS >= 48) s[at] += 1;
    wrong(CHECK_STAGE_S, "", "only the tail keys from 48 on (52 keys are not a multiple of 8)");
    prepare(DTYPE_F16, MASK_CAUSAL, 1, &plain);
    for (size_t at = 0; at < ROWS * KEYS; at++)
        if ((int)(at % KEYS) == problem_keys_seen(&problem, place.row + (int)(at / KEYS))) s[at] = 1;
    wrong(CHECK_STAGE_S, "masked too little: the mask is off by one", "");
    prepare(DTYPE_F16, MASK_NONE, 1, &plain);
    for (size_t at = 0; at < ROWS * KEYS; at++)
        if (at / KEYS % 8 == 2) s[at] = s[at + KEYS];
    wrong(CHECK_STAGE_S, "shifted: each holds what belongs 1 row behind it", "rows whose index modulo 8 is 4");
    prepare(DTYPE_F16, MASK_NONE, 1, &plain);
    s[5 * KEYS + 7] += 0.01f;
    wrong(CHECK_STAGE_S, "", "a single element");
}

static void references(void **state)
{
    (void)state;
    prepare(DTYPE_F16, MASK_NONE, 1, &plain);
    for (size_t at = 0; at < ROWS * KEYS; at++) {
        m[at] = 0;
        p[at] = rounded(exp((double)s[at]));
    }
    wrong(CHECK_STAGE_M, "no maximum is subtracted: the exponentials are taken against 0", "everywhere");
    prepare(DTYPE_F16, MASK_NONE, 1, &plain);
    for (size_t at = 0; at < ROWS * KEYS; at++)
        m[at] += 0.5f;
    wrong(CHECK_STAGE_M, "not the score of any key of its row", "");
}

static void weights(void **state)
{
    (void)state;
    prepare(DTYPE_F16, MASK_NONE, 1, &plain);
    for (size_t at = 0; at < ROWS * KEYS; at++)
        p[at] = rounded(exp((double)s[at]));
    wrong(CHECK_STAGE_P, "no maximum is subtracted", "");
    prepare(DTYPE_F16, MASK_NONE, 1, &plain);
    for (size_t at = 0; at < ROWS * KEYS; at++)
        p[at] = rounded(exp((double)s[at] - (double)m[at]) * (1.5 + (double)(at / KEYS)));
    wrong(CHECK_STAGE_P, "taken against another reference than m", "");
    prepare(DTYPE_F16, MASK_CAUSAL, 1, &plain);
    for (size_t at = 0; at < ROWS * KEYS; at++)
        if (at % KEYS == 51) p[at] = 0.25f; /* hidden in every row here */
    wrong(CHECK_STAGE_P, "", "only key 51");
    prepare(DTYPE_F16, MASK_NONE, 1, &plain);
    for (size_t at = 0; at < ROWS * KEYS; at++)
        if (at % KEYS % 16 == 3) p[at] = INFINITY;
    wrong(CHECK_STAGE_P, "the exponentials overflow", "index modulo 16 is 3");
}

static void outputs(void **state)
{
    (void)state;
    prepare(DTYPE_F16, MASK_NONE, 1, &plain);
    for (size_t row = 0; row < ROWS; row++) {
        double sum[DIM] = {0}, l = 0;
        for (size_t j = 0; j < KEYS; j++) {
            l += (double)p[row * KEYS + j];
            for (size_t c = 0; c < DIM; c++)
                sum[c] += (double)p[row * KEYS + j] * (double)decode[v[j * DIM + c]];
        }
        for (size_t c = 0; c < DIM; c++)
            o[row * DIM + c] = rounded(sum[c] / l);
    }
    wrong(CHECK_STAGE_O, "neither O nor the sum of weights is rescaled", "");
    prepare(DTYPE_BF16, MASK_NONE, 1, &plain);
    for (size_t at = 0; at < ROWS * DIM; at++)
        o[at] = rounded((double)o[at] * 1.25);
    wrong(CHECK_STAGE_O, "all scaled by one factor, 1.2", "");
    prepare(DTYPE_F16, MASK_NONE, 1, &plain);
    for (size_t at = 0; at < ROWS * DIM; at++)
        if (at % DIM % 8 == 5) o[at] = o[at - 1];
    wrong(CHECK_STAGE_O, "shifted: each holds what belongs 1 column before it", "columns whose index modulo 8 is 5");
}

static void limits(void **state)
{
    const struct problem large = {
        .batch = 2, .heads = 4, .kv_heads = 2, .seq_q = 100, .seq_kv = 1 << 20, .head_dim = 64};
    const struct {
        struct check_tile t;
        const char *words; /* NULL: fine */
    } rows[] = {{{1, 3, 96, 4}, NULL},
                {{2, 0, 0, 1}, "no head 0 of batch 2"},
                {{0, 4, 0, 1}, "no head 4"},
                {{0, 0, 97, 4}, "no rows 97:4"},
                {{0, 0, -1, 4}, "no rows -1:4"},
                {{0, 0, 0, 0}, "no rows 0:0"},
                {{0, 0, 3, 5}, "--rows 3:4 is the most"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err e = {0};
        assert_int_equal(check_tile_valid(&large, &rows[i].t, &e), rows[i].words != NULL ? -1 : 0);
        if (rows[i].words != NULL && strstr(e.text, rows[i].words) == NULL) fail_msg("%s", e.text);
    }
    assert_int_equal(check_tile_floats(&problem, &place), CHECK_TILE_HEAD + 3 * ROWS * KEYS);
}

/* The head that the format's description asks for, and the numbers behind it. */
static void npy(void **state)
{
    const float x[6] = {1, -2, 3.5f, 4, 5, INFINITY};
    char path[] = "/tmp/fatune-npy-XXXXXX", head[128];
    float back[7];
    struct err e = {0};
    int fd = mkstemp(path);
    FILE *f;
    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(npy_write_f32(path, x, 2, 3, &e), 0);
    f = fdopen(fd, "r");
    assert_non_null(f);
    assert_int_equal(fread(head, 1, sizeof head, f), sizeof head);
    assert_memory_equal(head, "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } ",
                        70);
    assert_int_equal(head[127], '\n');
    assert_int_equal(fread(back, sizeof back[0], 7, f), 6);
    assert_memory_equal(back, x, sizeof x);
    fclose(f);
    remove(path);
    assert_int_equal(npy_write_f64("/nowhere/at/all.npy", NULL, 0, 0, &e), -1);
    assert_non_null(strstr(e.text, "/nowhere/at/all.npy"));
}

static int end(void **state)
{
    (void)state;
    free(decode);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(habits),  cmocka_unit_test(unshown), cmocka_unit_test(scores), cmocka_unit_test(references),
        cmocka_unit_test(weights), cmocka_unit_test(outputs), cmocka_unit_test(limits), cmocka_unit_test(npy)};
    return cmocka_run_group_tests(tests, NULL, end);
}
