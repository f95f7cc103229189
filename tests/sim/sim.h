/* sim.h - what simulations say of a rate, and the rule they try. */
#ifndef SIM_H
#define SIM_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "noise.h"
#include "verdict.h"

enum { SESSIONS = 12, QUADS = 20, M = 5 };

/* The defaults of a space, but for fewer resamples: 9,999 give the same rates while (B+1) alpha >= 1, at ten times the cost. */
static const struct verdict_rule sim_rule = {
    .min_gain = 0.005, .hedges_g = 0.8, .alpha = 0.005, .min_sessions = 8, .resamples = 999};

static inline struct noise spiky(struct noise p)
{
    p.spike_p = 0.02;
    p.spike = log(1.1);
    return p;
}

static inline void within(const char *what, double got, double low, double high)
{
    if (!(got >= low && got <= high))
        fail_msg("%s: %.3f%%, outside [%.3f, %.3f]", what, 100 * got, 100 * low, 100 * high);
}

/* Half-width of the binomial 99.9% window about a rate. */
static inline double window(double rate, int trials)
{
    return 3.29 * sqrt(rate * (1.0 - rate) / trials);
}

#endif
