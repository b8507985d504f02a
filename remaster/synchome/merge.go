package synchome

import (
	"relive/remaster/exclude"
	"relive/tree"
)

// homeMerge lays the homes of one side over those of another. Trees are paired
// as they are listed; what no exclude and nothing else touches is the very node
// of one side.
type homeMerge struct {
	rules *exclude.Set // nil for none
	keep  bool         // what only the side below has stays
}

func (m *homeMerge) excluded(path string) bool {
	if m.rules == nil {
		return false
	}
	_, ok := m.rules.Excluded(path)
	return ok
}

// node returns what is to show at a path: from, but for what is excluded, which
// stays as to has it. Either may be nil, and nil is nothing.
func (m *homeMerge) node(path string, to, from *tree.Node) (*tree.Node, error) {
	switch {
	case m.excluded(path), from == nil && m.keep:
		return to, nil
	case from == nil && (to == nil || m.rules == nil):
		return nil, nil
	case from == nil:
		return m.protected(path, to)
	case from.Type != tree.Directory:
		return from, nil
	}
	if to != nil && to.Type != tree.Directory {
		to = nil
	}
	if m.rules == nil && (to == nil || !m.keep) {
		return from, nil
	}
	c := *from
	c.Inode = tree.Inode{}
	c.Dir = &mergedHome{m, path, to, from}
	return &c, nil
}

// protected returns what stays of a file that is to go: what is excluded below it,
// and the directories on the way there.
func (m *homeMerge) protected(path string, n *tree.Node) (*tree.Node, error) {
	if n.Type != tree.Directory {
		return nil, nil
	}
	kids, err := n.Children()
	if err != nil {
		return nil, err
	}
	var left tree.List
	for _, k := range kids {
		at := tree.Join(path, k.Name)
		if !m.excluded(at) {
			if k, err = m.protected(at, k); err != nil {
				return nil, err
			}
		}
		if k != nil {
			left = append(left, k)
		}
	}
	if len(left) == 0 {
		return nil, nil
	}
	c := *n
	c.Inode, c.Dir = tree.Inode{}, left
	return &c, nil
}

// mergedHome lists a directory that both sides may have.
type mergedHome struct {
	m        *homeMerge
	path     string
	to, from *tree.Node // to may be nil
}

// Children implements tree.Dir.
func (d *mergedHome) Children() ([]*tree.Node, error) {
	var out []*tree.Node
	err := sideBySide(d.to, d.from, func(name string, to, from *tree.Node) error {
		n, err := d.m.node(tree.Join(d.path, name), to, from)
		if n != nil {
			out = append(out, n)
		}
		return err
	})
	return out, err
}

// sideBySide calls fn for each name that one of the directories has, in order.
func sideBySide(a, b *tree.Node, fn func(name string, a, b *tree.Node) error) error {
	var as, bs []*tree.Node
	var err error
	if a != nil {
		if as, err = a.Children(); err != nil {
			return err
		}
	}
	if b != nil {
		if bs, err = b.Children(); err != nil {
			return err
		}
	}
	for len(as) > 0 || len(bs) > 0 {
		var x, y *tree.Node
		if len(bs) == 0 || len(as) > 0 && as[0].Name <= bs[0].Name {
			x = as[0]
		}
		if len(as) == 0 || len(bs) > 0 && bs[0].Name <= as[0].Name {
			y = bs[0]
		}
		name := ""
		if x != nil {
			name, as = x.Name, as[1:]
		}
		if y != nil {
			name, bs = y.Name, bs[1:]
		}
		if err := fn(name, x, y); err != nil {
			return err
		}
	}
	return nil
}
