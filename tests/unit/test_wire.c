/* Frames: what was sent arrives however it is cut; anything else ends the conversation without harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rng.h"
#include "wire.h"

#define HEADER 12

static struct buf frame_of(json_t *j)
{
    struct buf b = {0};
    struct err e = {0};

    assert_int_equal(wire_encode(&b, j, &e), 0);
    json_decref(j);
    return b;
}

static json_t *sample(int i)
{
    return json_pack("{s:i,s:s,s:[f,n,b]}", "number", i, "text", "line\n\"quoted\" \xc3\xa9", "list", 0.1, i % 2);
}

static void round_trip(void **state)
{
    struct wire_decoder d = {0};
    struct buf all = {0};
    struct err e = {0};
    json_t *j;

    (void)state;
    for (int i = 0; i < 5; i++) {
        json_t *sent = sample(i);
        assert_int_equal(wire_encode(&all, sent, &e), 0); /* appends */
        json_decref(sent);
    }
    /* Byte by byte: no message comes too early, and none is missed. */
    int n = 0;
    size_t whole = 0;
    for (size_t i = 0; i < all.n; i++) {
        wire_feed(&d, all.p + i, 1);
        assert_int_equal(wire_next(&d, &j, &e), 0);
        if (!j) continue;
        json_t *want = sample(n++);
        assert_true(json_equal(j, want));
        json_decref(want);
        json_decref(j);
        whole = i + 1;
    }
    assert_int_equal(n, 5);
    assert_int_equal(whole, all.n);
    /* All at once. */
    wire_feed(&d, all.p, all.n);
    for (n = 0; wire_next(&d, &j, &e) == 0 && j; n++)
        json_decref(j);
    assert_int_equal(n, 5);
    assert_int_equal(d.in.n, 0);
    wire_decoder_free(&d);
    wire_decoder_free(&d);
    buf_free(&all);
}

/* The frame's bytes are a contract between two versions on two machines. */
static void layout(void **state)
{
    struct buf b = frame_of(json_pack("{s:i}", "a", 1));

    (void)state;
    assert_int_equal(b.n, HEADER + 7);
    assert_memory_equal(b.p, "fat1\7\0\0\0", 8);
    assert_memory_equal(b.p + HEADER, "{\"a\":1}", 7);
    /* The checksum: the first four bytes of SHA-256 of {"a":1}. */
    assert_memory_equal(b.p + 8, "\x01\x5a\xbd\x7f", 4);
    buf_free(&b);
}

static void refuse(const void *bytes, size_t n, const char *words)
{
    struct wire_decoder d = {0};
    struct err e = {0};
    json_t *j;

    wire_feed(&d, bytes, n);
    assert_int_equal(wire_next(&d, &j, &e), -1);
    assert_null(j);
    assert_int_equal(e.code, ERR_SYSTEM);
    assert_non_null(strstr(e.text, words));
    wire_decoder_free(&d);
}

static void garbage(void **state)
{
    struct buf good = frame_of(sample(1)), b;

    (void)state;
    /* Each byte of a frame, changed: the length may then ask for more, which never comes; nothing else is taken for a message. */
    for (size_t i = 0; i < good.n; i++) {
        struct wire_decoder d = {0};
        struct err e = {0};
        json_t *j;
        char *bytes = malloc(good.n);
        assert_non_null(bytes);
        memcpy(bytes, good.p, good.n);
        bytes[i] ^= 4;
        wire_feed(&d, bytes, good.n);
        int rc = wire_next(&d, &j, &e);
        assert_null(j);
        if (i < 4 || i >= 8) assert_int_equal(rc, -1);
        wire_decoder_free(&d);
        free(bytes);
    }
    refuse("GET / HTTP/1.1\r\n", 16, "garbage");
    refuse("fat1\xff\xff\xff\xff\0\0\0\0", HEADER, "garbage");
    refuse("fat1\1\0\0\1\0\0\0\0", HEADER, "garbage"); /* one byte over the limit */
    b = frame_of(json_pack("[i,i]", 1, 2));
    refuse(b.p, b.n, "no JSON object");
    buf_free(&b);
    /* A right checksum over wrong text: of "null", and of nothing. */
    refuse("fat1\4\0\0\0\x74\x23\x4e\x98"
           "null",
           HEADER + 4, "no JSON object");
    refuse("fat1\0\0\0\0\xe3\xb0\xc4\x42", HEADER, "no JSON object");
    buf_free(&good);
}

/* A length near the limit reserves nothing before the bytes are there. */
static void long_promise(void **state)
{
    struct wire_decoder d = {0};
    struct err e = {0};
    json_t *j;

    (void)state;
    wire_feed(&d, "fat1\0\0\0\1\0\0\0\0{", HEADER + 1);
    assert_int_equal(wire_next(&d, &j, &e), 0);
    assert_null(j);
    assert_true(d.in.cap < 4096);
    wire_decoder_free(&d);
}

static void too_long(void **state)
{
    struct buf b = {0};
    struct err e = {0};
    char *text = malloc(WIRE_MAX + 1);
    json_t *j;

    (void)state;
    assert_non_null(text);
    memset(text, 'a', WIRE_MAX);
    text[WIRE_MAX] = '\0';
    j = json_pack("{s:s}", "t", text);
    assert_int_equal(wire_encode(&b, j, &e), -1);
    assert_int_equal(e.code, ERR_BUG);
    assert_int_equal(b.n, 0);
    json_decref(j);
    e = (struct err){0};
    assert_int_equal(wire_encode(&b, NULL, &e), -1);
    assert_true(e.code != ERR_OK);
    free(text);
    buf_free(&b);
}

/* Random bytes, frames with random damage, and random cuts; a fixed seed. The sanitizers watch. */
static void fuzz(void **state)
{
    struct rng r;
    struct buf good = {0};
    int messages = 0, refused = 0;

    (void)state;
    rng_init(&r, 7, "wire");
    for (int i = 0; i < 3; i++) {
        json_t *j = sample(i);
        assert_int_equal(wire_encode(&good, j, NULL), 0);
        json_decref(j);
    }
    for (int round = 0; round < 4000; round++) {
        struct wire_decoder d = {0};
        struct buf b = {0};
        int rc = 0;
        if (round % 2) {
            buf_add(&b, good.p, good.n);
            for (uint64_t k = rng_below(&r, 3); k > 0; k--)
                b.p[rng_below(&r, b.n)] = (char)rng_u64(&r);
            if (rng_below(&r, 3) == 0) b.n = (size_t)rng_below(&r, b.n);
        } else {
            if (rng_below(&r, 2)) buf_add(&b, "fat1", 4);
            for (uint64_t k = rng_below(&r, 100); k > 0; k--)
                buf_add(&b, (char[]){(char)(rng_below(&r, 4) ? rng_u64(&r) : 0)}, 1);
        }
        for (size_t at = 0; at < b.n && rc == 0;) {
            size_t n = 1 + (size_t)rng_below(&r, b.n - at);
            char *piece = malloc(n); /* its own allocation, so that reading past it is seen */
            json_t *j;
            assert_non_null(piece);
            memcpy(piece, b.p + at, n);
            wire_feed(&d, piece, n);
            free(piece);
            at += n;
            while ((rc = wire_next(&d, &j, NULL)) == 0 && j) {
                assert_true(json_is_object(j));
                json_decref(j);
                messages++;
            }
        }
        refused += rc != 0;
        wire_decoder_free(&d);
        buf_free(&b);
    }
    assert_true(messages > 1000 && refused > 1000); /* both ways were taken */
    buf_free(&good);
}

struct sender {
    int fd;
    int rc;
};

static void *send_two(void *p)
{
    struct sender *s = p;
    char *text = malloc(1 << 20);
    json_t *j;

    if (!text) return NULL;
    memset(text, 'b', (1 << 20) - 1);
    text[(1 << 20) - 1] = '\0';
    j = json_pack("{s:s}", "text", text); /* far more than a pipe holds */
    s->rc = wire_send(s->fd, j, NULL) == 0 && wire_send(s->fd, j, NULL) == 0 ? 0 : -1;
    json_decref(j);
    free(text);
    close(s->fd);
    return NULL;
}

static void blocking(void **state)
{
    struct wire_decoder d = {0};
    struct err e = {0};
    struct sender s = {.rc = -1};
    pthread_t thread;
    int fds[2];
    json_t *j;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    s.fd = fds[1];
    assert_int_equal(pthread_create(&thread, NULL, send_two, &s), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(wire_receive(fds[0], &d, &j, &e), 0);
        assert_int_equal(json_string_length(json_object_get(j, "text")), (1 << 20) - 1);
        json_decref(j);
    }
    assert_int_equal(wire_receive(fds[0], &d, &j, &e), 0); /* the end of the stream */
    assert_null(j);
    pthread_join(thread, NULL);
    assert_int_equal(s.rc, 0);
    close(fds[0]);
    assert_int_equal(wire_receive(fds[0], &d, &j, &e), -1);
    j = json_object();
    assert_int_equal(wire_send(fds[0], j, &(struct err){0}), -1);
    json_decref(j);
    wire_decoder_free(&d);
}

/* ---- lines ---- */

static void lines(void **state)
{
    static const struct {
        const char *in, *line;
        bool done;
    } rows[] = {{"ready\n", "ready", true},
                {"time 5.25\r\n", "time 5.25", true},
                {"\n", "", true},
                {"progress\n", "progress", false},
                {"progress 3 of 4\n", "progress 3 of 4", false},
                {"progressive ideas\n", "progressive ideas", true},
                {"hello \303\251\033[31m\tx\n", "hello ???[31m?x", true}};
    struct wire_decoder d = {0};
    struct err e = {0};
    json_t *j;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) /* byte by byte, and nothing before the newline */
        for (const char *p = rows[i].in; *p; p++) {
            wire_feed(&d, p, 1);
            assert_int_equal(wire_next_line(&d, &j, &e), 0);
            assert_int_equal(j != NULL, *p == '\n');
            if (!j) continue;
            assert_string_equal(json_string_value(json_object_get(j, "line")), rows[i].line);
            assert_int_equal(json_is_true(json_object_get(j, "done")), rows[i].done);
            json_decref(j);
        }
    wire_feed(&d, "one\ntwo\0!\nthr", 13); /* several at once, a NUL, and a rest */
    assert_int_equal(wire_next_line(&d, &j, &e), 0);
    assert_string_equal(json_string_value(json_object_get(j, "line")), "one");
    json_decref(j);
    assert_int_equal(wire_next_line(&d, &j, &e), 0);
    assert_string_equal(json_string_value(json_object_get(j, "line")), "two?!");
    json_decref(j);
    assert_int_equal(wire_next_line(&d, &j, &e), 0);
    assert_null(j);
    wire_decoder_free(&d);
}

static void long_line(void **state)
{
    struct wire_decoder d = {0};
    struct err e = {0};
    json_t *j;

    (void)state;
    for (unsigned i = 0; i < WIRE_LINE_MAX; i++)
        wire_feed(&d, "x", 1);
    assert_int_equal(wire_next_line(&d, &j, &e), 0);
    assert_null(j);
    wire_feed(&d, "x", 1);
    assert_int_equal(wire_next_line(&d, &j, &e), -1);
    assert_non_null(strstr(e.text, "65536"));
    wire_decoder_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),   cmocka_unit_test(layout),   cmocka_unit_test(garbage),
        cmocka_unit_test(long_promise), cmocka_unit_test(too_long), cmocka_unit_test(fuzz),
        cmocka_unit_test(blocking),     cmocka_unit_test(lines),    cmocka_unit_test(long_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
