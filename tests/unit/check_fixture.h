/* check_fixture.h - shared by the tests of check: a problem that is small, ragged and grouped. */
#ifndef CHECK_FIXTURE_H
#define CHECK_FIXTURE_H

#include "problem.h"

#define ARRAY(a) (sizeof(a) / sizeof(a)[0])

static const struct problem small = {.batch = 2,
                                     .heads = 2,
                                     .kv_heads = 1,
                                     .seq_q = 36,
                                     .seq_kv = 40,
                                     .head_dim = 16,
                                     .dtype = DTYPE_F16,
                                     .mask = MASK_NONE,
                                     .scale = 0.25,
                                     .lse = true};

#endif
