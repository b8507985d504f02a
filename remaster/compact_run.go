package remaster

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"relive/remaster/checksum"
	"relive/remaster/newfile"
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
		return nil, spaceHint(err, nothingChanged, ", or use -o to write the new base to another disk", ". Choose a stronger codec with --comp")
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

// createLike makes a new file with the mode and owner of the one that it is to
// take the place of. Where the file system or the user may not set them, the
// file has what a new file gets.
func createLike(path, former string) (*os.File, error) {
	st, err := os.Stat(former)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, st.Mode().Perm())
	if err != nil {
		return nil, err
	}
	if owner, ok := st.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(owner.Uid), int(owner.Gid))
	}
	_ = f.Chmod(st.Mode().Perm()) // past the umask
	return f, nil
}
