package isoedit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"relive/iso"
	"relive/remaster/bootedit"
	"relive/remaster/bytesize"
	"relive/remaster/checksum"
	"relive/remaster/sumlist"
	"relive/remaster/verify"
	"relive/tree"
)

// implanted verifies the sum that implantisomd5 left.
func (c *isoCheck) implanted(ctx context.Context) error {
	r := c.report("implanted MD5 sum")
	started := false
	res, err := c.o.Image.CheckMD5(ctx, func(done, total int64) {
		if !started {
			c.env.Phase("checking the implanted sum", total)
			started = true
		}
		c.env.Done(done)
	})
	switch {
	case errors.Is(err, iso.ErrNoMD5):
		r.Detail = "none is implanted"
		return nil
	case err != nil && !tree.IsDamage(err):
		return err
	case err != nil:
		found(r, "%v", err)
	case res.Pass:
		r.Detail = fmt.Sprintf("%s of %s", res.Sum, bytesize.Format(res.Total))
	case res.Fragment > 0:
		found(r, "it is wrong: the damage lies between bytes %d and %d", res.DamageFrom, res.Checked)
	case res.Checked < res.Total:
		found(r, "it is wrong: the image ends after %d of %d bytes", res.Checked, res.Total)
	default:
		found(r, "it is wrong: the damage lies behind byte %d", res.DamageFrom)
	}
	return nil
}

// inside verifies the lists of sums in the image.
func (c *isoCheck) inside(ctx context.Context) error {
	lists, err := sumlist.Find(ctx, c.o.Root)
	if err != nil {
		if tree.IsDamage(err) {
			found(c.report("lists of sums"), "%v", err)
			return nil
		}
		return err
	}
	addressed, err := c.addressed(ctx)
	if err != nil {
		return err
	}
	var total int64
	for _, l := range lists {
		for _, target := range l.Targets {
			if n, err := c.o.Root.Lookup(target); target != "" && err == nil && n != nil {
				total += n.Size
			}
		}
	}
	if total > 0 {
		c.env.Phase("checking the lists of sums", total)
	}
	var done int64
	progress := func(n int64) {
		done += n
		c.env.Done(done)
	}
	for _, l := range lists {
		r := c.report(strings.TrimSpace(string(l.Kind) + " sums of " + tree.Quote(l.Name)))
		n, err := c.list(ctx, r, l, addressed, progress)
		if err != nil {
			return err
		}
		switch {
		case n == 0 && l.Unknown > 0:
			r.OK, r.Skipped = false, "it is not in a form that is known"
		default:
			if r.Detail != "" {
				r.Detail = ", " + r.Detail
			}
			r.Detail = plural(n, "file") + r.Detail
			if l.Unknown > 0 {
				r.Detail += fmt.Sprintf(", and %s no sum", counted(l.Unknown, "line that is", "lines that are"))
			}
		}
	}
	return nil
}

// list verifies one list, and gives how many files it is of.
func (c *isoCheck) list(ctx context.Context, r *verify.Result, l *sumlist.List, addressed map[string]bool, progress func(int64)) (n int,
	err error) {
	for i, target := range l.Targets {
		line := &l.Lines[i]
		if target == "" || target == l.Name {
			continue // no list can have its own sum
		}
		n++
		f, err := sumlist.Resolve(c.o.Root, target)
		if err != nil && !tree.IsDamage(err) {
			return n, err
		}
		if err != nil || f == nil || f.Type != tree.Regular {
			found(r, "%s: it is listed, and not there", tree.Quote(target))
			continue
		}
		sum, err := sumlist.HashNode(ctx, f, line.Kind, progress)
		if err != nil {
			if !tree.IsDamage(err) {
				return n, err
			}
			found(r, "%v", err)
			continue
		}
		if line.Is(sum) {
			continue
		}
		if addressed[target] {
			// It is written anew for every image, most often after the list.
			r.Detail = tree.Quote(target) + " is another since it holds its own address"
			continue
		}
		found(r, "%s: its sum is %s, and %s is listed", tree.Quote(target), sum, strings.ToLower(line.Sum))
	}
	return n, nil
}

// addressed are the files that writing an image changes: boot images that hold
// their own address, and the boot catalogue.
func (c *isoCheck) addressed(ctx context.Context) (map[string]bool, error) {
	out := map[string]bool{}
	cat, err := c.o.Image.ElTorito()
	if err != nil || cat == nil {
		if err != nil && tree.IsDamage(err) {
			err = nil
		}
		return out, err
	}
	sectors := []uint32{cat.Catalog}
	for _, e := range cat.Entries {
		if e.BootInfo != nil || e.Grub2Info {
			sectors = append(sectors, e.Block)
		}
	}
	paths, err := c.o.Image.PathsAt(ctx, sectors...)
	if err != nil && !tree.IsDamage(err) {
		return nil, err
	}
	for _, p := range paths {
		out[p] = true
	}
	return out, nil
}

// beside verifies the sums that stand in files beside the image.
func (c *isoCheck) beside(ctx context.Context) error {
	dir, name := filepath.Split(c.o.Path)
	entries, err := os.ReadDir(filepath.Clean(dir + "."))
	if errors.Is(err, fs.ErrPermission) {
		return nil // what cannot be seen tells nothing
	}
	if err != nil {
		return err
	}
	for _, d := range entries {
		kind, ok := checksum.Named(d.Name())
		if !ok {
			continue
		}
		line, err := lineBeside(filepath.Join(dir, d.Name()), kind, name)
		if err != nil {
			return err
		}
		if line == nil {
			continue
		}
		r := c.report(string(line.Kind) + " sum in " + d.Name())
		c.env.Phase("checking "+d.Name(), c.o.content.Size())
		var done int64
		sum, err := sumlist.HashNode(ctx, &tree.Node{Meta: tree.Meta{Type: tree.Regular, Size: c.o.content.Size()},
			Data: bootedit.HostContent(c.o.Path)}, line.Kind, func(n int64) {
			done += n
			c.env.Done(done)
		})
		if err != nil {
			return err
		}
		if r.Detail = sum; !line.Is(sum) {
			found(r, "the sum is %s, and %s has %s", sum, d.Name(), strings.ToLower(line.Sum))
		}
	}
	return nil
}

// lineBeside returns the line that a list of the host has of a file, nil where
// there is none.
func lineBeside(list string, kind checksum.Kind, name string) (*checksum.Line, error) {
	st, err := os.Stat(list)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!st.Mode().IsRegular() || st.Size() > checksum.MaxList) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(list)
	if err != nil {
		return nil, err
	}
	l := checksum.Parse(filepath.Base(list), kind, b)
	// A list of this file alone may name it by a path that it once had.
	alone := l.Sums() == 1 && strings.HasPrefix(filepath.Base(list), sumlist.Stem(name))
	for i := range l.Lines {
		line := &l.Lines[i]
		if at := l.Target(line, func(at string) bool { return at == name }); at != "" && path.Base(at) == name || line.Kind != "" && alone {
			return line, nil
		}
	}
	return nil, nil
}
