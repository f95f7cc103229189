#!/usr/bin/env bash
# A parameter that changes neither code nor launch is named in the summary of the run, of its repetition and in --json; candidates
# of equal code are measured once, counted, and `show` says whose code they have.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
export FATUNE_STORE=$work/f.db FATUNE_FAKE_DEVICE=seed=3,noise=0.001
cp -r "$SOURCE_DIR/tests/data/templates/planted" .
sed 's/^  FAULT:.*/  FAULT: [0]/' "$SOURCE_DIR/tests/data/spaces/planted.yaml" >space.yaml

run 0 run space.yaml --device fake --store alive.db --json
json "d['dead'] == [] and d['aliases'] == 0"
sed -i '1i // fake: dead PASSES' planted/kernel.cu
run 0 run space.yaml --device fake --json
json "d['dead'] == [{'template': 'planted', 'param': 'PASSES', 'pairs': 9}] and d['proposals'] == 9 and d['aliases'] == 6"
id=$(python3 -B -c 'import sqlite3; print(sqlite3.connect("f.db").execute(
    "SELECT c.digest FROM evaluation e JOIN candidate c ON c.id = e.candidate WHERE e.run = 1 AND e.alias_of >= 0 AND c.id <> "
    "(SELECT candidate FROM evaluation o WHERE o.run = 1 AND o.seq = e.alias_of) LIMIT 1").fetchone()[0])')
run 0 run space.yaml --device fake
says out 'confirms run 1'
says out '^dead here: PASSES of planted (9 pairs, all equal code)$'
run 0 show "$id" --json
json "[x['equals'] != d['id'] and {k: v for k, v in x['equals_params']['params'].items() if k != 'PASSES'} == {k: v for k, v in d['params']['params'].items() if k != 'PASSES'} for x in d['evaluations'] if 'alias_of' in x and x['run'] == 1] == [True]"
exit $bad
