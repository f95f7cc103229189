#!/usr/bin/env bash
# fatune evidence of kernels that really ran, on the OpenCL device at hand: checked for both masks, verified, and made anew when the cache is lost.
. "$SOURCE_DIR/tests/cli/common.bash"
export FATUNE_STORE=$work/store/fatune.db
opencl_smoke '[1]'
run 0 run smoke.yaml --device opencl --minutes 0.5 --quiet

run 0 champion list --json
# On a busy machine the default may turn out to be the fastest; then nobody was tried against it.
verdict=$(python3 -B -c 'import json; print("ok" if json.load(open("out"))[0].get("verdict") else "not checked")')

run 0 evidence v1 --json
json "sum('now: passed, on' in s['text'] for s in d['says']) == 2 and {'kernel.cl', 'kernel.bin'} < {f['name'] for f in d['files']}"
run 0 evidence --verify store/evidence/v1 --json
json "d['good'] and {c['check']: c['outcome'] for c in d['checks']}['verdict'] == '$verdict'"
grep -q __kernel store/evidence/v1/kernel.cl || fail "kernel.cl is not the source"
run 0 evidence v1 --no-device --out kept
python3 -B "$SOURCE_DIR/tests/cli/evidence.py" "$program" kept bytes >missed || fail "$(cat missed)"

rm -r store/cache
run 0 evidence v1 --no-device --out anew
cmp kept/kernel.cl anew/kernel.cl || fail "another source"
# An OpenCL compiler need not give the same code twice (PoCL's objects depend on what its process has compiled before): then none is taken.
if [ -e anew/kernel.bin ]; then
    says out '^  kernel  .*binary compiled anew, its code has the recorded digest'
else
    says out '^  kernel  .*the binary is missing: its code has the digest .*, the recorded one is '
fi
run 0 evidence --verify anew
exit $bad
