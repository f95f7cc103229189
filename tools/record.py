#!/usr/bin/env python3
"""Keeps a GPU check under results/recorded/: a page made from the store alone, the store itself, the steps.

usage: tools/record.py CHECK_FOLDER NAME        e.g. tools/record.py results/gpu_check h200

CHECK_FOLDER is what tools/gpu_check.sh wrote. Nothing on the page is typed by hand: whoever doubts a number finds it in fatune.db.xz. The evidence is unpacked beside it.
What `tools/gpu_check.sh --contestants` wrote becomes contestants.md beside it, with contestants.json and contestants.db.xz; what --decisions
wrote, a page with its nights and comparisons; --instruments, one with profile.json; --faults, a page of what each step said.
"""
import json
import lzma
import pathlib
import re
import sqlite3
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def ci(pair):
    return 'not defined' if None in pair else f'[{pair[0]:.4f}, {pair[1]:.4f}]'


def fates(db, run):
    rows = db.execute('SELECT fate, count(*) FROM evaluation WHERE run = ? GROUP BY fate ORDER BY 2 DESC', (run,))
    return ', '.join(f'{n} {fate}' for fate, n in rows)


def nights(db):
    """The ledger, and each of its nights' own words."""
    rows = db.execute('SELECT number, outcome, before, after, control, control_low, control_high, anchor_us, trials, alpha, note FROM night ORDER BY id').fetchall()
    if not rows:
        return []
    out = ['## Nights\n', '| night | outcome | champion | A/A control, 99% | anchor us | trials | alpha spent | note |', '|---|---|---|---|---|---|---|---|']
    for number, outcome, before, after, control, low, high, anchor, trials, alpha, note in rows:
        names = [db.execute('SELECT name FROM version WHERE id = ?', (v,)).fetchone()[0] if v else 'nobody' for v in (before, after)]
        out.append(f'| {number} | {outcome} | {names[0]} to {names[1]} | {control:.5f} [{low:.5f}, {high:.5f}] | {anchor:.3f} | {trials} | {alpha} | {note} |')
    return out + ['']


def comparisons(db):
    """Every `fatune compare`, in the order made."""
    rows = [json.loads(s) for s, in db.execute("SELECT summary FROM run WHERE key = 'compare' AND state = 'done' ORDER BY id")]
    if not rows:
        return []
    out = ['## Comparisons\n', '| B | against A | B is | ratio | 95% bootstrap-t | sessions |', '|---|---|---|---|---|---|']
    for r in rows:
        v = r['verdict']
        against = f'{r["a"]}, compiled again' if r.get('again') else f'`{r["a"]}`'
        out.append(f'| `{r["b"]}` | {against} | {r["relation"]} | {v["ratio"]:.5f} | {ci(v["ratio_boot_t"])} | {v["sessions"]} |')
    return out + ['']


def page(db, name, command):
    out = [f'# {name}: what was measured\n',
           'Made by `tools/record.py` from the files beside it; `fatune.db.xz` is the whole store, raw samples included '
           '(`xz -dk fatune.db.xz && fatune champion list --store fatune.db`).\n']
    facts = json.loads(db.execute('SELECT facts FROM environment ORDER BY id LIMIT 1').fetchone()[0])
    target, state = facts['target'], facts.get('state') or {}
    first, last = db.execute('SELECT min(started), max(ended) FROM run').fetchone()
    out += ['| | |', '|---|---|', f'| GPU | {target["name"]}, {target["sms"]} multiprocessors, VBIOS {state.get("vbios", "unknown")} |',
            f'| driver | {target["driver_version"]} |', f'| compiler | {target["compiler"]}, {target["arch"]} |',
            f'| fatune | {facts["fatune"]} |', f'| measured | {first} to {last} |', f'| command | `{command}` |\n']
    for run, state_, summary in db.execute('SELECT id, state, summary FROM run ORDER BY id'):
        if state_ != 'done' or not summary:
            continue
        s = json.loads(summary)
        if 'trials' not in s:
            continue
        kind = f'confirms run {s["confirms_run"]}' if 'confirms_run' in s else f'{s["proposals"]} proposals, strategy {s["strategy"]}, seed {s["seed"]}'
        out += [f'## Run {run}: {s["space"]}\n', f'{s["problem"]}; {kind}; {s["compiled"]} compilations; {s["seconds"]["elapsed"]:.0f} s. '
                f'Fates: {fates(db, run)}.\n',
                '| finalist against the standing arm | standing us | candidate us | ratio | 95% bootstrap-t | 95% BCa | Hedges\' g | sessions | verdict |',
                '|---|---|---|---|---|---|---|---|---|']
        for t in s['trials']:
            v = t['verdict']
            g = 'inf' if v['g_within'] is None else f'{v["g_within"]:.1f}'
            out.append(f'| {t["candidate"]} | {v["median_a_us"]:.3f} | {v["median_b_us"]:.3f} | {v["ratio"]:.4f} | {ci(v["ratio_boot_t"])} | '
                       f'{ci(v["ratio_bca"])} | {g} | {v["sessions"]} | {v["outcome"]} |')
        c = s.get('champion')
        if c:
            compiled = c['facts'].get('compiled', {})
            out += ['', f'Champion {c["name"]}: `{c["facts"]["text"]}`, {compiled.get("registers")} registers, '
                    f'{compiled.get("spill_store_bytes")} bytes spilled, {compiled.get("tensor_ops")} tensor-core instructions in its PTX.\n']
    return '\n'.join(out + nights(db) + comparisons(db))


def store_of(source):
    """The check's store, whole: as it is, or compressed."""
    plain = source / 'fatune.db'
    return plain.read_bytes() if plain.exists() else lzma.decompress((source / 'fatune.db.xz').read_bytes())


def record_check(source, folder, name):
    store = store_of(source)
    db = sqlite3.connect(':memory:')
    db.deserialize(store)
    profile = source / 'profile.json'
    alone = profile.exists() and 'test_device_cuda' not in (source / 'summary.txt').read_text()
    mode = ' --decisions' if (source / 'decisions.jsonl').exists() else ' --instruments' if alone else ''
    text = page(db, name, 'tools/gpu_check.sh' + mode)
    db.close()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'README.md').write_text(text)
    (folder / 'summary.txt').write_bytes((source / 'summary.txt').read_bytes())
    (folder / 'fatune.db.xz').write_bytes(lzma.compress(store, preset=9))
    if profile.exists():
        (folder / profile.name).write_bytes(profile.read_bytes())
    evidence = source / 'evidence_s512.tar.gz'
    if evidence.exists():
        subprocess.run(['tar', '-xzf', str(evidence), '-C', str(folder)], check=True)


def record_contestants(source, folder):
    """The page is written by contestant_table.py as the check goes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ('contestants.md', 'contestants.json'):
        (folder / name).write_bytes((source / name).read_bytes())
    (folder / 'contestants.db.xz').write_bytes(lzma.compress(store_of(source), preset=9))


def record_faults(source, folder, name):
    """No store: the steps, and where they ran."""
    steps = (source / 'steps.log').read_text()
    said = {m[1]: m[2].strip() for m in re.finditer(r'^== (\S+?): .*\n((?:(?!== ).*\n?)*)', steps, re.M)}
    device = [line.strip() for line in said['devices'].splitlines()[:3]]
    rows = (source / 'summary.txt').read_text().rstrip().splitlines()
    out = [f'# {name}: what was checked\n', 'Made by `tools/record.py` from what the steps said.\n', '| | |', '|---|---|',
           f'| GPU | {re.sub(r"^cuda:0 +", "", device[0])}; {device[2]} |', f'| compiler, driver | {device[1]} |', f'| fatune | {said["version"]} |',
           f'| checked | {said["nvidia-smi"].splitlines()[0].strip()} |', '| command | `tools/gpu_check.sh --faults` |', '', '```', *rows, '```', '']
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'README.md').write_text('\n'.join(out))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    folder = ROOT / 'results' / 'recorded' / name
    if (source / 'contestants.json').exists():
        record_contestants(source, folder)
    elif not list(source.glob('fatune.db*')):
        record_faults(source, folder, name)
    else:
        record_check(source, folder, name)
    print(f'{folder.relative_to(ROOT)}: ' + ', '.join(sorted(p.name for p in folder.iterdir())))


if __name__ == '__main__':
    main()
