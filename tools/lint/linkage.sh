#!/usr/bin/env bash
# What the program asks of the machine when it starts. usage: linkage.sh native|portable PROGRAM SOURCE_DIR
#   native    no GPU library among its dependencies: those are opened by worker processes alone, at run time
#   portable  besides: nothing but libc and its parts, no symbol newer than GLIBC_MAX, no path of the build machine
set -u
mode=$1 program=$2 source_dir=$3
GLIBC_MAX=2.34 # RHEL 9; Ubuntu 22.04 and Debian 12 are newer
bad=0
say() { echo "$program: $1"; bad=1; }

needed=$(readelf -d "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
[ -n "$needed" ] || { echo "$program: readelf finds no dependencies"; exit 1; }
for library in $needed; do
    case $library in
    libcuda* | libnvrtc* | libnvidia* | libOpenCL* | libnvJitLink*) say "depends on $library" ;;
    esac
done
if [ "$mode" = portable ]; then
    for library in $needed; do
        case $library in
        libc.so.6 | libm.so.6 | libdl.so.2 | libpthread.so.0 | librt.so.1 | ld-linux*) ;;
        *) say "depends on $library" ;;
        esac
    done
    newest=$(readelf -W --dyn-syms --version-info "$program" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
    echo "newest glibc symbol: ${newest:-none}"
    if [ "$(printf '%s\n' "${newest#GLIBC_}" "$GLIBC_MAX" | sort -V | tail -n 1)" != "$GLIBC_MAX" ]; then
        say "needs $newest, at most GLIBC_$GLIBC_MAX"
    fi
    if grep -qaF "$source_dir/" "$program"; then
        say "holds the path of its source tree"
    fi
fi
exit $bad
