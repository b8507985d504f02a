package live

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"relive/overlay"
	"relive/tree"
)

// openPersistence opens an overlay that is an ext image or a directory of the
// host, without looking for layers in it yet, and gives its root.
func (l *Live) openPersistence(path string) (*tree.Node, error) {
	l.Overlay = &Overlay{Path: path, Form: FormOverlayFS, Empty: true}
	var err error
	if l.overlay.partition || !IsDir(l.Place, path) {
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
		layer, err := l.unionLayer(root, u, suffix)
		if err != nil {
			return fmt.Errorf("%s: %w", l.Rel(o.Path), err)
		}
		upper := layer.Root
		o.Layers = append(o.Layers, u.source)
		at := UnionLayer{Dir: u.dir, Upper: path.Join(u.source, UnionUpper), Work: path.Join(u.source, UnionWork)}
		if layer.Form == overlay.Aufs {
			at.Upper, at.Work = u.source, ""
		}
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
		layers := []overlay.Layer{layer}
		if u.dir == "" {
			layers = append(layers, l.LowerLayers()...)
		} else if layers, err = l.belowUnion(layers, u.dir); err != nil {
			return err
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

// unionLayer returns the layer of a union: the directory rw of its source, or of
// aufs the source itself. Its root is nil where there is none yet.
func (l *Live) unionLayer(root *tree.Node, u union, suffix string) (layer overlay.Layer, err error) {
	source, err := DirectoryAt(root, u.source)
	if err != nil || source == nil {
		return layer, err
	}
	if aufs, err := isAufs(source); err != nil {
		return layer, err
	} else if aufs {
		l.Overlay.Form = FormAufs
		return aufsLayer(source, u.source == "")
	}
	layer = overlay.Layer{Form: overlay.OverlayFS, Namespace: overlay.Trusted}
	if layer.Root, err = DirectoryAt(source, UnionUpper+suffix); err != nil || layer.Root == nil {
		return layer, err
	}
	layer.Index, err = DirectoryAt(source, path.Join(UnionWork+suffix, "index"))
	return layer, err
}

// belowUnion adds what a union below the root lies over: not what an outer union
// shows there, but the images alone, and of these the first of their names on top
// (activate_custom_mounts: rootfs_dest_backing). Directories are not mounted where
// it looks.
func (l *Live) belowUnion(layers []overlay.Layer, dir string) ([]overlay.Layer, error) {
	images := slices.DeleteFunc(slices.Clone(l.Stack), func(b *Base) bool { return path.Ext(l.Rel(b.Path)) == ".dir" })
	slices.SortStableFunc(images, func(a, b *Base) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, b := range images {
		below, err := DirectoryAt(b.layer, dir)
		if err != nil {
			return nil, err
		}
		if below == nil {
			continue
		}
		layer := overlay.Layer{Root: below}
		if len(images) > 1 {
			layer.Form, layer.Namespace = overlay.OverlayFS, overlay.Trusted
		}
		layers = append(layers, layer)
	}
	return layers, nil
}

// UnionLayer is a layer of an overlay and where it lies.
type UnionLayer struct {
	Dir         string // of the system that it lies over, "" for the root
	Upper, Work string // directories in the image or in the persistence directory
	Layer       *tree.Node
	Merged      *tree.Node // what shows at dir, nil for nothing
}
