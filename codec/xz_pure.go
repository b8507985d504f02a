package codec

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/ulikunitz/xz/lzma"
)

// pureXZCompressor writes one .xz stream of one block: LZMA2 by a library,
// filters and container by this package, since the library knows no filter.
type pureXZCompressor struct {
	blockSize int
	chains    []pureXZChain
	scratch   []byte // src behind a filter
	body      bytes.Buffer
	other     []byte // the result of one chain
}

// pureXZChain is one filter chain to be tried: a branch filter and LZMA2, or
// LZMA2 alone.
type pureXZChain struct {
	id     uint64 // 0 for none
	filter bcj
	lzma   lzma.Writer2Config
}

// lzmaBufferSize is the library's look-ahead. An incompressible chunk, of up to
// 64 KiB, is copied out of dictionary and look-ahead together; with less room
// than that the library fails.
const lzmaBufferSize = 1 << 17

func newPureXZCompressor(o Options, blockSize int) (Compressor, error) {
	c := &pureXZCompressor{blockSize: blockSize}
	add := func(id uint64) {
		lc, lp, pb := xzLiteralBits(id)
		c.chains = append(c.chains, pureXZChain{id: id, filter: bcjFilter(id), lzma: lzma.Writer2Config{
			Properties: &lzma.Properties{LC: int(lc), LP: int(lp), PB: int(pb)},
			// The kernel refuses a block whose dictionary is larger than the
			// one that the image's options name.
			DictCap: o.DictSize, BufSize: lzmaBufferSize, Matcher: lzma.HashTable4,
		}})
	}
	add(0)
	for i, id := range bcjIDs {
		// A filter that is not known here only costs size.
		if o.Filters>>i&1 != 0 && bcjFilter(id) != nil {
			add(id)
		}
	}
	return c, nil
}

// xzLiteralBits gives the literal context, literal position and position bits
// that xz_wrapper.c takes behind a branch filter: they fit the size of the
// filter's instructions.
func xzLiteralBits(filter uint64) (lc, lp, pb uint32) {
	switch filter {
	case bcjARMThumb, bcjRISCV:
		return 3, 1, 2
	case bcjPowerPC, bcjARM, bcjSPARC, bcjARM64:
		return 2, 2, 2
	case bcjIA64:
		return 0, 4, 4
	}
	return 3, 0, 2
}

func (c *pureXZCompressor) Compress(dst, src []byte) ([]byte, bool, error) {
	dst = dst[:0]
	if err := checkBlock(XZ, src, c.blockSize); err != nil {
		return dst, false, err
	}
	best := len(src)
	for i := range c.chains {
		if err := c.chains[i].encode(c, src); err != nil {
			return dst[:0], false, failed("xz", err)
		}
		c.other = c.chains[i].wrap(c.other[:0], c.body.Bytes(), src)
		if len(c.other) < best {
			best = len(c.other)
			dst = append(room(dst, c.blockSize), c.other...)
		}
	}
	return dst, len(dst) > 0, nil
}

// encode leaves the LZMA2 chunks of src behind the filter in c.body.
func (x *pureXZChain) encode(c *pureXZCompressor, src []byte) error {
	c.body.Reset()
	if len(src) == 0 {
		return nil
	}
	if x.filter != nil {
		c.scratch = append(c.scratch[:0], src...)
		x.filter(c.scratch, 0, true)
		src = c.scratch
	}
	w, err := x.lzma.NewWriter2(&c.body)
	if err != nil {
		return err
	}
	if _, err := w.Write(src); err != nil {
		return err
	}
	// Close flushes too, but keeps the error of that to itself.
	if err := w.Flush(); err != nil {
		return err
	}
	return w.Close()
}

// wrap appends the stream that holds a block of these LZMA2 chunks to dst.
func (x *pureXZChain) wrap(dst, body, src []byte) []byte {
	le := binary.LittleEndian
	pad := func() {
		for len(dst)&3 != 0 {
			dst = append(dst, 0)
		}
	}
	sum := func(from int) { dst = le.AppendUint32(dst, crc32.ChecksumIEEE(dst[from:])) }

	dst = append(dst, xzMagic...)
	dst = append(dst, 0, xzCheckCRC32)
	sum(len(xzMagic))

	header := len(dst)
	if x.id == 0 {
		dst = append(dst, 0, 0)
	} else {
		dst = append(dst, 0, 1, byte(x.id), 0)
	}
	dst = append(dst, xzFilterLZMA2, 1, lzma2DictByte(x.lzma.DictCap))
	pad()
	dst[header] = byte((len(dst) - header) / 4)
	sum(header)

	dst = append(dst, body...)
	unpadded := len(dst) - header + 4
	pad()
	dst = le.AppendUint32(dst, crc32.ChecksumIEEE(src))

	index := len(dst)
	dst = append(dst, 0, 1)
	dst = appendXZVLI(dst, uint64(unpadded))
	dst = appendXZVLI(dst, uint64(len(src)))
	pad()
	sum(index)

	size := len(dst) - index
	footer := le.AppendUint32(nil, uint32(size/4-1))
	footer = append(footer, 0, xzCheckCRC32)
	dst = le.AppendUint32(dst, crc32.ChecksumIEEE(footer))
	dst = append(dst, footer...)
	return append(dst, xzFooterMagic...)
}

func (c *pureXZCompressor) Close() error { return nil }
