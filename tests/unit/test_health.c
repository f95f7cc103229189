/* Monitors of devices that have none, and of the host's CPU. The GPU's is in test_device_cuda.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "health.h"

static void assert_unknown(const struct health_reading *r)
{
    assert_int_equal(r->sm_mhz, -1);
    assert_int_equal(r->mem_mhz, -1);
    assert_int_equal(r->temperature_c, -1);
    assert_int_equal(r->power_mw, -1);
    assert_int_equal(r->throttle, -1);
    assert_int_equal(r->other_processes, -1);
}

/* A device that no monitor knows: everything unknown, and the note says why. */
static void no_monitor(void **state)
{
    static const char *const drivers[] = {"fake", "cuda", "opencl"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct target t = {.index = 0};
        struct buf note = {0};
        struct health_reading r;
        snprintf(t.driver, sizeof t.driver, "%s", drivers[i]);
        snprintf(t.name, sizeof t.name, "test device");
        snprintf(t.uuid, sizeof t.uuid, "GPU-00000000-0000-0000-0000-000000000000");
        struct health *h = health_open(&t, &note);
        assert_non_null(h);
        memset(&r, 7, sizeof r);
        health_read(h, &r);
        assert_unknown(&r);
        assert_non_null(strstr(buf_text(&note), "unknown"));
        assert_int_equal(buf_text(&note)[note.n - 1], '\n');
        json_t *j = health_environment(h);
        assert_string_equal(json_string_value(json_object_get(j, "monitor")), "none");
        assert_int_equal(json_object_size(j), 1);
        json_decref(j);
        health_close(h);
        buf_free(&note);
        h = health_open(&t, NULL);
        assert_non_null(h);
        health_close(h);
    }
    health_close(NULL);
}

/* Of the processes on a device, those that our supervisor started are no strangers, however deep. */
static void family(void **state)
{
    char supervisor[32];
    int ends[2];
    long grandchild = 0;
    pid_t child;
    (void)state;
    unsetenv("FATUNE_SUPERVISOR");
    assert_true(health_is_ours((long)getpid()));
    assert_false(health_is_ours((long)getppid()));
    assert_false(health_is_ours(1));
    assert_false(health_is_ours(0));
    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) { /* a child that tells the number of its own child, which stays */
        pid_t own = fork();
        if (own != 0)
            _exit(write(ends[1], &own, sizeof own) == (ssize_t)sizeof own && waitpid(own, NULL, 0) == own ? 0 : 1);
        pause();
        _exit(0);
    }
    assert_true(child > 0);
    pid_t own;
    assert_int_equal(read(ends[0], &own, sizeof own), (ssize_t)sizeof own);
    grandchild = (long)own;
    assert_false(health_is_ours(grandchild)); /* without a supervisor only ourselves */
    snprintf(supervisor, sizeof supervisor, "%ld", (long)getpid());
    setenv("FATUNE_SUPERVISOR", supervisor, 1);
    assert_true(health_is_ours((long)child));
    assert_true(health_is_ours(grandchild));
    assert_false(health_is_ours((long)getppid()));
    unsetenv("FATUNE_SUPERVISOR");
    kill(own, SIGKILL);
    waitpid(child, NULL, 0);
    close(ends[0]);
    close(ends[1]);
}

static void host_cpu(void **state)
{
    struct target t = {.index = 0, .is_host_cpu = true, .driver = "opencl"};
    struct health_reading r;
    (void)state;
    struct health *h = health_open(&t, NULL);
    assert_non_null(h);
    health_read(h, &r);
    assert_unknown(&r); /* the cores' mean clock is not that of the cores at work */
    json_t *j = health_environment(h);
    assert_string_equal(json_string_value(json_object_get(j, "monitor")), "host");
    assert_true(json_integer_value(json_object_get(j, "cores")) >= 1);
    assert_true(json_is_string(json_object_get(j, "kernel")));
    json_decref(j);
    health_close(h);
}

static void reading_as_json(void **state)
{
    struct health_reading r = {1980, 3201, 41, 569000, 0x4, -1};
    (void)state;
    json_t *j = health_to_json(&r);
    assert_int_equal(json_integer_value(json_object_get(j, "sm_mhz")), 1980);
    assert_int_equal(json_integer_value(json_object_get(j, "mem_mhz")), 3201);
    assert_int_equal(json_integer_value(json_object_get(j, "temperature_c")), 41);
    assert_int_equal(json_integer_value(json_object_get(j, "power_mw")), 569000);
    assert_int_equal(json_integer_value(json_object_get(j, "throttle")), 4);
    assert_int_equal(json_integer_value(json_object_get(j, "other_processes")), -1);
    struct health_reading back;
    memset(&back, 7, sizeof back);
    health_from_json(&back, j);
    assert_int_equal(back.sm_mhz, 1980);
    assert_int_equal(back.mem_mhz, 3201);
    assert_int_equal(back.temperature_c, 41);
    assert_int_equal(back.power_mw, 569000);
    assert_int_equal(back.throttle, 4);
    assert_int_equal(back.other_processes, -1);
    json_decref(j);
    health_from_json(&back, NULL);
    assert_unknown(&back);
}

static enum health_change changed(int mhz_before, int mhz_after, int64_t before, int64_t after)
{
    struct health_reading b = {-1, -1, -1, -1, -1, -1}, a = b;
    b.sm_mhz = mhz_before;
    a.sm_mhz = mhz_after;
    b.throttle = before;
    a.throttle = after;
    return health_changed(&b, &a, NULL);
}

/* What lasts is no change; what comes or goes is; idle, application clocks and sync boost (0x1, 0x2, 0x10) hold nothing down. */
static void changes(void **state)
{
    static const int64_t bits[] = {0x4, 0x8, 0x20, 0x40, 0x80};
    (void)state;
    assert_int_equal(changed(1980, 1980, 0, 0), HEALTH_STEADY);
    assert_int_equal(changed(1980, 1965, 4, 4), HEALTH_STEADY); /* one step of 15 MHz */
    assert_int_equal(changed(1980, 1950, 4, 4), HEALTH_CLOCK);
    assert_int_equal(changed(1950, 1980, 0, 0), HEALTH_CLOCK);
    assert_int_equal(changed(-1, 1980, -1, 4), HEALTH_STEADY);
    assert_int_equal(changed(1980, -1, 4, -1), HEALTH_STEADY);
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
        assert_int_equal(changed(1980, 1980, 0, bits[i]), HEALTH_THROTTLE);
        assert_int_equal(changed(1980, 1980, bits[i], 0), HEALTH_THROTTLE);
        assert_int_equal(changed(1980, 1980, bits[i], bits[i]), HEALTH_STEADY);
    }
    assert_int_equal(changed(1980, 1980, 0x1, 0x12), HEALTH_STEADY);
    assert_string_equal(health_change_name(HEALTH_THROTTLE), "throttle");
}

static void pauses(void **state)
{
    static const double grows[] = {0.05, 0.1, 0.2, 0.4, 0.5, 0.5};
    struct health_pause p = {0};
    (void)state;
    assert_float_equal(health_pause_s(&p, HEALTH_STEADY, 30), 0, 0);
    for (size_t i = 0; i < sizeof grows / sizeof *grows; i++)
        assert_float_equal(health_pause_s(&p, HEALTH_CLOCK, 30), grows[i], 1e-12);
    assert_float_equal(health_pause_s(&p, HEALTH_CLOCK, 30), 0, 0); /* the seventh of 30: not rare any more */
    p = (struct health_pause){0};
    assert_float_equal(health_pause_s(&p, HEALTH_THROTTLE, 20), 0.05, 1e-12);
    assert_float_equal(health_pause_s(&p, HEALTH_STEADY, 20), 0, 0);
    assert_float_equal(health_pause_s(&p, HEALTH_CLOCK, 20), 0.05, 1e-12);
}

/* The letters' clocks decide where they are known: those of an arm are compared, not one arm's with the other's. */
static void clocks_of_letters(void **state)
{
    static const double samples[] = {1900, 1910, 0, 1950, 0, 0, 1850, 1852};
    const struct health_reading idle = {1980, -1, -1, -1, -1, -1}, other = {1500, -1, -1, -1, -1, -1};
    double mhz[4];
    (void)state;
    health_letter_clocks(samples, 2, mhz);
    assert_true(mhz[0] == 1905 && mhz[1] == 1950 && mhz[2] == 0 && mhz[3] == 1851);
    assert_int_equal(health_changed(&idle, &idle, mhz), HEALTH_CLOCK); /* the outer ones are 3% apart */
    mhz[3] = 1905;
    assert_int_equal(health_changed(&idle, &other, mhz), HEALTH_STEADY); /* the readings' are not asked */
    mhz[2] = 1975;
    assert_int_equal(health_changed(&idle, &idle, mhz), HEALTH_CLOCK);
    mhz[2] = 1951;
    assert_int_equal(health_changed(&idle, &idle, mhz), HEALTH_STEADY); /* though the arms differ by 2.4% */
    mhz[0] = mhz[1] = 0;
    assert_int_equal(health_changed(&idle, &other, mhz), HEALTH_CLOCK); /* neither pair is known */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_monitor),        cmocka_unit_test(family),  cmocka_unit_test(host_cpu),
        cmocka_unit_test(reading_as_json),   cmocka_unit_test(changes), cmocka_unit_test(pauses),
        cmocka_unit_test(clocks_of_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
