/* device_cuda_ptx.h - fatune's own kernels on a CUDA device, as text that the driver compiles: PTX is the one form that every device from
 * sm_70 up can load. */
#ifndef DEVICE_CUDA_PTX_H
#define DEVICE_CUDA_PTX_H

/* fatune_canary(out, seed): out[i] = i * 0x9E3779B1 + seed, one word a thread.
 * fatune_lead(ns): waits so long, or a million turns should the timer stand.
 * fatune_same(a, b, n, out): adds to *out how many of n words are equal; any number of threads. */
extern const char device_cuda_own_ptx[];
/* fatune_stamp(out, slots): the blocks of each multiprocessor write its cycle counter and the time in ns, both in one store, to the
 * multiprocessor's slot. A module of its own, since the device works without it. */
extern const char device_cuda_stamp_ptx[];

#endif
