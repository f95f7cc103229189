#!/usr/bin/env python3
"""What timing noise a device has, from the raw samples of A/A trials: one kernel against itself.

usage: tools/noise.py [--json] STORE...        e.g. tools/noise.py results/fatune.db results/recorded/h200/fatune.db.xz

Every `fatune run` keeps its A/A control, and `fatune compare v1 v1` adds one that is as long as you like. A STORE is a fatune.db, or one
compressed with xz; it is read, never written. Ends with 1 when no store holds such a trial.

All figures are of ln time, in percent (a difference of 0.3% reads 0.300). The model is that of tests/sim/noise.h:

    sample = kernel + session x arm effect + drift over the session + AR(1) noise shared by both arms + white noise + spikes
             + what the first sample of a quad has more, behind the pause in which the device's health is read

z          session value: mean over its quads of y = (B1 + B2 - A1 - A2)/2, letters = medians of m samples
bias       mean z with its 99% interval (t over sessions): no session effect averages this away
SD z       between sessions; y SD: of quads inside a session; effect: what of SD z the quads do not explain,
           sqrt(SD z^2 - y SD^2/Q), negative when they explain more; an arm's own effect is this over sqrt 2
arm A      SD and range over sessions of one arm's median time: what an unpaired comparison would face
lag 1      autocorrelation of letters and of samples inside a session, each arm's mean taken off
AR, phi    s and phi of the least-squares fit s^2 phi^k to the samples' autocovariances at lags 1 to n/5 (at most 40), each arm's mean and
           linear drift taken off; white: sqrt(variance - s^2). Of sessions of 100 samples or more. For these and for lag 1 spikes and
           first samples are replaced by their letter's median
drift      of arm A over a session: Theil-Sen slope x length, median and largest of the absolute values
spikes     samples more than 1% and 6 robust SD over their letter's median, first samples left out: share, mean height (m >= 3)
first      the first sample of a quad over the median of its quad, mean
together   trials of one plan: bias from trial to trial, its mean, SD and largest absolute value; `alone` is the SD that their own standard errors
           explain; `off` how many 99% intervals exclude 0
BAAB       share of quads that begin with B: far from 50%, `first` becomes a bias
"""
import json
import lzma
import math
import pathlib
import sqlite3
import statistics
import struct
import sys
import tempfile

SPIKE, LONG = 0.01, 100
T99 = {1: 63.657, 2: 9.925, 3: 5.841, 4: 4.604, 5: 4.032, 6: 3.707, 7: 3.499, 8: 3.355, 9: 3.250, 10: 3.169, 11: 3.106, 12: 3.055, 13: 3.012,
       14: 2.977, 15: 2.947, 16: 2.921, 17: 2.898, 18: 2.878, 19: 2.861, 20: 2.845, 25: 2.787, 30: 2.750, 40: 2.704, 60: 2.660, 120: 2.617}


def t99(df):
    return T99[max(k for k in T99 if k <= df)]


# ---- reading ----

def opened(path, folder):
    if path.suffix == '.xz':
        plain = pathlib.Path(folder) / path.stem
        plain.write_bytes(lzma.decompress(path.read_bytes()))
        path = plain
    return sqlite3.connect(f'{path.resolve().as_uri()}?mode=ro', uri=True)


def sessions(db, trial):
    """Per session its kept quads: (begins with B, samples in the order measured)."""
    out = []
    for (session,) in db.execute('SELECT id FROM session WHERE trial = ? ORDER BY number', (trial,)).fetchall():
        rows = db.execute('SELECT q.baab, s.samples FROM quad q JOIN series s ON s.quad = q.id WHERE q.session = ? AND NOT q.discarded '
                          'ORDER BY q.number', (session,))
        quads = [(baab, [math.log(x) for x in struct.unpack(f'<{len(blob) // 8}d', blob)]) for baab, blob in rows]
        if quads:
            out.append(quads)
    return out


def trials(db):
    rows = db.execute("SELECT id, json_extract(settings, '$.m') FROM trial WHERE kind = 'aa' OR (kind = 'ab' AND a = b) ORDER BY id").fetchall()
    for trial, m in rows:
        kept = sessions(db, trial)
        if len(kept) >= 2 and min(len(s) for s in kept) >= 2:
            yield trial, m, kept


# ---- estimates ----

def letters_of(quad, m):
    """The four letters as (arm, ln time), in the order measured."""
    baab, x = quad
    return [(arm, statistics.median(x[i * m:(i + 1) * m])) for i, arm in enumerate('BAAB' if baab else 'ABBA')]


def autocovariance(x, k):
    return sum(x[i] * x[i + k] for i in range(len(x) - k)) / len(x)


def centred(values):
    """(arm, value) less the mean of the arm."""
    mean = {arm: statistics.fmean(v for a, v in values if a == arm) for arm in 'AB'}
    return [v - mean[a] for a, v in values]


def lag1(values):
    x = centred(values)
    variance = autocovariance(x, 0)
    return autocovariance(x, 1) / variance if variance > 0 else 0.0


def detrended(x):
    middle = (len(x) - 1) / 2
    slope = sum((i - middle) * v for i, v in enumerate(x)) / sum((i - middle) ** 2 for i in range(len(x)))
    return [v - slope * (i - middle) for i, v in enumerate(x)]


def residuals(quads, letters, m):
    """Per quad, samples less their letter's median; the first is left out, as None."""
    out = []
    for (_, x), l in zip(quads, letters):
        out.append([v - l[i // m][1] for i, v in enumerate(x)])
        out[-1][0] = None
    return out


def spike_limit(kept, m):
    """What a sample must be over its letter's median to be called a spike."""
    size = [abs(r) for quads in kept for q in residuals(quads, [letters_of(q, m) for q in quads], m) for r in q if r is not None]
    return max(SPIKE, 6 * 1.4826 * statistics.median(size))


def fit_ar(series):
    """SD of the AR(1) part, phi, SD of the white part."""
    lags = min(40, min(len(x) for x in series) // 5)
    gamma = [statistics.fmean(autocovariance(x, k) for x in series) for k in range(lags + 1)]
    best = (math.inf, 0.0, 0.0)
    for step in range(1, 200):
        phi = step / 200
        power = [phi ** k for k in range(lags + 1)]
        s2 = max(0.0, sum(g * p for g, p in zip(gamma[1:], power[1:])) / sum(p * p for p in power[1:]))
        best = min(best, (sum((g - s2 * p) ** 2 for g, p in zip(gamma[1:], power[1:])), phi, min(s2, gamma[0])))
    return math.sqrt(best[2]), best[1], math.sqrt(gamma[0] - best[2])


def theil_sen(x):
    return statistics.median((x[j] - x[i]) / (j - i) for i in range(len(x)) for j in range(i + 1, len(x)))


def estimate(m, kept):
    z, inside, letter_lag, sample_lag, series, medians, drifts, spikes, firsts = [], [], [], [], [], [], [], [], []
    samples, limit = 0, spike_limit(kept, m)
    for quads in kept:
        letters = [letters_of(q, m) for q in quads]
        y = [sum(v if a == 'B' else -v for a, v in l) / 2 for l in letters]
        z.append(statistics.fmean(y))
        inside.append(statistics.variance(y))
        flat = [pair for l in letters for pair in l]
        letter_lag.append(lag1(flat))
        left = residuals(quads, letters, m)
        spikes += [r for q in left for r in q if r is not None and r > limit]
        samples += sum(len(q) - 1 for q in left)
        clean = [(arm, mid + (0 if m >= 3 and (r is None or r > limit) else x - mid)) for (_, xs), l, q in zip(quads, letters, left)
                 for (arm, mid), x, r in zip([pair for pair in l for _ in range(m)], xs, q)]
        sample_lag.append(lag1(clean))
        series.append(detrended(centred(clean)))
        a = [v for arm, v in flat if arm == 'A']
        medians.append(statistics.median(a))
        drifts.append(abs(theil_sen(a)) * (len(a) - 1))
        firsts += [x[0] - statistics.median(x) for _, x in quads]
    n, quads = len(z), statistics.fmean(len(s) for s in kept)
    sd_z, y2 = statistics.stdev(z), statistics.fmean(inside)
    effect2 = sd_z ** 2 - y2 / quads
    half = t99(n - 1) * sd_z / math.sqrt(n)
    ar = fit_ar(series) if min(len(x) for x in series) >= LONG else (None, None, None)
    return {'us': math.exp(statistics.median(medians)), 'sessions': n, 'quads': quads, 'm': m, 'bias': statistics.fmean(z),
            'bias_low': statistics.fmean(z) - half, 'bias_high': statistics.fmean(z) + half, 'sd_z': sd_z, 'largest_z': max(map(abs, z)),
            'sd_quad': math.sqrt(y2), 'effect': math.copysign(math.sqrt(abs(effect2)), effect2), 'arm_sd': statistics.stdev(medians),
            'arm_range': max(medians) - min(medians), 'letter_lag1': statistics.fmean(letter_lag), 'sample_lag1': statistics.fmean(sample_lag),
            'ar_sd': ar[0], 'ar_phi': ar[1], 'white_sd': ar[2], 'drift': statistics.median(drifts), 'drift_most': max(drifts),
            'spike_share': len(spikes) / samples if m >= 3 else None, 'spike': statistics.fmean(spikes) if m >= 3 and spikes else None,
            'first': statistics.fmean(firsts), 'baab_share': statistics.fmean(baab for s in kept for baab, _ in s)}


def together(found):
    """Trials of one plan as replicates of each other."""
    plans = {}
    for f in found:
        plans.setdefault((f['sessions'], f['quads'], f['m']), []).append(f)
    for (n, quads, m), trials in plans.items():
        bias = [f['bias'] for f in trials]
        yield {'sessions': n, 'quads': quads, 'm': m, 'trials': len(trials), 'bias': statistics.fmean(bias),
               'bias_sd': statistics.stdev(bias) if len(bias) > 1 else None, 'bias_largest': max(map(abs, bias)),
               'alone': math.sqrt(statistics.fmean(f['sd_z'] ** 2 / n for f in trials)),
               'off': sum(f['bias_low'] > 0 or f['bias_high'] < 0 for f in trials)}


# ---- printing ----

def percent(x, digits=3):
    return '-' if x is None else f'{100 * x:.{digits}f}'


def plain(x):
    return '-' if x is None else f'{x:.2f}'


def table(head, rows):
    rows = [head] + rows
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]
    lines = ['| ' + ' | '.join(c.ljust(w) for c, w in zip(r, widths)) + ' |' for r in rows]
    return '\n'.join([lines[0], '|' + '|'.join('-' * (w + 2) for w in widths) + '|'] + lines[1:]) + '\n'


def page(found):
    between = [[f['name'], f'{f["us"]:.2f}', f'{f["sessions"]} x {f["quads"]:.0f} x {f["m"]}',
                f'{percent(f["bias"])} [{percent(f["bias_low"])}, {percent(f["bias_high"])}]', percent(f['sd_z']), percent(f['largest_z']),
                percent(f['sd_quad']), percent(f['effect']), f'{percent(f["arm_sd"])} ({percent(f["arm_range"], 2)})'] for f in found]
    inside = [[f['name'], plain(f['letter_lag1']), plain(f['sample_lag1']), percent(f['ar_sd']), plain(f['ar_phi']), percent(f['white_sd']),
               f'{percent(f["drift"])} ({percent(f["drift_most"], 2)})', percent(f['spike_share'], 2), percent(f['spike'], 1),
               percent(f['first']), percent(f['baab_share'], 0)] for f in found]
    plans = [[f'{p["sessions"]} x {p["quads"]:.0f} x {p["m"]}', str(p['trials']), percent(p['bias']), percent(p['bias_sd']), percent(p['alone']),
              percent(p['bias_largest']), str(p['off'])] for p in together(found)]
    return ('Between sessions, percent:\n\n'
            + table(['trial', 'us', 'sessions x quads x m', 'bias [99%]', 'SD z', 'largest z', 'y SD', 'effect', 'arm A SD (range)'], between)
            + '\nInside sessions, percent but for lag 1 and phi:\n\n'
            + table(['trial', 'lag 1 letters', 'samples', 'AR', 'phi', 'white', 'drift (most)', 'spikes', 'height', 'first', 'BAAB'], inside)
            + '\nTogether, percent but for counts:\n\n'
            + table(['sessions x quads x m', 'trials', 'bias', 'SD', 'alone', 'largest', 'off'], plans))


def main():
    names = [a for a in sys.argv[1:] if a != '--json']
    if not names or any(a.startswith('-') for a in names):
        sys.exit(__doc__)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = pathlib.Path(name)
            if not path.is_file():
                sys.exit(f'noise.py: {name}: no such file')
            label = f'{path.parent.name}/' if len(names) > 1 else ''
            db = opened(path, folder)
            try:
                found += [{'name': f'{label}{trial}', **estimate(m, kept)} for trial, m, kept in trials(db)]
            except sqlite3.DatabaseError as e:
                sys.exit(f'noise.py: {name} is no store of fatune: {e}')
            finally:
                db.close()
    if not found:
        sys.exit('noise.py: no A/A trial with two sessions of two quads: `fatune run` makes one, or `fatune compare NAME NAME` '
                 'with one version twice')
    print(json.dumps({'trials': found, 'together': list(together(found))}, indent=2) if '--json' in sys.argv else page(found), end='')


if __name__ == '__main__':
    main()
