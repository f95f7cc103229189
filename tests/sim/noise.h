/* noise.h - what timing noise looks like, for simulations: trials of two arms and race measurements with known truth.
 *
 * ln sample = ln(base) + arm's true difference + (session x arm) effect + linear drift + common AR(1) noise + white noise
 * + spikes + what the first sample of a quad has more. The AR noise and the drift belong to the device, so both arms share them; the
 * session effect (placement of buffers and code) does not. A letter is the median of m samples, the orders of quads are balanced
 * (bench_quad_orders). tools/noise.py estimates these parameters from A/A trials. */
#ifndef NOISE_H
#define NOISE_H

#include <math.h>
#include <stdlib.h>

#include "bench.h"
#include "rng.h"
#include "verdict.h"

struct noise {
    double session_sd;     /* of each arm in each session */
    double ar_sd, ar_phi;  /* stationary SD; lag-1 correlation between samples */
    double drift;          /* ln time gained from the first to the last sample of a session */
    double white_sd;       /* of each sample */
    double spike_p, spike; /* share of samples, ln height */
    double first;          /* the first sample of each quad, ln height */
    double odd_p, odd;     /* share of arms in sessions that are displaced, ln distance to either side */
    bool coins;            /* the order of each quad by a coin of its own, as it should not be */
};

/* Assumptions made before any measurement, pessimistic for short kernels. */
#define NOISE_ASSUMED ((struct noise){.session_sd = 0.003, .ar_sd = 0.008, .ar_phi = 0.95, .drift = 0.02})
/* The largest of each that an H200 showed: in whole trials of kernels of 5 to 25 us, in whole trials of one of 200 us at the limit of its power, whose
 * clock wanders, and in those cut to one sample a letter (results/recorded/noise_h200/README.md). An arm's own session effect is the
 * difference's over sqrt 2; the bias of B, 0.06% at most, is a `gain` of -0.0006 to whoever simulates it. */
#define NOISE_H200                                                                                                     \
    ((struct noise){.session_sd = 0.0012,                                                                              \
                    .ar_sd = 0.0025,                                                                                   \
                    .ar_phi = 0.96,                                                                                    \
                    .white_sd = 0.002,                                                                                 \
                    .drift = 0.011,                                                                                    \
                    .spike_p = 0.0009,                                                                                 \
                    .spike = 0.3,                                                                                      \
                    .first = 0.002})
#define NOISE_H200_HOT                                                                                                 \
    ((struct noise){                                                                                                   \
        .session_sd = 0.0005, .ar_sd = 0.03, .ar_phi = 0.97, .drift = 0.07, .spike_p = 0.004, .spike = 0.026})
#define NOISE_H200_CUT ((struct noise){.session_sd = 0.0014, .white_sd = 0.004, .drift = 0.045, .first = 0.01})

enum { NOISE_M_MAX = 32, NOISE_QUADS_MAX = 64 };

static inline double noise_median(double *x, int n) /* n odd, small: insertion sort */
{
    for (int i = 1; i < n; i++) {
        const double v = x[i];
        int k = i;
        for (; k > 0 && x[k - 1] > v; k--)
            x[k] = x[k - 1];
        x[k] = v;
    }
    return x[n / 2];
}

/* An arm's ln time in one session. */
static inline double noise_arm(const struct noise *p, struct rng *r, double offset)
{
    double x = offset + p->session_sd * rng_normal(r);
    if (p->odd_p > 0.0 && rng_uniform(r) < p->odd_p) x += rng_below(r, 2) ? p->odd : -p->odd;
    return x;
}

/* One session of Q quads of m samples a letter into s, which is filled and owned by the caller. offset[k]: true ln time of
 * arm A, B in microseconds. */
static inline void noise_session(struct trial_session *s, const struct noise *p, struct rng *r, int quads, int m,
                                 const double offset[2])
{
    const double step_sd = p->ar_sd * sqrt(1.0 - p->ar_phi * p->ar_phi);
    const double arm[2] = {noise_arm(p, r, offset[0]), noise_arm(p, r, offset[1])};
    double ar = p->ar_sd * rng_normal(r), x[NOISE_M_MAX];
    const int samples = quads * 4 * m;
    int at = 0, baab[NOISE_QUADS_MAX];
    if (quads > NOISE_QUADS_MAX || m > NOISE_M_MAX) abort();
    bench_quad_orders(baab, quads, r);
    s->n = quads;
    s->quads = calloc((size_t)quads, sizeof *s->quads);
    if (s->quads == NULL) abort();
    for (int q = 0; q < quads; q++) {
        struct trial_quad *quad = &s->quads[q];
        quad->baab = p->coins ? rng_below(r, 2) == 1 : baab[q] == 1;
        for (int l = 0; l < 4; l++) {
            const int outer = l == 0 || l == 3;
            const int b = quad->baab ? outer : !outer;
            for (int i = 0; i < m; i++, at++) {
                ar = p->ar_phi * ar + step_sd * rng_normal(r);
                x[i] = arm[b] + ar + p->drift * at / samples;
                if (p->white_sd > 0.0) x[i] += p->white_sd * rng_normal(r);
                if (l == 0 && i == 0) x[i] += p->first;
                if (p->spike_p > 0.0 && rng_uniform(r) < p->spike_p) x[i] += p->spike;
            }
            quad->letter[l] = exp(noise_median(x, m));
        }
    }
}

/* A whole trial: B takes (1 - gain) of A's base_us. Free with trial_free. */
static inline struct trial noise_trial(const struct noise *p, struct rng *r, int sessions, int quads, int m,
                                       double base_us, double gain)
{
    const double offset[2] = {log(base_us), log(base_us) + log(1.0 - gain)};
    struct trial t = {.n = sessions, .m = m};
    t.sessions = calloc((size_t)sessions, sizeof *t.sessions);
    if (t.sessions == NULL) abort();
    for (int i = 0; i < sessions; i++)
        noise_session(&t.sessions[i], p, r, quads, m, offset);
    return t;
}

#endif
