package replace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"relive/dmmerge"
	"relive/extfs/mkfs"
	"relive/overlay"
	"relive/remaster/bytesize"
	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/readback"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/written"
	"relive/tree"
	"relive/tree/hostfs"
)

// Part is a file or directory of a live directory that is made anew.
type Part struct {
	Target string // its name in the live directory
	Need   int64  // bytes that it takes on the host
	Make   func(ctx context.Context, path string) error
}

// Fresh says what a new overlay is made for.
type Fresh struct {
	Live    *live.Live
	System  *tree.Node // what the base below it shows
	Version []byte     // the text of the version file of that
	Now     tree.Time  // that all that is made carries
	Flatten bool       // a base of files takes the place of one that holds an image
	Keep    bool       // the layer stays, stamped for the base
	Warn    func(format string, args ...any)
}

// Parts are what takes the place of an overlay that a new base has taken up: one
// of its form that holds nothing, but for what a boot itself puts there.
func (f *Fresh) Parts() ([]Part, error) {
	o, names, traits := f.Live.Overlay, f.Live.Files.Overlay, f.Live.Layout.Traits()
	switch {
	case traits.VersionIDs:
		pt, err := f.stamped(o, names[0])
		return []Part{pt}, err
	case o.ByConf && len(o.Layers) == 0:
		return nil, nil // no union, nothing to empty
	case o.ByConf:
		return f.unions(o)
	case o.COW == nil:
		work := ""
		if len(names) > 1 {
			work = names[1]
		}
		return f.layer(o, names[0], work)
	case f.Flatten && traits.FlatOverlay != "":
		return nil, refusal.New(refusal.UnsupportedForm, "compact without "+say.Flatten+", or use "+say.Output,
			"%s: a flattened %s base takes its changes from "+
				"%s, not from %s", f.Live.Dir, f.Live.Layout.Name(), traits.FlatOverlay, o.Name())
	case f.Flatten:
		// Above a flattened base only overlayfs works.
		pt, err := f.flat(o, names[0])
		return []Part{pt}, err
	}
	pt, err := f.cow(o, names[0])
	return []Part{pt}, err
}

// stamped plans the image of an overlay that belongs to the new base by its
// version id: an empty one, or the present one with another stamp.
func (f *Fresh) stamped(o *live.Overlay, target string) (Part, error) {
	var root *tree.Node
	var err error
	if f.Keep {
		root, err = restamped(o, f.Version, f.Now)
	} else {
		root, err = stampedRootfs(o, f.System, f.Version, f.Now)
	}
	if err != nil {
		return Part{}, err
	}
	return f.image(o, target, root)
}

// cow plans an empty COW of the size and chunk size of the overlay's.
// Where the host has set all of the old one's space aside it does so for the
// new one: a COW that meets a full disk is lost.
func (f *Fresh) cow(o *live.Overlay, target string) (Part, error) {
	s := o.COW
	chunk := s.Store.Header().ChunkSectors // 0 where it was never used, and is not again
	// One that filling up would invalidate is not made again.
	size, err := dmmerge.GoodSize(s.Size, uint32(s.Store.ChunkBytes()/512))
	if err != nil {
		return Part{}, fmt.Errorf("the new %s: %w", target, err)
	}
	if size != s.Size {
		f.Warn("the new %s has %s, since a COW of the size of the old one is invalidated when it fills up", target, bytesize.Format(size))
	}
	whole := s.Allocated >= s.Size
	sparse, err := hostdisk.HoldsHoles(filepath.Dir(o.Path))
	if err != nil || !sparse {
		whole = true
	}
	need := int64(64 << 10)
	if whole {
		need = size
	}
	return Part{Target: target, Need: need, Make: func(ctx context.Context, path string) (err error) {
		out, err := hostdisk.CreateLike(path, o.Path)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, out.Close()) }()
		file := written.New(out)
		if err := dmmerge.Create(file, size, chunk); err != nil {
			return err
		}
		if whole {
			if err := hostdisk.Preallocate(out, size); err != nil {
				return err
			}
		}
		if err := written.Settle(ctx, out); err != nil {
			return err
		}
		if err := readback.SameBytes(ctx, file, path); err != nil {
			return err
		}
		fresh, err := dmmerge.Open(out, size, target)
		if err != nil {
			return fmt.Errorf("%w: %w", readback.Err, err)
		}
		if fresh.Exceptions() != 0 {
			return fmt.Errorf("%w: it has %d entries", readback.Err, fresh.Exceptions())
		}
		return nil
	}}, nil
}

// layer plans an empty overlay of the kind that the present one is: an
// image, or a directory and its work directory of that name.
func (f *Fresh) layer(o *live.Overlay, target, work string) ([]Part, error) {
	if o.Image != nil {
		root, err := emptied(o, f.Now)
		if err != nil {
			return nil, err
		}
		pt, err := f.image(o, target, root)
		return []Part{pt}, err
	}
	parts := []Part{EmptyDirectory(target, o.Path)}
	if work != "" {
		parts = append(parts, EmptyDirectory(work, o.WorkPath))
	}
	return parts, nil
}

// unions plans a persistence in which the layers are empty and all else is
// as it was.
func (f *Fresh) unions(o *live.Overlay) ([]Part, error) {
	if o.Image == nil {
		var parts []Part
		for _, name := range f.Live.Files.Overlay {
			if at := f.Live.Path(name); hostdisk.Exists(at) {
				parts = append(parts, EmptyDirectory(name, at))
			}
		}
		return parts, nil
	}
	root, err := o.Image.FS.Root()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, u := range o.UnionLayers {
		switch {
		case o.Form != live.FormAufs:
			dirs = append(dirs, u.Upper, u.Work)
		case u.Upper != "":
			dirs = append(dirs, u.Upper)
		default:
			if root, err = live.WithoutAufs(root); err != nil {
				return nil, err
			}
		}
	}
	if root, err = EmptyAt(root, f.Now, dirs...); err != nil {
		return nil, err
	}
	pt, err := f.image(o, f.Live.Files.Overlay[0], root)
	pt.Need = max(pt.Need, o.Image.Allocated) // what is bound or linked stays in it
	return []Part{pt}, err
}

// image plans an image of the size, label and features of the overlay's,
// which boots can mount as ext4 whatever the old was, with that tree in it. One
// of ext4 without a journal stays without.
func (f *Fresh) image(o *live.Overlay, target string, root *tree.Node) (Part, error) {
	img, err := NewImage(o.Name(), o.Image.FS, root, f.Now)
	if err != nil {
		return Part{}, err
	}
	for _, lost := range img.Losses() {
		f.Warn("%s", lost)
	}
	return Part{Target: target, Need: f.imageNeed(o), Make: func(ctx context.Context, path string) error {
		if err := img.Build(ctx, path, o.Path); err != nil {
			return err
		}
		if holes := img.Holes(); holes != "" {
			f.Warn("%s", holes)
		}
		return img.Check(ctx, path)
	}}, nil
}

// imageNeed is the space that the overlay's new image takes on the host.
func (f *Fresh) imageNeed(o *live.Overlay) int64 {
	sparse, err := hostdisk.HoldsHoles(filepath.Dir(o.Path))
	if err != nil || !sparse || f.Live.ToRAM != "" && o.Image.Allocated >= o.Image.Size {
		return o.Image.Size // with holes it would not be copied to memory whole
	}
	if f.Keep {
		return o.Image.Allocated
	}
	return min(o.Image.Size, 2<<20+o.Image.Size/16) // the journal, and the tables of a small file system
}

// emptied is the tree of an overlay's image without the layer: its root and
// everything beside the layer as it is, upper and work empty.
func emptied(o *live.Overlay, now tree.Time) (*tree.Node, error) {
	root, err := o.Image.FS.Root()
	if err != nil {
		return nil, err
	}
	if o.AtRoot {
		return live.WithoutAufs(root)
	}
	return EmptyAt(root, now, o.UpperDir, o.WorkDir)
}

// EmptyAt is a tree in which those directories are empty.
func EmptyAt(root *tree.Node, now tree.Time, dirs ...string) (*tree.Node, error) {
	var edits tree.Edits
	for _, name := range dirs {
		n, err := live.DirectoryAt(root, name)
		if err != nil {
			return nil, err
		}
		fresh := tree.NewDir("", 0o755)
		fresh.Mtime = now
		if n != nil {
			fresh.Meta, fresh.Xattrs = n.Meta, n.Xattrs.Filter(func(x tree.Xattr) bool { return !overlay.IsMark(x.Name) })
		}
		edits.Put(name, fresh)
	}
	return edits.Apply(root)
}

// flat plans the overlay that goes with a flattened base in the place of
// a COW: an ext4 image of that size that holds the directories that dracut
// looks for.
func (f *Fresh) flat(o *live.Overlay, target string) (Part, error) {
	upper, work := tree.NewDir(live.LiveosUpper, 0o755), tree.NewDir(live.LiveosWork, 0o755)
	root := tree.NewDir("", 0o755, upper, work)
	for _, n := range []*tree.Node{root, upper, work} {
		n.Mtime = f.Now
	}
	// The root of the layer is that of the system.
	upper.Meta, upper.Xattrs = f.System.Meta, f.System.Xattrs
	img := &Image{Name: filepath.Base(target), Root: root, Options: mkfs.Options{
		Name: filepath.Base(target), Size: o.COW.Size >> 10 << 10, Time: f.Now}}
	if _, err := mkfs.Measure(context.Background(), root, img.Options); err != nil {
		return Part{}, err
	}
	need := min(o.COW.Size, 2<<20+o.COW.Size/16)
	return Part{Target: target, Need: need, Make: func(ctx context.Context, path string) error {
		if err := img.Build(ctx, path, o.Path); err != nil {
			return err
		}
		return img.Check(ctx, path)
	}}, nil
}

// EmptyDirectory plans an empty directory with the owner, mode and attributes
// of the one that it takes the place of.
func EmptyDirectory(target, former string) Part {
	return Part{Target: target, Need: 4096, Make: func(_ context.Context, path string) error {
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

// copyXattrs returns a directory the attributes of another, but for the marks of
// overlayfs.
func copyXattrs(to, from string) error {
	root, err := hostfs.Open(from)
	if err != nil {
		return err
	}
	for _, x := range root.Xattrs {
		if overlay.IsMark(x.Name) {
			continue
		}
		if err := unix.Lsetxattr(to, x.Name, []byte(x.Value), 0); err != nil {
			return &os.PathError{Op: "setxattr " + x.Name, Path: to, Err: err}
		}
	}
	return nil
}
