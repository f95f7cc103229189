#!/usr/bin/env bash
# A space of no point is refused with the reason, by whoever is asked; one of 10^9 points is searched in little memory and at once (row 3 of
# rows.txt). On the fake device.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
export FATUNE_FAKE_DEVICE=seed=3,noise=0.001
small=$SOURCE_DIR/tests/data/spaces/small.yaml

sed 's/^params:/constraints:\n  - BLOCK_M > 999\nparams:/' "$small" >"$work/empty.yaml"
for command in run space eval nightly; do
    rc=0
    "$FATUNE_FAKE" $command "$work/empty.yaml" --device fake --store "$work/empty.db" >"$work/out" 2>"$work/err" </dev/null || rc=$?
    [ $rc -eq 3 ] || fail "$command of an empty space: exit $rc, expected 3: $(tail -n 2 "$work/err")"
    grep -qi 'no point' "$work/err" || fail "$command of an empty space: no reason: $(tail -n 2 "$work/err")"
done

# The planted template with six parameters of 32 values more: 6 * 32^6 points.
mkdir "$work/planted"
cp "$SOURCE_DIR"/tests/data/templates/planted/* "$work/planted/"
values=$(seq -s ', ' 1 32)
for i in 1 2 3 4 5 6; do
    sed -i "s/^derive:/  P$i: {values: [$values], default: 1, what: \"axis $i\"}\n&/" "$work/planted/template.yaml"
    sed -i "1i #if P$i > 999\n#endif" "$work/planted/kernel.cu"
done
sed -e 's/^  FAULT: .*/  FAULT: [0]/' -e 's/exhaustive, evaluations: 40/auto, evaluations: 30/' "$SOURCE_DIR/tests/data/spaces/planted.yaml" >"$work/huge.yaml"
begin=$(date +%s)
python3 -B - "$FATUNE_FAKE" run "$work/huge.yaml" --device fake --templates "$work" --store "$work/huge.db" --quiet >"$work/out" 2>"$work/err" <<'X' || fail "a space of 10^10 points: $(tail -n 3 "$work/err" "$work/out")"
import resource, subprocess, sys
rc = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, check=False).returncode
kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(f'exit {rc}, {kib >> 10} MiB at most')
sys.exit(0 if rc == 0 and kib < 512 << 10 else 1)
X
[ $(($(date +%s) - begin)) -lt 120 ] || fail "a space of 10^10 points took $(($(date +%s) - begin)) s"
[ "$(store count "$work/huge.db" evaluation)" -ge 30 ] || fail "only $(store count "$work/huge.db" evaluation) proposals"
tail -n 1 "$work/out"
exit $bad
