/* test_parallel.c - every index once, whatever the number of threads; nested loops; threads that sleep afterwards; the
 * environment variable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "parallel.h"

#define MOST 5000

struct count {
    size_t n, chunk;
    atomic_int hits[MOST];
    atomic_int calls, bad;
    struct parallel *p;
};

static void count(void *ctx, size_t first, size_t end)
{
    struct count *c = ctx;
    atomic_fetch_add(&c->calls, 1);
    if (first % c->chunk != 0 || first >= end || end > c->n || (end - first != c->chunk && end != c->n))
        atomic_fetch_add(&c->bad, 1);
    for (size_t i = first; i < end && i < MOST; i++)
        atomic_fetch_add(&c->hits[i], 1);
}

static struct parallel *open_pool(int threads)
{
    struct parallel *p = NULL;
    struct err e = {0};
    assert_int_equal(parallel_open(&p, threads, &e), 0);
    assert_int_equal(parallel_threads(p), threads);
    return p;
}

static void every_index_once(void **state)
{
    static const size_t sizes[][2] = {{0, 1}, {1, 1}, {1, 7}, {7, 7}, {8, 7}, {MOST, 1}, {MOST, 64}, {4999, 100}};
    static struct count c;
    (void)state;
    for (int threads = 0; threads <= 8; threads++) {
        struct parallel *p = threads == 0 ? NULL : open_pool(threads);
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            memset(&c, 0, sizeof c);
            c.n = sizes[s][0];
            c.chunk = sizes[s][1];
            parallel_for(p, c.n, c.chunk, count, &c);
            assert_int_equal(c.bad, 0);
            assert_int_equal(c.calls, (c.n + c.chunk - 1) / c.chunk);
            for (size_t i = 0; i < MOST; i++)
                assert_int_equal(c.hits[i], i < c.n);
        }
        parallel_close(p);
    }
}

/* Many short loops in a row: a thread that wakes late must not touch the next loop's chunks twice or miss its end. */
static void loops_in_a_row(void **state)
{
    static struct count c;
    struct parallel *p = open_pool(6);
    (void)state;
    for (int round = 0; round < 3000; round++) {
        memset(&c, 0, sizeof c);
        c.n = 1 + (size_t)round % 40;
        c.chunk = 1 + (size_t)round % 3;
        parallel_for(p, c.n, c.chunk, count, &c);
        assert_int_equal(c.bad, 0);
        for (size_t i = 0; i < c.n; i++)
            assert_int_equal(c.hits[i], 1);
    }
    parallel_close(p);
}

static void outer(void *ctx, size_t first, size_t end)
{
    struct count *c = ctx;
    for (size_t i = first; i < end; i++)
        parallel_for(c->p, c->n, c->chunk, count, c);
}

static void nested_loops_are_done_by_the_caller(void **state)
{
    static struct count c;
    (void)state;
    c.n = 100;
    c.chunk = 10;
    c.p = open_pool(4);
    parallel_for(c.p, 20, 1, outer, &c);
    assert_int_equal(c.bad, 0);
    assert_int_equal(c.calls, 20 * 10);
    for (size_t i = 0; i < c.n; i++)
        assert_int_equal(c.hits[i], 20);
    parallel_close(c.p);
}

/* A pool that is idle takes no processor time. */
static void idle_threads_sleep(void **state)
{
    static struct count c;
    struct rusage before, after;
    struct timespec pause = {.tv_nsec = 100000000};
    struct parallel *p = open_pool(4);
    double used_s;
    (void)state;
    c.n = MOST;
    c.chunk = 1;
    parallel_for(p, c.n, c.chunk, count, &c);
    getrusage(RUSAGE_SELF, &before);
    nanosleep(&pause, NULL);
    getrusage(RUSAGE_SELF, &after);
    used_s = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) +
             1e-6 * (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec -
                             before.ru_stime.tv_usec);
    assert_true(used_s < 0.05);
    parallel_close(p);
}

static void environment(void **state)
{
    static const char *const bad[] = {"0", "-3", "many", "4x", "257", "99999999999999999999"};
    struct parallel *p = NULL;
    struct err e = {0};
    (void)state;
    assert_int_equal(setenv("FATUNE_THREADS", "3", 1), 0);
    assert_int_equal(parallel_open(&p, 0, &e), 0);
    assert_int_equal(parallel_threads(p), 3);
    parallel_close(p);
    p = open_pool(2); /* asked for by number: the variable does not matter */
    parallel_close(p);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        e = (struct err){0};
        assert_int_equal(setenv("FATUNE_THREADS", bad[i], 1), 0);
        assert_int_equal(parallel_open(&p, 0, &e), -1);
        assert_int_equal(e.code, ERR_USAGE);
        assert_non_null(strstr(e.text, bad[i]));
    }
    assert_int_equal(unsetenv("FATUNE_THREADS"), 0);
    assert_int_equal(parallel_open(&p, 0, &e), 0);
    assert_in_range(parallel_threads(p), 1, PARALLEL_MAX);
    parallel_close(p);
    parallel_close(NULL);
    assert_int_equal(parallel_threads(NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_index_once),
        cmocka_unit_test(loops_in_a_row),
        cmocka_unit_test(nested_loops_are_done_by_the_caller),
        cmocka_unit_test(idle_threads_sleep),
        cmocka_unit_test(environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
