package codec

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/zstd"
)

// zstdMinWindow is the least window that a decoder sets aside.
const zstdMinWindow = 1 << 10

// checkZstdWindow refuses a frame whose window is larger than what the kernel sets
// aside for the image. That of a single segment is all of its content.
func checkZstdWindow(src []byte, window int) error {
	var h zstd.Header
	if err := h.Decode(src); err != nil {
		return rawCorrupt(RawZstd, err)
	}
	asked := h.WindowSize
	if h.SingleSegment {
		asked = h.FrameContentSize
	}
	switch {
	case h.Skippable:
		return rawCorruptf(RawZstd, "is a frame that is to be skipped")
	case asked > uint64(window):
		return rawCorruptf(RawZstd, "asks for a window of %d bytes, more than the image's %d", asked, window)
	}
	return nil
}

// zstdFrame is the head of every zstd decompressor: the window it allows, and the
// decoder for beginnings of frames, which libzstd's simple interface has no call for.
type zstdFrame struct {
	window int
	in     bytes.Reader
	stream *zstd.Decoder // nil before the first prefix
}

func newZstdFrame(window int) zstdFrame { return zstdFrame{window: max(window, zstdMinWindow)} }

func (d *zstdFrame) check(dst, src []byte) error {
	if err := checkRaw(RawZstd, dst, src); err != nil {
		return err
	}
	return checkZstdWindow(src, d.window)
}

// Prefix implements RawDecompressor.
func (d *zstdFrame) Prefix(dst, src []byte) error {
	if err := d.check(dst, src); err != nil {
		return err
	}
	d.in.Reset(src)
	if d.stream == nil {
		var err error
		if d.stream, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(uint64(d.window)), zstd.WithDecodeBuffersBelow(0)); err != nil {
			return failed("zstd", err)
		}
	}
	if err := d.stream.Reset(&d.in); err != nil {
		return rawCorrupt(RawZstd, err)
	}
	n, err := io.ReadFull(d.stream, dst)
	switch err {
	case nil:
		return nil
	case io.EOF, io.ErrUnexpectedEOF:
		return rawCorruptf(RawZstd, "ends after %d bytes of %d", n, len(dst))
	}
	return rawCorrupt(RawZstd, err)
}

func (d *zstdFrame) close() {
	if d.stream != nil {
		d.stream.Close()
	}
}

type pureRawZstd struct {
	zstdFrame
	dec *zstd.Decoder
}

func newPureRawZstd(window int) (RawDecompressor, error) {
	f := newZstdFrame(window)
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(uint64(f.window)),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, failed("zstd", err)
	}
	return &pureRawZstd{f, dec}, nil
}

func (d *pureRawZstd) Decompress(dst, src []byte) error {
	if err := d.check(dst, src); err != nil {
		return err
	}
	out, err := d.dec.DecodeAll(src, dst[:0:len(dst)])
	if err != nil {
		return rawCorrupt(RawZstd, err)
	}
	return checkGiven(RawZstd, dst, len(out))
}

func (d *pureRawZstd) Close() error {
	d.dec.Close()
	d.close()
	return nil
}
