package remaster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"relive/remaster/checksum"
	"relive/remaster/newfile"
	"relive/remaster/written"
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
	file, _, err := p.writeBase(ctx, out.File, out.Scratch, res)
	if err != nil {
		return err
	}
	var sums map[checksum.Kind]string
	err = out.Commit(ctx, func(*os.File) error {
		sums, err = p.readBack(ctx, file, out.Name(), res.NewSize)
		return err
	})
	if err != nil {
		return err
	}
	res.Path, res.MD5 = p.o.Output, sums[checksum.MD5]
	return nil
}

// runSwap makes all new files and puts them in place in one transaction.
func (p *CompactPlan) runSwap(ctx context.Context, res *CompactResult) (err error) {
	files := &p.live.files
	var sums map[checksum.Kind]string
	err = p.transact(ctx, "compact", func(t *transaction) error {
		path, err := t.temp(files.base)
		if err != nil {
			return err
		}
		var inner string
		var facts baseFacts
		facts, sums, err = p.makeBase(ctx, path, func() (string, error) {
			inner, err = t.scratch(files.base + ".inner")
			return inner, err
		}, res)
		if err != nil {
			return err
		}
		if inner != "" {
			if err := os.Remove(inner); err != nil {
				return err
			}
		}
		facts.packages = p.facts.packages
		return p.putCompanions(t, map[string]map[checksum.Kind]string{files.base: sums}, func(c companion) ([]byte, error) {
			return c.content(files.base, facts, sums), nil
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

// putCompanions makes the companions; see companionTexts.
func (p *CompactPlan) putCompanions(t *transaction, sums map[string]map[checksum.Kind]string, text func(c companion) ([]byte, error)) error {
	texts, err := p.companionTexts(sums, text)
	if err != nil {
		return err
	}
	for _, c := range p.companions {
		if err := t.text(c.name, texts[c.name]); err != nil {
			return err
		}
	}
	return nil
}

// makeBase writes the new base, makes it durable, reads it back and compares it
// with what it was made from. It gives the sums that companions need. scratch
// gives the path of a temporary file.
func (p *CompactPlan) makeBase(ctx context.Context, path string, scratch func() (string, error), res *CompactResult) (f baseFacts, sums map[checksum.Kind]string, err error) {
	out, err := createLike(path, p.live.Base.Path)
	if err != nil {
		return f, nil, err
	}
	defer out.Close()
	file, f, err := p.writeBase(ctx, out, scratch, res)
	if err != nil {
		return f, nil, err
	}
	if err := written.Settle(ctx, out); err != nil {
		return f, nil, fmt.Errorf("writing %s: %w", path, err)
	}
	if err := out.Close(); err != nil {
		return f, nil, fmt.Errorf("writing %s: %w", path, err)
	}
	sums, err = p.readBack(ctx, file, path, res.NewSize)
	return f, sums, err
}

// writeBase writes the new base, while what it is copied from is compared with
// its sums. It is to be synced next.
func (p *CompactPlan) writeBase(ctx context.Context, out *os.File, scratch func() (string, error), res *CompactResult) (file *written.File, f baseFacts, err error) {
	file = written.New(out)
	err = p.check.beside(ctx, func(ctx context.Context) (err error) {
		if res.NewSize, f, err = p.make.write(ctx, file, scratch); err != nil {
			err = fmt.Errorf("writing %s: %w", out.Name(), err)
		}
		return err
	})
	if err != nil {
		return nil, f, err
	}
	p.env.phase("syncing", 0)
	return file, f, nil
}
