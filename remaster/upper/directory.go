package upper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"relive/remaster/extract"
	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/readback"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/tree"
	"relive/tree/hostfs"
)

// planDirectories plans the directories that take the place of the present
// layers, and their work directories.
func (p *Plan) planDirectories(ctx context.Context, layers []newLayer) error {
	l, s := p.Live, &p.Summary
	for _, n := range layers {
		upper, work := filepath.Join(l.Rel(l.Overlay.Path), n.Upper), filepath.Join(l.Rel(l.Overlay.Path), n.Work)
		if len(l.Overlay.UnionLayers) == 0 {
			upper, work = l.Files.Overlay[0], l.Files.Overlay[1]
		}
		if n.Layer != nil {
			before, _, err := fillOf(ctx, n.Layer)
			if err != nil {
				return err
			}
			s.Before.Bytes, s.Before.Inodes = s.Before.Bytes+before.Bytes, s.Before.Inodes+before.Inodes
		}
		after, need, err := fillOf(ctx, n.Root)
		if err != nil {
			return err
		}
		s.After.Bytes, s.After.Inodes = s.After.Bytes+after.Bytes, s.After.Inodes+after.Inodes
		at := filepath.Join(l.Dir, upper)
		if n.Layer == nil {
			kids, err := n.Root.Children()
			if err != nil {
				return err
			}
			if len(kids) == 0 {
				continue
			}
			if !live.IsDir(l.Place, filepath.Dir(at)) {
				return refusal.New(refusal.NotFound, "boot once with persistence, so that it is made",
					"%s: there is no such directory, into which what /%s is to show would go", filepath.Dir(at), n.Dir)
			}
		}
		// A layer may meet an empty work directory, but not one of another layer.
		if hostdisk.Exists(filepath.Join(l.Dir, work)) {
			p.Parts = append(p.Parts, replace.EmptyDirectory(work, filepath.Join(l.Dir, work)))
		}
		p.Parts = append(p.Parts, replace.Part{Target: upper, Need: need, Make: func(ctx context.Context, at string) error {
			if err := writeLayer(ctx, at, n.Root); err != nil {
				return err
			}
			root, err := hostfs.Open(at)
			if err != nil {
				return err
			}
			if err := readback.Equal(ctx, at, n.Root, root, tree.CompareOptions{Links: true}); err != nil {
				return err
			}
			return p.checkShown(ctx, at, root, n)
		}})
	}
	return nil
}

// fillOf counts what a layer holds, and what that takes on the host. A file is
// counted once, with all its names.
func fillOf(ctx context.Context, root *tree.Node) (f Fill, need int64, err error) {
	const unit = 4096 // of most file systems, and what a directory takes
	seen := map[tree.Inode]bool{}
	err = tree.Walk(ctx, root, func(_ string, n *tree.Node) error {
		if n.Type != tree.Directory && n.Nlink > 1 && n.Inode != (tree.Inode{}) {
			if seen[n.Inode] {
				return nil
			}
			seen[n.Inode] = true
		}
		f.Inodes++
		f.Bytes += n.Size
		need += unit + (n.Size+unit-1)/unit*unit
		return nil
	})
	return f, need, err
}

// writeLayer writes a layer to a directory that is not there yet, with all its
// attributes. What cannot be made is an error.
func writeLayer(ctx context.Context, dir string, root *tree.Node) error {
	rep, err := extract.Tree(ctx, root, dir, extract.Options{})
	if err != nil {
		return err
	}
	if len(rep.Left) > 0 {
		return fmt.Errorf("%s: %s", dir, rep.Left[0])
	}
	return setXattrs(ctx, dir, root)
}

// setXattrs returns the files of a directory, which no one else works in, the
// attributes that a tree has for them. Their times stay.
func setXattrs(ctx context.Context, dir string, root *tree.Node) error {
	top, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer top.Close()
	seen := map[tree.Inode]bool{}
	return tree.Walk(ctx, root, func(name string, n *tree.Node) error {
		if len(n.Xattrs) == 0 {
			return nil
		}
		if n.Type != tree.Directory && n.Nlink > 1 && n.Inode != (tree.Inode{}) {
			if seen[n.Inode] {
				return nil
			}
			seen[n.Inode] = true
		}
		for _, x := range n.Xattrs {
			err := replace.SetXattrAt(top, name, x.Name, x.Value)
			if errors.Is(err, unix.EOPNOTSUPP) && strings.HasPrefix(x.Name, "system.") {
				err = fmt.Errorf("%w: the file system holds no ACLs", err)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
