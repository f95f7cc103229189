/* noise.h - what timing noise looks like, for simulations: trials of two arms and race measurements with known truth.
 *
 * ln sample = ln(base) + arm's true difference + (session x arm) effect + linear drift + common AR(1) noise + white noise
 * + spikes. The AR noise and the drift belong to the device, so both arms share them; the session effect (placement of
 * buffers and code) does not. A letter is the median of m samples. */
#ifndef NOISE_H
#define NOISE_H

#include <math.h>
#include <stdlib.h>

#include "rng.h"
#include "verdict.h"

struct noise {
    double session_sd;     /* of each arm in each session */
    double ar_sd, ar_phi;  /* stationary SD; lag-1 correlation between samples */
    double drift;          /* ln time gained from the first to the last sample of a session */
    double white_sd;       /* of each sample */
    double spike_p, spike; /* share of samples, ln height */
};

/* Assumptions made before any measurement, pessimistic for short kernels; and what an H200 showed for a 10 us kernel. */
#define NOISE_ASSUMED ((struct noise){.session_sd = 0.003, .ar_sd = 0.008, .ar_phi = 0.95, .drift = 0.02})
#define NOISE_H200 ((struct noise){.session_sd = 0.0005, .ar_sd = 0.001, .ar_phi = 0.95, .white_sd = 0.0007})

enum { NOISE_M_MAX = 32 };

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

/* One session of Q quads of m samples a letter into s, which is filled and owned by the caller. offset[k]: true ln time of
 * arm A, B in microseconds. */
static inline void noise_session(struct trial_session *s, const struct noise *p, struct rng *r, int quads, int m,
                                 const double offset[2])
{
    const double step_sd = p->ar_sd * sqrt(1.0 - p->ar_phi * p->ar_phi);
    const double arm[2] = {offset[0] + p->session_sd * rng_normal(r), offset[1] + p->session_sd * rng_normal(r)};
    double ar = p->ar_sd * rng_normal(r), x[NOISE_M_MAX];
    const int samples = quads * 4 * m;
    int at = 0;
    s->n = quads;
    s->quads = calloc((size_t)quads, sizeof *s->quads);
    if (s->quads == NULL) abort();
    for (int q = 0; q < quads; q++) {
        struct trial_quad *quad = &s->quads[q];
        quad->baab = rng_below(r, 2) == 1;
        for (int l = 0; l < 4; l++) {
            const int outer = l == 0 || l == 3;
            const int b = quad->baab ? outer : !outer;
            for (int i = 0; i < m; i++, at++) {
                ar = p->ar_phi * ar + step_sd * rng_normal(r);
                x[i] = arm[b] + ar + p->drift * at / samples;
                if (p->white_sd > 0.0) x[i] += p->white_sd * rng_normal(r);
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
