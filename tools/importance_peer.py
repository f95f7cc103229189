#!/usr/bin/env python3
"""Holds `fatune importance` against another implementation on recorded spaces. Run by hand; results/recorded/importance_sklearn keeps what it printed.

usage: tools/importance_peer.py [--fatune build/fatune] [--samples 200,1000] [--repeats 8] FILE...

FILE: as `fatune replay` reads them. Needs numpy and scikit-learn (pip install scikit-learn).

exact     every point is known: main effects by group means, pairs by numpy's least squares over indicators, all parameters together likewise,
          over all points that have a time and over the faster half of them; the largest difference in points of percent is printed, and more
          than 0.01 fails
forest    N points by chance are all that was measured: scikit-learn's random forest (128 trees, other defaults) on the indices of values predicts
          all valid points, and its shares are those of its predictions' variance, as Hutter, Hoos & Leyton-Brown (2014) define them; fatune gets N points
          of its own. For each, how far shares that are 3% or more are from the exact ones on average, over all points: main effects, and the ten
          strongest pairs. fatune's means are over the samples of which it tells anything, scikit-learn's over all, so they compare where it tells
          of all. fatune's interval is counted as right when it holds the exact share, a point of percent aside.
"""
import argparse
import itertools
import json
import pathlib
import subprocess
import sys

import numpy
import sklearn
from sklearn.ensemble import RandomForestRegressor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from kernel_tuner_peer import read  # noqa: E402

LEAST = 3


def fatune(program, path, *options):
    out = subprocess.run([program, 'importance', path, '--json', *map(str, options)], capture_output=True, text=True, check=True).stdout
    templates = json.loads(out)['templates']
    assert len(templates) == 1, 'one template a file'
    return templates[0]


def tables(path):
    """Names and number of values of parameters that vary, indices of every point that has a time, ln time."""
    names, rows = read(path)
    taken = {}
    for at, ms in rows:
        taken.setdefault(at, ms)
    columns = [sorted({at[k] for at in taken}, key=lambda x: (isinstance(x, str), x)) for k in range(len(names))]
    live = [k for k, c in enumerate(columns) if len(c) > 1]
    kept = [(at, ms) for at, ms in taken.items() if ms]
    x = numpy.array([[columns[k].index(at[k]) for k in live] for at, _ in kept])
    return [names[k] for k in live], x, numpy.log([ms for _, ms in kept])


def indicators(x, columns):
    parts = [numpy.ones((len(x), 1))]
    for k in columns:
        parts.append((x[:, [k]] == numpy.unique(x[:, k])).astype(float))
    return numpy.hstack(parts)


def explained(design, y):
    fit = design @ numpy.linalg.lstsq(design, y, rcond=None)[0]
    return y.var() - (y - fit).var()


def main_effect(x, k, y):
    return sum((x[:, k] == v).mean() * (y[x[:, k] == v].mean() - y.mean()) ** 2 for v in numpy.unique(x[:, k]))


def together(x, a, b, y):
    """Beyond the best sum of both: least squares on cells instead of points."""
    cells, at, n = numpy.unique(x[:, [a, b]], axis=0, return_inverse=True, return_counts=True)
    mean = numpy.bincount(at.ravel(), weights=y) / n
    design, root = indicators(cells, [0, 1]), numpy.sqrt(n)[:, None]
    fit = design @ numpy.linalg.lstsq(design * root, mean * root[:, 0], rcond=None)[0]
    return (n * (mean - fit) ** 2).sum() / len(y)


def shares(x, y, names, pairs=None):
    out = {(names[k],): 100 * main_effect(x, k, y) / y.var() for k in range(len(names))}
    for a, b in itertools.combinations(range(len(names)), 2):
        if pairs is None or (names[a], names[b]) in pairs:
            out[names[a], names[b]] = 100 * together(x, a, b, y) / y.var()
    return out


def told(t, view):
    out = {(p['param'],): (p[view + '_percent'], p[view + '_ci_percent']) for p in t['params']}
    out.update({(p['a'], p['b']): (p[view + '_percent'], p[view + '_ci_percent']) for p in t['pairs']})
    return out


def check_exact(program, path, names, x, y):
    t, worst = fatune(program, path), 0
    for view, keep in ('all', numpy.full(len(y), True)), ('fast', y <= numpy.median(y)):
        says = told(t, view)
        truth = shares(x[keep], y[keep], names, says)
        additive = 100 * explained(indicators(x[keep], range(len(names))), y[keep]) / y[keep].var()
        worst = max([worst, abs(additive - t[view]['additive_percent'])] + [abs(truth[k] - says[k][0]) for k in says])
    print(f'  exact: {len(y)} points with a time, {len(names)} parameters, {len(t["pairs"])} pairs; largest difference {worst:.2g} points of percent')
    return worst <= 0.01


def off(says, truth, size):
    return [abs(says[k] - truth[k]) for k in truth if len(k) == size and k in says and max(says[k], truth[k]) >= LEAST]


def check_forest(program, path, names, x, y, n, repeats):
    truth = shares(x, y, names)
    ours, theirs, right, count, nothing = {1: [], 2: []}, {1: [], 2: []}, 0, 0, 0
    for seed in range(1, repeats + 1):
        t = fatune(program, path, '--sample', n, '--seed', seed)
        if t['all']['why']:
            nothing += 1
        else:
            says = told(t, 'all')
            for size in 1, 2:
                ours[size] += off({k: v[0] for k, v in says.items()}, truth, size)
            for k, (share, ci) in says.items():
                if max(share, truth[k]) >= LEAST and len(k) == 1:
                    right, count = right + (ci[0] - 1 <= truth[k] <= ci[1] + 1), count + 1
        at = numpy.random.default_rng(seed).choice(len(y), n, replace=False)
        forest = RandomForestRegressor(n_estimators=128, random_state=seed).fit(x[at], y[at])
        says = shares(x, forest.predict(x), names)
        for k in sorted((k for k in says if len(k) == 2), key=says.get)[:-10]:
            del says[k]  # fatune tells of the ten strongest
        for size in 1, 2:
            theirs[size] += off(says, truth, size)
    mean = lambda list_: f'{numpy.mean(list_):5.1f}' if list_ else '    -'
    print(f'  {n:5} points: main effects off by {mean(ours[1])} (scikit-learn {mean(theirs[1])}), pairs by {mean(ours[2])} ({mean(theirs[2])}); '
          f'{right} of {count} main effects in their interval; told {repeats - nothing} of {repeats}')


def main():
    a = argparse.ArgumentParser()
    a.add_argument('--fatune', default='build/fatune')
    a.add_argument('--samples', default='200,1000')
    a.add_argument('--repeats', type=int, default=8)
    a.add_argument('files', nargs='+')
    o, good = a.parse_args(), True
    print(f'numpy {numpy.__version__}, scikit-learn {sklearn.__version__}; shares of {LEAST}% and more, in points of percent')
    for path in o.files:
        print(pathlib.Path(path).name)
        names, x, y = tables(path)
        good &= check_exact(o.fatune, path, names, x, y)
        for n in map(int, o.samples.split(',')):
            check_forest(o.fatune, path, names, x, y, n, o.repeats)
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
