#!/usr/bin/env bash
# Tensor maps and clusters on a real GPU: points of the template `mapped` give the right result, checked in full and timed in graphs.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
. "$SOURCE_DIR/tests/gpu/common.bash"
space=$SOURCE_DIR/tests/data/spaces/mapped.yaml
options=(--device cuda --templates "$SOURCE_DIR/tests/data/templates" --store "$work/f.db")
"$FATUNE" space "$space" "${options[@]:0:4}" >"$work/space" 2>&1 || { grep -q "need sm_90" "$work/space" && echo "needs sm_90" && exit 77; }
n=0
for set in BLOCK_N=16,SWIZZLE=128,CLUSTER=2 BLOCK_N=64,SWIZZLE=64,CLUSTER=1 BLOCK_N=32,SWIZZLE=32,CLUSTER=2 BLOCK_N=64,SWIZZLE=0,CLUSTER=2,FETCH=0; do
    "$FATUNE" eval "$space" "${options[@]}" --set "$set" --json >"$work/out" 2>&1 </dev/null || fail "$set: exit $?"
    grep -q '"fate": *"OK"' "$work/out" || fail "$set: $(head -c 600 "$work/out")"
    n=$((n + 1))
done
echo "$n points"
exit $bad
