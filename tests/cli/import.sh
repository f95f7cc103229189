#!/usr/bin/env bash
# fatune import: points of others by the names and values of their parameters, as priors: what fits is kept, what does not is counted and named, a run proposes
# the best first and measures it itself, and nothing else reads them.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
export FATUNE_FAKE_DEVICE=seed=3,noise=0.001,spikes=0 FATUNE_STORE=$work/f.db
cp -r "$SOURCE_DIR/tests/data/templates/planted" .
sed -e 's/^  FAULT:.*/  FAULT: [0, 8]/' -e 's/strategy: exhaustive, evaluations: 40/strategy: random, evaluations: 4/' "$SOURCE_DIR/tests/data/spaces/planted.yaml" >planted.yaml

# In an order of its own, with a value that is none here, a point that failed, one that is not valid here, and the fastest last.
cat >theirs.csv <<'CSV'
PASSES,ROWS,FAULT,status,n,mean_ms
16,4,0,ok,9,5
16,3,0,ok,9,0.1
4,3,0,ok,9,0.1
4,4,0,ok,9,3
1,half,0,ok,9,0.1
1,2,0,compile,0,
4,2,8,ok,9,0.5
1,4,0,ok,9,1
CSV
run 0 import theirs.csv planted.yaml --device fake --json
json "(d['points'], d['failed'], d['fit'], d['kept'], d['added']) == (8, 1, 4, 4, True)"
json "{(m['why'], m['points']) for m in d['misfits']} == {('planted has no ROWS=3 in this space', 2), ('planted has no ROWS=half in this space', 1)}"
run 0 import theirs.csv planted.yaml --device fake
says out '^theirs.csv: 8 points, 1 failed there; 4 are points of planted$'
says out '^  left out: planted has no ROWS=3 in this space (2)$'
says out '^they are in the store already: nothing was written$'
python3 -B - <<'PYTHON' || fail "an import is something else than points to try"
import json, sqlite3
db = sqlite3.connect('f.db')
got = [(json.loads(p)['params'], us) for p, us in db.execute('SELECT params, us FROM prior ORDER BY us')]
assert got == [({'FAULT': 8, 'PASSES': 4, 'ROWS': 2}, 500), ({'FAULT': 0, 'PASSES': 1, 'ROWS': 4}, 1000), ({'FAULT': 0, 'PASSES': 4, 'ROWS': 4}, 3000), ({'FAULT': 0, 'PASSES': 16, 'ROWS': 4}, 5000)], got
assert db.execute('SELECT file FROM import').fetchall() == [('theirs.csv',)]
assert all(db.execute(f'SELECT count(*) FROM {t}').fetchone() == (0,) for t in ('run', 'evaluation', 'candidate', 'champion'))
PYTHON
# The best that is valid here, one of four evaluations, measured here.
run 0 run planted.yaml --device fake --json
json "[(s['kind'], s['from'], s['point']['params']) for s in d['seeds']] == [('import', 'theirs.csv', {'FAULT': 0, 'PASSES': 1, 'ROWS': 4})]"
json "d['seeds'][0]['us'] > 0 and d['seeds'][0]['us'] not in (1000, 1)"
run 0 run planted.yaml --device fake --seed 2 --fresh --json
json "d['seeds'] == []"
rm f.db
run 0 import theirs.csv planted.yaml --device fake
run 0 run planted.yaml --device fake
says out '^seeded: 1 point from theirs.csv (imported)$'

# T4 and a cache of another store bring the same points; a template is known by its name, or by its parameters.
run 0 export planted --out t4.json
run 0 export planted --format cache --out cache.json
for file in t4.json cache.json; do
    run 0 import "$file" planted.yaml --device fake --store "$file.db" --json
    json "d['added'] and d['fit'] == d['points'] - d['failed'] > 3 and d['misfits'] == []"
    python3 -B -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("SELECT params, us FROM prior ORDER BY us, id").fetchall())' "$file.db" >"$file.priors"
done
cmp -s t4.json.priors cache.json.priors || fail "T4 and the cache bring different points"

# What cannot be used is said, and leaves the store alone.
sum=$(bytes f.db)
printf 'PASSES,ROWS,FAULT,WIDTH,status,mean_ms\n1,4,0,7,ok,1\n' >wide.csv
run 3 import wide.csv planted.yaml --device fake
says err 'no point of wide.csv is one of space planted'
says err '^  planted has no parameter WIDTH (1)$'
printf 'PASSES,FAULT,status,mean_ms\n1,0,ok,1\n' >short.csv
run 3 import short.csv planted.yaml --device fake --json
json "d['error']['class'] == 'INPUT' and 'parameter ROWS of planted is missing' in d['error']['text']"
printf 'X,status,mean_ms\n1,ok,1\n' >other.csv
run 3 import other.csv planted.yaml --device fake
says err 'no template of the space has a parameter of other'
run 3 import absent.csv planted.yaml --device fake
says err 'absent.csv: it cannot be opened'
run 3 import theirs.csv absent.yaml --device fake
run 2 import theirs.csv
[ "$(bytes f.db)" = "$sum" ] || fail "a refused import changed the store"
# One that has no choice here need not be named there.
sed 's/^  FAULT:.*/  FAULT: [0]\n  ROWS: [4]/' planted.yaml >rows.yaml
run 0 import short.csv rows.yaml --device fake --json
json "d['fit'] == 1 and d['added']"
exit $bad
