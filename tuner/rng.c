/* rng.c - the four words are the engine's whole state; everything else is derived from its 64-bit output.
 *
 * GSL is offered the same words: a gsl_rng on the stack whose state points at a struct rng costs nothing to make, so
 * rng_normal needs no allocation and advances the caller's stream. */
#include "rng.h"

#include <gsl/gsl_randist.h>
#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "rng_pcg.h"

static void gsl_set(void *state, unsigned long seed)
{
    rng_init_raw(state, seed, 0);
}

static unsigned long gsl_get(void *state)
{
    return rng_u64(state);
}

static double gsl_get_double(void *state)
{
    return rng_uniform(state);
}

static const gsl_rng_type pcg64 = {.name = "pcg64",
                                   .max = UINT64_MAX,
                                   .min = 0,
                                   .size = sizeof(struct rng),
                                   .set = gsl_set,
                                   .get = gsl_get,
                                   .get_double = gsl_get_double};

void rng_init(struct rng *r, uint64_t seed, const char *purpose)
{
    rng_pcg_seed(r->word, seed, digest_u64(purpose, strlen(purpose)));
}

void rng_init_raw(struct rng *r, uint64_t seed, uint64_t stream)
{
    rng_pcg_seed(r->word, seed, stream);
}

uint64_t rng_u64(struct rng *r)
{
    return rng_pcg_next(r->word);
}

void rng_fill(struct rng *r, uint64_t *out, size_t n)
{
    rng_pcg_fill(r->word, out, n);
}

void rng_skip(struct rng *r, uint64_t n)
{
    rng_pcg_skip(r->word, n);
}

/* Multiply and keep the high word; outputs whose low word falls in the uneven remainder are drawn again (Lemire 2019). */
uint64_t rng_below(struct rng *r, uint64_t n)
{
    unsigned __int128 product = (unsigned __int128)rng_u64(r) * n;
    if ((uint64_t)product < n) {
        const uint64_t uneven = (0 - n) % n;
        while ((uint64_t)product < uneven)
            product = (unsigned __int128)rng_u64(r) * n;
    }
    return (uint64_t)(product >> 64);
}

double rng_uniform(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

double rng_normal(struct rng *r)
{
    const gsl_rng view = {.type = &pcg64, .state = r};
    return gsl_ran_gaussian_ziggurat(&view, 1.0);
}

void rng_shuffle(struct rng *r, int *items, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        const size_t j = (size_t)rng_below(r, i);
        const int swap = items[i - 1];
        items[i - 1] = items[j];
        items[j] = swap;
    }
}

/* Built by hand: gsl_rng_alloc calls GSL's error handler, which by default aborts, when memory is short. */
gsl_rng *rng_gsl(const struct rng *r)
{
    gsl_rng *g = malloc(sizeof *g);
    struct rng *copy = malloc(sizeof *copy);
    if (g == NULL || copy == NULL) {
        free(g);
        free(copy);
        return NULL;
    }
    *copy = *r;
    g->type = &pcg64;
    g->state = copy;
    return g;
}
