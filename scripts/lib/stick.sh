# shellcheck shell=bash
# LiveOS sticks for scripts/boots/liveos: a disk image with an ext4 partition
# that holds LiveOS/, maybe a second one for an overlay, the images in LiveOS/, and
# an initrd that Debian's dracut makes. Sourced after boots.sh.
#
#   $IMAGES/initrd-*.img     dracut's initrd with its module dmsquash-live
#   $IMAGES/nested-*.img     squashfs.img with LiveOS/rootfs.img, ext4, inside
#   $IMAGES/flat-*.img       squashfs.img with the files themselves
#   $WORK/stick              the stick of one part
#
# The images are made once for each kernel and small Debian.

# E2E and WORK are of boots.sh; the callers use what is set here.
# shellcheck disable=SC2153,SC2034

# shellcheck source=scripts/lib/liveroot.sh
. scripts/lib/liveroot.sh
# shellcheck source=scripts/lib/partitions.sh
. scripts/lib/partitions.sh
# shellcheck source=scripts/lib/lists.sh
. scripts/lib/lists.sh

IMAGES=$E2E/liveos

# The stick's file system. With a label and a UUID that are always the same, the
# default name of the overlay is too.
STICK_LABEL=LIVE
STICK_UUID=6c697665-6f73-4e2e-8e2e-72656c697665
OVERLAY=overlay-$STICK_LABEL-$STICK_UUID
# The label of a second partition, for the overlay alone.
SECOND_LABEL=CHANGES
# The sizes in MiB of the partitions, of the root file system, and of an overlay that
# is a file.
STICK_MIB=1023
SECOND_MIB=200
ROOTFS_MIB=400
OVERLAY_MIB=160
# The release of Debian that dracut is taken from: a new one (dracut 112), as its
# initrd does not depend on the system that it starts.
DRACUT_SUITE=${DRACUT_SUITE:-forky}
# dracut, and what its modules install.
DRACUT_PACKAGES=dracut-live,udev,kmod,dmsetup,dash,initscripts,util-linux-extra
# The drivers of dracut's initrd.
LIVE_DRIVERS=${LIVE_DRIVERS:-virtio_pci virtio_blk ext4 loop squashfs overlay dm_snapshot}

# make_live_images: all that is made once; sets NESTED, FLAT and DRACUT_INITRD.
make_live_images() {
    local tree=$IMAGES/_images root=$IMAGES/_root
    mkdir -p "$IMAGES"
    make_dracut_initrd
    NESTED=$IMAGES/nested-$(images_suffix).img
    FLAT=$IMAGES/flat-$(images_suffix).img
    [[ -f $NESTED && -f $FLAT ]] && return
    say "packing squashfs.img, nested and flat"
    make_live_root "$root"
    rm -rf "$tree"
    mkdir -p "$tree/LiveOS"
    truncate -s "${ROOTFS_MIB}M" "$tree/LiveOS/rootfs.img"
    mkfs.ext4 -q -F -L e2e-root -m 0 -E lazy_itable_init=0,lazy_journal_init=0 \
        -d "$root" "$tree/LiveOS/rootfs.img"
    pack_live "$tree" "$NESTED"
    pack_live "$root" "$FLAT"
    rm -rf --one-file-system "$tree" "$root"
}

# make_dracut_initrd: with dracut of $DRACUT_SUITE, in a Debian of that release; sets
# DRACUT_INITRD. With dracut's own init: no systemd. The guest's modules are few, so
# only those of live systems go in.
make_dracut_initrd() {
    local release root=$IMAGES/_dracut before=${#MOUNTED[@]}
    release=$(kernel_release)
    DRACUT_INITRD=$IMAGES/initrd-$DRACUT_SUITE-$release.img
    [[ -f $DRACUT_INITRD ]] && return
    say "making the initrd with dracut of $DRACUT_SUITE"
    rm -rf "$root"
    DEBIAN_SUITE=$DRACUT_SUITE debian_root "$root" minbase "$DRACUT_PACKAGES"
    mkdir -p "$root/lib/modules/$release"
    mount_at "$root/lib/modules/$release" --bind "$KERNEL/lib/modules/$release"
    enter_root "$root" dracut --no-hostonly --no-hostonly-cmdline --no-early-microcode \
        --kver "$release" --modules "dash dmsquash-live udev-rules base" \
        --add-drivers "$LIVE_DRIVERS" --compress cat /boot/initrd
    unmount_down_to "$before"
    # shellcheck disable=SC2086  # several
    expect_modules "$root/boot/initrd" $LIVE_DRIVERS
    mv "$root/boot/initrd" "$DRACUT_INITRD"
    rm -rf --one-file-system "$root"
}

# dracut_hooks: the folder of dracut's hooks in its initrd.
dracut_hooks() { cpio --quiet -t <"$DRACUT_INITRD" | grep -xE '(usr|var)/lib/dracut/hooks'; }

# make_stick_initrd: dracut's initrd, as it is, and after it the files that let
# the machine run a step: two hooks and e2e/guest. Sets INITRD.
make_stick_initrd() {
    local tree=$WORK/_initrd hooks
    hooks=$tree/$(dracut_hooks)
    INITRD=$WORK/initrd
    rm -rf "$tree"
    mkdir -p "$tree/e2e" "$hooks/pre-mount" "$hooks/pre-pivot"
    cp e2e/guest/live/{init,steps,listed} e2e/guest/{changes,list} "$tree/e2e/"
    # Before those that dracut itself has there.
    cp e2e/guest/live/pre-mount.sh "$hooks/pre-mount/00-e2e.sh"
    cp e2e/guest/live/pre-pivot.sh "$hooks/pre-pivot/50-e2e.sh"
    pack_initrd "$tree" "$INITRD.steps"
    cat "$DRACUT_INITRD" "$INITRD.steps" >"$INITRD"
    rm -r "$tree" "$INITRD.steps"
}

# make_stick FORM: a fresh stick as $WORK/stick. FORM is
#   dm          nested, with an empty file for a device-mapper snapshot
#   directory   nested, with an OverlayFS directory
#   file        nested, with a file that holds a file system for OverlayFS
#   root        flattened, without an overlay: dracut makes one at the stick's root
#   partition   the same, and a second partition at whose root it makes one
#   elsewhere   nested, and an OverlayFS directory in the second partition
make_stick() {
    local form=$1 tree=$WORK/_stick second=$WORK/_tree2 inner partitions=("$STICK_MIB,bootable")
    rm -rf "$tree" "$second"
    mkdir -p "$tree/LiveOS" "$second"
    case $form in
    root | partition) cp --sparse=always "$FLAT" "$tree/LiveOS/squashfs.img" ;;
    *) cp --sparse=always "$NESTED" "$tree/LiveOS/squashfs.img" ;;
    esac
    case $form in
    dm)
        truncate -s "${OVERLAY_MIB}M" "$tree/LiveOS/$OVERLAY"
        chmod 0600 "$tree/LiveOS/$OVERLAY"
        ;;
    directory) mkdir -m 0755 "$tree/LiveOS/$OVERLAY" "$tree/LiveOS/ovlwork" ;;
    file)
        inner=$WORK/_inner
        rm -rf "$inner"
        mkdir -p "$inner/overlayfs" "$inner/ovlwork"
        truncate -s "${OVERLAY_MIB}M" "$tree/LiveOS/$OVERLAY"
        mkfs.ext4 -q -F -L e2e-overlay -d "$inner" "$tree/LiveOS/$OVERLAY"
        chmod 0600 "$tree/LiveOS/$OVERLAY"
        rm -r "$inner"
        ;;
    root | partition) ;;
    elsewhere) mkdir -p "$second/live/changes" "$second/live/ovlwork" ;;
    *) die "make_stick: there is no form $form" ;;
    esac
    case $form in partition | elsewhere) partitions+=("$SECOND_MIB") ;; esac
    partition_disk "$WORK/stick" dos "${partitions[@]}"
    format_partition "$WORK/stick" 1 -L "$STICK_LABEL" -U "$STICK_UUID" -d "$tree"
    [[ ${#partitions[@]} -eq 1 ]] || format_partition "$WORK/stick" 2 -L "$SECOND_LABEL" -d "$second"
    rm -rf "$tree" "$second"
}

# open_stick: its partitions mounted on the host, as _mnt and _changes; LIVE is the
# folder LiveOS in the first.
open_stick() {
    mount_partition "$WORK/_mnt" "$WORK/stick" 1
    [[ $(last_partition "$WORK/stick") -eq 1 ]] || mount_partition "$WORK/_changes" "$WORK/stick" 2
    LIVE=$WORK/_mnt/LiveOS
}

close_stick() { unmount_down_to 0; }
