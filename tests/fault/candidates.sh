#!/usr/bin/env bash
# Every way in which a candidate can fail gets its fate, costs nobody else anything, and leaves the same champion as a run
# without it. Runs on the fake device.
#   candidates.sh NN     what row NN of rows.txt says of it
#   candidates.sh        what is true of all of them together
#   candidates.sh run    the two runs that these look at, into the folder FATUNE_CANDIDATES; without such a folder each makes its own
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
export FATUNE_FAKE_DEVICE="noise=0,session=0,spikes=0"
export FATUNE_DEADLINE_S=3
runs=${FATUNE_CANDIDATES:-$work}

# run_space NAME FAULTS: a run of the planted space with these faults, in a store of its own.
run_space() {
    mkdir -p "$runs/$1"
    sed "s/^  FAULT: .*/  FAULT: [$2]/" "$SOURCE_DIR/tests/data/spaces/planted.yaml" >"$runs/$1/planted.yaml"
    "$FATUNE_FAKE" run "$runs/$1/planted.yaml" --device fake --templates "$SOURCE_DIR/tests/data/templates" --store "$runs/$1/f.db" \
        --json >"$runs/$1/out.json" 2>"$runs/$1/err" </dev/null || fail "$1: exit $?: $(tail -n 3 "$runs/$1/err")"
    no_workers "$1"
}

[ "${1:-}" != run ] || rm -rf "$runs/good" "$runs/faulty"
if [ ! -e "$runs/faulty/f.db" ]; then
    run_space good 0
    run_space faulty 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19
fi
[ "${1:-}" != run ] || exit $bad
db=$runs/faulty/f.db
store fates "$db" >"$work/fates"
store proofs "$db" >"$work/proofs"

# fate FAULT FATE WORDS: the search gave the point with this fault that fate alone, and its log says so (a regular expression).
fate() {
    [ "$(grep "^$1 " "$work/fates")" = "$1 $2" ] || fail "fault $1 is $(grep "^$1 " "$work/fates" || echo absent), expected $2"
    store log "$db" "$1" >"$work/log"
    grep -qe "$3" "$work/log" || fail "fault $1: the log does not say '$3': $(head -c 300 "$work/log")"
    [ "$(wc -c <"$work/log")" -le 66000 ] || fail "fault $1: $(wc -c <"$work/log") bytes of log"
}

case ${1:-} in
06) fate 8 COMPILE 'error' ;;
07) fate 14 COMPILE_TIMEOUT 'worker ended by signal' ;;
08) fate 13 COMPILE_CRASH 'signal 6' ;;
11)
    fate 16 LAUNCH 'the launch was refused'
    fate 17 LIMITS 'too many registers'
    ;;
12)
    fate 1 CRASH ILLEGAL_ADDRESS
    fate 7 CRASH ILLEGAL_ADDRESS
    fate 15 CRASH 'signal 11'
    # 9 good points and 19 bad ones: each once, in the order of asking.
    store order "$db" >"$work/order" || fail "$(cat "$work/order")"
    [ "$(cat "$work/order")" = "28 proposals, 28 points, 0 aliases" ] || fail "lost or doubled: $(cat "$work/order")"
    ;;
13) fate 2 HANG 'worker ended by signal' ;;
16)
    fate 3 CORRUPT 'o'
    fate 9 CORRUPT 'changed its input k'
    ;;
17) fate 5 WRONG 'never written' ;;
18) fate 6 NONDET 'two runs on the same input differ' ;;
19)
    fate 4 WRONG 'a single element'
    fate 11 WRONG 'after the timed runs differs'
    # The fastest of all is wrong on large logits: the full check must find it, and nobody else.
    fate 10 OK ''
    grep -qx '10 WRONG' "$work/proofs" || fail "the point that is wrong on large logits alone was not caught by the full check"
    ! grep -v -x -e '10 WRONG' -e '.* OK' "$work/proofs" || fail "the full check failed a point that is sound there"
    # The second fastest breaks in the sessions of its trial: no number of it may count.
    fate 12 OK ''
    python3 -B - "$runs/faulty/out.json" <<'X' || fail "the point that breaks in its sessions was not found invalid"
import json, sys
trials = json.load(open(sys.argv[1]))['trials']
outcomes = [t['verdict']['outcome'] for t in trials if 'FAULT=12' in t['candidate']]
sys.exit(0 if outcomes == ['INVALID'] and any(t['verdict']['outcome'] == 'PROMOTE' for t in trials) else 1)
X
    ;;
20) fate 19 WRONG 'got nan.*1 not finite' ;;
36)
    fate 18 OK ''
    store floods "$db" >"$work/floods"
    [ "$(cat "$work/floods")" = "18" ] || fail "named for printing more than 64 KiB: $(tr '\n' ' ' <"$work/floods")"
    [ "$(wc -c <"$runs/faulty/err")" -le 66000 ] || fail "the flood came through to stderr: $(wc -c <"$runs/faulty/err") bytes"
    ;;
'')
    [ "$(store fates "$runs/good/f.db")" = "0 OK" ] || fail "a good point failed: $(store fates "$runs/good/f.db")"
    for name in good faulty; do store check "$runs/$name/f.db" >"$work/check" || fail "$name: $(cat "$work/check")"; done
    for ((i = 0; i < 20; i++)); do [ "$(grep -c "^$i " "$work/fates")" -eq 1 ] || fail "fault $i: not one fate: $(grep "^$i " "$work/fates")"; done
    good=$(store champion "$runs/good/f.db") faulty=$(store champion "$db")
    [ "$good" != none ] || fail "the run without faults has no champion"
    [ "$good" = "$faulty" ] || fail "the champion is $faulty; without the faults it is $good"
    case $good in *'"FAULT": 0'*) ;; *) fail "the champion is a faulty point: $good" ;; esac
    # Asked again by a run with another budget, no bad point is tried twice and the worker is never killed again.
    cp "$db" "$work/again.db"
    "$FATUNE_FAKE" run "$runs/faulty/planted.yaml" --device fake --templates "$SOURCE_DIR/tests/data/templates" --store "$work/again.db" \
        --evaluations 30 --json >"$work/again.json" 2>"$work/again.err" </dev/null || fail "the second run: exit $?: $(tail -n 3 "$work/again.err")"
    no_workers "the second run"
    store fates "$work/again.db" | diff "$work/fates" - || fail "the second run gave other fates"
    [ "$(store champion "$work/again.db")" = "$good" ] || fail "the second run changed the champion to $(store champion "$work/again.db")"
    echo "$(wc -l <"$work/fates") kinds of points, champion $good"
    ;;
*) fail "row $1 asks nothing of candidates" ;;
esac
exit $bad
