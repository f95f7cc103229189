// reference_cuda: plain attention in f32, which checks every other kernel. No header, any shape, head_dim 1 to 256.
//
// A warp computes one query row in three passes over the keys that the row sees: the maximum, the sum, and the weighted sum
// of V; logits are computed anew in each. A lane takes every 32nd key, then every 32nd column of the output. Sums are f32 in
// a fixed order; the exponential is expf of a difference to the true maximum.
//
// Beside it goes the same row as a straightforward computation in the tensors' type, which says how far rounding alone may
// lead from ref_o: logits rounded to the type after scaling, softmax of those in f32, weights rounded to the type, the
// product with V summed in f32 and rounded once. Logits past the type's range are clamped, so that ref_low stays finite.

#ifndef BATCH
#define BATCH 2
#endif
#ifndef HEADS
#define HEADS 8
#endif
#ifndef KV_HEADS
#define KV_HEADS HEADS
#endif
#ifndef SEQ_Q
#define SEQ_Q 512
#endif
#ifndef SEQ_KV
#define SEQ_KV SEQ_Q
#endif
#ifndef HEAD_DIM
#define HEAD_DIM 64
#endif
#ifndef CAUSAL
#define CAUSAL 0
#endif
#ifndef DTYPE_BF16
#define DTYPE_BF16 0
#endif
#ifndef WRITE_LSE
#define WRITE_LSE 1
#endif
#ifndef SCALE
#define SCALE 0.125f
#endif
#ifndef ROWS
#define ROWS 4 // query rows, and warps, of a block
#endif

typedef unsigned int u32;
typedef unsigned short u16;

#define DEVICE [[maybe_unused]] static __device__ __forceinline__
#define NEG_INF __uint_as_float(0xff800000u)

static_assert(HEAD_DIM >= 1 && HEAD_DIM <= 256, "head_dim: 1 to 256");

static constexpr u32 ALL = 0xffffffffu;
static constexpr int COLUMNS = (HEAD_DIM + 31) / 32; // output columns of a lane

DEVICE float to_float(u16 x)
{
#if DTYPE_BF16
    return __uint_as_float((u32)x << 16);
#else
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
#endif
}

// The nearest value of the tensors' type, ties to even.
DEVICE float round_to_type(float x)
{
#if DTYPE_BF16
    u32 bits = __float_as_uint(x);
    return __uint_as_float((bits + 0x7fffu + (bits >> 16 & 1)) & 0xffff0000u);
#else
    u16 half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(fminf(fmaxf(x, -65504.0f), 65504.0f)));
    return to_float(half);
#endif
}

DEVICE float max_of_warp(float x)
{
    for (int i = 16; i > 0; i /= 2)
        x = fmaxf(x, __shfl_xor_sync(ALL, x, i));
    return x;
}

DEVICE float sum_of_warp(float x)
{
    for (int i = 16; i > 0; i /= 2)
        x += __shfl_xor_sync(ALL, x, i);
    return x;
}

// Scaled logit of the row in `q` and one key; -inf for a key past the last that the row sees.
DEVICE float logit(const float *q, const u16 *k, int key, int last)
{
    if (key > last) return NEG_INF;
    const u16 *row = k + (long long)key * HEAD_DIM;
    float sum = 0;
    if constexpr (HEAD_DIM % 8 == 0) {
#pragma unroll 4
        for (int d = 0; d < HEAD_DIM; d += 8) {
            uint4 x = *(const uint4 *)(row + d);
            u32 word[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
            for (int e = 0; e < 8; e++)
                sum = fmaf(q[d + e], to_float((u16)(word[e / 2] >> 16 * (e % 2))), sum);
        }
    } else {
        for (int d = 0; d < HEAD_DIM; d++)
            sum = fmaf(q[d], to_float(row[d]), sum);
    }
    return sum * (SCALE);
}

extern "C" __global__ void __launch_bounds__(32 * ROWS)
    attention_reference(const u16 *__restrict__ q_all, const u16 *__restrict__ k_all, const u16 *__restrict__ v_all,
                        float *__restrict__ ref_o, float *__restrict__ lse, float *__restrict__ ref_low)
{
    __shared__ float q_rows[ROWS][HEAD_DIM];
    const int lane = (int)threadIdx.x & 31, query = (int)blockIdx.x * ROWS + ((int)threadIdx.x >> 5);
    if (query >= SEQ_Q) return;
    const long long row = ((long long)blockIdx.z * HEADS + blockIdx.y) * SEQ_Q + query;
    const long long kv_head = (long long)blockIdx.z * KV_HEADS + blockIdx.y / (HEADS / KV_HEADS);
    const u16 *k = k_all + kv_head * SEQ_KV * HEAD_DIM, *v = v_all + kv_head * SEQ_KV * HEAD_DIM;
    float *q = q_rows[threadIdx.x >> 5];
    const int last = CAUSAL && SEQ_KV - SEQ_Q + query < SEQ_KV - 1 ? SEQ_KV - SEQ_Q + query : SEQ_KV - 1;

    for (int d = lane; d < HEAD_DIM; d += 32)
        q[d] = to_float(q_all[row * HEAD_DIM + d]);
    __syncwarp();

    float max = NEG_INF, sum = 0, low_sum = 0;
    for (int key = lane; key <= last; key += 32)
        max = fmaxf(max, logit(q, k, key, last));
    max = max_of_warp(max);
    const float low_max = round_to_type(max); // rounding keeps the order
    for (int key = lane; key <= last; key += 32) {
        float x = logit(q, k, key, last);
        sum += expf(x - max);
        low_sum += expf(round_to_type(x) - low_max);
    }
    sum = sum_of_warp(sum);
    low_sum = sum_of_warp(low_sum);

    float o[COLUMNS] = {}, low[COLUMNS] = {};
    for (int first = 0; first <= last; first += 32) {
        float x = logit(q, k, first + lane, last);
        float weight = first + lane <= last ? expf(x - max) : 0.0f;
        float low_weight = first + lane <= last ? round_to_type(expf(round_to_type(x) - low_max) / low_sum) : 0.0f;
        const int keys = last - first < 31 ? last - first + 1 : 32;
        for (int j = 0; j < keys; j++) {
            float p = __shfl_sync(ALL, weight, j), p_low = __shfl_sync(ALL, low_weight, j);
            const u16 *v_row = v + (long long)(first + j) * HEAD_DIM;
#pragma unroll
            for (int i = 0; i < COLUMNS; i++) {
                int d = lane + 32 * i;
                float value = d < HEAD_DIM ? to_float(v_row[d]) : 0.0f;
                o[i] = fmaf(p, value, o[i]);
                low[i] = fmaf(p_low, value, low[i]);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < COLUMNS; i++) {
        int d = lane + 32 * i;
        if (d >= HEAD_DIM) continue;
        ref_o[row * HEAD_DIM + d] = last >= 0 ? o[i] / sum : 0.0f;
        ref_low[row * HEAD_DIM + d] = last >= 0 ? round_to_type(low[i]) : 0.0f;
    }
#if WRITE_LSE
    if (lane == 0) lse[row] = last >= 0 ? max + logf(sum) : NEG_INF;
#endif
}
