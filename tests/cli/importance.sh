#!/usr/bin/env bash
# fatune importance: from a recording and from a store; what a run says of itself, what it says again, and what cannot be told.
. "$SOURCE_DIR/tests/cli/common.bash"
s512=$SOURCE_DIR/results/recorded/h200_space_s512/s512_t4.json.gz

# ---- a recording: all is known, and the same as group means say
run 0 importance "$s512"
says out '^what mattered in fa_wgmma: .* all 428 valid points were tried, nothing is estimated$'
says out '^  BLOCK_N  *16%  *46%  *256; 32 +24.8%, 64 +10.5%, 128 +1.95%$'
says out '^  fails more than chance: OVERLAP=2, 6 of 72 points (7 of 428 in all)$'
run 0 importance "$s512" --json
python3 -B - "$s512" out >wrong <<'EOT' || fail "not the group means: $(cat wrong)"
import collections, gzip, json, math, statistics, sys
points = collections.defaultdict(list)
for r in json.load(gzip.open(sys.argv[1]))['results']:
    c = dict(r['configuration'])
    if r['invalidity'] == 'correct':
        points[c.pop('template')].append((c, math.log(r['measurements'][0]['value'])))
told = {t['template']: t for t in json.load(open(sys.argv[2]))['templates']}
bad = 0 if len(told) == 3 and set(told) == set(points) else 1
for name, all in points.items():
    limit = statistics.median(y for _, y in all)
    for view, kept in ('all', all), ('fast', [x for x in all if x[1] <= limit + 1e-12]):
        total = statistics.pvariance([y for _, y in kept])
        mean = statistics.fmean(y for _, y in kept)
        for p in told[name]['params']:
            groups = collections.defaultdict(list)
            for c, y in kept:
                groups[c[p['param']]].append(y)
            share = sum(len(g) * (statistics.fmean(g) - mean) ** 2 for g in groups.values()) / len(kept) / total
            if abs(100 * share - p[view + '_percent']) > 1e-6 or p[view + '_ci_percent'] != [p[view + '_percent']] * 2:
                bad = 1
                print(name, view, p['param'], 100 * share, p[view + '_percent'])
sys.exit(bad)
EOT

# ---- of a part of it, shares are estimated, near the truth, the same each time on any number of threads
cp out exact
run 0 importance "$s512" --sample 700 --seed 5 --json
cp out first
json "all(not t['exact'] and t['all']['why'] is None and t['all']['r2'] > 0.8 for t in d['templates'])"
python3 -B - exact out >wrong <<'EOT' || fail "far from the truth: $(cat wrong)"
import json, sys
exact, told = ({(t['template'], p['param']): p['all_percent'] for t in json.load(open(f))['templates'] for p in t['params']} for f in sys.argv[1:])
wrong = [(k, exact[k], told[k]) for k in exact if abs(exact[k] - told[k]) > 5]
print(wrong)
sys.exit(1 if wrong or exact == told else 0)
EOT
FATUNE_THREADS=1 run 0 importance "$s512" --sample 700 --seed 5 --json
cmp -s first out || fail "another result from the same seed"
run 0 importance "$s512" --sample 700 --seed 6 --json
cmp -s first out && fail "the seed is not used"

# ---- too little to tell
run 0 importance "$s512" --sample 30
says out '^  cannot be told of any parameter: [0-9]* points there have a time, and 20 are needed$'
grep -q '^  WG_Q' out && fail "shares of a handful of points"

# ---- words as values
printf 'MODE,N,status,mean_ms\n' >words.csv
for n in 1 2 4; do printf 'hard,%s,ok,%s\nsoft,%s,ok,%s\n' $n $n.5 $n $((2 * n)).9; done >>words.csv
run 0 importance words.csv
says out '^  MODE .*  hard; soft +'

# ---- a store: what the run has said, what the command says, and what a confirmation repeats
if [ -x "${FATUNE_FAKE:-}" ]; then
    program=$FATUNE_FAKE
    space=$SOURCE_DIR/tests/data/spaces/small.yaml
    export FATUNE_FAKE_DEVICE=seed=3,noise=0.001 FATUNE_STORE=$work/f.db
    run 5 importance smoke
    run 0 run "$space" --device fake --evaluations 60 --json
    json "[t['template'] for t in d['importance']] == ['fa_wmma'] and d['importance'][0]['params'][0]['param'] == 'BLOCK_N'"
    python3 -B -c 'import json; json.dump(json.load(open("out"))["importance"], open("said", "w"))'
    run 0 run "$space" --device fake --evaluations 60 --json
    json "'confirms_run' in d and d['importance'] == json.load(open('said'))"
    run 0 run "$space" --device fake --evaluations 60 --quiet
    says out '^what mattered in fa_wmma: share of the variance of ln time; [0-9]* of 102 valid points were tried$'
    says out '^  BLOCK_N  *[0-9]*% \[[0-9]*, [0-9]*\] .*16; 32 +'
    run 0 importance smoke
    says out '^  BLOCK_N  *[0-9]*% \[[0-9]*, [0-9]*\] '
    [ "$(grep -c '^  WARPS ' out)" -eq 1 ] || fail "not every parameter is told of"
    run 0 importance "$space" --json
    json "d['name'] == 'smoke' and d['templates'][0]['tried'] >= 60 and d['templates'][0]['valid'] == 102"
    # A template that has changed since is another kernel.
    cp -r "$SOURCE_DIR/kernel_templates/fa_wmma" .
    cp "$space" changed.yaml
    echo '// changed' >>fa_wmma/kernel.cu
    run 3 importance changed.yaml
    says err 'points were tried, and the templates or the space have changed since'
    run 2 importance smoke --sample 10
    says err 'sample is for a recording; smoke is a space'
    run 2 importance nosuch
    says err 'no run of nosuch is in'
fi

# ---- what is asked for wrongly
program=$FATUNE
run 2 importance
printf 'A,status,mean_ms\n1,ok\n' >short.csv
run 3 importance short.csv
says err 'short.csv: line 2: it has 2 fields'
exit $bad
