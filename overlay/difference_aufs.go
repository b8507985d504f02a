package overlay

import (
	"relive/tree"
)

// aufsMark is a file by which a layer of aufs hides something: empty and
// readable by all, as aufs makes them (fs/aufs/whout.c, WH_MASK). Its time is
// its directory's.
func aufsMark(name string, in *tree.Node) *tree.Node {
	n := tree.NewFile(name, 0o444, nil)
	n.Mtime = in.Mtime
	return n
}

// hideable tells why no whiteout can be made for a name of the lower tree.
func (u *upperForm) hideable(dir, name string) error {
	path := tree.Quote("/" + tree.Join(dir, name))
	switch {
	case u.o.Form != Aufs:
		return nil
	case isAufsName(name):
		return tree.Unsupported("overlay", path, "is a name that aufs keeps to itself, so that no whiteout can hide it")
	case len(aufsWhiteout)+len(name) > 255:
		return tree.Unsupported("overlay", path, "has a name of %d bytes, which is too long for a whiteout of aufs", len(name))
	}
	return nil
}

// aufsDir puts the names of whiteouts where they belong in the order.
type aufsDir struct{ mergingDir }

// Children implements tree.Dir.
func (d aufsDir) Children() ([]*tree.Node, error) {
	kids, err := d.mergingDir.Children()
	if err != nil {
		return nil, err
	}
	tree.Sort(kids)
	return kids, nil
}

// Lookup implements tree.Lookuper.
func (d aufsDir) Lookup(name string) (*tree.Node, error) {
	if !isAufsName(name) {
		n, err := d.mergingDir.Lookup(name)
		if n != nil && isAufsName(n.Name) {
			n = nil
		}
		return n, err
	}
	kids, err := d.Children()
	if err != nil {
		return nil, err
	}
	return tree.Find(kids, name), nil
}

// aufsOpaqueDir is a directory with the file that makes it opaque.
type aufsOpaqueDir struct {
	tree.Dir
	mark *tree.Node
}

// Children implements tree.Dir.
func (d aufsOpaqueDir) Children() ([]*tree.Node, error) {
	kids, err := d.Dir.Children()
	if err != nil {
		return nil, err
	}
	out := append(append(make([]*tree.Node, 0, len(kids)+1), d.mark), kids...)
	tree.Sort(out)
	return out, nil
}
