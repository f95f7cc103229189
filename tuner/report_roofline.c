/* report_roofline.c - the work that the problem asks for against what the device can do (Williams, Waterman & Patterson 2009).
 *
 * Work is counted from the problem (problem.h), not from the kernel: what a kernel does beyond it is its own loss. */
#include <math.h>

#include "report_private.h"
#include "report_space_private.h"

/* What the device can do, in the order in which the report names it. The one place to add a ceiling, such as a measured one: a compute
 * ceiling has "tflops", a memory ceiling "gbytes_s". */
static json_t *ceilings(const struct target *t)
{
    json_t *list = json_array();

    if (t->peak_flops > 0)
        json_array_append_new(list, json_pack("{s:s,s:s,s:f}", "kind", "compute", "name",
                                              "matrix units at the top clock, computed from what the driver says",
                                              "tflops", t->peak_flops / 1e12));
    if (t->peak_bytes_s > 0)
        json_array_append_new(list, json_pack("{s:s,s:s,s:f}", "kind", "memory", "name",
                                              "device memory, computed from what the driver says", "gbytes_s",
                                              t->peak_bytes_s / 1e9));
    return list;
}

json_t *report_roofline(const struct problem *p, const struct target *t, double us)
{
    double flops = problem_flops(p), bytes = problem_bytes(p), floor_us = problem_floor_us(p, t);
    double compute_us = t->peak_flops > 0 ? flops / t->peak_flops * 1e6 : NAN;
    double memory_us = t->peak_bytes_s > 0 ? bytes / t->peak_bytes_s * 1e6 : NAN;

    return json_pack("{s:f,s:f,s:f,s:o,s:o,s:o,s:b,s:o,s:o,s:o,s:o}", "gflop", flops / 1e9, "mbytes", bytes / 1e6,
                     "flop_per_byte", flops / bytes, "ceilings", ceilings(t), "compute_us", real(compute_us),
                     "memory_us", real(memory_us), "fits_l2", bytes <= (double)t->l2_bytes, "floor_us",
                     real(floor_us > 0 ? floor_us : NAN), "us", real(us), "tflops", real(flops / us / 1e6),
                     "floor_percent", real(floor_us > 0 ? 100 * floor_us / us : NAN));
}
