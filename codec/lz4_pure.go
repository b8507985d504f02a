package codec

import (
	"github.com/pierrec/lz4/v4"
)

// pureLZ4Compressor knows no acceleration: it always takes the best that the
// fast mode gives.
type pureLZ4Compressor struct {
	blockSize int
	fast      *lz4.Compressor
	hc        *lz4.CompressorHC
}

func newPureLZ4Compressor(o Options, blockSize int) (Compressor, error) {
	c := &pureLZ4Compressor{blockSize: blockSize}
	if !o.HC {
		c.fast = new(lz4.Compressor)
		return c, nil
	}
	levels := [...]lz4.CompressionLevel{lz4.Level1, lz4.Level1, lz4.Level2, lz4.Level3, lz4.Level4, lz4.Level5,
		lz4.Level6, lz4.Level7, lz4.Level8, lz4.Level9}
	c.hc = &lz4.CompressorHC{Level: levels[min(o.Level, len(levels)-1)]}
	return c, nil
}

func (c *pureLZ4Compressor) Compress(dst, src []byte) ([]byte, bool, error) {
	if err := checkBlock(LZ4, src, c.blockSize); err != nil {
		return dst[:0], false, err
	}
	// With room for the worst case the library never has to give up midway.
	dst = room(dst, lz4.CompressBlockBound(c.blockSize))
	var n int
	var err error
	if c.hc != nil {
		n, err = c.hc.CompressBlock(src, dst[:cap(dst)])
	} else {
		n, err = c.fast.CompressBlock(src, dst[:cap(dst)])
	}
	if err != nil {
		return dst[:0], false, failed("lz4", err)
	}
	if n == 0 || n >= len(src) {
		return dst[:0], false, nil
	}
	return dst[:n], true, nil
}

func (c *pureLZ4Compressor) Close() error { return nil }

type pureLZ4Decompressor struct{}

func newPureLZ4Decompressor(int, int) (Decompressor, error) { return pureLZ4Decompressor{}, nil }

func (pureLZ4Decompressor) Decompress(dst, src []byte) (int, error) {
	if err := checkPacked(LZ4, dst, src); err != nil {
		return 0, err
	}
	n, err := lz4.UncompressBlock(src, dst)
	if err != nil {
		return 0, corrupt(LZ4, err)
	}
	return n, nil
}

func (pureLZ4Decompressor) Close() error { return nil }
