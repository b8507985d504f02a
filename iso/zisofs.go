package iso

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"relive/tree"
)

// zisofs is what a record's ZF entry tells of a compressed file (RRIP's
// extension of zisofs-tools; libisofs doc/zisofs_format.txt and
// doc/zisofs2_format.txt).
type zisofs struct {
	version   int // 1 or 2
	blockBits uint
	size      int64 // of the content, in bytes
}

// The first eight bytes of a compressed file.
const (
	zisofsMagic1 = "\x37\xE4\x53\x96\xC9\xDB\xD6\x07"
	zisofsMagic2 = "\xEF\x22\x55\xA1\xBC\x1B\x95\xA0"

	zisofsHeader1 = 16
	zisofsHeader2 = 24
)

// Blocks of 32 KiB to 1 MiB; Linux reads up to 128 KiB.
const (
	zisofsMinBits = 15
	zisofsMaxBits = 20
)

// decodeZF decodes a ZF entry.
func decodeZF(p []byte) (z *zisofs, fault string, kind error) {
	if len(p) < 16 {
		return nil, "compressed file (ZF) cut short", tree.ErrCorrupt
	}
	z = &zisofs{blockBits: uint(p[7])}
	header := 4 * int(p[6])
	switch string(p[4:6]) {
	case "pz":
		z.version, z.size = 1, int64(binary.LittleEndian.Uint32(p[8:]))
		if header != zisofsHeader1 {
			return nil, fmt.Sprintf("compressed file (ZF) with a header of %d bytes", header), tree.ErrUnsupported
		}
	case "PZ":
		z.version = 2
		size := binary.LittleEndian.Uint64(p[8:])
		if size >= 1<<62 {
			return nil, fmt.Sprintf("compressed file (ZF) of %d bytes", size), tree.ErrCorrupt
		}
		z.size = int64(size)
		if header != zisofsHeader2 {
			return nil, fmt.Sprintf("compressed file (ZF) with a header of %d bytes", header), tree.ErrUnsupported
		}
	default:
		return nil, fmt.Sprintf("file compressed by algorithm %q (ZF)", p[4:6]), tree.ErrUnsupported
	}
	if z.blockBits < zisofsMinBits || z.blockBits > zisofsMaxBits {
		return nil, fmt.Sprintf("compressed file (ZF) with blocks of 2^%d bytes", z.blockBits), tree.ErrUnsupported
	}
	return z, "", nil
}

// zisofsContent decompresses a file block by block. It keeps the block that was
// read last.
type zisofsContent struct {
	zisofs
	stored *content
	header int64 // in bytes
	word   int64 // size of a block pointer in bytes

	mu    sync.Mutex
	block int64 // the number of what is in data, -1 at first
	data  []byte
	in    []byte
	src   bytes.Reader
	z     io.ReadCloser
}

// openZisofs checks the header of the compressed file against its ZF entry.
func openZisofs(img *Image, f *file, stored *content) (tree.Content, error) {
	c := &zisofsContent{zisofs: *f.zisofs, stored: stored, header: zisofsHeader1, word: 4, block: -1}
	if c.version == 2 {
		c.header, c.word = zisofsHeader2, 8
	}
	h := make([]byte, c.header)
	if err := c.read(h, 0, "header"); err != nil {
		return nil, err
	}
	bad := ""
	switch {
	case c.version == 1 && string(h[:8]) != zisofsMagic1, c.version == 2 && string(h[:8]) != zisofsMagic2:
		bad = "no zisofs header, though the directory says so (ZF)"
	case c.version == 1 && (int64(binary.LittleEndian.Uint32(h[8:])) != c.size || int64(h[12])*4 != c.header || uint(h[13]) != c.blockBits),
		c.version == 2 && (binary.LittleEndian.Uint64(h[12:]) != uint64(c.size) || int64(h[9])*4 != c.header || uint(h[11]) != c.blockBits):
		bad = "the zisofs header differs from the directory's entry (ZF)"
	case c.version == 2 && h[10] != 1:
		return nil, tree.Unsupported(img.name, f.place(), "zisofs algorithm %d; only zlib is read", h[10])
	}
	if bad != "" {
		return nil, tree.Corrupt(img.name, f.place(), "%s", bad)
	}
	// One pointer for each block, and one for the end.
	if blocks := (c.size + 1<<c.blockBits - 1) >> c.blockBits; blocks+1 > (stored.size-c.header)/c.word {
		return nil, tree.Corrupt(img.name, f.place(), "zisofs: %d blocks in a file of %d bytes", blocks, stored.size)
	}
	return c, nil
}

func (c *zisofsContent) corrupt(fact string, args ...any) error {
	return tree.Corrupt(c.stored.img.name, c.stored.place(), "zisofs: "+fact, args...)
}

// read reads stored bytes, which must be there.
func (c *zisofsContent) read(p []byte, off int64, what string) error {
	if off+int64(len(p)) > c.stored.size {
		return c.corrupt("the %s is cut short", what)
	}
	return tree.ReadFull(c.stored, p, off)
}

// Size implements tree.Content.
func (c *zisofsContent) Size() int64 { return c.size }

// Close implements tree.Content.
func (c *zisofsContent) Close() error { return nil }

// NextData implements tree.Content.
func (c *zisofsContent) NextData(off int64) (start, end int64, err error) {
	return tree.WholeData(max(off, 0), c.size)
}

// ReadAt implements io.ReaderAt.
func (c *zisofsContent) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, c.corrupt("read at offset %d", off)
	}
	if off >= c.size {
		return 0, io.EOF
	}
	var eof error
	if int64(len(p)) > c.size-off {
		p, eof = p[:c.size-off], io.EOF
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	done := 0
	for done < len(p) {
		at := off + int64(done)
		if err := c.load(at >> c.blockBits); err != nil {
			return done, err
		}
		done += copy(p[done:], c.data[at&(1<<c.blockBits-1):])
	}
	return done, eof
}

// load decompresses a block into c.data.
func (c *zisofsContent) load(block int64) error {
	if c.block == block {
		return nil
	}
	c.block = -1
	var w [16]byte
	words := w[:2*c.word]
	if err := c.read(words, c.header+block*c.word, "pointer array"); err != nil {
		return err
	}
	var start, end uint64
	if c.word == 4 {
		start, end = uint64(binary.LittleEndian.Uint32(words)), uint64(binary.LittleEndian.Uint32(words[4:]))
	} else {
		start, end = binary.LittleEndian.Uint64(words), binary.LittleEndian.Uint64(words[8:])
	}
	whole := int64(1) << c.blockBits
	size := min(whole, c.size-block*whole)
	if int64(cap(c.data)) < size {
		c.data = make([]byte, size)
	}
	c.data = c.data[:size]
	// The largest that deflate makes of a block is a little more than the block.
	if end < start || end-start > 2*uint64(whole) || end > uint64(c.stored.size) {
		return c.corrupt("block %d stands at %d to %d", block, start, end)
	}
	if start == end {
		clear(c.data)
		c.block = block
		return nil
	}
	if n := int(end - start); cap(c.in) < n {
		c.in = make([]byte, n)
	} else {
		c.in = c.in[:n]
	}
	if err := c.read(c.in, int64(start), "block"); err != nil {
		return err
	}
	if err := c.inflate(); err != nil {
		return &tree.FormatError{File: c.stored.img.name, Place: c.stored.place(), Fact: fmt.Sprintf("zisofs: block %d", block),
			Kind: tree.ErrCorrupt, Err: err}
	}
	c.block = block
	return nil
}

// inflate decompresses c.in to exactly len(c.data) bytes.
func (c *zisofsContent) inflate() error {
	c.src.Reset(c.in)
	var err error
	if c.z == nil {
		c.z, err = zlib.NewReader(&c.src)
	} else {
		err = c.z.(zlib.Resetter).Reset(&c.src, nil)
	}
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(c.z, c.data); err != nil {
		return err
	}
	var more [1]byte
	if n, err := c.z.Read(more[:]); n > 0 || err != io.EOF {
		if n > 0 {
			return fmt.Errorf("holds more than %d bytes", len(c.data))
		}
		return err
	}
	return nil
}
