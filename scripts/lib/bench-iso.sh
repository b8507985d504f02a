# shellcheck shell=bash
# What scripts/bench measures of ISOs, on the data of bench-antix.sh. Sourced after
# that.
#
#   peer    overlay mount, mksquashfs of it with the base's codec and block size, and
#           xorriso -as mkisofs: what mx-snapshot does
#   limit   cp of the base, then mksquashfs of the upper layer alone
#   output  relive snapshot -o FILE, with the same tree and the same files beside it
#
# as "codec" rebuild, of the last ISO that relive made, with another initrd:
#
#   peer    xorriso -indev -outdev -boot_image any replay -map
#   limit   cp of it
#   output  relive iso rebuild --replace
#
# and, as "codec" large, the output of a live directory whose linuxfs has more than
# 5 GiB, which xorriso then reads back whole, and cp of that linuxfs as the limit.

# DATA, OUT, SIZE and CODECS are those of scripts/bench.
# shellcheck disable=SC2153

# What relive does beyond the peer is left out: lists and sums beside the ISO.
SNAPSHOT_OPTIONS="--no-default-excludes --sums none --no-report --no-package-list"

iso_data() {
    local to=$DATA DATA
    DATA=$(dirname "$to")/antix${to##*/iso}
    mkdir -p "$DATA"
    antix_data
    iso_live_data "$to"
}

# iso_live_data FOLDER: beside the data of antix, FOLDER/live.CODEC with a kernel and
# an initrd, and a medium with what boots it, as an ISO for --template.
iso_live_data() {
    local to=$1 codec tree=$1/medium name
    for codec in "${CODECS[@]}"; do
        rm -rf "$to/live.$codec"
        mkdir -p "$to/live.$codec"
        ln "$DATA/live.$codec"/* "$to/live.$codec/"
    done
    if ! [[ -f $to/template.iso ]]; then
        mkdir -p "$tree/boot/isolinux" "$tree/boot/grub" "$tree/antiX"
        cp /usr/lib/ISOLINUX/isolinux.bin "$tree/boot/isolinux/"
        for name in ldlinux menu libutil libcom32; do
            cp "/usr/lib/syslinux/modules/bios/$name.c32" "$tree/boot/isolinux/"
        done
        printf 'default live\nlabel live\n kernel /antiX/vmlinuz\n append initrd=/antiX/initrd.gz quiet\n' \
            >"$tree/boot/isolinux/isolinux.cfg"
        mkfs.fat -C "$tree/boot/grub/efi.img" 4096 >/dev/null
        iso_kernel "$tree/antiX/vmlinuz"
        incompressible 33554432 >"$tree/antiX/initrd.gz"
        incompressible 33600000 >"$to/initrd.new"
        iso_by_xorriso "$tree" "$to/template.part"
        mv "$to/template.part" "$to/template.iso"
    fi
    for codec in "${CODECS[@]}"; do
        ln "$tree"/antiX/{vmlinuz,initrd.gz} "$to/live.$codec/"
    done
}

# iso_kernel FILE: that of the base, or where it has none 8 MiB with the header of one.
iso_kernel() {
    local codec=${CODECS[0]} path
    path=$(unsquashfs -l -d '' "$DATA/base.$codec.sqfs" boot 2>/dev/null | grep -m 1 '^/boot/vmlinuz-' || true)
    if [[ -n $path ]]; then
        unsquashfs -cat "$DATA/base.$codec.sqfs" "${path#/}" >"$1"
    else
        incompressible 8388608 >"$1"
    fi
}

# incompressible BYTES: what no codec shrinks, always the same.
incompressible() {
    openssl enc -aes-128-ctr -K 00000000000000000000000000000000 -iv 00000000000000000000000000000000 \
        -in /dev/zero 2>/dev/null | head -c "$1" || true
}

# iso_by_xorriso TREE FILE: an isohybrid of the tree, as mx-snapshot makes it.
iso_by_xorriso() {
    xorriso -as mkisofs -quiet -l -V BENCH -R -J -pad -iso-level 3 \
        -isohybrid-mbr /usr/lib/ISOLINUX/isohdpfx.bin -b boot/isolinux/isolinux.bin \
        -no-emul-boot -boot-load-size 4 -boot-info-table -c boot/isolinux/isolinux.cat \
        -eltorito-alt-boot -e boot/grub/efi.img -no-emul-boot -isohybrid-gpt-basdat \
        -o "$2" "$1"
}

# iso_view CODEC: the overlay of the live directory at _mnt/view.
iso_view() {
    local mnt=$DATA/_mnt live=$DATA/live.$1
    forget "$live/linuxfs" "$live/rootfs"
    mount_at "$mnt/base" -t squashfs -o ro,loop "$live/linuxfs"
    mount_at "$mnt/rootfs" -t ext4 -o ro,loop "$live/rootfs"
    mount_at "$mnt/view" -t overlay -o "ro,lowerdir=$mnt/rootfs/upper:$mnt/base" overlay
}

iso_peer() {
    local codec=$1 before=${#MOUNTED[@]} tree=$OUT/work/tree
    kept_peer "$codec" "$DATA/live.$codec/rootfs" "$DATA/live.$codec/linuxfs" && return
    fresh_work
    cp -al "$DATA/medium" "$tree"
    iso_view "$codec"
    measure "$codec" peer "$OUT/work/peer.iso" bash -c \
        "$(declare -f iso_by_xorriso)
         mksquashfs '$DATA/_mnt/view' '$tree/antiX/linuxfs' -comp $codec -b $BLOCK -processors $(nproc) -no-progress -quiet &&
         (cd '$tree/antiX' && md5sum linuxfs >linuxfs.md5) &&
         iso_by_xorriso '$tree' '$OUT/work/peer.iso' && sync '$OUT/work/peer.iso'"
    unmount_down_to "$before"
    keep_peer "$codec"
}

# No reflink, which would copy nothing.
iso_limit() {
    local codec=$1 before=${#MOUNTED[@]}
    fresh_work
    iso_view "$codec"
    measure "$codec" limit "$OUT/work/changed" sh -c \
        "cp --reflink=never '$DATA/live.$codec/linuxfs' '$OUT/work/copy' &&
         mksquashfs '$DATA/_mnt/rootfs/upper' '$OUT/work/changed' -comp $codec -b $BLOCK -processors $(nproc) -no-progress -quiet &&
         sync '$OUT/work/copy' '$OUT/work/changed'"
    unmount_down_to "$before"
}

# It ends with 3 where it warns: the quick root has no kernel.
iso_output() {
    local codec=$1
    fresh_work
    forget "$DATA/live.$codec/linuxfs" "$DATA/live.$codec/rootfs"
    measure "$codec" output "$OUT/work/snapshot.iso" sh -c \
        "{ '$RELIVE' snapshot --quiet $SNAPSHOT_OPTIONS --template '$DATA/template.iso' -o '$OUT/work/snapshot.iso' '$DATA/live.$codec' || [ \$? -eq 3 ]; } &&
         sync '$OUT/work/snapshot.iso'"
}

# The last output is checked: xorriso extracts the linuxfs, and the kernel shows in it
# what the overlay shows.
iso_rest() {
    local codec=$1 before=${#MOUNTED[@]}
    iso_read_back "$OUT/work/snapshot.iso"
    iso_view "$codec"
    antix_manifest "$DATA/_mnt/view" "$OUT/view.jsonl"
    mount_at "$DATA/_mnt/new" -t squashfs -o ro,loop "$OUT/work/linuxfs"
    antix_manifest "$DATA/_mnt/new" "$OUT/new.jsonl"
    unmount_down_to "$before"
    python3 scripts/manifest.py diff --squashfs "$OUT/view.jsonl" "$OUT/new.jsonl" ||
        die "$codec: the system on the ISO is not what the overlay shows"
    say "$codec: the system on the ISO equals the overlay"
    rm "$OUT/work/linuxfs"
    mv "$OUT/work/snapshot.iso" "$OUT/snapshot.iso"
}

# iso_read_back ISO: xorriso extracts linuxfs as $OUT/work/linuxfs, and its sum holds.
iso_read_back() {
    xorriso -osirrox on -indev "$1" -extract /antiX/linuxfs "$OUT/work/linuxfs" \
        -extract /antiX/linuxfs.md5 "$OUT/work/linuxfs.md5" >"$OUT/xorriso.log" 2>&1 ||
        die "xorriso cannot extract linuxfs, see $OUT/xorriso.log"
    (cd "$OUT/work" && md5sum --check --status linuxfs.md5) || die "linuxfs.md5 does not hold as xorriso reads linuxfs"
}

iso_end() {
    local i
    say "iso, rebuild"
    for ((i = 0; i < RUNS; i++)); do iso_rebuild; done
    [[ $SIZE == full ]] || return 0
    say "iso, large"
    iso_large_data
    fresh_work
    forget "$DATA/live.large/linuxfs"
    measure large limit "$OUT/work/copy" sh -c \
        "cp --reflink=never '$DATA/live.large/linuxfs' '$OUT/work/copy' && sync '$OUT/work/copy'"
    iso_output large
    iso_read_back "$OUT/work/snapshot.iso"
    unsquashfs -cat "$OUT/work/linuxfs" big | cmp - <(incompressible 5368709120) ||
        die "the large file has another content in the ISO"
    say "large: xorriso reads $(($(stat -c %s "$OUT/work/linuxfs") >> 20)) MiB of linuxfs back"
    rm -rf "$OUT/work" "$DATA/live.large"
}

# iso_rebuild: the ISO of the last codec with another initrd.
iso_rebuild() {
    local iso=$OUT/snapshot.iso
    fresh_work
    forget "$iso"
    measure rebuild limit "$OUT/work/copy.iso" sh -c "cp --reflink=never '$iso' '$OUT/work/copy.iso' && sync '$OUT/work/copy.iso'"
    fresh_work
    forget "$iso"
    measure rebuild peer "$OUT/work/peer.iso" sh -c \
        "xorriso -indev '$iso' -outdev '$OUT/work/peer.iso' -boot_image any replay \
            -map '$DATA/initrd.new' /antiX/initrd.gz >'$OUT/xorriso.log' 2>&1 && sync '$OUT/work/peer.iso'"
    fresh_work
    forget "$iso"
    measure rebuild output "$OUT/work/rebuilt.iso" sh -c \
        "'$RELIVE' iso rebuild --quiet '$iso' -o '$OUT/work/rebuilt.iso' --replace antiX/initrd.gz='$DATA/initrd.new' &&
         sync '$OUT/work/rebuilt.iso'"
    xorriso -osirrox on -indev "$OUT/work/rebuilt.iso" -extract /antiX/initrd.gz "$OUT/work/initrd" >"$OUT/xorriso.log" 2>&1
    cmp "$OUT/work/initrd" "$DATA/initrd.new" || die "the rebuilt ISO has another initrd"
}

# iso_large_data: the base as zstd with 5 GiB that no codec shrinks, and its rootfs.
iso_large_data() {
    local live=$DATA/live.large
    rm -rf "$live"
    mkdir -p "$live/_empty"
    cp "$DATA/live.zstd/linuxfs" "$live/linuxfs"
    mksquashfs "$live/_empty" "$live/linuxfs" -no-progress -quiet -action 'uncompressed@name(big)' \
        -p "big f 0644 0 0 $(declare -f incompressible); incompressible 5368709120" >/dev/null
    rmdir "$live/_empty"
    (cd "$live" && md5sum linuxfs >linuxfs.md5)
    ln "$DATA/live.zstd"/{rootfs,vmlinuz,initrd.gz} "$live/"
}

iso_report() {
    local status=0
    report "block=$BLOCK" "ISO=$(stat -c %s "$OUT/snapshot.iso") bytes of the last codec" \
        "xorriso=$(xorriso -version 2>/dev/null | sed -n 's/^xorriso version *: *//p')" || status=1
    rm "$OUT/snapshot.iso"
    return $status
}
