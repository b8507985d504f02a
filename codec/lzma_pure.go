package codec

import "encoding/binary"

// lzmaHeaderSize is that of the .lzma format: properties, dictionary size and
// uncompressed size.
const lzmaHeaderSize = 13

// lzmaSize gives the uncompressed size that a block's header names.
func lzmaSize(src []byte, limit int) (int, error) {
	if len(src) < lzmaHeaderSize {
		return 0, corruptf(LZMA, "%d bytes, less than its header", len(src))
	}
	n := binary.LittleEndian.Uint64(src[5:])
	if n > uint64(limit) {
		return 0, corruptf(LZMA, "unpacks to %d bytes, more than %d", n, limit)
	}
	return int(n), nil
}

// pureLZMADecompressor reads the .lzma format, with or without an end marker
// behind the size that the header names: mksquashfs writes both.
type pureLZMADecompressor struct{ lzma lzmaDecoder }

func newPureLZMADecompressor(int, int) (Decompressor, error) {
	return new(pureLZMADecompressor), nil
}

func (d *pureLZMADecompressor) Decompress(dst, src []byte) (int, error) {
	if err := checkPacked(LZMA, dst, src); err != nil {
		return 0, err
	}
	size, err := lzmaSize(src, len(dst))
	if err != nil {
		return 0, err
	}
	// The dictionary size that the header names binds only memory, of which
	// this takes none.
	d.lzma.begin(dst, 0, size)
	if err := d.lzma.setProps(src[0]); err != nil {
		return 0, corrupt(LZMA, err)
	}
	rest, err := d.lzma.decode(src[lzmaHeaderSize:], size, true)
	if err != nil {
		return 0, corrupt(LZMA, err)
	}
	switch {
	case len(rest) > 0:
		return 0, corruptf(LZMA, "%d bytes follow the stream", len(rest))
	case d.lzma.pos != size:
		return 0, corruptf(LZMA, "unpacks to %d bytes, its header says %d", d.lzma.pos, size)
	}
	return size, nil
}

func (d *pureLZMADecompressor) Close() error { return nil }
