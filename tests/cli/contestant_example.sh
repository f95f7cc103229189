#!/usr/bin/env bash
# The example of docs/CONTESTANTS.md, as it stands there: it compiles without a warning, its output is right, and it is measured.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
command -v cc >/dev/null || skip "no C compiler called cc"
echo '_Float16 x; int main(void) { return (int)x; }' >probe.c
cc probe.c -o probe 2>/dev/null || skip "cc has no _Float16"
program=$FATUNE_FAKE
export FATUNE_STORE=$work/store/fatune.db FATUNE_FAKE_DEVICE=seed=3,noise=0.001

sed -n '/^```c$/,/^```$/p' "$SOURCE_DIR/docs/CONTESTANTS.md" | sed '1d; $d' >bench.c
[ "$(wc -l <bench.c)" -gt 50 ] || fail "the document has no example"
command=$(sed -n '1s,^/\* bench.c - \(cc .*\) \*/$,\1,p' bench.c)
[ -n "$command" ] || fail "the example's first line does not say how to compile it: $(head -n 1 bench.c)"
$command -Wall -Wextra -Wno-unused-result 2>err || fail "it does not compile: $(head -n 5 err)"
[ ! -s err ] || fail "it compiles with warnings: $(head -n 5 err)"
for variant in 's/x/x/' 's/mask: none/mask: causal/; s/heads: 2/heads: 4\n  kv_heads: 2\n  seq_kv: 80/'; do
    sed "$variant" "$SOURCE_DIR/tests/data/spaces/small.yaml" >s.yaml
    echo 'contestants: [{name: mine, command: [./bench]}]' >>s.yaml
    run 0 run s.yaml --device fake --allow-contestants --evaluations 2 --minutes 0.2 --json
    json "d['contestants'][0]['left_out'] is None and d['contestants'][0]['wrong'] is None and d['contestants'][0]['choice'] == 'one thread'"
    json "d['contestants'][0]['version'] == 'plain C on the host, 1.0' and d['contestants'][0]['verdict']['median_a_us'] > 10"
done
sed 's/dtype: f16/dtype: bf16/' "$SOURCE_DIR/tests/data/spaces/small.yaml" >s.yaml
echo 'contestants: [{name: mine, command: [./bench]}]' >>s.yaml
run 0 run s.yaml --device fake --allow-contestants --evaluations 2 --minutes 0.2 --json
json "d['contestants'][0]['left_out'] == 'unfit: f16 in a warm cache is all it does'"
exit $bad
