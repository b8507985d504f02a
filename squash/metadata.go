package squash

import (
	"encoding/binary"
	"fmt"

	"relive/squash/internal/ondisk"
	"relive/tree"
)

// metaBlock is a decoded metadata block (format.adoc, "Packing Metadata").
type metaBlock struct {
	data []byte // 1 to MetadataSize bytes
	next int64  // absolute offset behind the stored block
}

// meta returns the metadata block at an absolute offset, through the cache.
func (r *Reader) meta(pos int64) (metaBlock, error) { return r.metas.Get(pos) }

func (r *Reader) loadMeta(pos int64) (metaBlock, int64, error) {
	place := func() string { return fmt.Sprintf("metadata block at offset %d", pos) }
	if pos < ondisk.SuperblockSize || pos > r.used-3 {
		return metaBlock{}, 0, r.corrupt(place(), "lies outside the image of %d bytes", r.used)
	}
	d, err := r.decoders.Take()
	if err != nil {
		return metaBlock{}, 0, fmt.Errorf("%s: %w", r.name, err)
	}
	defer r.decoders.Give(d)
	// One read of the longest block that can be here, not one for its header
	// and one for its bytes.
	src := d.src[:min(ondisk.MetadataSize+2, r.used-pos)]
	if err := r.readStored(src, pos); err != nil {
		return metaBlock{}, 0, err
	}
	stored, compressed := ondisk.MetadataStored(binary.LittleEndian.Uint16(src))
	src = src[2:]
	switch {
	case stored > ondisk.MetadataSize:
		return metaBlock{}, 0, r.corrupt(place(), "stores %d bytes, more than %d", stored, ondisk.MetadataSize)
	case stored > len(src):
		return metaBlock{}, 0, r.corrupt(place(), "%d bytes reach past the end of the image at %d", stored, r.used)
	}
	b := metaBlock{next: pos + 2 + int64(stored)}
	if !compressed {
		b.data = append(make([]byte, 0, stored), src[:stored]...)
		return b, int64(stored), nil
	}
	b.data = make([]byte, ondisk.MetadataSize)
	n, err := d.Decompress(b.data, src[:stored])
	if err != nil {
		return metaBlock{}, 0, r.undecodable(place(), err)
	}
	if n == 0 {
		return metaBlock{}, 0, r.corrupt(place(), "decodes to nothing")
	}
	b.data = b.data[:n]
	return b, ondisk.MetadataSize, nil
}

// region is the part of the image that the metadata blocks of one table fill.
type region struct {
	name       string
	start, end int64
}

// maxDecoded is the most bytes that the region can decode to: its stored
// blocks take at least three bytes.
func (g *region) maxDecoded() uint64 { return (uint64(g.end-g.start)/3 + 1) * ondisk.MetadataSize }

// cursor reads on through the decoded bytes of a table of metadata blocks. It
// belongs to one goroutine.
type cursor struct {
	r       *Reader
	region  *region
	pos     int64 // absolute offset of the current block; 0 before the first
	cur     metaBlock
	off     int
	scratch [512]byte
}

func (r *Reader) cursor(g *region) *cursor { return &cursor{r: r, region: g} }

// seek goes to a position in the table. The offset may be the block's decoded
// length, which is the start of the next block.
func (c *cursor) seek(ref ondisk.Ref) error {
	if ref.Block() >= c.region.end-c.region.start {
		return c.r.corrupt(c.region.name, "reference to block %d lies outside the table of %d bytes", ref.Block(),
			c.region.end-c.region.start)
	}
	if err := c.load(c.region.start + ref.Block()); err != nil {
		return err
	}
	if ref.Offset() > len(c.cur.data) {
		return c.r.corrupt(c.region.name, "reference to byte %d of block %d, which has %d", ref.Offset(), ref.Block(), len(c.cur.data))
	}
	c.off = ref.Offset()
	return nil
}

// tell returns the current position.
func (c *cursor) tell() ondisk.Ref { return ondisk.MakeRef(c.pos-c.region.start, c.off) }

func (c *cursor) load(pos int64) error {
	if pos == c.pos {
		c.off = 0
		return nil
	}
	if pos >= c.region.end {
		return c.r.corrupt(c.region.name, "ends at offset %d where more belongs", c.region.end)
	}
	b, err := c.r.meta(pos)
	if err != nil {
		return tree.Within(err, "%s", c.region.name)
	}
	if b.next > c.region.end {
		return c.r.corrupt(c.region.name, "metadata block at offset %d reaches past the table's end at %d", pos, c.region.end)
	}
	c.pos, c.cur, c.off = pos, b, 0
	return nil
}

// atEnd reports whether nothing follows in the region.
func (c *cursor) atEnd() bool { return c.off == len(c.cur.data) && c.cur.next >= c.region.end }

// rest returns the bytes of the current block that are not read yet, at least
// one; it moves on to the next block where there are none.
func (c *cursor) rest() ([]byte, error) {
	if c.off == len(c.cur.data) {
		if err := c.load(c.cur.next); err != nil {
			return nil, err
		}
	}
	return c.cur.data[c.off:], nil
}

// bytes reads n bytes, at most 512. They are valid until the next call and not
// to be modified.
func (c *cursor) bytes(n int) ([]byte, error) {
	if b := c.cur.data[c.off:]; len(b) >= n {
		c.off += n
		return b[:n], nil
	}
	b := c.scratch[:n]
	return b, c.read(b)
}

// read fills p.
func (c *cursor) read(p []byte) error {
	for len(p) > 0 {
		b, err := c.rest()
		if err != nil {
			return err
		}
		n := copy(p, b)
		p = p[n:]
		c.off += n
	}
	return nil
}

// skip passes n bytes.
func (c *cursor) skip(n uint64) error {
	for n > 0 {
		b, err := c.rest()
		if err != nil {
			return err
		}
		k := min(n, uint64(len(b)))
		c.off += int(k)
		n -= k
	}
	return nil
}
