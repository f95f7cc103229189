/* check_inputs.h - private to check*.c and tests: what is fed to a kernel under check. */
#ifndef CHECK_INPUTS_H
#define CHECK_INPUTS_H

#include <stddef.h>
#include <stdint.h>

#include "draw.h"
#include "err.h"
#include "parallel.h"
#include "problem.h"

/* X(name, name in reports) */
#define CHECK_SETS(X)                                                                                                  \
    X(PLAIN, "plain")                                                                                                  \
    X(LARGE, "large_logits")                                                                                           \
    X(DOMINANT, "dominant_key")                                                                                        \
    X(EQUAL, "equal_rows")                                                                                             \
    X(GROWING, "growing_maximum")                                                                                      \
    X(SHRINKING, "shrinking_maximum")                                                                                  \
    X(OFFSET, "offset_v")

enum check_set {
#define X(name, text) CHECK_SET_##name,
    CHECK_SETS(X)
#undef X
        CHECK_SET_N
};

/* X(name, name in reports, runs it takes). In each law the last run is compared with what the runs before it predict:
 * ones: 1; linear: o(v1) + o(v2); permute and shift: the run before. */
#define CHECK_LAWS(X)                                                                                                  \
    X(ONES, "ones", 1)                                                                                                 \
    X(LINEAR, "linear", 3)                                                                                             \
    X(PERMUTE, "permute", 2)                                                                                           \
    X(SHIFT, "shift", 2)

enum check_law {
#define X(name, text, runs) CHECK_LAW_##name,
    CHECK_LAWS(X)
#undef X
        CHECK_LAW_N
};

const char *check_set_name(enum check_set s);
const char *check_law_name(enum check_law l);
int check_law_runs(enum check_law l);

/* Words of the problem's dtype. */
struct check_inputs {
    uint16_t *q, *k, *v;
};

int check_inputs_init(struct check_inputs *in, const struct problem *p, struct err *e);
void check_inputs_free(struct check_inputs *in);

/* N(0,1), from the streams "check:q", "check:k" and "check:v". The other two derive theirs from it, so that normals are drawn
 * once. */
void check_inputs_plain(struct check_inputs *in, const struct problem *p, const struct draw *d,
                        struct parallel *threads, uint64_t seed);
/* decode: check_decode_table of the dtype. threads may be NULL. */
int check_inputs_stress(struct check_inputs *out, const struct check_inputs *plain, const struct problem *p,
                        enum check_set s, uint64_t seed, const float *decode, struct parallel *threads, struct err *e);
int check_inputs_law(struct check_inputs *out, const struct check_inputs *plain, const struct problem *p,
                     enum check_law l, int run, uint64_t seed, const float *decode, struct parallel *threads,
                     struct err *e);

#endif
