package ondisk

import (
	"encoding/binary"
	"hash/crc32"
)

// Where the superblock is, and how long: 128 bytes, and 16 more for each extension
// slot.
const (
	SuperblockOffset = 1024
	SuperblockSize   = 128
	ExtensionSize    = 16
)

// Magic is E2 E1 F5 E0 read as a little-endian number.
const Magic uint32 = 0xe0f5e1e2

// Compatible features, which readers need not know.
const (
	CompatChecksum       uint32 = 1 << 0 // the superblock has a checksum
	CompatMtime          uint32 = 1 << 1 // times are those of changes of content
	CompatXattrFilter    uint32 = 1 << 2 // bodies of attributes have a filter of names
	CompatSharedMetabox  uint32 = 1 << 3 // shared attributes lie in the metabox
	CompatPlainPrefixes  uint32 = 1 << 4 // long prefixes lie in the image, not in packed data
	CompatIshareXattrs   uint32 = 1 << 5 // inodes have fingerprints
	CompatKnown          uint32 = 1<<6 - 1
	IncompatZeroPadding  uint32 = 1 << 0 // compressed data is at the end of its blocks
	IncompatConfigs      uint32 = 1 << 1 // compression has configurations; big pclusters
	IncompatChunks       uint32 = 1 << 2 // files of chunks
	IncompatDevices      uint32 = 1 << 3 // a table of devices; a second algorithm in an inode
	IncompatTails        uint32 = 1 << 4 // ztailpacking: compressed tails beside inodes
	IncompatFragments    uint32 = 1 << 5 // packed data; dedupe
	IncompatLongPrefixes uint32 = 1 << 6 // prefixes of attribute names
	Incompat48Bit        uint32 = 1 << 7 // block addresses of 48 bits, encoded extents
	IncompatMetabox      uint32 = 1 << 8 // compressed metadata
	IncompatKnown        uint32 = 1<<9 - 1
)

// Superblock is the head of an image.
type Superblock struct {
	Checksum     uint32
	Compat       uint32
	BlockBits    uint8 // log2 of the block size
	Extensions   uint8 // number of extension slots
	Root16       uint16
	Inodes       uint64
	Epoch        int64  // seconds; compact inodes count from there
	FixedNsec    uint32 // of compact inodes
	Blocks       uint32
	MetaBlock    uint32 // inodes count from there
	XattrBlock   uint32 // shared attributes count from there
	UUID         [16]byte
	Label        [16]byte
	Incompat     uint32
	Algorithms   uint16 // bits; without IncompatConfigs the distance of lz4
	Devices      uint16 // extra ones
	DeviceSlot   uint16 // of the table of devices, in units of 128 bytes
	DirBlockBits uint8
	PrefixCount  uint8
	PrefixStart  uint32 // in units of 4 bytes
	PackedNID    uint64
	FilterOff    uint8 // not 0: the filter of names is of another kind
	IsharePrefix uint8
	BuildTime    uint32 // seconds behind Epoch
	Root64       uint64
}

// DecodeSuperblock decodes SuperblockSize bytes, and tells whether they begin as a
// superblock does.
func DecodeSuperblock(b []byte) (s Superblock, ok bool) {
	le := binary.LittleEndian
	s = Superblock{
		Checksum: le.Uint32(b[4:]), Compat: le.Uint32(b[8:]), BlockBits: b[12], Extensions: b[13],
		Root16: le.Uint16(b[14:]), Inodes: le.Uint64(b[16:]), Epoch: int64(le.Uint64(b[24:])),
		FixedNsec: le.Uint32(b[32:]), Blocks: le.Uint32(b[36:]), MetaBlock: le.Uint32(b[40:]),
		XattrBlock: le.Uint32(b[44:]), Incompat: le.Uint32(b[80:]), Algorithms: le.Uint16(b[84:]),
		Devices: le.Uint16(b[86:]), DeviceSlot: le.Uint16(b[88:]), DirBlockBits: b[90], PrefixCount: b[91],
		PrefixStart: le.Uint32(b[92:]), PackedNID: le.Uint64(b[96:]), FilterOff: b[104], IsharePrefix: b[105],
		BuildTime: le.Uint32(b[108:]), Root64: le.Uint64(b[112:]),
	}
	copy(s.UUID[:], b[48:])
	copy(s.Label[:], b[64:])
	return s, le.Uint32(b) == Magic
}

// Append encodes the superblock, magic included, without extension slots.
func (s *Superblock) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, Magic)
	dst = le.AppendUint32(dst, s.Checksum)
	dst = le.AppendUint32(dst, s.Compat)
	dst = append(dst, s.BlockBits, s.Extensions)
	dst = le.AppendUint16(dst, s.Root16)
	dst = le.AppendUint64(dst, s.Inodes)
	dst = le.AppendUint64(dst, uint64(s.Epoch))
	dst = le.AppendUint32(dst, s.FixedNsec)
	dst = le.AppendUint32(dst, s.Blocks)
	dst = le.AppendUint32(dst, s.MetaBlock)
	dst = le.AppendUint32(dst, s.XattrBlock)
	dst = append(dst, s.UUID[:]...)
	dst = append(dst, s.Label[:]...)
	dst = le.AppendUint32(dst, s.Incompat)
	dst = le.AppendUint16(dst, s.Algorithms)
	dst = le.AppendUint16(dst, s.Devices)
	dst = le.AppendUint16(dst, s.DeviceSlot)
	dst = append(dst, s.DirBlockBits, s.PrefixCount)
	dst = le.AppendUint32(dst, s.PrefixStart)
	dst = le.AppendUint64(dst, s.PackedNID)
	dst = append(dst, s.FilterOff, s.IsharePrefix, 0, 0)
	dst = le.AppendUint32(dst, s.BuildTime)
	dst = le.AppendUint64(dst, s.Root64)
	return le.AppendUint64(dst, 0)
}

// ChecksumRange is which bytes of an image the checksum covers, behind its own
// field: to the end of the block that the superblock is in, or as many.
func ChecksumRange(blockBits uint8) (off, n int64) {
	off = SuperblockOffset + 8
	n = int64(1) << blockBits
	if n > SuperblockOffset {
		n -= SuperblockOffset
	}
	return off, n - 8
}

// Sum is the checksum of these bytes.
func Sum(b []byte) uint32 {
	return ^crc32.Update(^uint32(0x5045b54a), crc32.MakeTable(crc32.Castagnoli), b)
}
