//go:build linux && (amd64 || arm64) && !relive_static

package codec

import (
	"unsafe"
)

// liblzma holds the addresses of liblzma's functions.
type liblzma struct {
	preset, supported, encode, decode uintptr
	alone, code, end                  uintptr
	micro, microEncoder               uintptr // 0 where the library lacks them
}

// lzmaOptions is lzma_options_lzma (lzma/lzma12.h), the fields behind those
// that are set here left to lzma_lzma_preset.
type lzmaOptions struct {
	dictSize       uint32
	presetDict     uintptr
	presetDictSize uint32
	lc, lp, pb     uint32
	rest           [256]byte
}

// lzmaFilter is lzma_filter (lzma/filter.h).
type lzmaFilter struct {
	id      uint64
	options unsafe.Pointer
}

// Constants of lzma/*.h.
const (
	lzmaOK          = 0
	lzmaStreamEnd   = 1
	lzmaMemError    = 5
	lzmaMemlimit    = 6
	lzmaBufError    = 10
	lzmaPresetLevel = 6
	lzmaCheckCRC32  = 1
	lzmaUnknown     = 1<<64 - 1
	lzmaLZMA2       = 0x21
	lzmaFinish      = 3
	lzmaSlackMemory = 1 << 18 // what a decoder needs beside its dictionary, with a margin
)

func openLZMA() (*sharedLibrary, string, map[ID]implementation, map[Raw]rawImplementation) {
	l := openShared("liblzma.so.5")
	z := &liblzma{
		preset:    l.symbol("lzma_lzma_preset"),
		supported: l.symbol("lzma_filter_encoder_is_supported"),
		encode:    l.symbol("lzma_stream_buffer_encode"),
		decode:    l.symbol("lzma_stream_buffer_decode"),
		alone:     l.symbol("lzma_alone_decoder"),
		code:      l.symbol("lzma_code"),
		end:       l.symbol("lzma_end"),
		micro:     l.optional("lzma_microlzma_decoder"),

		microEncoder: l.optional("lzma_microlzma_encoder"),
	}
	var micro rawImplementation
	if z.micro != 0 {
		micro.decompressor = z.newMicro
	}
	if z.microEncoder != 0 {
		micro.fitter = z.newFitter
	}
	return l, l.version(l.symbol("lzma_version_string")), map[ID]implementation{
		XZ:   {compressor: z.newCompressor, decompressor: z.newDecompressor},
		LZMA: {decompressor: z.newAloneDecompressor},
	}, map[Raw]rawImplementation{MicroLZMA: micro}
}

// xzChain is one filter chain to be tried: a branch filter and LZMA2, or LZMA2
// alone.
type xzChain struct {
	options lzmaOptions
	filters [3]lzmaFilter
}

// newChain sets up what xz_wrapper.c does for a branch filter, 0 being none.
func (z *liblzma) newChain(id uint64, dictSize int) (*xzChain, error) {
	c := new(xzChain)
	if uint8(call(z.preset, uintptr(unsafe.Pointer(&c.options)), lzmaPresetLevel)) != 0 {
		return nil, failed("liblzma lzma_lzma_preset", "no such preset")
	}
	c.options.dictSize = uint32(dictSize)
	f := c.filters[:0]
	if id != 0 {
		f = append(f, lzmaFilter{id: id})
	}
	f = append(f, lzmaFilter{xzFilterLZMA2, unsafe.Pointer(&c.options)})
	_ = append(f, lzmaFilter{id: lzmaUnknown})
	c.options.lc, c.options.lp, c.options.pb = xzLiteralBits(id)
	return c, nil
}

type nativeXZCompressor struct {
	several
	z      *liblzma
	chains []*xzChain
	size   uintptr
}

func (z *liblzma) newCompressor(o Options, blockSize int) (Compressor, error) {
	c := &nativeXZCompressor{z: z}
	plain, err := z.newChain(0, o.DictSize)
	if err != nil {
		return nil, err
	}
	c.chains = append(c.chains, plain)
	for i, id := range bcjIDs { // in the order of the bits, as mksquashfs tries them
		// A filter that this version of liblzma lacks only costs size.
		if o.Filters>>i&1 == 0 || uint8(call(z.supported, uintptr(id))) == 0 {
			continue
		}
		chain, err := z.newChain(id, o.DictSize)
		if err != nil {
			return nil, err
		}
		c.chains = append(c.chains, chain)
	}
	c.several = newSeveral(XZ, blockSize, len(c.chains))
	return c, nil
}

func (c *nativeXZCompressor) Compress(dst, src []byte) ([]byte, bool, error) {
	return c.compress(dst, src, len(c.chains), c.try)
}

// try packs with one chain of filters.
func (c *nativeXZCompressor) try(chain int, out, src []byte) (int, error) {
	c.size = 0
	r := int32(call(c.z.encode, uintptr(unsafe.Pointer(&c.chains[chain].filters[0])), xzCheckCRC32, 0,
		uintptr(addr(src)), uintptr(len(src)), uintptr(addr(out)), uintptr(unsafe.Pointer(&c.size)), uintptr(len(out))))
	switch r {
	case lzmaOK:
		return int(c.size), nil
	case lzmaBufError:
		return -1, nil
	}
	return 0, failed("liblzma lzma_stream_buffer_encode", r)
}

func (c *nativeXZCompressor) Close() error { return nil }

type nativeXZDecompressor struct {
	z        *liblzma
	dictSize int
	memlimit uint64
	in, out  uintptr
}

func (z *liblzma) newDecompressor(_, dictSize int) (Decompressor, error) {
	return &nativeXZDecompressor{z: z, dictSize: dictSize}, nil
}

func (d *nativeXZDecompressor) Decompress(dst, src []byte) (int, error) {
	if err := checkPacked(XZ, dst, src); err != nil {
		return 0, err
	}
	// The library bounds memory, of which it takes more than the dictionary:
	// what the kernel would refuse is told from the header.
	if _, err := parseXZStreamHeader(src); err != nil {
		return 0, err
	}
	if len(src) > xzHeaderSize && src[xzHeaderSize] != 0 {
		h, err := parseXZBlockHeader(src[xzHeaderSize:])
		if err != nil {
			return 0, err
		}
		if err := h.checkDict(d.dictSize); err != nil {
			return 0, err
		}
	}
	d.memlimit, d.in, d.out = uint64(d.dictSize+lzmaSlackMemory), 0, 0
	r := int32(call(d.z.decode, uintptr(unsafe.Pointer(&d.memlimit)), 0, 0,
		uintptr(addr(src)), uintptr(unsafe.Pointer(&d.in)), uintptr(len(src)),
		uintptr(addr(dst)), uintptr(unsafe.Pointer(&d.out)), uintptr(len(dst))))
	switch {
	case r == lzmaOK && int(d.in) == len(src):
		return int(d.out), nil
	case r == lzmaOK:
		return int(d.out), corruptf(XZ, "%d bytes follow the stream", len(src)-int(d.in))
	case r == lzmaMemError:
		return 0, failed("liblzma lzma_stream_buffer_decode", "out of memory")
	case r == lzmaMemlimit:
		return 0, corruptf(XZ, "its dictionary is larger than the image's of %d bytes", d.dictSize)
	case r == lzmaBufError:
		return 0, corruptf(XZ, "is cut short or unpacks to more than %d bytes", len(dst))
	}
	return 0, corruptf(XZ, "is damaged (liblzma %d)", r)
}

func (d *nativeXZDecompressor) Close() error { return nil }
