#!/usr/bin/env bash
# The shipped contestants' half of the line protocol: a contestant in plain Python is driven through it, without PyTorch or a GPU; and
# what the shipped ones say where PyTorch is not installed.
. "$SOURCE_DIR/tests/cli/common.bash"
command -v python3 >/dev/null || skip "no python3"
python3 -B "$SOURCE_DIR/tests/cli/shipped_contestants.py" "$SOURCE_DIR/tools/contestants" || bad=1
exit $bad
