package remaster

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
	"relive/tree"
)

// implanted verifies the sum that implantisomd5 left.
func (c *isoCheck) implanted(ctx context.Context) error {
	r := c.report("implanted MD5 sum")
	started := false
	res, err := c.o.Image.CheckMD5(ctx, func(done, total int64) {
		if !started {
			c.env.phase("checking the implanted sum", total)
			started = true
		}
		c.env.done(done)
	})
	switch {
	case errors.Is(err, iso.ErrNoMD5):
		r.Detail = "none is implanted"
		return nil
	case err != nil && !damage(err):
		return err
	case err != nil:
		r.found("%v", err)
	case res.Pass:
		r.Detail = fmt.Sprintf("%s of %s", res.Sum, Bytes(res.Total))
	case res.Fragment > 0:
		r.found("it is wrong: the damage lies between bytes %d and %d", res.DamageFrom, res.Checked)
	case res.Checked < res.Total:
		r.found("it is wrong: the image ends after %d of %d bytes", res.Checked, res.Total)
	default:
		r.found("it is wrong: the damage lies behind byte %d", res.DamageFrom)
	}
	return nil
}

// inside verifies the lists of sums in the image.
func (c *isoCheck) inside(ctx context.Context) error {
	lists, err := findSumLists(ctx, c.o.Root)
	if err != nil {
		if damage(err) {
			c.report("lists of sums").found("%v", err)
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
		for _, line := range l.lines {
			if n, err := c.o.Root.Lookup(line.target); line.target != "" && err == nil && n != nil {
				total += n.Size
			}
		}
	}
	if total > 0 {
		c.env.phase("checking the lists of sums", total)
	}
	buf := make([]byte, 1<<20)
	var done int64
	progress := func(n int64) {
		done += n
		c.env.done(done)
	}
	for _, l := range lists {
		r := c.report(l.kind + " sums of " + tree.Quote(l.path))
		n, err := c.list(ctx, r, l, addressed, buf, progress)
		if err != nil {
			return err
		}
		switch {
		case n == 0 && l.unknown > 0:
			r.OK, r.Skipped = false, "it is not in a form that is known"
		default:
			if r.Detail != "" {
				r.Detail = ", " + r.Detail
			}
			r.Detail = plural(n, "file") + r.Detail
			if l.unknown > 0 {
				r.Detail += fmt.Sprintf(", and %s no sum", counted(l.unknown, "line that is", "lines that are"))
			}
		}
	}
	return nil
}

// list verifies one list, and gives how many files it is of.
func (c *isoCheck) list(ctx context.Context, r *CheckResult, l *sumsFile, addressed map[string]bool, buf []byte, progress func(int64)) (n int, err error) {
	for _, line := range l.lines {
		if line.target == "" || line.target == l.path {
			continue // no list can have its own sum
		}
		n++
		f, err := follow(c.o.Root, line.target)
		if err != nil && !damage(err) {
			return n, err
		}
		if err != nil || f == nil || f.Type != tree.Regular {
			r.found("%s: it is listed, and not there", tree.Quote(line.target))
			continue
		}
		sum, err := hashNode(ctx, f, l.kind, buf, progress)
		if err != nil {
			if !damage(err) {
				return n, err
			}
			r.found("%v", err)
			continue
		}
		if strings.EqualFold(sum, line.sum) {
			continue
		}
		if addressed[line.target] {
			// It is written anew for every image, most often after the list.
			r.Detail = tree.Quote(line.target) + " is another since it holds its own address"
			continue
		}
		r.found("%s: its sum is %s, and %s is listed", tree.Quote(line.target), sum, strings.ToLower(line.sum))
	}
	return n, nil
}

// addressed are the files that writing an image changes: boot images that hold
// their own address, and the boot catalogue.
func (c *isoCheck) addressed(ctx context.Context) (map[string]bool, error) {
	out := map[string]bool{}
	cat, err := c.o.Image.ElTorito()
	if err != nil || cat == nil {
		if err != nil && damage(err) {
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
	if err != nil && !damage(err) {
		return nil, err
	}
	for _, p := range paths {
		out[p] = true
	}
	return out, nil
}

// follow looks a path up in a tree, and follows symlinks in it.
func follow(root *tree.Node, p string) (*tree.Node, error) {
	const most = 40
	p = strings.Trim(path.Clean("/"+p), "/")
	for links := 0; ; {
		n, at := root, ""
		rest := p
		again := false
		for rest != "" && n != nil {
			var name string
			name, rest, _ = strings.Cut(rest, "/")
			child, err := n.Child(name)
			if err != nil || child == nil {
				return nil, err
			}
			if child.Type == tree.Symlink {
				if links++; links > most {
					return nil, nil
				}
				target := child.Target
				if !strings.HasPrefix(target, "/") {
					target = path.Join("/", at, target)
				}
				p, again = strings.Trim(path.Clean(path.Join(target, rest)), "/"), true
				break
			}
			n, at = child, tree.Join(at, name)
		}
		if !again {
			return n, nil
		}
	}
}

// beside verifies the sums that stand in files beside the image.
func (c *isoCheck) beside(ctx context.Context) error {
	dir, name := filepath.Split(c.o.Path)
	stem := strings.TrimSuffix(name, filepath.Ext(name))
	for _, kind := range sumKinds {
		upper := strings.ToUpper(kind) + "SUMS"
		for _, list := range []string{name + "." + kind, name + "." + kind + "sum", stem + "." + kind, upper, upper + ".txt", kind + "sum.txt", kind + "sums.txt"} {
			want, err := sumBeside(filepath.Join(dir, list), kind, name)
			if err != nil {
				return err
			}
			if want == "" {
				continue
			}
			r := c.report(kind + " sum in " + list)
			c.env.phase("checking "+list, c.o.content.Size())
			var done int64
			sum, err := hashNode(ctx, &tree.Node{Meta: tree.Meta{Type: tree.Regular, Size: c.o.content.Size()}, Data: hostContent(c.o.Path)}, kind, make([]byte, 1<<20), func(n int64) {
				done += n
				c.env.done(done)
			})
			if err != nil {
				return err
			}
			if r.Detail = sum; !strings.EqualFold(sum, want) {
				r.found("the sum is %s, and %s has %s", sum, list, strings.ToLower(want))
			}
		}
	}
	return nil
}

// sumBeside gives the sum that a list of the host has of a file, "" where there
// is none.
func sumBeside(list, kind, name string) (string, error) {
	st, err := os.Stat(list)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!st.Mode().IsRegular() || st.Size() > isoListMax) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(list)
	if err != nil {
		return "", err
	}
	l := &sumsFile{path: filepath.Base(list), kind: kind}
	l.parse(b)
	for _, line := range l.lines {
		// A list of this file alone may name it by a path that it once had.
		if line.target != "" && (path.Base(line.target) == name || len(l.lines) == 1 && strings.HasPrefix(filepath.Base(list), strings.TrimSuffix(name, filepath.Ext(name)))) {
			return line.sum, nil
		}
	}
	return "", nil
}
