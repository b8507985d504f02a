package squash

import (
	"slices"

	"relive/internal/filedata"
	"relive/squash/internal/ondisk"
	"relive/tree"
)

// StoredComparer tells of files in images whether they are stored by equal
// bytes, without decoding these. It is not for use by several goroutines.
type StoredComparer struct {
	fragments map[fragmentPair]bool
	stored    filedata.Stored
}

type fragmentPair struct {
	a, b   *Reader
	ia, ib uint32
}

// NewStoredComparer makes a StoredComparer.
func NewStoredComparer() *StoredComparer {
	return &StoredComparer{fragments: map[fragmentPair]bool{}}
}

// Same reports whether both files are stored, in images of one codec and block
// size, by blocks of equal bytes: then their contents are equal. False says
// nothing.
func (c *StoredComparer) Same(a, b *tree.Node) (bool, error) {
	sa, ok := a.Data.(storer)
	if !ok {
		return false, nil
	}
	sb, ok := b.Data.(storer)
	if !ok {
		return false, nil
	}
	x, err := sa.storedForm()
	if err != nil {
		return false, err
	}
	y, err := sb.storedForm()
	if err != nil {
		return false, err
	}
	p, q := &x.Image.super, &y.Image.super
	if p.BlockSize != q.BlockSize || p.Compression != q.Compression || x.Size != y.Size ||
		!slices.Equal(x.Blocks, y.Blocks) || (x.Fragment == ondisk.NoFragment) != (y.Fragment == ondisk.NoFragment) {
		return false, nil
	}
	if x.Image == y.Image && x.Start == y.Start && x.Fragment == y.Fragment && x.FragmentOffset == y.FragmentOffset {
		return true, nil
	}
	if x.Fragment != ondisk.NoFragment {
		if x.FragmentOffset != y.FragmentOffset {
			return false, nil
		}
		same, err := c.sameFragment(x.Image, y.Image, x.Fragment, y.Fragment)
		if !same || err != nil {
			return false, err
		}
	}
	return c.sameBytes(x.Image, y.Image, x.Start, y.Start, storedLen(x.Blocks))
}

func (c *StoredComparer) sameFragment(a, b *Reader, ia, ib uint32) (bool, error) {
	pair := fragmentPair{a, b, ia, ib}
	if same, ok := c.fragments[pair]; ok {
		return same, nil
	}
	fa, err := a.fragment(ia)
	if err != nil {
		return false, err
	}
	fb, err := b.fragment(ib)
	if err != nil {
		return false, err
	}
	same := fa.Word == fb.Word
	if same {
		if same, err = c.sameBytes(a, b, fa.Start, fb.Start, int64(ondisk.BlockStored(fa.Word))); err != nil {
			return false, err
		}
	}
	c.fragments[pair] = same
	return same, nil
}

func (c *StoredComparer) sameBytes(a, b *Reader, offA, offB, n int64) (bool, error) {
	if a == b && offA == offB {
		return true, nil
	}
	return c.stored.Same(a.readStored, b.readStored, offA, offB, n)
}
