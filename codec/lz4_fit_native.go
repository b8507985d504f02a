//go:build linux && (amd64 || arm64) && !relive_static

package codec

import "unsafe"

// fitters gives nil where liblz4 is older than 1.9.
func (z *liblz4) fitters() func(o FitOptions) (Fitter, error) {
	if z.destSize == 0 || z.destSizeHC == 0 {
		return nil
	}
	return z.newFitter
}

// nativeLZ4Fitter is what mkfs.erofs calls for lz4 and for lz4hc.
type nativeLZ4Fitter struct {
	z     *liblz4
	level int    // of lz4hc, or 0
	state []byte // of lz4hc
	size  int32  // what C reads and writes
}

func (z *liblz4) newFitter(o FitOptions) (Fitter, error) {
	f := &nativeLZ4Fitter{z: z, level: o.Level}
	if o.Level > 0 {
		// Large slices are aligned to more than the 8 bytes that the state needs.
		f.state = make([]byte, int32(call(z.sizeofStateHC)))
	}
	return f, nil
}

func (f *nativeLZ4Fitter) Fit(dst, src []byte) (used, n int, err error) {
	src = src[:min(len(src), FitMax)]
	if len(src) == 0 || len(dst) < lz4FitMin {
		return 0, 0, nil
	}
	f.size = int32(len(src))
	// Neither looks beyond what the worst of input needs.
	room := uintptr(min(len(dst), len(src)+len(src)/255+16))
	var r uintptr
	if f.level == 0 {
		r = call(f.z.destSize, uintptr(addr(src)), uintptr(addr(dst)), uintptr(unsafe.Pointer(&f.size)), room)
	} else {
		r = call(f.z.destSizeHC, uintptr(addr(f.state)), uintptr(addr(src)), uintptr(addr(dst)), uintptr(unsafe.Pointer(&f.size)),
			room, uintptr(f.level))
	}
	if int32(r) < 0 {
		return 0, 0, failed("liblz4", int32(r))
	}
	return fitted(RawLZ4, dst, int(f.size), int(int32(r)))
}

func (f *nativeLZ4Fitter) Close() error { return nil }
