// Runs fa_wgmma on the CPU against f64, three times: what is asynchronous happens early, late, and at random. Built by
// tests/cli/emulate_wgmma.sh, which cuts the kernel at its PTX section: kernel_head.inc, then the functions of that section as
// plain C++ below, then kernel_tail.inc, where `shared` is the block's own.
#ifdef CLUSTER
#define EMULATE_CLUSTER CLUSTER
#endif
#define __grid_constant__
#include "emulate_cuda.h"

#include "kernel_head.inc"
#undef SHARED_BYTES
#define SHARED_BYTES SHARED

#include "emulate_numbers.h"

#include "emulate_hopper.h"

static u32 shared_address(const void *p)
{
    return (u32)((const unsigned char *)p - emulate_now->block->memory) + EMULATE_SYSTEM;
}

// Any lane of a whole warp.
static bool elect()
{
    __syncwarp();
    return emulate_lane() == threadIdx.x / 32 * 7 % 32;
}

static void barrier_init(u32 bar, int arrivals)
{
    emulate_mbarrier_init(bar, arrivals);
}

static void barrier_init_done() {}

static void barrier_expect(u32 bar, int bytes)
{
    emulate_mbarrier_arrive(bar, bytes);
}

[[maybe_unused]] static void barrier_arrive(u32 bar)
{
    emulate_mbarrier_arrive(bar, 0);
}

[[maybe_unused]] static void barrier_arrive_cluster(u32 bar)
{
    if (bar < EMULATE_WINDOW) emulate_fail("not an address of the cluster");
    emulate_mbarrier_arrive(bar, 0);
}

[[maybe_unused]] static void barrier_arrive_behind_chunks(u32 bar)
{
    emulate_chunks_then_arrive(bar);
}

static void barrier_wait(u32 bar, u32 parity)
{
    emulate_mbarrier_wait(bar, parity);
}

[[maybe_unused]] static void barrier_wait_cluster(u32 bar, u32 parity)
{
    emulate_mbarrier_wait(bar, parity);
}

static void copy_box(u32 to, const tensor_map *map, u32 bar, int x, int y, int z)
{
    emulate_box_start(to, map, bar, x, y, z);
}

[[maybe_unused]] static void copy_chunk(u32 to, const u16 *from, bool inside)
{
    emulate_chunk_start(to, from, inside);
}

[[maybe_unused]] static u32 cluster_rank()
{
    return emulate_now->block->rank;
}

[[maybe_unused]] static void cluster_arrive()
{
    emulate_cluster_arrive();
}

[[maybe_unused]] static void cluster_wait()
{
    emulate_cluster_wait();
}

[[maybe_unused]] static u32 in_block(u32 address, int rank)
{
    return EMULATE_WINDOW * ((u32)rank + 1) + address;
}

template <int n> static void store(u32 to, const float (&x)[n])
{
    const emulate_block &block = emulate_block_of(&to);
    memcpy(emulate_at(block, to, sizeof x, sizeof x), x, sizeof x);
}

[[maybe_unused]] static void store_cluster(u32 to, float a, float b, float c, float d)
{
    if (to < EMULATE_WINDOW) emulate_fail("not an address of the cluster");
    store(to, {a, b, c, d});
}

[[maybe_unused]] static void store_cluster(u32 to, float a, float b)
{
    if (to < EMULATE_WINDOW) emulate_fail("not an address of the cluster");
    store(to, {a, b});
}

[[maybe_unused]] static void store_shared(u32 to, float a, float b, float c, float d)
{
    if (to >= EMULATE_WINDOW) emulate_fail("not an address of the block");
    store(to, {a, b, c, d});
}

[[maybe_unused]] static void store_shared(u32 to, float a, float b)
{
    if (to >= EMULATE_WINDOW) emulate_fail("not an address of the block");
    store(to, {a, b});
}

[[maybe_unused]] static float2 load_pair(u32 from)
{
    float2 x;
    memcpy(&x, emulate_at(from, 8, 8), 8);
    return x;
}

[[maybe_unused]] static float4 load_shared(u32 from)
{
    float4 x;
    memcpy(&x, emulate_at(from, 16, 16), 16);
    return x;
}

[[maybe_unused]] static uint4 load_chunk(u32 from)
{
    uint4 x;
    memcpy(&x, emulate_at(from, 16, 16), 16);
    return x;
}

template <int threads> [[maybe_unused]] static void named_sync(int id)
{
    emulate_barrier_wait(id, threads);
}

static bool walked_again; // some warp group, in the lazy walk

template <int threads> [[maybe_unused]] static bool named_any(int id, bool x)
{
    const bool any = emulate_barrier_sync(id, threads, true, x);
    walked_again = walked_again || any;
    return any;
}

template <int threads> [[maybe_unused]] static void named_arrive(int id)
{
    emulate_barrier_sync(id, threads, false, false);
}

template <int registers> [[maybe_unused]] static void give_registers()
{
    emulate_registers(registers);
}

template <int registers> [[maybe_unused]] static void take_registers()
{
    emulate_registers(registers);
}

// Four matrices of 8 x 8; lanes 8i to 8i + 7 say where the rows of matrix i are. A lane's two elements: row lane / 4.
[[maybe_unused]] static void load_matrices(u32 *r, u32 address)
{
    emulate_warp &w = emulate_own_warp();
    w.word[emulate_lane()] = address;
    __syncwarp();
    for (unsigned i = 0; i < 4; i++)
        memcpy(&r[i], emulate_at(w.word[8 * i + emulate_lane() / 4], 16, 16) + emulate_lane() % 4 * 4, 4);
    __syncwarp();
}

// The other way round.
[[maybe_unused]] static void store_matrices(u32 address, u32 a, u32 b, u32 c, u32 d)
{
    const u32 r[4] = {a, b, c, d};
    emulate_warp &w = emulate_own_warp();
    w.word[emulate_lane()] = address;
    __syncwarp();
    for (unsigned i = 0; i < 4; i++)
        memcpy(emulate_at(w.word[8 * i + emulate_lane() / 4], 16, 16) + emulate_lane() % 4 * 4, &r[i], 4);
    __syncwarp();
}

static void wgmma_fence()
{
    emulate_products_fence();
}

static void wgmma_commit()
{
    emulate_products_commit();
}

template <int pending> static void wgmma_wait()
{
    emulate_products_wait(pending);
}

template <class T> static void hold(T &) {}
template <int first, int last, int n> [[maybe_unused]] static void hold_part(u32 (&)[n]) {}

template <int n> struct wgmma_ss {
    static void run(float (&d)[n / 2], u64 a, u64 b, bool add) { emulate_product_issue(n, d, NULL, a, b, false, add); }
};

template <int n, bool transposed> struct wgmma_rs {
    static void run(float (&d)[n / 2], const u32 *a, u64 b, bool add)
    {
        emulate_product_issue(n, d, a, 0, b, transposed, add);
    }
};

static u64 describe(u32 address, int next)
{
    return (u64)(address >> 4 & 0x3fff) | (u64)(next >> 4) << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}

static float exp2_approx(float x)
{
    return exp2f(x);
}

static float reciprocal(float x)
{
    return 1 / x;
}

[[maybe_unused]] static float log2_approx(float x)
{
    return log2f(x);
}

static u32 pack(float low, float high)
{
    return narrow(low) | (u32)narrow(high) << 16;
}

#include "kernel_tail.inc"

#include "emulate_attention.h"

static tensor_map map_of(const u16 *data, int rows, int planes, int box_rows)
{
    const emulate_map plain = {data, HEAD_DIM, rows, planes, 64, box_rows};
    tensor_map map = {};
    static_assert(sizeof plain <= sizeof map, "a map has room for it");
    memcpy(&map, &plain, sizeof plain);
    return map;
}

static void kernel()
{
    attention_forward(map_of(q, SEQ_Q, BATCH * HEADS, 64), map_of(k, SEQ_KV, BATCH * KV_HEADS, BLOCK_N),
                      map_of(v, SEQ_KV, BATCH * KV_HEADS, BLOCK_N), o, lse, q ORACLE(, tile));
}

int main(int argc, char **argv)
{
    const unsigned tiles = (SEQ_Q + 64 * WG_Q - 1) / (64 * WG_Q), heads = HEADS * BATCH;
    const char *const name[] = {"early", "late", "random"};
    const float spread = argc > 2 ? strtof(argv[2], NULL) : 1, climb = argc > 3 ? strtof(argv[3], NULL) : 0;
    int rc = 0;
    emulate_hopper();
    for (int when = EMULATE_EARLY; when <= EMULATE_RANDOM; when++) {
        emulate_when = (emulate_moment)when;
        walked_again = false;
        printf("%s: ", name[when]);
        rc |= emulate_attention(argc, argv, {CLUSTER * (GRID_ORDER ? heads : tiles), GRID_ORDER ? tiles : heads, 1});
        if (OVERLAP == 3 && (climb > 0 ? !walked_again : spread == 1 && walked_again)) {
            printf("the lazy walk %s\n", walked_again ? "started again" : "did not start again");
            rc = 1;
        }
    }
    return rc;
}
