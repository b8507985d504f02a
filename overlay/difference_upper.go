package overlay

import (
	"slices"
	"sort"
	"strings"

	"relive/tree"
)

// upperForm makes the nodes of the layer that Difference gives.
type upperForm struct {
	o     DifferenceOptions
	marks layer // knows the marks' prefix
}

// risen is the source of the layer's inodes: of equal identity where the merged
// tree's are, but never one with what stays in the lower tree.
type risen struct {
	u  *upperForm
	of any
}

// isDevice00 tells a device that is a whiteout wherever it stands in a layer.
func (l *layer) isDevice00(n *tree.Node) bool {
	return l.form == OverlayFS && n.Type == tree.CharDevice && n.Rdev == tree.Rdev{}
}

// children lists a directory of either tree. What a layer stores but a mount
// would not show is left out.
func (u *upperForm) children(n *tree.Node) ([]*tree.Node, error) {
	kids, err := n.Children()
	if err != nil || !u.o.Escaped || !slices.ContainsFunc(kids, u.marks.isWhiteout) {
		return kids, err
	}
	out := make([]*tree.Node, 0, len(kids))
	for _, k := range kids {
		if !u.marks.isWhiteout(k) {
			out = append(out, k)
		}
	}
	return out, nil
}

// child finds one child as children would list it.
func (u *upperForm) child(n *tree.Node, name string) (*tree.Node, error) {
	k, err := n.Child(name)
	if k != nil && u.o.Escaped && u.marks.isWhiteout(k) {
		k = nil
	}
	return k, err
}

// stored returns a node's attributes as the layer holds them.
func (u *upperForm) stored(x tree.Xattrs) tree.Xattrs {
	prefix := u.marks.prefix
	if u.o.Form == Aufs {
		return x
	}
	if u.o.Escaped {
		return x.Filter(func(a tree.Xattr) bool {
			rest, own := strings.CutPrefix(a.Name, prefix)
			return !own || strings.HasPrefix(rest, escape)
		})
	}
	if !slices.ContainsFunc(x, func(a tree.Xattr) bool { return strings.HasPrefix(a.Name, prefix) }) {
		return x
	}
	out := make(tree.Xattrs, len(x))
	for i, a := range x {
		if rest, own := strings.CutPrefix(a.Name, prefix); own {
			a.Name = prefix + escape + rest
		}
		out[i] = a
	}
	tree.SortXattrs(out)
	return out
}

// mark adds one of the layer's own attributes.
func (u *upperForm) mark(x tree.Xattrs, name, value string) tree.Xattrs {
	out := append(slices.Clip(x), tree.Xattr{Name: u.marks.prefix + name, Value: value})
	tree.SortXattrs(out)
	return out
}

// whiteout hides a name of the lower tree. Its time is its directory's, so that
// the layer depends on the two trees alone.
func (u *upperForm) whiteout(name string, in *tree.Node) *tree.Node {
	if u.o.Form == Aufs {
		return aufsMark(aufsWhiteout+name, in)
	}
	n := &tree.Node{Name: name, Meta: tree.Meta{Type: tree.CharDevice, Mtime: in.Mtime}, Nlink: 1}
	if u.o.XattrWhiteouts {
		n.Type, n.Data = tree.Regular, tree.Bytes(nil)
		n.Xattrs = u.mark(nil, "whiteout", "y")
	}
	return n
}

// whole is a node that goes up with all below it.
func (u *upperForm) whole(n *tree.Node) *tree.Node {
	c := *n
	c.Xattrs = u.stored(n.Xattrs)
	c.Flags &= u.o.Flags.counted()
	const guards = tree.FlagImmutable | tree.FlagAppend
	if u.o.Form == OverlayFS && c.Flags&guards != 0 && (u.o.Flags == FlagsMarked || n.Flags&tree.FlagMarked != 0) {
		value := ""
		if c.Flags&tree.FlagAppend != 0 {
			value += "a"
		}
		if c.Flags&tree.FlagImmutable != 0 {
			value += "i"
		}
		c.Xattrs, c.Flags = u.mark(c.Xattrs, "protattr", value), c.Flags&^guards
	}
	if n.Type == tree.Directory {
		c.Inode, c.Dir = tree.Inode{}, wholeDir{u, n}
	} else if n.Inode != (tree.Inode{}) {
		c.Inode.Source = risen{u, n.Inode.Source}
	}
	return &c
}

// merging is a directory that goes up over one of the lower tree.
func (u *upperForm) merging(p *dirPlan, lower, merged *tree.Node) *tree.Node {
	c := u.whole(merged)
	if p.opaque {
		return u.opaque(c)
	}
	if u.o.Form == Aufs {
		c.Dir = aufsDir{mergingDir{u, p, lower, merged}}
		return c
	}
	if u.o.XattrWhiteouts && p.whiteouts > 0 {
		c.Xattrs = u.mark(c.Xattrs, "opaque", "x")
	}
	if u.o.Origins && p.parent != nil {
		c.Xattrs = u.mark(c.Xattrs, "origin", "")
	}
	c.Dir = mergingDir{u, p, lower, merged}
	return c
}

// opaque marks a directory that was made for the layer.
func (u *upperForm) opaque(n *tree.Node) *tree.Node {
	if u.o.Form == Aufs {
		n.Dir = aufsOpaqueDir{n.Dir, aufsMark(aufsOpaqueNm, n)}
	} else {
		n.Xattrs = u.mark(n.Xattrs, "opaque", "y")
	}
	return n
}

// wholeDir lists a directory all of which goes up.
type wholeDir struct {
	u *upperForm
	n *tree.Node
}

// Children implements tree.Dir.
func (w wholeDir) Children() ([]*tree.Node, error) {
	kids, err := w.u.children(w.n)
	if err != nil {
		return nil, err
	}
	out := make([]*tree.Node, len(kids))
	for i, k := range kids {
		out[i] = w.u.whole(k)
	}
	return out, nil
}

// Lookup implements tree.Lookuper.
func (w wholeDir) Lookup(name string) (*tree.Node, error) {
	n, err := w.u.child(w.n, name)
	if n == nil || err != nil {
		return nil, err
	}
	return w.u.whole(n), nil
}

// mergingDir lists what goes up of a directory of both trees.
type mergingDir struct {
	u             *upperForm
	p             *dirPlan
	lower, merged *tree.Node
}

// Children implements tree.Dir.
func (d mergingDir) Children() ([]*tree.Node, error) {
	kl, err := d.u.children(d.lower)
	if err != nil {
		return nil, err
	}
	km, err := d.u.children(d.merged)
	if err != nil {
		return nil, err
	}
	var out []*tree.Node
	err = join(kl, km, func(l, m *tree.Node) error {
		if n := d.node(l, m); n != nil {
			out = append(out, n)
		}
		return nil
	})
	return out, err
}

// Lookup implements tree.Lookuper.
func (d mergingDir) Lookup(name string) (*tree.Node, error) {
	l, err := d.u.child(d.lower, name)
	if err != nil {
		return nil, err
	}
	m, err := d.u.child(d.merged, name)
	if err != nil || l == nil && m == nil {
		return nil, err
	}
	return d.node(l, m), nil
}

// node returns what goes up for a name, nil for nothing.
func (d mergingDir) node(l, m *tree.Node) *tree.Node {
	switch {
	case m == nil:
		return d.u.whiteout(l.Name, d.merged)
	case l == nil:
		return d.u.whole(m)
	case l.Type != m.Type:
		n := d.u.whole(m)
		if m.Type == tree.Directory {
			n = d.u.opaque(n)
		}
		return n
	case m.Type == tree.Directory:
		i := sort.Search(len(d.p.kids), func(i int) bool { return d.p.kids[i].name >= m.Name })
		if i == len(d.p.kids) || d.p.kids[i].name != m.Name {
			return nil
		}
		return d.u.merging(d.p.kids[i], l, m)
	}
	if _, up := slices.BinarySearch(d.p.up, m.Name); !up {
		return nil
	}
	n := d.u.whole(m)
	if n.Was == nil && l.Data != nil {
		n.Was = l.Data
	}
	return n
}
