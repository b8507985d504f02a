# shellcheck shell=bash
# LiveOS sticks for scripts/boots/liveos: a disk image with one ext4 partition
# that holds LiveOS/, the images in it, and an initrd that Debian's own dracut
# makes. Sourced after boots.sh.
#
#   $IMAGES/initrd-*.img     dracut's initrd with its module dmsquash-live
#   $IMAGES/nested-*.img     squashfs.img with LiveOS/rootfs.img, ext4, inside
#   $IMAGES/flat-*.img       squashfs.img with the files themselves
#   $WORK/stick              the stick of one part
#
# The images are made once for each kernel and small Debian.

# E2E and WORK are of boots.sh; the callers use what is set here.
# shellcheck disable=SC2153,SC2034

IMAGES=$E2E/liveos

# The stick's file system. With a label and a UUID that are always the same, the
# default name of the overlay is too.
STICK_LABEL=LIVE
STICK_UUID=6c697665-6f73-4e2e-8e2e-72656c697665
OVERLAY=overlay-$STICK_LABEL-$STICK_UUID
# Where the partition begins, in bytes, and the sizes in MiB of the partition, of
# the root file system, and of an overlay that is a file.
PARTITION=1048576
STICK_MIB=1023
ROOTFS_MIB=400
OVERLAY_MIB=160
# The drivers of dracut's initrd.
LIVE_DRIVERS=${LIVE_DRIVERS:-virtio_pci virtio_blk ext4 loop squashfs overlay dm_snapshot}

# stick_suffix: tells images of another kernel or Debian apart.
stick_suffix() { printf '%s-%s\n' "$(kernel_release)" "$(basename "$(debian_image)" .sqfs)"; }

# make_live_root: the small Debian with the init that the steps need, in
# $IMAGES/_root. dracut's initrd starts /sbin/init; what that does comes with the
# initrd, so that the images need not be made anew for other steps.
make_live_root() {
    local root=$IMAGES/_root.part
    [[ -d $IMAGES/_root ]] && return
    unpack_debian "$root"
    find "$root/usr/share/locale" -mindepth 1 -maxdepth 1 ! -name de -exec rm -r {} +
    find "$root/usr/share/man" -mindepth 1 -maxdepth 1 ! -name man1 -exec rm -r {} +
    rm -r "$root"/usr/share/zoneinfo "$root"/usr/share/perl
    printf '#!/bin/sh\nexec /bin/sh /run/e2e/init\n' >"$root/usr/sbin/init"
    chmod 0755 "$root/usr/sbin/init"
    mv "$root" "$IMAGES/_root"
}

# make_live_images: all that is made once; sets NESTED, FLAT and DRACUT_INITRD.
make_live_images() {
    local tree=$IMAGES/_images
    mkdir -p "$IMAGES"
    make_dracut_initrd
    NESTED=$IMAGES/nested-$(stick_suffix).img
    FLAT=$IMAGES/flat-$(stick_suffix).img
    [[ -f $NESTED && -f $FLAT ]] && return
    make_live_root
    say "packing squashfs.img, nested and flat"
    rm -rf "$tree"
    mkdir -p "$tree/LiveOS"
    truncate -s "${ROOTFS_MIB}M" "$tree/LiveOS/rootfs.img"
    mkfs.ext4 -q -F -L e2e-root -m 0 -E lazy_itable_init=0,lazy_journal_init=0 \
        -d "$IMAGES/_root" "$tree/LiveOS/rootfs.img"
    pack_live "$tree" "$NESTED"
    pack_live "$IMAGES/_root" "$FLAT"
    rm -rf --one-file-system "$tree" "$IMAGES/_root"
}

# pack_live FOLDER IMAGE: as Fedora does but with zstd, which a machine without
# KVM reads in an acceptable time.
pack_live() {
    mksquashfs "$1" "$2.part" -comp zstd -Xcompression-level 3 -noappend -no-progress -quiet
    mv "$2.part" "$2"
}

# make_dracut_initrd: with Debian's dracut, inside the small Debian; sets
# DRACUT_INITRD. With dracut's own init: this Debian has no systemd. The guest's
# modules are few, so only those of live systems go in.
make_dracut_initrd() {
    local release module root=$IMAGES/_root before=${#MOUNTED[@]}
    release=$(kernel_release)
    DRACUT_INITRD=$IMAGES/initrd-$(stick_suffix).img
    [[ -f $DRACUT_INITRD ]] && return
    make_live_root
    say "making the initrd with dracut"
    mount_at "$root/lib/modules/$release" --bind "$KERNEL/lib/modules/$release"
    mount_at "$root/proc" -t proc proc
    mount_at "$root/sys" --bind /sys
    mount_at "$root/dev" --bind /dev
    mount_at "$root/tmp" -t tmpfs tmpfs
    mount_at "$root/var/tmp" -t tmpfs tmpfs
    chroot "$root" dracut --no-hostonly --no-hostonly-cmdline --no-early-microcode \
        --kver "$release" --modules "dash dmsquash-live udev-rules base" \
        --add-drivers "$LIVE_DRIVERS" \
        --compress cat /tmp/initrd >"$IMAGES/dracut.log" 2>&1 || {
        tail -n 20 "$IMAGES/dracut.log" >&2
        die "dracut failed, see $IMAGES/dracut.log"
    }
    cp "$root/tmp/initrd" "$DRACUT_INITRD.part"
    unmount_down_to "$before"
    cpio --quiet -t <"$DRACUT_INITRD.part" >"$IMAGES/initrd.names"
    for module in $LIVE_DRIVERS; do
        module=${module//_/[-_]}
        grep -q "/$module\.ko" "$IMAGES/initrd.names" \
            "$KERNEL/lib/modules/$release/modules.builtin" ||
            die "dracut's initrd has no $module"
    done
    mv "$DRACUT_INITRD.part" "$DRACUT_INITRD"
}

# make_stick_initrd: dracut's initrd, as it is, and after it the files that let
# the machine run a step: two hooks and scripts/guest. Sets INITRD.
make_stick_initrd() {
    local tree=$WORK/_initrd hooks
    hooks=$tree/usr/lib/dracut/hooks
    INITRD=$WORK/initrd
    rm -rf "$tree"
    mkdir -p "$tree/e2e" "$hooks/pre-mount" "$hooks/pre-pivot"
    cp scripts/guest/liveos/init scripts/guest/liveos/steps scripts/guest/changes "$tree/e2e/"
    cp scripts/guest/liveos/pre-mount.sh "$hooks/pre-mount/50-e2e.sh"
    cp scripts/guest/liveos/pre-pivot.sh "$hooks/pre-pivot/50-e2e.sh"
    pack_initrd "$tree" "$INITRD.steps"
    cat "$DRACUT_INITRD" "$INITRD.steps" >"$INITRD"
    rm -r "$tree" "$INITRD.steps"
}

# make_stick FORM: a fresh stick as $WORK/stick. FORM is
#   dm          nested, with an empty file for a device-mapper snapshot
#   directory   nested, with an OverlayFS directory
#   file        nested, with a file that holds a file system for OverlayFS
#   flat        flattened, with an OverlayFS directory
make_stick() {
    local form=$1 tree=$WORK/_stick inner
    rm -rf "$tree" "$WORK/stick"
    mkdir -p "$tree/LiveOS" "$tree/e2e"
    case $form in
    flat) cp --sparse=always "$FLAT" "$tree/LiveOS/squashfs.img" ;;
    *) cp --sparse=always "$NESTED" "$tree/LiveOS/squashfs.img" ;;
    esac
    case $form in
    dm)
        truncate -s "${OVERLAY_MIB}M" "$tree/LiveOS/$OVERLAY"
        chmod 0600 "$tree/LiveOS/$OVERLAY"
        ;;
    directory | flat) mkdir -m 0755 "$tree/LiveOS/$OVERLAY" "$tree/LiveOS/ovlwork" ;;
    file)
        inner=$WORK/_inner
        rm -rf "$inner"
        mkdir -p "$inner/overlayfs" "$inner/ovlwork"
        truncate -s "${OVERLAY_MIB}M" "$tree/LiveOS/$OVERLAY"
        mkfs.ext4 -q -F -L e2e-overlay -d "$inner" "$tree/LiveOS/$OVERLAY"
        chmod 0600 "$tree/LiveOS/$OVERLAY"
        rm -r "$inner"
        ;;
    *) die "make_stick: there is no form $form" ;;
    esac
    truncate -s $((PARTITION + STICK_MIB * 1048576)) "$WORK/stick"
    printf 'start=%d, type=83, bootable\n' $((PARTITION / 512)) |
        sfdisk --quiet --label dos "$WORK/stick"
    mkfs.ext4 -q -F -L "$STICK_LABEL" -U "$STICK_UUID" -d "$tree" \
        -E "offset=$PARTITION" "$WORK/stick" "${STICK_MIB}m"
    rm -rf "$tree"
}

# open_stick: its partition mounted on the host; LIVE is the folder LiveOS in it.
open_stick() {
    MNT=$WORK/_mnt
    mount_at "$MNT" -o "loop,offset=$PARTITION" "$WORK/stick"
    LIVE=$MNT/LiveOS
}

close_stick() { unmount_down_to 0; }
