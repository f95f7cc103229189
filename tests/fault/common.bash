# shellcheck shell=bash
# For the scripts in tests/fault and tests/gpu: a folder that goes away, processes that do not stay behind, and questions to a
# store. Everything that a script starts carries FATUNE_FAULT_TEST, so that it is found however it was orphaned.
set -eu
command -v python3 >/dev/null && python3 -c 'import sqlite3' 2>/dev/null || { echo "no python3 with sqlite3 (tools/setup.sh --test)"; exit 77; }
bad=0
fail() { echo "FAIL: $*"; bad=1; }
work=$(mktemp -d)
export FATUNE_FAULT_TEST=$work NO_COLOR=1
unset FATUNE_STORE FATUNE_DEADLINE_S

# Processes started by this script that are still there; with "workers" only workers.
alive() {
    local file
    for file in $(grep -lzsxF "FATUNE_FAULT_TEST=$work" /proc/[0-9]*/environ 2>/dev/null || true); do
        grep -qzs '^FATUNE_SUPERVISOR=' "$file" || [ "${1:-}" = workers ] || grep -qzs 'fatune' "${file%environ}cmdline" || continue
        grep -qzs '^FATUNE_SUPERVISOR=' "$file" || [ "${1:-}" != workers ] || continue
        file=${file#/proc/}
        echo "${file%/environ}"
    done
}

# No worker is left after at most 2 s.
no_workers() {
    local i pid
    for ((i = 0; i < 20; i++)); do
        [ -n "$(alive workers)" ] || return 0
        sleep 0.1
    done
    for pid in $(alive workers); do
        fail "$1: worker $pid survives: $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"
        kill -9 "$pid" 2>/dev/null || true
    done
}

cleanup() {
    local pid
    for pid in $(alive); do kill -9 "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

# store QUESTION STORE: see store.py.
store() { python3 -B "$SOURCE_DIR/tests/fault/store.py" "$@"; }
