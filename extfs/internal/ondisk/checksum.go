package ondisk

import (
	"encoding/binary"
	"hash/crc32"
)

// CRC32C is the kernel's crc32c(): Castagnoli, without the inversions at both
// ends that hash/crc32 applies.
func CRC32C(seed uint32, p []byte) uint32 {
	return ^crc32.Update(^seed, castagnoli(), p)
}

// castagnoli returns the table; MakeTable keeps one for that polynomial, and
// only that one uses the processor's instruction.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// crc32cUint32 goes on with a little-endian number.
func crc32cUint32(seed, v uint32) uint32 {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	return CRC32C(seed, b[:])
}

// CRC32CUint64 goes on with a little-endian number.
func CRC32CUint64(seed uint32, v uint64) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return CRC32C(seed, b[:])
}

// CRC32CZero goes on with n zero bytes, n at most 4: a checksum field counts
// as zero in its own checksum.
func CRC32CZero(seed uint32, n int) uint32 {
	var b [4]byte
	return CRC32C(seed, b[:n])
}

// crc16 is the kernel's crc16(): polynomial 0x8005, reflected.
func crc16(crc uint16, p []byte) uint16 {
	for _, b := range p {
		crc ^= uint16(b)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xA001
			} else {
				crc >>= 1
			}
		}
	}
	return crc
}

// CRC32BE is the kernel's crc32_be(): polynomial 0x04C11DB7, most significant
// bit first, no inversions. Journals with checksums v1 use it.
func CRC32BE(crc uint32, p []byte) uint32 {
	for _, b := range p {
		crc = crc<<8 ^ crc32BETable[byte(crc>>24)^b]
	}
	return crc
}

// crc32BETable is constant after initialisation.
var crc32BETable = func() (t [256]uint32) {
	for i := range t {
		c := uint32(i) << 24
		for range 8 {
			if c&(1<<31) != 0 {
				c = c<<1 ^ 0x04C11DB7
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

// ChecksumSeed is the seed of all metadata checksums of a file system:
// s_checksum_seed where the feature metadata_csum_seed is set, else made from
// the UUID.
func ChecksumSeed(sb []byte) uint32 {
	if LE32(sb, SBFeatureIncompat)&IncompatCsumSeed != 0 {
		return LE32(sb, SBChecksumSeed)
	}
	return CRC32C(^uint32(0), sb[SBUUID:SBUUID+16])
}

// SuperblockChecksum is the s_checksum of a superblock of 1024 bytes.
func SuperblockChecksum(sb []byte) uint32 {
	return CRC32C(^uint32(0), sb[:SBChecksum])
}

// InodeSeed is the seed of what belongs to one inode: its own checksum, its
// directory blocks, its extent blocks.
func InodeSeed(seed, ino, generation uint32) uint32 {
	return crc32cUint32(crc32cUint32(seed, ino), generation)
}

// InodeChecksum is the checksum of a raw inode (as long as s_inode_size says);
// where hasHi does not hold, only the lower 16 bits are stored.
func InodeChecksum(seed, ino uint32, raw []byte) (sum uint32, hasHi bool) {
	c := InodeSeed(seed, ino, LE32(raw, InGeneration))
	c = CRC32C(c, raw[:InChecksumLo])
	c = CRC32CZero(c, 2)
	c = CRC32C(c, raw[InChecksumLo+2:InodeSizeOld])
	if len(raw) > InodeSizeOld {
		c = CRC32C(c, raw[InodeSizeOld:InChecksumHi])
		hasHi = LE16(raw, InExtraIsize) >= InChecksumHi+2-InodeSizeOld
		if hasHi {
			c = CRC32CZero(c, 2)
			c = CRC32C(c, raw[InChecksumHi+2:])
		} else {
			c = CRC32C(c, raw[InChecksumHi:])
		}
	}
	return c, hasHi
}

// GroupDescChecksum is the bg_checksum of a descriptor (as long as the file
// system's descriptors are): CRC32C with metadata_csum, else the crc16 of
// uninit_bg, which starts from the UUID.
func GroupDescChecksum(metadataCsum bool, seed uint32, uuid []byte, group uint32, desc []byte) uint16 {
	if metadataCsum {
		c := crc32cUint32(seed, group)
		c = CRC32C(c, desc[:GDChecksum])
		c = CRC32CZero(c, 2)
		c = CRC32C(c, desc[GDChecksum+2:])
		return uint16(c)
	}
	var g [4]byte
	binary.LittleEndian.PutUint32(g[:], group)
	c := crc16(0xFFFF, uuid)
	c = crc16(c, g[:])
	c = crc16(c, desc[:GDChecksum])
	return crc16(c, desc[GDChecksum+2:])
}

// BitmapChecksum is the checksum of a block or inode bitmap: of the bits that
// a group can have, rounded down to bytes.
func BitmapChecksum(seed uint32, bitmap []byte, bits uint32) uint32 {
	return CRC32C(seed, bitmap[:bits/8])
}

// DirentTailChecksum is the checksum in the tail of a directory leaf block;
// body is the block without the tail.
func DirentTailChecksum(inodeSeed uint32, body []byte) uint32 {
	return CRC32C(inodeSeed, body)
}

// DXChecksum is the checksum of an htree block: of everything up to the last
// entry in use, then of the tail (at tailOffset) with its checksum as zero.
func DXChecksum(inodeSeed uint32, block []byte, entries, count, tailOffset int) uint32 {
	c := CRC32C(inodeSeed, block[:entries+count*DXEntrySize])
	c = CRC32C(c, block[tailOffset:tailOffset+4])
	return CRC32CZero(c, 4)
}

// ExtentChecksum is the checksum after the last slot of an extent block; body
// is all before it.
func ExtentChecksum(inodeSeed uint32, body []byte) uint32 {
	return CRC32C(inodeSeed, body)
}

// XattrBlockChecksum is the h_checksum of an extended attribute block.
func XattrBlockChecksum(seed uint32, number uint64, block []byte) uint32 {
	c := CRC32CUint64(seed, number)
	c = CRC32C(c, block[:XAHdrCsum])
	c = CRC32CZero(c, 4)
	return CRC32C(c, block[XAHdrCsum+4:])
}

// Reads at an offset. A slice that is too short panics, so the caller checks
// lengths once for each structure.

// LE16 reads a little-endian number of 16 bits.
func LE16(p []byte, off int) uint16 { return binary.LittleEndian.Uint16(p[off:]) }

// LE32 reads a little-endian number of 32 bits.
func LE32(p []byte, off int) uint32 { return binary.LittleEndian.Uint32(p[off:]) }

// LE64 reads a little-endian number of 64 bits.
func LE64(p []byte, off int) uint64 { return binary.LittleEndian.Uint64(p[off:]) }

// BE16 reads a big-endian number of 16 bits.
func BE16(p []byte, off int) uint16 { return binary.BigEndian.Uint16(p[off:]) }

// BE32 reads a big-endian number of 32 bits.
func BE32(p []byte, off int) uint32 { return binary.BigEndian.Uint32(p[off:]) }

// BE64 reads a big-endian number of 64 bits.
func BE64(p []byte, off int) uint64 { return binary.BigEndian.Uint64(p[off:]) }
