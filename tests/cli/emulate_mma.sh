#!/usr/bin/env bash
# The CUDA kernel fa_mma, run on the CPU by an emulator against f64: indices, masks, barriers, reads past the end.
. "${SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}/tests/cli/emulate.bash"
emulate fa_mma emulate_mma

shown=FATUNE_ORACLE=1 # the tile that a debug build shows is right, too
small="BATCH=1 HEADS=2 KV_HEADS=1 WRITE_LSE=1"
# shellcheck disable=SC2086
{
    run 1 $shown $small SEQ_Q=70 SEQ_KV=133 HEAD_DIM=64 CAUSAL=1
    run 1 $shown $small SEQ_Q=70 SEQ_KV=53 HEAD_DIM=64 CAUSAL=1 BLOCK_N=16 WARPS_KV=2 RESCALE_LOG2=8            # rows that see no key
    run 1 $small SEQ_Q=64 SEQ_KV=256 HEAD_DIM=64 WARPS_Q=2 WARPS_KV=4 STAGES_K=0 STAGES_V=0 BLOCK_N=32  # all at once
    run 1 $shown $small SEQ_Q=129 SEQ_KV=300 HEAD_DIM=64 WARPS_Q=1 WARPS_KV=4 BLOCK_M=16 STAGES_K=0 STAGES_V=0 BLOCK_N=16 CAUSAL=1 GRID_ORDER=1
    run 1 $small SEQ_Q=65 SEQ_KV=127 HEAD_DIM=32 STAGES_K=3 STAGES_V=1 BLOCK_N=16 Q_REGS=0
    run 1 $shown $small SEQ_Q=64 SEQ_KV=192 HEAD_DIM=128 BLOCK_M=16 WARPS_Q=1 WARPS_KV=8 STAGES_K=1 STAGES_V=1 BLOCK_N=16 DTYPE_BF16=1
    run 1 $shown $small SEQ_Q=129 SEQ_KV=129 HEAD_DIM=80 BLOCK_M=128 STAGES_K=1 STAGES_V=2 BLOCK_N=32 CAUSAL=1
    run 1 $small SEQ_Q=63 SEQ_KV=165 HEAD_DIM=48 WARPS_Q=2 WARPS_KV=2 STAGES_K=2 STAGES_V=1 BLOCK_N=32
    run 1 $shown $small SEQ_Q=33 SEQ_KV=65 HEAD_DIM=256 BLOCK_M=32 WARPS_Q=2 Q_REGS=0 BLOCK_N=16 STAGES_V=3 DTYPE_BF16=1 CAUSAL=1
    run 1 $small SEQ_Q=63 SEQ_KV=200 HEAD_DIM=96 WARPS_Q=1 BLOCK_M=32 WARPS_KV=2 BLOCK_N=32 STAGES_K=1 GRID_ORDER=1
    run 1 $small SEQ_Q=1 SEQ_KV=7 HEAD_DIM=64 BLOCK_M=32 WARPS_Q=2 SCALE=-0.1f STAGES_K=1 STAGES_V=1
    run 20 $shown $small SEQ_Q=70 SEQ_KV=193 HEAD_DIM=64 WARPS_KV=2 BLOCK_N=32 STAGES_K=1 STAGES_V=1            # large logits
    run 20 $shown $small SEQ_Q=70 SEQ_KV=193 HEAD_DIM=64 RESCALE_LOG2=8 BLOCK_N=16
}
finish
