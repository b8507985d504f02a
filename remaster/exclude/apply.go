package exclude

import "relive/tree"

// Apply returns the tree without what is excluded. It lists no directory before
// it is asked to. A directory in which some rule can match stands for itself
// alone (its Inode is zero), as its listing may differ from the source's; below
// a directory that no rule can reach, and for all that is no directory, the
// nodes are the source's own.
func (s *Set) Apply(root *tree.Node) *tree.Node {
	return s.wrap(root, s.top())
}

func (s *Set) wrap(n *tree.Node, l live) *tree.Node {
	if len(l) == 0 || n.Dir == nil {
		return n
	}
	c := *n
	c.Inode = tree.Inode{}
	c.Dir = &dir{set: s, of: n, live: l}
	return &c
}

// dir is a directory without what is excluded.
type dir struct {
	set  *Set
	of   *tree.Node
	live live
}

// Children implements tree.Dir.
func (d *dir) Children() ([]*tree.Node, error) {
	all, unread, err := d.of.Readable()
	if err != nil {
		return nil, err
	}
	var bad []tree.BadEntry
	for _, b := range unread {
		if rule, _ := d.set.step(d.live, b.Name); rule < 0 {
			bad = append(bad, b)
		}
	}
	kept := make([]*tree.Node, 0, len(all))
	for _, n := range all {
		rule, below := d.set.step(d.live, n.Name)
		if rule < 0 {
			kept = append(kept, d.set.wrap(n, below))
		}
	}
	return tree.Partial(kept, bad)
}

// Lookup implements tree.Lookuper.
func (d *dir) Lookup(name string) (*tree.Node, error) {
	rule, below := d.set.step(d.live, name)
	if rule >= 0 {
		return nil, nil
	}
	n, err := d.of.Child(name)
	if n == nil || err != nil {
		return nil, err
	}
	return d.set.wrap(n, below), nil
}
