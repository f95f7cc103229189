#!/usr/bin/env bash
# The CUDA kernel reference_cuda, run on the CPU by an emulator against f64: indices, masks, barriers, reads past the end.
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
    /^\/\/ --- end of PTX/ {part = 2}' "$source_dir/kernel_templates/reference_cuda/kernel.cu"
[ -s "$work/kernel_tail.inc" ] || { echo "FAIL: the kernel has no PTX section to replace"; exit 1; }

bad=0
run() { # spread of the inputs, then NAME=VALUE...
    local spread=$1
    shift
    local what="$*"
    if ! "$cxx" -std=c++17 -O1 -w -I"$work" -I"$source_dir/tests/gpu" "${@/#/-D}" \
        "$source_dir/tests/gpu/emulate_reference.cc" -o "$work/emulate"; then
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
    run 1 $small SEQ_Q=140 SEQ_KV=53 HEAD_DIM=40 CAUSAL=1                                # rows, and a block, that see no key
    run 1 BATCH=2 HEADS=4 KV_HEADS=2 WRITE_LSE=0 SEQ_Q=5 SEQ_KV=128 HEAD_DIM=128 DTYPE_BF16=1
    run 1 $small SEQ_Q=3 SEQ_KV=70 HEAD_DIM=7                                           # no column group is whole
    run 1 $small SEQ_Q=65 SEQ_KV=65 HEAD_DIM=100 CAUSAL=1 SCALE=-0.1f DTYPE_BF16=1
    run 1 $small SEQ_Q=1 SEQ_KV=1 HEAD_DIM=1
    run 1 $small SEQ_Q=20 SEQ_KV=97 HEAD_DIM=256
    run 20 $small SEQ_Q=33 SEQ_KV=90 HEAD_DIM=72                                        # large logits
}
[ $bad -eq 0 ] && echo "8 configurations right"
exit $bad
