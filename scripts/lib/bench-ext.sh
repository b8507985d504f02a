# shellcheck shell=bash
# What scripts/bench measures of the builder of ext4 images. Sourced after
# benchrun.sh. There is no codec; the sets of data stand in its place:
#
#   files   200,000 small files in directories of a hundred, and one of 20,000
#   share   /usr/share of this machine, or the directory RELIVE_BENCH_DIR; not
#           with --quick
#
#   peer    mke2fs -d
#   output  mkfs.Build of the same directory, synced
#
# What was built is checked by e2fsck, mounted and compared with the directory.
# In the end the tests of extfs/mkfs run at full scale: 200,000 files with names of 255
# bytes, files of 8 GiB, images of 8 MiB to 40 GiB, and a million files for the
# memory that they take.

# shellcheck disable=SC2034  # scripts/bench goes over CODECS
ext_data() {
    CODECS=(files)
    [[ $SIZE != full ]] || CODECS+=(share)
    need go mke2fs
    go test -c -o "$DATA/mkfs.test" ./extfs/mkfs
    if [[ ! -e $DATA/files.made ]]; then
        say "making files"
        rm -rf "$DATA/files"
        python3 - "$DATA/files" "$([[ $SIZE == full ]] && echo 200000 || echo 5000)" <<'PYTHON'
import os, sys
root, n = sys.argv[1], int(sys.argv[2])
def put(path, i):
    with open(path, "wb") as f:
        f.write(b"%d\n" % i * (i * 37 % 400))
for i in range(n):
    d = "%s/many/%05d" % (root, i // 100)
    if i % 100 == 0:
        os.makedirs(d)
    put("%s/file-%03d" % (d, i % 100), i)
os.makedirs(root + "/wide")
for i in range(n // 10):
    put("%s/wide/a name of some length, %06d" % (root, i), i)
PYTHON
        touch "$DATA/files.made"
    fi
}

# ext_source SET: its directory.
ext_source() {
    case $1 in
    files) echo "$DATA/files" ;;
    share) echo "${RELIVE_BENCH_DIR:-/usr/share}" ;;
    esac
}

EXT_SIZE=$((8 << 30))

ext_peer() {
    local dir
    dir=$(ext_source "$1")
    # Both find the files in the cache, which is the best for either.
    find "$dir" -type f -exec cat {} + >/dev/null
    fresh_work
    truncate -s "$EXT_SIZE" "$OUT/work/peer.img"
    measure "$1" peer "$OUT/work/peer.img" mke2fs -q -F -t ext4 -d "$dir" "$OUT/work/peer.img"
    rm "$OUT/work/peer.img"
}

ext_limit() { :; }

ext_output() {
    rm -f "$OUT/work/ours.img"
    measure "$1" output "$OUT/work/ours.img" env RELIVE_BENCH_DIR="$(ext_source "$1")" RELIVE_BENCH_IMAGE="$OUT/work/ours.img" \
        "$DATA/mkfs.test" -test.run '^$' -test.bench '^BenchmarkBuildHost$' -test.benchtime 1x
}

ext_rest() {
    local before=${#MOUNTED[@]} dir
    dir=$(ext_source "$1")
    e2fsck -fn "$OUT/work/ours.img" >"$OUT/e2fsck.log" 2>&1 || die "$1: the image does not pass e2fsck, see $OUT/e2fsck.log"
    mount_at "$DATA/_mnt/ours" -t ext4 -o ro,loop "$OUT/work/ours.img"
    manifest "$dir" "$OUT/want.jsonl"
    manifest "$DATA/_mnt/ours" "$OUT/got.jsonl" '/lost+found*'
    unmount_down_to "$before"
    python3 scripts/manifest.py diff "$OUT/want.jsonl" "$OUT/got.jsonl" || die "$1: the image does not hold what the directory does"
    say "$1: the image holds the directory"
}

ext_end() {
    local scale=full
    [[ $SIZE == full ]] || scale=small
    say "the tests of extfs/mkfs, $scale scale"
    (cd extfs/mkfs && RELIVE_SCALE=$scale "$DATA/mkfs.test" -test.run '^TestScale|^TestBuildManyFiles' -test.v) >"$OUT/scale.log" 2>&1 || {
        tail -n 30 "$OUT/scale.log" >&2
        die "a test of extfs/mkfs at $scale scale fails, see $OUT/scale.log"
    }
    grep -E 'files.*memory' "$OUT/scale.log"
}

ext_report() { report; }
