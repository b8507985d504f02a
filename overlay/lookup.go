package overlay

import (
	"errors"
	"strings"

	"relive/tree"
)

// search is the state of one look-up on its way down the layers, the kernel's
// struct ovl_lookup_data.
type search struct {
	dir *mergedDir
	own string // the name in dir that the union will have
	// name is what to look for in the next layer: a name in the parent, or,
	// once an absolute redirect was met, a path from the layer's root that
	// begins with '/'.
	name     string
	isDir    bool // a directory was found above
	stop     bool // layers below are hidden
	last     bool // this is the base
	metacopy bool // the file found last has its data further down
	digest   bool // a metacopy carries an fs-verity digest
	note     *survey
}

// path is where in the union the name stands.
func (s *search) path() string { return s.dir.path + "/" + s.own }

// found is a node and the layer that holds it.
type found struct {
	layer int
	node  *tree.Node
}

// lookupLayer looks for s.name in one layer (namei.c, ovl_lookup_layer). It
// gives nil where the layer holds nothing that takes part.
func (m *Merged) lookupLayer(p *part, s *search) (*tree.Node, error) {
	if !isPath(s.name) {
		return m.lookupName(p, s, s.name, 0, "")
	}
	// What is left to walk is counted from the end, for a redirect on the way
	// changes the beginning of s.name for the layers below.
	rest := len(s.name) - 1
	for {
		at := len(s.name) - rest
		name, _, more := strings.Cut(s.name[at:], "/")
		n, err := m.lookupName(p, s, name, at, s.name[at+len(name):])
		if n == nil || err != nil || !more {
			return n, err
		}
		rest -= len(name) + 1
		p = &part{layer: p.layer, node: n}
	}
}

// isPath tells a path from a layer's root from a name.
func isPath(name string) bool { return name != "" && name[0] == '/' }

// lookupName looks for one name in a directory of a layer (namei.c,
// ovl_lookup_single). before is the length of what precedes the name in
// s.name, after what follows it.
func (m *Merged) lookupName(p *part, s *search, name string, before int, after string) (*tree.Node, error) {
	l := &m.layers[p.layer]
	end := after == ""
	switch {
	case len(name) > 255:
		return nil, nil
	case name == "", name == ".", name == "..":
		return nil, tree.Corrupt("overlay", tree.Quote(s.path()), "is redirected to %q", s.name)
	}
	n, hidden, err := l.find(p, name)
	if err != nil {
		return nil, err
	}
	if hidden {
		s.stop = true
		return nil, nil
	}
	if n == nil {
		return nil, nil
	}
	if end && s.metacopy && n.Type != tree.Regular {
		s.stop = true
		return nil, nil
	}
	if n.Type == tree.Directory {
		if end {
			s.isDir = true
		}
		if s.last {
			return n, nil
		}
		opaque, err := l.isOpaque(n)
		if err != nil {
			return nil, err
		}
		if opaque {
			s.stop = true
			if end {
				s.note.opaque(s)
			}
			return n, nil
		}
	} else {
		if s.isDir || !end {
			s.stop = true
			return nil, nil
		}
		// The base of an overlay whose upper files need its data must have it,
		// even where the base is otherwise taken as it is.
		if !l.plain || s.metacopy {
			var digest bool
			s.metacopy, digest, err = l.metacopy(n)
			if err != nil {
				return nil, broken(s.path(), err)
			}
			s.digest = s.digest || digest
		}
		s.stop = !s.metacopy
		if s.stop || s.last {
			return n, nil
		}
	}
	to, ok, err := l.redirect(n)
	switch {
	case err != nil:
		return nil, broken(s.path(), err)
	case !ok:
	case isPath(to):
		// An opaque directory further up the path hides its own place, not the
		// one that the redirect names.
		s.stop = false
		s.name = to + after
		s.note.redirect(s)
	default:
		s.name = s.name[:before] + to + after
		s.note.redirect(s)
	}
	return n, nil
}

// descend looks for s.name in the stack's parts, uppermost first, and gives
// what takes part (the loop of namei.c, ovl_lookup). root tells that the stack
// is the root's.
func (m *Merged) descend(stack []*part, root bool, s *search) ([]found, error) {
	var got []found
	for i := 0; i < len(stack) && !s.stop; i++ {
		p := stack[i]
		s.last = p.layer == m.base()
		n, err := m.lookupLayer(p, s)
		if err != nil {
			return nil, err
		}
		if n == nil {
			continue
		}
		got = append(got, found{p.layer, n})
		if isPath(s.name) && !root {
			// Go on from the roots of the layers below this one.
			stack, root, i = m.roots, true, p.layer
		}
	}
	return got, nil
}

// resolve returns the union's node for a name in a directory, nil where it has
// none.
func (m *Merged) resolve(d *mergedDir, parts []*part, name string, note *survey) (*tree.Node, error) {
	if n, err := m.untouched(parts, name); n != nil || err != nil {
		return n, err
	}
	s := search{dir: d, own: name, name: name, note: note}
	got, err := m.descend(parts, d.path == "", &s)
	if err != nil || len(got) == 0 {
		return nil, err
	}
	top := got[0]
	if s.isDir {
		return m.directory(&s, name, got)
	}
	data := got[len(got)-1]
	if s.metacopy {
		return nil, tree.Corrupt("overlay", tree.Quote(s.path()), "is a metacopy, and no layer below holds its data")
	}

	n := *top.node
	n.Name = name
	n.Xattrs, n.Flags = m.view(top), m.flags(top)
	if len(got) > 1 {
		if err := takeData(&n, data.node, &s); err != nil {
			return nil, err
		}
		s.note.metacopy(&s, got, s.digest)
	}
	if top.layer > 0 && m.index != nil {
		alias, err := m.index.alias(m, &s, &n, top.node, data.node)
		if err != nil {
			return nil, err
		}
		if alias != nil {
			return alias, nil
		}
	}
	if n.Type == tree.Regular && len(got) == 1 && top.layer != m.base() {
		was, err := m.covered(d, parts, top, name)
		if err != nil {
			return nil, err
		}
		if was != nil {
			n.Was, n.Origin = was.Data, was.Origin
		}
	}
	return &n, nil
}

// untouched returns the base's own node where no layer above has a say in the
// name, which is so for most names.
func (m *Merged) untouched(parts []*part, name string) (*tree.Node, error) {
	if m.index != nil || !m.layers[m.base()].plain || parts[len(parts)-1].layer != m.base() {
		return nil, nil
	}
	for _, p := range parts {
		n, hidden, err := m.layers[p.layer].find(p, name)
		switch {
		case err != nil:
			return nil, err
		case hidden, n != nil && p.layer != m.base():
			return nil, nil
		case n != nil:
			return n, nil
		}
	}
	return nil, nil
}

// directory makes the union's node of a directory.
func (m *Merged) directory(s *search, name string, got []found) (*tree.Node, error) {
	top := got[0]
	all := len(got)
	got, err := m.cutFuse(got)
	if err != nil {
		return nil, err
	}
	if len(got) < all {
		s.note.opaque(s)
	}
	s.note.directory(s.path(), got)
	n := *top.node
	n.Name = name
	n.Xattrs, n.Flags = m.view(top), m.flags(top)
	n.Origin = origin(got)
	if top.layer == m.base() {
		// It may differ from the base below, so it must not be taken for it.
		n.Inode = tree.Inode{Source: m, Number: n.Inode.Number}
	}
	n.Dir = m.dir(s.path(), got)
	return &n, nil
}

// takeData returns a metacopy the data of the file below.
func takeData(n, data *tree.Node, s *search) error {
	if n.Size != data.Size {
		return tree.Corrupt("overlay", tree.Quote(s.path()),
			"is a metacopy of %d bytes, and the file below that holds its data has %d", n.Size, data.Size)
	}
	n.Data, n.Was = data.Data, nil
	n.Origin = data.Origin
	return nil
}

// origin is the inode that a file or directory continues which these make up.
func origin(got []found) tree.Inode {
	for _, f := range got {
		if f.node.Origin != (tree.Inode{}) {
			return f.node.Origin
		}
	}
	return tree.Inode{}
}

// covered returns the file that the layers below have of that name, nil where
// they have none: a hint. That it is damaged or not supported is no error; a read
// that fails is, since files keep their inode numbers by it.
func (m *Merged) covered(d *mergedDir, parts []*part, top found, name string) (*tree.Node, error) {
	for len(parts) > 0 && parts[0].layer <= top.layer {
		parts = parts[1:]
	}
	s := search{dir: d, own: name, name: name}
	root := d.path == ""
	// A file that was renamed as a metacopy keeps its redirect when its data
	// follow.
	if to, ok, err := m.layers[top.layer].redirect(top.node); err == nil && ok {
		s.name = to
		if isPath(to) {
			parts, root = m.roots[top.layer+1:], true
		}
	}
	got, err := m.descend(parts, root, &s)
	switch {
	case err != nil && !damaged(err):
		return nil, err
	case err != nil || len(got) == 0 || s.isDir || s.metacopy:
		return nil, nil
	}
	return got[len(got)-1].node, nil
}

// view returns the attributes of a node as the union shows them.
func (m *Merged) view(f found) tree.Xattrs {
	l := &m.layers[f.layer]
	if l.plain {
		return f.node.Xattrs
	}
	return view(f.node.Xattrs, l.prefix, m.escaped)
}

// flags returns the flags of a node as the union shows them.
func (m *Merged) flags(f found) tree.Flags {
	if f.layer > 0 || f.layer == m.base() {
		return f.node.Flags
	}
	return m.layers[0].protected(f.node)
}

// broken makes the error of a mark that the kernel refuses.
func broken(path string, err error) error {
	return &tree.FormatError{File: "overlay", Place: tree.Quote(path), Kind: kindOf(err), Err: err}
}

func kindOf(err error) error {
	if errors.Is(err, tree.ErrUnsupported) {
		return tree.ErrUnsupported
	}
	return tree.ErrCorrupt
}
