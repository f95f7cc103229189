#!/usr/bin/env bash
# The supervisor's memory stays flat over a search of many candidates. FATUNE_SOAK=100000 is the promise itself: a few minutes.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
! grep -q __asan_init "$FATUNE_FAKE" || { echo "AddressSanitizer keeps what was freed: its memory says nothing"; exit 77; }
export FATUNE_FAKE_DEVICE="noise=0,session=0,spikes=0"
# In memory where that can be: thousands of small files, each synced, say more of the disk than of fatune.
if [ -w /dev/shm ]; then
    rm -rf "$work"
    work=$(mktemp -d -p /dev/shm)
    export FATUNE_FAULT_TEST=$work
fi
python3 -B "$SOURCE_DIR/tests/fault/flat.py" "$FATUNE_FAKE" "$SOURCE_DIR/tests/data/spaces/vast.yaml" "$SOURCE_DIR/tests/data/templates" \
    "$work" "${FATUNE_SOAK:-3000}" || bad=1
no_workers "after all"
store check "$work/flat.db" >"$work/check" || fail "$(cat "$work/check")"
exit $bad
