#!/usr/bin/env bash
# A sample of the shipped spaces' points compiles for three architectures, none of which need be here: no failure, no unexpected
# spill, shared memory within each one's limit, matrix instructions wherever the parameters ask for them.
. "$SOURCE_DIR/tests/cli/common.bash"
export FATUNE_STORE=$work/f.db
"$FATUNE" space "$SOURCE_DIR/spaces/smoke.yaml" --arch sm_89 --compile 1 >out 2>err || {
    [ $? -ne 4 ] || skip "NVRTC cannot be used: $(head -n 1 err)"
    cat out err
    exit 1
}
# sample SPACE ARCH SEED
sample() {
    run 0 space "$SOURCE_DIR/spaces/$1.yaml" --arch "$2" --compile 12 --seed "$3" --quiet --json
    json "{'fa_mma', 'fa_wmma'} == {t['template'] for t in d['compilation']['templates']}" || return
    json "all(t['fates'] == {'OK': 12} and t['spilling'] == [] for t in d['compilation']['templates'])"
    json "all(t['shared_bytes'][1] <= d['compilation']['shared_limit_bytes'] for t in d['compilation']['templates'])"
    json "all(t['without_tensor_ops'] == 0 for t in d['compilation']['templates'] if t['template'] == 'fa_mma')"
}
sample s512_causal sm_80 1
sample tail sm_89 2
sample s1024_gqa sm_90a 3
exit $bad
