# shellcheck shell=bash
# 300 candidates, 60 of them hostile (tests/data/templates/hostile): each gets its fate, the champion is the one of the 240 alone, and
# the time is bounded by deadlines. For fault/hostile.sh and gpu/hostile.sh, which set `program`, `device` and, after the runs, `expected`.
# shellcheck disable=SC2154
export FATUNE_COMPILE_MB=600 # a compiler that eats memory is stopped by it, not by its deadline
waiting=6                    # hostile points that use their deadline up: three hang the device, three the compiler

# hostile_run NAME FAULTS: a run in a store of its own; its seconds into `took`.
hostile_run() {
    local start=$SECONDS
    mkdir "$work/$1"
    sed "s/^  FAULT: .*/  FAULT: [$2]/" "$SOURCE_DIR/tests/data/spaces/hostile.yaml" >"$work/$1/hostile.yaml"
    "$program" run "$work/$1/hostile.yaml" --device "$device" --templates "$SOURCE_DIR/tests/data/templates" --store "$work/$1/f.db" \
        --json >"$work/$1/out.json" 2>"$work/$1/err" </dev/null || fail "$1: exit $?: $(tail -n 3 "$work/$1/err")"
    took=$((SECONDS - start))
    no_workers "$1"
    store check "$work/$1/f.db" >"$work/$1/check" || fail "$1: $(cat "$work/$1/check")"
    echo "$1: $took s"
}

# hostile_judge CLEAN_S HOSTILE_S: both runs are over, the expected fates on standard input.
hostile_judge() {
    local clean=$1 hostile=$2 bound good champion
    cat >"$work/expected"
    store fates "$work/hostile/f.db" >"$work/fates"
    diff "$work/expected" "$work/fates" || fail "fates differ from what was planted (< planted, > found)"
    [ "$(store fates "$work/clean/f.db")" = "0 OK" ] || fail "a good point failed: $(store fates "$work/clean/f.db")"
    [ "$(store points "$work/clean/f.db")" = "240 good, 0 hostile" ] || fail "the clean run met $(store points "$work/clean/f.db")"
    [ "$(store points "$work/hostile/f.db")" = "240 good, 60 hostile" ] || fail "the hostile run met $(store points "$work/hostile/f.db")"
    store proofs "$work/hostile/f.db" >"$work/proofs"
    ! grep -x '7 OK' "$work/proofs" || fail "the full check passed a kernel that is wrong on large logits"
    good=$(store champion "$work/clean/f.db") champion=$(store champion "$work/hostile/f.db")
    [ "$good" != none ] || fail "the 240 alone have no champion"
    [ "$good" = "$champion" ] || fail "the champion is $champion; of the 240 alone it is $good: $(python3 -B -c '
import json, sys
for t in json.load(open(sys.argv[1]))["trials"]:
    v = t.get("verdict") or {}
    print(t.get("candidate"), *(v.get(k) for k in ("outcome", "note", "bimodal", "modes", "mode_share")), [c for c in v.get("clauses", []) if not c["passed"]])' "$work/hostile/out.json" 2>&1)"
    # The promise: at most half as long again as the deadlines that were used up and the clean run.
    bound=$((3 * (waiting * FATUNE_DEADLINE_S + clean) / 2))
    [ "$hostile" -le "$bound" ] || fail "60 hostile candidates made $clean s to $hostile s, more than $bound s"
    [ $bad -eq 0 ] || tail -n 25 "$work/hostile/err"
    echo "60 of 300 hostile: $hostile s, the 240 alone $clean s, bound $bound s; champion $champion"
}
