#!/usr/bin/env bash
# A stranger's template: a folder copied under a new name, with a parameter more, used by a space beside it and by --templates.
# The program is the one that was built before the template existed.
. "$SOURCE_DIR/tests/cli/common.bash"

# stranger FROM NAME KERNEL: a template with one parameter more, ORDER, which the kernel uses.
stranger() {
    mkdir -p "$work/mine"
    cp -r "$SOURCE_DIR/kernel_templates/$1" "$work/mine/$2"
    sed -i -e "s/^name: .*/name: $2/" \
        -e 's/^params:/&\n  ORDER: {values: [0, 1], default: 0, what: "heads from the first to the last (0) or back (1)"}/' "$work/mine/$2/template.yaml"
    {
        printf '#ifndef ORDER\n#define ORDER 0\n#endif\n'
        cat "$work/mine/$2/$3"
        printf '\n#if ORDER == 1\n/* a stranger was here */\n#endif\n'
    } >kernel
    mv kernel "$work/mine/$2/$3"
}
space() { # TEMPLATE: a space of few points that names it
    sed -e "s/^templates:.*/templates: [$1]/" -e 's/^  WARPS:.*/  ORDER: [0, 1]/' -e 's/^  BLOCK_M:.*/  BLOCK_M: [64]/' "$SOURCE_DIR/tests/data/spaces/small.yaml"
}

if [ -x "${FATUNE_FAKE:-}" ]; then
    program=$FATUNE_FAKE
    stranger fa_wmma my_wmma kernel.cu
    space my_wmma >cuda.yaml
    run 3 run cuda.yaml --device fake
    says err 'cuda.yaml:[0-9]*:[0-9]*: no template `my_wmma`.*did you mean `fa_wmma`'
    [ ! -e results ] || fail "a space that is refused leaves a store"
    run 0 space cuda.yaml --device fake --templates mine
    says out 'ORDER *0 1 *heads from the first'
    run 0 run cuda.yaml --device fake --templates mine --json
    json "d['champion']['params']['template'] == 'my_wmma' and d['champion']['params']['params']['ORDER'] in (0, 1)"
    run 0 eval cuda.yaml --device fake --templates mine --set ORDER=1
    says out '^my_wmma ORDER=1 '
    run 0 show v1 --source
    says out 'a stranger was here'
    says out '^#define ORDER [01]$'
    # Beside the space no option is needed.
    cp cuda.yaml mine/
    run 0 eval mine/cuda.yaml --device fake
    # A template that changes is another run, and its old champion is not measured as if it were the new one.
    echo '/* changed */' >>mine/my_wmma/kernel.cu
    run 3 run cuda.yaml --device fake --templates mine
    says err 'template of the standing champion v1 has changed.*'
    says err 'champion revoke'
else
    echo "no fake device in this build"
fi

program=$FATUNE
run 0 devices --json
if python3 -B -c 'import json; exit(not any(d["driver"] == "opencl" for d in json.load(open("out"))["devices"]))'; then
    stranger fa_opencl my_opencl kernel.cl
    space my_opencl >opencl.yaml
    run 0 eval opencl.yaml --device opencl --templates mine --set ORDER=1 --json
    json "d['fate'] == 'OK' and d['candidate'].startswith('my_opencl ORDER=1 ')"
    # What the stranger gets wrong is told with its place in his file.
    sed -i 's/a stranger was here \*\//& this is no C/' mine/my_opencl/kernel.cl
    run 0 eval opencl.yaml --device opencl --templates mine --set ORDER=1 --json
    json "d['fate'] == 'COMPILE' and 'kernel.cl' in d['log'] or d['fate'] == 'COMPILE' and 'error' in d['log']"
    run 0 eval opencl.yaml --device opencl --templates mine --set ORDER=0 --json
    json "d['fate'] == 'OK'"
else
    echo "no OpenCL device: the OpenCL part is left out"
fi
exit $bad
