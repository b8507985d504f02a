//go:build linux && (amd64 || arm64) && !relive_static

package codec

import (
	"runtime"
	"unsafe"
)

// libz holds the addresses of zlib's functions.
type libz struct {
	version                                                  uintptr // the string that the init functions want
	deflateInit2, deflateReset, deflateParams, deflate, dEnd uintptr
	inflateInit, inflateInit2, inflateReset, inflate, iEnd   uintptr
}

// zStream is z_stream (zlib.h). Pointers are uintptr: what C leaves in them may
// point past a buffer, which the collector must not see.
type zStream struct {
	nextIn   uintptr
	availIn  uint32
	totalIn  uintptr
	nextOut  uintptr
	availOut uint32
	totalOut uintptr
	msg      uintptr
	state    uintptr
	zalloc   uintptr
	zfree    uintptr
	opaque   uintptr
	dataType int32
	adler    uintptr
	reserved uintptr
}

// buffers sets the buffers of the next call; the pragma has them on the heap,
// where they stay in place.
//
//go:uintptrescapes
func (s *zStream) buffers(in, out uintptr) { s.nextIn, s.nextOut = in, out }

// Constants of zlib.h.
const (
	zOK        = 0
	zStreamEnd = 1
	zBufError  = -5
	zSyncFlush = 2
	zFinish    = 4
	zDeflated  = 8
	zMemLevel  = 8
)

func openZlib() (*sharedLibrary, string, map[ID]implementation, map[Raw]rawImplementation) {
	l := openShared("libz.so.1")
	z := &libz{
		deflateInit2:  l.symbol("deflateInit2_"),
		deflateReset:  l.symbol("deflateReset"),
		deflateParams: l.symbol("deflateParams"),
		deflate:       l.symbol("deflate"),
		dEnd:          l.symbol("deflateEnd"),
		inflateInit:   l.symbol("inflateInit_"),
		inflateInit2:  l.symbol("inflateInit2_"),
		inflateReset:  l.symbol("inflateReset"),
		inflate:       l.symbol("inflate"),
		iEnd:          l.symbol("inflateEnd"),
	}
	version := l.symbol("zlibVersion")
	if l.err == nil {
		z.version = call(version)
	}
	return l, cString(z.version), map[ID]implementation{
		Gzip: {compressor: z.newCompressor, decompressor: z.newDecompressor},
	}, map[Raw]rawImplementation{RawDeflate: {decompressor: z.newRaw}}
}

// zEnd ends a stream whose owner was not closed.
type zEnd struct {
	end    uintptr
	stream *zStream
}

func (e zEnd) run() { call(e.end, uintptr(unsafe.Pointer(e.stream))) }

type nativeGzipCompressor struct {
	several
	z          *libz
	stream     *zStream
	level      int
	strategies []uintptr
	cleanup    runtime.Cleanup
}

func (z *libz) newCompressor(o Options, blockSize int) (Compressor, error) {
	c := &nativeGzipCompressor{z: z, stream: new(zStream), level: o.Level}
	for i := range 5 { // the bits are in the order of zlib's numbers
		if o.Strategies>>i&1 != 0 {
			c.strategies = append(c.strategies, uintptr(i))
		}
	}
	if len(c.strategies) == 0 {
		c.strategies = []uintptr{0}
	}
	c.several = newSeveral(Gzip, blockSize, len(c.strategies))
	if r := int32(call(z.deflateInit2, uintptr(unsafe.Pointer(c.stream)), uintptr(o.Level), zDeflated, uintptr(o.WindowBits),
		zMemLevel, c.strategies[0], z.version, unsafe.Sizeof(*c.stream))); r != zOK {
		return nil, failed("zlib deflateInit2", r)
	}
	c.cleanup = runtime.AddCleanup(c, zEnd.run, zEnd{z.dEnd, c.stream})
	return c, nil
}

func (c *nativeGzipCompressor) Compress(dst, src []byte) ([]byte, bool, error) {
	return c.compress(dst, src, len(c.strategies),
		func(way int, out, src []byte) (int, error) { return c.try(out, src, c.strategies[way]) })
}

// try packs with one strategy; -1 means that out is too small.
func (c *nativeGzipCompressor) try(out, src []byte, strategy uintptr) (int, error) {
	s := c.stream
	if r := int32(call(c.z.deflateReset, uintptr(unsafe.Pointer(s)))); r != zOK {
		return 0, failed("zlib deflateReset", r)
	}
	s.buffers(uintptr(addr(src)), uintptr(addr(out)))
	s.availIn, s.availOut = 0, uint32(len(out))
	if len(c.strategies) > 1 {
		// Still without input: zlib before 1.2.12 would pack it with the
		// strategy that is to be left.
		if r := int32(call(c.z.deflateParams, uintptr(unsafe.Pointer(s)), uintptr(c.level), strategy)); r != zOK {
			return 0, failed("zlib deflateParams", r)
		}
	}
	s.availIn = uint32(len(src))
	r := int32(call(c.z.deflate, uintptr(unsafe.Pointer(s)), zFinish))
	runtime.KeepAlive(src)
	runtime.KeepAlive(out)
	switch r {
	case zStreamEnd:
		return len(out) - int(s.availOut), nil
	case zOK, zBufError:
		return -1, nil
	}
	return 0, failed("zlib deflate", r)
}

func (c *nativeGzipCompressor) Close() error {
	c.cleanup.Stop()
	zEnd{c.z.dEnd, c.stream}.run()
	return nil
}

type nativeGzipDecompressor struct {
	z       *libz
	stream  *zStream
	cleanup runtime.Cleanup
}

func (z *libz) newDecompressor(int, int) (Decompressor, error) {
	d := &nativeGzipDecompressor{z: z, stream: new(zStream)}
	if r := int32(call(z.inflateInit, uintptr(unsafe.Pointer(d.stream)), z.version, unsafe.Sizeof(*d.stream))); r != zOK {
		return nil, failed("zlib inflateInit", r)
	}
	d.cleanup = runtime.AddCleanup(d, zEnd.run, zEnd{z.iEnd, d.stream})
	return d, nil
}

func (d *nativeGzipDecompressor) Decompress(dst, src []byte) (int, error) {
	if err := checkPacked(Gzip, dst, src); err != nil {
		return 0, err
	}
	s := d.stream
	if r := int32(call(d.z.inflateReset, uintptr(unsafe.Pointer(s)))); r != zOK {
		return 0, failed("zlib inflateReset", r)
	}
	s.buffers(uintptr(addr(src)), uintptr(addr(dst)))
	s.availIn, s.availOut = uint32(len(src)), uint32(len(dst))
	r := int32(call(d.z.inflate, uintptr(unsafe.Pointer(s)), zFinish))
	runtime.KeepAlive(src)
	runtime.KeepAlive(dst)
	n := len(dst) - int(s.availOut)
	switch {
	case r == zStreamEnd && s.availIn > 0:
		return n, corruptf(Gzip, "%d bytes follow the stream", s.availIn)
	case r == zStreamEnd:
		return n, nil
	case (r == zOK || r == zBufError) && s.availOut == 0:
		return n, corruptf(Gzip, "unpacks to more than %d bytes or is cut short", len(dst))
	case r == zOK || r == zBufError:
		return n, corruptf(Gzip, "is cut short")
	}
	if s.msg != 0 {
		return n, corruptf(Gzip, "zlib: %s", cString(s.msg))
	}
	return n, corruptf(Gzip, "zlib error %d", r)
}

func (d *nativeGzipDecompressor) Close() error {
	d.cleanup.Stop()
	zEnd{d.z.iEnd, d.stream}.run()
	return nil
}
