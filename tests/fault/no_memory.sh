#!/usr/bin/env bash
# An allocation of a run fails, the n-th, for as many n as there is time (FATUNE_CHAOS_S: seconds for each line below). Under AddressSanitizer
# those of fatune's own code, and what leaks on the way out is found too. `chaos.py --kinds` takes the first of each kind of allocation instead:
# some 2,200 in the supervisor and 4,600 in its workers, an hour.
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
chaos supervisor malloc ENOMEM --below 3000
chaos supervisor malloc ENOMEM
chaos worker malloc ENOMEM
exit $bad
