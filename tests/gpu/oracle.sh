#!/usr/bin/env bash
# fatune oracle on a real GPU: the CUDA templates depart nowhere, whichever way they walk and whatever the inputs, and the planted faults, in CUDA, are
# each blamed on their own stage and named.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
. "$SOURCE_DIR/tests/gpu/common.bash"
cd "$work" || exit 1
. "$SOURCE_DIR/tests/gpu/astray.bash"
seen=0

# right SPACE TEMPLATE SET INPUTS
right() {
    local rc=0
    "$FATUNE" oracle "$SOURCE_DIR/spaces/$1.yaml" --device cuda --template "$2" --set "$3" --inputs "$4" --rows 0:128 --head 1 --store f.db >out 2>err </dev/null || rc=$?
    if [ "$rc" -eq 0 ] && grep -q '^no departure$' out; then
        seen=$((seen + 1))
        grep -q 'the same O, bit for bit' out || echo "$2 $3, $4: $(grep 'ordinary build' out)"
    else
        fail "$2 $3 of $1, $4: exit $rc: $(cat out err | head -c 1500)"
    fi
}
for set in BLOCK_N=64 BLOCK_N=64,RESCALE_LOG2=8 BLOCK_N=32,WARPS_KV=2; do right s512_causal fa_mma "$set" plain; done
for set in SOFTMAX_REGS=0 SOFTMAX_REGS=1 USE_WMMA_QK=0; do right s512_causal fa_wmma "$set" plain; done
for inputs in large_logits dominant_key growing_maximum offset_v; do right s512 fa_mma BLOCK_N=64 "$inputs"; done
if "$FATUNE" devices --json | grep -q '"arch": *"sm_90'; then
    for set in OVERLAP=0 OVERLAP=0,RESCALE_LOG2=8 BLOCK_N=128,STAGES=0,OVERLAP=1,Q_REGS=1 CLUSTER=2,BLOCK_N=64,STAGES=0,OVERLAP=1,Q_REGS=1 \
        BLOCK_N=128,STAGES=0,OVERLAP=2 WG_KV=2,BLOCK_N=64,STAGES=0,OVERLAP=3 WG_KV=2,BLOCK_N=64,STAGES=0,OVERLAP=3,Q_REGS=1; do
        right s512 fa_wgmma "$set" plain
    done
    for set in OVERLAP=0,RESCALE_LOG2=8 WG_KV=2,BLOCK_N=64,STAGES=0,OVERLAP=3; do right s512 fa_wgmma "$set" growing_maximum; done
    right s512_causal fa_wgmma WG_KV=2,BLOCK_N=64,STAGES=0,OVERLAP=3,Q_REGS=1 plain
fi

# fault N LINE...: what must be said of it
fault() {
    local rc=0 number=$1 line
    shift
    "$FATUNE" oracle astray_cuda.yaml --templates . --device cuda --set "FAULT=$number" --store f.db >out 2>err </dev/null || rc=$?
    [ "$rc" -eq 3 ] || fail "fault $number: exit $rc"
    for line; do grep -q "^ *$line" out || fail "fault $number: not told: $line: $(cat out err | head -c 1500)"; done
}
fault 1 'S departs first' 'all scaled by one factor, 0.675'
fault 2 'M departs first' 'no maximum is subtracted: the exponentials are taken against 0'
fault 3 'O departs first' 'stale: as it was before key 64' 'only columns whose index modulo 8 is 3'
fault 4 'O departs first' 'not rescaled:'
fault 5 'S departs first' 'masked too much: the mask is off by one'
fault 6 'S departs first' 'shifted: each holds what belongs 16 keys before it, as if the tile were a stale one'
fault 7 'the fault goes away when the kernel is watched'
fault 8 'O departs first' 'the sum of weights is not rescaled'
fault 9 'O departs first' 'keys 32 to 47 have the values of a tile beside theirs'
fault 11 'S departs first' NaN
fault 12 'S departs first' 'all scaled by one factor, 5.657: as if the scale were not applied'
"$FATUNE" oracle astray_cuda.yaml --templates . --device cuda --store f.db >out 2>err </dev/null || fail "without a fault: $(cat out err)"
no_workers "after all"
echo "$seen points without a departure, 11 faults named"
exit $bad
