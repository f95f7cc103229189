/* device_fake.h - a device without hardware: compiles, runs and times attention kernels from a seed.
 *
 * A driver like the others (device.h), for the test binary alone. It never looks at the kernel's code: it reads the
 * `#define` prelude, computes attention on the host, and makes up a time from the parameters. Faults are planted by marker
 * lines in the kernel source and by the environment variable FATUNE_FAKE; README.md in this folder lists both. */
#ifndef DEVICE_FAKE_H
#define DEVICE_FAKE_H

#include "device.h"

extern const struct device_driver device_fake;

/* The modelled time of one launch without noise, in microseconds, of a compiled image: what a search should find least.
 * -1 when the image is not one of this driver's. */
double device_fake_true_us(const void *image, size_t n);

#endif
