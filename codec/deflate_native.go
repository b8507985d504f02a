//go:build linux && (amd64 || arm64) && !relive_static

package codec

import (
	"runtime"
	"unsafe"
)

// zRawWindow is the windowBits of inflateInit2 for streams without zlib's header,
// with a window of 32 KiB. It is a C int.
const zRawWindow = -15

type nativeRawDeflate struct {
	z       *libz
	stream  *zStream
	cleanup runtime.Cleanup
}

func (z *libz) newRaw(int) (RawDecompressor, error) {
	d := &nativeRawDeflate{z: z, stream: new(zStream)}
	bits := int32(zRawWindow)
	if r := int32(call(z.inflateInit2, uintptr(unsafe.Pointer(d.stream)), uintptr(uint32(bits)), z.version,
		unsafe.Sizeof(*d.stream))); r != zOK {
		return nil, failed("zlib inflateInit2", r)
	}
	d.cleanup = runtime.AddCleanup(d, zEnd.run, zEnd{z.iEnd, d.stream})
	return d, nil
}

// inflate unpacks what fits into dst. It gives how much that was, how much of src is
// left, and whether the stream has ended.
func (d *nativeRawDeflate) inflate(dst, src []byte) (n, left int, ended bool, err error) {
	if err := checkRaw(RawDeflate, dst, src); err != nil {
		return 0, 0, false, err
	}
	s := d.stream
	if r := int32(call(d.z.inflateReset, uintptr(unsafe.Pointer(s)))); r != zOK {
		return 0, 0, false, failed("zlib inflateReset", r)
	}
	s.buffers(uintptr(addr(src)), uintptr(addr(dst)))
	s.availIn, s.availOut = uint32(len(src)), uint32(len(dst))
	r := int32(call(d.z.inflate, uintptr(unsafe.Pointer(s)), zSyncFlush))
	runtime.KeepAlive(src)
	runtime.KeepAlive(dst)
	n, left = len(dst)-int(s.availOut), int(s.availIn)
	switch {
	case r == zOK, r == zBufError, r == zStreamEnd:
		return n, left, r == zStreamEnd, nil
	case s.msg != 0:
		return n, left, false, rawCorruptf(RawDeflate, "zlib: %s", cString(s.msg))
	}
	return n, left, false, rawCorruptf(RawDeflate, "zlib error %d", r)
}

func (d *nativeRawDeflate) Decompress(dst, src []byte) error {
	n, left, ended, err := d.inflate(dst, src)
	switch {
	case err != nil:
		return err
	case !ended && n == len(dst):
		return rawCorruptf(RawDeflate, "unpacks to more than %d bytes or is cut short", len(dst))
	case !ended:
		return rawCorruptf(RawDeflate, "is cut short")
	case left > 0:
		return rawCorruptf(RawDeflate, "%d bytes follow the stream", left)
	}
	return checkGiven(RawDeflate, dst, n)
}

func (d *nativeRawDeflate) Prefix(dst, src []byte) error {
	n, _, _, err := d.inflate(dst, src)
	if err != nil {
		return err
	}
	return checkGiven(RawDeflate, dst, n)
}

func (d *nativeRawDeflate) Close() error {
	d.cleanup.Stop()
	zEnd{d.z.iEnd, d.stream}.run()
	return nil
}
