package codec

import (
	"bytes"

	xzread "github.com/therootcompany/xz"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// pureXZCompressor writes without branch filters: a filter only makes blocks
// smaller, and none is always right.
type pureXZCompressor struct {
	blockSize int
	config    xz.WriterConfig
	out       bytes.Buffer
}

func newPureXZCompressor(o Options, blockSize int) (Compressor, error) {
	return &pureXZCompressor{blockSize: blockSize, config: xz.WriterConfig{
		// The kernel refuses blocks whose dictionary is larger than the stored
		// one, and is usually built with CRC32 alone.
		DictCap: o.DictSize, CheckSum: xz.CRC32, Matcher: lzma.HashTable4,
		// An incompressible chunk of up to 64 KiB is copied out of dictionary
		// and buffer; where both together are smaller the library fails, and
		// where it happens in Close it does so without an error.
		BufSize: 1 << 17,
	}}, nil
}

func (c *pureXZCompressor) Compress(dst, src []byte) ([]byte, bool, error) {
	dst = dst[:0]
	if err := checkBlock(XZ, src, c.blockSize); err != nil {
		return dst, false, err
	}
	c.out.Reset()
	w, err := c.config.NewWriter(&c.out)
	if err != nil {
		return dst, false, failed("xz", err)
	}
	if _, err := w.Write(src); err != nil {
		return dst, false, failed("xz", err)
	}
	if err := w.Close(); err != nil {
		return dst, false, failed("xz", err)
	}
	if c.out.Len() >= len(src) {
		return dst, false, nil
	}
	return append(room(dst, c.blockSize), c.out.Bytes()...), true, nil
}

func (c *pureXZCompressor) Close() error { return nil }

type pureXZDecompressor struct {
	in       bytes.Reader
	dictSize int
	r        *xzread.Reader
}

func newPureXZDecompressor(_, dictSize int) (Decompressor, error) {
	r, err := xzread.NewReader(nil, uint32(dictSize))
	if err != nil {
		return nil, failed("xz", err)
	}
	return &pureXZDecompressor{dictSize: dictSize, r: r}, nil
}

func (d *pureXZDecompressor) Decompress(dst, src []byte) (int, error) {
	d.in.Reset(src)
	if err := d.r.Reset(&d.in); err != nil {
		return 0, corrupt(XZ, err)
	}
	return readBlock(XZ, d.r, dst)
}

func (d *pureXZDecompressor) Close() error { return nil }
