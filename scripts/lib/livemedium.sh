# shellcheck shell=bash
# A LiveOS medium for scripts/boots/iso: the nested image of stick.sh, Debian's own
# dracut initrd with what a CD and a USB disk need, and a changed overlay. Sourced
# after stick.sh and medium.sh.
#
#   $LIVE_MEDIUM/LiveOS/       squashfs.img and an OverlayFS directory with changes
#   $LIVE_MEDIUM/isolinux/     ISOLINUX with kernel and initrd, as Fedora has them
#   $LIVE_MEDIUM/images/       efiboot.img, with GRUB and its menu
#   $WORK/live.iso             of squashfs.img alone, by xorriso

# WORK is of boots.sh; the callers use what is set here.
# shellcheck disable=SC2153,SC2034

# The volume identifier, and what dracut boots with.
LIVE_LABEL=E2E_LIVE
LIVE_ARGS="rd.live.image rd.shell=0 $CONSOLE_ARGS"

# make_live_medium: sets LIVE_MEDIUM. Anew at every run: it takes some seconds.
make_live_medium() {
    local isolinux images
    LIVE_MEDIUM=$WORK/medium
    isolinux=$LIVE_MEDIUM/isolinux
    images=$LIVE_MEDIUM/images
    rm -rf "$LIVE_MEDIUM"
    mkdir -p "$LIVE_MEDIUM/LiveOS" "$isolinux" "$images" "$LIVE_MEDIUM/EFI/BOOT"
    cp --sparse=always "$NESTED" "$LIVE_MEDIUM/LiveOS/squashfs.img"
    make_live_changes "$LIVE_MEDIUM/LiveOS/overlay-$LIVE_LABEL-2026-01-01-00-00-00-00"
    mkdir "$LIVE_MEDIUM/LiveOS/ovlwork"
    cp "$KERNEL/boot/vmlinuz-$(kernel_release)" "$isolinux/vmlinuz"
    make_live_initrd "$isolinux/initrd.img"

    copy_isolinux "$isolinux"
    cat >"$isolinux/isolinux.cfg" <<CFG
ui menu.c32
timeout 10
menu title e2e live
label linux
  menu label ^Start e2e live
  kernel vmlinuz
  append initrd=initrd.img root=live:CDLABEL=$LIVE_LABEL $LIVE_ARGS
CFG
    cat >"$LIVE_MEDIUM/EFI/BOOT/grub.cfg" <<CFG
set timeout=1
search --no-floppy --set=root -l '$LIVE_LABEL'
menuentry 'Start e2e live' --class gnu-linux {
    linux /isolinux/vmlinuz root=live:CDLABEL=$LIVE_LABEL $LIVE_ARGS
    initrd /isolinux/initrd.img
}
CFG
    grub_image x86_64-efi "$LIVE_MEDIUM/EFI/BOOT/BOOTX64.EFI" -p /EFI/BOOT
    make_efi_image "$images/efiboot.img" "$LIVE_MEDIUM/EFI/BOOT"
    make_live_iso
}

# make_live_changes UPPER: an overlay over the image in squashfs.img, as the kernel
# writes it. It is made on a file system of its own, and copied with its marks.
make_live_changes() {
    local root=$WORK/_merged before=${#MOUNTED[@]}
    mount_at "$WORK/_squashfs" -t squashfs -o loop,ro "$LIVE_MEDIUM/LiveOS/squashfs.img"
    mount_at "$WORK/_rootfs" -t ext4 -o loop,ro "$WORK/_squashfs/LiveOS/rootfs.img"
    mount_at "$WORK/_overlay" -t tmpfs tmpfs
    mkdir "$WORK/_overlay/upper" "$WORK/_overlay/work"
    mount_at "$root" -t overlay overlay \
        -o "lowerdir=$WORK/_rootfs,upperdir=$WORK/_overlay/upper,workdir=$WORK/_overlay/work"
    make_changes "$root"
    be_patient "$root"
    cp -a "$WORK/_overlay/upper" "$1"
    unmount_down_to "$before"
}

# make_live_initrd FILE: dracut's initrd and, after it, the guest's first process.
make_live_initrd() {
    local tree=$WORK/_initrd hooks
    hooks=$tree/$(dracut_hooks)/pre-pivot
    rm -rf "$tree"
    mkdir -p "$tree/e2e" "$hooks"
    cp e2e/guest/iso/live-init "$tree/e2e/init"
    cp e2e/guest/live/pre-pivot.sh "$hooks/50-e2e.sh"
    pack_initrd "$tree" "$1.steps"
    { zstd -q -3 <"$DRACUT_INITRD" && zstd -q -3 <"$1.steps"; } >"$1"
    rm -r "$tree" "$1.steps"
}

# make_live_iso: as Fedora's lorax makes them: isohybrid with ISOLINUX, efiboot.img.
make_live_iso() {
    xorriso -as mkisofs -quiet -r -J -joliet-long -V "$LIVE_LABEL" -o "$WORK/live.iso" \
        -m 'overlay-*' -m ovlwork -isohybrid-mbr /usr/lib/ISOLINUX/isohdpfx.bin \
        -c isolinux/boot.cat -b isolinux/isolinux.bin -no-emul-boot -boot-load-size 4 -boot-info-table \
        -eltorito-alt-boot -e images/efiboot.img -no-emul-boot -isohybrid-gpt-basdat \
        "$LIVE_MEDIUM" 2>"$WORK/live.log" || {
        cat "$WORK/live.log" >&2
        die "xorriso cannot make live.iso"
    }
}
