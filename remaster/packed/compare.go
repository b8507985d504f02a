package packed

import (
	"context"

	"relive/erofs"
	"relive/squash"
	"relive/tree"
)

// StoredComparer tells of files in images whether they are stored by equal bytes,
// without decoding these. It is not for use by several goroutines.
type StoredComparer struct {
	squash *squash.StoredComparer
	erofs  *erofs.StoredComparer
}

// NewStoredComparer makes a StoredComparer.
func NewStoredComparer() *StoredComparer {
	return &StoredComparer{squash.NewStoredComparer(), erofs.NewStoredComparer()}
}

// Same reports whether both files are stored by equal bytes, which decode to the
// same. False says nothing.
func (c *StoredComparer) Same(a, b *tree.Node) (bool, error) {
	if same, err := c.squash.Same(a, b); same || err != nil {
		return same, err
	}
	return c.erofs.Same(a, b)
}

// ComparePatched compares content that is another with changes with a file of image:
// what did not change by the bytes that are stored, all else decoded.
func ComparePatched(ctx context.Context, image Image, want tree.Patched, got *tree.Node, workers int,
	progress func(done int64)) (bool, error) {
	if image.Format() == EROFS {
		return erofs.ComparePatched(ctx, want, got, workers, progress)
	}
	return squash.ComparePatched(ctx, want, got, workers, progress)
}
