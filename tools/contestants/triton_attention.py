"""Attention forward in Triton, in the manner of FlashAttention-2.

One program owns BLOCK_M query rows of one head and walks over the keys in tiles of BLOCK_N with a running maximum and sum. The
scale is folded into exp2. Tiles that every row sees have a loop of their own without mask code; tiles on the diagonal and the
last, incomplete one have another. With the causal mask (bottom-right aligned) the longest programs start first. Sizes are
compile-time constants. TMA: K and V come by descriptors, else by pointers.
"""
import triton
import triton.language as tl


@triton.jit
def _tile(base, at, n, HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, SEQ_KV: tl.constexpr, BLOCK_N: tl.constexpr,
          MASKED: tl.constexpr, TMA: tl.constexpr):
    """Keys or values n .. n + BLOCK_N - 1 of a head; what lies behind the end, or past HEAD_DIM, is 0 (TMA: another head's)."""
    if TMA:
        tile = base.load([at + n, 0])
    else:
        keys = n + tl.arange(0, BLOCK_N)[:, None]
        columns = tl.arange(0, BLOCK_D)[None, :]
        place = base + keys * HEAD_DIM + columns
        if MASKED and SEQ_KV % BLOCK_N != 0:
            tile = tl.load(place, mask=(keys < SEQ_KV) & (columns < HEAD_DIM), other=0.0)
        elif BLOCK_D != HEAD_DIM:
            tile = tl.load(place, mask=columns < HEAD_DIM, other=0.0)
        else:
            tile = tl.load(place)
    return tile


@triton.jit
def _walk(acc, total, top, q, k, v, at, begin, end, rows, SHIFT: tl.constexpr, SCALE: tl.constexpr, CAUSAL: tl.constexpr,
          HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, SEQ_KV: tl.constexpr, BLOCK_N: tl.constexpr, MASKED: tl.constexpr,
          TMA: tl.constexpr):
    """Tiles from begin to end. top: the largest logit so far in units of log2; total: the sum of weights relative to it."""
    for n in tl.range(begin, end, BLOCK_N):
        keys = _tile(k, at, n, HEAD_DIM, BLOCK_D, SEQ_KV, BLOCK_N, MASKED, TMA)
        logits = tl.dot(q, keys.T)
        if SCALE <= 0:
            logits *= SCALE
        if MASKED:
            columns = n + tl.arange(0, BLOCK_N)[None, :]
            if CAUSAL:
                seen = columns <= rows[:, None] + SHIFT  # below SEQ_KV in every row that is stored
            else:
                seen = columns < SEQ_KV
            logits = tl.where(seen, logits, float('-inf'))
        if SCALE > 0:
            new = tl.maximum(top, tl.max(logits, 1) * SCALE)
            weights = logits * SCALE
        else:
            new = tl.maximum(top, tl.max(logits, 1))
            weights = logits
        zero = new
        if SHIFT < 0 and CAUSAL:  # rows that have seen no key yet
            zero = tl.where(new == float('-inf'), 0.0, new)
        weights = tl.math.exp2(weights - zero[:, None])
        decay = tl.math.exp2(top - zero)
        total = total * decay + tl.sum(weights, 1)
        acc = acc * decay[:, None]
        values = _tile(v, at, n, HEAD_DIM, BLOCK_D, SEQ_KV, BLOCK_N, MASKED, TMA)
        acc = tl.dot(weights.to(q.dtype), values, acc)
        top = new
    return acc, total, top


@triton.jit
def attention(q, k, v, o, HEADS: tl.constexpr, KV_HEADS: tl.constexpr, SEQ_Q: tl.constexpr, SEQ_KV: tl.constexpr,
              HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, SCALE: tl.constexpr, CAUSAL: tl.constexpr,
              BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, TMA: tl.constexpr):
    """o = softmax(scale q k^T) v; SCALE is scale * log2(e). Grid: ceil(SEQ_Q / BLOCK_M) * BATCH * HEADS programs. BLOCK_D: HEAD_DIM
    rounded up to a power of two. k, v: pointers, or with TMA descriptors of (BATCH * KV_HEADS * SEQ_KV, HEAD_DIM)."""
    TILES: tl.constexpr = (SEQ_Q + BLOCK_M - 1) // BLOCK_M
    SHIFT: tl.constexpr = SEQ_KV - SEQ_Q
    tile = tl.program_id(0) % TILES
    head = tl.program_id(0) // TILES
    if CAUSAL:
        tile = TILES - 1 - tile
    kv_head = head // HEADS * KV_HEADS + head % HEADS // (HEADS // KV_HEADS)
    q += head.to(tl.int64) * SEQ_Q * HEAD_DIM
    o += head.to(tl.int64) * SEQ_Q * HEAD_DIM
    if not TMA:
        k += kv_head.to(tl.int64) * SEQ_KV * HEAD_DIM
        v += kv_head.to(tl.int64) * SEQ_KV * HEAD_DIM
    first = tile * BLOCK_M
    rows = first + tl.arange(0, BLOCK_M)
    columns = tl.arange(0, BLOCK_D)[None, :]
    place = rows[:, None] * HEAD_DIM + columns
    inside = (rows[:, None] < SEQ_Q) & (columns < HEAD_DIM)
    RAGGED: tl.constexpr = SEQ_Q % BLOCK_M != 0 or BLOCK_D != HEAD_DIM
    if RAGGED:
        mine = tl.load(q + place, mask=inside, other=0.0)
    else:
        mine = tl.load(q + place)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    top = tl.full([BLOCK_M], float('-inf'), tl.float32)
    if CAUSAL:
        full = tl.minimum(tl.maximum(first + SHIFT + 1, 0), SEQ_KV) // BLOCK_N * BLOCK_N
        end = tl.minimum(tl.maximum(first + BLOCK_M + SHIFT, 0), SEQ_KV)
    else:
        full = SEQ_KV // BLOCK_N * BLOCK_N
        end = SEQ_KV
    acc, total, top = _walk(acc, total, top, mine, k, v, kv_head * SEQ_KV, 0, full, rows, SHIFT, SCALE, CAUSAL, HEAD_DIM, BLOCK_D,
                            SEQ_KV, BLOCK_N, False, TMA)
    if CAUSAL or SEQ_KV % BLOCK_N != 0:
        acc, total, top = _walk(acc, total, top, mine, k, v, kv_head * SEQ_KV, full, end, rows, SHIFT, SCALE, CAUSAL, HEAD_DIM,
                                BLOCK_D, SEQ_KV, BLOCK_N, True, TMA)
    if SHIFT < 0 and CAUSAL:
        total = tl.where(total == 0, 1.0, total)  # their output is 0
    result = (acc / total[:, None]).to(o.dtype.element_ty)
    if RAGGED:
        tl.store(o + place, result, mask=inside)
    else:
        tl.store(o + place, result)
