# shellcheck shell=bash
# What every part of scripts/e2e begins with. Sourced from the project's folder.
SETUP_GROUP=e2e
# shellcheck source=scripts/lib/say.sh
. scripts/lib/say.sh
# shellcheck source=scripts/lib/mounts.sh
. scripts/lib/mounts.sh
# shellcheck source=scripts/lib/debian.sh
. scripts/lib/debian.sh
# shellcheck source=scripts/lib/machine.sh
. scripts/lib/machine.sh
# shellcheck source=scripts/lib/relive.sh
. scripts/lib/relive.sh

# Where all parts keep what they share.
E2E=$PWD/build/e2e

# begin_part NAME: the tools, the part's own folder, and what all parts share.
# The seconds go on from those of scripts/e2e when it started the part.
begin_part() {
    # shellcheck disable=SC2034  # say.sh prints it before every line
    PART=$1
    SECONDS=$((EPOCHSECONDS - ${E2E_BEGAN:-$EPOCHSECONDS}))
    need_root
    need mmdebstrap mksquashfs unsquashfs mkfs.ext4 e2fsck dumpe2fs debugfs sfdisk \
        qemu-system-x86_64 busybox dmsetup depmod modprobe cpio python3 "$RELIVE"
    WORK=$E2E/$1
    mkdir -p "$WORK"
    # Parts that begin at the same time make these once.
    exec {PREPARED}>"$E2E/lock"
    flock "$PREPARED"
    fetch_kernel
    make_debian
    exec {PREPARED}>&-
}
