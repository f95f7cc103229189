#!/usr/bin/env bash
# kill -9 of the supervisor at random instants of a night that checks a champion anew, settles its promotion, searches and times the anchor
# (row 28 of the fault list).
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
export FATUNE_FAKE_DEVICE="seed=3,noise=0,session=0,spikes=0"
for options in "--evaluations 3" "--seed 5"; do
    # shellcheck disable=SC2086 # two words
    "$FATUNE_FAKE" run "$SOURCE_DIR/spaces/smoke.yaml" --device fake $options --store "$work/begin.db" --quiet >/dev/null 2>"$work/err" </dev/null ||
        fail "run $options: $(cat "$work/err")"
done
kills=${FATUNE_KILLS:-15} limit=$((${FATUNE_KILLS:-15} * 8))
timeout --kill-after=5 $((limit + 80)) python3 -B "$SOURCE_DIR/tests/fault/kill9.py" "$FATUNE_FAKE" "$SOURCE_DIR/spaces/smoke.yaml" --device fake \
    --command nightly --begin "$work/begin.db" --option=--evaluations=24 --kills "$kills" --limit "$limit" \
    ${FATUNE_KILL_SEED:+--seed "$FATUNE_KILL_SEED"} || bad=1
no_workers "after all"
exit $bad
