// hostile: the plain attention of `planted`, correct with FAULT 0; every other FAULT attacks what runs or compiles it. f16, full
// mask, tiny shapes. The lines with "fake:" or FAKE_ do the same to the fake device, whose best good point takes 31.6 us.
//
// FAULT  what it does                                      on the fake device
//   1    writes to an address that nothing is mapped to    // fake: sticky when FAULT=1
//   2    never ends (stops itself after 60 s)              // fake: hang 60 when FAULT=2
//   3    stores 16 bytes to an odd address                 // fake: segv when FAULT=3
//   4    traps                                             // fake: sticky when FAULT=4
//   5    60,000 statements: keeps the compiler busy        FAKE_COMPILE_HANG when FAULT=5
//   6    2^27 types: takes the compiler's memory           FAKE_COMPILE_CRASH when FAULT=6
//   7    skips the maximum: wrong on large logits alone,   // fake: nomax when FAULT=7
//        and twice as fast as any                          // fake: time_us 10 when FAULT=7
//   8    breaks late, in a session of a trial; one of      // fake: latewrong 1000 when FAULT=8
//        them is as fast as the best                       // fake: time_us 31 when FAULT=8 PASSES=1
//   9    writes just past the end of the output            // fake: corrupt when FAULT=9
//  10    gets one element wrong                            // fake: wrong when FAULT=10
//  11    lets blocks race: the order of arrival shows      // fake: nondet when FAULT=11
//  12    does not compile                                  FAKE_COMPILE_ERROR when FAULT=12
//  13    changes its input k                               // fake: input when FAULT=13
//  14    breaks after 40 launches, while it is timed       // fake: latewrong 40 when FAULT=14
//  15    reads past the end of its input v                 // fake: column 3 when FAULT=15
//  16    leaves a NaN                                      // fake: nan when FAULT=16
//  17    leaves the second half of the rows unwritten      // fake: unwritten when FAULT=17

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
#ifndef SCALE
#define SCALE 0.17677669f
#endif
#ifndef ROWS
#define ROWS 2
#endif
#ifndef PASSES
#define PASSES 4
#endif
#ifndef FAULT
#define FAULT 0
#endif

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#if FAULT == 8 || FAULT == 11 || FAULT == 14
static __device__ u32 shared_by_blocks;
#endif

#if FAULT == 12
#error "this fault is a source that does not compile"
#endif

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

#if FAULT == 5
#define TEN(s) s s s s s s s s s s
#define THOUSAND(s) TEN(TEN(TEN(s)))
static __device__ __forceinline__ u32 bomb(u32 x, const u16 *k)
{
    THOUSAND(TEN(x = x * 1664525u + k[x & 1023]; x = x * 3u + k[x & 511]; x ^= k[x & 255]; x += k[x & 127]; x *= k[x & 63]; x -= k[x & 31];))
    return x;
}
#elif FAULT == 6
template <int DEPTH, u32 WHICH> struct tree {
    static constexpr u32 value = tree<DEPTH - 1, 2 * WHICH>::value + tree<DEPTH - 1, 2 * WHICH + 1>::value;
};
template <u32 WHICH> struct tree<0, WHICH> {
    static constexpr u32 value = WHICH;
};
#endif

// Nanoseconds since some start.
[[maybe_unused]] static __device__ u64 clock_ns()
{
    u64 t;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));
    return t;
}

// Faults that need nothing of the computation; `first`: one thread of the grid.
static __device__ __forceinline__ void misbehave(u16 *o, [[maybe_unused]] const u16 *k, bool first)
{
    if (!first) return;
#if FAULT == 1
    *(volatile u16 *)(o + (1ll << 44)) = 1;
#elif FAULT == 2
    const u64 start = clock_ns();
    while (clock_ns() - start < 60000000000ull)
        __nanosleep(1000);
#elif FAULT == 9
    *(volatile u16 *)(o + (long long)BATCH * HEADS * SEQ_Q * HEAD_DIM + 4) = 0x1111;
#elif FAULT == 3
    asm volatile("st.global.v4.u32 [%0], {%1, %1, %1, %1};" ::"l"((char *)o + 2), "r"(1) : "memory");
#elif FAULT == 4
    asm volatile("trap;");
#elif FAULT == 13
    *(volatile u16 *)k = (u16)(*k + 1);
#elif FAULT == 8 || FAULT == 14
    shared_by_blocks++;
#endif
#if FAULT == 5
    o[0] = (u16)bomb(o[0], k);
#elif FAULT == 6
    o[0] = (u16)tree<26, 1>::value;
#endif
    (void)o;
}

extern "C" __global__ void __launch_bounds__(HEAD_DIM)
    attention_hostile(const u16 *q_all, const u16 *k_all, const u16 *v_all, u16 *o)
{
    __shared__ float weights[SEQ_KV];
    const int column = (int)threadIdx.x;
    const long long head = (long long)blockIdx.z * HEADS + blockIdx.y;
    const long long kv_head = (long long)blockIdx.z * KV_HEADS + blockIdx.y / (HEADS / KV_HEADS);
    const u16 *k = k_all + kv_head * SEQ_KV * HEAD_DIM, *v = v_all + kv_head * SEQ_KV * HEAD_DIM;
    const bool first_block = blockIdx.x == 0 && blockIdx.y == 0 && blockIdx.z == 0;

    misbehave(o, k_all, first_block && column == 0);
    for (int r = 0; r < ROWS; r++) {
        const int query = (int)blockIdx.x * ROWS + r;
        if (query >= SEQ_Q) return;
        const u16 *q = q_all + (head * SEQ_Q + query) * HEAD_DIM;
        float max = 0, sum = 0, result = 0;

#pragma unroll 1
        for (int pass = 0; pass < PASSES; pass++) {
            __syncthreads();
            for (int key = column; key < SEQ_KV; key += HEAD_DIM) {
                float logit = 0;
                for (int d = 0; d < HEAD_DIM; d++)
                    logit += to_float(q[d]) * to_float(k[(long long)key * HEAD_DIM + d]);
                weights[key] = logit * (SCALE);
            }
            asm volatile("" ::: "memory"); // or the passes would become one
        }
        __syncthreads();
#if FAULT != 7
        max = weights[0];
        for (int key = 1; key < SEQ_KV; key++)
            max = fmaxf(max, weights[key]);
#endif
        for (int key = 0; key < SEQ_KV + (FAULT == 15); key++) {
            float weight = expf(weights[FAULT == 15 ? key % SEQ_KV : key] - max);
            sum += weight;
            result += weight * to_float(v[(long long)key * HEAD_DIM + column]);
        }
        u16 word = to_half(result / sum);
#if FAULT == 10
        if (first_block && r == 0 && column == 3) word = to_half(result / sum + 1);
#elif FAULT == 11
        // The order in which blocks arrive decides the lowest bit of an element of each.
        if (column == 0) word ^= (u16)(atomicAdd(&shared_by_blocks, 1u) & 1);
#elif FAULT == 16
        if (first_block && r == 0 && column == 3) word = 0x7e00;
#elif FAULT == 8 || FAULT == 14
        if (*(volatile u32 *)&shared_by_blocks > (FAULT == 14 ? 40 : 10000) && query == SEQ_Q - 1) word = to_half(result / sum + 1);
#endif
#if FAULT == 17
        if (query >= SEQ_Q / 2) continue;
#endif
        o[(head * SEQ_Q + query) * HEAD_DIM + column] = word;
    }
}
