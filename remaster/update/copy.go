package update

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"relive/remaster/baseimage"
	"relive/remaster/checksum"
	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/readback"
	"relive/remaster/replace"
	"relive/remaster/written"
	"relive/tree"
)

// run copies all new files and puts them in place in one transaction.
func (p *Plan) run(ctx context.Context, res *Result) error {
	l := p.live
	fill := func(t *replace.Transaction) (err error) {
		all := map[string]map[checksum.Kind]string{} // the sums of each new file
		if p.base {
			sums, err := p.take(ctx, t, l.Files.Base, p.from.Files.Base, p.from.Base.Image == nil)
			if err != nil {
				return err
			}
			all[l.Files.Base], res.Sums = sums, sums
			if err := p.verifyUnsummed(ctx, l.Path(t.Made[l.Files.Base])); err != nil {
				return err
			}
		}
		for _, f := range p.files {
			if f.text != nil {
				if all[f.target], err = p.write(t, &f); err != nil {
					return err
				}
				continue
			}
			sums, err := p.take(ctx, t, f.target, f.source, false)
			if err != nil {
				return err
			}
			all[f.target] = sums
		}
		err = p.swap.PutCompanions(t, all, func(c live.Companion) ([]byte, error) {
			if c.Sum != "" {
				return c.Content(l.Files.Base, live.Facts{}, all[l.Files.Base]), nil
			}
			return p.companionText(c)
		})
		if err != nil {
			return err
		}
		return p.from.Unchanged(ctx)
	}
	return p.transact(ctx, fill)
}

// transact puts the new files in place. Where the base stays, no more than them
// is touched.
func (p *Plan) transact(ctx context.Context, fill func(t *replace.Transaction) error) error {
	if p.base {
		return p.swap.Run(ctx, fill)
	}
	t, err := replace.Begin(p.env, p.live.Dir, "update", p.steps(p.swap.Placeholders()))
	if err != nil {
		return err
	}
	if err = fill(t); err == nil {
		p.env.Phase("putting the new files in place", 0)
		err = t.Commit(ctx, p.steps(t.Made))
	}
	return t.End(err)
}

// write makes a small file that is not copied, and gives its sums.
func (p *Plan) write(t *replace.Transaction, f *bootFile) (map[checksum.Kind]string, error) {
	if err := os.MkdirAll(filepath.Dir(p.live.Path(f.target)), 0o755); err != nil {
		return nil, err
	}
	sums := map[checksum.Kind]string{}
	for _, kind := range p.swap.SumKinds(f.target) {
		sums[kind] = checksum.Bytes(kind, f.text)
	}
	return sums, t.Text(f.target, f.text)
}

// take copies a file of the source to the temporary file of target, syncs it and
// reads it back. It gives its sums.
func (p *Plan) take(ctx context.Context, t *replace.Transaction, target, source string, sparse bool) (sums map[checksum.Kind]string,
	err error) {
	env, dir := p.env, p.live.Dir
	in, err := p.from.Place.Open(filepath.Join(p.from.Dir, source))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	path, err := t.Temp(target)
	if err != nil {
		return nil, err
	}
	out, err := hostdisk.CreateLike(path, filepath.Join(dir, target))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	if sparse {
		if sparse, err = hostdisk.HoldsHoles(dir); err != nil {
			return nil, err
		}
	}
	kinds := p.kinds(target, source)
	env.Phase("copying "+filepath.Base(target), in.Size())
	if sums, err = copySummed(ctx, out, in, sparse, env.Done, kinds...); err != nil {
		return nil, fmt.Errorf("copying %s: %w", source, err)
	}
	if err := p.checkKnown(source, sums); err != nil {
		return nil, err
	}
	env.Phase("syncing", 0)
	if err := written.Settle(ctx, out); err != nil {
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	if err := out.Close(); err != nil {
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	env.Phase("reading "+filepath.Base(target)+" back", 0)
	got, err := checksum.File(ctx, path, in.Size(), kinds[0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", readback.Err, err)
	}
	if got[kinds[0]] != sums[kinds[0]] {
		return nil, fmt.Errorf("%s: %w", path, readback.Err)
	}
	return sums, nil
}

// copySummed copies all of in to a new file and gives its sums. While one part
// is summed and written, the next is read. With sparse, zeros become holes.
func copySummed(ctx context.Context, out *os.File, in tree.Content, sparse bool, done func(int64),
	kinds ...checksum.Kind) (map[checksum.Kind]string, error) {
	sum := checksum.NewHashes(kinds...)
	if sparse {
		if err := out.Truncate(in.Size()); err != nil {
			return nil, err
		}
	}
	full, empty := make(chan []byte, 2), make(chan []byte, 2) // as many as there are: sending never waits
	for range cap(empty) {
		empty <- make([]byte, min(hostdisk.CopyBuffer, in.Size()))
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(full)
		for off := int64(0); off < in.Size(); {
			select {
			case b := <-empty:
				b = b[:min(int64(cap(b)), in.Size()-off)]
				if err := tree.ReadFull(in, b, off); err != nil {
					return err
				}
				off += int64(len(b))
				full <- b
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	g.Go(func() error {
		off := int64(0)
		for b := range full {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			_, _ = sum.Write(b) // hashes have no errors
			var err error
			if sparse {
				err = hostdisk.WriteSparse(out, b, off)
			} else {
				_, err = out.WriteAt(b, off)
			}
			if err != nil {
				return err
			}
			off += int64(len(b))
			done(off)
			empty <- b
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return sum.Sums(), nil
}

// verifyUnsummed decodes all of a new base of which the source holds no sum, so
// that a source that was cut or damaged is found out.
func (p *Plan) verifyUnsummed(ctx context.Context, path string) (err error) {
	if p.hasSum(p.from.Files.Base) || p.from.Base.Image == nil {
		return nil
	}
	r, size, open, err := live.OpenPacked(p.env, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, open.Close()) }()
	p.env.Phase("checking "+p.live.Base.Name(), size)
	err = baseimage.VerifyImage(ctx, p.env, r, func(done, _ int64) { p.env.Done(done) })
	if errors.Is(err, baseimage.ErrDamaged) {
		return p.doubt("%s: %v", p.from.Base.Path, err)
	}
	return err
}
