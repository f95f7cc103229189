"""The shipped contestants on the CPU. usage: TRITON_INTERPRET=1 shipped_contestants_torch.py FOLDER, and TRITON_INTERPRET=0 ...

With the interpreter all of their arithmetic runs; graphs and clocks are the only parts that are replaced: a graph is its
launches, its time what the test says it is. Without, the Triton kernel is compiled for GPUs that need not be here.
"""
import importlib.machinery
import importlib.util
import math
import pathlib
import sys
import time
import warnings

import numpy
import torch
import triton
import triton.language as tl
from triton.runtime import interpreter

sys.path.insert(0, sys.argv[1])
import contestant  # noqa: E402

warnings.simplefilter('ignore')


def load(name):
    """The module of an executable, which has no suffix."""
    path = str(pathlib.Path(sys.argv[1]) / name)
    spec = importlib.util.spec_from_loader(name + '_program', importlib.machinery.SourceFileLoader(name + '_program', path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def on_cpu(base):
    """base with the device replaced by the CPU."""

    class OnCpu(base):
        clock = staticmethod(lambda self: 1.0)

        def start(self, torch):
            self.device = torch.device('cpu')
            torch.set_grad_enabled(False)

        def wait(self):
            self.outputs = []

        def capture(self, k):
            for i in range(k):
                self.launch(i % self.problem.sets)
            return k

        def replay_us(self, graph, k):
            return self.clock(self)

    return OnCpu


@triton.jit
def turns(n):
    for _ in range(n):
        pass


def interpreted():
    """Ends with a skip where Triton's interpreter does not get on with numpy; teaches it dot of bf16, which it stores as integers."""
    try:
        turns[(1,)](2)
    except Exception as e:
        print(f"Triton {triton.__version__}'s interpreter fails with numpy {numpy.__version__} ({e}): pip install 'numpy<2.3'")
        sys.exit(77)
    plain = interpreter.InterpreterBuilder.create_dot

    def widened(x):
        if x.dtype.scalar != tl.bfloat16:
            return x
        return interpreter.TensorHandle((x.data.astype(numpy.uint32) << 16).view(numpy.float32), tl.float32)

    interpreter.InterpreterBuilder.create_dot = lambda self, a, b, *rest: plain(self, widened(a), widened(b), *rest)


def problem(**changes):
    words = dict(batch=1, heads=2, kv_heads=2, seq_q=64, seq_kv=64, head_dim=64, dtype='f16', mask='none', scale='0.125', sets=1)
    words.update(changes)
    return contestant.Problem.parse(' '.join(f'{key}={value}' for key, value in words.items()))


def tensors(p):
    dtype = {'f16': torch.float16, 'bf16': torch.bfloat16}[p.dtype]
    torch.manual_seed(5)
    return [torch.randn(p.shape(name)).to(dtype) for name in 'qkv']


def reference(p, q, k, v):
    """float64; rows that see no key give 0."""
    q, k, v = (t.double() for t in (q, k, v))
    k, v = (t.repeat_interleave(p.heads // p.kv_heads, 1) for t in (k, v))
    logits = p.scale * q @ k.transpose(2, 3)
    if p.causal:
        hidden = torch.ones(p.seq_q, p.seq_kv, dtype=torch.bool).triu(p.seq_kv - p.seq_q + 1)
        logits.masked_fill_(hidden, -math.inf)
    return torch.softmax(logits, 3).nan_to_num(0.0) @ v


def bytes_of(t):
    return bytearray(t.view(torch.int16).numpy().tobytes())


def error_of(c, p):
    """Asks contestant c as fatune asks. Returns the error of its output against float64 in steps of the dtype."""
    q, k, v = tensors(p)
    c.open(p)
    for name, t in zip('qkv', (q, k, v)):
        c.load(name, contestant.rotations(bytes(bytes_of(t)), p.sets))
    c.prepare()
    o = torch.frombuffer(bytearray(c.output()), dtype=q.dtype).reshape(p.shape('o'))
    want = reference(p, q, k, v)
    return ((o.double() - want).abs() / want.abs().clamp(min=1)).max().item() / torch.finfo(q.dtype).eps


def check(condition, what):
    if not condition:
        print(f'FAIL: {what}')
        check.failed += 1
    check.count += 1


check.failed = check.count = 0
PROBLEMS = [dict(), dict(mask='causal'), dict(dtype='bf16', mask='causal', seq_q=70, seq_kv=133), dict(kv_heads=1, seq_q=33, seq_kv=97),
            dict(head_dim=128, dtype='bf16', heads=4, mask='causal', seq_q=129, seq_kv=129), dict(head_dim=96, seq_q=1, seq_kv=7, scale='-0.1'),
            dict(mask='causal', seq_q=100, seq_kv=53, kv_heads=1), dict(scale='4', seq_kv=200, heads=1, kv_heads=1)]


def compiled_triton():
    """The compiler takes what the interpreter takes, for sm_80 without descriptors and sm_90 with."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    module = load('triton')
    from triton_attention import attention
    for i, changes in enumerate(PROBLEMS):
        c = module.TritonAttention()
        c.problem = p = problem(**changes)
        q, k, v = tensors(p)
        tma = i % 2 == 0 and p.head_dim != 96
        config = module.Config((64, 128)[i % 2], (64, 32, 128)[i % 3], (4, 8)[i % 2], (3, 2)[i % 2], tma)
        values = c.arguments(config, q, k, v, q)
        pointer = {'f16': '*fp16', 'bf16': '*bf16'}[p.dtype]
        constants = {key: value for key, value in values.items() if key not in 'qkvo' and not key.startswith('num_')}
        signature = {key: 'constexpr' for key in attention.arg_names} | dict.fromkeys('qkvo', pointer)
        if tma:
            signature |= dict.fromkeys('kv', f'tensordesc<{pointer[1:]}[{config.BLOCK_N},{p.head_dim}]>')
        source = ASTSource(attention, signature, constants, {(i,): [['tt.divisibility', 16]] for i in ((0, 3) if tma else range(4))})
        built = triton.compile(source, target=GPUTarget('cuda', 90 if tma else 80, 32),
                               options={'num_warps': config.num_warps, 'num_stages': config.num_stages})
        ptx = built.asm['ptx']
        check(('wgmma' if tma else 'mma.sync') in ptx and ('cp.async.bulk' in ptx) == tma, f'{config} {changes}: matrix units, copies')


def test_triton():
    """Every problem with tiles smaller and larger than it, by pointers and, where a size allows, by descriptors."""
    module = load('triton')

    class Fixed(on_cpu(module.TritonAttention)):
        def tune(self):
            self.config = self.fixed
            return ''

    for i, changes in enumerate(PROBLEMS):
        p = problem(**changes)
        for tma in (False, True):
            if tma and p.head_dim & (p.head_dim - 1):
                continue
            c = Fixed()
            c.fixed = module.Config((32, 64, 128)[i % 3], (64, 32, 128, 32)[(i + tma) % 4], 4, 2, tma)
            error = error_of(c, p)
            check(error < 2, f'Triton {c.fixed} {changes}: off by {error:.2f} steps')
    unfit(lambda: Fixed().open(problem(head_dim=512)), 'Triton takes head_dim 512')


def test_triton_tuning():
    """The fastest configuration is chosen, and one that fails costs only itself."""
    module = load('triton')
    module.WARM_UP_S = 0.01
    good, bad = module.Config(64, 32, 4, 3, False), module.Config(32, 32, 4, 2, False)

    class Tuned(on_cpu(module.TritonAttention)):
        clock = staticmethod(lambda self: 500.0 if self.config == good else 2000.0 + self.config.BLOCK_M)

        def configs(self):
            return [bad, module.Config(64, 64, 4, 2, False), module.Config(128, 32, 4, 2, False), good]

        def compile(self, configs):
            pass

        def attend(self, q, k, v):
            if self.config == bad:
                raise RuntimeError('out of resource: shared memory')
            return super().attend(q, k, v)

    c, said = Tuned(), []
    c.progress = said.append
    error = error_of(c, problem())
    check(c.config == good and error < 2, f'chose {c.config}, off by {error:.2f} steps')
    check('BLOCK_N=32' in c.choice and c.choice.endswith('best of 3 configurations, 1 skipped'), f'says {c.choice}')
    check(said and said[-1].startswith('4 of 4 configurations timed, best 500.00'), f'progress ends with {said[-1:]}')
    check(len(module.CONFIGS) == len(set(module.CONFIGS)) == 108, 'configurations')


def test_sdpa():
    from torch_sdpa import Sdpa
    for changes in PROBLEMS:
        p = problem(**changes)
        if p.causal and p.seq_q > p.seq_kv:
            unfit(lambda: on_cpu(Sdpa)().open(p), f'SDPA takes {changes}')
            continue
        error = error_of(on_cpu(Sdpa)(), p)
        check(error < 4, f'SDPA {changes}: off by {error:.2f} steps')
    unfit(lambda: on_cpu(Sdpa)('CUDNN_ATTENTION').open(problem()), 'cuDNN runs on the CPU')
    masked = on_cpu(Sdpa)('CUDNN_ATTENTION')
    masked.problem, masked.device, masked.dtype = problem(mask='causal', seq_kv=67), 'cpu', torch.float32
    mask = masked._arguments(torch)['attn_mask']
    check(mask.shape == (1, 2, 64, 67) and all(mask[0, 1, i].isinf().sum() == 63 - i for i in range(64)), "cuDNN's mask")


def test_flex():
    """Uncompiled: what is asked of it, not how PyTorch compiles it."""
    module = load('flex')
    compiled = torch.compile
    torch.compile = lambda f, **options: f
    try:
        for changes in PROBLEMS:
            error = error_of(on_cpu(module.Flex)(), problem(**changes))
            check(error < 4, f'flex {changes}: off by {error:.2f} steps')
    finally:
        torch.compile = compiled


def test_sets():
    """Launch i of a sample runs on set i mod sets, the words rotated; a graph is made once, and anew with new inputs."""

    class Copy(on_cpu(contestant.TorchContestant)):
        def attend(self, q, k, v):
            self.walked = getattr(self, 'walked', []) + [next(i for i, t in enumerate(self.tensors['k']) if t is k)]
            return q.clone()

    c, p = Copy(), problem(sets=5, seq_q=2, seq_kv=2, heads=1, kv_heads=1, head_dim=4)
    error_of(c, p)
    check(all(bytes_of(c.tensors['k'][i]) == data for i, data in
              enumerate(contestant.rotations(bytes(bytes_of(tensors(p)[1])), 5))), 'sets on the device')
    c.walked = []
    c.sample(7)
    check(c.walked == [0, 1, 2, 3, 4, 0, 1], f'launches on sets {c.walked}')
    c.walked = []
    c.sample(7)
    check(c.walked == [], 'a sample captures again')
    c.load('q', contestant.rotations(bytes(bytes_of(tensors(p)[0])), 5))
    check(not c.graphs, 'graphs outlive their inputs')


def unfit(call, what):
    try:
        call()
    except contestant.Unfit:
        check(True, what)
    else:
        check(False, what)


def main():
    tests = [compiled_triton]
    if triton.knobs.runtime.interpret:
        interpreted()
        tests = [test for name, test in globals().items() if name.startswith('test_')]
    for test in tests:
        begin = time.monotonic()
        test()
        print(f'{test.__name__} {time.monotonic() - begin:.1f} s')
    print(f'{check.count - check.failed} of {check.count} checks passed')
    return 1 if check.failed else 0


sys.exit(main())
