#!/usr/bin/env bash
# fatune oracle on a real GPU: the CUDA templates depart nowhere, whichever way they walk and whatever the inputs, and the planted faults, in CUDA, are
# each blamed on their own stage and named.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
. "$SOURCE_DIR/tests/gpu/common.bash"
cd "$work" || exit 1
. "$SOURCE_DIR/tests/gpu/astray.bash"
# What is asked is asked by up to eight at once, each with a store and files of its own: most of the time goes to the compiler.
asked=0
asks() { # FUNCTION ARGUMENT...
    asked=$((asked + 1))
    mkdir "$asked"
    while [ "$(jobs -rp | wc -l)" -ge 8 ]; do wait -n || true; done
    (bad=0 && "$@" >"$asked/said" 2>&1; exit "$bad") || touch "$asked/bad" &
}

# right SPACE TEMPLATE SET INPUTS
right() {
    local rc=0
    "$FATUNE" oracle "$SOURCE_DIR/spaces/$1.yaml" --device cuda --template "$2" --set "$3" --inputs "$4" --rows 0:128 --head 1 \
        --store "$asked/f.db" >"$asked/out" 2>"$asked/err" </dev/null || rc=$?
    if [ "$rc" -ne 0 ] || ! grep -q '^no departure$' "$asked/out"; then
        fail "$2 $3 of $1, $4: exit $rc: $(cat "$asked/out" "$asked/err" | head -c 1500)"
    elif ! grep -q 'the same O, bit for bit' "$asked/out"; then
        echo "$2 $3, $4: $(grep 'ordinary build' "$asked/out")"
    fi
}
for set in BLOCK_N=64 BLOCK_N=64,RESCALE_LOG2=8 BLOCK_N=32,WARPS_KV=2; do asks right s512_causal fa_mma "$set" plain; done
for set in SOFTMAX_REGS=0 SOFTMAX_REGS=1 USE_WMMA_QK=0; do asks right s512_causal fa_wmma "$set" plain; done
for inputs in large_logits dominant_key growing_maximum offset_v; do asks right s512 fa_mma BLOCK_N=64 "$inputs"; done
if "$FATUNE" devices --json | grep -q '"arch": *"sm_90'; then
    for set in OVERLAP=0 OVERLAP=0,RESCALE_LOG2=8 BLOCK_N=128,STAGES=0,OVERLAP=1,Q_REGS=1 CLUSTER=2,BLOCK_N=64,STAGES=0,OVERLAP=1,Q_REGS=1 \
        WG_KV=2,BLOCK_N=64,STAGES=0,OVERLAP=2 WG_KV=2,BLOCK_N=64,STAGES=0,OVERLAP=3 WG_KV=2,BLOCK_N=64,STAGES=0,OVERLAP=3,Q_REGS=1; do
        asks right s512 fa_wgmma "$set" plain
    done
    for set in OVERLAP=0,RESCALE_LOG2=8 WG_KV=2,BLOCK_N=64,STAGES=0,OVERLAP=3; do asks right s512 fa_wgmma "$set" growing_maximum; done
    asks right s512_causal fa_wgmma WG_KV=2,BLOCK_N=64,STAGES=0,OVERLAP=3,Q_REGS=1 plain
fi
points=$asked

# fault N LINE...: what must be said of it
fault() {
    local rc=0 number=$1 line
    shift
    "$FATUNE" oracle astray_cuda.yaml --templates . --device cuda --set "FAULT=$number" --store "$asked/f.db" >"$asked/out" 2>"$asked/err" </dev/null ||
        rc=$?
    [ "$rc" -eq 3 ] || fail "fault $number: exit $rc"
    for line; do grep -q "^ *$line" "$asked/out" || fail "fault $number: not told: $line: $(cat "$asked/out" "$asked/err" | head -c 1500)"; done
}
asks fault 1 'S departs first' 'all scaled by one factor, 0.675'
asks fault 2 'M departs first' 'no maximum is subtracted: the exponentials are taken against 0'
asks fault 3 'O departs first' 'stale: as it was before key 64' 'only columns whose index modulo 8 is 3'
asks fault 4 'O departs first' 'not rescaled:'
asks fault 5 'S departs first' 'masked too much: the mask is off by one'
asks fault 6 'S departs first' 'shifted: each holds what belongs 16 keys before it, as if the tile were a stale one'
asks fault 7 'the fault goes away when the kernel is watched'
asks fault 8 'O departs first' 'the sum of weights is not rescaled'
asks fault 9 'O departs first' 'keys 32 to 47 have the values of a tile beside theirs'
asks fault 11 'S departs first' NaN
asks fault 12 'S departs first' 'all scaled by one factor, 5.657: as if the scale were not applied'
wait
for ((i = 1; i <= asked; i++)); do
    cat "$i/said"
    if [ -e "$i/bad" ] || [ ! -e "$i/out" ]; then bad=1; fi
done
"$FATUNE" oracle astray_cuda.yaml --templates . --device cuda --store f.db >out 2>err </dev/null || fail "without a fault: $(cat out err)"
no_workers "after all"
[ $bad -ne 0 ] || echo "$points points without a departure, $((asked - points)) faults named"
exit $bad
