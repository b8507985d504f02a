package erofs

import (
	"bytes"
	"context"
	"errors"
	"runtime"

	"golang.org/x/sync/errgroup"

	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// ComparePatched tells whether got, a file of an image that was written from want,
// holds want's content. Extents that want says are unchanged, and that both images
// have by the same lengths, are compared by their stored bytes, which are read from
// both; all others are decoded and compared with what want reads.
//
// workers is how many goroutines compare, 0 for one each CPU. progress, where not nil,
// is told how many more bytes of content were compared; calls may run at the same
// time. They come to the size of the file where it is the same.
func ComparePatched(ctx context.Context, want tree.Patched, got *tree.Node, workers int, progress func(int64)) (same bool, err error) {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	a, err := want.Open()
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := got.Open()
	if err != nil {
		return false, err
	}
	defer b.Close()
	if a.Size() != got.Size || b.Size() != got.Size {
		return false, nil
	}
	c := &patchedComparer{want: want, a: a, b: b, size: got.Size, progress: progress}
	below, ok := want.Below().(*fileData)
	now, also := got.Data.(*fileData)
	if ok && also && below.size > 0 && now.size > 0 {
		if c.below, err = below.pieces(); err != nil {
			return false, err
		}
		if c.now, err = now.pieces(); err != nil {
			return false, err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	parts := make(chan comparedPart, workers)
	g.Go(func() error {
		defer close(parts)
		return c.divide(ctx, parts)
	})
	for range workers {
		g.Go(func() error { return c.compareParts(ctx, parts) })
	}
	if err = g.Wait(); errors.Is(err, errDiffers) {
		return false, nil
	}
	return err == nil, err
}

const (
	// comparedContent is how many bytes of content are compared at once.
	comparedContent = 1 << 20
	// comparedBytes is how much content a goroutine takes at once.
	comparedBytes = ondisk.ExtentMax
)

// errDiffers ends a comparison that found a difference.
var errDiffers = errors.New("the contents differ")

type patchedComparer struct {
	want       tree.Patched
	a, b       tree.Content // of want, and of the new image
	size       int64
	below, now *piecewise // how both images store the file; nil where they do not
	progress   func(int64)
}

// comparedPart is a range of content.
type comparedPart struct{ start, end int64 }

// divide makes the parts. Each ends where an extent of the new image does.
func (c *patchedComparer) divide(ctx context.Context, parts chan<- comparedPart) error {
	for off := int64(0); off < c.size; {
		end := min(off+comparedBytes, c.size)
		if c.now != nil && end < c.size {
			e, err := c.now.at(end)
			if err != nil {
				return err
			}
			if end = e.end; e.start > off {
				end = e.start
			}
		}
		select {
		case parts <- comparedPart{off, end}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		off = end
	}
	return nil
}

func (c *patchedComparer) compareParts(ctx context.Context, parts <-chan comparedPart) error {
	stored := NewStoredComparer()
	var bufs [2][]byte
	for part := range parts {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := c.comparePart(part, stored, &bufs); err != nil {
			return err
		}
		if c.progress != nil {
			c.progress(part.end - part.start)
		}
	}
	return nil
}

// comparePart goes through the extents of a part.
func (c *patchedComparer) comparePart(part comparedPart, stored *StoredComparer, bufs *[2][]byte) error {
	for off := part.start; off < part.end; {
		same, end, err := c.sameStored(off, stored)
		if err != nil {
			return err
		}
		end = min(end, part.end)
		if !same {
			if err := c.compareContent(off, end, bufs); err != nil {
				return err
			}
		}
		off = end
	}
	return nil
}

// sameStored tells whether the extents that begin at off are unchanged and stored by
// equal bytes, and where what it tells of ends.
func (c *patchedComparer) sameStored(off int64, stored *StoredComparer) (same bool, end int64, err error) {
	if c.below == nil || c.now == nil {
		return false, off + comparedContent, nil
	}
	y, err := c.now.at(off)
	if err != nil {
		return false, 0, err
	}
	if off >= c.below.d.size {
		return false, y.end, nil
	}
	x, err := c.below.at(off)
	if err != nil {
		return false, 0, err
	}
	end = min(x.end, y.end)
	if c.want.ChangedIn(off, end-off) || x.form == formStream && x.end > y.end {
		return false, y.end, nil
	}
	same, _, err = stored.samePiece(c.below.d.r, c.now.d.r, &x, &y, off)
	if !same {
		end = y.end
	}
	return same, end, err
}

// compareContent compares the bytes [off, end) as both contents read them.
func (c *patchedComparer) compareContent(off, end int64, bufs *[2][]byte) error {
	if bufs[0] == nil {
		bufs[0], bufs[1] = make([]byte, comparedContent), make([]byte, comparedContent)
	}
	for off < end {
		n := min(comparedContent, end-off)
		p, q := bufs[0][:n], bufs[1][:n]
		if err := tree.ReadFull(c.a, p, off); err != nil {
			return err
		}
		if err := tree.ReadFull(c.b, q, off); err != nil {
			return err
		}
		if !bytes.Equal(p, q) {
			return errDiffers
		}
		off += n
	}
	return nil
}
