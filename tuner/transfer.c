/* One block of two halves. While threads take what was read into one half, the device reads into the other, where its driver can
 * do that. A half is long enough that a copy's start and the threads' waking do not count, and short enough for a cache. Writing
 * takes turns: what is written was drawn, which takes longer than the copy. */
#include "transfer.h"

#include <stdlib.h>

#define HALF ((size_t)4 << 20)

struct transfer {
    const struct device_driver *drv;
    struct device *d;
    struct parallel *threads;
    unsigned char *block;
    bool from_driver;
};

int transfer_open(struct transfer **out, const struct device_driver *drv, struct device *d, struct parallel *threads,
                  struct err *e)
{
    struct transfer *t = malloc(sizeof *t);
    if (t == NULL) return err_nomem(e);
    *t = (struct transfer){.drv = drv, .d = d, .threads = threads};
    if (drv->host_alloc != NULL) t->block = drv->host_alloc(d, 2 * HALF);
    t->from_driver = t->block != NULL;
    if (t->block == NULL) t->block = malloc(2 * HALF);
    if (t->block == NULL) {
        free(t);
        return err_nomem(e);
    }
    *out = t;
    return 0;
}

void transfer_close(struct transfer *t)
{
    if (t == NULL) return;
    if (t->from_driver)
        t->drv->host_free(t->d, t->block);
    else
        free(t->block);
    free(t);
}

struct pass {
    unsigned char *block;
    size_t at; /* of the block in the range */
    void (*make)(void *ctx, void *bytes, size_t at, size_t m);
    void (*take)(void *ctx, const void *bytes, size_t at, size_t m);
    void *ctx;
};

static void chunk(void *ctx, size_t first, size_t end)
{
    const struct pass *p = ctx;
    if (p->make != NULL)
        p->make(p->ctx, p->block + first, p->at + first, end - first);
    else
        p->take(p->ctx, p->block + first, p->at + first, end - first);
}

enum device_class transfer_write(struct transfer *t, struct device_buffer *b, size_t offset, size_t n,
                                 void (*make)(void *ctx, void *bytes, size_t at, size_t m), void *ctx, struct err *e)
{
    for (size_t at = 0; at < n; at += HALF) {
        const size_t m = n - at < HALF ? n - at : HALF;
        struct pass p = {.block = t->block, .at = at, .make = make, .ctx = ctx};
        enum device_class cls;
        parallel_for(t->threads, m, TRANSFER_CHUNK, chunk, &p);
        cls = t->drv->write(t->d, b, offset + at, t->block, m, e);
        if (cls != DEVICE_OK) return cls;
    }
    return DEVICE_OK;
}

static enum device_class read_half(struct transfer *t, struct device_buffer *b, size_t offset, const struct pass *p,
                                   size_t m, struct err *e)
{
    if (t->from_driver && t->drv->read_start != NULL)
        return t->drv->read_start(t->d, b, offset + p->at, p->block, m, e);
    return t->drv->read(t->d, b, offset + p->at, p->block, m, e);
}

enum device_class transfer_read(struct transfer *t, struct device_buffer *b, size_t offset, size_t n,
                                void (*take)(void *ctx, const void *bytes, size_t at, size_t m), void *ctx,
                                struct err *e)
{
    struct pass now = {.block = t->block, .take = take, .ctx = ctx}, next = now;
    enum device_class cls = DEVICE_OK;
    for (size_t at = 0, m; at < n; at += m) {
        const size_t left = n - at;
        m = left < HALF ? left : HALF;
        if (at == 0 && (cls = read_half(t, b, offset, &now, m, e)) != DEVICE_OK) return cls;
        if (t->from_driver && t->drv->wait != NULL && (cls = t->drv->wait(t->d, e)) != DEVICE_OK) return cls;
        next.at = at + m;
        next.block = t->block + (now.block == t->block ? HALF : 0);
        if (left > m) cls = read_half(t, b, offset, &next, left - m < HALF ? left - m : HALF, e);
        if (cls != DEVICE_OK) return cls;
        parallel_for(t->threads, m, TRANSFER_CHUNK, chunk, &now);
        now = next;
    }
    return cls;
}
