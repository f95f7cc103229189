#!/usr/bin/env bash
# space --compile on the fake device: all points or a draw of them; failures by fate with their reasons, spills that the manifest
# expects or not, dead parameters, equal code; exit code 3 when anything failed. A spill is a fate in a run, too.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
export FATUNE_STORE=$work/f.db FATUNE_FAKE_DEVICE=seed=3,noise=0.001
cp -r "$SOURCE_DIR/tests/data/templates/planted" .
use() { sed "s/^  FAULT:.*/  FAULT: [$1]/" "$SOURCE_DIR/tests/data/spaces/planted.yaml" >space.yaml; }

# ---- all points, then a draw from them: the cache has them
use 0
run 0 space space.yaml --device fake --compile
says out '^planted   9 of 9 valid points, 0 of equal code: 9 OK$'
says out '^    spilling   0$'
says out '^9 compilations in '
says out '^9 valid points in all$'
grep -qv '^\[ *[0-9.]* s\] compile ' err && fail "what is not progress: $(cat err)"
run 0 space --compile 4 space.yaml --device fake --json
json "d['compilation']['compiled'] == 0 and [t['points'] for t in d['compilation']['templates']] == [4] and d['compilation']['seed'] == 7"
run 0 space space.yaml --device fake --compile=100 --quiet
says out '^planted   9 of 9 valid points'
[ ! -s err ] || fail "--quiet is not quiet"
run 2 space space.yaml --device fake --compile=0
run 2 space space.yaml --device fake --compile=x
[ ! -e f.db ] || fail "compiling makes a store"

# ---- dead and alike
sed -i '1i // fake: dead PASSES' planted/kernel.cu
run 0 space space.yaml --device fake --compile
says out '^planted   9 of 9 valid points, 6 of equal code: 9 OK$'
says out '^    dead here: PASSES of planted (9 pairs, all equal code)$'
sed -i 1d planted/kernel.cu

# ---- failures: a source that does not compile, a compiler that crashes; both are named with their reason
use '0, 8, 13'
run 3 space space.yaml --device fake --compile
says out '^planted   11 of 11 valid points, 0 of equal code: 9 OK, 1 COMPILE, 1 COMPILE_CRASH$'
says out '^    failed     2$'
says out 'planted ROWS=1 PASSES=1 FAULT=8$'
says out 'COMPILE: kernel.cu(1): error: FAKE_COMPILE_ERROR$'
says err '^fatune: 2 of the points of planted that were compiled failed'
run 3 space space.yaml --device fake --compile --json
json "sorted((f['fate'], f['candidate'][-7:]) for f in d['compilation']['templates'][0]['failures']) == [('COMPILE', 'FAULT=8'), ('COMPILE_CRASH', 'AULT=13')]"

# ---- spills: not expected, expected at some points alone
use 0
sed -i '1i // fake: spill 24 when ROWS=4' planted/kernel.cu
run 3 space space.yaml --device fake --compile
says out '^planted   9 of 9 valid points, 0 of equal code: 6 OK, 3 LIMITS$'
says out 'LIMITS: 24 bytes of registers are spilled, and the manifest expects at most 0; let a constraint'
run 0 run space.yaml --device fake --json --store run.db
json "d['fates'] == {'OK': 6, 'LIMITS': 3}"
run 0 eval space.yaml --device fake --set ROWS=4 --json
json "d['fate'] == 'LIMITS' and d['log'].startswith('24 bytes of registers are spilled')"
sed -i 's/^arguments:/spills: "ROWS == 4 and PASSES >= 4 and 24 or 0"\n&/' planted/template.yaml
run 3 space space.yaml --device fake --compile --json
json "d['compilation']['templates'][0]['fates'] == {'OK': 8, 'LIMITS': 1}"
json "[(s['bytes'], s['expected']) for s in d['compilation']['templates'][0]['spilling']] == [(24, 0), (24, 24), (24, 24)]"
sed -i 's/^spills:.*/spills: "ROWS - 2"/' planted/template.yaml # -1 where ROWS is 1
run 3 space space.yaml --device fake --compile
says out 'RENDER: .*template.yaml:[0-9]*:10: spills is -1: it must not be negative (ROWS = 1)'
exit $bad
