#!/usr/bin/env bash
# Nights on the fake device: the first crowns, the next keeps; a promotion is settled, or refuted when the machine has changed; a champion
# that fails is loud and stays; a space that is broken costs the others nothing; a machine that drifts is named.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
space=$SOURCE_DIR/tests/data/spaces/small.yaml
machine=noise=0.001
export FATUNE_STORE=$work/store/fatune.db FATUNE_FAKE_DEVICE=seed=3,$machine
# night CODE ARGUMENTS...: with JSON in out
night() {
    local code=$1
    shift
    run "$code" nightly --device fake --json "$@"
}
# The champion's log as "action name; ...".
history() {
    "$program" champion history --json | python3 -B -c 'import json, sys; print("; ".join(x["action"] + " " + x["name"] for x in json.load(sys.stdin)))'
}

# ---- the first night crowns, the second keeps: it knows what the first has measured, and the challengers lose again
night 0 "$space" --evaluations 200
json "d['exit_code'] == 0 and len(d['nights']) == 1 and d['nights'][0]['exit_code'] == 0"
json "(lambda n: n['outcome'] == 'crowned' and n['before'] is None and n['after'] == 'v1' and n['night'] == 1 and 'check' not in n)(d['nights'][0])"
seed=$(python3 -B -c 'import json; print(json.load(open("out"))["nights"][0]["run"]["seed"])')
[ "$(ls store/fatune.db.snapshot-* | wc -l)" -eq 1 ] || fail "snapshots: $(ls store)"
night 0 "$space" --evaluations 200
json "(lambda n: n['outcome'] == 'kept' and n['before'] == n['after'] == 'v1' and n['night'] == 2 and 'promotion' not in n)(d['nights'][0])"
json "(lambda n: n['check']['same_code'] and [s['fate'] for s in n['check']['shapes']] == ['OK'] * 3)(d['nights'][0])"
json "(lambda r: r['seed'] != $seed and r['known'] > 80 and len(r['trials']) == 3)(d['nights'][0]['run'])"
json "(lambda n: n['trials'] == 3 and n['alpha_spent'] == 0.005 and n['control_ci'][0] < 1 < n['control_ci'][1])(d['nights'][0])"
json "(lambda n: n['anchor']['version'] == 'v1' and n['anchor']['chart'] == {'nights': 2, 'needed': 9})(d['nights'][0])"
[ "$(history)" = 'crown v1' ] || fail "history: $(history)"
run 0 champion ledger
[ "$(awk '/^night/ {print $2, $4, $5, $7}' out | tr '\n' ';')" = '1 crowned nobody v1;2 kept v1 v1;' ] || fail "ledger: $(cat out)"
says out 'best challenger: KEEP, P3 gain'

# ---- the page and its JSON; nothing half written
page=$(ls store/nightly/*/smoke-fake0-night2.md)
[ "$(dirname "$page")" = "store/nightly/$(date -u +%F)" ] || [ "$(date -u +%H)" = 00 ] || fail "the page lies in $page"
grep -q '^# smoke, night 2: kept$' "$page" || fail "page: $(head -n 3 "$page")"
grep -q '^why nobody was promoted$' "$page" || fail "the page has no post-mortem"
grep -q '  finalist 1: KEEP$' "$page" && grep -q 'needed: a gain of 0.50%; it has -' "$page" || fail "the page does not say what is missing"
grep -q '    P3 gain: .*; what is proven is [0-9.]* points of gain short$' "$page" || fail "the page does not say by how much"
python3 -B -c 'import json, sys; n = json.load(open(sys.argv[1])); sys.exit(n["night"] != 2 or n["run"]["space"] != "smoke")' "${page%.md}.json" || fail "the page's JSON"
[ "$(find store/nightly -type f | wc -l)" -eq 4 ] || fail "reports: $(find store/nightly -type f)"

# ---- quiet: nothing to say, nothing said
run 0 nightly "$space" --device fake --evaluations 200 --quiet
[ ! -s out ] && [ ! -s err ] || fail "a night without news speaks: $(cat out err)"

# ---- elsewhere: a run promotes, the night after settles it
export FATUNE_STORE=$work/settle/fatune.db
run 0 run "$space" --device fake --evaluations 2 --quiet
run 0 run "$space" --device fake --seed 5 --evaluations 200 --quiet
mkdir refute
cp settle/fatune.db refute/fatune.db
run 0 nightly "$space" --device fake --evaluations 3 --quiet
says out 'promotion of v2: settled (night 1: v1 takes [0-9.]*% more time than v2: the promotion is not refuted)'
[[ "$(history)" == 'crown v1; promote v2; settle v2'* ]] || fail "history: $(history)"
night 0 "$space" --evaluations 3
json "'promotion' not in d['nights'][0]"

# ---- the machine has changed, and there the old champion is faster: it comes back by itself
export FATUNE_STORE=$work/refute/fatune.db FATUNE_FAKE_DEVICE=seed=15,$machine
{ # these two alone are left, so that no third takes the place
    sed '/^search:/,$d' "$space"
    echo "constraints:"
    "$program" champion history --json | python3 -B -c '
import json, sys
points = {x["name"]: x["params"]["params"] for x in json.load(sys.stdin)}
print("  -", " or ".join(" and ".join(f"{k} == {v}" for k, v in p.items()) for p in points.values()))'
    sed -n '/^search:/,$p' "$space"
} >two.yaml
night 0 two.yaml
json "d['nights'][0]['promotion']['became'] == 'refuted' and d['nights'][0]['promotion']['verdict']['outcome'] == 'PROMOTE'"
json "d['nights'][0]['promotion']['version'] == 'v2' and d['nights'][0]['promotion']['against'] == 'v1' and d['nights'][0]['before'] == 'v2'"
json "d['nights'][0]['trials'] == 1 + len(d['nights'][0]['run']['trials']) and d['nights'][0]['alpha_spent'] > 0"
[ "$(history)" = 'crown v1; promote v2; refute v2; restore v1' ] || fail "history: $(history)"
run 0 champion history
says out 'night 1: v1 takes [0-9.]*% less time than v2: the promotion is refuted'
run 0 champion ledger --json
json "d[0]['promotion'] == 'refuted' and d[0]['outcome'] == 'refuted' and d[0]['before'] == 'v2' and d[0]['after'] == 'v1'"
# who was refuted may win again on fresh evidence, and the log remembers
export FATUNE_FAKE_DEVICE=seed=3,$machine
night 0 two.yaml
json "d['nights'][0]['outcome'] == 'promoted' and d['nights'][0]['after'] == 'v2' and 'it was refuted on 2' in d['nights'][0]['note']"

# ---- a champion that fails is loud and stays; the other spaces have their night; the worst code counts
export FATUNE_STORE=$work/loud/fatune.db FATUNE_FAKE_DEVICE=seed=3,$machine
night 0 "$space" --evaluations 3
sed 's/^validate:.*/validate: {atol: 1.0e-9, rtol: 1.0e-9, repeats: 5}/' "$space" >strict.yaml
sed 's/^name:.*/name: other/' "$space" >other.yaml
printf 'name: x\nproblem: [1, 2\n' >broken.yaml
run 3 nightly strict.yaml broken.yaml absent.yaml other.yaml --device fake --evaluations 3 --quiet
says err '^fatune: strict.yaml: the standing champion v1 fails the full check with fresh inputs (WRONG)'
says err 'nobody takes its place silently: find out why, or `fatune champion revoke` it'
says err '^fatune: broken.yaml: broken.yaml:[0-9]'
says err '^fatune: absent.yaml: '
says out '^smoke, night 2 .*: broken v1$'
says out '^other, night 1 .*: crowned, nobody -> v1$'
run 0 champion list
[ "$(grep -c '^v1 *crown' out)" -eq 2 ] || fail "champions: $(cat out)"
run 0 champion ledger --json
json "[(x['space'], x['night'], x['outcome']) for x in d] == [('smoke', 1, 'crowned'), ('smoke', 2, 'broken'), ('other', 1, 'crowned')]"
# so is one that does not compile any more, though its binary is in the cache, and one whose template has changed
FATUNE_FAKE_DEVICE=$FATUNE_FAKE_DEVICE,refuse=1 night 3 "$space" --evaluations 3
json "d['nights'][0]['outcome'] == 'broken' and 'the standing champion v1 cannot be compiled any more (COMPILE)' in d['nights'][0]['error']"
json "d['nights'][0]['after'] == 'v1' and d['nights'][0]['run'] is None and d['nights'][0]['report'].endswith('night3.md')"
mkdir -p changed/fa_wmma
cp "$SOURCE_DIR"/kernel_templates/fa_wmma/* changed/fa_wmma/
echo '// another kernel' >>changed/fa_wmma/kernel.cu
cp "$space" changed/
night 3 changed/small.yaml --evaluations 3
json "'the template of the standing champion v1 has changed since it was crowned' in d['nights'][0]['error']"
night 0 "$space" --evaluations 3 # and it passes again once the cause is gone
json "d['nights'][0]['night'] == 5 and d['nights'][0]['outcome'] in ('kept', 'promoted')"
run 4 nightly "$space" --device cuda:77
says err 'cuda:77'

# ---- right on its own shape, wrong beside it; the other way round, what a template excludes is left out
mkdir -p tail/fa_wmma
cp "$SOURCE_DIR"/kernel_templates/fa_wmma/* tail/fa_wmma/
sed -i '1i // fake: tail 16' tail/fa_wmma/kernel.cu
sed 's/^templates:.*/templates: [fa_wmma]/' "$space" >tail/tail.yaml
export FATUNE_STORE=$work/tail/fatune.db
night 0 tail/tail.yaml --evaluations 3
night 3 tail/tail.yaml --evaluations 3
json "'its kernel is wrong on attention 1x2x63x32 f16 full (WRONG)' in d['nights'][0]['error'] and d['nights'][0]['outcome'] == 'broken'"
mkdir -p whole/fa_wmma
cp "$SOURCE_DIR"/kernel_templates/fa_wmma/* whole/fa_wmma/
sed -i 's/^constraints:/constraints:\n  - {if: "SEQ_Q % 16 == 0 and SEQ_KV % 16 == 0", why: "whole tiles alone"}/' whole/fa_wmma/template.yaml
cp tail/tail.yaml whole/whole.yaml
export FATUNE_STORE=$work/whole/fatune.db
night 0 whole/whole.yaml --evaluations 3
night 0 whole/whole.yaml --evaluations 3
json "all('whole tiles alone' in s['left_out'] for s in d['nights'][0]['check']['shapes'][:2])"

# ---- a machine that becomes 2% slower is named on the night it is seen; nobody is promoted or blocked by it
export FATUNE_STORE=$work/drift/fatune.db
for _ in 1 2 3 4 5 6 7 8 9; do night 0 two.yaml --quiet; done
json "d['nights'][0]['anchor']['chart']['outside'] is False and d['nights'][0]['anchor']['chart']['nights'] == 9"
FATUNE_FAKE_DEVICE=$FATUNE_FAKE_DEVICE,launch_us=20.4 run 0 nightly two.yaml --device fake --quiet
says out '^smoke, night 10 .*: kept v1$'
says out 'is OUTSIDE its limits \[[0-9.]*, [0-9.]*\] over 10 nights'
[ "$(ls store/fatune.db.snapshot-* | wc -l)" -eq 3 ] || fail "snapshots: $(ls store)"

# ---- one night may not last longer than it is given
export FATUNE_STORE=$work/short/fatune.db FATUNE_FAKE_DEVICE=seed=3,$machine,sleep=1,launch_us=100
started=$SECONDS
night 0 "$space" other.yaml --minutes 0.15
json "all(t['boxed'] for n in d['nights'] for t in n['run']['trials']) and d['nights'][1]['run']['trials']"
[ $((SECONDS - started)) -le 30 ] || fail "9 s for two spaces became $((SECONDS - started)) s: trials were not cut"
exit $bad
