#!/usr/bin/env bash
# Contestants on the fake device: planted times give planted relations, in run, compare and the records; who is wrong is named; who is not
# there is left out; names are found where they are said to be found; and the protocol is spoken as docs/CONTESTANTS.md has it.
. "$SOURCE_DIR/tests/cli/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || skip "no fake device in this build"
program=$FATUNE_FAKE
fake=$SOURCE_DIR/tests/data/contestants/fake
export FATUNE_STORE=$work/store/fatune.db FATUNE_FAKE_DEVICE=seed=3,noise=0.001

# space FILE LIST: the small space with these contestants.
space() { { cat "$SOURCE_DIR/tests/data/spaces/small.yaml"; printf 'contestants:\n'; cat; } >"$1"; }

# ---- a run: faster, slower, wrong, missing, unfit. The champion takes about 346 us.
mkdir sub
cp "$fake" sub/mine
space sub/s.yaml <<X
  - {name: slow, command: [./mine, --us, 700, --noise, 0.002, --log, slow.log]}
  - {name: quick, command: [./mine, --us, 100]}
  - {name: liar, command: [./mine, --us, 10, --fault, wrong]}
  - {name: absent, command: [./mine, --fault, "missing torch: pip install torch", --at, fatune]}
  - {name: picky, command: [./mine, --fault, "unfit only head_dim 64", --at, problem]}
