/* emulate_cuda.h - runs one CUDA kernel on the CPU, for tests of its index logic where there is no GPU.
 *
 * A thread is a fiber; the blocks of a cluster (EMULATE_CLUSTER, 1 if not defined) live at the same time. Warp and block barriers
 * hand control to the scheduler, which lets warps run ahead of each other and lanes take turns in random order, so that a missing
 * __syncthreads shows. Where all threads wait for each other, the test fails and says who waits for what. Shared memory starts as
 * NaN. An asynchronous copy poisons its target at once and lands only when it is waited for.
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
#include <sys/mman.h>
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

struct emulate_block;

struct emulate_thread {
    ucontext_t context;
    emulate_dim index;
    emulate_block *block;
    bool done;
    const int *watched; /* not NULL: asleep until this is no longer SEEN */
    int seen;
    const char *awaits; /* what that is, and which */
    unsigned which;
    int group; /* of the next asynchronous copy */
    std::vector<emulate_copy> copies;
};

struct emulate_warp {
    int arrived, generation;
    unsigned word[32];
    unsigned a[32][4], b[32][4]; /* operands of a matrix product */
};

struct emulate_barrier {
    int arrived, generation, threads;
    bool any, result;      /* of the votes */
    std::vector<bool> who; /* has arrived, by thread */
};

struct emulate_block {
    emulate_dim index;
    unsigned rank; /* in the cluster */
    unsigned char *memory;
    unsigned threads;
    int live;                  /* threads that have not returned */
    emulate_barrier named[16]; /* 0: __syncthreads */
    std::vector<emulate_warp> warps;
};

#ifndef EMULATE_CLUSTER
#define EMULATE_CLUSTER 1
#endif
static constexpr size_t EMULATE_SHARED = 262144, EMULATE_STACK = 131072;
alignas(1024) static unsigned char shared[EMULATE_CLUSTER * EMULATE_SHARED];             /* of all blocks */
#define EMULATE_SHARED_OF_BLOCK unsigned char *const shared = emulate_now->block->memory /* as the kernel declares it */

static std::vector<emulate_thread> emulate_threads; /* of the cluster, block after block */
static emulate_block emulate_blocks[EMULATE_CLUSTER];
static emulate_thread *emulate_now;
static ucontext_t emulate_scheduler;
static emulate_dim gridDim;
static std::mt19937 emulate_random;
static int emulate_round; /* of the scheduler */

/* What else there is to run: before and after a cluster, after the last thread of a block, and where all threads sleep (false:
 * nothing was left to do). */
static void (*emulate_on_start)(), (*emulate_on_block_end)(emulate_block &), (*emulate_on_end)();
static bool (*emulate_on_stall)();

#define threadIdx (emulate_now->index)
#define blockIdx (emulate_now->block->index)

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
    return emulate_now->block->warps[threadIdx.x / 32];
}

/* Until another thread, or a hook, changes *watched. */
static void emulate_sleep(const int *watched, const char *awaits, unsigned which)
{
    emulate_thread &me = *emulate_now;
    me.watched = watched, me.seen = *watched, me.awaits = awaits, me.which = which;
    swapcontext(&me.context, &emulate_scheduler);
    me.watched = NULL;
}

/* After an arrival: others may go on before this thread does. */
static void emulate_pause()
{
    for (unsigned rounds = emulate_random() % 4; rounds > 0; rounds--)
        emulate_sleep(&emulate_round, "nothing", 0);
}

/* A barrier of the warp; the last lane to come does LAST before any goes on. */
template <class F> static void emulate_together(F last)
{
    emulate_warp &w = emulate_own_warp();
    if (++w.arrived < 32) return emulate_sleep(&w.generation, "its warp", threadIdx.x / 32);
    last();
    w.arrived = 0;
    w.generation++;
}

static void __syncwarp()
{
    emulate_together([] {});
}

/* Barrier ID of a count of threads: arrives, waits for the others if WAITS says so, and returns whether any of them voted. */
static bool emulate_barrier_sync(int id, int threads, bool waits, bool vote)
{
    if (id < 0 || id > 15) emulate_fail("no such barrier");
    emulate_barrier &b = emulate_now->block->named[id];
    if (b.arrived == 0) b.threads = threads, b.any = false, b.who.assign(emulate_now->block->threads, false);
    if (b.threads != threads) emulate_fail("a barrier is used with two counts of threads");
    if (b.who[threadIdx.x]) emulate_fail("a thread arrives at a barrier where it has arrived already");
    b.who[threadIdx.x] = true;
    b.any = b.any || vote;
    if (++b.arrived < threads) {
        if (waits)
            emulate_sleep(&b.generation, "barrier", (unsigned)id);
        else
            emulate_pause();
    } else {
        b.arrived = 0;
        b.result = b.any;
        b.generation++;
    }
    return b.result;
}

static void __syncthreads()
{
    emulate_barrier_sync(0, (int)emulate_now->block->threads, true, false);
}

/* bar.sync with a number from 1 and a count of threads. */
[[maybe_unused]] static void emulate_barrier_wait(int id, int threads)
{
    if (id < 1) emulate_fail("no such barrier");
    emulate_barrier_sync(id, threads, true, false);
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
    emulate_block &block = *emulate_now->block;
    emulate_kernel();
    emulate_now->done = true;
    if (--block.live == 0 && emulate_on_block_end != NULL) emulate_on_block_end(block);
    swapcontext(&emulate_now->context, &emulate_scheduler);
}

/* Runs the lanes of a warp until all sleep; false: they did already. */
static bool emulate_warp_run(size_t warp, std::vector<unsigned> &lanes)
{
    bool ran = false;
    std::shuffle(lanes.begin(), lanes.end(), emulate_random);
    for (bool again = true; again; ran = ran || again) {
        again = false;
        for (unsigned lane : lanes) {
            emulate_now = &emulate_threads[warp * 32 + lane];
            if (emulate_now->done || (emulate_now->watched != NULL && *emulate_now->watched == emulate_now->seen))
                continue;
            swapcontext(&emulate_scheduler, &emulate_now->context);
            again = true;
        }
    }
    return ran;
}

[[noreturn]] static void emulate_deadlock()
{
    const emulate_thread *before = NULL;
    puts("deadlock:");
    for (const emulate_thread &t : emulate_threads) {
        if (t.done) continue;
        if (before == NULL || before->block != t.block || before->watched != t.watched ||
            before->index.x / 32 != t.index.x / 32)
            printf("  block %u %u %u, warp %u waits for %s %u\n", t.block->index.x, t.block->index.y, t.block->index.z,
                   t.index.x / 32, t.awaits, t.which);
        before = &t;
    }
    exit(1);
}

static void emulate_thread_init(emulate_thread &t, char *stack, emulate_block &block, unsigned index)
{
    t = {};
    t.index = {index, 0, 0};
    t.block = &block;
    getcontext(&t.context);
    t.context.uc_stack.ss_sp = stack;
    t.context.uc_stack.ss_size = EMULATE_STACK;
    makecontext(&t.context, emulate_entry, 0);
}

static void emulate_cluster(emulate_dim first, unsigned threads, size_t shared_bytes, char *stacks)
{
    std::vector<size_t> warps(emulate_threads.size() / 32);
    std::vector<unsigned> lanes(32);
    for (size_t i = 0; i < warps.size(); i++)
        warps[i] = i;
    for (unsigned i = 0; i < 32; i++)
        lanes[i] = i;
    memset(shared, 0xff, sizeof shared);
    for (unsigned r = 0; r < EMULATE_CLUSTER; r++) {
        emulate_block &block = emulate_blocks[r];
        block = {{first.x + r, first.y, first.z}, r, shared + r * EMULATE_SHARED, threads, (int)threads, {}, {}};
        block.warps.assign(threads / 32, {});
        for (unsigned i = 0; i < threads; i++)
            emulate_thread_init(emulate_threads[r * threads + i], stacks + (r * threads + i) * EMULATE_STACK, block, i);
    }
    if (emulate_on_start != NULL) emulate_on_start();
    for (int live = 1; live > 0;) {
        bool ran = false;
        emulate_round++;
        std::shuffle(warps.begin(), warps.end(), emulate_random);
        for (size_t warp : warps)
            ran = emulate_warp_run(warp, lanes) || ran;
        live = 0;
        for (const emulate_block &block : emulate_blocks)
            live += block.live;
        if (live > 0 && !ran && (emulate_on_stall == NULL || !emulate_on_stall())) emulate_deadlock();
    }
    if (emulate_on_end != NULL) emulate_on_end();
    for (const emulate_block &block : emulate_blocks)
        for (size_t i = shared_bytes; i < EMULATE_SHARED; i++)
            if (block.memory[i] != 0xff) emulate_fail("write past the shared memory of the block");
}

/* Runs the kernel over a grid; the kernel takes its arguments from globals of the test. */
static void emulate_launch(void (*kernel)(), emulate_dim grid, unsigned threads, size_t shared_bytes, unsigned seed)
{
    const size_t bytes = EMULATE_CLUSTER * threads * EMULATE_STACK;
    char *stacks =
        (char *)mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == (char *)MAP_FAILED) {
        puts("no memory for the stacks of a block");
        exit(1);
    }
    emulate_random.seed(seed);
    emulate_kernel = kernel;
    gridDim = grid;
    emulate_threads.resize(EMULATE_CLUSTER * threads);
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x += EMULATE_CLUSTER)
                emulate_cluster({x, y, z}, threads, shared_bytes, stacks);
    munmap(stacks, bytes);
}

#endif
