#!/usr/bin/env bash
# A disk that fills up at any point of a run: exit 5, a message that names the store and the free space, a sound store; and with room again
# the same command goes on to the same champion (row 30 of rows.txt).
#   full_disk.sh limit    files that may not grow (ulimit -f)
#   full_disk.sh tmpfs    a file system that is full; needs a namespace of our own to mount it in
# shellcheck disable=SC2154 # bad and work come from common.bash
if [ "${1:-}" = tmpfs ] && [ -z "${FATUNE_OWN_MOUNTS:-}" ]; then
    unshare --user --map-root-user --mount true 2>/dev/null || { echo "no file system can be mounted here (unshare --user --mount is refused)"; exit 77; }
    FATUNE_OWN_MOUNTS=1 exec unshare --user --map-root-user --mount bash "$0" tmpfs
fi
. "$SOURCE_DIR/tests/fault/common.bash"
[ -x "${FATUNE_FAKE:-}" ] || { echo "no fake device in this build"; exit 77; }
export FATUNE_FAKE_DEVICE=seed=3,noise=0.001

# tune STORE: its exit code in $rc.
tune() {
    rc=0
    "$FATUNE_FAKE" run "$SOURCE_DIR/tests/data/spaces/small.yaml" --device fake --evaluations 3 --store "$1" >"$work/out" 2>"$work/err" </dev/null || rc=$?
    no_workers "$1"
}

tune "$work/whole.db"
[ $rc -eq 0 ] || fail "a run with room enough: exit $rc"
champion=$(store champion "$work/whole.db")
# filled NAME STORE: what the run has to say that just met the end of its space.
filled() {
    [ $rc -eq 5 ] || fail "$1: exit $rc, expected 5: $(tail -n 2 "$work/err")"
    grep -q "^fatune:.*$(dirname "$2")" "$work/err" || fail "$1: the message does not name the path: $(tail -n 2 "$work/err")"
    grep -q '[0-9] .*free in' "$work/err" || fail "$1: it does not say how much is free: $(tail -n 2 "$work/err")"
    grep -q -- '--store FILE' "$work/err" || fail "$1: it does not say what to do: $(tail -n 2 "$work/err")"
}
goes_on() {
    tune "$2"
    [ $rc -eq 0 ] || fail "$1: with room again: exit $rc: $(tail -n 2 "$work/err")"
    store check "$2" >"$work/check" || fail "$1: $(cat "$work/check")"
    [ "$(store champion "$2")" = "$champion" ] || fail "$1: with room again the champion is $(store champion "$2"), expected $champion"
}

case ${1:-} in
limit)
    for blocks in 4 100 220 300 400; do # of 1024 bytes: the store of the whole run has about 480
        mkdir "$work/$blocks"
        (ulimit -S -f $blocks; tune "$work/$blocks/f.db"; echo $rc >"$work/rc")
        rc=$(cat "$work/rc")
        filled "files of at most $blocks kB" "$work/$blocks/f.db"
        goes_on "files of at most $blocks kB" "$work/$blocks/f.db"
    done
    ;;
tmpfs)
    for size in 40 160 280 400; do
        mkdir "$work/$size"
        mount -t tmpfs -o size=${size}k none "$work/$size" || { echo "no tmpfs can be mounted here"; exit 77; }
        tune "$work/$size/f.db"
        filled "a file system of $size kB" "$work/$size/f.db"
        mount -o remount,size=20m none "$work/$size"
        goes_on "a file system of $size kB" "$work/$size/f.db"
        umount "$work/$size"
    done
    ;;
*) fail "full_disk.sh limit|tmpfs" ;;
esac
[ $bad -ne 0 ] || echo "filled at four or five points of a run, and gone on"
exit $bad
