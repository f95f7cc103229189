#!/usr/bin/env bash
# Every way in which a candidate can fail gets its fate, costs nobody else anything, and leaves the same champion as a run
# without it (rows 6-8, 11-13, 16-20, 36 of the fault list). Runs on the fake device.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
export FATUNE_FAKE_DEVICE="noise=0,session=0,spikes=0"
export FATUNE_DEADLINE_S=3

# run_space NAME FAULTS: a run of the planted space with these faults, in a store of its own.
run_space() {
    mkdir "$work/$1"
    sed "s/^  FAULT: .*/  FAULT: [$2]/" "$SOURCE_DIR/tests/data/spaces/planted.yaml" >"$work/$1/planted.yaml"
    "$FATUNE_FAKE" run "$work/$1/planted.yaml" --device fake --templates "$SOURCE_DIR/tests/data/templates" --store "$work/$1/f.db" \
        --json >"$work/$1/out.json" 2>"$work/$1/err" </dev/null || fail "$1: exit $?: $(tail -n 3 "$work/$1/err")"
    no_workers "$1"
    store check "$work/$1/f.db" >"$work/$1/check" || fail "$1: $(cat "$work/$1/check")"
}

run_space good 0
run_space faulty 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19

# What the search must have seen. 10 and 12 pass what the search checks, 18 is merely loud.
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
13 COMPILE_CRASH
14 COMPILE_TIMEOUT
15 CRASH
16 LAUNCH
17 LIMITS
18 OK
19 WRONG
X
store fates "$work/faulty/f.db" >"$work/fates"
diff "$work/expected" "$work/fates" || fail "fates differ from what was planted (< planted, > found)"
[ "$(store fates "$work/good/f.db")" = "0 OK" ] || fail "a good point failed: $(store fates "$work/good/f.db")"

# The fastest of all is wrong on large logits: the full check must find it, and nobody else.
store proofs "$work/faulty/f.db" >"$work/proofs"
grep -qx '10 WRONG' "$work/proofs" || fail "the point that is wrong on large logits alone was not caught by the full check"
! grep -v -x -e '10 WRONG' -e '.* OK' "$work/proofs" || fail "the full check failed a point that is sound there"
# The second fastest breaks in the sessions of its trial: no number of it may count.
python3 -B - "$work/faulty/out.json" <<'X' || fail "the point that breaks in its sessions was not found invalid"
import json, sys
trials = json.load(open(sys.argv[1]))['trials']
outcomes = [t['verdict']['outcome'] for t in trials if 'FAULT=12' in t['candidate']]
sys.exit(0 if outcomes == ['INVALID'] and any(t['verdict']['outcome'] == 'PROMOTE' for t in trials) else 1)
X

good=$(store champion "$work/good/f.db") faulty=$(store champion "$work/faulty/f.db")
[ "$good" != none ] || fail "the run without faults has no champion"
[ "$good" = "$faulty" ] || fail "the champion is $faulty; without the faults it is $good"
case $good in *'"FAULT": 0'*) ;; *) fail "the champion is a faulty point: $good" ;; esac

# A failure is told with its words, and what a flood printed was capped.
python3 -B - "$work/faulty/f.db" <<'X' || fail "a log is missing or too long"
import json, sqlite3, sys
bad = 0
for params, fate, log in sqlite3.connect(sys.argv[1]).execute(
        "SELECT c.params, e.fate, e.log FROM evaluation e JOIN candidate c ON c.id = e.candidate"):
    if fate != 'OK' and not log:
        print('no log for', params, fate)
        bad = 1
    if log and len(log) > 66000:
        print(len(log), 'characters of log for', params)
        bad = 1
sys.exit(bad)
X

# Asked again by a run with another budget, no bad point is tried twice and the worker is never killed again.
start=$SECONDS
"$FATUNE_FAKE" run "$work/faulty/planted.yaml" --device fake --templates "$SOURCE_DIR/tests/data/templates" --store "$work/faulty/f.db" \
    --evaluations 30 --json >"$work/again.json" 2>"$work/again.err" </dev/null || fail "the second run: exit $?: $(tail -n 3 "$work/again.err")"
no_workers "the second run"
store fates "$work/faulty/f.db" | diff "$work/expected" - || fail "the second run gave other fates"
[ "$(store champion "$work/faulty/f.db")" = "$good" ] || fail "the second run changed the champion to $(store champion "$work/faulty/f.db")"
echo "$(wc -l <"$work/expected") kinds of points, champion $good; run again in $((SECONDS - start)) s"
exit $bad
