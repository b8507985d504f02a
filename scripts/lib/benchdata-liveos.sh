# shellcheck shell=bash
# The data that scripts/bench liveos measures on: a root file system image as
# Fedora's makers of live images write it, packed into a SquashFS, and a
# device-mapper snapshot that turns it into the same image after some weeks of
# use. Everything is made once and kept under $DATA. Sourced after say.sh,
# debian.sh, mounts.sh and benchdata.sh.
#
#   $DATA/rootfs.img           the image, ext4, nearly full
#   $DATA/squashfs.CODEC.img   a SquashFS of LiveOS/rootfs.img
#   $DATA/overlay              the snapshot, in chunks of 4 KiB
#   $DATA/merged.sha256        of the image that the two make together
#   $DATA/view.jsonl           the files in it, as the kernel shows them
#   $DATA/touched              its blocks that a chunk lies in, one after the other
#   $DATA/live.CODEC/          a live medium of the two

# SIZE, full or quick, and DATA, its folder, are the caller's; the packages are
# those of benchdata.sh.
# shellcheck disable=SC2153,SC2154

# mksquashfs's own: livecd-creator, editliveos and livemedia-creator give no -b.
# (imgcreate/fs.py of livecd-tools; pylorax/creator.py of lorax, which adds -Xbcj.)
LIVEOS_BLOCK=131072

# The file that dracut looks for: overlay-LABEL-UUID of the medium's file system.
LIVEOS_OVERLAY=overlay-LIVE-4F5A-11C2

# Beside the packages of the antiX root: 3.3 GiB unpacked, a desktop's usual.
liveos_packages=libreoffice-calc,libreoffice-impress,gimp,thunderbird,gnome-shell
liveos_packages+=,nautilus,evince,vlc

liveos_size() { if [[ $SIZE == quick ]]; then echo 512M; else echo 4G; fi; }
overlay_size() { if [[ $SIZE == quick ]]; then echo $((160 << 20)); else echo $((1 << 30)); fi; }

# make_rootfs_img: the unpacked Debian root copied into a fresh ext4 with lorax's
# options (mkext4img, then fsck -E discard, which leaves zeros in free blocks).
# Inode tables are written at once: else the kernel would write them later, in
# the snapshot, which says nothing about use.
make_rootfs_img() {
    [[ -f $DATA/rootfs.img ]] && return
    local image=$DATA/rootfs.part packages=$full_packages,$liveos_packages before=${#MOUNTED[@]}
    if [[ ! -d $DATA/_root ]]; then
        [[ $SIZE == quick ]] && packages=$quick_packages
        say "fetching a Debian root ($SIZE)"
        rm -rf "$DATA/_root.part"
        debian_root "$DATA/_root.part" apt "$packages"
        mv "$DATA/_root.part" "$DATA/_root"
    fi
    say "writing a root image of $(liveos_size)"
    rm -f "$image"
    truncate -s "$(liveos_size)" "$image"
    mkfs.ext4 -q -F -L LiveOS -b 4096 -m 0 -E lazy_itable_init=0,lazy_journal_init=0 "$image"
    mount_at "$DATA/_mnt/root" -o loop "$image"
    cp -a "$DATA/_root/." "$DATA/_mnt/root/"
    say "it holds $(df -m --output=used "$DATA/_mnt/root" | tail -n 1 | tr -d ' ') MiB," \
        "$(df -m --output=avail "$DATA/_mnt/root" | tail -n 1 | tr -d ' ') MiB are free"
    unmount_down_to "$before"
    e2fsck -f -y -E discard "$image" >/dev/null 2>&1 || die "$image is not clean after the copy into it"
    mv "$image" "$DATA/rootfs.img"
    rm -rf "$DATA/_root"
}

# make_squashfs_imgs CODEC...
make_squashfs_imgs() {
    local codec
    for codec in "$@"; do
        [[ -f $DATA/squashfs.$codec.img ]] && continue
        say "packing the root image with $codec"
        rm -rf "$DATA/_pack" "$DATA/squashfs.part"
        mkdir -p "$DATA/_pack/LiveOS"
        ln "$DATA/rootfs.img" "$DATA/_pack/LiveOS/rootfs.img"
        nice mksquashfs "$DATA/_pack" "$DATA/squashfs.part" -comp "$codec" -b $LIVEOS_BLOCK -no-progress -quiet
        rm -rf "$DATA/_pack"
        mv "$DATA/squashfs.part" "$DATA/squashfs.$codec.img"
    done
}

# work_in_image STEP COMMAND...: runs the command, which reads a script from
# standard input, and notes the chunks that changed.
work_in_image() {
    local step=$1
    shift
    "$@" >>"$DATA/changes.log" 2>&1 || {
        tail -n 20 "$DATA/changes.log" >&2
        die "the changes in the chroot failed, see $DATA/changes.log"
    }
    sync -f "$DATA/_mnt/root"
    say "$step: $(scripts/bench-cow order "$DATA/rootfs.img" "$DATA/merged.part" "$DATA/order.part")"
}

# make_overlay: work in a copy of the image, then the snapshot that makes the one
# out of the other: chunks in the order of the steps, so that it is not sorted.
make_overlay() {
    [[ -f $DATA/overlay ]] && return
    local merged=$DATA/merged.part mnt=$DATA/_mnt before=${#MOUNTED[@]}
    say "working in a copy of the root image"
    rm -f "$DATA/order.part" "$DATA/changes.log"
    cp --sparse=always "$DATA/rootfs.img" "$merged"
    mount_at "$mnt/root" -o loop "$merged"
    # On this medium apt's lists and what it fetches are changes like any other;
    # its binary caches are off, as small systems have them.
    debian_sources all >"$mnt/root/etc/apt/sources.list"
    {
        debian_apt_options
        printf 'Dir::Cache::%s "";\n' pkgcache srcpkgcache
    } >"$mnt/root/etc/apt/apt.conf.d/90bench"
    mount_at "$mnt/root/proc" -t proc proc
    mount_at "$mnt/root/dev" --bind /dev
    mount_at "$mnt/root/etc/resolv.conf" --bind /etc/resolv.conf
    work_in_image packages chroot "$mnt/root" /bin/bash -s "$SIZE" <scripts/bench-changes
    work_in_image files chroot "$mnt/root" /bin/bash -s files "$SIZE" <scripts/bench-session
    work_in_image use chroot "$mnt/root" /bin/bash -s use "$SIZE" <scripts/bench-session
    unmount_down_to "$before"
    e2fsck -fn "$merged" >/dev/null 2>&1 || die "$merged is not clean after the work in it"
    say "end: $(scripts/bench-cow order "$DATA/rootfs.img" "$merged" "$DATA/order.part")"
    scripts/bench-cow make "$DATA/rootfs.img" "$merged" "$DATA/order.part" "$DATA/overlay.part" --size "$(overlay_size)"
    scripts/bench-cow touched "$merged" "$DATA/overlay.part" $LIVEOS_BLOCK "$DATA/touched" >"$DATA/touched.count"
    sha256sum <"$merged" >"$DATA/merged.sha256"
    mount_at "$mnt/root" -t ext4 -o ro,loop "$merged"
    manifest "$mnt/root" "$DATA/view.part"
    unmount_down_to "$before"
    mv "$DATA/view.part" "$DATA/view.jsonl"
    mv "$DATA/overlay.part" "$DATA/overlay"
    rm -f "$merged" "$DATA/order.part"
    say "snapshot: $(overlay_facts)"
}

# overlay_facts: what the report says of it.
overlay_facts() {
    local chunks
    chunks=$(scripts/bench-cow count "$DATA/overlay")
    printf '%d chunks of 4 KiB (%d MiB) in %d blocks of %d KiB (%d MiB)' "$chunks" $((chunks >> 8)) \
        "$(cat "$DATA/touched.count")" $((LIVEOS_BLOCK >> 10)) $(($(stat -c %s "$DATA/touched") >> 20))
}

# make_medium DIR CODEC copy|link: a live medium; links for those who only read.
make_medium() {
    local dir=$1 codec=$2 how=$3
    rm -rf "$dir"
    mkdir -p "$dir/LiveOS"
    if [[ $how == link ]]; then
        ln "$DATA/squashfs.$codec.img" "$dir/LiveOS/squashfs.img"
        ln "$DATA/overlay" "$dir/LiveOS/$LIVEOS_OVERLAY"
    else
        cp "$DATA/squashfs.$codec.img" "$dir/LiveOS/squashfs.img"
        cp --sparse=always "$DATA/overlay" "$dir/LiveOS/$LIVEOS_OVERLAY"
        # dracut and livecd-iso-to-disk make overlay files private.
        chmod 0600 "$dir/LiveOS/$LIVEOS_OVERLAY"
    fi
}
