#!/usr/bin/env bash
# fatune sanitize with the real compute-sanitizer on a real GPU: each tool finds the fault that was planted for it, and calls the kernel without
# one clean. A tool that does not work here is said, and nothing is then called clean (row 39 of the fault list).
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
. "$SOURCE_DIR/tests/gpu/common.bash"
sanitizer=${FATUNE_SANITIZER:-compute-sanitizer}
command -v "$sanitizer" >/dev/null || { echo "no $sanitizer here"; exit 77; }
"$sanitizer" --version | tail -n 1
space=$SOURCE_DIR/tests/data/spaces/flawed.yaml
options=(--device cuda --templates "$SOURCE_DIR/tests/data/templates" --store "$work/f.db" --sanitizer "$sanitizer" --minutes 1.5)

# found TOOL FAULT CODE OUTCOME [WORDS]: WORDS are in the log
found() {
    local rc=0 begin=$SECONDS
    "$FATUNE" sanitize "$space" --set "FAULT=$2" --tool "$1" "${options[@]}" >"$work/out" 2>"$work/err" </dev/null || rc=$?
    echo "FAULT=$2 $(cat "$work/out" "$work/err") ($((SECONDS - begin)) s)"
    head -n 12 "$work/sanitize/point/$1.log"
    [ "$rc" -eq "$3" ] || fail "$1, fault $2: exit $rc, expected $3"
    grep -q "^$1 *$4 " "$work/out" || fail "$1, fault $2: not \"$4\""
    grep -q "${5:-}" "$work/sanitize/point/$1.log" || fail "$1, fault $2: no \"$5\""
}
for tool in memcheck racecheck synccheck initcheck; do found "$tool" 0 0 clean; done
found memcheck 1 3 errors 'Invalid __global__ read'
found memcheck 5 3 errors 'Invalid __global__ write'
found racecheck 2 3 errors 'Race reported'
found initcheck 4 3 errors 'Uninitialized __global__ memory read'
found synccheck 3 3 errors
no_workers "after all"
exit $bad
