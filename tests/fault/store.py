#!/usr/bin/env python3
"""Questions that the fault tests ask a store: store.py fates|points|champion|proofs|check|order|floods STORE, count STORE TABLE, or
log STORE FAULT."""
import json
import sqlite3
import sys

APPEND_ONLY = ['environment', 'space', 'candidate', 'evaluation', 'proof', 'trial', 'session', 'quad', 'series', 'verdict', 'version', 'champion', 'night']


def connect(path):
    db = sqlite3.connect(f'file:{path}?mode=rw', uri=True, timeout=10)
    db.row_factory = sqlite3.Row
    return db


def fates(db):
    """(FAULT, fate) of every evaluation that was measured itself."""
    rows = db.execute('SELECT c.params, e.fate FROM evaluation e JOIN candidate c ON c.id = e.candidate WHERE e.alias_of IS NULL')
    return sorted({(json.loads(r['params'])['params']['FAULT'], r['fate']) for r in rows})


def points(db):
    """How many points were evaluated, good ones (FAULT 0) and others, as text."""
    rows = db.execute('SELECT DISTINCT c.params FROM evaluation e JOIN candidate c ON c.id = e.candidate')
    good = [json.loads(r['params'])['params']['FAULT'] == 0 for r in rows]
    return f'{sum(good)} good, {good.count(False)} hostile'


def champion(db):
    """Parameters of the newest version that was made champion, as text."""
    row = db.execute('SELECT c.params FROM champion h JOIN version v ON v.id = h.version JOIN candidate c ON c.id = v.candidate '
                     'ORDER BY h.id DESC LIMIT 1').fetchone()
    return json.dumps(json.loads(row['params']), sort_keys=True) if row else 'none'


def proofs(db):
    rows = db.execute("SELECT c.params, p.fate FROM proof p JOIN candidate c ON c.id = p.candidate WHERE p.level = 'full'")
    return sorted({(json.loads(r['params'])['params'].get('FAULT', 0), r['fate']) for r in rows})


def log(db, fault):
    """What is told of the failure of the points with this fault."""
    rows = db.execute('SELECT c.params, e.log FROM evaluation e JOIN candidate c ON c.id = e.candidate ORDER BY e.id')
    return '\n'.join(r['log'] or '' for r in rows if json.loads(r['params'])['params']['FAULT'] == fault)


def floods(db):
    """FAULT of the evaluations that printed more than is kept."""
    rows = db.execute("SELECT c.params, json_extract(e.detail, '$.printed_bytes') AS n FROM evaluation e JOIN candidate c ON c.id = e.candidate")
    return [json.loads(r['params'])['params']['FAULT'] for r in rows if r['n']]


def order(db):
    """What the search asked for, where each proposal of a run must be answered once, in order; None when it is not so."""
    runs = {}
    for run, seq in db.execute('SELECT run, seq FROM evaluation ORDER BY run, seq'):
        runs.setdefault(run, []).append(seq)
    if any(s != list(range(len(s))) for s in runs.values()):
        return None
    (n, points, aliases), = db.execute('SELECT count(*), count(DISTINCT candidate), count(alias_of) FROM evaluation')
    return f'{n} proposals, {points} points, {aliases} aliases'


def broken(db):
    """What is wrong with a store that was just opened: damage, loose ends, halves of a transaction. Empty when sound."""
    said = [r[0] for r in db.execute('PRAGMA quick_check') if r[0] != 'ok']
    said += [f'foreign key: {tuple(r)}' for r in db.execute('PRAGMA foreign_key_check')]
    for session, have, want in db.execute(
            "SELECT s.id, (SELECT count(*) FROM quad q WHERE q.session = s.id), json_extract(t.settings, '$.quads') "
            'FROM session s JOIN trial t ON t.id = s.trial'):
        if have != want:
            said.append(f'session {session} has {have} of {want} quads')
    for quad, in db.execute('SELECT id FROM quad WHERE id NOT IN (SELECT quad FROM series WHERE quad IS NOT NULL)'):
        said.append(f'quad {quad} has no samples')
    for name, in db.execute('SELECT name FROM version WHERE id NOT IN (SELECT version FROM champion)'):
        said.append(f'version {name} was never champion')
    return said


def rows(db):
    """Everything that must stay as it is once it was committed."""
    kept = {(table, tuple(r)) for table in APPEND_ONLY for r in db.execute(f'SELECT * FROM {table}')}
    kept |= {('run', r[0], r[1], r[2]) for r in db.execute('SELECT id, key, track FROM run')}
    # a race that was cut off is run anew; one that is over stays
    kept |= {('race', tuple(r)) for r in db.execute("SELECT race.* FROM race JOIN run ON run.id = race.run WHERE run.state IN ('confirm', 'done')")}
    return kept


def sizes(db):
    """Rows of each table."""
    return {table: db.execute(f'SELECT count(*) FROM {table}').fetchone()[0] for table in (*APPEND_ONLY, 'run', 'race')}


def main():
    question, path = sys.argv[1], sys.argv[2]
    db = connect(path)
    if question == 'fates' or question == 'proofs':
        for fault, fate in (fates if question == 'fates' else proofs)(db):
            print(fault, fate)
    elif question == 'points':
        print(points(db))
    elif question == 'champion':
        print(champion(db))
    elif question == 'count':
        print(db.execute(f'SELECT count(*) FROM {sys.argv[3]}').fetchone()[0])
    elif question == 'log':
        print(log(db, int(sys.argv[3])))
    elif question == 'floods':
        print(*floods(db))
    elif question == 'order':
        said = order(db)
        print(said or 'a proposal is missing')
        return 0 if said else 1
    elif question == 'check':
        said = broken(db)
        print('\n'.join(said) or 'sound')
        return 1 if said else 0
    return 0


if __name__ == '__main__':
    sys.exit(main())
