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
	"relive/remaster/swap"
	"relive/remaster/written"
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

// tempSuffix is behind the names of files that are being made. What has it is
// left from a run that was interrupted.
const tempSuffix = ".relive-tmp"

func (p *ISOPlan) run(ctx context.Context, res *ISOResult) (err error) {
	temp := p.o.Output + tempSuffix
	inner := temp + ".inner"
	// Two runs on one name would write into each other's file.
	out, err := lockTemp(temp)
	if err != nil {
		return err
	}
	named := false
	defer func() {
		err = errors.Join(err, removeFile(inner))
		if !named {
			err = errors.Join(err, removeFile(temp))
		}
		// Closing gives the lock up, so it comes last.
		err = errors.Join(err, out.Close())
	}()
	if err := removeFile(inner); err != nil {
		return err
	}
	p.late.scratch = func() (string, error) { return inner, nil }
	p.late.out = out
	var rep *iso.WriteReport
	err = p.base.check.beside(ctx, func(ctx context.Context) (err error) {
		if rep, err = p.plan.Write(ctx, out, nil); err != nil {
			err = fmt.Errorf("writing %s: %w", temp, err)
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
		p.env.phase("implanting the sum", rep.Size)
		m, err := iso.ImplantMD5(ctx, out, rep.Size, filepath.Base(p.o.Output), false, func(done, _ int64) { p.env.done(done) })
		if err != nil {
			return err
		}
		res.Implant, implanted = m.Sum, m
	}
	p.env.phase("syncing", 0)
	if err := written.Settle(ctx, out); err != nil {
		return fmt.Errorf("writing %s: %w", temp, err)
	}
	if err := p.readBack(ctx, temp, rep.Size, implanted, res); err != nil {
		return err
	}
	if err := p.live.unchanged(ctx); err != nil {
		return err
	}
	if named, err = p.putInPlace(temp, res); err != nil {
		return err
	}
	return swap.OS{}.SyncDir(filepath.Dir(p.o.Output))
}

func removeFile(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// readBack compares the image, as it is on the disk, with what it was made
// from, and finds its sums.
func (p *ISOPlan) readBack(ctx context.Context, path string, size int64, implanted *iso.ImplantedMD5, res *ISOResult) (err error) {
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	p.env.phase("reading the ISO back", p.base.make.content())
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
	back := isoReadBack{env: p.env, name: filepath.Base(p.o.Output), plan: p.plan, recipe: p.recipe, root: p.root, left: p.left, implanted: implanted, late: p.late.checks()}
	g.Go(func() error { return back.run(ctx, c, size) })
	return g.Wait()
}

// putInPlace gives the files their names, the ISO last: where it is, all that
// belongs to it is there too. Nothing gets its name before all is written.
func (p *ISOPlan) putInPlace(temp string, res *ISOResult) (named bool, err error) {
	name := filepath.Base(p.o.Output)
	files := slices.Clone(p.beside)
	for _, kind := range p.o.Sums {
		files = append(files, sideFile{"." + kind, func() ([]byte, error) { return []byte(checksum.FormatLine(res.Sums[checksum.Kind(kind)], name)), nil }})
	}
	var made []string
	defer func() {
		if err != nil {
			for _, name := range made {
				err = errors.Join(err, removeFile(name))
			}
		}
	}()
	for _, f := range files {
		text, err := f.make()
		if err != nil {
			return false, err
		}
		made = append(made, p.o.Output+f.suffix+tempSuffix)
		if err := writeSide(made[len(made)-1], text); err != nil {
			return false, err
		}
	}
	for i, f := range files {
		to := p.o.Output + f.suffix
		if err := giveName(made[i], to, p.o.Force); err != nil {
			return false, err
		}
		if made[i] = to; p.o.Force {
			made[i] = made[i] + tempSuffix // what was there before is gone, so that this one stays
		}
		res.Beside = append(res.Beside, to)
	}
	if err := giveName(temp, p.o.Output, p.o.Force); err != nil {
		return false, err
	}
	return true, nil
}

// giveName renames a file that is written. Without force it replaces none, not
// even one that somebody has made in the meantime, where the file system has
// links; where it has none, a look before has to do.
func giveName(temp, name string, force bool) error {
	if !force {
		err := os.Link(temp, name)
		if err == nil {
			return os.Remove(temp)
		}
		if exists(name) {
			return withHint(fmt.Errorf("%s: %w", name, fs.ErrExist), "name another ISO, or use --force to replace it")
		}
	}
	return os.Rename(temp, name)
}

// writeSide writes a small file durably, in place of one that an interrupted
// run has left.
func writeSide(name string, text []byte) error {
	if err := removeFile(name); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
