package ondisk

import "encoding/binary"

// Limits of Linux (fs/erofs/internal.h).
const (
	PclusterMax = 1 << 20  // stored bytes of an extent
	ExtentMax   = 12 << 20 // what it decodes to
)

// MapHeaderSize is the length of the header of a compressed file, and FullReserved
// what a full index has behind it, in bytes.
const (
	MapHeaderSize = 8
	FullReserved  = 8
)

// What the header of a compressed file advises.
const (
	AdviseCompact2B  uint16 = 1 << 0 // packs of entries of 2 bytes; in a full index, see AdviseExtents
	AdviseExtents    uint16 = 1 << 0 // encoded extents in the place of an index
	AdviseBig1       uint16 = 1 << 1 // pclusters of PLAIN and HEAD1 may have several blocks
	AdviseBig2       uint16 = 1 << 2 // those of PLAIN and HEAD2
	AdviseInline     uint16 = 1 << 3 // the tail is beside the index
	AdviseInterlaced uint16 = 1 << 4 // PLAIN data is rotated
	AdviseFragment   uint16 = 1 << 5 // the tail is in the packed inode
)

// WholeFragment is the bit of the header's last byte that says that all of the file
// is in the packed inode; the header is then an offset there with its highest bit
// set.
const WholeFragment = 1 << 7

// MapHeader is the header of a compressed file.
type MapHeader struct {
	Fragment   uint32 // offset in the packed inode; in encoded extents their number
	InlineSize uint16 // the high half of the same field
	Advise     uint16
	Algorithms uint8 // of HEAD1, and of HEAD2 in the high half; in encoded extents more of their number
	Bits       uint8 // of lclusters, less those of blocks; WholeFragment
	Word       uint64
}

// DecodeMapHeader decodes the header of a compressed file.
func DecodeMapHeader(b []byte) MapHeader {
	le := binary.LittleEndian
	return MapHeader{Fragment: le.Uint32(b), InlineSize: le.Uint16(b[2:]), Advise: le.Uint16(b[4:]), Algorithms: b[6], Bits: b[7],
		Word: le.Uint64(b)}
}

// ClusterType is what an entry of an index says of its lcluster.
type ClusterType uint8

// The types of entries.
const (
	Plain   ClusterType = 0 // an extent begins that is stored as it is
	Head1   ClusterType = 1 // one that is compressed
	NonHead ClusterType = 2 // it is within one
	Head2   ClusterType = 3 // one that is compressed by the second algorithm
)

// FullEntrySize is the length of an entry of a full index, in bytes.
const FullEntrySize = 8

// Bits of a full entry's first field.
const (
	FullTypeMask uint16 = 3
	FullHole     uint16 = 1 << 14
	FullPartial  uint16 = 1 << 15
)

// BlockCount is the bit of a distance that says that it is a number of blocks.
const BlockCount uint16 = 1 << 11

// Bits of an encoded extent's length.
const (
	ExtentLenMask   uint32 = 1<<21 - 1
	ExtentPartial   uint32 = 1 << 27
	ExtentAlgoShift        = 28 // of the algorithm's number and 1; 0 is stored as it is
)

// Limits of compression configurations.
const (
	LZMADictMin    = 4 << 10
	LZMADictMax    = 8 << 20
	DeflateBitsMax = 15
	ZstdLogMin     = 10
	ZstdLogMax     = 20
)

// Append encodes the header of a compressed file: Fragment, or where there is none
// InlineSize, and what follows.
func (h *MapHeader) Append(dst []byte) []byte {
	le := binary.LittleEndian
	if h.Bits&WholeFragment != 0 {
		return le.AppendUint64(dst, h.Word|1<<63)
	}
	first := h.Fragment
	if h.InlineSize != 0 {
		first = uint32(h.InlineSize) << 16
	}
	dst = le.AppendUint32(dst, first)
	dst = le.AppendUint16(dst, h.Advise)
	return append(dst, h.Algorithms, h.Bits)
}
