//go:build linux && (amd64 || arm64) && !relive_static

package codec

import (
	"runtime"
	"unsafe"
)

// nativeMicroLZMA is liblzma's decoder, which is there from 5.4.0 on.
type nativeMicroLZMA struct {
	z       *liblzma
	stream  *lzmaStream
	window  int
	cleanup runtime.Cleanup
}

func (z *liblzma) newMicro(window int) (RawDecompressor, error) {
	d := &nativeMicroLZMA{z: z, stream: new(lzmaStream), window: window}
	d.cleanup = runtime.AddCleanup(d, lzmaEnd.run, lzmaEnd{z.end, d.stream})
	return d, nil
}

// decode unpacks src into dst. It gives how much that was, and what liblzma says.
func (d *nativeMicroLZMA) decode(dst, src []byte, exact uintptr) (n int, said int32, err error) {
	if err := checkRaw(MicroLZMA, dst, src); err != nil {
		return 0, 0, err
	}
	if len(src) < microLZMAMin {
		return 0, 0, rawCorrupt(MicroLZMA, errLZMACut)
	}
	s := d.stream
	// A decoder that is there already is set up anew with the memory it has.
	if r := int32(call(d.z.micro, uintptr(unsafe.Pointer(s)), uintptr(len(src)), uintptr(len(dst)), exact,
		uintptr(d.window))); r != lzmaOK {
		return 0, 0, failed("liblzma lzma_microlzma_decoder", r)
	}
	s.buffers(uintptr(addr(src)), uintptr(len(src)), uintptr(addr(dst)), uintptr(len(dst)))
	said = int32(call(d.z.code, uintptr(unsafe.Pointer(s)), 0))
	runtime.KeepAlive(src)
	runtime.KeepAlive(dst)
	if said == lzmaMemError {
		return 0, 0, failed("liblzma", "out of memory")
	}
	return len(dst) - int(s.availOut), said, nil
}

func (d *nativeMicroLZMA) Decompress(dst, src []byte) error {
	n, said, err := d.decode(dst, src, 1)
	if err != nil {
		return err
	}
	if said != lzmaStreamEnd {
		return rawCorruptf(MicroLZMA, "is damaged, cut short or does not end after %d bytes (liblzma %d)", len(dst), said)
	}
	return checkGiven(MicroLZMA, dst, n)
}

func (d *nativeMicroLZMA) Prefix(dst, src []byte) error {
	n, said, err := d.decode(dst, src, 0)
	if err != nil {
		return err
	}
	if said != lzmaStreamEnd && said != lzmaOK {
		return rawCorruptf(MicroLZMA, "is damaged or cut short (liblzma %d)", said)
	}
	return checkGiven(MicroLZMA, dst, n)
}

func (d *nativeMicroLZMA) Close() error {
	d.cleanup.Stop()
	lzmaEnd{d.z.end, d.stream}.run()
	return nil
}
