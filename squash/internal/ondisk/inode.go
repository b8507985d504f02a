package ondisk

import "encoding/binary"

// InodeHead is the part of an inode that all fourteen types share and the
// fields that some have (format.adoc, "The Inode Table"). What follows it in
// the table has a length of its own: block words of a file, index entries of
// an extended directory, the target of a symlink (which in an extended symlink
// stands before the xattr index).
type InodeHead struct {
	Type   InodeType
	Mode   uint16 // the lower twelve bits of st_mode
	UID    uint16 // index into the id table
	GID    uint16 // index into the id table
	Mtime  uint32 // seconds since 1970
	Number uint32 // 1 to the superblock's InodeCount

	// Nlink is the link count; a basic file has none stored and decodes as 1.
	Nlink uint32
	// Xattr is the index into the xattr id table; NoXattr in basic types.
	Xattr uint32

	// Of directories: the listing is DirSize-DirSizeExtra bytes (DirSize may be
	// anything up to DirSizeExtra where it is empty) and starts in the metadata
	// block DirBlock bytes after the directory table's start, at DirOffset.
	DirBlock   uint32
	DirOffset  uint16
	DirSize    uint32 // at most 16 bits in a basic directory
	Parent     uint32 // inode number of the parent; InodeCount+1 in the root
	IndexCount uint16 // number of DirIndex that follow an extended directory

	// Of files.
	Start          uint64 // absolute offset of the first block; 32 bits in a basic file
	FileSize       uint64 // 32 bits in a basic file
	Sparse         uint64 // bytes in holes, of extended files
	Fragment       uint32 // index into the fragment table, or NoFragment
	FragmentOffset uint32 // of the tail in the decoded fragment block

	// TargetSize is the length of a symlink's target in bytes.
	TargetSize uint32
	// Rdev is the device number as the kernel's new_encode_dev packs it.
	Rdev uint32
}

// CommonSize is the length of the fields that all inodes share.
const CommonSize = 16

// headSizes is the length of an inode before its variable part; the xattr
// index that follows an extended symlink's target is not counted.
var headSizes = [...]int{
	InodeDir: 32, InodeFile: 32, InodeSymlink: 24, InodeBlockDev: 24, InodeCharDev: 24, InodeFIFO: 20, InodeSocket: 20,
	InodeExtDir: 40, InodeExtFile: 56, InodeExtSymlink: 24, InodeExtBlockDev: 28, InodeExtCharDev: 28, InodeExtFIFO: 24, InodeExtSocket: 24,
}

// HeadSize is the length in bytes of an inode of a valid type before its
// variable part.
func (t InodeType) HeadSize() int { return headSizes[t] }

// The least and the greatest HeadSize.
const (
	MinInodeSize = 20
	MaxHeadSize  = 56
)

// Append encodes the head, which must have a valid type. The variable part is
// the caller's to append; AppendSymlink does it for symlinks.
func (n *InodeHead) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint16(dst, uint16(n.Type))
	dst = le.AppendUint16(dst, n.Mode)
	dst = le.AppendUint16(dst, n.UID)
	dst = le.AppendUint16(dst, n.GID)
	dst = le.AppendUint32(dst, n.Mtime)
	dst = le.AppendUint32(dst, n.Number)
	switch n.Type {
	case InodeDir:
		dst = le.AppendUint32(dst, n.DirBlock)
		dst = le.AppendUint32(dst, n.Nlink)
		dst = le.AppendUint16(dst, uint16(n.DirSize))
		dst = le.AppendUint16(dst, n.DirOffset)
		dst = le.AppendUint32(dst, n.Parent)
	case InodeExtDir:
		dst = le.AppendUint32(dst, n.Nlink)
		dst = le.AppendUint32(dst, n.DirSize)
		dst = le.AppendUint32(dst, n.DirBlock)
		dst = le.AppendUint32(dst, n.Parent)
		dst = le.AppendUint16(dst, n.IndexCount)
		dst = le.AppendUint16(dst, n.DirOffset)
		dst = le.AppendUint32(dst, n.Xattr)
	case InodeFile:
		dst = le.AppendUint32(dst, uint32(n.Start))
		dst = le.AppendUint32(dst, n.Fragment)
		dst = le.AppendUint32(dst, n.FragmentOffset)
		dst = le.AppendUint32(dst, uint32(n.FileSize))
	case InodeExtFile:
		dst = le.AppendUint64(dst, n.Start)
		dst = le.AppendUint64(dst, n.FileSize)
		dst = le.AppendUint64(dst, n.Sparse)
		dst = le.AppendUint32(dst, n.Nlink)
		dst = le.AppendUint32(dst, n.Fragment)
		dst = le.AppendUint32(dst, n.FragmentOffset)
		dst = le.AppendUint32(dst, n.Xattr)
	case InodeSymlink, InodeExtSymlink:
		dst = le.AppendUint32(dst, n.Nlink)
		dst = le.AppendUint32(dst, n.TargetSize)
	case InodeBlockDev, InodeCharDev, InodeExtBlockDev, InodeExtCharDev:
		dst = le.AppendUint32(dst, n.Nlink)
		dst = le.AppendUint32(dst, n.Rdev)
		if n.Type.Extended() {
			dst = le.AppendUint32(dst, n.Xattr)
		}
	case InodeFIFO, InodeSocket, InodeExtFIFO, InodeExtSocket:
		dst = le.AppendUint32(dst, n.Nlink)
		if n.Type.Extended() {
			dst = le.AppendUint32(dst, n.Xattr)
		}
	}
	return dst
}

// AppendSymlink encodes a whole symlink inode, basic or extended.
func (n *InodeHead) AppendSymlink(dst []byte, target string) []byte {
	n.TargetSize = uint32(len(target))
	dst = append(n.Append(dst), target...)
	if n.Type.Extended() {
		dst = binary.LittleEndian.AppendUint32(dst, n.Xattr)
	}
	return dst
}

// DecodeInodeCommon decodes the 16 bytes that all inodes share.
func DecodeInodeCommon(n *InodeHead, b []byte) {
	le := binary.LittleEndian
	*n = InodeHead{
		Type:     InodeType(le.Uint16(b)),
		Mode:     le.Uint16(b[2:]),
		UID:      le.Uint16(b[4:]),
		GID:      le.Uint16(b[6:]),
		Mtime:    le.Uint32(b[8:]),
		Number:   le.Uint32(b[12:]),
		Xattr:    NoXattr,
		Fragment: NoFragment,
	}
}

// DecodeInodeRest decodes what follows the common part, given the whole head
// of n.Type.HeadSize() bytes. The Xattr of an extended symlink stands after
// its target and is left at NoXattr.
func DecodeInodeRest(n *InodeHead, b []byte) {
	le := binary.LittleEndian
	switch n.Type {
	case InodeDir:
		n.DirBlock = le.Uint32(b[16:])
		n.Nlink = le.Uint32(b[20:])
		n.DirSize = uint32(le.Uint16(b[24:]))
		n.DirOffset = le.Uint16(b[26:])
		n.Parent = le.Uint32(b[28:])
	case InodeExtDir:
		n.Nlink = le.Uint32(b[16:])
		n.DirSize = le.Uint32(b[20:])
		n.DirBlock = le.Uint32(b[24:])
		n.Parent = le.Uint32(b[28:])
		n.IndexCount = le.Uint16(b[32:])
		n.DirOffset = le.Uint16(b[34:])
		n.Xattr = le.Uint32(b[36:])
	case InodeFile:
		n.Start = uint64(le.Uint32(b[16:]))
		n.Fragment = le.Uint32(b[20:])
		n.FragmentOffset = le.Uint32(b[24:])
		n.FileSize = uint64(le.Uint32(b[28:]))
		n.Nlink = 1
	case InodeExtFile:
		n.Start = le.Uint64(b[16:])
		n.FileSize = le.Uint64(b[24:])
		n.Sparse = le.Uint64(b[32:])
		n.Nlink = le.Uint32(b[40:])
		n.Fragment = le.Uint32(b[44:])
		n.FragmentOffset = le.Uint32(b[48:])
		n.Xattr = le.Uint32(b[52:])
	case InodeSymlink, InodeExtSymlink:
		n.Nlink = le.Uint32(b[16:])
		n.TargetSize = le.Uint32(b[20:])
	case InodeBlockDev, InodeCharDev, InodeExtBlockDev, InodeExtCharDev:
		n.Nlink = le.Uint32(b[16:])
		n.Rdev = le.Uint32(b[20:])
		if n.Type.Extended() {
			n.Xattr = le.Uint32(b[24:])
		}
	case InodeFIFO, InodeSocket, InodeExtFIFO, InodeExtSocket:
		n.Nlink = le.Uint32(b[16:])
		if n.Type.Extended() {
			n.Xattr = le.Uint32(b[20:])
		}
	}
}

// DirIndex is one entry of an extended directory's index: the first name of a
// run of entries and where its header is (format.adoc, "Directory Index").
type DirIndex struct {
	Index uint32 // offset of the header in the listing, in bytes
	Block uint32 // offset of its metadata block from the directory table's start
	Name  string // of the header's first entry, 1 to 256 bytes
}

// DirIndexSize is the length of a DirIndex before its name.
const DirIndexSize = 12

// Append encodes the entry.
func (d *DirIndex) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, d.Index)
	dst = le.AppendUint32(dst, d.Block)
	dst = le.AppendUint32(dst, uint32(len(d.Name)-1))
	return append(dst, d.Name...)
}

// Listing is the length of a directory's listing in bytes.
func (n *InodeHead) Listing() uint32 {
	if n.DirSize <= DirSizeExtra {
		return 0
	}
	return n.DirSize - DirSizeExtra
}
