/* A file is a head and the numbers as they lie in memory: magic, version, the length of what follows in two bytes, then a Python literal that
 * spaces and a line feed fill up, so that the numbers begin at a multiple of 64. */
#include "npy.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the head says little-endian"
#endif

enum { HEAD = 128, BEFORE_TEXT = 10 };

static int npy_write(const char *path, const char *type, const void *x, size_t size, size_t rows, size_t columns,
                     struct err *e)
{
    char head[HEAD + 1];
    FILE *f = fopen(path, "wbe");
    bool ok;
    int n;

    memset(head, ' ', HEAD);
    memcpy(head, "\x93NUMPY\x01\x00", 8);
    head[8] = HEAD - BEFORE_TEXT;
    head[9] = 0;
    n = snprintf(head + BEFORE_TEXT, HEAD - BEFORE_TEXT,
                 "{'descr': '%s', 'fortran_order': False, 'shape': (%zu, %zu), }", type, rows, columns);
    head[BEFORE_TEXT + n] = ' ';
    head[HEAD - 1] = '\n';
    ok = f && fwrite(head, 1, HEAD, f) == HEAD && fwrite(x, size, rows * columns, f) == rows * columns;
    if (f && fclose(f) != 0) ok = false;
    return ok ? 0 : err_set(e, ERR_SYSTEM, "cannot write %s: %s; make room there", path, strerror(errno));
}

int npy_write_f32(const char *path, const float *x, size_t rows, size_t columns, struct err *e)
{
    return npy_write(path, "<f4", x, sizeof *x, rows, columns, e);
}

int npy_write_f64(const char *path, const double *x, size_t rows, size_t columns, struct err *e)
{
    return npy_write(path, "<f8", x, sizeof *x, rows, columns, e);
}
