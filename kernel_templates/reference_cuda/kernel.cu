// reference_cuda: plain attention in f32, which checks every other kernel. No header, any shape, head_dim 1 to 256.
//
// A block of 256 threads computes 64 query rows in three passes over the keys that they see, 64 keys at a time: the maximum,
// the sum, and the weighted sum of V; logits are computed anew in each. A thread has a square of 4 rows and 4 keys of the
// logits, then of 4 rows and 4 columns of each 64 columns of the output; Q, K, V and the weights pass through shared memory
// as floats. Sums are f32 in a fixed order; the exponential is expf of a difference to the true maximum.
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
#define ROWS 64 // query rows of a block
#endif
#ifndef THREADS
#define THREADS 256
#endif
#ifndef SHARED_BYTES
#define SHARED_BYTES 51200
#endif

typedef unsigned int u32;
typedef unsigned short u16;

#define DEVICE [[maybe_unused]] static __device__ __forceinline__
#define NEG_INF __uint_as_float(0xff800000u)

static constexpr u32 ALL = 0xffffffffu;
static constexpr int KEYS = 64;   // of a tile
static constexpr int STEP = 32;   // columns of Q and K in shared memory at a time
static constexpr int WIDE = 64;   // columns of V at a time
static constexpr int WIDES = (HEAD_DIM + WIDE - 1) / WIDE;
static constexpr int STRIDE = 68; // floats from one row's weights to the next: spreads them over the banks

static_assert(HEAD_DIM >= 1 && HEAD_DIM <= 256, "head_dim: 1 to 256");
static_assert(ROWS == 64 && THREADS == 256, "16 x 16 threads with 4 x 4 logits each");
static_assert(SHARED_BYTES == 4 * (STEP * (ROWS + KEYS) + 2 * ROWS * STRIDE), "Q and K steps, two tiles of weights");
static_assert(KEYS * WIDE == STEP * (ROWS + KEYS), "V takes the place of Q and K");

// --- PTX ---
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
// --- end of PTX ---

// Over the 16 threads that share their rows.
DEVICE float max_of_row(float x)
{
    for (int i = 8; i > 0; i /= 2)
        x = fmaxf(x, __shfl_xor_sync(ALL, x, i));
    return x;
}

DEVICE float sum_of_row(float x)
{
    for (int i = 8; i > 0; i /= 2)
        x += __shfl_xor_sync(ALL, x, i);
    return x;
}

DEVICE void load_four(float *to, const float *from)
{
    float4 x = *(const float4 *)from;
    to[0] = x.x;
    to[1] = x.y;
    to[2] = x.z;
    to[3] = x.w;
}

DEVICE void store_four(float *to, const float *from)
{
    *(float4 *)to = float4{from[0], from[1], from[2], from[3]};
}

// Columns first to first + 7 of a row; zeros past the last column, or everywhere when the row is not inside the tensor.
DEVICE void load_eight(float *to, const u16 *row, int first, bool inside)
{
    if constexpr (HEAD_DIM % 8 == 0) {
        uint4 x = {0, 0, 0, 0};
        if (inside && first < HEAD_DIM) x = *(const uint4 *)(row + first);
        u32 word[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
        for (int e = 0; e < 8; e++)
            to[e] = to_float((u16)(word[e / 2] >> 16 * (e % 2)));
    } else {
        for (int e = 0; e < 8; e++)
            to[e] = inside && first + e < HEAD_DIM ? to_float(row[first + e]) : 0.0f;
    }
}

// Where a step has column and row: the row's bits 3 and 4 are exchanged with the column, so that a warp that writes 8 columns of
// 8 rows meets each bank once. Four rows from a multiple of 4 on stay together.
DEVICE int step_at(int column, int row)
{
    return column * 64 + (row ^ (column & 24));
}

// STEP columns of 64 rows, of which `rows` exist.
DEVICE void load_step(float *step, const u16 *from, int rows, int first)
{
    const int row = (int)threadIdx.x / 4, column = (int)threadIdx.x % 4 * 8;
    float x[8];
    load_eight(x, from + (long long)row * HEAD_DIM, first + column, row < rows);
#pragma unroll
    for (int e = 0; e < 8; e++)
        step[step_at(column + e, row)] = x[e];
}

// tile[key][column]: WIDE columns of 64 keys, of which `keys` exist.
DEVICE void load_values(float *tile, const u16 *v, int keys, int first)
{
#pragma unroll
    for (int i = (int)threadIdx.x; i < KEYS * WIDE / 8; i += THREADS) {
        const int key = i / (WIDE / 8), column = i % (WIDE / 8) * 8;
        float x[8];
        load_eight(x, v + (long long)key * HEAD_DIM, first + column, key < keys);
        store_four(tile + key * WIDE + column, x);
        store_four(tile + key * WIDE + column + 4, x + 4);
    }
}

// The thread's logits, scaled: rows 4 ty to 4 ty + 3, keys 4 tx to 4 tx + 3 of the tile. q_step and k_step are scratch.
DEVICE void logits(float s[4][4], float *q_step, float *k_step, const u16 *q, int rows, const u16 *k, int keys)
{
    const int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
#pragma unroll
    for (int i = 0; i < 16; i++)
        s[i / 4][i % 4] = 0;
    for (int first = 0; first < HEAD_DIM; first += STEP) {
        __syncthreads(); // what lay there has been read
        load_step(q_step, q, rows, first);
        load_step(k_step, k, keys, first);
        __syncthreads();
#pragma unroll 8
        for (int d = 0; d < STEP; d++) {
            float a[4], b[4];
            load_four(a, q_step + step_at(d, 4 * ty));
            load_four(b, k_step + step_at(d, 4 * tx));
#pragma unroll
            for (int i = 0; i < 16; i++)
                s[i / 4][i % 4] = fmaf(a[i / 4], b[i % 4], s[i / 4][i % 4]);
        }
    }
#pragma unroll
    for (int i = 0; i < 16; i++)
        s[i / 4][i % 4] *= SCALE;
}

// o[row][column] += weights[row][key] v[key][column] over the tile's keys, for both kinds of weights.
DEVICE void accumulate(float o[4][4], float low[4][4], const float *weights, const float *low_weights, const float *v)
{
    const int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
#pragma unroll 1
    for (int key = 0; key < KEYS; key += 4) {
        float x[4][4], p[4], p_low[4];
#pragma unroll
        for (int j = 0; j < 4; j++)
            load_four(x[j], v + (key + j) * WIDE + 4 * tx);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            load_four(p, weights + (4 * ty + i) * STRIDE + key);
            load_four(p_low, low_weights + (4 * ty + i) * STRIDE + key);
#pragma unroll
            for (int j = 0; j < 16; j++) {
                o[i][j % 4] = fmaf(p[j / 4], x[j / 4][j % 4], o[i][j % 4]);
                low[i][j % 4] = fmaf(p_low[j / 4], x[j / 4][j % 4], low[i][j % 4]);
            }
        }
    }
}

// How many keys a query sees; 0 or less: none.
DEVICE int keys_seen(int query)
{
    const int causal = SEQ_KV - SEQ_Q + query + 1;
    return CAUSAL && causal < SEQ_KV ? causal : SEQ_KV;
}

extern "C" __global__ void __launch_bounds__(THREADS, HEAD_DIM <= 128 ? 2 : 1)
    attention_reference(const u16 *__restrict__ q_all, const u16 *__restrict__ k_all, const u16 *__restrict__ v_all,
                        float *__restrict__ ref_o, float *__restrict__ lse, float *__restrict__ ref_low)
{
    extern __shared__ __align__(128) unsigned char shared[];
    float *q_step = (float *)shared, *k_step = q_step + STEP * ROWS, *v_tile = q_step;
    float *weights = k_step + STEP * KEYS, *low_weights = weights + ROWS * STRIDE;
    const int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
    const int row0 = (int)blockIdx.x * ROWS, rows = SEQ_Q - row0 < ROWS ? SEQ_Q - row0 : ROWS;
    const long long head = (long long)blockIdx.z * HEADS + blockIdx.y;
    const long long kv_head = (long long)blockIdx.z * KV_HEADS + blockIdx.y / (HEADS / KV_HEADS);
    const u16 *q = q_all + (head * SEQ_Q + row0) * HEAD_DIM;
    const u16 *k = k_all + kv_head * SEQ_KV * HEAD_DIM, *v = v_all + kv_head * SEQ_KV * HEAD_DIM;

    const int query = row0 + 4 * ty, keys = keys_seen(row0 + rows - 1); // the thread's first; what the last of the block sees

    float max[4] = {NEG_INF, NEG_INF, NEG_INF, NEG_INF}, sum[4] = {}, low_max[4], low_sum[4] = {}, s[4][4];
    for (int first = 0; first < keys; first += KEYS) {
        logits(s, q_step, k_step, q, rows, k + (long long)first * HEAD_DIM, SEQ_KV - first);
#pragma unroll
        for (int i = 0; i < 16; i++)
            if (first + 4 * tx + i % 4 < keys_seen(query + i / 4)) max[i / 4] = fmaxf(max[i / 4], s[i / 4][i % 4]);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        max[i] = max_of_row(max[i]);
        low_max[i] = round_to_type(max[i]); // rounding keeps the order
    }
    for (int first = 0; first < keys; first += KEYS) {
        logits(s, q_step, k_step, q, rows, k + (long long)first * HEAD_DIM, SEQ_KV - first);
#pragma unroll
        for (int i = 0; i < 16; i++)
            if (first + 4 * tx + i % 4 < keys_seen(query + i / 4)) {
                sum[i / 4] += expf(s[i / 4][i % 4] - max[i / 4]);
                low_sum[i / 4] += expf(round_to_type(s[i / 4][i % 4]) - low_max[i / 4]);
            }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        sum[i] = sum_of_row(sum[i]);
        low_sum[i] = sum_of_row(low_sum[i]);
    }

    float o[WIDES][4][4] = {}, low[WIDES][4][4] = {};
    for (int first = 0; first < keys; first += KEYS) {
        logits(s, q_step, k_step, q, rows, k + (long long)first * HEAD_DIM, SEQ_KV - first);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float p[4], p_low[4];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const bool sees = first + 4 * tx + j < keys_seen(query + i);
                p[j] = sees ? expf(s[i][j] - max[i]) : 0.0f;
                p_low[j] = sees ? round_to_type(expf(round_to_type(s[i][j]) - low_max[i]) / low_sum[i]) : 0.0f;
            }
            store_four(weights + (4 * ty + i) * STRIDE + 4 * tx, p);
            store_four(low_weights + (4 * ty + i) * STRIDE + 4 * tx, p_low);
        }
#pragma unroll
        for (int w = 0; w < WIDES; w++) {
            __syncthreads(); // the weights are there; what lay in the place of V has been read
            load_values(v_tile, v + (long long)first * HEAD_DIM, SEQ_KV - first, w * WIDE);
            __syncthreads();
            accumulate(o[w], low[w], weights, low_weights, v_tile);
        }
    }

#pragma unroll
    for (int i = 0; i < 4; i++) {
        const long long row = head * SEQ_Q + query + i;
        if (query + i >= SEQ_Q) continue; // computed from zeros
#pragma unroll
        for (int c = 0; c < 4 * WIDES; c++) {
            const int d = c / 4 * WIDE + 4 * tx + c % 4;
            if (d >= HEAD_DIM) continue;
            ref_o[row * HEAD_DIM + d] = keys_seen(query + i) > 0 ? o[c / 4][i][c % 4] / sum[i] : 0.0f;
            ref_low[row * HEAD_DIM + d] = keys_seen(query + i) > 0 ? round_to_type(low[c / 4][i][c % 4]) : 0.0f;
        }
#if WRITE_LSE
        if (tx == 0) lse[row] = keys_seen(query + i) > 0 ? max[i] + logf(sum[i]) : NEG_INF;
#endif
    }
}
