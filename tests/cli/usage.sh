#!/usr/bin/env bash
# Exit codes: 2 usage, 3 bad space, 4 device unfit, 5 store; and each message says what is wrong and where.
set -u
bad=0
fail() { echo "FAIL: $*"; bad=1; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
export FATUNE_STORE=$work/fatune.db
cd "$work" || exit 1
space=$SOURCE_DIR/spaces/s512.yaml

# check CODE PATTERN ARGUMENTS...: exit code, and what stderr must say (a basic regular expression).
check() {
    local want=$1 pattern=$2
    shift 2
    "$FATUNE" "$@" >out 2>err </dev/null
    local got=$?
    [ $got -eq "$want" ] || fail "fatune $*: exit $got, expected $want: $(head -c 300 err)"
    grep -q -e "$pattern" err || fail "fatune $*: stderr does not match '$pattern': $(head -c 300 err)"
    [ $got -lt 128 ] || [ $got -eq 130 ] || fail "fatune $*: killed by signal $((got - 128))"
}

# 2: usage
check 2 'usage' # no command at all
check 2 'frobnicate' frobnicate
check 2 'run' rum # did you mean
check 2 . run
check 2 . run "$space" "$space" extra
check 2 'evaluations' run "$space" --evaluations
check 2 'evaluations' run "$space" --evaluations=many
check 2 'evaluations' run "$space" --evaluations=-5
check 2 'seed' run "$space" --seed=1e99999
check 2 'minutes' run "$space" --minutes=nan
check 2 'strategy\|no_such_strategy' run "$space" --strategy=no_such_strategy --device=opencl
check 2 . compare "$space"
check 2 . champion no_such_verb
check 2 . show

# 3: bad input
check 3 'absent.yaml' space absent.yaml
check 3 . space "$work"
printf 'name: x\nproblem: [1, 2\n' >broken.yaml
check 3 'broken.yaml:[0-9]' space broken.yaml
: >empty.yaml
check 3 'empty.yaml' space empty.yaml
sed 's/^name:.*/&\nnamme: y/' "$space" >unknown.yaml
check 3 'unknown.yaml:[0-9]*:[0-9]*: .*namme' space unknown.yaml
grep -q 'did you mean.*name' err || fail "an unknown key gets no suggestion: $(head -c 300 err)"
grep -q '\^' err || fail "an unknown key gets no caret"
sed 's/head_dim:.*/head_dim: -64/' "$space" >negative.yaml
check 3 'negative.yaml:[0-9]*:[0-9]*:' space negative.yaml
sed 's/^templates:.*/templates: [no_such_template]/' "$space" >template.yaml
check 3 'no_such_template' space template.yaml --templates "$SOURCE_DIR/kernel_templates"
head -c 20000000 /dev/zero | tr '\0' 'a' >huge.yaml
check 3 'huge.yaml' space huge.yaml
head -c 4096 /dev/urandom >noise.yaml
check 3 'noise.yaml' space noise.yaml

# 4: a device that is not here
check 4 'cuda:77' run "$space" --device=cuda:77
check 4 'nosuchdriver' run "$space" --device=nosuchdriver

# 5: not a store
printf 'this is no database, but it is long enough to be looked at as one by a careless program\n' >text.db
check 5 'text.db' champion list --store text.db
check 5 . champion list --store /proc/version/fatune.db
grep -q 'this is no database' text.db || fail "a foreign file given as store was changed"

exit $bad
