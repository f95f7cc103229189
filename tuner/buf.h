/* buf.h - growable text and bytes. `= {0}` is a valid empty buffer; p is NUL-terminated whenever n > 0 or after
 * buf_text. A failed allocation sets `failed` and leaves the contents as they were; later calls do nothing, so a writer
 * may check once at the end. */
#ifndef BUF_H
#define BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

struct buf {
    char *p;
    size_t n, cap;
    bool failed;
};

void buf_add(struct buf *b, const void *bytes, size_t n);
void buf_puts(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Text that will stand in XML or HTML, in an element or between quotes; control characters become '?'. */
void buf_xml(struct buf *b, const char *text);
/* The contents as a string, "" when empty. Borrowed until the next change. */
const char *buf_text(struct buf *b);
void buf_clear(struct buf *b);
void buf_free(struct buf *b);
/* 0, or ERR_SYSTEM when an allocation had failed. */
int buf_check(const struct buf *b, struct err *e);

/* Length of the UTF-8 character at text, of which n > 0 bytes are there; 0 when it is none: overlong, a surrogate, cut off. */
size_t buf_utf8(const char *text, size_t n);
/* In place, '?' for each byte of what is none: texts that were cut to a size, or come from who knows where, go into JSON. */
void buf_clean(char *text);

/* Reads a whole file, at most limit bytes (more is an error, code `code`). */
int buf_read_file(struct buf *b, const char *path, size_t limit, enum err_code code, struct err *e);
/* Writes atomically: path.tmp.<pid>, fsync, rename, fsync of the folder. */
int buf_write_file(const char *path, const void *bytes, size_t n, struct err *e);

#endif
