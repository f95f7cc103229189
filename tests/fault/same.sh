#!/usr/bin/env bash
# The same run once more gives the same report: in another store, on another number of cores (row 41 of rows.txt), and on a host whose clock
# jumps by years whenever it is asked (row 38). All that may differ are times of day and how long things took.
#   same.sh 38|41
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
export FATUNE_FAKE_DEVICE=seed=3

# report NAME COMMAND...: what `run --json` says and what the search was told, in a store and with a cache of its own.
report() {
    local rc=0
    "${@:2}" "$FATUNE_FAKE" run "$SOURCE_DIR/tests/data/spaces/small.yaml" --device fake --store "$work/stores/$1/f.db" --json >"$work/$1.json" 2>"$work/$1.err" </dev/null || rc=$?
    [ $rc -eq 0 ] || fail "$1: exit $rc: $(tail -n 2 "$work/$1.err")"
    no_workers "$1"
    store check "$work/stores/$1/f.db" >"$work/check" || fail "$1: $(cat "$work/check")"
    python3 -B - "$work/$1.json" "$work/stores/$1/f.db" >"$work/$1" <<'X' || fail "$1: no report"
import json, sqlite3, sys
d = json.load(open(sys.argv[1]))
del d['seconds'], d['champion']['since']
print(json.dumps(d, indent=1))
db = sqlite3.connect(sys.argv[2])
for row in db.execute('SELECT e.run, e.seq, c.params, e.fate, e.us, e.alias_of, e.log FROM evaluation e JOIN candidate c ON c.id = e.candidate ORDER BY e.id'):
    print(*row)
for row in db.execute('SELECT digest FROM series ORDER BY id'):
    print(*row)
X
}
same() { cmp -s "$work/$1" "$work/$2" || fail "$1 and $2 differ: $(diff "$work/$1" "$work/$2" | head -n 6 | cut -c1-200)"; }

report first env
[ "$(wc -l <"$work/first")" -gt 300 ] || fail "a report of $(wc -l <"$work/first") lines"
case ${1:-} in
38)
    [ -e "${FATUNE_FAKE_CLOCK:-}" ] || { echo "no library whose clock jumps (FATUNE_FAKE_CLOCK)"; exit 77; }
    # A program with AddressSanitizer wants to be loaded first, and may stay so.
    report jumping env LD_PRELOAD="$FATUNE_FAKE_CLOCK" ASAN_OPTIONS="verify_asan_link_order=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
    same first jumping
    python3 -B - "$work/stores/jumping/f.db" "$work/jumping.json" <<'X' || fail "the clock did not jump, or time that passed was taken from it"
import json, sqlite3, sys
days = {at[:10] for at, in sqlite3.connect(sys.argv[1]).execute('SELECT created FROM evaluation')}
def numbers(x):
    return [n for y in x.values() for n in numbers(y)] if isinstance(x, dict) else [x]
seconds = numbers(json.load(open(sys.argv[2]))['seconds'])
sys.exit(0 if len(days) >= 4 and len(seconds) > 20 and all(0 <= s < 120 for s in seconds) else 1)
X
    ;;
41)
    report second env
    same first second
    report alone taskset -c "$(taskset -pc $$ | sed 's/.*: *\([0-9]*\).*/\1/')"
    same first alone
    # And a test that could not see a difference would see none.
    FATUNE_FAKE_DEVICE=seed=4 report other env
    ! cmp -s "$work/first" "$work/other" || fail "another device gives the same report"
    ;;
*) fail "same.sh 38|41" ;;
esac
exit $bad
