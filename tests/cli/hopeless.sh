#!/usr/bin/env bash
# A candidate that is hopeless after one sample is not sampled further: exactly those that the rule names, whatever the number of compile
# workers and however often the run is cut off; with any noise, nobody whom the race would keep. The clock of a run that was cut off goes on.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
quiet=noise=0,session=0,spikes=0
export FATUNE_DEADLINE_S=5

# 100 points of known times: the best, some that the race keeps (1.5 x), some on either side of 3 x; one hangs.
cp -r "$SOURCE_DIR/tests/data/templates/planted" .
python3 -B - <<'X2'
import json
ratios = [1.0, 1.2, 1.45, 1.499, 1.6, 2.0, 2.9, 3.2, 6.0, 20.0]
times = {v: 20 * ratios[v * 7 % 10] * (1 + 0.001 * (v * 37 % 101) / 101) for v in range(1, 101)}
times[1] = 150.0  # the default: what comes before anything good
json.dump(times, open('truth.json', 'w'))
manifest = open('planted/template.yaml').read()
manifest = manifest.replace('values: [1, 4, 16], default: 4', f'values: {list(times)}, default: 1')
open('planted/template.yaml', 'w').write(manifest)
marks = ''.join(f'// fake: time_us {t} when PASSES={v}\n' for v, t in times.items())
source = open('planted/kernel.cu').read()
open('planted/kernel.cu', 'w').write(marks + '// fake: hang 60 when PASSES=49\n' + source)
X2
sed -e 's/^  FAULT:.*/  FAULT: [0]\n  ROWS: [1]/' -e 's/evaluations: 40/evaluations: 200/' -e 's/repeats: 10/repeats: 2/' \
    "$SOURCE_DIR/tests/data/spaces/planted.yaml" >space.yaml

# rows STORE: number, value, fate, score, samples, and why it was stopped, of each proposal.
cat >rows.py <<'X2'
import json, struct, sqlite3, sys
for seq, params, fate, us, alias, samples, stopped in sqlite3.connect(sys.argv[1]).execute(
        "SELECT e.seq, c.params, e.fate, e.us, e.alias_of, s.n, json_extract(e.detail, '$.stopped') FROM evaluation e "
        "JOIN candidate c ON c.id = e.candidate LEFT JOIN series s ON s.evaluation = e.id WHERE e.run = 1 ORDER BY e.seq"):
    print(seq, json.loads(params)['params']['PASSES'], fate, us, alias, samples, stopped, sep='|')
X2
rows() { python3 -B rows.py "$1" >"$2"; }

# ---- without noise: who is stopped follows from the times and the order of asking
export FATUNE_FAKE_DEVICE=$quiet
run 0 run space.yaml --device fake --jobs 1 --store one.db --json
json "d['stop_factor'] == 3 and d['stopped'] > 10 and d['proposals'] == 100"
cp out one.json
rows one.db one
cat >rule.py <<'X2'
import json, sys
LAG, truth = 32, {int(v): t for v, t in json.load(open('truth.json')).items()}
said = [line.rstrip('\n').split('|') for line in open('one')]
wrong, stopped = [], 0
for seq, value, fate, us, alias, samples, why in said:
    told = [truth[int(v)] for s, v, f, *_ in said if f == 'OK' and (int(s) == 0 or int(s) <= int(seq) - LAG)]
    if int(seq) == 0 or fate != 'OK' or alias != 'None':
        continue
    t, bar = truth[int(value)], min(told)
    words = f'after 1 of 5 samples: {t / bar:.1f} x the best so far' if t > 3 * bar else 'None'
    stopped += t > 3 * bar
    if why != words or samples != ('1' if t > 3 * bar else '5') or abs(float(us) - t) > 1e-6 * t:
        wrong.append((seq, value, us, samples, why, words))
hung = [v for _, v, f, *_ in said if f == 'HANG']
print(wrong[:3], stopped, hung)
sys.exit(0 if not wrong and hung == ["49"] and stopped == json.load(open('one.json'))['stopped'] else 1)
X2
python3 -B rule.py >said || fail "not by the rule: $(cat said)"
id=$(python3 -B -c 'import sqlite3; print(sqlite3.connect("one.db").execute("SELECT c.digest FROM evaluation e JOIN candidate c ON c.id = e.candidate "
    "WHERE json_extract(e.detail, \"$.stopped\") IS NOT NULL LIMIT 1").fetchone()[0])')
run 0 show "$id" --store one.db
says out ', score [0-9.]* us, which selects and decides nothing; stopped after 1 of 5 samples: [0-9.]* x the best so far$'

# ---- another number of compile workers; cut off by SIGKILL while a kernel hangs, and gone on with
"$program" run space.yaml --device fake --store killed.db >killed.out 2>killed.err </dev/null &
pid=$!
hanging() { # the one before the point that hangs is committed, and so is what follows it after 5 s
    python3 -B -c 'import sqlite3, sys
try: n = [r[0] for r in sqlite3.connect("killed.db", timeout=10).execute("SELECT e.seq FROM evaluation e ORDER BY e.seq")]
except sqlite3.Error: n = []
sys.exit(0 if len(n) >= int(sys.argv[1]) else 1)' "$1"
}
at=$(grep "|49|HANG|" one | cut -d'|' -f1)
for ((i = 0; i < 600; i++)); do
    if hanging "$at"; then break; fi
    sleep 0.02
done
kill -9 "$pid"
wait "$pid" 2>/dev/null || true
n=$(python3 -B -c 'import sqlite3; print(sqlite3.connect("killed.db").execute("SELECT count(*) FROM evaluation").fetchone()[0])')
[ "$n" -ge 50 ] && [ "$n" -lt 100 ] || fail "the run was to be killed within its search, but it made $n evaluations: $(tail -n 2 killed.err)"
clock() { python3 -B -c 'import json, sqlite3
elapsed, summary = sqlite3.connect("killed.db").execute("SELECT elapsed_s, summary FROM run").fetchone()
t = json.loads(summary)["seconds"]["search"]
print(json.dumps(t)) if 0 < t["wall"] <= elapsed and t["invocations"] == 1 else exit(1)' >kept.json; }
clock || fail "the clock of a run that was killed is not kept"
run 0 run space.yaml --device fake --store killed.db --json
says err "going on with run 1: $n evaluations are kept"
json "d['stopped'] == $(python3 -B -c 'import json; print(json.load(open("one.json"))["stopped"])')"
rows killed.db killed
json "d['seconds']['search']['invocations'] == 2 and all(d['seconds']['search'][k][m] >= x for k, v in json.load(open('kept.json')).items() if isinstance(v, dict) for m, x in v.items() if m not in ('lost', 'idle'))"
json "abs(sum(d['seconds']['search']['device'].values()) - d['seconds']['search']['wall']) < 1e-6"
json "d['seconds']['search']['device']['lost'] > 0 and d['seconds']['search']['device']['opening'] > 0" # the one that hangs
cmp -s one killed || fail "a run that was killed stops others: $(diff one killed | head -n 4)"

# ---- with a great deal of noise
export FATUNE_FAKE_DEVICE=seed=5,noise=0.08,session=0.02,spikes=0.4
run 0 run space.yaml --device fake --store noisy.db --json
rows noisy.db noisy
cat >kept.py <<'X2'
import json, sys
truth = {int(v): t for v, t in json.load(open('truth.json')).items()}
best = min(truth.values())
said = [line.rstrip('\n').split('|') for line in open('noisy')]
stopped = [int(v) for _, v, f, us, a, n, why in said if why != 'None']
kept = [int(v) for _, v, f, us, a, n, why in said if f == 'OK' and n == '5' and truth[int(v)] <= 1.5 * best]
print(len(stopped), len(kept))
sys.exit(0 if stopped and min(truth[v] for v in stopped) > 1.5 * best and len(kept) == sum(t <= 1.5 * best for v, t in truth.items() if v != 49) else 1)
X2
python3 -B kept.py >said || fail "one that the race would keep was stopped, or nobody was: $(cat said)"

# ---- nor where the device is the host's own CPU, whose times other work can double
export FATUNE_FAKE_DEVICE=$quiet,cpu=1
run 0 run space.yaml --device fake --evaluations 60 --store cpu.db --json
json "d['stop_factor'] == 0 and d['stopped'] == 0"
exit $bad
