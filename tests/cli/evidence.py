"""Changes collections of `fatune evidence` in every way, and holds that --verify finds it and names the file:

evidence.py PROGRAM FOLDER bytes    one byte of each file, at several places; each file emptied, or gone
                           lies     what a file says, with all digests made right again
                           p7       the sanitizers' clause gone, or failed
                           table    resources.csv against version.json (nothing is changed)

Prints what was not found; exit 1 when anything was not."""
import csv
import hashlib
import json
import pathlib
import shutil
import struct
import subprocess
import sys

PLACES = {'first': lambda n: 0, 'second': lambda n: 1, 'middle': lambda n: n // 2, 'late': lambda n: n - 2, 'last': lambda n: n - 1}


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[PLACES[place](len(data))] ^= 1
    path.write_bytes(data)


def digest(samples):
    return hashlib.sha256(struct.pack(f'<{len(samples)}d', *samples)).hexdigest()


def set_samples(quad, samples):
    """With letters and digest that fit."""
    m = len(samples) // 4
    quad['samples_us'] = samples
    quad['digest'] = digest(samples)
    for i in range(4):
        part = sorted(samples[i * m:i * m + m])
        quad[f'letter{i}'] = (part[(m - 1) // 2] + part[m // 2]) / 2


class Folder:
    def __init__(self, path):
        self.path = pathlib.Path(path)

    def read(self, name):
        return json.loads((self.path / name).read_text())

    def write(self, name, value):
        (self.path / name).write_text(value if isinstance(value, str) else json.dumps(value))

    def sign(self, manifest=None):
        """All digests right again."""
        if not manifest:
            manifest = self.read('manifest.json')
            for row in manifest['files']:
                data = (self.path / row['name']).read_bytes()
                row['bytes'], row['sha256'] = len(data), hashlib.sha256(data).hexdigest()
        self.write('manifest.json', manifest)
        lines = [f'{row["sha256"]}  {row["name"]}\n' for row in manifest['files']]
        lines.append(hashlib.sha256((self.path / 'manifest.json').read_bytes()).hexdigest() + '  manifest.json\n')
        (self.path / 'SHA256SUMS').write_text(''.join(lines))

    def drop(self, name):
        (self.path / name).unlink()
        self.edit('manifest.json', lambda m: m.update(files=[r for r in m['files'] if r['name'] != name]))

    def edit(self, name, change):
        value = self.read(name)
        change(value)
        self.write(name, value)


def lies(f):
    """{name: (the file that gives it away, what tells it)}"""
    def quad(file, change):
        f.edit(file, lambda t: change(t['quads'][len(t['quads']) // 2]))

    def verdict(change):
        f.edit('verdict.json', change)

    def manifest(change):
        value = f.read('manifest.json')
        change(value)
        f.sign(value)

    def order(q):
        q['baab'] = 1 - q['baab']

    def faster(q):
        m = len(q['samples_us']) // 4
        set_samples(q, [x * (0.999 if i < m else 1) for i, x in enumerate(q['samples_us'])])

    def only_sample(q):
        q['samples_us'][0] *= 1.01

    def sample_digest(q):
        q['samples_us'] = [x * 1.01 for x in q['samples_us']]
        q['digest'] = digest(q['samples_us'])

    def clock(q):
        q['sm_mhz'] = q['sm_mhz'] + 1

    def no_session(t):
        last = t['sessions'].pop()['session']
        t['quads'] = [q for q in t['quads'] if q['session'] != last]

    def many(t):
        t['sessions'] = [dict(t['sessions'][0], session=i) for i in range(1000)]

    def stored(member, value):
        return lambda v: v['stored'].update({member: value})

    def text(file, old, new):
        content = (f.path / file).read_text()
        assert old in content, old
        f.write(file, content.replace(old, new))

    return {
        'a sample': ('trial.json', lambda: quad('trial.json', only_sample)),
        'samples with their digest': ('trial.json', lambda: quad('trial.json', sample_digest)),
        'samples, digest and letter': ('verdict.json', lambda: quad('trial.json', faster)),
        'the control': ('verdict.json', lambda: quad('control.json', faster)),
        'a quad left out': ('trial.json', lambda: quad('trial.json', lambda q: q.update(discarded=1))),
        'a throttled quad': ('trial.json', lambda: quad('trial.json', lambda q: q.update(health={'before': {'throttle': 0}, 'after': {'throttle': 4}}))),
        'a stranger': ('trial.json', lambda: quad('trial.json', lambda q: q.update(health={'before': {'other_processes': 1}}))),
        'a clock': ('trial.json', lambda: quad('trial.json', clock)),
        'the order': ('verdict.json', lambda: quad('trial.json', order)),
        'a session gone': ('verdict.json', lambda: f.edit('trial.json', no_session)),
        'more sessions than there can be': ('trial.json', lambda: f.edit('trial.json', many)),
        'no sessions': ('trial.json', lambda: f.edit('trial.json', lambda t: t.update(sessions=[]))),
        'letters of no sample': ('trial.json', lambda: f.edit('trial.json', lambda t: t['settings'].update(m=0))),
        'the ratio': ('verdict.json', lambda: verdict(lambda v: v['stored'].update(ratio=v['stored']['ratio'] * (1 + 1e-6)))),
        'the outcome': ('verdict.json', lambda: verdict(stored('outcome', 'KEEP'))),
        'a clause': ('verdict.json', lambda: verdict(lambda v: v['stored']['clauses'][2].update(why='all is well'))),
        'a member more': ('verdict.json', lambda: verdict(stored('speed', 2))),
        'no clauses': ('verdict.json', lambda: verdict(lambda v: v['stored'].pop('clauses'))),
        'the seed': ('verdict.json', lambda: verdict(lambda v: v['stream'].update(seed='1'))),
        'alpha': ('verdict.json', lambda: verdict(lambda v: v['rule'].update(alpha=0.05))),
        'the finalists': ('run.json', lambda: f.edit('run.json', lambda r: r['summary'].update(trials=[]))),
        'a finalist more': ('verdict.json', lambda: f.edit('run.json', lambda r: r['summary']['trials'].append({}))),
        'the rule of the space': ('verdict.json', lambda: text('space.yaml', 'min_gain: 0.005', 'min_gain: 0.004')),
        'the name of the space': ('version.json', lambda: text('space.yaml', 'name: smoke', 'name: other')),
        'the problem': ('version.json', lambda: text('space.yaml', 'batch: 1', 'batch: 2')),
        'a space that is none': ('space.yaml', lambda: f.write('space.yaml', 'name: [')),
        'the arm': ('verdict.json', lambda: verdict(lambda v: v.update(version_is='a'))),
        'another control': ('control.json', lambda: f.edit('control.json', lambda c: c.update(a='00'))),
        'the source': ('kernel.cu', lambda: text('kernel.cu', '#define BATCH 1', '#define BATCH 2')),
        'something behind the source': ('kernel.cu', lambda: f.write('kernel.cu', (f.path / 'kernel.cu').read_text() + '\0 more')),
        'the options': ('kernel.cu', lambda: f.edit('kernel.json', lambda k: k.update(options=['-use_fast_math']))),
        'tensor cores': ('tensor_cores.json', lambda: f.edit('tensor_cores.json', lambda t: t.update(sass={'HMMA': 9, 'HGMMA': 0, 'UTCHMMA': 0}))),
        'the check': ('correctness.json', lambda: f.edit('correctness.json', lambda c: [x.update(fate='WRONG') for x in c['stored']])),
        'the check now': ('correctness.json', lambda: f.edit('correctness.json', lambda c: c['now'].append({'mask': 'none', 'evaluation': {'fate': 'NONDET'}}))),
        'the device': ('environment.json', lambda: f.edit('environment.json', lambda x: x['environment']['target'].update(name='another'))),
        'the log': ('history.json', lambda: f.write('history.json', [])),
        'the run': ('run.json', lambda: f.edit('run.json', lambda r: r.update(run=7))),
        'damaged JSON': ('verdict.json', lambda: f.write('verdict.json', '{"stored": {')),
        'JSON of another shape': ('verdict.json', lambda: f.write('verdict.json', [])),
        'a deep trial': ('trial.json', lambda: f.write('trial.json', '[' * 5000 + ']' * 5000)),
        'no trial': ('verdict.json', lambda: f.drop('trial.json')),
        'no correctness': ('correctness.json', lambda: f.drop('correctness.json')),
        'a path': ('manifest.json', lambda: manifest(lambda m: m['files'][0].update(name='../two/README.md'))),
        'a row twice': ('manifest.json', lambda: manifest(lambda m: m['files'].append(m['files'][0]))),
        'another format': ('manifest.json', lambda: manifest(lambda m: m.update(format='fatune evidence 0'))),
    }


def p7_lies(f):
    """As lies, of a verdict that asked the sanitizers."""
    def clauses(change):
        f.edit('verdict.json', lambda v: change(v['stored']['clauses']))
    return {
        'P7 gone': ('verdict.json', lambda: clauses(lambda c: c.pop())),
        'P7 failed': ('verdict.json', lambda: clauses(lambda c: c[-1].update(passed=False))),
        'nobody asked for P7': ('verdict.json', lambda: f.write('space.yaml', (f.path / 'space.yaml').read_text().replace('sanitize: required, ', ''))),
    }


def found(program, folder, name):
    """None, or what --verify said instead of failing with the file's name."""
    p = subprocess.run([program, 'evidence', '--verify', str(folder), '--json'], capture_output=True, text=True, timeout=60)
    try:
        checks = json.loads(p.stdout)['checks']
    except ValueError:
        return f'exit {p.returncode}, {p.stderr[:200]}'
    if p.returncode == 3 and any(c['outcome'] == 'failed' and c['why'].startswith(name) for c in checks):
        return None
    return f'exit {p.returncode}, ' + '; '.join(c['why'] for c in checks if c['outcome'] == 'failed')


def changes(source, kind):
    """(what was done to the copy, the file to be named) for each change, the copy's folder first."""
    work = source.parent / 'broken'

    def fresh():
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(source, work)
        return Folder(work)

    fresh()
    yield work, None
    if kind == 'bytes':
        for path in sorted(source.iterdir()):
            for place in PLACES:
                flip(fresh().path / path.name, place)
                yield f'the {place} byte of {path.name}', path.name
            (fresh().path / path.name).unlink()
            yield f'{path.name} removed', path.name
            (fresh().path / path.name).write_bytes(b'')
            yield f'{path.name} emptied', path.name
    else:
        table_of = p7_lies if kind == 'p7' else lies
        for name in table_of(Folder(work)):
            file, tell = table_of(fresh())[name]
            tell()
            if 'row' not in name and 'path' not in name and 'format' not in name:
                Folder(work).sign()
            yield name, file


def table(f):
    version = f.read('version.json')
    rows = list(csv.DictReader((f.path / 'resources.csv').open()))
    own = [r for r in rows if r['champion'] == 'yes']
    assert len(rows) == 4 and own, rows
    for r in own:
        if r['alias_of']:
            continue
        assert r['binary'] == version['binary'] and r['fate'] == 'OK'
        assert int(r['registers']) == version['facts']['compiled']['registers']
        assert int(r['shared_dynamic_bytes']) == version['facts']['launch']['shared_bytes']
        assert dict(p.split('=') for p in r['params'].split()) == {k: str(v) for k, v in version['params']['params'].items()}


def main():
    program, source, kind = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    if kind == 'table':
        table(Folder(source))
        return 0
    steps = changes(source, kind)
    work, _ = next(steps)
    missed = n = 0
    for what, name in steps:
        n += 1
        said = found(program, work, name)
        if said:
            print(f'{what}: {name} is not named: {said}')
            missed += 1
    print(f'{n} changes, {missed} missed')
    return 1 if missed or n < (3 if kind == 'p7' else 20) else 0


if __name__ == '__main__':
    sys.exit(main())
