"""A store of one A/A trial whose noise is known. usage: noise_known.py STORE"""
import math
import random
import sqlite3
import struct
import sys

SESSIONS, QUADS, M = 40, 20, 5
EFFECT, AR, PHI, WHITE, SPIKES, HEIGHT, FIRST, BIAS = 0.001, 0.004, 0.9, 0.002, 0.02, 0.1, 0.01, 0.003

draw = random.Random(5)
db = sqlite3.connect(sys.argv[1])
db.executescript('''CREATE TABLE trial(id INTEGER PRIMARY KEY, kind, a, b, settings); CREATE TABLE session(id INTEGER PRIMARY KEY, trial, number);
                    CREATE TABLE quad(id INTEGER PRIMARY KEY, session, number, baab, discarded); CREATE TABLE series(quad, samples);''')
db.execute("INSERT INTO trial VALUES(1, 'ab', 1, 1, ?)", (f'{{"m":{M}}}',))
db.execute("INSERT INTO trial VALUES(2, 'ab', 1, 2, ?)", (f'{{"m":{M}}}',))  # of two kernels: says nothing about noise
for s in range(SESSIONS):
    session = db.execute('INSERT INTO session VALUES(NULL, 1, ?)', (s,)).lastrowid
    arm = {'A': draw.gauss(0, EFFECT), 'B': BIAS + draw.gauss(0, EFFECT)}
    ar = draw.gauss(0, AR)
    for q in range(QUADS):
        baab, samples = q % 2, []
        for letter in 'BAAB' if baab else 'ABBA':
            for _ in range(M):
                ar = PHI * ar + AR * math.sqrt(1 - PHI * PHI) * draw.gauss(0, 1)
                spike = math.log1p(HEIGHT) if draw.random() < SPIKES else 0
                samples.append(100 * math.exp(arm[letter] + ar + draw.gauss(0, WHITE) + spike + (0 if samples else FIRST)))
        quad = db.execute('INSERT INTO quad VALUES(NULL, ?, ?, ?, 0)', (session, q, baab)).lastrowid
        db.execute('INSERT INTO series VALUES(?, ?)', (quad, struct.pack(f'<{4 * M}d', *samples)))
db.commit()
