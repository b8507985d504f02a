package compact

import (
	"context"
	"errors"
	"os"
	"time"

	"relive/remaster/checksum"
	"relive/remaster/live"
	"relive/remaster/newfile"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/say"
)

// Run does what the plan says.
func (p *Plan) Run(ctx context.Context) (*Result, error) {
	start := time.Now()
	res := &Result{OldSize: p.live.Base.Size}
	var err error
	if p.Summary.NothingToDo {
		res.NewSize, res.Path = res.OldSize, p.live.Base.Path
		res.Plan, res.Warnings = p.Summary, p.Summary.Warnings
		return res, nil
	}
	if p.o.Output != "" {
		err = p.runOutput(ctx, res)
	} else {
		err = p.runSwap(ctx, res)
	}
	if err != nil {
		return nil, refusal.DiskFull(err, refusal.NothingChanged, ", or use "+say.Output+" to write the new base to another disk",
			". Choose a stronger codec with "+say.Codec)
	}
	res.Seconds = time.Since(start).Seconds()
	res.Plan, res.Warnings = p.Summary, p.Summary.Warnings // the run may have added some
	return res, nil
}

// runOutput writes the new base to a file of its own.
func (p *Plan) runOutput(ctx context.Context, res *Result) (err error) {
	out, err := newfile.Create(p.o.Output, p.newFile())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Discard()) }()
	file, size, _, err := p.base.WriteBase(ctx, out.File, out.Scratch)
	if err != nil {
		return err
	}
	var sums map[checksum.Kind]string
	err = out.Commit(ctx, func(*os.File) error {
		sums, err = p.base.ReadBack(ctx, file, out.Name(), size, nil)
		return err
	})
	if err != nil {
		return err
	}
	res.Path, res.NewSize, res.MD5 = p.o.Output, size, sums[checksum.MD5]
	return nil
}

// runSwap makes all new files and puts them in place in one transaction.
func (p *Plan) runSwap(ctx context.Context, res *Result) (err error) {
	base := p.live.Files.Base
	var sums map[checksum.Kind]string
	err = p.swap.Run(ctx, func(t *replace.Transaction) error {
		path, err := t.Temp(base)
		if err != nil {
			return err
		}
		var inner string
		var facts live.Facts
		res.NewSize, facts, sums, err = p.base.MakeBase(ctx, path, func() (string, error) {
			inner, err = t.Scratch(base + ".inner")
			return inner, err
		}, p.swap.SumKinds(base))
		if err != nil {
			return err
		}
		if inner != "" {
			if err := os.Remove(inner); err != nil {
				return err
			}
		}
		facts.Packages = p.swap.Packages
		return p.swap.PutCompanions(t, map[string]map[checksum.Kind]string{base: sums}, func(c live.Companion) ([]byte, error) {
			return c.Content(base, facts, sums), nil
		})
	})
	if err != nil {
		return err
	}
	res.Path, res.MD5 = p.live.Base.Path, sums[checksum.MD5]
	if p.o.Stage {
		res.Path += ".new"
	}
	return nil
}
