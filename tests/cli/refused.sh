#!/usr/bin/env bash
# What rendering and the compiler know is enough to refuse a candidate: the device worker, which these kernels would kill, is never asked.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
export FATUNE_FAKE_DEVICE=noise=0,session=0,spikes=0
cp -r "$SOURCE_DIR/tests/data/templates/planted" .
sed -i 's/^  shared: .*/  shared: "PASSES \/\/ 16 * 300000"/' planted/template.yaml
sed -i '1i // fake: spill 64 when ROWS=2\n// fake: segv when ROWS=2\n// fake: segv when PASSES=16' planted/kernel.cu
sed 's/^  FAULT:.*/  FAULT: [0]/' "$SOURCE_DIR/tests/data/spaces/planted.yaml" >space.yaml

run 0 run space.yaml --device fake --store f.db --json
json "d['fates'] == {'OK': 4, 'LIMITS': 2, 'RENDER': 3}"
json "d['seconds']['search']['device']['lost'] == 0 and d['seconds']['search']['device']['opening'] == 0"
python3 -B - <<'X2' || fail "a refusal has no reason: $(cat said)"
import json, sqlite3
rows = sqlite3.connect('f.db').execute('SELECT c.params, e.fate, e.log FROM evaluation e JOIN candidate c ON c.id = e.candidate WHERE e.alias_of IS NULL')
words = {'LIMITS': '64 bytes of registers are spilled, and the manifest expects at most 0', 'RENDER': 'more shared memory than a block has'}
wrong = [(p, fate, log) for p, fate, log in ((json.loads(r[0])['params'], r[1], r[2]) for r in rows)
         if fate != ('RENDER' if p['PASSES'] == 16 else 'LIMITS' if p['ROWS'] == 2 else 'OK') or words.get(fate, '') not in (log or '')]
open('said', 'w').write(str(wrong[:3]))
exit(1 if wrong else 0)
X2
exit $bad
