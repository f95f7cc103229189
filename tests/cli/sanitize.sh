#!/usr/bin/env bash
# fatune sanitize around a tool that behaves in every way: only a log without reports, an exit code of 0 and a kernel that ran and passed are
# clean; a missing, refused, silent, crashed or cut-off tool has not run, whatever its exit code; waived is not clean (row 39 of the fault list).
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
space=$SOURCE_DIR/tests/data/spaces/small.yaml
tool=$SOURCE_DIR/tests/data/sanitizer/compute-sanitizer
export FATUNE_FAKE_DEVICE=seed=3,noise=0.001 FATUNE_STORE=$work/f.db
run 0 run "$space" --device fake --evaluations 3

# says_of BEHAVIOUR CODE OUTCOME OPTIONS...: of memcheck alone
says_of() {
    local how=$1 code=$2 want=$3
    shift 3
    FAKE_SANITIZER=$how run "$code" sanitize v1 --device fake --sanitizer "$tool" --tool memcheck --json "$@"
    json "[t['outcome'] for t in d['tools']] == ['$want']"
}

says_of clean 0 clean
json "d['tools'][0]['reports'] == 0 and d['template'] and 'passed its check' in d['tools'][0]['why']"
cmp -s out sanitize/v1/summary.json || json "d == __import__('json').load(open('sanitize/v1/summary.json'))"
grep -q 'ERROR SUMMARY: 0 errors' sanitize/v1/memcheck.log || fail "no log"
[ "$(python3 -B -c 'import json; print(json.load(open("sanitize/v1/memcheck.json"))["fate"])')" = OK ] || fail "eval's answer is not there"
says_of error 3 errors
json "d['tools'][0]['reports'] == 1 and d['tools'][0]['texts'][0].startswith('Invalid __global__ write')"
says_of two 3 errors
json "d['tools'][0]['reports'] == 2"
says_of miscount 3 errors
says_of mute 3 errors
says_of refused 4 'not run'
json "'Device not supported' in d['tools'][0]['why']"
says_of silent 4 'not run'
says_of crash 3 errors
says_of blind 4 'not run'
json "'not seen' in d['tools'][0]['why']"
says_of killed 4 'not run'
says_of hang 4 'not run' --minutes 0.02
json "'--minutes' in d['tools'][0]['why']"
for ((i = 0; i < 50; i++)); do pgrep -f "$work/sanitize" >/dev/null || break; sleep 0.1; done
[ "$i" -lt 50 ] || fail "the tool is still there"

# All tools; racecheck has a summary of its own.
FAKE_SANITIZER=race run 3 sanitize v1 --device fake --sanitizer "$tool"
says out '^racecheck  errors '
FAKE_SANITIZER=clean FAKE_SANITIZER_ASKED=$work/asked run 0 sanitize v1 --device fake --sanitizer "$tool"
# Only initcheck's outputs are left as they were allocated: what it is there to see, the poison of the others would hide.
[ "$(grep -l -- --unwritten asked | wc -l)$(grep -- --unwritten asked | cut -d: -f1)" = 1initcheck ] || fail "asked: $(cat asked)"
[ "$(wc -l <asked)" = 4 ] || fail "not four tools: $(cat asked)"
[ "$(grep -c ' clean ' out)" = 4 ] || fail "not four clean tools: $(cat out)"
# From PATH, and not there.
FAKE_SANITIZER=clean PATH=${tool%/*}:$PATH run 0 sanitize v1 --device fake --tool synccheck
(PATH=/usr/bin:/bin FAKE_SANITIZER=clean run 4 sanitize v1 --device fake --sanitizer compute-sanitizer-absent --tool memcheck; exit $bad) || bad=1
says out 'not run  compute-sanitizer-absent cannot be started; it comes with the CUDA toolkit'

# Waivers: of this tool, of this text, until this day.
waiver() { printf -- '- {tool: %s, match: "%s", why: "seen before", until: %s}\n' "$@"; }
waiver memcheck '__global__ write.*' 2999-12-31 >w.yaml
says_of error 0 waived --waivers w.yaml
json "d['tools'][0]['waived'] == 1 and d['tools'][0]['texts'] == []"
FAKE_SANITIZER_CODE=139 says_of error 4 'not run' --waivers w.yaml # all waived, and the tool crashed
says_of two 3 errors --waivers w.yaml
json "d['tools'][0]['texts'][0].startswith('Invalid __shared__')"
says_of clean 0 clean --waivers w.yaml
says_of miscount 3 errors --waivers w.yaml
for other in 'racecheck __global__ 2999-12-31' 'memcheck __local__ 2999-12-31' 'memcheck __global__ 2020-01-01'; do
    # shellcheck disable=SC2086 # three words
    waiver $other >other.yaml
    says_of error 3 errors --waivers other.yaml
done
waiver memcheck '(' 2999-12-31 >bad.yaml
run 3 sanitize v1 --device fake --sanitizer "$tool" --waivers bad.yaml
says err 'bad.yaml:1:.*regular expression'
waiver memcheck x 2999-13-31 >bad.yaml
run 3 sanitize v1 --device fake --sanitizer "$tool" --waivers bad.yaml
says err 'bad.yaml:1:.*YYYY-MM-DD'

# A point of a space, in a folder that is not there yet, and what is no name.
FAKE_SANITIZER=clean run 0 sanitize "$space" --device fake --sanitizer "$tool" --tool memcheck --store new/folder/f.db
run 2 sanitize v9 --device fake --sanitizer "$tool"
run 2 sanitize v1 --set A=1 --sanitizer "$tool"
run 2 sanitize v1 --tool cachecheck
exit $bad
