/* The problem's arithmetic against counting, and the JSON forms of what travels to workers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "problem.h"

static struct problem problem_of(int batch, int heads, int kv_heads, int seq_q, int seq_kv, int head_dim,
                                 enum mask mask)
{
    return (struct problem){.batch = batch,
                            .heads = heads,
                            .kv_heads = kv_heads,
                            .seq_q = seq_q,
                            .seq_kv = seq_kv,
                            .head_dim = head_dim,
                            .mask = mask,
                            .scale = 0.125};
}

/* Every pair of query i and key j that the bottom-right aligned mask leaves: j - (seq_kv - seq_q) <= i. */
static bool visible(const struct problem *p, int i, int j)
{
    return p->mask == MASK_NONE || j - p->seq_kv + p->seq_q <= i;
}

static void flops(void **state)
{
    static const int seqs[][2] = {{1, 1}, {7, 7}, {5, 12}, {12, 5}, {1, 33}, {33, 1}, {64, 64}};

    (void)state;
    for (size_t s = 0; s < sizeof seqs / sizeof seqs[0]; s++) {
        for (int m = MASK_NONE; m <= MASK_CAUSAL; m++) {
            struct problem p = problem_of(2, 3, 1, seqs[s][0], seqs[s][1], 16, (enum mask)m);
            double count = 0;
            for (int i = 0; i < p.seq_q; i++) {
                int seen = 0;
                for (int j = 0; j < p.seq_kv; j++) {
                    if (!visible(&p, i, j)) continue;
                    assert_int_equal(j, seen); /* the keys seen are 0..n-1 */
                    seen++;
                    count += 2.0 * 2 * p.head_dim; /* a multiply and an add in Q K^T and in P V */
                }
                assert_int_equal(problem_keys_seen(&p, i), seen);
            }
            assert_true(problem_flops(&p) == count * p.batch * p.heads);
        }
    }
    /* Short keys: the first queries see nothing. */
    struct problem p = problem_of(1, 1, 1, 12, 5, 16, MASK_CAUSAL);
    assert_int_equal(problem_keys_seen(&p, 0), 0);
    assert_int_equal(problem_keys_seen(&p, 6), 0);
    assert_int_equal(problem_keys_seen(&p, 7), 1);
    assert_int_equal(problem_keys_seen(&p, 11), 5);
}

static void sizes(void **state)
{
    struct problem p = problem_of(2, 8, 2, 512, 256, 64, MASK_NONE);

    (void)state;
    assert_int_equal(problem_rows(&p), 2 * 8 * 512);
    assert_int_equal(problem_q_elements(&p), 2 * 8 * 512 * 64);
    assert_int_equal(problem_kv_elements(&p), 2 * 2 * 256 * 64);
    assert_true(problem_bytes(&p) == 2.0 * (2 * 524288 + 2 * 65536));
    p.lse = true;
    assert_true(problem_bytes(&p) == 2.0 * (2 * 524288 + 2 * 65536) + 4.0 * 8192);
    /* No overflow of int. */
    p = problem_of(64, 64, 64, 32768, 32768, 128, MASK_NONE);
    assert_true(problem_q_elements(&p) == (size_t)64 * 64 * 32768 * 128);
    assert_true(problem_flops(&p) == 4.0 * 64 * 64 * 32768.0 * 32768.0 * 128);
}

static void floor_us(void **state)
{
    struct problem p = problem_of(1, 1, 1, 100, 100, 16, MASK_NONE);
    struct target t = {.l2_bytes = 1};

    (void)state;
    assert_true(problem_floor_us(&p, &t) == 0);
    t.peak_flops = 640000 / 1e-6; /* 640,000 operations take a microsecond */
    assert_true(fabs(problem_floor_us(&p, &t) - 1) < 1e-12);
    t.peak_bytes_s = 12800 / 3e-6; /* 12,800 bytes take three */
    assert_true(fabs(problem_floor_us(&p, &t) - 3) < 1e-12);
    t.l2_bytes = 12800; /* what fits the L2 need not travel */
    assert_true(fabs(problem_floor_us(&p, &t) - 1) < 1e-12);
}

static void texts(void **state)
{
    char text[128], small[8];
    struct problem p = problem_of(2, 8, 8, 512, 512, 64, MASK_NONE);
    enum arg a;

    (void)state;
    problem_text(&p, text, sizeof text);
    assert_string_equal(text, "attention 2x8x512x64 f16 full");
    p = problem_of(1, 8, 2, 16, 48, 32, MASK_CAUSAL);
    p.dtype = DTYPE_BF16;
    problem_text(&p, text, sizeof text);
    assert_string_equal(text, "attention 1x8 (2 kv)x16:48x32 bf16 causal");
    problem_text(&p, small, sizeof small);
    assert_string_equal(small, "attenti");
    for (int i = 0; i < ARG_N; i++) {
        assert_int_equal(arg_parse(&a, arg_name((enum arg)i)), 0);
        assert_int_equal(a, i);
    }
    assert_int_equal(arg_parse(&a, "w"), -1);
}

static struct target some_target(void)
{
    return (struct target){.driver = "cuda",
                           .index = 3,
                           .language = "cuda",
                           .name = "Some \"GPU\"",
                           .arch = "sm_90",
                           .uuid = "GPU-1",
                           .driver_version = "13.0",
                           .compiler = "NVRTC 13.0",
                           .compute_capability = 90,
                           .smem_block_bytes = 232448,
                           .smem_sm_bytes = 233472,
                           .regs_block = 65536,
                           .threads_block = 1024,
                           .sms = 132,
                           .l2_bytes = 50 << 20,
                           .memory_bytes = (int64_t)141 << 30,
                           .warp = 32,
                           .clock_mhz = 1980,
                           .is_host_cpu = true,
                           .peak_flops = 989.4e12,
                           .peak_bytes_s = 4.8e12};
}

static void round_trips(void **state)
{
    struct problem p = problem_of(2, 8, 2, 100, 300, 64, MASK_CAUSAL), p2 = {0};
    struct target t = some_target(), t2 = {0};
    struct launch l = {.entry = "k",
                       .grid = {1, 2, 3},
                       .block = {4, 5, 6},
                       .cluster = {2, 1, 1},
                       .shared_bytes = (int64_t)1 << 33,
                       .nargs = 3,
                       .args = {ARG_REF_LOW, ARG_Q, ARG_LSE}};
    struct launch l2;
    struct err e = {0};
    json_t *j;

    (void)state;
    p.dtype = DTYPE_BF16;
    p.lse = true;
    p.scale = 0.1;
    j = problem_to_json(&p);
    assert_int_equal(problem_from_json(&p2, j, &e), 0);
    json_decref(j);
    j = problem_to_json(&p2);
    json_t *again = problem_to_json(&p);
    assert_true(json_equal(j, again));
    assert_true(p2.scale == p.scale && p2.lse && p2.dtype == DTYPE_BF16 && p2.mask == MASK_CAUSAL && p2.seq_kv == 300);
    json_decref(j);
    json_decref(again);

    j = target_to_json(&t);
    assert_int_equal(target_from_json(&t2, j, &e), 0);
    json_decref(j);
    assert_string_equal(t2.name, t.name);
    assert_true(t2.memory_bytes == t.memory_bytes && t2.peak_flops == t.peak_flops && t2.is_host_cpu && t2.index == 3);

    j = launch_to_json(&l);
    assert_int_equal(launch_from_json(&l2, j, &e), 0);
    json_decref(j);
    assert_string_equal(l2.entry, "k");
    assert_memory_equal(l2.grid, l.grid, sizeof l.grid);
    assert_memory_equal(l2.block, l.block, sizeof l.block);
    assert_memory_equal(l2.cluster, l.cluster, sizeof l.cluster);
    assert_true(l2.shared_bytes == l.shared_bytes && l2.nargs == 3);
    assert_memory_equal(l2.args, l.args, 3 * sizeof l.args[0]);
    assert_memory_equal(l2.maps, l.maps, sizeof l.maps); /* none: pointers */
    assert_int_equal(e.code, ERR_OK);
}

static struct launch mapped_launch(void)
{
    struct problem p = problem_of(2, 8, 2, 100, 300, 64, MASK_NONE);
    struct launch l = {.entry = "k", .grid = {1, 1, 1}, .block = {1, 1, 1}, .nargs = 3, .args = {ARG_K, ARG_K, ARG_O}};
    p.dtype = DTYPE_BF16;
    l.maps[1] = problem_tensor_map(&p, ARG_K);
    l.maps[1].box_columns = 64;
    l.maps[1].box_rows = 128;
    l.maps[1].swizzle_bytes = 128;
    l.maps[1].l2_bytes = 256;
    return l;
}

static void tensor_maps(void **state)
{
    struct problem p = problem_of(2, 8, 2, 100, 300, 64, MASK_NONE);
    struct tensor_map q = problem_tensor_map(&p, ARG_Q);
    struct launch l = mapped_launch(), l2;
    struct err e = {0};

    (void)state;
    assert_true(q.columns == 64 && q.rows == 100 && q.planes == 16 && q.dtype == DTYPE_F16 && q.box_columns == 0);
    assert_true(l.maps[1].rows == 300 && l.maps[1].planes == 4);
    json_t *j = launch_to_json(&l);
    assert_int_equal(launch_from_json(&l2, j, &e), 0);
    assert_int_equal(l2.nargs, 3);
    assert_memory_equal(l2.maps, l.maps, sizeof l.maps);
    /* Each number of a map is part of the text that identities are made of. */
    char *text = json_dumps(j, JSON_SORT_KEYS);
    int64_t *const numbers[] = {&l.maps[1].columns,     &l.maps[1].rows,     &l.maps[1].planes,
                                &l.maps[1].box_columns, &l.maps[1].box_rows, &l.maps[1].swizzle_bytes,
                                &l.maps[1].l2_bytes};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        ++*numbers[i];
        json_t *other = launch_to_json(&l);
        char *changed = json_dumps(other, JSON_SORT_KEYS);
        assert_string_not_equal(text, changed);
        free(changed);
        json_decref(other);
        --*numbers[i];
    }
    free(text);
    /* Each member of a map is needed, and of its type; a map must belong to an argument. */
    json_t *map = json_array_get(json_object_get(j, "maps"), 0);
    const char *name;
    json_t *value;
    json_t *good = json_copy(map);
    json_object_foreach(good, name, value)
    {
        json_object_set_new(map, name, json_pack("[n]"));
        assert_int_equal(launch_from_json(&l2, j, NULL), -1);
        json_object_set(map, name, value);
    }
    assert_int_equal(launch_from_json(&l2, j, NULL), 0);
    json_object_set_new(map, "argument", json_integer(3));
    assert_int_equal(launch_from_json(&l2, j, NULL), -1);
    json_object_set_new(map, "argument", json_integer(-1));
    assert_int_equal(launch_from_json(&l2, j, NULL), -1);
    json_object_set_new(j, "maps", json_integer(1));
    assert_int_equal(launch_from_json(&l2, j, NULL), -1);
    json_decref(good);
    json_decref(j);
}

/* Each member in turn is left out, and then has a wrong type. */
static void refuses(json_t *good, int (*parse)(void *out, const json_t *j, struct err *e))
{
    union {
        struct problem p;
        struct target t;
        struct launch l;
    } out;
    const char *name;
    json_t *value, *j;
    struct err e = {0};

    assert_int_equal(parse(&out, good, &e), 0);
    json_object_foreach(good, name, value)
    {
        j = json_deep_copy(good);
        json_object_del(j, name);
        e = (struct err){0};
        if (strcmp(name, "args") != 0) { /* a kernel without arguments is a launch */
            assert_int_equal(parse(&out, j, &e), -1);
            assert_int_equal(e.code, ERR_BUG);
        }
        json_decref(j);
        j = json_deep_copy(good);
        json_object_set_new(j, name, json_pack("[n]"));
        e = (struct err){0};
        assert_int_equal(parse(&out, j, &e), -1);
        assert_int_equal(e.code, ERR_BUG);
        json_decref(j);
    }
    assert_int_equal(parse(&out, NULL, &e), -1);
    json_decref(good);
}

static int parse_problem(void *out, const json_t *j, struct err *e)
{
    return problem_from_json(out, j, e);
}

static int parse_target(void *out, const json_t *j, struct err *e)
{
    return target_from_json(out, j, e);
}

static int parse_launch(void *out, const json_t *j, struct err *e)
{
    return launch_from_json(out, j, e);
}

static void refusals(void **state)
{
    struct problem p = problem_of(2, 8, 2, 100, 300, 64, MASK_CAUSAL);
    struct target t = some_target();
    struct launch l = {.entry = "k", .grid = {1, 1, 1}, .block = {1, 1, 1}, .nargs = 1, .args = {ARG_Q}};
    char name[200];
    json_t *j;

    (void)state;
    refuses(problem_to_json(&p), parse_problem);
    refuses(target_to_json(&t), parse_target);
    refuses(launch_to_json(&l), parse_launch);

    /* What this version does not know is refused, not taken for something else. */
    j = problem_to_json(&p);
    json_object_set_new(j, "dtype", json_string("f32"));
    assert_int_equal(problem_from_json(&p, j, NULL), -1);
    json_object_set_new(j, "dtype", json_string("f16"));
    json_object_set_new(j, "mask", json_string("window"));
    assert_int_equal(problem_from_json(&p, j, NULL), -1);
    json_decref(j);

    /* Texts that do not fit are refused, not cut. */
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    j = target_to_json(&t);
    json_object_set_new(j, "name", json_string(name));
    assert_int_equal(target_from_json(&t, j, NULL), -1);
    json_decref(j);
    j = launch_to_json(&l);
    json_object_set_new(j, "entry", json_string(name));
    assert_int_equal(launch_from_json(&l, j, NULL), -1);
    json_object_set_new(j, "entry", json_string("k"));
    json_t *many = json_array();
    for (int i = 0; i <= LAUNCH_ARGS; i++)
        json_array_append_new(many, json_string("q"));
    json_object_set_new(j, "args", many);
    assert_int_equal(launch_from_json(&l, j, NULL), -1);
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flops),       cmocka_unit_test(sizes),       cmocka_unit_test(floor_us),
        cmocka_unit_test(texts),       cmocka_unit_test(round_trips), cmocka_unit_test(refusals),
        cmocka_unit_test(tensor_maps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
