package remaster

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"relive/remaster/swap"
	"relive/squash"
)

// Run does what the plan says.
func (p *CompactPlan) Run(ctx context.Context) (*CompactResult, error) {
	start := time.Now()
	res := &CompactResult{Plan: p.Summary, OldSize: p.live.Base.Size, Warnings: p.Summary.Warnings}
	var err error
	if p.o.Output != "" {
		err = p.runOutput(ctx, res)
	} else {
		err = p.runSwap(ctx, res)
	}
	if err != nil {
		return nil, spaceHint(err)
	}
	res.Seconds = time.Since(start).Seconds()
	return res, nil
}

// runOutput writes the new base to a file of its own.
func (p *CompactPlan) runOutput(ctx context.Context, res *CompactResult) error {
	temp := p.o.Output + ".relive-tmp"
	// A file of that name is what an interrupted run has left.
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, sum, err := p.makeBase(ctx, temp, res)
	if err == nil {
		err = os.Rename(temp, p.o.Output)
	}
	if err == nil {
		err = swap.OS{}.SyncDir(filepath.Dir(p.o.Output))
	}
	if err != nil {
		os.Remove(temp)
		return err
	}
	res.Path, res.MD5 = p.o.Output, sum
	return nil
}

// runSwap makes all new files and puts them in place in one transaction.
func (p *CompactPlan) runSwap(ctx context.Context, res *CompactResult) (err error) {
	txn, err := swap.Begin(swap.OS{}, p.live.Dir, swap.Info{Verb: "compact", Started: time.Now(), Tool: p.env.Tool})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, swap.ErrUnfinished) {
			err = errors.Join(err, txn.Abort())
		}
	}()
	var f newFiles
	path, err := txn.Temp(antixBase)
	if err != nil {
		return err
	}
	f.base = txn.Name(path)
	rep, sum, err := p.makeBase(ctx, path, res)
	if err != nil {
		return err
	}
	if f.md5, err = p.small(txn, antixMD5, fmt.Sprintf("%s  %s\n", sum, antixBase)); err != nil {
		return err
	}
	content := p.write.Stats.Bytes + rep.TableBytes
	if f.info, err = p.small(txn, antixInfo, fmt.Sprintf("UncompressedSizeKB=%d\n", (content+1023)/1024)); err != nil {
		return err
	}
	if p.fresh != nil {
		if path, err = txn.Temp(antixRoot); err != nil {
			return err
		}
		f.root = txn.Name(path)
		p.env.phase("new rootfs", 0)
		if err := p.fresh.build(ctx, path, p.live.Overlay.Path); err != nil {
			return err
		}
		if err := p.fresh.check(ctx, path); err != nil {
			return err
		}
	}
	// It may have taken minutes, in which somebody may have mounted the files.
	if err := p.checkInUse(!p.o.Stage); err != nil {
		return err
	}
	if err := p.live.unchanged(); err != nil {
		return err
	}
	p.env.phase("putting the new files in place", 0)
	txn.Plan(p.steps(f)...)
	if err := txn.Commit(ctx); err != nil {
		return err
	}
	res.Path, res.MD5 = p.live.Base.Path, sum
	if p.o.Stage {
		res.Path += ".new"
	}
	return nil
}

// small writes a small temporary file.
func (p *CompactPlan) small(txn *swap.Txn, name, text string) (string, error) {
	path, err := txn.Temp(name)
	if err != nil {
		return "", err
	}
	return txn.Name(path), os.WriteFile(path, []byte(text), 0o644)
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

// makeBase writes the new base, makes it durable, reads it back and compares
// it with the tree that it was made from.
func (p *CompactPlan) makeBase(ctx context.Context, path string, res *CompactResult) (*squash.WriteReport, string, error) {
	create := func() (*os.File, error) { return createLike(path, p.live.Base.Path) }
	if p.o.Output != "" {
		create = func() (*os.File, error) { return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o666) }
	}
	out, err := create()
	if err != nil {
		return nil, "", err
	}
	defer out.Close()
	st := &p.write.Stats
	p.env.phase("writing linuxfs", st.CopyBytes+st.CompressBytes)
	p.write.OnProgress(func(w squash.WriteProgress) { p.env.done(w.Copied + w.Compressed) })
	rep, err := p.write.Write(ctx, out, 0)
	if err != nil {
		return nil, "", fmt.Errorf("writing %s: %w", path, err)
	}
	p.env.phase("syncing", 0)
	if err := out.Sync(); err != nil {
		return nil, "", fmt.Errorf("writing %s: %w", path, err)
	}
	dropCache(out)
	if err := out.Close(); err != nil {
		return nil, "", fmt.Errorf("writing %s: %w", path, err)
	}
	sum, err := p.readBack(ctx, path)
	if err != nil {
		return nil, "", err
	}
	res.NewSize = rep.Size
	return rep, hex.EncodeToString(sum), nil
}
