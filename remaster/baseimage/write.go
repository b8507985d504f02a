package baseimage

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"relive/remaster/checksum"
	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/packed"
	"relive/remaster/readback"
	"relive/remaster/written"
	"relive/tree"
)

// MakeBase writes the new base, makes it durable, reads it back and compares it
// with what it was made from. It gives its size, what companions may tell of it, and its sums
// of these kinds. scratch gives the path of a temporary file.
func (p *Plan) MakeBase(ctx context.Context, path string, scratch func() (string, error), kinds []checksum.Kind) (size int64, f live.Facts,
	sums map[checksum.Kind]string, err error) {
	out, err := hostdisk.CreateLike(path, p.Live.Base.Path)
	if err != nil {
		return 0, f, nil, err
	}
	defer out.Close()
	file, size, f, err := p.WriteBase(ctx, out, scratch)
	if err != nil {
		return 0, f, nil, err
	}
	if err := written.Settle(ctx, out); err != nil {
		return 0, f, nil, fmt.Errorf("writing %s: %w", path, err)
	}
	if err := out.Close(); err != nil {
		return 0, f, nil, fmt.Errorf("writing %s: %w", path, err)
	}
	sums, err = p.ReadBack(ctx, file, path, size, kinds)
	return size, f, sums, err
}

// WriteBase writes the new base, while what it is copied from is compared with
// its sums. It is to be synced next.
func (p *Plan) WriteBase(ctx context.Context, out *os.File, scratch func() (string, error)) (file *written.File, size int64, f live.Facts,
	err error) {
	file = written.New(out)
	err = p.Check.Beside(ctx, func(ctx context.Context) (err error) {
		if size, f, err = p.make.write(ctx, file, scratch); err != nil {
			err = fmt.Errorf("writing %s: %w", out.Name(), err)
		}
		return err
	})
	if err != nil {
		return nil, 0, f, err
	}
	p.Env.Phase("syncing", 0)
	return file, size, f, nil
}

// ReadBack compares a new base, as it is on the disk, with what was written to it
// and with what it was made from, and gives the sums of the file that stand beside the base.
func (p *Plan) ReadBack(ctx context.Context, file *written.File, path string, size int64,
	kinds []checksum.Kind) (sums map[checksum.Kind]string, err error) {
	p.Env.Phase("reading "+p.Live.Base.Name()+" back", p.make.content())
	g, ctx := errgroup.WithContext(ctx)
	if len(kinds) > 0 {
		g.Go(func() (err error) {
			sums, err = checksum.File(ctx, path, size, kinds...)
			return err
		})
	}
	g.Go(func() error { return p.make.check(ctx, path) })
	g.Go(func() error { return readback.SameBytes(ctx, file, path) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return sums, nil
}

// WriteAt writes the base into a file that holds more, its first byte at base.
func (p *Plan) WriteAt(ctx context.Context, out io.WriterAt, base int64, scratch func() (string, error)) (int64, live.Facts, error) {
	m, ok := p.make.(*imageMaker)
	if !ok {
		return 0, live.Facts{}, fmt.Errorf("%s: is no image that lies in another file", p.Live.Base.Name())
	}
	return m.writeAt(ctx, out, base, scratch)
}

// CheckContent compares a base that lies in another file with what it was made
// from.
func (p *Plan) CheckContent(ctx context.Context, name string, c tree.Content) error {
	return p.make.(*imageMaker).checkContent(ctx, name, c)
}

// Content is how many bytes the read-back looks at.
func (p *Plan) Content() int64 { return p.make.content() }

// imageEqual compares a new image with the tree it was made from, but
// for what such an image cannot hold. Files whose blocks were copied are
// compared as they are stored, all others by their content. While one goroutine
// walks, as many as there are jobs compare contents.
func imageEqual(ctx context.Context, what string, want *tree.Node, r packed.Image, jobs int, progress func(int64)) error {
	got, err := r.Root()
	if err != nil {
		return fmt.Errorf("%s: %w: %w", what, readback.Err, err)
	}
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	f := &readback.Findings{What: what}
	type pair struct {
		path string
		a, b *tree.Node
	}
	pairs := make(chan pair, 64)
	g, ctx := errgroup.WithContext(ctx)
	var done atomic.Int64
	for range jobs {
		g.Go(func() error {
			stored := packed.NewStoredComparer()
			for p := range pairs {
				var same bool
				var err error
				patched, huge := p.a.Data.(tree.Patched)
				if huge {
					same, err = packed.ComparePatched(ctx, r, patched, p.b, jobs, func(n int64) { progress(done.Add(n)) })
				} else if same, err = stored.Same(p.a, p.b); err == nil && !same {
					same, err = tree.SameContent(ctx, p.a, p.b)
				}
				if err != nil {
					return fmt.Errorf("%s: %w: %s: %w", what, readback.Err, tree.Quote(p.path), err)
				}
				if !same {
					_ = f.Add(tree.Change{Path: p.path, Diff: tree.Contents, A: p.a, B: p.b})
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
			WholeSeconds: r.Facts().WholeSeconds,
			Links:        true,
			IgnoreXattr:  func(name string) bool { return !r.HoldsXattr(name) },
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
		}, f.Add)
		if err != nil {
			return fmt.Errorf("%s: %w: %w", what, readback.Err, err)
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return f.Err()
}
