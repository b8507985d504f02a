package extfs

import (
	"fmt"
	"io"
	"sync"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// fileData is the content of a regular file, before it is opened.
type fileData struct {
	fs *FS
	in *inode
}

// Open implements tree.Data.
func (d fileData) Open() (tree.Content, error) {
	if d.in.has(ondisk.FlEncrypt) {
		return nil, tree.Unsupported(d.fs.name, d.in.place(), "the file is encrypted")
	}
	if d.in.has(ondisk.FlInlineData) {
		p, err := d.fs.inlineData(d.in)
		if err != nil {
			return nil, err
		}
		return &inlineContent{data: p, size: d.in.size}, nil
	}
	return &blockContent{fs: d.fs, in: d.in}, nil
}

// blockContent is content in blocks. It keeps no more of the mapping than the
// run that was found last; the rest is looked up as it is needed.
type blockContent struct {
	fs *FS
	in *inode

	mu   sync.Mutex
	last run
	data [2]int64 // what NextData found last
}

// Size implements tree.Content.
func (c *blockContent) Size() int64 { return c.in.size }

// Close implements tree.Content.
func (c *blockContent) Close() error { return nil }

// run returns the run that starts at a logical block, merged with what continues
// it up to until.
func (c *blockContent) run(logical, until uint64) (run, error) {
	c.mu.Lock()
	r := c.last
	c.mu.Unlock()
	if r.length > 0 && logical >= r.logical && logical < r.end() {
		if r = r.from(logical); r.end() >= until {
			return r, nil
		}
	}
	r, err := c.fs.mapMerged(c.in, logical, until)
	if err != nil {
		return run{}, err
	}
	c.mu.Lock()
	c.last = r
	c.mu.Unlock()
	return r, nil
}

// ReadAt implements io.ReaderAt. Extents that lie one after another are read at
// once.
func (c *blockContent) ReadAt(p []byte, off int64) (int, error) {
	size := c.in.size
	if off < 0 {
		return 0, fmt.Errorf("%s: %s: read at offset %d", c.fs.name, c.in.place(), off)
	}
	if off >= size {
		return 0, io.EOF
	}
	short := int64(len(p)) > size-off
	if short {
		p = p[:size-off]
	}
	bits, mask := c.fs.geo.blockBits, c.fs.geo.blockSize-1
	done := 0
	for done < len(p) {
		at := off + int64(done)
		until := uint64((off + int64(len(p)) + mask) >> bits)
		r, err := c.run(uint64(at>>bits), until)
		if err != nil {
			return done, err
		}
		q := p[done:]
		if avail := runBytes(r, bits) - at&mask; int64(len(q)) > avail {
			q = q[:avail]
		}
		if r.hole() {
			clear(q)
		} else if err := c.fs.dev.readAt(q, int64(r.physical<<bits)+at&mask); err != nil {
			return done, err
		}
		done += len(q)
	}
	if short {
		return done, io.EOF
	}
	return done, nil
}

// runBytes is the length of a run in bytes; that of a hole without end is the
// largest.
func runBytes(r run, bits uint) int64 {
	const most = 1 << 62
	if r.length >= most>>bits {
		return most
	}
	return int64(r.length << bits)
}

// nextDataRuns bounds the work of one call of NextData; a range that has more
// runs is given in parts.
const nextDataRuns = 1 << 12

// NextData implements tree.Content.
func (c *blockContent) NextData(off int64) (start, end int64, err error) {
	size := c.in.size
	if off < 0 {
		off = 0
	}
	if off >= size {
		return 0, 0, io.EOF
	}
	c.mu.Lock()
	d := c.data
	c.mu.Unlock()
	if off >= d[0] && off < d[1] {
		return off, d[1], nil
	}
	bits, mask := c.fs.geo.blockBits, c.fs.geo.blockSize-1
	blocks := uint64((size + mask) >> bits)
	logical := uint64(off >> bits)
	// Skip holes, then take data up to the next hole, wherever its blocks lie.
	r, err := c.fs.mapBlock(c.in, logical)
	for err == nil && r.hole() {
		if r.end() >= blocks {
			return 0, 0, io.EOF
		}
		logical = r.end()
		r, err = c.fs.mapBlock(c.in, logical)
	}
	for n := 0; err == nil && !r.hole() && r.end() < blocks && n < nextDataRuns; n++ {
		r, err = c.fs.mapBlock(c.in, r.end())
	}
	if err != nil {
		return 0, 0, err
	}
	stop := r.end()
	if r.hole() {
		stop = r.logical
	}
	start = max(off, int64(logical<<bits))
	end = min(size, int64(min(stop, blocks)<<bits))
	c.mu.Lock()
	c.data = [2]int64{start, end}
	c.mu.Unlock()
	return start, end, nil
}

// inlineContent is content that stands in the inode; what the size says beyond
// it reads as zeros.
type inlineContent struct {
	data []byte
	size int64
}

// Size implements tree.Content.
func (c *inlineContent) Size() int64 { return c.size }

// Close implements tree.Content.
func (c *inlineContent) Close() error { return nil }

// ReadAt implements io.ReaderAt.
func (c *inlineContent) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at offset %d", off)
	}
	if off >= c.size {
		return 0, io.EOF
	}
	var err error
	if int64(len(p)) > c.size-off {
		p, err = p[:c.size-off], io.EOF
	}
	n := 0
	if off < int64(len(c.data)) {
		n = copy(p, c.data[off:])
	}
	clear(p[n:])
	return len(p), err
}

// NextData implements tree.Content.
func (c *inlineContent) NextData(off int64) (start, end int64, err error) {
	return tree.WholeData(max(off, 0), min(c.size, int64(len(c.data))))
}
