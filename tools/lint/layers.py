#!/usr/bin/env python3
"""Who may include what: the layers of ARCHITECTURE.md, checked.

MODULES is the one place where the rule stands. A row is: module, layer, the modules of its own layer or below that it
may include beyond layer 0 ('*': all below its layer). A file belongs to the module whose name it has, or begins with
before an underscore: check_law.c is part of check; a row "a = b" counts the files of a as b's. Files of one module may
include each other. LIBRARIES says who may include a library's headers; PURE who may not touch a clock, a file, a device or a global source of chance.
"""
import re
import sys

from ctext import ROOT, code, includes

MODULES = """
err       0
buf       0
fate      0
problem   0
rng       0
digest    0
parallel  0
draw      0
doc       1
expr      1
space     1  expr doc
tmpl      1  space expr doc
cand      1  space tmpl expr doc
knobs     1  cand space tmpl
stats     1
importance 1 cand space tmpl stats
search    1  cand space tmpl
recording 1  cand space tmpl
replay    1  cand search recording space tmpl
race      1  stats
verdict   1  stats
chart     1
roofline  1
device    2  cuda_nvml
health    2  cuda_nvml
cuda_nvml 2
cuda      = device
opencl    = device
domain    = cand
transfer  2  device
check     2  device transfer
bench     2  device health transfer
cache     2  device
store     2  cand space tmpl verdict
wire      3
worker    3  wire
target    3  * wire worker
serve     3  * wire target
farm      3  * wire worker
sweep     3  * wire worker farm
point     3  store
track     3  store space
exchange  3  store track verdict
sanitize  3  doc point tool
tool      3  point worker
plot      3  worker
contestant 3 * wire worker target
tune      3  * wire worker target farm contestant point sanitize
ceiling   3  * wire worker farm tune
profile   3  store tool tune verdict
evidence  3  * worker farm tune
paths     0
timeline  0
npy       0
report    4  store verdict stats space cand tmpl tune chart plot
command   4  *
cmd       4  * command report
main      4  * command
"""

# library header: pattern of the files that may include it
LIBRARIES = [
    (r'yaml\.h$', r'doc\.c'),
    (r'(lua|lualib|lauxlib|luaconf)\.h$', r'expr(_\w+)?\.c'),
    (r'sqlite3\.h$', r'store(_\w+)?\.[ch]'),
    (r'uv\.h$', r'main\.c|(worker|target|tune)(_\w+)?\.[ch]'),
    (r'sodium', r'digest\.c'),
    (r'zlib\.h$', r'recording\.c'),
    (r'pcg_', r'rng_pcg\.cc'),
    (r'gsl/gsl_errno', r'(main|(stats|rng|verdict|search|race)(_\w+)?)\.([ch]|cc)'),
    (r'gsl/(?!gsl_errno)', r'(stats|rng|verdict|search|race)(_\w+)?\.([ch]|cc)'),
    (r'(cuda|nvrtc|cuda_runtime|nvJitLink)\.h$', r'(device_cuda|cuda_api)(_\w+)?\.[ch]'),
    (r'nvml\.h$', r'health(_\w+)?\.[ch]'),
    (r'CL/', r'(device_opencl|opencl_api)(_\w+)?\.[ch]'),
    (r'dlfcn\.h$', r'(device|cuda|opencl|health|cmd_doctor)(_\w+)?\.c'),
]

# No clock, no file, no environment, no chance but the stream handed in.
PURE = r'(verdict|stats|race|search|knobs|chart|importance|timeline)(_\w+)?\.c'
IMPURE = (r'(?<![\w.>])(clock_gettime|gettimeofday|time|clock|nanosleep|usleep|fopen|open|read|write|getenv|secure_getenv|rand|'
          r'srand|random|drand48|getrandom|arc4random)\s*\(')
# Below the commands nothing prints or exits. serve is the child's main loop: it alone may end its process, by _exit.
SPEAKS = r'\b(printf|vprintf|puts|putchar|perror|exit|quick_exit|abort)\s*\(|\b(stdout|stderr)\b'


def table():
    rows = {}
    for line in MODULES.split('\n'):
        words = line.split()
        if words and words[1] != '=':
            rows[words[0]] = (int(words[1]), words[2:])
    return rows


ALIASES = dict(re.findall(r'^(\w+) += (\w+)$', MODULES, re.M))


def module_of(stem, rows):
    """The longest module name that stem is or begins with before an underscore; None when there is none."""
    while True:
        if stem in rows or stem in ALIASES:
            return ALIASES.get(stem, stem)
        if '_' not in stem:
            return None
        stem = stem.rsplit('_', 1)[0]


def may_include(rows, user, used):
    layer, allowed = rows[user]
    used_layer = rows[used][0]
    if user == used or used_layer == 0 or used in allowed:
        return used_layer <= layer
    return '*' in allowed and used_layer < layer


def check_file(name, text, rows):
    """The complaints about one file of tuner/, as (line, text)."""
    user = module_of(name.rsplit('.', 1)[0], rows)
    if user is None:
        return [(1, 'no row in the layer table of tools/lint/layers.py: add the module with its layer')]
    said = []
    for line, header, system in includes(text):
        if system:
            for pattern, users in LIBRARIES:
                if re.match(pattern, header) and not re.fullmatch(users, name):
                    said.append((line, f'<{header}> is for {users} alone'))
            continue
        stem = header.rsplit('/', 1)[-1].rsplit('.', 1)[0]
        if stem == 'version':
            continue
        used = module_of(stem, rows)
        if used is None:
            said.append((line, f'"{header}" belongs to no module of the layer table'))
        elif not may_include(rows, user, used):
            said.append((line, f'{user} (layer {rows[user][0]}) may not include {used} (layer {rows[used][0]})'))
    plain = code(text)
    rules = []
    if re.fullmatch(PURE, name):
        rules.append((IMPURE, 'a pure module: no clock, file, environment or chance of its own'))
    if rows[user][0] < 4:
        rules.append((SPEAKS, 'nothing below the commands prints or exits'))
    if user not in ('serve', 'main', 'worker', 'target'):
        rules.append((r'\b_[eE]xit\s*\(', 'only the child\'s main loop and fork\'s children end a process by _exit'))
    for pattern, why in rules:
        for match in re.finditer(pattern, plain):
            said.append((plain.count('\n', 0, match.start()) + 1, f'{match.group(0).strip()}: {why}'))
    return said


def main():
    rows = table()
    failed = 0
    files = sorted(p for p in (ROOT / 'tuner').iterdir() if p.suffix in ('.c', '.h', '.cc'))
    for path in files:
        for line, text in sorted(check_file(path.name, path.read_text(), rows)):
            print(f'{path.relative_to(ROOT)}:{line}: {text}')
            failed += 1
    print(f'{len(files)} files, {failed} complaints')
    return 1 if failed or not files else 0


if __name__ == '__main__':
    sys.exit(main())
