#!/usr/bin/env bash
# The CUDA kernel fa_wmma, run on the CPU by an emulator against f64: indices, masks, barriers, reads past the end.
. "${SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}/tests/cli/emulate.bash"
emulate fa_wmma emulate_wmma

shown=FATUNE_ORACLE=1 # the tile that a debug build shows is right, too
small="BATCH=1 HEADS=2 KV_HEADS=1 WRITE_LSE=1"
# shellcheck disable=SC2086
{
    run 1 $shown $small SEQ_Q=70 SEQ_KV=133 HEAD_DIM=32 CAUSAL=1
    run 1 $shown $small SEQ_Q=70 SEQ_KV=53 HEAD_DIM=64 CAUSAL=1 SOFTMAX_REGS=1 STAGES=2                       # rows that see no key
    run 1 $shown $small SEQ_Q=65 SEQ_KV=127 HEAD_DIM=64 LAYOUT=1 STAGES=3 BLOCK_N=32
    run 1 $shown $small SEQ_Q=64 SEQ_KV=192 HEAD_DIM=128 SOFTMAX_REGS=1 BLOCK_M=16 WARPS=4 STAGES=2 DTYPE_BF16=1 # four warps a strip
    run 1 $shown $small SEQ_Q=129 SEQ_KV=129 HEAD_DIM=80 SOFTMAX_REGS=1 BLOCK_M=128 WARPS=4 STAGES=3 BLOCK_N=32 CAUSAL=1 PAD=0
    run 1 $small SEQ_Q=63 SEQ_KV=65 HEAD_DIM=48 USE_WMMA_QK=0 USE_WMMA_PV=0 STAGES=2 CAUSAL=1
    run 1 $shown $small SEQ_Q=63 SEQ_KV=65 HEAD_DIM=64 USE_WMMA_QK=0 LAYOUT=1 BLOCK_N=16 DTYPE_BF16=1
    run 1 $shown $small SEQ_Q=63 SEQ_KV=65 HEAD_DIM=96 USE_WMMA_PV=0 LAYOUT=1
    run 1 $small SEQ_Q=1 SEQ_KV=7 HEAD_DIM=64 SOFTMAX_REGS=1 BLOCK_M=32 WARPS=4 SCALE=-0.1f
    run 20 $shown $small SEQ_Q=70 SEQ_KV=193 HEAD_DIM=64 SOFTMAX_REGS=1 STAGES=2 WARPS=8                      # large logits
    run 20 $small SEQ_Q=70 SEQ_KV=193 HEAD_DIM=64 BLOCK_M=32 WARPS=1 BLOCK_N=32
}
finish
