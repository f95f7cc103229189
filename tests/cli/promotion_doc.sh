#!/usr/bin/env bash
# The example of docs/PROMOTION.md: its commands run, and its numbers are theirs.
. "$SOURCE_DIR/tests/cli/common.bash"
command -v xz >/dev/null || skip "no xz (package xz-utils)"
command -v python3 >/dev/null || skip "no python3 (tools/setup.sh --test)"

page=$SOURCE_DIR/docs/PROMOTION.md
command=$(sed -n 's/^    build\/fatune \(compare .*\)/\1/p' "$page")
[ -n "$command" ] || fail "no command in $page"
xz -dkc "$SOURCE_DIR/results/recorded/h200/fatune.db.xz" >h200.db
# shellcheck disable=SC2086
run 0 $command --json
python3 -B - "$page" <<'EOF' || fail "docs/PROMOTION.md says otherwise"
import json
import math
import statistics
import sys

page = ' '.join(open(sys.argv[1]).read().split())
d = json.load(open('out'))
v = d['verdict']
z = [100 * math.log(s['ratio']) for s in d['series']]
mean, sd = -statistics.fmean(z), statistics.stdev(z)
se, t = sd / math.sqrt(len(z)), 3.1058065
bound = mean - t * se
assert len(z) == 12 and v['outcome'] == 'PROMOTE'
assert abs(-100 * v['upper'] - bound) < 1e-6, 'the bound by hand is not the verdict\'s'
said = [' '.join(f'{-x:.2f}' for x in z), f'Their mean is {mean:.3f}, their standard deviation {sd:.3f}', f'{sd:.3f} / sqrt(12) = {se:.3f}',
        f'{mean:.3f} - 3.106 x {se:.3f} = {bound:.3f} ln percent, that is {100 * (1 - math.exp(v["upper"])):.2f}%',
        f'g is {v["g_within"]:.2f}', f'{mean:.3f} - 3.106 x {0.9 / math.sqrt(12):.3f} = {mean - t * 0.9 / math.sqrt(12):.2f}: UNDECIDED']
missing = [s for s in said if s not in page]
sys.exit('\n'.join(missing) if missing else 0)
EOF
exit $bad
