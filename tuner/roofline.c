#include "roofline.h"

void roofline_make(struct roofline *out, const struct problem *p, double us, const double rates[ROOFLINE_N],
                   double l2_bytes, bool cold)
{
    const double flops = problem_flops(p), bytes = problem_bytes(p);
    const double work[ROOFLINE_N] = {flops, flops / (4.0 * p->head_dim), bytes, bytes}; /* 4 head_dim FLOP a pair */

    *out = (struct roofline){.us = us, .intensity = flops / bytes, .nearest = -1};
    for (int i = 0; i < ROOFLINE_N; i++) {
        struct roofline_row *r = &out->row[i];
        *r = (struct roofline_row){
            .work = work[i], .rate = rates[i], .bounds = i != ROOFLINE_DRAM || cold || bytes > l2_bytes};
        if (!(r->rate > 0)) continue;
        r->least_us = 1e6 * r->work / r->rate;
        r->share = r->least_us / us;
        if (!r->bounds) continue;
        if (out->nearest < 0 || r->share > out->row[out->nearest].share) out->nearest = i;
        if (r->share > ROOFLINE_MOST) out->exceeded = true;
    }
}
