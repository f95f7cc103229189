# Sourced by scripts here. A folder of their own as working directory, which is removed at the end, and the store in it.
set -eu
bad=0
fail() { echo "FAIL: $*"; bad=1; }
skip() { echo "$*"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
unset FATUNE_STORE FATUNE_FAKE_DEVICE NO_COLOR
program=$FATUNE

# run CODE ARGUMENTS...: runs $program; its output is in out and err. A wrong exit code is a failure.
run() {
    local want=$1 got=0
    shift
    "$program" "$@" >out 2>err </dev/null || got=$?
    [ "$got" -eq "$want" ] || fail "fatune $*: exit $got, expected $want: $(head -c 400 err)"
}

# says WHERE PATTERN: out or err must match a basic regular expression.
says() {
    grep -q -e "$2" "$1" || fail "$1 does not match '$2': $(head -c 400 "$1")"
}

# json EXPRESSION: a Python expression over d, the JSON in out.
json() {
    python3 -B -c '
import json, sys
d = json.load(open(sys.argv[1]))
sys.exit(0 if eval(sys.argv[2]) else 1)' out "$1" || fail "not so in the JSON: $1: $(head -c 300 out)"
}

# bytes FILES...: one digest of their names and contents.
bytes() { sha256sum "$@" | sha256sum; }

# opencl_smoke UNROLL: skips where no OpenCL device is; else smoke.yaml has a few points of fa_opencl.
opencl_smoke() {
    run 0 devices --json
    python3 -B -c 'import json; exit(not any(d["driver"] == "opencl" for d in json.load(open("out"))["devices"]))' ||
        skip "no OpenCL device: $(python3 -B -c 'import json; print(" ".join(json.load(open("out"))["note"].split()))')"
    sed -e 's/^templates:.*/templates: [fa_opencl]/' -e 's/^  BLOCK_M:.*/  BLOCK_M: [32]/' \
        -e "s/^  WARPS:.*/  REGS: [8]\n  VEC: [8]\n  UNROLL: $1/" "$SOURCE_DIR/tests/data/spaces/small.yaml" >smoke.yaml
}
