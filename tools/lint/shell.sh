#!/usr/bin/env bash
# Runs shellcheck over every script of the tree. SC2034 and SC2154 are off: variables cross between sourced files.
set -u
cd "$(dirname "$0")/../.." || exit 1
command -v shellcheck >/dev/null || { echo "no shellcheck (tools/setup.sh --test)"; exit 77; }
shopt -s nullglob globstar
files=(.ci/run tools/nightly/fatune-nightly tools/**/*.sh tests/*/*.sh tests/*/*.bash)
shellcheck --severity=warning --shell=bash --exclude=SC2034,SC2154 "${files[@]}" || exit 1
echo "${#files[@]} scripts"
