/* Dead parameters: by definition, against a plain search over all pairs, and never from a point alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "digest.h"
#include "knobs.h"

static struct knobs_point point(int a, int b, int c, const char *identity)
{
    struct knobs_point p = {.cand = {.at = {(uint16_t)a, (uint16_t)b, (uint16_t)c}}};
    p.identity = digest_u64(identity, strlen(identity));
    return p;
}

static void expect(const struct knobs_point *p, int n, const struct knobs_pairs want[3])
{
    struct knobs_pairs got[3];
    struct err e = {0};
    assert_int_equal(knobs_count(got, 3, p, n, &e), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(got[i].seen, want[i].seen);
        assert_int_equal(got[i].equal, want[i].equal);
    }
}

static void small_sets(void **state)
{
    (void)state;
    expect(NULL, 0, (struct knobs_pairs[3]){{0, 0}, {0, 0}, {0, 0}});
    /* The same point twice, a point that differs in two parameters: no pair. */
    const struct knobs_point lonely[] = {point(0, 0, 0, "x"), point(0, 0, 0, "x"), point(1, 1, 0, "x")};
    expect(lonely, 3, (struct knobs_pairs[3]){{0, 0}, {0, 0}, {0, 0}});
    /* b changes nothing where a is 0, but where a is 1: not dead. c is. */
    const struct knobs_point mixed[] = {point(0, 0, 0, "x"), point(1, 1, 0, "z"), point(0, 1, 0, "x"),
                                        point(1, 0, 0, "y"), point(0, 0, 1, "x"), point(0, 0, 2, "x")};
    expect(mixed, 6, (struct knobs_pairs[3]){{2, 0}, {2, 1}, {3, 3}});
}

/* A grid with holes, in a shuffled order; identity ignores b, and c where a is 0. */
static void against_all_pairs(void **state)
{
    static struct knobs_point p[200];
    struct knobs_pairs want[3] = {{0, 0}, {0, 0}, {0, 0}};
    int n = 0;
    (void)state;
    for (int k = 0; k < 7 * 5 * 4; k++) {
        int i = k * 37 % (7 * 5 * 4), a = i / 20, b = i / 4 % 5, c = i % 4;
        char identity[16];
        if (i % 11 == 3) continue;
        snprintf(identity, sizeof identity, "%d.%d", a, a == 0 ? 0 : c);
        p[n++] = point(a, b, c, identity);
    }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++) {
            int differ = 0, which = 0;
            for (int m = 0; m < 3; m++)
                if (p[i].cand.at[m] != p[k].cand.at[m]) differ++, which = m;
            if (differ != 1) continue;
            want[which].seen++;
            want[which].equal += p[i].identity == p[k].identity;
        }
    assert_true(want[1].seen > 100 && want[1].equal == want[1].seen);
    assert_true(want[2].equal > 10 && want[2].equal < want[2].seen && want[0].equal == 0);
    expect(p, n, want);
}

static void by_template(void **state)
{
    static const char *const dirs[] = {"kernel_templates"};
    struct target t = {.driver = "fake",
                       .language = "cuda",
                       .smem_block_bytes = 232448,
                       .regs_block = 65536,
                       .threads_block = 1024,
                       .compute_capability = 90};
    struct space s = {0};
    struct domain *d = NULL;
    struct err e = {0};
    json_t *dead;
    (void)state;
    if (space_load(&s, "tests/data/spaces/small.yaml", &e) != 0 || domain_open(&d, &s, dirs, 1, &t, &e) != 0)
        fail_msg("%s", e.text);
    /* Template 1 has the same places as template 0; its points are not its neighbours. */
    struct knobs_point p[] = {point(0, 0, 0, "x"), point(0, 1, 0, "x"), point(0, 2, 0, "x"), point(1, 0, 0, "x")};
    p[3].cand.tmpl = 1;
    assert_int_equal(knobs_dead(&dead, d, p, 4, &e), 0);
    assert_int_equal(json_array_size(dead), 1);
    const json_t *only = json_array_get(dead, 0);
    assert_string_equal(json_string_value(json_object_get(only, "template")), domain_template(d, 0)->name);
    assert_string_equal(json_string_value(json_object_get(only, "param")), domain_template(d, 0)->params[1].range.name);
    assert_int_equal(json_integer_value(json_object_get(only, "pairs")), 3);
    json_decref(dead);
    domain_close(d);
    space_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(small_sets), cmocka_unit_test(against_all_pairs),
                                       cmocka_unit_test(by_template)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
