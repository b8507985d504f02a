//go:build linux && (amd64 || arm64) && !relive_static

package codec

import (
	"encoding/binary"
	"runtime"
	"unsafe"
)

// lzmaStream is lzma_stream (lzma/base.h). Pointers are uintptr: what C leaves
// in them may point past a buffer, which the collector must not see.
type lzmaStream struct {
	nextIn    uintptr
	availIn   uintptr
	totalIn   uint64
	nextOut   uintptr
	availOut  uintptr
	totalOut  uint64
	allocator uintptr
	internal  uintptr
	reserved  [16]uint64
}

// buffers sets the buffers of the next call; the pragma has them on the heap,
// where they stay in place.
//
//go:uintptrescapes
func (s *lzmaStream) buffers(in, inLen, out, outLen uintptr) {
	s.nextIn, s.availIn, s.nextOut, s.availOut = in, inLen, out, outLen
}

// lzmaEnd frees a stream whose owner was not closed.
type lzmaEnd struct {
	end    uintptr
	stream *lzmaStream
}

func (e lzmaEnd) run() { call(e.end, uintptr(unsafe.Pointer(e.stream))) }

type nativeLZMADecompressor struct {
	z       *liblzma
	stream  *lzmaStream
	header  [lzmaHeaderSize]byte
	cleanup runtime.Cleanup
}

func (z *liblzma) newAloneDecompressor(int, int) (Decompressor, error) {
	d := &nativeLZMADecompressor{z: z, stream: new(lzmaStream)}
	d.cleanup = runtime.AddCleanup(d, lzmaEnd.run, lzmaEnd{z.end, d.stream})
	return d, nil
}

func (d *nativeLZMADecompressor) Decompress(dst, src []byte) (int, error) {
	if err := checkPacked(LZMA, dst, src); err != nil {
		return 0, err
	}
	size, err := lzmaSize(src, len(dst))
	if err != nil {
		return 0, err
	}
	s := d.stream
	// A decoder that is there already is set up anew with the memory it has.
	if r := int32(call(d.z.alone, uintptr(unsafe.Pointer(s)), uintptr(len(dst)+lzmaSlackMemory))); r != lzmaOK {
		return 0, failed("liblzma lzma_alone_decoder", r)
	}
	// mksquashfs puts the size into the header of a stream that has an end
	// marker as well, which liblzma before 5.2.6 takes for damage: it gets to
	// see a header without size, as in lzma_xz_wrapper.c.
	copy(d.header[:], src)
	for i := 5; i < lzmaHeaderSize; i++ {
		d.header[i] = 0xff
	}
	// Nor is a dictionary larger than the block of any use to it.
	le := binary.LittleEndian
	le.PutUint32(d.header[1:], min(le.Uint32(src[1:]), uint32(len(dst))))
	s.buffers(uintptr(unsafe.Pointer(&d.header[0])), lzmaHeaderSize, uintptr(addr(dst)), uintptr(size))
	r := int32(call(d.z.code, uintptr(unsafe.Pointer(s)), 0))
	if r == lzmaOK && s.availIn == 0 {
		s.buffers(uintptr(addr(src[lzmaHeaderSize:])), uintptr(len(src)-lzmaHeaderSize), uintptr(addr(dst)), uintptr(size))
		r = int32(call(d.z.code, uintptr(unsafe.Pointer(s)), lzmaFinish))
	}
	runtime.KeepAlive(src)
	runtime.KeepAlive(dst)
	n := size - int(s.availOut)
	switch {
	case s.availIn != 0:
		return n, corruptf(LZMA, "%d bytes follow the stream or cannot be decoded (liblzma %d)", s.availIn, r)
	case n != size:
		return n, corruptf(LZMA, "unpacks to %d bytes, its header says %d", n, size)
	case r == lzmaStreamEnd || r == lzmaOK || r == lzmaBufError:
		return n, nil
	case r == lzmaMemError:
		return n, failed("liblzma", "out of memory")
	}
	return n, corruptf(LZMA, "is damaged (liblzma %d)", r)
}

func (d *nativeLZMADecompressor) Close() error {
	d.cleanup.Stop()
	lzmaEnd{d.z.end, d.stream}.run()
	return nil
}
