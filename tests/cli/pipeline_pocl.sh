#!/usr/bin/env bash
# The whole way with kernels that really run, on the OpenCL device at hand: PoCL where there is no GPU. Few points, so that it
# takes seconds; who wins is left open.
. "$SOURCE_DIR/tests/cli/common.bash"
export FATUNE_STORE=$work/store/fatune.db
opencl_smoke '[1, 2]'

run 0 run smoke.yaml --device opencl --minutes 0.5 --json
json "d['device'].startswith('opencl:') and d['fates'] == {'OK': d['proposals']} and 2 <= d['compiled'] <= d['proposals'] + 1" # and the reference
json "d['champion']['name'] == 'v1' and d['champion']['params']['template'] == 'fa_opencl'"
# On a busy machine the other point may look slow enough to be left behind in the race: then there is nobody to try.
json "len(d['trials']) == min(1, len(d['standings'])) and all(t['verdict']['ratio'] > 0 and t['verdict']['sessions'] == 8 for t in d['trials'])"

# The second run confirms the first, unless the race left nobody beside the one who was crowned: then it searches again, among what is known.
left=$(python3 -B -c '
import json
d = json.load(open("out"))
print(len(d["standings"]) - sum(t["verdict"]["outcome"] == "PROMOTE" for t in d["trials"]))')
run 0 run smoke.yaml --device opencl --minutes 0.5 --json
json "d['compiled'] == 0 and d.get('confirms_run') == (1 if $left > 0 else None) and d['champion'] is not None"

run 0 show v1 --source
head -n 1 out | grep -q '^#define BATCH 1$' || fail "the source does not begin with the prelude"
says out '__kernel'
run 0 eval smoke.yaml --device opencl --set BLOCK_N=32
says out '^  fate       OK$'
says out 'pass input large_logits'
says out 'pass law   shift'
exit $bad
