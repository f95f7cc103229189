/* fake_attention.h - attention on the host in float, fast enough for tests at (2, 8, 512, 64). */
#ifndef FAKE_ATTENTION_H
#define FAKE_ATTENTION_H

#include <stdbool.h>
#include <stdint.h>

#include "problem.h"

struct fake_attention {
    bool subtract_maximum; /* false: the classic mistake */
    bool round_weights;    /* to the dtype, as a straightforward low-precision computation does */
    double scale;          /* times the logits, in place of p->scale */
};

/* decode: 65536 values. o: problem_q_elements floats; lse: problem_rows floats. 0, or -1 when out of memory. */
int fake_attention(const struct problem *p, const struct fake_attention *how, const uint16_t *q, const uint16_t *k,
                   const uint16_t *v, const float *decode, float *o, float *lse);

#endif
