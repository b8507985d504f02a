# shellcheck shell=bash
# The virtual machines of scripts/e2e: their kernel, their small Debian, how a
# machine is started, awaited and cut off. Sourced after say.sh, debian.sh and
# mounts.sh.
#
#   $KERNEL/               a Debian kernel, unpacked, not installed
#   $E2E/debian-*.sqfs     the small Debian that all live systems are made of
#   $WORK/console.STEP     what the machine printed
#
# What takes long is made once and kept under $E2E.

# E2E, the folder of all parts, and WORK, that of one part, are the caller's.
# shellcheck disable=SC2153

# Seconds that one boot may take; without KVM it takes 10 to 40 on an idle machine.
BOOT_SECONDS=${BOOT_SECONDS:-600}
# What the small Debian has beyond the essential packages: tools of the steps, and
# live-boot with what makes its initrd.
DEBIAN_PACKAGES=${DEBIAN_PACKAGES:-libcap2-bin,attr,acl,dmsetup,live-boot,live-boot-initramfs-tools,busybox,uuid-runtime}
# The kernel's package without linux-image-. That for clouds is small and quick to
# boot, but has no drivers for USB and AHCI.
KERNEL_FLAVOUR=${KERNEL_FLAVOUR:-cloud-amd64}
KERNEL=$E2E/kernel-$KERNEL_FLAVOUR
# The process that runs the machine, none when empty.
MACHINE=''
# Further devices of the machines, as QEMU's arguments.
MACHINE_DEVICES=()

# fetch_kernel: the package that the archive's linux-image-$KERNEL_FLAVOUR
# depends on.
fetch_kernel() {
    [[ -d $KERNEL ]] && return
    local package
    package=$(apt-cache depends "linux-image-$KERNEL_FLAVOUR" |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
    [[ -n $package ]] || die "the archive has no linux-image-$KERNEL_FLAVOUR"
    say "fetching $package"
    rm -rf "$KERNEL.part"
    mkdir -p "$KERNEL.part"
    (cd "$KERNEL.part" && apt-get -qq download "$package" 2>/dev/null) ||
        die "cannot download $package"
    dpkg-deb -x "$KERNEL.part/$package"_*.deb "$KERNEL.part"
    rm "$KERNEL.part/$package"_*.deb
    depmod --basedir "$KERNEL.part" "$(basename "$KERNEL.part"/lib/modules/*)"
    mv "$KERNEL.part" "$KERNEL"
}

# kernel_release: the unpacked kernel's name for itself.
kernel_release() { basename "$KERNEL"/lib/modules/*; }

# copy_modules FOLDER MODULE...: the modules and what they need, unpacked, into
# FOLDER; its file "order" lists them as they must be loaded. The kernel may
# have some built in.
copy_modules() {
    local folder=$1 release module file
    shift
    release=$(kernel_release)
    mkdir -p "$folder"
    for module in "$@"; do
        modprobe --dirname "$KERNEL" --set-version "$release" --show-depends "$module" ||
            die "the kernel has no module $module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$folder/paths"
    while IFS= read -r file; do
        module=$(basename "$file")
        case $module in
        *.ko) cp "$file" "$folder/$module" ;;
        *.ko.xz) xz -dc "$file" >"$folder/${module%.xz}" ;;
        *.ko.zst) zstd -dcq "$file" >"$folder/${module%.zst}" ;;
        *) die "a module of unknown compression: $file" ;;
        esac
        module=${module%.xz}
        printf '%s\n' "${module%.zst}" >>"$folder/order"
    done <"$folder/paths"
    rm "$folder/paths"
}

# pack_initrd TREE FILE: the folder as an initrd; the kernel also takes several
# of them in one file, one after the other.
pack_initrd() { (cd "$1" && find . | cpio --quiet -o -H newc -R 0:0) >"$2"; }

# debian_image: the name of the small Debian, another for other packages.
debian_image() {
    printf '%s/debian-%s.sqfs\n' "$E2E" "$(printf '%s' "$DEBIAN_PACKAGES" | md5sum | cut -c 1-8)"
}

# make_debian: the small Debian, as a SquashFS file so that owners, modes and
# attributes stay together.
make_debian() {
    local image root=$E2E/_root
    image=$(debian_image)
    [[ -f $image ]] && return
    say "making a small Debian"
    rm -rf "$root"
    debian_root "$root" minbase "$DEBIAN_PACKAGES"
    mksquashfs "$root" "$image.part" -comp zstd -Xcompression-level 1 -noappend -no-progress -quiet
    rm -rf "$root"
    mv "$image.part" "$image"
}

# unpack_debian FOLDER: the small Debian's files, anew.
unpack_debian() {
    rm -rf "$1"
    unsquashfs -quiet -no-progress -d "$1" "$(debian_image)" >/dev/null
}

# show_console STEP: the end of what the machine printed.
show_console() {
    {
        printf -- '--- the last lines of the console of boot %s (%s)\n' "$1" "$WORK/console.$1"
        tail -n 40 "$WORK/console.$1" | tr -d '\r\033'
        printf -- '---\n'
    } >&2
}

# fail_boot STEP TEXT: ends the script over something that a boot did.
fail_boot() {
    show_console "$1"
    hint "the whole console is in $WORK/console.$1"
    die "boot $1: $2"
}

# run_qemu ARGUMENT...: starts a machine without devices other than those told and
# MACHINE_DEVICES.
# The processor is one without AVX, which costs more to emulate than it saves.
run_qemu() {
    timeout --kill-after=5 "$BOOT_SECONDS" qemu-system-x86_64 \
        -cpu Westmere -smp 1 -m 512 -nodefaults -no-user-config -no-reboot -display none "$@" \
        "${MACHINE_DEVICES[@]}" <&0 &
    MACHINE=$!
}

# machine STEP DISK INITRD PARAMETER...: starts a machine with the disk, a raw
# image to which further properties of a QEMU drive may be added after a comma.
#
# cache=unsafe: what the guest wrote is with the host's kernel and outlives the
# machine, a flush need not reach the host's disk.
machine() {
    local step=$1 disk=$2 initrd=$3
    shift 3
    : >"$WORK/console.$step"
    run_qemu -machine pc,accel=tcg -serial "file:$WORK/console.$step" \
        -drive "file=$disk,format=raw,if=none,id=disk,cache=unsafe" \
        -device virtio-blk-pci,drive=disk \
        -kernel "$KERNEL/boot/vmlinuz-$(kernel_release)" -initrd "$initrd" \
        -append "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check norandmaps init_on_alloc=0 random.trust_cpu=on step=$step $*" \
        </dev/null
}

# kill_machine: as if the power went. timeout runs the machine as its child,
# and the child is what has to die at once.
kill_machine() {
    [[ -n $MACHINE ]] || return 0
    pkill -KILL -P "$MACHINE" || return
    wait "$MACHINE" 2>/dev/null || true
    MACHINE=''
}
at_exit 'kill_machine || true'

# await_machine STEP [STUCK]: until the machine powers off by itself. A line that
# matches the pattern STUCK says that it never will.
await_machine() {
    local status=0
    while kill -0 "$MACHINE" 2>/dev/null; do
        expect_alive "$1" "${2:-}"
        sleep 0.3
    done
    wait "$MACHINE" || status=$?
    MACHINE=''
    [[ $status -eq 124 ]] && fail_boot "$1" "no end after $BOOT_SECONDS s"
    [[ $status -eq 0 ]] || fail_boot "$1" "the machine ended with $status"
}

# await_line STEP PATTERN [STUCK]: until the machine prints a matching line.
await_line() {
    until grep -aqE -- "$2" "$WORK/console.$1"; do
        kill -0 "$MACHINE" 2>/dev/null || fail_boot "$1" "the machine ended before it said: $2"
        expect_alive "$1" "${3:-}"
        sleep 0.2
    done
}

# expect_alive STEP STUCK: the machine printed no line that matches STUCK.
expect_alive() {
    local line
    [[ -n $2 ]] || return 0
    line=$(grep -a -m 1 -oE -- "$2" "$WORK/console.$1") || return 0
    kill_machine || true
    fail_boot "$1" "it does not go on: $line"
}

# end_step STEP [STUCK]: until the machine, which has just been started, has run the
# step and powers off by itself.
end_step() {
    local start=$SECONDS
    await_machine "$@"
    console_has "$1" "INIT: powering off"
    console_has "$1" "STEP: $1 passed"
    console_lacks "$1" "is busy"
    console_lacks "$1" ": not found"
    say "boot $1: passed after $((SECONDS - start)) s"
}

# cut_step STEP [STUCK]: pulls the plug when the step says so.
cut_step() {
    local start=$SECONDS
    await_line "$1" "STEP: cut the power" "${2:-}"
    sleep "${CUT_SECONDS:-3}"
    kill_machine || fail_boot "$1" "there is no machine to cut"
    console_has "$1" "STEP: $1 passed"
    console_lacks "$1" ": not found"
    say "boot $1: passed after $((SECONDS - start)) s, power cut"
}

# console_says STEP TEXT: whether the machine printed it. Not by a pipe, which fails
# when grep has seen enough before tr has.
console_says() { grep -aqF -- "$2" <(tr -d '\r' <"$WORK/console.$1"); }

# console_has STEP TEXT: the machine printed it.
console_has() {
    console_says "$@" && return
    fail_boot "$1" "the console does not say: $2"
}

# console_lacks STEP TEXT: the machine did not.
console_lacks() {
    console_says "$@" || return 0
    fail_boot "$1" "the console says: $2"
}
