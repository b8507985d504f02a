package tree

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Difference is what sets two nodes of the same path apart, as a set of bits.
type Difference uint16

// The differences. Only and Absent stand alone.
const (
	Absent   Difference = 1 << iota // only the first tree has the path
	Only                            // only the second tree has the path
	TypeOf                          // another file type
	Mode                            // permission bits
	Owner                           // uid or gid
	Mtimes                          // modification time
	Device                          // device number
	LinkText                        // symlink target
	XattrSet                        // extended attributes
	Contents                        // size or bytes of a regular file
	LinkSet                         // hard-link group
	FlagSet                         // flags that chattr sets
)

var differenceNames = []string{"only in first", "only in second", "type", "mode", "owner", "mtime", "rdev", "target", "xattrs", "content",
	"hard links", "flags"}

func (d Difference) String() string {
	var s []string
	for i, name := range differenceNames {
		if d&(1<<i) != 0 {
			s = append(s, name)
		}
	}
	return strings.Join(s, ", ")
}

// Change is one path at which two trees differ.
type Change struct {
	Path string
	Diff Difference
	A, B *Node // nil where that tree lacks the path
}

// CompareOptions say what counts as equal.
type CompareOptions struct {
	// WholeSeconds compares modification times without nanoseconds, held to
	// the range of a SquashFS image: 0 to 2^32-1.
	WholeSeconds bool
	// IgnoreXattr tells of attributes that do not count. The function gets full
	// names.
	IgnoreXattr func(name string) bool
	// Flags are the flags that count; none do by default, since most file systems
	// have none.
	Flags Flags
	// SameContent may tell, without reading, that two files have equal bytes,
	// as when both are stored by the same blocks. Where it says false the bytes
	// are read.
	SameContent func(path string, a, b *Node) (bool, error)
	// ShallowDirs reports a directory that only one tree has as one change,
	// without its children. It does not go with Links, which needs every name.
	ShallowDirs bool
	// TrustInode takes two nodes with the same non-zero Inode for the same
	// node: their content, and what lies below a directory, is not looked at.
	// Their metadata is.
	TrustInode bool
	// Bad is called for a path that cannot be read in one of the trees or in both:
	// an entry, the listing of a directory, the content of a file. The comparison
	// goes on without it, unless Bad gives an error. Where Bad is nil, the first
	// such path ends it.
	Bad func(path string, err error) error
	// Links compares hard-link groups: nodes are linked alike where their
	// groups hold the same paths. This keeps a record for each linked name.
	Links bool
}

// Compare calls fn for every path at which the trees differ, in walking
// order. Content is read block by block and never held whole.
func Compare(ctx context.Context, a, b *Node, o CompareOptions, fn func(Change) error) error {
	c := comparer{ctx: ctx, o: o, fn: fn}
	if o.Links {
		c.firstA, c.firstB = map[Inode]string{}, map[Inode]string{}
	}
	return c.pair("", a, b, 0)
}

type comparer struct {
	ctx            context.Context
	o              CompareOptions
	fn             func(Change) error
	firstA, firstB map[Inode]string
	bufA, bufB     []byte
}

func (c *comparer) pair(path string, a, b *Node, depth int) error {
	if depth > MaxDepth {
		return TooDeep(path)
	}
	same := c.o.TrustInode && a.Inode != (Inode{}) && a.Inode == b.Inode
	d := c.meta(a, b)
	if c.o.Links {
		if a.Type != Directory && first(c.firstA, path, a) != first(c.firstB, path, b) {
			d |= LinkSet
		}
	}
	if a.Type == Regular && b.Type == Regular && !same {
		if a.Size != b.Size {
			d |= Contents
		} else if equal, err := c.content(path, a, b); err != nil {
			if err := c.unreadable(path, err); err != nil {
				return err
			}
		} else if !equal {
			d |= Contents
		}
	}
	if d != 0 {
		if err := c.fn(Change{path, d, a, b}); err != nil {
			return err
		}
	}
	if same || a.Type != Directory && b.Type != Directory {
		return nil
	}
	return c.children(path, a, b, depth)
}

// first returns the first path met of a node's hard-link group. Both trees are
// walked in one order, so groups are alike where these paths are.
func first(seen map[Inode]string, path string, n *Node) string {
	if n.Inode == (Inode{}) || n.Nlink < 2 {
		return path
	}
	if p, ok := seen[n.Inode]; ok {
		return p
	}
	seen[n.Inode] = path
	return path
}

func (c *comparer) children(path string, a, b *Node, depth int) error {
	if err := c.ctx.Err(); err != nil {
		return context.Cause(c.ctx)
	}
	ka, kb, err := c.lists(path, a, b)
	if err != nil {
		return err
	}
	for len(ka) > 0 || len(kb) > 0 {
		switch {
		case len(kb) == 0 || len(ka) > 0 && ka[0].Name < kb[0].Name:
			err, ka = c.alone(Join(path, ka[0].Name), ka[0], Absent), ka[1:]
		case len(ka) == 0 || kb[0].Name < ka[0].Name:
			err, kb = c.alone(Join(path, kb[0].Name), kb[0], Only), kb[1:]
		default:
			err = c.pair(Join(path, ka[0].Name), ka[0], kb[0], depth+1)
			ka, kb = ka[1:], kb[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unreadable tells of a path that cannot be read; nil is to go on.
func (c *comparer) unreadable(path string, err error) error {
	if c.o.Bad == nil || c.ctx.Err() != nil {
		return fmt.Errorf("%s: %w", Quote(path), err)
	}
	return c.o.Bad(path, err)
}

// lists lists both directories, without what cannot be read in either.
func (c *comparer) lists(path string, a, b *Node) (ka, kb []*Node, err error) {
	if c.o.Bad == nil {
		if ka, err = a.ChildrenAt(path); err != nil {
			return nil, nil, err
		}
		kb, err = b.ChildrenAt(path)
		return ka, kb, err
	}
	ka, badA, errA := a.Readable()
	kb, badB, errB := b.Readable()
	if err := cmp.Or(errA, errB); err != nil {
		return nil, nil, c.unreadable(path, err)
	}
	names := map[string]error{}
	for _, e := range append(slices.Clone(badA), badB...) {
		names[e.Name] = e.Err
	}
	if len(names) == 0 {
		return ka, kb, nil
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if err := c.unreadable(Join(path, name), names[name]); err != nil {
			return nil, nil, err
		}
	}
	known := func(n *Node) bool { return names[n.Name] != nil }
	return slices.DeleteFunc(slices.Clone(ka), known), slices.DeleteFunc(slices.Clone(kb), known), nil
}

// alone reports what only one tree has.
func (c *comparer) alone(path string, n *Node, d Difference) error {
	seen := c.firstB
	if d == Absent {
		seen = c.firstA
	}
	w := walker{ctx: c.ctx, bad: c.o.Bad}
	w.fn = func(p string, n *Node) error {
		if c.o.Links && n.Type != Directory {
			first(seen, p, n)
		}
		ch := Change{Path: p, Diff: d, B: n}
		if d == Absent {
			ch.A, ch.B = n, nil
		}
		if err := c.fn(ch); err != nil {
			return err
		}
		if c.o.ShallowDirs && n.Type == Directory {
			return SkipDir
		}
		return nil
	}
	return w.walk(path, n, 0)
}

func (c *comparer) meta(a, b *Node) (d Difference) {
	if a.Type != b.Type {
		d |= TypeOf
	}
	if a.Perm != b.Perm {
		d |= Mode
	}
	if a.UID != b.UID || a.GID != b.GID {
		d |= Owner
	}
	ma, mb := a.Mtime, b.Mtime
	if c.o.WholeSeconds {
		ma, mb = ma.Whole(), mb.Whole()
	}
	if ma != mb {
		d |= Mtimes
	}
	if a.Rdev != b.Rdev {
		d |= Device
	}
	if a.Target != b.Target {
		d |= LinkText
	}
	if (a.Flags^b.Flags)&c.o.Flags != 0 {
		d |= FlagSet
	}
	xa, xb := a.Xattrs, b.Xattrs
	if c.o.IgnoreXattr != nil {
		keep := func(x Xattr) bool { return !c.o.IgnoreXattr(x.Name) }
		xa, xb = xa.Filter(keep), xb.Filter(keep)
	}
	if !xa.Equal(xb) {
		d |= XattrSet
	}
	return d
}

// content compares files of equal size.
func (c *comparer) content(path string, a, b *Node) (bool, error) {
	if a.Size == 0 {
		return true, nil
	}
	if c.o.SameContent != nil {
		if same, err := c.o.SameContent(path, a, b); same || err != nil {
			return same, err
		}
	}
	return c.read(a, b)
}

// SameContent reports whether two regular files hold the same bytes.
func SameContent(ctx context.Context, a, b *Node) (bool, error) {
	if a.Size != b.Size {
		return false, nil
	}
	c := comparer{ctx: ctx}
	return c.read(a, b)
}

// SameBytes reports whether two contents hold the same bytes.
func SameBytes(ctx context.Context, a, b Content) (bool, error) {
	if a.Size() != b.Size() {
		return false, nil
	}
	c := comparer{ctx: ctx}
	return c.contents(a, b, a.Size())
}

// read compares the bytes of files of equal size.
func (c *comparer) read(a, b *Node) (bool, error) {
	ca, err := a.Open()
	if err != nil {
		return false, err
	}
	defer ca.Close()
	cb, err := b.Open()
	if err != nil {
		return false, err
	}
	defer cb.Close()
	return c.contents(ca, cb, a.Size)
}

// contents compares two that should have size bytes.
func (c *comparer) contents(ca, cb Content, size int64) (bool, error) {
	if n := min(size, 1<<20); int64(len(c.bufA)) < n {
		c.bufA, c.bufB = make([]byte, n), make([]byte, n)
	}
	for off := int64(0); off < size; {
		// Ranges that are holes in both need no reading.
		var err error
		off, err = skipHoles(ca, cb, off, size)
		if err != nil {
			return false, err
		}
		n := min(int64(len(c.bufA)), size-off)
		if err := ReadFull(ca, c.bufA[:n], off); err != nil {
			return false, err
		}
		if err := ReadFull(cb, c.bufB[:n], off); err != nil {
			return false, err
		}
		if !bytes.Equal(c.bufA[:n], c.bufB[:n]) {
			return false, nil
		}
		if err := c.ctx.Err(); err != nil {
			return false, context.Cause(c.ctx)
		}
		off += n
	}
	return true, nil
}
