#!/usr/bin/env python3
"""Kernel Tuner's strategies and fatune's on the same recorded spaces, side by side. Run by hand.

usage: tools/kernel_tuner_peer.py [--fatune build/fatune] [--repeats 20] [--own all] [--strategies a,b,...] [--jobs N] FILE...

FILE: as `fatune replay` reads them, one template each. Kernel Tuner (pip install kernel_tuner) searches them in its own simulation mode, which answers from a
cache file, with its strategies' default options and fatune's budget for the space; evaluations are counted as first visits of a point.
Its searches are scored here, by the formulas of docs/SEARCH.md, and fatune's (--own: which, random always) by `fatune replay`; a random search of each side shows that both
count alike. Kernel Tuner names a strategy's module: random_sample, simulated_annealing, genetic_algorithm, ...
The exit code is 1 when Kernel Tuner's random searches differ in P from twenty times as many of fatune's by more than three standard errors (by
resampling them), and 2 when Kernel Tuner is missing."""
import argparse
import concurrent.futures
import contextlib
import csv
import gzip
import io
import json
import math
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEFAULT = 'random_sample,simulated_annealing,genetic_algorithm,diff_evo,pso,mls'


def number(text):
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def read(path):
    """Names, and rows of (values, milliseconds or None)."""
    raw = pathlib.Path(path).read_bytes()
    text = (gzip.decompress(raw) if raw[:2] == b'\x1f\x8b' else raw).decode()
    if not text.lstrip().startswith('{'):
        table = list(csv.reader(io.StringIO(text)))
        head = table[0]
        n, at = head.index('status'), head.index('mean_ms')
        return head[:n], [(tuple(map(number, r[:n])), float(r[at]) if r[n] == 'ok' else None) for r in table[1:] if r]
    d = json.loads(text)
    if 'cache' in d:
        names = list(d['tune_params'])
        return names, [(tuple(r[k] for k in names), r['time'] if isinstance(r['time'], (int, float)) else None) for r in d['cache'].values()]
    names = list(d['results'][0]['configuration'])
    time = lambda r: next((m['value'] for m in r['measurements'] if m['name'] == 'time'), None)
    return names, [(tuple(r['configuration'][k] for k in names), time(r) if r['invalidity'] == 'correct' else None) for r in d['results']]


def write_cache(path, names, rows):
    """As Kernel Tuner keeps it; a failure is the name of its error class."""
    values = {k: sorted({v[i] for v, _ in rows}, key=lambda x: (isinstance(x, str), x)) for i, k in enumerate(names)}
    cache = {}
    for at, ms in rows:
        key = ','.join(str(x) for x in at)
        if key not in cache:
            cache[key] = {**dict(zip(names, at)), 'time': ms if ms is not None else 'RuntimeFailedConfig', 'times': [ms] if ms is not None else [], 'compile_time': 0,
                          'verification_time': 0, 'benchmark_time': 0, 'strategy_time': 0, 'framework_time': 0, 'timestamp': '2026-01-01 00:00:00+00:00'}
    path.write_text(json.dumps({'device_name': 'recorded', 'kernel_name': 'recorded', 'problem_size': [1], 'tune_params_keys': names, 'tune_params': values,
                                'objective': 'time', 'cache': cache}, indent=0))
    return values, set(cache)


def search(job):
    """One search: the milliseconds of the points in the order of their first visits, None where one failed."""
    cache, names, values, keys, strategy, budget, seed = job
    import numpy
    from kernel_tuner import tune_kernel
    random.seed(seed)
    numpy.random.seed(seed)
    def recorded(point):
        return ','.join(str(point[k]) for k in names) in keys

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        results, _ = tune_kernel('recorded', 'void recorded() {}', [1], [], dict(values), restrictions=recorded, strategy=strategy,
                                 strategy_options={'max_fevals': budget}, simulation_mode=True, cache=str(cache), lang='C', quiet=True)
    visits = {}
    for r in results:
        visits.setdefault(tuple(r[k] for k in names), r['time'])
    return [t if isinstance(t, (int, float)) else None for t in visits.values()][:budget]


def score(us, budget, searches):
    """P and the share within 5%, of lists of times; us: all valid times, worst first."""
    n, best = len(us), us[-1]
    place = {t: i for i, t in enumerate(us)}  # of equal times the last
    curves = []
    for found in searches:
        so_far, curve = 0, []
        for t in found:
            so_far = max(so_far, place[t]) if t is not None else so_far
            curve.append(so_far)
        curves.append((curve + [curve[-1] if curve else 0] * budget)[:budget])
    p = 0
    for t in range(budget):
        base = us[min(n - 1, math.floor((t + 1) * (n + 1) / (t + 2) + 0.5))]
        mean = us[math.floor(sum(c[t] for c in curves) / len(curves) + 0.5)]
        p += (base - mean) / (base - best) / budget
    return p, sum(us[c[-1]] <= 1.05 * best for c in curves) / len(curves)


def standard_error(us, budget, searches):
    """Of P, by 100 resamplings of the searches."""
    again = random.Random(1)
    p = [score(us, budget, again.choices(searches, k=len(searches)))[0] for _ in range(100)]
    mean = sum(p) / len(p)
    return math.sqrt(sum((x - mean) ** 2 for x in p) / (len(p) - 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--fatune', default=str(ROOT / 'build/fatune'))
    parser.add_argument('--repeats', type=int, default=20)
    parser.add_argument('--own', default='all')
    parser.add_argument('--strategies', default=DEFAULT)
    parser.add_argument('--jobs', type=int)
    parser.add_argument('files', nargs='+')
    a = parser.parse_args()
    def replay(file, strategies, repeats):
        said = subprocess.run([a.fatune, 'replay', file, '--strategy', strategies, '--repeats', str(repeats), '--json'], check=True, capture_output=True, text=True)
        return json.loads(said.stdout)['spaces'][0]

    own = a.own if a.own == 'all' or 'random' in a.own.split(',') else a.own + ',random'
    try:
        import importlib.metadata
        import kernel_tuner  # noqa: F401
    except ImportError:
        print('tools/kernel_tuner_peer.py: Kernel Tuner is missing: pip install kernel_tuner', file=sys.stderr)
        return 2
    print(f'Kernel Tuner {importlib.metadata.version("kernel_tuner")}, default options, {a.repeats} searches each; P / share within 5% of the optimum')
    differ = False
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ProcessPoolExecutor(a.jobs) as pool:
        for file in a.files:
            ours = replay(file, own, a.repeats)
            chance = replay(file, 'random', 20 * a.repeats)['scores'][0]['p']
            names, rows = read(file)
            cache = pathlib.Path(folder) / 'cache.json'
            values, keys = write_cache(cache, names, rows)
            us = sorted((ms for _, ms in rows if ms is not None), reverse=True)
            print(f'{ours["name"]}, budget {ours["budget"]}')
            by_name = {s['strategy']: s for s in ours['scores']}
            for name, s in by_name.items():
                print(f'  fatune        {name:24} {s["p"]:6.2f} / {s["within_5"]:4.0%}', flush=True)
            for strategy in a.strategies.split(','):
                jobs = [(cache, names, values, keys, strategy, ours['budget'], seed) for seed in range(a.repeats)]
                searches = list(pool.map(search, jobs))
                p, within = score(us, ours['budget'], searches)
                print(f'  Kernel Tuner  {strategy:24} {p:6.2f} / {within:4.0%}', flush=True)
                if strategy == 'random_sample':
                    noise = standard_error(us, ours['budget'], searches)
                    print(f'  (standard error {noise:.2f}; {20 * a.repeats} random searches of fatune: {chance:.2f})', flush=True)
                    differ = differ or abs(p - chance) > 3 * noise
    if differ:
        print('the two random searches differ: they do not count alike', file=sys.stderr)
    return int(differ)


if __name__ == '__main__':
    sys.exit(main())
