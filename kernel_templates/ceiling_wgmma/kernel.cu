// ceiling_wgmma: nothing but products of warp groups from shared memory, sm_90a. README.md tells what for.
//
// Two warp groups of a block multiply 64 x 16 by 16 x 256 sixteen times, wait, and begin again, TURNS times: while one waits the other's
// products keep the tensor cores busy. Shared memory holds one tile of A for each group and one of B, rows of 64 values with the 128-byte
// swizzle, so that reads meet each bank once. What lies where does not matter for the speed: the tiles are filled in order.

#ifndef TURNS
#define TURNS 256
#endif

typedef unsigned int u32;
typedef unsigned long long u64;

static constexpr int A_BYTES = 64 * 128, B_BYTES = 256 * 128;

// A matrix with the 128-byte swizzle: groups of eight rows lie 1024 bytes apart.
static __device__ __forceinline__ u64 describe(const void *tile)
{
    return (u64)1 << 62 | (u64)(1024 / 16) << 32 | (u64)1 << 16 | (u64)(__cvta_generic_to_shared(tile) >> 4 & 0x3fff);
}

#define F4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define F32(i) F4(i), F4(i + 4), F4(i + 8), F4(i + 12), F4(i + 16), F4(i + 20), F4(i + 24), F4(i + 28)

static __device__ __forceinline__ void multiply(float (&d)[128], u64 a, u64 b)
{
    asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16 {"
                 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
                 "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
                 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
                 "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
                 "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,"
                 "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"
                 "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,"
                 "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
                 "}, %128, %129, 1, 1, 1, 0, 0;"
                 : F32(0), F32(32), F32(64), F32(96)
                 : "l"(a), "l"(b)
                 : "memory");
}

extern "C" __global__ void __launch_bounds__(256, 1) ceiling_wgmma(const uint4 *__restrict__ q, float *__restrict__ o)
{
    __shared__ __align__(1024) unsigned char tiles[2 * A_BYTES + B_BYTES];
    float d[128] = {}, sum = 0;
    for (u32 i = threadIdx.x; i < sizeof tiles / 16; i += 256)
        ((uint4 *)tiles)[i] = q[i];
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); // what threads have written, the tensor cores may read
    __syncthreads();
    const u64 a = describe(tiles + threadIdx.x / 128 * A_BYTES), b = describe(tiles + 2 * A_BYTES);
#pragma unroll 1
    for (int turn = 0; turn < TURNS; turn++) {
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
        for (int i = 0; i < 16; i++)
            multiply(d, a + i % 4 * 2, b + i % 4 * 2); // 32 bytes on: the next 16 columns
        asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
    }
#pragma unroll
    for (int i = 0; i < 128; i++)
        sum += d[i];
    o[threadIdx.x] = sum; // of every block the same
}
