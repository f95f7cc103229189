#!/usr/bin/env bash
# tools/nightly: the script holds a night, and service, timer, cron line and CI job are well formed and call it. systemd's own check is made
# where systemd is.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
tools=$SOURCE_DIR/tools/nightly
export FATUNE_FAKE_DEVICE=seed=3,noise=0.001 FATUNE=$FATUNE_FAKE FATUNE_HOME=$work/home FATUNE_MINUTES=1
program=$tools/fatune-nightly
mkdir -p home/spaces
cp "$SOURCE_DIR/tests/data/spaces/small.yaml" home/spaces/

# ---- the script: two nights, the second without news
run 0 --device fake --evaluations 3
says out '^smoke, night 1 .*: crowned, nobody -> v1$'
[ ! -s err ] || fail "a night speaks on stderr: $(cat err)"
[ -e home/results/fatune.db ] && ls home/results/nightly/*/smoke-fake0-night1.md >page || fail "no store or page: $(ls -R home)"
sed 's/^name:.*/name: [/' home/spaces/small.yaml >home/spaces/zz.yaml
run 3 --device fake --evaluations 3
says err 'zz.yaml:[0-9]'
rm home/spaces/zz.yaml
FATUNE_SPACES=$work/empty run 3
says err 'no \*.yaml in .*empty; put spaces there, or name their folder with FATUNE_SPACES'

# ---- service and timer
python3 -B - "$tools" <<'PYTHON' || fail "the units are not what they should be"
import configparser, os, stat, sys
def unit(name):
    p = configparser.ConfigParser(strict=True, interpolation=None, delimiters=('=',))
    p.optionxform = str
    p.read_string(open(os.path.join(sys.argv[1], name)).read())
    return p
service, timer = unit('fatune-nightly.service')['Service'], unit('fatune-nightly.timer')
script = os.path.join(sys.argv[1], os.path.basename(service['ExecStart'].split()[0]))
ok = service['Type'] == 'oneshot' and os.stat(script).st_mode & stat.S_IXUSR and service['SuccessExitStatus'] == '130'
ok = ok and {x.split('=')[0] for x in service['Environment'].split()} == {'FATUNE_HOME', 'FATUNE_MINUTES', 'FATUNE'}
ok = ok and timer['Timer']['OnCalendar'] and timer['Install']['WantedBy'] == 'timers.target'
head = open(script).read()
sys.exit(0 if ok and all(x in head for x in ('FATUNE_HOME', 'FATUNE_MINUTES', 'FATUNE_SPACES')) else 1)
PYTHON
verified="systemd-analyze is not here: the units were parsed, not verified"
if command -v systemd-analyze >/dev/null; then
    sed "s|^ExecStart=.*|ExecStart=$program|; /^User=/d" "$tools/fatune-nightly.service" >fatune-nightly.service
    cp "$tools/fatune-nightly.timer" .
    systemd-analyze verify ./fatune-nightly.service ./fatune-nightly.timer >verify 2>&1 || fail "systemd-analyze: $(cat verify)"
    systemd-analyze calendar "$(sed -n 's/^OnCalendar=//p' fatune-nightly.timer)" >verify 2>&1 || fail "OnCalendar: $(cat verify)"
    verified="verified by systemd-analyze"
fi

# ---- the cron line: five fields and a command, which is run as cron's shell would
line=$(grep -v '^#' "$tools/crontab")
[ "$(wc -l <<<"$line")" -eq 1 ] || fail "not one line in crontab: $line"
[[ $line =~ ^([0-9*]+\ ){5} ]] || fail "no five fields: $line"
[[ $line != *%* ]] || fail "cron takes % for a newline: $line"
command=$(cut -d ' ' -f 6- <<<"$line")
command=${command//\/usr\/local\/share\/fatune\/nightly\//$tools/}
command=${command//\/usr\/local\/bin\/fatune/$FATUNE_FAKE}
mkdir -p cron/fatune/spaces
cp home/spaces/small.yaml cron/fatune/spaces/
env -i HOME="$work/cron" PATH=/usr/bin:/bin "FATUNE_FAKE_DEVICE=$FATUNE_FAKE_DEVICE" sh -c "$command --device fake --evaluations 3" >out 2>err </dev/null ||
    fail "cron's line: $(cat err)"
says out 'night 1 .*: crowned'

# ---- the CI job: its steps, one after the other
sed -n 's/^ *run: //p' "$tools/ci.yml" >steps
[ "$(wc -l <steps)" -eq 2 ] || fail "the job's steps: $(cat steps)"
mkdir bin
ln -s "$FATUNE_FAKE" bin/fatune
sed -i "s|/usr/local/share/fatune/nightly/fatune-nightly|& --device fake --evaluations 3|; s|/usr/local/share/fatune/nightly/|$tools/|" steps
PATH=$work/bin:$PATH bash -e steps >out 2>err || fail "the job: $(cat err)"
says out '^night 3 .* v[0-9]* -> v'
kept=$(sed -n 's|^ *path: \(.*\)/results/nightly$|\1|p' "$tools/ci.yml")
grep -q "^      FATUNE_HOME: $kept$" "$tools/ci.yml" || fail "the job keeps another folder than it writes: $kept"
echo "$verified"
exit $bad
