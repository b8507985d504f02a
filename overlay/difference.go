package overlay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"relive/tree"
)

// DifferenceOptions say how two trees are compared and in which form what sets
// them apart is recorded.
type DifferenceOptions struct {
	// Form is that of the layer. One of aufs has no use for the options up to
	// Escaped, and takes both trees as they are: it has no attributes of its own.
	Form Form
	// Namespace of the marks; AnyNamespace stands for Trusted.
	Namespace Namespace
	// XattrWhiteouts makes whiteouts empty files with the attribute
	// overlay.whiteout, in directories marked overlay.opaque="x", instead of
	// character devices 0:0: for what cannot hold devices. Linux 6.7 and later
	// know this form, and in lower layers only: of an upper one they list the
	// empty files.
	XattrWhiteouts bool
	// Origins gives directories that merge with a lower one the attribute
	// overlay.origin, empty, which to the kernel is "copied up, from where is
	// not known". An upper layer without it looks as if it had lost its
	// attributes (see Report.MaybeLostOpaque).
	Origins bool
	// Plain keeps marks out of attributes as far as that goes: a directory of both
	// trees has a whiteout for each name that is gone, also where one opaque mark
	// would do. Such a layer shows the same after it was copied without attributes.
	Plain bool
	// Flags says what becomes of the flags that chattr sets.
	Flags FlagForm
	// Escaped: the trees are as layers store them, as Merge gives them with
	// KeepEscaped: attributes of nested overlays are escaped already, and what
	// a mount would not show (marks, and whiteouts of a base that is taken as
	// it is) is no part of them. Otherwise the trees are what a mount shows, and
	// all attributes of the layer's own namespace are escaped.
	Escaped bool
	// WholeSeconds compares modification times as tree.CompareOptions does.
	WholeSeconds bool
	// TrustInode takes nodes of the same path with the same non-zero Inode for
	// the same: the content of such files is not read, and such directories are
	// not walked. Their metadata is compared.
	TrustInode bool
	// SameContent may tell without reading that two files of equal size hold
	// the same bytes. Where it says false the bytes are read.
	SameContent func(path string, lower, merged *tree.Node) (bool, error)
}

// FlagForm is how a layer holds flags that chattr sets.
type FlagForm uint8

// The forms.
const (
	// FlagsIgnored: they do not count, and the layer has none.
	FlagsIgnored FlagForm = iota
	// FlagsKept: files have them as in the merged tree: those that were marks stay
	// marks, others are of the file itself, which any kernel shows.
	FlagsKept
	// FlagsMarked: immutable and append only are marks, so that whoever works on
	// the layer's files can. Linux 5.14 and later show them. Others do not count.
	FlagsMarked
)

// counted are the flags that a layer holds.
func (f FlagForm) counted() tree.Flags {
	switch f {
	case FlagsKept:
		return tree.FlagsTold
	case FlagsMarked:
		return tree.FlagImmutable | tree.FlagAppend
	}
	return 0
}

// Difference returns the upper layer that makes merged of lower: the layer U for which Merge(U,
// lower) is merged, in names, types, permissions,
// owners, times, device numbers, link targets, attributes, hard-link groups and
// content. The kernel shows the same of the two.
//
// It is minimal: what is in lower as it is in merged is left out; whiteouts
// stand only for names that lower has; a directory is opaque where it replaces
// something else or where that saves whiteouts (see Plain), and directories without changes
// of their own are there only on the way to some. Files whose metadata changed
// go up with their content, since a metacopy binds a layer to its base. The
// names of a hard-link group go up together or not at all.
//
// Both trees are walked at once, but for what TrustInode skips; kept are the
// names that changed in directories of both trees, and those of linked files.
// New directories are listed when the layer's are. Where names were moved
// between hard-link groups, skipped directories may have to be searched for
// further names of them.
//
// A character device 0:0 in merged that lower has not is tree.ErrUnsupported:
// in a layer it would be a whiteout. (With Escaped it is one.) So are, of a layer
// of aufs, files named .wh.NAME, and names that are too long for a whiteout.
func Difference(ctx context.Context, lower, merged *tree.Node, o DifferenceOptions) (*tree.Node, error) {
	for _, n := range []*tree.Node{lower, merged} {
		if n == nil || n.Type != tree.Directory {
			return nil, tree.Corrupt("overlay", "difference", "the root is not a directory")
		}
	}
	if o.Namespace == AnyNamespace {
		o.Namespace = Trusted
	}
	if o.Form == Aufs {
		o.Escaped = false
	}
	u := &upperForm{o: o, marks: layer{form: o.Form, prefix: o.Namespace.Prefix()}}
	d := differ{
		ctx: ctx, upperForm: u,
		groups: map[tree.Inode]*linkGroup{}, lowerNames: map[tree.Inode]uint32{},
		sources: map[any]bool{}, equal: map[[2]tree.Inode]bool{},
	}
	root := &dirPlan{}
	d.note(lower)
	if err := d.pair("", root, lower, merged, 0); err != nil {
		return nil, err
	}
	if err := d.settle(); err != nil {
		return nil, err
	}
	root.finish(o.Plain)
	return u.merging(root, lower, merged), nil
}

// dirPlan is what the layer has to say about a directory of both trees.
type dirPlan struct {
	name   string
	parent *dirPlan
	kids   []*dirPlan // directories of both trees that go up, by name
	up     []string   // other names of both trees, of one type, that go up
	// meta: the directory's own metadata differ.
	meta bool
	// opaque: nothing of the lower directory shows.
	opaque bool
	// skipped: the directory was not walked; loose: it is not in parent.kids.
	skipped, loose bool
	// remain counts the names that stay where they are, whiteouts those that
	// are gone, added those that are new or of another type.
	remain, whiteouts, added int
}

// differ finds out what goes up.
type differ struct {
	*upperForm
	ctx     context.Context
	skipped []skippedDir
	// Hard-link groups of the merged tree, in the order in which they were met.
	groups map[tree.Inode]*linkGroup
	order  []*linkGroup
	// lowerNames counts the names of the lower tree's linked files that were met.
	lowerNames map[tree.Inode]uint32
	sources    map[any]bool // of the lower tree's inodes
	noted      *Merged      // the one whose layers' sources were noted last
	equal      map[[2]tree.Inode]bool
}

// note keeps in mind where the lower tree's inodes come from.
func (d *differ) note(n *tree.Node) {
	d.sources[n.Inode.Source] = true
	if m, ok := n.Dir.(*mergedDir); ok && m.m != d.noted {
		d.noted = m.m
		for i := range m.m.layers {
			d.sources[m.m.layers[i].root.Inode.Source] = true
		}
	}
}

// enter lists a directory on the way down, unless it lies too deep or the work is
// called off.
func (d *differ) enter(path string, n *tree.Node, depth int) ([]*tree.Node, error) {
	if depth > tree.MaxDepth {
		return nil, tree.TooDeep(path)
	}
	if d.ctx.Err() != nil {
		return nil, context.Cause(d.ctx)
	}
	return d.children(n)
}

// pair compares what two directories of one path hold.
func (d *differ) pair(path string, p *dirPlan, lower, merged *tree.Node, depth int) error {
	kl, err := d.enter(path, lower, depth)
	if err != nil {
		return err
	}
	km, err := d.children(merged)
	if err != nil {
		return err
	}
	return join(kl, km, func(l, m *tree.Node) error {
		if l != nil {
			d.note(l)
			if linked(l) {
				d.lowerNames[l.Inode]++
			}
		}
		switch {
		case m == nil:
			p.whiteouts++
			return d.hideable(path, l.Name)
		case l == nil, l.Type != m.Type:
			p.added++
			return d.new(tree.Join(path, m.Name), m, depth+1)
		case m.Type == tree.Directory:
			return d.directory(tree.Join(path, m.Name), p, l, m, depth+1)
		}
		return d.file(tree.Join(path, m.Name), p, l, m)
	})
}

// join calls fn for each name that either list has, with nil for the list that
// has it not.
func join(lower, merged []*tree.Node, fn func(l, m *tree.Node) error) error {
	for len(lower) > 0 || len(merged) > 0 {
		var l, m *tree.Node
		if len(merged) == 0 || len(lower) > 0 && lower[0].Name <= merged[0].Name {
			l = lower[0]
		}
		if l == nil || len(merged) > 0 && merged[0].Name == l.Name {
			m, merged = merged[0], merged[1:]
		}
		if l != nil {
			lower = lower[1:]
		}
		if err := fn(l, m); err != nil {
			return err
		}
	}
	return nil
}

// new takes in what only the merged tree has.
func (d *differ) new(path string, n *tree.Node, depth int) error {
	if err := d.storable(path, n); err != nil {
		return err
	}
	if n.Type != tree.Directory {
		d.link(nil, "", nil, n, false)
		return nil
	}
	kids, err := d.enter(path, n, depth)
	if err != nil {
		return err
	}
	for _, k := range kids {
		if err := d.new(tree.Join(path, k.Name), k, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) directory(path string, p *dirPlan, l, m *tree.Node, depth int) error {
	kid := &dirPlan{name: m.Name, parent: p, meta: !d.sameMeta(l, m)}
	if d.same(l, m) {
		kid.skipped, kid.remain = true, 1
		d.skipped = append(d.skipped, skippedDir{kid, m})
		if kid.meta {
			p.kids = append(p.kids, kid)
		} else {
			p.remain++
			kid.loose = true
		}
		return nil
	}
	p.kids = append(p.kids, kid)
	return d.pair(path, kid, l, m, depth)
}

// file compares what is no directory and of one type in both trees.
func (d *differ) file(path string, p *dirPlan, l, m *tree.Node) error {
	equal := d.sameMeta(l, m)
	if equal && m.Type == tree.Regular && !d.same(l, m) {
		var err error
		if equal, err = d.sameContent(path, l, m); err != nil {
			return err
		}
	}
	if d.link(p, m.Name, l, m, equal); equal {
		p.remain++
		return nil
	}
	p.up = append(p.up, m.Name)
	return d.storable(path, m)
}

func (d *differ) same(l, m *tree.Node) bool {
	return d.o.TrustInode && l.Inode != (tree.Inode{}) && l.Inode == m.Inode
}

func (d *differ) sameMeta(l, m *tree.Node) bool {
	tl, tm := l.Mtime, m.Mtime
	if d.o.WholeSeconds {
		tl, tm = tl.Whole(), tm.Whole()
	}
	if l.Perm != m.Perm || l.UID != m.UID || l.GID != m.GID || tl != tm || l.Rdev != m.Rdev || l.Target != m.Target ||
		(l.Flags^m.Flags)&d.o.Flags.counted() != 0 {
		return false
	}
	return l.Xattrs.Equal(m.Xattrs) || d.o.Escaped && d.stored(l.Xattrs).Equal(d.stored(m.Xattrs))
}

func (d *differ) sameContent(path string, l, m *tree.Node) (bool, error) {
	if l.Size != m.Size {
		return false, nil
	}
	// Of linked files the content need not be compared for each name.
	key := [2]tree.Inode{l.Inode, m.Inode}
	both := linked(l) && linked(m)
	if both {
		if equal, ok := d.equal[key]; ok {
			return equal, nil
		}
	}
	equal, err := false, error(nil)
	if d.o.SameContent != nil {
		equal, err = d.o.SameContent(path, l, m)
	}
	if !equal && err == nil {
		equal, err = tree.SameContent(d.ctx, l, m)
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", tree.Quote("/"+path), err)
	}
	if both {
		d.equal[key] = equal
	}
	return equal, nil
}

// storable tells why a node cannot stand in a layer.
func (d *differ) storable(path string, n *tree.Node) error {
	if d.marks.isDevice00(n) {
		return device00(path)
	}
	if d.o.Form == Aufs && isAufsName(n.Name) {
		return tree.Unsupported("overlay", tree.Quote("/"+path), "is a name that aufs keeps to itself")
	}
	return nil
}

func device00(path string) error {
	return tree.Unsupported("overlay", tree.Quote("/"+path), "is a character device 0:0, which would be a whiteout in a layer")
}

// path is the directory's path from the root, empty for it.
func (p *dirPlan) path() string {
	if p.parent == nil {
		return ""
	}
	return tree.Join(p.parent.path(), p.name)
}

// finish decides which directories go up and which are opaque, once it is
// settled which files go up. It tells whether the directory goes up, whether
// nothing of the lower one remains in it, and how many whiteouts it has with
// those below. A plain one is never opaque.
func (p *dirPlan) finish(plain bool) (goes, replaced bool, whiteouts int) {
	replaced, whiteouts = true, p.whiteouts
	kids := p.kids[:0]
	for _, k := range p.kids {
		goes, r, w := k.finish(plain)
		if !goes {
			p.remain++
			continue
		}
		kids = append(kids, k)
		replaced = replaced && r
		whiteouts += w
	}
	clear(p.kids[len(kids):])
	p.kids = slices.Clip(kids)
	slices.Sort(p.up)
	slices.SortFunc(p.kids, func(a, b *dirPlan) int { return strings.Compare(a.name, b.name) })
	replaced = replaced && p.remain == 0
	// The kernel does not look at a root's mark.
	if replaced && whiteouts > 0 && p.parent != nil && !plain {
		// All that the directory shows goes up in any case.
		p.opaque, p.kids, p.up = true, nil, nil
	}
	goes = p.meta || p.opaque || p.whiteouts > 0 || p.added > 0 || len(p.up) > 0 || len(p.kids) > 0
	return goes, replaced, whiteouts
}
