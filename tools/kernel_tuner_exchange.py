#!/usr/bin/env python3
"""Does Kernel Tuner take what fatune exports, and fatune what Kernel Tuner writes? Run by hand.

usage: tools/kernel_tuner_exchange.py [--fatune build/fatune] [--strategies a,b,...] [--budget N] FILE...

FILE: T4 or a cache of Kernel Tuner, plain or gzip, told apart by content; needs Kernel Tuner (pip install kernel_tuner).
T4 is held against the schema that Kernel Tuner ships. A cache is searched in Kernel Tuner's simulation mode by each strategy (tune_cache; default options), whose
answers must be those of the file; then by brute force, the results of which Kernel Tuner stores as T4: that must be valid by the schema, and `fatune replay`
must see in it the points, and the best, that the cache has among those that worked (tune_cache leaves out what failed).
The exit code is 1 when something differs, and 2 when Kernel Tuner is missing."""
import argparse
import contextlib
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


def read(path):
    raw = pathlib.Path(path).read_bytes()
    return (gzip.decompress(raw) if raw[:2] == b'\x1f\x8b' else raw).decode()


def valid(document):
    """Raises what jsonschema has against it."""
    import jsonschema
    from kernel_tuner.file_utils import output_file_schema
    version, schema = output_file_schema('results')
    jsonschema.validate(document, schema)
    if document['schema_version'] != version:
        raise ValueError(f"schema_version {document['schema_version']}, not {version}")


def simulate(cache, strategy, **options):
    import numpy
    from kernel_tuner.interface import tune_cache
    random.seed(1)
    numpy.random.seed(1)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        results, _ = tune_cache(str(cache), strategy=strategy, strategy_options=options, lang='C', quiet=True)
    return results


def replayed(fatune, path):
    said = subprocess.run([fatune, 'replay', path, '--strategy', 'random', '--repeats', '1', '--json'], capture_output=True, text=True)
    if said.returncode:
        raise ValueError(f'fatune replay: {said.stderr.strip()}')
    return json.loads(said.stdout)['spaces'][0]


def exchange(a, text, folder):
    """Lines for people; raises what is wrong."""
    from kernel_tuner.file_utils import store_output_file
    document = json.loads(text)
    cache, t4 = folder / 'cache.json', folder / 't4.json'
    cache.write_text(text)
    worked = {tuple(str(row[k]) for k in document['tune_params_keys']): row['time'] for row in document['cache'].values() if isinstance(row.get('time'), (int, float))}
    for strategy in a.strategies.split(','):
        try:
            results = simulate(cache, strategy, max_fevals=max(1, min(a.budget, len(worked) // 2)))  # some never end where they may visit all
        except Exception as why:  # some cannot take a space that is smaller than their population
            raise ValueError(f'{strategy}: {type(why).__name__}: {why}')
        seen = {tuple(str(r[k]) for k in document['tune_params_keys']): r['time'] for r in results}
        if not seen or any(worked[at] != ms for at, ms in seen.items()):
            raise ValueError(f'{strategy}: an answer is not that of the file')
        print(f'  {strategy:20} {len(seen):5} points, best {1e3 * min(seen.values()):.6g} us')
    results = simulate(cache, 'brute_force')
    store_output_file(str(t4), results, document['tune_params'])
    valid(json.loads(t4.read_text()))
    ours, theirs = replayed(a.fatune, cache), replayed(a.fatune, t4)
    if theirs['points'] != len(worked) or ours['points'] - ours['failed'] != len(worked) or not math.isclose(ours['best_us'], theirs['best_us']):
        raise ValueError(f'fatune sees {ours["points"]} points in the cache and {theirs["points"]} in the T4 of it, best {ours["best_us"]} and {theirs["best_us"]} us')
    print(f'  {"brute_force to T4":20} {theirs["points"]:5} points, best {theirs["best_us"]:.6g} us, valid, as in the cache')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--fatune', default=str(ROOT / 'build/fatune'))
    parser.add_argument('--strategies', default=DEFAULT)
    parser.add_argument('--budget', type=int, default=50)
    parser.add_argument('files', nargs='+')
    a = parser.parse_args()
    try:
        import importlib.metadata
        import kernel_tuner  # noqa: F401
    except ImportError:
        print('tools/kernel_tuner_exchange.py: Kernel Tuner is missing: pip install kernel_tuner', file=sys.stderr)
        return 2
    bad = 0
    print(f'Kernel Tuner {importlib.metadata.version("kernel_tuner")}')
    with tempfile.TemporaryDirectory() as folder:
        for file in a.files:
            text = read(file)
            print(pathlib.Path(file).name, flush=True)
            try:
                document = json.loads(text)
                if 'cache' in document:
                    exchange(a, text, pathlib.Path(folder))
                else:
                    valid(document)
                    print(f'  {len(document["results"])} results, valid T4 {document["schema_version"]}')
            except Exception as why:  # whatever a strategy of Kernel Tuner raises belongs in the answer
                bad = 1
                print(f'  FAIL: {type(why).__name__}: {str(why)[:300]}')
    return bad


if __name__ == '__main__':
    sys.exit(main())
