/* transfer.h - tensors between a device and all cores of the host.
 *
 * A range of a device buffer passes through one block of host memory that the device copies fastest with (page-locked on
 * CUDA), and threads make or take the block's bytes chunk by chunk while they lie in a cache. So a tensor can be drawn,
 * compared or kept without a second copy of it in memory. The device is used by the caller's thread alone. */
#ifndef TRANSFER_H
#define TRANSFER_H

#include <stddef.h>

#include "device.h"
#include "err.h"
#include "parallel.h"

#define TRANSFER_CHUNK 131072u /* bytes of a chunk; the last of a range may be shorter */

struct transfer;

/* Borrows the driver, the device and the threads (NULL: the caller's alone). */
int transfer_open(struct transfer **out, const struct device_driver *drv, struct device *d, struct parallel *threads,
                  struct err *e);
/* Before the device is closed. */
void transfer_close(struct transfer *t);

/* Writes n bytes from offset on: make(ctx, bytes, at, m) fills in what goes to offset + at, at a multiple of TRANSFER_CHUNK.
 * Called by several threads at once, once for each chunk. Returns the device's class, e set as by device.h's write. */
enum device_class transfer_write(struct transfer *t, struct device_buffer *b, size_t offset, size_t n,
                                 void (*make)(void *ctx, void *bytes, size_t at, size_t m), void *ctx, struct err *e);
/* Reads n bytes from offset on: take(ctx, bytes, at, m) is given what lies at offset + at. After an error some chunks may
 * have been taken. */
enum device_class transfer_read(struct transfer *t, struct device_buffer *b, size_t offset, size_t n,
                                void (*take)(void *ctx, const void *bytes, size_t at, size_t m), void *ctx,
                                struct err *e);

#endif
