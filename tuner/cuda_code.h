/* cuda_code.h - reads what the CUDA compiler made: the log of ptxas, PTX text and the cubin (an ELF64 file).
 *
 * Pure functions on bytes; needs no CUDA. The bytes may be hostile: every read is bounded. */
#ifndef CUDA_CODE_H
#define CUDA_CODE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device.h"
#include "digest.h"
#include "err.h"

/* Fills registers, shared, stack, spills and barriers from what `ptxas -v` says of the kernel `entry`; -1 where it says
 * nothing. Spills and stack are the largest over the kernel and the functions it calls. Leaves tensor_ops. */
void cuda_code_read_log(const char *log, const char *entry, struct device_resources *r);

/* Matrix instructions of PTX: X(name) */
#define CUDA_CODE_TENSOR(X) X("mma") X("wmma.mma") X("wgmma.mma_async") X("tcgen05.mma")
/* How many of each are in PTX text, comments and strings left out; and of all together. New reference, NULL when out of memory. */
json_t *cuda_code_tensor_json(const char *ptx);
int64_t cuda_code_tensor_ops(const char *ptx);

/* A complete little-endian ELF64 file for NVIDIA devices, with all its sections inside n bytes? */
bool cuda_code_image_ok(const void *image, size_t n);
bool cuda_code_has_kernel(const void *image, size_t n, const char *entry);

/* SHA-256 of the code and data of a cubin without names: the sections that are loaded, what .nv.info says of resources,
 * and the relocations; function names become "the entry" and "another". Symbol numbers are left out. Equal digests mean
 * equal behaviour and equal resources; out is "" when the image is no cubin or lacks the entry. -1 when out of
 * memory. */
int cuda_code_digest(char out[DIGEST_HEX], const void *image, size_t n, const char *entry, struct err *e);

#endif
