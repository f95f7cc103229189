#!/usr/bin/env bash
# `promote: {sanitize: required}`: nobody is crowned or promoted unless the sanitizers ran on the measured binary and are clean, or waived by the user.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
export FATUNE_FAKE_DEVICE=seed=3,noise=0.001
with=$SOURCE_DIR/tests/data/sanitizer:$PATH
sed 's/sessions: 8/sessions: 8, sanitize: required/' "$SOURCE_DIR/tests/data/spaces/small.yaml" >required.yaml
cp "$SOURCE_DIR/tests/data/spaces/small.yaml" plain.yaml
command -v compute-sanitizer >/dev/null && skip "a real compute-sanitizer is in PATH: nothing here could be missing"

# p7 of the finalist that it was asked of
p7() { json "[c['passed'] for t in d['trials'] for c in t['verdict']['clauses'] if c['clause'] == 'P7 sanitizer'] == $1"; }

# Nothing of the kind where the space does not ask.
run 0 run plain.yaml --device fake --store plain.db --json
json "d['rule']['sanitize'] is False and not any('sanitizers' in t or len(t['verdict']['clauses']) != 6 for t in d['trials'])"

# The tool is not there: it says so before the search, and nobody becomes champion: the first run, and later.
run 0 run required.yaml --device fake --store none.db --json
says err 'asks for sanitizers, and compute-sanitizer cannot be started'
json "d['champion'] is None and d['rule']['sanitize'] is True"
p7 "[False] * len(d['trials'])"
json "all(t['verdict']['outcome'] == 'UNDECIDED' for t in d['trials'])"
says err 'nobody is crowned: memcheck has not run: compute-sanitizer cannot be started'
run 0 run plain.yaml --device fake --store late.db --evaluations 2 --json
json "d['champion']['name'] == 'v1'"
cp late.db clean.db
cp late.db found.db
run 0 run required.yaml --device fake --store late.db --json
json "d['champion']['name'] == 'v1' and any(t['verdict']['outcome'] == 'UNDECIDED' for t in d['trials'])"
run 0 run required.yaml --device fake --store late.db
says out 'FAIL P7 sanitizer    memcheck has not run: compute-sanitizer cannot be started'

# There, and clean: the same promotion. Three finalists; only the best is looked at.
FAKE_SANITIZER=clean PATH=$with run 0 run required.yaml --device fake --store clean.db --json
json "d['champion']['name'] == 'v2' and d['champion']['action'] == 'promote'"
p7 "[True]"
json "[[s['outcome'] for s in t['sanitizers']] for t in d['trials'] if 'sanitizers' in t] == [['clean'] * 4]"
json "[t['id'] for t in d['trials'] if 'sanitizers' in t] == [min((t for t in d['trials'] if t['verdict']['outcome'] == 'PROMOTE'), key=lambda t: t['verdict']['ratio'])['id']]"
says err 'racecheck: clean'
[ "$(find sanitize -name '*.log' | wc -l)" -eq 4 ] || fail "not four logs"

# Found: KEEP for each that is asked, best first, and v1 stays. Waived by the user: promoted, and said.
FAKE_SANITIZER=error PATH=$with run 0 run required.yaml --device fake --store found.db --json
json "d['champion']['name'] == 'v1' and all(t['verdict']['outcome'] == 'KEEP' for t in d['trials'] if 'sanitizers' in t)"
json "any('memcheck has 1 report: ' in c['why'] for t in d['trials'] for c in t['verdict']['clauses'])"
for tool in memcheck racecheck synccheck initcheck; do
    printf -- '- {tool: %s, match: "__global__ write", why: "seen before", until: 2999-12-31}\n' $tool
done >w.yaml
FAKE_SANITIZER=error PATH=$with run 0 run required.yaml --device fake --store found.db --waivers w.yaml --json
json "d['champion']['name'] == 'v2' and any('is waived' in c['why'] for t in d['trials'] for c in t['verdict']['clauses'])"

# Bad waivers and bad words are refused before anything else.
echo '- {tool: memcheck}' >bad.yaml
run 3 run required.yaml --device fake --store found.db --waivers bad.yaml
says err 'bad.yaml:1'
sed 's/sanitize: required/sanitize: always/' required.yaml >bad.yaml
run 3 run bad.yaml --device fake --store found.db
says err 'bad.yaml:18:.*sanitize'
exit $bad
