#!/usr/bin/env bash
# tools/noise.py: finds the noise that was put into a store, agrees with the page of record, and says what is missing.
. "$SOURCE_DIR/tests/cli/common.bash"
command -v python3 >/dev/null || skip "no python3 (tools/setup.sh --test)"

noise() { python3 -B "$SOURCE_DIR/tools/noise.py" "$@"; }

python3 -B "$SOURCE_DIR/tests/cli/noise_known.py" known.db || fail 'no store of known noise'
noise --json known.db >out || fail 'noise.py on a store of known noise'
python3 -B - <<'EOF' || fail "$(cat out)"
import json
d = json.load(open('out'))
found = d['trials']
assert len(found) == len(d['together']) == 1 and d['together'][0]['off'] == 1, 'the trial of two kernels is no A/A trial'
f = found[0]
def near(name, expected, share):
    assert abs(f[name] / expected - 1) < share, f'{name}: {f[name]}, put in: {expected}'
near('bias', 0.003, 0.25)           # SE of a mean of 40 sessions: 0.0002
near('effect', 0.001 * 2 ** 0.5, 0.35)
near('ar_sd', 0.004, 0.15)
near('ar_phi', 0.9, 0.05)
near('white_sd', 0.002, 0.25)
near('spike_share', 0.02, 0.15)
near('spike', 0.0953, 0.05)         # ln 1.1
near('first', 0.01, 0.3)
assert f['bias_low'] < 0.003 < f['bias_high'] and f['baab_share'] == 0.5 and abs(f['us'] / 100 - 1) < 0.005
EOF

# ---- the page of record says what its command prints
cd "$SOURCE_DIR"
stores=(results/recorded/h200/fatune.db.xz results/recorded/h200_contestants_1/contestants.db.xz results/recorded/h200_contestants_2/contestants.db.xz results/recorded/h200_contestants_3/contestants.db.xz results/recorded/h200_contestants_4/contestants.db.xz results/recorded/h200_decisions/fatune.db.xz)
noise "${stores[@]}" >"$work/page" || fail 'noise.py on the stores of record'
python3 -B -c 'import sys; sys.exit(open(sys.argv[1]).read() not in open(sys.argv[2]).read())' "$work/page" results/recorded/noise_h200/README.md ||
    fail "results/recorded/noise_h200/README.md is not what tools/noise.py ${stores[*]} prints"
cd "$work"

# ---- what is missing
! noise nowhere.db 2>err || fail 'a store that is not there'
grep -q 'nowhere.db: no such file' err || fail "$(cat err)"
echo text >text.db
! noise text.db 2>err || fail 'a file that is no store'
grep -q 'is no store of fatune' err || fail "$(cat err)"
exit $bad
