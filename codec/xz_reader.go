package codec

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"hash/crc64"
	"math"
)

// pureXZDecompressor reads one .xz stream a block. Unlike a streaming reader it
// has the whole output at hand, which serves LZMA2 as dictionary: it allocates
// nothing, whatever a header asks for.
type pureXZDecompressor struct {
	lzma     lzmaDecoder
	dictSize int // the largest that a block may have
	crc64    *crc64.Table
	records  []xzRecord
}

// xzRecord is what the index says of a block (4.3).
type xzRecord struct{ unpadded, unpacked int64 }

// maxXZBlocks bounds the blocks of a stream, of which mksquashfs writes one.
const maxXZBlocks = 64

func newPureXZDecompressor(_, dictSize int) (Decompressor, error) {
	return &pureXZDecompressor{dictSize: dictSize, crc64: crc64.MakeTable(crc64.ECMA)}, nil
}

func (d *pureXZDecompressor) Close() error { return nil }

func (d *pureXZDecompressor) Decompress(dst, src []byte) (int, error) {
	if err := checkPacked(XZ, dst, src); err != nil {
		return 0, err
	}
	check, err := parseXZStreamHeader(src)
	if err != nil {
		return 0, err
	}
	d.records = d.records[:0]
	at, pos := xzHeaderSize, 0
	for {
		if at >= len(src) {
			return pos, corruptf(XZ, "is cut short")
		}
		if src[at] == 0 { // the index
			break
		}
		if len(d.records) == maxXZBlocks {
			return pos, unsupportedf(XZ, "more than %d blocks in a stream", maxXZBlocks)
		}
		size, end, err := d.block(dst, pos, src[at:], check)
		if err != nil {
			return pos, err
		}
		d.records = append(d.records, xzRecord{int64(size), int64(end - pos)})
		pos = end
		at += (size + 3) &^ 3
	}
	return pos, d.tail(src[at:], src[7])
}

// block decodes the block at the start of b to dst[pos:]. It gives the block's
// size without the padding behind it, and where its content ends.
func (d *pureXZDecompressor) block(dst []byte, pos int, b []byte, check byte) (size, end int, err error) {
	h, err := parseXZBlockHeader(b)
	if err != nil {
		return 0, 0, err
	}
	if err := h.checkDict(d.dictSize); err != nil {
		return 0, 0, err
	}
	d.lzma.begin(dst, pos, h.dictSize)
	rest, err := d.lzma.decodeLZMA2(b[h.size:])
	if err != nil {
		return 0, 0, corrupt(XZ, err)
	}
	end = d.lzma.pos
	packed := len(b) - h.size - len(rest)
	if h.packed >= 0 && h.packed != int64(packed) || h.unpacked >= 0 && h.unpacked != int64(end-pos) {
		return 0, 0, corruptf(XZ, "its sizes are not those that its header says")
	}
	content := dst[pos:end]
	if h.filter != 0 {
		if err := bcjDecode(h.filter, h.filterOffset, content); err != nil {
			return 0, 0, err
		}
	}
	pad := -packed & 3
	checkSize := xzCheckSize(check)
	if len(rest) < pad+checkSize {
		return 0, 0, corruptf(XZ, "is cut short")
	}
	for _, c := range rest[:pad] {
		if c != 0 {
			return 0, 0, corruptf(XZ, "its padding is not zero")
		}
	}
	sum := rest[pad : pad+checkSize]
	ok := true
	switch check {
	case xzCheckCRC32:
		ok = binary.LittleEndian.Uint32(sum) == crc32.ChecksumIEEE(content)
	case xzCheckCRC64:
		ok = binary.LittleEndian.Uint64(sum) == crc64.Checksum(content, d.crc64)
	case xzCheckSHA256:
		ok = [sha256.Size]byte(sum) == sha256.Sum256(content)
	}
	if !ok {
		return 0, 0, corruptf(XZ, "its content does not match its check")
	}
	// The unpadded size leaves out only the padding, which comes before the
	// check; the check's size is a multiple of four.
	return h.size + packed + checkSize, end, nil
}

// tail checks the index and the footer (4, 2.1.2), which are all of b.
func (d *pureXZDecompressor) tail(b []byte, check byte) error {
	n, rest, err := xzVLI(b[1:])
	if err != nil {
		return err
	}
	if n != uint64(len(d.records)) {
		return corruptf(XZ, "its index has %d records for %d blocks", n, len(d.records))
	}
	for _, r := range d.records {
		var unpadded, unpacked uint64
		if unpadded, rest, err = xzVLI(rest); err != nil {
			return err
		}
		if unpacked, rest, err = xzVLI(rest); err != nil {
			return err
		}
		if unpadded > math.MaxInt64 || int64(unpadded) != r.unpadded || unpacked > math.MaxInt64 || int64(unpacked) != r.unpacked {
			return corruptf(XZ, "its index does not match its blocks")
		}
	}
	size := len(b) - len(rest)
	pad := -size & 3
	if len(rest) < pad+4+xzHeaderSize {
		return corruptf(XZ, "is cut short")
	}
	if len(rest) > pad+4+xzHeaderSize {
		return corruptf(XZ, "%d bytes follow the stream", len(rest)-(pad+4+xzHeaderSize))
	}
	for _, c := range rest[:pad] {
		if c != 0 {
			return corruptf(XZ, "the padding of its index is not zero")
		}
	}
	size += pad
	if binary.LittleEndian.Uint32(b[size:]) != crc32.ChecksumIEEE(b[:size]) {
		return corruptf(XZ, "the CRC32 of its index does not match")
	}
	return checkXZFooter(b[size+4:], int64(size+4), check)
}
