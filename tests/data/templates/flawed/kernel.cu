// flawed: plain attention, a block a query row, a thread an output column, two warps at 64 columns.
//
// FAULT  what it does                                             the tool that sees it
//   1    reads far behind the last key                            memcheck
//   2    reads the weights without waiting for the other warp     racecheck
//   3    odd threads wait at a barrier that even ones pass by     synccheck
//   4    reads its output before anybody wrote it                 initcheck
//   5    writes far behind its output                             memcheck
#ifndef BATCH
#define BATCH 1
#endif
#ifndef HEADS
#define HEADS 2
#endif
#ifndef KV_HEADS
#define KV_HEADS HEADS
#endif
#ifndef SEQ_Q
#define SEQ_Q 64
#endif
#ifndef SEQ_KV
#define SEQ_KV SEQ_Q
#endif
#ifndef HEAD_DIM
#define HEAD_DIM 64
#endif
#ifndef SCALE
#define SCALE 0.125f
#endif
#ifndef FAULT
#define FAULT 0
#endif

typedef unsigned short u16;

static __device__ __forceinline__ float to_float(u16 x)
{
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}

static __device__ __forceinline__ u16 to_half(float x)
{
    u16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}

extern "C" __global__ void __launch_bounds__(HEAD_DIM)
    attention_flawed(const u16 *q_all, const u16 *k_all, const u16 *v_all, u16 *o)
{
    __shared__ float weights[SEQ_KV];
    const int column = (int)threadIdx.x, query = (int)blockIdx.x;
    const long long head = (long long)blockIdx.z * HEADS + blockIdx.y;
    const long long kv_head = (long long)blockIdx.z * KV_HEADS + blockIdx.y / (HEADS / KV_HEADS);
    const u16 *k = k_all + kv_head * SEQ_KV * HEAD_DIM, *v = v_all + kv_head * SEQ_KV * HEAD_DIM;
    const u16 *q = q_all + (head * SEQ_Q + query) * HEAD_DIM;
    float max, sum = 0, result = 0;

    for (int key = column; key < SEQ_KV; key += HEAD_DIM) {
        float logit = 0;
        for (int d = 0; d < HEAD_DIM; d++)
            logit += to_float(q[d]) * to_float(k[(long long)key * HEAD_DIM + d]);
        weights[key] = logit * (SCALE);
    }
#if FAULT == 1
    if (column == 0 && query == 0) (void)*(const volatile u16 *)(k + (1ll << 44));
#endif
#if FAULT == 4
    if (column == 0 && query == 0) (void)*(const volatile u16 *)(o + head * SEQ_Q * HEAD_DIM + 5);
#endif
#if FAULT == 5
    if (column == 0 && query == 0) *(volatile u16 *)(o + (1ll << 44)) = 0;
#endif
#if FAULT == 3
    if (column % 2) __syncthreads();
#endif
#if FAULT != 2
    __syncthreads();
#endif
    max = weights[0];
    for (int key = 1; key < SEQ_KV; key++)
        max = fmaxf(max, weights[key]);
    for (int key = 0; key < SEQ_KV; key++) {
        float weight = expf(weights[key] - max);
        sum += weight;
        result += weight * to_float(v[(long long)key * HEAD_DIM + column]);
    }
    o[(head * SEQ_Q + query) * HEAD_DIM + column] = to_half(result / sum);
}
