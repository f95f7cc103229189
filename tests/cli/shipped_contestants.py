"""Drives contestants through their protocol. usage: shipped_contestants.py FOLDER (of the shipped ones); in an empty working directory.

With `serve FOLDER` it is a contestant itself: attention in plain Python, on the shared half in contestant.py.
"""
import hashlib
import math
import os
import pathlib
import random
import struct
import subprocess
import sys
import time

SHIPPED = {'sdpa', 'sdpa_flash', 'sdpa_cudnn', 'sdpa_efficient', 'triton', 'flex'}


# ---- arithmetic ----

def decode(data, dtype):
    if dtype == 'f16':
        return [x for (x,) in struct.iter_unpack('<e', data)]
    return [struct.unpack('<f', b'\0\0' + data[i:i + 2])[0] for i in range(0, len(data), 2)]


def encode(values, dtype):
    if dtype == 'f16':
        return struct.pack(f'<{len(values)}e', *values)
    return b''.join(struct.pack('<f', value)[2:] for value in values)  # cut, not rounded: good enough for inputs


def attention(q, k, v, p):
    """p: the problem as a map of text. Lists of floats, dense; rows that see no key give 0."""
    size = {key: int(p[key]) for key in ('batch', 'heads', 'kv_heads', 'seq_q', 'seq_kv', 'head_dim')}
    d, out = size['head_dim'], []
    for row in range(size['batch'] * size['heads'] * size['seq_q']):
        head, i = divmod(row, size['seq_q'])
        b, h = divmod(head, size['heads'])
        first = (b * size['kv_heads'] + h // (size['heads'] // size['kv_heads'])) * size['seq_kv']
        seen = i + 1 + size['seq_kv'] - size['seq_q'] if p['mask'] == 'causal' else size['seq_kv']
        keys = range(first, first + max(0, seen))
        logits = [float(p['scale']) * sum(q[row * d + c] * k[j * d + c] for c in range(d)) for j in keys]
        weights = [math.exp(x - max(logits)) for x in logits]
        out += [sum(w * v[j * d + c] for w, j in zip(weights, keys)) / sum(weights) if weights else 0.0 for c in range(d)]
    return out


# ---- the contestant ----

def serve(folder):
    sys.path.insert(0, folder)
    from contestant import Contestant, Unfit, main, signs_of_life

    class Plain(Contestant):
        def hello(self):
            print('a stray line')
            os.write(1, b'another, past Python\n')
            subprocess.run(['echo', 'and one of a child'], check=True)
            return 'plain Python\n in two lines'

        def open(self, problem):
            if problem.head_dim > 16:
                raise Unfit('head_dim above 16')
            self.problem, self.sets = problem, {}
            return ''

        def load(self, name, contents):
            self.sets[name] = list(contents)

        def prepare(self):
            with signs_of_life(self.progress, 'tuning', 0.05):
                time.sleep(0.12)
            return ' '.join(hashlib.sha256(b''.join(self.sets[name])).hexdigest() for name in 'qkv')

        def sample(self, k):
            if k == 13:
                raise RuntimeError('unlucky\nand said in\n  three lines')
            return {14: math.nan, 15: -1.0}.get(k, 1.0 / k)

        def output(self):
            p = self.problem
            words = {key: str(getattr(p, key)) for key in ('batch', 'heads', 'kv_heads', 'seq_q', 'seq_kv', 'head_dim', 'scale')}
            q, k, v = (decode(self.sets[name][0], p.dtype) for name in 'qkv')
            return encode(attention(q, k, v, words | {'mask': 'causal' if p.causal else 'none'}), p.dtype)

    main(Plain())


# ---- the driver ----

class Failed(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)


class Driven:
    """A contestant at work. ask() returns the answer's word and text; progress lines before it are collected."""

    def __init__(self, *command):
        self.log = open('log', 'w+')
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.progress = []

    def ask(self, line):
        self.process.stdin.write(line + '\n')
        self.process.stdin.flush()
        while (answer := self.process.stdout.readline()).startswith('progress '):
            self.progress.append(answer)
        check(answer.endswith('\n'), f'{line}: answered {answer!r}')
        word, _, text = answer[:-1].partition(' ')
        return word, text

    def expect(self, line, word, *parts):
        got, text = self.ask(line)
        check(got == word and all(part in text for part in parts), f'{line}: answered {got} {text}, expected {word} with {parts}')
        return text

    def end(self):
        """Closes its input. Returns the exit status and what was left on its standard output."""
        self.process.stdin.close()
        rest = self.process.stdout.read()
        return self.process.wait(timeout=20), rest

    def said(self):
        self.log.seek(0)
        return self.log.read()


def plain():
    return Driven(sys.executable, '-B', __file__, 'serve', sys.argv[1])


def problem(**changes):
    words = dict(batch=2, heads=2, kv_heads=2, seq_q=5, seq_kv=5, head_dim=4, dtype='f16', mask='none', scale='0.5', sets=1, device='GPU-0')
    words.update(changes)
    return {key: str(value) for key, value in words.items()}


def line_of(p):
    words = [f'{key}={value}' for key, value in p.items()] + ['colour=blue', 'novelty']
    random.shuffle(words)
    return 'problem ' + ' '.join(words)


def inputs(p):
    """Writes files q, k, v. Returns their bytes."""
    data = {}
    for name in 'qkv':
        tokens = int(p['heads']) * int(p['seq_q']) if name == 'q' else int(p['kv_heads']) * int(p['seq_kv'])
        n = int(p['batch']) * tokens * int(p['head_dim'])
        data[name] = encode([random.gauss(0, 1) for _ in range(n)], p['dtype'])
        pathlib.Path(f'in {name}').write_bytes(data[name])
    return data


def rotated(data, sets):
    n = len(data) // 2
    return b''.join(data[2 * (n * i // sets):] + data[:2 * (n * i // sets)] for i in range(sets))


def test_numbers():
    """Every kind of problem: what comes back is the attention of what went in, and every set is the rotation it should be."""
    driven = plain()
    driven.expect('fatune 1', 'hello', 'plain Python in two lines')
    for changes in ({}, {'dtype': 'bf16'}, {'kv_heads': 1}, {'seq_kv': 9, 'mask': 'causal'}, {'seq_q': 7, 'mask': 'causal', 'scale': '-0.25'},
                    {'sets': 3}, {'sets': 7, 'kv_heads': 1, 'seq_q': 3, 'batch': 1}):
        p = problem(**changes)
        driven.expect(line_of(p), 'ready')
        data = inputs(p)
        for name in 'qkv':
            driven.expect(f'input {name} in {name}', 'ready')
            os.remove(f'in {name}')  # copied by now
        digests = driven.expect('prepare', 'ready').split(' ')
        check(digests == [hashlib.sha256(rotated(data[name], int(p['sets']))).hexdigest() for name in 'qkv'], f'sets of {p}')
        check(driven.expect('sample 8', 'time') == '0.125000', 'sample')
        driven.expect('output o file', 'ready')
        got = pathlib.Path('o file').read_bytes()
        want = encode(attention(*(decode(data[name], p['dtype']) for name in 'qkv'), p), p['dtype'])
        check(got == want, f'output of {p}')
    check(any('tuning, ' in text for text in driven.progress), 'no progress while preparing')
    check(driven.ask('input q absent')[0] == 'error', 'an absent file')
    driven.process.stdin.write('quit\n')
    status, rest = driven.end()
    check((status, rest) == (0, ''), f'quit: exit status {status}, rest {rest!r}')
    said = driven.said()
    check(all(text in said for text in ('a stray line', 'another, past Python', 'and one of a child')), 'strays are not in the log')


def test_errors():
    """Whatever is asked in the wrong order or wrongly is answered, in one line, and the contestant goes on."""
    driven = plain()
    driven.expect('problem', 'error', 'before fatune 1')
    driven.expect('fatune 2', 'error', 'protocol version 2')
    driven.expect('fatune 1', 'hello')
    for request in ('prepare', 'sample 1', 'output o', 'input q x'):
        driven.expect(request, 'error', 'before a problem')
    driven.expect('dance', 'error', 'dance')
    p = problem()
    driven.expect(line_of({key: value for key, value in p.items() if key != 'seq_q'}), 'error', 'seq_q')
    driven.expect(line_of(problem(heads='many')), 'error', 'heads=many')
    driven.expect(line_of(problem(kv_heads=3)), 'error', 'kv_heads=3')
    driven.expect(line_of(problem(scale='x')), 'error')
    driven.expect(line_of(problem(head_dim=32)), 'unfit', 'head_dim above 16')
    driven.expect('prepare', 'error', 'before a problem')
    driven.expect(line_of(problem(dtype='f8')), 'unfit', 'dtype=f8')
    driven.expect(line_of(problem(mask='window')), 'unfit', 'mask=window')
    driven.expect(line_of(p), 'ready')
    inputs(p)
    driven.expect('input w in q', 'error', "'w'")
    driven.expect('prepare', 'error', 'q, k, v')
    driven.expect('input q in q', 'ready')
    pathlib.Path('short').write_bytes(b'\0' * 14)
    driven.expect('input k short', 'error', '14 bytes', '160')
    driven.expect('prepare', 'error', 'k, v')
    driven.expect('input k in k', 'ready')
    driven.expect('input v in v', 'ready')
    driven.expect('sample 1', 'error', 'before prepare')
    driven.expect('output o', 'error', 'before prepare')
    driven.expect('prepare', 'ready')
    for k in ('0', '-1', 'x', '', '1.5'):
        driven.expect(f'sample {k}', 'error', 'whole number')
    driven.expect('sample 13', 'error', 'RuntimeError: unlucky and said in three lines')
    driven.expect('sample 14', 'error', 'nan')
    driven.expect('sample 15', 'error', '-1')
    driven.expect('output no/such/folder', 'error', 'no/such/folder')
    driven.expect('sample 4', 'time', '0.25')
    driven.expect('input v in v', 'ready')
    driven.expect('sample 4', 'error', 'before prepare')  # the old buffers are gone
    driven.expect('prepare', 'ready')
    driven.expect('sample 4', 'time', '0.25')
    status, rest = driven.end()
    check((status, rest) == (0, ''), f'end of the input: exit status {status}, rest {rest!r}')


def test_deserted():
    """When nobody listens any more it ends by itself, even in the middle of tuning."""
    driven = plain()
    driven.expect('fatune 1', 'hello')
    p = problem()
    driven.expect(line_of(p), 'ready')
    inputs(p)
    for name in 'qkv':
        driven.expect(f'input {name} in {name}', 'ready')
    driven.process.stdin.write('prepare\n')
    driven.process.stdin.flush()
    driven.process.stdout.close()
    check(driven.process.wait(timeout=20) == 1, 'goes on though nobody listens')
    driven.process.stdin.close()


def test_missing():
    """Every shipped contestant, where no package is installed, says which and what to do, and ends with 0."""
    folder = pathlib.Path(sys.argv[1])
    programs = {path.name: path for path in folder.iterdir() if path.is_file() and os.access(path, os.X_OK)}
    check(SHIPPED <= set(programs), f'not executable: {SHIPPED - set(programs)}')
    for name, path in sorted(programs.items()):
        check(path.read_text().startswith('#!/usr/bin/env python3\n"""'), f'{name}: shebang and a line on what it is')
        driven = Driven(sys.executable, '-B', '-E', '-S', str(path))  # -S: without site-packages
        text = driven.expect('fatune 1', 'missing', 'torch', 'pip install')
        status, rest = driven.end()
        check((status, rest) == (0, ''), f'{name}: exit status {status} after missing {text}, rest {rest!r}')


def drive():
    failed, tests = 0, [test for name, test in globals().items() if name.startswith('test_')]
    random.seed(7)
    for test in tests:
        try:
            test()
        except (Failed, OSError, subprocess.TimeoutExpired) as e:
            print(f'FAIL: {test.__name__}: {e}')
            failed += 1
    print(f'{len(tests) - failed} of {len(tests)} passed')
    return 1 if failed else 0


if sys.argv[1] == 'serve':
    serve(sys.argv[2])
else:
    sys.exit(drive())
