#define BATCH 2
#define HEADS 8
#define KV_HEADS 8
#define SEQ_Q 512
#define SEQ_KV 512
#define HEAD_DIM 64
#define CAUSAL 0
#define WRITE_LSE 0
#define DEV_ARCH 90
#define DEV_SMEM 232448
#define DEV_THREADS 1024
#define DEV_SMS 132
#define DEV_REGS 65536
#define DEV_L2 62914560
#define DTYPE_BF16 0
#define SCALE 0.125f
#define WG_Q 1
#define WG_KV 2
#define CLUSTER 1
#define BLOCK_N 64
#define STAGES 0
#define PRODUCER 0
#define OVERLAP 3
#define PING_PONG 0
#define Q_REGS 1
#define RESCALE_LOG2 0
#define MIN_BLOCKS 1
#define MIRROR 0
#define GRID_ORDER 0
#define GROUPS 2
#define PARTS 2
#define THREADS 256
#define GROUPS_M 8
#define TILES_M 8
#define BLOCKS 128
#define SMS 132
#define L2 62914560
#define STEPS 4
#define SLOTS 4
#define TILE_BYTES 8192
#define PIECE_BYTES 8704
#define RECEIVED_BYTES 17408
#define BARRIERS 19
#define SHARED_BYTES 156824
#define ALL_BYTES 156672
#define S_REGS 64
#define P_REGS 32
#define REGS_EST 180
#define OWN_REGS 255
#define TAKEN_REGS 240
#define REGS 255
#line 1 "kernel.cu"
// fa_wgmma: fused attention forward with wgmma and the copy engine (TMA); no header, NVRTC or nvcc, sm_90a.
//
// A warp group (four warps) owns 64 query rows; a block has WG_Q of them over rows, times WG_KV over keys, and one more warp
// that only copies. A cluster of CLUSTER blocks works on the same rows: the keys are split over PARTS = CLUSTER x WG_KV parts,
// part p walks the tiles p, p + PARTS, ... of BLOCK_N keys from the last one, so that masked tiles come first.
// Softmax is online, in f32, in units of log2:
//     m' = max(m, max_j s_j c), l' = l 2^(m - m') + sum_j 2^(s_j c - m'), O' = O 2^(m - m') + P V,   c = |SCALE| log2(e).
// With RESCALE_LOG2 = T > 0 the reference m stays while no row of the warp grew by more than T: weights are then up to 2^T.
//
// Layout of an accumulator m64nN: warp w of the group has rows 16w to 16w + 15; lane 4g + t holds rows g and g + 8, columns
// 8j + 2t and 8j + 2t + 1 in registers 4j .. 4j + 3. Rounded, eight registers in a row are the A operand of the second
// product, so P never leaves the registers.
//
// Shared memory: boxes of 64 columns (128 bytes a row, 128-byte swizzle) as the copy engine writes and wgmma reads them; a
// tile of HEAD_DIM columns is HEAD_DIM / 64 boxes. Rows past the end of a tensor arrive as zeros.
//
// Pipeline: each slot has a barrier `full` (bytes arrived) and, when slots are used again, `empty` (each warp of the part has
// read it). STAGES = 0: every tile has its own slot and everything is asked for at the start; in the lazy walk by all warps in turns
// behind the block's barrier, since the copy engine takes 64 clocks for a box of 64 rows and makes who asks wait. With Q_REGS = 1
// Q comes by cp.async: a tensor map of its own would be fetched before the first K arrives.
// OVERLAP = 1: S of the next tile is asked for before P V of this one, whose product runs behind the next softmax.
// OVERLAP = 2: S of the next tile is asked for before the softmax of this one (registers for two S).
// OVERLAP = 3: both products come in pieces between the exponentials of 16 keys each, and only the first keys' maximum is taken: see
// walk_lazy.
// PING_PONG = 1: two warp groups take turns in issuing products, so that each unit is used by one while the other is elsewhere.
//
// Merge (PARTS > 1): of a row's O, part p owns the columns [p, p + 1) HEAD_DIM / PARTS. Each part sends every other one its
// slice in f32, with m and l, thread to thread, through (distributed) shared memory; each adds up the others' in the order of parts, to its own.
// No atomics, fixed orders of summation: results repeat bit for bit.

#ifndef BATCH
#define BATCH 2
#endif
#ifndef HEADS
#define HEADS 8
#endif
#ifndef KV_HEADS
#define KV_HEADS HEADS
#endif
#ifndef SEQ_Q
#define SEQ_Q 512
#endif
#ifndef SEQ_KV
#define SEQ_KV SEQ_Q
#endif
#ifndef HEAD_DIM
#define HEAD_DIM 64
#endif
#ifndef CAUSAL
#define CAUSAL 0
#endif
#ifndef DTYPE_BF16
#define DTYPE_BF16 0
#endif
#ifndef WRITE_LSE
#define WRITE_LSE 0
#endif
#ifndef SCALE
#define SCALE 0.125f
#endif
#ifndef WG_Q
#define WG_Q 1
#endif
#ifndef WG_KV
#define WG_KV 1
#endif
#ifndef CLUSTER
#define CLUSTER 1
#endif
#ifndef BLOCK_N
#define BLOCK_N 64
#endif
#ifndef STAGES
#define STAGES 2
#endif
#ifndef PRODUCER
#define PRODUCER 0
#endif
#ifndef OVERLAP
#define OVERLAP 0
#endif
#ifndef PING_PONG
#define PING_PONG 0
#endif
#ifndef Q_REGS
#define Q_REGS 0
#endif
#ifndef RESCALE_LOG2
#define RESCALE_LOG2 0
#endif
#ifndef MIN_BLOCKS
#define MIN_BLOCKS 1
#endif
#ifndef MIRROR
#define MIRROR 0
#endif
#ifndef GRID_ORDER
#define GRID_ORDER 0
#endif
// Derived: the manifest computes the same values.
#ifndef GROUPS // warp groups that compute
#define GROUPS (WG_Q * WG_KV)
#endif
#ifndef PARTS
#define PARTS (WG_KV * CLUSTER)
#endif
#ifndef THREADS
#define THREADS (128 * (WG_Q * WG_KV + PRODUCER))
#endif
#ifndef STEPS
#define STEPS ((SEQ_KV + BLOCK_N * WG_KV * CLUSTER - 1) / (BLOCK_N * WG_KV * CLUSTER))
#endif
#ifndef SLOTS
#define SLOTS (STAGES == 0 ? STEPS : STAGES)
#endif
#ifndef SHARED_BYTES
#define SHARED_BYTES 0
#endif

typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short u16;

#define DEVICE [[maybe_unused]] static __device__ __forceinline__
#define NEG_INF __uint_as_float(0xff800000u)

struct alignas(64) tensor_map {
    u64 opaque[16];
};

static_assert(HEAD_DIM % 64 == 0 && HEAD_DIM <= 256, "head_dim: 64, 128, 192 or 256");
static_assert(WG_Q == 1 || PRODUCER || STAGES == 0 || !CAUSAL, "who waits for others must not be who asks for tiles");
static_assert(OVERLAP < 3 || (STAGES == 0 && WG_Q == 1), "the lazy walk needs all tiles in place");
static_assert(!PING_PONG || (GROUPS == 2 && OVERLAP == 1), "two warp groups take turns");
static_assert(!MIRROR || (WG_Q == 2 && CAUSAL), "two warp groups have rows from both ends");
static_assert(BLOCK_N % 32 == 0 && BLOCK_N <= 256, "keys of a tile: a multiple of 32 up to 256");

static constexpr int BOXES = HEAD_DIM / 64; // of a row
static constexpr int Q_BOX = 64 * 128;      // bytes
static constexpr int Q_ROWS = BOXES * Q_BOX;
static constexpr int KV_BOX = BLOCK_N * 128;
static constexpr int TILE = BOXES * KV_BOX;
static constexpr int SLICE = HEAD_DIM / PARTS;              // columns of O that a part owns
static constexpr int SLICE_REGS = SLICE / 2;                // of a thread
static constexpr int PIECE = 128 * SLICE_REGS * 4 + 64 * 8; // bytes that one warp group sends to another
static constexpr int RECEIVED = PARTS > 1 ? GROUPS *(PARTS - 1) * PIECE : 0;
static constexpr int KV_AT = WG_Q * Q_ROWS; // [group over keys][K slots, V slots]
static constexpr int GROUP_KV = 2 * SLOTS * TILE;
static constexpr int RECEIVED_AT = KV_AT + WG_KV * GROUP_KV;
static constexpr int BARRIERS_AT = RECEIVED_AT + RECEIVED;
static constexpr bool RING = SLOTS < STEPS;                 // slots are used again
static constexpr int Q_BARRIERS = WG_Q,
                     KV_BARRIERS = (RING ? 4 : 2) * SLOTS; // [K full, V full, K empty, V empty][slot]
static constexpr int SHARED = BARRIERS_AT + 8 * (Q_BARRIERS + WG_KV * KV_BARRIERS + GROUPS);
static constexpr int OFFSET = SEQ_KV - SEQ_Q; // causal: query i sees keys j <= i + OFFSET
static constexpr bool WHOLE_BLOCKS = SEQ_Q % (64 * WG_Q) == 0; // no row of a block is past the end
static constexpr bool MASKS = CAUSAL || SEQ_KV % BLOCK_N != 0;
// A scale of zero would turn masked -inf into NaN: a vanishing one gives the same weights. A negative one turns the order
// of the logits around, so S changes its sign first.
static constexpr float LOGIT = (SCALE) == 0 ? 1e-30f : ((SCALE) < 0 ? -(SCALE) : (SCALE)) * 1.4426950408889634f;
static constexpr bool FLIP = (SCALE) < 0;

static_assert(SHARED_BYTES == 0 || SHARED_BYTES == SHARED, "the manifest computes the same");
static_assert(SLICE % 8 == 0 && SLICE * PARTS == HEAD_DIM, "each part owns whole groups of eight columns");

// --- PTX ---------------------------------------------------------------------------------------------------------------

DEVICE u32 shared_address(const void *p)
{
    return (u32)__cvta_generic_to_shared(p);
}

// True in one thread of the warp.
DEVICE bool elect()
{
    u32 r;
    asm volatile("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.b32 %0, 1, 0, p;\n}" : "=r"(r));
    return r != 0;
}

DEVICE void barrier_init(u32 bar, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(arrivals) : "memory");
}

// Barriers that were initialised become visible to the copy engine and to the cluster.
DEVICE void barrier_init_done()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

DEVICE void barrier_expect(u32 bar, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}

DEVICE void barrier_arrive(u32 bar)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
}

// Of the barrier at a shared::cluster address.
DEVICE void barrier_arrive_cluster(u32 bar)
{
    asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(bar) : "memory");
}

// Once the thread's chunks so far are there.
DEVICE void barrier_arrive_behind_chunks(u32 bar)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(bar) : "memory");
}

// Returns once the phase of that parity is over.
DEVICE void barrier_wait(u32 bar, u32 parity)
{
    asm volatile("{\n"
                 ".reg .pred over;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n"
                 "@!over bra again;\n"
                 "}" ::"r"(bar),
                 "r"(parity)
                 : "memory");
}

// The same for arrivals from other blocks.
DEVICE void barrier_wait_cluster(u32 bar, u32 parity)
{
    asm volatile("{\n"
                 ".reg .pred over;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 over, [%0], %1;\n"
                 "@!over bra again;\n"
                 "}" ::"r"(bar),
                 "r"(parity)
                 : "memory");
}

// One box: columns from x, rows from y of plane z.
DEVICE void copy_box(u32 to, const tensor_map *map, u32 bar, int x, int y, int z)
{
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::
            "r"(to),
        "l"(map), "r"(bar), "r"(x), "r"(y), "r"(z)
        : "memory");
}

// 16 bytes; zeros where they lie past the end of the tensor.
DEVICE void copy_chunk(u32 to, const u16 *from, bool inside)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(inside ? 16 : 0) : "memory");
}

DEVICE u32 cluster_rank()
{
    u32 r;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
    return r;
}

DEVICE void cluster_arrive()
{
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}

DEVICE void cluster_wait()
{
    asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
}

// The address of the same place in the shared memory of another block of the cluster.
DEVICE u32 in_block(u32 address, int rank)
{
    u32 r;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(r) : "r"(address), "r"(rank));
    return r;
}

DEVICE void store_cluster(u32 to, float a, float b, float c, float d)
{
    asm volatile("st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(to), "f"(a), "f"(b), "f"(c), "f"(d)
                 : "memory");
}

DEVICE void store_cluster(u32 to, float a, float b)
{
    asm volatile("st.shared::cluster.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(a), "f"(b) : "memory");
}

DEVICE void store_shared(u32 to, float a, float b, float c, float d)
{
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(to), "f"(a), "f"(b), "f"(c), "f"(d) : "memory");
}

DEVICE void store_shared(u32 to, float a, float b)
{
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(a), "f"(b) : "memory");
}

DEVICE float2 load_pair(u32 from)
{
    float2 x;
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(x.x), "=f"(x.y) : "r"(from) : "memory");
    return x;
}

DEVICE float4 load_shared(u32 from)
{
    float4 x;
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
                 : "r"(from)
                 : "memory");
    return x;
}

template <int threads> DEVICE void named_sync(int id)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "n"(threads) : "memory");
}

// Does any of the threads say so?
template <int threads> DEVICE bool named_any(int id, bool x)
{
    int r;
    asm volatile("{\n"
                 ".reg .pred in, out;\n"
                 "setp.ne.b32 in, %1, 0;\n"
                 "barrier.cta.red.or.aligned.pred out, %2, %3, in;\n"
                 "selp.b32 %0, 1, 0, out;\n"
                 "}"
                 : "=r"(r)
                 : "r"((int)x), "r"(id), "n"(threads)
                 : "memory");
    return r != 0;
}

template <int threads> DEVICE void named_arrive(int id)
{
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "n"(threads) : "memory");
}

template <int registers> DEVICE void give_registers()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}

template <int registers> DEVICE void take_registers()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}

DEVICE void load_matrices(u32 *r, u32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

DEVICE void store_matrices(u32 address, u32 a, u32 b, u32 c, u32 d)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(a), "r"(b), "r"(c),
                 "r"(d)
                 : "memory");
}

DEVICE uint4 load_chunk(u32 from)
{
    uint4 x;
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
                 : "r"(from)
                 : "memory");
    return x;
}

DEVICE void wgmma_fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

DEVICE void wgmma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int pending> DEVICE void wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

// The compiler may not move an access to these registers across this place.
template <int n> DEVICE void hold(float (&r)[n])
{
#pragma unroll
    for (int i = 0; i < n; i++)
        asm volatile("" : "+f"(r[i])::"memory");
}

template <int first, int last, int n> DEVICE void hold_part(u32 (&r)[n])
{
#pragma unroll
    for (int i = first; i < last; i++)
        asm volatile("" : "+r"(r[i])::"memory");
}

template <int n> DEVICE void hold(u32 (&r)[n])
{
    hold_part<0, n>(r);
}

// The same of an address: it is computed here, not where it is used.
DEVICE void hold(u16 *&p)
{
    asm volatile("" : "+l"(p)::"memory");
}

#define NAMES_0 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define NAMES_1 NAMES_0 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define NAMES_2 NAMES_1 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define NAMES_3 NAMES_2 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define NAMES_4 NAMES_3 ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"
#define NAMES_5 NAMES_4 ",%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define NAMES_6 NAMES_5 ",%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111"
#define NAMES_7 NAMES_6 ",%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define F4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define F16(i) F4(i), F4(i + 4), F4(i + 8), F4(i + 12)
#define REGS_0 F16(0)
#define REGS_1 REGS_0, F16(16)
#define REGS_2 REGS_1, F16(32)
#define REGS_3 REGS_2, F16(48)
#define REGS_4 REGS_3, F16(64)
#define REGS_5 REGS_4, F16(80)
#define REGS_6 REGS_5, F16(96)
#define REGS_7 REGS_6, F16(112)
#if DTYPE_BF16
#define OPERANDS "k16.f32.bf16.bf16 "
#else
#define OPERANDS "k16.f32.f16.f16 "
#endif

// d (64 x n) = A (64 x 16, described) B (16 x n, described, keys as rows) + (add ? d : 0)
template <int n> struct wgmma_ss;
// d (64 x n) = A (64 x 16, registers) B (16 x n, described; transposed: rows of 64 columns, one row a k) + (add ? d : 0)
template <int n, bool transposed> struct wgmma_rs;

#define WGMMA_RS(n, last, transposed, literal, p0, p1, p2, p3, p4, p5)                                                 \
    template <> struct wgmma_rs<n, transposed> {                                                                       \
        static __device__ __forceinline__ void run(float (&d)[n / 2], const u32 *a, u64 b, bool add)                   \
        {                                                                                                              \
            asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %" p5 ", 0;\n"                                          \
                         "wgmma.mma_async.sync.aligned.m64n" #n OPERANDS "{" NAMES_##last                              \
                         "}, {%" p0 ", %" p1 ", %" p2 ", %" p3 "}, %" p4 ", add, 1, 1, " literal ";\n}"                \
                         : REGS_##last                                                                                 \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((int)add)                           \
                         : "memory");                                                                                  \
        }                                                                                                              \
    };
#define WGMMA(n, last, p0, p1, p2, p3, p4, p5)                                                                         \
    template <> struct wgmma_ss<n> {                                                                                   \
        static __device__ __forceinline__ void run(float (&d)[n / 2], u64 a, u64 b, bool add)                          \
        {                                                                                                              \
            asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %" p2 ", 0;\n"                                          \
                         "wgmma.mma_async.sync.aligned.m64n" #n OPERANDS "{" NAMES_##last "}, %" p0 ", %" p1           \
                                                                                          ", add, 1, 1, 0, 0;\n}"      \
                         : REGS_##last                                                                                 \
                         : "l"(a), "l"(b), "r"((int)add)                                                               \
                         : "memory");                                                                                  \
        }                                                                                                              \
    };                                                                                                                 \
    WGMMA_RS(n, last, false, "0", p0, p1, p2, p3, p4, p5)                                                              \
    WGMMA_RS(n, last, true, "1", p0, p1, p2, p3, p4, p5)
WGMMA(32, 0, "16", "17", "18", "19", "20", "21")
WGMMA(64, 1, "32", "33", "34", "35", "36", "37")
WGMMA(96, 2, "48", "49", "50", "51", "52", "53")
WGMMA(128, 3, "64", "65", "66", "67", "68", "69")
WGMMA(160, 4, "80", "81", "82", "83", "84", "85")
WGMMA(192, 5, "96", "97", "98", "99", "100", "101")
WGMMA(224, 6, "112", "113", "114", "115", "116", "117")
WGMMA(256, 7, "128", "129", "130", "131", "132", "133")

// Shared-memory descriptor of boxes with 128-byte swizzle: `next` bytes between boxes of 64 columns (where the columns run along
// n), 1024 between groups of eight rows.
DEVICE u64 describe(u32 address, int next)
{
    return (u64)(address >> 4 & 0x3fff) | (u64)(next >> 4) << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}

DEVICE float exp2_approx(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE float reciprocal(float x)
{
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE float log2_approx(float x)
{
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE u32 pack(float low, float high)
{
    u32 r;
#if DTYPE_BF16
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
#else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
#endif
    return r;
}

// --- end of PTX --------------------------------------------------------------------------------------------------------

// --- tile hooks --------------------------------------------------------------------------------------------------------

// A debug build shows one tile of S, P and the references of P: ../README.md, tile hooks.
#ifdef FATUNE_ORACLE
#define ORACLE(...) __VA_ARGS__

DEVICE void show(float *to, int which, int plane, int row, int key, float x)
{
    const int r = row - (int)to[1], rows = (int)to[2];
    if (plane == (int)to[0] && r >= 0 && r < rows && key < SEQ_KV) to[4 + (which * (long long)rows + r) * SEQ_KV + key] = x;
}

// The low half of x as a number.
DEVICE float weight_of(u32 x)
{
    return DTYPE_BF16 ? __uint_as_float(x << 16) : __uint_as_float((x & 0x7fff) << 13) * 0x1p112f;
}
#else
#define ORACLE(...)
#endif

// f(0), ... f(n - 1): a loop whose index is a constant, so that registers are never indexed at run time.
template <int i> struct at_index {
    static constexpr int value = i;
};
template <int n, int i = 0, class F> DEVICE void repeat(const F &f)
{
    if constexpr (i < n) {
        f(at_index<i>{});
        repeat<n, i + 1>(f);
    }
}

// What a thread carries from tile to tile.
struct carried {
    float o[HEAD_DIM / 2];
    float m[2]; // reference of the row's weights, in units of log2; -inf: no key seen yet
    float l[2]; // this lane's share of the row's sum
    u32 q[Q_REGS ? HEAD_DIM / 16 : 1][4];
};

// Where a warp group is and what it reads.
struct place {
    int lane, warp, query;       // warp: of the group; query: first row of the group
    int group, part, group_q, n; // group: warp group of the block; n: tiles of the part
    u16 *o;                      // the warp's rows, the part's columns
    u32 received, arrived;       // what other parts send: their slices of O, m and l; the barrier for it
    bool leader;                 // this thread asks for the part's tiles
    u32 q_rows, k, v;            // shared addresses
    u32 k_full, v_full, k_empty, v_empty;
    ORACLE(float *show_to; int plane;)
};

// The last key that a query sees; below 0: none.
DEVICE int last_key(int query)
{
    int last = SEQ_KV - 1;
    if (CAUSAL && query + OFFSET < last) last = query + OFFSET;
    return last;
}

DEVICE int tile_key(int part, int n, int i)
{
    return (part + PARTS * (n - 1 - i)) * BLOCK_N;
}

// How many of n tiles are a part's.
DEVICE int share(int n, int part)
{
    if (!CAUSAL && n % PARTS == 0) return n / PARTS;
    return (n - part + PARTS - 1) / PARTS;
}

// First query row of a block's warp group w.
DEVICE int group_query(int tile, int w)
{
    constexpr int groups = (SEQ_Q + 63) / 64;
    if (MIRROR) return 64 * (w % 2 == 0 ? tile * (WG_Q / 2) + w / 2 : groups - 1 - (tile * (WG_Q / 2) + w / 2));
    return 64 * (tile * WG_Q + w);
}

// --- copies ------------------------------------------------------------------------------------------------------------

// What the copies of one part need.
struct stream {
    const tensor_map *k_map, *v_map;
    u32 kv, full; // its slots; its first barrier
    int plane, part, n;
};

DEVICE void copy_tile(const stream &x, bool values, int i, int slot)
{
    const u32 bar = x.full + 8 * (values * SLOTS + slot), to = x.kv + (values * SLOTS + slot) * TILE;
    barrier_expect(bar, TILE);
#pragma unroll
    for (int b = 0; b < BOXES; b++)
        copy_box(to + b * KV_BOX, values ? x.v_map : x.k_map, bar, b * 64, tile_key(x.part, x.n, i), x.plane);
}

// The tiles that have a slot from the start, but the first K: K before V, as they are needed.
DEVICE void copy_first(const stream &x)
{
#pragma unroll
    for (int values = 0; values < 2; values++)
#pragma unroll 1
        for (int i = values ? 0 : 1; i < SLOTS && i < x.n; i++)
            copy_tile(x, values, i, i);
}

// For the lazy walk: of all tiles but the first K, those with numbers [first, last) in the order K, V, K, ..., in turns by the group's warps. Who
// asks for several waits for the copy engine to take them.
template <int first, int last> DEVICE void copy_in_turns(const stream &x, int warp)
{
    repeat<last - first>([&](auto at_j) {
        constexpr int j = first + decltype(at_j)::value, i = j / 2 + (j % 2 == 0 ? 1 : 0);
        if constexpr (i < SLOTS)
            if (warp == (j + 1) % 4 && i < x.n && elect()) copy_tile(x, j % 2 != 0, i, i);
    });
}

// Tile i >= SLOTS of K (or V), once every warp has read the tile that lies in its slot.
DEVICE void copy_next(const stream &x, bool values, int i, int slot, u32 phase)
{
    barrier_wait(x.full + 8 * ((2 + values) * SLOTS + slot), phase);
    copy_tile(x, values, i, slot);
}

// --- one tile ----------------------------------------------------------------------------------------------------------

typedef float logits[BLOCK_N / 2];
typedef u32 weights[BLOCK_N / 4];

// The part of S that the columns [16 first, 16 last) of Q and K give.
template <int first, int last> DEVICE void multiply_qk(logits &s, carried &w, const place &at, int slot)
{
    const u64 q = describe(at.q_rows, 16), k = describe(at.k + slot * TILE, 16);
#pragma unroll
    for (int d = first; d < last; d++) {
        const u64 b = k + (d / 4 * KV_BOX + d % 4 * 32) / 16;
        if constexpr (Q_REGS)
            wgmma_rs<BLOCK_N, false>::run(s, w.q[d], b, d > 0);
        else
            wgmma_ss<BLOCK_N>::run(s, q + (d / 4 * Q_BOX + d % 4 * 32) / 16, b, d > 0);
    }
}

DEVICE void issue_qk(logits &s, carried &w, const place &at, int slot)
{
    wgmma_fence();
    multiply_qk<0, HEAD_DIM / 16>(s, w, at, slot);
    wgmma_commit();
}

// The keys [16 first, 16 last) of the tile; fresh: O holds nothing yet.
template <int first, int last> DEVICE void multiply_pv(carried &w, weights &p, const place &at, int slot, bool fresh)
{
    const u64 v = describe(at.v + slot * TILE, KV_BOX);
#pragma unroll
    for (int n = first; n < last; n++)
        wgmma_rs<HEAD_DIM, true>::run(w.o, p + 4 * n, v + n * (16 * 128 / 16), n > 0 || !fresh);
}

template <int first, int last> DEVICE void issue_pv(carried &w, weights &p, const place &at, int slot, bool fresh)
{
    wgmma_fence();
    multiply_pv<first, last>(w, p, at, slot, fresh);
    wgmma_commit();
}

DEVICE void mask_logits(logits &s, const place &at, int key)
{
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const int last = last_key(at.query + at.warp * 16 + at.lane / 4 + 8 * r) - key - at.lane % 4 * 2;
#pragma unroll
        for (int n = 0; n < BLOCK_N / 8; n++)
#pragma unroll
            for (int e = 0; e < 2; e++)
                if (n * 8 + e > last) s[4 * n + 2 * r + e] = NEG_INF;
    }
}

#ifdef FATUNE_ORACLE
DEVICE void show_scores(const logits &s, const place &at, int key)
{
#pragma unroll
    for (int e = 0; e < BLOCK_N / 2; e++)
        show(at.show_to, 0, at.plane, at.query + at.warp * 16 + at.lane / 4 + e / 2 % 2 * 8,
             key + e / 4 * 8 + at.lane % 4 * 2 + e % 2, s[e] * LOGIT * 0.6931471805599453f);
}

// Those of the keys [8 first, 8 last).
template <int first, int last> DEVICE void show_weights(const carried &w, const weights &p, const place &at, int key)
{
#pragma unroll
    for (int e = 4 * first; e < 4 * last; e++) {
        const int row = at.query + at.warp * 16 + at.lane / 4 + e / 2 % 2 * 8, j = key + e / 4 * 8 + at.lane % 4 * 2 + e % 2;
        show(at.show_to, 1, at.plane, row, j, weight_of(p[e / 2] >> 16 * (e % 2) & 0xffff));
        show(at.show_to, 2, at.plane, row, j, w.m[e / 2 % 2] * 0.6931471805599453f);
    }
}
#endif

// The sign of a negative scale, and the mask where the tile needs one.
DEVICE void prepare(logits &s, const place &at, int key)
{
    if (FLIP)
#pragma unroll
        for (int e = 0; e < BLOCK_N / 2; e++)
            s[e] = -s[e];
    if (MASKS && key + BLOCK_N - 1 > last_key(at.query)) mask_logits(s, at, key);
    ORACLE(show_scores(s, at, key);)
}

// The largest logit of the lane's row r among the first keys of the tile.
template <int keys> DEVICE float row_maximum(const logits &s, int r)
{
    float top[4] = {NEG_INF, NEG_INF, NEG_INF, NEG_INF};
#pragma unroll
    for (int n = 0; n < keys / 8; n++)
        top[n % 4] = fmaxf(fmaxf(top[n % 4], s[4 * n + 2 * r]), s[4 * n + 2 * r + 1]);
    top[0] = fmaxf(fmaxf(top[0], top[1]), fmaxf(top[2], top[3]));
    top[0] = fmaxf(top[0], __shfl_xor_sync(0xffffffffu, top[0], 1));
    return fmaxf(top[0], __shfl_xor_sync(0xffffffffu, top[0], 2));
}

// Moves the reference of each row to its new maximum, if need be; true: O is to be scaled by factor.
DEVICE bool advance(carried &w, const logits &s, float (&factor)[2])
{
    float next[2];
    bool grown = false;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        next[r] = fmaxf(w.m[r], row_maximum<BLOCK_N>(s, r) * LOGIT);
        grown = grown || next[r] > w.m[r] + RESCALE_LOG2;
    }
    factor[0] = factor[1] = 1;
    if (RESCALE_LOG2 > 0 && !__any_sync(0xffffffffu, grown)) return false;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        factor[r] = exp2_approx(w.m[r] - (MASKS && next[r] == NEG_INF ? 0.0f : next[r]));
        w.m[r] = next[r];
        w.l[r] *= factor[r];
    }
    return true;
}

DEVICE void rescale(carried &w, const float (&factor)[2])
{
#pragma unroll
    for (int e = 0; e < HEAD_DIM / 2; e++)
        w.o[e] *= factor[e / 2 % 2];
}

// Logits of the keys [8 first, 8 last) become weights, in place.
template <int first, int last> DEVICE void weigh(carried &w, logits &s)
{
    float minus[2];
#pragma unroll
    for (int r = 0; r < 2; r++)
        minus[r] = MASKS && w.m[r] == NEG_INF ? 0.0f : -w.m[r];
#pragma unroll
    for (int e = 4 * first; e < 4 * last; e++)
        s[e] = exp2_approx(fmaf(s[e], LOGIT, minus[e / 2 % 2]));
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float sum[2] = {0, 0};
#pragma unroll
        for (int n = first; n < last; n++)
            sum[n % 2] += s[4 * n + 2 * r] + s[4 * n + 2 * r + 1];
        w.l[r] += sum[0] + sum[1];
    }
}

template <int first, int last> DEVICE void round_weights(weights &p, const logits &s)
{
#pragma unroll
    for (int i = 2 * first; i < 2 * last; i++)
        p[i] = pack(s[2 * i], s[2 * i + 1]);
}

DEVICE void release(u32 empty, const place &at)
{
    if constexpr (RING) {
        if (at.lane == 0) barrier_arrive(empty);
    }
}

// Where part q keeps what this part sends it.
DEVICE u32 sent_to(const place &at, int q)
{
    const u32 to =
        at.received + ((q % WG_KV * WG_Q + at.group_q) * (PARTS - 1) + at.part - (at.part > q ? 1 : 0)) * PIECE;
    return CLUSTER > 1 ? in_block(to, q / WG_KV) : to;
}

// One arrival of this warp at that barrier of part q, behind its stores.
DEVICE void arrive_at(const place &at, u32 barriers, int q)
{
    const u32 bar = barriers + 8 * (q % WG_KV * WG_Q + at.group_q);
    __syncwarp();
    if (at.lane == 0) {
        if constexpr (CLUSTER > 1)
            barrier_arrive_cluster(in_block(bar, q / WG_KV));
        else
            barrier_arrive(bar);
    }
}

// m and l of the warp's rows.
DEVICE void send_sums(const carried &w, const place &at, int q)
{
    const u32 to = sent_to(at, q) + SLICE_REGS * 512 + (at.warp * 16 + at.lane / 4 + 8 * (at.lane % 4)) * 8;
    const float m = at.lane % 4 == 0 ? w.m[0] : w.m[1], l = at.lane % 4 == 0 ? w.l[0] : w.l[1];
    if (at.lane % 4 < 2) {
        if constexpr (CLUSTER > 1)
            store_cluster(to, m, l);
        else
            store_shared(to, m, l);
    }
}

// The row's sum over its lanes, while the last products run.
DEVICE void sum_lanes(carried &w)
{
#pragma unroll
    for (int r = 0; r < 2; r++) {
        w.l[r] += __shfl_xor_sync(0xffffffffu, w.l[r], 1);
        w.l[r] += __shfl_xor_sync(0xffffffffu, w.l[r], 2);
    }
}

struct cursor {
    int slot;
    u32 phase;
};

DEVICE cursor next(const cursor &c)
{
    return c.slot + 1 == SLOTS ? cursor{0, c.phase ^ 1} : cursor{c.slot + 1, c.phase};
}

// Without a warp group that copies: the leader of a part asks for the tile that follows, in its slot, tile i, which has been read.
DEVICE void refill(const stream &x, const place &at, bool values, int i, const cursor &c)
{
    if constexpr (RING && !PRODUCER) {
        if (at.leader && i + SLOTS < at.n) copy_next(x, values, i + SLOTS, c.slot, c.phase);
    }
}

DEVICE bool sees(const place &at, int i)
{
    return !CAUSAL || tile_key(at.part, at.n, i) <= last_key(at.query + 63);
}

// Chunks of P V follow their exponentials at once, and run behind those of the next chunk.
template <int first>
DEVICE void weigh_and_multiply(carried &w, logits &s, weights &p, const place &at, int slot, bool fresh ORACLE(, int key))
{
    constexpr int step = BLOCK_N % 64 == 0 ? 64 : 32;
    if constexpr (first < BLOCK_N) {
        weigh<first / 8, (first + step) / 8>(w, s);
        round_weights<first / 8, (first + step) / 8>(p, s);
        ORACLE((show_weights<first / 8, (first + step) / 8>(w, p, at, key));)
        issue_pv<first / 16, (first + step) / 16>(w, p, at, slot, first == 0 && fresh);
        weigh_and_multiply<first + step>(w, s, p, at, slot, fresh ORACLE(, key));
    }
}

DEVICE void turn_begin(const place &at)
{
    if constexpr (PING_PONG) named_sync<256>(1 + at.group);
}

DEVICE void turn_end(const place &at)
{
    if constexpr (PING_PONG) named_arrive<256>(1 + (at.group ^ 1));
}

// A tile none of whose keys the group's rows see.
DEVICE void pass(const place &at, const cursor &c)
{
    barrier_wait(at.k_full + 8 * c.slot, c.phase);
    barrier_wait(at.v_full + 8 * c.slot, c.phase);
    turn_begin(at);
    turn_end(at);
    release(at.k_empty + 8 * c.slot, at), release(at.v_empty + 8 * c.slot, at);
}

// The group's rows see no key of the part.
DEVICE void nothing(carried &w)
{
#pragma unroll
    for (int e = 0; e < HEAD_DIM / 2; e++)
        w.o[e] = 0;
}

// Tiles one after another: S, its softmax, and P V chunk by chunk, awaited behind the next S.
DEVICE void walk_plain(carried &w, const stream &x, const place &at)
{
    logits s;
    weights p = {}; // held before it is first written
    cursor c = {0, 0}, before = c;
    int i = 0;
#pragma unroll 1
    for (; i < at.n && !sees(at, i); i++, c = next(c))
        pass(at, c);
    if (i == at.n) return nothing(w);
    const int first = i;
#pragma unroll 1
    for (; i < at.n; i++, before = c, c = next(c)) {
        float factor[2];
        barrier_wait(at.k_full + 8 * c.slot, c.phase);
        issue_qk(s, w, at, c.slot);
        wgmma_wait<0>();
        hold(s);
        if constexpr (STEPS > 1) hold(w.o), hold(p);
        release(at.k_empty + 8 * c.slot, at);
        if (i > first) {
            release(at.v_empty + 8 * before.slot, at);
            refill(x, at, true, i - 1, before);
        }
        prepare(s, at, tile_key(at.part, at.n, i));
        if (advance(w, s, factor) && i > first) rescale(w, factor);
        refill(x, at, false, i, c);
        barrier_wait(at.v_full + 8 * c.slot, c.phase);
        weigh_and_multiply<0>(w, s, p, at, c.slot, i == first ORACLE(, tile_key(at.part, at.n, i)));
        if (STEPS == 1) break;
    }
    sum_lanes(w);
    wgmma_wait<0>();
    hold(w.o), hold(p);
}

// S of tile i + 1 is asked for before P V of tile i, which then runs behind the softmax of i + 1.
DEVICE void walk_overlapped(carried &w, const stream &x, const place &at)
{
    logits s;
    weights p;
    cursor c = {0, 0}, before;
    float factor[2];
    int i = 0;
#pragma unroll 1
    for (; i < at.n && !sees(at, i); i++, c = next(c))
        pass(at, c);
    if (i == at.n) return nothing(w);
    const int first = i;
    barrier_wait(at.k_full + 8 * c.slot, c.phase);
    turn_begin(at);
    issue_qk(s, w, at, c.slot);
    wgmma_wait<0>();
    hold(s);
    turn_end(at);
    release(at.k_empty + 8 * c.slot, at);
    prepare(s, at, tile_key(at.part, at.n, i));
    advance(w, s, factor); // there is no O to scale yet
    refill(x, at, false, i, c);
    weigh<0, BLOCK_N / 8>(w, s);
    round_weights<0, BLOCK_N / 8>(p, s);
    ORACLE((show_weights<0, BLOCK_N / 8>(w, p, at, tile_key(at.part, at.n, i)));)
#pragma unroll 1
    for (i++; i < at.n; i++) {
        before = c, c = next(c);
        barrier_wait(at.k_full + 8 * c.slot, c.phase);
        turn_begin(at);
        issue_qk(s, w, at, c.slot);
        barrier_wait(at.v_full + 8 * before.slot, before.phase);
        issue_pv<0, BLOCK_N / 16>(w, p, at, before.slot, i == first + 1);
        turn_end(at);
        wgmma_wait<1>();
        hold(s);
        release(at.k_empty + 8 * c.slot, at);
        prepare(s, at, tile_key(at.part, at.n, i));
        const bool scale = advance(w, s, factor);
        refill(x, at, false, i, c);
        weigh<0, BLOCK_N / 8>(w, s);
        wgmma_wait<0>();
        hold(w.o), hold(p);
        release(at.v_empty + 8 * before.slot, at);
        if (scale) rescale(w, factor);
        round_weights<0, BLOCK_N / 8>(p, s);
        ORACLE((show_weights<0, BLOCK_N / 8>(w, p, at, tile_key(at.part, at.n, i)));)
        refill(x, at, true, i - 1, before);
    }
    barrier_wait(at.v_full + 8 * c.slot, c.phase);
    issue_pv<0, BLOCK_N / 16>(w, p, at, c.slot, i == first + 1);
    sum_lanes(w);
    wgmma_wait<0>();
    hold(w.o), hold(p);
}

// One tile of the walk with two S: s takes tile i, following tile i + 1. Branches would cut the pipeline of products, so the first and the
// last tile are code of their own.
template <bool first, bool last>
DEVICE void step_double(carried &w, const stream &x, const place &at, int i, logits &s, logits &following, weights &p,
                        cursor &c, cursor &before)
{
    constexpr int chunks = BLOCK_N / (BLOCK_N % 64 == 0 ? 64 : 32); // groups of products in P V
    const cursor after = next(c);
    float factor[2];
    if constexpr (!last) {
        barrier_wait(at.k_full + 8 * after.slot, after.phase);
        issue_qk(following, w, at, after.slot);
    }
    wgmma_wait<(first ? 0 : chunks) + (last ? 0 : 1)>();
    hold(s);
    release(at.k_empty + 8 * c.slot, at);
    prepare(s, at, tile_key(at.part, at.n, i));
    const bool scale = advance(w, s, factor);
    refill(x, at, false, i, c);
    if constexpr (!first) {
        wgmma_wait<last ? 0 : 1>();
        hold(w.o), hold(p);
        release(at.v_empty + 8 * before.slot, at);
        if (scale) rescale(w, factor);
        refill(x, at, true, i - 1, before);
    }
    barrier_wait(at.v_full + 8 * c.slot, c.phase);
    weigh_and_multiply<0>(w, s, p, at, c.slot, first ORACLE(, tile_key(at.part, at.n, i)));
    before = c, c = after;
}

// S of tile i + 1 is asked for before the softmax of tile i.
DEVICE void walk_double(carried &w, const stream &x, const place &at)
{
    logits s, t;
    weights p;
    cursor c = {0, 0}, before = c;
    int i = 0;
#pragma unroll 1
    for (; i < at.n && !sees(at, i); i++, c = next(c))
        pass(at, c);
    if (i == at.n) return nothing(w);
    barrier_wait(at.k_full + 8 * c.slot, c.phase);
    issue_qk(s, w, at, c.slot);
    if (i + 1 == at.n) {
        step_double<true, true>(w, x, at, i, s, t, p, c, before);
    } else {
        step_double<true, false>(w, x, at, i, s, t, p, c, before);
        i++;
        if constexpr (STEPS > 2) {
#pragma unroll 1
            for (; i + 2 < at.n; i += 2) {
                step_double<false, false>(w, x, at, i, t, s, p, c, before);
                step_double<false, false>(w, x, at, i + 1, s, t, p, c, before);
            }
            if (i + 2 == at.n) {
                step_double<false, false>(w, x, at, i, t, s, p, c, before);
                step_double<false, true>(w, x, at, i + 1, s, t, p, c, before);
            } else {
                step_double<false, true>(w, x, at, i, t, s, p, c, before);
            }
        } else {
            step_double<false, true>(w, x, at, i, t, s, p, c, before);
        }
    }
    sum_lanes(w);
    wgmma_wait<0>();
    hold(w.o), hold(p);
}

// Tile i of n in the lazy walk; S of it is under way. Exponentials of 16 keys, P V of these keys and a piece of the next S come in turns:
// a product is short, the next exponentials do not wait for it, and behind the last of them only one is left. The two
// tiles' P have places of their own, since products of the tile before may still read it.
template <int i, int n> DEVICE void step_lazy(carried &w, const place &at, logits (&s)[2], weights (&p)[2])
{
    constexpr bool more = i + 1 < n;
    constexpr int turns = BLOCK_N / 16, pieces = HEAD_DIM / 16; // of S
    if constexpr (more) barrier_wait(at.k_full + 8 * (i + 1), 0);
    wgmma_wait<(i > 0 ? 1 : 0)>();
    hold(s[i % 2]), hold(p[i % 2]);
    prepare(s[i % 2], at, tile_key(at.part, n, i));
    if constexpr (i == 0) {
        // Any reference not above the maximum does: a few keys, unless a mask may hide them.
#pragma unroll
        for (int r = 0; r < 2; r++)
            w.m[r] = row_maximum < MASKS ? BLOCK_N : 16 > (s[0], r) * LOGIT;
    } else if (MASKS && __any_sync(0xffffffffu, w.m[0] == NEG_INF || w.m[1] == NEG_INF)) {
#pragma unroll
        for (int r = 0; r < 2; r++) { // rows that have seen no key so far: O and l are zero
            const float top = row_maximum<BLOCK_N>(s[i % 2], r) * LOGIT;
            if (w.m[r] == NEG_INF) w.m[r] = top;
        }
    }
    wgmma_fence();
    repeat<turns>([&](auto at_c) {
        constexpr int c = decltype(at_c)::value;
        if constexpr (more) {
            multiply_qk<c * pieces / turns, (c + 1) * pieces / turns>(s[(i + 1) % 2], w, at, i + 1);
            if constexpr (c == turns - 1) wgmma_commit();
        }
        weigh<2 * c, 2 * c + 2>(w, s[i % 2]);
        round_weights<2 * c, 2 * c + 2>(p[i % 2], s[i % 2]);
        ORACLE((show_weights<2 * c, 2 * c + 2>(w, p[i % 2], at, tile_key(at.part, n, i)));)
        hold_part<4 * c, 4 * c + 4>(p[i % 2]);
        if constexpr (c == 0) barrier_wait(at.v_full + 8 * i, 0);
        wgmma_fence();
        multiply_pv<c, c + 1>(w, p[i % 2], at, i, i == 0);
    });
    wgmma_commit();
    if constexpr (more) step_lazy<i + 1, n>(w, at, s, p);
}

template <int n> DEVICE bool walk_lazy_tiles(carried &w, const stream &x, const place &at)
{
    constexpr float largest = DTYPE_BF16 ? 1e18f : 32768.0f;
    logits s[2];
    weights p[2] = {};
    barrier_wait(at.k_full, 0);
    issue_qk(s[0], w, at, 0);
    copy_in_turns<4, 2 * SLOTS>(x, at.warp); // by now the copy engine has taken the others
    step_lazy<0, n>(w, at, s, p);
    sum_lanes(w);
    const bool fits = !named_any<128>(4 + at.group, !(w.l[0] <= largest && w.l[1] <= largest));
    wgmma_wait<0>();
    hold(w.o), hold(p[0]), hold(p[1]);
    return fits;
}

// The reference of a row is the maximum of its first keys and stays: later maxima need not be known while weights fit. They do while
// their sum does (LARGEST; a sum is not below its terms); else false, and the rows must be walked again with true maxima,
// which STAGES = 0 allows: every tile is still there. Code without branches, once for each number of tiles; none for a kernel that does not
// walk so, whose compiler would spend most of its time on it (12 s where 0.3 do, at 64 tiles).
DEVICE bool walk_lazy(carried &w, const stream &x, const place &at)
{
    bool fits = true;
    if (at.n == 0) nothing(w);
    repeat<OVERLAP == 3 ? STEPS : 0>([&](auto i) {
        constexpr int n = decltype(i)::value + 1;
        if (at.n == n) fits = walk_lazy_tiles<n>(w, x, at);
    });
    return fits;
}

// --- before and after the tiles ----------------------------------------------------------------------------------------

DEVICE void start(carried &w, const place &at)
{
    w.m[0] = w.m[1] = NEG_INF, w.l[0] = w.l[1] = 0;
    if constexpr (Q_REGS) {
        const int row = at.warp * 16 + at.lane % 16;
#pragma unroll
        for (int d = 0; d < HEAD_DIM / 16; d++)
            load_matrices(w.q[d],
                          at.q_rows + d / 4 * Q_BOX + row * 128 + ((2 * (d % 4) + at.lane / 16) ^ row % 8) * 16);
    }
}

DEVICE float natural_log_sum(float m, float l)
{
    return l > 0 ? (m + log2_approx(l)) * 0.6931471805599453f : NEG_INF;
}

// A slice of O to part q, with m and l of its rows.
template <int q> DEVICE void send(const carried &w, const place &at)
{
    const u32 to = sent_to(at, q) + (at.warp * 32 + at.lane) * 16;
    constexpr int o = q * SLICE_REGS;
#pragma unroll
    for (int e = 0; e < SLICE_REGS; e += 4) {
        if constexpr (CLUSTER > 1)
            store_cluster(to + e * 512, w.o[o + e], w.o[o + e + 1], w.o[o + e + 2], w.o[o + e + 3]);
        else
            store_shared(to + e * 512, w.o[o + e], w.o[o + e + 1], w.o[o + e + 2], w.o[o + e + 3]);
    }
    send_sums(w, at, q);
    arrive_at(at, at.arrived, q);
}

// m and l of the rows over all keys, and the weight of each part, this one's last.
DEVICE void weigh_parts(const carried &w, const place &at, u32 from, float (&m)[2], float (&l)[2],
                        float (&weight)[PARTS][2])
{
    float part_m[PARTS][2], part_l[PARTS][2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
#pragma unroll
        for (int q = 0; q < PARTS - 1; q++) {
            const float2 y = load_pair(from + q * PIECE + SLICE_REGS * 512 + (at.warp * 16 + at.lane / 4 + 8 * r) * 8);
            part_m[q][r] = y.x, part_l[q][r] = y.y;
        }
        part_m[PARTS - 1][r] = w.m[r], part_l[PARTS - 1][r] = w.l[r];
        m[r] = NEG_INF, l[r] = 0;
#pragma unroll
        for (int q = 0; q < PARTS; q++)
            m[r] = fmaxf(m[r], part_m[q][r]);
#pragma unroll
        for (int q = 0; q < PARTS; q++) {
            weight[q][r] = exp2_approx(part_m[q][r] - (m[r] == NEG_INF ? 0.0f : m[r]));
            l[r] = fmaf(part_l[q][r], weight[q][r], l[r]);
        }
    }
}

DEVICE float inverse(float l)
{
    return l > 0 ? reciprocal(l) : 0.0f;
}

// Sends every other part its slice, receives and adds up this part's: x, normalised, and m and l of the rows over all keys. Code of its own for
// each part, so that the slices are registers.
template <int part>
DEVICE void merge(const carried &w, const place &at, float (&x)[SLICE_REGS], float (&m)[2], float (&l)[2])
{
    const u32 from = at.received + at.group * (PARTS - 1) * PIECE, bar = at.arrived + 8 * at.group;
    float weight[PARTS][2];
    repeat<PARTS>([&](auto at_q) {
        constexpr int q = decltype(at_q)::value;
        if constexpr (q == part)
            arrive_at(at, at.arrived, q); // this warp too has read Q, which will be written over
        else
            send<q>(w, at);
    });
    if constexpr (CLUSTER > 1)
        barrier_wait_cluster(bar, 0);
    else
        barrier_wait(bar, 0);
    weigh_parts(w, at, from, m, l, weight);
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
        for (int q = 0; q < PARTS; q++)
            weight[q][r] *= inverse(l[r]);
#pragma unroll
    for (int e = 0; e < SLICE_REGS; e++)
        x[e] = w.o[part * SLICE_REGS + e] * weight[PARTS - 1][e / 2 % 2];
#pragma unroll
    for (int e = 0; e < SLICE_REGS; e += 4)
#pragma unroll
        for (int q = 0; q < PARTS - 1; q++) {
            const float4 y = load_shared(from + q * PIECE + e * 512 + (at.warp * 32 + at.lane) * 16);
            x[e] = fmaf(y.x, weight[q][0], x[e]), x[e + 1] = fmaf(y.y, weight[q][0], x[e + 1]);
            x[e + 2] = fmaf(y.z, weight[q][1], x[e + 2]), x[e + 3] = fmaf(y.w, weight[q][1], x[e + 3]);
        }
}

// Lays the rows over Q (which every part of the block has read) and writes chunks of 16 bytes.
DEVICE void write_rows(const float (&x)[SLICE_REGS], const place &at)
{
    constexpr u32 chunks = SLICE / 8, factor = chunks & -chunks, span = factor < 8 ? factor : 8;
    const u32 lane = (u32)at.lane, rows = at.q_rows + at.part % WG_KV * (64 * SLICE * 2) + at.warp * 16 * SLICE * 2;
    const auto place_of = [&](u32 row, u32 c) { return rows + (row * chunks + (c ^ (row & 7) / (8 / span))) * 16; };
#pragma unroll
    for (u32 c = 0; c < chunks; c += 2) // rows 0 to 7 and 8 to 15 of two chunks
        store_matrices(place_of(lane % 16, c + lane / 16), pack(x[4 * c], x[4 * c + 1]), pack(x[4 * c + 2], x[4 * c + 3]),
                       pack(x[4 * c + 4], x[4 * c + 5]), pack(x[4 * c + 6], x[4 * c + 7]));
    __syncwarp();
    uint4 y[chunks / 2];
#pragma unroll
    for (u32 i = 0; i < chunks / 2; i++)
        y[i] = load_chunk(place_of((32 * i + lane) / chunks, (32 * i + lane) % chunks));
#pragma unroll
    for (u32 i = 0; i < chunks / 2; i++) {
        const u32 row = (32 * i + lane) / chunks, c = (32 * i + lane) % chunks;
        if (WHOLE_BLOCKS || at.query + at.warp * 16 + (int)row < SEQ_Q) *(uint4 *)(at.o + row * HEAD_DIM + c * 8) = y[i];
    }
}

DEVICE void write_sums(const place &at, const float (&m)[2], const float (&l)[2], float *lse)
{
    if (WRITE_LSE && at.part == 0 && at.lane % 4 == 0)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int query = at.query + at.warp * 16 + at.lane / 4 + 8 * r;
            if (query < SEQ_Q) lse[query] = natural_log_sum(m[r], l[r]);
        }
}

// The same of rows that one part has summed up, normalised on the way. Longer, and the better one there: written like the above, the walk before it came
// out up to 2% slower at shapes that fill the device.
DEVICE void write_own_rows(const carried &w, const place &at, unsigned char *memory)
{
    constexpr int chunks = HEAD_DIM / 8;
    const int g = at.lane / 4, t = at.lane % 4;
    unsigned char *rows = memory + at.group_q * Q_ROWS + at.warp * 16 * HEAD_DIM * 2;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const float scale = inverse(w.l[r]);
        const int row = g + 8 * r;
#pragma unroll
        for (int c = 0; c < chunks; c++)
            *(u32 *)(rows + (row * chunks + (c ^ (row & 7))) * 16 + t * 4) =
                pack(w.o[4 * c + 2 * r] * scale, w.o[4 * c + 2 * r + 1] * scale);
    }
    __syncwarp();
#pragma unroll
    for (int i = at.lane; i < 16 * chunks; i += 32) {
        const int row = i / chunks, c = i % chunks;
        if (at.query + at.warp * 16 + row < SEQ_Q)
            *(uint4 *)(at.o + row * HEAD_DIM + c * 8) = *(const uint4 *)(rows + (row * chunks + (c ^ (row & 7))) * 16);
    }
}

DEVICE void finish(const carried &w, const place &at, unsigned char *memory, float *lse)
{
    if constexpr (PARTS > 1) {
        float x[SLICE_REGS], m[2], l[2];
        repeat<PARTS>([&](auto at_p) {
            if (at.part == at_p.value) merge<at_p.value>(w, at, x, m, l);
        });
        write_sums(at, m, l, lse);
        write_rows(x, at);
    } else {
        named_sync<128>(8 + at.group_q); // the group's Q has been read
        write_sums(at, w.m, w.l, lse);
        write_own_rows(w, at, memory);
    }
}

// 64 rows of Q by cp.async, as the copy engine would lay them; by all warp groups that work on these rows. From threadIdx: the number of the
// warp takes time to be known.
DEVICE void copy_q(const place &at, const u16 *q)
{
    constexpr u32 chunks = HEAD_DIM / 8; // of a row
    const u32 thread = threadIdx.x / (128 * WG_Q) * 128 + threadIdx.x % 128;
#pragma unroll
    for (u32 j = 0; j < 64 * chunks / (128 * WG_KV); j++) {
        const u32 i = j * 128 * WG_KV + thread, row = i / chunks, c = i % chunks;
        const bool inside = WHOLE_BLOCKS || at.query + (int)row < SEQ_Q;
        copy_chunk(at.q_rows + c / 8 * Q_BOX + row * 128 + (c % 8 ^ row % 8) * 16,
                   q + (inside ? row * HEAD_DIM + c * 8 : 0), inside);
    }
}

// The part's barriers but that of the first K.
DEVICE void barrier_init_rest(const stream &x)
{
#pragma unroll
    for (int i = 1; i < KV_BARRIERS; i++)
        barrier_init(x.full + 8 * i, i < 2 * SLOTS ? 1 : 4 * WG_Q);
    barrier_init_done();
}

// A warp group's barriers and first copies, by one thread of a warp each. What a thread initialised itself it may use at once.
DEVICE void begin(const stream &x, const place &at, const tensor_map *q_map, u32 bars, int head)
{
    const u32 q_bar = bars + 8 * at.group_q;
    if (at.warp == 0 && at.group < WG_Q && elect()) {
        barrier_init(q_bar, Q_REGS ? 128 * WG_KV : 1);
        barrier_init_done();
        if constexpr (!Q_REGS) {
            barrier_expect(q_bar, Q_ROWS);
#pragma unroll
            for (int b = 0; b < BOXES; b++)
                copy_box(at.q_rows + b * Q_BOX, q_map, q_bar, b * 64, at.query, head);
        }
    }
    if (at.warp == 1 && at.group_q == 0 && elect()) {
        barrier_init(x.full, 1); // the first K is on its way before anything else is prepared
        barrier_init_done();
        if (!PRODUCER && x.n > 0) copy_tile(x, false, 0, 0);
        if constexpr (OVERLAP < 3) {
            barrier_init_rest(x);
            if (!PRODUCER) copy_first(x);
        }
    }
    if ((PARTS > 1 || OVERLAP == 3) && at.warp == 2 && elect()) {
        if constexpr (OVERLAP == 3) barrier_init_rest(x);
        if (PARTS > 1) barrier_init(at.arrived + 8 * at.group, 4 * PARTS);
        barrier_init_done();
    }
}

// The warp group that copies: one thread, tile after tile of all parts of the block.
DEVICE void produce(const stream (&x)[WG_KV])
{
    cursor c = {0, 1}; // the first round waits for nobody
#pragma unroll 1
    for (int i = 0; i < STEPS; i++, c = next(c))
#pragma unroll
        for (int values = 0; values < 2; values++)
#pragma unroll
            for (int g = 0; g < WG_KV; g++)
                if (i < x[g].n) {
                    if (RING) barrier_wait(x[g].full + 8 * ((2 + values) * SLOTS + c.slot), c.phase);
                    copy_tile(x[g], values, i, c.slot);
                }
}

DEVICE stream stream_of(const tensor_map *k_map, const tensor_map *v_map, u32 base, int head, int rank, int g,
                        int tiles)
{
    stream x;
    x.k_map = k_map, x.v_map = v_map;
    x.kv = base + KV_AT + g * GROUP_KV, x.full = base + BARRIERS_AT + 8 * (Q_BARRIERS + g * KV_BARRIERS);
    x.plane = head / HEADS * KV_HEADS + head % HEADS / (HEADS / KV_HEADS);
    x.part = rank * WG_KV + g, x.n = share(tiles, x.part);
    return x;
}

extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
    attention_forward(const __grid_constant__ tensor_map q_map, const __grid_constant__ tensor_map k_map,
                      const __grid_constant__ tensor_map v_map, u16 *__restrict__ o_all, float *__restrict__ lse_all,
                      const u16 *__restrict__ q_all ORACLE(, float *show_to))
{
    extern __shared__ __align__(1024) unsigned char shared[];
    constexpr int tiles_m = (SEQ_Q + 64 * WG_Q - 1) / (64 * WG_Q);
    const int rank = CLUSTER > 1 ? (int)cluster_rank() : 0;
    const int warp = __shfl_sync(0xffffffffu, (int)(threadIdx.x / 32u), 0), group = warp / 4, g = group / WG_Q;
    const int block_tile = (int)(GRID_ORDER ? blockIdx.y : blockIdx.x / CLUSTER);
    const int tile = CAUSAL ? tiles_m - 1 - block_tile : block_tile; // causal: the tiles with the most keys start first
    const int head = (int)(GRID_ORDER ? blockIdx.x / CLUSTER : blockIdx.y);
    const u32 base = shared_address(shared), bars = base + BARRIERS_AT;
    const int end = group_query(tile, MIRROR ? 1 : WG_Q - 1) + 64; // the block's rows end there
    const int some = last_key(end < SEQ_Q ? end - 1 : SEQ_Q - 1) + 1,
              tiles = some > 0 ? (some + BLOCK_N - 1) / BLOCK_N : 0;

    const stream x = stream_of(&k_map, &v_map, base, head, rank, g < WG_KV ? g : 0, tiles);
    place at;
    at.lane = (int)(threadIdx.x % 32u), at.warp = warp % 4, at.group_q = group % WG_Q;
    at.group = group, at.query = group_query(tile, at.group_q), at.part = x.part, at.n = x.n;
    at.leader = threadIdx.x % (128 * WG_Q) == 0;
    ORACLE(at.show_to = show_to, at.plane = head;)
    at.q_rows = base + at.group_q * Q_ROWS;
    at.received = base + RECEIVED_AT;
    at.arrived = bars + 8 * (Q_BARRIERS + WG_KV * KV_BARRIERS);
    at.o = o_all + ((long long)head * SEQ_Q + at.query + at.warp * 16) * HEAD_DIM + at.part * SLICE;
    at.k = x.kv, at.v = at.k + SLOTS * TILE;
    at.k_full = x.full, at.v_full = x.full + 8 * SLOTS;
    at.k_empty = x.full + 16 * SLOTS, at.v_empty = x.full + 24 * SLOTS;

    const bool computes = !PRODUCER || group < GROUPS;
    if constexpr (Q_REGS)
        if (computes) copy_q(at, q_all + ((long long)head * SEQ_Q + at.query) * HEAD_DIM);
    if (computes) begin(x, at, &q_map, bars, head);
    __syncthreads();
    if constexpr (Q_REGS)
        if (computes) barrier_arrive_behind_chunks(bars + 8 * at.group_q);
    if constexpr (OVERLAP == 3) copy_in_turns<0, 4>(x, at.warp);
    if constexpr (CLUSTER > 1) cluster_arrive();
    if constexpr (PRODUCER) {
        if (group == GROUPS) {
            give_registers<GROUPS == 3 ? 32 : 24>();
            if (threadIdx.x % 128 == 0) {
                stream all[WG_KV];
#pragma unroll
                for (int i = 0; i < WG_KV; i++)
                    all[i] = stream_of(&k_map, &v_map, base, head, rank, i, tiles);
                produce(all);
            }
            if constexpr (CLUSTER > 1) {
                __syncwarp();
                cluster_wait();
            }
            return;
        }
        take_registers<GROUPS <= 2 ? 240 : GROUPS == 3 ? 160 : 112>();
    }
    carried w;
    if constexpr (OVERLAP == 3) hold(at.o);
    if (PING_PONG && at.group == 1) named_arrive<256>(1);
    barrier_wait(bars + 8 * at.group_q, 0);
    start(w, at);
    if constexpr (OVERLAP == 3) {
        if (!walk_lazy(w, x, at)) {
            w.m[0] = w.m[1] = NEG_INF, w.l[0] = w.l[1] = 0;
            walk_plain(w, x, at);
        }
    } else if constexpr (OVERLAP == 2)
        walk_double(w, x, at);
    else if constexpr (OVERLAP == 1)
        walk_overlapped(w, x, at);
    else
        walk_plain(w, x, at);
    if constexpr (CLUSTER > 1) cluster_wait(); // the others have started, with their barriers in place
    finish(w, at, shared, lse_all + (long long)head * SEQ_Q);
}
