/* test_transfer.c - every byte once and in its place, for any length, offset and number of threads; a device whose reads
 * land only when they are waited for; errors of the device at every call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "transfer.h"

#define MIB ((size_t)1 << 20)

/* A device of plain memory. Call number `fail_at` (from 1) fails. */
struct device {
    int calls, fail_at;
    bool pending; /* a read that was started: */
    const unsigned char *from;
    unsigned char *to;
    size_t n;
    int given; /* blocks of host memory that were not given back */
};

struct device_buffer {
    unsigned char *bytes;
    size_t n;
};

static enum device_class step(struct device *d, struct err *e)
{
    if (++d->calls != d->fail_at) return DEVICE_OK;
    err_set(e, ERR_DEVICE, "call %d", d->calls);
    return DEVICE_STICKY;
}

static enum device_class memory_write(struct device *d, struct device_buffer *b, size_t offset, const void *src,
                                      size_t n, struct err *e)
{
    assert_true(offset + n <= b->n);
    memcpy(b->bytes + offset, src, n);
    return step(d, e);
}

static enum device_class memory_read(struct device *d, struct device_buffer *b, size_t offset, void *dst, size_t n,
                                     struct err *e)
{
    assert_true(offset + n <= b->n);
    memcpy(dst, b->bytes + offset, n);
    return step(d, e);
}

static enum device_class memory_read_start(struct device *d, struct device_buffer *b, size_t offset, void *dst,
                                           size_t n, struct err *e)
{
    enum device_class cls = step(d, e);
    assert_true(!d->pending && offset + n <= b->n);
    if (cls != DEVICE_OK) return cls;
    memset(dst, 0xee, n);
    d->pending = true;
    d->from = b->bytes + offset;
    d->to = dst;
    d->n = n;
    return DEVICE_OK;
}

static enum device_class memory_wait(struct device *d, struct err *e)
{
    if (d->pending) memcpy(d->to, d->from, d->n);
    d->pending = false;
    return step(d, e);
}

static void *memory_host_alloc(struct device *d, size_t bytes)
{
    d->given++;
    return malloc(bytes);
}

static void *memory_host_none(struct device *d, size_t bytes)
{
    (void)d;
    (void)bytes;
    return NULL;
}

static void memory_host_free(struct device *d, void *p)
{
    d->given--;
    free(p);
}

static const struct device_driver drivers[] = {
    {.name = "plain", .write = memory_write, .read = memory_read},
    {.name = "started",
     .write = memory_write,
     .read = memory_read,
     .host_alloc = memory_host_alloc,
     .host_free = memory_host_free,
     .read_start = memory_read_start,
     .wait = memory_wait},
    {.name = "out of host memory",
     .write = memory_write,
     .read = memory_read,
     .host_alloc = memory_host_none,
     .host_free = memory_host_free,
     .read_start = memory_read_start,
     .wait = memory_wait},
};

static unsigned char pattern(size_t at)
{
    return (unsigned char)(at * 2654435761u >> 13);
}

struct seen {
    size_t n;
    atomic_size_t bytes;
    atomic_int bad;
};

static void range(struct seen *s, size_t at, size_t m)
{
    atomic_fetch_add(&s->bytes, m);
    if (at % TRANSFER_CHUNK != 0 || m == 0 || at + m > s->n || (m != TRANSFER_CHUNK && at + m != s->n))
        atomic_fetch_add(&s->bad, 1);
}

static void make(void *ctx, void *bytes, size_t at, size_t m)
{
    range(ctx, at, m);
    for (size_t i = 0; i < m; i++)
        ((unsigned char *)bytes)[i] = pattern(at + i);
}

static void take(void *ctx, const void *bytes, size_t at, size_t m)
{
    struct seen *s = ctx;
    range(s, at, m);
    for (size_t i = 0; i < m; i++)
        if (((const unsigned char *)bytes)[i] != pattern(at + i)) atomic_fetch_add(&s->bad, 1);
}

static const size_t sizes[] = {0,           1,           TRANSFER_CHUNK - 1, TRANSFER_CHUNK, TRANSFER_CHUNK + 2,
                               4 * MIB - 1, 4 * MIB,     4 * MIB + 1,        8 * MIB,        8 * MIB + 4096,
                               12 * MIB,    13 * MIB + 7};

static void each_byte_once(void **state)
{
    struct device_buffer b = {.n = 14 * MIB};
    (void)state;
    b.bytes = malloc(b.n);
    assert_non_null(b.bytes);
    for (size_t v = 0; v < 3; v++)
        for (int threads = 1; threads <= 4; threads += 3) {
            struct device d = {0};
            struct parallel *p = NULL;
            struct transfer *t = NULL;
            struct err e = {0};
            assert_int_equal(parallel_open(&p, threads, &e), 0);
            assert_int_equal(transfer_open(&t, &drivers[v], &d, p, &e), 0);
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
                struct seen w = {.n = sizes[i]}, r = w;
                const size_t offset = 512 * i;
                memset(b.bytes, 0x55, b.n);
                assert_int_equal(transfer_write(t, &b, offset, w.n, make, &w, &e), DEVICE_OK);
                assert_int_equal(transfer_read(t, &b, offset, r.n, take, &r, &e), DEVICE_OK);
                assert_int_equal(w.bytes, w.n);
                assert_int_equal(r.bytes, r.n);
                assert_int_equal(w.bad + r.bad, 0);
                for (size_t k = 0; k < offset; k++)
                    assert_int_equal(b.bytes[k], 0x55);
                assert_int_equal(b.bytes[offset + w.n], 0x55);
            }
            assert_false(d.pending);
            transfer_close(t);
            parallel_close(p);
            assert_int_equal(d.given, 0);
        }
    free(b.bytes);
}

/* Whichever call of the device fails, its class and words come back, and no read is left under way. */
static void errors_come_back(void **state)
{
    struct device_buffer b = {.n = 14 * MIB};
    (void)state;
    b.bytes = calloc(1, b.n);
    assert_non_null(b.bytes);
    for (size_t v = 0; v < 2; v++)
        for (int reading = 0; reading < 2; reading++) {
            int fail_at = 1;
            for (;; fail_at++) {
                struct device d = {.fail_at = fail_at};
                struct transfer *t = NULL;
                struct err e = {0};
                struct seen s = {.n = 13 * MIB};
                enum device_class cls;
                assert_int_equal(transfer_open(&t, &drivers[v], &d, NULL, &e), 0);
                cls =
                    reading ? transfer_read(t, &b, 0, s.n, take, &s, &e) : transfer_write(t, &b, 0, s.n, make, &s, &e);
                assert_false(d.pending);
                transfer_close(t);
                if (d.calls < fail_at) {
                    assert_int_equal(cls, DEVICE_OK);
                    break;
                }
                assert_int_equal(cls, DEVICE_STICKY);
                assert_int_equal(e.code, ERR_DEVICE);
                assert_int_equal(d.calls, fail_at);
            }
            assert_true(fail_at > 4);
        }
    free(b.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_byte_once),
        cmocka_unit_test(errors_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
