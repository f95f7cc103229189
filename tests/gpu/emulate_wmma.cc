// Runs fa_wmma on the CPU against f64. Built by tests/cli/emulate_wmma.sh, which cuts the kernel at its PTX section:
// kernel_head.inc, then the functions of that section as plain C++ below, then kernel_tail.inc.
//
// LAYOUT 1 scatters accumulators and A operands over the lanes in another way than any device does; SOFTMAX_REGS 0 must work
// all the same.
#include "emulate_cuda.h"

#include "kernel_head.inc"

#ifndef LAYOUT
#define LAYOUT 0
#endif

struct place {
    int row, column;
};

static place acc_place(int lane, int e)
{
    if (LAYOUT != 0) return {(lane * 8 + e) * 37 % 256 / 16, (lane * 8 + e) * 37 % 16};
    return {lane / 4 + 8 * (e >> 1 & 1), lane % 4 * 2 + (e & 1) + 8 * (e >> 2)};
}

static place a_place(int lane, int half)
{
    if (LAYOUT != 0) return {(lane * 8 + half) * 91 % 256 / 16, (lane * 8 + half) * 91 % 16};
    return {lane / 4 + 8 * (half / 2 & 1), lane % 4 * 2 + 8 * (half / 4) + (half & 1)};
}

static place b_place(int lane, int half)
{
    return {lane % 4 * 2 + 8 * (half / 2 & 1) + (half & 1), lane / 4 + 8 * (half / 4)};
}

static float widen(u16 x)
{
#if DTYPE_BF16
    return __uint_as_float((u32)x << 16);
#else
    _Float16 half;
    memcpy(&half, &x, 2);
    return (float)half;
#endif
}

static u16 narrow(float x)
{
#if DTYPE_BF16
    u32 bits;
    memcpy(&bits, &x, 4);
    return (u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
#else
    _Float16 half = (_Float16)x;
    u16 bits;
    memcpy(&bits, &half, 2);
    return bits;
#endif
}

static void check_place(const void *p, size_t alignment)
{
    const unsigned char *at = (const unsigned char *)p;
    if ((size_t)p % alignment != 0) emulate_fail("misaligned access to shared memory");
    if (at < shared || at >= shared + SHARED_BYTES) emulate_fail("access outside the shared memory of the block");
}

template <int offset, int pitch>
static void load_operand(u32 *f, const u16 *p, place (*where)(int, int), bool transposed)
{
    __syncwarp();
    p += offset;
    check_place(p, 32);
    for (int h = 0; h < 8; h++) {
        place at = where((int)emulate_lane(), h);
        u16 x = transposed ? p[at.column * pitch + at.row] : p[at.row * pitch + at.column];
        memcpy((char *)f + 2 * h, &x, 2);
    }
    for (int i = 4; i < FRAG; i++)
        f[i] = f[i - 4];
}

template <int offset, int pitch> static void load_a(u32 *f, const u16 *p)
{
    load_operand<offset, pitch>(f, p, a_place, false);
}

template <int offset, int pitch> static void load_b(u32 *f, const u16 *p)
{
    load_operand<offset, pitch>(f, p, b_place, false);
}

template <int offset, int pitch> static void load_bt(u32 *f, const u16 *p)
{
    load_operand<offset, pitch>(f, p, b_place, true);
}

static void multiply(float *d, const u32 *a, const u32 *b)
{
    emulate_warp &w = emulate_own_warp();
    static float left[16][16], right[16][16];
    memcpy(w.a[emulate_lane()], a, 16);
    memcpy(w.b[emulate_lane()], b, 16);
    __syncwarp();
    for (int lane = 0; lane < 32; lane++) {
        for (int h = 0; h < 8; h++) {
            place p = a_place(lane, h), q = b_place(lane, h);
            left[p.row][p.column] = widen((u16)(w.a[lane][h / 2] >> 16 * (h % 2)));
            right[q.row][q.column] = widen((u16)(w.b[lane][h / 2] >> 16 * (h % 2)));
        }
    }
    for (int e = 0; e < 8; e++) {
        place p = acc_place((int)emulate_lane(), e);
        float sum = 0;
        for (int k = 0; k < 16; k++)
            sum += left[p.row][k] * right[k][p.column];
        d[e] += sum;
    }
    __syncwarp();
}

[[maybe_unused]] static void multiply_bt(float *d, const u32 *a, const u32 *b)
{
    multiply(d, a, b);
}

static void load_acc(float *d, const float *p, int pitch)
{
    __syncwarp();
    check_place(p, 32);
    for (int e = 0; e < 8; e++) {
        place at = acc_place((int)emulate_lane(), e);
        d[e] = p[at.row * pitch + at.column];
    }
}

[[maybe_unused]] static void store_acc(float *p, const float *d, int pitch)
{
    __syncwarp();
    check_place(p, 32);
    for (int e = 0; e < 8; e++) {
        place at = acc_place((int)emulate_lane(), e);
        p[at.row * pitch + at.column] = d[e];
    }
}

#if STAGES > 1
template <int to, int from> static void copy_async(u16 *dst, const u16 *src)
{
    check_place(dst + to, 16);
    emulate_copy_start(dst + to, src + from);
}

static void copy_async_or_zero(u16 *dst, const u16 *src, bool valid)
{
    check_place(dst, 16);
    emulate_copy_start(dst, valid ? src : NULL);
}

static void copy_commit()
{
    emulate_now->group++;
}

template <int pending> static void copy_wait()
{
    emulate_copy_wait(pending);
}
#endif

static float exp2_approx(float x)
{
    return exp2f(x);
}

static float log2_approx(float x)
{
    return log2f(x);
}

static u32 pack(float low, float high)
{
    return narrow(low) | (u32)narrow(high) << 16;
}

static void unpack(float &low, float &high, u32 x)
{
    low = widen((u16)x);
    high = widen((u16)(x >> 16));
}

#include "kernel_tail.inc"

static constexpr size_t GUARD = 65536; // elements of NaN on both sides of a tensor
static u16 *q, *k, *v, *o;
static float *lse;

static void kernel()
{
    attention_forward(q, k, v, o, lse);
}

static u16 *tensor(std::vector<u16> &memory, size_t n)
{
    memory.assign(n + 2 * GUARD + 8, 0xffff);
    size_t past = (size_t)(memory.data() + GUARD) % 16 / 2;
    return memory.data() + GUARD + (8 - past) % 8;
}

// Largest errors of one row; row r of head h.
static void check_row(int b, int h, int r, double *error, double *lse_error)
{
    const size_t row = ((size_t)b * HEADS + h) * SEQ_Q + r,
                 first = ((size_t)b * KV_HEADS + h / (HEADS / KV_HEADS)) * SEQ_KV;
    const int last = CAUSAL ? std::min(SEQ_KV - 1, r + SEQ_KV - SEQ_Q) : SEQ_KV - 1;
    std::vector<double> logit((size_t)std::max(0, last + 1)), want(HEAD_DIM, 0.0);
    double max = -INFINITY, sum = 0;
    for (int j = 0; j <= last; j++) {
        for (int d = 0; d < HEAD_DIM; d++)
            logit[j] += (double)widen(q[row * HEAD_DIM + d]) * widen(k[(first + j) * HEAD_DIM + d]);
        logit[j] *= SCALE;
        max = std::max(max, logit[j]);
    }
    for (int j = 0; j <= last; j++) {
        double p = exp(logit[j] - max);
        sum += p;
        for (int d = 0; d < HEAD_DIM; d++)
            want[d] += p * widen(v[(first + j) * HEAD_DIM + d]);
    }
    for (int d = 0; d < HEAD_DIM; d++) {
        double e = fabs(widen(o[row * HEAD_DIM + d]) - (last >= 0 ? want[d] / sum : 0));
        if (!(e <= *error)) *error = std::isnan(e) ? INFINITY : e;
    }
    const double want_lse = last >= 0 ? max + log(sum) : -INFINITY;
    bool same = WRITE_LSE ? lse[row] == want_lse || fabs(lse[row] - want_lse) < 1e-3 : std::isnan(lse[row]);
    if (!same) *lse_error = INFINITY;
}

int main(int argc, char **argv)
{
    const unsigned seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
    const float spread = argc > 2 ? strtof(argv[2], NULL) : 1; // 20 gives logits of some thousands
    const size_t n_q = (size_t)BATCH * HEADS * SEQ_Q * HEAD_DIM, n_k = (size_t)BATCH * KV_HEADS * SEQ_KV * HEAD_DIM;
    std::vector<u16> memory[4];
    std::vector<float> lse_memory(n_q / HEAD_DIM, NAN);
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 1);
    q = tensor(memory[0], n_q), k = tensor(memory[1], n_k), v = tensor(memory[2], n_k), o = tensor(memory[3], n_q);
    lse = lse_memory.data();
    for (size_t i = 0; i < n_q; i++)
        q[i] = narrow(normal(random) * spread);
    for (size_t i = 0; i < n_k; i++)
        k[i] = narrow(normal(random) * spread), v[i] = narrow(normal(random));

    emulate_launch(kernel, {(SEQ_Q + BLOCK_M - 1) / BLOCK_M, HEADS, BATCH}, THREADS, SHARED_BYTES, seed);

    double error = 0, lse_error = 0;
    for (int b = 0; b < BATCH; b++)
        for (int h = 0; h < HEADS; h++)
            for (int r = 0; r < SEQ_Q; r++)
                check_row(b, h, r, &error, &lse_error);
    bool guards = true;
    for (size_t i = 1; i < GUARD / 2; i++)
        guards = guards && o[-(long)i] == 0xffff && o[n_q + i - 1] == 0xffff;
    const bool right = guards && lse_error == 0 && error < (DTYPE_BF16 ? 3e-2 : 4e-3);
    printf("max abs error %.2e%s%s: %s\n", error, lse_error > 0 ? ", wrong lse" : "", guards ? "" : ", guard written",
           right ? "right" : "WRONG");
    return right ? 0 : 1;
}
