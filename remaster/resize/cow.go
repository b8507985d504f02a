package resize

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"

	"relive/dmmerge"
	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/readback"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/written"
	"relive/tree"
)

// cowResize is a COW that gets another size: a larger one where it is, a
// smaller one with those of its chunks that hold something.
type cowResize struct {
	*resizing
	p *Plan
	s *live.COW
}

// addCOW takes the overlay's COW among what is resized.
func (p *Plan) addCOW(ctx context.Context, target string) error {
	l := p.live
	s := l.COW()
	if f := s.Damaged(); f != nil {
		return refusal.New(refusal.Damaged, say.RecoverCOW+" "+l.Overlay.Path+" saves what is whole and lists what is lost",
			"%s is damaged: %s", l.Overlay.Path, f)
	}
	if err := live.CheckCOW(ctx, s.Content, l.Overlay.Path, true); err != nil {
		return err
	}
	c := &cowResize{p: p, s: s}
	st := s.Store.Status()
	c.resizing = &resizing{target: target, path: l.Overlay.Path, allocated: s.Allocated, fit: c.fit, Image: &Image{
		Name: target, Form: string(live.FormCOW), How: ResizeGrow, OldSize: s.Size,
		Whole: preallocated(filepath.Dir(l.Overlay.Path), s.Size, s.Allocated)}}
	c.FreeOld = int64(st.BytesLeft)
	chunk := s.Store.Header().ChunkSectors
	if chunk == 0 {
		chunk = dmmerge.DefaultChunkSectors
	}
	never, err := dmmerge.NeverOverflowSize(s.Device.Size(), chunk)
	if err != nil {
		return err
	}
	c.most = never
	p.env.Phase("looking for chunks that hold nothing", 0)
	if c.Holds, err = c.holds(ctx); err != nil {
		return err
	}
	c.Least = min((c.Holds+roomLeft(c.Holds)+mib-1)/mib*mib, (max(never, c.Holds)+4095)/4096*4096)
	p.images = append(p.images, c.resizing)
	return nil
}

// errMeasured is the error of a file that is not made.
var errMeasured = errors.New("only measured")

// measured is a new COW that is not made.
type measured struct{}

func (measured) ReadAt([]byte, int64) (int, error)  { return 0, errMeasured }
func (measured) WriteAt([]byte, int64) (int, error) { return 0, errMeasured }
func (measured) Truncate(int64) error               { return errMeasured }
func (measured) Sync() error                        { return errMeasured }

// holds is the size of the smallest COW that shows the same.
func (c *cowResize) holds(ctx context.Context) (int64, error) {
	o, err := c.repackOptions()
	if err != nil {
		return 0, err
	}
	o.Size = 1 // which becomes the least that a COW has
	res, err := dmmerge.Repack(ctx, c.s.Device, measured{}, o)
	var small *dmmerge.SizeError
	switch {
	case errors.As(err, &small):
		return dmmerge.GoodSize(small.Next, uint32(res.ChunkBytes/512))
	case errors.Is(err, errMeasured):
		return res.Size, nil
	}
	return 0, err
}

// free are the parts of the file system that hold nothing; nil where that cannot
// be told.
func (c *cowResize) free() (iter.Seq2[dmmerge.Extent, error], error) {
	// Bitmaps that cannot be trusted show with the first range.
	for _, err := range c.s.FS.FreeRanges() {
		if tree.IsDamage(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		break
	}
	return func(yield func(dmmerge.Extent, error) bool) {
		for r, err := range c.s.FS.FreeRanges() {
			if !yield(dmmerge.Extent{Start: r.Start, End: r.End()}, err) {
				return
			}
		}
	}, nil
}

func (c *cowResize) repackOptions() (o dmmerge.RepackOptions, err error) {
	o.Free, err = c.free()
	return o, err
}

// fit decides how the COW gets that size.
func (c *cowResize) fit(ctx context.Context, size int64) error {
	chunk := c.s.Store.Header().ChunkSectors
	if chunk == 0 {
		chunk = dmmerge.DefaultChunkSectors
	}
	size, err := dmmerge.GoodSize(size, chunk)
	if err != nil {
		return err
	}
	c.Size = size
	if size > c.OldSize {
		c.How, c.grow = ResizeGrow, c.enlarge
		c.Free = c.FreeOld + size - c.OldSize
		if c.Whole {
			c.need = size - c.OldSize
		}
		c.p.note("%s grows where it is, so that there is no former one to keep", c.target)
		if c.s.Store.State() == dmmerge.Invalid {
			c.p.note("%s was invalidated and becomes valid again; what it shows is as after a power cut", c.target)
		}
		return nil
	}
	// A smaller one leaves chunks out: all of the metadata must be readable.
	if err := c.p.live.CheckMerged(ctx, c.p.env, &live.Intent{}); err != nil {
		return err
	}
	c.How, c.make = ResizeRepack, c.repack
	c.Free = size - c.Holds
	c.need = min(size, c.Holds+mib)
	if c.Whole {
		c.need = size
	}
	return nil
}

// growingFile is a file that gets longer, with its space set aside where whole.
type growingFile struct {
	*os.File
	whole bool
}

// Truncate implements dmmerge.Resizable.
func (g growingFile) Truncate(size int64) error {
	if g.whole {
		if err := hostdisk.Preallocate(g.File, size); err != nil {
			return err
		}
	}
	return g.File.Truncate(size)
}

// enlarge makes the COW larger where it is, and valid.
func (c *cowResize) enlarge() (err error) {
	f, err := os.OpenFile(c.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	res, err := dmmerge.Grow(growingFile{f, c.Whole}, c.OldSize, c.Size, c.target)
	c.Size = res.Size
	return err
}

// repack writes a smaller COW, makes it durable, reads it back and compares what
// both show.
func (c *cowResize) repack(ctx context.Context, path string) (err error) {
	out, err := hostdisk.CreateLike(path, c.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	env := c.p.env
	o, err := c.repackOptions()
	if err != nil {
		return err
	}
	o.Size = c.Size
	env.Phase("repacking "+c.target, 2*int64(c.s.Store.Chunks())*c.s.Store.ChunkBytes())
	o.Progress = func(n, _ int64) { env.Done(n) }
	file := written.New(out)
	if _, err := dmmerge.Repack(ctx, c.s.Device, file, o); err != nil {
		return err
	}
	if err := c.setAside(out); err != nil {
		return err
	}
	env.Phase("syncing", 0)
	if err := written.Settle(ctx, out); err != nil {
		return err
	}
	env.Phase("reading "+c.target+" back", 0)
	if err := readback.SameBytes(ctx, file, path); err != nil {
		return err
	}
	cow, err := dmmerge.Open(out, c.Size, c.target)
	if err != nil {
		return fmt.Errorf("%w: %w", readback.Err, err)
	}
	dev, err := cow.Over(tree.Unclosed{Content: c.p.live.Base.Inner.Content})
	if err != nil {
		return fmt.Errorf("%w: %w", readback.Err, err)
	}
	if err := c.same(ctx, dev); err != nil {
		return fmt.Errorf("%s: %w: %w", path, readback.Err, err)
	}
	return nil
}

// same compares what two COWs show: all but what is free in the file system.
func (c *cowResize) same(ctx context.Context, dev *dmmerge.Device) error {
	chunk := max(c.s.Store.ChunkBytes(), dev.COW().ChunkBytes())
	piece := max(chunk, mib/chunk*chunk)
	a, b := make([]byte, piece), make([]byte, piece)
	for _, changed := range []iter.Seq[dmmerge.Extent]{c.s.Device.Changed(), dev.Changed()} {
		seq, err := c.free()
		if err != nil {
			return err
		}
		free := newFreeCursor(seq)
		err = func() error {
			defer free.stop()
			for e := range changed {
				for off := e.Start; off < e.End; off += piece {
					if err := ctx.Err(); err != nil {
						return context.Cause(ctx)
					}
					n := min(piece, e.End-off)
					if err := tree.ReadFull(c.s.Device, a[:n], off); err != nil {
						return err
					}
					if err := tree.ReadFull(dev, b[:n], off); err != nil {
						return err
					}
					for at := int64(0); at < n; at += chunk {
						end := min(at+chunk, n)
						if bytes.Equal(a[at:end], b[at:end]) {
							continue
						}
						if ok, err := free.holds(off+at, off+end); err != nil {
							return err
						} else if !ok {
							return fmt.Errorf("the devices differ in the %d bytes at %d", end-at, off+at)
						}
					}
				}
			}
			return nil
		}()
		if err != nil {
			return err
		}
	}
	return nil
}

// freeCursor goes over ascending free ranges along with ascending questions.
type freeCursor struct {
	next func() (dmmerge.Extent, error, bool)
	stop func()
	at   dmmerge.Extent
}

func newFreeCursor(seq iter.Seq2[dmmerge.Extent, error]) *freeCursor {
	if seq == nil {
		return &freeCursor{stop: func() {}, next: func() (dmmerge.Extent, error, bool) { return dmmerge.Extent{}, nil, false }}
	}
	f := &freeCursor{}
	f.next, f.stop = iter.Pull2(seq)
	return f
}

// holds reports whether a range lies within what is free.
func (f *freeCursor) holds(start, end int64) (bool, error) {
	for f.at.End < end {
		e, err, ok := f.next()
		if err != nil || !ok {
			return false, err
		}
		if e.Start == f.at.End {
			e.Start = f.at.Start // one range, in two pieces
		}
		f.at = e
	}
	return f.at.Start <= start, nil
}
