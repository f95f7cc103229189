#!/usr/bin/env python3
"""The promises of tests/fault/rows.txt: runs their tests, prints the table of them, keeps docs/FAULTS.md.

  faults.py                       the table, with what each test said when it was last run
  faults.py run NN [gpu]          the proofs of one row; what they said goes into the folder of results
  faults.py gpu                   the numbers of the rows that have proofs on a GPU
  faults.py report                the table of the rows that ran since the last report; ctest calls this when it ends
  faults.py write                 docs/FAULTS.md, with the results
  faults.py check                 fails when docs/FAULTS.md does not say what rows.txt says (results excepted)

Results are small JSON files, one a test, in the folder --results or FATUNE_FAULT_RESULTS (default: build/tests/fault_rows). A
test that a machine cannot run is skipped with its reason, and what is not built is open: neither ever counts as passed."""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROWS = ROOT / 'tests/fault/rows.txt'
PAGE = ROOT / 'docs/FAULTS.md'
SKIPPED = 77
PLURAL = ('note', 'proof', 'gpu', 'open')
# What cmocka says of a group of tests, on either stream: how many ran, how many were skipped by themselves.
RAN = re.compile(r'\[==========\].* (\d+) test\(s\) run')
SELF_SKIPPED = re.compile(r'\[  SKIPPED \] (\d+) test\(s\)')


class Row:
    def __init__(self, number, slug):
        self.number, self.slug, self.fault, self.promise = number, slug, '', ''
        self.note, self.proof, self.gpu, self.open = [], [], [], []

    def tests(self):
        """(name, kind) of the tests that CTest knows it by."""
        return [(f'{kind}_{self.number}_{self.slug}', kind) for kind in ('fault', 'gpu') if kind == 'fault' or self.gpu]


def load(path=ROWS):
    """The rows in order. Ends the program with the line that is wrong."""
    rows = []

    def wrong(number, text):
        sys.exit(f'{path}:{number}: {text}')

    for number, line in enumerate(path.read_text().split('\n'), 1):
        if not line.strip() or line.startswith('#'):
            continue
        word, _, rest = line.partition(' ')
        rest = rest.strip()
        if re.fullmatch(r'\d\d', word):
            if not re.fullmatch(r'[a-z][a-z0-9_]*', rest):
                wrong(number, f'`{rest}` is no slug: a-z, 0-9 and _')
            if int(word) != len(rows) + 1:
                wrong(number, f'row {word} stands where row {len(rows) + 1:02} must')
            rows.append(Row(word, rest))
        elif not rows:
            wrong(number, 'a row begins with its number')
        elif word in PLURAL:
            getattr(rows[-1], word).append(rest)
        elif word in ('fault', 'promise') and not getattr(rows[-1], word):
            setattr(rows[-1], word, rest)
        else:
            wrong(number, f'`{word}` is unknown, or said twice')
    for row in rows:
        if not row.fault or not row.promise or not (row.proof or row.open):
            sys.exit(f'{path}: row {row.number} lacks its fault, its promise, or a proof')
    return rows


def prove(proof):
    """Runs one proof. (result, reason): passed, failed or skipped. What it printed goes to our stdout."""
    words = proof.split()
    env = dict(os.environ)
    if words[0].endswith('.sh'):
        command = ['bash', str(ROOT / 'tests' / words[0]), *words[1:]]
    else:
        if len(words) != 2:
            return 'failed', f'`{proof}` is neither a script nor PROGRAM TEST'
        program = pathlib.Path(os.environ.get('FATUNE_UNIT_TESTS', ROOT / 'build/tests')) / words[0]
        if not program.exists():
            # Left out at configure time where its device is, and CTest lists it so.
            absent = re.search(r'cuda|opencl', words[0]) is not None
            return ('skipped', f'{words[0]} is not built here') if absent else ('failed', f'{program} is missing')
        command = [str(program)]
        env['FATUNE_UNIT_TEST'] = words[1]
    print(f'== {proof}', flush=True)
    said = subprocess.run(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = said.stdout.decode(errors='replace')
    print(text, end='', flush=True)
    last = (text.strip().split('\n') or [''])[-1]
    if said.returncode == SKIPPED:
        return 'skipped', last
    if said.returncode != 0:
        words = [x for x in text.split('\n') if 'FAIL' in x]
        return 'failed', f'{proof}: exit {said.returncode}: {words[0] if words else last}'
    if words[0].endswith('.sh'):
        return 'passed', ''
    ran = sum(map(int, RAN.findall(text)))
    if ran == 0:
        return 'failed', f'{words[0]} has no test {words[1]}'
    if sum(map(int, SELF_SKIPPED.findall(text))) > 0:
        return 'skipped', f'{proof}: skipped by the test itself'
    return 'passed', ''


def version():
    """The commit that the program under test was built from, as it says itself."""
    try:
        said = subprocess.run([os.environ['FATUNE'], '--version'], capture_output=True, text=True, timeout=20, check=False).stdout
    except (KeyError, OSError):
        return ''
    match = re.search(r'\((\S+)\)', said)
    return match.group(1) if match else ''


def run(row, kind, results):
    """One test: the proofs of one row. Its exit code, as CTest takes it."""
    proofs = row.gpu if kind == 'gpu' else row.proof
    name = f'{kind}_{row.number}_{row.slug}'
    print(f'{name}\nfault:   {row.fault}\npromise: {row.promise}', flush=True)
    path = results / 'new' / f'{name}.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    outcome = {'test': name, 'result': 'failed', 'reason': 'it did not end', 'seconds': 0, 'date': time.strftime('%Y-%m-%d'), 'version': version()}
    path.write_text(json.dumps(outcome))  # should we be killed
    begin = time.monotonic()
    said = [prove(p) for p in proofs]
    if kind == 'fault':
        said += [('open', text) for text in row.open]
    # The worst of them is the row's: failed, open, skipped, passed.
    outcome['result'], outcome['reason'] = next((s for want in ('failed', 'open', 'skipped') for s in said if s[0] == want), ('passed', ''))
    outcome['seconds'] = round(time.monotonic() - begin, 1)
    path.write_text(json.dumps(outcome))
    print(f'{outcome["result"]}: {outcome["reason"] or f"{len(proofs)} proofs"}')
    return {'passed': 0, 'failed': 1}.get(outcome['result'], SKIPPED)


def read_results(folder):
    """{test: outcome}; of two the newer one."""
    found = {}
    for path in sorted(folder.rglob('*.json'), key=lambda p: p.stat().st_mtime):
        outcome = json.loads(path.read_text())
        found[outcome['test']] = outcome
    return found


def table(rows, results):
    """Lines: row, promise, test, result; of the tests that have one."""
    lines = []
    for row in rows:
        for name, kind in row.tests():
            if name not in results:
                continue
            said = results[name]
            lines.append(f'{row.number}  {row.promise}')
            lines.append(f'      {name:36} {said["result"]:8} {said["seconds"]:6.1f} s  {said["reason"]}'.rstrip())
    return lines


def counts(results):
    total = {}
    for said in results.values():
        total[said['result']] = total.get(said['result'], 0) + 1
    return ', '.join(f'{total[k]} {k}' for k in ('passed', 'failed', 'skipped', 'open') if k in total)


def report(rows, results):
    """Prints what ran since the last report, and files it."""
    new = results / 'new'
    fresh = read_results(new) if new.is_dir() else {}
    if fresh:
        print('\nrow promise, test, result (docs/FAULTS.md)')
        print('\n'.join(table(rows, fresh)))
        print(f'{len(fresh)} tests of promises: {counts(fresh)}')
    for path in new.glob('*.json') if fresh else ():
        path.replace(results / path.name)


def cell(text):
    return text.replace('|', '\\|')


def old_results():
    """{test: words} of the page as it is."""
    if not PAGE.exists():
        return {}
    return dict(re.findall(r'^ *- `((?:fault|gpu)_\d\d_\w+)`: (.*)$', PAGE.read_text(), re.M))


def words(said):
    text = said['result'] + (f' ({said["reason"]})' if said['reason'] else '')
    return f'{text}, {said["date"]}' + (f', {said["version"]}' if said['version'] else '')


def page(rows, results, old):
    """The text of docs/FAULTS.md. What this machine could only skip keeps what it said where it ran."""
    out = ['# What fatune promises when something breaks', '',
           '<!-- Written by tools/faults.py from tests/fault/rows.txt: edit that. -->', '',
           'Each promise has a test of its number that fails when the promise is broken. `ctest -L fault` runs those that need no GPU (on a device',
           'without hardware, with real compilers) and ends with this table; `ctest -L gpu`, or `tools/gpu_check.sh` on a machine that has only a',
           'driver, runs the others. Behind each test stands what it said when it was last run, when, and on which commit. *Skipped* names what was',
           'missing, *open* what is not built yet; neither is a pass.', '',
           '| # | what breaks | what fatune does |', '|---|---|---|']
    out += [f'| [{int(r.number)}](#{r.number}-{r.slug}) | {cell(r.fault)} | {cell(r.promise)} |' for r in rows]
    for row in rows:
        out += ['', f'## {row.number} {row.slug}', '', f'**{row.fault[0].upper() + row.fault[1:]}**: {row.promise}.']
        for text in row.note:
            out += ['', text]
        if row.open:
            out += ['', 'Open: ' + '; '.join(row.open) + '.']
        out.append('')
        for name, kind in row.tests():
            said, was = results.get(name), old.get(name, 'not run yet')
            if said and not (said['result'] == 'skipped' and not was.startswith(('skipped', 'not run'))):
                was = words(said)
            out.append(f'- `{name}`: {was}')
            out += [f'  - `{p}`' for p in (row.gpu if kind == 'gpu' else row.proof)]
    return '\n'.join(out) + '\n'


def check(rows):
    """The page must be what would be written now, but for the results."""
    strip = re.compile(r'(`(?:fault|gpu)_\d\d_\w+`): .*')
    have = strip.sub(r'\1', PAGE.read_text()) if PAGE.exists() else ''
    want = strip.sub(r'\1', page(rows, {}, {}))
    if have == want:
        print(f'{len(rows)} promises in docs/FAULTS.md')
        return 0
    for a, b in zip(have.split('\n') + [''] * 9999, want.split('\n')):
        if a != b:
            print(f'docs/FAULTS.md is not what tests/fault/rows.txt says:\n  page: {a}\n  list: {b}\nwrite it with: python3 tools/faults.py write')
            break
    else:
        print('docs/FAULTS.md has lines behind its end; write it with: python3 tools/faults.py write')
    return 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', nargs='?', default='table', choices=['table', 'run', 'gpu', 'report', 'write', 'check'])
    parser.add_argument('row', nargs='?')
    parser.add_argument('kind', nargs='?', default='fault', choices=['fault', 'gpu'])
    parser.add_argument('--results', type=pathlib.Path, default=os.environ.get('FATUNE_FAULT_RESULTS', ROOT / 'build/tests/fault_rows'))
    a = parser.parse_args()
    rows, results = load(), pathlib.Path(a.results)
    os.environ.setdefault('SOURCE_DIR', str(ROOT))  # by hand: a script that does not find its own tree must not go on in this one
    if a.what == 'run':
        row = next((r for r in rows if r.number == a.row), None)
        if row is None:
            sys.exit(f'no row {a.row} in {ROWS}')
        return run(row, a.kind, results)
    if a.what == 'gpu':
        print(' '.join(r.number for r in rows if r.gpu))
    elif a.what == 'report':
        report(rows, results)
    elif a.what == 'write':
        PAGE.write_text(page(rows, read_results(results), old_results()))
    elif a.what == 'check':
        return check(rows)
    else:
        found = read_results(results)
        print('\n'.join(table(rows, found)))
        print(f'{len(found)} tests of promises: {counts(found)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
