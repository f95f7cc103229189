#!/usr/bin/env bash
# Contestants that misbehave in every way cost only themselves; a run that is cut off while it meets them goes on behind its decision; and
# none of them outlives its supervisor, not even one that never reads again.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
export FATUNE_FAKE_DEVICE="seed=3,noise=0.001"
fake=$SOURCE_DIR/tests/data/contestants/fake

space() { { cat "$SOURCE_DIR/tests/data/spaces/small.yaml"; printf 'contestants:\n'; cat; } >"$1"; }
# run CODE SPACE STORE OPTIONS...
run() {
    local want=$1 rc=0
    "$FATUNE_FAKE" run "$2" --device fake --allow-contestants --evaluations 2 --store "$3" --json "${@:4}" >"$work/out" 2>"$work/err" </dev/null || rc=$?
    [ $rc -eq "$want" ] || fail "$2: exit $rc, expected $want: $(tail -n 2 "$work/err")"
}
# What the run says of a contestant, and whether that matches a pattern.
left_out() {
    python3 -B - "$work/out" "$1" "$2" <<'X' || fail "$1: not left out because of '$2'"
import json, re, sys
got = {c['name']: c['left_out'] for c in json.load(open(sys.argv[1]))['contestants']}[sys.argv[2]]
print('' if got and re.search(sys.argv[3], got) else f'{sys.argv[2]}: {got}', end='')
sys.exit(0 if got and re.search(sys.argv[3], got) else 1)
X
}

# ---- one of each, in one run: the good one behind them is met all the same
space "$work/faults.yaml" <<X
  - {name: dies, command: [$fake, --fault, die, --at, "sample:30"]}
  - {name: crashes, command: [$fake, --fault, segv, --at, prepare]}
  - {name: hangs, command: [$fake, --fault, hang, --at, "sample:30"]}
  - {name: stubborn, command: [$fake, --fault, stubborn, --at, problem]}
  - {name: deaf, command: [$fake, --fault, hang, --at, fatune]}
  - {name: floods, command: [$fake, --fault, flood]}
  - {name: nan, command: [$fake, --fault, "time nan"]}
  - {name: negative, command: [$fake, --fault, "time -5"]}
  - {name: zero, command: [$fake, --fault, "time 0"]}
  - {name: text, command: [$fake, --fault, "time about five"]}
  - {name: hex, command: [$fake, --fault, "time 0x10"]}
  - {name: none, command: [$fake, --fault, "time"]}
  - {name: binary, command: [$fake, --fault, binary]}
  - {name: twice, command: [$fake, --fault, twice]}
  - {name: says_error, command: [$fake, --fault, "error out of memory", --at, "input:5"]}
  - {name: chatters, command: [$fake, --fault, "hello again", --at, prepare]}
  - {name: short, command: [$fake, --fault, short, --at, output]}
  - {name: silent, command: ["true"]}
  - {name: nobody, command: [no_such_program_anywhere]}
  - {name: good, command: [$fake, --us, 700]}
X
FATUNE_DEADLINE_S=2 run 0 "$work/faults.yaml" "$work/faults.db"
left_out dies '^it ended in `sample 6`: .*RuntimeError: planted; it ended with exit code 3$'
left_out crashes '^it ended in `prepare`: it ended by signal 11'
left_out hangs '^it said nothing for 2 s in `sample 6` and was stopped'
left_out stubborn '^it said nothing for 2 s in `problem` and was stopped: .*signal 9'
left_out deaf '^it said nothing for 2 s in `fatune 1`'
left_out floods '^it ended in `sample 1`: a line of more than 65536 bytes'
for name in nan negative zero text hex none; do left_out $name '^it answered `.*` to `sample 1`, which is no time$'; done
left_out binary '^it answered `time \?\?\?` to `sample 1`, which is no time$'
left_out twice '^it ended in `sample 1`: it spoke unasked: `time 5`'
left_out says_error '^it failed in `input k`: out of memory$'
left_out chatters '^it answered `hello again` to `prepare`$'
left_out silent '^it ended in `fatune 1`: it ended with exit code 0$'
left_out nobody '^it ended in `fatune 1`: cannot start no_such_program_anywhere: No such file'
python3 -B - "$work/out" <<'X' || fail "the run with the faults: $(tail -n 3 "$work/err")"
import json, sys
d = json.load(open(sys.argv[1]))
c = {c['name']: c for c in d['contestants']}
assert d['champion']['name'] == 'v1' and c['good']['relation'] == 'faster' and c['good']['wrong'] is None
assert 'no file of 8192 bytes' in c['short']['wrong'], c['short']
X
no_workers "faults"
store check "$work/faults.db" >"$work/check" || fail "faults: $(cat "$work/check")"

# ---- cut off in the middle of the second contestant, three ways, and gone on with
space "$work/two.yaml" <<X
  - {name: first, command: [$fake, --us, 700]}
  - {name: second, command: [$fake, --us, 100, --sleep, 0.002, --log, $work/second.log]}
X
# start STORE: in the background, its pid in $pid; returns when the second contestant is in a session.
start() {
    : >"$work/second.log"
    "$FATUNE_FAKE" run "$work/two.yaml" --device fake --allow-contestants --evaluations 2 --store "$1" --as swift >"$work/out" 2>"$work/err" </dev/null &
    pid=$!
    for ((i = 0; i < 600; i++)); do
        [ "$(grep -c '^input q' "$work/second.log")" -lt 4 ] || return 0
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    fail "the second contestant's sessions do not begin: $(tail -n 2 "$work/err")"
}
champions() { store count "$1" champion; }
for signal in KILL INT TERM; do
    db=$work/cut-$signal.db
    start "$db"
    kill "-$signal" "$pid"
    rc=0
    wait "$pid" 2>/dev/null || rc=$?
    [ $signal = KILL ] || [ $rc -eq 130 ] || fail "$signal: exit $rc, expected 130: $(tail -n 2 "$work/err")"
    no_workers "$signal"
    sessions=$(store count "$db" session) trials=$(store count "$db" trial)
    [ "$sessions" -ge 18 ] || fail "$signal: only $sessions sessions were kept"
    [ "$(champions "$db")" -eq 1 ] || fail "$signal: the decision was not written before the contestants were met"
    : >"$work/second.log"
    run 0 "$work/two.yaml" "$db" --as swift
    grep -q 'the decision of this run is written' "$work/err" || fail "$signal: it does not go on behind its decision: $(cat "$work/err")"
    grep -q 'going on with a trial: [1-7] of 8' "$work/err" || fail "$signal: the trial is not gone on with: $(cat "$work/err")"
    python3 -B - "$work/out" "$db" "$sessions" "$trials" "$work/second.log" <<'X' || fail "$signal: going on: $(head -c 300 "$work/out")"
import json, sqlite3, sys
d, db = json.load(open(sys.argv[1])), sqlite3.connect(sys.argv[2])
before, trials = map(int, sys.argv[3:5])
assert [c['relation'] for c in d['contestants']] == ['faster', 'slower'], d['contestants']
assert d['trials'] and d['champion']['name'] == 'swift' and d['champion']['action'] == 'crown'
assert db.execute('SELECT count(*) FROM run').fetchone()[0] == 1
assert db.execute('SELECT count(*) FROM trial').fetchone()[0] == trials
rows = db.execute("SELECT count(*) FROM session s JOIN trial t ON t.id = s.trial WHERE t.kind = 'contestant' GROUP BY t.id").fetchall()
assert rows == [(8,), (8,)], rows
# the check, and the sessions that were not there yet
again = sum(x.startswith('input q') for x in open(sys.argv[5]))
assert again == 1 + db.execute('SELECT count(*) FROM session').fetchone()[0] - before, again
X
    [ "$(champions "$db")" -eq 1 ] || fail "$signal: a decision was written twice"
    [ -z "$(find "$work/cache" -name 'inputs-*' 2>/dev/null)" ] || fail "$signal: inputs stay behind"
    store check "$db" >"$work/check" || fail "$signal: $(cat "$work/check")"
done

# ---- a program that hangs, and so never sees that its supervisor is gone, dies with it; a first signal does not wait for it
space "$work/hangs.yaml" <<X
  - {name: hangs, command: [$fake, --fault, hang, --at, prepare]}
X
for signal in KILL INT; do
    "$FATUNE_FAKE" run "$work/hangs.yaml" --device fake --allow-contestants --evaluations 2 --store "$work/hangs-$signal.db" >"$work/out" 2>"$work/err" </dev/null &
    pid=$!
    for ((i = 0; i < 400; i++)); do
        ! grep -q 'the champion meets 1 contestant$' "$work/err" || break
        sleep 0.05
    done
    sleep 1
    kill "-$signal" "$pid"
    for ((i = 0; i < 40; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    if kill -0 "$pid" 2>/dev/null; then
        fail "$signal: a hanging contestant holds its supervisor"
        kill -9 "$pid"
    fi
    wait "$pid" 2>/dev/null || true
    no_workers "$signal with a hanging contestant"
done
[ $bad -ne 0 ] || echo "20 contestants in one run, 3 runs cut off and gone on, 2 hanging ones left no process"
exit $bad
