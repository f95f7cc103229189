#!/usr/bin/env bash
# Fuzzes with libFuzzer under AddressSanitizer and UBSan, then minimises each corpus back into tests/fuzz/corpus. Exit 1: something was found.
#   tools/fuzz.sh [TARGET...] [--seconds N] [--jobs N]     without targets: all; 600 s each; as many at a time as there are cores
#   tools/fuzz.sh --minimise [TARGET...]                   the corpora alone, from what earlier runs have left in build-fuzz/corpus
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=600
jobs=$(nproc)
targets=()
while [ $# -gt 0 ]; do
    case $1 in
    --seconds) seconds=${2:?--seconds N}; shift ;;
    --jobs) jobs=${2:?--jobs N}; shift ;;
    --minimise) seconds=0 ;;
    --help | -h) sed -n '2,4s/^# *//p' "$0"; exit 0 ;;
    -*) echo "tools/fuzz.sh: unknown option $1 (--seconds --jobs --minimise)" >&2; exit 2 ;;
    *)
        [ -f "tests/fuzz/fuzz_$1.c" ] && [ -d "tests/fuzz/corpus/$1" ] || { echo "tools/fuzz.sh: no target is called $1" >&2; exit 2; }
        targets+=("$1")
        ;;
    esac
    shift
done
if [ ${#targets[@]} -eq 0 ]; then
    for folder in tests/fuzz/corpus/*/; do
        targets+=("$(basename "$folder")")
    done
fi
command -v clang >/dev/null || { echo "no clang, which brings libFuzzer (package clang)" >&2; exit 1; }

cmake --preset fuzz -DFATUNE_TESTS=ON >/dev/null
cmake --build build-fuzz --parallel "$(nproc)" --target fuzz >/dev/null
root=$PWD
cd build-fuzz
mkdir -p findings
export UBSAN_OPTIONS=print_stacktrace=1

# What a run found lies in findings/TARGET-*, what it learnt in corpus/TARGET, what it said in findings/TARGET.log.
fuzz() {
    local target=$1
    mkdir -p "corpus/$target"
    "tests/fuzz_$target" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 \
        -dict="$root/tests/fuzz/$target.dict" -artifact_prefix="findings/$target-" "corpus/$target" \
        "$root/tests/fuzz/corpus/$target" >"findings/$target.log" 2>&1
}

# A file that a person named is a finding of once, or made by hand, and stays; of the others as few as reach every edge, the smallest
# first up to the limits.
minimise() {
    local target=$1 corpus=$root/tests/fuzz/corpus/$1 from=$PWD/minimal/$1 files=0 bytes=0 size file
    rm -rf "$from"
    mkdir -p "$from" "corpus/$target"
    "tests/fuzz_$target" -set_cover_merge=1 -use_counters=0 -timeout=25 "$from" "$corpus" "corpus/$target" >"findings/$target.merge" 2>&1
    for file in "$corpus"/*; do
        if [[ $(basename "$file") =~ ^[0-9a-f]{40}$ ]]; then
            rm "$file"
        else
            files=$((files + 1))
            bytes=$((bytes + $(stat -c %s "$file")))
        fi
    done
    while read -r size file; do
        cmp -s "$file" "$corpus/$(basename "$file")" && continue
        [ $((files += 1)) -le 150 ] && [ $((bytes += size)) -le 300000 ] || break
        cp "$file" "$corpus/"
    done < <(find "$from" -type f -printf '%s %p\n' | sort -n)
    echo "$target: $(find "$corpus" -type f | wc -l) files in the corpus, $(du -cb "$corpus"/* | tail -n 1 | cut -f 1) bytes"
}

found=0
if [ "$seconds" -gt 0 ]; then
    for target in "${targets[@]}"; do
        while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do
            wait -n || true
        done
        rm -f "findings/$target"-*
        echo "$target: $seconds s"
        fuzz "$target" &
    done
    wait || true
    for target in "${targets[@]}"; do
        log=findings/$target.log
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        features=$(grep -aoE ' ft: [0-9]+' "$log" | tail -n 1 || true)
        findings=("findings/$target"-*)
        if [ -e "${findings[0]}" ]; then
            found=1
            echo "$target: FOUND (build-fuzz/$log says what)"
            printf "    build-fuzz/tests/fuzz_$target build-fuzz/%s\n" "${findings[@]}"
            echo "    mend it, and keep the file as tests/fuzz/corpus/$target/ with a name that says what it was"
        elif [ -z "$runs" ]; then
            found=1
            echo "$target: it did not get to its end: build-fuzz/$log"
        else
            echo "$target: $runs executions,$features, nothing found"
        fi
    done
fi
# With a finding in it a merge would end at once.
[ "$found" -eq 1 ] && exit 1
for target in "${targets[@]}"; do
    minimise "$target"
done
