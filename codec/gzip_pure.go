package codec

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/zlib"
)

// pureGzipCompressor writes zlib streams with a window of 32 KiB, whatever
// window the options name: the kernel always decodes with that much.
type pureGzipCompressor struct {
	blockSize int
	out       bytes.Buffer
	writers   []*zlib.Writer // one a strategy to be tried
}

func newPureGzipCompressor(o Options, blockSize int) (Compressor, error) {
	c := &pureGzipCompressor{blockSize: blockSize}
	levels := []int{o.Level}
	if o.Strategies&StrategyHuffmanOnly != 0 {
		// Of zlib's strategies the library knows two.
		levels = []int{zlib.HuffmanOnly}
		if o.Strategies != StrategyHuffmanOnly {
			levels = append(levels, o.Level)
		}
	}
	for _, level := range levels {
		w, err := zlib.NewWriterLevel(nil, level)
		if err != nil {
			return nil, failed("zlib", err)
		}
		c.writers = append(c.writers, w)
	}
	return c, nil
}

func (c *pureGzipCompressor) Compress(dst, src []byte) ([]byte, bool, error) {
	if err := checkBlock(Gzip, src, c.blockSize); err != nil {
		return dst[:0], false, err
	}
	dst = dst[:0]
	for i, w := range c.writers {
		c.out.Reset()
		w.Reset(&c.out)
		if _, err := w.Write(src); err != nil {
			return dst[:0], false, failed("zlib", err)
		}
		if err := w.Close(); err != nil {
			return dst[:0], false, failed("zlib", err)
		}
		if i == 0 || c.out.Len() < len(dst) {
			dst = append(room(dst, c.blockSize), c.out.Bytes()...)
		}
	}
	if len(dst) >= len(src) {
		return dst[:0], false, nil
	}
	return dst, true, nil
}

func (c *pureGzipCompressor) Close() error { return nil }

type pureGzipDecompressor struct {
	in bytes.Reader
	r  io.ReadCloser // nil before the first block
}

func newPureGzipDecompressor(int, int) (Decompressor, error) {
	return &pureGzipDecompressor{}, nil
}

func (d *pureGzipDecompressor) Decompress(dst, src []byte) (int, error) {
	if err := checkPacked(Gzip, dst, src); err != nil {
		return 0, err
	}
	d.in.Reset(src)
	var err error
	if d.r == nil {
		if d.r, err = zlib.NewReader(&d.in); err != nil {
			d.r = nil
		}
	} else {
		err = d.r.(zlib.Resetter).Reset(&d.in, nil)
	}
	if err != nil {
		return 0, corrupt(Gzip, err)
	}
	n, err := readBlock(Gzip, d.r, dst)
	if err == nil && d.in.Len() > 0 {
		err = corruptf(Gzip, "%d bytes follow the stream", d.in.Len())
	}
	return n, err
}

func (d *pureGzipDecompressor) Close() error { return nil }

// readBlock reads r to its end, which must come within len(dst) bytes.
func readBlock(id ID, r io.Reader, dst []byte) (int, error) {
	n, err := io.ReadFull(r, dst)
	switch err {
	case io.EOF, io.ErrUnexpectedEOF:
		// ReadFull makes an ErrUnexpectedEOF of its own where r ends early, and
		// passes one on where the stream is cut: asking again tells them apart.
		var more [1]byte
		if _, err := r.Read(more[:]); err != io.EOF {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return n, corrupt(id, err)
		}
		return n, nil
	case nil:
		var more [1]byte
		m, err := io.ReadFull(r, more[:])
		if m > 0 {
			return n, corruptf(id, "unpacks to more than %d bytes", len(dst))
		}
		if err != io.EOF {
			return n, corrupt(id, err)
		}
		return n, nil
	}
	return n, corrupt(id, err)
}
