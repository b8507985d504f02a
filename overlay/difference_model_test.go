package overlay

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"relive/tree"
)

// file is an inode of a modelled tree; a directory has kids.
type file struct {
	meta  tree.Meta
	x     tree.Xattrs
	data  string
	kids  map[string]*file
	nlink uint32
}

// modeller makes random trees and changes them.
type modeller struct {
	r       *rand.Rand
	marks   bool // marks and whiteouts lie about, as in a tree of storage
	numbers map[any]uint64
}

var modelNames = []string{"a", "b", "c", "d", "e", ".wh.a", ".wh..wh..opq", "\xff\n"}

func (g *modeller) one(n int) bool { return g.r.IntN(n) == 0 }

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func (g *modeller) attrs() (x tree.Xattrs) {
	names := []string{"user.k", "security.capability", "trusted.t", "user.overlay.opaque",
		"trusted.overlay.opaque", "trusted.overlay.whiteout", "trusted.overlay.redirect", "trusted.overlay.overlay.opaque",
		"trusted.overlay.zz"}
	for _, name := range names {
		if g.one(12) {
			x = append(x, tree.Xattr{Name: name, Value: pick(g.r, []string{"", "y", "x", "/a"})})
		}
	}
	tree.SortXattrs(x)
	return x
}

func (g *modeller) leaf() *file {
	f := &file{meta: tree.Meta{Type: pick(g.r, []tree.Type{tree.Regular, tree.Regular, tree.Regular, tree.Symlink, tree.CharDevice,
		tree.BlockDevice, tree.FIFO, tree.Socket}),
		Perm: pick(g.r, []uint16{0o644, 0o4755}), UID: uint32(g.r.IntN(2)), Mtime: tree.Time{Sec: int64(g.r.IntN(3)),
			Nsec: uint32(g.r.IntN(2))}}}
	switch f.meta.Type {
	case tree.Regular:
		f.data = strings.Repeat("x", g.r.IntN(3))
	case tree.Symlink:
		f.meta.Target = pick(g.r, []string{"t", "u"})
	case tree.CharDevice, tree.BlockDevice:
		f.meta.Rdev = tree.Rdev{Major: uint32(g.r.IntN(2)) + 1}
		if g.marks && g.one(2) {
			f.meta.Rdev = tree.Rdev{}
		}
	}
	f.x = g.attrs()
	return f
}

func (g *modeller) dir(depth int) *file {
	d := &file{meta: tree.Meta{Type: tree.Directory, Perm: pick(g.r, []uint16{0o755, 0o700}), Mtime: tree.Time{Sec: int64(g.r.IntN(2))}},
		x: g.attrs(), kids: map[string]*file{}}
	for _, name := range modelNames {
		switch k := g.r.IntN(8); {
		case k < 3:
		case k < 5 && depth < 3:
			d.kids[name] = g.dir(depth + 1)
		default:
			d.kids[name] = g.leaf()
		}
	}
	return d
}

// clone copies the directories; all else is shared.
func (f *file) clone() *file {
	c := *f
	if f.kids != nil {
		c.kids = map[string]*file{}
		for name, k := range f.kids {
			if k.kids != nil {
				k = k.clone()
			}
			c.kids[name] = k
		}
	}
	return &c
}

func (f *file) dirs() []*file {
	out := []*file{f}
	for _, name := range slices.Sorted(maps.Keys(f.kids)) {
		if k := f.kids[name]; k.kids != nil {
			out = append(out, k.dirs()...)
		}
	}
	return out
}

// someName returns a directory and a name that it has, or nil.
func (g *modeller) someName(root *file, leaf bool) (*file, string) {
	for range 20 {
		d := pick(g.r, root.dirs())
		if len(d.kids) == 0 {
			continue
		}
		name := pick(g.r, slices.Sorted(maps.Keys(d.kids)))
		if !leaf || d.kids[name].kids == nil {
			return d, name
		}
	}
	return nil, ""
}

func (f *file) replace(old, with *file) {
	for name, k := range f.kids {
		if k == old {
			f.kids[name] = with
		} else if k.kids != nil {
			k.replace(old, with)
		}
	}
}

// change does one thing to the tree.
func (g *modeller) change(root *file) {
	switch g.r.IntN(11) {
	case 0:
		pick(g.r, root.dirs()).kids[pick(g.r, modelNames)] = g.leaf()
	case 1:
		pick(g.r, root.dirs()).kids[pick(g.r, modelNames)] = g.dir(2)
	case 2:
		if d, name := g.someName(root, false); d != nil {
			delete(d.kids, name)
		}
	case 3: // a file changes under all its names
		if d, name := g.someName(root, true); d != nil {
			root.replace(d.kids[name], g.leaf())
		}
	case 4: // a name gets an equal file of its own
		if d, name := g.someName(root, true); d != nil {
			c := *d.kids[name]
			d.kids[name] = &c
		}
	case 5, 6: // a further name
		if d, name := g.someName(root, true); d != nil {
			pick(g.r, root.dirs()).kids[pick(g.r, modelNames)] = d.kids[name]
		}
	case 7: // all that a directory holds
		if d := pick(g.r, root.dirs()); d != root {
			d.kids = map[string]*file{}
			if g.one(2) {
				d.kids = g.dir(2).kids
			}
		}
	case 8: // moved
		if d, name := g.someName(root, false); d != nil {
			k := d.kids[name]
			delete(d.kids, name)
			pick(g.r, root.dirs()).kids[pick(g.r, modelNames)] = k
		}
	case 9:
		d := pick(g.r, root.dirs())
		d.meta.Perm ^= 0o077
	case 10: // metadata, or bytes alone
		if d, name := g.someName(root, true); d != nil {
			c := *d.kids[name]
			if c.meta.Type == tree.Regular && g.one(2) {
				c.data = strings.Repeat("z", len(c.data))
			} else {
				c.x = g.attrs()
			}
			root.replace(d.kids[name], &c)
		}
	}
}

func (f *file) count() {
	for _, k := range f.kids {
		k.nlink = 0
	}
	for _, k := range f.kids {
		if k.kids != nil {
			k.count()
		}
	}
}

func (f *file) countUp() {
	for _, k := range f.kids {
		k.nlink++
		if k.kids != nil {
			k.countUp()
		}
	}
}

// number returns equal things equal inode numbers.
func (g *modeller) number(of any) uint64 {
	if _, ok := g.numbers[of]; !ok {
		g.numbers[of] = uint64(len(g.numbers) + 1)
	}
	return g.numbers[of]
}

// tree makes nodes of the model. Directories have equal inodes where all that
// they hold is the same.
func (g *modeller) tree(root *file, source any, listed func(path string)) *tree.Node {
	root.count()
	root.countUp()
	n, _ := g.node("", "", root, source, listed)
	return n
}

func (g *modeller) node(path, name string, f *file, source any, listed func(string)) (*tree.Node, string) {
	n := &tree.Node{Name: name, Meta: f.meta, Xattrs: f.x, Nlink: f.nlink}
	if f.kids == nil {
		n.Inode = tree.Inode{Source: source, Number: g.number(f)}
		switch f.meta.Type {
		case tree.Regular:
			n.Data, n.Size = tree.Bytes(f.data), int64(len(f.data))
		case tree.Symlink:
			n.Size = int64(len(f.meta.Target))
		}
		return n, fmt.Sprintf("%q:%d\n", name, n.Inode.Number)
	}
	key := ""
	kids := []*tree.Node{}
	for _, k := range slices.Sorted(maps.Keys(f.kids)) {
		kid, id := g.node(tree.Join(path, k), k, f.kids[k], source, listed)
		kids = append(kids, kid)
		key += id
	}
	n.Inode = tree.Inode{Source: source, Number: g.number("{" + key + "}")}
	n.Dir = watched{kids, path, listed}
	return n, fmt.Sprintf("%q:%d %v %v\n", name, n.Inode.Number, f.meta, f.x)
}

type watched struct {
	kids   []*tree.Node
	path   string
	listed func(string)
}

func (w watched) Children() ([]*tree.Node, error) {
	if w.listed != nil {
		w.listed(w.path)
	}
	return w.kids, nil
}

// pair makes two trees that are related.
func (g *modeller) pair(shared bool) (lower, merged *tree.Node) {
	g.numbers = map[any]uint64{}
	a := g.dir(0)
	for range g.r.IntN(12) {
		g.change(a)
	}
	b := a.clone()
	for range g.r.IntN(12) {
		g.change(b)
	}
	s, u := new(int), new(int)
	lower = g.tree(a, s, nil)
	if shared {
		u = s
	}
	return lower, g.tree(b, u, nil)
}
