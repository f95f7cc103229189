#!/usr/bin/env bash
# What doctor finds, each with its remedy: on the fake device, with a monitor that shows what is planted, and for what is not there at all.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
export FATUNE_STORE=$work/f.db LD_LIBRARY_PATH=$FATUNE_FAKE_NVML_DIR TMPDIR=$work/tmp
export OCL_ICD_VENDORS=$work/none # the host's own device is not what is looked at
mkdir tmp

# finds PATTERN: one row of the device that is not ok, and its text; nothing of doctor's own stays behind.
finds() {
    run 4 doctor --no-contestants --json
    python3 -B - out "$1" <<'X' || fail "not found: $1"
import json, re, sys
rows = [r['text'] for r in json.load(open(sys.argv[1]))['rows'] if r['what'] == 'fake:0' and not r['ok']]
if len(rows) != 1 or not re.search(sys.argv[2], rows[0]):
    sys.exit(str(rows))
X
    [ -z "$(ls -A tmp)" ] || fail "doctor leaves $(ls tmp)"
}

# ---- all is well with the device (the host may be busy): no complaint, and it has compiled something
"$program" doctor --no-contestants --json >out 2>err </dev/null || true
json "[r['ok'] for r in d['rows'] if r['what'] == 'fake:0'] == [True, True]"
json "any(r['text'] == 'fake 1 compiles for it, and it takes the code' for r in d['rows'])"

# ---- the compiler and the driver
FATUNE_FAKE_DEVICE=refuse=1 finds '^its compiler \(fake 1\) fails on an empty kernel, COMPILE: kernel.cu\(1\): error'
FATUNE_FAKE_DEVICE=foreign=1 finds '^it does not take what fake 1 makes: FAKE_ERROR_NO_BINARY_FOR_GPU: .*; install a compiler that is no newer than the driver, or update the driver$'

# ---- who shares it, and what holds it down
export FATUNE_FAKE_NVML
FATUNE_FAKE_NVML=mig=1 finds '^MIG is on: .*`nvidia-smi -mig 0`'
FATUNE_FAKE_NVML=mps=2 finds '^2 clients of MPS are on it: .*`echo quit \| nvidia-cuda-mps-control` ends MPS'
FATUNE_FAKE_NVML=others_at=0 finds '^1 other processes compute on it: a trial that meets one is INVALID; `nvidia-smi` names them'
FATUNE_FAKE_NVML=power_limit=500 finds '^its power limit is 500 W, by default 700 W: .*`nvidia-smi -pl 700` sets the default$'
FATUNE_FAKE_NVML=app_clock=1410 finds '^its applications clock is set to 1410 MHz, by default 1980 MHz: .*`nvidia-smi -rac` resets it$'
FATUNE_FAKE_NVML=reasons=72 finds '^its clock is held down now \(hardware slowdown, hardware thermal slowdown\): see to its cooling'
# At the power cap, or idle: that is how devices work.
FATUNE_FAKE_NVML=reasons=5 "$program" doctor --no-contestants --json >out 2>err </dev/null || true
json "all(r['ok'] for r in d['rows'] if r['what'] == 'fake:0')"
# For people, too.
FATUNE_FAKE_NVML=mig=1 run 4 doctor --no-contestants
says out '^LOOK  fake:0     MIG is on'
says out '^look at the lines marked LOOK$'
unset FATUNE_FAKE_NVML
mkdir mps
CUDA_MPS_PIPE_DIRECTORY=$work/mps run 4 doctor --no-contestants
says out '^LOOK  mps        an MPS control folder exists: .*stop MPS before measuring$'

# ---- the store
printf 'no database at all\n' >f.db
run 4 doctor --no-contestants
says out '^LOOK  store .*f.db'
rm f.db
python3 -B -c "
import sqlite3
db = sqlite3.connect('newer.db')
db.execute('PRAGMA application_id = 0x$(sed -n 's/.*APPLICATION_ID.*0x\([0-9a-fA-F]*\).*/\1/p' "$SOURCE_DIR"/tuner/store*.[ch] | head -n 1)')
db.execute('PRAGMA user_version = 9999')
db.execute('CREATE TABLE t (x)')
db.commit()"
run 4 doctor --no-contestants --store newer.db
says out '^LOOK  store .*newer'

# ---- a disk that is nearly full: a small one of our own, where a namespace may mount it
mkdir small
if unshare --user --map-root-user --mount true 2>/dev/null; then
    unshare --user --map-root-user --mount bash -c 'mount -t tmpfs -o size=10m none small && "$0" doctor --no-contestants --store small/f.db' "$program" >out 2>err </dev/null || true
    says out '^LOOK  disk       0.0 GB free for the store: a run may need 0.5 GB, make room$'
else
    echo "no namespace of our own may mount here: the full disk is left out"
fi
exit $bad
