package isoedit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"relive/iso"
	"relive/remaster/bootedit"
	"relive/remaster/hostdisk"
	"relive/remaster/newfile"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/say"
)

// Run writes the image to a temporary file beside its place, makes it durable,
// reads it back and compares it with the tree and the recipe, and gives it its
// name.
func (p *Rebuild) Run(ctx context.Context) (*RebuildResult, error) {
	start := time.Now()
	res := &RebuildResult{Plan: p.Summary, Path: p.o.Output}
	if err := p.run(ctx, res); err != nil {
		return nil, refusal.DiskFullForISO(err)
	}
	res.Seconds = time.Since(start).Seconds()
	return res, nil
}

func (p *Rebuild) run(ctx context.Context, res *RebuildResult) (err error) {
	out, err := newfile.Create(p.o.Output, p.newFile())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Discard()) }()
	var implanted *iso.ImplantedMD5
	err = p.besideInput(ctx, func(ctx context.Context) (err error) {
		implanted, err = p.write(ctx, out.File, res)
		return err
	})
	if err != nil {
		return err
	}
	res.Plan = p.Summary // with what the check of the input has told
	return out.Commit(ctx, func(f *os.File) error {
		name := filepath.Base(p.o.Output)
		p.env.Phase("reading "+name+" back", res.Size)
		back := bootedit.ReadBack{Env: p.env, Name: name, Plan: p.plan, Recipe: p.recipe, Root: p.root, Left: p.Summary.Left,
			Implanted: implanted}
		if err := back.Run(ctx, f, res.Size); err != nil {
			return err
		}
		return p.unchanged()
	})
}

// besideInput runs fn, and meanwhile checks the sum that is implanted in the
// image that is read, where the new one is to get one: what is damaged is not
// given a sum that calls it sound.
func (p *Rebuild) besideInput(ctx context.Context, fn func(ctx context.Context) error) error {
	m, err := p.in.Image.ImplantedMD5()
	if err != nil {
		return err
	}
	if m == nil || !p.Summary.ImplantMD5 {
		return fn(ctx)
	}
	damaged := false
	g, within := errgroup.WithContext(ctx)
	g.Go(func() error {
		sum, err := p.in.Image.CheckMD5(within, nil)
		if err != nil || sum.Pass {
			return err
		}
		if damaged = true; !p.o.Force {
			return refusal.New(refusal.SumsDiffer, say.Check+" "+p.in.Path+
				" tells more; get the image anew, leave the sum out with "+say.ImplantMD5+"=false, or go on with "+say.Force,
				"%s is damaged, by the sum that is implanted in it", p.in.Path)
		}
		return nil
	})
	g.Go(func() error { return fn(within) })
	if err = g.Wait(); err == nil && damaged {
		p.warn("%s is damaged, by the sum that is implanted in it", p.in.Path)
	}
	return err
}

// newFile says how the image is made.
func (p *Rebuild) newFile() newfile.Options {
	o := newfile.Options{Force: p.o.Force, Kinds: probe.IsoKinds, Inputs: []string{p.in.Path}}
	for _, g := range append(slices.Clone(p.o.Replace), p.o.Add...) {
		o.Inputs = append(o.Inputs, g.Source)
	}
	return o
}

// write writes the image and implants its sum.
func (p *Rebuild) write(ctx context.Context, out *os.File, res *RebuildResult) (implanted *iso.ImplantedMD5, err error) {
	name := filepath.Base(p.o.Output)
	p.env.Phase("writing "+name, p.Summary.Size)
	rep, err := p.plan.Write(ctx, out, p.env.Done)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", p.o.Output, err)
	}
	res.Size = rep.Size
	if p.Summary.ImplantMD5 {
		p.env.Phase("implanting the MD5 sum", rep.Size)
		implanted, err = iso.ImplantMD5(ctx, out, rep.Size, name, p.supported, func(done, _ int64) { p.env.Done(done) })
		if err != nil {
			return nil, err
		}
		res.MD5 = implanted.Sum
	}
	p.env.Phase("syncing", 0)
	return implanted, nil
}

// unchanged is an error where a file that was read is not any more what it was.
func (p *Rebuild) unchanged() error {
	for path, then := range p.stamps {
		now, err := hostdisk.StampOf(path)
		if err != nil {
			return err
		}
		if now != then {
			return refusal.New(refusal.Changed, "begin again when nothing writes to it", "%s: changed while it was read", path)
		}
	}
	return p.in.unchanged()
}
