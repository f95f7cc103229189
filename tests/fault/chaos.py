#!/usr/bin/env python3
"""One call of a run fails, the n-th, for one n after the other: an allocation, or a read or write on a pipe (tests/chaos/chaos.c). With
--kinds the first of each kind instead: calls that are reached through the same eight functions are of one kind.

Whatever fails: the run ends within its deadlines, with a result or with an error that it names; no process is killed by a signal or stays
behind; the store is sound; and the same command, undisturbed, goes on to the champion of a run that nobody disturbed."""
import argparse
import concurrent.futures
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import time

import kill9
import store

ERRORS = {3, 4, 5, 70}  # err.h: INPUT, DEVICE, STORE, SYSTEM and BUG
FIRST = 3               # calls that are always tried
KINDS = 16 << 16        # bytes of a table of kinds
RUN_LIMIT_S = 40        # an undisturbed run takes less than one; then comes a deadline of 3 s, and whoever is busy


class Runs:
    def __init__(self, a, folder):
        self.a, self.folder = a, folder
        self.env = dict(os.environ, NO_COLOR='1', FATUNE_DEADLINE_S='30' if a.kinds else '3', FATUNE_THREADS='1')

    def run(self, path, chaos, *options):
        """(exit code, words, calls, calls that failed, {kind: n}); the exit code is None when it had to be stopped."""
        mark = os.path.join(os.path.dirname(path), 'calls')
        with open(mark, 'wb') as f:
            f.write(bytes(16 + (0 if not self.a.kinds or not chaos else KINDS if chaos[0] == 0 else 16)))
        env = dict(self.env, **{kill9.MARK: mark})
        if chaos:
            env['FATUNE_CHAOS'] = f'{self.a.who} {self.a.what} {chaos[0]} {chaos[1]} {mark}'
            if self.a.library:
                env['LD_PRELOAD'] = self.a.library
        p = subprocess.Popen([self.a.program, 'run', self.a.space, '--device', 'fake', '--templates', self.a.templates, '--store', path, '--quiet',
                              *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env, text=True, errors='replace')
        try:
            words = p.communicate(timeout=RUN_LIMIT_S)[1]
        except subprocess.TimeoutExpired:
            p.kill()
            words = p.communicate()[1]
            p.returncode = None
        kill9.no_workers(mark, f'{chaos} {options}')
        with open(mark, 'rb') as f:
            calls, failed = struct.unpack('QQ', f.read(16))
            kinds = dict(struct.iter_unpack('QQ', f.read()))
        return p.returncode, words, calls, failed, {kind: n for kind, n in kinds.items() if kind}

    def look(self, path):
        """Complaints about the store, its champion, and the fates in it."""
        if not os.path.exists(path) or os.path.getsize(path) == 0:
            return [], 'none', set()
        db = store.connect(path)
        try:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'champion'").fetchone():
                return [], 'none', set()
            logs = db.execute("SELECT log FROM evaluation WHERE log LIKE '%ended by signal%'")
            said = store.broken(db) + [row[0] for row in logs if re.search(r'signal (4|6|7|8|11) ', row[0])]
            return said, store.champion(db), {row[0] for row in db.execute('SELECT fate FROM evaluation UNION SELECT fate FROM proof')}
        finally:
            db.close()

    def one(self, n, how):
        """(complaints, whether a call failed, exit code, its kind)"""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            path = os.path.join(folder, 'f.db')
            code, words, _, failed, kinds = self.run(path, (n, how))
            said, champion, fates = self.look(path)
            if code is None:
                said.append(f'has not ended after {RUN_LIMIT_S} s')
            elif code != 0 and (code not in ERRORS or not words.strip()):
                said.append(f'ended with {code}')
            if failed > 1:
                said.append(f'{failed} calls failed')
            if champion != self.champion:
                again, more, *_ = self.run(path, None)
                worse, champion, _ = self.look(path)
                said += worse
                if again == 0 and champion != self.champion and fates - {'OK'}:  # a candidate was blamed for the death of its worker
                    again, more, *_ = self.run(path, None, '--fresh')
                    worse, champion, _ = self.look(path)
                    said += worse
                if again != 0 or champion != self.champion:
                    said.append(f'undisturbed it then ends with {again} and champion {champion}, not {self.champion}: {more}')
            return [f'{self.a.who} {self.a.what} {how} {n}: {text}\n    {words.strip()[-300:]}' for text in said], failed, code, set(kinds)


def main():
    parser = argparse.ArgumentParser()
    for name in ('program', 'library', 'space', 'templates', 'who', 'what'):
        parser.add_argument(name)
    parser.add_argument('how', nargs='+')
    parser.add_argument('--seconds', type=float, default=20, help='as many n as fit')
    parser.add_argument('--seed', type=int, default=int.from_bytes(os.urandom(4), 'little'))
    parser.add_argument('--only', type=int, help='this n alone')
    parser.add_argument('--jobs', type=int, default=os.cpu_count() or 1, help='runs at once')
    parser.add_argument('--kinds', action='store_true')
    parser.add_argument('--below', type=int, default=1 << 30, help='smaller n alone')
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(a, folder)
        os.mkdir(os.path.join(folder, 'whole'))
        code, words, total, _, kinds = runs.run(os.path.join(folder, 'whole', 'f.db'), (0, a.how[0]))
        runs.champion = runs.look(os.path.join(folder, 'whole', 'f.db'))[1]
        if code != 0 or runs.champion == 'none' or total < 20:
            print(f'FAIL: undisturbed it ends with {code}, champion {runs.champion}, {total} calls: {words}')
            return 1
        # Each n once, in random order, so that however little time there is goes to the whole range; but the first calls, in which a
        # process is made and asked who it is, are few and unlike all others: those are always among them.
        todo = [(a.only, how) for how in a.how] if a.only else [(n, how) for n in range(1, min(total + 1, a.below)) for how in a.how]
        if a.kinds:
            todo = [(n, how) for n in kinds.values() for how in a.how]
        random.Random(a.seed).shuffle(todo)
        todo.sort(key=lambda x: x[0] > FIRST)
        begin, done, hits, bad, codes, met = time.monotonic(), 0, 0, [], {}, set()
        with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
            def work(x):
                return runs.one(*x) if time.monotonic() - begin < a.seconds else None
            for result in pool.map(work, todo):
                if result:
                    bad += result[0]
                    done, hits = done + 1, hits + (result[1] > 0)
                    met |= result[3]
                    codes[result[2]] = codes.get(result[2], 0) + 1
        print('\n'.join(f'FAIL: {text}' for text in bad[:20]))
        print(f'{a.who}, {a.what} ({" ".join(a.how)}): {done} of {len(todo)} tried, {hits} failed a call; exit codes '
              + ', '.join(f'{k}: {n}' for k, n in sorted(codes.items(), key=str))
              + (f'; {len(met & set(kinds))} of {len(kinds)} kinds met, {len(met - set(kinds))} others' if a.kinds else '') + f'; {len(bad)} complaints; seed {a.seed}', flush=True)
        return 1 if bad or kill9.failures or hits == 0 else 0


if __name__ == '__main__':
    sys.exit(main())
