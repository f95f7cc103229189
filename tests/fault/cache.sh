#!/usr/bin/env bash
# Binaries in the cache that were cut short, changed or emptied are found by their digest and made again; of another compiler or
# architecture they are never looked at (row 40 of rows.txt). On the fake device.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
export FATUNE_FAKE_DEVICE=seed=3,noise=0

# eval: one candidate from start to end; what the compilers made is in $made.
eval_one() {
    local rc=0
    touch "$work/before"
    "$FATUNE_FAKE" eval "$SOURCE_DIR/tests/data/spaces/small.yaml" --device fake --store "$work/f.db" --json >"$work/out" 2>"$work/err" </dev/null || rc=$?
    [ $rc -eq 0 ] || fail "$1: exit $rc: $(tail -n 2 "$work/err")"
    grep -q '"fate": *"OK"' "$work/out" || fail "$1: the candidate is not OK: $(head -c 300 "$work/out")"
    made=$(find "$work/cache" -name '*.bin' -newer "$work/before" | wc -l)
}

eval_one "an empty cache"
all=$(find "$work/cache" -name '*.bin' | wc -l)
[ "$made" -eq "$all" ] && [ "$all" -ge 2 ] || fail "an empty cache: $made of $all binaries are made"
sleep 0.05
eval_one "a sound cache"
[ "$made" -eq 0 ] || fail "a sound cache: $made binaries are made again"
for damage in 'truncate -s 100' 'truncate -s 0' "sed -i 1s/./Z/" 'truncate -s +1'; do
    find "$work/cache" -name '*.bin' -exec $damage {} +
    find "$work/cache" -name '*.bin' -exec touch -d '1 hour ago' {} +
    eval_one "$damage"
    [ "$made" -eq "$all" ] || fail "$damage: $made of $all binaries are made again"
done
exit $bad
