// Runs fa_mma on the CPU against f64. Built by tests/cli/emulate_mma.sh, which cuts the kernel at its PTX section:
// kernel_head.inc, then the functions of that section as plain C++ below, then kernel_tail.inc. Shared addresses are offsets.
#include "emulate_cuda.h"

#include "kernel_head.inc"

#include "emulate_numbers.h"

static u32 shared_address(const void *p)
{
    return (u32)((const unsigned char *)p - shared);
}

// A lane's two elements of each matrix: row lane / 4, columns 2 (lane % 4) and the next; transposed, row and column swap.
static void load_four(u32 *r, u32 address, bool transposed)
{
    emulate_warp &w = emulate_own_warp();
    const unsigned lane = emulate_lane();
    check_place(shared + address, 16);
    w.word[lane] = address;
    __syncwarp();
    for (unsigned i = 0; i < 4; i++) {
        u16 x[2];
        for (unsigned e = 0; e < 2; e++) {
            const unsigned row = transposed ? lane % 4 * 2 + e : lane / 4,
                           column = transposed ? lane / 4 : lane % 4 * 2 + e;
            memcpy(&x[e], shared + w.word[8 * i + row] + 2 * column, 2);
        }
        r[i] = x[0] | (u32)x[1] << 16;
    }
    __syncwarp();
}

template <int offset> static void load_matrices(u32 *r, u32 address)
{
    load_four(r, address + offset, false);
}

template <int offset> static void load_transposed(u32 *r, u32 address)
{
    load_four(r, address + offset, true);
}

// D += A B: A 16 x 16, B 16 x 8. Half h of a's register e: row lane / 4 + 8 (e % 2), column 2 (lane % 4) + h + 8 (e / 2).
static void multiply(float *d, const u32 *a, u32 b0, u32 b1)
{
    emulate_warp &w = emulate_own_warp();
    const unsigned lane = emulate_lane();
    memcpy(w.a[lane], a, 16);
    w.b[lane][0] = b0;
    w.b[lane][1] = b1;
    __syncwarp();
    for (unsigned e = 0; e < 4; e++) {
        const unsigned row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
        float sum = 0;
        for (unsigned k = 0; k < 16; k++) {
            const unsigned half = 16 * (k % 2);
            const u32 x = w.a[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2], y = w.b[column * 4 + k % 8 / 2][k / 8];
            sum += widen((u16)(x >> half)) * widen((u16)(y >> half));
        }
        d[e] += sum;
    }
    __syncwarp();
}

template <int to, int from> static void copy_async(u32 address, const u16 *src)
{
    check_place(shared + address + to, 16);
    emulate_copy_start(shared + address + to, src + from);
}

static void copy_async_or_zero(u32 address, const u16 *src, bool valid)
{
    check_place(shared + address, 16);
    emulate_copy_start(shared + address, valid ? src : NULL);
}

static void copy_commit()
{
    emulate_now->group++;
}

template <int pending> static void copy_wait()
{
    emulate_copy_wait(pending);
}

template <int threads> [[maybe_unused]] static void barrier(int id)
{
    emulate_barrier_wait(id, threads);
}

static float exp2_approx(float x)
{
    return exp2f(x);
}

static float reciprocal(float x)
{
    return 1 / x;
}

static float log2_approx(float x)
{
    return log2f(x);
}

static u32 pack(float low, float high)
{
    return narrow(low) | (u32)narrow(high) << 16;
}

#include "kernel_tail.inc"

#include "emulate_attention.h"

static void kernel()
{
    attention_forward(q, k, v, o, lse ORACLE(, tile));
}

int main(int argc, char **argv)
{
    const unsigned tiles = (SEQ_Q + BLOCK_M - 1) / BLOCK_M, heads = HEADS * BATCH;
    return emulate_attention(argc, argv, {GRID_ORDER ? heads : tiles, GRID_ORDER ? tiles : heads, 1});
}
