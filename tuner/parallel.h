/* parallel.h - one loop on many cores.
 *
 * A pool of threads that sleep until parallel_for hands out chunks. What a loop computes must not depend on the number of
 * threads: a chunk's bounds follow from n and chunk alone, which thread takes it and when does not. So a chunk writes only
 * what is its own, and sums over chunks are taken in the chunks' order, or are sums of integers.
 *
 * A pool is used by the thread that opened it, in worker processes alone. NULL is a valid pool of one thread, the caller.
 * When parallel_for has returned, no thread works or spins: nothing of the pool runs beside what is timed. */
#ifndef PARALLEL_H
#define PARALLEL_H

#include <stddef.h>

#include "err.h"

#define PARALLEL_MAX 16 /* threads by default; more are a matter of memory, not of cores */

struct parallel;

/* FATUNE_THREADS when set (ERR_USAGE when it is no number from 1 to 256), else as many as this process may use cores,
 * PARALLEL_MAX at most. */
int parallel_wanted(int *threads, struct err *e);
/* Threads, the caller's included; 0: as wanted. Fewer when the system gives no more. */
int parallel_open(struct parallel **out, int threads, struct err *e);
void parallel_close(struct parallel *p);
int parallel_threads(const struct parallel *p);

/* Calls fn(ctx, first, end) for 0..chunk-1, chunk..2 chunk-1 ... up to n-1, each once, and returns when all calls have. In
 * the loop of another, or of another thread, the caller does all the work itself. chunk > 0. */
void parallel_for(struct parallel *p, size_t n, size_t chunk, void (*fn)(void *ctx, size_t first, size_t end),
                  void *ctx);

#endif
