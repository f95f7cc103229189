#!/usr/bin/env bash
. "${SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}/tests/cli/emulate.bash"
emulate fa_wgmma emulate_wgmma
small="BATCH=1 HEADS=2 KV_HEADS=1 WRITE_LSE=1"
# shellcheck disable=SC2086
{
    run 1 $small SEQ_Q=64 SEQ_KV=128 WG_Q=1 BLOCK_N=64 STAGES=0
    run 1 $small SEQ_Q=197 SEQ_KV=333 WG_Q=1 WG_KV=2 BLOCK_N=32 STAGES=2 CAUSAL=1
}
finish
