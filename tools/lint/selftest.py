#!/usr/bin/env python3
"""The lint scripts on texts that must be refused and texts that must pass: a lint that cannot fail proves nothing."""
import unittest

import ctext
import layers
import readme
import source

ROWS = layers.table()


def complaints(name, text):
    return [text for _, text in layers.check_file(name, text, ROWS)]


class Layers(unittest.TestCase):
    def refused(self, name, text, word):
        said = complaints(name, text)
        self.assertEqual(len(said), 1, said)
        self.assertIn(word, said[0])

    def test_upward(self):
        self.refused('stats.c', '#include "store.h"\n', 'may not include store')
        self.refused('device_cuda.c', '#include "check.h"\n', 'may not include check')
        self.refused('err.c', '#include "tune.h"\n', 'may not include tune')
        self.refused('verdict.c', '#include "race.h"\n', 'may not include race')
        self.refused('store.c', '#include "device.h"\n', 'may not include device')

    def test_downward(self):
        self.assertEqual(complaints('tune_confirm.c', '#include "tune.h"\n#include "verdict.h"\n#include "worker.h"\n'), [])
        self.assertEqual(complaints('check_law.c', '#include "check_private.h"\n#include "device.h"\n'), [])

    def test_libraries(self):
        self.refused('space.c', '#include <yaml.h>\n', 'yaml')
        self.refused('tune.c', '#include <sqlite3.h>\n', 'store')
        self.refused('worker.c', '#include <cuda.h>\n', 'device_cuda')
        self.refused('worker.c', '#include <CL/cl.h>\n', 'device_opencl')
        self.assertEqual(complaints('doc.c', '#include "doc.h"\n#include <yaml.h>\n'), [])

    def test_pure_and_quiet(self):
        self.refused('verdict.c', 'int x(void)\n{\n    return (int)time(0);\n}\n', 'pure')
        self.refused('bench.c', 'void x(void)\n{\n    printf("a");\n}\n', 'prints')
        self.refused('store.c', 'void x(void)\n{\n    exit(1);\n}\n', 'prints')
        self.assertEqual(complaints('search.c', 'void x(void)\n{\n    s->strategy->open(s);\n}\n'), [])
        self.assertEqual(complaints('bench.c', '/* printf("a") */ // exit(1)\nconst char *s = "exit(1)";\nvoid x(char *b)\n'
                                    '{\n    snprintf(b, 1, "");\n}\n'), [])
        self.assertEqual(complaints('cmd_run.c', 'void x(void)\n{\n    printf("a");\n}\n'), [])

    def test_unknown_module(self):
        self.refused('surprise.c', '', 'no row')

    def test_table_descends(self):
        for user, (layer, allowed) in ROWS.items():
            for used in allowed:
                if used != '*':
                    self.assertLessEqual(ROWS[used][0], layer, f'{user} -> {used}')

    def test_table_has_no_cycle(self):
        def reach(start):
            seen, todo = set(), [start]
            while todo:
                for used in ROWS:
                    if used != todo[0] and used not in seen and ROWS[used][0] and layers.may_include(ROWS, todo[0], used):
                        seen.add(used)
                        todo.append(used)
                todo.pop(0)
            return seen

        for module, (layer, _) in ROWS.items():
            if layer:
                self.assertNotIn(module, reach(module) - {module})
                for used in reach(module):
                    self.assertNotIn(module, reach(used), f'{module} <-> {used}')


class Source(unittest.TestCase):
    def test_banned(self):
        self.assertTrue(source.check_text('void f(char *d)\n{\n    strcpy(d, "x");\n}\n')[0][2])
        self.assertEqual(source.check_text('/* strcpy( */\nvoid f(char *d)\n{\n    x.system(d); my_strcpy(d);\n}\n'), [])

    def test_sizes(self):
        body = lambda n: 'int f(void)\n{\n' + '    f();\n' * n + '}\n'
        self.assertEqual(source.check_text(body(70)), [])
        self.assertEqual([fails for _, _, fails in source.check_text(body(90))], [False])
        self.assertEqual([fails for _, _, fails in source.check_text(body(130))], [True])
        self.assertTrue(any(fails for _, _, fails in source.check_text('int x;\n' * 801)))
        self.assertEqual([fails for _, _, fails in source.check_text('int x;\n' * 801, strict=False)], [False])

    def test_function_names(self):
        text = 'static int first(int a)\n{\n}\n\nint second(void)\n{\n}\n'
        self.assertEqual([name for _, _, name in ctext.functions(text)], ['first', 'second'])


class Readme(unittest.TestCase):
    TABLE = '| command | does |\n|---|---|\n| `fatune run SPACE` | x |\n| `fatune devices`, `fatune doctor` | y |\n'

    def test_commands(self):
        self.assertEqual(readme.readme_commands(self.TABLE), ['run', 'devices', 'doctor'])
        self.assertEqual(readme.readme_commands('no table, `fatune run` in prose\n'), [])
        self.assertEqual(readme.help_commands('usage: fatune COMMAND\n\ncommands:\n  run SPACE   search\n  doctor   says\n\n'
                                              'options:\n  --help  this\n'), ['run', 'doctor'])


if __name__ == '__main__':
    unittest.main()
