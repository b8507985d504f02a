# shellcheck shell=bash
# Live systems in antiX's layout for scripts/boots/iso, and the bootable ISOs that
# xorriso makes of them. Sourced after boots.sh.
#
#   $SYSTEM/medium/antiX/     a live directory: linuxfs, rootfs, homefs, kernel, initrd
#   $SYSTEM/medium/           what its medium boots by: ISOLINUX, and GRUB for UEFI
#   $SYSTEM/isolinux.iso      of the medium without changes: ISOLINUX, and for UEFI
#                             efi.img, which finds its menu on the ISO 9660 file system
#   $SYSTEM/grub.iso          the same with GRUB for BIOS, and for UEFI an appended
#                             partition with a menu of its own
#
# All are made once for each kernel, small Debian and e2e/guest/iso.

# E2E and KERNEL are of boots.sh; the callers use what is set here.
# shellcheck disable=SC2153,SC2034

# The volume identifier of both ISOs, and what they boot with beside it. The words
# that are about the machine's console and speed come last.
BASE_LABEL=E2E_BASE
CONSOLE_ARGS="console=ttyS0 quiet panic=-1 mitigations=off no_timer_check norandmaps init_on_alloc=0 random.trust_cpu=on"
# The drivers of machine_iso's media, and of machine's disk.
MEDIUM_MODULES=(isofs sr_mod ahci sd_mod usb-storage xhci-pci squashfs overlay loop virtio_pci virtio_blk ext4)
# Who owned the system, with the password of the overlay and the older one.
OWNER=alice
OWNER_PASSWORD=owner-new-4711
OWNER_FORMER_PASSWORD=owner-old-0815

# prepare_medium: all that is made once; sets SYSTEM, MEDIUM, and
# BASE_ID, the version id.
prepare_medium() {
    local stamp
    stamp=$(cat scripts/lib/medium.sh e2e/guest/iso/{init,check-*} | md5sum | cut -c 1-8)
    SYSTEM=$E2E/iso-system-$(kernel_release)-$(basename "$(debian_image)" .sqfs)-$stamp
    MEDIUM=$SYSTEM/medium
    if ! [[ -d $SYSTEM ]]; then
        say "making a live system and its ISOs"
        rm -rf "$E2E"/iso-system-*
        SYSTEM=$SYSTEM.part
        MEDIUM=$SYSTEM/medium
        make_linuxfs
        make_overlay
        make_initrd
        make_boot_files
        make_isolinux_iso
        make_grub_iso
        mv "$SYSTEM" "${SYSTEM%.part}"
        SYSTEM=${SYSTEM%.part}
        MEDIUM=$SYSTEM/medium
    fi
    BASE_ID=$(cat "$SYSTEM/version-id")
}

# be_patient ROOT: log-in must not lose patience with a busy host.
be_patient() { sed -i 's/^LOGIN_TIMEOUT.*/LOGIN_TIMEOUT 900/' "$1/etc/login.defs"; }

# make_linuxfs: the small Debian as installed, with an owner, the kernel's modules
# and a version id.
make_linuxfs() {
    local root=$SYSTEM/_root dir=$MEDIUM/antiX release
    release=$(kernel_release)
    mkdir -p "$dir"
    unpack_debian "$root"
    rm -r "$root"/usr/share/{doc,man,zoneinfo}/*
    printf '==== %s' "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" >"$SYSTEM/version-id"
    mkdir -p "$root/etc/live/version" "$root/usr/local/sbin"
    printf '%s\n\ntitle: e2e\n' "$(cat "$SYSTEM/version-id")" >"$root/etc/live/version/linuxfs.ver"
    install -m 0755 e2e/guest/iso/check-base "$root/usr/local/sbin/e2e-check"
    copy_modules "$root/lib/modules/$release/kernel" "${MEDIUM_MODULES[@]}"
    rm "$root/lib/modules/$release/kernel/order"
    cp "$KERNEL/lib/modules/$release"/modules.{builtin,builtin.modinfo,order} "$root/lib/modules/$release/"
    depmod --basedir "$root" "$release"
    be_patient "$root"
    echo e2e >"$root/etc/hostname"
    chroot "$root" useradd --create-home --shell /bin/bash --groups audio "$OWNER"
    set_password "$root" "$OWNER" "$OWNER_FORMER_PASSWORD"
    mksquashfs "$root" "$dir/linuxfs" -comp zstd -Xcompression-level 3 -b 262144 -noappend -no-progress -quiet
    rm -rf "$root"
    make_sum "$dir/linuxfs"
}

# set_password ROOT USER PASSWORD: in the system under ROOT.
set_password() { printf '%s:%s\n' "$2" "$3" | chroot "$1" chpasswd --crypt-method SHA512; }

# make_sum FILE: the file's sum beside it, as antiX has it.
make_sum() { (cd "$(dirname "$1")" && md5sum "$(basename "$1")" >"$(basename "$1").md5"); }

# make_overlay: rootfs with what was changed, homefs with the owner's home.
make_overlay() {
    local root=$SYSTEM/_merged dir=$MEDIUM/antiX tree=$SYSTEM/_tree before=${#MOUNTED[@]}
    mkdir -p "$tree/upper" "$tree/work"
    make_ext4 "$tree" "$dir/rootfs" rootfs
    mount_at "$SYSTEM/_linuxfs" -t squashfs -o loop,ro "$dir/linuxfs"
    mount_at "$SYSTEM/_rootfs" -o loop "$dir/rootfs"
    mount_at "$root" -t overlay overlay \
        -o "lowerdir=$SYSTEM/_linuxfs,upperdir=$SYSTEM/_rootfs/upper,workdir=$SYSTEM/_rootfs/work"
    cp "$root/etc/live/version/linuxfs.ver" "$root/etc/live/version/rootfs.ver"
    make_changes "$root"
    set_password "$root" "$OWNER" "$OWNER_PASSWORD"
    cp -a "$root/home/$OWNER" "$tree/"
    unmount_down_to "$before"

    rmdir "$tree/upper" "$tree/work"
    echo "only in homefs" >"$tree/$OWNER/from-homefs"
    chown "$(stat -c %u:%g "$tree/$OWNER")" "$tree/$OWNER/from-homefs"
    make_ext4 "$tree" "$dir/homefs" homefs
    rm -r "$tree"
    rmdir "$SYSTEM/_linuxfs" "$SYSTEM/_rootfs" "$root"
}

# make_changes ROOT: what check-changed looks for, in the system mounted at ROOT.
make_changes() {
    mkdir -p "$1/root/overlay" "$1/usr/local/sbin"
    install -m 0755 e2e/guest/iso/check-changed "$1/usr/local/sbin/e2e-check"
    echo "only in the overlay" >"$1/root/overlay/file"
    ln "$1/root/overlay/file" "$1/root/overlay/link"
    rm "$1/etc/debian_version"
    rm -r "$1/usr/share/common-licenses"
    mkdir "$1/usr/share/common-licenses"
    echo mine >"$1/usr/share/common-licenses/MINE"
    cp "$1/usr/bin/env" "$1/usr/local/bin/tool"
    setcap cap_net_raw+ep "$1/usr/local/bin/tool"
}

# make_ext4 TREE FILE LABEL: a persistence file.
make_ext4() {
    truncate -s 64M "$2"
    mkfs.ext4 -q -F -L "$3" -d "$1" "$2"
}

# make_initrd: busybox, the drivers, e2e/guest/iso/init; and the kernel.
make_initrd() {
    local tree=$SYSTEM/_initrd dir=$MEDIUM/antiX
    mkdir -p "$tree/bin"
    cp "$(command -v busybox)" "$tree/bin/busybox"
    cp e2e/guest/iso/init "$tree/init"
    chmod 0755 "$tree/init"
    ln -s busybox "$tree/bin/sh"
    copy_modules "$tree/lib/modules/$(kernel_release)" "${MEDIUM_MODULES[@]}"
    pack_initrd "$tree" "$tree.cpio"
    gzip -9n <"$tree.cpio" >"$dir/initrd.gz"
    cp "$KERNEL/boot/vmlinuz-$(kernel_release)" "$dir/vmlinuz"
    make_sum "$dir/initrd.gz"
    make_sum "$dir/vmlinuz"
    rm -r "$tree" "$tree.cpio"
}

# make_boot_files: boot loaders and their menus, as on antiX's media.
make_boot_files() {
    local grub=$MEDIUM/boot/grub isolinux=$MEDIUM/boot/isolinux
    mkdir -p "$grub" "$isolinux" "$MEDIUM/EFI/BOOT" "$MEDIUM/.disk"
    echo "e2e base" >"$MEDIUM/.disk/info"
    copy_isolinux "$isolinux"
    cat >"$isolinux/isolinux.cfg" <<CFG
UI menu.c32
PROMPT 0
TIMEOUT 10
MENU TITLE Welcome to e2e base
DEFAULT live

LABEL live
    MENU LABEL e2e base, all changes kept
    KERNEL /antiX/vmlinuz
    APPEND bdir=antiX blab=$BASE_LABEL persist_all $CONSOLE_ARGS
    INITRD /antiX/initrd.gz

LABEL plain
    MENU LABEL e2e base, no changes kept
    KERNEL /antiX/vmlinuz
    APPEND initrd=/antiX/initrd.gz bdir=antiX blab=$BASE_LABEL $CONSOLE_ARGS
CFG
    grub_menu >"$grub/grub.cfg"
    # It finds its menu by a file of the medium.
    cat >"$SYSTEM/early.cfg" <<'CFG'
search --no-floppy --set=root --file /antiX/vmlinuz
set prefix=($root)/boot/grub
CFG
    grub_image x86_64-efi "$MEDIUM/EFI/BOOT/BOOTX64.EFI" -c "$SYSTEM/early.cfg" -p /boot/grub
    make_efi_image "$grub/efi.img" "$MEDIUM/EFI/BOOT"
}

# copy_isolinux FOLDER: ISOLINUX with its menu.
copy_isolinux() {
    local name
    mkdir -p "$1"
    cp /usr/lib/ISOLINUX/isolinux.bin "$1/"
    for name in ldlinux menu libutil libcom32; do
        cp "/usr/lib/syslinux/modules/bios/$name.c32" "$1/"
    done
}

# grub_menu: the menu of GRUB.
grub_menu() {
    cat <<CFG
set timeout=1
set default=0
search --no-floppy --set=root --label $BASE_LABEL
menuentry "e2e base, all changes kept" {
    linux /antiX/vmlinuz bdir=antiX blab=$BASE_LABEL persist_all $CONSOLE_ARGS
    initrd /antiX/initrd.gz
}
menuentry "e2e base, no changes kept" {
    linux /antiX/vmlinuz bdir=antiX blab=$BASE_LABEL $CONSOLE_ARGS
    initrd /antiX/initrd.gz
}
CFG
}

# grub_image FORMAT FILE ARGUMENT...: GRUB with all that it needs built in.
grub_image() {
    local modules=(part_gpt part_msdos fat iso9660 normal configfile search search_fs_file
        search_label linux echo test)
    case $1 in
    x86_64-efi) modules+=(all_video) ;;
    i386-pc-eltorito) modules+=(biosdisk) ;;
    esac
    grub-mkimage -O "$1" -o "$2" "${@:3}" "${modules[@]}"
}

# make_efi_image FILE FOLDER: a FAT image with the folder's files in EFI/BOOT.
make_efi_image() {
    truncate -s 1440K "$1"
    mformat -i "$1" -f 1440 -v E2E_EFI ::
    mmd -i "$1" ::EFI ::EFI/BOOT
    mcopy -i "$1" "$2"/* ::EFI/BOOT/
}

# iso_of FILE TREE ARGUMENT...: an ISO of the medium without its persistence files.
iso_of() {
    local file=$1 tree=$2
    shift 2
    xorriso -as mkisofs -quiet -r -J -joliet-long -iso-level 3 -V "$BASE_LABEL" -o "$file" \
        -m 'rootfs' -m 'homefs' "$@" "$tree" 2>"$file.log" || {
        cat "$file.log" >&2
        die "xorriso cannot make $file"
    }
}

# make_isolinux_iso: isohybrid with ISOLINUX; UEFI boots efi.img, a file.
make_isolinux_iso() {
    iso_of "$SYSTEM/isolinux.iso" "$MEDIUM" -isohybrid-mbr /usr/lib/ISOLINUX/isohdpfx.bin \
        -c boot/isolinux/isolinux.cat -b boot/isolinux/isolinux.bin \
        -no-emul-boot -boot-load-size 4 -boot-info-table \
        -eltorito-alt-boot -e boot/grub/efi.img -no-emul-boot -isohybrid-gpt-basdat
}

# make_grub_iso: GRUB's own hybrid; UEFI boots a partition behind the ISO 9660. From
# a disk GRUB's folder is that of the partition, from a CD that of the ISO 9660.
make_grub_iso() {
    local tree=$SYSTEM/_grub
    mkdir -p "$tree/boot/grub/i386-pc" "$tree/EFI/BOOT"
    cp -al "$MEDIUM/antiX" "$MEDIUM/.disk" "$tree/"
    grub_menu >"$tree/boot/grub/grub.cfg"
    grub_menu >"$tree/EFI/BOOT/grub.cfg"
    grub_image x86_64-efi "$tree/EFI/BOOT/BOOTX64.EFI" -p /EFI/BOOT
    grub_image i386-pc-eltorito "$tree/boot/grub/i386-pc/eltorito.img" -c "$SYSTEM/early.cfg" -p /boot/grub
    make_efi_image "$SYSTEM/esp.img" "$tree/EFI/BOOT"
    iso_of "$SYSTEM/grub.iso" "$tree" --grub2-mbr /usr/lib/grub/i386-pc/boot_hybrid.img \
        -c boot/grub/boot.cat -b boot/grub/i386-pc/eltorito.img \
        -no-emul-boot -boot-load-size 4 -boot-info-table --grub2-boot-info \
        -append_partition 2 0xef "$SYSTEM/esp.img" -appended_part_as_gpt \
        -eltorito-alt-boot -e '--interval:appended_partition_2:all::' -no-emul-boot
    rm -r "$tree"
}
