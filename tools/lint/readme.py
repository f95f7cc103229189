#!/usr/bin/env python3
"""README's command table and `fatune --help` name the same commands, and every `ctest -R` or `-L` in a document finds tests. Takes the program
and the folder of the build."""
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


def empty_selections(build):
    """What documents tell to run that is no test's name and no label."""
    wrong = []
    for path in [*ROOT.glob('*.md'), *ROOT.glob('docs/*.md'), *ROOT.glob('t*/**/*.md')]:
        for option, word in re.findall(r'ctest (-[RL]) ([\w.-]+)', path.read_text()):
            said = subprocess.run(['ctest', '--test-dir', build, '-N', option, word], capture_output=True, text=True, timeout=60, check=True).stdout
            if re.search(r'^Total Tests: 0$', said, re.M):
                wrong.append(f'{path.relative_to(ROOT)}: `ctest {option} {word}` finds no test')
    return wrong


def main():
    path = ROOT / 'README.md'
    if not path.exists():
        print('README.md is missing')
        return 1
    said = subprocess.run([sys.argv[1], '--help'], capture_output=True, text=True, timeout=20, check=True).stdout
    program, document = help_commands(said), readme_commands(path.read_text())
    for name in sorted(set(program) ^ set(document)):
        print(f'{name}: in {"fatune --help" if name in program else "README.md"} alone')
    wrong = empty_selections(sys.argv[2])
    for line in wrong:
        print(line)
    if not program:
        print('no commands found in fatune --help')
    return 0 if program and set(program) == set(document) and not wrong else 1


if __name__ == '__main__':
    sys.exit(main())
