package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"relive/iso"
	"relive/remaster/bootedit"
	"relive/remaster/checksum"
	"relive/remaster/newfile"
	"relive/remaster/refusal"
	"relive/tree/hostfs"
)

// Result is what making a snapshot ISO did.
type Result struct {
	Plan     Summary                  `json:"plan"`
	Path     string                   `json:"path"`
	Size     int64                    `json:"size"`
	BaseSize int64                    `json:"base_size"`
	Sums     map[checksum.Kind]string `json:"sums"`
	Implant  string                   `json:"implanted_md5,omitempty"`
	Beside   []string                 `json:"sidecars"`
	Seconds  float64                  `json:"seconds"`
	Warnings []string                 `json:"warnings"`
}

// sidecar is a file beside the ISO.
type sidecar struct {
	suffix string // behind the ISO's name
	make   func() ([]byte, error)
}

// Run makes the ISO under another name, reads it back, and gives it its own only
// when it holds what it was made from.
func (p *Plan) Run(ctx context.Context) (*Result, error) {
	start := time.Now()
	res := &Result{Path: p.o.Output, Sums: map[checksum.Kind]string{}}
	if err := p.run(ctx, res); err != nil {
		return nil, refusal.DiskFullForISO(err)
	}
	res.Plan, res.Warnings = p.Summary, p.Summary.Warnings // the run may have added some
	res.Seconds = time.Since(start).Seconds()
	return res, nil
}

func (p *Plan) run(ctx context.Context, res *Result) (err error) {
	// Two runs on one name would write into each other's file.
	out, err := newfile.Create(p.o.Output, p.newFile())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Discard()) }()
	p.late.scratch, p.late.out = out.Scratch, out.File
	var rep *iso.WriteReport
	err = p.base.Check.Beside(ctx, func(ctx context.Context) (err error) {
		if rep, err = p.plan.Write(ctx, out, nil); err != nil {
			err = fmt.Errorf("writing %s: %w", out.Name(), err)
		}
		return err
	})
	if err != nil {
		return err
	}
	res.Size, res.BaseSize = rep.Size, p.late.size
	if err := out.Truncate(rep.Size); err != nil {
		return err
	}
	var implanted *iso.ImplantedMD5
	if p.o.ImplantMD5 {
		p.env.Phase("implanting the sum", rep.Size)
		m, err := iso.ImplantMD5(ctx, out, rep.Size, filepath.Base(p.o.Output), false, func(done, _ int64) { p.env.Done(done) })
		if err != nil {
			return err
		}
		res.Implant, implanted = m.Sum, m
	}
	p.env.Phase("syncing", 0)
	var beside sideFiles
	defer func() { err = errors.Join(err, beside.discard()) }()
	err = out.Commit(ctx, func(f *os.File) error {
		if err := p.readBack(ctx, f.Name(), rep.Size, implanted, res); err != nil {
			return err
		}
		if err := p.live.Unchanged(ctx); err != nil {
			return err
		}
		// What stands beside the ISO gets its names first: where the ISO is, all that
		// belongs to it is there too. Nothing gets its name before all is written.
		return p.putBeside(ctx, &beside, res)
	})
	if err == nil {
		beside.kept = true
	}
	return err
}

// readBack compares the image, as it is on the disk, with what it was made
// from, and finds its sums.
func (p *Plan) readBack(ctx context.Context, path string, size int64, implanted *iso.ImplantedMD5, res *Result) (err error) {
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	p.env.Phase("reading the ISO back", p.base.Content())
	g, ctx := errgroup.WithContext(ctx)
	if len(p.o.Sums) > 0 {
		g.Go(func() error {
			var kinds []checksum.Kind
			for _, kind := range p.o.Sums {
				kinds = append(kinds, checksum.Kind(kind))
			}
			sums, err := checksum.File(ctx, path, size, kinds...)
			res.Sums = sums
			return err
		})
	}
	back := bootedit.ReadBack{Env: p.env, Name: filepath.Base(p.o.Output), Plan: p.plan, Recipe: p.recipe, Root: p.root, Left: p.left,
		Implanted: implanted, Late: p.late.checks()}
	g.Go(func() error { return back.Run(ctx, c, size) })
	return g.Wait()
}

// sideFiles are the files beside an ISO, as they are made.
type sideFiles struct {
	files []*newfile.File
	named []string // those that did not replace another
	kept  bool
}

// discard removes what was made, unless the ISO is there.
func (s *sideFiles) discard() (err error) {
	if s.kept {
		return nil
	}
	for _, f := range s.files {
		err = errors.Join(err, f.Discard())
	}
	for _, name := range s.named {
		if rerr := os.Remove(name); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

// putBeside makes the files beside the ISO.
func (p *Plan) putBeside(ctx context.Context, s *sideFiles, res *Result) error {
	name := filepath.Base(p.o.Output)
	files := slices.Clone(p.beside)
	for _, kind := range p.o.Sums {
		files = append(files, sidecar{"." + kind, func() ([]byte, error) {
			return []byte(checksum.FormatLine(res.Sums[checksum.Kind(kind)], name)), nil
		}})
	}
	for _, f := range files {
		text, err := f.make()
		if err != nil {
			return err
		}
		out, err := newfile.Create(p.o.Output+f.suffix, newfile.Options{Force: p.o.Force})
		if err != nil {
			return err
		}
		s.files = append(s.files, out)
		if _, err := out.Write(text); err != nil {
			return err
		}
	}
	for i, f := range s.files {
		if err := f.Commit(ctx, nil); err != nil {
			return err
		}
		if !p.o.Force { // with it what was there before is gone, so that this one stays
			s.named = append(s.named, f.Path())
		}
		res.Beside = append(res.Beside, p.o.Output+files[i].suffix)
	}
	return nil
}
