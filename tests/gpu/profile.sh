#!/usr/bin/env bash
# fatune profile on a real GPU: its ceilings lie where such a device's must, a kernel stays below them, a second call measures nothing, and
# Nsight Compute has run or says why not.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
. "$SOURCE_DIR/tests/gpu/common.bash"
export FATUNE_STORE=$work/f.db
"$FATUNE" devices --json >"$work/devices" || fail "no devices"
rc=0
"$FATUNE" profile "$SOURCE_DIR/spaces/s512.yaml" --device cuda --minutes 1 --json >"$work/out" 2>"$work/err" </dev/null || rc=$?
[ "$rc" -eq 0 ] || [ "$rc" -eq 4 ] || fail "exit $rc: $(cat "$work/out" "$work/err")"
"$FATUNE" profile "$SOURCE_DIR/spaces/s512.yaml" --device cuda --roofline 2>&1 </dev/null
python3 -B - "$work/out" "$work/devices" "$rc" <<'PYTHON' || bad=1
import json, sys
d, rc = json.load(open(sys.argv[1])), int(sys.argv[3])
device = next(t for t in json.load(open(sys.argv[2]))['devices'] if t['driver'] == 'cuda')
rate = {c['name']: c.get('rate') for c in d['ceilings']}
bad = []


def within(name, low, high):
    print('%-7s %.4g, expected %.3g to %.3g' % (name, rate[name] or 0, low, high))
    if not low <= (rate[name] or 0) <= high:
        bad.append(name)


# Of the data sheet's rates, where fatune knows them; 16 exponentials a clock and multiprocessor from sm_70 to sm_90.
if device['peak_flops'] > 0:
    within('matrix', 0.4 * device['peak_flops'], 1.02 * device['peak_flops'])
if device['peak_bytes_s'] > 0:
    within('dram', 0.6 * device['peak_bytes_s'], 1.02 * device['peak_bytes_s'])
if device['compute_capability'] <= 90:
    within('exp', 0.5 * 16e6 * device['sms'] * device['clock_mhz'], 1.1 * 16e6 * device['sms'] * device['clock_mhz'])
if 'H200' in device['name']:
    within('matrix', 600e12, 1000e12)
    within('dram', 3e12, 4.9e12)
    within('l2', 4e12, 20e12)
if not rate['l2'] or rate['l2'] < rate['dram']:
    bad.append('l2 below dram')
shares = {r['ceiling']: r['share'] for r in d['roofline']['rows'] if r['bounds']}
print('shares', shares, 'nearest', d['roofline']['nearest'])
if d['roofline']['exceeded'] or not all(0 < s <= 1.05 for s in shares.values()):
    bad.append('shares')
c = d['counters']
print('counters:', c['outcome'], c['why'])
for m in c['metrics']:
    print('  %-24s %s' % (m['words'], m['value']))
for s in c['stalls'][:5]:
    print('  stalled: %-20s %.2f' % (s['reason'], s['warps']))
known = {m['name'] for m in c['metrics'] if m['value'] is not None}
if c['outcome'] == 'run' and not {'tensor_pct', 'sm_busy_pct', 'occupancy_pct', 'duration_us'} <= known:
    bad.append('counters that every GPU has')
if (c['outcome'] == 'run') != (rc == 0) or (c['outcome'] != 'run' and not c['why']):
    bad.append('exit code or reason')
print('not as it should be: ' + ', '.join(bad) if bad else 'all as it should be')
sys.exit(bool(bad))
PYTHON
"$FATUNE" profile "$SOURCE_DIR/spaces/s512.yaml" --device cuda --roofline --json >"$work/again" </dev/null || fail "a second call failed"
grep -q '"ceilings_measured": false' "$work/again" || fail "a second call measured again"
no_workers "after all"
exit $bad
