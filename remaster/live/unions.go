package live

import (
	"fmt"
	"path"

	"relive/overlay"
	"relive/tree"
)

// openPersistence opens an overlay that is an ext image or a directory of the
// host, without looking for layers in it yet, and gives its root.
func (l *Live) openPersistence(path string) (*tree.Node, error) {
	st, err := l.Place.Stat(path)
	if err != nil {
		return nil, err
	}
	l.Overlay = &Overlay{Path: path, Form: FormOverlayFS, Empty: true}
	if !st.dir {
		if l.Overlay.Image, err = l.OpenImage(path); err != nil {
			return nil, err
		}
		return l.Overlay.Image.FS.Root()
	}
	return l.Place.Directory(path)
}

// openUnions lays the directories rw of the persistence over the directories of
// the system that they belong to.
// suffix is appended to their names.
func (l *Live) openUnions(root *tree.Node, unions []union, suffix string) error {
	o := l.Overlay
	l.Merged = l.Base.Root
	for _, u := range unions {
		upper, err := DirectoryAt(root, path.Join(u.source, UnionUpper+suffix))
		if err != nil {
			return fmt.Errorf("%s: %w", l.Rel(o.Path), err)
		}
		o.Layers = append(o.Layers, u.source)
		at := UnionLayer{Dir: u.dir, Upper: path.Join(u.source, UnionUpper), Work: path.Join(u.source, UnionWork)}
		if at.Merged, err = DirectoryAt(l.Merged, u.dir); err != nil {
			return err
		}
		if upper == nil {
			o.UnionLayers = append(o.UnionLayers, at)
			continue
		}
		kids, bad, err := upper.Readable()
		if err != nil {
			return fmt.Errorf("%s: %w", l.Rel(o.Path), err)
		}
		o.Empty = o.Empty && len(kids)+len(bad) == 0
		o.uppers = append(o.uppers, upper)
		index, err := DirectoryAt(root, path.Join(u.source, UnionWork+suffix, "index"))
		if err != nil {
			return fmt.Errorf("%s: %w", l.Rel(o.Path), err)
		}
		layers := []overlay.Layer{{Root: upper, Form: overlay.OverlayFS, Index: index, Namespace: overlay.Trusted}}
		if u.dir == "" {
			layers = append(layers, l.LowerLayers()...)
		} else if below, err := DirectoryAt(l.Base.Root, u.dir); err != nil {
			// Not what an outer union shows there: live-boot mounts over the images alone
			// (activate_custom_mounts, rootfs_dest_backing).
			return err
		} else if below != nil {
			layers = append(layers, overlay.Layer{Root: below})
		}
		merged, err := overlay.Merge(layers, overlay.KeepEscaped())
		if err != nil {
			return fmt.Errorf("%s: %w", l.Rel(o.Path), err)
		}
		o.Unions = append(o.Unions, merged)
		at.Layer, at.Merged = upper, merged.Root()
		o.UnionLayers = append(o.UnionLayers, at)
		if u.dir == "" {
			l.Merged = merged.Root()
			continue
		}
		var edits tree.Edits
		n := *merged.Root()
		edits.Put(u.dir, &n)
		if l.Merged, err = edits.Apply(l.Merged); err != nil {
			return err
		}
	}
	if len(o.Unions) > 0 {
		o.Upper, o.Union = o.uppers[0], o.Unions[0]
	}
	return l.watchLayer(o)
}

// UnionLayer is a layer of an overlay and where it lies.
type UnionLayer struct {
	Dir         string // of the system that it lies over, "" for the root
	Upper, Work string // directories in the image or in the persistence directory
	Layer       *tree.Node
	Merged      *tree.Node // what shows at dir, nil for nothing
}
