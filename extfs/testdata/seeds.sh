#!/bin/sh
# Makes the small images that the fuzz targets start from: seed-*.img.zst.
# They carry no checksums, so that changed bytes reach the decoders. Needs root,
# e2fsprogs, attr and a kernel with ext4. Run it in this directory.
set -eu
mnt=$(mktemp -d)
img=$(mktemp)
trap 'umount "$mnt" 2>/dev/null || true; rm -rf "$mnt" "$img"' EXIT

fill() {
	mkdir "$mnt/dir" "$mnt/few"
	for i in $(seq 1 60); do ln -s t "$mnt/dir/a-rather-long-name-for-a-file-$i"; done
	echo inline >"$mnt/few/tiny"
	printf '%090d' 7 >"$mnt/few/ninety"
	seq 1 900 >"$mnt/file"
	ln "$mnt/file" "$mnt/few/hard"
	mknod "$mnt/few/null" c 1 3
	mkfifo "$mnt/few/fifo"
	ln -s "$(printf '%0100d' 1)" "$mnt/few/slow"
	for i in $(seq 0 9); do printf x | dd of="$mnt/sparse" bs=1 seek=$((i * 8192)) conv=notrunc status=none; done
	setfattr -n user.one -v 1 "$mnt/file"
	setfattr -n user.large -v "$(printf '%0500d' 2)" "$mnt/file"
	setfattr -n trusted.overlay.opaque -v y "$mnt/few"
	setfattr -n system.posix_acl_access \
		-v 0x0200000001000700ffffffff02000500e803000004000400ffffffff10000700ffffffff20000000ffffffff "$mnt/sparse"
}

make() { # name, size, mke2fs arguments
	name=$1
	size=$2
	shift 2
	: >"$img"
	truncate -s "$size" "$img"
	mke2fs -q -F -b 1024 -I 256 -N 128 -E lazy_itable_init=0,lazy_journal_init=0 "$@" "$img"
	mount -t ext4 -o loop "$img" "$mnt"
	fill
	sync -f "$mnt"
	case $name in
	*journal*)
		mkdir "$mnt/more"
		cp "$mnt/file" "$mnt/more/copy"
		rm -r "$mnt/dir"
		sync -f "$mnt"
		cp "$mnt/file" "$mnt/again"
		sync "$mnt/again"
		mv "$mnt/again" "$mnt/more/moved"
		echo more >>"$mnt/more/copy"
		truncate -s 500 "$mnt/file"
		sync "$mnt/more/copy"
		sync "$mnt/file"
		;;
	*) umount "$mnt" ;;
	esac
	zstd -q -19 -f "$img" -o "seed-$name.img.zst"
	umount "$mnt" 2>/dev/null || true
}

make ext2 256K -t ext2 -O dir_index
make extents 256K -t ext4 -O ^has_journal,^metadata_csum,ea_inode
make inline 256K -t ext4 -O ^has_journal,^metadata_csum,inline_data
make journal 3M -t ext4 -J size=1 -O ^metadata_csum
make fast-journal 6M -t ext4 -J size=2 -O ^metadata_csum,fast_commit
