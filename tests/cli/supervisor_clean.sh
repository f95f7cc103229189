#!/usr/bin/env bash
# The supervisor never loads a GPU library or a compiler; its workers do. Read from /proc/PID/maps all through a run.
set -u
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
export FATUNE_STORE=$work/fatune.db
libraries='lib(cuda|nvrtc|nvidia-ml|nvidia-ptxjitcompiler|OpenCL|pocl|LLVM|clang-cpp)[-.0-9]'

# watch DEVICE PROGRAM: a run on DEVICE, watched. 0: clean; leaves in $work how often the supervisor and its workers were looked
# at, and what the workers had loaded.
watch() {
    local looks=0 found=0 supervisor state line child
    : >"$work/loaded"
    "$2" run "$SOURCE_DIR/spaces/smoke.yaml" --device="$1" --evaluations=4 --fresh --store "$work/$1.db" >"$work/out" 2>"$work/err" </dev/null &
    supervisor=$!
    # A process that has ended but was not waited for keeps its entry, without maps.
    while read -r state 2>/dev/null <"/proc/$supervisor/stat" && [[ $state != *') Z '* ]]; do
        if line=$(grep -Eom1 "$libraries.*" "/proc/$supervisor/maps" 2>/dev/null); then
            echo "FAIL: the supervisor has loaded $line"
            found=1
            break
        fi
        looks=$((looks + 1))
        for child in $(cat "/proc/$supervisor/task/$supervisor/children" 2>/dev/null); do
            grep -Eo "$libraries.*" "/proc/$child/maps" 2>/dev/null >>"$work/loaded"
        done
        sleep 0.02
    done
    [ $found -eq 0 ] || kill "$supervisor" 2>/dev/null
    wait "$supervisor"
    local rc=$?
    [ $found -eq 0 ] || return 1
    if [ $rc -ne 0 ]; then
        echo "FAIL: fatune run --device=$1: exit $rc: $(head -c 300 "$work/err")"
        return 1
    fi
    if [ $looks -lt 10 ]; then
        echo "FAIL: the supervisor was looked at $looks times only"
        return 1
    fi
    echo "$1: clean in $looks looks; workers loaded: $(sort -u "$work/loaded" | tr '\n' ' ')"
}

bad=0
ran=0
if [ -n "${FATUNE_FAKE:-}" ]; then
    watch fake "$FATUNE_FAKE" || bad=1
    ran=1
fi
if "$FATUNE" devices 2>/dev/null | grep -q opencl; then
    watch opencl "$FATUNE" || bad=1
    ran=1
    # The watch sees something: the device worker must have loaded the OpenCL loader.
    if ! grep -q OpenCL "$work/loaded"; then
        echo "FAIL: no worker was seen with the OpenCL loader, so this test would miss it in the supervisor too"
        bad=1
    fi
fi
if [ $ran -eq 0 ]; then
    echo "neither the fake device nor an OpenCL device is here"
    exit 77
fi
exit $bad
