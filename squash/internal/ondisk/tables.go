package ondisk

import "encoding/binary"

// DirHeader leads 1 to DirEntriesMax directory entries whose inodes are in one
// metadata block (format.adoc, "The Directory Table").
type DirHeader struct {
	Count  uint32 // number of entries; stored less 1
	Block  uint32 // offset of the inodes' metadata block from the inode table's start
	Number uint32 // inode number that the entries' differences are added to
}

// DirHeaderSize is the length of a DirHeader in bytes.
const DirHeaderSize = 12

// Append encodes the header.
func (h *DirHeader) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, h.Count-1)
	dst = le.AppendUint32(dst, h.Block)
	return le.AppendUint32(dst, h.Number)
}

// DecodeDirHeader decodes DirHeaderSize bytes. A Count of 0 stands for 2^32.
func DecodeDirHeader(b []byte) DirHeader {
	le := binary.LittleEndian
	return DirHeader{Count: le.Uint32(b) + 1, Block: le.Uint32(b[4:]), Number: le.Uint32(b[8:])}
}

// DirEntry is one name of a directory.
type DirEntry struct {
	Offset uint16    // of the inode in its decoded metadata block
	Delta  int16     // inode number less the header's Number
	Type   InodeType // a basic type
	Name   string    // 1 to 256 bytes
}

// DirEntrySize is the length of a DirEntry before its name, in bytes.
const DirEntrySize = 8

// Append encodes the entry.
func (e *DirEntry) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint16(dst, e.Offset)
	dst = le.AppendUint16(dst, uint16(e.Delta))
	dst = le.AppendUint16(dst, uint16(e.Type))
	dst = le.AppendUint16(dst, uint16(len(e.Name)-1))
	return append(dst, e.Name...)
}

// DecodeDirEntry decodes DirEntrySize bytes and gives the length of the name
// that follows.
func DecodeDirEntry(b []byte) (e DirEntry, nameLen int) {
	le := binary.LittleEndian
	e = DirEntry{Offset: le.Uint16(b), Delta: int16(le.Uint16(b[2:])), Type: InodeType(le.Uint16(b[4:]))}
	return e, int(le.Uint16(b[6:])) + 1
}

// FragmentEntry is one entry of the fragment table.
type FragmentEntry struct {
	Start int64  // absolute offset of the block
	Word  uint32 // block word
}

// FragmentEntrySize is the length of a FragmentEntry in bytes; the last four
// are unused.
const FragmentEntrySize = 16

// Append encodes the entry.
func (f *FragmentEntry) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(f.Start))
	dst = le.AppendUint32(dst, f.Word)
	return le.AppendUint32(dst, 0)
}

// DecodeFragmentEntry decodes FragmentEntrySize bytes.
func DecodeFragmentEntry(b []byte) FragmentEntry {
	le := binary.LittleEndian
	return FragmentEntry{Start: int64(le.Uint64(b)), Word: le.Uint32(b[8:])}
}

// XattrID is one entry of the xattr id table: the attributes of one or more
// inodes.
type XattrID struct {
	Ref   Ref    // of the first pair, in the table of xattr pairs
	Count uint32 // number of pairs
	Size  uint32 // bytes of names (prefixes included, a NUL each) and values, as listing them in memory takes
}

// XattrIDSize is the length of an XattrID in bytes.
const XattrIDSize = 16

// Append encodes the entry.
func (x *XattrID) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(x.Ref))
	dst = le.AppendUint32(dst, x.Count)
	return le.AppendUint32(dst, x.Size)
}

// DecodeXattrID decodes XattrIDSize bytes.
func DecodeXattrID(b []byte) XattrID {
	le := binary.LittleEndian
	return XattrID{Ref: Ref(le.Uint64(b)), Count: le.Uint32(b[8:]), Size: le.Uint32(b[12:])}
}

// XattrTableHeader stands at the superblock's XattrTableStart; the index array
// of the xattr id table follows it.
type XattrTableHeader struct {
	PairsStart uint64 // absolute offset of the first metadata block of pairs
	IDCount    uint32
}

// XattrTableHeaderSize is the length of an XattrTableHeader in bytes; the last
// four are unused.
const XattrTableHeaderSize = 16

// Append encodes the header.
func (h *XattrTableHeader) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, h.PairsStart)
	dst = le.AppendUint32(dst, h.IDCount)
	return le.AppendUint32(dst, 0)
}

// DecodeXattrTableHeader decodes XattrTableHeaderSize bytes.
func DecodeXattrTableHeader(b []byte) XattrTableHeader {
	le := binary.LittleEndian
	return XattrTableHeader{PairsStart: le.Uint64(b), IDCount: le.Uint32(b[8:])}
}

// Prefixes of extended attributes, the low byte of a pair's type
// (format.adoc, "Xattr Table").
const (
	XattrUser     uint16 = 0
	XattrTrusted  uint16 = 1
	XattrSecurity uint16 = 2
	// XattrPrefixMask is the part of the type that names the prefix.
	XattrPrefixMask uint16 = 0xff
	// XattrOutOfLine marks a pair whose value is 8 bytes that hold the Ref of
	// the real value's length and bytes.
	XattrOutOfLine uint16 = 0x100
)

// XattrPrefixes are the texts that the prefix numbers stand for.
var XattrPrefixes = [...]string{XattrUser: "user.", XattrTrusted: "trusted.", XattrSecurity: "security."}

// XattrKeySize is the length of a pair's type and name length; the name
// without its prefix follows, then the value's length in 32 bits, then the
// value.
const XattrKeySize = 4

// AppendXattrKey encodes the key of a pair, whose name has no prefix.
func AppendXattrKey(dst []byte, typ uint16, name string) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint16(dst, typ)
	dst = le.AppendUint16(dst, uint16(len(name)))
	return append(dst, name...)
}

// Sizes of entries in the tables that only hold numbers.
const (
	// IDSize is the length of an entry of the id table: a 32-bit uid or gid.
	IDSize = 4
	// ExportSize is the length of an entry of the export table: the Ref of
	// inode number i+1.
	ExportSize = 8
	// IndexSize is the length of an entry of an index array: the absolute
	// offset of a metadata block.
	IndexSize = 8
)

// IndexLen is the number of metadata blocks, and so of index array entries,
// that count entries of that size take.
func IndexLen(count uint64, entrySize int) uint64 {
	perBlock := uint64(MetadataSize / entrySize)
	return (count + perBlock - 1) / perBlock
}
