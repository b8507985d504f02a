//go:build linux && (amd64 || arm64) && !relive_static

package codec

import "runtime"

type nativeRawZstd struct {
	zstdFrame
	z       *libzstd
	ctx     zstdContext
	cleanup runtime.Cleanup
}

func (z *libzstd) newRaw(window int) (RawDecompressor, error) {
	ctx := call(z.createDCtx)
	if ctx == 0 {
		return nil, failed("libzstd ZSTD_createDCtx", "out of memory")
	}
	d := &nativeRawZstd{zstdFrame: newZstdFrame(window), z: z, ctx: zstdContext{z.freeDCtx, ctx}}
	d.cleanup = runtime.AddCleanup(d, zstdContext.run, d.ctx)
	return d, nil
}

func (d *nativeRawZstd) Decompress(dst, src []byte) error {
	if err := d.check(dst, src); err != nil {
		return err
	}
	n := call(d.z.decompressDCtx, d.ctx.ctx, uintptr(addr(dst)), uintptr(len(dst)), uintptr(addr(src)), uintptr(len(src)))
	if uint32(call(d.z.isError, n)) != 0 {
		return rawCorruptf(RawZstd, "libzstd: %s", cString(call(d.z.errorName, n)))
	}
	return checkGiven(RawZstd, dst, int(n))
}

func (d *nativeRawZstd) Close() error {
	d.cleanup.Stop()
	d.ctx.run()
	d.close()
	return nil
}
