/* npy.h - a table of numbers as a file that numpy.load reads.
 * The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0. */
#ifndef NPY_H
#define NPY_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

/* rows x columns, row-major; ERR_SYSTEM. */
int npy_write_f32(const char *path, const float *x, size_t rows, size_t columns, struct err *e);
int npy_write_f64(const char *path, const double *x, size_t rows, size_t columns, struct err *e);

#endif
