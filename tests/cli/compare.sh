#!/usr/bin/env bash
# What can be compared, and what is answered: a kernel against itself, candidates without a name, changed parameters, stored trials in either
# order, environments, and how many sessions would decide.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
space=$SOURCE_DIR/tests/data/spaces/small.yaml
export FATUNE_STORE=$work/store/fatune.db FATUNE_FAKE_DEVICE=seed=3,noise=0.001
run 0 run "$space" --device fake --evaluations 3 --quiet
run 0 run "$space" --device fake --seed 5 --as swift --quiet

# ---- compare: a kernel against itself is compiled again, comes out the same, and is kept as such
run 0 compare v1 v1 --device fake --exit-status --json
json "d['relation'] == 'same' and d['again'] and d['params_a'] == d['params_b'] and d['sessions_needed'] == 0 and d['same_within'] == 0.005"
json "len(d['series']) == d['sessions'] == 8 and all(s['quads'] == 20 and abs(s['ratio'] - 1) < 0.005 for s in d['series'])"
run 0 compare v1 v1 --device fake
says out '^v1, the same kernel compiled again, is the same as v1 within 0.50%: it takes 0.[0-9]*% [a-z]* time '
run 0 compare v1 v1 --stored --json
json "d['again'] and d['how'] == 'stored'"
# ---- each arm by itself: quantiles of its letters, and how many they are worth
json "[x['letters'] for x in d['arms']] == [320, 320] and all(32 < x['effective'] <= 320 for x in d['arms'])"
json "[x['median_us'] for x in d['arms']] == [d['verdict']['median_a_us'], d['verdict']['median_b_us']]"
json "all(x['p10_us'] < x['median_ci'][0] <= x['median_us'] <= x['median_ci'][1] < x['p90_us'] < x['p99_us'] for x in d['arms'])"
# ---- either order; a candidate without a name; templates and changed parameters; as many sessions as are asked for
run 11 compare swift v1 --stored --exit-status --json
json "d['a'] == 'swift' and d['relation'] == 'slower' and d['verdict']['ratio'] > 1"
run 0 compare v1 fa_wmma --device fake --json
json "d['b'] == 'fa_wmma' and d['params_b']['template'] == 'fa_wmma' and d['params_b'] != d['params_a'] and not d['again']"
run 0 compare v1 v1:BLOCK_N=32,PAD=8 --device fake --json
json "dict(d['params_a']['params'], BLOCK_N=32, PAD=8) == d['params_b']['params'] != d['params_a']['params']"
digest=$(python3 -B -c 'import sqlite3; print(sqlite3.connect("store/fatune.db").execute("SELECT digest FROM candidate c WHERE NOT EXISTS '\
'(SELECT 1 FROM version WHERE candidate = c.id) AND EXISTS (SELECT 1 FROM evaluation WHERE candidate = c.id) ORDER BY id DESC").fetchone()[0])')
run 0 compare "${digest:0:9}" v1 --device fake --sessions 9 --json
json "d['a'] == '${digest:0:12}' and d['sessions'] == 9 == len(d['series']) and not d['boxed']"
run 0 compare v1 "$digest" --stored
says out "stored 20[-0-9T:]*Z: 9 sessions"
run 0 compare fa_wmma fa_wmma:BLOCK_N=16 --device fake # in the only track
run 2 compare v1 fa_wmma:BLOCK_N=33 --device fake
says err 'fa_wmma has no BLOCK_N=33 here'
run 2 compare v1 v1:BLOCK_M=16,WARPS=2,USE_WMMA_QK=0,SOFTMAX_REGS=0 --device fake
says err 'is excluded, set other values: .* is false'
run 2 compare v1 v77:BLOCK_N=16 --device fake
says err 'no version, candidate or template is called v77'
run 2 compare v1 fa_wmma --stored
says err 'fa_wmma is none; give a version'
run 2 compare v1 nobody --stored
says err 'no stored trial of v1 against nobody'
says err '^  v1 against v1, 8 sessions, 20.*Z (A/A)$'
run 2 compare v1 swift --sessions 7 --device fake
says err 'sessions takes 8 to 1000, not 7'
run 2 compare v1 swift --sessions 20 --stored
says err 'stored measures none'
# ---- undecided: how many sessions would decide
FATUNE_FAKE_DEVICE=seed=3,noise=0.001,session=0.03 run 12 compare v1 v1 --device fake --exit-status --json
json "d['relation'] == 'undecided' and 8 < d['sessions_needed'] <= 1000"
FATUNE_FAKE_DEVICE=seed=3,noise=0.001,session=0.03 run 0 compare v1 v1 --device fake
says out '^undecided: v1, the same kernel compiled again, takes [0-9.]*% [a-z]* time \[.*\], which rules out neither 0 nor more than 0.50%$'
says out '^about [0-9]* sessions would decide: fatune compare v1 v1 --sessions [0-9]*$'

# ---- the second copy is really compiled, each time, and nothing else is
copies() { find store/cache -name '*.bin' -newer mark | wc -l; }
touch mark
sleep 0.1
run 0 compare swift swift --device fake
[ "$(copies)" -eq 1 ] || fail "$(copies) binaries were written, and swift was to be compiled again"

# ---- another environment (another device of the model): what was measured side by side there is found, what was not is refused
run 0 champion revoke
run 0 champion revoke
export FATUNE_FAKE_DEVICE=seed=4,noise=0.001
run 0 run "$space" --device fake --seed 7 --fresh --as abroad --quiet
run 2 compare v1 abroad --stored
says err '^fatune: v1 and abroad were measured in different environments .*, and never side by side: stored numbers are not compared; leave out'
run 0 compare v1 abroad --device fake --json
cp out fresh
run 0 compare abroad v1 --stored --json
python3 -B -c 'import json
a, b = (json.load(open(x)) for x in ("fresh", "out"))
assert a["trial"] == b["trial"] and abs(a["verdict"]["ratio"] * b["verdict"]["ratio"] - 1) < 1e-12
assert a["arms"] == b["arms"][::-1]
assert "at" not in a and b["at"].startswith("20")' || fail "a trial across is not the one that was measured"

# ---- a control of record, cut to 4 quads a session, was off: a kernel that is not the same as itself is not called slower
python3 -B -c 'import lzma, sys; sys.stdout.buffer.write(lzma.open(sys.argv[1]).read())' "$SOURCE_DIR/results/recorded/h200_contestants_2/contestants.db.xz" >h200.db
run 11 compare v1 v1 --stored --exit-status --track 833fb6d70cd2 --store h200.db
says out '^v1 should be the same and is not: it takes 0.38% more time \[0.15, 0.51\]$'
says out '^that is what measuring does to equal kernels here: believe no difference of this size$'
if grep -q 'the promotion rule' out; then fail "a kernel is promoted against itself"; fi
if grep -q ' $' out; then fail "blanks at the end of a line"; fi
exit $bad
