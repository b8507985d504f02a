//go:build linux && (amd64 || arm64) && !relive_static

package codec

import (
	"runtime"
	"unsafe"
)

// lzmaPresetExtreme is LZMA_PRESET_EXTREME (lzma/lzma12.h).
const lzmaPresetExtreme = 1 << 31

// nativeMicroLZMAFitter is liblzma's encoder, which is there from 5.4.0 on. Its
// output is bounded by nature.
type nativeMicroLZMAFitter struct {
	z       *liblzma
	options *lzmaOptions
	stream  *lzmaStream
	cleanup runtime.Cleanup
}

func (z *liblzma) newFitter(o FitOptions) (Fitter, error) {
	f := &nativeMicroLZMAFitter{z: z, options: new(lzmaOptions), stream: new(lzmaStream)}
	preset := uint32(o.Level)
	switch {
	case o.Level == FitLevel0:
		preset = 0
	case o.Level >= lzmaExtreme:
		preset = uint32(o.Level-lzmaExtreme) | lzmaPresetExtreme
	}
	if uint8(call(z.preset, uintptr(unsafe.Pointer(f.options)), uintptr(preset))) != 0 {
		return nil, failed("liblzma lzma_lzma_preset", "no such preset")
	}
	f.options.dictSize = o.Dictionary
	f.cleanup = runtime.AddCleanup(f, lzmaEnd.run, lzmaEnd{z.end, f.stream})
	return f, nil
}

func (f *nativeMicroLZMAFitter) Fit(dst, src []byte) (used, n int, err error) {
	src = src[:min(len(src), FitMax)]
	if len(src) == 0 || len(dst) < microLZMAFitMin {
		return 0, 0, nil
	}
	s := f.stream
	// An encoder that is there already is set up anew with the memory it has.
	if r := int32(call(f.z.microEncoder, uintptr(unsafe.Pointer(s)), uintptr(unsafe.Pointer(f.options)))); r != lzmaOK {
		return 0, 0, failed("liblzma lzma_microlzma_encoder", r)
	}
	s.buffers(uintptr(addr(src)), uintptr(len(src)), uintptr(addr(dst)), uintptr(len(dst)))
	r := int32(call(f.z.code, uintptr(unsafe.Pointer(s)), lzmaFinish))
	runtime.KeepAlive(src)
	runtime.KeepAlive(dst)
	if r != lzmaStreamEnd {
		return 0, 0, failed("liblzma", r)
	}
	return fitted(MicroLZMA, dst, int(s.totalIn), int(s.totalOut))
}

func (f *nativeMicroLZMAFitter) Close() error {
	f.cleanup.Stop()
	lzmaEnd{f.z.end, f.stream}.run()
	return nil
}
