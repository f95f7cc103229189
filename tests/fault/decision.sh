#!/usr/bin/env bash
# What a decision must not rest on: a throttled device, a stranger's process, a control that fails, a kernel with two modes, a champion that
# is no longer right, numbers of another environment (rows 21, 22 and 24 to 27 of rows.txt: its argument). On the fake device, whole runs.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
space=$SOURCE_DIR/tests/data/spaces/small.yaml

# tune STORE DEVICE MONITOR OPTIONS...: a run where the device and its monitor are so; one challenger gains 8% on a sound device.
tune() {
    local rc=0
    LD_LIBRARY_PATH=$FATUNE_FAKE_NVML_DIR FATUNE_FAKE_NVML=$3 FATUNE_FAKE_DEVICE=seed=3,noise=0.001$2 "$FATUNE_FAKE" run "$space" --device fake \
        --evaluations 2 --store "$work/$1.db" --json "${@:4}" >"$work/out" 2>"$work/err" </dev/null || rc=$?
    [ $rc -eq 0 ] || fail "$1: exit $rc: $(tail -n 2 "$work/err")"
    no_workers "$1"
    store check "$work/$1.db" >"$work/check" || fail "$1: $(cat "$work/check")"
}

# holds WHAT EXPRESSION: of d, the last run's JSON; t are its verdicts, of whom nobody is sure to be the faster one.
holds() {
    python3 -B -c '
import json, sys
d = json.load(open(sys.argv[1]))
t = [x["verdict"] for x in d["trials"]]
why = [c["why"] for v in t for c in v["clauses"]]
outcomes = [v["outcome"] for v in t]
sys.exit(0 if t and eval(sys.argv[2]) else 1)' "$work/out" "$2" || fail "$1: not so: $2: $(grep -e PROMOTE -e KEEP -e INVALID -e UNDECIDED "$work/err" | tr '\n' ';')"
}

case ${1:-} in
21)
    tune once '' throttle_at=5
    holds "one quad of each session" "'PROMOTE' in outcomes and all(v['quads_discarded'] == 8 for v in t)"
    tune stepped '' clock_at=5
    holds "a step of the clock" "'PROMOTE' in outcomes and all(v['quads_discarded'] == 8 for v in t)"
    tune often '' throttle_at=5,throttle_every=7
    holds "30% of the quads" "set(outcomes) == {'INVALID'} and any('48 of 160 quads' in w and 'at most 20% allowed' in w for w in why)"
    ;;
22)
    tune stranger '' others_at=5
    holds "a stranger" "set(outcomes) == {'INVALID'} and any('another process was on the device' in w for w in why)"
    ;;
24)
    tune biased ,bias=0.05 ''
    holds "a control that is off" "set(outcomes) == {'INVALID'} and any('A/A control is off by' in w for w in why)"
    ;;
25)
    tune modes ,modes=0.5 ''
    holds "two modes" "set(outcomes) == {'UNDECIDED'} and any('two modes' in w for w in why)"
    tune drift ,drift=1 ''
    holds "a drift" "outcomes[0] == 'PROMOTE' and all('drifted by more than 1%' in v['note'] for v in t)"
    ;;
26)
    tune broken '' ''
    champion=$(store champion "$work/broken.db") n=$(store count "$work/broken.db" champion)
    [ "$champion" != none ] || fail "no champion on a sound device"
    # A tolerance that it cannot keep stands for a kernel that has become wrong: the check says the same of both.
    sed 's/^validate:.*/validate: {atol: 1.0e-9, rtol: 1.0e-9, repeats: 5}/' "$space" >"$work/strict.yaml"
    # stopped COMMAND CODE WORDS SPACE DEVICE
    stopped() {
        local rc=0
        FATUNE_FAKE_DEVICE=seed=3,noise=0.001$5 "$FATUNE_FAKE" "$1" "$4" --device fake --evaluations 2 --store "$work/broken.db" \
            >"$work/out" 2>"$work/err" </dev/null || rc=$?
        [ $rc -eq "$2" ] || fail "$1: exit $rc, expected $2: $(tail -n 2 "$work/err")"
        cat "$work/out" "$work/err" | grep -q "$3" || fail "$1: nobody is told: $(tail -n 2 "$work/err")"
        no_workers "$1"
        [ "$(store champion "$work/broken.db") $(store count "$work/broken.db" champion)" = "$champion $n" ] || fail "$1: the champion was replaced"
    }
    stopped nightly 3 'champion v1 cannot be compiled any more' "$space" ,refuse=1
    grep -q 'revoke' "$work/err" || fail "nobody is told what to do: $(tail -n 2 "$work/err")"
    stopped run 4 'compiled before does not compile now' "$space" ,refuse=1 # it was in the cache; its second copy for the control is not
    stopped nightly 3 'champion v1 fails the full check with fresh inputs (WRONG)' "$work/strict.yaml" ''
    grep -q 'revoke' "$work/err" || fail "nobody is told what to do: $(tail -n 2 "$work/err")"
    # A person decides; then the place is free.
    "$FATUNE_FAKE" champion revoke --store "$work/broken.db" >"$work/out" 2>"$work/err" </dev/null || fail "revoke: $(cat "$work/err")"
    tune broken '' '' --seed 9
    [ "$(store count "$work/broken.db" champion)" -eq $((n + 2)) ] || fail "nobody is crowned behind a revoked champion"
    ;;
27)
    tune moved ,devices=2 '' --device fake:0
    sessions=$(store count "$work/moved.db" session) champion=$(store champion "$work/moved.db")
    tune moved ,devices=2 '' --device fake:1 --seed 9
    python3 -B - "$work/moved.db" "$sessions" <<'X' || fail "numbers of one environment are used in another"
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
runs = db.execute('SELECT id, environment, track FROM run ORDER BY id').fetchall()
assert len(runs) == 2 and runs[0][1] != runs[1][1] and runs[0][2] == runs[1][2], runs
known, = db.execute("SELECT count(*) FROM evaluation WHERE run = ? AND json_extract(detail, '$.known_from_run') IS NOT NULL", (runs[1][0],)).fetchone()
assert known == 0, f'{known} evaluations are taken over'
# The champion stands, and is measured again: every trial of the second run, the control too, has sessions of its own.
trials = db.execute('SELECT t.id, count(s.id) FROM trial t LEFT JOIN session s ON s.trial = t.id WHERE t.run = ? GROUP BY t.id', (runs[1][0],)).fetchall()
assert len(trials) >= 2 and all(n >= 8 for _, n in trials), trials
X
    [ "$(store count "$work/moved.db" session)" -ge $((sessions + 16)) ] || fail "the champion was not measured again"
    [ "$champion" != none ] || fail "no champion in the first environment"
    ;;
*) fail "decision.sh 21|22|24|25|26|27" ;;
esac
exit $bad
