package remaster

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
	"relive/remaster/checksum"
	"relive/remaster/newfile"
	"relive/tree"
	"relive/tree/hostfs"
)

// ISOResult is what making a snapshot ISO did.
type ISOResult struct {
	Plan     ISOSummary               `json:"plan"`
	Path     string                   `json:"path"`
	Size     int64                    `json:"size"`
	BaseSize int64                    `json:"base_size"`
	Sums     map[checksum.Kind]string `json:"sums"`
	Implant  string                   `json:"implanted_md5,omitempty"`
	Beside   []string                 `json:"files_beside"`
	Seconds  float64                  `json:"seconds"`
	Warnings []string                 `json:"warnings"`
}

// sideFile is a file beside the ISO.
type sideFile struct {
	suffix string // behind the ISO's name
	make   func() ([]byte, error)
}

// Run makes the ISO under another name, reads it back, and gives it its own only
// when it holds what it was made from.
func (p *ISOPlan) Run(ctx context.Context) (*ISOResult, error) {
	start := time.Now()
	res := &ISOResult{Path: p.o.Output, Sums: map[checksum.Kind]string{}}
	if err := p.run(ctx, res); err != nil {
		return nil, isoSpaceHint(err)
	}
	res.Plan, res.Warnings = p.Summary, p.Summary.Warnings // the run may have added some
	res.Seconds = time.Since(start).Seconds()
	return res, nil
}

func (p *ISOPlan) run(ctx context.Context, res *ISOResult) (err error) {
	// Two runs on one name would write into each other's file.
	out, err := newfile.Create(p.o.Output, p.base.newFile())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Discard()) }()
	p.late.scratch, p.late.out = out.Scratch, out.File
	var rep *iso.WriteReport
	err = p.base.check.beside(ctx, func(ctx context.Context) (err error) {
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
	if p.o.ImplantMD5 {
		p.env.phase("implanting the sum", rep.Size)
		m, err := iso.ImplantMD5(ctx, out, rep.Size, filepath.Base(p.o.Output), false, func(done, _ int64) { p.env.done(done) })
		if err != nil {
			return err
		}
		res.Implant = m.Sum
	}
	p.env.phase("syncing", 0)
	var beside sideFiles
	defer func() { err = errors.Join(err, beside.discard()) }()
	err = out.Commit(func(f *os.File) error {
		if err := p.readBack(ctx, f.Name(), rep.Size, res); err != nil {
			return err
		}
		if err := p.live.unchanged(ctx); err != nil {
			return err
		}
		// What stands beside the ISO gets its names first: where the ISO is, all that
		// belongs to it is there too. Nothing gets its name before all is written.
		return p.putBeside(&beside, res)
	})
	if err == nil {
		beside.kept = true
	}
	return err
}

// readBack compares the image, as it is on the disk, with what it was made
// from, and finds its sums.
func (p *ISOPlan) readBack(ctx context.Context, path string, size int64, res *ISOResult) (err error) {
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	p.env.phase("reading the ISO back", p.base.make.content())
	img, err := iso.Open(c, size, filepath.Base(p.o.Output))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrReadBack, err)
	}
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
	g.Go(func() error { return p.sameFiles(ctx, path, img) })
	g.Go(func() (err error) {
		root, err := img.Root()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrReadBack, err)
		}
		n, err := root.Lookup(p.form.base)
		if err == nil && (n == nil || n.Type != tree.Regular || n.Size != p.late.size) {
			err = fmt.Errorf("%s: %w: %s is not there as it was written", path, ErrReadBack, p.form.base)
		}
		if err != nil {
			return err
		}
		base, err := n.Open()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrReadBack, err)
		}
		defer func() { err = errors.Join(err, base.Close()) }()
		return p.base.make.(*squashMaker).checkContent(ctx, p.form.base, base)
	})
	return g.Wait()
}

// sameFiles compares the ISO's tree with the planned one, but for files whose
// content the writing decides; those that are not the base are as small as a
// list, and wrong ones would show when they are used.
func (p *ISOPlan) sameFiles(ctx context.Context, path string, img *iso.Image) error {
	root, err := img.Root()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrReadBack, err)
	}
	made := map[string]bool{p.recipe.Catalog: true}
	for _, at := range p.late.paths {
		made[at] = true
	}
	var edits tree.Edits
	for _, at := range p.late.paths {
		// As large as it came to.
		got, err := root.Lookup(at)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrReadBack, err)
		}
		want, err := p.root.Lookup(at)
		if err != nil {
			return err
		}
		if got == nil {
			return fmt.Errorf("%s: %w: %s is not there", path, ErrReadBack, tree.Quote(at))
		}
		n := *want
		n.Size = got.Size
		edits.Put(at, &n)
	}
	if p.recipe.Catalog != "" {
		edits.Remove(p.recipe.Catalog)
	}
	for _, b := range p.recipe.Boot {
		made[b.Path] = made[b.Path] || b.BootInfo || b.Grub2Info
	}
	want, err := edits.Apply(p.root)
	if err != nil {
		return err
	}
	var without tree.Edits
	if p.recipe.Catalog != "" {
		without.Remove(p.recipe.Catalog)
	}
	got, err := without.Apply(root)
	if err != nil {
		return err
	}
	return mustEqual(ctx, path, want, got, tree.CompareOptions{
		WholeSeconds: true, Links: true, IgnoreXattr: func(string) bool { return true },
		SameContent: func(at string, a, b *tree.Node) (bool, error) {
			if made[at] {
				return true, nil
			}
			return tree.SameContent(ctx, a, b)
		},
	})
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
func (p *ISOPlan) putBeside(s *sideFiles, res *ISOResult) error {
	name := filepath.Base(p.o.Output)
	files := slices.Clone(p.beside)
	for _, kind := range p.o.Sums {
		files = append(files, sideFile{"." + kind, func() ([]byte, error) {
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
		if err := f.Commit(nil); err != nil {
			return err
		}
		if !p.o.Force { // with it what was there before is gone, so that this one stays
			s.named = append(s.named, f.Path())
		}
		res.Beside = append(res.Beside, p.o.Output+files[i].suffix)
	}
	return nil
}
