package ondisk

import "encoding/binary"

// NIDSize is the unit in which inodes are numbered, in bytes.
const NIDSize = 32

// Lengths of inodes, in bytes.
const (
	CompactSize  = 32
	ExtendedSize = 64
)

// Layout is where an inode's data is.
type Layout uint8

// The layouts of data.
const (
	FlatPlain         Layout = 0
	CompressedFull    Layout = 1
	FlatInline        Layout = 2
	CompressedCompact Layout = 3
	ChunkBased        Layout = 4
)

// Bits of an inode's format.
const (
	FormatExtended uint16 = 1 << 0
	FormatShort    uint16 = 1 << 4 // one link and a longer address; of directories, no "."
	FormatKnown    uint16 = 1<<5 - 1

	formatLayoutShift = 1
	formatLayoutMask  = 7
)

// NoBlock is the address of data that has none: a hole.
const NoBlock uint32 = 0xffffffff

// Inode is an inode in either form.
type Inode struct {
	Format     uint16
	XattrCount uint16 // see XattrBodySize
	Mode       uint16
	High       uint16 // of the address, or the links of compact inodes
	Nlink      uint32 // of extended inodes
	Size       uint64
	Mtime      int64  // seconds; behind the epoch in compact inodes
	Nsec       uint32 // of extended inodes
	U          uint32 // address, number of blocks, device or chunk format
	Number     uint32 // of no consequence
	UID, GID   uint32
}

// Extended tells the longer form.
func (n *Inode) Extended() bool { return n.Format&FormatExtended != 0 }

// Layout is where the data is.
func (n *Inode) Layout() Layout { return Layout(n.Format >> formatLayoutShift & formatLayoutMask) }

// Len is the length of the inode itself.
func (n *Inode) Len() int {
	if n.Extended() {
		return ExtendedSize
	}
	return CompactSize
}

// DecodeInode decodes an inode; b has ExtendedSize bytes, or CompactSize where it is
// compact.
func DecodeInode(b []byte) (n Inode) {
	le := binary.LittleEndian
	n.Format, n.XattrCount, n.Mode, n.High = le.Uint16(b), le.Uint16(b[2:]), le.Uint16(b[4:]), le.Uint16(b[6:])
	n.U, n.Number = le.Uint32(b[16:]), le.Uint32(b[20:])
	if !n.Extended() {
		n.Size, n.Mtime = uint64(le.Uint32(b[8:])), int64(le.Uint32(b[12:]))
		n.UID, n.GID = uint32(le.Uint16(b[24:])), uint32(le.Uint16(b[26:]))
		return n
	}
	n.Size, n.UID, n.GID = le.Uint64(b[8:]), le.Uint32(b[24:]), le.Uint32(b[28:])
	n.Mtime, n.Nsec, n.Nlink = int64(le.Uint64(b[32:])), le.Uint32(b[40:]), le.Uint32(b[44:])
	return n
}

// Append encodes the inode.
func (n *Inode) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint16(dst, n.Format)
	dst = le.AppendUint16(dst, n.XattrCount)
	dst = le.AppendUint16(dst, n.Mode)
	dst = le.AppendUint16(dst, n.High)
	if !n.Extended() {
		dst = le.AppendUint32(dst, uint32(n.Size))
		dst = le.AppendUint32(dst, uint32(n.Mtime))
		dst = le.AppendUint32(dst, n.U)
		dst = le.AppendUint32(dst, n.Number)
		dst = le.AppendUint16(dst, uint16(n.UID))
		dst = le.AppendUint16(dst, uint16(n.GID))
		return le.AppendUint32(dst, 0)
	}
	dst = le.AppendUint64(dst, n.Size)
	dst = le.AppendUint32(dst, n.U)
	dst = le.AppendUint32(dst, n.Number)
	dst = le.AppendUint32(dst, n.UID)
	dst = le.AppendUint32(dst, n.GID)
	dst = le.AppendUint64(dst, uint64(n.Mtime))
	dst = le.AppendUint32(dst, n.Nsec)
	dst = le.AppendUint32(dst, n.Nlink)
	return append(dst, make([]byte, 16)...)
}

// The format word of chunk-based files.
const (
	ChunkBitsMask uint32 = 1<<5 - 1 // log2 of the chunk, less that of the block
	ChunkIndexes  uint32 = 1 << 5   // entries of 8 bytes
	Chunk48Bit    uint32 = 1 << 6   // these hold longer addresses
	ChunkKnown    uint32 = 1<<7 - 1
)

// Lengths of the entries of chunk-based files, in bytes.
const (
	ChunkEntrySize = 4
	ChunkIndexSize = 8
)

// SetLayout sets where the data is, and the form of the inode.
func (n *Inode) SetLayout(l Layout, extended bool) {
	n.Format = uint16(l) << formatLayoutShift
	if extended {
		n.Format |= FormatExtended
	}
}
