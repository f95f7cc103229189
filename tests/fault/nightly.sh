#!/usr/bin/env bash
# A night that is cut off, anywhere and as often as it likes, goes on and has one row in the ledger; a second night while one is held is
# refused at once and says nothing; a signal is obeyed, and the same command goes on.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
export FATUNE_FAKE_DEVICE="noise=0,session=0,spikes=0,sleep=1"
db=$work/f.db
space=$SOURCE_DIR/spaces/smoke.yaml

start() { "$FATUNE_FAKE" nightly "$space" --device fake --evaluations 24 --store "$db" >"$work/out" 2>"$work/err" </dev/null & pid=$!; }

# await WORDS: they appear in the progress, while it lives.
await() {
    local i
    for ((i = 0; i < 600; i++)); do
        ! grep -qs -e "$1" "$work/err" || return 0
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.02
    done
    return 1
}

# ended NAME CODE
ended() {
    local rc=0
    wait "$pid" || rc=$?
    [ $rc -eq "$2" ] || fail "$1: exit $rc, expected $2: $(tail -n 2 "$work/err")"
    no_workers "$1"
    store check "$db" >"$work/check" || fail "$1: $(cat "$work/check")"
}

# The first night is killed in each phase in turn, then ends by itself.
n=0
for words in 'valid points, strategy' 'race among' 'full check of the finalists' 'A/A control' 'finalist 2 of' 'is the new champion' 'anchor:'; do
    start
    if await "$words"; then
        kill -9 "$pid" && n=$((n + 1))
        ended "killed at '$words'" 137
        [ "$(store count "$db" night)" -eq 0 ] || fail "killed at '$words', and the night is in the ledger"
    else
        ended "'$words' did not come" 0
    fi
done
start
ended "the first night" 0
[ "$(store count "$db" night)" -eq 1 ] || fail "$(store count "$db" night) rows for one night"
[ "$(store count "$db" run)" -eq 1 ] || fail "one night became $(store count "$db" run) runs"
[ "$(store count "$db" champion)" -eq 1 ] || fail "$(store count "$db" champion) actions in a night that crowns one"

# While the second is held, a third is refused at once; the second is interrupted in its trials and goes on.
kept=$(store count "$db" session)
start
await 'A/A control' || fail "the second night does not get to its trials: $(tail -n 2 "$work/err")"
rc=0
"$FATUNE_FAKE" nightly "$space" "$space" --device fake --store "$db" >"$work/second" 2>"$work/second.err" </dev/null || rc=$?
[ $rc -eq 6 ] || fail "a night beside a night: exit $rc, expected 6: $(cat "$work/second.err")"
[ ! -s "$work/second" ] || fail "a night that is refused speaks: $(cat "$work/second")"
grep -qw "$pid" "$work/second.err" || fail "it does not name process $pid: $(cat "$work/second.err")"
copies=("$db".snapshot-*)
await 'finalist 1 of' || fail "the second night does not get to its finalists: $(tail -n 2 "$work/err")"
kill -TERM "$pid"
ended "a night that is told to stop" 130
grep -q 'run the same command to go on' "$work/err" || fail "nobody is told how to go on: $(tail -n 1 "$work/err")"
[ "$(store count "$db" night)" -eq 1 ] || fail "a night that was interrupted is in the ledger"
start
ended "the second night" 0
[ "$(store count "$db" night)" -eq 2 ] && [ "$(store count "$db" run)" -eq 2 ] || fail "two nights: $(store count "$db" night) rows, $(store count "$db" run) runs"
[ "$(store count "$db" session)" -gt "$kept" ] || fail "the second night measured nothing"
[ ${#copies[@]} -ge 2 ] || fail "snapshots: ${copies[*]}"
# Copies are pruned to 14.
for i in {10..29}; do cp "$db" "$db.snapshot-2020-01-$i"; done
start
ended "the third night" 0
copies=("$db".snapshot-*)
[ ${#copies[@]} -eq 14 ] || fail "${#copies[@]} snapshots are kept"

# A promotion that is being settled: killed in its control, in its trial and behind its decision, it is settled once. When somebody goes back to
# the champion before it meanwhile, there is nothing to settle, and the night is one of that champion.
db=$work/promoted.db
export FATUNE_FAKE_DEVICE="seed=3,noise=0,session=0,spikes=0"
for options in "--evaluations 3" "--seed 5"; do
    # shellcheck disable=SC2086 # two words
    "$FATUNE_FAKE" run "$space" --device fake $options --store "$db" --quiet >/dev/null 2>"$work/err" </dev/null || fail "run $options: $(cat "$work/err")"
done
export FATUNE_FAKE_DEVICE="$FATUNE_FAKE_DEVICE,sleep=1"
cp "$db" "$work/back.db"
for words in 'is checked anew' 'is tried against it' 'the promotion is not refuted'; do
    start
    if await "$words"; then
        kill -9 "$pid" && n=$((n + 1))
        ended "killed at '$words'" 137
    else
        ended "'$words' did not come" 0
    fi
done
start
ended "the night that settles" 0
# actions STORE: what the log holds
actions() { python3 -B -c 'import sqlite3, sys; print(*(r[0] for r in sqlite3.connect(sys.argv[1]).execute("SELECT action FROM champion ORDER BY id")))' "$1"; }
# ledger STORE: night, promotion, before, after
ledger() {
    "$FATUNE_FAKE" champion ledger --store "$1" --json |
        python3 -B -c 'import json, sys; print("; ".join("{night} {promotion} {before} {after}".format(**x) for x in json.load(sys.stdin)))'
}
[[ "$(actions "$db")" =~ ^crown\ promote\ settle(\ promote)?$ ]] || fail "the log of a night that settles: $(actions "$db")"
[[ "$(ledger "$db")" =~ ^1\ settled\ v2\ v[23]$ ]] || fail "the ledger of a night that settles: $(ledger "$db")"
[ "$(store count "$db" run)" -eq 3 ] || fail "$(store count "$db" run) runs"

db=$work/back.db
start
await 'is tried against it' || fail "the night does not get to its rematch: $(tail -n 2 "$work/err")"
kill -9 "$pid"
ended "a night before a rollback" 137
"$FATUNE_FAKE" champion rollback v1 --store "$db" >"$work/out" 2>"$work/err" </dev/null || fail "rollback: $(cat "$work/err")"
start
ended "a night behind a rollback" 0
[[ "$(actions "$db")" =~ ^crown\ promote\ rollback(\ promote)?$ ]] || fail "the log behind a rollback: $(actions "$db")"
[[ "$(ledger "$db")" =~ ^1\ \ v1\ v[123]$ ]] || fail "the ledger behind a rollback: $(ledger "$db")"
[ "$n" -ge 8 ] || fail "only $n of 10 kills hit"
[ $bad -ne 0 ] || echo "killed $n times, refused once, interrupted once: a row a night"
exit $bad
