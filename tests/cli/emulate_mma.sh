#!/usr/bin/env bash
# The CUDA kernel fa_mma, run on the CPU by an emulator against f64: indices, masks, barriers, reads past the end.
set -u
source_dir=${SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
cxx=
for name in "${CXX:-}" g++ clang++; do
    [ -n "$name" ] && echo '_Float16 x = 1;' | "$name" -std=c++17 -x c++ -fsyntax-only - 2>/dev/null && cxx=$name && break
done
[ -n "$cxx" ] || { echo "no C++ compiler with _Float16"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT

awk -v head="$work/kernel_head.inc" -v tail="$work/kernel_tail.inc" '
    /^\/\/ --- PTX ---/ {part = 1}
    part == 0 {print > head}
    part == 2 {print > tail}
    /^\/\/ --- end of PTX/ {part = 2}' "$source_dir/kernel_templates/fa_mma/kernel.cu"
[ -s "$work/kernel_tail.inc" ] || { echo "FAIL: the kernel has no PTX section to replace"; exit 1; }

bad=0
run() { # spread of the inputs, then NAME=VALUE...
    local spread=$1
    shift
    local what="$*"
    if ! "$cxx" -std=c++17 -O1 -w -I"$work" -I"$source_dir/tests/gpu" "${@/#/-D}" \
        "$source_dir/tests/gpu/emulate_mma.cc" -o "$work/emulate"; then
        echo "FAIL: does not build: $what"
        bad=1
    elif ! "$work/emulate" 7 "$spread" >"$work/out"; then
        echo "FAIL: $what: $(cat "$work/out")"
        bad=1
    fi
}

small="BATCH=1 HEADS=2 KV_HEADS=1 WRITE_LSE=1"
# shellcheck disable=SC2086
{
    run 1 $small SEQ_Q=70 SEQ_KV=133 HEAD_DIM=64 CAUSAL=1
    run 1 $small SEQ_Q=70 SEQ_KV=53 HEAD_DIM=64 CAUSAL=1 BLOCK_N=16 WARPS_KV=2 RESCALE_LOG2=8            # rows that see no key
    run 1 $small SEQ_Q=64 SEQ_KV=256 HEAD_DIM=64 WARPS_Q=2 WARPS_KV=4 STAGES_K=0 STAGES_V=0 BLOCK_N=32  # all at once
    run 1 $small SEQ_Q=129 SEQ_KV=300 HEAD_DIM=64 WARPS_Q=1 WARPS_KV=4 BLOCK_M=16 STAGES_K=0 STAGES_V=0 BLOCK_N=16 CAUSAL=1 GRID_ORDER=1
    run 1 $small SEQ_Q=65 SEQ_KV=127 HEAD_DIM=32 STAGES_K=3 STAGES_V=1 BLOCK_N=16 Q_REGS=0
    run 1 $small SEQ_Q=64 SEQ_KV=192 HEAD_DIM=128 BLOCK_M=16 WARPS_Q=1 WARPS_KV=8 STAGES_K=1 STAGES_V=1 BLOCK_N=16 DTYPE_BF16=1
    run 1 $small SEQ_Q=129 SEQ_KV=129 HEAD_DIM=80 BLOCK_M=128 STAGES_K=1 STAGES_V=2 BLOCK_N=32 CAUSAL=1
    run 1 $small SEQ_Q=63 SEQ_KV=165 HEAD_DIM=48 WARPS_Q=2 WARPS_KV=2 STAGES_K=2 STAGES_V=1 BLOCK_N=32
    run 1 $small SEQ_Q=33 SEQ_KV=65 HEAD_DIM=256 BLOCK_M=32 WARPS_Q=2 Q_REGS=0 BLOCK_N=16 STAGES_V=3 DTYPE_BF16=1 CAUSAL=1
    run 1 $small SEQ_Q=63 SEQ_KV=200 HEAD_DIM=96 WARPS_Q=1 BLOCK_M=32 WARPS_KV=2 BLOCK_N=32 STAGES_K=1 GRID_ORDER=1
    run 1 $small SEQ_Q=1 SEQ_KV=7 HEAD_DIM=64 BLOCK_M=32 WARPS_Q=2 SCALE=-0.1f STAGES_K=1 STAGES_V=1
    run 20 $small SEQ_Q=70 SEQ_KV=193 HEAD_DIM=64 WARPS_KV=2 BLOCK_N=32 STAGES_K=1 STAGES_V=1            # large logits
    run 20 $small SEQ_Q=70 SEQ_KV=193 HEAD_DIM=64 RESCALE_LOG2=8 BLOCK_N=16
}
[ $bad -eq 0 ] && echo "13 configurations right"
exit $bad
