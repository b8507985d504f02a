package erofs

import (
	"relive/codec"
	"relive/erofs/internal/ondisk"
	"relive/internal/filedata"
	"relive/tree"
)

// StoredComparer tells of files in images whether they are stored by equal bytes,
// without decoding these. It is not for use by several goroutines.
type StoredComparer struct {
	// pairs are extents of packed data that were compared, by their places.
	pairs  map[extentPair]bool
	stored filedata.Stored
}

type extentPair struct {
	a, b       *Reader
	posA, posB int64
}

// NewStoredComparer makes a StoredComparer.
func NewStoredComparer() *StoredComparer { return &StoredComparer{pairs: map[extentPair]bool{}} }

// Same tells whether both files are stored, in extents of equal lengths and
// algorithms, by equal bytes: then their contents are equal. False says nothing.
func (c *StoredComparer) Same(a, b *tree.Node) (bool, error) {
	x, ok := a.Data.(*fileData)
	if !ok {
		return false, nil
	}
	y, ok := b.Data.(*fileData)
	if !ok || x.size != y.size {
		return false, nil
	}
	if x.size == 0 || x.r == y.r && x.nid == y.nid {
		return true, nil
	}
	p, err := x.pieces()
	if err != nil || p == nil {
		return false, err
	}
	q, err := y.pieces()
	if err != nil || q == nil {
		return false, err
	}
	return c.sameRange(p, q, 0, x.size)
}

// piecewise gives the pieces of a file as extents: flat data and chunks are pieces
// that are stored as they are.
type piecewise struct {
	d *fileData
	c *content
}

// pieces opens a file for comparison; nil where it has none.
func (d *fileData) pieces() (*piecewise, error) {
	c, err := d.open(false)
	if err != nil {
		return nil, err
	}
	if p, ok := c.(*content); ok && p.pieces != nil {
		return &piecewise{d, p}, nil
	}
	return nil, nil
}

// at gives the piece that the byte at off is in.
func (p *piecewise) at(off int64) (extent, error) {
	switch f := p.c.pieces.(type) {
	case *compressed:
		e, err := f.at(off)
		if err != nil {
			return extent{}, tree.Within(err, "%s", p.d.place())
		}
		return *e, nil
	case *flat:
		if off < f.blocks {
			e := extent{end: f.blocks, form: formPlain, pos: f.start}
			if f.d.hole {
				e.form = formHole
			}
			return e, nil
		}
		return extent{start: f.blocks, end: p.d.size, form: formPlain, pos: f.d.tail, inline: true}, nil
	case *chunks:
		i := off >> f.bits
		pos, hole, err := f.chunk(i)
		if err != nil {
			return extent{}, err
		}
		e := extent{start: i << f.bits, end: p.d.size, form: formPlain, pos: pos}
		if hole {
			e.form = formHole
		}
		if i < (p.d.size-1)>>f.bits {
			e.end = (i + 1) << f.bits
		}
		return e, nil
	}
	return extent{start: off, end: p.d.size, form: formHole}, nil
}

// sameRange compares [off, end) of two files, which both begin an extent there.
func (c *StoredComparer) sameRange(p, q *piecewise, off, end int64) (bool, error) {
	for off < end {
		x, err := p.at(off)
		if err != nil {
			return false, err
		}
		y, err := q.at(off)
		if err != nil {
			return false, err
		}
		same, next, err := c.samePiece(p.d.r, q.d.r, &x, &y, off)
		if !same || err != nil {
			return false, err
		}
		off = next
	}
	return true, nil
}

// samePiece compares what of two pieces begins at off, and gives where that ends.
func (c *StoredComparer) samePiece(a, b *Reader, x, y *extent, off int64) (same bool, end int64, err error) {
	end = min(x.end, y.end)
	switch {
	case x.form != y.form:
		return false, 0, nil
	case x.form == formHole:
		return true, end, nil
	case x.form == formFragment:
		if x.start != y.start || x.end != y.end {
			return false, 0, nil
		}
		same, err = c.samePacked(a, b, x.pos, y.pos, x.len())
		return same, end, err
	case x.form == formPlain && x.stored == 0 && y.stored == 0:
		same, err = c.sameBytes(a, b, x.pos+off-x.start, y.pos+off-y.start, end-off)
		return same, end, err
	}
	same, err = c.sameExtent(a, b, x, y)
	return same, end, err
}

// sameExtent compares two extents of compressed files as a whole.
func (c *StoredComparer) sameExtent(a, b *Reader, x, y *extent) (bool, error) {
	if x.start != y.start || x.end != y.end || x.form != y.form || x.stored != y.stored || x.partial != y.partial ||
		x.form == formStream && (x.algo != y.algo || !a.decodesLike(b, x.algo)) {
		return false, nil
	}
	return c.sameBytes(a, b, x.pos, y.pos, int64(x.stored))
}

// decodesLike tells whether streams of that algorithm mean the same in both images.
func (r *Reader) decodesLike(other *Reader, algo codec.Raw) bool {
	const padding = ondisk.IncompatZeroPadding
	return algo != codec.RawLZ4 || r.super.Incompat&padding == other.super.Incompat&padding
}

// samePacked compares ranges of the packed data of two images: they must lie in
// extents of equal bytes, and at the same place in each.
func (c *StoredComparer) samePacked(a, b *Reader, posA, posB, n int64) (bool, error) {
	p, ok := a.packed.(*content)
	if !ok {
		return false, nil
	}
	q, ok := b.packed.(*content)
	if !ok {
		return false, nil
	}
	x, ok := p.pieces.(*compressed)
	if !ok {
		return false, nil
	}
	y, ok := q.pieces.(*compressed)
	if !ok {
		return false, nil
	}
	for n > 0 {
		e, err := x.at(posA)
		if err != nil {
			return false, err
		}
		f, err := y.at(posB)
		if err != nil {
			return false, err
		}
		if posA-e.start != posB-f.start || e.len() != f.len() {
			return false, nil
		}
		pair := extentPair{a, b, e.pos, f.pos}
		same, known := c.pairs[pair]
		if !known {
			g := *f
			g.start, g.end = e.start, e.end
			if e.form == formInterlaced && e.start&(BlockSize-1) != f.start&(BlockSize-1) {
				g.form = formHole // rotated otherwise
			}
			if same, err = c.sameExtent(a, b, e, &g); err != nil {
				return false, err
			}
			c.pairs[pair] = same
		}
		if !same {
			return false, nil
		}
		k := e.end - posA
		posA, posB, n = posA+k, posB+k, n-k
	}
	return true, nil
}

// sameBytes compares stored bytes.
func (c *StoredComparer) sameBytes(a, b *Reader, posA, posB, n int64) (bool, error) {
	if a == b && posA == posB {
		return true, nil
	}
	return c.stored.Same(a.read, b.read, posA, posB, n)
}
