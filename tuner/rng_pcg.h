/* rng_pcg.h - the PCG library's engine for C: word[0..1] state low, high; word[2..3] increment low, high. Only rng.c
 * includes this. */
#ifndef RNG_PCG_H
#define RNG_PCG_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* srandom(seed, stream) of the reference implementation. */
void rng_pcg_seed(uint64_t word[4], uint64_t seed, uint64_t stream);
/* Next output; advances the state. */
uint64_t rng_pcg_next(uint64_t word[4]);
/* The next n outputs; the state moves behind them. */
void rng_pcg_fill(uint64_t word[4], uint64_t *out, size_t n);
/* The state as if n outputs had been taken. */
void rng_pcg_skip(uint64_t word[4], uint64_t n);

#ifdef __cplusplus
}
#endif

#endif
