#!/usr/bin/env bash
# fatune evidence: what is collected can be checked without the store, twice gives equal bytes, and whatever is changed in it is found and named:
# a byte of any file by its digest, a sample whose digests were all made right again by the verdict that no longer follows.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
space=$SOURCE_DIR/tests/data/spaces/small.yaml
tools=$SOURCE_DIR/tests/cli/evidence.py
export FATUNE_FAKE_DEVICE=seed=3,noise=0.001 FATUNE_STORE=$work/store/f.db
run 0 run "$space" --device fake --evaluations 3

# ---- collected, twice, with and without a device
run 0 evidence v1
says out '^v1 of smoke on .*: 17 files in .*/store/evidence/v1$'
says out '^  kernel  .*source from the cache, binary from the cache, its code has the recorded digest'
says out '^  correctness  .*the stored full check of this binary passed'
says out '^  correctness  .*mask none, now: passed, on '
says out '^  correctness  .*mask causal, now: passed, on '
says out '^  verdict  .*PROMOTE, with every sample of its trial'
run 0 evidence v1 --no-device --out one
says out 'mask none, now: not run: --no-device was given'
run 0 evidence v1 --no-device --out two --json
json "d['version'] == 'v1' and len(d['manifest']) == 64 and 'resources.csv' in [f['name'] for f in d['files']]"
diff -r one two || fail "collecting twice gives other bytes"
run 0 evidence v1 --no-device --out one # over itself
diff -r one two || fail "collecting over an earlier collection gives other bytes"
(cd one && sha256sum --quiet -c SHA256SUMS) || fail "sha256sum disagrees"
[ "$(sed -n 1p one/kernel.cu)" = '#define BATCH 1' ] || fail "kernel.cu is not the source"
python3 -B "$tools" "$program" one table || fail "resources.csv is not what the store has"

# ---- verified where neither the store nor the sources are
mkdir elsewhere
mv one elsewhere
(cd elsewhere && env -u FATUNE_STORE "$FATUNE" evidence --verify one >../out 2>../err) || fail "does not verify: $(cat out err)"
says out '^  verdict  .*ok .*PROMOTE, decided again from the samples'
says out '^every check holds$'
[ ! -e elsewhere/results ] || fail "verifying leaves something behind"
run 0 evidence --verify store/evidence/v1
run 0 evidence --verify two --json
json "d['good'] is True and {c['outcome'] for c in d['checks']} <= {'ok', 'not checked'} and d['version'] == 'v1'"
json "{'files', 'track', 'provenance', 'source', 'correctness', 'samples', 'control', 'rule', 'verdict'} <= {c['check'] for c in d['checks'] if c['outcome'] == 'ok'}"

# ---- a byte anywhere, a file gone; lies with every digest made right again
for kind in bytes lies; do
    python3 -B "$tools" "$program" two $kind >missed || fail "$kind: $(cat missed)"
done

# broken WHAT NAME: the copy `broken` must fail, naming the file.
broken() {
    run 3 evidence --verify broken
    says out "^  files  .*failed  *$2: " || echo "after: $1"
}
fresh() { rm -rf broken && cp -r two broken; }

# ---- what is there beside it, or is no file
fresh && echo more >broken/notes.txt
broken 'an extra file' notes.txt
fresh && mkdir broken/sub
broken 'a folder in it' sub
fresh && cp broken/control.json broken/kernel.sass
broken 'an extra file of a known name' kernel.sass
fresh && mv broken/trial.json t && ln -s ../t broken/trial.json
broken 'a link' trial.json
fresh && rm broken/trial.json && mkfifo broken/trial.json
broken 'a pipe' trial.json
fresh && truncate -s 100M broken/kernel.bin
broken 'a huge file' kernel.bin
run 3 evidence --verify absent
says err 'absent: No such file'
run 3 evidence --verify two/trial.json
says err 'Not a directory'

# ---- the cache has lost it: made anew, and the same; other templates make another, which is not taken
run 0 evidence v1 --no-device --out kept
rm -r store/cache
run 0 evidence v1 --no-device --out anew
says out '^  kernel  .*source from the templates, binary compiled anew, its code has the recorded digest'
for name in kernel.cu kernel.bin trial.json version.json; do cmp "kept/$name" "anew/$name" || fail "$name is another"; done
run 0 evidence --verify anew
cp -r "$SOURCE_DIR/kernel_templates" other
echo '// another' >>other/fa_wmma/kernel.cu
run 0 evidence v1 --no-device --templates other --out gone
says out '^  kernel  .*source and binary are missing: the templates here make another source of it'
[ ! -e gone/kernel.cu ] && [ ! -e gone/kernel.bin ] || fail "another binary was taken"
run 0 evidence --verify gone
says out '^  source  .*not checked .*another source'

# ---- who was crowned without a trial of his own, and a promotion by a night
run 0 run "$space" --device fake --seed 5 --store crowned.db
for v in v1 v2; do
    "$program" show $v --store crowned.db >/dev/null 2>&1 || continue
    run 0 evidence $v --no-device --store crowned.db --out c$v
    run 0 evidence --verify c$v
done
run 0 nightly "$space" --device fake --store n.db --evaluations 3
run 0 run "$space" --device fake --store n.db --seed 5 # takes over, and a night asks again
run 0 nightly "$space" --device fake --store n.db --evaluations 3
for v in v1 v2; do
    run 0 evidence $v --no-device --store n.db --out n$v
    run 0 evidence --verify n$v
done

# ---- where sanitizers were asked for, they are part of what is decided again
sed 's/^promote: {/promote: {sanitize: required, /' "$space" >required.yaml
PATH=$SOURCE_DIR/tests/data/sanitizer:$PATH FAKE_SANITIZER=clean run 0 run required.yaml --device fake --evaluations 3 --store p7.db
run 0 evidence v1 --no-device --store p7.db --out p7
run 0 evidence --verify p7
grep -q 'P7 sanitizer' p7/verdict.json || fail "no P7"
python3 -B "$tools" "$program" p7 p7 >missed || fail "P7: $(cat missed)"

# ---- what is refused
mkdir mine && touch mine/precious
run 2 evidence v1 --no-device --out mine
says err 'mine holds precious'
[ -e mine/precious ] || fail "a file that is not ours is gone"
run 2 evidence v9
says err 'no version is called v9'
run 2 evidence
says err 'evidence --verify DIR'
run 2 evidence v1 --verify two
run 5 evidence v1 --store absent.db
run 0 evidence v1 --device nonsense --out w
says out 'mask none, now: not run: .*nonsense'

# ---- a kernel that is wrong today is said to be, and no evidence
cp -r "$SOURCE_DIR/kernel_templates" wrong
sed -i '1i // fake: wrong' wrong/fa_wmma/kernel.cu
run 3 evidence v1 --templates wrong --device fake --out w
says out 'mask none, now: FAILED: WRONG'
run 3 evidence --verify w
says out 'correctness  .*failed .*correctness.json: `now`'
exit $bad
