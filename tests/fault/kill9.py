#!/usr/bin/env python3
"""Kills a run of fatune at random instants, looks at what is left, goes on, and kills again.

After each kill: no worker lives for more than 2 s; the store opens clean; everything that was committed before is there,
unchanged; a stage that was over is not begun again. A run that is killed often enough still finishes, with the champion of a run that
nobody disturbed, and with as many rows: what was kept is not made twice, so that a kill costs the stage in hand and no more."""
import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import store

MARK = 'FATUNE_FAULT_TEST'
STAGES = ['search', 'race', 'confirm', 'done']
failures = []


def fail(text):
    print('FAIL:', text, flush=True)
    failures.append(text)


def workers(mark):
    """Processes that carry our mark and were started by a supervisor."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/environ', 'rb') as f:
                env = f.read().split(b'\0')
        except OSError:
            continue
        if f'{MARK}={mark}'.encode() in env and any(e.startswith(b'FATUNE_SUPERVISOR=') for e in env):
            found.append(int(pid))
    return found


def no_workers(mark, when):
    until = time.monotonic() + 2
    while workers(mark):
        if time.monotonic() > until:
            for pid in workers(mark):
                fail(f'{when}: worker {pid} lives 2 s after its supervisor was killed')
                os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.02)


def look(path, folder):
    """Rows and complaints of a copy of the store, so that the rollback of a hot journal is left to fatune itself."""
    copy = os.path.join(folder, 'copy.db')
    for suffix in ('', '-journal'):
        if os.path.exists(copy + suffix):
            os.unlink(copy + suffix)
        if os.path.exists(path + suffix):
            shutil.copyfile(path + suffix, copy + suffix)
    if not os.path.exists(copy) or os.path.getsize(copy) == 0:
        return set(), [], '-'
    db = store.connect(copy)
    try:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'champion'").fetchone():
            return set(), [], '-'
        state = db.execute('SELECT state FROM run ORDER BY id DESC LIMIT 1').fetchone()
        return store.rows(db), store.broken(db), state[0] if state else '-'  # of the newest run
    finally:
        db.close()


class Runs:
    def __init__(self, a, folder):
        self.a, self.folder, self.hot = a, folder, 0
        self.env = dict(os.environ, **{MARK: folder, 'NO_COLOR': '1'})
        self.states = collections.Counter()
        self.begun = sum(row[0] == 'run' for row in look(a.begin, folder)[0]) if a.begin else 0  # runs of the store to begin with

    def start(self, path):
        log = open(os.path.join(self.folder, 'stderr'), 'w+b')
        out = open(os.path.join(self.folder, 'stdout'), 'w+b')
        p = subprocess.Popen([self.a.program, self.a.command, self.a.space, '--device', self.a.device, '--store', path, '--json', *self.a.option],
                             stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=self.env)
        log.close()
        out.close()
        return p

    def words(self):
        with open(os.path.join(self.folder, 'stderr'), errors='replace') as f:
            return ' | '.join(f.read().splitlines()[-4:])

    def whole(self, path):
        """A run that nobody disturbs: seconds, champion, rows of each table."""
        begin = time.monotonic()
        self.lay(path)
        if self.start(path).wait(timeout=120) != 0:
            print('FAIL: an undisturbed run fails:', self.words())
            sys.exit(1)
        seconds, db = time.monotonic() - begin, store.connect(path)
        return seconds, store.champion(db), store.sizes(db)

    def lay(self, path):
        """A folder for the store, with the store that the run begins with, if any."""
        os.mkdir(os.path.dirname(path))
        if self.a.begin:
            shutil.copyfile(self.a.begin, path)

    def doctor(self, path):
        """What the program itself says of the store that was left, if any: some are killed before they have made one."""
        if not os.path.exists(path):
            return
        out = subprocess.run([self.a.program, 'doctor', '--store', path, '--json'], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                             env=self.env, timeout=60, check=False).stdout
        said = [r['text'] for r in json.loads(out)['rows'] if r['what'] == 'store']
        if len(said) != 1 or 'opens and is sound' not in said[0]:
            fail(f'doctor on a store that was killed: {said}')


def one(runs, path, wait_s, before, number):
    """Starts, kills after wait_s, looks. before: rows, number of runs and stage. Returns the same as they are now, whether it was killed, and
    whether the run is over: it ended by itself, or was killed behind its last transaction (the same command would begin another)."""
    rows, stage = before
    p = runs.start(path)
    try:
        code = p.wait(timeout=wait_s)
    except subprocess.TimeoutExpired:
        code = None
        p.kill()
        p.wait()
    when = f'kill {number} after {wait_s:.3f} s'
    no_workers(runs.folder, when)
    if code not in (None, 0):
        fail(f'{when}: the run ended with {code}: {runs.words()}')
    runs.hot += os.path.exists(path + '-journal') and os.path.getsize(path + '-journal') > 0
    after, complaints, state = look(path, runs.folder)
    for text in complaints:
        fail(f'{when}: {text}')
    for row in sorted(map(str, rows - after))[:3]:
        fail(f'{when}: committed before and gone or changed now: {row[:300]}')
    if code is None:
        runs.states[state] += 1
    now = (sum(row[0] == 'run' for row in after), STAGES.index(state) if state in STAGES else -1)
    if now < stage:
        fail(f'{when}: run {now[0]} is in stage {now[1]}, and was run {stage[0]} in stage {stage[1]}: back by more than the stage in hand')
    return (after, now), code is None, code is not None or (state == 'done' and now[0] > runs.begun)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('program')
    parser.add_argument('space')
    parser.add_argument('--command', default='run', help='run or nightly')
    parser.add_argument('--begin', help='store to begin with')
    parser.add_argument('--device', default='fake')
    parser.add_argument('--kills', type=int, default=50)
    parser.add_argument('--limit', type=float, default=200, help='seconds for everything')
    parser.add_argument('--least', type=int, default=5, help='fewer kills than this within the limit fail')
    parser.add_argument('--seed', type=int, default=None)
    parser.add_argument('--option', action='append', default=[], help='passed to run')
    parser.add_argument('--length', type=float, help='kill within this many seconds; without it an undisturbed run is made first, which gives'
                        ' the length and the champion that there must be')
    a = parser.parse_args()
    begin = time.monotonic()
    seed = a.seed if a.seed is not None else int.from_bytes(os.urandom(4), 'little')
    draw = random.Random(seed)
    print(f'seed {seed} (FATUNE_KILL_SEED={seed} repeats it)', flush=True)

    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(a, folder)
        length_s, champion, sizes = a.length, None, None
        if not a.length:
            length_s, champion, sizes = runs.whole(os.path.join(folder, 'whole', 'f.db'))
            print(f'undisturbed: {length_s:.1f} s, champion {champion}', flush=True)
        kills = finished = 0
        end = begin + a.limit - 3 * length_s  # what is left is for the last run to finish
        while kills < a.kills and time.monotonic() < end:
            path = os.path.join(folder, f'{finished}', 'f.db')
            runs.lay(path)
            now, done, in_a_row = (set(), (0, -1)), False, 0
            while not done:
                last = kills >= a.kills or time.monotonic() > end
                started = time.monotonic()
                now, killed, done = one(runs, path, 120 if last else draw.uniform(0, length_s), now, kills)
                if not killed and in_a_row == 0:
                    length_s = min(length_s, time.monotonic() - started)
                kills += killed
                in_a_row += killed
                if killed and kills % 10 == 1 and os.path.exists(path):
                    runs.doctor(path)
            db = store.connect(path)
            got, have = store.champion(db), store.sizes(db)
            if got == 'none' or got != (champion or got):
                fail(f'after {in_a_row} kills the champion is {got}, undisturbed it is {champion}')
            for table, n in (sizes or {}).items():
                if have[table] != n:
                    fail(f'after {in_a_row} kills there are {have[table]} rows of {table}, undisturbed there are {n}')
            finished += 1
            shutil.rmtree(os.path.dirname(path))
        no_workers(folder, 'the end')
        print(f'{kills} kills, {finished} runs finished after them; killed in ' + ', '.join(f'{k}: {n}' for k, n in sorted(runs.states.items())) +
              f'; {runs.hot} hot journals; {time.monotonic() - begin:.0f} s')
        if kills < min(a.kills, a.least):
            fail(f'only {kills} kills in {a.limit:.0f} s')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
