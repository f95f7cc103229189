#!/usr/bin/env bash
# 300 candidates of which 60 are hostile, with real kernels and a real compiler on a real GPU (tests/fault/hostile.bash); the GPU is
# free and sound afterwards. About 90 s on an H200 with 16 cores.
# shellcheck disable=SC2154 # bad, work and took come from the files below
. "$SOURCE_DIR/tests/fault/common.bash"
. "$SOURCE_DIR/tests/gpu/common.bash"
. "$SOURCE_DIR/tests/fault/hostile.bash"
export FATUNE_DEADLINE_S=5
program=$FATUNE device=cuda

hostile_run clean 0
clean=$took
hostile_run hostile "$(seq -s, 0 17)"
gpu_is_sound "after the hostile run" "$work/hostile/hostile.yaml" --templates "$SOURCE_DIR/tests/data/templates"
hostile_judge "$clean" "$took" <<'FATES'
0 OK
1 CRASH
2 HANG
3 CRASH
4 CRASH
5 COMPILE_TIMEOUT
6 COMPILE
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
exit $bad
