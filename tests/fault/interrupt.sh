#!/usr/bin/env bash
# SIGINT and SIGTERM in every phase: exit 130 soon, no process left, the store sound, and the same command goes on. A second
# signal ends the program at once (row 37 of rows.txt). A second run meanwhile is refused and names the first (row 31).
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
# Batches last as long as they claim, so that every phase takes a while.
export FATUNE_FAKE_DEVICE="noise=0,session=0,spikes=0,sleep=1"
db=$work/f.db
pid=0

# start ARGUMENTS...: the program in the background, stderr in $work/err.
start() {
    : >"$work/err"
    # A background job of a script ignores SIGINT, and what it starts would too.
    python3 -B -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$FATUNE_FAKE" "$@" >"$work/out" 2>"$work/err" </dev/null &
    pid=$!
}

run() { start run "$SOURCE_DIR/spaces/smoke.yaml" --device fake --evaluations 24 --store "$db"; }

# Waits until the words are in stderr; false when the program ends, or 30 s pass, before that.
await() {
    local i
    for ((i = 0; i < 600; i++)); do
        grep -q -- "$1" "$work/err" && return 0
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}

# ended NAME CODE SECONDS: it ends within that time with that code.
ended() {
    local i rc=0
    for ((i = 0; i < $3 * 20; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    if kill -0 "$pid" 2>/dev/null; then
        fail "$1: still there after $3 s: $(tail -n 2 "$work/err")"
        kill -9 "$pid"
    fi
    wait "$pid" || rc=$?
    [ $rc -eq "$2" ] || fail "$1: exit $rc, expected $2: $(tail -n 2 "$work/err")"
    no_workers "$1"
}

# interrupt NAME SIGNAL WORDS: a signal a moment after the words, in the middle of that phase.
interrupt() {
    run
    if await "$3"; then
        sleep 0.1
        kill "-$2" "$pid"
        ended "$2 in the phase: $1" 130 10
        grep -q 'run the same command' "$work/err" || fail "$1: nobody is told how to go on: $(tail -n 1 "$work/err")"
        store check "$db" >"$work/check" || fail "$1: $(cat "$work/check")"
    else
        fail "$1: '$3' never came: $(tail -n 2 "$work/err")"
    fi
}

# While a run is in its trials, a second one is refused at once and says who is in the way; the first never notices.
if [ "${1:-}" = 31 ]; then
    run
    await 'full check of the finalists' || fail "the run does not get to its trials: $(tail -n 2 "$work/err")"
    for command in "run $SOURCE_DIR/spaces/smoke.yaml --device fake" "nightly $SOURCE_DIR/spaces/smoke.yaml --device fake" "run $SOURCE_DIR/tests/data/spaces/small.yaml --device fake"; do
        rc=0 begin=$(date +%s%N)
        # shellcheck disable=SC2086 # words
        "$FATUNE_FAKE" $command --store "$db" >"$work/second" 2>&1 </dev/null || rc=$?
        took=$((($(date +%s%N) - begin) / 1000000))
        [ $rc -eq 6 ] || fail "$command beside a run: exit $rc, expected 6: $(tail -n 2 "$work/second")"
        grep -qw "$pid" "$work/second" || fail "$command does not name process $pid: $(tail -n 2 "$work/second")"
        [ $took -lt 2000 ] || fail "$command: refused after $took ms only"
    done
    ended "the run" 0 60
    store check "$db" >"$work/check" || fail "the end: $(cat "$work/check")"
    [ "$(store count "$db" run)" -eq 1 ] || fail "who was refused began a run"
    [ $bad -ne 0 ] || echo "three runs refused while process $pid held the store"
    exit $bad
fi

interrupt search INT 'valid points, strategy'
kept=$(store count "$db" evaluation)
interrupt "search, gone on with" TERM 'evaluations are kept\|valid points'
[ "$(store count "$db" evaluation)" -ge "$kept" ] || fail "evaluations were lost"
interrupt race INT 'race among'
[ "$(store count "$db" evaluation)" -ge 24 ] || fail "the search was not over when the race began"
# At 0.1 s after its words the check may be over; then this is an interrupted control.
interrupt check TERM 'full check of the finalists'
interrupt control INT 'A/A control'
interrupt trial INT 'finalist 2 of'
kept=$(store count "$db" session)
[ "$kept" -gt 0 ] || fail "no session was kept"
evaluations=$(store count "$db" evaluation)

run
ended "the last run" 0 60
[ "$(store count "$db" evaluation)" -eq "$evaluations" ] || fail "a run that was in its trials evaluated again"
[ "$(store count "$db" session)" -ge "$kept" ] || fail "sessions were lost"
[ "$(store count "$db" run)" -eq 1 ] || fail "going on made $(store count "$db" run) runs of one"
store check "$db" >"$work/check" || fail "the end: $(cat "$work/check")"
champion=$(store champion "$db")
FATUNE_FAKE_DEVICE=${FATUNE_FAKE_DEVICE%,sleep=1}
mkdir "$work/whole"
"$FATUNE_FAKE" run "$SOURCE_DIR/spaces/smoke.yaml" --device fake --evaluations 24 --store "$work/whole/f.db" >/dev/null 2>&1 </dev/null || fail "an undisturbed run fails"
[ "$champion" = "$(store champion "$work/whole/f.db")" ] || fail "interrupted: $champion; undisturbed: $(store champion "$work/whole/f.db")"

# A kernel that hangs holds up the first signal until its deadline, but never the second.
sed 's/^  FAULT: .*/  FAULT: [2]/; s/^params:/params:\n  ROWS: [1]\n  PASSES: [1]/' "$SOURCE_DIR/tests/data/spaces/planted.yaml" >"$work/hang.yaml"
for signal in INT TERM; do
    FATUNE_DEADLINE_S=60 start run "$work/hang.yaml" --device fake --templates "$SOURCE_DIR/tests/data/templates" --store "$work/hang-$signal.db"
    await 'valid points' || fail "the hanging run does not start: $(tail -n 2 "$work/err")"
    sleep 1
    kill "-$signal" "$pid"
    sleep 0.5
    kill -0 "$pid" 2>/dev/null || fail "the first $signal did not wait for the sample in hand"
    kill "-$signal" "$pid"
    ended "a second $signal" 130 2
done

[ $bad -ne 0 ] || echo "interrupted in 6 phases and gone on; a second signal obeyed"
exit $bad
