#!/usr/bin/env python3
"""Holds tuner/stats*.c against SciPy on random data sets. Run by hand; results/recorded/stats_scipy keeps what it printed.

usage: tools/check_stats.py [DATA_SETS]        needs numpy and scipy (pip install scipy), a C and a C++ compiler, GSL, PCG and libsodium

The C functions are compiled into a library and called as they are. Bootstraps are compared resample by resample: NumPy's generator is
replaced by one that draws the indices of rng.c, so that SciPy's BCa sees the very resamples of ours and nothing is left to chance.

quantiles      numpy.quantile, method linear (type 7)
Mann-Whitney   scipy.stats.mannwhitneyu, asymptotic, with continuity correction; Cliff's delta from its U
BCa            scipy.stats.bootstrap, method BCa, of mean and of variance. SciPy takes quantiles at rank 1 + (B-1)p, fatune at (B+1)p: the ends
               may lie up to one rank apart
bootstrap-t    t of every resample by scipy.stats.ttest_1samp against the mean of the data; quantiles at (B+1)p (numpy's weibull)
noncentral t   scipy.stats.nct.cdf
Ends with 1 when a difference exceeds its limit.
"""
import ctypes
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time

import numpy
import scipy
from scipy import stats

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = ['stats.c', 'stats_boot.c', 'stats_smd.c', 'rng.c', 'digest.c']
B, LEVEL = 9999, 0.95
DOUBLES, DOUBLE, INT = ctypes.POINTER(ctypes.c_double), ctypes.c_double, ctypes.c_int


class Rng(ctypes.Structure):
    _fields_ = [('word', ctypes.c_uint64 * 4)]


class Interval(ctypes.Structure):
    _fields_ = [('low', DOUBLE), ('high', DOUBLE)]


class MannWhitney(ctypes.Structure):
    _fields_ = [('u', DOUBLE), ('z', DOUBLE), ('p', DOUBLE), ('cliff', DOUBLE)]


class Boot(ctypes.Structure):
    _fields_ = [('b', INT), ('theta', DOUBLE), ('a', DOUBLE), ('a_known', ctypes.c_bool), ('value', DOUBLES), ('se', DOUBLE), ('t', DOUBLES)]


STATISTIC = ctypes.CFUNCTYPE(DOUBLE, ctypes.c_void_p, ctypes.POINTER(INT), INT)


def library(folder):
    """The C code, compiled as it is."""
    for tool in ('cc', 'c++'):
        if not shutil.which(tool):
            sys.exit(f'check_stats.py: no {tool} here (tools/setup.sh --build)')
    folder = pathlib.Path(folder)
    flags = ['-O2', '-fPIC', '-ffp-contract=off', '-D_GNU_SOURCE', f'-I{ROOT / "tuner"}']
    objects = []
    for name in SOURCES + ['rng_pcg.cc']:
        objects.append(str(folder / f'{name}.o'))
        tool = ['c++'] if name.endswith('.cc') else ['cc', '-std=c17']
        subprocess.run(tool + flags + ['-c', str(ROOT / 'tuner' / name), '-o', objects[-1]], check=True)
    subprocess.run(['c++', '-shared', '-o', str(folder / 'stats.so'), *objects, '-lgsl', '-lgslcblas', '-lsodium', '-lm'], check=True)
    lib = ctypes.CDLL(str(folder / 'stats.so'))
    lib.stats_noncentral_t_cdf.restype = DOUBLE
    lib.stats_noncentral_t_cdf.argtypes = [DOUBLE] * 3
    lib.stats_quantile.argtypes = [DOUBLES, INT, DOUBLE, DOUBLES]
    lib.rng_below.restype = lib.rng_u64.restype = ctypes.c_uint64
    lib.rng_below.argtypes = [ctypes.POINTER(Rng), ctypes.c_uint64]
    lib.rng_init_raw.argtypes = [ctypes.POINTER(Rng), ctypes.c_uint64, ctypes.c_uint64]
    lib.stats_boot.argtypes = [ctypes.POINTER(Boot), STATISTIC, ctypes.c_void_p, INT, INT, ctypes.POINTER(Rng)]
    for name in ('stats_boot_bca', 'stats_boot_t', 'stats_boot_percentile'):
        getattr(lib, name).argtypes = [ctypes.POINTER(Boot), DOUBLE, ctypes.POINTER(Interval)]
    return lib


def doubles(x):
    return numpy.ascontiguousarray(x, dtype=float).ctypes.data_as(DOUBLES)


def must(status):
    if status != 0:
        sys.exit(f'check_stats.py: a function of stats.c refused its data with status {status}')


def stream(lib, seed):
    r = Rng()
    lib.rng_init_raw(r, seed, 1)
    return r


class Ours(numpy.random.Generator):
    """NumPy's generator whose integers come from rng.c."""

    def __init__(self, lib, seed):
        super().__init__(numpy.random.PCG64(0))
        self.lib, self.r = lib, stream(lib, seed)

    def integers(self, low, high=None, size=None, **_):
        low, high = (0, low) if high is None else (low, high)
        count = int(numpy.prod(size))
        return low + numpy.array([self.lib.rng_below(self.r, high - low) for _ in range(count)], dtype=int).reshape(size)


def draw(g, i):
    """Data set i: five shapes in turn, 15 to 60 values. (Of fewer, many a resample is the data in another order; whether its mean ties with
    theirs is decided by rounding in SciPy, not here.)"""
    n = int(g.integers(15, 61))
    return [lambda: g.normal(100, 3, n), lambda: g.lognormal(0, 0.5, n), lambda: g.standard_t(3, n), lambda: g.gamma(2, 1, n),
            lambda: numpy.round(g.normal(10, 2, n))][i % 5]()


class Tally:
    """Largest difference of each kind against its limit."""

    def __init__(self):
        self.rows = {}

    def add(self, what, difference, limit):
        worst, count, _ = self.rows.get(what, (0.0, 0, limit))
        self.rows[what] = (max(worst, float(difference)), count + 1, limit)

    def print(self):
        bad = 0
        print('| what | comparisons | largest difference | limit |\n|---|---|---|---|')
        for what, (worst, count, limit) in self.rows.items():
            bad += not worst <= limit
            print(f'| {what} | {count} | {worst:.2g} | {limit:g} |' + ('' if worst <= limit else ' EXCEEDED'))
        return bad


def check_quantiles(lib, x, tally):
    q = DOUBLE()
    for p in (0.0, 0.025, 0.1, 0.25, 0.5, 0.9, 0.99, 1.0):
        must(lib.stats_quantile(doubles(x), len(x), p, q))
        tally.add('quantile, relative', abs(q.value / numpy.quantile(x, p, method='linear') - 1) if q.value else 0, 1e-12)
    must(lib.stats_median(doubles(x), len(x), ctypes.byref(q)))
    tally.add('median, relative', abs(q.value / numpy.median(x) - 1) if q.value else 0, 1e-12)


def check_mann_whitney(lib, x, y, tally):
    w = MannWhitney()
    must(lib.stats_mann_whitney(doubles(x), len(x), doubles(y), len(y), ctypes.byref(w)))
    s = stats.mannwhitneyu(x, y, alternative='two-sided', method='asymptotic', use_continuity=True)
    tally.add('Mann-Whitney U', abs(w.u - s.statistic), 1e-9)
    tally.add('Mann-Whitney p, relative', abs(w.p / s.pvalue - 1), 1e-9)
    tally.add("Cliff's delta", abs(w.cliff - (2 * s.statistic / (len(x) * len(y)) - 1)), 1e-12)


def ranks_apart(ascending, a, b):
    """How many replicates' distances lie between two values; ties, equal but for rounding, are none."""
    low, high, rounding = min(a, b), max(a, b), 1e-9 * ascending.std()
    distinct = ascending[numpy.concatenate([[True], numpy.diff(ascending) > rounding])]
    ranks = numpy.interp([low, high], distinct, numpy.arange(len(distinct)))
    return ranks[1] - ranks[0]


def check_bca(lib, x, seed, tally, name, ours, theirs):
    boot, ci, r = Boot(), Interval(), stream(lib, seed)
    ours(boot, r)
    must(lib.stats_boot_bca(boot, LEVEL, ci))
    s = stats.bootstrap((x,), theirs, vectorized=True, n_resamples=B, confidence_level=LEVEL, method='BCa', rng=Ours(lib, seed))
    same = numpy.sort(s.bootstrap_distribution)
    tally.add(f'{name}: resamples, relative to their SD', numpy.abs(same - boot.value[0:B]).max() / same.std(), 1e-9)
    for a, b in ((ci.low, s.confidence_interval.low), (ci.high, s.confidence_interval.high)):
        tally.add(f'{name}: BCa ends, ranks of {B}', ranks_apart(same, a, b), 1.0001)
    lib.stats_boot_free(ctypes.byref(boot))


def check_boot_t(lib, x, seed, tally):
    boot, ci = Boot(), Interval()
    must(lib.stats_boot_mean(ctypes.byref(boot), doubles(x), len(x), B, ctypes.byref(stream(lib, seed))))
    must(lib.stats_boot_t(boot, LEVEL, ci))
    resamples = x[Ours(lib, seed).integers(0, len(x), (B, len(x)))]
    t = stats.ttest_1samp(resamples, x.mean(), axis=1).statistic
    low, high = numpy.quantile(t, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method='weibull')
    sem = stats.sem(x)
    for a, b in ((ci.low, x.mean() - high * sem), (ci.high, x.mean() - low * sem)):
        tally.add('bootstrap-t ends, in standard errors', abs(a - b) / sem, 1e-9)
    lib.stats_boot_free(ctypes.byref(boot))


def check_noncentral_t(lib, g, tally):
    t, df, ncp = g.normal(0, 5), float(g.integers(2, 500)), g.normal(0, 3)
    tally.add('noncentral t, P', abs(lib.stats_noncentral_t_cdf(t, df, ncp) - stats.nct.cdf(t, df, ncp)), 1e-8)


def check(lib, x, y, seed, g, tally):
    def boot_mean(boot, r):
        must(lib.stats_boot_mean(ctypes.byref(boot), doubles(x), len(x), B, ctypes.byref(r)))

    @STATISTIC
    def variance(_, index, n):
        return float(x[index[0:n]].var())

    def boot_variance(boot, r):
        must(lib.stats_boot(boot, variance, None, len(x), B, r))

    check_quantiles(lib, x, tally)
    check_mann_whitney(lib, x, y, tally)
    check_bca(lib, x, seed, tally, 'mean', boot_mean, numpy.mean)
    if len(set(x)) == len(x):  # else variances tie with that of the data, and SciPy lets rounding decide whether
        check_bca(lib, x, seed, tally, 'variance', boot_variance, numpy.var)
    check_boot_t(lib, x, seed, tally)
    check_noncentral_t(lib, g, tally)


def main():
    sets = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    g, tally, began = numpy.random.default_rng(2026), Tally(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        lib = library(folder)
        for i in range(sets):
            x = draw(g, i)
            y = draw(g, i)
            check(lib, x, y + (i % 3 - 1) * x.std(), 1000 + i, g, tally)
    print(f'{sets} data sets, {B} resamples each; scipy {scipy.__version__}, numpy {numpy.__version__}, Python {platform.python_version()}, '
          f'{platform.machine()}\n')
    bad = tally.print()
    print(f'\n{time.monotonic() - began:.0f} s', file=sys.stderr)
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
