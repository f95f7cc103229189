/* Flash attention forward for any OpenCL 1.2 device. README.md tells how it works.
 *
 * A work-item owns VEC query rows, one in each lane of its vectors: keys and values are then broadcast scalars, no sum
 * runs across lanes, and neither K nor P is ever transposed. A work-group of BLOCK_M / VEC items shares the K and V
 * tiles of BLOCK_N keys in local memory. REGS accumulators are kept in registers: REGS keys while Q K^T is made, REGS
 * columns while P V is added. The softmax is online, in f32 and base 2. */

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
#define SEQ_KV 512
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
#ifndef BLOCK_M
#define BLOCK_M 32
#endif
#ifndef BLOCK_N
#define BLOCK_N 16
#endif
#ifndef VEC
#define VEC 8
#endif
#ifndef REGS
#define REGS 8
#endif
#ifndef UNROLL
#define UNROLL 2
#endif
#ifndef KV_F32
#define KV_F32 1
#endif
#ifndef ITEMS
#define ITEMS (BLOCK_M / VEC) /* of a work-group */
#endif

#define LOG2E 1.44269504088896341f
#define LN2 0.693147180559945309f
#define SHIFT (SEQ_KV - SEQ_Q) /* query i sees keys j <= i + SHIFT when CAUSAL */
#define CHUNK 8                /* elements of one global load: 16 bytes */

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

#if VEC == 1
typedef float vecf;
typedef int veci;
#define LANES 0
#define LOADV(p) (*(p))
#define STOREV(x, p) (*(p) = (x))
#else
typedef JOIN(float, VEC) vecf;
typedef JOIN(int, VEC) veci;
#define LOADV(p) JOIN(vload, VEC)(0, p)
#define STOREV(x, p) JOIN(vstore, VEC)(x, 0, p)
#if VEC == 2
#define LANES (int2)(0, 1)
#elif VEC == 4
#define LANES (int4)(0, 1, 2, 3)
#elif VEC == 8
#define LANES (int8)(0, 1, 2, 3, 4, 5, 6, 7)
#else
#define LANES (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#endif
#endif

/* A debug build shows one tile of S, P and the references of P: ../README.md, tile hooks. */
#ifdef FATUNE_ORACLE
#define ORACLE(x) x
#define ORACLE_ARGUMENT , __global float *restrict tile

/* x: what key `key` has, a query row in each lane, from row0 of head `plane` on. */
void show(__global float *tile, int which, int plane, int row0, int key, vecf x)
{
    const int first = (int)tile[1], rows = (int)tile[2];
    float y[VEC];
    STOREV(x, y);
    for (int lane = 0, row = row0; lane < VEC; lane++, row++)
        if (plane == (int)tile[0] && row >= first && row < first + rows && key < SEQ_KV)
            tile[4 + ((size_t)which * rows + row - first) * SEQ_KV + key] = y[lane];
}
#else
#define ORACLE(x)
#define ORACLE_ARGUMENT
#endif

float8 widen(ushort8 x)
{
    const uint8 u = convert_uint8(x);
#if DTYPE_BF16
    return as_float8(u << 16);
#else
    /* 5 exponent bits at the place of 8, then the biases made equal by a multiplication, which is right for subnormals */
    const uint8 bits = as_uint8(as_float8((u & 0x7fffu) << 13) * 0x1p112f);
    return as_float8(bits | ((u & 0x8000u) << 16));
#endif
}

#if KV_F32
typedef float kv_store;
#define KV_PUT(x, p) vstore8(widen(x), 0, p)
#define KV_GET(p) (*(p))
#else
typedef ushort kv_store;
#define KV_PUT(x, p) vstore8(x, 0, p)
#if DTYPE_BF16
#define KV_GET(p) as_float((uint)(*(p)) << 16)
#else
#define KV_GET(p) vload_half(0, (const __local half *)(p))
#endif
#endif

void store_row(float8 x, __global ushort *p)
{
#if DTYPE_BF16
    const uint8 u = as_uint8(x);
    vstore8(convert_ushort8((u + 0x7fffu + ((u >> 16) & 1u)) >> 16), 0, p);
#else
    vstore_half8_rte(x, 0, (__global half *)p);
#endif
}

/* A tile of K or V; rows past the end of the tensor are zeros and are not read. */
void load_tile(__local kv_store *tile, const __global ushort *src, int first, int item)
{
    for (int c = item; c < BLOCK_N * HEAD_DIM / CHUNK; c += ITEMS) {
        const int row = c / (HEAD_DIM / CHUNK);
        ushort8 x = 0;
        if (SEQ_KV % BLOCK_N == 0 || first + row < SEQ_KV) x = vload8((size_t)first * (HEAD_DIM / CHUNK) + c, src);
        KV_PUT(x, tile + c * CHUNK);
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_forward(__global const ushort *restrict q, __global const ushort *restrict k, __global const ushort *restrict v,
                  __global ushort *restrict o, __global float *restrict lse ORACLE_ARGUMENT)
{
    __local float rows[BLOCK_M * HEAD_DIM]; /* of an item: [column][lane]; Q at first, O in the end */
    __local kv_store k_tile[BLOCK_N * HEAD_DIM], v_tile[BLOCK_N * HEAD_DIM];
    vecf s[BLOCK_N], acc_o[HEAD_DIM];
    const int item = (int)get_local_id(0);
    const int row0 = (int)get_group_id(0) * BLOCK_M + item * VEC;
    const size_t head_q = (size_t)get_group_id(2) * HEADS + get_group_id(1);
    const size_t head_kv = (size_t)get_group_id(2) * KV_HEADS + get_group_id(1) / (HEADS / KV_HEADS);
    __local float *mine = rows + item * VEC * HEAD_DIM;
    const __global ushort *k_head = k + head_kv * SEQ_KV * HEAD_DIM, *v_head = v + head_kv * SEQ_KV * HEAD_DIM;

    for (int lane = 0; lane < VEC; lane++)
        for (int c = 0; c < HEAD_DIM / CHUNK; c++) {
            ushort8 x = 0;
            if (SEQ_Q % BLOCK_M == 0 || row0 + lane < SEQ_Q)
                x = vload8((head_q * SEQ_Q + row0 + lane) * (HEAD_DIM / CHUNK) + c, q);
            float y[CHUNK];
            vstore8(widen(x) * (SCALE * LOG2E), 0, y);
            for (int i = 0; i < CHUNK; i++)
                mine[(c * CHUNK + i) * VEC + lane] = y[i];
        }
    for (int d = 0; d < HEAD_DIM; d++)
        acc_o[d] = 0.0f;
    vecf m = -INFINITY, l = 0.0f;

    int keys = SEQ_KV; /* that some row of the block sees */
    if (CAUSAL) keys = min(keys, ((int)get_group_id(0) + 1) * BLOCK_M + SHIFT);
    int whole = SEQ_KV; /* that every row of the item sees */
    if (CAUSAL) whole = min(whole, row0 + SHIFT + 1);
    for (int first = 0; first < keys; first += BLOCK_N) {
        barrier(CLK_LOCAL_MEM_FENCE);
        load_tile(k_tile, k_head, first, item);
        load_tile(v_tile, v_head, first, item);
        barrier(CLK_LOCAL_MEM_FENCE);

        for (int j = 0; j < BLOCK_N; j += REGS) {
            vecf a[REGS];
            for (int i = 0; i < REGS; i++)
                a[i] = 0.0f;
#pragma unroll UNROLL
            for (int d = 0; d < HEAD_DIM; d++) {
                const vecf x = LOADV(mine + d * VEC);
#pragma unroll
                for (int i = 0; i < REGS; i++)
                    a[i] = fma(x, (vecf)KV_GET(k_tile + (j + i) * HEAD_DIM + d), a[i]);
            }
            for (int i = 0; i < REGS; i++)
                s[j + i] = a[i];
        }
        if (first + BLOCK_N > whole) {
            veci last = (veci)(SEQ_KV - 1);
            if (CAUSAL) last = min(last, (veci)(row0 + SHIFT) + LANES);
            for (int j = 0; j < BLOCK_N; j++)
                s[j] = (veci)(first + j) <= last ? s[j] : (vecf)-INFINITY;
        }
        ORACLE(for (int j = 0; j < BLOCK_N; j++) show(tile, 0, (int)head_q, row0, first + j, s[j] * LN2);)

        vecf top = m;
        for (int j = 0; j < BLOCK_N; j++)
            top = fmax(top, s[j]);
        const vecf base = top == (vecf)-INFINITY ? (vecf)0.0f : top; /* of a row that has seen no key yet */
        const vecf keep = exp2(m - base);
        vecf sum = 0.0f;
#pragma unroll UNROLL
        for (int j = 0; j < BLOCK_N; j++) {
            s[j] = exp2(s[j] - base);
            sum += s[j];
        }
        ORACLE(for (int j = 0; j < BLOCK_N; j++) show(tile, 1, (int)head_q, row0, first + j, s[j]);)
        ORACLE(for (int j = 0; j < BLOCK_N; j++) show(tile, 2, (int)head_q, row0, first + j, base * LN2);)
        m = top;
        l = fma(l, keep, sum);

        for (int d = 0; d < HEAD_DIM; d += REGS) {
            vecf a[REGS];
            for (int i = 0; i < REGS; i++)
                a[i] = acc_o[d + i] * keep;
#pragma unroll UNROLL
            for (int j = 0; j < BLOCK_N; j++) {
#pragma unroll
                for (int i = 0; i < REGS; i++)
                    a[i] = fma(s[j], (vecf)KV_GET(v_tile + j * HEAD_DIM + d + i), a[i]);
            }
            for (int i = 0; i < REGS; i++)
                acc_o[d + i] = a[i];
        }
    }

    const vecf scale = l > 0.0f ? 1.0f / l : (vecf)0.0f;
    for (int d = 0; d < HEAD_DIM; d++)
        STOREV(acc_o[d] * scale, mine + d * VEC);
    float ends[VEC];
    STOREV(l > 0.0f ? (m + log2(l)) * LN2 : (vecf)-INFINITY, ends);
    for (int lane = 0; lane < VEC; lane++) {
        const size_t row = head_q * SEQ_Q + row0 + lane;
        if (row0 + lane >= SEQ_Q) break;
        for (int c = 0; c < HEAD_DIM / CHUNK; c++) {
            float y[CHUNK];
            for (int i = 0; i < CHUNK; i++)
                y[i] = mine[(c * CHUNK + i) * VEC + lane];
            store_row(vload8(0, y), o + row * HEAD_DIM + c * CHUNK);
        }
        if (WRITE_LSE) lse[row] = ends[lane];
    }
}
