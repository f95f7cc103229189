/* fuzz.h - what the targets of tests/fuzz share. A target is one function over the bytes of one input; it is linked once with libFuzzer and
 * once with replay.c, so that the corpora are tests under every compiler.
 *
 * A property that does not hold ends the process: the input is then a finding. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "problem.h"

#define FUZZ_REQUIRE(condition)                                                                                        \
    do {                                                                                                               \
        if (!(condition)) fuzz_broken(__FILE__, __LINE__, #condition);                                                 \
    } while (0)

/* The target. */
void fuzz_one(const uint8_t *data, size_t n);
/* Called once before the first input, by targets that define it. */
void fuzz_begin(void);

/* For libFuzzer and replay.c: fuzz_one with its limit of processor time. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

_Noreturn void fuzz_broken(const char *file, int line, const char *what);
/* What the commands print goes nowhere; sanitizers and libFuzzer keep descriptor 2. */
void fuzz_quiet(void);
/* A folder of this process's own, in memory where there is /dev/shm, removed at exit. */
const char *fuzz_folder(void);
/* Writes a file into it and returns its path, which stays valid until the next call. */
const char *fuzz_file(const char *name, const void *bytes, size_t n);
/* The input behind the first line that is `mark` alone, else NULL; *n is cut to what is before it. */
const uint8_t *fuzz_split(const uint8_t *data, size_t *n, const char *mark, size_t *rest);

/* Bytes that decide, taken from the front; 0 when there are none left. */
struct fuzz_bytes {
    const uint8_t *p;
    size_t n;
};
unsigned fuzz_byte(struct fuzz_bytes *b);

/* A large CUDA device and a small OpenCL one. */
extern const struct target fuzz_targets[2];

#endif
