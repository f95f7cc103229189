/* draw.h - input tensors: N(0,1), rounded to a 16-bit type, drawn on all cores.
 *
 * Element i of a tensor is made from number i of the stream (seed, purpose) and nothing else. So a tensor can be drawn in
 * pieces, in any order, by any number of threads, and is always the same. */
#ifndef DRAW_H
#define DRAW_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "parallel.h"
#include "problem.h"

struct draw; /* the distribution of one type: a table, 256 KiB at most; read-only */

int draw_open(struct draw **out, enum dtype type, struct err *e);
void draw_close(struct draw *d);

/* words[0..n-1] = elements first..first+n-1. The distribution is that of a normal number rounded to nearest: every word of
 * the type, subnormal or in the far tail, comes with its own probability, to 2^-48 of a column (draw.c). */
void draw_words(const struct draw *d, uint64_t seed, const char *purpose, size_t first, uint16_t *words, size_t n);
/* The same, with threads (may be NULL). */
void draw_tensor(const struct draw *d, struct parallel *threads, uint64_t seed, const char *purpose, uint16_t *words,
                 size_t n);

#endif
