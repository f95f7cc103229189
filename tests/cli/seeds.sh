#!/usr/bin/env bash
# What is known feeds the search: points of earlier runs, of other shapes by their distance and of other devices are proposed first and measured here; they are
# fixed when the run begins, whatever the store learns before it goes on; --fresh takes none.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
export FATUNE_FAKE_DEVICE=seed=3,noise=0.001,spikes=0 FATUNE_STORE=$work/f.db
# shape NAME TOKENS [BUDGET]: a space's file
shape() {
    sed -e "s/^name:.*/name: $1/" -e "s/seq_q:.*/seq_q: $2/" -e "s/evaluations: 12/evaluations: ${3:-40}/" -e 's/strategy: auto/strategy: evolve/' \
        -e '/^params:/,/WARPS/d' "$SOURCE_DIR/tests/data/spaces/small.yaml" >"$1.yaml"
}
shape near 32
shape middle 48
shape far 128
shape few 32 9
shape tuned 40

run 0 run near.yaml --device fake --json
json "d['seeds'] == []"
run 0 run far.yaml --device fake
says out '^seeded: 3 points from near (champion v1)$'
says err 'seeded: 3 points from near (champion v1)$'
cp f.db two.db

# Nearest first, three of a track, at most an eighth of the budget; measured here, before the strategy's own, and told to it: none is proposed again.
run 0 run middle.yaml --device fake --json
cp out middle.json
python3 -B - <<'PYTHON' || fail "the seeds of middle are not those of the nearest"
import json, math, sqlite3
d, db = json.load(open('middle.json')), sqlite3.connect('f.db')
s = d['seeds']
assert [x['from'] for x in s] == ['near'] * 3 + ['far'] * 2 and {x['kind'] for x in s} == {'shape'}, s
near, far = math.log2(48 / 32), math.log2(128 / 48)  # seq_kv is seq_q
assert all(math.isclose(x['distance'], want) for x, want in zip(s, [2 * near] * 3 + [2 * far] * 2)), s
assert s[0]['version'] == 'v1' and 'version' not in s[1]
best = lambda name: [json.loads(p) for p, in db.execute('SELECT c.params FROM evaluation v JOIN candidate c ON c.id = v.candidate JOIN run r ON r.id = v.run JOIN space s ON s.id = r.space '
                                                       'WHERE s.name = ? AND v.alias_of IS NULL AND v.us IS NOT NULL ORDER BY v.us', (name,))]
champion = [json.loads(p) for p, in db.execute("SELECT c.params FROM version v JOIN candidate c ON c.id = v.candidate JOIN run r ON r.id = v.run JOIN space s ON s.id = r.space WHERE s.name = 'near'")]
points = [x['point'] for x in s]
assert points[0] == champion[0] and points[1:3] == [p for p in best('near') if p != champion[0]][:2]
mine = [(seq, json.loads(p), fate, us) for seq, p, fate, us in db.execute('SELECT v.seq, c.params, v.fate, v.us FROM evaluation v JOIN candidate c ON c.id = v.candidate WHERE v.run = ? ORDER BY v.seq', (d['run'],))]
assert len(mine) == d['proposals'] and len({json.dumps(p, sort_keys=True) for _, p, _, _ in mine}) == len(mine)
assert [x['evaluation'] for x in s] == list(range(s[0]['evaluation'], s[0]['evaluation'] + len(s))) and s[0]['evaluation'] <= 2
for x in s:
    seq, p, fate, us = mine[x['evaluation']]
    assert p == x['point'] and us == x['us'] and db.execute('SELECT count(*) FROM series e JOIN evaluation v ON v.id = e.evaluation WHERE v.run = ? AND v.seq = ?', (d['run'], seq)).fetchone() == (1,)
PYTHON
run 0 report middle --format json --out r
python3 -B -c 'import json, glob; assert json.load(open(glob.glob("r/*.json")[0]))["search"]["seeds"] == json.load(open("middle.json"))["seeds"]' ||
    fail "the report has other seeds than the run"

# A small budget takes one; earlier runs of the track come first, whose answers are known; --fresh takes none.
run 0 run few.yaml --device fake --json
json "[x['from'] for x in d['seeds']] == ['near'] and d['seeds'][0]['distance'] == 0"
run 0 run near.yaml --device fake --seed 9 --evaluations 2 --json
json "[x['kind'] for x in d['seeds']] == ['track'] * len(d['seeds']) and 7 <= len(d['seeds']) <= 8 and d['known'] > len(d['seeds'])"
run 0 run middle.yaml --device fake --fresh --evaluations 2 --json
json "d['seeds'] == []"

# Another device: behind those of this one.
python3 -B -c 'import sqlite3; db = sqlite3.connect("two.db"); db.execute("UPDATE environment SET facts = json_set(facts, \"$.target.name\", \"another accelerator\"), digest = \"another\""); db.commit()'
run 0 run middle.yaml --device fake --store two.db --quiet --evaluations 9
run 0 run tuned.yaml --device fake --store two.db
says out '^seeded: 3 points from middle (champion v1), 2 from near on another accelerator'

# Cut off in its search, while the store learns more; then it goes on, and proposes what it would have.
cp f.db whole.db
run 0 run tuned.yaml --device fake --store whole.db --quiet
cat >cut.py <<'PYTHON'
"""The newest run as it was after 12 evaluations."""
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for name, in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
    db.execute(f'DROP TRIGGER {name}')
run, = db.execute('SELECT max(id) FROM run').fetchone()
for sql in ('DELETE FROM champion WHERE version IN (SELECT id FROM version WHERE run = ?)', 'DELETE FROM version WHERE run = ?', 'DELETE FROM verdict WHERE run = ?',
            'DELETE FROM series WHERE quad IN (SELECT q.id FROM quad q JOIN session s ON s.id = q.session JOIN trial t ON t.id = s.trial WHERE t.run = ?)',
            'DELETE FROM quad WHERE session IN (SELECT s.id FROM session s JOIN trial t ON t.id = s.trial WHERE t.run = ?)',
            'DELETE FROM session WHERE trial IN (SELECT id FROM trial WHERE run = ?)', 'DELETE FROM trial WHERE run = ?', 'DELETE FROM race WHERE run = ?', 'DELETE FROM proof WHERE run = ?',
            'DELETE FROM series WHERE evaluation IN (SELECT id FROM evaluation WHERE run = ? AND seq >= 12)', 'DELETE FROM evaluation WHERE run = ? AND seq >= 12',
            "UPDATE run SET state = 'search', summary = NULL, ended = NULL WHERE id = ?", *sys.argv[2:]):
    db.execute(sql, (run,))
db.commit()
PYTHON
proposals() { python3 -B -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("SELECT c.params FROM evaluation v JOIN candidate c ON c.id = v.candidate WHERE v.run = (SELECT max(r.id) FROM run r JOIN space s ON s.id = r.space WHERE s.name = \"tuned\") ORDER BY v.seq").fetchall())' "$1"; }
runs() { python3 -B -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM run r JOIN space s ON s.id = r.space WHERE s.name = \"tuned\"").fetchone()[0])' "$1"; }
cp whole.db cut.db
python3 -B cut.py cut.db
cp cut.db old.db
shape nearest 40
run 0 run nearest.yaml --device fake --store cut.db --quiet --evaluations 9
run 0 run tuned.yaml --device fake --store cut.db
says err 'going on with run [0-9]*: 12 evaluations are kept'
[ "$(runs cut.db)" = 1 ] || fail "the run did not go on"
[ -n "$(proposals whole.db)" ] && [ "$(proposals cut.db)" = "$(proposals whole.db)" ] || fail "a run that was cut off proposes otherwise when the store has learnt more"
# One that knew of no seeds is not continued as if it had: it begins anew, with what it measured.
python3 -B cut.py old.db "UPDATE run SET settings = json_remove(settings, '\$.seeds') WHERE id = ?"
run 0 run tuned.yaml --device fake --store old.db --json
says err 'under another champion or an older fatune: its search begins anew'
[ "$(runs old.db)" = 2 ] || fail "no run was begun anew"
json "len(d['seeds']) > 0 and d['known'] >= 8"
exit $bad
