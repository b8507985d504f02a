//go:build linux && (amd64 || arm64) && !relive_static

package codec

import "runtime"

// Parameters of ZSTD_CCtx_setParameter (zstd.h).
const (
	zstdCompressionLevel = 100
	zstdWindowLog        = 101
)

// fitters gives nil where libzstd is older than 1.4.
func (z *libzstd) fitters() func(o FitOptions) (Fitter, error) {
	if z.setParameter == 0 || z.compress2 == 0 {
		return nil
	}
	return z.newFitter
}

// nativeZstdFitter asks libzstd for what mkfs.erofs asks: a level, a window, and
// frames that name their content's size. A frame of a single segment, whose window
// is its content, libzstd makes only where that is within the window asked for.
type nativeZstdFitter struct {
	fitSearch
	z       *libzstd
	ctx     zstdContext
	cleanup runtime.Cleanup
}

func (z *libzstd) newFitter(o FitOptions) (Fitter, error) {
	ctx := call(z.createCCtx)
	if ctx == 0 {
		return nil, failed("libzstd ZSTD_createCCtx", "out of memory")
	}
	f := &nativeZstdFitter{z: z, ctx: zstdContext{z.freeCCtx, ctx}}
	f.cleanup = runtime.AddCleanup(f, zstdContext.run, f.ctx)
	for _, p := range [][2]int{{zstdCompressionLevel, o.Level}, {zstdWindowLog, int(o.WindowLog)}} {
		// Both are a C int.
		if r := call(z.setParameter, ctx, uintptr(p[0]), uintptr(uint32(int32(p[1])))); uint32(call(z.isError, r)) != 0 {
			f.Close()
			return nil, failed("libzstd ZSTD_CCtx_setParameter", cString(call(z.errorName, r)))
		}
	}
	return f, nil
}

func (f *nativeZstdFitter) Fit(dst, src []byte) (used, n int, err error) {
	return f.fit(RawZstd, dst, src, func(out, src []byte) (int, error) {
		n := call(f.z.compress2, f.ctx.ctx, uintptr(addr(out)), uintptr(len(out)), uintptr(addr(src)), uintptr(len(src)))
		// Error codes of libzstd are not stable over versions; as elsewhere any
		// error means that the room did not suffice.
		if uint32(call(f.z.isError, n)) != 0 {
			return len(out) + 1, nil
		}
		return int(n), nil
	})
}

func (f *nativeZstdFitter) Close() error {
	f.cleanup.Stop()
	f.ctx.run()
	return nil
}
