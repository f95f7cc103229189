#!/usr/bin/env bash
# The faults of candidates in real kernels on a real GPU: each gets its fate, the champion is the one of a run without them, and
# the GPU is free and sound afterwards. As fault/candidates.sh: faults.sh [NN | run].
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
. "$SOURCE_DIR/tests/gpu/common.bash"
export FATUNE_DEADLINE_S=5
runs=${FATUNE_CANDIDATES:-$work}

# run_space NAME FAULTS: four good points and one for each fault, in a store of its own.
run_space() {
    mkdir -p "$runs/$1"
    sed "s/^  FAULT: .*/  ROWS: [1, 2]\n  PASSES: [1, 4]\n  FAULT: [$2]/" "$SOURCE_DIR/tests/data/spaces/planted.yaml" >"$runs/$1/planted.yaml"
    "$FATUNE" run "$runs/$1/planted.yaml" --device cuda --templates "$SOURCE_DIR/tests/data/templates" --store "$runs/$1/f.db" \
        --json >"$runs/$1/out.json" 2>"$runs/$1/err" </dev/null || fail "$1: exit $?: $(tail -n 3 "$runs/$1/err")"
    no_workers "$1"
}

[ "${1:-}" != run ] || rm -rf "$runs/good" "$runs/faulty"
if [ ! -e "$runs/faulty/f.db" ]; then
    run_space good 0
    run_space faulty 0,1,2,3,4,5,6,7,8,9,10,11,12
    gpu_is_sound "after the faults" "$runs/faulty/planted.yaml" --templates "$SOURCE_DIR/tests/data/templates"
fi
[ "${1:-}" != run ] || exit $bad
db=$runs/faulty/f.db
store fates "$db" >"$work/fates"

# fate FAULT FATE: the search gave the point with this fault that fate alone.
fate() { [ "$(grep "^$1 " "$work/fates")" = "$1 $2" ] || fail "fault $1 is $(grep "^$1 " "$work/fates" || echo absent), expected $2: $(store log "$db" "$1" | head -c 300)"; }

case ${1:-} in
06) fate 8 COMPILE ;;
12)
    fate 1 CRASH
    fate 7 CRASH
    # 4 good points and 12 bad ones: each once, in the order of asking.
    store order "$db" >"$work/order" || fail "$(cat "$work/order")"
    [ "$(cat "$work/order")" = "16 proposals, 16 points, 0 aliases" ] || fail "lost or doubled: $(cat "$work/order")"
    ;;
13) fate 2 HANG ;;
16)
    fate 3 CORRUPT
    fate 9 CORRUPT
    ;;
17) fate 5 WRONG ;;
18) fate 6 NONDET ;;
19)
    fate 4 WRONG
    fate 11 WRONG
    fate 10 OK
    # Wrong on large logits alone: fails the full check, if it is fast enough to get there.
    ! store proofs "$db" | grep -x '10 OK' || fail "the full check passed a kernel that is wrong on large logits"
    ;;
'')
    [ "$(store fates "$runs/good/f.db")" = "0 OK" ] || fail "a good point failed: $(store fates "$runs/good/f.db")"
    for name in good faulty; do store check "$runs/$name/f.db" >"$work/check" || fail "$name: $(cat "$work/check")"; done
    good=$(store champion "$runs/good/f.db") faulty=$(store champion "$db")
    [ "$good" != none ] || fail "the run without faults has no champion"
    [ "$good" = "$faulty" ] || fail "the champion is $faulty; without the faults it is $good"
    [ $bad -eq 0 ] || tail -n 25 "$runs/faulty/err"
    echo "12 faults, champion $good"
    ;;
*) fail "row $1 asks nothing of faults" ;;
esac
exit $bad
