#!/usr/bin/env bash
# The whole way with kernels that really run, on the OpenCL device at hand: PoCL where there is no GPU. Few points, so that it
# takes seconds; who wins is left open.
. "$SOURCE_DIR/tests/cli/common.bash"
run 0 devices --json
python3 -B -c 'import json; exit(not any(d["driver"] == "opencl" for d in json.load(open("out"))["devices"]))' ||
    skip "no OpenCL device: $(python3 -B -c 'import json; print(" ".join(json.load(open("out"))["note"].split()))')"
export FATUNE_STORE=$work/store/fatune.db
sed -e 's/^templates:.*/templates: [fa_opencl]/' -e 's/^  BLOCK_M:.*/  BLOCK_M: [32]/' -e 's/^  WARPS:.*/  REGS: [8]\n  VEC: [8]\n  UNROLL: [1, 2]/' \
    "$SOURCE_DIR/tests/data/spaces/small.yaml" >smoke.yaml

run 0 run smoke.yaml --device opencl --minutes 0.5 --json
json "d['device'].startswith('opencl:') and d['fates'] == {'OK': d['proposals']} and 2 <= d['compiled'] <= d['proposals']"
json "d['champion']['name'] == 'v1' and d['champion']['params']['template'] == 'fa_opencl'"
json "len(d['trials']) == 1 and d['trials'][0]['verdict']['ratio'] > 0 and d['trials'][0]['verdict']['sessions'] == 8"

run 0 run smoke.yaml --device opencl --minutes 0.5 --json
# Where all others were 1.5 times slower than the one that was crowned, there is no challenger to confirm it against: the second run searches again.
json "d['compiled'] == 0 and d.get('confirms_run', 1) == 1 and d['champion'] is not None"

run 0 show v1 --source
head -n 1 out | grep -q '^#define BATCH 1$' || fail "the source does not begin with the prelude"
says out '__kernel'
run 0 eval smoke.yaml --device opencl --set BLOCK_N=32
says out '^  fate       OK$'
says out 'pass input large_logits'
says out 'pass law   shift'
exit $bad
