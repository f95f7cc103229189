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
        ! grep -q -e "$1" "$work/err" || return 0
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
[ "$n" -ge 5 ] || fail "only $n of 7 kills hit"
[ $bad -ne 0 ] || echo "killed $n times, refused once, interrupted once: three nights, three rows"
exit $bad
