"""Holds outputs against docs/JSON.md: json_doc.py JSON.md TYPE=FILE... Prints what differs; exit 1 when anything does.

Documented types that no output had are listed at the end with --unused, so that the script can tell what it did not see."""
import json
import re
import sys

BASIC = {
    'text': lambda v: isinstance(v, str),
    'integer': lambda v: isinstance(v, int) and not isinstance(v, bool),
    'number': lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    'flag': lambda v: isinstance(v, bool),
    'any': lambda v: True,
    'measure': lambda v: v in ('nan', 'inf', '-inf') or BASIC['number'](v),
    'pair': lambda v: isinstance(v, list) and len(v) == 2 and
            (all(BASIC['number'](x) for x in v) or all(x is None for x in v)),
}


def read(path):
    """{type: {member: (type, optional)}}"""
    types, name = {}, None
    for line in open(path, encoding='utf-8'):
        if line.startswith('### '):
            name = line[4:].strip()
            types[name] = {}
        elif name and line.startswith('A target, and:'):
            types[name].update(types['target'])
        elif name and (row := re.match(r'\| `(\w+)` \| ([^|]+?) \|', line)):
            kind, _, rest = row.group(2).partition(', ')
            types[name][row.group(1)] = (kind, rest == 'optional')
    return types


def check(types, kind, value, where, out, seen):
    if kind.endswith(' or null'):
        if value is not None:
            check(types, kind[:-len(' or null')], value, where, out, seen)
    elif kind in BASIC:
        if not BASIC[kind](value):
            out.add(f'{where}: {json.dumps(value)[:60]} is no {kind}')
    elif kind.startswith('list of '):
        if not isinstance(value, list):
            out.add(f'{where} is no list')
            return
        for x in value:
            check(types, kind[8:], x, where + '[]', out, seen)
    elif kind.startswith('map of '):
        if not isinstance(value, dict):
            out.add(f'{where} is no object')
            return
        for x in value.values():
            check(types, kind[7:], x, where + '{}', out, seen)
    elif kind not in types:
        out.add(f'{where}: type {kind} is not explained')
    elif not isinstance(value, dict):
        out.add(f'{where}: {json.dumps(value)[:60]} is no {kind}')
    else:
        members = types[kind]
        for name, x in value.items():
            if name not in members:
                out.add(f'{where}.{name} is not documented under {kind}')
                continue
            seen.add((kind, name))
            check(types, members[name][0], x, f'{where}.{name}', out, seen)
        for name, (_, optional) in members.items():
            if not optional and name not in value:
                out.add(f'{where}.{name} is documented under {kind}, and absent')


def main():
    types, out, seen = read(sys.argv[1]), set(), set()
    for argument in sys.argv[2:]:
        kind, _, path = argument.partition('=')
        with open(path, encoding='utf-8') as f:
            check(types, kind, json.load(f), kind, out, seen)
    print('\n'.join(sorted(out)))
    unseen = sorted({kind for kind in types} - {kind for kind, _ in seen})
    if unseen:
        print('no output had:', ', '.join(unseen))
    return 1 if out or unseen else 0


if __name__ == '__main__':
    sys.exit(main())
