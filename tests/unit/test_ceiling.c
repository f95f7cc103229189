/* Ceilings as they are kept: what is written is read again, and what is damaged is no list. Every number is checked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ceiling.h"

static void fill(struct ceilings *c)
{
    *c = (struct ceilings){.measured = true};
    for (int k = 0; k < CEILING_N; k++) {
        struct ceiling *x = &c->of[k];
        if (k == CEILING_EXP) {
            snprintf(x->why, sizeof x->why, "not here");
            continue;
        }
        snprintf(x->kernel, sizeof x->kernel, "ceiling %d", k);
        x->work = 1e9 * (k + 1);
        for (x->n = 0; x->n < 5; x->n++)
            x->us[x->n] = 10 + (x->n * 3 + 1) % 5; /* 11 14 12 10 13 */
    }
}

static void rates(void **state)
{
    struct ceilings c;
    struct ceiling_rates r;

    (void)state;
    fill(&c);
    r = ceiling_rates(&c.of[CEILING_MATRIX]);
    assert_true(fabs(r.best - 1e14) < 1 && fabs(r.median - 1e15 / 12) < 1 && fabs(r.worst - 1e15 / 14) < 1);
    r = ceiling_rates(&c.of[CEILING_EXP]);
    assert_true(r.best <= 0 && r.median <= 0 && r.worst <= 0);
}

static void round_trip(void **state)
{
    struct ceilings c, back = {0};
    json_t *j;

    (void)state;
    fill(&c);
    j = ceilings_to_json(&c);
    assert_int_equal(ceilings_from_json(&back, j), 0);
    for (int k = 0; k < CEILING_N; k++) {
        assert_int_equal(back.of[k].n, c.of[k].n);
        assert_memory_equal(back.of[k].us, c.of[k].us, sizeof c.of[k].us);
        assert_true(fabs(back.of[k].work - c.of[k].work) <= 0);
        assert_string_equal(back.of[k].kernel, c.of[k].kernel);
        assert_string_equal(back.of[k].why, c.of[k].why);
    }
    json_decref(j);
}

/* Text that replaces a piece of the good list. */
static void damaged(void **state)
{
    static const char *const changes[][2] = {
        {"\"matrix\"", "\"matrices\""}, {"11.0", "-11.0"},      {"11.0", "\"11\""}, {"11.0", "1e300"},
        {"1000000000.0", "0.0"},        {"1000000000.0", "{}"}, {"[11.0", "[[]"},   {"\"kernel\"", "\"colonel\""},
        {"\"why\"", "\"how\""},
    };
    struct ceilings c, back;
    json_t *j;
    char *good;

    (void)state;
    fill(&c);
    j = ceilings_to_json(&c);
    good = json_dumps(j, 0);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        const char *at = strstr(good, changes[i][0]);
        char bad[8192];
        json_t *other;
        assert_non_null(at);
        snprintf(bad, sizeof bad, "%.*s%s%s", (int)(at - good), good, changes[i][1], at + strlen(changes[i][0]));
        other = json_loads(bad, 0, NULL);
        assert_non_null(other);
        if (ceilings_from_json(&back, other) == 0) print_error("believed: %s for %s\n", changes[i][1], changes[i][0]);
        assert_int_equal(ceilings_from_json(&back, other), -1);
        json_decref(other);
    }
    json_array_remove(j, 0);
    assert_int_equal(ceilings_from_json(&back, j), -1);
    assert_int_equal(ceilings_from_json(&back, NULL), -1);
    free(good);
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(damaged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
