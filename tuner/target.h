/* target.h - finds devices without loading a GPU library into this process: a child enumerates, we read its answer. */
#ifndef TARGET_H
#define TARGET_H

#include "buf.h"
#include "err.h"
#include "problem.h"

#define TARGET_MAX 64

/* All devices in the order of --device auto; what is missing and how to get it as lines in note. Returns the count, -1 on error. */
int target_list(struct target out[TARGET_MAX], struct buf *note, struct err *e);
/* device: NULL or "auto" (first CUDA device, else the first OpenCL device), a driver ("opencl"), or a driver and number ("cuda:1").
 * arch: NULL, or an architecture such as "sm_89" to plan for without a device (then device is ignored). ERR_DEVICE says what was
 * found, what is missing and how to get it. */
int target_resolve(const char *device, const char *arch, struct target *out, struct err *e);
/* A target by its short name "cuda:0". */
void target_text(const struct target *t, char *out, size_t size);

#endif
