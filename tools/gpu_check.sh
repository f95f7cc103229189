#!/usr/bin/env bash
# Everything that needs a real GPU, in at most nine minutes (GPU_CHECK_SECONDS; what has no time left fails), on a machine that has a driver and nothing else.
#   tools/gpu_check.sh        from the root of a copy of the tree with build-portable/bin (or build/) in it
# Records go to $OUT, by default results/gpu_check: summary.txt, steps.log, fatune.db.xz, evidence_s512.tar.gz; tools/record.py makes a page of them.
#   tools/gpu_check.sh --contestants [SPACE...]
# instead runs the spaces named (by default those below) with their contestants, in about fifteen minutes: one table, contestants.md and
# contestants.json, written anew after each space. Needs what the contestants need (tools/contestants/README.md). Records go to
# results/gpu_check_contestants.
#   tools/gpu_check.sh --faults
# makes the first half of it alone: the tests that need a GPU, above all what docs/FAULTS.md promises of one.
#   tools/gpu_check.sh --instruments
# makes another part of it alone: what explains a kernel, on a short run of s512. The tile oracle and the sanitizers find
# what was planted, the profile's ceilings are plausible, and the champion's evidence holds.
#   tools/gpu_check.sh --decisions
# instead asks whether decisions hold there, in about six minutes: two nights of s512, 20 comparisons of its champion with itself, which
# must all come out the same, and five each of two pairs of kernels 1 to 3% apart, which must be told apart the same way five times. All are
# in the store that comes back; decisions.jsonl has what each comparison said, noise.txt the device's noise. Records go to
# results/gpu_check_decisions.
#   tools/gpu_check.sh --rate [SPACE[=NAME]...]
# instead asks how fast a search is: every point of s512 with an empty cache, then twice in a new store beside that cache, in three minutes; or every
# point of the spaces named; who comes again under another NAME finds the cache warm. What each run printed is in rate_NAME.txt, what it tried in
# rate_NAME_t4.json.gz; records go to results/gpu_check_rate.
# Ends with 1 when a step failed.
set -u
cd "$(dirname "$0")/.." || exit 1
CONTESTED=(s512 s512_causal s512_cold b8_s512 b8_s512_causal s1024 s1024_causal s4096_d128 s4096_d128_causal)
# Proposals: 15 to 25 a second where a candidate is checked quickly, 3 at 4x16x4096x128.
declare -A EVALUATIONS=([s512]=450 [s512_causal]=450 [s512_cold]=300 [b8_s512]=200 [b8_s512_causal]=200 [s4096_d128]=60 [s4096_d128_causal]=60)

known() {
    [[ $1 != */* && -f spaces/$1.yaml ]] || { echo "tools/gpu_check.sh: no spaces/$1.yaml; a space is named without folder and suffix" >&2; exit 2; }
}

mode=check records=results/gpu_check seconds=540
case ${1:-} in
'') ;;
--contestants)
    shift
    mode=contestants records=results/gpu_check_contestants seconds=1100
    [ $# -eq 0 ] || CONTESTED=("$@")
    for space in "${CONTESTED[@]}"; do
        known "$space"
    done
    ;;
--faults)
    [ $# -eq 1 ] || { echo "tools/gpu_check.sh: --faults takes nothing behind it" >&2; exit 2; }
    mode=faults
    ;;
--instruments)
    [ $# -eq 1 ] || { echo "tools/gpu_check.sh: --instruments takes nothing behind it" >&2; exit 2; }
    mode=instruments_alone
    ;;
--decisions)
    [ $# -eq 1 ] || { echo "tools/gpu_check.sh: --decisions takes nothing behind it" >&2; exit 2; }
    mode=decisions records=results/gpu_check_decisions seconds=560
    ;;
--rate)
    shift
    mode=rate records=results/gpu_check_rate seconds=570
    searches=("$@")
    [ $# -gt 0 ] || searches=(s512 s512=warm_1 s512=warm_2)
    for space in "${searches[@]}"; do
        known "${space%=*}"
    done
    ;;
*)
    echo "tools/gpu_check.sh: unknown option $1; usage: tools/gpu_check.sh [--contestants [SPACE...] | --faults | --instruments | --decisions | --rate [SPACE[=NAME]...]]" >&2
    exit 2
    ;;
esac

if [ -x build-portable/bin/fatune ]; then
    bin=$PWD/build-portable/bin tests=$PWD/build-portable/bin
    # The program looks for templates and contestants where an installation has them.
    mkdir -p build-portable/share/fatune
    ln -sfn "$PWD/kernel_templates" build-portable/share/fatune/kernel_templates
    ln -sfn "$PWD/tools/contestants" build-portable/share/fatune/contestants
elif [ -x build/fatune ]; then
    bin=$PWD/build tests=$PWD/build/tests
else
    echo "tools/gpu_check.sh: no build-portable/bin/fatune; make it with: cmake --preset portable && cmake --build --preset portable" >&2
    exit 4
fi
out=${OUT:-$records}
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
# The store's folder also holds the cache of binaries, hundreds of files that nobody needs back: it is a temporary one.
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
: >"$out/steps.log"
export out work FATUNE=$bin/fatune FATUNE_STORE=$work/fatune.db SOURCE_DIR=$PWD NO_COLOR=1
TOTAL_S=${GPU_CHECK_SECONDS:-$seconds} # the whole check; steps get what is left of it
begin=$SECONDS
failed=0
rows=()

# step NAME LIMIT_S COMMAND...: runs it under a limit, its output to NAME.log. 77 is a skip.
step() {
    local name=$1 limit=$2 start=$SECONDS left rc word
    shift 2
    left=$((TOTAL_S - (SECONDS - begin)))
    [ "$left" -lt "$limit" ] && limit=$left
    if [ "$limit" -le 0 ]; then
        rows+=("$(printf '%-22s %-8s %5s  no time left' "$name" FAILED -)")
        failed=1
        return
    fi
    echo "== $name (at most $limit s): $*"
    # A run that is interrupted keeps what it measured; one that does not leave within 10 s more is killed.
    timeout --signal=INT --kill-after=10 "$limit" "$@" >"$work/$name.log" 2>&1 </dev/null
    rc=$?
    case $rc in
    0) word=ok ;;
    77) word=skipped ;;
    124 | 137) word=TIMEOUT failed=1 ;;
    *) word=FAILED failed=1 ;;
    esac
    tail -n 15 "$work/$name.log"
    { echo "== $name: $word, $((SECONDS - start)) s: $*"; cat "$work/$name.log"; echo; } >>"$out/steps.log"
    rows+=("$(printf '%-22s %-8s %4ss  %s' "$name" "$word" $((SECONDS - start)) "$(tail -n 1 "$work/$name.log" | tr -d '\r' | cut -c1-100)")")
}

# The tests that need a GPU.
faults() {
    shopt -s nullglob
    for test in "$tests"/test_device_cuda* "$tests"/test_cuda_api*; do
        step "$(basename "$test")" 60 "$test"
    done
    # The promises that only a GPU can show; faults.sh comes first and makes the runs that they share.
    export FATUNE_CANDIDATES=$work/runs FATUNE_UNIT_TESTS=$tests FATUNE_FAULT_RESULTS=$out/fault_rows
    step gpu_faults 120 bash tests/gpu/faults.sh
    step gpu_rows 10 python3 -B tools/faults.py gpu
    for row in $(python3 -B tools/faults.py gpu); do
        step "gpu_row_$row" 180 python3 -B tools/faults.py run "$row" gpu
    done
    step gpu_hostile 150 bash tests/gpu/hostile.sh
    for script in tests/gpu/*.sh; do
        case $script in */hostile.sh | */oracle.sh | */profile.sh) continue ;; esac
        grep -q "^gpu .*${script#tests/}" tests/fault/rows.txt || step "gpu_$(basename "$script" .sh)" 90 bash "$script"
    done
}

# What s512's champion rests on: collected with the device, so that both masks are checked now, verified, and kept.
evidence() { # in a shell of its own, under a limit
    local name track
    read -r name track <<<"$("$FATUNE" champion list --json | python3 -B -c '
import json, sys
print(*next((c["name"], c["track"]) for c in json.load(sys.stdin) if c["space"] == "s512"))')"
    "$FATUNE" evidence "$name" --track "$track" --out "$work/evidence_s512" && "$FATUNE" evidence --verify "$work/evidence_s512" &&
        [ -e "$work/evidence_s512/kernel.cubin" ] && python3 -B -c '
import json, sys
masks = {m["mask"]: m["not_run"] for m in json.load(sys.stdin)["now"]}
sys.exit(masks != {"none": None, "causal": None} and f"checks of both masks are not there: {masks}")' <"$work/evidence_s512/correctness.json" &&
        tar -C "$work" -czf "$out/evidence_s512.tar.gz" evidence_s512
}

# What explains a kernel; v1 is a champion of s512.
instruments() {
    step gpu_oracle 90 bash tests/gpu/oracle.sh
    step gpu_profile 90 bash tests/gpu/profile.sh
    # Exit code 4: Nsight Compute was not run, which many machines refuse; the ceilings must be there all the same.
    step profile_v1 60 sh -c '{ "$FATUNE" profile v1 || [ $? -eq 4 ]; } && cp "$work/profile/v1/summary.json" "$0/profile.json" && "$FATUNE" profile v1 --roofline' "$out"
    step evidence 60 bash -c evidence
}

instruments_alone() {
    step gpu_sanitize 120 bash tests/gpu/sanitize.sh
    step run_s512 150 "$FATUNE" run spaces/s512.yaml --evaluations 300 --minutes 1 --no-contestants
    instruments
}

# Those, the main job over whole spaces, and what only a GPU can show.
check() {
    faults
    # The main job, and once more: the second run must not compile or search again. Nobody else's software is needed here.
    for space in s512 s512_causal; do
        step "run_$space" 150 "$FATUNE" run "spaces/$space.yaml" --minutes 1.5 --no-contestants
    done
    step again_s512 60 sh -c '"$FATUNE" run spaces/s512.yaml --minutes 1.5 --no-contestants | tee /dev/stderr | grep -q " 0 compilations"'
    for space in s1024_gqa tail; do
        step "eval_$space" 20 sh -c '"$FATUNE" eval "spaces/$1.yaml" --json | tee /dev/stderr | grep -q "\"fate\": \"OK\""' eval "$space"
    done
    step eval_opencl 40 sh -c '"$FATUNE" eval spaces/s512.yaml --device opencl --json | tee /dev/stderr | grep -q "\"fate\": \"OK\""'
    step tensor_cores 10 sh -c '"$FATUNE" show v1 --json | tee /dev/stderr | grep -Eq "\"(wmma|mma|wgmma)[a-z_.]*\": [1-9]"'
    step champions 10 "$FATUNE" champion list
    instruments
}

export -f evidence
export out

# contested SPACE: one run, its JSON beside that of its space.
contested() {
    "$FATUNE" space "spaces/$1.yaml" --json >"$work/$1.space.json" || return 1
    "$FATUNE" run "spaces/$1.yaml" --evaluations "$2" --minutes 2 --json >"$work/$1.run.json"
}

contestants() {
    local space stems=()
    export -f contested
    for space in "${CONTESTED[@]}"; do
        step "run_$space" 200 bash -c 'contested "$@"' run "$space" "${EVALUATIONS[$space]:-120}"
        stems+=("$space=$work/$space")
        python3 -B tools/contestant_table.py "$out" "${stems[@]}"
    done
    [[ " ${CONTESTED[*]} " != *" s512 "* ]] || step evidence 60 bash -c evidence
    step table 10 python3 -B tools/contestant_table.py "$out" "${stems[@]}"
}

# compared WANTED TIMES A B: so many comparisons, one line each; all must say the same, WANTED (same) or anything but (different).
compared() {
    local wanted=$1 times=$2 first='' relation i
    for ((i = 1; i <= times; i++)); do
        "$FATUNE" compare "$3" "$4" --json >"$work/compare.json" || return 1
        python3 -B -c '
import json, sys
r = json.load(open(sys.argv[1]))
v = r["verdict"]
print("%-9s B / A %.5f [%.5f, %.5f]  %d sessions  %s against %s" % (r["relation"], v["ratio"], *v["ratio_boot_t"], r["sessions"], r["b"], r["a"]))
open(sys.argv[2], "a").write(json.dumps(r) + "\n")' "$work/compare.json" "$out/decisions.jsonl" | tee "$work/compare.txt" || return 1
        read -r relation _ <"$work/compare.txt"
        case $wanted/$relation in
        same/same | different/faster | different/slower) ;;
        *) echo "comparison $i of $times: $relation" && return 1 ;;
        esac
        [ "$relation" = "${first:=$relation}" ] || { echo "comparison $i of $times: $relation, the first said $first"; return 1; }
    done
    echo "$times of $times: $first"
}

decisions() {
    local wgmma=fa_wgmma:BLOCK_N=128,STAGES=0,OVERLAP=1,Q_REGS=1 mma=fa_mma:BLOCK_M=64,STAGES_K=0,STAGES_V=0
    export -f compared
    : >"$out/decisions.jsonl"
    for night in 1 2; do
        step "night_$night" 180 "$FATUNE" nightly spaces/s512.yaml --minutes 1.5 --reports "$out/nights"
    done
    step history 10 "$FATUNE" champion history
    step ledger 10 "$FATUNE" champion ledger
    step aa 240 bash -c 'compared "$@"' compared same 20 champion champion
    step apart_wgmma 60 bash -c 'compared "$@"' compared different 5 "$wgmma,RESCALE_LOG2=8" "$wgmma,RESCALE_LOG2=0"
    step apart_mma 60 bash -c 'compared "$@"' compared different 5 "$mma,BLOCK_N=64,WARPS_Q=2,WARPS_KV=2" "$mma,BLOCK_N=128,WARPS_Q=4,WARPS_KV=1,Q_REGS=1"
    step noise 20 sh -c 'python3 -B tools/noise.py "$FATUNE_STORE" >"$out/noise.txt" && cat "$out/noise.txt"'
}

# searched SPACE NAME: the search over every point, in a store of its own beside the cache that is there.
searched() {
    export FATUNE_STORE=$work/$2.db
    "$FATUNE" run "spaces/$1.yaml" --strategy exhaustive --evaluations 100000 --no-contestants 2>&1 | tee "$out/rate_$2.txt" &&
        "$FATUNE" export "$1" --out "$work/$2.json" && gzip -9 -n -c "$work/$2.json" >"$out/rate_$2_t4.json.gz"
}

rate() {
    export -f searched
    for space in "${searches[@]}"; do
        step "search_${space#*=}" 170 bash -o pipefail -c 'searched "$@"' searched "${space%=*}" "${space#*=}"
    done
}

step nvidia-smi 20 nvidia-smi
step version 5 "$FATUNE" --version
step devices 30 "$FATUNE" devices
# What doctor only wants looked at (a busy host, say) is for the reader; the GPU must open and its canary be right. It says hello to every
# contestant, and a framework takes its time from a cold disk; the runs with contestants do that themselves.
[ "$mode" != check ] || step doctor 90 sh -c '"$FATUNE" doctor | tee /dev/stderr | grep -Eq "^ok +cuda:0 "'
"$mode"
# Whoever carries the records home may have a limit: the store is some 20 MB, a tenth of that compressed.
if [ "$mode" = faults ] || [ "$mode" = rate ]; then
    : # its runs have stores of their own
elif command -v xz >/dev/null; then
    xz -T0 -c "$work/fatune.db" >"$out/fatune.db.xz" || failed=1
else
    cp "$work/fatune.db" "$out/" || failed=1
fi
{
    printf '%-22s %-8s %5s  %s\n' step result time "last line"
    printf '%s\n' "${rows[@]}"
    echo "total $((SECONDS - begin)) s"
} | tee "$out/summary.txt"
exit $failed
