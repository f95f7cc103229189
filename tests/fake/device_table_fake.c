/* The test binary's list of drivers: the fake first, so that --device auto is a machine that always exists. */
#include <string.h>

#include "device.h"
#include "device_fake.h"

#ifdef HAVE_OPENCL
extern const struct device_driver device_opencl;
#endif
#ifdef HAVE_CUDA
extern const struct device_driver device_cuda;
#endif

const struct device_driver *const device_drivers[] = {
    &device_fake,
#ifdef HAVE_OPENCL
    &device_opencl,
#endif
#ifdef HAVE_CUDA
    &device_cuda,
#endif
    NULL,
};
