#include "wire.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "digest.h"

#define MAGIC 0x31746166u /* "fat1" */
#define HEADER 12u

static void put32(unsigned char *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(x >> (8 * i));
}

static uint32_t get32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int wire_encode(struct buf *out, const json_t *j, struct err *e)
{
    unsigned char header[HEADER];
    char *text = json_dumps(j, JSON_COMPACT);
    size_t n;

    if (!text) return err_nomem(e);
    n = strlen(text);
    if (n > WIRE_MAX) {
        free(text);
        return err_set(e, ERR_BUG, "a message of %zu bytes exceeds the limit of %u", n, WIRE_MAX);
    }
    put32(header, MAGIC);
    put32(header + 4, (uint32_t)n);
    put32(header + 8, (uint32_t)digest_u64(text, n));
    buf_add(out, header, HEADER);
    buf_add(out, text, n);
    free(text);
    return buf_check(out, e);
}

void wire_feed(struct wire_decoder *d, const void *bytes, size_t n)
{
    buf_add(&d->in, bytes, n);
}

int wire_next(struct wire_decoder *d, json_t **out, struct err *e)
{
    const unsigned char *p = (const unsigned char *)d->in.p;
    size_t n;

    *out = NULL;
    if (buf_check(&d->in, e) != 0) return -1;
    if (d->in.n < HEADER) return 0;
    n = get32(p + 4);
    if (get32(p) != MAGIC || n > WIRE_MAX) return err_set(e, ERR_SYSTEM, "garbage on the pipe");
    if (d->in.n < HEADER + n) return 0;
    if (get32(p + 8) != (uint32_t)digest_u64(p + HEADER, n))
        return err_set(e, ERR_SYSTEM, "a damaged message on the pipe");
    *out = json_loadb((const char *)p + HEADER, n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return err_set(e, ERR_SYSTEM, "a message that is no JSON object on the pipe");
    }
    memmove(d->in.p, d->in.p + HEADER + n, d->in.n - HEADER - n);
    d->in.n -= HEADER + n;
    return 0;
}

/* Newline aside, the first n bytes of what has arrived. */
static json_t *line_message(const struct buf *in, size_t n)
{
    static const char progress[] = "progress";
    const size_t word = sizeof progress - 1;
    char *text = malloc(n + 1);
    json_t *j;

    if (!text) return NULL;
    for (size_t i = 0; i < n; i++)
        text[i] = in->p[i] >= ' ' && in->p[i] <= '~' ? in->p[i] : '?';
    j = json_pack("{s:o}", "line", json_stringn(text, n));
    if (j && (n < word || memcmp(text, progress, word) != 0 || (n > word && text[word] != ' ')))
        json_object_set_new(j, "done", json_true());
    free(text);
    return j;
}

int wire_next_line(struct wire_decoder *d, json_t **out, struct err *e)
{
    const char *end = d->in.n > 0 ? memchr(d->in.p, '\n', d->in.n) : NULL;
    size_t n = end ? (size_t)(end - d->in.p) : d->in.n;

    *out = NULL;
    if (buf_check(&d->in, e) != 0) return -1;
    if (n > WIRE_LINE_MAX) return err_set(e, ERR_SYSTEM, "a line of more than %u bytes", WIRE_LINE_MAX);
    if (!end) return 0;
    *out = line_message(&d->in, n > 0 && end[-1] == '\r' ? n - 1 : n);
    if (!*out) return err_nomem(e);
    memmove(d->in.p, d->in.p + n + 1, d->in.n - n - 1);
    d->in.n -= n + 1;
    return 0;
}

const char *wire_error(const json_t *j)
{
    const json_t *error = json_object_get(j, "error");
    const char *text = json_string_value(json_object_get(error, "text"));

    return !error ? NULL : text ? text : "no reason was given";
}

void wire_decoder_free(struct wire_decoder *d)
{
    buf_free(&d->in);
}

int wire_send(int fd, const json_t *j, struct err *e)
{
    struct buf out = {0};
    size_t done = 0;
    int rc;

    TRY(wire_encode(&out, j, e));
    while (done < out.n) {
        ssize_t n = write(fd, out.p + done, out.n - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            rc = err_set(e, ERR_SYSTEM, "cannot write to the pipe: %s", strerror(errno));
            goto out;
        }
        done += (size_t)n;
    }
out:
    buf_free(&out);
    return rc;
}

int wire_receive(int fd, struct wire_decoder *d, json_t **out, struct err *e)
{
    char chunk[65536];

    for (;;) {
        ssize_t n;
        if (wire_next(d, out, e) != 0) return -1;
        if (*out) return 0;
        n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_set(e, ERR_SYSTEM, "cannot read from the pipe: %s", strerror(errno));
        if (n == 0) return 0;
        wire_feed(d, chunk, (size_t)n);
    }
}
