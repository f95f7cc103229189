#!/usr/bin/env python3
"""Size and banned functions. In tuner/ a banned function, a file over 800 lines or a function over 120 fails; a function
over 80 is named only. In tests/, where tables of cases are long and sanitizers watch, all of these are named only."""
import re
import sys

from ctext import ROOT, code, functions

FILE_LINES, FUNCTION_LINES, FUNCTION_NAMED = 800, 120, 80

BANNED = {
    'strcpy': 'snprintf or struct buf', 'strcat': 'struct buf', 'stpcpy': 'snprintf', 'sprintf': 'snprintf or buf_printf',
    'vsprintf': 'vsnprintf', 'gets': 'a bounded read', 'strtok': 'strcspn', 'atoi': 'strtol with its end checked',
    'atol': 'strtol with its end checked', 'atof': 'strtod with its end checked', 'system': 'posix_spawn without a shell',
    'popen': 'posix_spawn without a shell', 'alloca': 'malloc', 'tmpnam': 'mkstemp', 'mktemp': 'mkstemp',
    'strncpy': 'snprintf: strncpy may leave no NUL',
}
_CALL = re.compile(r'(?<![\w.>])(' + '|'.join(BANNED) + r')\s*\(')


def check_text(text, strict=True):
    """(line, message, fails) for each complaint about one file."""
    said = []
    count = text.count('\n')
    if count > FILE_LINES:
        said.append((count, f'{count} lines, at most {FILE_LINES}: is there a module missing?', strict))
    for start, end, name in functions(text):
        size = end - start + 1
        if size > FUNCTION_NAMED:
            said.append((start, f'{name}() has {size} lines' + (f', at most {FUNCTION_LINES}' if size > FUNCTION_LINES else ''),
                         strict and size > FUNCTION_LINES))
    plain = code(text)
    for match in _CALL.finditer(plain):
        said.append((plain.count('\n', 0, match.start()) + 1, f'{match.group(1)}() is banned, use {BANNED[match.group(1)]}', strict))
    return said


def main():
    files = sorted((ROOT / 'tuner').glob('*.[ch]')) + sorted((ROOT / 'tuner').glob('*.cc')) + sorted((ROOT / 'tests').glob('*/*.[ch]'))
    failed = 0
    for path in files:
        for line, text, fails in sorted(check_text(path.read_text(), path.parts[-2] == 'tuner')):
            print(f'{path.relative_to(ROOT)}:{line}: {"" if fails else "warning: "}{text}')
            failed += fails
    print(f'{len(files)} files, {failed} failures')
    return 1 if failed or not files else 0


if __name__ == '__main__':
    sys.exit(main())
