#!/usr/bin/env bash
# A read or write on the pipes between supervisor and workers fails, the n-th, for as many n as there is time (FATUNE_CHAOS_S: seconds for each
# line below): an error, a call that is cut short or interrupted, the other end gone, or a worker that stalls for ever.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
export FATUNE_FAKE_DEVICE="noise=0,session=0,spikes=0"
sed 's/^  FAULT: .*/  FAULT: [0]\n  ROWS: [2, 4]\n  PASSES: [4]/; s/repeats: 10/repeats: 2/' "$SOURCE_DIR/tests/data/spaces/planted.yaml" >"$work/two.yaml"
# chaos WHO WHAT HOW...
chaos() {
    python3 -B "$SOURCE_DIR/tests/fault/chaos.py" "$FATUNE_CHAOS_PROGRAM" "$FATUNE_CHAOS_LIBRARY" "$work/two.yaml" "$SOURCE_DIR/tests/data/templates" \
        --seconds "${FATUNE_CHAOS_S:-15}" "$@" || bad=1
}
if [ -n "$FATUNE_CHAOS_LIBRARY" ]; then # the supervisor's pipes are libuv's
    chaos supervisor read EIO eof short EINTR
    chaos supervisor write EIO EPIPE short EINTR
fi
chaos worker read EIO eof short EINTR stall
chaos worker write EIO EPIPE short EINTR stall
exit $bad
