// ceiling_memory: nothing but reads of q, k and v, sm_70 and up. README.md tells what for.
//
// All threads walk over the tensors side by side, 16 bytes at a time and four times ahead, and begin again at the end until TURNS are over.
// Loads go by the L1 (ld.global.cg), so what bounds them is the L2 where the tensors fit it, and the device's memory where they do not.

#ifndef TURNS
#define TURNS 32
#endif
#ifndef PIECES // of 16 bytes, of a tensor
#define PIECES 32768
#endif
#ifndef THREADS
#define THREADS 512
#endif
#ifndef BLOCKS
#define BLOCKS 2
#endif

typedef unsigned int u32;

static __device__ __forceinline__ uint4 load(const uint4 *p)
{
    uint4 x;
    asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w) : "l"(p));
    return x;
}

static __device__ __forceinline__ u32 mixed(uint4 x)
{
    return x.x ^ x.y ^ x.z ^ x.w;
}

extern "C" __global__ void __launch_bounds__(512, BLOCKS)
    ceiling_memory(const uint4 *__restrict__ q, const uint4 *__restrict__ k, const uint4 *__restrict__ v,
                   u32 *__restrict__ o)
{
    const u32 me = blockIdx.x * 512 + threadIdx.x;
    u32 at = me % PIECES, mix = 0;
#pragma unroll 1
    for (int turn = 0; turn < TURNS; turn++) {
        uint4 x[12];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            x[3 * i] = load(q + at);
            x[3 * i + 1] = load(k + at);
            x[3 * i + 2] = load(v + at);
            at += THREADS % PIECES;
            if (at >= PIECES) at -= PIECES;
        }
#pragma unroll
        for (int i = 0; i < 12; i++)
            mix ^= mixed(x[i]);
    }
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2)
        mix ^= __shfl_xor_sync(0xffffffffu, mix, lane);
    if (threadIdx.x % 32 == 0) o[me / 32] = mix;
}
