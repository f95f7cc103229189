/* A loop is published under the lock: the function, the bounds and the number of helpers wanted, never more than there are
 * chunks for. A helper that wakes takes one of the wanted places and then chunks from a shared counter; the caller takes
 * chunks too. When the counter has run out, the caller withdraws the places that nobody has taken yet (on a busy machine a
 * thread may wake long after the work is done) and waits for the helpers at work. */
#include "parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#define MOST_THREADS 256

struct parallel {
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    size_t nhelpers;
    bool busy, quit;
    size_t wanted, working; /* helpers: places free, and at work */

    void (*fn)(void *ctx, size_t first, size_t end);
    void *ctx;
    size_t n, chunk;
    atomic_size_t next; /* first index that nobody has taken */

    pthread_t helpers[];
};

static void take_chunks(struct parallel *p)
{
    for (;;) {
        size_t first = atomic_fetch_add_explicit(&p->next, p->chunk, memory_order_relaxed);
        if (first >= p->n) return;
        p->fn(p->ctx, first, p->n - first > p->chunk ? first + p->chunk : p->n);
    }
}

static void *help(void *arg)
{
    struct parallel *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->wanted == 0 && !p->quit)
            pthread_cond_wait(&p->work, &p->lock);
        if (p->quit) break;
        p->wanted--;
        p->working++;
        pthread_mutex_unlock(&p->lock);
        take_chunks(p);
        pthread_mutex_lock(&p->lock);
        if (--p->working == 0) pthread_cond_signal(&p->idle);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

int parallel_wanted(int *out, struct err *e)
{
    const char *text = getenv("FATUNE_THREADS");
    char *end;
    long n;
    cpu_set_t mine;
    if (text != NULL && *text != '\0') {
        n = strtol(text, &end, 10);
        if (*end != '\0' || n < 1 || n > MOST_THREADS)
            return err_set(e, ERR_USAGE,
                           "FATUNE_THREADS is '%.40s'; give a number of threads from 1 to %d, or unset it", text,
                           MOST_THREADS);
        *out = (int)n;
        return 0;
    }
    *out = sched_getaffinity(0, sizeof mine, &mine) == 0 ? CPU_COUNT(&mine) : 1;
    if (*out > PARALLEL_MAX) *out = PARALLEL_MAX;
    return 0;
}

/* Signals are for the thread that had them before. */
static void start_helpers(struct parallel *p, size_t n)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (p->nhelpers < n && pthread_create(&p->helpers[p->nhelpers], NULL, help, p) == 0)
        p->nhelpers++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int parallel_open(struct parallel **out, int threads, struct err *e)
{
    struct parallel *p;
    if (threads <= 0 && parallel_wanted(&threads, e) != 0) return -1;
    p = calloc(1, sizeof *p + (size_t)threads * sizeof p->helpers[0]);
    if (p == NULL) return err_nomem(e);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->idle, NULL);
    start_helpers(p, (size_t)threads - 1);
    *out = p;
    return 0;
}

void parallel_close(struct parallel *p)
{
    if (p == NULL) return;
    pthread_mutex_lock(&p->lock);
    p->quit = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->nhelpers; i++)
        pthread_join(p->helpers[i], NULL);
    pthread_cond_destroy(&p->idle);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

int parallel_threads(const struct parallel *p)
{
    return p == NULL ? 1 : (int)p->nhelpers + 1;
}

/* Takes the pool for a loop; false when it is taken. */
static bool publish(struct parallel *p, size_t n, size_t chunk, void (*fn)(void *ctx, size_t first, size_t end),
                    void *ctx)
{
    const size_t chunks = (n - 1) / chunk + 1;
    bool mine;
    pthread_mutex_lock(&p->lock);
    mine = !p->busy;
    if (mine) {
        p->busy = true;
        p->fn = fn;
        p->ctx = ctx;
        p->n = n;
        p->chunk = chunk;
        atomic_store_explicit(&p->next, 0, memory_order_relaxed);
        p->wanted = chunks - 1 < p->nhelpers ? chunks - 1 : p->nhelpers;
        for (size_t i = 0; i < p->wanted; i++)
            pthread_cond_signal(&p->work);
    }
    pthread_mutex_unlock(&p->lock);
    return mine;
}

void parallel_for(struct parallel *p, size_t n, size_t chunk, void (*fn)(void *ctx, size_t first, size_t end),
                  void *ctx)
{
    if (n == 0) return;
    if (p == NULL || p->nhelpers == 0 || n <= chunk || !publish(p, n, chunk, fn, ctx)) {
        for (size_t first = 0; first < n; first += chunk)
            fn(ctx, first, n - first > chunk ? first + chunk : n);
        return;
    }
    take_chunks(p);
    pthread_mutex_lock(&p->lock);
    p->wanted = 0;
    while (p->working > 0)
        pthread_cond_wait(&p->idle, &p->lock);
    p->busy = false;
    pthread_mutex_unlock(&p->lock);
}
