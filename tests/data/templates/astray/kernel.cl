/* astray: online softmax, a thread a query row. Correct with FAULT 0; every other FAULT goes wrong in one stage, which `fatune oracle` must name.
 * OpenCL C; with tests/gpu/astray_head.cu in front, CUDA C++.
 *
 * FAULT  what it does
 *   1    scales S by 0.675
 *   2    takes the exponentials against 0
 *   3    leaves every eighth column of O as it was before the last tile
 *   4    does not rescale O when the maximum grows
 *   5    hides the last key of each row
 *   6    scores the third tile with the keys of the one before
 *   7    goes wrong in the ordinary build alone
 *   8    divides by a sum that is not rescaled when the maximum grows
 *   9    adds the third tile with the values of the one before
 *  10    gives the weights of odd keys to their neighbours
 *  11    has NaN among its scores
 *  12    forgets the scale */
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
#define HEAD_DIM 32
#endif
#ifndef CAUSAL
#define CAUSAL 0
#endif
#ifndef SCALE
#define SCALE 0.17677669f
#endif
#ifndef TILE
#define TILE 16
#endif
#ifndef FAULT
#define FAULT 0
#endif

#ifndef KERNEL /* tests/gpu/astray_head.cu says what these are in CUDA C++ */
#define KERNEL __kernel
#define FUNCTION
#define GLOBAL __global
#define GROUP(i) ((int)get_group_id(i))
#define THREAD ((int)get_local_id(0))
#define NEG_INF (-INFINITY)
#define NOT_A_NUMBER NAN
#define LOAD(p, i) vload_half(i, (const __global half *)(p))
#define STORE(x, p, i) vstore_half_rte(x, i, (__global half *)(p))
#endif

#ifdef FATUNE_ORACLE
#define ORACLE(x) x
#define ORACLE_ARGUMENT , GLOBAL float *tile

FUNCTION void show(GLOBAL float *tile, int which, int plane, int row, int key, float x)
{
    const int r = row - (int)tile[1], rows = (int)tile[2];
    if (plane == (int)tile[0] && r >= 0 && r < rows && key < SEQ_KV) tile[4 + (which * rows + r) * SEQ_KV + key] = x;
}
#else
#define ORACLE(x)
#define ORACLE_ARGUMENT
#endif

#define SHIFT (SEQ_KV - SEQ_Q)

FUNCTION float score(GLOBAL const ushort *q, GLOBAL const ushort *k, int row, int key)
{
    float x = 0;
    if (key >= SEQ_KV || (CAUSAL && key > row + SHIFT - (FAULT == 5))) return NEG_INF;
    if (FAULT == 5 && !CAUSAL && key == SEQ_KV - 1) return NEG_INF;
    if (FAULT == 6 && key / TILE == 2) key -= TILE;
    if (FAULT == 11 && key % 16 == 5) return NOT_A_NUMBER;
    for (int d = 0; d < HEAD_DIM; d++)
        x += LOAD(q, d) * LOAD(k, key * HEAD_DIM + d);
    return x * (FAULT == 1 ? 0.675f * (SCALE) : FAULT == 12 ? 1.0f : (SCALE));
}

KERNEL void attention_astray(GLOBAL const ushort *q_all, GLOBAL const ushort *k_all, GLOBAL const ushort *v_all,
                             GLOBAL ushort *o_all ORACLE_ARGUMENT)
{
    const int row = GROUP(0) * 32 + THREAD, plane = GROUP(2) * HEADS + GROUP(1);
    const int plane_kv = GROUP(2) * KV_HEADS + GROUP(1) / (HEADS / KV_HEADS);
    GLOBAL const ushort *q = q_all + (plane * SEQ_Q + row) * HEAD_DIM, *k = k_all + plane_kv * SEQ_KV * HEAD_DIM;
    GLOBAL const ushort *v = v_all + plane_kv * SEQ_KV * HEAD_DIM;
    GLOBAL ushort *o = o_all + (plane * SEQ_Q + row) * HEAD_DIM;
    float acc[HEAD_DIM], s[TILE], p[TILE], m = NEG_INF, l = 0;
    if (row >= SEQ_Q) return;
    for (int d = 0; d < HEAD_DIM; d++)
        acc[d] = 0;
    for (int first = 0; first < SEQ_KV; first += TILE) {
        const int from = FAULT == 9 && first == 2 * TILE ? first - TILE : first;
        float top = m, sum = 0;
        for (int j = 0; j < TILE; j++) {
            s[j] = score(q, k, row, first + j);
            top = fmax(top, s[j]);
            ORACLE(show(tile, 0, plane, row, first + j, s[j]);)
        }
        const float base = FAULT == 2 || top == NEG_INF ? 0 : top, keep = FAULT == 2 ? 1 : exp(m - base);
        for (int j = 0; j < TILE; j++) {
            p[j] = exp(s[j] - base);
            sum += p[j];
        }
        for (int j = 0; j < TILE; j++) {
            if (FAULT == 10 && j % 2 == 1) p[j - 1] = p[j];
            ORACLE(show(tile, 2, plane, row, first + j, base);)
        }
        ORACLE(for (int j = 0; j < TILE; j++) show(tile, 1, plane, row, first + j, p[j]);)
        l = l * (FAULT == 8 ? 1 : keep) + sum;
        for (int d = 0; d < HEAD_DIM; d++) {
            if (FAULT == 3 && d % 8 == 3 && first + TILE >= SEQ_KV) continue;
            acc[d] *= FAULT == 4 ? 1 : keep;
            for (int j = 0; j < TILE && first + j < SEQ_KV; j++)
                acc[d] += p[j] * LOAD(v, (from + j) * HEAD_DIM + d);
        }
        m = top;
    }
    for (int d = 0; d < HEAD_DIM; d++) {
        float x = l > 0 ? acc[d] / l : 0;
#ifndef FATUNE_ORACLE
        if (FAULT == 7 && d == 5) x += 1;
#endif
        STORE(x, o, d);
    }
}
