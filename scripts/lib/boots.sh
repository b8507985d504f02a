# shellcheck shell=bash
# What every part of scripts/e2e begins with. Sourced from the project's folder.
SETUP_GROUP=e2e
# Where all parts keep what they share.
E2E=$PWD/build/e2e
# shellcheck source=scripts/lib/say.sh
. scripts/lib/say.sh

# A part has its mounts for itself: what another one starts in a namespace of its own,
# such as mmdebstrap, would hold a disk mounted that this one has unmounted, and goes
# on to boot.
if [[ -z ${E2E_APART:-} ]]; then
    need_root
    need unshare
    E2E_APART=1 exec unshare --mount -- "$PWD/scripts/boots/$(basename "$0")" "$@"
fi

# shellcheck source=scripts/lib/mounts.sh
. scripts/lib/mounts.sh
# shellcheck source=scripts/lib/debian.sh
. scripts/lib/debian.sh
# shellcheck source=scripts/lib/machine.sh
. scripts/lib/machine.sh
# shellcheck source=scripts/lib/relive.sh
. scripts/lib/relive.sh

# begin_part NAME: the tools, the part's own folder, and what all parts share.
# The seconds go on from those of scripts/e2e when it started the part.
begin_part() {
    # shellcheck disable=SC2034  # say.sh prints it before every line
    PART=$1
    SECONDS=$((EPOCHSECONDS - ${E2E_BEGAN:-$EPOCHSECONDS}))
    need mmdebstrap mksquashfs unsquashfs mkfs.ext4 e2fsck dumpe2fs sfdisk go flock \
        qemu-system-x86_64 busybox dmsetup depmod modprobe cpio python3 "$RELIVE"
    WORK=$E2E/$1
    mkdir -p "$WORK"
    one_at_a_time prepare_machine
}

prepare_machine() {
    fetch_kernel
    make_debian
}

# one_at_a_time COMMAND...: makes what several parts share; the first one that
# comes makes it, the others wait.
one_at_a_time() {
    local lock
    exec {lock}>"$E2E/lock"
    flock "$lock"
    "$@"
    exec {lock}>&-
}
