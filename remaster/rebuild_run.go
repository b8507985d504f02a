package remaster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"relive/iso"
	"relive/remaster/swap"
	"relive/remaster/written"
)

// Run writes the image to a temporary file beside its place, makes it durable,
// reads it back and compares it with the tree and the recipe, and gives it its
// name.
func (p *RebuildPlan) Run(ctx context.Context) (*RebuildResult, error) {
	start := time.Now()
	res := &RebuildResult{Plan: p.Summary, Path: p.o.Output}
	temp := tempName(p.o.Output)
	out, err := lockTemp(temp)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	err = p.write(ctx, out, res)
	if err == nil {
		err = p.unchanged()
	}
	if err == nil {
		err = p.rename(temp)
	}
	if err != nil {
		os.Remove(temp)
		return nil, isoSpaceHint(err)
	}
	if err := (swap.OS{}).SyncDir(filepath.Dir(p.o.Output)); err != nil {
		return nil, err
	}
	res.Seconds = time.Since(start).Seconds()
	return res, nil
}

// lockTemp makes the temporary file, in place of one that an interrupted run has
// left. One that is being written is a Refusal.
func lockTemp(temp string) (*os.File, error) {
	for range 3 {
		f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o666)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, refuse("wait until the other relive is done", "%s: another relive writes it", temp)
		}
		// Between the two steps another run may have given it its name or removed it.
		st, err := f.Stat()
		if err == nil {
			var now os.FileInfo
			if now, err = os.Lstat(temp); err == nil && os.SameFile(st, now) {
				if !st.Mode().IsRegular() {
					err = fmt.Errorf("%s: not a file", temp)
				} else if err = f.Truncate(0); err == nil {
					return f, nil
				}
				f.Close()
				return nil, err
			}
		}
		f.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, refuse("wait until the other relive is done", "%s: another relive writes it", temp)
}

// write writes, implants and checks the image.
func (p *RebuildPlan) write(ctx context.Context, out *os.File, res *RebuildResult) error {
	name := filepath.Base(p.o.Output)
	p.env.phase("writing "+name, p.Summary.Size)
	rep, err := p.plan.Write(ctx, out, p.env.done)
	if err != nil {
		return fmt.Errorf("writing %s: %w", p.o.Output, err)
	}
	res.Size = rep.Size
	var implanted *iso.ImplantedMD5
	if p.Summary.ImplantMD5 {
		p.env.phase("implanting the MD5 sum", rep.Size)
		m, err := iso.ImplantMD5(ctx, out, rep.Size, name, p.supported, func(done, _ int64) { p.env.done(done) })
		if err != nil {
			return err
		}
		res.MD5, implanted = m.Sum, m
	}
	p.env.phase("syncing", 0)
	if err := written.Settle(ctx, out); err != nil {
		return fmt.Errorf("writing %s: %w", p.o.Output, err)
	}
	p.env.phase("reading "+name+" back", rep.Size)
	back := isoReadBack{env: p.env, name: name, plan: p.plan, recipe: p.recipe, root: p.root, left: p.Summary.Left, implanted: implanted}
	return back.run(ctx, out, rep.Size)
}

// unchanged is an error where a file that was read is not any more what it was.
func (p *RebuildPlan) unchanged() error {
	for path, then := range p.stamps {
		now, err := stampOf(path)
		if err != nil {
			return err
		}
		if now != then {
			return refuse("begin again when nothing writes to it", "%s: changed while it was read", path)
		}
	}
	return p.in.unchanged()
}

// rename gives the image its name.
func (p *RebuildPlan) rename(temp string) error {
	if p.o.Force {
		return os.Rename(temp, p.o.Output)
	}
	err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, p.o.Output, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // not on this file system
		if _, err := os.Lstat(p.o.Output); err != nil {
			return os.Rename(temp, p.o.Output)
		}
		err = unix.EEXIST
	}
	if errors.Is(err, unix.EEXIST) {
		return refuse("name another file, or use --force to replace it", "%s: exists already", p.o.Output)
	}
	return err
}

// isoSpaceHint adds to a full disk's error what can be done.
func isoSpaceHint(err error) error {
	return spaceHint(err, nothingChanged, ", or write to another disk", ". Write to another disk")
}
