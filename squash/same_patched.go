package squash

import (
	"bytes"
	"context"
	"errors"
	"runtime"

	"golang.org/x/sync/errgroup"

	"relive/internal/filedata"
	"relive/tree"
)

// ComparePatched reports whether got, a file of an image that was written from
// want, holds want's content. Blocks that want says are unchanged, and that both
// images store by the same words, are compared by their stored bytes, which are
// read from both; all others are decoded and compared with what want reads.
// Where the images have not one codec and block size, all is.
//
// workers is how many goroutines compare, 0 for one each CPU. progress, where
// not nil, is told how many more bytes of content were compared; calls may run
// at the same time. They come to the size of the file where it is the same.
func ComparePatched(ctx context.Context, want tree.Patched, got *tree.Node, workers int, progress func(int64)) (same bool, err error) {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	a, err := want.Open()
	if err != nil {
		return false, err
	}
	defer a.Close()
	if a.Size() != got.Size {
		return false, nil
	}
	b, err := got.Open()
	if err != nil {
		return false, err
	}
	defer b.Close()
	if b.Size() != got.Size {
		return false, nil
	}
	c := &patchedComparer{want: want, a: a, b: b, size: got.Size, blockSize: comparedBlock, progress: progress}
	if err := c.findStored(got.Data); err != nil {
		return false, err
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
	err = g.Wait()
	if errors.Is(err, errDiffers) {
		return false, nil
	}
	return err == nil, err
}

const (
	// comparedBlock is how many bytes of content are compared at once, where
	// blocks are smaller or no images tell of them.
	comparedBlock = 128 << 10
	// comparedBytes is how much content a goroutine takes at once.
	comparedBytes = 8 << 20
)

// errDiffers ends a comparison that found a difference.
var errDiffers = errors.New("the contents differ")

type patchedComparer struct {
	want      tree.Patched
	a, b      tree.Content // of want, and of the new image
	size      int64
	blockSize int64
	// below and now are how both images store the file; they have no blocks
	// where these cannot be compared.
	below, now storedContent
	progress   func(int64)
}

// comparedPart is a row of blocks, and where its first block lies in both
// images.
type comparedPart struct {
	first, end int64
	below, now int64
}

// findStored looks for the stored forms.
func (c *patchedComparer) findStored(got tree.Data) error {
	sa, ok := c.want.Below().(storer)
	if !ok {
		return nil
	}
	sb, ok := got.(storer)
	if !ok {
		return nil
	}
	below, err := sa.storedForm()
	if err == nil {
		var now storedContent
		if now, err = sb.storedForm(); err == nil {
			p, q := &below.Image.super, &now.Image.super
			if p.BlockSize == q.BlockSize && p.Compression == q.Compression {
				c.below, c.now, c.blockSize = below, now, int64(p.BlockSize)
			}
		}
	}
	if errors.Is(err, tree.ErrUnsupported) {
		return nil // too many blocks to list
	}
	return err
}

// divide makes the parts.
func (c *patchedComparer) divide(ctx context.Context, parts chan<- comparedPart) error {
	blocks := (c.size + c.blockSize - 1) / c.blockSize
	part := comparedPart{below: c.below.Start, now: c.now.Start}
	for part.first < blocks {
		part.end = min(part.first+max(1, comparedBytes/c.blockSize), blocks)
		select {
		case parts <- part:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		part.below += storedLen(blocksIn(&c.below, part.first, part.end))
		part.now += storedLen(blocksIn(&c.now, part.first, part.end))
		part.first = part.end
	}
	return nil
}

// blocksIn returns the words of those of the blocks [first, end) that are listed.
func blocksIn(s *storedContent, first, end int64) []uint32 {
	n := int64(len(s.Blocks))
	return s.Blocks[min(first, n):min(end, n)]
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
			c.progress(min(part.end*c.blockSize, c.size) - part.first*c.blockSize)
		}
	}
	return nil
}

// comparePart goes through the runs of blocks that are compared in one of the
// two ways.
func (c *patchedComparer) comparePart(part comparedPart, stored *StoredComparer, bufs *[2][]byte) error {
	off := part.first * c.blockSize
	changed := c.want.ChangedIn(off, min(part.end*c.blockSize, c.size)-off)
	for i := part.first; i < part.end; {
		end, asStored := i+1, c.storedAlike(i, changed)
		for end < part.end && c.storedAlike(end, changed) == asStored {
			end++
		}
		if asStored {
			n := storedLen(c.now.Blocks[i:end])
			same, err := stored.sameBytes(c.below.Image, c.now.Image, part.below, part.now, n)
			if err != nil {
				return err
			}
			if !same {
				// Stored otherwise, the content may still be equal.
				asStored = false
			}
		}
		if !asStored {
			if err := c.compareContent(i*c.blockSize, min(end*c.blockSize, c.size), bufs); err != nil {
				return err
			}
		}
		part.below += storedLen(blocksIn(&c.below, i, end))
		part.now += storedLen(blocksIn(&c.now, i, end))
		i = end
	}
	return nil
}

// storedAlike reports whether block i is unchanged and stored by the same word in
// both images. changed tells whether any block of its part is.
func (c *patchedComparer) storedAlike(i int64, changed bool) bool {
	if i >= int64(len(c.below.Blocks)) || i >= int64(len(c.now.Blocks)) || c.below.Blocks[i] != c.now.Blocks[i] {
		return false
	}
	off := i * c.blockSize
	n := min(c.blockSize, c.size-off)
	return n == min(c.blockSize, c.below.Size-off) && !(changed && c.want.ChangedIn(off, n))
}

// compareContent compares the bytes [off, end) as both contents read them.
func (c *patchedComparer) compareContent(off, end int64, bufs *[2][]byte) error {
	if bufs[0] == nil {
		for i := range bufs {
			bufs[i] = make([]byte, max(c.blockSize, comparedBlock))
		}
	}
	holesA, holesB := filedata.Ranges{Content: c.a}, filedata.Ranges{Content: c.b}
	for off < end {
		n := min(int64(len(bufs[0])), end-off)
		dataA, err := holesA.Has(off, off+n)
		if err != nil {
			return err
		}
		dataB, err := holesB.Has(off, off+n)
		if err != nil {
			return err
		}
		if dataA || dataB {
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
		}
		off += n
	}
	return nil
}
