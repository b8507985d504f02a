package ondisk

import (
	"encoding/binary"
	"math/bits"
	"strconv"

	"relive/tree"
)

// Limits of the format and of the kernel that mounts it.
const (
	// SuperblockSize is the length of the superblock, in bytes, at offset 0.
	SuperblockSize = 96
	// Magic is "hsqs" read as a little-endian number.
	Magic uint32 = 0x73717368
	// VersionMajor is, with VersionMinor, the only version that is read.
	VersionMajor = 4
	// VersionMinor goes with VersionMajor.
	VersionMinor = 0

	// MetadataSize is the decoded length of a metadata block, in bytes; only
	// the last block of a table may be shorter.
	MetadataSize = 8192
	// MetadataUncompressed is the bit of a metadata block's 16-bit header that
	// marks a block stored as it is; the other bits are the stored length.
	MetadataUncompressed uint16 = 1 << 15

	// BlockUncompressed is the bit of a block word that marks a data or
	// fragment block stored as it is; the bits below are the stored length.
	BlockUncompressed uint32 = 1 << 24

	// DirEntriesMax is the most entries that one directory header may lead.
	DirEntriesMax = 256
	// DirNameMax is the longest name, in bytes, that Linux lets through; the
	// format itself counts to 256.
	DirNameMax = 255
	// DirSizeExtra is what a directory inode's size counts beyond its listing,
	// for the entries "." and ".." that are not stored.
	DirSizeExtra = 3
	// SymlinkMax is the longest target that is read, in bytes. Linux shows
	// targets up to its page size, which is at most 64 KiB.
	SymlinkMax = 65536

	// NoFragment is the fragment index of a file without a fragment.
	NoFragment uint32 = 0xffffffff
	// NoXattr is the xattr index of an inode without extended attributes.
	NoXattr uint32 = 0xffffffff
	// NoTable is the superblock's start of a table that the image lacks.
	NoTable uint64 = 0xffffffffffffffff
)

// Superblock is the head of an image (format.adoc, "The Superblock"). Starts
// are absolute offsets in bytes.
type Superblock struct {
	InodeCount    uint32 // highest inode number, of which some may be missing; see Numbers
	MkfsTime      uint32 // seconds since 1970
	BlockSize     uint32 // bytes, power of two
	FragmentCount uint32
	Compression   uint16 // codec.ID
	BlockLog      uint16 // log2 of BlockSize
	Flags         uint16
	IDCount       uint16
	Major, Minor  uint16
	Root          Ref    // of the root directory's inode
	BytesUsed     uint64 // length of the image without its padding

	IDTableStart       uint64 // index array of the id table
	XattrTableStart    uint64 // header of the xattr id table, or NoTable
	InodeTableStart    uint64 // first metadata block
	DirTableStart      uint64 // first metadata block
	FragmentTableStart uint64 // index array of the fragment table, or NoTable
	ExportTableStart   uint64 // index array of the export table, or NoTable
}

// ParseSuperblock decodes the first SuperblockSize bytes of an image. It tells
// only whether this is a SquashFS 4.0 and does not judge the fields. name is the
// image's name for errors.
func ParseSuperblock(b []byte, name string) (Superblock, error) {
	if len(b) < SuperblockSize {
		return Superblock{}, tree.Corrupt(name, "superblock", "file of %d bytes is too short for a SquashFS image", len(b))
	}
	le := binary.LittleEndian
	switch magic := le.Uint32(b); {
	case magic == bits.ReverseBytes32(Magic):
		return Superblock{}, tree.Unsupported(name, "superblock", "big-endian SquashFS (version 3 or older)")
	case magic != Magic:
		return Superblock{}, tree.Corrupt(name, "superblock", "no SquashFS magic: %q", b[:4])
	}
	s := Superblock{
		InodeCount:    le.Uint32(b[4:]),
		MkfsTime:      le.Uint32(b[8:]),
		BlockSize:     le.Uint32(b[12:]),
		FragmentCount: le.Uint32(b[16:]),
		Compression:   le.Uint16(b[20:]),
		BlockLog:      le.Uint16(b[22:]),
		Flags:         le.Uint16(b[24:]),
		IDCount:       le.Uint16(b[26:]),
		Major:         le.Uint16(b[28:]),
		Minor:         le.Uint16(b[30:]),
		Root:          Ref(le.Uint64(b[32:])),
		BytesUsed:     le.Uint64(b[40:]),

		IDTableStart:       le.Uint64(b[48:]),
		XattrTableStart:    le.Uint64(b[56:]),
		InodeTableStart:    le.Uint64(b[64:]),
		DirTableStart:      le.Uint64(b[72:]),
		FragmentTableStart: le.Uint64(b[80:]),
		ExportTableStart:   le.Uint64(b[88:]),
	}
	if s.Major != VersionMajor || s.Minor != VersionMinor {
		return Superblock{}, tree.Unsupported(name, "superblock", "SquashFS version %d.%d; only %d.%d is read",
			s.Major, s.Minor, VersionMajor, VersionMinor)
	}
	return s, nil
}

// Append encodes the superblock, magic included.
func (s *Superblock) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, Magic)
	dst = le.AppendUint32(dst, s.InodeCount)
	dst = le.AppendUint32(dst, s.MkfsTime)
	dst = le.AppendUint32(dst, s.BlockSize)
	dst = le.AppendUint32(dst, s.FragmentCount)
	dst = le.AppendUint16(dst, s.Compression)
	dst = le.AppendUint16(dst, s.BlockLog)
	dst = le.AppendUint16(dst, s.Flags)
	dst = le.AppendUint16(dst, s.IDCount)
	dst = le.AppendUint16(dst, s.Major)
	dst = le.AppendUint16(dst, s.Minor)
	dst = le.AppendUint64(dst, uint64(s.Root))
	dst = le.AppendUint64(dst, s.BytesUsed)
	dst = le.AppendUint64(dst, s.IDTableStart)
	dst = le.AppendUint64(dst, s.XattrTableStart)
	dst = le.AppendUint64(dst, s.InodeTableStart)
	dst = le.AppendUint64(dst, s.DirTableStart)
	dst = le.AppendUint64(dst, s.FragmentTableStart)
	return le.AppendUint64(dst, s.ExportTableStart)
}

// Ref points into a table of metadata blocks: the offset of a block from the
// start of its table, shifted left by 16, and the offset of a byte in the
// decoded block.
type Ref uint64

// MakeRef joins the offset of a metadata block from its table's start with an
// offset in the decoded block.
func MakeRef(block int64, offset int) Ref { return Ref(uint64(block)<<16 | uint64(offset)) }

// Block is the offset of the metadata block from the start of its table.
func (r Ref) Block() int64 { return int64(r >> 16) }

// Offset is the offset in the decoded block; a sound one is below MetadataSize.
func (r Ref) Offset() int { return int(r & 0xffff) }

// BlockStored is the number of bytes that a data or fragment block with that
// word takes in the image; 0 is a hole.
func BlockStored(word uint32) int { return int(word &^ BlockUncompressed) }

// MetadataStored is the number of bytes that follow a metadata block's header,
// and whether they are compressed. Length 0 stands for 32768, as the kernel
// reads it.
func MetadataStored(header uint16) (n int, compressed bool) {
	n = int(header &^ MetadataUncompressed)
	if n == 0 {
		n = int(MetadataUncompressed)
	}
	return n, header&MetadataUncompressed == 0
}

// BlockCount is the number of block words of a file of size bytes: all blocks,
// or all but the tail where a fragment holds it.
func BlockCount(size uint64, blockSize uint32, fragment uint32) uint64 {
	n := size / uint64(blockSize)
	if fragment == NoFragment && size%uint64(blockSize) != 0 {
		n++
	}
	return n
}

// InodeType is the type of an inode, basic (1 to 7) or extended (8 to 14).
type InodeType uint16

// Inode types (format.adoc, "Common Inode Header"). Directory entries name the
// basic type also where the inode is extended.
const (
	InodeDir InodeType = iota + 1
	InodeFile
	InodeSymlink
	InodeBlockDev
	InodeCharDev
	InodeFIFO
	InodeSocket
	InodeExtDir
	InodeExtFile
	InodeExtSymlink
	InodeExtBlockDev
	InodeExtCharDev
	InodeExtFIFO
	InodeExtSocket
)

// Extended reports whether the type is one of the extended ones.
func (t InodeType) Extended() bool { return t >= InodeExtDir }

// Basic returns the type as directory entries name it.
func (t InodeType) Basic() InodeType {
	if t.Extended() {
		return t - (InodeExtDir - InodeDir)
	}
	return t
}

// WithExtended returns the extended form of a type.
func (t InodeType) WithExtended() InodeType {
	if t.Extended() {
		return t
	}
	return t + (InodeExtDir - InodeDir)
}

// Valid reports whether the format knows the type.
func (t InodeType) Valid() bool { return t >= InodeDir && t <= InodeExtSocket }

// Tree returns the tree's type, or 0 for an invalid one.
func (t InodeType) Tree() tree.Type {
	switch t.Basic() {
	case InodeDir:
		return tree.Directory
	case InodeFile:
		return tree.Regular
	case InodeSymlink:
		return tree.Symlink
	case InodeBlockDev:
		return tree.BlockDevice
	case InodeCharDev:
		return tree.CharDevice
	case InodeFIFO:
		return tree.FIFO
	case InodeSocket:
		return tree.Socket
	}
	return 0
}

// BasicType returns the basic inode type for the tree's type, or 0.
func BasicType(t tree.Type) InodeType {
	switch t {
	case tree.Directory:
		return InodeDir
	case tree.Regular:
		return InodeFile
	case tree.Symlink:
		return InodeSymlink
	case tree.BlockDevice:
		return InodeBlockDev
	case tree.CharDevice:
		return InodeCharDev
	case tree.FIFO:
		return InodeFIFO
	case tree.Socket:
		return InodeSocket
	}
	return 0
}

// String is the word for the type that diagnostics use.
func (t InodeType) String() string {
	if !t.Valid() {
		return "type " + strconv.Itoa(int(t))
	}
	if t.Extended() {
		return "extended " + t.Tree().String()
	}
	return t.Tree().String()
}
