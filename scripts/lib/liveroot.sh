# shellcheck shell=bash
# What the live systems of stick.sh and liveboot.sh are made of: the small Debian,
# with an init that starts what comes with the initrd, and initrds that a Debian
# makes in a chroot. Sourced after boots.sh.

# E2E and WORK are of boots.sh.
# shellcheck disable=SC2153

# images_suffix: tells images of another kernel or Debian apart.
images_suffix() { printf '%s-%s\n' "$(kernel_release)" "$(basename "$(debian_image)" .sqfs)"; }

# make_live_root FOLDER: the small Debian, anew. Its /sbin/init starts a script that
# the initrd leaves in /run, so that the images need not be made anew for other steps.
make_live_root() {
    local root=$1
    unpack_debian "$root"
    find "$root/usr/share/locale" -mindepth 1 -maxdepth 1 ! -name de -exec rm -r {} +
    find "$root/usr/share/man" -mindepth 1 -maxdepth 1 ! -name man1 -exec rm -r {} +
    rm -r "$root"/usr/share/zoneinfo "$root"/usr/share/perl
    printf '#!/bin/sh\nexec /bin/sh /run/e2e/init\n' >"$root/usr/sbin/init"
    chmod 0755 "$root/usr/sbin/init"
}

# pack_live FOLDER IMAGE: as Fedora and Debian do but with zstd, which a machine
# without KVM reads in an acceptable time.
pack_live() {
    mksquashfs "$1" "$2.part" -comp zstd -Xcompression-level 3 -noappend -no-progress -quiet
    mv "$2.part" "$2"
}

# enter_root ROOT COMMAND...: runs the command in the root, with what tools that make
# an initrd need: devices, the kernel's folders, empty temporary ones. What it prints
# is kept in ROOT.log, and shown when it fails.
enter_root() {
    local root=$1 before=${#MOUNTED[@]}
    shift
    mount_at "$root/proc" -t proc proc
    mount_at "$root/sys" --bind /sys
    mount_at "$root/dev" --bind /dev
    mount_at "$root/var/tmp" -t tmpfs tmpfs
    chroot "$root" "$@" >"$root.log" 2>&1 || {
        tail -n 20 "$root.log" >&2
        die "$1 failed, see $root.log"
    }
    unmount_down_to "$before"
}

# expect_modules INITRD MODULE...: the initrd, which is not compressed, has the
# modules, or the kernel has them built in.
expect_modules() {
    local initrd=$1 module
    shift
    cpio --quiet -t <"$initrd" >"$initrd.names"
    for module in "$@"; do
        grep -q "/${module//_/[-_]}\.ko" "$initrd.names" "$KERNEL/lib/modules/$(kernel_release)/modules.builtin" ||
            die "$(basename "$initrd") has no module $module"
    done
    rm "$initrd.names"
}
