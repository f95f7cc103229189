#!/usr/bin/env bash
# kill -9 of the supervisor at 20 random instants (FATUNE_KILLS) of a run on a GPU: no process stays, the store is sound, the run gets
# through, and the GPU is free (row 28 of the fault list). About 100 s.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
. "$SOURCE_DIR/tests/gpu/common.bash"
sed "s/^  FAULT: .*/  ROWS: [1, 2]\n  PASSES: [1, 4]\n  FAULT: [0]/" "$SOURCE_DIR/tests/data/spaces/planted.yaml" >"$work/planted.yaml"
timeout --kill-after=5 170 python3 -B "$SOURCE_DIR/tests/fault/kill9.py" "$FATUNE" "$work/planted.yaml" --device cuda --length 5 --kills "${FATUNE_KILLS:-20}" --least 20 --limit 150 \
    --option=--templates="$SOURCE_DIR/tests/data/templates" ${FATUNE_KILL_SEED:+--seed "$FATUNE_KILL_SEED"} || bad=1
no_workers "after all"
gpu_is_sound "after all" "$work/planted.yaml" --templates "$SOURCE_DIR/tests/data/templates"
exit $bad
