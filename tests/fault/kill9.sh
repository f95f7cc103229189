#!/usr/bin/env bash
# kill -9 of the supervisor at random instants of runs on the fake device (row 28 of the fault list). Each store is killed again and again
# until its run gets through. FATUNE_KILLS=500 is the promise itself: a quarter of an hour.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
export FATUNE_FAKE_DEVICE="noise=0,session=0,spikes=0"
kills=${FATUNE_KILLS:-50} limit=$((${FATUNE_KILLS:-50} * 4))
timeout --kill-after=5 $((limit + 80)) python3 -B "$SOURCE_DIR/tests/fault/kill9.py" "$FATUNE_FAKE" "$SOURCE_DIR/spaces/smoke.yaml" --device fake \
    --option=--evaluations=60 --kills "$kills" --limit "$limit" ${FATUNE_KILL_SEED:+--seed "$FATUNE_KILL_SEED"} || bad=1
no_workers "after all"
exit $bad
