#!/usr/bin/env bash
# The CUDA kernel fa_wgmma, run on the CPU by an emulator against f64: indices, descriptors, masks, barriers and their phases, clusters,
# reads past the end, and everything asynchronous early, late and at random.
. "${SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}/tests/cli/emulate.bash"
emulate fa_wgmma emulate_wgmma

# Spread of the inputs and climb of the logits first; then the problem, then what the manifest allows for it but for rules that are about speed.
shown=FATUNE_ORACLE=1 # the tile that a debug build shows is right, too
small="BATCH=1 HEADS=2 KV_HEADS=1 WRITE_LSE=1"
large="BATCH=2 HEADS=2 WRITE_LSE=1"
# shellcheck disable=SC2086
{
    # one tile after another: all in place, rings with and without a producer
    run 1 $shown $small SEQ_Q=197 SEQ_KV=333 WG_KV=2 BLOCK_N=32 CAUSAL=1
    run 1 $small SEQ_Q=65 SEQ_KV=128 WG_Q=2 CLUSTER=2 BLOCK_N=32 STAGES=0 HEAD_DIM=128 GRID_ORDER=1
    run 20 $shown $small SEQ_Q=129 SEQ_KV=333 WG_KV=2 BLOCK_N=64 PRODUCER=1 RESCALE_LOG2=8 DTYPE_BF16=1 SCALE=-0.1f
    run 1 $small SEQ_Q=129 SEQ_KV=513 WG_Q=3 BLOCK_N=96 STAGES=3 PRODUCER=1 CAUSAL=1 GRID_ORDER=1
    run 1 $shown $small SEQ_Q=128 SEQ_KV=192 WG_Q=3 CLUSTER=2 BLOCK_N=32 STAGES=0 OVERLAP=1 Q_REGS=1 # a group of 64 rows past the end
    run 1 $large SEQ_Q=1 SEQ_KV=333 WG_KV=4 BLOCK_N=32 PRODUCER=1 SCALE=0
    run 1 $shown $small SEQ_Q=150 SEQ_KV=63 WG_Q=2 BLOCK_N=192 STAGES=0 HEAD_DIM=192 CAUSAL=1 DTYPE_BF16=1 # rows that see no key
    run "1 -60" $shown $small SEQ_Q=127 SEQ_KV=333 WG_Q=2 CLUSTER=2 BLOCK_N=160 STAGES=0 MIRROR=1 CAUSAL=1 WRITE_LSE=0
    run "1 60" $shown $small SEQ_Q=65 SEQ_KV=384 WG_Q=2 BLOCK_N=64 STAGES=3 RESCALE_LOG2=8
    run 1 $small SEQ_Q=127 SEQ_KV=127 WG_Q=2 BLOCK_N=256 STAGES=0 HEAD_DIM=128 SCALE=-0.1f DTYPE_BF16=1
    run 1 $shown $small SEQ_Q=65 SEQ_KV=333 WG_KV=2 CLUSTER=2 BLOCK_N=32 HEAD_DIM=192

    # S of the next tile before P V of this one, with and without turns
    run 1 $shown $small SEQ_Q=353 SEQ_KV=333 WG_Q=2 BLOCK_N=32 PRODUCER=1 OVERLAP=1 PING_PONG=1 Q_REGS=1 MIRROR=1 CAUSAL=1 RESCALE_LOG2=8
    run 1 $shown $small SEQ_Q=129 SEQ_KV=333 WG_Q=2 BLOCK_N=64 STAGES=3 OVERLAP=1 PING_PONG=1 DTYPE_BF16=1
    run 20 $shown $small SEQ_Q=65 SEQ_KV=300 WG_KV=2 CLUSTER=2 BLOCK_N=32 OVERLAP=1 Q_REGS=1 CAUSAL=1
    run 1 $small SEQ_Q=128 SEQ_KV=513 WG_Q=2 CLUSTER=4 BLOCK_N=64 STAGES=2 PRODUCER=1 OVERLAP=1 CAUSAL=1 MIRROR=1
    run 1 $shown $small SEQ_Q=130 SEQ_KV=256 WG_Q=2 WG_KV=2 BLOCK_N=32 STAGES=3 PRODUCER=1 OVERLAP=1 RESCALE_LOG2=8 GRID_ORDER=1
    run 1 $small SEQ_Q=64 SEQ_KV=160 BLOCK_N=32 OVERLAP=1 HEAD_DIM=256 DTYPE_BF16=1

    # two S
    run "1 60" $shown $small SEQ_Q=64 SEQ_KV=384 CLUSTER=2 BLOCK_N=96 STAGES=0 OVERLAP=2 RESCALE_LOG2=8 SCALE=-0.1f
    run 1 $shown $small SEQ_Q=150 SEQ_KV=128 WG_Q=3 BLOCK_N=32 STAGES=0 OVERLAP=2 Q_REGS=1
    run 1 $small SEQ_Q=197 SEQ_KV=256 WG_Q=2 CLUSTER=2 BLOCK_N=64 STAGES=0 OVERLAP=2 CAUSAL=1 DTYPE_BF16=1
    run 1 $shown $small SEQ_Q=127 SEQ_KV=192 WG_KV=4 BLOCK_N=32 STAGES=0 OVERLAP=2 SCALE=0

    # the lazy walk; where logits climb it starts again
    run 1 $shown $small SEQ_Q=129 SEQ_KV=333 WG_KV=2 BLOCK_N=64 STAGES=0 OVERLAP=3 CAUSAL=1 Q_REGS=1
    run "1 60" $shown $small SEQ_Q=63 SEQ_KV=256 CLUSTER=4 BLOCK_N=32 STAGES=0 OVERLAP=3 HEAD_DIM=256 SCALE=-0.1f
    run "1 90" $shown $small SEQ_Q=65 SEQ_KV=512 WG_KV=2 CLUSTER=2 BLOCK_N=64 STAGES=0 OVERLAP=3 Q_REGS=1 HEAD_DIM=128 DTYPE_BF16=1
    run 1 $small SEQ_Q=129 SEQ_KV=512 WG_KV=2 BLOCK_N=64 STAGES=0 OVERLAP=3
    run "1 90" $shown $small SEQ_Q=64 SEQ_KV=512 WG_KV=2 BLOCK_N=64 STAGES=0 OVERLAP=3 Q_REGS=1 CAUSAL=1
    run "1 -60" $small SEQ_Q=129 SEQ_KV=96 BLOCK_N=32 STAGES=0 OVERLAP=3 CAUSAL=1
    run 20 $shown $small SEQ_Q=197 SEQ_KV=128 WG_KV=4 BLOCK_N=32 STAGES=0 OVERLAP=3 CAUSAL=1
}
finish
