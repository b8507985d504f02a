package live

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"path/filepath"
	"slices"

	"relive/overlay"
	"relive/remaster/packed"
	"relive/squash"
	"relive/tree"
)

// MarkedLayer is a layer of an overlay and the marks by which the kernel finds
// inodes of the base from it.
type MarkedLayer struct {
	Layer overlay.Layer
	dir   string // of the system that the layer lies over, "" for the root
	At    string // of the host, where the layer is a directory there, else ""
	Marks []overlay.Origin
}

// Marked lists the overlay's layers with their marks, which are read once. A
// snapshot, which holds no files, has none.
func (l *Live) Marked() ([]MarkedLayer, error) {
	o := l.Overlay
	if o == nil || o.marks != nil {
		if o == nil {
			return nil, nil
		}
		return o.marks, nil
	}
	out := []MarkedLayer{}
	add := func(root *tree.Node, dir, at string) error {
		form := overlay.OverlayFS
		if o.Form == FormAufs {
			form = overlay.Aufs
		}
		m := MarkedLayer{Layer: overlay.Layer{Root: root, Form: form, Namespace: overlay.Trusted}, dir: dir, At: at}
		if o.Image != nil {
			m.At = ""
		}
		var err error
		if m.Marks, err = overlay.Origins(m.Layer); err != nil {
			return fmt.Errorf("%s: %w", l.Rel(o.Path), err)
		}
		out = append(out, m)
		return nil
	}
	var err error
	switch {
	case o.COW != nil:
	case len(o.UnionLayers) > 0:
		for _, u := range o.UnionLayers {
			if u.Layer == nil {
				continue
			}
			if err = add(u.Layer, u.Dir, filepath.Join(o.Path, u.Upper)); err != nil {
				return nil, err
			}
		}
	case o.Upper != nil:
		err = add(o.Upper, "", o.Path)
	}
	o.marks = out
	return out, err
}

// fsUUID is what a mark names the file system of a base by: that of an ext
// image or of EROFS, nothing for SquashFS.
type fsUUID [16]byte

// RootMarked reports whether a layer's root is marked with the directory that it
// lies over, so that the kernel mounts it with an index over no other.
func (l *Live) RootMarked() (bool, error) {
	layers, err := l.Marked()
	for _, m := range layers {
		if slices.ContainsFunc(m.Marks, func(o overlay.Origin) bool { return o.Dir && o.Path == "" }) {
			return true, nil
		}
	}
	return false, err
}

// Numbers says which inodes of a new SquashFS base have the numbers that they
// have in the present one: all that come from it, and in the first place those
// that the overlay has changed, to which its marks lead. With them the present
// overlay shows over the new base what it shows over the old one, whatever
// options it is mounted with. Where one number can mean inodes of several images
// none is kept, and what the marks name is given to no inode.
func (l *Live) Numbers() (*squash.Numbers, error) {
	image := packed.Squash(l.Base.Image)
	if image == nil {
		return nil, nil // ext images and EROFS get another UUID instead
	}
	n := &squash.Numbers{Of: image, Held: map[uint32]string{}}
	layers, err := l.Marked()
	if err != nil || l.Base.Inner != nil {
		return n, err
	}
	files := map[uint64]tree.Inode{}
	several := len(l.Stack) > 1
	if several {
		n.Of = nil
	}
	for _, m := range layers {
		for _, o := range m.Marks {
			if o.Dir || o.UUID != (fsUUID{}) || o.Number == 0 || o.Number > math.MaxUint32 {
				continue // it leads to nothing in any base
			}
			number := uint32(o.Number)
			file, seen := files[o.Number]
			switch {
			case several || o.Number > uint64(image.Info().Inodes):
				n.Held[number] = ""
			case !seen:
				files[o.Number] = o.File
				n.Held[number] = path.Join(m.dir, o.Path)
			case file != o.File || o.File == (tree.Inode{}):
				// Names of one file of the base that were copied up each for itself: of
				// several names no longer, it must not be where any of them leads.
				n.Held[number] = ""
			}
		}
	}
	return n, nil
}

// LaidOver reports whether a boot lays the overlay over a base of that version id. A
// boot of antiX does not lay one that has another.
func (l *Live) LaidOver(base VID) (bool, error) {
	if !l.Layout.Traits().VersionIDs || l.Overlay == nil {
		return l.Overlay != nil, nil
	}
	vids, err := l.VIDs()
	if err != nil {
		return false, err
	}
	if vids.Overlay != "" || base == "" {
		return vids.Overlay == base, nil
	}
	// It is stamped as a new one where it does not look used (init: check_vid).
	return looksEmpty(l.Overlay.Upper)
}

// Astray reports whether the overlay's marks may lead to other files of a base
// than those that they are of, so that it must not be laid over it.
func (l *Live) Astray(ctx context.Context, base *Base) (bool, error) {
	id, followed, err := base.followed()
	if err != nil || !followed {
		return false, err
	}
	layers, err := l.Marked()
	if err != nil {
		return false, err
	}
	for _, m := range layers {
		if slices.ContainsFunc(m.Marks, func(o overlay.Origin) bool { return o.Dir && o.Path == "" && o.UUID != id }) {
			return true, nil // of another file system: see overlay.Origin
		}
		marks := slices.DeleteFunc(slices.Clone(m.Marks), func(o overlay.Origin) bool { return o.UUID != id || o.Dir && o.Path != "" })
		if len(marks) == 0 {
			continue
		}
		if len(base.Below) > 0 {
			return true, nil // in which of them an inode is meant a mark does not tell
		}
		root, err := DirectoryAt(base.Root, m.dir)
		if err != nil {
			return false, err
		}
		if root == nil {
			continue
		}
		o, err := overlay.Astray(ctx, m.Layer, marks, root)
		if err != nil || o != nil {
			return o != nil, err
		}
	}
	return false, nil
}

// followed returns what marks name the base's file system by, and whether the
// kernel finds inodes by their numbers in it.
func (b *Base) followed() (id fsUUID, followed bool, err error) {
	switch {
	case b.Inner != nil:
		return b.Inner.FS.Info().UUID, true, nil
	case b.Image == nil:
		return id, false, errors.New("a base without a file system")
	}
	facts := b.Image.Facts()
	return facts.UUID, facts.Numbered, nil
}
