# shellcheck shell=bash
# Sticks of Debian live for scripts/boots/liveboot: a disk image with a partition that
# holds live/, and further ones for persistence, as its maker or live-boot's
# manual tells people to make them. The packages live-boot and initramfs-tools make
# the initrd. Sourced after boots.sh.
#
#   $LIVEBOOT/base-*.squashfs   the small Debian, with the packages and the kernel's modules
#   $LIVEBOOT/initrd-*.img      the initrd, as initramfs-tools makes it
#   $WORK/medium/               the files of a medium: live/, boot loaders, .disk/
#   $WORK/stick                 the stick of one part
#
# The first two are made once for each kernel and small Debian.

# E2E and WORK are of boots.sh; the callers use what is set here.
# shellcheck disable=SC2153,SC2034

# shellcheck source=scripts/lib/liveroot.sh
. scripts/lib/liveroot.sh
# shellcheck source=scripts/lib/partitions.sh
. scripts/lib/partitions.sh
# shellcheck source=scripts/lib/lists.sh
. scripts/lib/lists.sh

LIVEBOOT=$E2E/liveboot
# The drivers: of a disk and of a CD or USB disk that a firmware boots.
LIVEBOOT_DRIVERS=(virtio_pci virtio_blk ext4 loop squashfs overlay isofs sr_mod sd_mod ahci usb_storage xhci_pci)
# The volume identifier of the medium, and what its menu boots with.
LIVEBOOT_LABEL=E2E_DEBIAN
LIVEBOOT_ARGS="boot=live components quickusbmodules"
# What a machine prints that will never come to its step.
STUCK='BOOT FAILED|Kernel panic|\(initramfs\)|No bootable device|Failed to load|error: no such|UEFI Interactive Shell'

# make_liveboot: all that is made once; sets LIVEBOOT_BASE and LIVEBOOT_INITRD.
make_liveboot() {
    local root=$LIVEBOOT/_root release
    release=$(kernel_release)
    LIVEBOOT_BASE=$LIVEBOOT/base-$(images_suffix).squashfs
    LIVEBOOT_INITRD=$LIVEBOOT/initrd-$(images_suffix).img
    [[ -f $LIVEBOOT_BASE && -f $LIVEBOOT_INITRD ]] && return
    say "making a Debian live and its initrd"
    rm -rf "$LIVEBOOT"
    mkdir -p "$LIVEBOOT"
    make_live_root "$root"
    # live-boot makes these at the first boot, and would change the folders' times.
    mkdir -p "$root/usr/lib/live/mount" "$root/var/log/live"
    copy_modules "$root/lib/modules/$release/kernel" "${LIVEBOOT_DRIVERS[@]}"
    rm "$root/lib/modules/$release/kernel/order"
    cp "$KERNEL/lib/modules/$release"/modules.{builtin,builtin.modinfo,order} "$root/lib/modules/$release/"
    depmod --basedir "$root" "$release"
    make_liveboot_initrd "$root" "$release"
    pack_live "$root" "$LIVEBOOT_BASE"
    rm -rf --one-file-system "$root"
}

# make_liveboot_initrd ROOT RELEASE: with the packages' tools, in the root. It has an id
# that a medium must have too, and the drivers that the root has; what runs last
# brings the guest's steps along.
make_liveboot_initrd() {
    local root=$1 script=$1/etc/initramfs-tools/scripts/init-bottom/e2e
    sed -i 's/^MODULES=.*/MODULES=list/; s/^COMPRESS=.*/COMPRESS=gzip/' "$root/etc/initramfs-tools/initramfs.conf"
    printf '%s\n' "${LIVEBOOT_DRIVERS[@]}" >>"$root/etc/initramfs-tools/modules"
    cat >"$script" <<'SH'
#!/bin/sh
[ "$1" = prereqs ] && exit
mkdir -p /run/e2e
cp /e2e/* /run/e2e/
SH
    chmod 0755 "$script"
    # It looks there for the codecs that the kernel has.
    cp "$KERNEL/boot/config-$2" "$root/boot/"
    enter_root "$root" env LIVE_GENERATE_UUID=1 mkinitramfs -o /boot/initrd "$2"
    zcat "$root/boot/initrd" >"$LIVEBOOT_INITRD.part" || die "the initrd is not compressed by gzip"
    rm "$root"/boot/*
    expect_modules "$LIVEBOOT_INITRD.part" "${LIVEBOOT_DRIVERS[@]}"
    mv "$LIVEBOOT_INITRD.part" "$LIVEBOOT_INITRD"
}

# liveboot_initrd FILE: the initrd and after it the guest's steps, compressed as the
# media have it.
liveboot_initrd() {
    local tree=$WORK/_initrd
    rm -rf "$tree"
    mkdir -p "$tree/e2e"
    cp e2e/guest/live/{init,steps,listed} e2e/guest/{changes,list} "$tree/e2e/"
    pack_initrd "$tree" "$1.steps"
    { zstd -q -3 <"$LIVEBOOT_INITRD" && zstd -q -3 <"$1.steps"; } >"$1"
    rm -r "$tree" "$1.steps"
}

# make_debian_medium: the files of a medium, in $WORK/medium: live/ with base, kernel
# and initrd, and beside it what live-build puts there.
make_debian_medium() {
    local medium=$WORK/medium
    rm -rf "$medium"
    mkdir -p "$medium/live" "$medium/.disk"
    cp "$LIVEBOOT_BASE" "$medium/live/filesystem.squashfs"
    cp "$KERNEL/boot/vmlinuz-$(kernel_release)" "$medium/live/vmlinuz"
    liveboot_initrd "$medium/live/initrd.img"
    cpio --quiet -i --to-stdout conf/uuid.conf <"$LIVEBOOT_INITRD" >"$medium/.disk/live-uuid-generic"
    echo "e2e Debian live" >"$medium/.disk/info"
    make_debian_loaders "$medium"
    medium_sums "$medium"
}

# make_debian_loaders MEDIUM: ISOLINUX, and GRUB for UEFI, with a menu of one entry,
# which runs a step that may be run on every medium.
make_debian_loaders() {
    local medium=$1 loader=$WORK/_efi arguments="$LIVEBOOT_ARGS persistence step=media-medium $CONSOLE_ARGS"
    copy_isolinux "$medium/isolinux"
    cat >"$medium/isolinux/isolinux.cfg" <<CFG
UI menu.c32
TIMEOUT 10
LABEL live
    MENU LABEL e2e Debian live
    LINUX /live/vmlinuz
    INITRD /live/initrd.img
    APPEND $arguments
CFG
    mkdir -p "$medium/boot/grub" "$loader"
    cat >"$medium/boot/grub/grub.cfg" <<CFG
set timeout=1
menuentry "e2e Debian live" {
    linux /live/vmlinuz $arguments
    initrd /live/initrd.img
}
CFG
    cat >"$WORK/early.cfg" <<'CFG'
search --no-floppy --set=root --file /.disk/live-uuid-generic
set prefix=($root)/boot/grub
CFG
    grub_image x86_64-efi "$loader/BOOTX64.EFI" -c "$WORK/early.cfg" -p /boot/grub
    make_efi_image "$medium/boot/grub/efi.img" "$loader"
    rm -r "$loader"
}

# medium_sums MEDIUM: its list of sums.
medium_sums() {
    rm -f "$1/md5sum.txt"
    (cd "$1" && find . -type f ! -name isolinux.bin -print0 | sort -z | xargs -0 md5sum >"$WORK/md5sum.txt")
    mv "$WORK/md5sum.txt" "$1/"
}

# make_debian_stick dos|gpt [PARTITION CONF ARGUMENT...]: a fresh stick: the medium, and
# maybe a partition for persistence with that persistence.conf. PARTITION is as for
# partition_disk, the arguments are of mkfs.ext4.
make_debian_stick() {
    partition_disk "$WORK/stick" "$1" 500 "${@:2:1}"
    format_partition "$WORK/stick" 1 -L "$LIVEBOOT_LABEL" -d "$WORK/medium"
    [[ $# -eq 1 ]] || format_persistence "$WORK/stick" 2 "${@:3}"
}

# format_persistence FILE NUMBER CONF ARGUMENT...: a partition for persistence.
format_persistence() {
    local tree=$WORK/_tree
    rm -rf "$tree"
    mkdir -p "$tree"
    printf '%s\n' "$3" >"$tree/persistence.conf"
    format_partition "$1" "$2" -d "$tree" "${@:4}"
    rm -r "$tree"
}

# open_medium: its first partition mounted on the host, as LIVE.
open_medium() {
    LIVE=$WORK/_mnt
    mount_partition "$LIVE" "$WORK/stick" 1
}

# open_stick [FOLDER]: the second one as well, as PERSISTENCE: in that folder, or at the
# name of persistence on the medium.
open_stick() {
    open_medium
    PERSISTENCE=${1:-$LIVE/persistence}
    mount_partition "$PERSISTENCE" "$WORK/stick" 2
}

close_stick() {
    unmount_down_to 1
    [[ ! -d $LIVE/persistence ]] || rmdir "$LIVE/persistence"
    unmount_down_to 0
}

# host_list NAME: the list of what the open stick's system would show, with base and
# union as the host's kernel lays them over each other.
host_list() {
    local root=$WORK/_root before=${#MOUNTED[@]}
    mkdir -p "$LISTS"
    mount_at "$WORK/_base" -t squashfs -o loop,ro "$LIVE/live/filesystem.squashfs"
    mount_at "$root" -t overlay -o "ro,lowerdir=$PERSISTENCE/rw:$WORK/_base,redirect_dir=on" overlay
    mount_at "$root/run" -t tmpfs tmpfs
    cp e2e/guest/list e2e/guest/live/listed "$root/run/"
    chroot "$root" /bin/sh -c '. /run/list; . /run/listed; list_system /run/list.txt'
    cp "$root/run/list.txt" "$LISTS/$1"
    unmount_down_to "$before"
}

# start_stick STEP PARAMETER...: the machine with $WORK/stick, as a boot loader on
# it would start it.
start_stick() {
    fresh_lists_disk
    machine "$1" "$WORK/stick" "$WORK/medium/live/initrd.img" "$LIVEBOOT_ARGS" "${@:2}"
}

# boot STEP PARAMETER...: runs the step until the machine powers off by itself.
boot() {
    start_stick "$@"
    end_step "$1" "$STUCK"
    collect_lists
}

# boot_and_cut STEP PARAMETER...: pulls the plug when the step says so.
boot_and_cut() {
    start_stick "$@"
    cut_step "$1" "$STUCK"
    collect_lists
}
