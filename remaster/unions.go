package remaster

import (
	"fmt"
	"path"

	"relive/overlay"
	"relive/tree"
)

// openPersistence opens an overlay that is an ext image or a directory of the
// host, without looking for layers in it yet, and gives its root.
func (l *Live) openPersistence(path string) (*tree.Node, error) {
	st, err := l.at.stat(path)
	if err != nil {
		return nil, err
	}
	l.Overlay = &Overlay{Path: path, Form: FormOverlayFS, Empty: true}
	if !st.dir {
		if l.Overlay.Image, err = l.openImage(path); err != nil {
			return nil, err
		}
		return l.Overlay.Image.FS.Root()
	}
	return l.at.directory(path)
}

// openUnions lays the directories rw of the persistence over the directories of
// the system that they belong to.
// suffix is appended to their names.
func (l *Live) openUnions(root *tree.Node, unions []union, suffix string) error {
	o := l.Overlay
	l.Merged = l.Base.Root
	for _, u := range unions {
		upper, err := directoryAt(root, path.Join(u.source, unionUpper+suffix))
		if err != nil {
			return fmt.Errorf("%s: %w", l.rel(o.Path), err)
		}
		o.layers = append(o.layers, u.source)
		at := unionLayer{dir: u.dir, upper: path.Join(u.source, unionUpper), work: path.Join(u.source, unionWork)}
		if at.merged, err = directoryAt(l.Merged, u.dir); err != nil {
			return err
		}
		if upper == nil {
			o.laid = append(o.laid, at)
			continue
		}
		kids, bad, err := upper.Readable()
		if err != nil {
			return fmt.Errorf("%s: %w", l.rel(o.Path), err)
		}
		o.Empty = o.Empty && len(kids)+len(bad) == 0
		o.uppers = append(o.uppers, upper)
		index, err := directoryAt(root, path.Join(u.source, unionWork+suffix, "index"))
		if err != nil {
			return fmt.Errorf("%s: %w", l.rel(o.Path), err)
		}
		layers := []overlay.Layer{{Root: upper, Form: overlay.OverlayFS, Index: index, Namespace: overlay.Trusted}}
		if u.dir == "" {
			layers = append(layers, l.lowerLayers()...)
		} else if below, err := directoryAt(l.Base.Root, u.dir); err != nil {
			// Not what an outer union shows there: live-boot mounts over the images alone
			// (activate_custom_mounts, rootfs_dest_backing).
			return err
		} else if below != nil {
			layers = append(layers, overlay.Layer{Root: below})
		}
		merged, err := overlay.Merge(layers, overlay.KeepEscaped())
		if err != nil {
			return fmt.Errorf("%s: %w", l.rel(o.Path), err)
		}
		o.unions = append(o.unions, merged)
		at.layer, at.merged = upper, merged.Root()
		o.laid = append(o.laid, at)
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
	if len(o.unions) > 0 {
		o.Upper, o.Union = o.uppers[0], o.unions[0]
	}
	return l.watchLayer(o)
}

// unionLayer is a layer of an overlay and where it lies.
type unionLayer struct {
	dir         string // of the system that it lies over, "" for the root
	upper, work string // directories in the image or in the persistence directory
	layer       *tree.Node
	merged      *tree.Node // what shows at dir, nil for nothing
}
