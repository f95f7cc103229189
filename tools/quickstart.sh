#!/usr/bin/env bash
# From a fresh clone to a tuned kernel: installs what is missing, builds, tunes spaces/s512.yaml on this machine's device.
#   tools/quickstart.sh [OPTIONS OF fatune run]
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in --help | -h) sed -n '2,3s/^# *//p' "$0"; exit 0 ;; esac

bash tools/setup.sh --build --run
if command -v ninja >/dev/null; then
    export CMAKE_GENERATOR=Ninja
fi
cmake --preset default
cmake --build --preset default --parallel "$(nproc)"

echo
build/fatune devices || true # what is here, and what is missing; run below says whether it is enough
limits=()
# A GPU gets the budget that the space asks for. A CPU under OpenCL is thousands of times slower: a few minutes show the way.
if ! build/fatune devices --json 2>/dev/null | grep -q '"driver": *"cuda"'; then
    limits=(--minutes 4)
fi
echo
echo "build/fatune run spaces/s512.yaml ${limits[*]} $*"
build/fatune run spaces/s512.yaml "${limits[@]}" "$@"

cat <<'TEXT'

What next:
  build/fatune run spaces/s512.yaml        goes on from here; nothing measured is lost
  build/fatune champion show               what won, and by which evidence
  build/fatune space spaces/s512.yaml      what the space holds, and what excludes how much of it
  build/fatune --help                      everything else; README.md says more
TEXT
