package remaster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"relive/dmmerge"
	"relive/extfs/mkfs"
	"relive/remaster/hostdisk"
	"relive/remaster/written"
	"relive/tree"
	"relive/tree/hostfs"
)

// freshSnapshot plans an empty COW of the size and chunk size of the overlay's.
// Where the host has set all of the old one's space aside it does so for the
// new one: a COW that meets a full disk is lost.
func (p *CompactPlan) freshSnapshot(o *Overlay, target string) (part, error) {
	s := o.Snapshot
	chunk := s.COW.Header().ChunkSectors // 0 where it was never used, and is not again
	// One that filling up would invalidate is not made again.
	size, err := dmmerge.GoodSize(s.Size, uint32(s.COW.ChunkBytes()/512))
	if err != nil {
		return part{}, fmt.Errorf("the new %s: %w", target, err)
	}
	if size != s.Size {
		p.warn("the new %s has %s, since a COW of the size of the old one is invalidated when it fills up", target, Bytes(size))
	}
	whole := s.Allocated >= s.Size
	sparse, err := hostdisk.HoldsHoles(p.live.Dir)
	if err != nil || !sparse {
		whole = true
	}
	need := int64(64 << 10)
	if whole {
		need = size
	}
	return part{target: target, need: need, make: func(ctx context.Context, path string) (err error) {
		out, err := createLike(path, o.Path)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, out.Close()) }()
		file := written.New(out)
		if err := dmmerge.Create(file, size, chunk); err != nil {
			return err
		}
		if whole {
			if err := setAsideSpace(out, size); err != nil {
				return err
			}
		}
		if err := written.Settle(ctx, out); err != nil {
			return err
		}
		if err := holds(ctx, file, path); err != nil {
			return err
		}
		fresh, err := dmmerge.Open(out, size, target)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrReadBack, err)
		}
		if fresh.Exceptions() != 0 {
			return fmt.Errorf("%w: it has %d entries", ErrReadBack, fresh.Exceptions())
		}
		return nil
	}}, nil
}

// setAsideSpace has the host set a file's space aside. A file system that
// cannot has done so by itself, or has no holes.
func setAsideSpace(f *os.File, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return nil
		case err != nil:
			return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
		default:
			return nil
		}
	}
}

// freshLayer plans an empty overlay of the kind that the present one is: an
// image, or a directory and its work directory of that name.
func (p *CompactPlan) freshLayer(o *Overlay, target, work string) ([]part, error) {
	if o.Image != nil {
		root, err := emptied(o, p.now)
		if err != nil {
			return nil, err
		}
		pt, err := p.freshImage(o, target, root)
		return []part{pt}, err
	}
	return []part{emptyDirectory(target, o.Path), emptyDirectory(work, o.WorkPath)}, nil
}

// emptied is the tree of an overlay's image without the layer: its root and
// everything beside the layer as it is, upper and work empty.
func emptied(o *Overlay, now tree.Time) (*tree.Node, error) {
	root, err := o.Image.FS.Root()
	if err != nil {
		return nil, err
	}
	return emptyAt(root, now, o.upper, o.work)
}

// emptyAt is a tree in which those directories are empty.
func emptyAt(root *tree.Node, now tree.Time, dirs ...string) (*tree.Node, error) {
	var edits tree.Edits
	for _, name := range dirs {
		n, err := directoryAt(root, name)
		if err != nil {
			return nil, err
		}
		fresh := tree.NewDir("", 0o755)
		fresh.Mtime = now
		if n != nil {
			fresh.Meta, fresh.Xattrs = n.Meta, n.Xattrs.Filter(func(x tree.Xattr) bool { return !isMark(x.Name) })
		}
		edits.Put(name, fresh)
	}
	return edits.Apply(root)
}

// isMark tells an attribute that overlayfs itself sets on a layer's directory.
func isMark(name string) bool {
	return strings.HasPrefix(name, overlayMarks)
}

const overlayMarks = "trusted.overlay."

// flatOverlay plans the overlay that goes with a flattened base in the place of
// a COW: an ext4 image of that size that holds the directories that dracut
// looks for.
func (p *CompactPlan) flatOverlay(o *Overlay, target string) (part, error) {
	upper, work := tree.NewDir(liveosUpper, 0o755), tree.NewDir(liveosWork, 0o755)
	root := tree.NewDir("", 0o755, upper, work)
	for _, n := range []*tree.Node{root, upper, work} {
		n.Mtime = p.now
	}
	// The root of the layer is that of the system.
	upper.Meta, upper.Xattrs = p.system.Meta, p.system.Xattrs
	f := &freshImage{name: filepath.Base(target), root: root, options: mkfs.Options{
		Name: filepath.Base(target), Size: o.Snapshot.Size >> 10 << 10, Time: p.now}}
	if _, err := mkfs.Measure(context.Background(), root, f.options); err != nil {
		return part{}, err
	}
	need := min(o.Snapshot.Size, 2<<20+o.Snapshot.Size/16)
	return part{target: target, need: need, make: func(ctx context.Context, path string) error {
		if err := f.build(ctx, path, o.Path); err != nil {
			return err
		}
		return f.check(ctx, path)
	}}, nil
}

// emptyDirectory plans an empty directory with the owner, mode and attributes
// of the one that it takes the place of.
func emptyDirectory(target, former string) part {
	return part{target: target, need: 4096, make: func(_ context.Context, path string) error {
		var st unix.Stat_t
		if err := unix.Stat(former, &st); err != nil {
			return &os.PathError{Op: "stat", Path: former, Err: err}
		}
		mtime, err := hostfs.Mtime(former, &st)
		if err != nil {
			return err
		}
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		if err := copyXattrs(path, former); err != nil {
			return err
		}
		if err := os.Chown(path, int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
		if err := unix.Chmod(path, st.Mode&0o7777); err != nil {
			return err
		}
		return hostfs.SetTimes(unix.AT_FDCWD, path, mtime)
	}}
}

// copyXattrs gives a directory the attributes of another, but for the marks of
// overlayfs.
func copyXattrs(to, from string) error {
	root, err := hostfs.Open(from)
	if err != nil {
		return err
	}
	for _, x := range root.Xattrs {
		if isMark(x.Name) {
			continue
		}
		if err := unix.Lsetxattr(to, x.Name, []byte(x.Value), 0); err != nil {
			return &os.PathError{Op: "setxattr " + x.Name, Path: to, Err: err}
		}
	}
	return nil
}
