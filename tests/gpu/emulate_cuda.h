/* emulate_cuda.h - runs one CUDA kernel on the CPU, for tests of its index logic where there is no GPU.
 *
 * A thread of a block is a fiber. Warp and block barriers hand control to the scheduler, which lets warps run ahead of each
 * other and lanes take turns in random order, so that a missing __syncthreads shows. Shared memory starts as NaN. An
 * asynchronous copy poisons its target at once and lands only when it is waited for.
 *
 * What it cannot show: races inside a warp (every warp operation is a barrier of the warp), rounding of the tensor cores,
 * speed. C++, included before the kernel, by one program a kernel. */
#ifndef EMULATE_CUDA_H
#define EMULATE_CUDA_H

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <ucontext.h>
#include <vector>

#define __device__
#define __forceinline__ inline
#define __global__
#define __launch_bounds__(...)
#define __align__(n)
#define __shared__

struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct emulate_dim {
    unsigned x, y, z;
};

struct emulate_copy {
    void *to;
    const void *from; /* NULL: zeros */
    int group;
};

struct emulate_thread {
    ucontext_t context;
    std::vector<char> stack;
    emulate_dim index;
    bool done;
    int group; /* of the next asynchronous copy */
    std::vector<emulate_copy> copies;
};

struct emulate_warp {
    int arrived, generation;
    unsigned word[32];
    unsigned a[32][4], b[32][4]; /* operands of a matrix product */
};

static constexpr size_t EMULATE_SHARED = 262144;
alignas(128) unsigned char shared[EMULATE_SHARED]; /* the kernel declares it extern */

static std::vector<emulate_thread> emulate_threads;
static std::vector<emulate_warp> emulate_warps;
static emulate_thread *emulate_now;
static ucontext_t emulate_scheduler;
static int emulate_arrived, emulate_generation;
static int emulate_named_arrived[16], emulate_named_generation[16];
static long emulate_progress;
static emulate_dim blockIdx, gridDim;

#define threadIdx (emulate_now->index)

[[noreturn]] static void emulate_fail(const char *what)
{
    printf("%s (block %u %u %u, thread %u)\n", what, blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x);
    exit(1);
}

static unsigned emulate_lane()
{
    return threadIdx.x % 32;
}

static emulate_warp &emulate_own_warp()
{
    return emulate_warps[threadIdx.x / 32];
}

static void emulate_wait(int &arrived, int &generation, int all)
{
    const int mine = generation;
    emulate_progress++;
    if (++arrived == all) {
        arrived = 0;
        generation++;
        return;
    }
    while (generation == mine)
        swapcontext(&emulate_now->context, &emulate_scheduler);
}

static void __syncwarp()
{
    emulate_wait(emulate_own_warp().arrived, emulate_own_warp().generation, 32);
}

static void __syncthreads()
{
    emulate_wait(emulate_arrived, emulate_generation, (int)emulate_threads.size());
}

/* bar.sync with a number from 1 and a count of threads. */
[[maybe_unused]] static void emulate_barrier(int id, int threads)
{
    if (id < 1 || id > 15) emulate_fail("no such barrier");
    emulate_wait(emulate_named_arrived[id], emulate_named_generation[id], threads);
}

template <class T> static T __shfl_sync(unsigned, T value, unsigned from)
{
    static_assert(sizeof(T) == 4, "32-bit values");
    memcpy(&emulate_own_warp().word[emulate_lane()], &value, 4);
    __syncwarp();
    memcpy(&value, &emulate_own_warp().word[from], 4);
    __syncwarp();
    return value;
}

template <class T> static T __shfl_xor_sync(unsigned mask, T value, unsigned bits)
{
    return __shfl_sync(mask, value, emulate_lane() ^ bits);
}

[[maybe_unused]] static bool __any_sync(unsigned, bool mine)
{
    bool any = false;
    emulate_own_warp().word[emulate_lane()] = mine;
    __syncwarp();
    for (unsigned x : emulate_own_warp().word)
        any = any || x != 0;
    __syncwarp();
    return any;
}

[[noreturn]] static void __trap()
{
    emulate_fail("trap");
}

static float __uint_as_float(unsigned x)
{
    float f;
    memcpy(&f, &x, 4);
    return f;
}

static void emulate_copy_start(void *to, const void *from)
{
    memset(to, 0xff, 16);
    emulate_now->copies.push_back({to, from, emulate_now->group});
}

static void emulate_copy_wait(int pending)
{
    std::vector<emulate_copy> &copies = emulate_now->copies;
    size_t i = 0;
    for (; i < copies.size() && copies[i].group < emulate_now->group - pending; i++) {
        if (copies[i].from != NULL)
            memcpy(copies[i].to, copies[i].from, 16);
        else
            memset(copies[i].to, 0, 16);
    }
    copies.erase(copies.begin(), copies.begin() + (long)i);
}

static void (*emulate_kernel)();

static void emulate_entry()
{
    emulate_kernel();
    emulate_now->done = true;
    swapcontext(&emulate_now->context, &emulate_scheduler);
}

static void emulate_warp_run(unsigned warp, std::vector<unsigned> &lanes, std::mt19937 &random)
{
    std::shuffle(lanes.begin(), lanes.end(), random);
    for (long before = -1; before != emulate_progress;) {
        before = emulate_progress;
        for (unsigned lane : lanes) {
            emulate_now = &emulate_threads[warp * 32 + lane];
            if (emulate_now->done) continue;
            swapcontext(&emulate_scheduler, &emulate_now->context);
            if (emulate_now->done) emulate_progress++;
        }
    }
}

static void emulate_block(unsigned threads, size_t shared_bytes, std::mt19937 &random)
{
    std::vector<unsigned> warps(threads / 32), lanes(32);
    for (unsigned i = 0; i < warps.size(); i++)
        warps[i] = i;
    for (unsigned i = 0; i < 32; i++)
        lanes[i] = i;
    memset(shared, 0xff, sizeof shared);
    emulate_arrived = emulate_generation = 0;
    memset(emulate_named_arrived, 0, sizeof emulate_named_arrived);
    emulate_warps.assign(threads / 32, {});
    emulate_threads.clear();
    emulate_threads.resize(threads);
    for (unsigned i = 0; i < threads; i++) {
        emulate_thread &t = emulate_threads[i];
        t.stack.resize(131072);
        t.index = {i, 0, 0};
        getcontext(&t.context);
        t.context.uc_stack.ss_sp = t.stack.data();
        t.context.uc_stack.ss_size = t.stack.size();
        makecontext(&t.context, emulate_entry, 0);
    }
    for (bool live = true; live;) {
        const long before = emulate_progress;
        std::shuffle(warps.begin(), warps.end(), random);
        for (unsigned warp : warps)
            emulate_warp_run(warp, lanes, random);
        live = false;
        for (const emulate_thread &t : emulate_threads)
            live = live || !t.done;
        if (live && before == emulate_progress) emulate_fail("deadlock");
    }
    for (size_t i = shared_bytes; i < sizeof shared; i++)
        if (shared[i] != 0xff) emulate_fail("write past the shared memory of the block");
}

/* Runs the kernel over a grid; the kernel takes its arguments from globals of the test. */
static void emulate_launch(void (*kernel)(), emulate_dim grid, unsigned threads, size_t shared_bytes, unsigned seed)
{
    std::mt19937 random(seed);
    emulate_kernel = kernel;
    gridDim = grid;
    for (blockIdx.z = 0; blockIdx.z < grid.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++)
                emulate_block(threads, shared_bytes, random);
}

#endif
