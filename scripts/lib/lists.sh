# shellcheck shell=bash
# Lists of what guests' systems show, written by e2e/guest/list, and how two of
# them are compared. Sourced after boots.sh.
#
#   $LISTS/          the lists
#   $WORK/lists.img  a disk without a file system that a guest writes them to, for
#                    guests that have no place for them: a tar archive

# WORK is of boots.sh; the callers use what is set here.
# shellcheck disable=SC2153,SC2034

# Names in the lists are bytes.
export LC_ALL=C

# fresh_lists_disk: an empty disk for the next machine, which finds it by the serial
# number.
fresh_lists_disk() {
    LISTS=$WORK/lists
    rm -f "$WORK/lists.img"
    truncate -s 32M "$WORK/lists.img"
    MACHINE_DEVICES=(-drive "file=$WORK/lists.img,format=raw,if=none,id=lists,cache=unsafe"
        -device "virtio-blk-pci,drive=lists,serial=e2e-lists")
}

# collect_lists: what the guest has written, into $LISTS.
collect_lists() {
    mkdir -p "$LISTS"
    tar -C "$LISTS" -xf "$WORK/lists.img" || die "the guest has written no lists"
}

# expect_same BEFORE AFTER [FILTER...]: two lists are alike. The filter, a command,
# changes both before they are compared.
expect_same() {
    local before=$LISTS/$1 after=$LISTS/$2
    shift 2
    [[ $# -gt 0 ]] || set -- cat
    [[ -s $before && -s $after ]] || die "the guest wrote no list $before or $after"
    "$@" <"$before" >"$WORK/before.list"
    "$@" <"$after" >"$WORK/after.list"
    # A filter that leaves nothing would make everything alike.
    [[ -s $WORK/before.list ]] || die "nothing is left of ${before##*/} to compare"
    diff -a "$WORK/before.list" "$WORK/after.list" >"$WORK/diff.log" && return
    head -n 40 "$WORK/diff.log" >&2
    hint "< is ${before##*/}, > is ${after##*/}; all differences are in $WORK/diff.log"
    die "${after##*/} does not show what ${before##*/} does"
}

# whole_seconds: a list as a squashfs has it, in which times have no fractions.
whole_seconds() { sed -E 's/\t([a-z] [0-7]+ [0-9]+ [0-9]+ [0-9]+)\.[0-9]+/\t\1/'; }

# uncut: a list without what the step of a power cut (make_cut) goes on changing.
uncut() { grep -avP '^(/(root|etc)\td |/root/cut(/.*)?\t|/etc/pam\.conf\t)'; }

# untimed_root: a list without the time of the root, in which a boot makes something.
untimed_root() { sed -E 's,^(/\td [0-7]+ [0-9]+ [0-9]+) .*,\1,'; }
