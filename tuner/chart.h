/* chart.h - is a machine still what it was? A control chart of one number a night: the time of a kernel that stays the same.
 *
 * EWMA chart (Roberts 1959; NIST/SEMATECH e-Handbook, 6.3.2.4): z_0 = mu, z_i = lambda x_i + (1 - lambda) z_{i-1}; out of control where
 * z_n lies outside mu +- 3 s sqrt(lambda/(2-lambda) (1 - (1-lambda)^{2n})). mu is the mean of the values before the newest, s their mean
 * moving range / 1.128 (ibid., 6.3.2.2), so that a slow change does not hide itself in s. It reports; nothing is decided by it. Pure. */
#ifndef CHART_H
#define CHART_H

#include <stdbool.h>

#define CHART_LAMBDA 0.2
#define CHART_LIMIT 3.0
#define CHART_LEAST 8 /* earlier values that the limits need */

struct chart {
    double mu, s;     /* of the earlier values */
    double z;         /* the average after the newest */
    double low, high; /* its limits now */
    bool outside;
};

/* z_n over n values from z_0 = mu. */
double chart_ewma(const double *x, int n, double lambda, double mu);
/* Half-width of the limits after n values. */
double chart_width(double s, int n, double lambda);
/* x, n: oldest first, the newest last, finite. false: fewer than CHART_LEAST + 1 of them, nothing is filled. Without any spread every change
 * is outside. */
bool chart_judge(struct chart *out, const double *x, int n);

#endif
