/* What arrives on a pipe: frames from workers and lines from contestants. However the bytes are cut, the same messages come out and the same
 * end; what came out goes in again as it was.
 *
 * The first byte says what the rest is: 0 a stream of frames as it is; 1 lines; 2 texts, one a line, that get a right header each, since no
 * chance finds a checksum. The second gives the sizes of the pieces. */
#include <string.h>

#include "digest.h"
#include "fuzz.h"
#include "wire.h"

enum { MOST = 64 }; /* messages that are compared; more are read */

struct heard {
    json_t *message[MOST];
    int n;
    struct err e;
};

typedef int next_message(struct wire_decoder *d, json_t **out, struct err *e);

static bool drain(struct wire_decoder *d, next_message *next, struct heard *h)
{
    json_t *j;

    for (;;) {
        if (next(d, &j, &h->e) != 0) {
            FUZZ_REQUIRE(j == NULL && h->e.code != ERR_OK);
            return false;
        }
        if (!j) return true;
        FUZZ_REQUIRE(json_is_object(j));
        if (h->n < MOST)
            h->message[h->n++] = j;
        else
            json_decref(j);
    }
}

static void hear(struct heard *h, const struct buf *stream, next_message *next, unsigned sizes)
{
    struct wire_decoder d = {0};
    size_t at = 0, piece;

    *h = (struct heard){0};
    for (bool going = true; going && at < stream->n; at += piece) {
        piece = sizes == 0 ? stream->n : 1 + (sizes * (at + 1) * 2654435761u >> 7) % (sizes < 128 ? 7 : 4099);
        if (piece > stream->n - at) piece = stream->n - at;
        wire_feed(&d, stream->p + at, piece);
        going = drain(&d, next, h);
    }
    wire_decoder_free(&d);
}

/* A frame around text: right, whatever the text is. */
static void add_frame(struct buf *out, const uint8_t *text, size_t n)
{
    const uint32_t words[3] = {0x31746166u, (uint32_t)n, (uint32_t)digest_u64(text, n)};

    for (int i = 0; i < 12; i++)
        buf_add(out, &(char){(char)(words[i / 4] >> 8 * (i % 4))}, 1);
    buf_add(out, text, n);
}

static void back_again(const json_t *j)
{
    struct buf frame = {0};
    struct wire_decoder d = {0};
    struct err e = {0};
    json_t *again = NULL;

    FUZZ_REQUIRE(wire_encode(&frame, j, &e) == 0);
    wire_feed(&d, frame.p, frame.n);
    FUZZ_REQUIRE(wire_next(&d, &again, &e) == 0 && again && json_equal(j, (json_t *)(uintptr_t)again));
    json_decref(again);
    wire_decoder_free(&d);
    buf_free(&frame);
}

void fuzz_one(const uint8_t *data, size_t n)
{
    struct fuzz_bytes in = {data, n};
    unsigned mode = fuzz_byte(&in) % 3, sizes = fuzz_byte(&in);
    next_message *next = mode == 1 ? wire_next_line : wire_next;
    struct buf stream = {0};
    struct heard whole, pieces;

    if (mode == 2) {
        for (const uint8_t *end; in.n > 0; in.n -= (size_t)(end - in.p), in.p = end) {
            end = memchr(in.p, '\n', in.n);
            end = end ? end + 1 : in.p + in.n;
            add_frame(&stream, in.p, (size_t)(end - in.p));
        }
    } else {
        buf_add(&stream, in.p, in.n);
    }
    hear(&whole, &stream, next, 0);
    hear(&pieces, &stream, next, sizes);
    FUZZ_REQUIRE(whole.n == pieces.n && whole.e.code == pieces.e.code && strcmp(whole.e.text, pieces.e.text) == 0);
    for (int i = 0; i < whole.n; i++) {
        FUZZ_REQUIRE(json_equal(whole.message[i], pieces.message[i]));
        back_again(whole.message[i]);
        json_decref(whole.message[i]);
        json_decref(pieces.message[i]);
    }
    buf_free(&stream);
}
