#!/usr/bin/env bash
# fatune export: T4 as its schema asks for it, each candidate once with what the store has of it, and a cache file of Kernel Tuner; fatune replay has the
# same points from both, and from the store.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
export FATUNE_FAKE_DEVICE=seed=3,noise=0.001,spikes=0 FATUNE_STORE=$work/f.db
sed 's/^  FAULT:.*/  FAULT: [0, 1, 5, 6, 8]/' "$SOURCE_DIR/tests/data/spaces/planted.yaml" >planted.yaml
cp -r "$SOURCE_DIR/tests/data/templates/planted" .
run 0 run planted.yaml --device fake
run 0 run planted.yaml --device fake --seed 7 --fresh
run 0 export planted --out t4.json
says out '^[0-9]* points: t4.json$'
run 0 export planted.yaml
cmp -s out t4.json || fail "the standard output and --out differ"
python3 -B - <<'PYTHON' || fail "the export is not what the store has"
import json, math, sqlite3
d = json.load(open('t4.json'))
db = sqlite3.connect('f.db')
newest = {}
for run, seq, cand, fate, us, params in db.execute('SELECT v.run, v.seq, c.digest, v.fate, v.us, c.params FROM evaluation v JOIN candidate c ON c.id = v.candidate ORDER BY v.run, v.seq DESC'):
    newest[cand] = (fate, us, json.loads(params))
word = {'OK': 'correct', 'COMPILE': 'compile', 'RENDER': 'compile', 'LIMITS': 'constraints', 'WRONG': 'correctness', 'NONDET': 'correctness', 'CORRUPT': 'correctness', 'CRASH': 'runtime', 'LAUNCH': 'runtime', 'HANG': 'timeout'}
want = sorted(json.dumps([{'template': p['template'], **p['params']}, word[fate], us and round(us, 6)], sort_keys=True) for fate, us, p in newest.values())
got = sorted(json.dumps([r['configuration'], r['invalidity'], round(1e3 * r['measurements'][0]['value'], 6) if r['measurements'] else None], sort_keys=True) for r in d['results'])
assert got == want, (got[:2], want[:2])
assert len({r['invalidity'] for r in d['results']}) >= 3 and d['schema_version'] == '1.0.0'
for r in d['results']:
    assert set(r) == {'timestamp', 'configuration', 'objectives', 'times', 'invalidity', 'correctness', 'measurements'}
    assert r['correctness'] == (r['invalidity'] != 'correctness') and r['objectives'] == ['time']
    assert bool(r['measurements']) == (r['invalidity'] == 'correct') == bool(r['times']['runtimes'])
    assert all(0 < t < 1e3 and math.isfinite(t) for t in r['times']['runtimes'])
PYTHON
run 0 replay t4.json --strategy random,auto --repeats 3 --json
json "d['spaces'][0]['points'] == len(__import__('json').load(open('t4.json'))['results']) and d['spaces'][0]['failed'] > 0"
# The store itself is the same recording.
scores() { python3 -B -c 'import json, sys; s = json.load(open("out"))["spaces"][0]; [x.pop("proposal_us") for x in s["scores"]]; del s["file"], s["name"]; json.dump(s, open(sys.argv[1], "w"))' "$1"; }
run 0 replay t4.json --strategy all --repeats 4 --json
scores of_the_file
run 0 replay planted --store f.db --strategy all --repeats 4 --json
json "d['spaces'][0]['name'] == 'planted' and d['spaces'][0]['file'] == 'f.db'"
scores of_the_store
cmp of_the_file of_the_store || fail "the store and its export have different scores"
run 0 replay planted.yaml --store f.db --strategy all --repeats 4 --json --device fake
scores of_the_space
cmp -s of_the_store of_the_space || fail "a space's file and its name have different scores"
run 2 replay nobody --store f.db
says err 'no run of nobody is in f.db'
run 2 replay t4.json --device fake
says err 'name that by --store'
run 5 replay planted --store absent.db
# Kernel Tuner's cache: one template, since it has one list of parameters.
run 0 export planted --format cache --out cache.json
says out '^[0-9]* points: cache.json$'
python3 -B - <<'PYTHON' || fail "the cache is not what T4 says, or not what Kernel Tuner reads"
import json
t4, text = json.load(open('t4.json'))['results'], open('cache.json').read()
d = json.loads(text)
# It appends where the text ends so, looks points up by this key, and wants these members.
assert text.strip().endswith('}\n}') and d['tune_params_keys'] == list(d['tune_params']) == ['FAULT', 'PASSES', 'ROWS']
assert (d['kernel_name'], d['problem_size'], d['objective']) == ('planted planted', [1], 'time') and d['device_name']
assert d['tune_params'] == {'FAULT': [0, 1, 5, 6, 8], 'PASSES': [1, 4, 16], 'ROWS': [1, 2, 4]}
assert len(d['cache']) == len(t4)
word = {'compile': 'CompilationFailedConfig', 'constraints': 'InvalidConfig'}
for r in t4:
    row = d['cache'][','.join(str(r['configuration'][k]) for k in d['tune_params'])]
    assert all(row[k] == r['configuration'][k] for k in d['tune_params']) and 'point' not in row
    assert row['time'] == (r['measurements'][0]['value'] if r['measurements'] else word.get(r['invalidity'], 'RuntimeFailedConfig')), (row, r)
    assert row['times'] == r['times']['runtimes'] and row['timestamp'] == r['timestamp']
    assert all(row[k + '_time'] == 0 for k in ('compile', 'verification', 'benchmark', 'strategy', 'framework'))
PYTHON
run 0 replay cache.json --strategy all --repeats 4 --json
scores of_the_cache
cmp -s of_the_file of_the_cache || fail "the cache is another recording than the T4"
cp -r planted cousin
sed -i -e 's/^name: planted/name: cousin/' -e 's/PASSES/SWEEPS/g' cousin/template.yaml
sed -i 's/PASSES/SWEEPS/g' cousin/kernel.cu
sed -e 's/^name: .*/name: both/' -e 's/^templates: .*/templates: [planted, cousin]/' planted.yaml >both.yaml
run 0 run both.yaml --device fake
run 2 export both --format cache
says err 'holds one template: say which by --template.* cousin'
run 2 export both --format cache --template nobody
says err 'no point of template nobody was tried, but of.* planted'
run 2 export both --template cousin
says err '--template is for --format cache'
run 0 export both --format cache --template cousin
json "list(d['tune_params']) == ['FAULT', 'ROWS', 'SWEEPS'] and d['kernel_name'] == 'both cousin' and len(d['cache']) >= 9"
run 2 export nobody
says err 'no run of nobody is in .*f.db; it has$'
run 2 export planted --format csv
says err "format takes t4 or cache, not 'csv'"
run 5 export planted --store absent.db
exit $bad
