package threeway

import (
	"context"
	"errors"
	"fmt"

	"relive/tree"
)

// Side is one of the trees that are merged.
type Side uint8

// The sides. Undecided is none.
const (
	Undecided Side = iota
	Ours
	Theirs
)

// Options say how trees are merged.
type Options struct {
	// Decide tells which side a conflict is decided for; it may be nil. It is
	// called in walking order, but for units, which come first.
	Decide func(Conflict) (Side, error)
	// Units are databases that are never merged by file.
	Units []Unit
	// Theirs are paths that are always as theirs has them.
	Theirs []string
	// Content may merge the contents of a file that all have and both sides changed;
	// ok is false where it cannot, which is a conflict. It may be nil.
	Content func(path string, base, ours, theirs *tree.Node) (text []byte, ok bool, err error)
	// SameContent may tell without reading that two files have equal bytes; see
	// tree.CompareOptions. It may be nil.
	SameContent func(path string, a, b *tree.Node) (bool, error)
}

// Conflict is a path, or a unit, that both sides have changed.
type Conflict struct {
	Path string
	Unit string // the name of the unit, "" for a path alone
	// Ours and Theirs tell in a few words what each side has done.
	Ours, Theirs string
}

// Result is what a merge gives.
type Result struct {
	// Root is the merged tree, nil where conflicts are undecided. Its nodes are
	// those of the sides as far as possible.
	Root *tree.Node
	// Conflicts is how many there are, of which so many were decided.
	Conflicts, Ours, Theirs int
	// Units tells for each unit which side it came from whole.
	Units []Side
}

// Merge merges the changes that ours and theirs made to base. All three are
// directories. Nodes of base and ours that have the same Inode are taken for the
// same, with all below. It lists the directories that ours has changed, and
// holds the nodes of those in memory.
func Merge(ctx context.Context, base, ours, theirs *tree.Node, o Options) (*Result, error) {
	m := &merger{ctx: ctx, o: o, res: &Result{Units: make([]Side, len(o.Units))}, units: map[string]Side{}, mixed: map[trio]tree.Inode{}}
	for i, u := range o.Units {
		side, whole, err := m.unit(u, base, ours, theirs)
		if err != nil {
			return nil, err
		}
		m.res.Units[i] = side
		if !whole {
			continue
		}
		for _, path := range u.Paths {
			m.units[path] = side
		}
	}
	for _, path := range o.Theirs {
		m.units[path] = Theirs
	}
	root, err := m.directory("", base, ours, theirs, 0)
	if err != nil {
		return nil, err
	}
	if m.res.Ours+m.res.Theirs == m.res.Conflicts {
		m.res.Root = root
	}
	return m.res, nil
}

type merger struct {
	ctx   context.Context
	o     Options
	res   *Result
	units map[string]Side // the side of each path that is taken whole
	mixed map[trio]tree.Inode
}

// trio are the inodes that a mixed one was made of: names that are linked on
// every side are linked again.
type trio struct{ base, ours, theirs tree.Inode }

// unchanged tells without looking that b is what a is, with all below.
func unchanged(a, b *tree.Node) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Inode != (tree.Inode{}) && a.Inode == b.Inode
}

func isDir(n *tree.Node) bool { return n != nil && n.Type == tree.Directory }

// node merges what lies at a path; each may be nil, and so may the result.
func (m *merger) node(path string, base, ours, theirs *tree.Node, depth int) (*tree.Node, error) {
	if depth > tree.MaxDepth {
		return nil, fmt.Errorf("%s: directories nest deeper than %d", tree.Quote(path), tree.MaxDepth)
	}
	if side, ok := m.units[path]; ok {
		if side == Ours {
			return ours, nil
		}
		return theirs, nil
	}
	switch {
	case unchanged(base, ours):
		return theirs, nil
	case unchanged(base, theirs):
		return ours, nil
	case ours == nil && theirs == nil:
		return nil, nil
	case isDir(ours) && (isDir(theirs) || theirs == nil && isDir(base)):
		return m.directory(path, base, ours, theirs, depth)
	}
	if ours != nil && theirs != nil && ours.Type == theirs.Type {
		return m.file(path, base, ours, theirs)
	}
	// Whole, with all that lies below.
	if same, err := m.same(base, ours); same || err != nil {
		return theirs, err
	}
	if same, err := m.same(base, theirs); same || err != nil {
		return ours, err
	}
	if same, err := m.same(ours, theirs); same || err != nil {
		return theirs, err
	}
	return m.conflict(path, base, ours, theirs)
}

// conflict lets the caller decide for a side.
func (m *merger) conflict(path string, base, ours, theirs *tree.Node) (*tree.Node, error) {
	if m.untold(path) {
		return theirs, nil
	}
	a, err := m.did(base, ours)
	if err != nil {
		return nil, err
	}
	b, err := m.did(base, theirs)
	if err != nil {
		return nil, err
	}
	side, err := m.decide(Conflict{Path: path, Ours: a, Theirs: b})
	if side == Ours {
		return ours, err
	}
	return theirs, err
}

func (m *merger) decide(c Conflict) (side Side, err error) {
	m.res.Conflicts++
	if m.o.Decide != nil {
		side, err = m.o.Decide(c)
	}
	switch side {
	case Ours:
		m.res.Ours++
	case Theirs:
		m.res.Theirs++
	}
	return side, err
}

// directory merges a directory of ours with one of theirs, or with nothing where
// theirs has deleted it. base may be anything.
func (m *merger) directory(path string, base, ours, theirs *tree.Node, depth int) (*tree.Node, error) {
	if err := m.ctx.Err(); err != nil {
		return nil, context.Cause(m.ctx)
	}
	var lists [3][]*tree.Node
	for i, n := range [3]*tree.Node{base, ours, theirs} {
		if !isDir(n) {
			continue
		}
		kids, err := n.Children()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tree.Quote(path), err)
		}
		lists[i] = kids
	}
	var out tree.List
	allOurs, allTheirs := true, true // what came out is what that side has
	for {
		name, at := next(&lists)
		if name == "" {
			break
		}
		n, err := m.node(tree.Join(path, name), at[0], at[1], at[2], depth+1)
		if err != nil {
			return nil, err
		}
		allOurs, allTheirs = allOurs && n == at[1], allTheirs && n == at[2]
		if n != nil {
			out = append(out, n)
		}
	}
	if theirs == nil {
		return m.deleted(path, base, ours, out, allOurs)
	}
	meta, err := m.directoryMeta(path, base, ours, theirs)
	if err != nil {
		return nil, err
	}
	switch {
	case allTheirs && sameMeta(&meta, theirs):
		return theirs, nil
	case allOurs && sameMeta(&meta, ours) && meta.Mtime == ours.Mtime:
		return ours, nil
	}
	meta.Inode, meta.Dir = tree.Inode{}, out
	return &meta, nil
}

// deleted is what remains of a directory that theirs has deleted.
func (m *merger) deleted(path string, base, ours *tree.Node, left tree.List, all bool) (*tree.Node, error) {
	switch {
	case all && len(left) > 0:
		return ours, nil
	case len(left) > 0:
		c := *ours
		c.Inode, c.Dir = tree.Inode{}, left
		return &c, nil
	case sameMeta(base, ours):
		return nil, nil
	}
	c := *ours // alone
	c.Inode, c.Dir = tree.Inode{}, tree.List(nil)
	return m.conflict(path, base, &c, nil)
}

// next takes the first name off the lists, with the nodes that have it.
func next(lists *[3][]*tree.Node) (name string, at [3]*tree.Node) {
	for _, list := range lists {
		if len(list) > 0 && (name == "" || list[0].Name < name) {
			name = list[0].Name
		}
	}
	for i, list := range lists {
		if name != "" && len(list) > 0 && list[0].Name == name {
			at[i], lists[i] = list[0], list[1:]
		}
	}
	return name, at
}

// same reports whether two paths hold the same, with all below, but for the times
// of directories.
func (m *merger) same(a, b *tree.Node) (bool, error) {
	if a == nil || b == nil || a.Type != b.Type {
		return a == b, nil
	}
	d, err := m.differences(a, b, true)
	return d == 0, err
}

// differences returns what sets two nodes apart, with all below or on their own;
// with all below it stops at the first.
func (m *merger) differences(a, b *tree.Node, deep bool) (d tree.Difference, err error) {
	if !deep && a.Type == tree.Directory {
		x, y := *a, *b
		x.Dir, y.Dir = tree.List(nil), tree.List(nil)
		a, b = &x, &y
	}
	errFound := errors.New("another")
	o := tree.CompareOptions{WholeSeconds: true, TrustInode: true, ShallowDirs: true, SameContent: m.o.SameContent}
	err = tree.Compare(m.ctx, a, b, o, func(c tree.Change) error {
		if c.A != nil && c.A.Type == tree.Directory {
			c.Diff &^= tree.Mtimes
		}
		d |= c.Diff
		if d != 0 && deep {
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return d, err
}

// did tells in words what became of a path.
func (m *merger) did(was, is *tree.Node) (string, error) {
	switch {
	case was == nil && is == nil:
		return "left out", nil
	case was == nil:
		return "added", nil
	case is == nil:
		return "deleted", nil
	case was.Type != is.Type:
		return "made a " + is.Type.String(), nil
	}
	d, err := m.differences(was, is, false)
	switch {
	case err != nil:
		return "", err
	case d == 0:
		return "changed below", nil
	}
	if d != tree.Mtimes {
		d &^= tree.Mtimes // it goes with the rest
	}
	return "changed: " + d.String(), nil
}
