package codec

import (
	"github.com/klauspost/compress/zstd"
)

type pureZstdCompressor struct {
	blockSize int
	enc       *zstd.Encoder
}

func newPureZstdCompressor(o Options, blockSize int) (Compressor, error) {
	// The kernel decodes with a window of the block size (at least a metadata
	// block): a frame that names more, as the library's default does, mounts
	// and then fails to read. A single segment has no window of its own.
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(o.Level)),
		zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(blockSize),
		zstd.WithSingleSegment(true),
		zstd.WithEncoderCRC(false),
		zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, failed("zstd", err)
	}
	return &pureZstdCompressor{blockSize: blockSize, enc: enc}, nil
}

func (c *pureZstdCompressor) Compress(dst, src []byte) ([]byte, bool, error) {
	if err := checkBlock(Zstd, src, c.blockSize); err != nil {
		return dst[:0], false, err
	}
	dst = c.enc.EncodeAll(src, room(dst, c.blockSize))
	if len(dst) >= len(src) {
		return dst[:0], false, nil
	}
	return dst, true, nil
}

func (c *pureZstdCompressor) Close() error { return c.enc.Close() }

// zstdMaxWindow bounds the window that a frame may name; blocks are decoded
// straight to their destination, so that none is set aside. The kernel takes no
// more than the block size, unsquashfs any.
const zstdMaxWindow = 128 << 20

type pureZstdDecompressor struct{ dec *zstd.Decoder }

func newPureZstdDecompressor(int, int) (Decompressor, error) {
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(zstdMaxWindow),
		zstd.WithDecoderMaxWindow(zstdMaxWindow),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, failed("zstd", err)
	}
	return &pureZstdDecompressor{dec: dec}, nil
}

func (d *pureZstdDecompressor) Decompress(dst, src []byte) (int, error) {
	if err := checkPacked(Zstd, dst, src); err != nil {
		return 0, err
	}
	out, err := d.dec.DecodeAll(src, dst[:0:len(dst)])
	if err != nil {
		return 0, corrupt(Zstd, err)
	}
	return len(out), nil
}

func (d *pureZstdDecompressor) Close() error {
	d.dec.Close()
	return nil
}
