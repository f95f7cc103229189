"""Holds a report's page against its JSON: report.py JSON PAGE.html|PAGE.md [STORE]. Prints what is wrong; exit 1 when anything is.

Every number that a page prints must be a number of the JSON, rounded by the one rule of tuner/report_page.h, or stand inside a text of the JSON
that the page prints. HTML is also checked for its structure, and for needing nothing but itself."""
import html.parser
import json
import math
import re
import sqlite3
import sys

SECTIONS = ['champion', 'history', 'contestants', 'times', 'search', 'parameters', 'fates', 'roofline', 'nights', 'kept', 'sources']
VOID = {'meta', 'rect', 'circle', 'path', 'use', 'polygon', 'feFlood', 'feComposite', 'feflood', 'fecomposite'}
# What a page may hold; anything else came from somebody's text.
TAGS = set('html head meta title style body main header h1 h2 h3 p section div table caption thead tbody tr th td span strong figure figcaption '
           'svg g defs path use circle rect polygon polyline text filter feflood fecomposite'.split())


def rounded(x):
    size = abs(x)
    if x == round(x) and size < 1e15:
        return f'{x:.0f}'
    if size < 1 or size >= 1e15:
        return f'{x:.4g}'
    return f'{x:.{max(0, 3 - math.floor(math.log10(size)))}f}'


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.text, self.ids, self.tables, self.pictures = [], [], [], [], [], 0
        self.count = {}

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in TAGS:
            self.wrong.append(f'<{tag}> is not of the page')
        for name, value in attrs.items():
            if name.startswith('on') or name in ('src', 'data', 'action', 'srcset'):
                self.wrong.append(f'<{tag} {name}>')
            if name in ('href', 'xlink:href') and not value.startswith('#'):
                self.wrong.append(f'{name}="{value}"')
            if name == 'id':
                self.ids.append(value)
        if tag == 'svg':
            self.pictures += 1
            if attrs.get('role') != 'img' or not attrs.get('aria-label'):
                self.wrong.append('a picture without a text')
        if tag == 'table':
            self.tables.append({'caption': 0, 'col': 0, 'row': 0})
        if tag == 'caption':
            self.tables[-1]['caption'] += 1
        if tag == 'th':
            self.tables[-1][attrs.get('scope', 'row')] += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f'</{tag}> closes nothing')

    def handle_data(self, data):
        if not set(self.open) & {'style', 'svg', 'title'}:
            self.text.append(data)


def check_html(text):
    """(wrong, visible texts)"""
    page = Page()
    page.feed(text)
    page.close()
    wrong = page.wrong + [f'<{tag}> is not closed' for tag in page.open]
    for tag in ('html', 'title', 'h1', 'main', 'style'):
        if page.count.get(tag) != 1:
            wrong.append(f'{page.count.get(tag, 0)} of <{tag}>')
    wrong += [f'no section {name}' for name in SECTIONS if name not in page.ids]
    if len(page.ids) != len(set(page.ids)):
        wrong.append(f'ids that are there twice: {sorted({x for x in page.ids if page.ids.count(x) > 1})}')
    if [t for t in page.tables if t['caption'] != 1 or not t['col']]:
        wrong.append('a table without caption or headers')
    if re.search(r'https?:|@import|url\(|<script', text):
        wrong.append('an address of another, or a script')
    for needed in ('prefers-color-scheme: dark', '@media print', 'name="viewport"', 'lang="en"'):
        if needed not in text:
            wrong.append(f'no {needed}')
    return wrong, page.text


def check_markdown(text):
    titles = re.findall(r'^## (.+)$', text, re.M)
    wrong = [] if len(titles) == len(SECTIONS) else [f'{len(titles)} sections: {titles}']
    plain = [re.sub(r'\\(.)', r'\1', cell) for line in text.split('\n') for cell in line.split(' |') if not re.match(r'!\[|\|[-:|]+$', line)]
    return wrong, plain


def leaves(value, texts, numbers):
    if isinstance(value, dict):
        for name, x in value.items():
            texts.add(name)
            leaves(x, texts, numbers)
    elif isinstance(value, list):
        for x in value:
            leaves(x, texts, numbers)
    elif isinstance(value, str):
        texts.add(' '.join(value.split()))
        if re.match(r'\d{4}-\d\d-\d\dT', value):
            texts.add(value[:10])
        if re.fullmatch(r'[0-9a-f]{64}', value):
            texts.add(value[:12])
    elif value is not None and not isinstance(value, bool):
        numbers.add(str(value) if isinstance(value, int) else rounded(value))


def check_numbers(data, visible):
    texts, numbers, wrong = set(), set(), []
    leaves(data, texts, numbers)
    # A text that is a number alone does not excuse one.
    quoted = sorted((re.sub(r'[\x00-\x1f\x7f]', '?', t) for t in texts if re.search(r'\d', t) and not re.fullmatch(r'-?[\d.]+', t)),
                    key=len, reverse=True)
    quoted = [(t, re.compile(r'(?<![\w.])' + re.escape(t) + r'(?!\w|\.\d)')) for t in quoted]
    seen = 0
    for text in visible:
        rest = ' '.join(re.sub(r'[\x00-\x1f\x7f]', '?', text.replace('\n', ' ')).split())
        for quote, pattern in quoted:
            if quote in rest:
                rest = pattern.sub(' ', rest)
        for number in re.findall(r'-?\d+(?:\.\d+)?(?:e[-+]?\d+)?', rest):
            seen += 1
            if number not in numbers and number.lstrip('-') not in numbers:
                wrong.append(f'{number} is not in the JSON: {text.strip()[:100]}')
    if seen < 50:
        wrong.append(f'only {seen} numbers were seen')
    return wrong


def check_store(data, store):
    """Key numbers against the store itself."""
    wrong, db = [], sqlite3.connect(f'file:{store}?mode=ro', uri=True)
    rows = db.execute('SELECT v.name FROM champion c JOIN version v ON v.id = c.version WHERE c.track = ? ORDER BY c.id', (data['track'],))
    if [r[0] for r in rows] != [a['name'] for a in data['history']]:
        wrong.append('the history is not the store\'s')
    if data['evidence']:
        body = json.loads(db.execute('SELECT body FROM verdict WHERE trial = ?', (data['evidence']['trial'],)).fetchone()[0])
        if body['ratio'] != data['evidence']['verdict']['ratio'] or body['median_b_us'] != data['evidence']['gain']['us']:
            wrong.append('the verdict is not the store\'s')
        if abs(data['evidence']['gain']['times'] * body['ratio'] - 1) > 1e-12:
            wrong.append('times is not 1 / ratio')
        letters = [x for q in db.execute('SELECT baab, letter0, letter1, letter2, letter3 FROM quad q JOIN session s ON s.id = q.session '
                                         'WHERE s.trial = ? AND NOT discarded ORDER BY s.number, q.number', (data['evidence']['trial'],))
                   for x in ((q[1], q[4]) if q[0] else (q[2], q[3]))]
        if letters != data['letters']['b']['us'] or sorted(letters)[0] != data['letters']['b']['least_us']:
            wrong.append('the letters are not the store\'s')
    if data['search']:
        fates = dict(db.execute('SELECT fate, count(*) FROM evaluation WHERE run = ? GROUP BY fate', (data['search']['run'],)))
        best = db.execute('SELECT min(us) FROM evaluation WHERE run = ?', (data['search']['run'],)).fetchone()[0]
        if fates != data['search']['fates'] or best != data['search']['best'][-1]['us']:
            wrong.append('fates or best score are not the store\'s')
    return wrong


def main():
    data = json.load(open(sys.argv[1], encoding='utf-8'))
    text = open(sys.argv[2], encoding='utf-8').read()
    wrong, visible = check_html(text) if sys.argv[2].endswith('.html') else check_markdown(text)
    wrong += check_numbers(data, visible)
    if len(sys.argv) > 3:
        wrong += check_store(data, sys.argv[3])
    print('\n'.join(wrong))
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
