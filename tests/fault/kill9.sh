#!/usr/bin/env bash
# kill -9 of the supervisor at 50 random instants of runs on the fake device (row 28 of the fault list). Each store is killed
# again and again until its run gets through.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
export FATUNE_FAKE_DEVICE="noise=0,session=0,spikes=0"
timeout --kill-after=5 280 python3 -B "$SOURCE_DIR/tests/fault/kill9.py" "$FATUNE_FAKE" "$SOURCE_DIR/spaces/smoke.yaml" --device fake \
    --option=--evaluations=60 --kills "${FATUNE_KILLS:-50}" --limit 200 ${FATUNE_KILL_SEED:+--seed "$FATUNE_KILL_SEED"} || bad=1
no_workers "after all"
exit $bad
