#!/usr/bin/env bash
# Contestants on the fake device: planted times give planted relations, in run, compare and the records; who is wrong is named; who is not
# there is left out; names are found where they are said to be found; and the protocol is spoken as docs/CONTESTANTS.md has it.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
fake=$SOURCE_DIR/tests/data/contestants/fake
export FATUNE_STORE=$work/store/fatune.db FATUNE_FAKE_DEVICE=seed=3,noise=0.001

# space FILE: the small space with the contestants on standard input.
space() { { cat "$SOURCE_DIR/tests/data/spaces/small.yaml"; printf 'contestants:\n'; cat; } >"$1"; }

# ---- a run: faster, slower, wrong, missing, unfit. The champion takes about 346 us.
mkdir sub
cp "$fake" sub/mine
space sub/s.yaml <<X
  - {name: slow, command: [./mine, --us, 700, --noise, 0.002, --log, slow.log]}
  - {name: quick, command: [./mine, --us, 100]}
  - {name: liar, command: [./mine, --us, 10, --fault, wrong]}
  - {name: absent, command: [./mine, --fault, "missing torch: pip install torch", --at, fatune]}
  - {name: picky, command: [./mine, --fault, "unfit only head_dim 64", --at, problem]}
X
run 0 run sub/s.yaml --device fake --allow-contestants --evaluations 2 --json
json "[c['name'] for c in d['contestants']] == ['slow', 'quick', 'liar', 'absent', 'picky']"
json "[c.get('relation') for c in d['contestants']] == ['faster', 'slower', 'slower', None, None]"
json "[c['left_out'] for c in d['contestants']][:3] == [None] * 3"
json "d['contestants'][3]['left_out'] == 'missing: torch: pip install torch'"
json "d['contestants'][4]['left_out'] == 'unfit: only head_dim 64' and d['contestants'][4]['version'] == 'fake contestant 1.0'"
json "d['contestants'][0]['wrong'] is None and 'wrong: a single element' in d['contestants'][2]['wrong']"
json "d['contestants'][0]['choice'] == 'TILE=64' and d['contestants'][0]['trial'] > 0"
json "all(abs(c['verdict']['median_a_us'] / us - 1) < 0.01 and 340 < c['verdict']['median_b_us'] < 355 for c, us in zip(d['contestants'], (700, 100, 10)))"
json "all(0 < c['verdict']['ratio_boot_t'][0] <= c['verdict']['ratio'] <= c['verdict']['ratio_boot_t'][1] for c in d['contestants'][:3])"
json "d['champion']['name'] == 'v1' and d['arm'] == d['champion']['facts']['text'] and len(d['trials']) >= 1"
says err 'contestant absent is left out: missing: torch: pip install torch'
says err 'contestant picky is left out: unfit: only head_dim 64'
[ "$(grep -n 'absent is left out' err | cut -d: -f1)" -lt "$(grep -n 'full check of the finalists' err | cut -d: -f1)" ] || fail "who is absent is said too late"

# ---- what was said to one of them: the protocol's order, and other inputs in each session
python3 -B - sub/slow.log <<'X' || fail "the protocol: $(head -n 20 sub/slow.log)"
import re, sys
lines = [x.rstrip('\n') for x in open(sys.argv[1])]
assert lines[0] == 'fatune 1' and lines[-1] == 'quit'
assert lines[1] == 'problem batch=1 heads=2 kv_heads=2 seq_q=64 seq_kv=64 head_dim=32 dtype=f16 mask=none scale=0.176776695 sets=1 device=FAKE-0003-0', lines[1]
text = ' '.join(x.split(' ')[0] for x in lines)
assert re.fullmatch('fatune problem input input input prepare output (sample )+((input input input prepare )(sample )+){8}quit', text), text
assert [x.split(' ')[1] for x in lines if x.startswith('input')] == ['q', 'k', 'v'] * 9
assert {x for x in lines if x.startswith('sample')} == {'sample 1'}
# in each session warm-up (20 samples at least) and 21 quads of 2 letters of 5
assert sum(x.startswith('sample') for x in lines) >= 8 * (21 * 2 * 5 + 20)
X
[ -z "$(find store -name 'inputs-*')" ] || fail "inputs stay behind: $(find store -name 'inputs-*')"

# ---- the store: its own kind of trial, raw samples and all, and no verdict on it
cat >look.py <<'X'
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
rows = db.execute("SELECT t.id, a.params, t.settings, (SELECT count(*) FROM session WHERE trial = t.id) FROM trial t "
                  "JOIN candidate a ON a.id = t.a WHERE t.kind = 'contestant' ORDER BY t.id").fetchall()
names = [json.loads(r[1])['contestant'] for r in rows]
assert names == sys.argv[2].split(), names
assert all(r[3] == 8 and json.loads(r[2])['contestant']['version'] == 'fake contestant 1.0' for r in rows), rows
assert json.loads(rows[1][2])['k_a'] == 3 and json.loads(rows[2][2])['k_a'] == 24, rows  # 240 us a sample
assert db.execute("SELECT count(*) FROM verdict WHERE trial IN (SELECT id FROM trial WHERE kind = 'contestant')").fetchone()[0] == 0
assert db.execute("SELECT count(*), sum(n) FROM series s JOIN quad q ON q.id = s.quad JOIN session e ON e.id = q.session WHERE e.trial = ?",
                  rows[0][:1]).fetchone() == (160, 160 * 20)
assert sorted(r[0] for r in db.execute("SELECT DISTINCT fate FROM proof WHERE level = 'output'")) == ['OK', 'WRONG']
X
python3 -B look.py store/fatune.db 'slow quick liar' || fail "the store does not have the contestants' trials"

# ---- for people; and a run that is done meets them again
run 0 run sub/s.yaml --device fake --allow-contestants --evaluations 2
says err 'its best challenger meets the standing champion'
says out '^contestants against champion v1 '
says out '^  slow  *700\.[0-9]* *34[0-9]\.[0-9]*  0\.4[0-9]* *\[0\.4[0-9]*, 0\.[0-9]*\]  faster$'
says out '^  quick .*  slower$'
says out '^  liar .*  slower, but the contestant is WRONG$'
says out '^ *wrong: plain: 1 of 4096 elements'
says out '^  absent  *left out: missing: torch: pip install torch$'
says out '^ *fake contestant 1.0; TILE=64$'
python3 -B look.py store/fatune.db 'slow quick liar slow quick liar' || fail "a run that was done does not measure its contestants again"
run 0 run sub/s.yaml --device fake --allow-contestants --evaluations 2 --no-contestants --json
json "d['contestants'] == []"
if grep -q contestant err; then fail "--no-contestants meets them: $(grep contestant err | head -n 1)"; fi

# ---- compare: either side; now and from the records; the relation is of B to A
run 10 compare slow champion --device fake --allow-contestants --exit-status --json
json "d['a'] == 'slow' and d['b'] == 'v1' and d['relation'] == 'faster' and d['contestant']['name'] == 'slow' and 'params_a' not in d and 'params_b' in d"
run 11 compare v1 slow --device fake --allow-contestants --exit-status
says out '^slow is slower than v1: it takes [0-9.]*% more time \['
says out 'fake contestant 1.0; TILE=64'
run 10 compare v1 quick --stored --exit-status --json
json "d['relation'] == 'faster' and d['how'] == 'stored' and abs(d['verdict']['median_b_us'] / 100 - 1) < 0.01"
run 11 compare quick v1 --stored --exit-status
run 4 compare v1 absent --device fake --allow-contestants
says err 'contestant absent cannot be measured: missing: torch: pip install torch'
run 2 compare v1 absent --stored
says err 'no stored trial of v1 against absent'
run 2 compare v1 nobody --device fake
says err 'no version and no contestant is called nobody'
says err '^versions here: v1$'
says err '^contestants: slow, quick, liar, absent, picky'
run 2 compare slow quick --device fake --allow-contestants
says err 'neither slow nor quick is a version'

# ---- same; and another contestant is no other run
us=$(python3 -B -c 'import json, sqlite3
rows = sqlite3.connect("store/fatune.db").execute("SELECT summary FROM run ORDER BY id").fetchall()
print(json.loads(rows[0][0])["contestants"][0]["verdict"]["median_b_us"])')
space sub/same.yaml <<X
  - {name: twin, command: [./mine, --us, $us]}
X
run 0 run sub/same.yaml --device fake --allow-contestants --evaluations 2 --json
json "'confirms_run' in d and d['compiled'] == 0 and d['contestants'][0]['relation'] == 'same'"

# ---- by name: beside the space, in --contestants, and not otherwise
mkdir -p sub/contestants others
ln -s "$fake" sub/contestants/near
cp "$fake" others/far
space sub/named.yaml <<X
  - near
  - far
X
run 3 run sub/named.yaml --device fake --allow-contestants --evaluations 2
says err 'sub/named.yaml:21:5: no contestant is called `far`: an executable file of that name in one of: sub/contestants, '
run 3 space sub/named.yaml --device fake
says err 'sub/named.yaml:21:5: no contestant is called `far`'
run 0 space sub/named.yaml --device fake --contestants others
says out '^contestants: near, far$'
run 0 run sub/named.yaml --device fake --allow-contestants --evaluations 2 --contestants others --json
json "[c['left_out'] for c in d['contestants']] == [None, None]"
run 11 compare near v1 --device fake --allow-contestants --exit-status # recorded, since it lies beside the space
run 2 compare far v1 --device fake --allow-contestants
says err 'contestants: .*near'
run 11 compare far v1 --device fake --exit-status --contestants others

# ---- what a space brings runs only where that is allowed, in a run and in a comparison; what the user names always may
printf '#!/bin/sh\ntouch "%s/ran"\n' "$work" >sub/contestants/mark
chmod +x sub/contestants/mark
space sub/stranger.yaml <<X
  - mark
  - {name: marks, command: [./contestants/mark]}
  - {name: shell, command: [sh, -c, "touch $work/ran"]}
  - far
X
run 0 run sub/stranger.yaml --device fake --evaluations 3 --contestants others --json
json "[c['left_out'] is None or '--allow-contestants' in c['left_out'] for c in d['contestants']] == [True] * 4 and d['contestants'][3]['left_out'] is None"
says err 'contestant mark is left out: it is a program that the space brings, .*/sub/contestants/mark: if you trust it, give --allow-contestants'
run 4 compare v1 shell --device fake
says err 'contestant shell cannot be measured: it is a program that the space brings, sh: if you trust it, give --allow-contestants'
[ ! -e ran ] || fail "a program that a space brings ran, and nobody had allowed it"
run 0 run sub/stranger.yaml --device fake --evaluations 3 --contestants others --allow-contestants
[ -e ran ] || fail "--allow-contestants allows nothing"
run 11 compare others/far v1 --device fake --exit-status --json
json "d['a'] == 'others/far' and d['contestant']['name'] == 'far'"
run 11 compare ./others/far v1 --stored --exit-status
run 2 compare v1 others/nobody --device fake
says err 'others/nobody is no executable file'
chmod -x sub/mine
run 3 run sub/s.yaml --device fake --allow-contestants --evaluations 2
says err 'sub/s.yaml:20:28: contestant `slow`: .*/sub/./mine is no executable file'
chmod +x sub/mine

# ---- where the device is the host's CPU, what they import would be timed: they start after the decision
space sub/late.yaml <<X
  - {name: absent, command: [./mine, --fault, missing, --at, fatune]}
X
FATUNE_FAKE_DEVICE=$FATUNE_FAKE_DEVICE,cpu=1 run 0 run sub/late.yaml --device fake --allow-contestants --evaluations 2 --store late.db
[ "$(grep -n 'absent is left out' err | cut -d: -f1)" -gt "$(grep -n 'the champion meets 1 contestant$' err | cut -d: -f1)" ] || fail "contestants start early beside a CPU: $(cat err)"

# ---- cold, grouped-query, causal, bf16: right on all of them, and k a multiple of the sets
sed 's/^measure:.*//; s/dtype: f16/dtype: bf16/; s/mask: none/mask: causal/; s/heads: 2/heads: 2\n  kv_heads: 1\n  seq_kv: 80/' \
    "$SOURCE_DIR/tests/data/spaces/small.yaml" >cold.yaml
printf 'measure: {cache: cold}\ncontestants: [{name: mine, command: [sub/mine, --us, 2, --log, cold.log]}]\n' >>cold.yaml
run 0 run cold.yaml --device fake --allow-contestants --evaluations 2 --json
json "d['contestants'][0]['left_out'] is None and d['contestants'][0]['wrong'] is None"
python3 -B - cold.log <<'X' || fail "cold: $(head -n 9 cold.log)"
import re, sys
lines = open(sys.argv[1]).read().split('\n')
sets = int(re.search(r' sets=(\d+) ', lines[1]).group(1))
ks = {int(x.split()[1]) for x in lines if x.startswith('sample')}
assert sets > 50 and 'kv_heads=1' in lines[1] and 'seq_kv=80' in lines[1] and 'dtype=bf16 mask=causal' in lines[1], lines[1]
assert all(k % sets == 0 for k in ks) and max(ks) * 2 >= 200, (sets, ks)
X

# ---- doctor
printf '#!/bin/sh\nread x; echo missing torch: pip install torch\n' >others/gone
printf '#!/bin/sh\nexit 4\n' >others/bad
printf 'a helper\n' >others/helper.py
chmod +x others/*
run 4 doctor --contestants others --json
json "[r['text'] for r in d['rows'] if r['what'] == 'contestant' and not r['ok']] == ['bad: it ended in \`fatune 1\`: it ended with exit code 4']"
json "{'far: fake contestant 1.0', 'gone: missing: torch: pip install torch'} <= {r['text'] for r in d['rows'] if r['what'] == 'contestant' and r['ok']}"
exit $bad
