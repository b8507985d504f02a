package remaster

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"relive/squash"
	"relive/tree"
)

// ErrReadBack is the error of a new image that does not hold what it was made
// from.
var ErrReadBack = errors.New("what was written does not read back")

// mustEqual compares a new image's tree with the one it was made from.
func mustEqual(ctx context.Context, what string, want, got *tree.Node, o tree.CompareOptions) error {
	const show = 5
	var found []string
	n := 0
	err := tree.Compare(ctx, want, got, o, func(c tree.Change) error {
		if n++; n <= show {
			found = append(found, fmt.Sprintf("%s: %v", tree.Quote(c.Path), c.Diff))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w: %w", what, ErrReadBack, err)
	}
	if n > show {
		found = append(found, fmt.Sprintf("and %d more", n-show))
	}
	if n > 0 {
		return fmt.Errorf("%s: %w: %s", what, ErrReadBack, strings.Join(found, "; "))
	}
	return nil
}

// squashEqual compares a new SquashFS image with the tree it was made from, but
// for what such an image cannot hold. Files whose blocks were copied are
// compared as they are stored, all others by their content.
func squashEqual(ctx context.Context, what string, want *tree.Node, r *squash.Reader, progress func(int64)) error {
	got, err := r.Root()
	if err != nil {
		return fmt.Errorf("%s: %w: %w", what, ErrReadBack, err)
	}
	stored := squash.NewStoredComparer()
	return mustEqual(ctx, what, want, got, tree.CompareOptions{
		WholeSeconds: true,
		Links:        true,
		IgnoreXattr:  func(name string) bool { return !squash.HoldsXattr(name) },
		SameContent: func(a, b *tree.Node) (bool, error) {
			progress(a.Size)
			return stored.Same(a, b)
		},
	})
}

// readBack opens a new base from the disk, compares it with the tree it was
// made from, and gives the MD5 sum of the file.
func (p *CompactPlan) readBack(ctx context.Context, path string) (sum []byte, err error) {
	r, size, closers, err := p.env.openSquash(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReadBack, err)
	}
	defer func() {
		for i := len(closers) - 1; i >= 0; i-- {
			err = errors.Join(err, closers[i].Close())
		}
	}()
	p.env.phase("reading linuxfs back", p.write.Stats.Bytes)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		sum, err = md5File(ctx, path, size)
		return err
	})
	g.Go(func() error {
		if p.o.FullVerify {
			if err := verifyImage(ctx, p.env, r, nil); err != nil {
				return fmt.Errorf("%w: %w", ErrReadBack, err)
			}
		}
		var done int64
		return squashEqual(ctx, path, p.root, r, func(n int64) {
			done += n
			p.env.done(done)
		})
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return sum, nil
}

// md5File gives the MD5 sum of a file that must have that size.
func md5File(ctx context.Context, path string, size int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := md5.New()
	buf := make([]byte, 1<<20)
	var n int64
	for {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		k, err := f.Read(buf)
		h.Write(buf[:k])
		n += int64(k)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	if n != size {
		return nil, fmt.Errorf("%s: %d bytes where %d were written", path, n, size)
	}
	return h.Sum(nil), nil
}

// dropCache asks the kernel to forget the pages of a file that was synced, so
// that reading it back reads the disk.
func dropCache(f *os.File) {
	// It is a wish: where it is not granted, the comparison reads the pages that
	// were to be written, which is all that could be had.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
