# shellcheck shell=bash
# The virtual machine of scripts/e2e: its kernel, initrd, live system and disk.
# What takes long is made once and kept under $E2E. Sourced after say.sh,
# debian.sh and mounts.sh.
#
#   $E2E/kernel/       a Debian cloud kernel, unpacked, not installed
#   $E2E/initrd        busybox, the modules that are needed, scripts/guest
#   $E2E/linuxfs.CODEC the small Debian that boots
#   $E2E/disk          ext4 file system with antiX/ in it; DISK names the one in use
#   $E2E/console.STEP  what the machine printed

# E2E, the folder, is the caller's.
# shellcheck disable=SC2153

# Seconds that one boot may take; a boot without KVM takes 10 to 30 on an idle machine.
BOOT_SECONDS=${BOOT_SECONDS:-240}
# Modules that the kernel may have built in.
GUEST_MODULES=(virtio_pci virtio_blk ext4 loop squashfs overlay)

# fetch_kernel: the package that the archive's cloud kernel depends on.
fetch_kernel() {
    [[ -d $E2E/kernel ]] && return
    local package
    package=$(apt-cache depends linux-image-cloud-amd64 |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
    [[ -n $package ]] || die "the archive has no linux-image-cloud-amd64"
    say "fetching $package"
    rm -rf "$E2E/kernel.part"
    mkdir -p "$E2E/kernel.part"
    (cd "$E2E/kernel.part" && apt-get -qq download "$package" 2>/dev/null) ||
        die "cannot download $package"
    dpkg-deb -x "$E2E/kernel.part/$package"_*.deb "$E2E/kernel.part"
    mv "$E2E/kernel.part" "$E2E/kernel"
}

# kernel_release: the unpacked kernel's name for itself.
kernel_release() { basename "$E2E"/kernel/lib/modules/*; }

# make_initrd: anew at every run, it takes a second and holds scripts/guest.
make_initrd() {
    local tree=$E2E/_initrd release module file
    release=$(kernel_release)
    rm -rf "$tree"
    mkdir -p "$tree/bin" "$tree/modules"
    cp "$(command -v busybox)" "$tree/bin/busybox"
    cp scripts/guest/init "$tree/init"
    cp scripts/guest/steps "$tree/steps"
    ln -s busybox "$tree/bin/sh"
    depmod --basedir "$E2E/kernel" "$release"
    for module in "${GUEST_MODULES[@]}"; do
        modprobe --dirname "$E2E/kernel" --set-version "$release" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$tree/modules/paths"
    while IFS= read -r file; do
        module=$(basename "$file")
        case $module in
        *.ko) cp "$file" "$tree/modules/$module" ;;
        *.ko.xz) xz -dc "$file" >"$tree/modules/${module%.xz}" ;;
        *.ko.zst) zstd -dcq "$file" >"$tree/modules/${module%.zst}" ;;
        *) die "a module of unknown compression: $file" ;;
        esac
        module=${module%.xz}
        printf '%s\n' "${module%.zst}" >>"$tree/modules/order"
    done <"$tree/modules/paths"
    rm "$tree/modules/paths"
    (cd "$tree" && find . | cpio --quiet -o -H newc -R 0:0) >"$E2E/initrd"
}

# make_linuxfs CODEC: a small Debian with a version id, as the live system.
make_linuxfs() {
    local root=$E2E/_root image=$E2E/linuxfs.$1 level=()
    [[ $1 == zstd ]] && level=(-Xcompression-level 3)
    [[ -f $image ]] && return
    say "making a small Debian"
    rm -rf "$root"
    debian_root "$root" minbase libcap2-bin,attr
    mkdir -p "$root/etc/live/version"
    printf '==== %s\n\ntitle: e2e\n' "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" \
        >"$root/etc/live/version/linuxfs.ver"
    mksquashfs "$root" "$image.part" -comp "$1" "${level[@]}" -b 262144 \
        -noappend -no-progress -quiet
    rm -rf "$root"
    mv "$image.part" "$image"
}

# make_disk CODEC: a fresh live directory with an empty rootfs, on a disk of its own.
make_disk() {
    local tree=$E2E/_disk
    rm -rf "$tree" "$DISK"
    mkdir -p "$tree/antiX" "$tree/empty/upper" "$tree/empty/work"
    cp "$E2E/linuxfs.$1" "$tree/antiX/linuxfs"
    (cd "$tree/antiX" && md5sum linuxfs >linuxfs.md5)
    truncate -s 256M "$tree/antiX/rootfs"
    mkfs.ext4 -q -F -L rootfs -d "$tree/empty" "$tree/antiX/rootfs"
    rm -r "$tree/empty"
    truncate -s 2G "$DISK"
    mkfs.ext4 -q -F -L live -d "$tree" "$DISK"
    rm -rf "$tree"
}

# open_disk: the live directory, mounted on the host as $LIVE.
open_disk() {
    mount_at "$E2E/_mnt" -o loop "$DISK"
    # shellcheck disable=SC2034  # the caller reads it
    LIVE=$E2E/_mnt/antiX
}

close_disk() { unmount_down_to 0; }

# show_console STEP: the end of what the machine printed.
show_console() {
    printf -- '--- the last lines of the console (%s)\n' "$E2E/console.$1"
    tail -n 40 "$E2E/console.$1" | tr -d '\r'
    printf -- '---\n'
}

# machine STEP PARAMETER...: starts the machine, sets MACHINE to its process.
machine() {
    local step=$1
    shift
    : >"$E2E/console.$step"
    timeout --kill-after=5 "$BOOT_SECONDS" qemu-system-x86_64 \
        -machine pc,accel=tcg -cpu max -smp 1 -m 512 -nodefaults -no-user-config -no-reboot \
        -display none -serial "file:$E2E/console.$step" \
        -drive "file=$DISK,format=raw,if=none,id=disk,cache=writeback" \
        -device virtio-blk-pci,drive=disk \
        -kernel "$E2E/kernel/boot/vmlinuz-$(kernel_release)" -initrd "$E2E/initrd" \
        -append "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on step=$step $*" \
        </dev/null &
    MACHINE=$!
}

# boot STEP PARAMETER...: runs the step until the machine powers off by itself.
boot() {
    local step=$1 start=$SECONDS status=0
    machine "$@"
    wait "$MACHINE" || status=$?
    if [[ $status -ne 0 ]]; then
        show_console "$step"
        [[ $status -eq 124 ]] && die "boot $step: no end after $BOOT_SECONDS s"
        die "boot $step: the machine ended with $status"
    fi
    console_has "$step" "INIT: powering off"
    console_has "$step" "STEP: $step passed"
    if grep -q 'is busy' "$E2E/console.$step"; then
        show_console "$step"
        die "boot $step: the shutdown left something mounted"
    fi
    say "boot $step: passed after $((SECONDS - start)) s"
}

# boot_and_cut STEP: pulls the plug when the step says so.
boot_and_cut() {
    local step=$1 start=$SECONDS
    machine "$step"
    until grep -q "STEP: cut the power" "$E2E/console.$step"; do
        kill -0 "$MACHINE" 2>/dev/null || {
            show_console "$step"
            die "boot $step: the machine ended before the cut"
        }
        sleep 0.2
    done
    sleep 3
    # timeout runs the machine as its child: the child is what has to die at once.
    pkill -KILL -P "$MACHINE" || die "boot $step: there is no machine to cut"
    wait "$MACHINE" 2>/dev/null || true
    console_has "$step" "STEP: $step passed"
    say "boot $step: passed after $((SECONDS - start)) s, power cut"
}

# console_has STEP TEXT: the machine printed a line that begins so.
console_has() {
    tr -d '\r' <"$E2E/console.$1" | grep -qF -- "$2" && return
    show_console "$1"
    die "boot $1: the console does not say: $2"
}
