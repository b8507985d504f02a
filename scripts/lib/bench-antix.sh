# shellcheck shell=bash
# What scripts/bench measures of antiX's linuxfs and rootfs. Sourced after
# benchrun.sh and benchdata.sh.
#
#   peer    overlay mount, then mksquashfs of it with the base's codec and block size
#   limit   cp of the base, then mksquashfs of the upper layer alone
#   output  relive compact -o FILE
#   whole   relive compact DIR

antix_data() {
    local codec
    make_bases "${CODECS[@]}"
    make_rootfs "${CODECS[0]}"
    for codec in "${CODECS[@]}"; do
        make_live "$DATA/live.$codec" "$codec" link
    done
}

# mount_view CODEC: the overlay of base and upper at _mnt/view, read-only: both
# as lower layers show the same tree and leave the image as it is.
mount_view() {
    local mnt=$DATA/_mnt
    forget "$DATA/base.$1.sqfs" "$DATA/rootfs"
    mount_at "$mnt/base" -t squashfs -o ro,loop "$DATA/base.$1.sqfs"
    mount_at "$mnt/rootfs" -t ext4 -o ro,loop "$DATA/rootfs"
    mount_at "$mnt/view" -t overlay -o "ro,lowerdir=$mnt/rootfs/upper:$mnt/base" overlay
}

# antix_manifest ROOT FILE: without what a merge sets anew.
antix_manifest() { manifest "$1" "$2" '/etc/live/version*' '/etc/live/protect/remaster'; }

# antix_check CODEC IMAGE: the kernel's view of the image equals the overlay's.
antix_check() {
    local codec=$1 image=$2 before=${#MOUNTED[@]}
    if [[ ! $DATA/view.jsonl -nt $DATA/rootfs ]]; then
        mount_view "$codec"
        antix_manifest "$DATA/_mnt/view" "$OUT/view.part"
        unmount_down_to "$before"
        mv "$OUT/view.part" "$DATA/view.jsonl"
    fi
    mount_at "$DATA/_mnt/new" -t squashfs -o ro,loop "$image"
    antix_manifest "$DATA/_mnt/new" "$OUT/new.jsonl"
    unmount_down_to "$before"
    python3 scripts/manifest.py diff --squashfs "$DATA/view.jsonl" "$OUT/new.jsonl" ||
        die "$codec: the compacted image is not what the overlay shows"
    say "$codec: $(basename "$image") equals the overlay"
}

antix_peer() {
    local codec=$1 before=${#MOUNTED[@]}
    kept_peer "$codec" "$DATA/rootfs" "$DATA/base.$codec.sqfs" && return
    fresh_work
    mount_view "$codec"
    measure "$codec" peer "$OUT/work/peer" sh -c \
        "mksquashfs '$DATA/_mnt/view' '$OUT/work/peer' -comp $codec -b $BLOCK -processors $(nproc) -no-progress -quiet &&
         sync '$OUT/work/peer'"
    unmount_down_to "$before"
    keep_peer "$codec"
}

# No reflink, which would copy nothing.
antix_limit() {
    local codec=$1 before=${#MOUNTED[@]}
    fresh_work
    mount_view "$codec"
    measure "$codec" limit "$OUT/work/changed" sh -c \
        "cp --reflink=never '$DATA/base.$codec.sqfs' '$OUT/work/copy' &&
         mksquashfs '$DATA/_mnt/rootfs/upper' '$OUT/work/changed' -comp $codec -b $BLOCK -processors $(nproc) -no-progress -quiet &&
         sync '$OUT/work/copy' '$OUT/work/changed'"
    unmount_down_to "$before"
}

# Into a file of its own, the directory stays as it is.
antix_output() {
    local codec=$1
    fresh_work
    make_live "$DATA/live.$codec" "$codec" link
    forget "$DATA/base.$codec.sqfs" "$DATA/rootfs"
    measure "$codec" output "$OUT/work/linuxfs" sh -c \
        "'$RELIVE' compact --quiet -o '$OUT/work/linuxfs' '$DATA/live.$codec' && sync '$OUT/work/linuxfs'"
}

# The last output is checked, then the same with swap and reset, on a copy.
antix_rest() {
    local codec=$1 live=$OUT/work/live
    antix_check "$codec" "$OUT/work/linuxfs"
    make_live "$live" "$codec" copy
    forget "$live/linuxfs" "$live/rootfs"
    measure "$codec" whole "$live/linuxfs" sh -c "'$RELIVE' compact --quiet '$live' && sync -f '$live'"
    antix_check "$codec" "$live/linuxfs"
    e2fsck -fn "$live/rootfs" >"$OUT/e2fsck.log" 2>&1 ||
        die "$codec: the fresh rootfs does not pass e2fsck, see $OUT/e2fsck.log"
}

antix_end() { :; }

antix_report() {
    report "block=$BLOCK" \
        "base=$(stat -c %s "$DATA/base.${CODECS[0]}.sqfs") bytes as ${CODECS[0]}" \
        "entries=$(grep -c . "$DATA/view.jsonl" 2>/dev/null || echo not counted)" \
        "changes=$(grep -c . "$DATA/changes.log") lines of log in $DATA/changes.log"
}
