package remaster

import (
	"context"
	"errors"
	"os"
	"time"

	"relive/remaster/checksum"
	"relive/remaster/newfile"
	"relive/remaster/refusal"
)

// Run does what the plan says.
func (p *CompactPlan) Run(ctx context.Context) (*CompactResult, error) {
	start := time.Now()
	res := &CompactResult{OldSize: p.live.Base.Size}
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
		return nil, refusal.DiskFull(err, refusal.NothingChanged, ", or use -o to write the new base to another disk", ". Choose a stronger codec with --comp")
	}
	res.Seconds = time.Since(start).Seconds()
	res.Plan, res.Warnings = p.Summary, p.Summary.Warnings // the run may have added some
	return res, nil
}

// runOutput writes the new base to a file of its own.
func (p *CompactPlan) runOutput(ctx context.Context, res *CompactResult) (err error) {
	out, err := newfile.Create(p.o.Output, p.newFile())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Discard()) }()
	file, size, _, err := p.base.writeBase(ctx, out.File, out.Scratch)
	if err != nil {
		return err
	}
	var sums map[checksum.Kind]string
	err = out.Commit(ctx, func(*os.File) error {
		sums, err = p.base.readBack(ctx, file, out.Name(), size, nil)
		return err
	})
	if err != nil {
		return err
	}
	res.Path, res.NewSize, res.MD5 = p.o.Output, size, sums[checksum.MD5]
	return nil
}

// runSwap makes all new files and puts them in place in one transaction.
func (p *CompactPlan) runSwap(ctx context.Context, res *CompactResult) (err error) {
	base := p.live.files.base
	var sums map[checksum.Kind]string
	err = p.swap.run(ctx, func(t *transaction) error {
		path, err := t.temp(base)
		if err != nil {
			return err
		}
		var inner string
		var facts baseFacts
		res.NewSize, facts, sums, err = p.base.makeBase(ctx, path, func() (string, error) {
			inner, err = t.scratch(base + ".inner")
			return inner, err
		}, p.swap.sumKinds(base))
		if err != nil {
			return err
		}
		if inner != "" {
			if err := os.Remove(inner); err != nil {
				return err
			}
		}
		facts.packages = p.swap.packages
		return p.swap.putCompanions(t, map[string]map[checksum.Kind]string{base: sums}, func(c companion) ([]byte, error) {
			return c.content(base, facts, sums), nil
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
