#!/usr/bin/env bash
# 300 candidates of which 60 are hostile, on the fake device (tests/fault/hostile.bash).
# shellcheck disable=SC2154 # bad, work and took come from the files below
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
. "$SOURCE_DIR/tests/fault/hostile.bash"
export FATUNE_FAKE_DEVICE="noise=0,session=0,spikes=0" FATUNE_DEADLINE_S=3
program=$FATUNE_FAKE device=fake

hostile_run clean 0
clean=$took
hostile_run hostile "$(seq -s, 0 17)"
hostile_judge "$clean" "$took" <<'FATES'
0 OK
1 CRASH
2 HANG
3 CRASH
4 CRASH
5 COMPILE_TIMEOUT
6 COMPILE_CRASH
7 OK
8 OK
9 CORRUPT
10 WRONG
11 NONDET
12 COMPILE
13 CORRUPT
14 WRONG
15 WRONG
16 WRONG
17 WRONG
FATES
# The fastest that pass every check break in their trials: invalid, and they kept nobody from a place among the finalists.
python3 -B - "$work/hostile/out.json" <<'X' || fail "the points that break in their sessions were not found invalid, or took good ones' places"
import json, sys
trials = json.load(open(sys.argv[1]))['trials']
outcomes = [t['verdict']['outcome'] for t in trials if 'FAULT=8' in t['candidate']]
sys.exit(0 if set(outcomes) == {'INVALID'} and any(t['verdict']['outcome'] == 'PROMOTE' for t in trials) else 1)
X
exit $bad
