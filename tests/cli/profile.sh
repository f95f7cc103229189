#!/usr/bin/env bash
# fatune profile: the roofline under ceilings that are measured once, and Nsight Compute as it behaves in every way. What it does not know is not
# known, and where it is missing, refused, cut off or has not seen the kernel it is not run (exit code 4).
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
space=$SOURCE_DIR/tests/data/spaces/small.yaml
tool=$SOURCE_DIR/tests/data/profiler/ncu
export FATUNE_FAKE_DEVICE=seed=3,noise=0.001,spikes=0 FATUNE_STORE=$work/f.db
run 0 run "$space" --device fake --evaluations 3

# ---- the ceilings: work by time, of what the fake device is given (tests/fake/fake_code.h) ----
FAKE_NCU=good run 0 profile v1 --device fake --ncu "$tool" --json
json "d['ceilings_measured'] and [c['name'] for c in d['ceilings']] == ['matrix', 'exp', 'l2', 'dram']"
json "all(0.9 < c['rate'] / want < 1.05 for c, want in zip(d['ceilings'], (200e12, 10e12, 10e12, 4e12)))"
json "all(abs(c['rate'] - 1e6 * c['work'] / min(c['samples_us'])) < 1e-9 * c['rate'] and c['rate_worst'] <= c['rate_median'] <= c['rate'] for c in d['ceilings'])"
json "all(len(c['samples_us']) == 32 and len(set(c['samples_us'])) > 1 for c in d['ceilings'])"
# The roofline is what it says: 1 x 2 x 64 x 32, full.
json "[r['work'] for r in d['roofline']['rows']] == [4 * 2 * 64 * 64 * 32, 2 * 64 * 64, 4 * 2 * 2 * 64 * 32, 4 * 2 * 2 * 64 * 32]"
json "all(abs(r['share'] - 1e6 * r['work'] / r['rate'] / d['time']['us']) < 1e-9 for r in d['roofline']['rows'])"
json "[r['bounds'] for r in d['roofline']['rows']] == [True, True, True, False] and not d['roofline']['exceeded']"
json "d['roofline']['nearest'] == max((r for r in d['roofline']['rows'] if r['bounds']), key=lambda r: r['share'])['ceiling']"
# The time is the confirmed one: the median letter of the trial that it names.
json "d['time']['source'] == 'confirmed' and d['time']['low_us'] <= d['time']['us'] <= d['time']['high_us'] and d['time']['letters'] > 0"
json "d['roofline']['us'] == d['time']['us'] and abs(d['time']['now_us'] / d['time']['us'] - 1) < 0.05"
cmp -s out profile/v1/summary.json || json "d == __import__('json').load(open('profile/v1/summary.json'))"

# ---- Nsight Compute ----
# metric NAME: of the last output, as Python
json "[c['value'] for c in d['counters']['metrics'] if c['name'] == 'tensor_pct'] == [41.27] and d['warnings'] == []"
json "{c['name']: c['value'] for c in d['counters']['metrics']}['dram_bytes_s'] == 1234500000000 and {c['name']: c['value'] for c in d['counters']['metrics']}['duration_us'] == 5.12"
json "[s['reason'] for s in d['counters']['stalls']] == ['long_scoreboard', 'gmma', 'wait', 'short_scoreboard', 'barrier', 'not_selected']"
[ -s profile/v1/ncu.log ] || fail "no log"
[ "$(python3 -B -c 'import json; print(json.load(open("profile/v1/ncu.json"))["fate"])')" = OK ] || fail "eval's answer is not there"
# What it is asked: clocks and caches as they are, one launch of this kernel.
FAKE_NCU_ARGS=$work/args FAKE_NCU=good run 0 profile v1 --device fake --ncu "$tool"
tr '\n' ' ' <args >asked
for option in '--clock-control none' '--cache-control none' '--kernel-name attention_forward' '--launch-skip 2' '--launch-count 1' '--csv --page raw' \
    '--print-units base' '--target-processes all' '--section ComputeWorkloadAnalysis' '--section WarpStateStats'; do
    grep -q -e "$option" asked || fail "ncu was not asked for $option: $(cat asked)"
done
says out 'tensor cores active *41.3%'
says out 'long_scoreboard 2.25, gmma 1.50'
says out 'nearest '
sed 's/^measure:.*/measure: {cache: cold}/' "$space" >cold.yaml
grep -q 'cache: cold' cold.yaml || echo 'measure: {cache: cold}' >>cold.yaml
FAKE_NCU_ARGS=$work/args FAKE_NCU=good run 0 profile cold.yaml --device fake --ncu "$tool" --json
grep -A1 -e --cache-control args | grep -qx all || fail "a space that is measured cold was profiled warm"
json "all(r['bounds'] for r in d['roofline']['rows'])"

# of BEHAVIOUR CODE EXPRESSION
of() {
    FAKE_NCU=$1 run "$2" profile v1 --device fake --ncu "$tool" --json
    json "$3"
}
of old 0 "[c['value'] for c in d['counters']['metrics'] if c['name'] in ('dram_bytes_s', 'duration_us')] == [1234500000000, 5.12]"
of old 0 "[(c['value'], c['metric'][-6:]) for c in d['counters']['metrics'] if c['name'] == 'sm_busy_pct'] == [(78.5, 'active')]"
# What a real one wrote about a kernel of s512.
of h200 0 "{c['name']: c['value'] for c in d['counters']['metrics']} == {'tensor_pct': 18.5, 'sm_busy_pct': 16.7, 'sm_pct': 16.7, 'l1_pct': 17.25, 'l2_pct': 19.84, 'dram_pct': 0.58, 'dram_bytes_s': 27925093632.96, 'occupancy_most_pct': 25, 'occupancy_pct': 6.25, 'duration_us': 8.544} and len(d['counters']['stalls']) == 18 and '16.7% busy, below 70%' in d['warnings'][0]"
of unknown 0 "{c['name'] for c in d['counters']['metrics'] if c['value'] is None} == {'tensor_pct', 'sm_busy_pct', 'l2_pct'} and d['warnings'] == []"
of idle 0 "len(d['warnings']) == 2 and 'never active' in d['warnings'][0] and '12.2' in d['warnings'][1] and '70%' in d['warnings'][1]"
not_run="d['counters']['outcome'] == 'not run' and d['counters']['metrics'] == [] and d['roofline'] and"
of refused 4 "$not_run 'ERR_NVGPUCTRPERM' in d['counters']['why'] and 'NVreg_RestrictProfilingToAdminUsers=0' in d['counters']['why'] and 'SYS_ADMIN' in d['counters']['why']"
of error 4 "$not_run 'Failed to prepare kernel' in d['counters']['why']"
of none 4 "$not_run 'not seen' in d['counters']['why']"
of other 4 "$not_run 'attention_reference' in d['counters']['why']"
of garbage 4 "$not_run d['counters']['why']"
of headless 4 "$not_run 'no table' in d['counters']['why']"
of cut 4 "$not_run 'cut off' in d['counters']['why']"
of blind 4 "$not_run 'not seen' in d['counters']['why']"
of killed 4 "$not_run 'did not end' in d['counters']['why']"
FAKE_NCU=hang run 4 profile v1 --device fake --ncu "$tool" --minutes 0.02 --json
json "'--minutes' in d['counters']['why']"
(PATH=/usr/bin:/bin run 4 profile v1 --device fake --ncu ncu-absent; exit $bad) || bad=1
says out 'not run: ncu-absent cannot be started; Nsight Compute comes with the CUDA toolkit'
FAKE_NCU=good PATH=${tool%/*}:$PATH run 0 profile v1 --device fake

# ---- measured once ----
run 0 profile v1 --device fake --roofline --json
json "not d['ceilings_measured'] and 'counters' not in d and d['ceilings_file'] == '$work/ceilings/' + d['ceilings_file'].rsplit('/', 1)[1]"
file=$(python3 -B -c 'import json; print(json.load(open("out"))["ceilings_file"])')
before=$(bytes "$file")
run 0 profile v1 --device fake --roofline
[ ! -s err ] && [ "$(bytes "$file")" = "$before" ] || fail "a second call measured: $(cat err)"
says out 'measured before'
FATUNE_FAKE_DEVICE=seed=3,noise=0.002,spikes=0 run 0 profile v1 --device fake --roofline --fresh --json
json "d['ceilings_measured']"
[ "$(bytes "$file")" != "$before" ] || fail "--fresh did not measure"
# A file that is no such list, or is cut off, is measured again; so is another environment, in a file of its own.
for text in '{}' '{"ceilings": [1, 2, 3, 4]}' "$(head -c 700 "$file")" "$(sed 's/"samples_us": \[/&-1, /' "$file")"; do
    printf '%s' "$text" >"$file"
    run 0 profile v1 --device fake --roofline --json
    json "d['ceilings_measured'] and all(c['rate'] > 0 for c in d['ceilings'])"
done
FATUNE_FAKE_DEVICE=seed=4,noise=0.001,spikes=0 run 0 profile v1 --device fake --roofline --json
json "d['ceilings_measured'] and d['ceilings_file'] != '$file' and d['time']['source'] == 'now' and 'another device' in d['time']['note']"

# ---- what cannot be ----
# A ceiling that a fault of the device spoils is not measured, and nothing is kept.
mkdir -p broken
cp -r "$SOURCE_DIR/kernel_templates/ceiling_exp_cuda" broken/
echo '// fake: launch' >>broken/ceiling_exp_cuda/kernel.cu
run 4 profile "$space" --device fake --roofline --templates broken --store b/f.db --json
json "[c.get('rate') is None for c in d['ceilings']] == [False, True, False, False] and 'refused' in d['ceilings'][1]['why']"
json "[r['share'] is None for r in d['roofline']['rows']] == [False, True, False, False]"
[ ! -e b/ceilings ] || fail "half of the ceilings were kept"
# A count or a ceiling that is wrong shows: a kernel cannot do more than the device.
mkdir -p quick
cp -r "$SOURCE_DIR/kernel_templates/ceiling_memory_cuda" quick/
echo '// fake: time_us 1e9' >>quick/ceiling_memory_cuda/kernel.cu
run 0 profile "$space" --device fake --roofline --templates quick --store q/f.db --json
json "d['roofline']['exceeded'] and d['roofline']['nearest'] == 'l2' and len(d['warnings']) == 1 and 'l2 ceiling' in d['warnings'][0] and '--fresh' in d['warnings'][0]"
run 2 profile v9 --device fake --roofline
run 2 profile v1 --set A=1 --roofline
run 2 profile v1 --minutes 0
run 4 profile v1 --device cuda:9 --roofline
exit $bad
