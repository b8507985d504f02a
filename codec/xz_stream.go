package codec

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
)

// XZStream reads one .xz stream of any length, such as an initrd, where the
// decompressors of a Library read blocks whose unpacked length is known. It
// reads not a byte past the stream's end, and checks what the stream has checks
// of. Streams with a filter before LZMA2 are a tree.ErrUnsupported.
type XZStream struct {
	in    *bufio.Reader
	limit int64
	allow func(dict int64) error

	check  byte
	sum    hash.Hash // of the block's content, nil without a check
	header xzBlockHeader
	packed int64 // bytes of the block's content that were read
	began  int64 // of all unpacked bytes, those before the block

	lzma   lzmaDecoder
	state  lzma2State
	chunk  []byte
	given  int // in lzma.out, what was handed out
	total  int64
	blocks xzTotals
	block  bool
	ended  bool
	err    error
}

// xzTotals is what a stream's index must come to (4).
type xzTotals struct {
	count              uint64
	unpadded, unpacked int64
}

// NewXZStream reads a stream's header. Dictionaries of more than limit bytes are
// a tree.ErrUnsupported. allow, where it is not nil, is asked before the
// dictionary of each block is set up; its error ends reading.
func NewXZStream(in *bufio.Reader, limit int64, allow func(dict int64) error) (*XZStream, error) {
	var h [xzHeaderSize]byte
	if _, err := io.ReadFull(in, h[:]); err != nil {
		return nil, cutShort(err)
	}
	check, err := parseXZStreamHeader(h[:])
	if err != nil {
		return nil, err
	}
	x := &XZStream{in: in, limit: limit, allow: allow, check: check}
	switch check {
	case xzCheckCRC32:
		x.sum = crc32.NewIEEE()
	case xzCheckCRC64:
		x.sum = crc64.New(crc64.MakeTable(crc64.ECMA))
	case xzCheckSHA256:
		x.sum = sha256.New()
	}
	return x, nil
}

// cutShort is the error of an end where none can be.
func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Read implements io.Reader. It gives io.EOF at the end of the stream.
func (x *XZStream) Read(p []byte) (int, error) {
	for x.given == x.lzma.pos {
		if x.ended || x.err != nil {
			if x.err == nil {
				x.err = io.EOF
			}
			return 0, x.err
		}
		if x.err = x.next(); x.err != nil {
			x.given = x.lzma.pos
		}
	}
	n := copy(p, x.lzma.out[x.given:x.lzma.pos])
	x.given += n
	return n, nil
}

// next reads a chunk, or what comes between blocks.
func (x *XZStream) next() error {
	if !x.block {
		return x.nextBlock()
	}
	head, err := x.in.Peek(1)
	if err != nil {
		return cutShort(err)
	}
	if head, err = x.in.Peek(lzma2HeadSize(head[0])); err != nil {
		return cutShort(err)
	}
	c, err := parseLZMA2Chunk(head)
	if err != nil {
		return corrupt(XZ, err)
	}
	if _, err := x.in.Discard(c.head); err != nil {
		return err
	}
	x.packed += int64(c.head)
	if c.control == 0 {
		return x.endBlock()
	}
	if cap(x.chunk) < c.packed {
		x.chunk = make([]byte, 1<<16)
	}
	packed := x.chunk[:c.packed]
	if _, err := io.ReadFull(x.in, packed); err != nil {
		return cutShort(err)
	}
	x.packed += int64(c.packed)
	x.makeRoom(c.unpacked)
	from := x.lzma.pos
	if err := x.lzma.decodeChunk(&x.state, c, packed); err != nil {
		return corrupt(XZ, err)
	}
	if x.sum != nil {
		x.sum.Write(x.lzma.out[from:x.lzma.pos])
	}
	x.total += int64(x.lzma.pos - from)
	return nil
}

// farBack bounds how far before the window a dictionary may be said to begin,
// so that no position overflows: a multiple of 16, since the coding takes
// positions in the dictionary modulo that at most (pb, lp).
const farBack = 1 << 29

// makeRoom makes room for n bytes behind d.pos. What is kept of what was
// unpacked is the dictionary: the buffer grows with the content up to one and a
// half of it, so that moving it to the front comes seldom.
func (x *XZStream) makeRoom(n int) {
	d := &x.lzma
	if len(d.out)-d.pos >= n {
		return
	}
	if most := d.dictSize + max(d.dictSize/2, 2*lzma2ChunkMax); len(d.out) < most {
		out := make([]byte, min(most, max(2*len(d.out), 2*lzma2ChunkMax)))
		copy(out, d.out[:d.pos])
		d.out = out
		if len(d.out)-d.pos >= n {
			return
		}
	}
	shift := d.pos - d.dictSize
	copy(d.out, d.out[shift:d.pos])
	d.pos -= shift
	x.given -= shift
	if d.start -= shift; d.start < -farBack {
		d.start += farBack / 2
	}
}

// nextBlock reads a block's header (3.1), or the index and the footer.
func (x *XZStream) nextBlock() error {
	first, err := x.in.Peek(1)
	if err != nil {
		return cutShort(err)
	}
	if first[0] == 0 {
		x.ended = true
		return x.tail()
	}
	b := make([]byte, (int(first[0])+1)*4)
	if _, err := io.ReadFull(x.in, b); err != nil {
		return cutShort(err)
	}
	h, err := parseXZBlockHeader(b)
	switch {
	case err != nil:
		return err
	case h.filter != 0:
		return unsupportedf(XZ, "a filter before LZMA2")
	case int64(h.dictSize) > x.limit:
		return unsupportedf(XZ, "a dictionary of %d MiB", h.dictSize>>20)
	}
	if x.allow != nil {
		if err := x.allow(int64(h.dictSize)); err != nil {
			return err
		}
	}
	x.header, x.packed, x.began, x.block = h, 0, x.total, true
	x.state = lzma2State{}
	x.given = 0
	x.lzma.begin(x.lzma.out, 0, h.dictSize)
	if x.sum != nil {
		x.sum.Reset()
	}
	return nil
}

// endBlock reads the padding to four bytes and the check behind a block's
// content (3.3, 3.4).
func (x *XZStream) endBlock() error {
	x.block = false
	h, unpacked := x.header, x.total-x.began
	if h.packed >= 0 && h.packed != x.packed || h.unpacked >= 0 && h.unpacked != unpacked {
		return corruptf(XZ, "its sizes are not those that its header says")
	}
	var b [3 + sha256.Size]byte
	pad, size := int(-x.packed&3), xzCheckSize(x.check)
	if _, err := io.ReadFull(x.in, b[:pad+size]); err != nil {
		return cutShort(err)
	}
	for _, c := range b[:pad] {
		if c != 0 {
			return corruptf(XZ, "its padding is not zero")
		}
	}
	if !x.matches(b[pad : pad+size]) {
		return corruptf(XZ, "its content does not match its check")
	}
	x.blocks.count++
	x.blocks.unpadded += int64(h.size) + x.packed + int64(size)
	x.blocks.unpacked += unpacked
	return nil
}

// matches reports whether a stored check is that of the block's content. CRCs
// are stored little-endian, which is not how hash.Hash gives them.
func (x *XZStream) matches(stored []byte) bool {
	le := binary.LittleEndian
	switch s := x.sum.(type) {
	case hash.Hash32:
		return le.Uint32(stored) == s.Sum32()
	case hash.Hash64:
		return le.Uint64(stored) == s.Sum64()
	case nil:
		return true
	}
	return string(x.sum.Sum(nil)) == string(stored)
}

// tail checks the index and the footer (4, 2.1.2).
func (x *XZStream) tail() error {
	index := &xzIndexReader{in: x.in, sum: crc32.NewIEEE()}
	index.byte() // the zero that tells it from a block
	got := xzTotals{count: index.number()}
	if index.err == nil && got.count != x.blocks.count {
		return corruptf(XZ, "its index has %d records for %d blocks", got.count, x.blocks.count)
	}
	for range got.count {
		got.unpadded += int64(index.number())
		got.unpacked += int64(index.number())
		if index.err != nil {
			return index.err
		}
	}
	for index.err == nil && index.size&3 != 0 {
		if index.byte() != 0 {
			return corruptf(XZ, "the padding of its index is not zero")
		}
	}
	if index.err != nil {
		return index.err
	}
	if got != x.blocks {
		return corruptf(XZ, "its index does not match its blocks")
	}
	var b [4 + xzHeaderSize]byte
	if _, err := io.ReadFull(x.in, b[:]); err != nil {
		return cutShort(err)
	}
	le := binary.LittleEndian
	if le.Uint32(b[:]) != index.sum.Sum32() {
		return corruptf(XZ, "the CRC32 of its index does not match")
	}
	return checkXZFooter(b[4:], index.size+4, x.check)
}

// xzIndexReader reads an index byte by byte, since nothing tells its length.
type xzIndexReader struct {
	in   *bufio.Reader
	sum  hash.Hash32
	size int64
	err  error
}

func (r *xzIndexReader) byte() byte {
	if r.err != nil {
		return 0
	}
	c, err := r.in.ReadByte()
	if err != nil {
		r.err = cutShort(err)
		return 0
	}
	r.sum.Write([]byte{c})
	r.size++
	return c
}

func (r *xzIndexReader) number() uint64 {
	var b [9]byte
	for i := range b {
		b[i] = r.byte()
		if r.err != nil {
			return 0
		}
		if b[i] < 0x80 {
			v, _, err := xzVLI(b[:i+1])
			r.err = err
			return v
		}
	}
	r.err = corruptf(XZ, "a number is damaged")
	return 0
}
