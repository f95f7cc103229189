#!/usr/bin/env bash
# The shipped contestants' arithmetic on the CPU against float64, as far as PyTorch and Triton go without a GPU: the Triton kernel by its
# interpreter, SDPA and flex_attention by their CPU code, and the tensor sets.
. "$SOURCE_DIR/tests/cli/common.bash"
command -v python3 >/dev/null || skip "no python3"
for package in torch triton numpy; do
    python3 -c "import $package" 2>/dev/null || skip "no Python package $package: pip install torch triton numpy"
done
export TRITON_CACHE_DIR=$work/triton OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
for interpret in 1 0; do
    TRITON_INTERPRET=$interpret python3 -B "$SOURCE_DIR/tests/cli/shipped_contestants_torch.py" "$SOURCE_DIR/tools/contestants"
done
