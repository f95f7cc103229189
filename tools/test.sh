#!/usr/bin/env bash
# Installs what the tests need, builds with warnings as errors, runs the suite, names what was skipped and why.
#   tools/test.sh [--asan] [--clang] [--portable] [--all] [-- CTEST OPTIONS]     without options: the default build
set -euo pipefail
cd "$(dirname "$0")/.."

presets=()
while [ $# -gt 0 ]; do
    case $1 in
    --default | --asan | --clang | --portable) presets+=("${1#--}") ;;
    --all) presets+=(default asan clang portable) ;;
    --help | -h) sed -n '2,3s/^# *//p' "$0"; exit 0 ;;
    --) shift; break ;;
    *) echo "tools/test.sh: unknown option $1 (--default --asan --clang --portable --all)" >&2; exit 2 ;;
    esac
    shift
done
[ ${#presets[@]} -gt 0 ] || presets=(default)

bash tools/setup.sh --build --run --test
if command -v ninja >/dev/null; then
    export CMAKE_GENERATOR=Ninja
fi
jobs=${JOBS:-$(nproc)}

skips=()
failed=()
for preset in "${presets[@]}"; do
    folder=build
    [ "$preset" = default ] || folder=build-$preset
    echo "== $preset: build"
    if ! cmake --preset "$preset" -DFATUNE_TESTS=ON -DCMAKE_COMPILE_WARNING_AS_ERROR=ON ||
        ! cmake --build "$folder" --parallel "$jobs"; then
        failed+=("$preset (build)")
        continue
    fi
    echo "== $preset: test"
    ctest --preset "$preset" --parallel "$jobs" --output-junit skipped.xml "$@" </dev/null || failed+=("$preset")
    skips+=("$preset" "$folder/skipped.xml")
done

python3 tools/skipped.py ${skips[@]+"${skips[@]}"}
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED: ${failed[*]}"
    exit 1
fi
echo "passed: ${presets[*]}"
