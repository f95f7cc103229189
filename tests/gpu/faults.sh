#!/usr/bin/env bash
# The faults of candidates in real kernels on a real GPU: each gets its fate, the champion is the one of a run without them, and
# the GPU is free and sound afterwards (rows 6, 12, 13, 16-19 of the fault list).
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
. "$SOURCE_DIR/tests/gpu/common.bash"
export FATUNE_DEADLINE_S=5
begin=$SECONDS

# run_space NAME FAULTS: four good points and one for each fault, in a store of its own.
run_space() {
    mkdir "$work/$1"
    sed "s/^  FAULT: .*/  ROWS: [1, 2]\n  PASSES: [1, 4]\n  FAULT: [$2]/" "$SOURCE_DIR/tests/data/spaces/planted.yaml" >"$work/$1/planted.yaml"
    "$FATUNE" run "$work/$1/planted.yaml" --device cuda --templates "$SOURCE_DIR/tests/data/templates" --store "$work/$1/f.db" \
        --json >"$work/$1/out.json" 2>"$work/$1/err" </dev/null || fail "$1: exit $?: $(tail -n 3 "$work/$1/err")"
    no_workers "$1"
    store check "$work/$1/f.db" >"$work/$1/check" || fail "$1: $(cat "$work/$1/check")"
    echo "run with faults $2: $((SECONDS - begin)) s since the start"
}

run_space faulty 0,1,2,3,4,5,6,7,8,9,10,11,12
gpu_is_sound "after the faults" "$work/faulty/planted.yaml" --templates "$SOURCE_DIR/tests/data/templates"
run_space good 0

cat >"$work/expected" <<'X'
0 OK
1 CRASH
2 HANG
3 CORRUPT
4 WRONG
5 WRONG
6 NONDET
7 CRASH
8 COMPILE
9 CORRUPT
10 OK
11 WRONG
12 OK
X
store fates "$work/faulty/f.db" >"$work/fates"
diff "$work/expected" "$work/fates" || fail "fates differ from what was planted (< planted, > found)"
[ "$(store fates "$work/good/f.db")" = "0 OK" ] || fail "a good point failed: $(store fates "$work/good/f.db")"
# Wrong on large logits alone: fails the full check, if it is fast enough to get there.
store proofs "$work/faulty/f.db" >"$work/proofs"
! grep -x '10 OK' "$work/proofs" || fail "the full check passed a kernel that is wrong on large logits"

good=$(store champion "$work/good/f.db") faulty=$(store champion "$work/faulty/f.db")
[ "$good" != none ] || fail "the run without faults has no champion"
[ "$good" = "$faulty" ] || fail "the champion is $faulty; without the faults it is $good"
[ $bad -eq 0 ] || tail -n 25 "$work/faulty/err"
echo "12 faults, champion $good, $((SECONDS - begin)) s"
exit $bad
