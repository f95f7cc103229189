# Sourced by emulate_*.sh: a CUDA kernel, run on the CPU by an emulator against f64, in a number of configurations. The kernel is
# cut at its PTX section, which tests/gpu/emulate_*.cc replaces by C++.
#
#   emulate TEMPLATE PROGRAM      first: what is run (exit 77 where there is no compiler for it)
#   run "ARGUMENTS" NAME=VALUE... one configuration: arguments of the program after the seed, macros of the kernel; beside others
#   finish                        waits for all, reports and exits
set -u
source_dir=${SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
cxx=
for name in "${CXX:-}" g++ clang++; do
    [ -n "$name" ] && echo '_Float16 x = 1;' | "$name" -std=c++17 -x c++ -fsyntax-only - 2>/dev/null && cxx=$name && break
done
[ -n "$cxx" ] || { echo "no C++ compiler with _Float16"; exit 77; }
work=$(mktemp -d) && trap 'wait; rm -rf "$work"' EXIT
workers=$(nproc)
count=0

emulate() {
    program=$2
    awk -v head="$work/kernel_head.inc" -v tail="$work/kernel_tail.inc" '
        /^\/\/ --- PTX ---/ {part = 1}
        part == 0 {print > head}
        part == 2 {sub(/extern __shared__ .* shared\[\];/, "EMULATE_SHARED_OF_BLOCK;"); print > tail}
        /^\/\/ --- end of PTX/ {part = 2}' "$source_dir/kernel_templates/$1/kernel.cu"
    [ -s "$work/kernel_tail.inc" ] || { echo "FAIL: the kernel has no PTX section to replace"; exit 1; }
}

one() { # number, arguments, NAME=VALUE...: leaves what went wrong in the file failed.NUMBER
    local number=$1 arguments=$2
    shift 2
    if ! "$cxx" -std=c++17 -O1 -w -Wno-psabi -I"$work" -I"$source_dir/tests/gpu" "${@/#/-D}" \
        "$source_dir/tests/gpu/$program.cc" -o "$work/$number"; then
        echo "FAIL: does not build: $*" >"$work/failed.$number"
    else
        # shellcheck disable=SC2086
        "$work/$number" 7 $arguments >"$work/out.$number" ||
            echo "FAIL: $arguments, $*: $(cat "$work/out.$number")" >"$work/failed.$number"
    fi
    rm -f "$work/$number"
}

run() {
    count=$((count + 1))
    [ "$count" -le "$workers" ] || wait -n
    one "$count" "$@" &
}

finish() {
    wait
    cat "$work"/failed.* 2>/dev/null && exit 1
    [ "$(find "$work" -name 'out.*' | wc -l)" -eq "$count" ] || { echo "FAIL: not all were run"; exit 1; }
    echo "$count configurations right"
    exit 0
}
