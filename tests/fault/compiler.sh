#!/usr/bin/env bash
# What a source does to the real compiler, NVRTC, for an architecture that need not be here (rows 7 and 8 of the fault list): 60,000
# statements end at their deadline, a compiler that runs out of memory fails its candidate alone, and everybody else is compiled.
#   compiler.sh [07|08]    one row, or both
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
sed 's/^  FAULT: .*/&\n  ROWS: [1]\n  PASSES: [1]/' "$SOURCE_DIR/tests/data/spaces/hostile.yaml" >"$work/hostile.yaml"

# compile OUT OPTIONS...: all points, as JSON.
compile() {
    local out=$1 rc=0
    shift
    "$FATUNE" space "$work/hostile.yaml" --arch sm_90a --compile --templates "$SOURCE_DIR/tests/data/templates" --store "$work/$out.db" --json --quiet \
        "$@" >"$work/$out" 2>"$work/err" </dev/null || rc=$?
    [ $rc -ne 4 ] || ! grep -q 'NVRTC\|no CUDA support' "$work/err" || { echo "no NVRTC: $(head -n 1 "$work/err")"; exit 77; }
    [ $rc -eq 3 ] || fail "space: exit $rc: $(tail -n 2 "$work/err")"
    no_workers "$out"
}

# fates OUT: of every fault that failed, with what was said.
fates() {
    python3 -B - "$work/$1" <<'X'
import json, sys
t, = json.load(open(sys.argv[1]))['compilation']['templates']
for f in sorted(t['failures'], key=lambda f: int(f['candidate'].split('FAULT=')[1])):
    print(f['candidate'].split('FAULT=')[1], f['fate'], 'out of memory' if 'out of memory' in f['why'] else '')
if 'OK' in t['fates']:
    print(t['fates']['OK'], 'OK')
X
}

if [ "${1:-07}" = 07 ]; then
    start=$SECONDS
    FATUNE_DEADLINE_S=10 FATUNE_COMPILE_MB=600 compile bombs
    took=$((SECONDS - start))
    memory='6 COMPILE out of memory'
    # Sanitizers reserve more than any limit: there the deadline ends it.
    ! grep -q __asan_init "$FATUNE" || memory='6 COMPILE_TIMEOUT '
    fates bombs | diff <(printf '%s\n' '5 COMPILE_TIMEOUT ' "$memory" '12 COMPILE ' '15 OK') - || fail "fates differ from what was planted (< planted, > found)"
    # The deadline, the ladder of its end, and 15 small compilations beside it.
    [ $took -le 30 ] || fail "one compiler that hangs for 10 s made it $took s"
    echo "60,000 statements end after 10 s, memory runs out: $took s, 15 of 18 compile"
fi

# With less memory the same bomb ends the compiler itself: tried once more, then the candidate's fate.
if [ "${1:-08}" = 08 ]; then
    ! grep -q __asan_init "$FATUNE" || { echo "built with a sanitizer, which reserves more than any limit"; exit $((bad ? 1 : 77)); }
    sed -i 's/^  FAULT: .*/  FAULT: [5]/' "$work/hostile.yaml"
    FATUNE_COMPILE_MB=300 compile dies
    fates dies | diff <(printf '%s\n' '5 COMPILE_CRASH out of memory') - || fail "a compiler that ends for want of memory is another fate (< planted, > found)"
fi
exit $bad
