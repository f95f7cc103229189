#!/usr/bin/env bash
# The whole way on the fake device: search to champion, confirmed again, a second version, the registry, show, compare, eval;
# and equal seeds give equal proposals and equal JSON.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
space=$SOURCE_DIR/tests/data/spaces/small.yaml
export FATUNE_STORE=$work/store/fatune.db FATUNE_FAKE_DEVICE=seed=3,noise=0.001

# ---- before there is a store
run 5 champion list
says err 'no store at'
says err 'run `fatune run SPACE` first'
run 2 champion no_such_action
[ ! -e store ] || fail "reading makes a store"

# ---- one run
run 0 run "$space" --device fake --evaluations 3 --json
members="{'run','space','problem','device','device_name','track','strategy','seed','proposals','aliases','known','compiled','stopped','stop_factor','best_search','rule','dead','importance','seeds','fates',"
members+="'standings','standing','trials','champion','arm','contestants','seconds'}"
json "set(d) == $members"
json "d['run'] == 1 and d['space'] == 'smoke' and d['device'] == 'fake:0' and d['proposals'] == 4 and d['seed'] == 42"
json "d['compiled'] > 0 and sum(d['fates'].values()) == d['proposals'] and set(d['fates']) == {'OK'}"
json "d['champion']['name'] == 'v1' and d['champion']['action'] == 'crown' and d['champion']['params']['template'] == 'fa_wmma'"
json "[t['verdict']['outcome'] for t in d['trials']] [:1] == ['PROMOTE']"
json "all(c['passed'] for c in d['trials'][0]['verdict']['clauses']) and len(d['trials'][0]['verdict']['clauses']) == 6"
json "0 < d['trials'][0]['verdict']['ratio_boot_t'][0] <= d['trials'][0]['verdict']['ratio'] <= d['trials'][0]['verdict']['ratio_boot_t'][1] < 1"
says err 'fa_opencl is left out'
says err 'v1 is the new champion'

# ---- the same command again: no search, no compilation, fresh sessions
run 0 run "$space" --device fake --evaluations 3 --json
json "d['compiled'] == 0 and d['confirms_run'] == 1 and d['run'] == 2 and d['champion']['name'] == 'v1'"
says err 'run 1 is done: its best challenger meets the standing champion'
if grep -q 'valid points, strategy' err; then fail "a finished run searches again"; fi

# ---- a better one is found, and held back; then it takes over
run 0 run "$space" --device fake --seed 5 --no-promote
says out 'PROMOTE'
says out '^champion v1 since'
says out '^run 3: 1[0-9] proposals (evolve, seed 5), [0-9]* compilations, [0-9]* of equal code: 1[0-9] OK$'
run 2 run "$space" --device fake --seed 5 --as v1
says err 'v1 already.*--as'
run 0 run "$space" --device fake --seed 5 --as swift --quiet
[ ! -s err ] || fail "--quiet is not quiet: $(cat err)"
says out 'confirms run 3: no search, 0 compilations'
says out '^champion swift since'
run 0 run "$space" --device fake --seed 5 --fresh --no-promote --json
json "'confirms_run' not in d and d['proposals'] == 13 and sum(d['fates'].values()) == 13"

# ---- the registry
run 0 champion list
says out '^swift *promote'
run 0 champion --json
json "len(d) == 1 and d[0]['name'] == 'swift' and d[0]['space'] == 'smoke' and d[0]['verdict'] > 0"
track=$(python3 -B -c 'import json; print(json.load(open("out"))[0]["track"])')
run 0 champion show
json "d[0]['facts']['text'].startswith('fa_wmma ') and d[0]['facts']['compiled']['registers'] > 0"
run 0 champion history --json
json "[(x['name'], x['action']) for x in d] == [('v1', 'crown'), ('swift', 'promote')]"
run 0 champion --json
json "d[0]['provisional'] is True"
run 0 champion list
says out 'provisional until a night settles it'
run 2 champion rollback
says err 'rollback to whom'
run 2 champion rollback swift
says err 'swift stands already'
run 2 champion list swift
cp store/fatune.db saved.db
run 0 champion rollback v1 --why 'swift is too new' --json --store saved.db
json "d['left'] == 'swift' and d['champion']['name'] == 'v1' and d['champion']['action'] == 'rollback' and 'provisional' not in d['champion']"
run 2 champion rollback swift --store saved.db
says err 'swift does not lie before the standing champion'
run 0 champion history --store saved.db
says out '^v1 *rollback'
says out 'swift is too new'
run 0 champion list --track 000000
says out 'no champion in track 000000'
run 2 champion revoke --track 000000
run 11 compare champion v1 --device fake --exit-status
run 0 champion revoke --why 'found wrong' --track "${track:0:8}"
says out '^swift is revoked; who stands now:'
says out '^v1 *restore'
run 0 champion history
[ "$(awk '/^[a-z]/ {print $1, $2}' out | tr '\n' ' ')" = 'v1 crown swift promote swift revoke v1 restore ' ] || fail "history: $(cat out)"
says out 'found wrong'
run 0 champion revoke --json
json "d['revoked'] == 'v1' and d['champion'] is None"
run 2 champion revoke
says err 'none to take down'
run 0 run "$space" --device fake --seed 5 --evaluations 1 --quiet --json # little is tried but what earlier runs found; v1 stood against it and is gone: the default is the arm to beat
json "d['champion']['action'] == 'crown' and d['champion']['note'].startswith('faster than the default configuration; it was revoked on 2')"

# ---- show
run 0 show v1
says out '^fa_wmma BLOCK_M='
says out '^  version    v1 of smoke on fake accelerator, since 20'
says out '^  verdict    .*: PROMOTE, time ratio 0[.]'
says out '^    pass P3 gain '
says out '^  log        20.* crown v1: '
run 0 show v1 --json
json "d['version']['name'] == 'v1' and d['evaluations'] and d['checks'] and d['trials'] and d['verdicts'] and len(d['champion']) == 3"
digest=$(python3 -B -c 'import json; print(json.load(open("out"))["id"])')
run 0 show "${digest:0:10}" --json
json "d['id'] == '$digest' and d['version']['name'] == 'v1'"
run 0 show v1 --source
head -n 1 out | grep -q '^#define BATCH 1$' || fail "the source does not begin with the prelude: $(head -n 1 out)"
says out 'attention_forward'
mv out source
run 0 show "$digest" --source
cmp -s out source || fail "show DIGEST --source and show v1 --source differ"
run 2 show v77
says err 'no version is called v77'
run 2 show 012345678
says err '012345678'
run 2 show
run 2 show v1 swift

# ---- compare
run 10 compare v1 swift --device fake --exit-status --json
json "d['relation'] == 'faster' and d['a'] == 'v1' and d['b'] == 'swift' and d['sessions'] == 8 and d['how'] == 'fresh sessions'"
json "len(d['verdict']['clauses']) == 6 and d['verdict']['ratio'] < 1"
run 11 compare swift v1 --device fake --exit-status
says out '^v1 is slower than swift: it takes [0-9.]*% more time \[[0-9.]*, [0-9.]*\]$'
says out '^  sessions  *[o2-9]'
says out 'beside the decision: each arm alone, mean A .*:$'
says out "the intervals do not overlap; textbook g's interval \[.*\], Mann-Whitney p [0-9.e-]*, Cliff's delta -1.000$"
run 10 compare v1 swift --stored --exit-status --json
json "d['how'] == 'stored' and d['relation'] == 'faster'"
run 0 compare v1 swift --device fake # without --exit-status
run 2 compare v1 v99 --device fake
says err 'v99'
run 2 compare v1
run 2 compare v1 swift extra

before=$(bytes store/fatune.db)
run 2 compare swift champion --stored --track 000000
run 0 champion list
run 0 show v1
run 10 compare v1 swift --stored --exit-status
[ "$(bytes store/fatune.db)" = "$before" ] || fail "reading changes the store"

# ---- eval stores nothing
run 0 eval "$space" --device fake --set BLOCK_M=16,WARPS=1 --json
json "d['fate'] == 'OK' and ' BLOCK_M=16 ' in d['candidate'] and ' WARPS=1 ' in d['candidate'] and len(d['samples_us']) == 15"
json "sorted(d['samples_us'])[7] == d['median_us'] and d['detail']['report']['level'] == 'full'"
run 0 eval "$space" --device fake --template fa_wmma --quick --samples 3
says out '^  fate       OK$'
says out 'median of 3 samples'
export FATUNE_THREADS=1 # how many threads check changes no result
run 0 eval "$space" --device fake --json
sed 's/"\(seconds\|first_run_s\)": [0-9.e-]*//g' out >alone
FATUNE_THREADS=5
run 0 eval "$space" --device fake --json
sed 's/"\(seconds\|first_run_s\)": [0-9.e-]*//g' out | cmp -s - alone || fail "5 threads and 1 give different results"
FATUNE_THREADS=many
run 2 eval "$space" --device fake
says err "FATUNE_THREADS is 'many'; give a number"
unset FATUNE_THREADS
run 2 eval "$space" --device fake --set BLOCK_M=17
says err 'BLOCK_M=17 here; its values are 16 32'
run 2 eval "$space" --device fake --set BLOCK_M
run 2 eval "$space" --device fake --set NO_SUCH=1
run 2 eval "$space" --device fake --samples 65
run 2 eval "$space" --device fake --template fa_opencl
says err 'written in opencl'
run 3 eval "$space" --device fake --set BLOCK_M=16,WARPS=2,USE_WMMA_QK=0
says err 'fa_wmma BLOCK_M=16 .* is excluded, --set another point: .*`SPLIT == 1 or SOFTMAX_REGS == 1`'
[ "$(bytes store/fatune.db)" = "$before" ] || fail "eval changes the store"

# ---- equal seeds, equal runs. What may differ is removed by name: when the champion was crowned, and seconds spent.
export FATUNE_FAKE_DEVICE=seed=3,noise=0,session=0,spikes=0
for jobs in 1 3; do
    run 0 run "$space" --device fake --evaluations 60 --quiet --json --jobs $jobs --store "$work/$jobs/f.db"
    python3 -B - out "$jobs" <<'X'
import json, sqlite3, sys
d = json.load(open(sys.argv[1]))
del d['champion']['since']
for name in ('elapsed', 'compile_summed', 'search'):
    del d['seconds'][name]
json.dump(d, open(f'json{sys.argv[2]}', 'w'), sort_keys=True, indent=1)
rows = sqlite3.connect(f'{sys.argv[2]}/f.db').execute(
    'SELECT seq, digest, fate, us FROM evaluation v JOIN candidate c ON c.id = v.candidate ORDER BY seq').fetchall()
open(f'rows{sys.argv[2]}', 'w').writelines(f'{row}\n' for row in rows)
X
done
[ "$(wc -l <rows1)" -eq 61 ] || fail "$(wc -l <rows1) proposals"
diff rows1 rows3 >difference || fail "the same seed proposes differently: $(head -n 6 difference)"
diff json1 json3 >difference || fail "the same seed gives other results: $(head -n 6 difference)"
exit $bad
