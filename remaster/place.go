package remaster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"relive/remaster/refusal"
	"relive/tree"
	"relive/tree/hostfs"
)

// place is where a live directory lies. Paths are those that people see.
type place interface {
	// stat tells what is at a path; nothing there is fs.ErrNotExist.
	stat(path string) (placeInfo, error)
	// list names what is in a directory, sorted.
	list(path string) ([]string, error)
	// open opens a regular file.
	open(path string) (tree.Content, error)
	// directory shows a directory as a tree, with all attributes of its files.
	directory(path string) (*tree.Node, error)
	// directoryWith is directory for one that may hold other names of files below
	// another, which directory has returned: they have the same identity.
	directoryWith(path string, with *tree.Node) (*tree.Node, error)
}

type placeInfo struct {
	dir, regular bool
	size         int64
}

// has tells whether there is anything at a path.
func has(at place, path string) bool {
	_, err := at.stat(path)
	return err == nil
}

// isFile tells whether a regular file is at a path.
func isFile(at place, path string) bool {
	st, err := at.stat(path)
	return err == nil && st.regular
}

// isDir tells whether a directory is at a path.
func isDir(at place, path string) bool {
	st, err := at.stat(path)
	return err == nil && st.dir
}

// readSmall reads a file of at most limit bytes.
func readSmall(at place, path string, limit int64) ([]byte, error) {
	c, err := at.open(path)
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

// host is the file system of the host.
type host struct{}

func (host) stat(path string) (placeInfo, error) {
	st, err := os.Stat(path)
	if err != nil {
		return placeInfo{}, err
	}
	return placeInfo{dir: st.IsDir(), regular: st.Mode().IsRegular(), size: st.Size()}, nil
}

func (host) list(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (host) open(path string) (tree.Content, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if kind := st.Mode().Type(); kind != 0 && kind&(fs.ModeDevice|fs.ModeCharDevice) != fs.ModeDevice {
		return nil, fmt.Errorf("%s: neither a regular file nor a block device, but %v", path, kind)
	}
	return hostfs.OpenFile(path)
}

// directory refuses where the marks of an overlay do not show: without them
// opaque directories would look like others.
func (h host) directory(path string) (*tree.Node, error) { return h.directoryWith(path, nil) }

func (host) directoryWith(path string, with *tree.Node) (*tree.Node, error) {
	if err := hostfs.CheckTrusted(path); errors.Is(err, hostfs.ErrTrustedHidden) {
		return nil, refusal.New("run relive as root", "%s: the marks of an overlay that is a directory show to root only", path)
	} else if err != nil {
		return nil, err
	}
	opts := []hostfs.Option{hostfs.RefuseMounts()}
	if with != nil {
		opts = append(opts, hostfs.SharingInodes(with))
	}
	return hostfs.Open(path, opts...)
}

// onStick is a file system on a stick. Paths begin with its name.
type onStick struct {
	name string
	root *tree.Node
}

func (w onStick) node(p string) (*tree.Node, error) {
	in, ok := strings.CutPrefix(p, w.name)
	if !ok {
		return nil, fmt.Errorf("%s: not in %s", p, w.name)
	}
	n, err := w.root.Lookup(path.Clean("/" + in))
	if err == nil && n == nil {
		err = fmt.Errorf("%s: %w", p, fs.ErrNotExist)
	}
	return n, err
}

func (w onStick) stat(p string) (placeInfo, error) {
	n, err := w.node(p)
	if err != nil {
		return placeInfo{}, err
	}
	return placeInfo{dir: n.Type == tree.Directory, regular: n.Type == tree.Regular, size: n.Size}, nil
}

func (w onStick) list(p string) ([]string, error) {
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

func (w onStick) open(p string) (tree.Content, error) {
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

// directoryWith is directory: all of a file system has one identity.
func (w onStick) directoryWith(p string, _ *tree.Node) (*tree.Node, error) { return w.directory(p) }

func (w onStick) directory(p string) (*tree.Node, error) {
	n, err := w.node(p)
	if err == nil && n.Type != tree.Directory {
		err = fmt.Errorf("%s: not a directory", p)
	}
	return n, err
}

// plainDirectory shows a directory whose files need no attributes but those
// that everybody sees.
func plainDirectory(at place, dir string) (*tree.Node, error) {
	if at == nil || at == place(host{}) {
		return hostfs.Open(dir)
	}
	return at.directory(dir)
}
