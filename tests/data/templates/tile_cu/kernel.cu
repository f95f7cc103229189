#include <cuda_fp16.h>
#ifndef STAGES
#define STAGES 2
#endif
#ifndef BLOCK_M
#define BLOCK_M 64
#endif

extern "C" __global__ void tile(const __half *q, const __half *k, const __half *v, __half *o, float *lse)
{
#pragma unroll STAGES
    for (int i = 0; i < STAGES; i++)
        o[blockIdx.x * BLOCK_M + threadIdx.x] = q[i];
#if WRITE_LSE
    lse[0] = SCALE;
#endif
}
