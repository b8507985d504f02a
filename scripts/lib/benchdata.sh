# shellcheck shell=bash
# The data that scripts/bench measures on: a real Debian root, its SquashFS
# bases, and an antiX-like rootfs whose upper layer the kernel's overlayfs wrote.
# Everything is made once and kept under $DATA. Sourced after say.sh, debian.sh
# and mounts.sh.
#
#   $DATA/base.CODEC.sqfs   the base, of the same tree for every codec
#   $DATA/rootfs            ext4 image with upper/ and work/
#   $DATA/live.CODEC/       a live directory of the two: linuxfs, rootfs, md5

# SIZE, full or quick, and DATA, its folder, are the caller's.
# shellcheck disable=SC2153

# The block size that antiX's live-remaster gives mksquashfs.
BLOCK=262144

# A desktop-like selection, a little under 2 GB unpacked.
full_packages=ca-certificates,systemd-sysv,dbus,udev,kmod,iproute2,iputils-ping
full_packages+=,openssh-server,sudo,man-db,manpages,less,locales,tzdata,vim,git,gcc
full_packages+=,g++,make,python3,python3-gi,perl,file,rsync,curl,wget,gnupg
full_packages+=,network-manager,firefox-esr,adwaita-icon-theme,fonts-dejavu
full_packages+=,libreoffice-writer,linux-image-amd64,initramfs-tools,squashfs-tools
full_packages+=,e2fsprogs,xfce4-panel,thunar,mousepad,doc-debian
quick_packages=ca-certificates,perl,python3-minimal,file

# write_vid FILE TITLE: a version file as live-remaster writes it, with a fresh id.
write_vid() {
    local id
    id=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    mkdir -p "$(dirname "$1")"
    {
        printf '==== %s\n\n' "$id"
        printf 'title: %s\n' "$2"
        printf 'creation date: %s\n' "$(LC_ALL=C date '+%-d %B %Y %T %Z')"
        printf 'kernel: %s\nmachine: bench\n' "$(uname -r)"
    } >"$1"
}

# make_root: the unpacked Debian root, removed again when the bases are made.
# A leading underscore keeps the go tool out of it.
make_root() {
    [[ -d $DATA/_root ]] && return
    local packages=$full_packages variant=apt
    [[ $SIZE == quick ]] && packages=$quick_packages
    say "fetching a Debian root ($SIZE)"
    rm -rf "$DATA/_root.part"
    debian_root "$DATA/_root.part" "$variant" "$packages"
    write_vid "$DATA/_root.part/etc/live/version/linuxfs.ver" "Debian bench root"
    mv "$DATA/_root.part" "$DATA/_root"
}

# make_bases CODEC...: base.CODEC.sqfs for each codec.
make_bases() {
    local codec kept
    for codec in "$@"; do
        [[ -f $DATA/base.$codec.sqfs ]] && continue
        rm -f "$DATA/base.part"
        kept=$(find "$DATA" -maxdepth 1 -name 'base.*.sqfs' | head -n 1)
        if [[ -d $DATA/_root || -z $kept ]]; then
            make_root
            say "packing the base with $codec"
            mksquashfs "$DATA/_root" "$DATA/base.part" -comp "$codec" -b $BLOCK -no-progress -quiet
        else
            # The root is gone: repack from a base that is there, so that all
            # bases hold one tree and carry one version id.
            say "packing the base with $codec from $(basename "$kept")"
            mount_at "$DATA/_mnt/kept" -t squashfs -o ro,loop "$kept"
            mksquashfs "$DATA/_mnt/kept" "$DATA/base.part" -comp "$codec" -b $BLOCK -no-progress -quiet
            unmount_down_to $((${#MOUNTED[@]} - 1))
        fi
        mv "$DATA/base.part" "$DATA/base.$codec.sqfs"
    done
    rm -rf "$DATA/_root"
}

# make_rootfs CODEC: the persistence image: ext4 as antiX makes it, then work
# done in a chroot over an overlay mount of the base with that codec.
make_rootfs() {
    [[ -f $DATA/rootfs ]] && return
    local size=1G image=$DATA/rootfs.part mnt=$DATA/_mnt before=${#MOUNTED[@]}
    [[ $SIZE == quick ]] && size=256M
    say "changing the system in an overlay of $size"
    rm -f "$image"
    truncate -s $size "$image"
    mkfs.ext4 -q -F -L rootfs -m 0 "$image"
    mount_at "$mnt/base" -t squashfs -o ro,loop "$DATA/base.$1.sqfs"
    mount_at "$mnt/rootfs" -o loop "$image"
    mkdir -p "$mnt/rootfs/upper" "$mnt/rootfs/work"
    mount_at "$mnt/merged" -t overlay \
        -o "lowerdir=$mnt/base,upperdir=$mnt/rootfs/upper,workdir=$mnt/rootfs/work" overlay
    # What antiX's init does for an empty rootfs: its version id is the base's.
    cp "$mnt/merged/etc/live/version/linuxfs.ver" "$mnt/merged/etc/live/version/rootfs.ver"
    debian_sources all >"$mnt/merged/etc/apt/sources.list"
    debian_apt_options >"$mnt/merged/etc/apt/apt.conf.d/90bench"
    # Caches and lists of apt stay out of the upper layer, as after a clean-up.
    mount_at "$mnt/merged/var/lib/apt/lists" -t tmpfs tmpfs
    mount_at "$mnt/merged/var/cache/apt" -t tmpfs tmpfs
    mount_at "$mnt/merged/proc" -t proc proc
    mount_at "$mnt/merged/dev" --bind /dev
    mount_at "$mnt/merged/etc/resolv.conf" --bind /etc/resolv.conf
    chroot "$mnt/merged" /bin/bash -s "$SIZE" <scripts/bench-changes >"$DATA/changes.log" 2>&1 || {
        tail -n 20 "$DATA/changes.log" >&2
        die "the changes in the chroot failed, see $DATA/changes.log"
    }
    say "upper layer: $(du -sm "$mnt/rootfs/upper" | cut -f 1) MiB," \
        "$(find "$mnt/rootfs/upper" -type f | wc -l) files," \
        "$(find "$mnt/rootfs/upper" -type c | wc -l) whiteouts"
    unmount_down_to "$before"
    e2fsck -fn "$image" >/dev/null 2>&1 || die "$image is not clean after the work in it"
    mv "$image" "$DATA/rootfs"
}

# make_live DIR CODEC copy|link: a live directory; links for those who only read.
make_live() {
    local dir=$1 codec=$2 how=$3
    rm -rf "$dir"
    mkdir -p "$dir"
    if [[ $how == link ]]; then
        ln "$DATA/base.$codec.sqfs" "$dir/linuxfs"
        ln "$DATA/rootfs" "$dir/rootfs"
    else
        cp "$DATA/base.$codec.sqfs" "$dir/linuxfs"
        cp --sparse=always "$DATA/rootfs" "$dir/rootfs"
    fi
    (cd "$dir" && md5sum linuxfs >linuxfs.md5)
}
