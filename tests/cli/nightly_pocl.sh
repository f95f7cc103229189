#!/usr/bin/env bash
# Two nights with kernels that really run, on the OpenCL device at hand: who wins is left open, but the second night changes nothing without
# a verdict that says so, and the ledger shows both.
. "$SOURCE_DIR/tests/cli/common.bash"
run 0 devices --json
python3 -B -c 'import json; exit(not any(d["driver"] == "opencl" for d in json.load(open("out"))["devices"]))' ||
    skip "no OpenCL device: $(python3 -B -c 'import json; print(" ".join(json.load(open("out"))["note"].split()))')"
export FATUNE_STORE=$work/store/fatune.db
sed -e 's/^templates:.*/templates: [fa_opencl]/' -e 's/^  BLOCK_M:.*/  BLOCK_M: [32]/' -e 's/^  WARPS:.*/  REGS: [8]\n  VEC: [8]\n  UNROLL: [2]/' \
    "$SOURCE_DIR/tests/data/spaces/small.yaml" >smoke.yaml

run 0 nightly smoke.yaml --device opencl --minutes 1 --json
json "(lambda n: n['outcome'] == 'crowned' and n['after'] == 'v1' and n['anchor']['us'] > 0)(d['nights'][0])"
run 0 nightly smoke.yaml --device opencl --minutes 1 --json
json "(lambda n: [s['fate'] or s['left_out'] for s in n['check']['shapes']].count('OK') >= 1)(d['nights'][0])"
json "(lambda n: n['outcome'] in ('kept', 'promoted') and (n['before'] == n['after']) == (n['outcome'] == 'kept'))(d['nights'][0])"
json "(lambda n: (n['outcome'] == 'promoted') == any(t['verdict']['outcome'] == 'PROMOTE' for t in n['run']['trials']))(d['nights'][0])"
json "(lambda n: n['control'] > 0 and n['anchor']['version'] == 'v1' and n['anchor']['chart']['nights'] == 2)(d['nights'][0])"
run 0 champion ledger
cat out
run 0 champion ledger --json
json "[(x['night'], x['outcome'] == 'crowned') for x in d] == [(1, True), (2, False)] and d[0]['after'] == d[1]['before']"
exit $bad
