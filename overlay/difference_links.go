package overlay

import (
	"relive/tree"
)

// linkGroup is a file of the merged tree and the names of it that were met.
type linkGroup struct {
	inode tree.Inode
	nlink uint32
	names uint32
	// members are the names at which the lower tree has an equal file.
	members []member
	// lower is the inode of these, zero where that has one name.
	lower      tree.Inode
	lowerNlink uint32
	up         bool
	device00   bool // it must not go up
}

// member is a name in a directory of both trees.
type member struct {
	p    *dirPlan
	name string
}

// skippedDir is a directory that was taken for the same in both trees.
type skippedDir struct {
	p *dirPlan
	n *tree.Node
}

// linked reports whether a node may have a second name.
func linked(n *tree.Node) bool {
	return n.Type != tree.Directory && n.Nlink >= 2 && n.Inode != (tree.Inode{})
}

// link takes in a name of the merged tree, and the file l that the lower tree
// has for it, if any; equal tells whether it could stay there.
func (d *differ) link(p *dirPlan, name string, l, m *tree.Node, equal bool) {
	lower := l != nil && linked(l)
	if !linked(m) && (!equal || !lower) {
		return
	}
	g := d.groups[m.Inode]
	if !linked(m) || g == nil {
		g = &linkGroup{inode: m.Inode, nlink: m.Nlink, device00: d.marks.isDevice00(m)}
		d.order = append(d.order, g)
		if linked(m) {
			d.groups[m.Inode] = g
		}
	}
	g.names++
	if !equal {
		g.up = true
		return
	}
	id := tree.Inode{}
	if lower {
		id = l.Inode
	}
	if len(g.members) == 0 {
		g.lower, g.lowerNlink = id, l.Nlink
	} else if g.lower != id {
		g.up = true
	}
	g.members = append(g.members, member{p, name})
}

// settle decides which hard-link groups go up. A group can stay in the lower
// tree where all its names are equal there and names of one file, and no other
// group claims names of the same file.
func (d *differ) settle() error {
	for _, g := range d.order {
		if g.names > 1 && g.lower == (tree.Inode{}) {
			g.up = true
		}
	}
	if err := d.search(); err != nil {
		return err
	}
	// Of the groups that claim one lower file, it stays with the one that has
	// its identity, or else with the largest.
	keeps := map[tree.Inode]*linkGroup{}
	for _, g := range d.order {
		if g.up || g.lower == (tree.Inode{}) {
			continue
		}
		k := keeps[g.lower]
		if k == nil || g.inode == g.lower || k.inode != k.lower && g.names > k.names {
			keeps[g.lower] = g
		}
	}
	for _, g := range d.order {
		if g.up || g.lower == (tree.Inode{}) {
			continue
		}
		// In a skipped directory the lower file's names are linked to itself.
		hidden := len(d.skipped) > 0 && g.lowerNlink > d.lowerNames[g.lower]
		g.up = keeps[g.lower] != g || g.inode != g.lower && hidden
	}
	for _, g := range d.order {
		if !g.up {
			continue
		}
		for _, m := range g.members {
			if g.device00 {
				return device00(tree.Join(m.p.path(), m.name))
			}
			if !m.p.skipped {
				m.p.remain--
			}
			m.p.up = append(m.p.up, m.name)
		}
	}
	return nil
}

// search looks into the skipped directories for further names of groups that go
// up, or that have names at which the lower tree has another file. It does so
// only for files of the lower tree with more names than were met.
func (d *differ) search() error {
	if len(d.skipped) == 0 {
		return nil
	}
	want := map[tree.Inode]*linkGroup{}
	for _, g := range d.order {
		if (g.up || g.inode != g.lower) && g.nlink > g.names && d.groups[g.inode] == g && d.sources[g.inode.Source] {
			want[g.inode] = g
		}
	}
	if len(want) == 0 {
		return nil
	}
	for _, s := range d.skipped {
		if err := d.searchDir(want, s.n, &place{p: s.p}, 0); err != nil {
			return err
		}
	}
	return nil
}

// place is a directory below a skipped one.
type place struct {
	p    *dirPlan // nil where none was needed yet
	name string
	in   *place
}

// plan returns the directory's plan, and sees that those that lead there know of it.
func (at *place) plan() *dirPlan {
	if at.in == nil {
		if at.p.loose {
			at.p.loose = false
			at.p.parent.kids = append(at.p.parent.kids, at.p)
		}
		return at.p
	}
	if at.p == nil {
		at.p = &dirPlan{name: at.name, parent: at.in.plan(), skipped: true, remain: 1}
		at.p.parent.kids = append(at.p.parent.kids, at.p)
	}
	return at.p
}

func (d *differ) searchDir(want map[tree.Inode]*linkGroup, n *tree.Node, at *place, depth int) error {
	kids, err := d.enter(n.Name, n, depth)
	if err != nil {
		return err
	}
	for _, k := range kids {
		if k.Type == tree.Directory {
			if err := d.searchDir(want, k, &place{name: k.Name, in: at}, depth+1); err != nil {
				return err
			}
			continue
		}
		g := want[k.Inode]
		if g == nil || !linked(k) {
			continue
		}
		g.names++
		g.up = true
		g.members = append(g.members, member{at.plan(), k.Name})
	}
	return nil
}
