# shellcheck shell=bash
# What scripts/bench measures of LiveOS/squashfs.img and its snapshot. Sourced
# after benchrun.sh and benchdata-liveos.sh.
#
#   peer    unsquashfs, the chunks written into the root image, mksquashfs with the
#           base's codec and block size: what livecd-tools' editliveos does, without
#           device-mapper
#   limit   cp of squashfs.img, then mksquashfs of the blocks that a chunk lies in
#   output  relive compact -o FILE
#   keep    relive compact --keep-free -o FILE
#   whole   relive compact DIR
#
# and, as "codec" image, the merge of the uncompressed root image:
#
#   peer    cp of it, the chunks written into the copy
#   output  relive dm merge

liveos_data() {
    local codec
    make_rootfs_img
    make_overlay
    make_squashfs_imgs "${CODECS[@]}"
    for codec in "${CODECS[@]}"; do
        make_medium "$DATA/live.$codec" "$codec" link
    done
}

# mount_nested CODEC IMAGE: a squashfs.img and the root image in it, read-only.
mount_nested() {
    local mnt=$DATA/_mnt
    mount_at "$mnt/new" -t squashfs -o ro,loop "$2"
    e2fsck -fn "$mnt/new/LiveOS/rootfs.img" >"$OUT/e2fsck.log" 2>&1 ||
        die "$1: the root image in $2 does not pass e2fsck, see $OUT/e2fsck.log"
    mount_at "$mnt/root" -t ext4 -o ro,loop "$mnt/new/LiveOS/rootfs.img"
}

# check_files CODEC IMAGE: e2fsck finds nothing, and the kernel shows the files of
# the merged image.
check_files() {
    local codec=$1 image=$2 before=${#MOUNTED[@]}
    mount_nested "$codec" "$image"
    manifest "$DATA/_mnt/root" "$OUT/new.jsonl"
    unmount_down_to "$before"
    python3 scripts/manifest.py diff "$DATA/view.jsonl" "$OUT/new.jsonl" ||
        die "$codec: the files in the compacted image are not those of the merged one"
    say "$codec: $(basename "$image") holds the files of the merged image"
}

# check_bytes CODEC IMAGE: the root image in it is the merged one to the byte.
check_bytes() {
    local codec=$1 image=$2 before=${#MOUNTED[@]}
    mount_at "$DATA/_mnt/new" -t squashfs -o ro,loop "$image"
    sha256sum <"$DATA/_mnt/new/LiveOS/rootfs.img" | cmp -s - "$DATA/merged.sha256" ||
        die "$codec: the bytes of the root image in $image are not those of the merged one"
    unmount_down_to "$before"
    say "$codec: $(basename "$image") holds the bytes of the merged image"
}

# forget_medium CODEC
forget_medium() { forget "$DATA/squashfs.$1.img" "$DATA/overlay"; }

liveos_peer() {
    local codec=$1 base=$DATA/squashfs.$1.img
    kept_peer "$codec" "$base" "$DATA/overlay" && return
    fresh_work
    forget_medium "$codec"
    measure "$codec" peer "$OUT/work/peer" sh -c \
        "unsquashfs -quiet -no-progress -d '$OUT/work/root' '$base' &&
         scripts/bench-cow merge '$OUT/work/root/LiveOS/rootfs.img' '$DATA/overlay' &&
         mksquashfs '$OUT/work/root' '$OUT/work/peer' -comp $codec -b $LIVEOS_BLOCK -processors $(nproc) -no-progress -quiet &&
         sync '$OUT/work/peer'"
    check_bytes "$codec" "$OUT/work/peer"
    keep_peer "$codec"
}

# No reflink, which would copy nothing.
liveos_limit() {
    local codec=$1
    fresh_work
    forget_medium "$codec"
    forget "$DATA/touched"
    measure "$codec" limit "$OUT/work/changed" sh -c \
        "cp --reflink=never '$DATA/squashfs.$codec.img' '$OUT/work/copy' &&
         mksquashfs '$DATA/touched' '$OUT/work/changed' -comp $codec -b $LIVEOS_BLOCK -processors $(nproc) -no-progress -quiet &&
         sync '$OUT/work/copy' '$OUT/work/changed'"
}

# Into a file of its own, the medium stays as it is.
liveos_output() { write_output "$1" output squashfs.img; }

# write_output CODEC WHAT NAME OPTION...: $OUT/work/NAME by relive compact -o.
write_output() {
    local codec=$1 what=$2 image=$OUT/work/$3
    shift 3
    fresh_work
    make_medium "$DATA/live.$codec" "$codec" link
    forget_medium "$codec"
    measure "$codec" "$what" "$image" sh -c \
        "'$RELIVE' compact --quiet $* -o '$image' '$DATA/live.$codec' && sync '$image'"
}

# The last output is checked, then that which keeps free blocks; then the same
# with swap and reset, on a copy.
liveos_rest() {
    local codec=$1 medium=$OUT/work/medium
    check_files "$codec" "$OUT/work/squashfs.img"
    write_output "$codec" keep squashfs.keep.img --keep-free
    check_bytes "$codec" "$OUT/work/squashfs.keep.img"
    fresh_work
    make_medium "$medium" "$codec" copy
    forget "$medium/LiveOS/squashfs.img" "$medium/LiveOS/$LIVEOS_OVERLAY"
    measure "$codec" whole "$medium/LiveOS/squashfs.img" sh -c \
        "'$RELIVE' compact --quiet '$medium' && sync -f '$medium'"
    check_files "$codec" "$medium/LiveOS/squashfs.img"
    [[ $(scripts/bench-cow count "$medium/LiveOS/$LIVEOS_OVERLAY") == 0 ]] ||
        die "$codec: the snapshot is not empty after the compaction"
}

# The merge without SquashFS.
liveos_end() {
    local i
    say "$KIND, the root image alone"
    for ((i = 0; i < RUNS; i++)); do
        fresh_work
        forget "$DATA/rootfs.img" "$DATA/overlay"
        measure image peer "$OUT/work/rootfs.img" sh -c \
            "cp --sparse=always --reflink=never '$DATA/rootfs.img' '$OUT/work/rootfs.img' &&
             scripts/bench-cow merge '$OUT/work/rootfs.img' '$DATA/overlay' && sync '$OUT/work/rootfs.img'"
        fresh_work
        forget "$DATA/rootfs.img" "$DATA/overlay"
        measure image output "$OUT/work/rootfs.img" sh -c \
            "'$RELIVE' dm merge --quiet '$DATA/rootfs.img' '$DATA/overlay' -o '$OUT/work/rootfs.img' && sync '$OUT/work/rootfs.img'"
    done
    sha256sum <"$OUT/work/rootfs.img" | cmp -s - "$DATA/merged.sha256" ||
        die "relive dm merge wrote other bytes than the merged image has"
    say "the image of relive dm merge is the merged one"
    rm -rf "$OUT/work"
}

liveos_report() {
    report "block=$LIVEOS_BLOCK" \
        "image=$(stat -c %s "$DATA/rootfs.img") bytes, $(du -m "$DATA/rootfs.img" | cut -f 1) MiB of it not holes" \
        "base=$(stat -c %s "$DATA/squashfs.${CODECS[0]}.img") bytes as ${CODECS[0]}" \
        "entries=$(grep -c . "$DATA/view.jsonl")" \
        "snapshot=$(overlay_facts)"
}
