#!/usr/bin/env bash
# Every C file is as clang-format 14 leaves it. Other versions break lines differently, so they are not asked.
set -u
cd "$(dirname "$0")/../.." || exit 1
tool=
for name in clang-format-14 clang-format; do
    if command -v "$name" >/dev/null && "$name" --version | grep -q 'version 14\.'; then
        tool=$name
        break
    fi
done
if [ -z "$tool" ]; then
    echo "no clang-format 14 (tools/setup.sh --test)"
    exit 77
fi
shopt -s nullglob
files=(tuner/*.c tuner/*.h tuner/*.cc tests/*/*.c tests/*/*.h)
[ ${#files[@]} -gt 0 ] || { echo "no source files found"; exit 1; }
bad=0
for file in "${files[@]}"; do
    if ! "$tool" --dry-run -Werror "$file" 2>/dev/null; then
        echo "$file: run $tool -i on it"
        bad=$((bad + 1))
    fi
done
echo "${#files[@]} files, $bad not formatted"
[ "$bad" -eq 0 ]
