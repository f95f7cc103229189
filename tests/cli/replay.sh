#!/usr/bin/env bash
# fatune replay: its figures are those that the formulas give, worked out here by themselves; they do not depend on the number of threads; and what
# it cannot read it says.
. "$SOURCE_DIR/tests/cli/common.bash"

# A space of 2,000 points with failures and a rugged floor, in the three formats.
python3 -B - <<'PYTHON'
import gzip, json, math, random
r = random.Random(5)
rows = []
for a in range(20):
    for b in range(10):
        for c in range(10):
            if (a * b + c) % 7 == 0:
                continue
            ok = (a + b + c) % 11 != 0
            rows.append((2 ** (a // 4) * (a % 4 + 4), b, ('low', 'high')[c % 2] + str(c), (1 + abs(a - 13) / 5 + abs(b - 2) / 3 + (c - 4) ** 2 / 9) * (1 + 0.2 * r.random()) if ok else None))
with gzip.open('space.csv.gz', 'wt') as f:
    f.write('A,B,C,status,n,mean_ms\n')
    for a, b, c, ms in rows:
        f.write(f'{a},{b},{c},' + (f'ok,9,{ms!r}\n' if ms else 'runtime,0,\n'))
json.dump({'tune_params': {'A': sorted({x[0] for x in rows}), 'B': sorted({x[1] for x in rows}), 'C': list(dict.fromkeys(x[2] for x in rows))},
           'cache': {f'{a},{b},{c}': {'A': a, 'B': b, 'C': c, 'time': ms or 'RuntimeFailedConfig'} for a, b, c, ms in rows}}, open('cache.json', 'w'))
json.dump({'results': [{'configuration': {'A': a, 'B': b, 'C': c}, 'invalidity': 'correct' if ms else 'runtime',
                        'measurements': [{'name': 'time', 'value': ms}] if ms else []} for a, b, c, ms in rows]}, open('t4.json', 'w'))
json.dump(rows, open('rows', 'w'))
PYTHON

# One search's curve is its best so far; of two it is the time at the mean of their places.
for seed in 1 2; do
    run 0 replay space.csv.gz --strategy random --repeats 1 --seed "$seed" --json
    cp out one$seed
done
run 0 replay space.csv.gz --strategy random --repeats 2 --json
cp out both
python3 -B - <<'PYTHON' || fail "the scores are not those of the formulas"
import json, math
rows = json.load(open('rows'))
us = sorted((1e3 * r[3] for r in rows if r[3]), reverse=True)
n, best, median = len(us), us[-1], (us[(len(us) - 1) // 2] + us[len(us) // 2]) / 2
first = next(i for i, t in enumerate(us) if t <= median - 0.95 * (median - best))
budget = max(20, math.ceil(first / (n + 1 - first)))
place = lambda t: min(range(n), key=lambda i: abs(us[i] - t))
base = lambda m: us[min(n - 1, math.floor(m * (n + 1) / (m + 1) + 0.5))]
near = lambda a, b: abs(a - b) < 1e-9 * max(1, abs(b))


def reached(curve, share):
    return next((t + 1.0 for t, x in enumerate(curve) if x <= (1 + share) * best), None)


curves = []
for name in ('one1', 'one2'):
    space = json.load(open(name))['spaces'][0]
    want = {'budget': budget, 'points': len(rows), 'failed': len(rows) - n}
    assert {k: space[k] for k in want} == want and budget > 50, (space['budget'], want)
    assert near(space['best_us'], best) and near(space['median_us'], median)
    score = space['scores'][0]
    curve = score['curve_us']
    assert len(curve) == budget and all(a >= b for a, b in zip(curve, curve[1:])) and all(near(us[place(x)], x) for x in curve)
    assert near(score['p'], sum((base(t + 1) - x) / (base(t + 1) - best) for t, x in enumerate(curve)) / budget)
    assert (score['to_1'], score['to_5'], score['within_5']) == (reached(curve, 0.01), reached(curve, 0.05), float(curve[-1] <= 1.05 * best))
    curves.append(curve)
together = json.load(open('both'))['spaces'][0]['scores'][0]
assert all(near(x, us[math.floor((place(a) + place(b)) / 2 + 0.5)]) for x, a, b in zip(together['curve_us'], *curves))
PYTHON
# The three formats are one space.
for file in cache.json t4.json; do
    run 0 replay "$file" --strategy random,auto --repeats 4 --json
    python3 -B -c 'import json, sys; d = json.load(open("out"))["spaces"][0]; print([{k: v for k, v in s.items() if k != "proposal_us"} for s in d["scores"]], d["budget"], d["points"], d["failed"])' >"$file.said"
done
cmp -s cache.json.said t4.json.said || fail "cache and T4 differ: $(cat ./*.said)"
# Threads change nothing; a lag does, and 32 answers outstanding still search.
for threads in 1 5; do
    FATUNE_THREADS=$threads run 0 replay space.csv.gz --strategy auto,random --repeats 12 --json
    sed '/proposal_us/d' out >"threads$threads"
done
cmp -s threads1 threads5 || fail "the number of threads changes scores"
python3 -B -c 'import json, sys; s = json.load(open("out"))["spaces"][0]["scores"]; sys.exit(not (s[0]["p"] > s[1]["p"] + 0.2 and abs(s[1]["p"]) < 0.25))' ||
    fail "auto is not better than random, or random is not near 0: $(cat out)"
run 0 replay space.csv.gz --strategy auto --repeats 12 --lag 32 --json
json "0.2 < d['spaces'][0]['scores'][0]['p'] <= 1 and d['lag'] == 32"
run 0 replay space.csv.gz cache.json --strategy all --repeats 2
says out '^mean of all spaces$'
says out '^  auto (evolve) '
says out '^  random '
run 0 replay space.csv.gz --budget 7 --json
json "d['spaces'][0]['budget'] == 7"

run 2 replay space.csv.gz --strategy evolv
says err "unknown strategy 'evolv': did you mean 'evolve'"
run 2 replay space.csv.gz --repeats 0
run 2 replay space.csv.gz --lag 5000
says err 'lag to 1000'
run 3 replay absent.csv
says err 'absent.csv: it cannot be opened'
head -c 300 space.csv.gz >cut.csv.gz
run 3 replay cut.csv.gz
says err 'cut.csv.gz: it is cut off'
exit $bad
