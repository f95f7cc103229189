#!/usr/bin/env bash
# What users get wrong, and what hostile files try: each ends with its exit code, a message that names the place or the missing
# thing and says what to do, and a store whose bytes are what they were.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
smoke=$SOURCE_DIR/tests/data/spaces/small.yaml
export FATUNE_FAKE_DEVICE=seed=3,noise=0

run 0 run "$smoke" --device fake --evaluations 2 --quiet # the store that must stay as it is
before=$(bytes results/fatune.db)
unchanged() { [ "$(bytes results/fatune.db)" = "$before" ] || fail "$*: the store has changed"; }

# refused CODE PATTERN ARGUMENTS...: and one that crashes is no refusal.
refused() {
    local want=$1 pattern=$2
    shift 2
    run "$want" "$@"
    says err "$pattern"
    [ ! -s out ] || [ "$1" = space ] || fail "fatune $*: prints to stdout: $(head -n 2 out)"
    unchanged "fatune $*"
}

# ---- every file of tests/data/bad: its golden first line. They name a template in OpenCL, and three faults show there alone.
device=fake
run 0 devices --json
python3 -B -c 'import json; exit(not any(d["driver"] == "opencl" for d in json.load(open("out"))["devices"]))' && device=opencl
n=0
cd "$SOURCE_DIR" # the goldens have paths from here
for space in tests/data/bad/*.yaml; do
    got=0
    "$FATUNE_FAKE" run "$space" --device $device --templates tests/data/templates --store "$work/bad/f.db" >"$work/out" 2>"$work/err" </dev/null || got=$?
    golden=$(head -n 1 "${space%.yaml}.txt")
    golden=${golden%looked in: *} # folders differ
    case $device-$space in
    *rule_zero* | fake-*too_many_points*) golden= ;; # a rule that fails on a few points excludes those; see below
    esac
    [ $got -eq 3 ] || fail "$space: exit $got, expected 3: $(head -n 1 "$work/err")"
    grep -qF -- "$golden" "$work/err" || fail "$space: not the golden message: $(head -n 1 "$work/err")"
    n=$((n + 1))
done
cd "$work"
[ $n -ge 40 ] || fail "only $n bad files"
[ ! -e bad ] || fail "a bad space makes a store"

# ---- spaces, as variants of a good one
variant() { sed "$@" "$smoke" >space.yaml; }
variant 's/^params:/constraints:\n  - BLOCKM > 1\nparams:/'
refused 3 'space.yaml:[0-9]*:5: `BLOCKM` is no name.*did you mean `BLOCK_M`' run space.yaml --device fake
variant 's/^params:/constraints:\n  - BLOCK_M \/\/ CAUSAL > 1\nparams:/'
refused 3 'no point of space smoke is valid.*fatune space' run space.yaml --device fake
refused 3 'no point of smoke can run' space space.yaml --device fake
says out 'BLOCK_M // CAUSAL > 1   (cannot be evaluated there)'
variant 's/^params:/constraints:\n  - BLOCK_M > 999\nparams:/'
refused 3 'no point of space smoke is valid' run space.yaml --device fake
variant 's/^params:/constraints:\n  - os.exit(0) == 0\nparams:/'
refused 3 'space.yaml:[0-9]*:[0-9]*:' run space.yaml --device fake
variant 's/^  BLOCK_M:.*/  BLOCK_M: [17]/'
refused 3 'space.yaml:[0-9]*:[0-9]*: no listed template offers BLOCK_M = 17' run space.yaml --device fake
variant 's/^templates:.*/templates: [..\/fa_wmma]/'
refused 3 'space.yaml:[0-9]*:[0-9]*: must be a name' run space.yaml --device fake
variant 's/^templates:.*/templates: [fa_opencl]/; s/^  WARPS:.*//'
refused 4 'fa_opencl: it is written in opencl, and the device takes cuda' run space.yaml --device fake
says err 'fatune devices'
refused 4 'no template of smoke can run on this device' space space.yaml --device fake
says out 'fa_opencl   left out: it is written in opencl'
refused 3 'gone.yaml' run gone.yaml --device fake
mkdir folder.yaml
refused 3 'folder.yaml' run folder.yaml --device fake
python3 -B -c 'print("name: x\nproblem: " + "[" * 100000)' >space.yaml
refused 3 'space.yaml:2:[0-9]*: nested' run space.yaml --device fake
python3 -B -c 'print("name: x\n" + "\n".join(f"k{i}: 1" for i in range(200000)))' >space.yaml
refused 3 'space.yaml' run space.yaml --device fake

# ---- templates, as variants of a good one
sed 's/^templates:.*/templates: [mine]/' "$smoke" >space.yaml
template() { # the good one, before it is spoilt
    rm -rf folder
    mkdir -p folder/mine
    cp "$SOURCE_DIR"/kernel_templates/fa_wmma/* folder/mine/
    sed -i 's/^name:.*/name: mine/' folder/mine/template.yaml
}
spoilt() { refused 3 "$1" run space.yaml --device fake --templates folder; }
kernel=folder/mine/kernel.cu manifest=folder/mine/template.yaml
template
run 0 space space.yaml --device fake --templates folder
printf '#if NO_SUCH_MACRO > 1\n#endif\n' >>$kernel
spoilt "$kernel:[0-9]*:5: nobody defines .NO_SUCH_MACRO"
template
sed -i '1i #include "/etc/passwd"' $kernel
spoilt "$kernel:1:10: #include takes <name>"
template
sed -i '1i #include <../../secret.h>' $kernel
spoilt "$kernel:1:11: .../../secret.h. is not among"
template
sed -i 's/^includes:.*/includes: [stdio.h]/' $manifest
spoilt "$manifest:[0-9]*:12: .stdio.h. may not be included; only"
template
sed -i 's/^source:.*/source: ..\/..\/kernel.cu/' $manifest
spoilt "$manifest:[0-9]*:9: .source. must be a name"
template
sed -i 's/^source:.*/source: gone.cu/' $manifest
spoilt 'gone.cu'
template
rm $kernel
ln -s /etc/passwd $kernel
spoilt 'kernel.cu is a link'
template
sed -i 's/^params:/&\n  UNUSED: {values: [0, 1], default: 0, what: "nothing"}/' $manifest
spoilt "$manifest:[0-9]*:3: parameter .UNUSED. changes nothing"
template
sed -i 's/^constraints:/&\n  - {if: "NO_NAME > 0", why: "nothing"}/' $manifest
spoilt "$manifest:[0-9]*:11: unknown name .NO_NAME"
template
sed -i 's/^language:.*/language: fortran/' $manifest
spoilt "$manifest:[0-9]*:[0-9]*:"
template
sed -i 's/^options:.*/options: ["-I\/etc"]/' $manifest
grep -q '^options:' $manifest || sed -i 's/^entry:/options: ["-I\/etc"]\n&/' $manifest
spoilt "$manifest:[0-9]*:[0-9]*:.*-I/etc"
rm $manifest
spoilt 'mine'

# ---- devices
refused 4 'no device is called cuda:99; these were found:' run "$smoke" --device cuda:99
says err '^  fake:0 '
refused 4 'no device is called fake:1' eval "$smoke" --device fake:1
refused 4 'no device is called toaster' space "$smoke" --device toaster
refused 2 "unknown CUDA architecture 'sm_1'; known are" space "$smoke" --arch sm_1
FATUNE_FAKE_DEVICE=oom=1 refused 4 'memory' eval "$smoke" --device fake

# ---- stores
touch file
refused 5 'file/below: Not a directory' run "$smoke" --device fake --store file/below/f.db
says err '\-\-store FILE'
refused 5 'lock file /proc/f.db.lock' run "$smoke" --device fake --store /proc/f.db
says err '\-\-store FILE'
refused 5 'Is a directory' run "$smoke" --device fake --store .
# foreign NAME PATTERN: refused by readers and writers alike, and not a byte of it changed.
foreign() {
    local was
    was=$(bytes "$1")
    for command in "run $smoke --device fake" 'champion list' 'champion revoke' 'show v1' 'compare v1 v1 --stored'; do
        # shellcheck disable=SC2086
        refused 5 "$2" $command --store "$1"
    done
    [ "$(bytes "$1")" = "$was" ] || fail "$1 was changed"
}
printf 'not a database, but long enough to be taken for one by a careless reader of files\n' >text.db
foreign text.db 'text.db: is not an SQLite database'
says err 'move the file away'
python3 -B -c 'import sqlite3; c = sqlite3.connect("other.db"); c.execute("CREATE TABLE t(a)"); c.commit()'
foreign other.db 'other.db: is an SQLite file of another program'
cp results/fatune.db newer.db
python3 -B -c 'import sqlite3; c = sqlite3.connect("newer.db"); c.execute("PRAGMA user_version=999"); c.commit()'
foreign newer.db 'newer.db.*999'
says err 'newer'
head -c 3000 results/fatune.db >cut.db
foreign cut.db 'cut.db'
run 0 champion list
says out '^v1 '
exit $bad
