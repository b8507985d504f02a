# shellcheck shell=bash
# Machines that boot as hardware does: their firmware finds the boot loader on a
# CD or a USB disk, and that finds the kernel. Sourced after machine.sh.

# WORK is that of boots.sh.
# shellcheck disable=SC2153

# UEFI's code, and its variables as they come, without keys of Secure Boot.
OVMF_CODE=${OVMF_CODE:-/usr/share/OVMF/OVMF_CODE_4M.fd}
OVMF_VARS=${OVMF_VARS:-/usr/share/OVMF/OVMF_VARS_4M.fd}
# What a machine prints that will never come to its log-in. The kernel says "reboot:"
# of one that powers off in the end.
ISO_STUCK='INIT: FATAL|Kernel panic|No bootable device|Could not read from CDROM|error: no such|Failed to load|not found\.$|grub rescue>|(^|[^e])boot:|UEFI Interactive Shell'
# Where send writes for the machine's console to read, and how many bytes of what
# it printed have been awaited.
MACHINE_INPUT=''
HEARD=0
CONSOLE=()

# machine_iso STEP FIRMWARE MEDIUM ISO: starts a machine with one medium only.
# FIRMWARE is bios or uefi; MEDIUM is cdrom, a drive on AHCI, or disk, a USB stick
# on xHCI. What it writes to the stick is dropped when it ends, but with stick for
# MEDIUM.
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
            -device "ide-cd,drive=medium,bootindex=1")
        ;;
    disk | stick)
        if [[ $medium == disk ]]; then file+=,snapshot=on; else file+=,cache=unsafe; fi
        options+=(-drive "file=$file,format=raw,if=none,id=medium"
            -device qemu-xhci -device "usb-storage,drive=medium,removable=on,bootindex=1")
        ;;
    *) die "machine_iso: there is no medium $medium" ;;
    esac
    open_console "$step"
    run_qemu -machine q35,accel=tcg -vga std "${options[@]}" "${CONSOLE[@]}" <&"$MACHINE_INPUT" >/dev/null
}

# open_console STEP: a console that can be typed at, for run_qemu: CONSOLE is its
# arguments, MACHINE_INPUT its input.
open_console() {
    rm -f "$WORK/_input.$1"
    mkfifo "$WORK/_input.$1"
    exec {MACHINE_INPUT}<>"$WORK/_input.$1"
    rm "$WORK/_input.$1"
    HEARD=0
    : >"$WORK/console.$1"
    CONSOLE=(-chardev "stdio,id=console,signal=off,logfile=$WORK/console.$1" -serial chardev:console)
}

# end_machine_iso STEP: what machine_iso has made; the machine has ended.
end_machine_iso() {
    exec {MACHINE_INPUT}>&-
    rm -f "$WORK/_vars.$1"
}

# send TEXT: types a line at the machine's console.
send() { printf '%s\r' "$1" >&"$MACHINE_INPUT"; }

# hear STEP PATTERN: until the machine prints a match after what was heard before.
hear() {
    local LC_ALL=C match offset
    until match=$(tail -c "+$((HEARD + 1))" "$WORK/console.$1" | grep -a -m 1 -obE -- "$2"); do
        kill -0 "$MACHINE" 2>/dev/null || fail_boot "$1" "the machine ended before it said: $2"
        expect_alive "$1" "$ISO_STUCK"
        sleep 0.2
    done
    # OFFSET:TEXT, of the first match on the line.
    match=${match%%$'\n'*}
    offset=${match%%:*}
    match=${match#*:}
    HEARD=$((HEARD + offset + ${#match}))
}

# type_account STEP USER PASSWORD: answers one log-in prompt. What is typed before
# the password's prompt is thrown away by log-in.
type_account() {
    hear "$1" 'login: $'
    send "$2"
    hear "$1" 'Password: $'
    sleep 0.2
    send "$3"
}

# log_in_fails STEP USER PASSWORD: the account is not let in.
log_in_fails() {
    type_account "$@"
    hear "$1" '^Login incorrect'
}

# log_in STEP USER PASSWORD: the account is let in, and runs a command as itself.
log_in() {
    type_account "$@"
    hear "$1" '[$#] $'
    # shellcheck disable=SC2016  # the guest expands it
    send 'echo "session of $(id -un) in $PWD: $((6 * 7))"'
    hear "$1" "session of $2 in /(home/)?$2: 42"
}

# end_session STEP: the account leaves, and the machine powers off.
end_session() {
    send exit
    hear "$1" 'INIT: the session ended with 0'
    await_machine "$1"
    end_machine_iso "$1"
}

# boot_iso STEP FIRMWARE MEDIUM ISO [SESSION ARGUMENT...]: boots to the log-in
# prompt; the command SESSION goes on from there, and has the step as its first
# argument. Without one the power goes.
boot_iso() {
    local step=$1 start=$SECONDS
    machine_iso "$1" "$2" "$3" "$4"
    shift 4
    await_line "$step" 'INIT: log in' "$ISO_STUCK"
    if [[ $# -gt 0 ]]; then
        "$1" "$step" "${@:2}"
        end_session "$step"
    else
        kill_machine || fail_boot "$step" "there is no machine to end"
        end_machine_iso "$step"
    fi
    say "boot $step: passed after $((SECONDS - start)) s"
}
