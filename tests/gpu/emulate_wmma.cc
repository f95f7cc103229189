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

#include "emulate_numbers.h"

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

#include "emulate_attention.h"

static void kernel()
{
    attention_forward(q, k, v, o, lse ORACLE(, tile));
}

int main(int argc, char **argv)
{
    return emulate_attention(argc, argv, {(SEQ_Q + BLOCK_M - 1) / BLOCK_M, HEADS, BATCH});
}
