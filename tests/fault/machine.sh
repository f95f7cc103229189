#!/usr/bin/env bash
# Faults of the machine are blamed on no candidate: a device that is lost, memory that another tenant holds, a timer that lies
# (rows 14, 15 and 23 of rows.txt: its argument). The run ends with 4 or gets through, and goes on to the same champion.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
quiet="noise=0,session=0,spikes=0"

# run NAME SETTINGS CODE: the smoke space in the store NAME.db on a device with these settings.
run() {
    local rc=0
    FATUNE_FAKE_DEVICE=$quiet$2 "$FATUNE_FAKE" run "$SOURCE_DIR/spaces/smoke.yaml" --device fake --evaluations 24 --store "$work/$1.db" \
        >"$work/out" 2>"$work/err" </dev/null || rc=$?
    [ $rc -eq "$3" ] || fail "$1$2: exit $rc, expected $3: $(tail -n 2 "$work/err")"
    no_workers "$1$2"
    [ ! -e "$work/$1.db" ] || store check "$work/$1.db" >"$work/check" || fail "$1$2: $(cat "$work/check")"
}

# Nobody but OK in the search, no verdict but a sound one.
no_blame() {
    python3 -B - "$work/$1.db" <<'X' || fail "$1: a candidate was blamed for the machine"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
bad = db.execute("SELECT fate, log FROM evaluation WHERE fate <> 'OK' UNION ALL SELECT fate, report FROM proof WHERE fate <> 'OK'").fetchall()
print(bad or '', end='')
sys.exit(1 if bad else 0)
X
}

run good "" 0
champion=$(store champion "$work/good.db")
[ "$champion" != none ] || fail "no champion on a sound device"

case ${1:-} in
14)
    # Lost after some launches, in the search or in a session: a fresh worker counts anew, so it gets a little further each time.
    for launches in 1 40 300 700; do
        name=lost$launches
        run $name ",lost=$launches" 4
        grep -qi 'lost\|does not answer' "$work/err" || fail "lost=$launches: the message does not say that the device is lost: $(tail -n 1 "$work/err")"
        no_blame $name
        [ "$(store champion "$work/$name.db")" = none ] || fail "lost=$launches: a champion without a trial"
        run $name "" 0
        no_blame $name
        [ "$(store champion "$work/$name.db")" = "$champion" ] || fail "lost=$launches: the champion is $(store champion "$work/$name.db")"
    done
    ;;
15)
    run oom ",oom=1" 4
    no_blame oom
    [ "$(store count "$work/oom.db" evaluation)" -eq 0 ] || fail "out of memory: something was evaluated"
    run oom "" 0
    [ "$(store champion "$work/oom.db")" = "$champion" ] || fail "out of memory: the champion is $(store champion "$work/oom.db")"
    ;;
23)
    for every in 3 50; do
        run timer$every ",bad_timer=$every" 0
        no_blame timer$every
        [ "$(store champion "$work/timer$every.db")" = "$champion" ] || fail "a timer that lies every $every readings: the champion is $(store champion "$work/timer$every.db")"
    done
    ;;
*) fail "machine.sh 14|15|23" ;;
esac
[ $bad -ne 0 ] || echo "nobody blamed, champion $champion"
exit $bad
