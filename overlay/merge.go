package overlay

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"relive/tree"
)

// Option changes what Merge gives.
type Option func(*Merged)

// CleanBase shows the base, too, as the kernel's overlay shows it: without the
// whiteouts and private attributes that a nested overlay's storage (such as
// /var/lib/docker) may have put there. By default the base is taken as it is,
// which is what a new base wants that will lie under an overlay again.
func CleanBase() Option { return func(m *Merged) { m.cleanBase = true } }

// KeepEscaped keeps the attributes of nested overlays escaped
// ("trusted.overlay.overlay.opaque") instead of showing them as the mounted
// overlay does ("trusted.overlay.opaque"). A tree that will serve as a lower
// layer again wants it, for there the bare name would be taken for a mark of
// the outer overlay.
func KeepEscaped() Option { return func(m *Merged) { m.escaped = true } }

// MadeBefore names directories of the uppermost layer that were made before it
// was mounted, as a boot script does. They lack the marks that the kernel sets,
// and a Report is to take no offence.
func MadeBefore(paths ...string) Option {
	return func(m *Merged) {
		for _, p := range paths {
			m.madeBefore = append(m.madeBefore, "/"+strings.Trim(p, "/"))
		}
	}
}

// Merged is the union of a stack of layers.
type Merged struct {
	layers     []layer
	roots      []*part
	root       *tree.Node
	index      *index
	staleIndex int
	spaces     []Namespace
	cleanBase  bool
	escaped    bool
	madeBefore []string
}

// Merge returns the union of the layers, the uppermost first, the base last. It
// reads the attributes of every file of the upper layers whose Namespace is not
// given, and the index; directories are merged when they are listed.
//
// A layer with marks in both namespaces is refused with ErrMixedNamespaces.
// Damage that the kernel would answer with an error (a bad redirect, a metacopy
// without data, an index entry of the wrong type) is tree.ErrCorrupt when the
// directory that holds it is listed.
func Merge(layers []Layer, opts ...Option) (*Merged, error) {
	if len(layers) == 0 {
		return nil, errors.New("overlay: no layers to merge")
	}
	m := &Merged{layers: make([]layer, len(layers))}
	for _, o := range opts {
		o(m)
	}
	for i, in := range layers {
		if in.Root == nil || in.Root.Type != tree.Directory {
			return nil, tree.Corrupt("overlay", layerName(i), "the root is not a directory")
		}
		if i < m.base() && in.Form != OverlayFS && in.Form != Aufs {
			return nil, tree.Unsupported("overlay", layerName(i), "%s", in.Form)
		}
		m.layers[i] = layer{root: in.Root, form: in.Form}
		m.roots = append(m.roots, &part{layer: i, node: in.Root})
	}
	if err := m.namespaces(layers); err != nil {
		return nil, err
	}
	if layers[0].Index != nil && m.base() > 0 {
		var err error
		if m.index, err = m.loadIndex(layers[0].Index); err != nil {
			return nil, err
		}
	}

	got := make([]found, len(layers))
	for i, p := range m.roots {
		got[i] = found{i, p.node}
	}
	if m.base() == 0 && m.layers[0].plain {
		m.root = got[0].node
		return m, nil
	}
	// The kernel follows neither opaque marks nor redirects of a root, but aufs
	// knows opaque roots.
	for i := range m.base() {
		if m.layers[i].form != Aufs {
			continue
		}
		opaque, err := aufsOpaque(got[i].node)
		if err != nil {
			return nil, err
		}
		if opaque {
			got = got[:i+1]
			break
		}
	}
	got, err := m.cutFuse(got)
	if err != nil {
		return nil, err
	}
	n := *got[0].node
	n.Xattrs, n.Flags = m.view(got[0]), m.flags(got[0])
	n.Origin = origin(got)
	if m.base() == 0 {
		n.Inode = tree.Inode{Source: m, Number: n.Inode.Number}
	}
	n.Dir = m.dir("", got)
	m.root = &n
	return m, nil
}

// Root is the root of the union.
func (m *Merged) Root() *tree.Node { return m.root }

// base is the index of the lowest layer.
func (m *Merged) base() int { return len(m.layers) - 1 }

// namespaces decides which attributes are each layer's marks. The base's are
// those of the layer above it.
func (m *Merged) namespaces(in []Layer) error {
	m.spaces = make([]Namespace, len(in))
	for i := range in[:m.base()] {
		m.spaces[i] = in[i].Namespace
		if in[i].Form != OverlayFS || in[i].Namespace != AnyNamespace {
			continue
		}
		var err error
		if m.spaces[i], err = seenNamespace(in[i].Root, layerName(i)); err != nil {
			return err
		}
	}
	known := Trusted
	for i := m.base() - 1; i >= 0; i-- {
		if in[i].Form == OverlayFS && m.spaces[i] != AnyNamespace {
			known = m.spaces[i]
		}
	}
	for i := range m.layers {
		l := &m.layers[i]
		switch {
		case i == m.base():
			l.form, l.plain = OverlayFS, !m.cleanBase
			m.spaces[i] = known
			if i > 0 {
				l.form = m.layers[i-1].form
				m.spaces[i] = m.spaces[i-1]
			} else if in[i].Namespace != AnyNamespace {
				m.spaces[i] = in[i].Namespace
			}
		case l.form == Aufs:
			m.spaces[i] = AnyNamespace
		case m.spaces[i] == AnyNamespace:
			m.spaces[i] = known
		}
		if l.form == OverlayFS {
			l.prefix = m.spaces[i].Prefix()
		}
	}
	return nil
}

// seenNamespace tells which namespace a layer's attributes belong to.
func seenNamespace(root *tree.Node, name string) (Namespace, error) {
	var at [2]string
	var seen [2]bool
	err := walkRaw(root, func(path string, n *tree.Node) error {
		for _, a := range n.Xattrs {
			for i, ns := range [2]Namespace{Trusted, User} {
				if !seen[i] && len(a.Name) > len(ns.Prefix()) && a.Name[:len(ns.Prefix())] == ns.Prefix() {
					seen[i], at[i] = true, path
				}
			}
		}
		if seen[0] && seen[1] {
			return &tree.FormatError{File: name, Kind: tree.ErrUnsupported, Err: ErrMixedNamespaces,
				Fact: "trusted.overlay.* on " + tree.Quote(at[0]) + ", user.overlay.* on " + tree.Quote(at[1])}
		}
		return nil
	})
	switch {
	case err != nil:
		return AnyNamespace, err
	case seen[0]:
		return Trusted, nil
	case seen[1]:
		return User, nil
	}
	return AnyNamespace, nil
}

// walkRaw visits every node of a layer as it is stored, directories before
// what they hold. Entries that are damaged or not supported are passed over: whoever
// reads the union meets them.
func walkRaw(root *tree.Node, visit func(path string, n *tree.Node) error) error {
	type dir struct {
		path  string
		node  *tree.Node
		depth int
	}
	if err := visit("", root); err != nil {
		return err
	}
	for todo := []dir{{"", root, 0}}; len(todo) > 0; {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if d.depth > tree.MaxDepth {
			return tree.TooDeep(d.path)
		}
		kids, bad, err := d.node.Readable()
		if err == nil {
			err = failedRead(d.path, bad)
		}
		if err != nil {
			return err
		}
		for _, n := range kids {
			path := d.path + "/" + n.Name
			if err := visit(path, n); err != nil {
				return err
			}
			if n.Type == tree.Directory {
				todo = append(todo, dir{path, n, d.depth + 1})
			}
		}
	}
	return nil
}

// damaged reports whether an error is of what a layer holds, which another read
// would find as well, and not of the reading.
func damaged(err error) bool {
	return errors.Is(err, tree.ErrCorrupt) || errors.Is(err, tree.ErrUnsupported)
}

// failedRead returns the error of the first entry that another read might find
// sound, nil where all of them are damaged or not supported.
func failedRead(dir string, bad []tree.BadEntry) error {
	for _, b := range bad {
		if !damaged(b.Err) {
			return &tree.EntryError{Path: strings.TrimPrefix(dir+"/"+b.Name, "/"), Err: b.Err}
		}
	}
	return nil
}

// mergedDir lists a directory of the union.
type mergedDir struct {
	m     *Merged
	path  string // from the union's root, empty for it
	depth int
	parts []*part
}

func (m *Merged) dir(path string, got []found) *mergedDir {
	d := &mergedDir{m: m, path: path, depth: strings.Count(path, "/"), parts: make([]*part, len(got))}
	for i, f := range got {
		d.parts[i] = &part{layer: f.layer, node: f.node}
	}
	return d
}

// Children implements tree.Dir. An entry of a layer that cannot be read is one of
// the union, unless a layer above hides it, and so is one whose marks are broken.
func (d *mergedDir) Children() ([]*tree.Node, error) {
	good, bad, err := d.children(nil)
	if err != nil {
		return nil, err
	}
	return tree.Partial(good, bad)
}

func (d *mergedDir) children(note *survey) (good []*tree.Node, bad []tree.BadEntry, err error) {
	parts := make([]*part, len(d.parts))
	var names []string
	for i, p := range d.parts {
		l := &d.m.layers[p.layer]
		kids, unread, err := p.node.Readable()
		if err != nil {
			return nil, nil, err
		}
		if l.form == Aufs && !l.plain {
			if err := checkAufsNames(d.path, kids); err != nil {
				return nil, nil, err
			}
		}
		parts[i] = &part{layer: p.layer, node: p.node, kids: kids, bad: unread, list: true}
		names = mergeNames(names, kids, l)
		for _, b := range unread {
			if l.form != Aufs || l.plain || !isAufsName(b.Name) {
				names = append(names, b.Name)
			}
		}
		if len(unread) > 0 {
			slices.Sort(names)
			names = slices.Compact(names)
		}
	}
	if err := note.listing(d, parts); err != nil {
		return nil, nil, err
	}
	good = make([]*tree.Node, 0, len(names))
	for _, name := range names {
		n, err := d.m.resolve(d, parts, name, note)
		switch {
		case err != nil:
			bad = append(bad, tree.BadEntry{Name: name, Err: err})
		case n != nil:
			good = append(good, n)
		}
	}
	return good, bad, nil
}

// mergeNames adds to names, which are in order, those that a layer's directory
// lists.
func mergeNames(names []string, kids []*tree.Node, l *layer) []string {
	out := make([]string, 0, len(names)+len(kids))
	for _, n := range kids {
		if !l.listed(n) {
			continue
		}
		for len(names) > 0 && names[0] < n.Name {
			out, names = append(out, names[0]), names[1:]
		}
		if len(names) == 0 || names[0] != n.Name {
			out = append(out, n.Name)
		}
	}
	return append(out, names...)
}

// Lookup implements tree.Lookuper.
func (d *mergedDir) Lookup(name string) (*tree.Node, error) {
	if tree.CheckName(name) != nil {
		return nil, nil
	}
	return d.m.resolve(d, d.parts, name, nil)
}

// fuseOpaque are the names under which fuse-overlayfs leaves a device 0:0 in a
// directory that it made opaque.
var fuseOpaque = [...]string{".wh..opq", aufsOpaqueNm}

// cutFuse drops the layers below a directory that fuse-overlayfs marked opaque.
// Where a layer below holds the very name, the device is a whiteout of it and
// no mark.
func (m *Merged) cutFuse(got []found) ([]found, error) {
	for i, f := range got[:len(got)-1] {
		l := &m.layers[f.layer]
		if l.form != OverlayFS || l.plain {
			continue
		}
		for _, name := range fuseOpaque {
			n, err := f.node.Child(name)
			if err != nil {
				return nil, err
			}
			if n == nil || n.Type != tree.CharDevice || n.Rdev != (tree.Rdev{}) {
				continue
			}
			covers := false
			for _, below := range got[i+1:] {
				n, err := below.node.Child(name)
				if err != nil {
					return nil, err
				}
				covers = covers || n != nil
			}
			if !covers {
				return got[:i+1], nil
			}
		}
	}
	return got, nil
}

func layerName(i int) string { return "layer " + strconv.Itoa(i) + " from the top" }
