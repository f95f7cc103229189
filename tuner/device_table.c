/* The drivers of this build, in the order in which `--device auto` tries them. */
#include "device.h"

#ifdef HAVE_CUDA
extern const struct device_driver device_cuda;
#endif
#ifdef HAVE_OPENCL
extern const struct device_driver device_opencl;
#endif

const struct device_driver *const device_drivers[] = {
#ifdef HAVE_CUDA
    &device_cuda,
#endif
#ifdef HAVE_OPENCL
    &device_opencl,
#endif
    NULL,
};
