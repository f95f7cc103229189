#!/usr/bin/env bash
# fatune oracle on kernels that really run (OpenCL): fa_opencl departs nowhere, on any inputs, masks and tiles; every fault of a kernel with planted
# ones is blamed on its own stage and named; and the files are what numpy reads.
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/cli/common.bash"
export FATUNE_STORE=$work/f.db
opencl_smoke '[1, 2]'
data=$SOURCE_DIR/tests/data
astray=$data/spaces/astray.yaml
planted=(--device opencl --templates "$data/templates")

# fault N STAGE WHY WHERE OPTIONS...
fault() {
    local n=$1 stage=$2 why=$3 where=$4
    shift 4
    run 3 oracle "$astray" "${planted[@]}" --set "FAULT=$n" --json "$@"
    json "d['fate'] == 'OK' and d['report']['departs'] == '$stage' and not d['report']['hidden']"
    json "[(s['why'].startswith('$why'), '$where' in s['where'], s['bad'] > 0, len(s['worst']) > 0) for s in d['report']['stages'] if s['stage'] == '$stage'] == [(True, True, True, True)]"
}
run 0 oracle "$astray" "${planted[@]}" --batch 0 --head 0
says out '^no departure$'
says out 'the same O, bit for bit'
fault 1 S 'all scaled by one factor, 0.675' 'scaled'
json "[s['bad'] for s in d['report']['stages']][1:] == [0, 0, 0] and d['report']['error'] > 0.01" # what follows is right for a wrong S
fault 2 M 'no maximum is subtracted: the exponentials are taken against 0' everywhere
fault 3 O 'stale: as it was before key 64' 'columns whose index modulo 8 is 3'
fault 4 O 'not rescaled:' rows
fault 5 S 'masked too much: the mask is off by one' 'only key 75'
fault 6 S 'shifted: each holds what belongs 16 keys before it, as if the tile were a stale one' 'only keys 32 to 47'
fault 8 O 'the sum of weights is not rescaled' rows
fault 9 O 'keys 32 to 47 have the values of a tile beside theirs' rows
fault 10 P 'shifted: each holds what belongs 1 key behind it' 'index modulo 2 is 0'
fault 11 S NaN 'index modulo 16 is 5'
fault 12 S 'all scaled by one factor, 5.657: as if the scale were not applied' scaled
fault 1 S 'all scaled by one factor, 0.675' 'scaled' --head 1 --rows 60 --inputs growing_maximum
json "d['report']['tile'] == {'batch': 0, 'head': 1, 'row': 60, 'rows': 4} and {x['row'] for s in d['report']['stages'] for x in s['worst']} <= {60, 61, 62, 63}"
# A fault that watching mends.
run 3 oracle "$astray" "${planted[@]}" --set FAULT=7
says out '^the fault goes away when the kernel is watched'
says out 'differs from the debug build.s in 128 elements; 64 of its tile are wrong'

# fa_opencl, on every set of inputs; a causal mask, more queries than keys, grouped heads, bf16, keys that fill no tile.
sed -e 's/^name:.*/name: ragged/' -e 's/^  batch:.*/  batch: 2/' -e 's/^  heads:.*/  heads: 4\n  kv_heads: 2\n  seq_kv: 53/' -e 's/^  seq_q:.*/  seq_q: 70/' \
    -e 's/^  dtype:.*/  dtype: bf16/' -e 's/^  mask:.*/  mask: causal/' smoke.yaml >ragged.yaml
for set in plain large_logits dominant_key equal_rows growing_maximum shrinking_maximum offset_v; do
    run 0 oracle smoke.yaml --device opencl --inputs "$set" --json
    json "d['report']['departs'] is None and d['report']['inputs'] == '$set' and all(s['bad'] == 0 < s['cells'] for s in d['report']['stages'])"
    run 0 oracle ragged.yaml --device opencl --inputs "$set" --batch 1 --head 3 --rows 0:70 --json
    # Query i sees i - 16 keys: 17 rows none. A weight that is too small for a double is 0, as a masked one.
    json "d['report']['departs'] is None and [s['cells'] for s in d['report']['stages'] if s['stage'] != 'P'] == [sum(range(54)), sum(range(54)), 70 * 32]"
    json "0 < d['report']['stages'][2]['cells'] <= sum(range(54))"
    json "d['report']['ordinary'] == {'differs': 0, 'bad': 0}"
done

# The files: a head that says what they are, the numbers behind it. numpy, where it is there, reads them too.
run 0 oracle smoke.yaml --device opencl --rows 3:5 --out deep/er --json
json "d['folder'] == 'deep/er'"
python3 -B - deep/er <<'PYTHON' || fail "the files are not what they should be"
import array, ast, sys
shapes = {'s': (5, 64), 'p': (5, 64), 'm': (5, 64), 'o': (5, 32), 's_expected': (5, 64), 'p_expected': (5, 64), 'o_expected': (5, 32), 'o_true': (5, 32)}
numbers = {}
for name, shape in shapes.items():
    data = open(f'{sys.argv[1]}/{name}.npy', 'rb').read()
    assert data[:8] == b'\x93NUMPY\x01\x00', name
    end = 10 + int.from_bytes(data[8:10], 'little')
    head = ast.literal_eval(data[10:end].decode('latin1'))
    kind = '<f4' if len(name) == 1 else '<f8'
    assert end % 64 == 0 and data[end - 1:end] == b'\n' and head == {'descr': kind, 'fortran_order': False, 'shape': shape}, (name, head)
    numbers[name] = array.array('f' if kind == '<f4' else 'd', data[end:])
    assert len(numbers[name]) == shape[0] * shape[1], name
for x in 'spo':
    assert max(abs(a - b) for a, b in zip(numbers[x], numbers[x + '_expected'])) < 1e-3, x
assert max(numbers['s']) > 1 and abs(max(numbers['p']) - 1) < 1e-3 and all(m in numbers['s'] for m in numbers['m'])
try:
    import numpy
except ImportError:
    print('without numpy')
else:
    for name, shape in shapes.items():
        x = numpy.load(f'{sys.argv[1]}/{name}.npy')
        assert x.shape == shape and x.flatten().tolist() == list(numbers[name]), name
PYTHON
[ -z "$(ls -d ./cache/tile-* ./*/tile-* 2>/dev/null)" ] || fail "a folder is left: $(ls -d ./*/tile-*)"

# A version of the store.
run 0 run smoke.yaml --device opencl --evaluations 2 --minutes 0.2
run 0 oracle v1 --device opencl
says out "$work/oracle/v1$"
! grep -q '^  note' out || fail "the same code is called other code"
cp -r "$SOURCE_DIR/kernel_templates/fa_opencl" .
echo '/* changed since */' >>fa_opencl/kernel.cl
run 0 oracle v1 --device opencl --templates .
says out '^  note       the templates or the compiler make other code of this version today'
rm -r fa_opencl

# What cannot be asked.
run 2 oracle smoke.yaml --device opencl --rows 64
says err 'a head has 64 query rows'
run 2 oracle smoke.yaml --device opencl --rows 3:0
run 2 oracle smoke.yaml --device opencl --rows 1:2:3
says err '\--rows 128:64'
run 2 oracle smoke.yaml --device opencl --head 2
says err 'no head 2 of batch 0'
run 2 oracle smoke.yaml --device opencl --inputs plane
says err 'no inputs are called plane'
run 2 oracle v1 --set UNROLL=1
sed -e 's/^  seq_q:.*/  seq_q: 64\n  seq_kv: 100000/' smoke.yaml >long.yaml
run 2 oracle long.yaml --device opencl
says err 'rows 0:41 is the most here'
cp -r "$SOURCE_DIR/kernel_templates/fa_opencl" bare
sed -e 's/FATUNE_ORACLE/UNROLL_MORE/' bare/kernel.cl | sed 's/#ifdef UNROLL_MORE/#if 0/' >kernel.cl && mv kernel.cl bare/
sed -i 's/^name:.*/name: bare/' bare/template.yaml
sed 's/^templates:.*/templates: [bare]/' smoke.yaml >bare.yaml
run 3 oracle bare.yaml --device opencl
says err 'the template bare has no tile hooks.*kernel_templates/README.md'
# A kernel that does not run: its fate is told.
sed 's/for (int lane = 0, row = row0; lane < VEC; lane++, row++)/&; undeclared = 1;/' "$SOURCE_DIR/kernel_templates/fa_opencl/kernel.cl" >bare/kernel.cl
run 3 oracle bare.yaml --device opencl
says err 'the debug build of bare does not compile, and the ordinary one does: .*undeclared'

sed 's/vecf m = -INFINITY, l = 0.0f;/& undeclared = 1;/' "$SOURCE_DIR/kernel_templates/fa_opencl/kernel.cl" >bare/kernel.cl
run 3 oracle bare.yaml --device opencl
says out '^  fate       COMPILE$'
says out undeclared
sed 's/vecf m = -INFINITY, l = 0.0f;/& if (row0 == 0) *(volatile __global int *)(size_t)item = 1;/' "$SOURCE_DIR/kernel_templates/fa_opencl/kernel.cl" >bare/kernel.cl
run 3 oracle bare.yaml --device opencl --json
json "d['fate'] == 'CRASH' and 'report' not in d and 'signal' in d['log']"
[ -z "$(ls -d ./cache/tile-* ./*/tile-* 2>/dev/null)" ] || fail "a folder is left behind a crash"

# The same faults in CUDA C++ compile, where NVRTC is.
if "$FATUNE" devices 2>/dev/null | grep -q NVRTC || [ -n "$(ldconfig -p 2>/dev/null | grep nvrtc)" ]; then
    . "$SOURCE_DIR/tests/gpu/astray.bash"
    run 0 space astray_cuda.yaml --templates . --compile --arch sm_90a --json
    json "[t['fates'] for t in d['compilation']['templates']] == [{'OK': 26}]"
else
    echo "no NVRTC: the faults in CUDA were not compiled"
fi
exit $bad
