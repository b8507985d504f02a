//go:build linux && (amd64 || arm64) && !relive_static

package codec

import (
	"fmt"
	"unsafe"
)

// liblzo holds the addresses of liblzo2's functions.
type liblzo struct {
	compress   [LZO1X999]uintptr // those before LZO1X999
	level999   uintptr
	optimize   uintptr
	decompress uintptr
}

func openLZO() (*sharedLibrary, string, map[ID]implementation, map[Raw]rawImplementation) {
	l := openShared("liblzo2.so.2")
	z := &liblzo{
		compress: [...]uintptr{
			LZO1X1:   l.symbol("lzo1x_1_compress"),
			LZO1X111: l.symbol("lzo1x_1_11_compress"),
			LZO1X112: l.symbol("lzo1x_1_12_compress"),
			LZO1X115: l.symbol("lzo1x_1_15_compress"),
		},
		level999:   l.symbol("lzo1x_999_compress_level"),
		optimize:   l.symbol("lzo1x_optimize"),
		decompress: l.symbol("lzo1x_decompress_safe"),
	}
	return l, l.version(l.symbol("lzo_version_string")), map[ID]implementation{
		LZO: {compressor: z.newCompressor, decompressor: z.newDecompressor},
	}, nil
}

// lzoWorkSize suffices for the work memory of every algorithm: that of
// lzo1x_999 is the largest with 14 * 16384 shorts (lzo1x.h).
const lzoWorkSize = 14 * 16384 * 2

type nativeLZOCompressor struct {
	z         *liblzo
	o         Options
	work      []byte
	buf       []byte // liblzo2 knows no bound: room for the worst case
	size      uintptr
	blockSize int
}

func (z *liblzo) newCompressor(o Options, blockSize int) (Compressor, error) {
	return &nativeLZOCompressor{z: z, o: o, work: make([]byte, lzoWorkSize),
		buf: make([]byte, blockSize+blockSize/16+64+3), blockSize: blockSize}, nil
}

func (c *nativeLZOCompressor) Compress(dst, src []byte) ([]byte, bool, error) {
	if err := checkBlock(LZO, src, c.blockSize); err != nil {
		return dst[:0], false, err
	}
	dst = room(dst, c.blockSize)
	if len(src) == 0 {
		return dst, false, nil
	}
	c.size = 0
	var r int32
	if c.o.Algorithm == LZO1X999 {
		r = int32(call(c.z.level999, uintptr(addr(src)), uintptr(len(src)), uintptr(addr(c.buf)), uintptr(unsafe.Pointer(&c.size)),
			uintptr(addr(c.work)), 0, 0, 0, uintptr(c.o.Level)))
	} else {
		r = int32(call(c.z.compress[c.o.Algorithm], uintptr(addr(src)), uintptr(len(src)), uintptr(addr(c.buf)),
			uintptr(unsafe.Pointer(&c.size)),
			uintptr(addr(c.work))))
	}
	if r != 0 {
		return dst, false, failed("liblzo2", r)
	}
	n := int(c.size)
	if n >= len(src) {
		return dst, false, nil
	}
	// As mksquashfs does: it rewrites the result for faster decoding, and
	// decodes it into a buffer that it takes to hold the source.
	work := dst[:len(src)]
	copy(work, src)
	c.size = uintptr(len(src))
	if r = int32(call(c.z.optimize, uintptr(addr(c.buf)), uintptr(n), uintptr(addr(work)), uintptr(unsafe.Pointer(&c.size)), 0)); r != 0 {
		return dst, false, failed("liblzo2 lzo1x_optimize", r)
	}
	if int(c.size) != len(src) {
		return dst, false, failed("liblzo2 lzo1x_optimize", fmt.Sprintf("%d bytes of %d", c.size, len(src)))
	}
	return append(dst, c.buf[:n]...), true, nil
}

func (c *nativeLZOCompressor) Close() error { return nil }

type nativeLZODecompressor struct {
	z    *liblzo
	size uintptr
}

func (z *liblzo) newDecompressor(int, int) (Decompressor, error) {
	return &nativeLZODecompressor{z: z}, nil
}

func (d *nativeLZODecompressor) Decompress(dst, src []byte) (int, error) {
	if err := checkPacked(LZO, dst, src); err != nil {
		return 0, err
	}
	d.size = uintptr(len(dst))
	r := int32(call(d.z.decompress, uintptr(addr(src)), uintptr(len(src)), uintptr(addr(dst)), uintptr(unsafe.Pointer(&d.size)), 0))
	if r != 0 {
		return 0, corruptf(LZO, "is damaged or unpacks to more than %d bytes (liblzo2 %d)", len(dst), r)
	}
	return int(d.size), nil
}

func (d *nativeLZODecompressor) Close() error { return nil }
