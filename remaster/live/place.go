package live

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"relive/remaster/refusal"
	"relive/remaster/stick"
	"relive/tree"
	"relive/tree/hostfs"
)

// Place is where a live directory lies. Paths are those that people see.
type Place interface {
	// Stat tells what is at a path; nothing there is fs.ErrNotExist.
	Stat(path string) (PlaceInfo, error)
	// List names what is in a directory, sorted.
	List(path string) ([]string, error)
	// Open opens a regular file.
	Open(path string) (tree.Content, error)
	// Directory shows a directory as a tree, with all attributes of its files.
	Directory(path string) (*tree.Node, error)
	// directoryWith is directory for one that may hold other names of files below
	// another, which directory has returned: they have the same identity.
	directoryWith(path string, with *tree.Node) (*tree.Node, error)
}

// PlaceInfo tells what is at a path.
type PlaceInfo struct {
	dir, regular bool
	Size         int64
}

// Has reports whether there is anything at a path.
func Has(at Place, path string) bool {
	_, err := at.Stat(path)
	return err == nil
}

// IsFile reports whether a regular file is at a path.
func IsFile(at Place, path string) bool {
	st, err := at.Stat(path)
	return err == nil && st.regular
}

// IsDir reports whether a directory is at a path.
func IsDir(at Place, path string) bool {
	st, err := at.Stat(path)
	return err == nil && st.dir
}

// ReadSmall reads a file of at most limit bytes.
func ReadSmall(at Place, path string, limit int64) ([]byte, error) {
	c, err := at.Open(path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if c.Size() > limit {
		return nil, fmt.Errorf("%s: %d bytes are too many for a file of this kind", path, c.Size())
	}
	b := make([]byte, c.Size())
	if err := tree.ReadFull(c, b, 0); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// Host is the file system of the host.
type Host struct{}

// Stat implements Place.
func (Host) Stat(path string) (PlaceInfo, error) {
	st, err := os.Stat(path)
	if err != nil {
		return PlaceInfo{}, err
	}
	return PlaceInfo{dir: st.IsDir(), regular: st.Mode().IsRegular(), Size: st.Size()}, nil
}

// List implements Place.
func (Host) List(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// Open implements Place.
func (Host) Open(path string) (tree.Content, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if kind := st.Mode().Type(); kind != 0 && kind&(fs.ModeDevice|fs.ModeCharDevice) != fs.ModeDevice {
		return nil, fmt.Errorf("%s: neither a regular file nor a block device, but %v", path, kind)
	}
	return hostfs.OpenFile(path)
}

// Directory refuses where the marks of an overlay do not show: without them
// opaque directories would look like others.
func (h Host) Directory(path string) (*tree.Node, error) { return h.directoryWith(path, nil) }

func (Host) directoryWith(path string, with *tree.Node) (*tree.Node, error) {
	if err := hostfs.CheckTrusted(path); errors.Is(err, hostfs.ErrTrustedHidden) {
		return nil, refusal.New(refusal.NotPermitted, "run relive as root", "%s: the marks of an overlay that is a directory show to "+
			"root only", path)
	} else if err != nil {
		return nil, err
	}
	opts := []hostfs.Option{hostfs.RefuseMounts()}
	if with != nil {
		opts = append(opts, hostfs.SharingInodes(with))
	}
	return hostfs.Open(path, opts...)
}

// Tree is a file system on a stick. Paths begin with its name; those in the other
// file systems of the stick with theirs.
type Tree struct {
	Name string
	Root *tree.Node

	stick *Stick // nil for a tree by itself
}

// below returns the way from a name to a path that is it or lies in it.
func below(name, p string) (string, bool) {
	in, ok := strings.CutPrefix(p, name)
	return in, ok && (in == "" || in[0] == '/' || strings.HasSuffix(name, "/"))
}

// split returns the root of the file system in which a path lies, and the way there.
func (w Tree) split(p string) (root *tree.Node, in string, err error) {
	if in, ok := below(w.Name, p); ok {
		return w.Root, in, nil
	}
	if part, in := w.partition(p); part != nil {
		root, err = part.Root()
		return root, in, err
	}
	return nil, "", fmt.Errorf("%s: not in %s: %w", p, w.Name, fs.ErrNotExist)
}

// partition returns the other partition of the stick in which a path lies.
func (w Tree) partition(p string) (part *stick.Partition, in string) {
	if w.stick == nil {
		return nil, ""
	}
	for _, part := range w.stick.partitions() {
		if in, ok := below(w.stick.partitionPath(part), p); ok && part.Number > 0 {
			return part, in
		}
	}
	return nil, ""
}

func (w Tree) node(p string) (*tree.Node, error) {
	root, in, err := w.split(p)
	if err != nil {
		return nil, err
	}
	n, err := root.Lookup(path.Clean("/" + in))
	if err == nil && n == nil {
		err = fmt.Errorf("%s: %w", p, fs.ErrNotExist)
	}
	return n, err
}

// Stat implements Place.
func (w Tree) Stat(p string) (PlaceInfo, error) {
	n, err := w.node(p)
	if err != nil {
		return PlaceInfo{}, err
	}
	return PlaceInfo{dir: n.Type == tree.Directory, regular: n.Type == tree.Regular, Size: n.Size}, nil
}

// List implements Place.
func (w Tree) List(p string) ([]string, error) {
	n, err := w.node(p)
	if err != nil {
		return nil, err
	}
	kids, bad, err := n.Readable()
	names := make([]string, 0, len(kids)+len(bad))
	for _, k := range kids {
		names = append(names, k.Name)
	}
	for _, b := range bad {
		names = append(names, b.Name)
	}
	slices.Sort(names)
	return names, err
}

// Open implements Place. The name of a partition gives all of it.
func (w Tree) Open(p string) (tree.Content, error) {
	if part, in := w.partition(p); part != nil && in == "" {
		return section{part.Section()}, nil
	}
	n, err := w.node(p)
	if err != nil {
		return nil, err
	}
	c, err := n.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	return c, nil
}

// section is the content of a partition.
type section struct{ *io.SectionReader }

// Close implements tree.Content; it is the stick that is closed.
func (section) Close() error { return nil }

// NextData implements tree.Content.
func (s section) NextData(off int64) (int64, int64, error) { return tree.WholeData(off, s.Size()) }

// directoryWith is directory: all of a file system has one identity.
func (w Tree) directoryWith(p string, _ *tree.Node) (*tree.Node, error) { return w.Directory(p) }

// Directory implements Place.
func (w Tree) Directory(p string) (*tree.Node, error) {
	n, err := w.node(p)
	if err == nil && n.Type != tree.Directory {
		err = fmt.Errorf("%s: not a directory", p)
	}
	return n, err
}

// PlainDirectory shows a directory whose files need no attributes but those
// that everybody sees.
func PlainDirectory(at Place, dir string) (*tree.Node, error) {
	if at == nil || at == Place(Host{}) {
		return hostfs.Open(dir)
	}
	return at.Directory(dir)
}
