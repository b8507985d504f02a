//go:build linux && (amd64 || arm64) && !relive_static

package codec

// liblz4 holds the addresses of liblz4's functions.
type liblz4 struct {
	fast, sizeofState uintptr
	hc, sizeofStateHC uintptr
	decompressSafe    uintptr
	destSize          uintptr // this and the next: 0 where the library lacks it
	destSizeHC        uintptr
}

func openLZ4() (*sharedLibrary, string, map[ID]implementation, map[Raw]rawImplementation) {
	l := openShared("liblz4.so.1")
	z := &liblz4{
		fast:           l.symbol("LZ4_compress_fast_extState"),
		sizeofState:    l.symbol("LZ4_sizeofState"),
		hc:             l.symbol("LZ4_compress_HC_extStateHC"),
		sizeofStateHC:  l.symbol("LZ4_sizeofStateHC"),
		decompressSafe: l.symbol("LZ4_decompress_safe"),
		destSize:       l.optional("LZ4_compress_destSize"),
		destSizeHC:     l.optional("LZ4_compress_HC_destSize"),
	}
	return l, l.version(l.symbol("LZ4_versionString")), map[ID]implementation{
		LZ4: {compressor: z.newCompressor, decompressor: z.newDecompressor},
	}, map[Raw]rawImplementation{RawLZ4: {decompressor: z.newRaw, fitter: z.fitters()}}
}

type nativeLZ4Compressor struct {
	fn        uintptr
	level     int // or acceleration
	state     []byte
	blockSize int
}

func (z *liblz4) newCompressor(o Options, blockSize int) (Compressor, error) {
	fn, sizeof := z.fast, z.sizeofState
	if o.HC {
		fn, sizeof = z.hc, z.sizeofStateHC
	}
	// Large slices are aligned to more than the 8 bytes that the state needs.
	return &nativeLZ4Compressor{fn: fn, level: o.Level, state: make([]byte, int32(call(sizeof))), blockSize: blockSize}, nil
}

func (c *nativeLZ4Compressor) Compress(dst, src []byte) ([]byte, bool, error) {
	if err := checkBlock(LZ4, src, c.blockSize); err != nil {
		return dst[:0], false, err
	}
	dst = room(dst, c.blockSize)
	n := int32(call(c.fn, uintptr(addr(c.state)), uintptr(addr(src)), uintptr(addr(dst)), uintptr(len(src)), uintptr(c.blockSize),
		uintptr(c.level)))
	if n < 0 {
		return dst, false, failed("liblz4", n)
	}
	if n == 0 || int(n) >= len(src) {
		return dst, false, nil
	}
	return dst[:n], true, nil
}

func (c *nativeLZ4Compressor) Close() error { return nil }

type nativeLZ4Decompressor struct{ z *liblz4 }

func (z *liblz4) newDecompressor(int, int) (Decompressor, error) {
	return nativeLZ4Decompressor{z}, nil
}

func (d nativeLZ4Decompressor) Decompress(dst, src []byte) (int, error) {
	if err := checkPacked(LZ4, dst, src); err != nil {
		return 0, err
	}
	n := int32(call(d.z.decompressSafe, uintptr(addr(src)), uintptr(addr(dst)), uintptr(len(src)), uintptr(len(dst))))
	if n < 0 {
		return 0, corruptf(LZ4, "is damaged or unpacks to more than %d bytes (liblz4 %d)", len(dst), n)
	}
	return int(n), nil
}

func (d nativeLZ4Decompressor) Close() error { return nil }
