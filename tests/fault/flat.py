#!/usr/bin/env python3
"""Watches a supervisor through a search of many candidates: what it keeps in memory for each, and what the store keeps.

flat.py PROGRAM SPACE TEMPLATES FOLDER CANDIDATES"""
import contextlib
import os
import sqlite3
import subprocess
import sys
import time

BYTES_EACH = 1024       # what the supervisor may keep of a candidate
LIMIT_BYTES = 100 << 20  # and of 100,000 in all


def memory(pid):
    """Resident bytes now and at most."""
    with open(f'/proc/{pid}/status') as f:
        kb = {line.split(':')[0]: int(line.split()[1]) for line in f if line.startswith(('VmRSS', 'VmHWM'))}
    return 1024 * kb['VmRSS'], 1024 * kb['VmHWM']


def evaluations(path):
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(f'file:{path}?mode=ro', uri=True, timeout=0.1)) as db:
        return (db.execute('SELECT max(seq) FROM evaluation WHERE run = 1').fetchone()[0] or 0) + 1
    return 0


def main():
    program, space, templates, folder, count = *sys.argv[1:5], int(sys.argv[5])
    path, begin, seen, most = os.path.join(folder, 'flat.db'), time.monotonic(), [], 0
    with open(os.path.join(folder, 'out'), 'w') as out, open(os.path.join(folder, 'err'), 'w') as err:
        p = subprocess.Popen([program, 'run', space, '--templates', templates, '--device', 'fake', '--store', path, '--strategy', 'random',
                              '--evaluations', str(count), '--minutes', '600'], stdin=subprocess.DEVNULL, stdout=out, stderr=err)
    while p.poll() is None:
        n = evaluations(path)
        with contextlib.suppress(OSError, KeyError):  # it may have ended just now
            now, most = memory(p.pid)
            if n >= (len(seen) + 1) * count / 10:
                seen.append((n, now))
                print(f'{n:8d} candidates {time.monotonic() - begin:7.0f} s {now / 1e6:7.1f} MB', flush=True)
        time.sleep(0.02)
    with open(os.path.join(folder, 'err')) as f:
        last = f.read().splitlines()[-1:]
    if p.returncode != 0 or len(seen) < 3:
        print(f'FAIL: exit {p.returncode}, {len(seen)} readings: {last}')
        return 1
    (n0, first), (n1, end) = seen[1], seen[-1]
    each = (end - first) / (n1 - n0)
    print(f'{each:.0f} bytes of memory a candidate, at most {most / 1e6:.1f} MB; {os.path.getsize(path) / n1:.0f} bytes of the store')
    if each > BYTES_EACH or (count <= 100000 and most > LIMIT_BYTES):
        print(f'FAIL: more than {BYTES_EACH} bytes a candidate, or {LIMIT_BYTES} in all')
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
