#!/usr/bin/env python3
"""Names the tests that were skipped, and why. usage: skipped.py PRESET JUNIT.XML ...

Whole programs that ended with 77 gave their reason as the last line they printed; a cmocka program that passed may have
skipped some of its tests, which it says itself.
"""
import re
import sys
import xml.etree.ElementTree as tree


def skipped(path):
    for case in tree.parse(path).getroot().iter('testcase'):
        said = (case.findtext('system-out') or '').strip()
        mark = case.find('skipped')
        # ctest also calls a program that was not built skipped; that one it counts as failed, so not here.
        if mark is not None and 'SKIP_RETURN_CODE' in mark.get('message', ''):
            yield case.get('name'), said.split('\n')[-1] or 'gives no reason'
            continue
        # cmocka prints "[  SKIPPED ] test_name" for each, then the list again under a count.
        for name in dict.fromkeys(re.findall(r'^\[  SKIPPED \] ([A-Za-z_]\w*)', said, re.M)):
            yield f'{case.get("name")}: {name}', 'skipped by the test itself'


def main(arguments):
    count = 0
    for preset, path in zip(arguments[::2], arguments[1::2]):
        for name, why in skipped(path):
            if not count:
                print('skipped:')
            print(f'  {preset:8} {name}: {why}')
            count += 1
    if not count:
        print('skipped: none')


if __name__ == '__main__':
    main(sys.argv[1:])
