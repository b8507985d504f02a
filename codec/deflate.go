package codec

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/flate"
)

type pureRawDeflate struct {
	in bytes.Reader
	r  io.ReadCloser // nil before the first stream
}

func newPureRawDeflate(int) (RawDecompressor, error) { return new(pureRawDeflate), nil }

// begin sets up the reader for a stream. It reads src by bytes, and so not beyond
// the stream's end.
func (d *pureRawDeflate) begin(dst, src []byte) error {
	if err := checkRaw(RawDeflate, dst, src); err != nil {
		return err
	}
	d.in.Reset(src)
	if d.r == nil {
		d.r = flate.NewReader(&d.in)
		return nil
	}
	if err := d.r.(flate.Resetter).Reset(&d.in, nil); err != nil {
		return failed("deflate", err)
	}
	return nil
}

func (d *pureRawDeflate) Decompress(dst, src []byte) error {
	if err := d.begin(dst, src); err != nil {
		return err
	}
	n, err := io.ReadFull(d.r, dst)
	switch err {
	case nil:
		var more [1]byte
		n, err := io.ReadFull(d.r, more[:])
		if n > 0 {
			return rawCorruptf(RawDeflate, "unpacks to more than %d bytes", len(dst))
		}
		if err != io.EOF {
			return rawCorrupt(RawDeflate, err)
		}
		if d.in.Len() > 0 {
			return rawCorruptf(RawDeflate, "%d bytes follow the stream", d.in.Len())
		}
		return nil
	case io.EOF, io.ErrUnexpectedEOF:
		return rawCorruptf(RawDeflate, "ends after %d bytes of %d", n, len(dst))
	}
	return rawCorrupt(RawDeflate, err)
}

func (d *pureRawDeflate) Prefix(dst, src []byte) error {
	if err := d.begin(dst, src); err != nil {
		return err
	}
	n, err := io.ReadFull(d.r, dst)
	switch err {
	case nil:
		return nil
	case io.EOF, io.ErrUnexpectedEOF:
		return rawCorruptf(RawDeflate, "ends after %d bytes of %d", n, len(dst))
	}
	return rawCorrupt(RawDeflate, err)
}

func (d *pureRawDeflate) Close() error { return nil }
