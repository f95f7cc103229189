#!/usr/bin/env bash
# fatune profile on a real OpenCL device: its ceilings are really measured, once; no kernel does more than they allow; no Nsight Compute there.
. "$SOURCE_DIR/tests/cli/common.bash"
opencl_smoke '[1]'
export FATUNE_STORE=$work/f.db
run 0 profile smoke.yaml --device opencl --roofline --json
json "d['ceilings_measured'] and all(c['rate'] > 0 and len(c['samples_us']) == 32 and c['kernel'].startswith('ceiling_') for c in d['ceilings'])"
# A core has done more than 100 MFLOP/s and read more than 100 MB/s for decades; none does a PFLOP/s.
json "all(1e8 < c['rate'] < 1e15 for c in d['ceilings'] if c['name'] != 'exp') and 1e6 < d['ceilings'][1]['rate'] < 1e14"
json "d['ceilings'][2]['rate'] > d['ceilings'][3]['rate']" # what is near is not slower than what is far
json "all(0 < r['share'] <= 1.05 for r in d['roofline']['rows'] if r['bounds']) and not d['roofline']['exceeded'] and d['warnings'] == []"
json "d['time']['source'] == 'now' and d['roofline']['nearest'] in ('matrix', 'exp', 'l2')"
file=$(python3 -B -c 'import json; print(json.load(open("out"))["ceilings_file"])')
before=$(bytes "$file")
run 4 profile smoke.yaml --device opencl
says out 'not run: Nsight Compute sees CUDA kernels'
says out 'measured before'
[ ! -s err ] && [ "$(bytes "$file")" = "$before" ] || fail "a second call measured: $(cat err)"
exit $bad
