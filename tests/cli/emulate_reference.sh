#!/usr/bin/env bash
# The CUDA kernel reference_cuda, run on the CPU by an emulator against f64: indices, masks, barriers, reads past the end.
. "${SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}/tests/cli/emulate.bash"
emulate reference_cuda emulate_reference

small="BATCH=1 HEADS=2 KV_HEADS=1 WRITE_LSE=1"
# shellcheck disable=SC2086
{
    run 1 $small SEQ_Q=70 SEQ_KV=133 HEAD_DIM=64 CAUSAL=1
    run 1 $small SEQ_Q=140 SEQ_KV=53 HEAD_DIM=40 CAUSAL=1                                # rows, and a block, that see no key
    run 1 BATCH=2 HEADS=4 KV_HEADS=2 WRITE_LSE=0 SEQ_Q=5 SEQ_KV=128 HEAD_DIM=128 DTYPE_BF16=1
    run 1 $small SEQ_Q=3 SEQ_KV=70 HEAD_DIM=7                                           # no column group is whole
    run 1 $small SEQ_Q=65 SEQ_KV=65 HEAD_DIM=100 CAUSAL=1 SCALE=-0.1f DTYPE_BF16=1
    run 1 $small SEQ_Q=1 SEQ_KV=1 HEAD_DIM=1
    run 1 $small SEQ_Q=20 SEQ_KV=97 HEAD_DIM=256
    run 20 $small SEQ_Q=33 SEQ_KV=90 HEAD_DIM=72                                        # large logits
}
finish
