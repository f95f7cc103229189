/* The timeline: whatever happens, each instant is counted once for the supervisor and once for the device worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "rng.h"
#include "timeline.h"

#define assert_near(a, b, within) assert_true(fabs((a) - (b)) < (within))

static double device_sum(const struct timeline *t)
{
    double s = t->check + t->measure + t->load + t->messages + t->opening + t->lost + t->request;

    for (int i = 0; i < TIMELINE_DOING_N; i++)
        s += t->idle[i];
    return s;
}

static double supervisor_sum(const struct timeline *t)
{
    double s = 0;

    for (int i = 0; i < TIMELINE_DOING_N; i++)
        s += t->supervisor[i];
    return s;
}

static void by_hand(void **state)
{
    struct timeline t = {0};

    (void)state;
    timeline_begin(&t, 4, 10, 100);
    timeline_do(&t, TIMELINE_RENDER, 101); /* 1 s of other work, the device idle */
    timeline_do(&t, TIMELINE_WAIT, 103);   /* 2 s of rendering */
    timeline_device(&t, TIMELINE_WORKING, 106);
    assert_int_equal(timeline_do(&t, TIMELINE_STORE, 107), TIMELINE_WAIT);
    timeline_do(&t, TIMELINE_WAIT, 110);
    timeline_answered(&t, &(struct timeline_work){.whole = 5.5, .check = 3, .measure = 2}, 112);
    timeline_end(&t, 16, 113);
    assert_near(t.wall, 13, 1e-9);
    assert_near(t.idle[TIMELINE_OTHER], 1, 1e-9);
    assert_near(t.idle[TIMELINE_RENDER], 2, 1e-9);
    assert_near(t.idle[TIMELINE_WAIT], 3 + 1, 1e-9);
    assert_near(t.idle[TIMELINE_STORE], 0, 1e-9); /* it worked meanwhile */
    assert_near(t.supervisor[TIMELINE_STORE], 3, 1e-9);
    assert_near(t.supervisor[TIMELINE_WAIT], 3 + 1 + 2 + 1, 1e-9);
    assert_near(t.check, 3, 1e-9);
    assert_near(t.measure, 2, 1e-9);
    assert_near(t.load, 0.5, 1e-9);
    assert_near(t.messages, 0.5, 1e-9); /* the supervisor was waiting for the answer: it was on the way */
    assert_near(t.compilers, 6, 1e-9);
    assert_near(t.compilers_could, 4 * 13, 1e-9);
    timeline_do(&t, TIMELINE_STORE, 200); /* behind the end nothing is counted */
    assert_near(t.wall, 13, 1e-9);
}

/* An answer that lay there while the supervisor was busy: the worker waited for that, not for messages. */
static void late_answer(void **state)
{
    struct timeline t = {0};

    (void)state;
    timeline_begin(&t, 1, 0, 0);
    timeline_do(&t, TIMELINE_WAIT, 0);
    timeline_device(&t, TIMELINE_WORKING, 0);
    timeline_do(&t, TIMELINE_STRATEGY, 4);
    timeline_do(&t, TIMELINE_STORE, 6);
    timeline_answered(&t, &(struct timeline_work){.whole = 3, .check = 3}, 9);
    assert_near(t.idle[TIMELINE_STORE], 3, 1e-9);
    assert_near(t.idle[TIMELINE_STRATEGY], 2, 1e-9);
    assert_near(t.messages, 1, 1e-9);
    assert_near(device_sum(&t), 9, 1e-9);
}

/* What a worker says of itself is another process's word. */
static void nonsense(void **state)
{
    static const struct timeline_work said[] = {
        {1e300, 1e300, 1e300}, {-1, -1, -1}, {(double)NAN, (double)NAN, (double)NAN},
        {2, 1e9, 1e9},         {2, -5, 1e9}, {(double)INFINITY, 1, -(double)INFINITY}};

    (void)state;
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        struct timeline t = {0};
        timeline_begin(&t, 1, 0, 5);
        timeline_device(&t, TIMELINE_WORKING, 6);
        timeline_answered(&t, &said[i], 10);
        assert_near(device_sum(&t), 5, 1e-9);
        assert_true(t.check >= 0 && t.measure >= 0 && t.load >= 0 && t.messages >= 0);
    }
}

static void lost(void **state)
{
    struct timeline t = {0};

    (void)state;
    timeline_begin(&t, 1, 0, 0);
    timeline_device(&t, TIMELINE_WORKING, 1);
    timeline_device(&t, TIMELINE_OPENING, 4); /* it died */
    timeline_device(&t, TIMELINE_WORKING, 6);
    timeline_answered(&t, &(struct timeline_work){.whole = 1, .measure = 1}, 7);
    timeline_device(&t, TIMELINE_WORKING, 7);
    timeline_end(&t, 0, 9); /* nobody waits for that one */
    assert_near(t.lost, 3 + 2, 1e-9);
    assert_near(t.opening, 2, 1e-9);
    assert_near(t.measure, 1, 1e-9);
    assert_near(t.idle[TIMELINE_OTHER], 1, 1e-9);
    assert_near(device_sum(&t), t.wall, 1e-9);
}

static void walk(struct timeline *t, struct rng *r, double from)
{
    double now = from, before = t->wall;

    timeline_begin(t, 3, 0, now);
    for (int i = 0; i < 2000; i++) {
        now += rng_uniform(r);
        switch (rng_below(r, 4)) {
        case 0:
            timeline_device(t, (enum timeline_device)rng_below(r, 3), now);
            break;
        case 1:
            if (t->device == TIMELINE_WORKING)
                timeline_answered(t, &(struct timeline_work){3 * rng_uniform(r), rng_uniform(r), rng_uniform(r)}, now);
            break;
        default:
            timeline_do(t, (enum timeline_doing)rng_below(r, TIMELINE_DOING_N), now);
        }
        assert_near(device_sum(t), t->wall, 1e-6);
        assert_near(supervisor_sum(t), t->wall, 1e-6);
    }
    timeline_end(t, 0, now);
    assert_near(t->wall, before + now - from, 1e-6);
}

/* Any sequence, and what the next invocation adds to what the store kept of it. */
static void adds_up(void **state)
{
    struct timeline t = {0}, kept;
    struct rng r;
    json_t *j;
    double wall;

    (void)state;
    rng_init(&r, 7, "timeline");
    walk(&t, &r, 1000);
    wall = t.wall;
    j = timeline_to_json(&t);
    assert_non_null(j);
    timeline_from_json(&kept, j);
    json_decref(j);
    assert_near(device_sum(&kept), wall, 1e-6);
    assert_near(kept.compilers_could, t.compilers_could, 1e-6);
    walk(&kept, &r, 5);
    assert_true(kept.wall > wall);
    assert_int_equal(kept.invocations, 2);
    assert_near(device_sum(&kept), kept.wall, 1e-6);
}

static void damaged(void **state)
{
    static const char *const texts[] = {
        "null", "3", "{}", "{\"invocations\":-1,\"wall\":-2,\"device\":7,\"idle\":[1]}",
        "{\"invocations\":1e300,\"wall\":1e308,\"device\":{\"check\":1e308,\"load\":\"x\"}}"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct timeline t;
        json_t *j = json_loads(texts[i], JSON_DECODE_ANY, NULL), *back;
        assert_non_null(j);
        timeline_from_json(&t, j);
        json_decref(j);
        assert_true(t.invocations >= 0 && t.wall >= 0 && isfinite(t.wall) && isfinite(device_sum(&t)));
        timeline_begin(&t, 256, 0, 0);
        timeline_end(&t, 1, 1);
        assert_non_null(back = timeline_to_json(&t));
        json_decref(back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand), cmocka_unit_test(late_answer), cmocka_unit_test(nonsense),
        cmocka_unit_test(lost),    cmocka_unit_test(adds_up),     cmocka_unit_test(damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
