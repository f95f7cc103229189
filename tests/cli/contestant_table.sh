#!/usr/bin/env bash
# The table of runs that met contestants says what the runs say, keeps the rows it has, and fails when a run failed or met nobody.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
command -v python3 >/dev/null || skip "no python3"
program=$FATUNE_FAKE
export FATUNE_FAKE_DEVICE=seed=3,noise=0.001 FATUNE_STORE=$work/fatune.db
fake=$SOURCE_DIR/tests/data/contestants/fake

# space NAME CONTESTANT...: a space, each contestant as NAME:OPTIONS of the fake one; then its run.
space() {
    local name=$1 contestant
    shift
    sed "s/^name: .*/name: $name/" "$SOURCE_DIR/tests/data/spaces/small.yaml" >"$name.yaml"
    echo "contestants:" >>"$name.yaml"
    for contestant in "$@"; do
        echo "  - {name: ${contestant%%:*}, command: [$fake${contestant#*:}]}" >>"$name.yaml"
    done
    run 0 space "$name.yaml" --device fake --json
    cp out "$name.space.json"
    run 0 run "$name.yaml" --device fake --allow-contestants --evaluations 4 --minutes 0.1 --json
    cp out "$name.run.json"
}
# table CODE NAME...
table() {
    local want=$1 got=0
    shift
    python3 -B "$SOURCE_DIR/tools/contestant_table.py" . "$@" >out 2>err || got=$?
    [ "$got" -eq "$want" ] || fail "table $*: exit $got, expected $want: $(cat out err)"
}

space one 'quick:, --us, "9"' 'slow:, --us, "9000"' 'absent:, --fault, die'
space two 'quick:, --us, "9"'
table 0 one=one two=two
says out '2 spaces, 3 contestants met'
says contestants.md '^| space .* quick  *| slow  *| absent'
cp contestants.json out
json "[r['space'] for r in d] == ['one', 'two'] and all(r['error'] is None for r in d)"
json "[c['name'] for c in d[0]['contestants']] == ['quick', 'slow', 'absent']"
# Time over fatune's: 9 us is fewer than the fake device needs, 9000 are more; the interval holds the ratio.
json "d[0]['contestants'][0]['ratio'] < 1 < d[0]['contestants'][1]['ratio']"
json "all(c['interval'][0] <= c['ratio'] <= c['interval'][1] for c in d[0]['contestants'][:2])"
json "all(abs(c['ratio'] * c['fatune_us'] / c['us'] - 1) < 0.02 for c in d[0]['contestants'][:2])"
json "d[0]['contestants'][2]['left_out'] and 'us' not in d[0]['contestants'][2]"
# 4 x 2 heads x 64 x 64 pairs x 32 columns
json "abs(d[0]['tflops'] * 1e6 * d[0]['us'] / (4 * 2 * 64 * 64 * 32) - 1) < 1e-9"
says contestants.md 'absent: left out: '

# A run that failed, or is not there yet, is a row too; the others stay.
echo '{"error": {"text": "planted"}}' >three.run.json
cp one.space.json three.space.json
table 1 one=one three=three four=four
says out 'three: planted'
says out 'four: did not end'
says contestants.md '| one '
says contestants.md '| three .* failed '
space nobody 'absent:, --fault, die'
table 1 one=one nobody=nobody
says out 'nobody: no contestant was met'
table 1
says err usage

# What is kept of it.
mkdir -p tree/tools check
cp "$SOURCE_DIR/tools/record.py" tree/tools
cp contestants.md contestants.json fatune.db check
python3 -B tree/tools/record.py check gpu >out || fail "record.py fails"
cmp -s contestants.md tree/results/recorded/gpu/contestants.md || fail "record.py does not keep the table"
python3 -c 'import lzma, sys; sys.exit(lzma.open(sys.argv[1]).read() != open(sys.argv[2], "rb").read())' \
    tree/results/recorded/gpu/contestants.db.xz fatune.db || fail "record.py does not keep the store"

# The check's options, before it needs a GPU.
for arguments in --contestant '--contestants nowhere' '--contestants ../spaces/s512'; do
    got=0
    # shellcheck disable=SC2086
    bash "$SOURCE_DIR/tools/gpu_check.sh" $arguments >out 2>err || got=$?
    [ "$got" -eq 2 ] || fail "gpu_check.sh $arguments: exit $got, expected 2"
done
exit $bad
