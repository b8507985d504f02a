package codec

import (
	"bytes"
	"encoding/binary"

	"github.com/ulikunitz/xz/lzma"
)

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

type pureLZMADecompressor struct {
	in     bytes.Reader
	config lzma.ReaderConfig
}

func newPureLZMADecompressor(blockSize, _ int) (Decompressor, error) {
	return &pureLZMADecompressor{config: lzma.ReaderConfig{DictCap: blockSize}}, nil
}

func (d *pureLZMADecompressor) Decompress(dst, src []byte) (int, error) {
	size, err := lzmaSize(src, len(dst))
	if err != nil {
		return 0, err
	}
	d.in.Reset(src)
	r, err := d.config.NewReader(&d.in)
	if err != nil {
		return 0, corrupt(LZMA, err)
	}
	n, err := readBlock(LZMA, r, dst)
	if err != nil {
		return n, err
	}
	if n != size {
		return n, corruptf(LZMA, "unpacks to %d bytes, its header says %d", n, size)
	}
	return n, nil
}

func (d *pureLZMADecompressor) Close() error { return nil }
