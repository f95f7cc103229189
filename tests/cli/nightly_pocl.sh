#!/usr/bin/env bash
# Two nights with kernels that really run, on the OpenCL device at hand: who wins is left open, but the second night changes nothing without
# a verdict that says so, and the ledger shows both.
. "$SOURCE_DIR/tests/cli/common.bash"
export FATUNE_STORE=$work/store/fatune.db
opencl_smoke '[2]'

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
