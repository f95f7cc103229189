"""What all contestants share: the line protocol, inputs and outputs, graph capture and timing.

A contestant is a program that times somebody else's attention for fatune, with the same inputs on the same device;
docs/CONTESTANTS.md says how it is asked. A new one is a subclass of TorchContestant with attend(), or of Contestant when it has
nothing to do with PyTorch, and a file of ten lines that calls main().

Streams. Standard output is the protocol's alone: Link keeps a copy of it and points descriptor 1 at stderr before any library is
loaded, so that whatever prints, from Python, C or a child, prints into the log.

Time. A sample is k launches captured as one CUDA graph, between two events, behind a kernel that spins until the host has handed
everything over: no host time is in it. Launch i runs on tensor set i mod sets; outputs lie in the graphs' memory pool, one for
each set.
"""
import contextlib
import ctypes
import importlib
import math
import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass

PROTOCOL = '1'
WORD_BYTES = 2  # of f16 and bf16
LEAD_CYCLES, LEAD_CYCLES_A_LAUNCH = 200_000, 400  # about 0.1 ms and 0.2 us: what the host needs to hand over a graph


class Unfit(Exception):
    """This problem cannot be done; the text says why."""


class Missing(Exception):
    """A package or a device is not there; the text says what, and the remedy."""


@dataclass(frozen=True)
class Problem:
    """One attention forward. causal is aligned to the bottom right: query i sees keys j <= i + seq_kv - seq_q."""
    batch: int
    heads: int
    kv_heads: int
    seq_q: int
    seq_kv: int
    head_dim: int
    dtype: str  # f16 | bf16
    causal: bool
    scale: float
    sets: int  # tensor sets that samples walk over; 1: everything stays in the L2 that fits

    @classmethod
    def parse(cls, text):
        """From `key=value` words in any order; unknown keys are ignored."""
        given = dict(word.split('=', 1) for word in text.split() if '=' in word)
        numbers = {key: cls._number(given, key) for key in ('batch', 'heads', 'kv_heads', 'seq_q', 'seq_kv', 'head_dim', 'sets')}
        if numbers['heads'] % numbers['kv_heads']:
            raise ValueError(f'kv_heads={numbers["kv_heads"]} does not divide heads={numbers["heads"]}')
        for key, known in (('dtype', ('f16', 'bf16')), ('mask', ('none', 'causal'))):
            if given.get(key) not in known:
                raise Unfit(f'{key}={given.get(key, "")}: only {" and ".join(known)} are known here')
        scale = float(given.get('scale', 'nan'))
        if not math.isfinite(scale):
            raise ValueError(f'scale={given.get("scale", "")} is not a number')
        return cls(dtype=given['dtype'], causal=given['mask'] == 'causal', scale=scale, **numbers)

    @staticmethod
    def _number(given, key):
        value = given.get(key, '')
        if not value.isdecimal() or int(value) < 1:
            raise ValueError(f'{key}={value} is not a whole number above 0')
        return int(value)

    def shape(self, name):
        """Of q, k, v or o."""
        if name in 'kv':
            return (self.batch, self.kv_heads, self.seq_kv, self.head_dim)
        return (self.batch, self.heads, self.seq_q, self.head_dim)

    def bytes(self, name):
        return math.prod(self.shape(name)) * WORD_BYTES


class Contestant:
    """One implementation of attention. Methods are called in the order in which they stand here; each may raise Unfit or Missing,
    and anything else it raises is answered as an error."""

    def __init__(self):
        self.progress = lambda text: None  # progress(text): a sign of life; renews fatune's deadline

    def hello(self):
        """Loads the packages, touches no device. Returns what it is and which versions."""
        raise NotImplementedError

    def open(self, problem):
        """Returns a remark, or ''. Raises Unfit."""
        raise NotImplementedError

    def load(self, name, contents):
        """contents: for each tensor set the bytes of q, k or v."""
        raise NotImplementedError

    def prepare(self):
        """Tunes and compiles what is not yet; the inputs are there. Called again after new inputs. Returns what it chose."""
        raise NotImplementedError

    def sample(self, k):
        """Runs k launches back to back. Returns microseconds a launch."""
        raise NotImplementedError

    def output(self):
        """One launch on set 0. Returns the bytes of o."""
        raise NotImplementedError


# ---- the protocol ----

class Link:
    """Requests and answers, on copies of standard input and output that nobody else has."""

    def __init__(self):
        self.requests = os.fdopen(os.dup(0), encoding='utf-8', errors='surrogateescape', newline='\n')
        self.answers = os.dup(1)
        self.lock = threading.Lock()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        sys.stdout.flush()
        os.dup2(2, 1)

    def say(self, word, text=''):
        """One line, whatever text is."""
        line = ' '.join([word, *str(text).split()])[:1000] + '\n'
        with self.lock:
            data = line.encode('utf-8', 'replace')
            try:
                while data:
                    data = data[os.write(self.answers, data):]
            except BrokenPipeError:  # nobody is there any more, so nothing that goes on here is of use
                os._exit(1)


class Session:
    """The order of requests, and what is common to all contestants in answering them."""

    def __init__(self, contestant):
        self.contestant = contestant
        self.greeted = False
        self.problem = None
        self.given = set()
        self.prepared = False

    def answer(self, word, rest):
        """Returns the answer as (word, text)."""
        if word == 'fatune':
            if rest.split(' ')[0] != PROTOCOL:
                raise ValueError(f'protocol version {rest}, and this contestant speaks version {PROTOCOL}')
            text = self.contestant.hello()
            self.greeted = True
            return 'hello', text
        handler = {'problem': self._problem, 'input': self._input, 'prepare': self._prepare, 'sample': self._sample,
                   'output': self._output}.get(word)
        if handler is None:
            raise ValueError(f'unknown request {word!r}')
        if not self.greeted:
            raise ValueError(f'{word} before fatune {PROTOCOL}')
        if word != 'problem' and self.problem is None:
            raise ValueError(f'{word} before a problem that fits')
        return handler(rest)

    def _problem(self, rest):
        self.problem, self.given, self.prepared = None, set(), False
        problem = Problem.parse(rest)
        text = self.contestant.open(problem)
        self.problem = problem
        return 'ready', text

    def _input(self, rest):
        name, _, path = rest.partition(' ')
        if name not in ('q', 'k', 'v'):
            raise ValueError(f'input {name!r}: only q, k and v are inputs')
        self.prepared = False
        with open(path, 'rb') as file:
            data = file.read()
        wanted = self.problem.bytes(name)
        if len(data) != wanted:
            raise ValueError(f'{path} has {len(data)} bytes, and {name} takes {wanted}')
        self.contestant.load(name, rotations(data, self.problem.sets))
        self.given.add(name)
        return 'ready', ''

    def _prepare(self, rest):
        absent = [name for name in 'qkv' if name not in self.given]
        if absent:
            raise ValueError(f'prepare without input {", ".join(absent)}')
        text = self.contestant.prepare()
        self.prepared = True
        return 'ready', text

    def _sample(self, rest):
        if not self.prepared:
            raise ValueError('sample before prepare')
        if not rest.isdecimal() or int(rest) < 1:
            raise ValueError(f'sample {rest}: a whole number above 0 is needed')
        us = self.contestant.sample(int(rest))
        if not (math.isfinite(us) and us > 0):
            raise ValueError(f'the device measured {us} us')
        return 'time', f'{us:.6f}'

    def _output(self, rest):
        if not self.prepared:
            raise ValueError('output before prepare')
        data = self.contestant.output()
        if len(data) != self.problem.bytes('o'):
            raise ValueError(f'the output has {len(data)} bytes instead of {self.problem.bytes("o")}')
        with open(rest, 'wb') as file:
            file.write(data)
        return 'ready', ''


def rotations(data, sets):
    """The words of data for each set: set i has them rotated left by n * i / sets, so that sets differ."""
    words = len(data) // WORD_BYTES
    for i in range(sets):
        cut = words * i // sets * WORD_BYTES
        yield bytearray(data[cut:] + data[:cut])  # writable: PyTorch warns about a buffer that is not


def main(contestant):
    """Serves requests until `quit` or the end of the input."""
    link = Link()
    session = Session(contestant)
    contestant.progress = lambda text: link.say('progress', text)
    for line in link.requests:
        word, _, rest = line.rstrip('\r\n').partition(' ')
        if word == 'quit':
            break
        try:
            link.say(*session.answer(word, rest))
        except Missing as e:
            link.say('missing', e)
            break
        except Unfit as e:
            link.say('unfit', e)
        except KeyboardInterrupt:
            os._exit(130)
        except Exception as e:  # whatever a library raises is fatune's to record, not ours to die of
            traceback.print_exc()
            link.say('error', f'{type(e).__name__}: {e}')


@contextlib.contextmanager
def signs_of_life(say, what, every_s=2.0):
    """While a library is busy that says nothing itself: `what, N s` every few seconds."""
    done = threading.Event()
    begin = time.monotonic()

    def tick():
        while not done.wait(every_s):
            say(f'{what}, {time.monotonic() - begin:.0f} s')

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


# ---- PyTorch ----

class TorchContestant(Contestant):
    """Tensors, graphs and times through PyTorch. A subclass has title() and attend(), and tune() when there is a choice."""

    packages = ('torch',)

    def __init__(self):
        super().__init__()
        self.problem = self.device = self.dtype = None
        self.tensors = {}  # of q, k, v: a tensor for each set
        self.outputs = []  # for each set, while launches are being captured
        self.graphs = {}  # by k
        self.choice = None  # what tune() said

    def title(self, torch):
        raise NotImplementedError

    def tune(self):
        """Chooses what attend() uses; returns it as text. Called once a problem, with the inputs loaded."""
        return ''

    def attend(self, q, k, v):
        """One launch on the current stream. Returns o; may allocate, may not synchronise."""
        raise NotImplementedError

    def hello(self):
        # NVML answers whether there is a device without waking it.
        os.environ.setdefault('PYTORCH_NVML_BASED_CUDA_CHECK', '1')
        for name in self.packages:
            try:
                importlib.import_module(name)
            except (ImportError, OSError) as e:
                raise Missing(f'{sys.executable} cannot import {name} ({e}): pip install {name}') from e
        import torch
        if torch.version.cuda is None:
            raise Missing('this PyTorch is built without CUDA: pip install torch, without a CPU index')
        if not torch.cuda.is_available():
            raise Missing(f'PyTorch sees no CUDA device: nvidia-smi must list one, with a driver for CUDA {torch.version.cuda}')
        return self.title(torch)

    def open(self, problem):
        import torch
        self.close()
        self.problem, self.choice = problem, None
        self.dtype = {'f16': torch.float16, 'bf16': torch.bfloat16}[problem.dtype]
        if self.device is None:
            self.start(torch)
        return ''

    def start(self, torch):
        """The first touch of the device, of which CUDA_VISIBLE_DEVICES leaves one."""
        self.device = torch.device('cuda', 0)
        torch.cuda.set_device(self.device)
        torch.cuda.set_stream(torch.cuda.Stream())
        torch.set_grad_enabled(False)
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]

    def close(self):
        self.graphs.clear()
        self.tensors.clear()

    def load(self, name, contents):
        import torch
        self.graphs.clear()  # they hold the old addresses
        self.tensors.pop(name, None)
        shape = self.problem.shape(name)
        self.tensors[name] = [torch.frombuffer(data, dtype=self.dtype).reshape(shape).to(self.device) for data in contents]

    def prepare(self):
        if self.choice is None:
            self.choice = self.tune()
        for _ in range(3):  # first launches load modules, make plans and workspaces: not inside a capture
            self.launch(0)
        self.wait()
        return self.choice

    def launch(self, s):
        self.outputs = self.outputs or [None] * self.problem.sets
        self.outputs[s] = None  # before the next is allocated, so that it gets the same memory
        self.outputs[s] = self.attend(*(self.tensors[name][s] for name in 'qkv'))
        return self.outputs[s]

    def wait(self):
        import torch
        torch.cuda.synchronize()
        self.outputs = []

    def capture(self, k):
        """A graph of k launches, run once. Shares the memory of self.graphs: no two run at a time."""
        import torch
        self.outputs = []
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self.graphs.values())).pool() if self.graphs else None
        with torch.cuda.graph(graph, pool=pool, stream=torch.cuda.current_stream()):
            for i in range(k):
                self.launch(i % self.problem.sets)
        graph.replay()
        self.wait()
        return graph

    def replay_us(self, graph, k):
        """Microseconds a launch of one replay of a graph of k."""
        import torch
        begin, end = self.events
        torch.cuda._sleep(LEAD_CYCLES + LEAD_CYCLES_A_LAUNCH * k)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e3 / k

    def sample(self, k):
        if k not in self.graphs:
            self.graphs[k] = self.capture(k)
        return self.replay_us(self.graphs[k], k)

    def output(self):
        import torch
        o = self.launch(0)
        if tuple(o.shape) != self.problem.shape('o') or o.dtype != self.dtype:
            raise ValueError(f'the output is {tuple(o.shape)} {o.dtype} instead of {self.problem.shape("o")} {self.dtype}')
        host = o.contiguous().cpu()
        self.wait()
        return ctypes.string_at(host.data_ptr(), host.numel() * WORD_BYTES)
