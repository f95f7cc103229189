#!/usr/bin/env bash
# Narrow places where a run can be cut off, made on purpose: between its decision and its end, and before another run of the same
# track crowns somebody (row 28 of the fault list). Each goes on, and nothing that was measured is measured again.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
export FATUNE_FAKE_DEVICE="noise=0,session=0,spikes=0"

# run NAME SPACE OPTIONS...: ends well, in the store NAME.db.
run() {
    local name=$1 rc=0
    shift
    "$FATUNE_FAKE" run "$@" --device fake --templates "$SOURCE_DIR/tests/data/templates" --store "$work/$name.db" --json \
        >"$work/$name.json" 2>"$work/$name.err" </dev/null || rc=$?
    [ $rc -eq 0 ] || fail "$name: exit $rc: $(tail -n 2 "$work/$name.err")"
    no_workers "$name"
    store check "$work/$name.db" >"$work/check" || fail "$name: $(cat "$work/check")"
}

# Evaluations that were really measured: they have samples.
measured() { python3 -B -c 'import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM series WHERE phase = '"'search'"'").fetchone()[0])' "$work/$1.db"; }

# What the store looks like when the program dies after the decision was written and before the run is marked as done.
undo_end() {
    python3 -B - "$work/$1.db" <<'X'
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
run, summary = db.execute('SELECT id, summary FROM run ORDER BY id DESC LIMIT 1').fetchone()
summary = json.loads(summary)
kept = {k: summary[k] for k in ('standings', 'standing') if k in summary}
db.execute("UPDATE run SET state = 'confirm', ended = NULL, summary = ? WHERE id = ?", (json.dumps(kept), run))
db.commit()
X
}

# One challenger and the default: when the challenger has won, nobody is left to challenge.
sed 's/^  FAULT: .*/  FAULT: [0]\n  ROWS: [2, 4]\n  PASSES: [4]/' "$SOURCE_DIR/tests/data/spaces/planted.yaml" >"$work/two.yaml"
for space in "$work/two.yaml" "$SOURCE_DIR/spaces/smoke.yaml"; do
    name=end_$(basename "$space" .yaml)
    run "$name" "$space"
    champion=$(store champion "$work/$name.db") n=$(measured "$name") champions=$(store count "$work/$name.db" champion)
    undo_end "$name"
    run "$name" "$space"
    [ "$(store champion "$work/$name.db")" = "$champion" ] || fail "$name: the champion changed from $champion to $(store champion "$work/$name.db")"
    [ "$(store count "$work/$name.db" champion)" -eq "$champions" ] || fail "$name: a decision was written twice"
    [ "$(measured "$name")" -eq "$n" ] || fail "$name: measured again"
    [ "$(store count "$work/$name.db" run)" -eq 1 ] || fail "$name: another run was begun"
done

# Numbers in the store that no trial was begun with: said, and nothing is made of them.
undo_end end_smoke
for number in '$.m' '$.quads' '$.sessions' '$.k_a'; do
    cp "$work/end_smoke.db" "$work/damaged.db"
    python3 -B - "$work/damaged.db" "$number" <<'X'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute('UPDATE trial SET settings = json_set(settings, ?, 2000000000)', (sys.argv[2],))
db.commit()
X
    rc=0
    "$FATUNE_FAKE" run "$SOURCE_DIR/spaces/smoke.yaml" --device fake --store "$work/damaged.db" \
        >"$work/out" 2>"$work/err" </dev/null || rc=$?
    [ $rc -eq 5 ] && grep -q 'settings of trial .* are damaged' "$work/err" || fail "$number: exit $rc: $(tail -n 2 "$work/err")"
done

# A run is killed in its search, another one of the track crowns a champion, and the first goes on: against that champion.
export FATUNE_FAKE_DEVICE="$FATUNE_FAKE_DEVICE,sleep=1"
FATUNE_STORE=$work/other.db "$FATUNE_FAKE" run "$SOURCE_DIR/spaces/smoke.yaml" --device fake --evaluations 60 >"$work/out" 2>"$work/err" </dev/null &
pid=$!
for ((i = 0; i < 400; i++)); do
    n=$(store count "$work/other.db" evaluation 2>/dev/null || echo 0)
    [ "$n" -lt 5 ] || break
    sleep 0.02
done
kill -9 "$pid"
wait "$pid" 2>/dev/null || true
no_workers "the run that is killed in its search"
n=$(store count "$work/other.db" evaluation)
[ "$n" -ge 5 ] && [ "$n" -lt 61 ] || fail "the run was to be killed within its search, but it made $n evaluations: $(tail -n 2 "$work/err")"
export FATUNE_FAKE_DEVICE=${FATUNE_FAKE_DEVICE%,sleep=1}
run other "$SOURCE_DIR/spaces/smoke.yaml" --evaluations 12
first=$(store champion "$work/other.db")
run other "$SOURCE_DIR/spaces/smoke.yaml" --evaluations 60
last=$(store champion "$work/other.db")
run alone "$SOURCE_DIR/spaces/smoke.yaml" --evaluations 60
[ "$first" != none ] || fail "the run in between crowned nobody"
[ "$last" = "$(store champion "$work/alone.db")" ] || [ "$last" = "$first" ] || fail "the champion is $last; alone it would be $(store champion "$work/alone.db")"
python3 -B - "$work/other.db" <<'X' || fail "what the killed run had measured was not made use of"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
known, = db.execute("SELECT count(*) FROM evaluation WHERE run = (SELECT max(id) FROM run) AND json_extract(detail, '$.known_from_run')").fetchone()
sys.exit(0 if known >= 4 else 1)
X
[ $bad -ne 0 ] || echo "three narrow places passed; champion $last"
exit $bad
