#!/usr/bin/env bash
# `looks`: a trial that is undecided for want of sessions goes on to the next look, one that is decided does not, alpha is shared
# among the looks, and a run that ends between two looks goes on to the same verdicts.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
export FATUNE_FAKE_DEVICE=seed=3,noise=0.001

# Two of the finalists gain 17%: with this min_gain 8 sessions settle one of them and not the other.
sed 's/^promote:.*/promote: {min_gain: 0.1665, looks: [8, 20, 40]}/' "$SOURCE_DIR/tests/data/spaces/small.yaml" >"$work/looks.yaml"

look() { "$FATUNE_FAKE" run "$work/looks.yaml" --device fake --json --store "$work/$1.db" >"$work/$1.json" 2>>"$work/$1.err" </dev/null; }

look whole || fail "$(tail -n 3 "$work/whole.err")"
python3 -B - "$work/whole.json" <<'EOF' || fail "not what looks are for: $(grep -o 'undecided for.*' "$work/whole.err")"
import json
import sys
verdicts = [t['verdict'] for t in json.load(open(sys.argv[1]))['trials']]
print([(v['sessions'], v['outcome']) for v in verdicts])
assert len(verdicts) == 3
assert all(v['sessions'] in (8, 20, 40) for v in verdicts)
assert any(v['sessions'] == 8 and v['outcome'] != 'UNDECIDED' for v in verdicts), 'nobody is decided at the first look'
assert any(v['sessions'] > 8 and v['outcome'] == 'PROMOTE' for v in verdicts), 'nobody is decided at a later look'
assert all('(alpha 0.000556)' in v['clauses'][2]['why'] for v in verdicts), 'alpha / 3 finalists / 3 looks'
EOF
grep -q 'undecided for want of sessions: on to 20' "$work/whole.err" || fail 'the user is not told'

# ---- killed between two looks: where 14 sessions would decide, but nobody looks
"$FATUNE_FAKE" run "$work/looks.yaml" --device fake --json --store "$work/cut.db" >/dev/null 2>"$work/cut.err" </dev/null &
pid=$!
python3 -B - "$work/cut.db" $pid <<'EOF' || fail "no kill between two looks: $(tail -n 3 "$work/cut.err")"
import os
import signal
import sqlite3
import sys
import time
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        db = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True)
        most = db.execute('SELECT max(n) FROM (SELECT count(*) AS n FROM session GROUP BY trial)').fetchone()[0] or 0
        db.close()
    except sqlite3.OperationalError:
        most = 0
    if most >= 14:
        os.kill(int(sys.argv[2]), signal.SIGKILL)
        sys.exit(most >= 20)
    time.sleep(0.005)
sys.exit(1)
EOF
wait $pid 2>>"$work/cut.err" || true
no_workers 'killed between two looks'
look cut || fail "$(tail -n 3 "$work/cut.err")"
python3 -B - "$work/whole.json" "$work/cut.json" <<'EOF' || fail 'other verdicts after a kill between two looks'
import json
import sys
a, b = ([(t['candidate'], t['verdict']) for t in json.load(open(name))['trials']] for name in sys.argv[1:])
assert a == b
EOF
exit $bad
