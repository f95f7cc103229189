// ceiling_mma: nothing but tensor-core products from registers, sm_70 and up. README.md tells what for.
//
// A warp keeps operands for 2 x 4 tiles of 16 x 16 in registers, and adds up their products TURNS times: eight chains that do not wait
// for each other. The operands are the tensors' values, not zeros, which draw less power.

#ifndef TURNS
#define TURNS 2048
#endif
#ifndef BLOCKS
#define BLOCKS 2
#endif

typedef unsigned int u32;

struct operand {
    u32 r[8];
};

static __device__ __forceinline__ void multiply(float (&d)[8], const operand &a, const operand &b)
{
    asm volatile("wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32 {%0, %1, %2, %3, %4, %5, %6, %7}, "
                 "{%8, %9, %10, %11, %12, %13, %14, %15}, {%16, %17, %18, %19, %20, %21, %22, %23}, "
                 "{%0, %1, %2, %3, %4, %5, %6, %7};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
                 : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(a.r[4]), "r"(a.r[5]), "r"(a.r[6]),
                   "r"(a.r[7]), "r"(b.r[0]), "r"(b.r[1]), "r"(b.r[2]), "r"(b.r[3]), "r"(b.r[4]), "r"(b.r[5]),
                   "r"(b.r[6]), "r"(b.r[7]));
}

extern "C" __global__ void __launch_bounds__(256, BLOCKS)
    ceiling_mma(const u32 *__restrict__ q, const u32 *__restrict__ k, float *__restrict__ o)
{
    operand a[2], b[4];
    float d[2][4][8] = {}, sum = 0;
#pragma unroll
    for (int i = 0; i < 6 * 8; i++) {
        const u32 at = i % 8 * 256 + threadIdx.x;
        if (i < 2 * 8)
            a[i / 8].r[i % 8] = q[i / 8 * 2048 + at];
        else
            b[i / 8 - 2].r[i % 8] = k[(i / 8 - 2) * 2048 + at];
    }
#pragma unroll 1
    for (int turn = 0; turn < TURNS; turn++)
#pragma unroll
        for (int i = 0; i < 8; i++)
            multiply(d[i / 4][i % 4], a[i / 4], b[i % 4]);
#pragma unroll
    for (int i = 0; i < 64; i++)
        sum += d[i / 32][i / 8 % 4][i % 8];
    o[threadIdx.x] = sum; // of every block the same
}
