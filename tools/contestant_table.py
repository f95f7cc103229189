#!/usr/bin/env python3
"""One table of runs that met contestants. usage: tools/contestant_table.py OUT NAME=FOLDER/STEM ...

For each space STEM.space.json is what `fatune space --json` printed and STEM.run.json what `fatune run --json` did. Writes
OUT/contestants.md and OUT/contestants.json and prints the table. Ends with 1 when a run failed or met no contestant.
"""
import json
import pathlib
import statistics
import sys


def read(path):
    try:
        return json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError):
        return {}


def tflops(p, us):
    """Useful operations: with the causal mask what a row does not see does not count."""
    pairs = p['seq_q'] * p['seq_kv'] - (p['seq_q'] ** 2 / 2 if p['mask'] == 'causal' else 0)
    return 4e-6 * p['batch'] * p['heads'] * p['head_dim'] * pairs / us


def shape(p):
    heads = f'{p["heads"]}' if p['heads'] == p['kv_heads'] else f'{p["heads"]}/{p["kv_heads"]}'
    tokens = f'{p["seq_q"]}' if p['seq_q'] == p['seq_kv'] else f'{p["seq_q"]}/{p["seq_kv"]}'
    return f'{p["batch"]}x{heads}x{tokens}x{p["head_dim"]} {p["dtype"]}'


def met(c):
    """What is kept of one contestant. ratio: its time over fatune's, so above 1 fatune is faster."""
    kept = {key: c.get(key) for key in ('name', 'version', 'choice', 'left_out', 'wrong', 'boxed', 'relation', 'trial')}
    v = c.get('verdict')
    if not v or v['ratio'] is None:
        kept['left_out'] = kept['left_out'] or 'no valid trial'
        return kept
    low, high = v['ratio_boot_t']
    return kept | {'us': v['median_a_us'], 'fatune_us': v['median_b_us'], 'ratio': 1 / v['ratio'],
                   'interval': [1 / high, 1 / low] if low and high else None, 'sessions': v['sessions']}


def row(name, stem):
    space, run = read(f'{stem}.space.json'), read(f'{stem}.run.json')
    out = {'space': name, 'problem': space.get('problem'), 'error': None, 'contestants': []}
    if 'error' in run or 'contestants' not in run:
        return out | {'error': run.get('error', {}).get('text', 'did not end: steps.log says why')}
    out['contestants'] = [met(c) for c in run['contestants']]
    times = [c['fatune_us'] for c in out['contestants'] if 'us' in c]
    us = statistics.median(times) if times else None
    return out | {'run': run['run'], 'device': run['device_name'], 'arm': run.get('arm'), 'champion': (run['champion'] or {}).get('name'),
                  'us': us, 'tflops': tflops(out['problem'], us) if us and out['problem'] else None, 'seconds': run['seconds']['elapsed']}


def cell(c):
    if c is None:
        return ''
    if 'us' not in c:
        return 'left out'
    interval = ' [{:.3f}, {:.3f}]'.format(*c['interval']) if c['interval'] else ''
    return f'{c["us"]:.2f}, {c["ratio"]:.3f}{interval}' + (' WRONG' if c['wrong'] else '')


def table(rows):
    names = list(dict.fromkeys(c['name'] for r in rows for c in r['contestants']))
    lines = [['space', 'shape', 'mask', 'fatune us', 'TFLOP/s', *names], None]
    for r in rows:
        p, by_name = r['problem'], {c['name']: c for c in r['contestants']}
        lines.append([r['space'], shape(p) if p else '', p['mask'] if p else '',
                      'failed' if r['error'] else f'{r["us"]:.2f}' if r['us'] else 'none', f'{r["tflops"]:.{0 if r["tflops"] >= 10 else 3}f}' if r.get('tflops') else '',
                      *(cell(by_name.get(name)) for name in names)])
    widths = [max(len(line[i]) for line in lines if line) for i in range(len(lines[0]))]
    lines[1] = ['-' * width for width in widths]
    return ['| ' + ' | '.join(text.ljust(width) for text, width in zip(line, widths)) + ' |' for line in lines]


def page(rows):
    devices = ', '.join(dict.fromkeys(r['device'] for r in rows if not r['error'])) or 'no device'
    out = [f'# Contestants on {devices}\n',
           'Made by `tools/gpu_check.sh --contestants`. Medians in microseconds a launch, warm L2, graph replay on both sides. Behind the '
           "comma: the contestant's time over fatune's (above 1: fatune is faster) with the 95% bootstrap-t interval over sessions. "
           '`contestants.json` has all figures, the store raw samples.\n',
           *table(rows), '']
    versions = dict.fromkeys(f'- `{c["name"]}`: {c["version"]}' for r in rows for c in r['contestants'] if c['version'])
    if versions:
        out += ['## Who they are\n', *versions, '']
    out += ['## What was measured\n']
    for r in rows:
        out.append(f'- {r["space"]}: ' + (f'failed: {r["error"]}' if r['error'] else f'run {r["run"]}, {r["seconds"]:.0f} s, `{r["arm"]}`'))
        for c in r['contestants']:
            notes = [f'left out: {c["left_out"]}' if c['left_out'] else '', c['choice'] or '', f'WRONG: {c["wrong"]}' if c['wrong'] else '',
                     'cut to fit the time' if c['boxed'] else '']
            out.append(f'  - {c["name"]}: ' + ('; '.join(filter(None, notes)) or 'no choice named'))
    return '\n'.join(out) + '\n'


def main():
    if len(sys.argv) < 3 or not all('=' in word for word in sys.argv[2:]):
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    rows = [row(*word.split('=', 1)) for word in sys.argv[2:]]
    (out / 'contestants.json').write_text(json.dumps(rows, indent=1) + '\n')
    (out / 'contestants.md').write_text(page(rows))
    print('\n'.join(table(rows)))
    bad = [f'{r["space"]}: {r["error"] or "no contestant was met"}' for r in rows if r['error'] or r['us'] is None]
    print('\n'.join(bad) if bad else f'{len(rows)} spaces, {sum("us" in c for r in rows for c in r["contestants"])} contestants met')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
