#!/usr/bin/env bash
# fatune report: pages that say what the store knows and nothing else, whoever wrote the names in it, with and without gnuplot.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
command -v gnuplot >/dev/null || skip "no gnuplot (tools/setup.sh --run)"
program=$FATUNE_FAKE
space=$SOURCE_DIR/tests/data/spaces/small.yaml
export FATUNE_FAKE_DEVICE=seed=3,noise=0.001 FATUNE_STORE=$work/store/f.db
# holds JSON PAGE [STORE]: the page is sound, and says what the JSON says
holds() { python3 -B "$SOURCE_DIR/tests/cli/report.py" "$@" >wrong || fail "$2: $(head -n 20 wrong)"; }
recorded() { # NAME FILE
    python3 -B -c 'import lzma, sys; sys.stdout.buffer.write(lzma.open(sys.argv[1]).read())' "$SOURCE_DIR/results/recorded/$1" >"$2"
}

# ---- before anything is there
run 5 report smoke
run 0 run "$space" --device fake --evaluations 40 --quiet
run 2 report s512
says err 'no run of s512 is in .*; it has' && says err 'smoke on fake accelerator, track'

# ---- runs, a run that keeps its champion, nights
run 0 run "$space" --device fake --evaluations 40 --quiet
says out '^why nobody was promoted$'
says out 'finalists: 1$'
says out 'P3 gain: .*; what is proven is [0-9.]* points of gain short$'
run 0 report "$space" --out early
holds early/smoke-fake-accelerator.json early/smoke-fake-accelerator.html store/f.db
holds early/smoke-fake-accelerator.json early/smoke-fake-accelerator.md
grep -q 'fa_wmma: share of the variance of ln time that each parameter explains' early/smoke-fake-accelerator.html &&
    grep -q 'aria-label="What each parameter of fa_wmma explains' early/smoke-fake-accelerator.html || fail "it is not told which parameters mattered"
run 0 report "$space" --json
json "d['importance'][0]['params'][0]['param'] == d['parameters'][0]['params'][0]['param'] and d['parameters'][0]['grid']['a'] == d['importance'][0]['pairs'][0]['a']"
for ((i = 0; i < 10; i++)); do run 0 nightly "$space" --device fake --evaluations 3 --quiet; done
bytes store/f.db >before
run 0 report "$space"
[ "$(cat out)" = "$(printf '%s\n' "$work"/store/report/smoke-fake-accelerator.{html,md,json})" ] || fail "files: $(cat out)"
[ ! -s err ] || fail "it has something to say: $(cat err)"
bytes store/f.db | cmp -s before || fail "the store has changed"
page=store/report/smoke-fake-accelerator
holds $page.json $page.html store/f.db
holds $page.json $page.md
[ "$(grep -c '<svg' $page.html)" -eq 5 ] || fail "pictures: $(grep -c '<svg' $page.html)"
run 0 report smoke --json
cmp -s <(python3 -B -m json.tool --sort-keys out) <(python3 -B -m json.tool --sort-keys $page.json) || fail "--json is not what is written"
json "len(d['nights']['ledger']) == 10 and len(d['nights']['chart']['points']) == 10 and d['nights']['chart']['outside'] is not None"
json "d['kept']['finalists'][0]['failed'][0]['short_by'] and d['runs'][-1]['run'] == 1 and d['champion']['name'] == d['history'][-1]['name']"
grep -q 'points of gain short' $page.html || fail "the page does not say by how much"

# ---- a run that was cut off behind its first proposals, and a store whose champions were all revoked
python3 -B - store/f.db cut.db <<'EOF'
import shutil, sqlite3, sys
shutil.copy(sys.argv[1], sys.argv[2])
db = sqlite3.connect(sys.argv[2])
for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
    db.execute(f'DROP TRIGGER {name}')
for table in 'champion', 'night', 'series', 'quad', 'session', 'verdict', 'trial', 'version', 'race', 'proof':
    db.execute(f'DELETE FROM {table}')
db.execute('DELETE FROM evaluation WHERE run > 1 OR seq > 0')
db.execute('DELETE FROM run WHERE id > 1')
db.execute("UPDATE run SET state = 'search', summary = NULL, ended = NULL")
db.commit()
EOF
run 0 report smoke --store cut.db --out cut
[ ! -s err ] || fail "a run that was cut off: $(cat err)"
python3 -B "$SOURCE_DIR/tests/cli/report.py" cut/smoke-fake-accelerator.json cut/smoke-fake-accelerator.html cut.db >wrong || true
grep -v '^only [0-9]* numbers were seen$' wrong | grep . && fail "cut off: $(cat wrong)"
grep -q 'No champion stands' cut/smoke-fake-accelerator.html && grep -q 'The search that is shown is not over' cut/smoke-fake-accelerator.html ||
    fail "the page does not say what is not there"
cp store/f.db revoked.db
while "$program" champion revoke --store revoked.db >/dev/null 2>&1; do :; done
run 0 report smoke --store revoked.db --out revoked
holds revoked/smoke-fake-accelerator.json revoked/smoke-fake-accelerator.html revoked.db

# ---- a number that is not the JSON's is found
sed 's/<p class="value">[0-9]\([0-9.]*\) us/<p class="value">7\1 us/' $page.html >other.html
python3 -B "$SOURCE_DIR/tests/cli/report.py" $page.json other.html >wrong && fail "another time in the page passes"
sed 's/<\/main>/<script><\/script>&/' $page.html >other.html
python3 -B "$SOURCE_DIR/tests/cli/report.py" $page.json other.html >wrong && fail "a script in the page passes"

# ---- a real device's record: contestants, roofline; one file, PNG, scripts that draw again
recorded h200_contestants_5/contestants.db.xz h200.db
run 0 report s512 --store h200.db --out one/s.html --png --keep
[ "$(cat out)" = one/s.html ] || fail "one file: $(cat out)"
run 0 report s512 --store h200.db --out one/s.md --png
run 0 report s512 --store h200.db --out one --format json
[ "$(ls one | sed 's/s-[a-z]*\.png/PNG/' | sort -u | tr '\n' ' ')" = 'PNG s-plots s.html s.md s512-nvidia-h200.json ' ] || fail "files: $(ls one)"
holds one/s512-nvidia-h200.json one/s.html h200.db
holds one/s512-nvidia-h200.json one/s.md
[ "$(grep -c '^!\[.*\](s-[a-z]*\.png)$' one/s.md)" -eq 6 ] || fail "markdown shows no pictures"
for picture in one/s-*.png; do
    [ "$(head -c 8 "$picture" | od -An -tx1)" = ' 89 50 4e 47 0d 0a 1a 0a' ] || fail "$picture is no PNG"
done
cp one/s-plots/contestants.svg drawn.svg
rm one/s-plots/contestants.svg
(cd one/s-plots && gnuplot contestants.gp) && cmp -s drawn.svg one/s-plots/contestants.svg || fail "the kept script draws something else"
for name in b8_s512 s512_causal; do
    run 0 report $name --store h200.db --out more
    holds more/${name//_/_}-nvidia-h200.json more/$name-nvidia-h200.html h200.db
done
recorded h200/fatune.db.xz old.db # of an older schema, without much that newer runs keep
run 0 report s512 --store old.db --out old
holds old/s512-nvidia-h200.json old/s512-nvidia-h200.html old.db

# ---- a stranger's names are text, to HTML, to markdown and to gnuplot
python3 -B - h200.db <<'EOF'
import json, sqlite3, sys
evil = '</p><script>alert("1")</script>`touch pwned`$(touch pwned)\'"|[x](javascript:y)\\ \x07%s%n\n# '
db = sqlite3.connect(sys.argv[1])
db.execute('UPDATE space SET name = ? WHERE name = "s512"', (evil,))
for run, summary in db.execute('SELECT id, summary FROM run').fetchall():
    s = json.loads(summary)
    for c in s['contestants']:
        c['name'] = c['version'] = c['choice'] = evil + c['name']
    db.execute('UPDATE run SET summary = ? WHERE id = ?', (json.dumps(s), run))
for digest, facts in db.execute('SELECT digest, facts FROM environment').fetchall():
    f = json.loads(facts)
    f['target']['name'] = evil
    db.execute('UPDATE environment SET facts = ? WHERE digest = ?', (json.dumps(f), digest))
for row, params in db.execute('SELECT id, params FROM candidate').fetchall():
    p = json.loads(params)
    if 'params' in p:
        p['params'] = {evil[:60] + k: v for k, v in p['params'].items()}
        db.execute('UPDATE candidate SET params = ? WHERE id = ?', (json.dumps(p), row))
db.commit()
EOF
track=$(python3 -B -c 'import sqlite3; print(sqlite3.connect("h200.db").execute("SELECT track FROM run WHERE id = 1").fetchone()[0])')
evil=$(python3 -B -c 'import sqlite3; print(sqlite3.connect("h200.db").execute("SELECT name FROM space WHERE id = 1").fetchone()[0])')
run 0 report "$evil" --store h200.db --track "${track:0:8}" --out evil --png --keep
name=$(basename evil/*.html .html)
[[ $name =~ ^[a-z0-9_-]+$ ]] || fail "the file's name is $name"
holds "evil/$name.json" "evil/$name.html" h200.db
holds "evil/$name.json" "evil/$name.md"
grep -q '&lt;script&gt;alert' "evil/$name.html" || fail "the names are not in the page"
[ -z "$(find . -name pwned)" ] || fail "gnuplot has run what a name says"
ls "evil/$name-contestants.png" "evil/$name-parameters.png" >/dev/null || fail "no pictures with such names"

# ---- without gnuplot, and with one that fails: the tables say everything
mkdir bin
ln -s "$(command -v sh)" bin/sh
(PATH=$work/bin; run 0 report smoke --out none; exit $bad) || bad=1
says err 'no pictures in it: gnuplot cannot be started: install it'
grep -q 'No picture here: gnuplot cannot be started: .*gnuplot-nox' none/smoke-fake-accelerator.html || fail "the page does not say why"
grep -q '<svg' none/smoke-fake-accelerator.html && fail "a picture without gnuplot"
holds none/smoke-fake-accelerator.json none/smoke-fake-accelerator.html store/f.db
(PATH=$work/bin; run 2 report smoke --out none --png; exit $bad) || bad=1
says err 'png: gnuplot cannot be started: install it'
printf '#!/bin/sh\necho "line 3: no such terminal" >&2\nexit 1\n' >bin/gnuplot
chmod +x bin/gnuplot
(PATH=$work/bin; run 0 report smoke --out none; exit $bad) || bad=1
says err 'gnuplot failed: .*no such terminal'

# ---- what is asked for wrongly
run 2 report smoke --format html,pdf
says err 'format takes html, md and json'
run 2 report smoke --out x.html --format md
run 2 report smoke --json --png
run 2 report smoke --device nvidia
run 2 report s512 --store old.db --track 00
run 70 report smoke --out /proc/there/x
says err "cannot create the folder /proc/there: .*name another place with --out DIR"
exit $bad
