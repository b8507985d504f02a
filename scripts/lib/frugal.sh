# shellcheck shell=bash
# Live directories in antiX's layout for scripts/boots/{sets,save}: a
# disk with one file system that holds antiX/ with linuxfs and rootfs, and an initrd
# (e2e/guest/antix) that brings the system up as antiX's does. Sourced after
# boots.sh.
#
#   $DISK            the disk of one part
#   $LIVE            the live directory while the disk is open
#   $LISTS           what the guests wrote down, on the open disk
#   $WORK/initrd     busybox, some modules, what the guest does

# E2E and WORK are of boots.sh; the callers use what is set here.
# shellcheck disable=SC2153,SC2034

# shellcheck source=scripts/lib/lists.sh
. scripts/lib/lists.sh

# The owners of the homes that linuxfs has, with uid 1000 and 1001.
HOME_OWNERS=(anna ben)

# prepare_frugal CODEC: linuxfs, packed by it, and initrd; sets LINUXFS and DISK.
prepare_frugal() {
    local stamp
    stamp=$(md5sum <scripts/lib/frugal.sh | cut -c 1-8)
    LINUXFS=$E2E/linuxfs-$1-$(basename "$(debian_image)" .sqfs)-$stamp
    DISK=$WORK/disk
    one_at_a_time make_linuxfs "$1"
    make_frugal_initrd
}

# make_frugal_initrd: anew at every run, which takes a second.
make_frugal_initrd() {
    local tree=$WORK/_initrd
    rm -rf "$tree"
    mkdir -p "$tree/bin" "$tree/steps"
    cp "$(command -v busybox)" "$tree/bin/busybox"
    cp e2e/guest/antix/init "$tree/"
    cp e2e/guest/antix/{steps,kinds,homes,sets,save} e2e/guest/{changes,list} "$tree/steps/"
    ln -s busybox "$tree/bin/sh"
    copy_modules "$tree/modules" virtio_pci virtio_blk ext4 loop squashfs overlay
    pack_initrd "$tree" "$WORK/initrd"
}

# make_linuxfs CODEC: the small Debian with homes and a version id, as the live system.
make_linuxfs() {
    local root=$WORK/_root level=()
    [[ $1 == zstd ]] && level=(-Xcompression-level 3)
    [[ -f $LINUXFS ]] && return
    rm -f "$E2E/linuxfs-$1-"*
    unpack_debian "$root"
    mkdir -p "$root/live" "$root/etc/live/version"
    printf '==== %s\n\ntitle: e2e\n' "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" \
        >"$root/etc/live/version/linuxfs.ver"
    make_base_homes "$root"
    mksquashfs "$root" "$LINUXFS.part" -comp "$1" "${level[@]}" -b 262144 \
        -noappend -no-progress -quiet
    rm -rf "$root"
    mv "$LINUXFS.part" "$LINUXFS"
}

# make_base_homes ROOT: homes with something in them that can be changed.
make_base_homes() {
    local root=$1 user home name
    for user in "${HOME_OWNERS[@]}"; do
        chroot "$root" useradd --create-home --shell /bin/bash "$user"
        home=$root/home/$user
        mkdir -p "$home"/Documents/{notes,old/older} "$home"/Pictures "$home"/.config/app
        for name in Documents/letter Documents/notes/{one,two,three} Documents/old/older/deep \
            Pictures/{1,2,3} .config/app/settings plain tool; do
            printf '%s of the base\n' "$name" >"$home/$name"
        done
        ln "$home/Documents/letter" "$home/Documents/letter-too"
        ln -s Documents/letter "$home/link"
        chroot "$root" chown -hR "$user:$user" "/home/$user"
        setcap cap_net_raw+ep "$home/tool"
        setfattr -n user.base -v yes "$home/plain"
        chmod 0750 "$home"
    done
}

# make_disk MIB: a fresh live directory with an empty rootfs of that size, on a disk of
# its own.
make_disk() {
    local tree=$WORK/_disk
    rm -rf "$tree" "$DISK"
    mkdir -p "$tree/antiX" "$tree/lists" "$tree/empty/upper" "$tree/empty/work"
    cp "$LINUXFS" "$tree/antiX/linuxfs"
    (cd "$tree/antiX" && md5sum linuxfs >linuxfs.md5)
    truncate -s "$1M" "$tree/antiX/rootfs"
    mkfs.ext4 -q -F -L rootfs -d "$tree/empty" "$tree/antiX/rootfs"
    rm -r "$tree/empty"
    truncate -s 2G "$DISK"
    mkfs.ext4 -q -F -L live -d "$tree" "$DISK"
    rm -rf "$tree"
}

# open_disk: the disk, mounted on the host as $MNT.
open_disk() {
    MNT=$WORK/_mnt
    mount_at "$MNT" -o loop "$DISK"
    LIVE=$MNT/antiX
    LISTS=$MNT/lists
}

close_disk() { unmount_down_to 0; }

# boot STEP PARAMETER...: runs the step until the machine powers off by itself.
boot() {
    machine "$1" "$DISK" "$WORK/initrd" "${@:2}"
    end_step "$1"
}

# boot_and_cut STEP PARAMETER...: pulls the plug when the step says so.
boot_and_cut() {
    machine "$1" "$DISK" "$WORK/initrd" "${@:2}"
    cut_step "$1"
}

# version_id IMAGE: the version id inside a linuxfs.
version_id() {
    unsquashfs -cat "$1" etc/live/version/linuxfs.ver 2>/dev/null | grep '^===' | tail -n 1
}

# expect_sound DIR [IMAGE...]: the files of a live directory are whole and belong
# together, rootfs and the other images named among them.
expect_sound() {
    local dir=$1 image
    shift
    [[ $(cut -d ' ' -f 1 "$dir/linuxfs.md5") == "$(sum "$dir/linuxfs")" ]] ||
        die "linuxfs.md5 is not that of linuxfs"
    for image in rootfs "$@"; do
        e2fsck -fn "$dir/$image" >"$WORK/e2fsck.log" 2>&1 || {
            cat "$WORK/e2fsck.log" >&2
            die "$image does not pass e2fsck"
        }
    done
    relive verify "$dir"
}

# expect_dirty IMAGE: its journal was not written back when the power went.
expect_dirty() {
    dumpe2fs -h "$1" 2>/dev/null | grep -q needs_recovery ||
        die "${1##*/} has a clean journal after the power cut: the test shows nothing"
}

# without_mark: a list but for the version ids, which come with every base and whose
# directories init makes.
without_mark() { grep -avP '^/etc/live(/version(/.*)?)?\t'; }
