#!/usr/bin/env bash
# Every member of every --json output is documented in docs/JSON.md with its type, and what is documented is there.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
smoke=$SOURCE_DIR/tests/data/spaces/small.yaml
export FATUNE_FAKE_DEVICE=seed=3,noise=0.001 FATUNE_STORE=$work/f.db FATUNE_DEADLINE_S=30
outputs=()
# keep TYPE CODE ARGUMENTS...: an output to be held against a type
keep() {
    local type=$1
    shift
    run "$@"
    cp out "json${#outputs[@]}"
    outputs+=("$type=json${#outputs[@]}")
}

keep run 0 run "$smoke" --device fake --evaluations 3 --json
keep run 0 run "$smoke" --device fake --evaluations 3 --json
keep run 0 run "$smoke" --device fake --seed 5 --json
keep comparison 0 compare v1 v2 --device fake --json
keep comparison 0 compare v1 v2 --stored --json
keep comparison 0 compare v1 v1 --device fake --json --samples
LD_LIBRARY_PATH=$FATUNE_FAKE_NVML_DIR FATUNE_FAKE_NVML=throttle_at=5 FATUNE_FAKE_DEVICE=$FATUNE_FAKE_DEVICE,clock=1980 keep comparison 0 compare v1 v2 --device fake --json --samples
keep 'list of action' 0 champion list --json
keep 'list of action' 0 champion show
keep revocation 0 champion revoke --json
keep revocation 0 champion revoke --json
keep 'list of action' 0 champion history --json
keep candidate 0 show v1 --json
keep candidate 0 show v2 --json
keep failure 2 show v99 --json
keep failure 3 run absent.yaml --json
keep failure 4 space "$smoke" --device cuda:9 --json
keep failure 2 run --nonsense --json
keep 'evaluation now' 0 eval "$smoke" --device fake --json
keep 'evaluation now' 0 eval "$smoke" --device fake --quick --json
FAKE_SANITIZER=error keep sanitation 3 sanitize v1 --device fake --sanitizer "$SOURCE_DIR/tests/data/sanitizer/compute-sanitizer" --tool memcheck --json
FAKE_NCU=good keep profile 0 profile v1 --device fake --ncu "$SOURCE_DIR/tests/data/profiler/ncu" --json
mkdir -p spoilt && cp -r "$SOURCE_DIR/kernel_templates/ceiling_exp_cuda" spoilt/ && echo '// fake: launch' >>spoilt/ceiling_exp_cuda/kernel.cu
keep profile 4 profile "$smoke" --device fake --templates spoilt --roofline --json
keep evidence 0 evidence v1 --device fake --json
keep verification 0 evidence --verify evidence/v1 --json
rm evidence/v1/run.json
keep verification 3 evidence --verify evidence/v1 --json
keep space 0 space "$smoke" --device fake --list 2 --json
if "$program" devices | grep -q '^opencl:'; then
    astray=(oracle "$SOURCE_DIR/tests/data/spaces/astray.yaml" --templates "$SOURCE_DIR/tests/data/templates" --device opencl --json)
    keep oracle 0 "${astray[@]}"
    keep oracle 3 "${astray[@]}" --set FAULT=3
    keep oracle 3 "${astray[@]}" --set FAULT=11
fi
printf 'A,B,status,mean_ms\n%s' "$(for i in 1 2 3 4 5 6; do echo "$i,x,ok,$i"; done)" >recorded.csv
keep replay 0 replay recorded.csv --strategy auto,random --repeats 2 --json
keep "importance of a space" 0 importance recorded.csv --json
keep "importance of a space" 0 importance "$SOURCE_DIR/results/recorded/h200_space_s512/s512_t4.json.gz" --json
"$program" export "$smoke" --out theirs.json >out
sed -i '0,/"BLOCK_M": [0-9]*/s//"BLOCK_M": 48/' theirs.json
keep import 0 import theirs.json "$smoke" --device fake --json
keep devices 0 devices --json
keep diagnosis 0 doctor --json
keep 'evaluation now' 0 eval "$SOURCE_DIR/tests/data/spaces/mapped.yaml" --templates "$SOURCE_DIR/tests/data/templates" --device fake --json
json "[m['box_columns'] for m in d['launch']['maps']] == [64, 64] and d['launch']['args'] == ['q', 'k', 'v', 'o']"
# Nights: the first crowns, the second tries a promotion that a run made meanwhile; one that nobody can hold; a champion that fails.
keep nights 0 nightly "$smoke" --device fake --store n.db --evaluations 3 --json
keep run 0 run "$smoke" --device fake --store n.db --seed 5 --evaluations 200 --json
keep nights 3 nightly "$smoke" absent.yaml --device fake --store n.db --evaluations 3 --json
json "d['nights'][0]['promotion']['became'] == 'settled' and d['exit_code'] == 3 and 'absent.yaml' in d['nights'][1]['error']"
sed 's/^validate:.*/validate: {atol: 1.0e-9, rtol: 1.0e-9, repeats: 5}/' "$smoke" >strict.yaml
keep nights 3 nightly strict.yaml --device fake --store n.db --json
json "d['nights'][0]['outcome'] == 'broken'"
keep 'list of ledger row' 0 champion ledger --store n.db --json
json "[x['outcome'] for x in d] == ['crowned', 'kept', 'broken']"
keep report 0 report smoke --store n.db --json
json "len(d['nights']['ledger']) == 3 and d['kept']['finalists'] and d['letters']['b']['us']"
keep "importance of a space" 0 importance smoke --store n.db --json
# Contestants: one that is right, one that is wrong, one that is not there.
fake=$SOURCE_DIR/tests/data/contestants/fake
{ cat "$smoke"; echo "contestants: [{name: good, command: [$fake]}, {name: bad, command: [$fake, --fault, wrong]},"
  echo "  {name: gone, command: [$fake, --fault, missing, --at, fatune]}]"; } >met.yaml
keep run 0 run met.yaml --device fake --allow-contestants --store met.db --evaluations 2 --json
keep report 0 report met.yaml --store met.db --json
json "d['best_contestant']['name'] == 'good' and d['contestants']['rows'][2]['left_out']"
keep comparison 0 compare good champion --device fake --allow-contestants --store met.db --json
keep comparison 0 compare v1 good --stored --store met.db --json
for id in $(python3 -B -c 'import sqlite3; print(*(r[0] for r in sqlite3.connect("met.db").execute("SELECT digest FROM candidate")))'); do
    keep candidate 0 show "$id" --store met.db --json
done
# What fails, in the ways of the planted space; those that only time out are left out.
sed 's/^  FAULT:.*/  FAULT: [0, 1, 3, 4, 5, 6, 8, 11, 16, 17, 19]/' "$SOURCE_DIR/tests/data/spaces/planted.yaml" >planted.yaml
cp -r "$SOURCE_DIR/tests/data/templates/planted" .
sed -i '1i // fake: dead PASSES' planted/kernel.cu # a dead parameter, and aliases
sed -i '1i // fake: spill 8 when FAULT=4' planted/kernel.cu
keep space 3 space planted.yaml --device fake --compile --json
json "d['compilation']['templates'][0]['failures'] and d['compilation']['templates'][0]['spilling']"
sed -i 1d planted/kernel.cu
for fault in 1 4 6 8 17; do
    keep 'evaluation now' 0 eval planted.yaml --device fake --set "FAULT=$fault,ROWS=1,PASSES=1" --json
    json "d['fate'] != 'OK'"
done
keep run 0 run planted.yaml --device fake --store planted.db --json
keep report 0 report planted.yaml --store planted.db --json
json "d['dead'][0]['param'] == 'PASSES' and d['search']['fates']['COMPILE']"
for id in $(python3 -B -c 'import sqlite3; print(*(r[0] for r in sqlite3.connect("planted.db").execute("SELECT digest FROM candidate")))'); do
    keep candidate 0 show "$id" --store planted.db --json
done
# What a real device knows of itself.
python3 -B -c 'import lzma, sys; sys.stdout.buffer.write(lzma.open(sys.argv[1]).read())' "$SOURCE_DIR/results/recorded/h200_contestants_5/contestants.db.xz" >h200.db
keep report 0 report s512 --store h200.db --json
json "d['roofline']['ceilings'] and d['roofline']['floor_us'] < d['evidence']['gain']['us']"
python3 -B "$SOURCE_DIR/tests/cli/json_doc.py" "$SOURCE_DIR/docs/JSON.md" "${outputs[@]}" >differences || fail "outputs and docs/JSON.md differ:
$(cat differences)"
exit $bad
