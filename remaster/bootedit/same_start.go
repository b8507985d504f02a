package bootedit

import (
	"bytes"
	"context"

	"relive/tree"
)

// sameUpTo compares the first n bytes of two files, of which the second may be
// longer.
func sameUpTo(ctx context.Context, a, b *tree.Node, n int64) (bool, error) {
	x, err := a.Open()
	if err != nil {
		return false, err
	}
	defer x.Close()
	y, err := b.Open()
	if err != nil {
		return false, err
	}
	defer y.Close()
	if y.Size() < n {
		return false, nil
	}
	p, q := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); off < n; {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		k := min(int64(len(p)), n-off)
		if err := tree.ReadFull(x, p[:k], off); err != nil {
			return false, err
		}
		if err := tree.ReadFull(y, q[:k], off); err != nil {
			return false, err
		}
		if !bytes.Equal(p[:k], q[:k]) {
			return false, nil
		}
		off += k
	}
	return true, nil
}
