/* wire.h - messages between supervisor and workers: a 12-byte header (magic, length, checksum; little-endian) and a JSON object.
 *
 * A reader trusts nothing: wrong magic, wrong checksum, a length over WIRE_MAX, text that is not a JSON object, all end the
 * conversation; the other side is then treated as dead. Messages name no process, path of a machine, or host.
 *
 * Programs that fatune does not own speak lines instead: UTF-8 text that ends in a newline, at most WIRE_LINE_MAX bytes. */
#ifndef WIRE_H
#define WIRE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"

#define WIRE_MAX (16u << 20)
#define WIRE_FD 3 /* the worker's end of the pipe */
#define WIRE_LINE_MAX (64u << 10)

/* Appends the frame of j to out. */
int wire_encode(struct buf *out, const json_t *j, struct err *e);

struct wire_decoder {
    struct buf in;
};
void wire_feed(struct wire_decoder *d, const void *bytes, size_t n);
/* *out is NULL when no whole message is there yet; -1: garbage (ERR_SYSTEM). New reference. */
int wire_next(struct wire_decoder *d, json_t **out, struct err *e);
/* The next line as {"line": text}, with "done" true unless its first word is `progress`. What is no
 * printable ASCII becomes '?': it goes into JSON and onto terminals. A line that is too long is garbage. */
int wire_next_line(struct wire_decoder *d, json_t **out, struct err *e);
/* What the answer j says went wrong, NULL when nothing did. Borrowed. */
const char *wire_error(const json_t *j);
void wire_decoder_free(struct wire_decoder *d);

/* Blocking, for the worker. wire_receive: *out = NULL at the end of the stream. */
int wire_send(int fd, const json_t *j, struct err *e);
int wire_receive(int fd, struct wire_decoder *d, json_t **out, struct err *e);

#endif
