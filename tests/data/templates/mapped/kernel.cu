// mapped: a block a query row, a thread an output column. Tiles of K and V come by cp.async.bulk.tensor, one at a time; keys
// past the end come as zeros and are masked. The row is taken from the place in the cluster, so a launch without its cluster
// gives wrong results.

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
#define HEAD_DIM 64
#endif
#ifndef SCALE
#define SCALE 0.125f
#endif
#ifndef BLOCK_N
#define BLOCK_N 32
#endif
#ifndef SWIZZLE
#define SWIZZLE 128
#endif
#ifndef CLUSTER
#define CLUSTER 2
#endif
#ifndef COLUMNS
#define COLUMNS 64
#endif

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

struct alignas(64) tensor_map {
    u64 opaque[16];
};

static __device__ __forceinline__ float to_float(u16 x)
{
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}

static __device__ __forceinline__ u16 to_half(float x)
{
    u16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}

static __device__ __forceinline__ u32 shared_address(const void *p)
{
    return (u32)__cvta_generic_to_shared(p);
}

// One tile, COLUMNS columns a box.
static __device__ __forceinline__ void fetch(u16 *tile, const tensor_map *map, int row, int plane, const u64 *barrier)
{
    for (int c = 0; c < HEAD_DIM; c += COLUMNS)
        asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];"
                     ::"r"(shared_address(tile + c * BLOCK_N)), "l"(map), "r"(c), "r"(row), "r"(plane), "r"(shared_address(barrier))
                     : "memory");
}

// Where the copy engine has put an element: a swizzle of 2^n bytes exchanges 16-byte pieces by the bits above bit 6.
static __device__ __forceinline__ float element(const u16 *tile, int row, int column)
{
    u32 at = 2 * (column / COLUMNS * COLUMNS * BLOCK_N + row * COLUMNS + column % COLUMNS);
#if SWIZZLE > 0
    at ^= at >> 3 & (SWIZZLE - 16);
#endif
    return to_float(tile[at / 2]);
}

static __device__ __forceinline__ void wait_for(const u64 *barrier, u32 parity)
{
    asm volatile("{\n.reg .pred done;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra AGAIN;\n}\n"
                 ::"r"(shared_address(barrier)), "r"(parity)
                 : "memory");
}

extern "C" __global__ void __launch_bounds__(HEAD_DIM) attention_mapped(const u16 *q, const __grid_constant__ tensor_map k_map,
                                                                        const __grid_constant__ tensor_map v_map, u16 *o)
{
    __shared__ alignas(1024) u16 keys[BLOCK_N * HEAD_DIM], values[BLOCK_N * HEAD_DIM];
    __shared__ alignas(8) u64 barrier;
    __shared__ float query[HEAD_DIM], weight[BLOCK_N];
    const int column = threadIdx.x, head = blockIdx.y, plane = blockIdx.z * KV_HEADS + head / (HEADS / KV_HEADS);
    u32 cluster, rank;
    asm("mov.u32 %0, %%clusterid.x;" : "=r"(cluster));
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    const u64 at = ((u64)(blockIdx.z * HEADS + head) * SEQ_Q + cluster * CLUSTER + rank) * HEAD_DIM + column;
    float most = __int_as_float(0xff800000), sum = 0, acc = 0;

    query[column] = to_float(q[at]);
    if (column == 0)
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;\nfence.proxy.async.shared::cta;" ::"r"(shared_address(&barrier)) : "memory");
    __syncthreads();
    for (int tile = 0; tile * BLOCK_N < SEQ_KV; tile++) {
        if (column == 0) {
            asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&barrier)),
                         "r"(2 * (u32)(sizeof keys)) : "memory");
            fetch(keys, &k_map, tile * BLOCK_N, plane, &barrier);
            fetch(values, &v_map, tile * BLOCK_N, plane, &barrier);
        }
        wait_for(&barrier, tile & 1);
        if (column < BLOCK_N) {
            float logit = 0;
            for (int c = 0; c < HEAD_DIM; c++)
                logit += query[c] * element(keys, column, c);
            weight[column] = tile * BLOCK_N + column < SEQ_KV ? SCALE * logit : __int_as_float(0xff800000);
        }
        __syncthreads();
        float before = most;
        for (int n = 0; n < BLOCK_N; n++)
            most = fmaxf(most, weight[n]);
        sum *= expf(before - most);
        acc *= expf(before - most);
        for (int n = 0; n < BLOCK_N; n++) {
            float p = expf(weight[n] - most);
            sum += p;
            acc += p * element(values, n, column);
        }
        __syncthreads();
    }
    o[at] = to_half(acc / sum);
}
