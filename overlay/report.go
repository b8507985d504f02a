package overlay

import (
	"fmt"
	"slices"
	"strings"

	"relive/tree"
)

// Report counts what a union's upper layers hold and what became of it. All
// counts but Namespaces, StaleIndex and IndexEntries are of the places that
// show in the union: what a higher layer hides is not counted.
type Report struct {
	// Namespaces of the marks, by layer, uppermost first; AnyNamespace for aufs.
	Namespaces []Namespace
	// Foreign are files of the upper layers with attributes of the overlay
	// namespace that is not the layer's; they are content.
	Foreign int
	// Escaped are files of the upper layers with attributes of a nested
	// overlay.
	Escaped int
	// Whiteouts hide a name of a lower layer; DeadWhiteouts hide nothing.
	Whiteouts, DeadWhiteouts int
	// XattrWhiteouts are those among both that are regular files.
	XattrWhiteouts int
	// Opaque are directories that hide the layers below.
	Opaque int
	// Merged are directories that two layers or more make up, the root among
	// them.
	Merged int
	// Redirects followed, Metacopies whose data came from below, and those
	// among them with an fs-verity digest, which is not checked.
	Redirects, Metacopies, Digests int
	// Shared are directories of a lower layer that show at more than one place
	// of the union through redirects.
	Shared int
	// IndexEntries are the usable entries of the inode index; StaleIndex are
	// those that a mount would remove.
	IndexEntries, StaleIndex int
	// AufsInternal are aufs's own files and directories; AufsPlinks are
	// pseudo-links among them: hard links of lower files that aufs had not yet
	// written out, whose other names are not known.
	AufsInternal, AufsPlinks int
	// MaybeLostOpaque are directories of the uppermost layer that merge with a
	// lower one, but carry no attribute origin as the kernel gives it to every
	// such directory: a copy that lost its attributes may have lost a mark that
	// it was opaque, and deleted files show again. Of other layers nothing can be
	// told: modules are made with and without an overlay.
	MaybeLostOpaque int
	// OriginMismatches are merged directories and metacopies whose attribute
	// origin names another inode than the one found below: the base is not the
	// one that the layer was written on.
	OriginMismatches int

	first map[*int]string // where the first of a count's places is
}

// Report walks the directories that upper layers take part in and counts.
// Directories that only the base holds are not read. Entries that are damaged or
// not supported are passed over: whoever reads the union meets them. A read that
// fails is an error, since another might not, and then the counts would be short.
func (m *Merged) Report() (*Report, error) {
	r := &Report{Namespaces: append([]Namespace(nil), m.spaces...), first: make(map[*int]string)}
	r.StaleIndex = m.staleIndex
	if m.index != nil {
		r.IndexEntries = len(m.index.entries)
	}
	root, ok := m.root.Dir.(*mergedDir)
	if !ok {
		return r, nil
	}
	s := &survey{Report: r, m: m, lower: make(map[tree.Inode]bool)}
	for i := range m.base() {
		s.attributes("", i, m.layers[i].root)
	}
	if len(root.parts) > 1 {
		r.Merged++
	}
	if err := s.plinks(root); err != nil {
		return nil, err
	}
	for todo := []*mergedDir{root}; len(todo) > 0; {
		d := todo[len(todo)-1]
		if d.depth > tree.MaxDepth {
			return nil, tree.TooDeep(d.path)
		}
		todo = todo[:len(todo)-1]
		kids, bad, err := d.children(s)
		if err != nil {
			return nil, err
		}
		if err := failedRead(d.path, bad); err != nil {
			return nil, err
		}
		for _, n := range kids {
			if below, ok := n.Dir.(*mergedDir); ok && below.m == m && below.parts[0].layer < m.base() {
				todo = append(todo, below)
			}
		}
	}
	return r, nil
}

// survey counts while the union is read; a nil survey does not.
type survey struct {
	*Report
	m     *Merged
	lower map[tree.Inode]bool // directories of lower layers that were seen
}

func (s *survey) count(n *int, path string) {
	*n++
	if *n == 1 {
		s.first[n] = path
	}
}

// listing notes what the layers of a directory hold.
func (s *survey) listing(d *mergedDir, parts []*part) error {
	if s == nil {
		return nil
	}
	for i, p := range parts {
		l := &s.m.layers[p.layer]
		if p.layer == s.m.base() {
			continue
		}
		for _, n := range p.kids {
			path := d.path + "/" + n.Name
			s.attributes(path, p.layer, n)
			name := n.Name
			switch {
			case l.form == Aufs && name == aufsOpaqueNm:
				continue
			case l.form == Aufs && (strings.HasPrefix(name, aufsInternal) || isAufsName(name) && n.Type == tree.Directory):
				s.count(&s.AufsInternal, path)
				continue
			case l.form == Aufs && isAufsName(name):
				name = name[len(aufsWhiteout):]
			case l.form == Aufs || !l.isWhiteout(n):
				continue
			case n.Type == tree.Regular:
				s.count(&s.XattrWhiteouts, path)
			}
			covers := false
			for _, below := range parts[i+1:] {
				n, hidden, err := s.m.layers[below.layer].find(below, name)
				if n != nil || hidden || err != nil {
					covers = !hidden // also what cannot be read
					break
				}
			}
			if covers {
				s.count(&s.Whiteouts, path)
			} else {
				s.count(&s.DeadWhiteouts, path)
			}
		}
	}
	return nil
}

// attributes notes overlay attributes that are content.
func (s *survey) attributes(path string, layer int, n *tree.Node) {
	own := s.m.layers[layer].prefix
	foreign, escaped := false, false
	for _, a := range n.Xattrs {
		for _, ns := range [...]Namespace{Trusted, User} {
			rest, ok := strings.CutPrefix(a.Name, ns.Prefix())
			switch {
			case !ok:
			case ns.Prefix() != own:
				foreign = true
			case strings.HasPrefix(rest, escape):
				escaped = true
			}
		}
	}
	if foreign {
		s.count(&s.Foreign, path)
	}
	if escaped {
		s.count(&s.Escaped, path)
	}
}

func (s *survey) plinks(root *mergedDir) error {
	for _, p := range root.parts {
		if l := &s.m.layers[p.layer]; l.form != Aufs || l.plain {
			continue
		}
		dir, err := p.node.Child(aufsPlinks)
		if dir == nil || err != nil {
			return err
		}
		kids, err := dir.Children()
		if err != nil {
			return err
		}
		for _, n := range kids {
			s.count(&s.AufsPlinks, "/"+aufsPlinks+"/"+n.Name)
		}
	}
	return nil
}

// directory notes a directory of the union and what makes it up.
func (s *survey) directory(path string, got []found) {
	if s == nil || len(got) < 2 {
		return
	}
	s.count(&s.Merged, path)
	for _, f := range got[1:] {
		if f.node.Inode == (tree.Inode{}) {
			continue
		}
		if s.lower[f.node.Inode] {
			s.count(&s.Shared, path)
		}
		s.lower[f.node.Inode] = true
	}
	if l := &s.m.layers[0]; got[0].layer == 0 && l.form == OverlayFS {
		if _, ok := got[0].node.Xattrs.Get(l.prefix + "origin"); !ok && !slices.Contains(s.m.madeBefore, path) {
			s.count(&s.MaybeLostOpaque, path)
		}
	}
	s.origin(path, got)
}

// origin compares the origin that the upper part recorded with what was found.
func (s *survey) origin(path string, got []found) {
	l := &s.m.layers[got[0].layer]
	if l.form != OverlayFS || got[1].node.Inode.Number == 0 {
		return
	}
	v, _ := got[0].node.Xattrs.Get(l.prefix + "origin")
	if v == "" {
		return // an origin that the kernel did not know
	}
	if h, err := parseHandle([]byte(v)); err == nil && h.inode != got[1].node.Inode.Number {
		s.count(&s.OriginMismatches, path)
	}
}

func (s *survey) opaque(at *search) {
	if s != nil {
		s.count(&s.Opaque, at.path())
	}
}

func (s *survey) redirect(at *search) {
	if s != nil {
		s.count(&s.Redirects, at.path())
	}
}

func (s *survey) metacopy(at *search, got []found, digest bool) {
	if s == nil {
		return
	}
	path := at.path()
	s.count(&s.Metacopies, path)
	if digest {
		s.count(&s.Digests, path)
	}
	s.origin(path, got)
}

// Warnings are the sentences about what a person should know, none where all
// is well.
func (r *Report) Warnings() []string {
	var out []string
	for _, w := range [...]struct {
		n    *int
		text string
	}{
		{&r.MaybeLostOpaque, "directories of the overlay lie over directories of the base without the mark that the kernel leaves; " +
			"the overlay may have been copied without its extended attributes, and files deleted before may show again"},
		{&r.OriginMismatches, "directories or files of the overlay were made over other ones than the base now has in their place; the " +
			"base may have been replaced"},
		{&r.Shared, "directories of the base show at more than one place through redirects"},
		{&r.Foreign, "files carry overlay attributes of the other namespace; they are kept as content"},
		{&r.Digests, "files carry an fs-verity digest of their data, which is not checked"},
		{&r.AufsPlinks, "pseudo-links of aufs were not written out; hard links of these files are separate"},
		{&r.StaleIndex, "entries of the index are stale and were passed over"},
	} {
		if *w.n == 0 {
			continue
		}
		line := fmt.Sprintf("%d %s", *w.n, w.text)
		if at, ok := r.first[w.n]; ok {
			line += " (first: " + tree.Quote(at) + ")"
		}
		out = append(out, line)
	}
	return out
}
