package codec

import (
	"encoding/binary"
	"hash/crc32"
)

// Constants of the .xz file format 1.2.1, with the section that each is from.
const (
	xzHeaderSize = 12 // 2.1.1; the footer, 2.1.2, has the same size

	xzCheckNone   = 0x00 // 2.1.1.2
	xzCheckCRC32  = 0x01
	xzCheckCRC64  = 0x04
	xzCheckSHA256 = 0x0a

	xzFilterLZMA2 = 0x21 // 5.3
	bcjX86        = 0x04
	bcjPowerPC    = 0x05
	bcjIA64       = 0x06
	bcjARM        = 0x07
	bcjARMThumb   = 0x08
	bcjSPARC      = 0x09
	bcjARM64      = 0x0a
	bcjRISCV      = 0x0b
)

// xzMagic and xzFooterMagic open and close a stream (2.1.1.1, 2.1.2.4).
const (
	xzMagic       = "\xfd7zXZ\x00"
	xzFooterMagic = "YZ"
)

// bcjIDs are the branch filters in the order of the bits of Filters.
var bcjIDs = [...]uint64{bcjX86, bcjPowerPC, bcjIA64, bcjARM, bcjARMThumb, bcjSPARC, bcjARM64, bcjRISCV}

// xzCheckSize gives the bytes of a check (2.1.1.2), -1 where it is unknown.
func xzCheckSize(check byte) int {
	switch check {
	case xzCheckNone:
		return 0
	case xzCheckCRC32:
		return 4
	case xzCheckCRC64:
		return 8
	case xzCheckSHA256:
		return 32
	}
	return -1
}

// xzBlockHeader is what a block header (3.1) says.
type xzBlockHeader struct {
	size         int    // of the header itself, in bytes
	packed       int64  // compressed size, -1 where it is not stored
	unpacked     int64  // uncompressed size, -1 where it is not stored
	filter       uint64 // the branch filter, 0 where there is none
	filterOffset uint32 // its start offset
	dictSize     int
}

// parseXZStreamHeader checks a stream's header (2.1.1) and gives its check.
func parseXZStreamHeader(b []byte) (check byte, err error) {
	if len(b) < xzHeaderSize || string(b[:6]) != xzMagic {
		return 0, corruptf(XZ, "does not begin as an xz stream")
	}
	if crc32.ChecksumIEEE(b[6:8]) != binary.LittleEndian.Uint32(b[8:]) {
		return 0, corruptf(XZ, "the stream header's CRC32 does not match")
	}
	if b[6] != 0 || xzCheckSize(b[7]) < 0 {
		return 0, unsupportedf(XZ, "stream flags %#02x %#02x", b[6], b[7])
	}
	return b[7], nil
}

// parseXZBlockHeader reads a block header at the start of b.
func parseXZBlockHeader(b []byte) (h xzBlockHeader, err error) {
	h.size = (int(b[0]) + 1) * 4
	if len(b) < h.size {
		return h, corruptf(XZ, "the block header is cut short")
	}
	if crc32.ChecksumIEEE(b[:h.size-4]) != binary.LittleEndian.Uint32(b[h.size-4:]) {
		return h, corruptf(XZ, "the block header's CRC32 does not match")
	}
	flags := b[1]
	b = b[2 : h.size-4]
	if flags&0x3c != 0 {
		return h, unsupportedf(XZ, "block flags %#02x", flags)
	}
	h.packed, h.unpacked = -1, -1
	var v uint64
	for _, size := range []struct {
		flag byte
		to   *int64
	}{{0x40, &h.packed}, {0x80, &h.unpacked}} {
		if flags&size.flag != 0 {
			if v, b, err = xzVLI(b); err != nil {
				return h, err
			}
			*size.to = int64(v)
		}
	}
	last := int(flags & 3)
	for i := 0; i <= last; i++ {
		var id, size uint64
		if id, b, err = xzVLI(b); err != nil {
			return h, err
		}
		if size, b, err = xzVLI(b); err != nil {
			return h, err
		}
		if size > uint64(len(b)) {
			return h, corruptf(XZ, "the block header's filter flags are cut short")
		}
		props := b[:size]
		b = b[size:]
		switch {
		case i == last && id == xzFilterLZMA2:
			if len(props) != 1 {
				return h, corruptf(XZ, "%d bytes of LZMA2 properties", len(props))
			}
			if h.dictSize, err = lzma2DictSize(props[0]); err != nil {
				return h, err
			}
		case i == 0 && last == 1 && id >= bcjX86 && id <= bcjRISCV:
			h.filter = id
			switch len(props) {
			case 0:
			case 4:
				h.filterOffset = binary.LittleEndian.Uint32(props)
			default:
				return h, corruptf(XZ, "%d bytes of filter properties", len(props))
			}
		default:
			return h, unsupportedf(XZ, "filter %#x as number %d of %d", id, i+1, last+1)
		}
	}
	for _, c := range b {
		if c != 0 {
			return h, corruptf(XZ, "the block header's padding is not zero")
		}
	}
	return h, nil
}

// checkDict refuses a dictionary larger than the image's, as the kernel does.
func (h xzBlockHeader) checkDict(limit int) error {
	if h.dictSize > limit {
		return corruptf(XZ, "its dictionary of %d bytes is larger than the image's of %d", h.dictSize, limit)
	}
	return nil
}

// checkXZFooter checks a stream's footer (2.1.2), given the length of the index
// before it.
func checkXZFooter(b []byte, index int64, check byte) error {
	le := binary.LittleEndian
	switch {
	case string(b[10:12]) != xzFooterMagic,
		le.Uint32(b) != crc32.ChecksumIEEE(b[4:10]),
		(int64(le.Uint32(b[4:]))+1)*4 != index,
		b[8] != 0 || b[9] != check:
		return corruptf(XZ, "its footer is damaged")
	}
	return nil
}

// xzVLI reads a variable-length integer (1.2).
func xzVLI(b []byte) (v uint64, rest []byte, err error) {
	for i, c := range b {
		if i == 9 || i > 0 && c == 0 {
			break
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, b[i+1:], nil
		}
	}
	return 0, nil, corruptf(XZ, "a number is damaged")
}

// appendXZVLI writes what xzVLI reads.
func appendXZVLI(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// lzma2DictSize decodes the dictionary size of the LZMA2 filter (5.3.1).
func lzma2DictSize(b byte) (int, error) {
	switch {
	case b > 40:
		return 0, corruptf(XZ, "the size of its dictionary is damaged")
	case b > 37:
		return 0, unsupportedf(XZ, "a dictionary of 2 GiB or more")
	}
	return int(2|b&1) << (b/2 + 11), nil
}

// lzma2DictByte encodes the smallest dictionary size of at least n bytes.
func lzma2DictByte(n int) byte {
	for b := byte(0); b < 37; b++ {
		if size, _ := lzma2DictSize(b); size >= n {
			return b
		}
	}
	return 37
}
