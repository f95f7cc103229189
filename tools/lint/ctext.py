"""Plain views of C text for the lint scripts: no comments, no strings, same line numbers."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]

_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code(text):
    """The text with comments blanked and literals emptied; every newline stays where it is."""

    def blank(match):
        token = match.group(0)
        if token[0] == '/':
            return ' ' + '\n' * token.count('\n')
        return token[0] + token[0]

    return _TOKEN.sub(blank, text)


def includes(text):
    """(line, name, is_system) of every #include, comments left out."""
    plain = _TOKEN.sub(lambda m: m.group(0) if m.group(0)[0] == '"' else re.sub(r'[^\n]', ' ', m.group(0)), text)
    for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', plain, re.M):
        yield plain.count('\n', 0, match.start()) + 1, match.group(2), match.group(1) == '<'


def functions(text):
    """(first line, last line, name) of every function body, by the style's brace alone in the first column."""
    lines = code(text).split('\n')
    start = None
    for number, line in enumerate(lines, 1):
        if line.rstrip() == '{':
            start = number
        elif line.startswith('}') and start is not None:
            head = ' '.join(lines[max(0, start - 6):start - 1])
            names = re.findall(r'([A-Za-z_]\w*)\s*\(', head)
            yield start, number, names[-1] if names else '?'
            start = None
