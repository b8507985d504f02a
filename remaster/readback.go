package remaster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"relive/remaster/checksum"
	"relive/remaster/written"
	"relive/squash"
	"relive/tree"
)

// ErrReadBack is the error of a new image that does not hold what it was made
// from.
var ErrReadBack = errors.New("what was written does not read back")

// mustEqual compares a new image's tree with the one it was made from.
func mustEqual(ctx context.Context, what string, want, got *tree.Node, o tree.CompareOptions) error {
	f := &findings{what: what}
	if err := tree.Compare(ctx, want, got, o, f.add); err != nil {
		return fmt.Errorf("%s: %w: %w", what, ErrReadBack, err)
	}
	return f.err()
}

// findings gathers differences for an error.
type findings struct {
	what string
	mu   sync.Mutex
	text []string
	n    int
}

// findingsShown is how many differences the error names.
const findingsShown = 5

func (f *findings) add(c tree.Change) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n++; f.n <= findingsShown {
		f.text = append(f.text, fmt.Sprintf("%s: %v", tree.Quote(c.Path), c.Diff))
	}
	return nil
}

func (f *findings) err() error {
	if f.n == 0 {
		return nil
	}
	if more := f.n - len(f.text); more > 0 {
		f.text = append(f.text, fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("%s: %w: %s", f.what, ErrReadBack, strings.Join(f.text, "; "))
}

// squashEqual compares a new SquashFS image with the tree it was made from, but
// for what such an image cannot hold. Files whose blocks were copied are
// compared as they are stored, all others by their content. While one goroutine
// walks, as many as there are jobs compare contents.
func squashEqual(ctx context.Context, what string, want *tree.Node, r *squash.Reader, jobs int, progress func(int64)) error {
	got, err := r.Root()
	if err != nil {
		return fmt.Errorf("%s: %w: %w", what, ErrReadBack, err)
	}
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	f := &findings{what: what}
	type pair struct {
		path string
		a, b *tree.Node
	}
	pairs := make(chan pair, 64)
	g, ctx := errgroup.WithContext(ctx)
	var done atomic.Int64
	for range jobs {
		g.Go(func() error {
			stored := squash.NewStoredComparer()
			for p := range pairs {
				var same bool
				var err error
				patched, huge := p.a.Data.(tree.Patched)
				if huge {
					same, err = squash.ComparePatched(ctx, patched, p.b, jobs, func(n int64) { progress(done.Add(n)) })
				} else if same, err = stored.Same(p.a, p.b); err == nil && !same {
					same, err = tree.SameContent(ctx, p.a, p.b)
				}
				if err != nil {
					return fmt.Errorf("%s: %w: %s: %w", what, ErrReadBack, tree.Quote(p.path), err)
				}
				if !same {
					_ = f.add(tree.Change{Path: p.path, Diff: tree.Contents, A: p.a, B: p.b})
				}
				if !huge {
					progress(done.Add(p.a.Size))
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(pairs)
		err := tree.Compare(ctx, want, got, tree.CompareOptions{
			WholeSeconds: true,
			Links:        true,
			IgnoreXattr:  func(name string) bool { return !squash.HoldsXattr(name) },
			// The walk takes contents for equal; whether they are is found out
			// beside it.
			SameContent: func(path string, a, b *tree.Node) (bool, error) {
				select {
				case pairs <- pair{path, a, b}:
					return true, nil
				case <-ctx.Done():
					return false, context.Cause(ctx)
				}
			},
		}, f.add)
		if err != nil {
			return fmt.Errorf("%s: %w: %w", what, ErrReadBack, err)
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return f.err()
}

// readBack compares a new base, as it is on the disk, with what was written to it
// and with what it was made from, and gives the sums of the file that stand beside the base.
func (p *CompactPlan) readBack(ctx context.Context, file *written.File, path string, size int64) (sums map[checksum.Kind]string, err error) {
	p.env.phase("reading "+p.live.Base.Name()+" back", p.make.content())
	g, ctx := errgroup.WithContext(ctx)
	if kinds := p.sumKinds(p.live.files.base); len(kinds) > 0 {
		g.Go(func() (err error) {
			sums, err = checksum.File(ctx, path, size, kinds...)
			return err
		})
	}
	g.Go(func() error { return p.make.check(ctx, path) })
	g.Go(func() error { return holds(ctx, file, path) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return sums, nil
}

// holds compares a new file, byte for byte, with what was written to it.
func holds(ctx context.Context, file *written.File, path string) error {
	if err := file.Check(ctx, path); err != nil {
		return fmt.Errorf("%w: %w", ErrReadBack, err)
	}
	return nil
}
