/* The yardstick: attention in f32, as plainly as a definition allows. README.md says what each output is.
 *
 * A work-item computes LANES query rows, one in each lane of its vectors; nothing is shared and nothing is blocked. The
 * true maximum and the sums come first, then the outputs, so every logit is computed three times. */

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

#define LANES 16
#define FIRST_16 (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)

float widen(const __global ushort *p)
{
#if DTYPE_BF16
    return as_float((uint)*p << 16);
#else
    return vload_half(0, (const __global half *)p);
#endif
}

/* To the kernel's dtype and back, to nearest even. */
float16 through_dtype(float16 x)
{
#if DTYPE_BF16
    const uint16 u = as_uint16(x);
    return as_float16((u + 0x7fffu + ((u >> 16) & 1u)) & 0xffff0000u);
#else
    ushort h[LANES]; /* beyond the largest f16 it saturates: an infinite logit would leave nothing to compare with */
    vstore_half16_rte(clamp(x, -65504.0f, 65504.0f), 0, (half *)h);
    return vload_half16(0, (const half *)h);
#endif
}

/* The logits of all rows for one key, before the scale. */
float16 dot_key(const float16 *q, const __global ushort *k)
{
    float16 sum = 0.0f;
    for (int d = 0; d < HEAD_DIM; d++)
        sum = fma(q[d], (float16)widen(k + d), sum);
    return sum;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attention_reference(__global const ushort *restrict q, __global const ushort *restrict k,
                    __global const ushort *restrict v, __global float *restrict ref_o, __global float *restrict lse,
                    __global float *restrict ref_low)
{
    const int row0 = (int)get_group_id(0) * LANES;
    const size_t head_q = (size_t)get_group_id(2) * HEADS + get_group_id(1);
    const size_t head_kv = (size_t)get_group_id(2) * KV_HEADS + get_group_id(1) / (HEADS / KV_HEADS);
    const __global ushort *k_head = k + head_kv * SEQ_KV * HEAD_DIM, *v_head = v + head_kv * SEQ_KV * HEAD_DIM;
    const int16 rows = row0 + FIRST_16;
    const int16 last = CAUSAL ? min(rows + (SEQ_KV - SEQ_Q), (int16)(SEQ_KV - 1)) : (int16)(SEQ_KV - 1);
    const int keys = CAUSAL ? min(SEQ_KV, row0 + LANES + (SEQ_KV - SEQ_Q)) : SEQ_KV; /* that some row sees */
    float16 x[HEAD_DIM], o[HEAD_DIM], low[HEAD_DIM];

    for (int d = 0; d < HEAD_DIM; d++) {
        float lanes[LANES];
        for (int i = 0; i < LANES; i++)
            lanes[i] = row0 + i < SEQ_Q ? widen(q + (head_q * SEQ_Q + row0 + i) * HEAD_DIM + d) : 0.0f;
        x[d] = vload16(0, lanes);
        o[d] = 0.0f;
        low[d] = 0.0f;
    }

    /* Rounding is monotonous, so the largest rounded logit is the largest logit rounded. */
    float16 top = -INFINITY;
    for (int j = 0; j < keys; j++)
        top = j <= last ? max(top, dot_key(x, k_head + (size_t)j * HEAD_DIM) * SCALE) : top;
    const float16 top_low = through_dtype(top);

    float16 sum = 0.0f, sum_low = 0.0f;
    for (int j = 0; j < keys; j++) {
        const float16 s = dot_key(x, k_head + (size_t)j * HEAD_DIM) * SCALE;
        sum += j <= last ? exp(s - top) : (float16)0.0f;
        sum_low += j <= last ? exp(through_dtype(s) - top_low) : (float16)0.0f;
    }

    for (int j = 0; j < keys; j++) {
        const float16 s = dot_key(x, k_head + (size_t)j * HEAD_DIM) * SCALE;
        const float16 p = j <= last ? exp(s - top) / sum : (float16)0.0f;
        const float16 p_low = j <= last ? through_dtype(exp(through_dtype(s) - top_low) / sum_low) : (float16)0.0f;
        for (int d = 0; d < HEAD_DIM; d++) {
            const float16 y = widen(v_head + (size_t)j * HEAD_DIM + d);
            o[d] = fma(p, y, o[d]);
            low[d] = fma(p_low, y, low[d]);
        }
    }

#if WRITE_LSE
    float logs[LANES];
    vstore16(sum > 0.0f ? top + log(sum) : (float16)-INFINITY, 0, logs);
    for (int i = 0; i < LANES && row0 + i < SEQ_Q; i++)
        lse[head_q * SEQ_Q + row0 + i] = logs[i];
#endif
    for (int d = 0; d < HEAD_DIM; d++) {
        float a[LANES], b[LANES];
        vstore16(o[d], 0, a);
        vstore16(through_dtype(low[d]), 0, b);
        for (int i = 0; i < LANES && row0 + i < SEQ_Q; i++) {
            ref_o[(head_q * SEQ_Q + row0 + i) * HEAD_DIM + d] = a[i];
            ref_low[(head_q * SEQ_Q + row0 + i) * HEAD_DIM + d] = b[i];
        }
    }
}
