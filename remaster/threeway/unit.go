package threeway

import (
	"errors"
	"strings"

	"relive/tree"
)

// Unit is a database of files that only mean something together.
type Unit struct {
	Name string
	// Paths are its files and directories.
	Paths []string
	// Told tells of a path in it, one of Paths or below one, whether its content
	// tells what the database holds; nil for all. Locks and copies of a former state
	// do not.
	Told func(path string) bool
}

// unit decides which side a unit comes from. Where neither has changed what it
// tells it is not whole: its files are merged like others.
func (m *merger) unit(u Unit, base, ours, theirs *tree.Node) (side Side, whole bool, err error) {
	changed, err := m.differs(u, base, ours)
	if err != nil {
		return Undecided, false, err
	}
	brought, err := m.differs(u, base, theirs)
	switch {
	case err != nil || !changed && !brought:
		return Undecided, false, err
	case !changed:
		return Theirs, true, nil
	case !brought:
		return Ours, true, nil
	}
	apart, err := m.differs(u, ours, theirs)
	switch {
	case err != nil:
		return Undecided, false, err
	case !apart:
		return Theirs, true, nil
	}
	path, err := u.place(ours, theirs)
	if err != nil {
		return Undecided, false, err
	}
	side, err = m.decide(Conflict{Path: path, Unit: u.Name, Ours: "changed", Theirs: "changed"})
	return side, true, err
}

// place is the first of the unit's paths that one of the trees has.
func (u *Unit) place(of ...*tree.Node) (string, error) {
	for _, path := range u.Paths {
		for _, root := range of {
			if n, err := root.Lookup(path); n != nil || err != nil {
				return path, err
			}
		}
	}
	return u.Paths[0], nil
}

// untold tells of a path in a unit that does not count.
func (m *merger) untold(path string) bool {
	for _, u := range m.o.Units {
		for _, p := range u.Paths {
			if u.Told != nil && strings.HasPrefix(path, p+"/") {
				return !u.Told(path)
			}
		}
	}
	return false
}

// differs reports whether the content of a unit is another in the two trees.
func (m *merger) differs(u Unit, a, b *tree.Node) (bool, error) {
	for _, path := range u.Paths {
		x, err := a.Lookup(path)
		if err != nil {
			return false, err
		}
		y, err := b.Lookup(path)
		if err != nil {
			return false, err
		}
		if differs, err := m.differsAt(u, path, x, y); differs || err != nil {
			return differs, err
		}
	}
	return false, nil
}

func (m *merger) differsAt(u Unit, at string, a, b *tree.Node) (bool, error) {
	if a == nil && b == nil {
		return false, nil
	}
	// One that is missing holds nothing.
	if a == nil {
		a = &tree.Node{Meta: tree.Meta{Type: tree.Directory}, Dir: tree.List(nil)}
	}
	if b == nil {
		b = &tree.Node{Meta: tree.Meta{Type: tree.Directory}, Dir: tree.List(nil)}
	}
	errFound := errors.New("another")
	o := tree.CompareOptions{TrustInode: true, SameContent: m.o.SameContent}
	err := tree.Compare(m.ctx, a, b, o, func(c tree.Change) error {
		if path := strings.TrimPrefix(c.Path, "/"); path != "" && u.Told != nil && !u.Told(tree.Join(at, path)) {
			return nil
		}
		onlyDir := func(n *tree.Node) bool { return n == nil || n.Type == tree.Directory }
		if c.Diff&(tree.Absent|tree.Only|tree.TypeOf|tree.LinkText|tree.Contents) == 0 || onlyDir(c.A) && onlyDir(c.B) {
			return nil
		}
		return errFound
	})
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}
