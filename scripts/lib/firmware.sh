# shellcheck shell=bash
# Machines that boot as hardware does: their firmware finds the boot loader on a
# CD or a USB disk, and that finds the kernel. Sourced after machine.sh.

# WORK is that of boots.sh.
# shellcheck disable=SC2153

# UEFI's code, and its variables as they come, without keys of Secure Boot.
OVMF_CODE=${OVMF_CODE:-/usr/share/OVMF/OVMF_CODE_4M.fd}
OVMF_VARS=${OVMF_VARS:-/usr/share/OVMF/OVMF_VARS_4M.fd}
# Where send writes for the machine's console to read.
MACHINE_INPUT=''

# machine_iso STEP FIRMWARE MEDIUM ISO: starts a machine with one medium only.
# FIRMWARE is bios or uefi; MEDIUM is cdrom, a drive on AHCI, or disk, a USB stick
# on xHCI. What it writes to the stick is dropped when it ends.
machine_iso() {
    local step=$1 firmware=$2 medium=$3 file=$4 options=()
    case $firmware in
    bios) ;;
    uefi)
        cp "$OVMF_VARS" "$WORK/_vars.$step"
        options+=(-drive "if=pflash,unit=0,format=raw,readonly=on,file=$OVMF_CODE"
            -drive "if=pflash,unit=1,format=raw,file=$WORK/_vars.$step")
        ;;
    *) die "machine_iso: there is no firmware $firmware" ;;
    esac
    case $medium in
    cdrom)
        options+=(-drive "file=$file,format=raw,if=none,id=medium,media=cdrom,readonly=on"
            -device ide-cd,drive=medium,bootindex=1)
        ;;
    disk)
        options+=(-drive "file=$file,format=raw,if=none,id=medium,snapshot=on"
            -device qemu-xhci -device usb-storage,drive=medium,removable=on,bootindex=1)
        ;;
    *) die "machine_iso: there is no medium $medium" ;;
    esac
    rm -f "$WORK/_input.$step"
    mkfifo "$WORK/_input.$step"
    exec {MACHINE_INPUT}<>"$WORK/_input.$step"
    : >"$WORK/console.$step"
    run_qemu -machine q35,accel=tcg -vga std "${options[@]}" \
        -chardev "stdio,id=console,signal=off,logfile=$WORK/console.$step" -serial chardev:console \
        <&"$MACHINE_INPUT" >/dev/null
    rm "$WORK/_input.$step"
}

# send TEXT: types a line at the machine's console.
send() { printf '%s\r' "$1" >&"$MACHINE_INPUT"; }

# end_machine_iso STEP: what machine_iso has made, after the machine.
end_machine_iso() {
    exec {MACHINE_INPUT}>&-
    rm -f "$WORK/_vars.$1"
}
