#!/usr/bin/env bash
# Installs what is missing, on Debian 12 and Ubuntu 24.04. Safe to run twice; touches nothing that is there.
#   tools/setup.sh [--build] [--run] [--test]     without options: --build --run
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
usage: tools/setup.sh [--build] [--run] [--test]
  --build   what compiling fatune needs
  --run     what running it on a machine without a GPU needs, and the plots of reports
  --test    what the test suite needs beside --build and --run
Without options: --build --run.
TEXT
}

want_build=0 want_run=0 want_test=0
for option in "$@"; do
    case $option in
    --build) want_build=1 ;;
    --run) want_run=1 ;;
    --test) want_test=1 ;;
    --help | -h) usage; exit 0 ;;
    *) echo "tools/setup.sh: unknown option $option" >&2; usage >&2; exit 2 ;;
    esac
done
[ $((want_build + want_run + want_test)) -gt 0 ] || want_build=1 want_run=1

# ---- is it there? What counts is the thing itself, not the package: a cmake from elsewhere is as good. ----
has() { # KIND:WHAT
    local what=${1#*:}
    case ${1%%:*} in
    cmd) command -v "$what" >/dev/null ;;
    cmake) command -v cmake >/dev/null && printf '%s\n3.25\n' "$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')" | sort -CVr ;;
    pc) command -v pkg-config >/dev/null && pkg-config --exists "$what" ;;
    header) echo "#include <$what>" | cc -E -xc++ - >/dev/null 2>&1 ;;
    lib) ldconfig -p 2>/dev/null | grep -q "$what" || /sbin/ldconfig -p 2>/dev/null | grep -q "$what" ;;
    icd) compgen -G '/etc/OpenCL/vendors/*.icd' >/dev/null || [ -n "${OCL_ICD_VENDORS:-}" ] ;;
    esac
}

missing=()
need() { # CHECK PACKAGE WHY
    has "$1" && return
    printf 'missing: %-20s %s\n' "$2" "$3"
    missing+=("$2")
}

if [ $want_build = 1 ]; then
    need cmd:gcc gcc "the C compiler"
    need cmd:g++ g++ "the C++ compiler, for the PCG random numbers"
    need header:stdio.h libc6-dev "the C library's headers"
    need cmake:3.25 cmake "the build system, 3.25 or newer"
    need cmd:ninja ninja-build "builds faster than make"
    need cmd:git git "names the commit in --version"
    need cmd:pkg-config pkg-config "finds the libraries"
    need cmd:readelf binutils "strips and checks the programs"
    need pc:yaml-0.1 libyaml-dev "reads spaces and manifests"
    need pc:gsl libgsl-dev "statistics"
    need header:pcg_random.hpp libpcg-cpp-dev "random numbers"
    need pc:lua5.4 liblua5.4-dev "constraint expressions"
    need pc:libuv libuv1-dev "worker processes"
    need pc:jansson libjansson-dev "JSON"
    need pc:sqlite3 libsqlite3-dev "the store"
    need pc:zlib zlib1g-dev "recorded spaces are kept as gzip"
    need pc:libsodium libsodium-dev "digests"
    need header:CL/cl.h opencl-headers "the OpenCL device"
fi
if [ $want_run = 1 ] || [ $want_test = 1 ]; then
    need lib:libOpenCL.so.1 ocl-icd-libopencl1 "finds OpenCL implementations"
    need icd:any pocl-opencl-icd "runs OpenCL kernels on the CPU"
    need cmd:gnuplot gnuplot-nox "plots in reports"
fi
if [ $want_test = 1 ]; then
    need pc:cmocka libcmocka-dev "unit tests"
    need cmd:clang clang "the second compiler"
    need cmd:clang-format-14 clang-format-14 "checks the style"
    need cmd:shellcheck shellcheck "checks the scripts"
    need cmd:python3 python3 "lint scripts"
    need cmd:sqlite3 sqlite3 "looks into stores"
    need cmd:xz xz-utils "opens stores of record"
fi

if [ $want_build = 1 ] && [ ! -e "${CUDA_HOME:-/usr/local/cuda}/include/nvrtc.h" ] && ! has header:nvrtc.h; then
    cat <<'TEXT'
note: no CUDA headers (cuda.h, nvrtc.h); the build goes on without the CUDA device. They are in NVIDIA's CUDA Toolkit,
      12.4 or newer: from NVIDIA's package repository (cuda-toolkit; https://developer.nvidia.com/cuda-downloads), or
      nvidia-cuda-toolkit in Debian's non-free and Ubuntu's multiverse, which is older. Then set CUDA_HOME if it is not
      /usr/local/cuda. This script installs neither.
TEXT
fi

if [ ${#missing[@]} -eq 0 ]; then
    echo "tools/setup.sh: nothing to do"
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "tools/setup.sh: no apt-get here. Install the equivalents of: ${missing[*]}" >&2
    exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    # A password may be asked for only where somebody can answer.
    if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        as_root=(sudo)
    else
        echo "tools/setup.sh: needs root to install these. Have someone who may run:" >&2
        echo "    apt-get update && apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
fi
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 "$@" </dev/null; }
apt update
# The style check is exact about its version. Where a distribution no longer has it, the test skips itself by name.
if ! apt-cache show clang-format-14 >/dev/null 2>&1; then
    kept=()
    for package in "${missing[@]}"; do
        if [ "$package" = clang-format-14 ]; then
            echo "note: this distribution has no clang-format-14; the style check will be skipped"
        else
            kept+=("$package")
        fi
    done
    missing=("${kept[@]}")
fi
[ ${#missing[@]} -eq 0 ] || apt install -y --no-install-recommends "${missing[@]}" >/dev/null
echo "tools/setup.sh: installed ${missing[*]:-nothing}"
