#!/usr/bin/env bash
# Where the time of a search went: the parts add up, the supervisor works while the device does (but not where that is the host's CPU), and
# a report tells it as the run did.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
space=$SOURCE_DIR/tests/data/spaces/small.yaml
export FATUNE_STORE=$work/f.db FATUNE_FAKE_DEVICE=seed=3,noise=0.001

# adds_up: both rows are the whole, and the device's idle time is that of its reasons.
adds_up() {
    json "all(abs(sum(t[row].values()) - t['wall']) < 1e-6 for t in [d['seconds']['search']] for row in ('device', 'supervisor'))"
    json "all(abs(sum(t['idle'].values()) - t['device']['idle']) < 1e-6 for t in [d['seconds']['search']])"
    json "all(x >= 0 for row in d['seconds']['search'].values() if isinstance(row, dict) for x in row.values())"
    json "0 < d['seconds']['search']['wall'] < d['seconds']['elapsed']"
}

run 0 run "$space" --device fake --evaluations 12 --json
adds_up
json "all(t['device'][m] > 0 for t in [d['seconds']['search']] for m in ('check', 'measure', 'load')) and d['seconds']['search']['device']['opening'] == 0"
json "all(t['supervisor'][m] > 0 for t in [d['seconds']['search']] for m in ('render', 'store', 'strategy', 'waiting'))"
json "0 < d['seconds']['search']['compilers']['busy'] <= d['seconds']['search']['compilers']['available']"
# An evaluation is committed while the device has the next one.
json "all(t['supervisor']['store'] > t['idle']['store'] for t in [d['seconds']['search']])"
cp out run.json
run 0 report "$space" --device fake --json
json "d['search']['time'] == json.load(open('run.json'))['seconds']['search']"
run 0 report "$space" --device fake
page=$(find . -name '*.md' | head -n 1)
[ -n "$page" ] && grep -q 'Where the [0-9.]* s of the search went, in 1 invocations' "$page" || fail "the page does not say where the time went"

# ---- the same in words; a run that confirms another has not searched
run 0 run "$space" --device fake --seed 9
says out '^the search took [0-9.]* s, [0-9.]* proposals a second:$'
says out '^  device     checking [0-9.]* s, measuring [0-9.]* s, .*, idle [0-9.]* s$'
says out '^  idle for   compilers [0-9.]* s, rendering [0-9.]* s, the store [0-9.]* s, the strategy [0-9.]* s, other [0-9.]* s$'
says out '^  supervisor rendering [0-9.]* s, store'
says out '^  compilers  busy [0-9.]*% of the time$'
run 0 run "$space" --device fake --seed 9
if grep -q 'the search took' out; then fail "a run without a search tells of one"; fi
run 0 run "$space" --device fake --seed 9 --json
json "d['seconds']['search'] is None"

# ---- the host's own CPU does one thing at a time
FATUNE_FAKE_DEVICE=$FATUNE_FAKE_DEVICE,cpu=1 run 0 run "$space" --device fake --evaluations 12 --store cpu.db --json
adds_up
json "all(t['supervisor'][m] == t['idle'][m] for t in [d['seconds']['search']] for m in ('render', 'store', 'strategy'))"
exit $bad
