// fa_mma: fused attention forward with mma.sync.m16n8k16, ldmatrix and cp.async; no header, NVRTC or nvcc, sm_80 and up.
//
// A block owns BLOCK_M query rows of a head. Its warps form WARPS_KV groups of WARPS_Q warps. Group g walks the key tiles g,
// g + WARPS_KV, ... of BLOCK_N keys, with its own memory and its own barrier: groups meet only at the start and at the end,
// when their partial (max, sum, O) are merged in a fixed order. Within a group a warp owns STRIPS strips of 16 rows.
// Softmax is online, in f32, in units of log2:
//     m' = max(m, max_j s_j c), l' = l 2^(m - m') + sum_j 2^(s_j c - m'), O' = O 2^(m - m') + P V,   c = |SCALE| log2(e).
// With RESCALE_LOG2 = T > 0 the reference m stays while no row of the warp grew by more than T: weights are then up to 2^T.
//
// Layout of m16n8k16: lane 4g + t holds of a 16 x 8 accumulator rows g and g + 8, columns 2t and 2t + 1; two of them side by
// side are, rounded, the A operand of the second product, so P never leaves the registers.
//
// Shared memory: rows of HEAD_DIM elements without padding. 16-byte chunk c of row r lies at c ^ swizzle(r), which spreads
// each column of 8 rows over all banks. ldmatrix gives four registers in a row; Q and V take their four 8 x 8 matrices in one
// order and K in another, so that each operand of a product is a run of registers.
//
// Copies: tile i of a group needs K before V; both are commit groups of their own, and every step commits exactly two (empty
// ones at the ends), so that the number of younger groups is a constant. K of tile j is asked for in step j - K_SLOTS after
// the barrier that ends the reading of its place, V of tile j in step j + 1 - V_SLOTS.
//
// Invariants: rows past the end of Q, K or V are zero in shared memory (cp.async of 0 bytes): no NaN from beyond the tensors
// meets a zero weight, nothing past the end is read. No atomics, fixed orders of summation: results repeat bit for bit.

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
#ifndef BLOCK_M
#define BLOCK_M 64
#endif
#ifndef BLOCK_N
#define BLOCK_N 64
#endif
#ifndef WARPS_Q
#define WARPS_Q 4
#endif
#ifndef WARPS_KV
#define WARPS_KV 1
#endif
#ifndef STAGES_K
#define STAGES_K 2
#endif
#ifndef STAGES_V
#define STAGES_V 2
#endif
#ifndef Q_REGS
#define Q_REGS 1
#endif
#ifndef RESCALE_LOG2
#define RESCALE_LOG2 0
#endif
#ifndef MIN_BLOCKS
#define MIN_BLOCKS 1
#endif
#ifndef GRID_ORDER
#define GRID_ORDER 0
#endif
// Derived: the manifest computes the same values.
#ifndef THREADS
#define THREADS (32 * WARPS_Q * WARPS_KV)
#endif
#ifndef STRIPS
#define STRIPS (BLOCK_M / (16 * WARPS_Q))
#endif
#ifndef STEPS
#define STEPS ((SEQ_KV + BLOCK_N * WARPS_KV - 1) / (BLOCK_N * WARPS_KV))
#endif
#ifndef K_SLOTS
#define K_SLOTS (STAGES_K == 0 ? STEPS : STAGES_K)
#endif
#ifndef V_SLOTS
#define V_SLOTS (STAGES_V == 0 ? STEPS : STAGES_V)
#endif
#ifndef Q_BYTES
#define Q_BYTES (2 * BLOCK_M * HEAD_DIM)
#endif
#ifndef PART_BYTES
#define PART_BYTES (WARPS_KV > 1 ? 4 * BLOCK_M * HEAD_DIM : 0)
#endif
#ifndef GROUP_BYTES
#define GROUP_BYTES                                                                                                    \
    (2 * BLOCK_N * HEAD_DIM * (K_SLOTS + V_SLOTS) > PART_BYTES ? 2 * BLOCK_N * HEAD_DIM * (K_SLOTS + V_SLOTS)          \
                                                               : PART_BYTES)
#endif
#ifndef SHARED_BYTES
#define SHARED_BYTES (Q_BYTES + WARPS_KV * GROUP_BYTES + (WARPS_KV > 1 ? 8 * BLOCK_M * WARPS_KV : 0))
#endif

typedef unsigned int u32;
typedef unsigned short u16;

#define DEVICE [[maybe_unused]] static __device__ __forceinline__
#define NEG_INF __uint_as_float(0xff800000u)

static_assert(HEAD_DIM % 16 == 0 && HEAD_DIM >= 32 && HEAD_DIM <= 256, "head_dim: 32 to 256 in steps of 16");
static_assert(BLOCK_M == 16 * WARPS_Q * STRIPS && STRIPS > 0, "a warp owns whole strips of 16 rows");
static_assert(BLOCK_N % 16 == 0 && (BLOCK_N & (BLOCK_N - 1)) == 0, "keys of a tile: a power of two from 16");
static_assert((WARPS_Q & (WARPS_Q - 1)) == 0 && (WARPS_KV & (WARPS_KV - 1)) == 0 && WARPS_KV <= 8, "warps");

static constexpr int D_TILES = HEAD_DIM / 16; // 16-wide tiles of the head dimension
static constexpr int N_TILES = BLOCK_N / 16;  // 16-wide tiles of the keys
static constexpr int CHUNKS = HEAD_DIM / 8;   // 16-byte chunks of a row
static constexpr int ROW_BYTES = 2 * HEAD_DIM;
static constexpr int TILE_BYTES = BLOCK_N * ROW_BYTES;
static constexpr int OFFSET = SEQ_KV - SEQ_Q; // causal: query i sees keys j <= i + OFFSET
// CHUNKS is an odd multiple of SPAN, or a multiple of 8: the swizzle permutes SPAN chunks, the pitch itself does the rest.
static constexpr int SPAN = CHUNKS % 8 == 0 ? 8 : CHUNKS % 4 == 0 ? 4 : 2;
static constexpr int SPAN_TILES = SPAN / 2; // 16-wide tiles of a span
// A scale of zero would turn masked -inf into NaN: a vanishing one gives the same weights. A negative one turns the order
// of the logits around, so S changes its sign first.
static constexpr float LOGIT = (SCALE) == 0 ? 1e-30f : ((SCALE) < 0 ? -(SCALE) : (SCALE)) * 1.4426950408889634f;
static constexpr bool FLIP = (SCALE) < 0;

// --- PTX ---------------------------------------------------------------------------------------------------------------

DEVICE u32 shared_address(const void *p)
{
    return (u32)__cvta_generic_to_shared(p);
}

// Four 8 x 8 matrices; lane i gives the address of row i % 8 of matrix i / 8.
template <int offset> DEVICE void load_matrices(u32 *r, u32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4 + %5];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address), "n"(offset)
                 : "memory");
}

template <int offset> DEVICE void load_transposed(u32 *r, u32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4 + %5];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address), "n"(offset)
                 : "memory");
}

#if DTYPE_BF16
#define MMA "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"
#else
#define MMA "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"
#endif

DEVICE void multiply(float *d, const u32 *a, u32 b0, u32 b1)
{
    asm(MMA " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 16 bytes from src + from (elements) to address + to (bytes) in shared memory, behind the threads' back.
template <int to, int from> DEVICE void copy_async(u32 address, const u16 *src)
{
    asm volatile("cp.async.cg.shared.global [%0 + %2], [%1 + %3], 16;" ::"r"(address), "l"(src), "n"(to), "n"(2 * from)
                 : "memory");
}

// The same without offsets; writes zeros when `valid` is false (src is not read then).
DEVICE void copy_async_or_zero(u32 address, const u16 *src, bool valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(src), "r"(valid ? 16 : 0)
                 : "memory");
}

DEVICE void copy_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most `pending` groups of this thread are under way.
template <int pending> DEVICE void copy_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// Barrier of `threads` threads; 0 is the one of the block.
template <int threads> DEVICE void barrier(int id)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "n"(threads) : "memory");
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

// f(at<0>), ... f(at<n - 1>): a loop whose index is a constant, as PTX wants it for offsets.
template <int i> struct at {
    static constexpr int value = i;
};
template <int n, int i = 0, class F> DEVICE void repeat(const F &f)
{
    if constexpr (i < n) {
        f(at<i>{});
        repeat<n, i + 1>(f);
    }
}

// What a lane carries from tile to tile.
struct carried {
    float o[STRIPS][2 * D_TILES][4];
    float m[STRIPS][2]; // reference of the row's weights, in units of log2; -inf: no key seen yet
    float l[STRIPS][2]; // this lane's share of the row's sum
    u32 q[Q_REGS ? STRIPS : 1][Q_REGS ? D_TILES : 1][4];
};

// Where a warp is and what it reads.
struct place {
    int lane, query, group;   // query: first row of the warp
    u32 q_rows, k_all, v_all; // shared addresses: the warp's rows of Q, the group's K and V
    u32 lane_at[SPAN_TILES];  // the lane's row and chunk in a 16 x 16 tile of Q or V at columns 16 i
    u32 k_lane_at[SPAN_TILES];
    ORACLE(float *show_to; int plane;)
};

// The last key that a query sees; below 0: none.
DEVICE int last_key(int query)
{
    int last = SEQ_KV - 1;
    if (CAUSAL && query + OFFSET < last) last = query + OFFSET;
    return last;
}

DEVICE constexpr int swizzle(int row)
{
    return (row & 7) / (8 / SPAN);
}

// Byte offset of the tile of columns 16 d behind the lane's address of tile d % SPAN_TILES.
DEVICE constexpr int column_offset(int d)
{
    return d / SPAN_TILES * SPAN * 16;
}

// --- copies ------------------------------------------------------------------------------------------------------------

// A thread copies chunks t % SPAN, + SPAN, ... of rows t / SPAN, + threads / SPAN, ... of a tile.
DEVICE int copy_start(int t) // elements
{
    return t / SPAN * HEAD_DIM + t % SPAN * 8;
}

DEVICE u32 copy_place(int t) // bytes in shared memory
{
    return (u32)(t / SPAN * CHUNKS + (t % SPAN ^ swizzle(t / SPAN))) * 16;
}

// Copies `count` rows of a tile; to and from are this thread's first chunk. The first `valid` rows exist, the others become
// zeros; `fallback` is any address that may be read.
template <int count, int total, int threads>
DEVICE void copy_rows(u32 to, const u16 *from, int t, int valid, const u16 *fallback)
{
    constexpr int step = threads / SPAN, passes = count > step ? count / step : 1;
    const int row = t / SPAN;
    if (step > count && row >= count) return;
    const bool whole = total % count == 0 || valid >= count;
    repeat<passes>([&](auto i) {
        constexpr int down = decltype(i)::value * step;
        const u32 here = to ^ (u32)swizzle(down) * 16;
        if (whole) {
            repeat<CHUNKS / SPAN>([&](auto at_j) {
                constexpr int j = decltype(at_j)::value * SPAN;
                copy_async<down * ROW_BYTES + j * 16, down * HEAD_DIM + j * 8>(here, from);
            });
        } else {
            const bool there = row + down < valid;
#pragma unroll
            for (int j = 0; j < CHUNKS; j += SPAN)
                copy_async_or_zero(here + down * ROW_BYTES + j * 16, there ? from + down * HEAD_DIM + j * 8 : fallback,
                                   there);
        }
    });
}

// The tiles of a group, in the order in which it walks them: from the last one, so that masked tiles come first.
struct walk {
    const u16 *k_head, *v_head;
    const u16 *k, *v; // this thread's first chunk of the group's tile 0
    u32 k_to, v_to;   // and its place in slot 0
    int group, t;     // t: thread of the group
    int n, masked;    // tiles; how many of them, at the start, need a mask
};

DEVICE int tile_key(const walk &x, int i)
{
    return (x.group + WARPS_KV * (x.n - 1 - i)) * BLOCK_N;
}

DEVICE void ask(const walk &x, const u16 *head, const u16 *from, u32 to, int i, int slot)
{
    if (i >= 0 && i < x.n)
        copy_rows<BLOCK_N, SEQ_KV, 32 * WARPS_Q>(to + (u32)(slot * TILE_BYTES),
                                                 from + WARPS_KV * BLOCK_N * HEAD_DIM * (x.n - 1 - i), x.t,
                                                 SEQ_KV - tile_key(x, i), head);
    copy_commit();
}

DEVICE void ask_k(const walk &x, int i, int slot)
{
    ask(x, x.k_head, x.k, x.k_to, i, slot);
}

DEVICE void ask_v(const walk &x, int i, int slot)
{
    ask(x, x.v_head, x.v, x.v_to, i, slot);
}

// How many of n tiles are group g's.
DEVICE int share(int n, int g)
{
    if (!CAUSAL && n % WARPS_KV == 0) return n / WARPS_KV; // a constant
    return (n - g + WARPS_KV - 1) / WARPS_KV;              // n < g: 0, as g < WARPS_KV
}

// Everything that is asked for before step 0, in the order of need.
DEVICE void ask_first(const walk &x)
{
    constexpr int lead = K_SLOTS > V_SLOTS ? K_SLOTS : V_SLOTS;
#pragma unroll
    for (int step = -lead; step < 0; step++) {
        ask_v(x, step - 1 + V_SLOTS, step - 1 + V_SLOTS);
        ask_k(x, step + K_SLOTS, step + K_SLOTS);
    }
    ask_v(x, V_SLOTS - 1, V_SLOTS - 1);
}

DEVICE void group_barrier(int group)
{
    if constexpr (WARPS_Q == 1)
        __syncwarp();
    else
        barrier<32 * WARPS_Q>(1 + group);
}

// --- one tile ----------------------------------------------------------------------------------------------------------

typedef float logits[STRIPS][2 * N_TILES][4];

DEVICE void multiply_qk(logits &s, const carried &w, const place &at, u32 k)
{
    repeat<D_TILES>([&](auto at_d) {
        constexpr int d = decltype(at_d)::value;
        u32 a[STRIPS][4];
        repeat<STRIPS>([&](auto i) {
            if constexpr (Q_REGS) {
#pragma unroll
                for (int e = 0; e < 4; e++)
                    a[i.value][e] = w.q[i.value][d][e];
            } else {
                load_matrices<i.value * 16 * ROW_BYTES + column_offset(d)>(a[i.value],
                                                                           at.q_rows + at.lane_at[d % SPAN_TILES]);
            }
        });
        repeat<N_TILES>([&](auto n) {
            u32 b[4];
            load_matrices<n.value * 16 * ROW_BYTES + column_offset(d)>(b, k + at.k_lane_at[d % SPAN_TILES]);
#pragma unroll
            for (int i = 0; i < STRIPS; i++) {
                multiply(s[i][2 * n.value], a[i], b[0], b[1]);
                multiply(s[i][2 * n.value + 1], a[i], b[2], b[3]);
            }
        });
    });
}

DEVICE void mask_logits(logits &s, const place &at, int key)
{
#pragma unroll
    for (int i = 0; i < STRIPS; i++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int last = last_key(at.query + i * 16 + at.lane / 4 + 8 * r) - key - at.lane % 4 * 2;
#pragma unroll
            for (int n = 0; n < 2 * N_TILES; n++)
#pragma unroll
                for (int e = 0; e < 2; e++)
                    if (n * 8 + e > last) s[i][n][2 * r + e] = NEG_INF;
        }
}

#ifdef FATUNE_ORACLE
DEVICE void show_scores(const logits &s, const place &at, int key)
{
    for (int i = 0; i < STRIPS; i++)
        for (int n = 0; n < 2 * N_TILES; n++)
            for (int e = 0; e < 4; e++)
                show(at.show_to, 0, at.plane, at.query + i * 16 + at.lane / 4 + e / 2 * 8,
                     key + n * 8 + at.lane % 4 * 2 + e % 2, s[i][n][e] * LOGIT * 0.6931471805599453f);
}

// The A operand of 16 keys.
DEVICE void show_weights(const u32 (&p)[STRIPS][4], const carried &w, const place &at, int key)
{
    for (int i = 0; i < STRIPS; i++)
        for (int e = 0; e < 8; e++) {
            const int row = at.query + i * 16 + at.lane / 4 + e / 2 % 2 * 8, j = key + at.lane % 4 * 2 + e / 4 * 8 + e % 2;
            show(at.show_to, 1, at.plane, row, j, weight_of(p[i][e / 2] >> 16 * (e % 2) & 0xffff));
            show(at.show_to, 2, at.plane, row, j, w.m[i][e / 2 % 2] * 0.6931471805599453f);
        }
}
#endif

// Moves the reference of each row to its new maximum, if need be, and scales l and O accordingly.
template <bool mask> DEVICE void advance(carried &w, const logits &s)
{
    float next[STRIPS][2];
    bool grown = false;
#pragma unroll
    for (int i = 0; i < STRIPS; i++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float top = s[i][0][2 * r];
#pragma unroll
            for (int n = 0; n < 2 * N_TILES; n++)
                top = fmaxf(fmaxf(top, s[i][n][2 * r]), s[i][n][2 * r + 1]);
            top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
            top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
            next[i][r] = fmaxf(w.m[i][r], top * LOGIT);
            grown = grown || next[i][r] > w.m[i][r] + RESCALE_LOG2;
        }
    if (RESCALE_LOG2 > 0 && !__any_sync(0xffffffffu, grown)) return;
#pragma unroll
    for (int i = 0; i < STRIPS; i++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const float factor = exp2_approx(w.m[i][r] - (mask && next[i][r] == NEG_INF ? 0.0f : next[i][r]));
            w.m[i][r] = next[i][r];
            w.l[i][r] *= factor;
#pragma unroll
            for (int d = 0; d < 2 * D_TILES; d++)
                w.o[i][d][2 * r] *= factor, w.o[i][d][2 * r + 1] *= factor;
        }
}

// Weights and the second product, 16 keys at a time: exponentials of the next keys can overlap the products of these.
template <bool mask> DEVICE void multiply_pv(carried &w, const logits &s, const place &at, u32 v ORACLE(, int key))
{
    float minus[STRIPS][2];
#pragma unroll
    for (int i = 0; i < STRIPS; i++)
#pragma unroll
        for (int r = 0; r < 2; r++)
            minus[i][r] = mask && w.m[i][r] == NEG_INF ? 0.0f : -w.m[i][r];
    repeat<N_TILES>([&](auto at_n) {
        constexpr int n = decltype(at_n)::value;
        u32 p[STRIPS][4];
#pragma unroll
        for (int i = 0; i < STRIPS; i++)
#pragma unroll
            for (int e = 0; e < 4; e++) { // register e of the A operand: row g + 8 (e % 2), columns 2t + 8 (e / 2)
                const float *x = s[i][2 * n + e / 2] + e % 2 * 2;
                const float low = exp2_approx(fmaf(x[0], LOGIT, minus[i][e % 2]));
                const float high = exp2_approx(fmaf(x[1], LOGIT, minus[i][e % 2]));
                w.l[i][e % 2] += low + high;
                p[i][e] = pack(low, high);
            }
        ORACLE(show_weights(p, w, at, key + n * 16);)
        repeat<D_TILES>([&](auto at_d) {
            constexpr int d = decltype(at_d)::value;
            u32 b[4];
            load_transposed<n * 16 * ROW_BYTES + column_offset(d)>(b, v + at.lane_at[d % SPAN_TILES]);
#pragma unroll
            for (int i = 0; i < STRIPS; i++) {
                multiply(w.o[i][2 * d], p[i], b[0], b[1]);
                multiply(w.o[i][2 * d + 1], p[i], b[2], b[3]);
            }
        });
    });
}

// Step i of a group. A warp none of whose rows sees the tile only takes part in copies and barriers.
template <bool mask> DEVICE void step(carried &w, const walk &x, const place &at, int i, int &k_slot, int &v_slot)
{
    const int key = tile_key(x, i);
    const bool seen = !mask || !CAUSAL || key <= last_key(at.query + STRIPS * 16 - 1);
    logits s = {};
    if (i > 0) { // step 0: the kernel has waited
        copy_wait<2 * (K_SLOTS - 1)>();
        group_barrier(at.group); // K has arrived; V of the step before has been read
        if constexpr (V_SLOTS < STEPS)
            ask_v(x, i - 1 + V_SLOTS, v_slot == 0 ? V_SLOTS - 1 : v_slot - 1);
        else
            copy_commit();
    }
    if (seen) {
        multiply_qk(s, w, at, at.k_all + (u32)(k_slot * TILE_BYTES));
        if (FLIP)
#pragma unroll
            for (int e = 0; e < STRIPS * N_TILES * 8; e++)
                s[e / (N_TILES * 8)][e / 4 % (2 * N_TILES)][e % 4] *= -1;
        if (mask) mask_logits(s, at, key);
        ORACLE(show_scores(s, at, key);)
    }
    copy_wait<2 * (V_SLOTS - 1)>();
    group_barrier(at.group); // V has arrived; K has been read
    if constexpr (K_SLOTS < STEPS)
        ask_k(x, i + K_SLOTS, k_slot);
    else
        copy_commit();
    if (seen) {
        advance<mask>(w, s);
        multiply_pv<mask>(w, s, at, at.v_all + (u32)(v_slot * TILE_BYTES) ORACLE(, key));
    }
    k_slot = k_slot == K_SLOTS - 1 ? 0 : k_slot + 1;
    v_slot = v_slot == V_SLOTS - 1 ? 0 : v_slot + 1;
}

// --- before and after the tiles ----------------------------------------------------------------------------------------

DEVICE void start(carried &w, const place &at)
{
#pragma unroll
    for (int i = 0; i < STRIPS; i++) {
#pragma unroll
        for (int e = 0; e < 8 * D_TILES; e++)
            w.o[i][e / 4][e % 4] = 0;
#pragma unroll
        for (int r = 0; r < 2; r++)
            w.m[i][r] = NEG_INF, w.l[i][r] = 0;
    }
    if constexpr (Q_REGS)
        repeat<STRIPS * D_TILES>([&](auto j) {
            constexpr int i = decltype(j)::value / D_TILES, d = decltype(j)::value % D_TILES;
            load_matrices<i * 16 * ROW_BYTES + column_offset(d)>(w.q[i][d], at.q_rows + at.lane_at[d % SPAN_TILES]);
        });
}

DEVICE float natural_log_sum(float m, float l)
{
    return l > 0 ? (m + log2_approx(l)) * 0.6931471805599453f : NEG_INF;
}

// One group: each warp normalises its rows, lays them over its rows of Q and writes them in chunks of 16 bytes.
DEVICE void write_rows(carried &w, const place &at, unsigned char *q_rows, u16 *o, float *lse)
{
    const int g = at.lane / 4, t = at.lane % 4;
    __syncwarp(); // Q has been read
#pragma unroll
    for (int i = 0; i < STRIPS; i++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int row = i * 16 + g + 8 * r;
            const float l = w.l[i][r], inverse = l > 0 ? reciprocal(l) : 0.0f;
            if (WRITE_LSE && t == 0 && at.query + row < SEQ_Q) lse[at.query + row] = natural_log_sum(w.m[i][r], l);
#pragma unroll
            for (int d = 0; d < CHUNKS; d++)
                *(u32 *)(q_rows + (row * CHUNKS + (d ^ swizzle(g))) * 16 + t * 4) =
                    pack(w.o[i][d][2 * r] * inverse, w.o[i][d][2 * r + 1] * inverse);
        }
    __syncwarp();
#pragma unroll
    for (int i = at.lane; i < STRIPS * 16 * CHUNKS; i += 32) {
        const int row = i / CHUNKS, c = i % CHUNKS;
        if (at.query + row < SEQ_Q)
            *(uint4 *)(o + (at.query + row) * HEAD_DIM + c * 8) =
                *(const uint4 *)(q_rows + (row * CHUNKS + (c ^ swizzle(row))) * 16);
    }
}

// Partial O in f32: row-major, 16-byte chunk c of row r at merge_chunk(r, c). Neither the accumulators' writes (float2, four
// rows at once) nor the reads (two chunks a thread, in turn) meet in a bank.
DEVICE constexpr int merge_chunk(int row, int c)
{
    return c ^ (HEAD_DIM % 32 == 0 ? 2 * (row & 3) : row & 2) ^ ((c >> 3 ^ row) & 1);
}

DEVICE void put_part(const carried &w, const place &at, float *part, float2 *sums, int first_row)
{
    const int g = at.lane / 4, t = at.lane % 4;
    part += (first_row + g) * HEAD_DIM;
#pragma unroll
    for (int d = 0; d < CHUNKS; d++) {
        float *to = part + merge_chunk(g, 2 * d + t / 2) * 4 + t % 2 * 2;
#pragma unroll
        for (int i = 0; i < 2 * STRIPS; i++)
            *(float2 *)(to + i * 8 * HEAD_DIM) = {w.o[i / 2][d][i % 2 * 2], w.o[i / 2][d][i % 2 * 2 + 1]};
    }
    if (t == 0)
#pragma unroll
        for (int i = 0; i < 2 * STRIPS; i++)
            sums[(first_row + g + 8 * i) * WARPS_KV] = {w.m[i / 2][i % 2], w.l[i / 2][i % 2]};
}

// Several groups: a thread merges 8 columns of a row over all groups, in order, and writes them.
DEVICE void merge_rows(const float *parts, const float2 *sums, int first_query, u16 *o, float *lse)
{
    constexpr int stride = GROUP_BYTES / 4, items = BLOCK_M * CHUNKS;
#pragma unroll 2
    for (int i = 0; i < items; i += THREADS) {
        const int item = i + (int)threadIdx.x, row = item / CHUNKS, c = item % CHUNKS;
        if ((items % THREADS != 0 && item >= items) || (SEQ_Q % BLOCK_M != 0 && first_query + row >= SEQ_Q)) break;
        float top = NEG_INF, l = 0, weight[WARPS_KV], x[8] = {};
#pragma unroll
        for (int p = 0; p < WARPS_KV; p++)
            top = fmaxf(top, sums[row * WARPS_KV + p].x);
#pragma unroll
        for (int p = 0; p < WARPS_KV; p++) {
            const float2 y = sums[row * WARPS_KV + p];
            weight[p] = exp2_approx(y.x - (top == NEG_INF ? 0.0f : top));
            l = fmaf(y.y, weight[p], l);
        }
        if (WRITE_LSE && c == 0) lse[first_query + row] = natural_log_sum(top, l);
        const float inverse = l > 0 ? reciprocal(l) : 0.0f;
#pragma unroll
        for (int p = 0; p < WARPS_KV; p++) {
            const float *from = parts + p * stride + row * HEAD_DIM, f = weight[p] * inverse;
            const float4 y = *(const float4 *)(from + merge_chunk(row, 2 * c) * 4);
            const float4 z = *(const float4 *)(from + merge_chunk(row, 2 * c + 1) * 4);
            x[0] = fmaf(y.x, f, x[0]), x[1] = fmaf(y.y, f, x[1]), x[2] = fmaf(y.z, f, x[2]), x[3] = fmaf(y.w, f, x[3]);
            x[4] = fmaf(z.x, f, x[4]), x[5] = fmaf(z.y, f, x[5]), x[6] = fmaf(z.z, f, x[6]), x[7] = fmaf(z.w, f, x[7]);
        }
        const uint4 out = {pack(x[0], x[1]), pack(x[2], x[3]), pack(x[4], x[5]), pack(x[6], x[7])};
        *(uint4 *)(o + (first_query + row) * HEAD_DIM + c * 8) = out;
    }
}

DEVICE void finish(carried &w, const place &at, unsigned char *memory, int first_query, u16 *o, float *lse)
{
#pragma unroll
    for (int i = 0; i < STRIPS; i++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            w.l[i][r] += __shfl_xor_sync(0xffffffffu, w.l[i][r], 1);
            w.l[i][r] += __shfl_xor_sync(0xffffffffu, w.l[i][r], 2);
        }
    const int row = at.query - first_query;
    if constexpr (WARPS_KV == 1) {
        write_rows(w, at, memory + row * ROW_BYTES, o, lse);
    } else {
        float *parts = (float *)(memory + Q_BYTES);
        float2 *sums = (float2 *)(memory + Q_BYTES + WARPS_KV * GROUP_BYTES);
        group_barrier(at.group); // the group's V has been read: its memory takes the partial O
        put_part(w, at, parts + at.group * (GROUP_BYTES / 4), sums + at.group, row);
        __syncthreads();
        merge_rows(parts, sums, first_query, o, lse);
    }
}

// Which keys the group walks, and this thread's part in copying them.
DEVICE void plan(walk &x, const u16 *k_head, const u16 *v_head, u32 group_memory, int first_query)
{
    // Tiles of BLOCK_N keys that some row of the block sees, and those that every row sees as a whole.
    const int end = first_query + BLOCK_M < SEQ_Q ? first_query + BLOCK_M : SEQ_Q;
    const int some = last_key(end - 1) + 1, all = last_key(first_query) + 1;
    const int start = copy_start(x.t) + x.group * BLOCK_N * HEAD_DIM;
    x.n = share(some > 0 ? (some + BLOCK_N - 1) / BLOCK_N : 0, x.group);
    x.masked = x.n - share(all > 0 ? all / BLOCK_N : 0, x.group);
    x.k_head = k_head, x.v_head = v_head;
    x.k = k_head + start, x.v = v_head + start;
    x.k_to = group_memory + copy_place(x.t), x.v_to = x.k_to + K_SLOTS * TILE_BYTES;
}

DEVICE void locate(place &at, u32 memory, u32 group_memory, int first_query, int group, int warp)
{
    at.lane = (int)threadIdx.x & 31, at.group = group;
    at.query = first_query + warp * STRIPS * 16;
    at.q_rows = memory + (u32)(warp * STRIPS * 16 * ROW_BYTES);
    at.k_all = group_memory, at.v_all = group_memory + K_SLOTS * TILE_BYTES;
    const int row = at.lane % 16, k_row = at.lane % 8 + at.lane / 16 * 8;
#pragma unroll
    for (int d = 0; d < SPAN_TILES; d++) {
        at.lane_at[d] = (u32)(row * CHUNKS + ((2 * d + at.lane / 16) ^ swizzle(row))) * 16;
        at.k_lane_at[d] = (u32)(k_row * CHUNKS + ((2 * d + at.lane / 8 % 2) ^ swizzle(k_row))) * 16;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
    attention_forward(const u16 *__restrict__ q_all, const u16 *__restrict__ k_all, const u16 *__restrict__ v_all,
                      u16 *__restrict__ o_all, float *__restrict__ lse_all ORACLE(, float *show_to))
{
    extern __shared__ __align__(128) unsigned char shared[];
    const int t = (int)threadIdx.x, group = t / (32 * WARPS_Q);
    const int block_tile = (int)(GRID_ORDER ? blockIdx.y : blockIdx.x), tiles = (SEQ_Q + BLOCK_M - 1) / BLOCK_M;
    const int tile_m = CAUSAL ? tiles - 1 - block_tile : block_tile; // causal: the tiles with the most keys start first
    const int head = (int)(GRID_ORDER ? blockIdx.x : blockIdx.y), first_query = tile_m * BLOCK_M;
    const long long kv_head = (long long)(head / HEADS) * KV_HEADS + head % HEADS / (HEADS / KV_HEADS);
    const u32 base = shared_address(shared), group_memory = base + (u32)(Q_BYTES + group * GROUP_BYTES);
    const u16 *q_head = q_all + (long long)head * SEQ_Q * HEAD_DIM;

    walk x;
    x.group = group, x.t = t % (32 * WARPS_Q);
    plan(x, k_all + kv_head * SEQ_KV * HEAD_DIM, v_all + kv_head * SEQ_KV * HEAD_DIM, group_memory, first_query);
    copy_rows<BLOCK_M, SEQ_Q, THREADS>(base + copy_place(t), q_head + first_query * HEAD_DIM + copy_start(t), t,
                                       SEQ_Q - first_query, q_head);
    ask_first(x);
    place at;
    carried w;
    locate(at, base, group_memory, first_query, group, t / 32 % WARPS_Q);
    ORACLE(at.show_to = show_to, at.plane = head;)
    copy_wait<2 * K_SLOTS - 1>();
    __syncthreads(); // Q and each group's first K have arrived

    start(w, at);
    int i = 0, k_slot = 0, v_slot = 0;
    if (CAUSAL || SEQ_KV % BLOCK_N != 0) {
#pragma unroll 1
        for (; i < x.masked; i++)
            step<true>(w, x, at, i, k_slot, v_slot);
    }
#pragma unroll 1
    for (; i < x.n; i++)
        step<false>(w, x, at, i, k_slot, v_slot);
    copy_wait<0>(); // the empty ones
    finish(w, at, shared, first_query, o_all + (long long)head * SEQ_Q * HEAD_DIM, lse_all + (long long)head * SEQ_Q);
}
