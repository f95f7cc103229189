#!/usr/bin/env bash
# What a monitor sees while a trial is measured, and what follows from it: on the fake device, with a monitor that shows what is planted.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
export FATUNE_STORE=$work/f.db FATUNE_FAKE_DEVICE=seed=3,noise=0.001
run 0 run "$SOURCE_DIR/tests/data/spaces/small.yaml" --device fake --evaluations 3 --quiet
run 0 run "$SOURCE_DIR/tests/data/spaces/small.yaml" --device fake --seed 5 --quiet

# compare CODE PLANTED: v1 and v2, where the monitor shows PLANTED.
compare() {
    LD_LIBRARY_PATH=$FATUNE_FAKE_NVML_DIR FATUNE_FAKE_NVML=$2 run "$1" compare v1 v2 --device fake --exit-status --json
}

# ---- no monitor: nothing is known, nothing is claimed, and the trial counts
run 10 compare v1 v2 --device fake --exit-status --json
json "d['health'] == {'readings': 320, 'unsteady': 0, 'moving': 0, 'spoiled': {}}"
json "d['verdict']['ratio_cycles'] is None"
run 0 compare v1 v2 --stored
says out 'no monitor: clock, temperature, power and other processes are not known'

# ---- all is well: a reason that lasts is how the device works here
compare 10 reasons=4
json "d['health']['held_down'] == {'power cap': 320} and d['health']['spoiled'] == {} and d['verdict']['quads_discarded'] == 0"
json "d['health']['idle_mhz'] == [1980] * 3 and 'clock_mhz' not in d['health'] and d['health']['power_w'] == [300] * 3 and d['health']['strangers'] == 0"
json "d['health']['temperature_c'][0] < d['health']['temperature_c'][1] <= d['health']['temperature_c'][2]"
json "abs(d['verdict']['ratio_cycles'] / d['verdict']['ratio'] - 1) < 1e-3"

# ---- one reading of each session shows another clock: that quad does not count, the others do
compare 10 clock_at=5
json "d['health']['spoiled'] == {'clock': 8} and d['health']['idle_mhz'] == [1881, 1980, 1980]"
json "[x['letters'] for x in d['arms']] == [304, 304]"
json "[s['discarded'] for s in d['series']] == [1] * 8 and d['verdict']['quads_discarded'] == 8"
run 10 compare v1 v2 --stored --exit-status
says out '^  device  *SM clock (idle, between quads) 1881 to 1980 MHz, 4[0-9] to 60 C, 300 W; nothing held it down$'
says out '^  *8 quads do not count: the SM clock moved by more than 1% inside them$'
says out '^  *other processes on it: none$'

# ---- it does so all the time: that is how the device works here, and the quads count
compare 10 clock_at=3,clock_every=2
json "d['health']['moving'] == 160 and d['health']['spoiled'] == {} and d['verdict']['quads_discarded'] == 0"
run 0 compare v1 v2 --stored
says out '^  *in 160 quads the SM clock moved by more than 1%; it does so all the time under this load, so they count$'

# ---- the device tells each sample's clock: that counts, and not what a reading says between quads
plain=$FATUNE_FAKE_DEVICE
FATUNE_FAKE_DEVICE=$plain,clock=1900 compare 10 clock_at=3,clock_every=2
json "d['health']['clock_mhz'] == [1900] * 3 and d['health']['idle_mhz'] == [1881, 1930.5, 1980] and d['health']['moving'] == 0"
json "abs(d['verdict']['ratio_cycles'] / d['verdict']['ratio'] - 1) < 1e-3"
FATUNE_FAKE_DEVICE=$plain,clock=1900,throttle=0.05 run 10 compare v1 v2 --device fake --exit-status --json
cp out fresh
json "d['health']['clock_mhz'][0] < 1660 and 0 < d['health']['spoiled']['clock'] == d['verdict']['quads_discarded'] < 32"
run 11 compare v2 v1 --stored --exit-status --json --samples
json "len(d['quads']) == 160 and sum(not q['counts'] for q in d['quads']) == d['verdict']['quads_discarded']"
json "sum(q['outlying'] for q in d['quads']) == d['verdict']['quads_outlying'] and sum(q['order'] == 'ABBA' for q in d['quads']) == 80"
json "all(len(q['samples_us']) == len(q['samples_mhz']) == 20 and sorted(q['samples_us'][5:10])[2] == q['letters_us'][1] for q in d['quads'])"
json "all(abs(sum(q['samples_mhz'][:5]) / 5 - q['letters_mhz'][0]) < 1 for q in d['quads'])"
json "sum(q['letters_us'][0] < q['letters_us'][1] for q in d['quads'] if q['order'] == 'BAAB') < 10" # B is v1 here, the slower one, and stands outside
run 2 compare v2 v1 --stored --samples
says err 'samples adds to what --json prints'
run 10 compare v1 v2 --stored --exit-status --json
python3 -B -c 'import json
a, b = (json.load(open(x)) for x in ("fresh", "out"))
assert a["verdict"] == b["verdict"] and a["health"] == b["health"], (a["verdict"], b["verdict"])' || fail "a trial that is read back differs"

# ---- a slowdown that comes and goes spoils 30% of the quads: nothing is decided, and the device got time to settle after each
start=$(date +%s%N)
compare 12 throttle_at=5,throttle_every=7
took=$((($(date +%s%N) - start) / 1000000))
json "d['relation'] == 'undecided' and d['sessions_needed'] == 0 and d['verdict']['outcome'] == 'INVALID'"
json "d['health']['spoiled'] == {'throttle': 48} and d['health']['held_down'] == {'software thermal slowdown': 48}"
[ "$took" -ge 1600 ] || fail "4 pauses of 50 ms in each of 8 sessions took $took ms"
run 0 compare v1 v2 --stored
says out '^undecided: 48 of 160 quads discarded (30.0%), at most 20% allowed$'

# ---- a stranger is on the device: not valid, whatever was measured
compare 12 others_at=5
json "d['relation'] == 'undecided' and d['verdict']['outcome'] == 'INVALID' and d['health']['strangers'] == 8"
run 0 compare v1 v2 --stored
says out '^undecided: the trial is invalid: another process was on the device in 1 of 20 quads of a session$'
says out '^  *other processes on it: yes, so the trial is not valid$'

# ---- where processes are hidden, that is said, and nobody is accused
if [ "$(readlink /proc/self/ns/pid)" != 'pid:[4026531836]' ]; then
    compare 10 hide=1,others_at=5
    json "'strangers' not in d['health']"
    run 0 compare v1 v2 --stored
    says out '^  *other processes on it: cannot be seen from here$'
fi

# ---- contestants stand under the same watch
fake=$SOURCE_DIR/tests/data/contestants/fake
mkdir others
printf '#!/bin/sh\nexec %s --us 700\n' "$fake" >others/slow
chmod +x others/slow
LD_LIBRARY_PATH=$FATUNE_FAKE_NVML_DIR FATUNE_FAKE_NVML=throttle_at=5 run 10 compare slow v1 --device fake --contestants others --exit-status --json
json "d['health']['spoiled'] == {'throttle': 8} and d['verdict']['quads_discarded'] == 8"
exit $bad
