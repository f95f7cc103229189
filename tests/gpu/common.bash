# shellcheck shell=bash
# For the scripts in tests/gpu, after tests/fault/common.bash: is there a GPU, and is it free and sound?
"$FATUNE" devices --json 2>/dev/null | grep -q '"driver": *"cuda"' || { echo "no CUDA device"; exit 77; }

# Compute processes on the GPUs, as far as the driver shows them.
on_gpu() { nvidia-smi --query-compute-apps=pid --format=csv,noheader 2>/dev/null | grep -c '[0-9]' || true; }
on_gpu_before=$(on_gpu)

# gpu_is_sound WHEN SPACE OPTIONS...: nobody is left on it, and a kernel gives the right result.
gpu_is_sound() {
    local when=$1 i
    shift
    for ((i = 0; i < 20 && $(on_gpu) > on_gpu_before; i++)); do sleep 0.1; done
    [ "$(on_gpu)" -le "$on_gpu_before" ] || fail "$when: $(nvidia-smi --query-compute-apps=pid,name --format=csv,noheader)"
    "$FATUNE" eval "$@" --device cuda --store "$work/sound.db" --json >"$work/sound" 2>&1 </dev/null || fail "$when: eval: $(tail -n 3 "$work/sound")"
    grep -q '"fate": *"OK"' "$work/sound" || fail "$when: a good kernel is not: $(head -c 500 "$work/sound")"
}
