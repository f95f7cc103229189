/* Rates are the whitepapers' peak dense FP16 figures divided by multiprocessors and boost clock, at the accumulator
 * width with the higher rate, since they serve as an upper bound: V100 125 TFLOP/s on 80 SMs at 1.53 GHz; T4 65 on 40 at
 * 1.59; A100 312 on 108 at 1.41; A40 150 on 84 at 1.74; Orin as A100; L4 121 on 60 at 2.04; H100 SXM 989 on 132 at 1.83;
 * B200 2250 on 148 at 1.85; RTX 5090 419 on 170 at 2.41. */
#include "cuda_arch.h"

#include <stdio.h>
#include <string.h>

#include "buf.h"

static const struct arch {
    int cc;
    int smem_block_kib, smem_sm_kib; /* after opt-in */
    int tensor_rate;
} archs[] = {
    {70, 96, 96, 1024},  {75, 64, 64, 1024},   {80, 163, 164, 2048},  {86, 99, 100, 1024},   {87, 163, 164, 2048},
    {89, 99, 100, 1024}, {90, 227, 228, 4096}, {100, 227, 228, 8192}, {103, 227, 228, 8192}, {120, 99, 100, 1024},
};
enum { ARCHS = sizeof archs / sizeof archs[0] };

static const struct arch *find(int cc)
{
    for (int i = 0; i < ARCHS; i++)
        if (archs[i].cc == cc) return &archs[i];
    return NULL;
}

int cuda_arch_tensor_rate(int compute_capability)
{
    const struct arch *a = find(compute_capability);
    return a ? a->tensor_rate : 0;
}

void cuda_arch_name(char *out, size_t size, int compute_capability)
{
    snprintf(out, size, "sm_%d%s", compute_capability, compute_capability >= 90 ? "a" : "");
}

static int unknown(const char *arch, struct err *e)
{
    struct buf list = {0};
    for (int i = 0; i < ARCHS; i++)
        buf_printf(&list, " sm_%d%s", archs[i].cc, archs[i].cc >= 90 ? "[a]" : "");
    err_set(e, ERR_USAGE, "unknown CUDA architecture '%.40s'; known are%s", arch, buf_text(&list));
    buf_free(&list);
    return -1;
}

int cuda_arch_target(struct target *t, const char *arch, struct err *e)
{
    int cc = 0, read = 0;
    char canonical[32];
    if (sscanf(arch, "sm_%3d%n", &cc, &read) != 1) return unknown(arch, e);
    const char *suffix = arch + read;
    const struct arch *a = find(cc);
    /* 'a' (this architecture only) from 9.0, 'f' (its family) from 10.0. */
    bool suffix_ok = !*suffix || (cc >= 90 && strcmp(suffix, "a") == 0) || (cc >= 100 && strcmp(suffix, "f") == 0);
    snprintf(canonical, sizeof canonical, "sm_%d%s", cc, suffix_ok ? suffix : "");
    if (!a || !suffix_ok || strcmp(canonical, arch) != 0) return unknown(arch, e);
    *t = (struct target){.index = -1,
                         .compute_capability = cc,
                         .smem_block_bytes = a->smem_block_kib * 1024,
                         .smem_sm_bytes = a->smem_sm_kib * 1024,
                         .regs_block = 65536,
                         .threads_block = 1024,
                         .warp = 32};
    snprintf(t->driver, sizeof t->driver, "cuda");
    snprintf(t->language, sizeof t->language, "cuda");
    snprintf(t->name, sizeof t->name, "any %s device", arch);
    snprintf(t->arch, sizeof t->arch, "%s", arch);
    return 0;
}
