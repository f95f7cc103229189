/* rng.h - PCG64 (XSL-RR 128/64, O'Neill 2014) streams, offered to GSL.
 *
 * A stream is keyed by (seed, purpose): the purpose's digest picks the PCG increment, so that streams of one seed never
 * overlap and adding a consumer does not disturb another's numbers. The state is plain data: copy a struct rng to fork
 * its future, save the four words to resume it. */
#ifndef RNG_H
#define RNG_H

#include <gsl/gsl_rng.h>
#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t word[4]; /* state low, high; increment low, high */
};

void rng_init(struct rng *r, uint64_t seed, const char *purpose);
/* The reference implementation's srandom(seed, stream), for test vectors. */
void rng_init_raw(struct rng *r, uint64_t seed, uint64_t stream);
uint64_t rng_u64(struct rng *r);
/* The next n numbers at once: what n calls of rng_u64 would give, at a fraction of their cost. */
void rng_fill(struct rng *r, uint64_t *out, size_t n);
/* Leaves n numbers out, in a time that grows with log n: so that threads can draw parts of one stream. */
void rng_skip(struct rng *r, uint64_t n);
/* Uniform in 0..n-1, without bias; n > 0. */
uint64_t rng_below(struct rng *r, uint64_t n);
double rng_uniform(struct rng *r); /* [0,1), 53 bits */
double rng_normal(struct rng *r);  /* N(0,1), GSL's ziggurat over this stream */
void rng_shuffle(struct rng *r, int *items, size_t n);
/* A GSL generator that draws from a copy of r; free with gsl_rng_free. NULL when out of memory. */
gsl_rng *rng_gsl(const struct rng *r);

#endif
