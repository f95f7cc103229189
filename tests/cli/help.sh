#!/usr/bin/env bash
# Every command of `fatune --help` explains itself, and refuses what it does not know.
set -u
bad=0
fail() { echo "FAIL: $*"; bad=1; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
export FATUNE_STORE=$work/fatune.db
cd "$work" || exit 1

run() { # expected exit code, then the command line; output in $work/out and $work/err
    local want=$1
    shift
    "$FATUNE" "$@" >out 2>err </dev/null
    local got=$?
    [ $got -eq "$want" ] || fail "fatune $*: exit $got, expected $want: $(head -c 300 err)"
}

run 0 --help
[ -s out ] || fail "--help prints nothing to stdout"
[ ! -s err ] || fail "--help prints to stderr"
cp out help
commands=$(awk '/^ *commands/ {inside = 1; next} inside && /^ +[a-z]/ {sub(/^ +(fatune )?/, ""); print $1; next} inside && n++ {exit}' help)
for expected in run nightly compare champion show report eval space devices doctor; do
    grep -qx "$expected" <<<"$commands" || fail "--help does not list $expected"
done

run 0 --version
grep -Eq '[0-9]+\.[0-9]+\.[0-9]+' out || fail "--version names no version: $(head -n 1 out)"

for command in $commands; do
    run 0 "$command" --help
    grep -q "fatune $command" out || fail "$command --help has no usage line"
    grep -q -- '--help' out || fail "$command --help does not list --help"
    [ ! -s err ] || fail "$command --help prints to stderr"
    run 2 "$command" --no-such-option
    grep -q -- 'no-such-option' err || fail "$command --no-such-option: the message does not name it: $(head -n 1 err)"
    [ ! -s out ] || fail "$command --no-such-option prints to stdout"
done

# An option that is nearly right is suggested.
run 2 run --evaluation=3 "$SOURCE_DIR/spaces/s512.yaml"
grep -q -- '--evaluations' err || fail "run --evaluation does not suggest --evaluations: $(head -n 1 err)"

# No escape sequences where nobody looks at a terminal.
run 0 --help
if grep -q $'\033' out; then fail "--help colours a pipe"; fi

[ ! -e fatune.db ] || fail "asking for help creates a store"
exit $bad
