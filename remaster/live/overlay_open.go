package live

import (
	"context"
	"fmt"

	"relive/overlay"
	"relive/tree"
)

// openImageOverlay opens an ext image that holds the layer in the directory
// upper and overlayfs's work directory in work. An image without upper holds
// nothing yet.
func (l *Live) openImageOverlay(path, upper, work string) error {
	img, err := l.OpenImage(path)
	if err != nil {
		return err
	}
	root, err := img.FS.Root()
	if err != nil {
		return err
	}
	o := &Overlay{Path: path, Image: img, Form: FormOverlayFS, UpperDir: upper, WorkDir: work, Empty: true}
	l.Overlay = o
	if o.Upper, err = DirectoryAt(root, upper); err != nil {
		return fmt.Errorf("%s: %w", l.Rel(path), err)
	}
	if o.Upper == nil {
		return nil
	}
	index, err := DirectoryAt(root, work+"/index")
	if err != nil {
		return fmt.Errorf("%s: %w", l.Rel(path), err)
	}
	return l.lay(o, overlay.Layer{Root: o.Upper, Form: overlay.OverlayFS, Index: index})
}

// openDirOverlay opens an overlay that is a directory of the host, with
// overlayfs's work directory beside it.
func (l *Live) openDirOverlay(path, work string) error {
	if !IsDir(l.Place, work) {
		return tree.Unsupported(l.Rel(path), "directory", "is no overlay: there is no directory %s beside it", l.Rel(work))
	}
	root, err := l.Place.Directory(path)
	if err != nil {
		return err
	}
	o := &Overlay{Path: path, WorkPath: work, Form: FormOverlayFS, Upper: root}
	l.Overlay = o
	layer := overlay.Layer{Root: root, Form: overlay.OverlayFS}
	workRoot, err := l.Place.directoryWith(work, root) // the index has names of the layer's files
	if err != nil {
		return err
	}
	if layer.Index, err = DirectoryAt(workRoot, "index"); err != nil {
		return err
	}
	return l.lay(o, layer)
}

// DirectoryAt returns the directory at a path, nil where there is none.
func DirectoryAt(root *tree.Node, path string) (*tree.Node, error) {
	n, err := root.Lookup(path)
	if err != nil || n == nil || n.Type != tree.Directory {
		return nil, err
	}
	return n, nil
}

// lay merges the overlay's layer with the base.
func (l *Live) lay(o *Overlay, layer overlay.Layer) error {
	var err error
	if layer.Root, err = withoutStrayLink(layer.Root); err != nil {
		return fmt.Errorf("%s: %w", l.Rel(o.Path), err)
	}
	o.Upper = layer.Root
	kids, bad, err := layer.Root.Readable()
	if err != nil {
		return fmt.Errorf("%s: %w", l.Rel(o.Path), err)
	}
	o.Empty = len(kids)+len(bad) == 0
	// What boots mounts as root and without userxattr, so marks are in the
	// trusted namespace; those under user are content, as of rootless
	// containers. Marks that are escaped for a nested overlay stay so: the merged
	// tree becomes a lower layer again, where the kernel takes the escape away.
	if layer.Form == overlay.OverlayFS {
		layer.Namespace = overlay.Trusted
	}
	if o.Union, err = overlay.Merge(append([]overlay.Layer{layer}, l.LowerLayers()...), overlay.KeepEscaped()); err != nil {
		return fmt.Errorf("%s: %w", l.Rel(o.Path), err)
	}
	l.Merged = o.Union.Root()
	return l.watchLayer(o)
}

// strayLink is what dracut's module overlayfs leaves in the root of an overlay of
// dmsquash-live at every boot: its "ln -sf" follows a link that is there already
// (prepare-overlayfs.sh, since dracut 110). It is no change of anybody's.
const strayLink, strayTarget = "overlay", "/run/overlayfs-backing/overlay"

// withoutStrayLink returns a layer without that link.
func withoutStrayLink(layer *tree.Node) (*tree.Node, error) {
	n, err := layer.Child(strayLink)
	if err != nil || n == nil || n.Type != tree.Symlink || n.Target != strayTarget {
		return layer, nil //nolint:nilerr // what cannot be read is told of where the layer is read
	}
	var e tree.Edits
	e.Remove(strayLink)
	return e.Apply(layer)
}

// watchLayer notes the state of a layer that is a directory of the host: of its
// names, sizes and times, since there is no one file that would tell.
func (l *Live) watchLayer(o *Overlay) error {
	if o.Image != nil || o.Upper == nil {
		return nil
	}
	sum, _, err := l.State(context.Background())
	l.layerState = sum
	return err
}

// aufsMarks are what aufs puts into the root of a branch that it writes to.
var aufsMarks = []string{".wh..wh.aufs", ".wh..wh.plnk", ".wh..wh.orph"}

// isAufs reports whether a directory is a branch of aufs that was written to.
func isAufs(dir *tree.Node) (bool, error) {
	for _, name := range aufsMarks {
		if n, err := dir.Child(name); n != nil || err != nil {
			return n != nil, err
		}
	}
	return false, nil
}

// aufsLayer is the layer of a union of aufs, which has its files in the very
// directory of the source, without what belongs to the file system or to
// live-boot there.
func aufsLayer(dir *tree.Node, root bool) (overlay.Layer, error) {
	var e tree.Edits
	if root {
		e.Remove("lost+found")
		e.Remove(livebootConf)
	}
	n, err := e.Apply(dir)
	return overlay.Layer{Root: n, Form: overlay.Aufs}, err
}

// WithoutAufs returns the root of a file system that held a layer of aufs, with what
// the boot itself keeps there alone.
func WithoutAufs(root *tree.Node) (*tree.Node, error) {
	kids, err := root.Children()
	if err != nil {
		return nil, err
	}
	var e tree.Edits
	for _, k := range kids {
		if !casperOwn(k.Name) && k.Name != livebootConf {
			e.Remove(k.Name)
		}
	}
	return e.Apply(root)
}
