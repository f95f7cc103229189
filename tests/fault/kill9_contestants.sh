#!/usr/bin/env bash
# kill -9 of the supervisor at random instants of runs that meet contestants: none of them stays, nothing that was committed is lost, and
# the runs get through to the same champion.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
export FATUNE_FAKE_DEVICE="noise=0,session=0,spikes=0"
fake=$SOURCE_DIR/tests/data/contestants/fake
{ cat "$SOURCE_DIR/tests/data/spaces/small.yaml"; echo "contestants: [{name: one, command: [$fake, --sleep, 0.001]}, {name: two, command: [$fake, --us, 900]}]"; } >"$work/s.yaml"
kills=${FATUNE_KILLS:-8} limit=$((${FATUNE_KILLS:-8} * 15))
timeout --kill-after=5 $((limit + 80)) python3 -B "$SOURCE_DIR/tests/fault/kill9.py" "$FATUNE_FAKE" "$work/s.yaml" --device fake \
    --option=--evaluations=6 --option=--allow-contestants --kills "$kills" --limit "$limit" ${FATUNE_KILL_SEED:+--seed "$FATUNE_KILL_SEED"} || bad=1
no_workers "after all"
exit $bad
