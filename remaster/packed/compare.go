package packed

import (
	"relive/squash"
	"relive/tree"
)

// StoredComparer tells of files in images whether they are stored by equal bytes,
// without decoding these. It is not for use by several goroutines.
type StoredComparer struct {
	squash *squash.StoredComparer
}

// NewStoredComparer makes a StoredComparer.
func NewStoredComparer() *StoredComparer { return &StoredComparer{squash.NewStoredComparer()} }

// Same reports whether both files are stored by equal bytes, which decode to the
// same. False says nothing.
func (c *StoredComparer) Same(a, b *tree.Node) (bool, error) { return c.squash.Same(a, b) }
