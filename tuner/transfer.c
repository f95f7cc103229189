/* One block, filled and emptied in turn: the copy by the device's DMA and the work of the threads do not overlap, but each is
 * short. BLOCK is long enough that a copy's start and the threads' waking do not count, and short enough for a cache. */
#include "transfer.h"

#include <stdlib.h>

#define BLOCK ((size_t)8 << 20)

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
    if (drv->host_alloc != NULL) t->block = drv->host_alloc(d, BLOCK);
    t->from_driver = t->block != NULL;
    if (t->block == NULL) t->block = malloc(BLOCK);
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
    for (size_t at = 0; at < n; at += BLOCK) {
        const size_t m = n - at < BLOCK ? n - at : BLOCK;
        struct pass p = {.block = t->block, .at = at, .make = make, .ctx = ctx};
        enum device_class cls;
        parallel_for(t->threads, m, TRANSFER_CHUNK, chunk, &p);
        cls = t->drv->write(t->d, b, offset + at, t->block, m, e);
        if (cls != DEVICE_OK) return cls;
    }
    return DEVICE_OK;
}

enum device_class transfer_read(struct transfer *t, struct device_buffer *b, size_t offset, size_t n,
                                void (*take)(void *ctx, const void *bytes, size_t at, size_t m), void *ctx,
                                struct err *e)
{
    for (size_t at = 0; at < n; at += BLOCK) {
        const size_t m = n - at < BLOCK ? n - at : BLOCK;
        struct pass p = {.block = t->block, .at = at, .take = take, .ctx = ctx};
        enum device_class cls = t->drv->read(t->d, b, offset + at, t->block, m, e);
        if (cls != DEVICE_OK) return cls;
        parallel_for(t->threads, m, TRANSFER_CHUNK, chunk, &p);
    }
    return DEVICE_OK;
}
