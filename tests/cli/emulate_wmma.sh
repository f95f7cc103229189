#!/usr/bin/env bash
# The CUDA kernel fa_wmma, run on the CPU by an emulator against f64: indices, masks, barriers, reads past the end.
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
    /^\/\/ --- end of PTX/ {part = 2}' "$source_dir/kernel_templates/fa_wmma/kernel.cu"
[ -s "$work/kernel_tail.inc" ] || { echo "FAIL: the kernel has no PTX section to replace"; exit 1; }

bad=0
run() { # spread of the inputs, then NAME=VALUE...
    local spread=$1
    shift
    local what="$*"
    if ! "$cxx" -std=c++17 -O1 -w -I"$work" -I"$source_dir/tests/gpu" "${@/#/-D}" \
        "$source_dir/tests/gpu/emulate_wmma.cc" -o "$work/emulate"; then
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
    run 1 $small SEQ_Q=70 SEQ_KV=133 HEAD_DIM=32 CAUSAL=1
    run 1 $small SEQ_Q=70 SEQ_KV=53 HEAD_DIM=64 CAUSAL=1 SOFTMAX_REGS=1 STAGES=2                       # rows that see no key
    run 1 $small SEQ_Q=65 SEQ_KV=127 HEAD_DIM=64 LAYOUT=1 STAGES=3 BLOCK_N=32
    run 1 $small SEQ_Q=64 SEQ_KV=192 HEAD_DIM=128 SOFTMAX_REGS=1 BLOCK_M=16 WARPS=4 STAGES=2 DTYPE_BF16=1 # four warps a strip
    run 1 $small SEQ_Q=129 SEQ_KV=129 HEAD_DIM=80 SOFTMAX_REGS=1 BLOCK_M=128 WARPS=4 STAGES=3 BLOCK_N=32 CAUSAL=1 PAD=0
    run 1 $small SEQ_Q=63 SEQ_KV=65 HEAD_DIM=48 USE_WMMA_QK=0 USE_WMMA_PV=0 STAGES=2 CAUSAL=1
    run 1 $small SEQ_Q=63 SEQ_KV=65 HEAD_DIM=64 USE_WMMA_QK=0 LAYOUT=1 BLOCK_N=16 DTYPE_BF16=1
    run 1 $small SEQ_Q=63 SEQ_KV=65 HEAD_DIM=96 USE_WMMA_PV=0 LAYOUT=1
    run 1 $small SEQ_Q=1 SEQ_KV=7 HEAD_DIM=64 SOFTMAX_REGS=1 BLOCK_M=32 WARPS=4 SCALE=-0.1f
    run 20 $small SEQ_Q=70 SEQ_KV=193 HEAD_DIM=64 SOFTMAX_REGS=1 STAGES=2 WARPS=8                      # large logits
    run 20 $small SEQ_Q=70 SEQ_KV=193 HEAD_DIM=64 BLOCK_M=32 WARPS=1 BLOCK_N=32
}
[ $bad -eq 0 ] && echo "11 configurations right"
exit $bad
