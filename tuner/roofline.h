/* roofline.h - where a time lies under a device's ceilings. Pure: counts and divides.
 *
 * Counted is what any attention kernel must do for a problem, however it does it (problem.h): the operations of both products over the
 * pairs that the mask leaves, one exponential a pair, and Q, K, V and O moved once. A kernel may do more; then its share is lower than
 * what the device did. At a rate measured for the same kind of work, each count has a least time; the greatest of these is the nearest
 * ceiling (Williams, Waterman & Patterson, Roofline, CACM 52(4), 2009). */
#ifndef ROOFLINE_H
#define ROOFLINE_H

#include <stdbool.h>

#include "problem.h"

enum roofline_kind { ROOFLINE_MATRIX, ROOFLINE_EXP, ROOFLINE_L2, ROOFLINE_DRAM, ROOFLINE_N };

/* A share above this is no noise: the count is wrong, or the ceiling. */
#define ROOFLINE_MOST 1.05

struct roofline_row {
    double work;     /* FLOP, exponentials, bytes, bytes */
    double rate;     /* of the ceiling, a second; 0: not known, and nothing below is */
    double least_us; /* work at that rate */
    double share;    /* least_us / us: what part of the ceiling was attained */
    bool bounds;     /* false for DRAM where the tensors may stay in the L2 between launches */
};

struct roofline {
    double us, intensity; /* FLOP for each byte */
    struct roofline_row row[ROOFLINE_N];
    int nearest;   /* of the rows that bound and are known, -1: none */
    bool exceeded; /* one of them is exceeded by more than ROOFLINE_MOST allows */
};

/* us > 0: the time of a launch. rates: of the ceilings, a second, 0 where unknown. l2_bytes: of the device, 0 unknown. cold: as measured. */
void roofline_make(struct roofline *out, const struct problem *p, double us, const double rates[ROOFLINE_N],
                   double l2_bytes, bool cold);

#endif
