#!/usr/bin/env python3
"""README's command table and `fatune --help` name the same commands. Takes the program."""
import re
import subprocess
import sys

from ctext import ROOT


def readme_commands(text):
    """Commands of the table rows that begin with `fatune NAME`, in order."""
    names = []
    for line in text.split('\n'):
        if line.startswith('| `fatune '):
            names += re.findall(r'`fatune ([a-z]+)', line.split('|')[1])
    return list(dict.fromkeys(names))


def help_commands(text):
    """The indented names under the line `commands`."""
    names, inside = [], False
    for line in text.split('\n'):
        if re.match(r'\s*commands\b.*:?\s*$', line, re.I):
            inside = True
        elif inside and (match := re.match(r'\s+(?:fatune )?([a-z]+)\b', line)):
            names.append(match.group(1))
        elif inside and names:
            break
    return names


def main():
    path = ROOT / 'README.md'
    if not path.exists():
        print('README.md is missing')
        return 1
    said = subprocess.run([sys.argv[1], '--help'], capture_output=True, text=True, timeout=20, check=True).stdout
    program, document = help_commands(said), readme_commands(path.read_text())
    for name in sorted(set(program) ^ set(document)):
        print(f'{name}: in {"fatune --help" if name in program else "README.md"} alone')
    if not program:
        print('no commands found in fatune --help')
    return 0 if program and set(program) == set(document) else 1


if __name__ == '__main__':
    sys.exit(main())
