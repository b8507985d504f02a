# shellcheck shell=bash
# What the tools of others say of an ISO. Sourced after boots.sh.

# WORK is that of boots.sh.
# shellcheck disable=SC2153

# check_iso FILE [LIKE]: every tool reads the ISO and finds the same files in it;
# the partition tables have no faults but those that the ISO LIKE has.
check_iso() {
    local file=$1 name tool log=$WORK/_check
    name=$(basename "$1")
    rm -rf "$log"
    mkdir -p "$log"
    ask xorriso "$log/boot" xorriso -indev "$file" -report_el_torito plain -report_system_area plain
    for what in 'El Torito boot img :   1  BIOS' 'El Torito boot img :   2  UEFI' 'MBR partition ' 'GPT '; do
        grep -qF "$what" "$log/boot" || check_failed "$name" "xorriso does not report: $what" "$log/boot"
    done
    ask 7zz "$log/7zz.test" 7zz t "$file"
    ask fdisk "$log/fdisk" fdisk -l "$file"
    sgdisk_problems "$file" >"$log/sgdisk"
    if [[ -n ${2:-} ]]; then sgdisk_problems "$2" >"$log/sgdisk.like"; else : >"$log/sgdisk.like"; fi
    if grep -vxFf "$log/sgdisk.like" "$log/sgdisk" >"$log/diff"; then
        check_failed "$name" "sgdisk finds faults" "$log/diff"
    fi

    ask xorriso "$log/xorriso.raw" xorriso -indev "$file" -find / -exec echo --
    sed "s/^'\(.*\)'\$/\1/" "$log/xorriso.raw" | list_sorted >"$log/xorriso"
    ask isoinfo "$log/isoinfo.raw" isoinfo -R -f -i "$file"
    # isoinfo shows a file of several extents as often as it has them.
    list_sorted <"$log/isoinfo.raw" | uniq >"$log/isoinfo"
    ask bsdtar "$log/bsdtar.raw" bsdtar -tf "$file"
    sed 's,^,/,; s,/$,,; s,^/\.$,,' "$log/bsdtar.raw" | list_sorted >"$log/bsdtar"
    ask 7zz "$log/7zz.raw" 7zz l -slt -ba "$file"
    sed -n 's,^Path = ,/,p' "$log/7zz.raw" | grep -v '^/\[BOOT\]' | list_sorted >"$log/7zz"
    [[ $(wc -l <"$log/xorriso") -gt 5 ]] || check_failed "$name" "xorriso lists next to nothing" "$log/xorriso"
    for tool in isoinfo bsdtar 7zz; do
        diff "$log/xorriso" "$log/$tool" >"$log/diff" ||
            check_failed "$name" "$tool lists other files than xorriso" "$log/diff"
    done
    say "xorriso, isoinfo, bsdtar, 7z, fdisk and sgdisk agree on $name"
}

# ask TOOL LOG COMMAND...: a command that must not fail.
ask() {
    local tool=$1 log=$2
    shift 2
    "$@" >"$log" 2>"$log.err" </dev/null || check_failed "$tool" "it fails: $*" "$log" "$log.err"
}

# check_failed SUBJECT TEXT LOG...
check_failed() {
    tail -n 30 "${@:3}" >&2
    die "$1: $2"
}

# list_sorted: paths without the root, in byte order.
list_sorted() { grep -v '^/\?$' | LC_ALL=C sort; }

# sgdisk_problems FILE: what is wrong with the partition tables, without numbers. An
# isohybrid's partitions overlap by design, and its MBR has an entry of type 0.
sgdisk_problems() {
    { sgdisk -v "$1" 2>&1 || true; } | grep -E '^(Problem|Warning|Error|Invalid)' | sed 's/[0-9]\+/N/g' || true
}

# check_sum FILE: the sum that was implanted holds, for checkisomd5 and relive, and
# a copy with one byte changed is told from it by both.
check_sum() {
    local broken=$WORK/_broken.iso
    ask checkisomd5 "$WORK/_checkisomd5" checkisomd5 "$1"
    relive iso check "$1"
    cp --sparse=always "$1" "$broken"
    flip_byte "$broken" $(($(stat -c %s "$broken") / 2))
    checkisomd5 "$broken" >/dev/null 2>&1 && die "checkisomd5 does not find a changed byte in $(basename "$1")"
    relive_ends '[!0]' iso check "$broken"
    rm "$broken"
}

# flip_byte FILE OFFSET: the byte gets another value.
flip_byte() {
    python3 - "$1" "$2" <<'PY'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    b = f.read(1)
    f.seek(int(sys.argv[2]))
    f.write(bytes([b[0] ^ 1]))
PY
}

# file_of ISO PATH: the file's content, as xorriso extracts it.
file_of() {
    rm -f "$WORK/_file"
    xorriso -osirrox on -indev "$1" -extract "$2" "$WORK/_file" >/dev/null 2>"$WORK/_file.log" </dev/null || {
        tail -n 5 "$WORK/_file.log" >&2
        die "xorriso finds no $2 in $(basename "$1")"
    }
    cat "$WORK/_file"
}
