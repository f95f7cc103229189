#include "chart.h"

#include <math.h>

double chart_ewma(const double *x, int n, double lambda, double mu)
{
    double z = mu;

    for (int i = 0; i < n; i++)
        z = lambda * x[i] + (1 - lambda) * z;
    return z;
}

double chart_width(double s, int n, double lambda)
{
    return CHART_LIMIT * s * sqrt(lambda / (2 - lambda) * (1 - pow(1 - lambda, 2.0 * n)));
}

bool chart_judge(struct chart *out, const double *x, int n)
{
    const double moving_range =
        1.128; /* d2 of pairs: what a mean range of two normal values is, in standard deviations */
    double sum = 0, ranges = 0, width;

    if (n < CHART_LEAST + 1) return false;
    for (int i = 0; i < n - 1; i++) {
        sum += x[i];
        if (i > 0) ranges += fabs(x[i] - x[i - 1]);
    }
    out->mu = sum / (n - 1);
    out->s = ranges / (n - 2) / moving_range;
    out->z = chart_ewma(x, n, CHART_LAMBDA, out->mu);
    width = chart_width(out->s, n, CHART_LAMBDA);
    out->low = out->mu - width;
    out->high = out->mu + width;
    out->outside = out->z < out->low || out->z > out->high;
    return true;
}
