#!/bin/sh
# Makes the small images that the damage tests and the fuzz targets start from:
# seed-*.iso.zst. Needs root, xorriso, genisoimage and isomd5sum. Run it in this
# directory.
set -eu
src=$(mktemp -d)
img=$(mktemp -d)/image.iso
trap 'rm -rf "$src" "$(dirname "$img")"' EXIT
export TZ=UTC SOURCE_DATE_EPOCH=1700000000

mkdir -p "$src/dir/sub" "$src/few/d1/d2/d3/d4/d5/d6/d7/d8/d9"
for i in $(seq 1 40); do ln -s t "$src/dir/a-rather-long-name-for-a-file-$i"; done
seq 1 900 >"$src/file"
: >"$src/empty"
ln "$src/file" "$src/few/hard"
echo deep >"$src/few/d1/d2/d3/d4/d5/d6/d7/d8/d9/deep"
mknod "$src/few/null" c 1 3
mknod "$src/few/disk" b 259 70000
mkfifo "$src/few/fifo"
ln -s ../dir/./sub//x "$src/few/link"
ln -s / "$src/few/root"
touch "$src/few/$(printf '%0250d' 7)"
chmod 4755 "$src/file"
head -c 3000 /dev/zero | tr '\0' b >"$src/boot.img"
head -c 4096 /dev/zero | tr '\0' e >"$src/efi.img"
find "$src" -exec touch -h -d @1600000000 {} +

pack() {
	zstd -q -19 -f "$img" -o "seed-$1.iso.zst"
	rm -f "$img"
}

xorriso -as mkisofs -quiet -R -J -V SEED -no-pad --hardlinks -b boot.img -c boot.cat -no-emul-boot \
	-boot-info-table -eltorito-alt-boot -e --interval:appended_partition_2:all:: -no-emul-boot \
	-append_partition 2 0xef "$src/efi.img" -appended_part_as_gpt -o "$img" "$src"
implantisomd5 "$img" >/dev/null
pack rock
xorriso -outdev "stdio:$img" -padding 0 -compliance new_rr -hardlinks on -map "$src" / 2>/dev/null
pack rrip112
genisoimage -quiet -R -J -no-pad -V SEED -o "$img" "$src" 2>/dev/null
pack relocated
genisoimage -quiet -no-pad -V SEED -o "$img" "$src" 2>/dev/null
pack plain
rm -r "$src/few" "$src/dir"
head -c 90000 /dev/zero | tr '\0' z >"$src/packed"
seq 1 9000 >>"$src/packed"
for v in off on; do
	xorriso -zisofs block_size=32k:block_size_v2=32k:version_2=$v -outdev "stdio:$img" -padding 0 -map "$src" / \
		-set_filter --zisofs /packed -- 2>/dev/null
	pack zisofs-$v
done
