/* cuda_arch.h - limits and rates of NVIDIA architectures, for planning without a device and for the roofline. */
#ifndef CUDA_ARCH_H
#define CUDA_ARCH_H

#include <stddef.h>

#include "err.h"
#include "problem.h"

/* Fills *t from "sm_90", "sm_90a" or "sm_120f": per-block and per-multiprocessor limits of the CUDA programming guide,
 * table "Technical specifications per compute capability". What differs between products (multiprocessors, clocks,
 * memory) stays 0. ERR_USAGE lists the known names. */
int cuda_arch_target(struct target *t, const char *arch, struct err *e);

/* What to compile for on a device of this compute capability: "sm_89", and with the architecture's own features from
 * 9.0 up ("sm_90a"). */
void cuda_arch_name(char *out, size_t size, int compute_capability);

/* Dense 16-bit matrix operations (a multiply and an add are two) a clock and multiprocessor; 0 when unknown. */
int cuda_arch_tensor_rate(int compute_capability);

#endif
