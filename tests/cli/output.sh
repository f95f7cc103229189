#!/usr/bin/env bash
# What people see: whole lines where nobody looks at a terminal, a live line that ends clean where somebody does, NO_COLOR,
# help that names every option, devices and doctor; and nothing written outside the store's folder.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
smoke=$SOURCE_DIR/tests/data/spaces/small.yaml
export FATUNE_FAKE_DEVICE=seed=3,noise=0.001

# ---- nothing outside the store's folder: not in the working directory, HOME, TMPDIR or beside the space and the templates
mkdir elsewhere home tmp
cp -r "$SOURCE_DIR/kernel_templates" "$smoke" elsewhere/
before=$(cd elsewhere && find . -newer ../tmp -print -o -type f -exec sha256sum {} + | sort)
(
    cd elsewhere
    HOME=$work/home TMPDIR=$work/tmp XDG_CACHE_HOME=$work/home/.cache run 0 run small.yaml --device fake --store "$work/kept/f.db"
    mv out err ..
    [ $bad -eq 0 ]
) || bad=1
[ "$(cd elsewhere && find . -newer ../tmp -print -o -type f -exec sha256sum {} + | sort)" = "$before" ] || fail "a run writes beside the space: $(ls -R elsewhere)"
rm -rf home/.cache/pocl # PoCL's own cache, made as soon as it is asked for its devices
[ ! -d home/.cache ] || rmdir home/.cache
[ -z "$(ls -A home)" ] || fail "a run writes to HOME: $(ls -A home)"
[ -z "$(ls -A tmp)" ] || fail "a run leaves files in TMPDIR: $(ls -A tmp)"
[ "$(ls -A kept | tr '\n' ' ')" = 'cache f.db f.db.lock ' ] || fail "the store's folder holds: $(ls -A kept)"

# ---- whole lines in a pipe: no escape, no carriage return, each with its time
if grep -q $'[\033\r]' out err; then fail "control characters in a pipe"; fi
if grep -qv '^\[ *[0-9.]* s\] ' err; then fail "a progress line without its time: $(grep -v '^\[ *[0-9.]* s\] ' err | head -n 1)"; fi
says err 'is the new champion$'
[ -z "$(tail -c 1 out)" ] || fail "the report does not end with a newline"
says out '^finalist 1: fa_wmma '
says out '^  PROMOTE: standing [0-9.]* us, finalist [0-9.]* us (medians); finalist takes [0-9.]*% less time$'
says out '^    pass P2 A/A control  '
if [ "$(wc -L <out)" -gt 140 ]; then fail "a report line of $(wc -L <out) columns"; fi

# ---- on a terminal of 60 columns: a line that is overwritten, cut to the width, and gone at the end
cat >terminal.py <<'X'
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0: # the size is set here: by the parent, it may come after the first line on a busy machine
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 60, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
data = b''
while True:
    try:
        chunk = os.read(fd, 65536)
    except OSError:
        break
    if not chunk:
        break
    data += chunk
open('screen', 'wb').write(data)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
X
cat >screen.py <<'X'
import re, sys
data = open('screen', 'rb').read().decode()
lines, live = [''], 0
for part in re.split(r'(\r\n|\n|\r\x1b\[K)', data):
    if part in ('\r\n', '\n'):
        lines.append('')
    elif part == '\r\x1b[K':
        live += 1
        lines[-1] = ''
    else:
        text = re.sub(r'\x1b\[[0-9;]*m', '', part)
        assert '\x1b' not in text and '\r' not in text, repr(part)
        if text.startswith(('search', 'race', 'check', 'confirm', 'prepare')):
            assert len(text) <= 59, f'a live line of {len(text)} columns: {text}'
        lines[-1] += text
assert live > 3, f'{live} updates'
assert any(line.startswith('champion ') for line in lines), 'no report'
assert lines[-1] == '', f'the screen ends with {lines[-1]!r}'
assert not any(re.match(r'(search|race|confirm) ?[0-9,]', line) for line in lines), 'a live line was left standing'
colour = '\x1b[2m' in data
assert colour == (sys.argv[1] == 'colour'), f'colour: {colour}'
X
TERM=xterm python3 -B terminal.py "$FATUNE_FAKE" run "$smoke" --device fake --store "$work/t1/f.db" || fail "a run on a terminal: exit $?"
python3 -B screen.py colour || fail "the terminal: see above"
TERM=xterm NO_COLOR=1 python3 -B terminal.py "$FATUNE_FAKE" run "$smoke" --device fake --store "$work/t2/f.db" || fail "a run with NO_COLOR: exit $?"
python3 -B screen.py plain || fail "NO_COLOR: see above"
TERM=dumb python3 -B terminal.py "$FATUNE_FAKE" run "$smoke" --device fake --store "$work/t3/f.db" || fail "a run with TERM=dumb: exit $?"
if grep -q $'\033' screen; then fail "escapes on a dumb terminal"; fi

# ---- help: every option that the source knows, and nothing wider than a terminal needs
run 0 --help
says out '^exit codes: 0 done; 2 usage; 3 .*; 4 .*; 5 store;$'
says out '6 another run holds the lock; 70 .*; 130 interrupted, resumable'
awk '/^commands:/ {on = 1; next} on && !NF {exit} on {print}' out >commands
[ "$(wc -l <commands)" -ge 8 ] || fail "--help lists too few commands"
[ "$(awk '{print substr($0, 40) ~ /^[a-z]/ && substr($0, 39, 1) == " "}' commands | sort -u)" = 1 ] ||
    fail "--help is not in two columns: $(cat commands)"
for command in run compare champion show eval space devices doctor; do
    source=$SOURCE_DIR/tuner/cmd_$command.c
    [ -e "$source" ] || source=$SOURCE_DIR/tuner/cmd_devices.c # doctor lives there
    run 0 $command --help
    says out "^usage: fatune $command"
    if [ "$(wc -L <out)" -gt 110 ]; then fail "$command --help is $(wc -L <out) columns wide"; fi
    if [ $command = devices ]; then continue; fi # its only option is checked below; the file has doctor's too
    for option in $(grep -oE '\{"[a-z-]+", OPTION_' "$source" | cut -d'"' -f2); do
        grep -q -- "^  --$option" out || fail "$command --help leaves out --$option"
    done
done
run 0 devices --help
says out '^  --json'

# ---- devices and doctor
run 0 devices
says out '^fake:0     fake accelerator$'
says out '132 multiprocessors, 1024 threads a block, 227 KiB shared a block'
run 0 devices --json
json "d['devices'][0]['device'] == 'fake:0' and d['devices'][0]['sms'] == 132 and isinstance(d['note'], str)"
got=0
"$program" doctor --store kept/f.db >out 2>err || got=$?
says out '^ok    fake:0     fake accelerator opens and its canary kernel is right'
says out '^ok    store      kept/f.db opens and is sound$'
if grep -q '^LOOK' out; then want=4; else want=0; fi
[ $got -eq $want ] || fail "doctor: exit $got, and says $(tail -n 1 out)"
printf 'no database at all\n' >broken.db
run 4 doctor --store broken.db --json
json "d['problems'] >= 1 and any(r['what'] == 'store' and not r['ok'] and 'broken.db' in r['text'] for r in d['rows'])"
FATUNE_FAKE_DEVICE=devices=2 run 0 devices
says out '^fake:1 '
exit $bad
