/* device_cuda.h - the parts of the CUDA driver that live in files of their own; contracts in device.h. */
#ifndef DEVICE_CUDA_H
#define DEVICE_CUDA_H

#include "cuda_api.h"
#include "device.h"

extern const struct device_driver device_cuda;

int device_cuda_enumerate(struct target *out, int max, struct buf *note);
/* Uses NVRTC alone, so it works in a process and on a machine without a driver. */
enum device_class device_cuda_compile(const struct target *t, const struct device_source *src,
                                      struct device_binary *out, struct err *e);

/* Major CUDA version in target.driver_version ("580.65.06 (CUDA 13.0)" gives 13), 0 when absent. */
int device_cuda_driver_major(const struct target *t);

#ifdef HAVE_CUDA
/* The identity of a device as nvidia-smi and NVML write it; a MIG slice is known by its name. "" and false when the
 * driver does not tell. */
#define DEVICE_CUDA_UUID (sizeof((struct target *)0)->uuid)
bool device_cuda_uuid(const struct cuda_api *api, CUdevice device, char out[DEVICE_CUDA_UUID]);
#endif

#endif
