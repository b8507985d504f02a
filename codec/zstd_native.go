//go:build linux && (amd64 || arm64) && !relive_static

package codec

import "runtime"

// libzstd holds the addresses of libzstd's functions.
type libzstd struct {
	createCCtx, freeCCtx, compressCCtx   uintptr
	createDCtx, freeDCtx, decompressDCtx uintptr
	isError, errorName                   uintptr
	setParameter, compress2              uintptr // 0 where the library lacks them
}

func openZstd() (*sharedLibrary, string, map[ID]implementation, map[Raw]rawImplementation) {
	l := openShared("libzstd.so.1")
	z := &libzstd{
		createCCtx:     l.symbol("ZSTD_createCCtx"),
		freeCCtx:       l.symbol("ZSTD_freeCCtx"),
		compressCCtx:   l.symbol("ZSTD_compressCCtx"),
		createDCtx:     l.symbol("ZSTD_createDCtx"),
		freeDCtx:       l.symbol("ZSTD_freeDCtx"),
		decompressDCtx: l.symbol("ZSTD_decompressDCtx"),
		isError:        l.symbol("ZSTD_isError"),
		errorName:      l.symbol("ZSTD_getErrorName"),
		setParameter:   l.optional("ZSTD_CCtx_setParameter"),
		compress2:      l.optional("ZSTD_compress2"),
	}
	return l, l.version(l.symbol("ZSTD_versionString")), map[ID]implementation{
		Zstd: {compressor: z.newCompressor, decompressor: z.newDecompressor},
	}, map[Raw]rawImplementation{RawZstd: {decompressor: z.newRaw, fitter: z.fitters()}}
}

// zstdContext frees a context whose owner was not closed.
type zstdContext struct{ free, ctx uintptr }

func (c zstdContext) run() { call(c.free, c.ctx) }

type nativeZstdCompressor struct {
	z         *libzstd
	ctx       zstdContext
	level     int
	blockSize int
	cleanup   runtime.Cleanup
}

func (z *libzstd) newCompressor(o Options, blockSize int) (Compressor, error) {
	ctx := call(z.createCCtx)
	if ctx == 0 {
		return nil, failed("libzstd ZSTD_createCCtx", "out of memory")
	}
	c := &nativeZstdCompressor{z: z, ctx: zstdContext{z.freeCCtx, ctx}, level: o.Level, blockSize: blockSize}
	c.cleanup = runtime.AddCleanup(c, zstdContext.run, c.ctx)
	return c, nil
}

func (c *nativeZstdCompressor) Compress(dst, src []byte) ([]byte, bool, error) {
	if err := checkBlock(Zstd, src, c.blockSize); err != nil {
		return dst[:0], false, err
	}
	// mksquashfs gives the room of a whole block; less could change the bytes.
	dst = room(dst, c.blockSize)
	n := call(c.z.compressCCtx, c.ctx.ctx, uintptr(addr(dst)), uintptr(c.blockSize), uintptr(addr(src)), uintptr(len(src)),
		uintptr(c.level))
	// Error codes of libzstd are not stable over versions; as in mksquashfs any
	// error means that the room did not suffice.
	if uint32(call(c.z.isError, n)) != 0 || n >= uintptr(len(src)) {
		return dst, false, nil
	}
	return dst[:n], true, nil
}

func (c *nativeZstdCompressor) Close() error {
	c.cleanup.Stop()
	c.ctx.run()
	return nil
}

type nativeZstdDecompressor struct {
	z       *libzstd
	ctx     zstdContext
	cleanup runtime.Cleanup
}

func (z *libzstd) newDecompressor(int, int) (Decompressor, error) {
	ctx := call(z.createDCtx)
	if ctx == 0 {
		return nil, failed("libzstd ZSTD_createDCtx", "out of memory")
	}
	d := &nativeZstdDecompressor{z: z, ctx: zstdContext{z.freeDCtx, ctx}}
	d.cleanup = runtime.AddCleanup(d, zstdContext.run, d.ctx)
	return d, nil
}

func (d *nativeZstdDecompressor) Decompress(dst, src []byte) (int, error) {
	if err := checkPacked(Zstd, dst, src); err != nil {
		return 0, err
	}
	n := call(d.z.decompressDCtx, d.ctx.ctx, uintptr(addr(dst)), uintptr(len(dst)), uintptr(addr(src)), uintptr(len(src)))
	if uint32(call(d.z.isError, n)) != 0 {
		return 0, corruptf(Zstd, "libzstd: %s", cString(call(d.z.errorName, n)))
	}
	return int(n), nil
}

func (d *nativeZstdDecompressor) Close() error {
	d.cleanup.Stop()
	d.ctx.run()
	return nil
}
