#!/usr/bin/env bash
# A stranger's space and template on the real compilers, NVRTC and PoCL: whatever they try to read is refused with its place, the secret
# comes through nowhere, nothing is written outside the store's folder, and no program of theirs runs (row 5 of the fault list).
# shellcheck disable=SC2154 # bad and work come from common.bash
. "$SOURCE_DIR/tests/fault/common.bash"
secret=SECRET_$$_SECRET
cd "$work"
mkdir -p out mine/thief
# Not C: whoever includes it makes the compiler quote it.
echo "#error $secret" >secret.h
cp secret.h mine/mma.h # in the working directory of the run, where quoted headers are looked for first
cp secret.h mine/thief/mma.h
cd mine

# template LANGUAGE FILE INCLUDES: the kernel is on standard input.
template() {
    cat >"thief/$2"
    printf 'name: thief\nlanguage: %s\nsource: %s\nentry: att\nincludes: [%s]\nparams:\n  A: {values: [1, 2], default: 1, what: "one"}\n' "$1" "$2" "${3:-}" >thief/template.yaml
    printf 'launch:\n  grid: ["1", "1", "1"]\n  block: ["32", "1", "1"]\n  shared: "0"\narguments: [q, k, v, o]\n' >>thief/template.yaml
}
printf 'name: thief\nproblem: {op: attention_forward, batch: 1, heads: 1, seq_q: 32, head_dim: 32, dtype: f16}\ntemplates: [thief]\n' >s.yaml
cuda='extern "C" __global__ void att(const short *q, const short *k, const short *v, short *o) { o[0] = A; }'
opencl='__kernel void att(__global short *q, __global short *k, __global short *v, __global short *o) { o[0] = A; }'

# compile OPTIONS...: its words are in ../out/said, its exit code in rc.
compile() {
    rc=0
    "$FATUNE" space s.yaml --compile --quiet --json --store "$work/out/f.db" "$@" >"$work/out/said" 2>&1 </dev/null || rc=$?
}
# closed NAME: nothing of the secret came through, neither in words nor in binaries.
closed() {
    ! grep -rqF "$secret" "$work/out" || fail "$1: the secret came through: $(grep -rlF "$secret" "$work/out" | head -n 3)"
    rm -rf "$work/out"
    mkdir "$work/out"
}

# tried LANGUAGE NAME PATTERN: the head on standard input, in front of a sound kernel, is refused with its place.
tried() {
    local file=kernel.cu
    [ "$1" = cuda ] || file=kernel.cl
    { cat; [ "$1" = cuda ] && echo "$cuda" || echo "$opencl"; } | template "$1" $file "$([ "$1" = cuda ] && echo mma.h)"
    # shellcheck disable=SC2046 # two words
    compile $([ "$1" = cuda ] && echo --arch sm_80 || echo --device opencl)
    [ $rc -eq 3 ] || fail "$1, $2: exit $rc: $(head -c 300 "$work/out/said")"
    grep -q "thief/$file:[0-9]*:[0-9]*: $3" "$work/out/said" || fail "$1, $2: not refused with its place: $(head -c 300 "$work/out/said")"
    closed "$1, $2"
    count=$((count + 1))
}

# heads LANGUAGE: everything that has been thought of.
heads() {
    local file=$work/secret.h
    tried "$1" include '#include takes <name>' <<<"#include \"$file\""
    tried "$1" 'include in brackets' '`.*secret.h` is not among' <<<"#include <$file>"
    tried "$1" 'a header beside it' '#include takes <name>' <<<'#include "mma.h"'
    tried "$1" 'a macro' '#include needs the header' <<<$'#define X "mma.h"\n#include X'
    tried "$1" 'a continued word' '#include takes <name>' <<<$'#inc\\\nlude "'"$file"'"'
    tried "$1" 'a comment that is none' 'white space behind' <<<$'// c \\ \n#include "'"$file"'"'
    tried "$1" 'a digraph' '#include takes <name>' <<<"%:include \"$file\""
    tried "$1" 'a trigraph' 'trigraphs are refused' <<<"?""?=include \"$file\""
    tried "$1" 'a raw string' 'raw strings are refused' <<<$'const char *s = R"(/*)";\n#include "'"$file"'" /* */'
    tried "$1" 'a blank beyond ASCII' 'only ASCII' <<<$'\xc2\xa0#include "'"$file"'"'
    tried "$1" embed '#embed is not allowed' <<<$'const char s[] = {\n#embed "'"$file"$'"\n};'
    tried "$1" include_next '#include_next is not allowed' <<<"#include_next <mma.h>"
    tried "$1" import '#import is not allowed' <<<"#import \"$file\""
    tried "$1" line '#line is not allowed' <<<"#line 1 \"$file\""
    tried "$1" 'a line marker' '#1 is not allowed' <<<"# 1 \"$file\""
    tried "$1" '__has_include' '`__has_include` is not allowed' <<<$'#if __has_include("'"$file"$'")\n#endif'
    tried "$1" 'pasted __has_include' '`##` could make `__has_include`' <<<$'#define s_include\n#define C(a, b) a##b\n#if C(__ha, s_include)("'"$file"$'")\n#error yes\n#endif'
    tried "$1" pragma 'only #pragma' <<<"#pragma GCC dependency \"$file\""
    tried "$1" _Pragma 'only _Pragma' <<<"_Pragma(\"include_alias(\\\"mma.h\\\", \\\"$file\\\")\")"
}
count=0

# ---- NVRTC
template cuda kernel.cu <<<"$cuda"
compile --arch sm_80
if [ $rc -eq 0 ]; then
    heads cuda
    # ptxas reads assembly, and no file.
    for asm in '\n#include \"%s\"\n' '\n.include \"%s\"\n' '\n.incbin \"%s\"\n' '\n.file 7 \"%s\"\n.loc 7 1 1\n'; do
        # shellcheck disable=SC2059 # the formats above
        { printf '%s asm volatile("' "${cuda%\}}"; printf "${asm//\\n/\\\\n}" "$work/secret.h" | sed 's/"\([^"]*\)"/\\"\1\\"/'; printf '"); }\n'; } | template cuda kernel.cu
        compile --arch sm_80
        [ $rc -eq 3 ] || fail "assembly '$asm' compiles: $(head -c 300 "$work/out/said")"
        closed "assembly '$asm'"
        count=$((count + 1))
    done
else
    grep -q 'NVRTC\|no CUDA support' "$work/out/said" || fail "a sound kernel does not compile: $(head -c 300 "$work/out/said")"
    echo "no NVRTC: that part is left out"
fi

# ---- PoCL
rm -f thief/kernel.cu
template opencl kernel.cl <<<"$opencl"
compile --device opencl
if [ $rc -eq 0 ]; then
    heads opencl
    tried opencl assembly '`__asm__` is not allowed' <<<"__asm__(\".incbin \\\"$work/secret.h\\\"\");"
    tried opencl 'pasted assembly' '`##` could make `__asm__`' <<<$'#define C(a, b) a##b\nC(__as, m__)(".incbin \\"'"$work/secret.h"$'\\"");'
    # No function of the host's is there to be called.
    template opencl kernel.cl <<<"int system(__constant char *); ${opencl%\}} system(\"touch $work/ran\"); }"
    compile --device opencl
    [ $rc -eq 3 ] || fail "a kernel that calls system() compiles"
    [ ! -e "$work/ran" ] || fail "a kernel ran a program"
    closed "a function of the host"
else
    grep -q 'no device' "$work/out/said" || fail "a sound kernel does not compile: $(head -c 300 "$work/out/said")"
    echo "no OpenCL device: that part is left out"
fi
[ $count -gt 0 ] || { echo "neither NVRTC nor an OpenCL device"; exit $((bad ? 1 : 77)); }

# ---- names that lead elsewhere, and options that name files
template cuda kernel.cu <<<"$cuda"
cp -r thief ../other
for name in ../other "$work/other" ../../etc; do
    sed "s,^templates:.*,templates: [\"$name\"]," s.yaml >path.yaml
    rc=0
    "$FATUNE" space path.yaml --arch sm_80 >"$work/out/said" 2>&1 || rc=$?
    [ $rc -eq 3 ] && grep -q 'path.yaml:[0-9]*:[0-9]*: ' "$work/out/said" || fail "template $name: exit $rc: $(head -c 200 "$work/out/said")"
done
for name in ../../x a/b .. .hidden; do
    sed "s,^name:.*,name: \"$name\"," s.yaml >name.yaml
    rc=0
    "$FATUNE" space name.yaml --arch sm_80 >"$work/out/said" 2>&1 || rc=$?
    [ $rc -eq 3 ] && grep -q 'name.yaml:1:[0-9]*: ' "$work/out/said" || fail "a space called $name: exit $rc: $(head -c 200 "$work/out/said")"
done
for option in -I/etc --include-path=/etc "--pre-include=$work/secret.h" "-include $work/secret.h" --pch-dir=/tmp --ptxas-options=--input-as-string \
    "-optf=$work/secret.h" -Xptxas=-v --maxrregcount=32,x --time=/tmp/x @x; do
    cp thief/template.yaml kept.yaml
    echo "options: [\"$option\"]" >>thief/template.yaml
    rc=0
    "$FATUNE" space s.yaml --arch sm_80 >"$work/out/said" 2>&1 || rc=$?
    [ $rc -eq 3 ] && grep -q 'template.yaml:[0-9]*:[0-9]*: compiler option' "$work/out/said" || fail "option $option: exit $rc: $(head -c 200 "$work/out/said")"
    mv kept.yaml thief/template.yaml
done
# Links in the folder lead nowhere.
for file in template.yaml kernel.cu; do
    mv "thief/$file" kept
    ln -s "$work/secret.h" "thief/$file"
    rc=0
    "$FATUNE" space s.yaml --arch sm_80 >"$work/out/said" 2>&1 || rc=$?
    [ $rc -eq 3 ] && grep -q "thief/$file is a link" "$work/out/said" || fail "$file is a link: exit $rc: $(head -c 200 "$work/out/said")"
    mv -f kept "thief/$file"
done
closed "names, options and links"
rm -rf "$work/out" "$work/mine" "$work/other" "$work/secret.h"
[ -z "$(ls -A "$work")" ] || fail "something was written elsewhere: $(ls -A "$work")"
[ $bad -ne 0 ] || echo "$count ways to read a file are closed, and 22 names, options and links"
exit $bad
