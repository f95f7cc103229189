/* emulate_hopper.h - what Hopper adds, for kernels under emulate_cuda.h: mbarriers, boxes by tensor map, chunks by thread, wgmma, clusters with
 * distributed shared memory, register pools. Included after emulate_numbers.h.
 *
 * What is asynchronous happens when emulate_when says: at the earliest moment allowed, at the latest (a product at the wait that
 * retires it, a copy once all threads of the cluster sleep), or at random ones between. A copy poisons its target when it is asked
 * for; in late runs, so are accumulators in flight. So what is read, or written over, too early gives wrong numbers in one of them.
 * Warps of a group are not held together: only barriers that the kernel has order them.
 *
 * Shared addresses are those of the device: 32 bits, dynamic shared memory behind the 1024 bytes that the system has, other blocks' in a window
 * far away. Fails on the spot: a barrier that was not initialised, was written over or gets more arrivals than it expects; a store to a block
 * that has ended; a copy or product in flight where its block ends; misplaced addresses and descriptors; products without a fence, or that differ
 * between the warps of a group. */
#ifndef EMULATE_HOPPER_H
#define EMULATE_HOPPER_H

#include <deque>
#include <map>

enum emulate_moment { EMULATE_EARLY, EMULATE_LATE, EMULATE_RANDOM };
static emulate_moment emulate_when;

static bool emulate_at_once()
{
    return emulate_when == EMULATE_EARLY || (emulate_when == EMULATE_RANDOM && emulate_random() % 2 == 0);
}

/* --- shared memory ------------------------------------------------------------------------------------------------------- */

static constexpr u32 EMULATE_SYSTEM = 1024, EMULATE_WINDOW = 0x1000000; /* block r of the cluster: WINDOW * (r + 1) */

/* The bytes at an address of a block's own. */
static unsigned char *emulate_at(const emulate_block &block, u32 address, size_t bytes, u32 alignment)
{
    if (address % alignment != 0) emulate_fail("misaligned access to shared memory");
    if (address < EMULATE_SYSTEM || address + bytes > EMULATE_SYSTEM + SHARED)
        emulate_fail("access outside the shared memory of the block");
    return block.memory + address - EMULATE_SYSTEM;
}

static unsigned char *emulate_at(u32 address, size_t bytes, u32 alignment)
{
    return emulate_at(*emulate_now->block, address, bytes, alignment);
}

/* The block that a shared::cluster address lies in; leaves the address that the block has for it. */
static emulate_block &emulate_block_of(u32 *address)
{
    if (*address < EMULATE_WINDOW) return *emulate_now->block;
    const u32 rank = *address / EMULATE_WINDOW - 1;
    if (rank >= EMULATE_CLUSTER) emulate_fail("no such block in the cluster");
    if (emulate_blocks[rank].live == 0) emulate_fail("access to the shared memory of a block that has ended");
    *address %= EMULATE_WINDOW;
    return emulate_blocks[rank];
}

/* Where the 128-byte swizzle has the bytes of an address. */
static u32 emulate_swizzled(u32 address)
{
    return address ^ (address >> 3 & 0x70);
}

/* --- barriers in shared memory ------------------------------------------------------------------------------------------- */

struct emulate_mbarrier {
    int count, pending; /* arrivals of a phase; still expected in this one */
    long bytes;         /* still expected in this phase */
    int phase;
};

static const char EMULATE_MARK[] = "mbarrier"; /* lies where a barrier is */
static std::map<u32, emulate_mbarrier> emulate_mbarriers[EMULATE_CLUSTER];

static void emulate_mbarrier_init(u32 address, int arrivals)
{
    std::map<u32, emulate_mbarrier> &all = emulate_mbarriers[emulate_now->block->rank];
    if (all.count(address) != 0) emulate_fail("a barrier is initialised twice");
    memcpy(emulate_at(address, 8, 8), EMULATE_MARK, 8);
    all[address] = {arrivals, arrivals, 0, 0};
}

static emulate_mbarrier &emulate_mbarrier_at(const emulate_block &block, u32 address)
{
    auto found = emulate_mbarriers[block.rank].find(address);
    if (found == emulate_mbarriers[block.rank].end()) emulate_fail("no barrier was initialised there");
    if (memcmp(emulate_at(block, address, 8, 8), EMULATE_MARK, 8) != 0) emulate_fail("a barrier was written over");
    return found->second;
}

static void emulate_mbarrier_advance(emulate_mbarrier &b)
{
    if (b.pending > 0 || b.bytes > 0) return;
    b.pending = b.count;
    b.phase++;
}

static void emulate_mbarrier_arrive(u32 address, int bytes)
{
    const emulate_block &block = emulate_block_of(&address);
    emulate_mbarrier &b = emulate_mbarrier_at(block, address);
    if (b.pending == 0) emulate_fail("more arrivals at a barrier than it expects");
    b.bytes += bytes;
    b.pending--;
    emulate_mbarrier_advance(b);
    emulate_pause();
}

static void emulate_mbarrier_wait(u32 address, u32 parity)
{
    const emulate_mbarrier &b = emulate_mbarrier_at(*emulate_now->block, address);
    while ((u32)b.phase % 2 == parity)
        emulate_sleep(&b.phase, "mbarrier at byte", address - EMULATE_SYSTEM);
}

/* --- boxes --------------------------------------------------------------------------------------------------------------- */

/* Lies in the kernel's opaque tensor map. */
struct emulate_map {
    const u16 *data;
    int columns, rows, planes, box_columns, box_rows;
};

struct emulate_box {
    emulate_map map;
    emulate_block *block;
    u32 to, barrier;
    int x, y, z;
};

static std::vector<emulate_box> emulate_boxes; /* in flight */

static void emulate_box_land(const emulate_box &b)
{
    const emulate_map &m = b.map;
    for (int r = 0; r < m.box_rows; r++)
        for (int c = 0; c < m.box_columns; c++) {
            const int x = b.x + c, y = b.y + r;
            const bool in = x >= 0 && x < m.columns && y >= 0 && y < m.rows && b.z >= 0 && b.z < m.planes;
            const u16 value = in ? m.data[((size_t)b.z * m.rows + y) * m.columns + x] : 0;
            memcpy(emulate_at(*b.block, emulate_swizzled(b.to + (u32)(r * 128 + c * 2)), 2, 2), &value, 2);
        }
    emulate_mbarrier &bar = emulate_mbarrier_at(*b.block, b.barrier);
    bar.bytes -= 2L * m.box_rows * m.box_columns;
    if (bar.bytes < 0) emulate_fail("more bytes arrive at a barrier than it expects");
    emulate_mbarrier_advance(bar);
}

static void emulate_box_start(u32 to, const void *map, u32 barrier, int x, int y, int z)
{
    emulate_box b = {{}, emulate_now->block, to, barrier, x, y, z};
    memcpy(&b.map, map, sizeof b.map);
    if (b.map.box_columns != 64) emulate_fail("a row of a box is not 128 bytes");
    memset(emulate_at(to, (size_t)b.map.box_rows * 128, 1024), 0xff, (size_t)b.map.box_rows * 128);
    emulate_mbarrier_at(*b.block, barrier);
    if (emulate_at_once())
        emulate_box_land(b);
    else
        emulate_boxes.push_back(b);
}

/* One box in flight, any. */
static bool emulate_box_any()
{
    if (emulate_boxes.empty()) return false;
    const size_t i = emulate_random() % emulate_boxes.size();
    emulate_box_land(emulate_boxes[i]);
    emulate_boxes.erase(emulate_boxes.begin() + (long)i);
    return true;
}

/* --- chunks -------------------------------------------------------------------------------------------------------------- */

/* A copy of 16 bytes by one thread, or its arrival at a barrier once its copies before are there (from NULL, to the barrier). */
struct emulate_chunk {
    emulate_block *block;
    const void *thread;
    u32 to;
    const u16 *from;
    bool inside;
};

static std::deque<emulate_chunk> emulate_chunks; /* in flight */

static void emulate_chunk_land(const emulate_chunk &c)
{
    if (c.from != NULL) {
        unsigned char *to = emulate_at(*c.block, c.to, 16, 16);
        if (c.inside)
            memcpy(to, c.from, 16);
        else
            memset(to, 0, 16);
        return;
    }
    emulate_mbarrier &b = emulate_mbarrier_at(*c.block, c.to);
    if (b.pending == 0) emulate_fail("more arrivals at a barrier than it expects");
    b.pending--;
    emulate_mbarrier_advance(b);
}

/* One in flight, any whose thread has none before it when it is an arrival. */
static bool emulate_chunk_any()
{
    if (emulate_chunks.empty()) return false;
    size_t i = emulate_random() % emulate_chunks.size();
    if (emulate_chunks[i].from == NULL)
        for (size_t before = 0; before < i; before++)
            if (emulate_chunks[before].thread == emulate_chunks[i].thread) i = before;
    emulate_chunk_land(emulate_chunks[i]);
    emulate_chunks.erase(emulate_chunks.begin() + (long)i);
    return true;
}

static void emulate_chunk_new(const emulate_chunk &c)
{
    emulate_chunks.push_back(c);
    if (emulate_at_once())
        while (emulate_chunk_any())
            ;
}

static void emulate_chunk_start(u32 to, const u16 *from, bool inside)
{
    memset(emulate_at(to, 16, 16), 0xff, 16);
    emulate_chunk_new({emulate_now->block, emulate_now, to, from, inside});
}

static void emulate_chunks_then_arrive(u32 barrier)
{
    emulate_mbarrier_at(*emulate_now->block, barrier);
    emulate_chunk_new({emulate_now->block, emulate_now, barrier, NULL, false});
}

/* Something that is copied arrives. */
static bool emulate_copy_any()
{
    const bool chunk = emulate_random() % 2 == 0;
    return chunk ? emulate_chunk_any() || emulate_box_any() : emulate_box_any() || emulate_chunk_any();
}

/* --- products ------------------------------------------------------------------------------------------------------------ */

struct emulate_product {
    int n, group; /* group: of commits */
    bool from_registers, transposed, add;
    u64 a, b;
    float *d[32]; /* registers of each lane */
    const u32 *a_registers[32];
};

/* Registers with products in flight: what they will hold. */
struct emulate_accumulator {
    int products, n;
    float *d[32];
    float value[32][128];
};

/* The products of one warp: rows 16 w to 16 w + 15 of those of its group. */
struct emulate_tensor_core {
    emulate_product next; /* lanes leave their registers here */
    std::deque<emulate_product> pending;
    std::map<float *, emulate_accumulator> accumulators; /* by the first register of lane 0 */
    int group;                                           /* of the next product */
    bool fenced;
    std::vector<u64> issued; /* must be the same in all warps of a group */
};

static std::vector<emulate_tensor_core> emulate_tensor_cores; /* by block and warp */
static const float EMULATE_IN_FLIGHT[2] = {3e38f, -3e38f};    /* in turns; a maximum would ignore NaN */

static emulate_tensor_core &emulate_own_tensor_core()
{
    return emulate_tensor_cores[emulate_now->block->rank * emulate_now->block->warps.size() + threadIdx.x / 32];
}

/* Element (i, k) of a described operand: i along the rows of A or the columns of B. */
static float emulate_operand(u64 descriptor, int i, int k, bool transposed)
{
    const u32 start = (u32)(descriptor & 0x3fff) << 4, leading = (u32)(descriptor >> 16 & 0x3fff) << 4,
              stride = (u32)(descriptor >> 32 & 0x3fff) << 4;
    u16 x;
    if (descriptor >> 46 != 1 << 16) emulate_fail("a descriptor asks for something else than a 128-byte swizzle");
    const u32 at = transposed ? (u32)i / 64 * leading + (u32)k / 8 * stride + (u32)k % 8 * 128 + (u32)i % 64 * 2
                              : (u32)i / 8 * stride + (u32)i % 8 * 128 + (u32)k * 2;
    memcpy(&x, emulate_at(emulate_swizzled(start + at), 2, 2), 2);
    return widen(x);
}

static void emulate_product_run(const emulate_product &p, emulate_accumulator &to)
{
    static float a[16][16], b[16][256];
    const int warp = (int)threadIdx.x / 32 % 4;
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 16; k++)
            a[i][k] = p.from_registers
                          ? widen((u16)(p.a_registers[i % 8 * 4 + k % 8 / 2][i / 8 + k / 8 * 2] >> 16 * (k % 2)))
                          : emulate_operand(p.a, 16 * warp + i, k, false);
    for (int k = 0; k < 16; k++)
        for (int j = 0; j < p.n; j++)
            b[k][j] = emulate_operand(p.b, j, k, p.transposed);
    for (int i = 0; i < 16; i++) {
        float sum[256] = {};
        for (int k = 0; k < 16; k++)
            for (int j = 0; j < p.n; j++)
                sum[j] += a[i][k] * b[k][j];
        for (int j = 0; j < p.n; j++) {
            float &d = to.value[i % 8 * 4 + j % 8 / 2][j / 8 * 4 + i / 8 * 2 + j % 2];
            d = (p.add ? d : 0) + sum[j];
        }
    }
}

static void emulate_accumulator_check(const emulate_accumulator &a)
{
    for (int lane = 0; lane < 32; lane++)
        for (int e = 0; e < a.n / 2; e++)
            if (a.d[lane][e] != EMULATE_IN_FLIGHT[e % 2])
                emulate_fail("an accumulator is written while its product is in flight");
}

/* The oldest product in flight; its registers get their values once no other product has them. */
static void emulate_product_retire(emulate_tensor_core &t)
{
    const emulate_product p = t.pending.front();
    emulate_accumulator &a = t.accumulators.at(p.d[0]);
    t.pending.pop_front();
    emulate_product_run(p, a);
    if (--a.products > 0) return;
    emulate_accumulator_check(a);
    for (int lane = 0; lane < 32; lane++)
        memcpy(a.d[lane], a.value[lane], (size_t)a.n / 2 * sizeof(float));
    t.accumulators.erase(p.d[0]);
}

static void emulate_product_start(emulate_tensor_core &t)
{
    const emulate_product &p = t.next;
    emulate_accumulator &a = t.accumulators[p.d[0]];
    if (!t.fenced) emulate_fail("a product without a fence");
    if (a.products == 0) {
        a.n = p.n;
        memcpy(a.d, p.d, sizeof a.d);
        for (int lane = 0; lane < 32; lane++) {
            memcpy(a.value[lane], p.d[lane], (size_t)p.n / 2 * sizeof(float));
            for (int e = 0; e < p.n / 2; e++)
                p.d[lane][e] = EMULATE_IN_FLIGHT[e % 2];
        }
    }
    emulate_accumulator_check(a);
    a.products++;
    t.pending.push_back(p);
    if (emulate_at_once())
        while (!t.pending.empty())
            emulate_product_retire(t);
    t.issued.insert(t.issued.end(),
                    {p.a, p.b, (u64)p.n << 3 | (u64)p.from_registers << 2 | (u64)p.transposed << 1 | p.add});
}

static void emulate_product_issue(int n, float *d, const u32 *a_registers, u64 a, u64 b, bool transposed, bool add)
{
    emulate_tensor_core &t = emulate_own_tensor_core();
    const unsigned lane = emulate_lane();
    t.next.d[lane] = d, t.next.a_registers[lane] = a_registers;
    t.next.n = n, t.next.group = t.group;
    t.next.from_registers = a_registers != NULL, t.next.transposed = transposed, t.next.add = add;
    t.next.a = a, t.next.b = b;
    emulate_together([&t] { emulate_product_start(t); });
}

static void emulate_products_fence()
{
    emulate_together([] { emulate_own_tensor_core().fenced = true; });
}

static void emulate_products_commit()
{
    emulate_together([] {
        emulate_own_tensor_core().fenced = false;
        emulate_own_tensor_core().group++;
    });
}

static void emulate_products_wait(int groups)
{
    emulate_together([groups] {
        emulate_tensor_core &t = emulate_own_tensor_core();
        while (!t.pending.empty() && t.pending.front().group < t.group - groups)
            emulate_product_retire(t);
    });
}

/* --- registers, clusters ------------------------------------------------------------------------------------------------- */

struct emulate_pool {
    int left, version; /* registers that no warp has, by warp group's thread; counts changes */
    std::vector<int> of_warp;
};

static emulate_pool emulate_pools[EMULATE_CLUSTER];
static int emulate_cluster_arrived, emulate_cluster_generation;
static std::vector<bool> emulate_cluster_who;

/* setmaxnreg, of one warp. The pool is what the threads of the block have at its start, if all have as many as fit. */
static void emulate_registers(int registers)
{
    emulate_pool &pool = emulate_pools[emulate_now->block->rank];
    int &own = pool.of_warp[threadIdx.x / 32];
    __syncwarp();
    while (registers - own > pool.left)
        emulate_sleep(&pool.version, "registers:", (unsigned)registers);
    emulate_together([&] {
        pool.left -= registers - own;
        pool.version++;
        own = registers;
    });
}

static size_t emulate_thread_number()
{
    return (size_t)(emulate_now - emulate_threads.data());
}

static void emulate_cluster_arrive()
{
    if (emulate_cluster_who[emulate_thread_number()]) emulate_fail("arrives twice at the barrier of the cluster");
    emulate_cluster_who[emulate_thread_number()] = true;
    if (++emulate_cluster_arrived == (int)emulate_threads.size()) emulate_cluster_generation++;
}

/* Of the one time that a kernel may use it here. */
static void emulate_cluster_wait()
{
    if (!emulate_cluster_who[emulate_thread_number()]) emulate_fail("waits for the cluster without having arrived");
    while (emulate_cluster_generation == 0)
        emulate_sleep(&emulate_cluster_generation, "the cluster", 0);
}

static void emulate_hopper_start()
{
    const unsigned threads = emulate_blocks[0].threads;
    const int registers = (int)std::min(256u, 65536 / threads / 8 * 8);
    for (emulate_pool &pool : emulate_pools)
        pool = {0, 0, std::vector<int>(threads / 32, registers)};
    for (auto &all : emulate_mbarriers)
        all.clear();
    emulate_tensor_cores.assign(EMULATE_CLUSTER * threads / 32, {});
    emulate_cluster_arrived = emulate_cluster_generation = 0;
    emulate_cluster_who.assign(emulate_threads.size(), false);
}

static void emulate_hopper_block_end(emulate_block &block)
{
    const emulate_tensor_core *own = &emulate_tensor_cores[block.rank * block.warps.size()];
    for (const emulate_box &b : emulate_boxes)
        if (b.block == &block) emulate_fail("a block ends with a box in flight");
    for (const emulate_chunk &c : emulate_chunks)
        if (c.block == &block) emulate_fail("a block ends with a chunk in flight");
    for (size_t w = 0; w < block.warps.size(); w++) {
        if (!own[w].pending.empty()) emulate_fail("a block ends with a product in flight");
        if (own[w].issued != own[w / 4 * 4].issued) emulate_fail("products differ between the warps of a group");
    }
}

static void emulate_hopper()
{
    emulate_on_start = emulate_hopper_start;
    emulate_on_stall = emulate_copy_any;
    emulate_on_block_end = emulate_hopper_block_end;
}

#endif
