// fa_wmma: fused attention forward with WMMA through inline PTX; no header, NVRTC or nvcc, sm_70 and up (bf16: sm_80).
//
// A block owns BLOCK_M query rows and walks the keys in tiles of BLOCK_N. A warp owns STRIPS strips of 16 query rows; when
// there are more warps than strips, SPLIT warps share a strip, each takes COLS columns of every tile, and their partial
// (max, sum, O) are merged in a fixed order at the end (SOFTMAX_REGS 1 only). Softmax is online, in f32, in units of log2:
//     m' = max(m, max_j s_j c), l' = l 2^(m - m') + sum_j 2^(s_j c - m'), O' = O 2^(m - m') + P V,   c = SCALE log2(e).
//
// How a lane holds S, P and O ("layout"):
//  - SOFTMAX_REGS 1: as WMMA accumulators. Lane 4g + t holds, of each 16 x 16 tile, rows g and g + 8 and columns 2t, 2t + 1,
//    2t + 8, 2t + 9, and those registers in that order are also the A operand of the second product. PTX leaves this
//    layout open, so the kernel checks it at its start and traps where it does not hold: no wrong result is possible.
//  - SOFTMAX_REGS 0: lane 2r + h holds row r and the columns 8i + 4h .. + 3. WMMA results get there through shared memory
//    that belongs to the warp. Where O is a WMMA accumulator, the place of each register is read off a tile of indices.
//
// Invariants: every row past the end of Q, K or V is zero in shared memory, so that no NaN from beyond the tensors meets a
// zero weight; nothing past the end is read; no atomics and fixed orders of summation, so results repeat bit for bit.

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
#ifndef DEV_ARCH
#define DEV_ARCH 80
#endif
#ifndef BLOCK_M
#define BLOCK_M 64
#endif
#ifndef BLOCK_N
#define BLOCK_N 64
#endif
#ifndef WARPS
#define WARPS 4
#endif
#ifndef STAGES
#define STAGES 1
#endif
#ifndef USE_WMMA_QK
#define USE_WMMA_QK 1
#endif
#ifndef USE_WMMA_PV
#define USE_WMMA_PV 1
#endif
#ifndef SOFTMAX_REGS
#define SOFTMAX_REGS 0
#endif
#ifndef PAD
#define PAD 8
#endif
// Derived: the manifest computes the same values.
#ifndef THREADS
#define THREADS (32 * WARPS)
#endif
#ifndef SPLIT
#define SPLIT (16 * WARPS > BLOCK_M ? 16 * WARPS / BLOCK_M : 1)
#endif
#ifndef STRIPS
#define STRIPS (BLOCK_M > 16 * WARPS ? BLOCK_M / (16 * WARPS) : 1)
#endif
#ifndef COLS
#define COLS (BLOCK_N / SPLIT)
#endif
#ifndef ROW
#define ROW (HEAD_DIM + PAD)
#endif
#ifndef Q_BYTES
#define Q_BYTES (2 * BLOCK_M * ROW)
#endif
#ifndef MERGE_BYTES
#define MERGE_BYTES ((WARPS - WARPS / SPLIT) * 128 * (HEAD_DIM / 2 + 4))
#endif
#ifndef KV_BYTES
#define KV_BYTES (4 * STAGES * BLOCK_N * ROW > MERGE_BYTES ? 4 * STAGES * BLOCK_N * ROW : MERGE_BYTES)
#endif
#ifndef SCRATCH_BYTES
#define SCRATCH_BYTES (SOFTMAX_REGS ? 1024 : 64 * (COLS + 8))
#endif
#ifndef SHARED_BYTES
#define SHARED_BYTES (Q_BYTES + KV_BYTES + WARPS * SCRATCH_BYTES)
#endif

typedef unsigned int u32;
typedef unsigned short u16;

#define DEVICE [[maybe_unused]] static __device__ __forceinline__
#define NEG_INF __uint_as_float(0xff800000u)

static_assert(HEAD_DIM % 16 == 0 && HEAD_DIM >= 32 && HEAD_DIM <= 128, "head_dim: 32 to 128 in steps of 16");
static_assert(COLS % 16 == 0 && COLS > 0, "a warp needs whole 16-column tiles");
static_assert(!SOFTMAX_REGS || (USE_WMMA_QK && USE_WMMA_PV), "softmax on fragments needs both products in WMMA");
static_assert(SPLIT == 1 || SOFTMAX_REGS, "warps share a strip only with the softmax on fragments");
static_assert(SHARED_BYTES >= 2 * BLOCK_M * ROW + 4 * STAGES * BLOCK_N * ROW + WARPS * SCRATCH_BYTES, "shared memory");

static constexpr int D_TILES = HEAD_DIM / 16;             // 16-wide tiles of the head dimension
static constexpr int N_TILES = COLS / 16;                 // 16-wide tiles of a warp's keys
static constexpr int O_REGS = HEAD_DIM / 2;               // f32 of O that a lane holds of a strip
static constexpr int ROWS_LANE = SOFTMAX_REGS ? 2 : 1;    // rows of a strip that a lane holds
static constexpr int FRAG = DTYPE_BF16 ? 4 : 8;           // 32-bit registers of an A or B fragment
[[maybe_unused]] static constexpr int S_PITCH = COLS + 8; // floats of a row of S or P in a warp's scratch
static constexpr int OFFSET = SEQ_KV - SEQ_Q;             // causal: query i sees keys j <= i + OFFSET
// Q stays in registers when O, S and Q together leave room for the rest.
static constexpr bool HOLD_Q =
    USE_WMMA_QK && (SOFTMAX_REGS || STRIPS == 1) && STRIPS * HEAD_DIM * 3 / 4 + STRIPS * COLS / 2 <= 168;
// A scale of zero would turn masked -inf into NaN: a vanishing one gives the same weights. A negative one turns the order
// of the logits around, so S changes its sign first.
static constexpr float LOGIT = (SCALE) == 0 ? 1e-30f : ((SCALE) < 0 ? -(SCALE) : (SCALE)) * 1.4426950408889634f;
static constexpr bool FLIP = (SCALE) < 0;

// --- PTX ---------------------------------------------------------------------------------------------------------------

#if DTYPE_BF16
#define WMMA_TYPE "bf16"
#define WMMA_MMA_TYPE "f32.bf16.bf16.f32"
#else
#define WMMA_TYPE "f16"
#define WMMA_MMA_TYPE "f32.f32"
#endif
#define REGS_4(x, at) at((x)[0]), at((x)[1]), at((x)[2]), at((x)[3])
#define OUT_R(x) "=r"(x)
#define IN_R(x) "r"(x)
#define OUT_F(x) "=f"(x)
#define IN_F(x) "f"(x)
#define INOUT_F(x) "+f"(x)

DEVICE u32 shared_address(const void *p)
{
    return (u32)__cvta_generic_to_shared(p);
}

#if DTYPE_BF16
#define LOAD_FRAGMENT(f, p, what)                                                                                      \
    asm volatile("wmma.load." what ".m16n16k16.shared." WMMA_TYPE " {%0, %1, %2, %3}, [%4 + %6], %5;"                  \
                 : REGS_4(f, OUT_R)                                                                                    \
                 : "r"(shared_address(p)), "n"(pitch), "n"(2 * (offset))                                               \
                 : "memory")
#define MULTIPLY(d, a, b, order)                                                                                       \
    asm("wmma.mma.sync.aligned." order ".m16n16k16." WMMA_MMA_TYPE " {%0, %1, %2, %3, %4, %5, %6, %7}, "               \
        "{%8, %9, %10, %11}, {%12, %13, %14, %15}, {%0, %1, %2, %3, %4, %5, %6, %7};"                                  \
        : REGS_4(d, INOUT_F), REGS_4((d) + 4, INOUT_F)                                                                 \
        : REGS_4(a, IN_R), REGS_4(b, IN_R))
#else
#define LOAD_FRAGMENT(f, p, what)                                                                                      \
    asm volatile("wmma.load." what ".m16n16k16.shared." WMMA_TYPE " {%0, %1, %2, %3, %4, %5, %6, %7}, [%8 + %10], %9;" \
                 : REGS_4(f, OUT_R), REGS_4((f) + 4, OUT_R)                                                            \
                 : "r"(shared_address(p)), "n"(pitch), "n"(2 * (offset))                                               \
                 : "memory")
#define MULTIPLY(d, a, b, order)                                                                                       \
    asm("wmma.mma.sync.aligned." order ".m16n16k16." WMMA_MMA_TYPE " {%0, %1, %2, %3, %4, %5, %6, %7}, "               \
        "{%8, %9, %10, %11, %12, %13, %14, %15}, {%16, %17, %18, %19, %20, %21, %22, %23}, "                           \
        "{%0, %1, %2, %3, %4, %5, %6, %7};"                                                                            \
        : REGS_4(d, INOUT_F), REGS_4((d) + 4, INOUT_F)                                                                 \
        : REGS_4(a, IN_R), REGS_4((a) + 4, IN_R), REGS_4(b, IN_R), REGS_4((b) + 4, IN_R))
#endif

// A operand from the row-major tile that begins `offset` elements after p. An offset known to PTX costs no instruction.
template <int offset, int pitch> DEVICE void load_a(u32 *f, const u16 *p)
{
    LOAD_FRAGMENT(f, p, "a.sync.aligned.row");
}

// B operand from a row-major tile (V).
template <int offset, int pitch> DEVICE void load_b(u32 *f, const u16 *p)
{
    LOAD_FRAGMENT(f, p, "b.sync.aligned.row");
}

// B operand that is the transpose of a row-major tile (K).
template <int offset, int pitch> DEVICE void load_bt(u32 *f, const u16 *p)
{
    LOAD_FRAGMENT(f, p, "b.sync.aligned.col");
}

DEVICE void multiply(float *d, const u32 *a, const u32 *b)
{
    MULTIPLY(d, a, b, "row.row");
}

DEVICE void multiply_bt(float *d, const u32 *a, const u32 *b)
{
    MULTIPLY(d, a, b, "row.col");
}

DEVICE void load_acc(float *d, const float *p, int pitch)
{
    asm volatile("wmma.load.c.sync.aligned.row.m16n16k16.shared.f32 {%0, %1, %2, %3, %4, %5, %6, %7}, [%8], %9;"
                 : REGS_4(d, OUT_F), REGS_4(d + 4, OUT_F)
                 : "r"(shared_address(p)), "r"(pitch)
                 : "memory");
}

DEVICE void store_acc(float *p, const float *d, int pitch)
{
    asm volatile("wmma.store.d.sync.aligned.row.m16n16k16.shared.f32 [%0], {%1, %2, %3, %4, %5, %6, %7, %8}, %9;"
                 :
                 : "r"(shared_address(p)), REGS_4(d, IN_F), REGS_4(d + 4, IN_F), "r"(pitch)
                 : "memory");
}

#if STAGES > 1
// 16 bytes from src + from (elements) to dst + to in shared memory, behind the threads' back.
template <int to, int from> DEVICE void copy_async(u16 *dst, const u16 *src)
{
    asm volatile("cp.async.cg.shared.global [%0 + %2], [%1 + %3], 16;" ::"r"(shared_address(dst)), "l"(src),
                 "n"(2 * to), "n"(2 * from)
                 : "memory");
}

// The same with offsets of 0; writes zeros when `valid` is false (src is not read then).
DEVICE void copy_async_or_zero(u16 *dst, const u16 *src, bool valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(dst)), "l"(src),
                 "r"(valid ? 16 : 0)
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
#endif

DEVICE float exp2_approx(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
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
#elif DEV_ARCH >= 80
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
#else
    asm("{.reg .f16 a, b; cvt.rn.f16.f32 a, %1; cvt.rn.f16.f32 b, %2; mov.b32 %0, {a, b};}"
        : "=r"(r)
        : "f"(low), "f"(high));
#endif
    return r;
}

DEVICE void unpack(float &low, float &high, u32 x)
{
#if DTYPE_BF16
    low = __uint_as_float(x << 16);
    high = __uint_as_float(x & 0xffff0000u);
#else
    asm("{.reg .f16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b;}" : "=f"(low), "=f"(high) : "r"(x));
#endif
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
#else
#define ORACLE(...)
#endif

DEVICE void unpack_8(float *f, uint4 x)
{
    unpack(f[0], f[1], x.x);
    unpack(f[2], f[3], x.y);
    unpack(f[4], f[5], x.z);
    unpack(f[6], f[7], x.w);
}

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
    float o[STRIPS][O_REGS];
    float m[STRIPS][ROWS_LANE]; // running maximum of the row's logits, in units of log2; -inf: no key seen yet
    float l[STRIPS][ROWS_LANE]; // this lane's share of the row's sum
    u32 q[HOLD_Q ? STRIPS : 1][HOLD_Q ? D_TILES : 1][FRAG];
    u32 row_of, col_of; // place of accumulator register e in its tile: bits 4e .. 4e + 3
    ORACLE(float *show_to; int plane;)
};

// The last key that a query sees; below 0: none.
DEVICE int last_key(int query)
{
    int last = SEQ_KV - 1;
    if (CAUSAL && query + OFFSET < last) last = query + OFFSET;
    return last;
}

// Copies `count` rows of a tensor into shared memory, 16 bytes at a time: a thread keeps to one column and takes every
// step-th row, and all offsets are constants.
template <int count, int step> DEVICE void copy_whole(u16 *dst, const u16 *src)
{
    constexpr int chunks = HEAD_DIM / 8, each = count / step;
    u16 *to = dst + (int)threadIdx.x / chunks * ROW + (int)threadIdx.x % chunks * 8;
    const u16 *from = src + (int)threadIdx.x * 8;
#if STAGES > 1
    repeat<each>([&](auto i) { copy_async<i.value * step * ROW, i.value * step * HEAD_DIM>(to, from); });
#else
    constexpr int batch = each < 8 ? each : 8; // loads under way before the first store
#pragma unroll
    for (int j = 0; j < each; j += batch) {
        uint4 x[batch];
#pragma unroll
        for (int i = 0; i < batch; i++)
            x[i] = *(const uint4 *)(from + (j + i) * step * HEAD_DIM);
#pragma unroll
        for (int i = 0; i < batch; i++)
            *(uint4 *)(to + (j + i) * step * ROW) = x[i];
    }
#endif
}

// The same for any count and any number of threads; rows from `valid` on become zeros and are not read.
template <int count> DEVICE void copy_part(u16 *dst, const u16 *src, int valid)
{
    constexpr int chunks = HEAD_DIM / 8;
#pragma unroll 4
    for (int i = (int)threadIdx.x; i < count * chunks; i += THREADS) {
        int r = i / chunks, c = i % chunks * 8;
        const u16 *from = src + (r < valid ? r * HEAD_DIM + c : 0);
#if STAGES > 1
        copy_async_or_zero(dst + r * ROW + c, from, r < valid);
#else
        uint4 x = {0, 0, 0, 0};
        if (r < valid) x = *(const uint4 *)from;
        *(uint4 *)(dst + r * ROW + c) = x;
#endif
    }
}

// Copies rows [first, first + count) of a tensor of `total` rows; first < total.
template <int count, int total> DEVICE void copy_rows(u16 *dst, const u16 *src, int first)
{
    constexpr int chunks = HEAD_DIM / 8, step = THREADS % chunks == 0 ? THREADS / chunks : 0;
    const int valid = total % count == 0 ? count : total - first;
    src += first * HEAD_DIM;
    if constexpr (step > 0 && count % (step > 0 ? step : 1) == 0 && total % count == 0) {
        copy_whole<count, step>(dst, src);
    } else if constexpr (step > 0 && count % (step > 0 ? step : 1) == 0) {
        if (valid >= count)
            copy_whole<count, step>(dst, src);
        else
            copy_part<count>(dst, src, valid);
    } else {
        copy_part<count>(dst, src, valid);
    }
}

// Learns (SOFTMAX_REGS 0) or checks (SOFTMAX_REGS 1) where fragments keep their elements.
DEVICE void learn_layout(carried &w, float *scratch, int lane)
{
    float at[8];
    for (int i = lane; i < 256; i += 32)
        scratch[i] = (float)i;
    __syncwarp();
    load_acc(at, scratch, 16);
    w.row_of = w.col_of = 0;
#pragma unroll
    for (int e = 0; e < 8; e++) {
        w.row_of |= ((u32)at[e] >> 4) << 4 * e;
        w.col_of |= ((u32)at[e] & 15) << 4 * e;
    }
    __syncwarp();
#if SOFTMAX_REGS
    u32 g = lane >> 2, t = lane & 3, f[FRAG];
    u32 corner = g * 16 + 2 * t, pair = corner | (corner + 1) << 16;
    bool same = w.row_of == 0x88008800u + 0x11111111u * g && w.col_of == 0x98981010u + 0x22222222u * t;
    for (int i = lane; i < 128; i += 32)
        ((u32 *)scratch)[i] = (u32)(2 * i) | (u32)(2 * i + 1) << 16;
    __syncwarp();
    load_a<0, 16>(f, (const u16 *)scratch);
#pragma unroll
    for (int e = 0; e < FRAG; e++)
        same = same && f[e] == pair + (e & 1 ? 0x00800080u : 0) + (e & 2 ? 0x00080008u : 0);
    if (!same) __trap();
#endif
}

// Spreads per-row factors over the 8 registers of an accumulator tile (or of a scalar chunk).
DEVICE void spread(float *f, const float *factor, const carried &w)
{
#pragma unroll
    for (int e = 0; e < 8; e++) {
        if (SOFTMAX_REGS)
            f[e] = factor[(e >> 1) % ROWS_LANE];
        else if (USE_WMMA_PV)
            f[e] = __shfl_sync(0xffffffffu, factor[0], (w.row_of >> 4 * e & 15) * 2);
        else
            f[e] = factor[0];
    }
}

DEVICE void scale_o(float *o, const float *factor, const carried &w)
{
    float f[8];
    spread(f, factor, w);
#pragma unroll
    for (int i = 0; i < O_REGS; i++)
        o[i] *= f[i % 8];
}

// One step of the online softmax on a row of which this lane holds some logits: returns the factor for O and l; `partners`
// lanes, a power of two, share the row.
template <int partners> DEVICE float advance_max(float &m, float &minus_ref, float row_max)
{
#pragma unroll
    for (int i = 1; i < partners; i *= 2)
        row_max = fmaxf(row_max, __shfl_xor_sync(0xffffffffu, row_max, i));
    float m_new = fmaxf(m, row_max * LOGIT);
    float ref = m_new == NEG_INF ? 0.0f : m_new; // no key so far: any finite reference gives weights of 0
    float factor = exp2_approx(m - ref);
    m = m_new;
    minus_ref = -ref;
    return factor;
}

// --- SOFTMAX_REGS 1 ----------------------------------------------------------------------------------------------------

#if SOFTMAX_REGS
DEVICE void mask_fragments(float (*s)[8], int query, int key, int lane)
{
    int t2 = (lane & 3) * 2;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int last = last_key(query + (lane >> 2) + 8 * h) - key - t2;
#pragma unroll
        for (int n = 0; n < N_TILES; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int column = n * 16 + (e >> 1) * 8 + (e & 1);
                float &x = s[n][(e >> 1) * 4 + 2 * h + (e & 1)];
                x = column > last ? NEG_INF : x;
            }
    }
}

// Turns logits into weights, in place, and advances m, l and O.
DEVICE void softmax_fragments(carried &w, int strip, float (*s)[8])
{
    float factor[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float row_max = NEG_INF, minus_ref, sum = 0;
#pragma unroll
        for (int n = 0; n < N_TILES; n++)
            row_max =
                fmaxf(row_max, fmaxf(fmaxf(s[n][2 * h], s[n][2 * h + 1]), fmaxf(s[n][2 * h + 4], s[n][2 * h + 5])));
        factor[h] = advance_max<4>(w.m[strip][h], minus_ref, row_max);
#pragma unroll
        for (int n = 0; n < N_TILES; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float &x = s[n][(e >> 1) * 4 + 2 * h + (e & 1)];
                x = exp2_approx(fmaf(x, LOGIT, minus_ref));
                sum += x;
            }
        w.l[strip][h] = w.l[strip][h] * factor[h] + sum;
    }
    scale_o(w.o[strip], factor, w);
}

#ifdef FATUNE_ORACLE
DEVICE void show_scores(const carried &w, const float (*s)[8], int query, int key, int lane)
{
    for (int e = 0; e < N_TILES * 8; e++)
        show(w.show_to, 0, w.plane, query + lane / 4 + e / 2 % 2 * 8, key + e / 8 * 16 + lane % 4 * 2 + e / 4 % 2 * 8 + e % 2,
             s[e / 8][e % 8] * LOGIT * 0.6931471805599453f);
}

// The A operand of 16 keys.
DEVICE void show_weights(const carried &w, int strip, const u32 *p, int query, int key, int lane)
{
    for (int e = 0; e < 8; e++) {
        const int row = query + lane / 4 + e / 2 % 2 * 8, j = key + lane % 4 * 2 + e / 4 * 8 + e % 2;
        float x[2];
        unpack(x[0], x[1], p[e / 2]);
        show(w.show_to, 1, w.plane, row, j, x[e % 2]);
        show(w.show_to, 2, w.plane, row, j, w.m[strip][e / 2 % 2] * 0.6931471805599453f);
    }
}
#endif

// One tile of keys for all strips of a warp: k and v point at the warp's first key, whose index is `key`.
DEVICE void step(carried &w, const u16 *q, const u16 *k, const u16 *v, float *, int query, int key, int lane)
{
    float s[STRIPS][N_TILES][8] = {};
    repeat<D_TILES>([&](auto at_d) {
        constexpr int d = decltype(at_d)::value;
        u32 a[STRIPS][FRAG];
        repeat<STRIPS>([&](auto i) {
            if constexpr (HOLD_Q) {
#pragma unroll
                for (int e = 0; e < FRAG; e++)
                    a[i.value][e] = w.q[i.value][d][e];
            } else {
                load_a<i.value * 16 * ROW + d * 16, ROW>(a[i.value], q);
            }
        });
        repeat<N_TILES>([&](auto n) {
            u32 b[FRAG];
            load_bt<n.value * 16 * ROW + d * 16, ROW>(b, k);
#pragma unroll
            for (int i = 0; i < STRIPS; i++)
                multiply_bt(s[i][n.value], a[i], b);
        });
    });
#pragma unroll
    for (int i = 0; i < STRIPS; i++) {
        if (FLIP)
#pragma unroll
            for (int e = 0; e < N_TILES * 8; e++)
                s[i][e / 8][e % 8] = -s[i][e / 8][e % 8];
        if (key + COLS - 1 > last_key(query + i * 16)) mask_fragments(s[i], query + i * 16, key, lane);
        ORACLE(show_scores(w, s[i], query + i * 16, key, lane);)
        softmax_fragments(w, i, s[i]);
    }
    repeat<N_TILES>([&](auto at_n) {
        constexpr int n = decltype(at_n)::value;
        u32 p[STRIPS][FRAG];
#pragma unroll
        for (int i = 0; i < STRIPS; i++)
#pragma unroll
            for (int e = 0; e < FRAG; e++)
                p[i][e] = pack(s[i][n][e % 4 * 2], s[i][n][e % 4 * 2 + 1]);
        ORACLE(for (int i = 0; i < STRIPS; i++) show_weights(w, i, p[i], query + i * 16, key + n * 16, lane);)
        repeat<D_TILES>([&](auto d) {
            u32 b[FRAG];
            load_b<n * 16 * ROW + d.value * 16, ROW>(b, v);
#pragma unroll
            for (int i = 0; i < STRIPS; i++)
                multiply(w.o[i] + d.value * 8, p[i], b);
        });
    });
}
#else

// --- SOFTMAX_REGS 0 ----------------------------------------------------------------------------------------------------

// Column of the c-th logit of a lane.
DEVICE int column_of(int c, int lane)
{
    return c / 4 * 8 + (lane & 1) * 4 + c % 4;
}

// Logits of a strip by WMMA, through the warp's scratch.
DEVICE void logits_wmma(float *s, const carried &w, int strip, const u16 *q, const u16 *k, float *scratch, int lane)
{
    __syncwarp(); // the previous tile's weights have been read
    repeat<N_TILES>([&](auto at_n) {
        constexpr int n = decltype(at_n)::value;
        float acc[8] = {};
        repeat<D_TILES>([&](auto d) {
            u32 a[FRAG], b[FRAG];
            if constexpr (!HOLD_Q) load_a<d.value * 16, ROW>(a, q);
            load_bt<n * 16 * ROW + d.value * 16, ROW>(b, k);
            multiply_bt(acc, HOLD_Q ? w.q[HOLD_Q ? strip : 0][HOLD_Q ? d.value : 0] : a, b);
        });
        store_acc(scratch + n * 16, acc, S_PITCH);
    });
    __syncwarp();
#pragma unroll
    for (int c = 0; c < COLS / 2; c += 4) {
        float4 x = *(const float4 *)(scratch + (lane >> 1) * S_PITCH + column_of(c, lane));
        s[c] = x.x, s[c + 1] = x.y, s[c + 2] = x.z, s[c + 3] = x.w;
    }
    __syncwarp(); // before the weights overwrite them
}

// Logits of a strip by f32 FMA: a lane's own row of Q against its own columns.
DEVICE void logits_scalar(float *s, const u16 *q, const u16 *k, int lane)
{
#pragma unroll
    for (int c = 0; c < COLS / 2; c++)
        s[c] = 0;
#pragma unroll 1
    for (int d = 0; d < HEAD_DIM; d += 8) {
        float a[8], b[8];
        unpack_8(a, *(const uint4 *)(q + (lane >> 1) * ROW + d));
#pragma unroll
        for (int c = 0; c < COLS / 2; c++) {
            unpack_8(b, *(const uint4 *)(k + column_of(c, lane) * ROW + d));
#pragma unroll
            for (int e = 0; e < 8; e++)
                s[c] = fmaf(a[e], b[e], s[c]);
        }
    }
}

// O += P V by WMMA; the weights go through the scratch in the tensors' type.
DEVICE void weigh_wmma(float *o, const float *s, const u16 *v, float *scratch, int lane)
{
    u16 *p = (u16 *)scratch;
#pragma unroll
    for (int c = 0; c < COLS / 2; c += 4) {
        uint2 x = {pack(s[c], s[c + 1]), pack(s[c + 2], s[c + 3])};
        *(uint2 *)(p + (lane >> 1) * S_PITCH + column_of(c, lane)) = x;
    }
    __syncwarp();
    repeat<N_TILES>([&](auto at_n) {
        constexpr int n = decltype(at_n)::value;
        u32 a[FRAG];
        load_a<n * 16, S_PITCH>(a, p);
        repeat<D_TILES>([&](auto d) {
            u32 b[FRAG];
            load_b<n * 16 * ROW + d.value * 16, ROW>(b, v);
            multiply(o + d.value * 8, a, b);
        });
    });
}

// O += P V by f32 FMA: of its row, a lane holds columns 16i + 8h .. + 7. The weights go through the scratch as f32.
DEVICE void weigh_scalar(float *o, const float *s, const u16 *v, float *scratch, int lane)
{
    float *p = scratch + (lane >> 1) * S_PITCH;
#pragma unroll
    for (int c = 0; c < COLS / 2; c += 4) {
        float4 x = {s[c], s[c + 1], s[c + 2], s[c + 3]};
        *(float4 *)(p + column_of(c, lane)) = x;
    }
    __syncwarp();
#pragma unroll 1
    for (int j = 0; j < COLS; j += 4) {
        float4 x = *(const float4 *)(p + j);
        float weight[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int c = 0; c < O_REGS; c += 8) {
                float b[8];
                unpack_8(b, *(const uint4 *)(v + (j + i) * ROW + 2 * c + (lane & 1) * 8));
#pragma unroll
                for (int e = 0; e < 8; e++)
                    o[c + e] = fmaf(weight[i], b[e], o[c + e]);
            }
    }
    __syncwarp();
}

#ifdef FATUNE_ORACLE
DEVICE void show_row(const carried &w, int which, const float *x, int query, int key, int lane)
{
    for (int c = 0; c < COLS / 2; c++)
        show(w.show_to, which, w.plane, query + lane / 2, key + column_of(c, lane), x[c]);
}

DEVICE void show_scores(const carried &w, const float *s, int query, int key, int lane)
{
    float x[COLS / 2];
    for (int c = 0; c < COLS / 2; c++)
        x[c] = s[c] * LOGIT * 0.6931471805599453f;
    show_row(w, 0, x, query, key, lane);
}

DEVICE void show_weights(const carried &w, int strip, const float *s, int query, int key, int lane)
{
    float x[COLS / 2], m[COLS / 2];
    for (int c = 0; c < COLS / 2; c += 2) {
        x[c] = s[c], x[c + 1] = s[c + 1];
        if (USE_WMMA_PV) unpack(x[c], x[c + 1], pack(s[c], s[c + 1]));
        m[c] = m[c + 1] = w.m[strip][0] * 0.6931471805599453f;
    }
    show_row(w, 1, x, query, key, lane);
    show_row(w, 2, m, query, key, lane);
}
#endif

DEVICE void softmax_rows(carried &w, int strip, float *s, int query, int key, int lane)
{
    if (FLIP)
#pragma unroll
        for (int c = 0; c < COLS / 2; c++)
            s[c] = -s[c];
    if (key + COLS - 1 > last_key(query)) {
        int last = last_key(query + (lane >> 1)) - key - (lane & 1) * 4;
#pragma unroll
        for (int c = 0; c < COLS / 2; c++)
            s[c] = c / 4 * 8 + c % 4 > last ? NEG_INF : s[c];
    }
    ORACLE(show_scores(w, s, query, key, lane);)
    float row_max = NEG_INF, minus_ref, sum = 0;
#pragma unroll
    for (int c = 0; c < COLS / 2; c++)
        row_max = fmaxf(row_max, s[c]);
    float factor = advance_max<2>(w.m[strip][0], minus_ref, row_max);
#pragma unroll
    for (int c = 0; c < COLS / 2; c++) {
        s[c] = exp2_approx(fmaf(s[c], LOGIT, minus_ref));
        sum += s[c];
    }
    ORACLE(show_weights(w, strip, s, query, key, lane);)
    w.l[strip][0] = w.l[strip][0] * factor + sum;
    scale_o(w.o[strip], &factor, w);
}

// One tile of keys for all strips of a warp: k and v point at the warp's first key, whose index is `key`.
DEVICE void step(carried &w, const u16 *q, const u16 *k, const u16 *v, float *scratch, int query, int key, int lane)
{
#pragma unroll
    for (int i = 0; i < STRIPS; i++) {
        float s[COLS / 2];
        if (USE_WMMA_QK)
            logits_wmma(s, w, i, q + i * 16 * ROW, k, scratch, lane);
        else
            logits_scalar(s, q + i * 16 * ROW, k, lane);
        softmax_rows(w, i, s, query + i * 16, key, lane);
        if (!USE_WMMA_QK) __syncwarp(); // the previous weights have been read
        if (USE_WMMA_PV)
            weigh_wmma(w.o[i], s, v, scratch, lane);
        else
            weigh_scalar(w.o[i], s, v, scratch, lane);
    }
}
#endif

// --- before and after the tiles ----------------------------------------------------------------------------------------

DEVICE void start(carried &w, const u16 *q)
{
#pragma unroll
    for (int i = 0; i < STRIPS; i++) {
#pragma unroll
        for (int e = 0; e < O_REGS; e++)
            w.o[i][e] = 0;
#pragma unroll
        for (int r = 0; r < ROWS_LANE; r++)
            w.m[i][r] = NEG_INF, w.l[i][r] = 0;
    }
    if constexpr (HOLD_Q) {
        repeat<STRIPS * D_TILES>([&](auto j) {
            constexpr int i = decltype(j)::value / D_TILES, d = decltype(j)::value % D_TILES;
            load_a<i * 16 * ROW + d * 16, ROW>(w.q[i][d], q);
        });
    }
}

// Adds the parts of the other warps of a strip to the first one's, in order. `parts` is the memory of K and V.
DEVICE void merge_parts(carried &w, float *parts, int group, int part, int lane)
{
    constexpr int slot = (O_REGS + 2 * ROWS_LANE) * 32;
    float *mine = parts + (group * (SPLIT - 1) + part - 1) * slot + lane;
    __syncthreads(); // K and V have been read
    if (part > 0) {
#pragma unroll
        for (int i = 0; i < O_REGS; i++)
            mine[i * 32] = w.o[0][i];
#pragma unroll
        for (int r = 0; r < ROWS_LANE; r++) {
            mine[(O_REGS + 2 * r) * 32] = w.m[0][r];
            mine[(O_REGS + 2 * r + 1) * 32] = w.l[0][r];
        }
    }
    __syncthreads();
    if (part > 0) return;
#pragma unroll 1
    for (int other = 1; other < SPLIT; other++) {
        const float *from = mine + other * slot;
        float here[ROWS_LANE], there[ROWS_LANE], f[8];
#pragma unroll
        for (int r = 0; r < ROWS_LANE; r++) {
            float m = from[(O_REGS + 2 * r) * 32], m_new = fmaxf(m, w.m[0][r]);
            float ref = m_new == NEG_INF ? 0.0f : m_new;
            here[r] = exp2_approx(w.m[0][r] - ref);
            there[r] = exp2_approx(m - ref);
            w.l[0][r] = w.l[0][r] * here[r] + from[(O_REGS + 2 * r + 1) * 32] * there[r];
            w.m[0][r] = m_new;
        }
        scale_o(w.o[0], here, w);
        spread(f, there, w);
#pragma unroll
        for (int i = 0; i < O_REGS; i++)
            w.o[0][i] = fmaf(from[i * 32], f[i % 8], w.o[0][i]);
    }
}

// Writes a strip of O, in the tensors' type, over the strip's Q in shared memory.
DEVICE void stage_o(const carried &w, const float *o, u16 *q, int lane)
{
#pragma unroll
    for (int i = 0; i < O_REGS; i += 2) {
        u32 x = pack(o[i], o[i + 1]);
        int d = i / 8 * 16, e = i % 8;
        if (SOFTMAX_REGS) {
            *(u32 *)(q + ((lane >> 2) + (e & 2) * 4) * ROW + d + (e & 4) * 2 + (lane & 3) * 2) = x;
        } else if (USE_WMMA_PV) {
            q[(w.row_of >> 4 * e & 15) * ROW + d + (w.col_of >> 4 * e & 15)] = (u16)x;
            q[(w.row_of >> (4 * e + 4) & 15) * ROW + d + (w.col_of >> (4 * e + 4) & 15)] = (u16)(x >> 16);
        } else {
            *(u32 *)(q + (lane >> 1) * ROW + d + (lane & 1) * 8 + e) = x;
        }
    }
}

// Normalises and writes a strip whose first row is `query` of the head at `o` and `lse`.
DEVICE void write_strip(carried &w, int strip, u16 *q, u16 *o, float *lse, int query, int lane)
{
    float inverse[ROWS_LANE];
    constexpr int chunks = HEAD_DIM / 8, partners = 2 * ROWS_LANE;
#pragma unroll
    for (int r = 0; r < ROWS_LANE; r++) {
        float l = w.l[strip][r];
        inverse[r] = l > 0 ? 1.0f / l : 0.0f;
        int row = query + lane / partners + 8 * r;
        if (WRITE_LSE && lane % partners == 0 && row < SEQ_Q)
            lse[row] = l > 0 ? (w.m[strip][r] + log2_approx(l)) * 0.6931471805599453f : NEG_INF;
    }
    scale_o(w.o[strip], inverse, w);
    stage_o(w, w.o[strip], q, lane);
    __syncwarp();
#pragma unroll
    for (int i = lane; i < 16 * chunks; i += 32) {
        int r = i / chunks, c = i % chunks * 8;
        if (query + r < SEQ_Q) *(uint4 *)(o + (query + r) * HEAD_DIM + c) = *(const uint4 *)(q + r * ROW + c);
    }
}

DEVICE void finish(carried &w, u16 *q, float *parts, u16 *o, float *lse, int query, int group, int part, int lane)
{
#pragma unroll
    for (int i = 0; i < STRIPS; i++)
#pragma unroll
        for (int r = 0; r < ROWS_LANE; r++)
#pragma unroll
            for (int x = 1; x < 2 * ROWS_LANE; x *= 2)
                w.l[i][r] += __shfl_xor_sync(0xffffffffu, w.l[i][r], x);
    if (SPLIT > 1) merge_parts(w, parts, group, part, lane);
    if (part > 0) return;
#pragma unroll
    for (int i = 0; i < STRIPS; i++)
        write_strip(w, i, q + i * 16 * ROW, o, lse, query + i * 16, lane);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    attention_forward(const u16 *__restrict__ q_all, const u16 *__restrict__ k_all, const u16 *__restrict__ v_all,
                      u16 *__restrict__ o_all, float *__restrict__ lse_all ORACLE(, float *show_to))
{
    extern __shared__ __align__(128) unsigned char shared[];
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5;
    const int group = warp / SPLIT, part = warp % SPLIT;
    // Causal: the tiles with the most keys start first.
    const int tile_m = CAUSAL ? (int)(gridDim.x - 1 - blockIdx.x) : (int)blockIdx.x;
    const int query = tile_m * BLOCK_M + group * STRIPS * 16;
    const long long head = (long long)blockIdx.z * HEADS + blockIdx.y;
    const long long kv_head = (long long)blockIdx.z * KV_HEADS + blockIdx.y / (HEADS / KV_HEADS);
    const u16 *k_head = k_all + kv_head * SEQ_KV * HEAD_DIM, *v_head = v_all + kv_head * SEQ_KV * HEAD_DIM;

    u16 *q_tile = (u16 *)shared, *kv = (u16 *)(shared + Q_BYTES), *q = q_tile + group * STRIPS * 16 * ROW;
    float *scratch = (float *)(shared + Q_BYTES + KV_BYTES + warp * SCRATCH_BYTES);
    constexpr int tile = BLOCK_N * ROW; // K of stage i lies at 2i, its V at 2i + 1 tiles

    const int block_end = tile_m * BLOCK_M + BLOCK_M, keys = last_key((block_end < SEQ_Q ? block_end : SEQ_Q) - 1) + 1;
    const int tiles = keys > 0 ? (keys + BLOCK_N - 1) / BLOCK_N : 0;
    const int warp_last = last_key(query + STRIPS * 16 - 1);
    carried w;
    ORACLE(w.show_to = show_to, w.plane = (int)head;)

    copy_rows<BLOCK_M, SEQ_Q>(q_tile, q_all + head * SEQ_Q * HEAD_DIM, tile_m * BLOCK_M);
#if STAGES > 1
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < tiles) {
            copy_rows<BLOCK_N, SEQ_KV>(kv + 2 * i * tile, k_head, i * BLOCK_N);
            copy_rows<BLOCK_N, SEQ_KV>(kv + (2 * i + 1) * tile, v_head, i * BLOCK_N);
        }
        copy_commit();
    }
#endif
    if (USE_WMMA_PV) learn_layout(w, scratch, lane); // while the first tiles are on their way
#if STAGES > 1
    copy_wait<STAGES - 2>();
#endif
    __syncthreads();
    start(w, q);

    int stage = 0;
#pragma unroll 1
    for (int i = 0; i < tiles; i++) {
#if STAGES > 1
        copy_wait<STAGES - 2>();
        __syncthreads(); // tile i has arrived, and tile i - 1 has been read: its place takes tile i + STAGES - 1
        int next = i + STAGES - 1, into = stage == 0 ? STAGES - 1 : stage - 1;
        if (next < tiles) {
            copy_rows<BLOCK_N, SEQ_KV>(kv + 2 * into * tile, k_head, next * BLOCK_N);
            copy_rows<BLOCK_N, SEQ_KV>(kv + (2 * into + 1) * tile, v_head, next * BLOCK_N);
        }
        copy_commit();
#else
        if (i > 0) __syncthreads(); // the tile before has been read
        copy_rows<BLOCK_N, SEQ_KV>(kv, k_head, i * BLOCK_N);
        copy_rows<BLOCK_N, SEQ_KV>(kv + tile, v_head, i * BLOCK_N);
        __syncthreads();
#endif
        const u16 *k = kv + 2 * stage * tile + part * COLS * ROW;
        const int key = i * BLOCK_N + part * COLS;
        if (key <= warp_last) step(w, q, k, k + tile, scratch, query, key, lane);
        if (STAGES > 1) stage = stage == STAGES - 1 ? 0 : stage + 1;
    }
    finish(w, q, (float *)kv, o_all + head * SEQ_Q * HEAD_DIM, lse_all + head * SEQ_Q, query, group, part, lane);
}
