/* check_host.h - private to check*.c and tests: the 16-bit types on the host. */
#ifndef CHECK_HOST_H
#define CHECK_HOST_H

#include "problem.h"

/* Unit roundoff: the largest relative error of one rounding, 2^-11 in f16, 2^-8 in bf16. */
double check_unit(enum dtype d);
/* A quiet NaN of the dtype, and the two patterns that outputs are poisoned with: NaNs that no arithmetic makes. */
uint16_t check_nan(enum dtype d);
uint16_t check_poison(enum dtype d, int which);
/* values[w] for each of the 65536 words: decoding a tensor is then one load an element. Caller frees; NULL: no memory. */
float *check_decode_table(enum dtype d);

#endif
