package snapshot

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"relive/remaster/checksum"
	"relive/remaster/live"
	"relive/remaster/menu"
	"relive/remaster/say"
	"relive/remaster/sourcecheck"
	"relive/remaster/sumlist"
	"relive/tree"
)

// mediumList is a list of sums that is written when what it is of is known.
type mediumList struct {
	*sumlist.List
	kind checksum.Kind
	// alone: it is a list of one file, whose line keeps its form. Others are made
	// anew of all files below the directory that their names are relative to.
	alone bool
	dir   string // which that is, "" for the root
	dot   string // what names begin with: "./" or nothing
	files []string
	size  int64 // of the list at most, in bytes
}

// ownDir is the live directory's path from the root of the medium, as the names
// of the medium's tree have it.
func (p *Plan) ownDir() string {
	if p.form.Root == p.live.Absolute() {
		return ""
	}
	_, name := p.live.AboveDir()
	return name
}

// ownName is the live directory's name of a file of the medium's tree, as that
// comes to lie on the ISO.
func (p *Plan) ownName(at string) string {
	if from, to := p.form.Rename[0], p.form.Rename[1]; from != to {
		if rest, ok := strings.CutPrefix(at, to+"/"); ok {
			at = path.Join(from, rest)
		}
	}
	return live.FromMedium(p.ownDir(), at)
}

// onISO is where a file of the medium comes to lie.
func (p *Plan) onISO(at string) string {
	from, to := p.form.Rename[0], p.form.Rename[1]
	if from == "" || from == to {
		return at
	}
	if rest, ok := strings.CutPrefix(at, from+"/"); ok {
		return to + "/" + rest
	}
	return at
}

// checkTaken plans to compare what is taken from the medium with the sums that
// there are of it. A kernel or an initrd that is another one is refused, other
// files are told; menus and what loaders write are changed by whoever uses them.
func (p *Plan) checkTaken(ctx context.Context, taken *tree.Node, lists []*sumlist.List, name func(at string) string, where string) error {
	kernels, err := globAll(taken, slices.Concat(p.form.Kernels, p.form.Initrds))
	if err != nil {
		return err
	}
	byName := map[string][]sumlist.Known{}
	for _, l := range lists {
		for _, target := range l.Targets {
			if _, ok := byName[target]; !ok && target != "" {
				byName[target] = sumlist.KnownOf(lists, target)
			}
		}
	}
	return tree.Walk(ctx, taken, func(at string, n *tree.Node) error {
		known := byName[name(at)]
		if _, list := checksum.Named(n.Name); n.Type != tree.Regular || len(known) == 0 || list || n.Name == "grubenv" {
			return nil
		}
		own := slices.Contains(kernels, at)
		if !own {
			text, err := tree.ReadAll(n, menu.MaxText)
			if err == nil {
				if _, ok := menu.KindOf(at, text); ok {
					return nil
				}
			}
		}
		p.taken = append(p.taken, sourcecheck.File{Name: at, Shown: path.Join(where, tree.Quote(at)), Known: known, Open: n.Open,
			Inode: n.Inode, Changes: !own})
		return nil
	})
}

// planTied tells of what is tied to the bytes of the former base and does not
// come along, and of arguments that insist on it.
func (p *Plan) planTied(ctx context.Context) (err error) {
	l := p.live
	if p.packages, err = l.Packages(ctx, p.base.Shown, p.form.Sidecars...); err != nil {
		return err
	}
	told := false
	for _, t := range l.Files.Tied {
		if live.Has(l.Place, l.Path(t.Name)) {
			told = true
			p.warn("%s does not come along: it is a %s of the former %s, and the new one has none", t.Name, t.What, path.Base(t.Base))
		}
	}
	for _, name := range l.Files.Foreign {
		p.warn("%s does not come along: its sums are of a kind that is not known here", name)
	}
	if !told {
		return nil
	}
	args, err := live.Insistence(ctx, p.root)
	if err == nil && len(args) > 0 {
		p.warn("a boot with these arguments does not take the new %s without it; take them out with "+say.RemoveArg+": %s",
			path.Base(p.form.Base), strings.Join(args, ", "))
	}
	return err
}

// planCheck plans to compare all that is copied with the sums that there are of
// it, but for boot images, which hold their own address in the image that they
// lie in.
func (p *Plan) planCheck() error {
	c := p.base
	addressed := map[string]bool{p.recipe.Catalog: true}
	for _, b := range p.recipe.Boot {
		addressed[b.Path] = addressed[b.Path] || b.BootInfo || b.Grub2Info
	}
	for _, f := range p.taken {
		n, err := p.root.Lookup(f.Name)
		if err != nil {
			return err
		}
		// Another file may have taken its place.
		if !addressed[f.Name] && n != nil && n.Inode == f.Inode {
			c.Check.Files = append(c.Check.Files, f)
		}
	}
	p.Summary.System.Sums = c.Check.Sources()
	return nil
}

// sumLists plans the lists of sums that the medium or the template has, in the
// ISO's tree: those of one file follow it; others are made anew for all files
// but the lists, and the boot images that change as the ISO is written.
func (p *Plan) sumLists(ctx context.Context) (out []mediumList, err error) {
	lists, err := sumlist.Find(ctx, p.root)
	if err != nil {
		return nil, err
	}
	// What verifies them at boot is in the system, whatever boots it (casper-md5check,
	// live-boot's verify-checksums).
	lists = append(lists, p.listsOfMedium(lists)...)
	late := map[string]bool{}
	for _, at := range p.late.paths {
		late[at] = true
	}
	var edits tree.Edits
	for _, l := range lists {
		if late[l.Path] || p.included(l.Path) {
			continue // it is made with the base, or somebody wants it so
		}
		m, keep, err := p.sumList(ctx, l, late, &edits)
		if err != nil {
			return nil, err
		}
		if !keep {
			continue
		}
		sig, err := sumlist.SignatureOf(p.root, l.Path)
		if err != nil {
			return nil, err
		}
		if sig != "" {
			edits.Remove(sig)
			p.warn("%s is left out: it signs the list that %s was", tree.Quote(sig), l.Path)
		}
		out = append(out, m)
	}
	if p.root, err = edits.Apply(p.root); err != nil {
		return nil, err
	}
	return out, p.listed(ctx, out)
}

// sumList plans one list. One of a single file that does not depend on the base
// is written here; keep is false where that is all.
func (p *Plan) sumList(ctx context.Context, l *sumlist.List, late map[string]bool, edits *tree.Edits) (m mediumList, keep bool, err error) {
	m = mediumList{List: l, kind: l.Kind}
	if l.Sums() == 0 {
		if l.Kind == "" {
			p.warn("%s: not a list of sums in a form that is known; it stays as it is", tree.Quote(l.Path))
			return m, false, nil
		}
		// What it was to tell is told.
		about := sumlist.Stem(l.Path)
		if n, err := p.root.Lookup(about); err != nil {
			return m, false, err
		} else if n == nil && !late[about] {
			m.dir, m.dot = p.namedFrom(l)
			return m, true, nil
		}
		l = sumlist.Blank(l, about)
		m.List = l
	}
	i := slices.IndexFunc(l.Lines, func(line checksum.Line) bool { return line.Kind != "" })
	if m.kind == "" {
		m.kind = l.Lines[i].Kind
	}
	target := l.Targets[i]
	if m.alone = l.Sums() == 1 && (sumlist.Stem(l.Path) == target || sumlist.Stem(l.Path) == sumlist.Stem(target)); !m.alone {
		m.dir, m.dot = p.namedFrom(l)
		return m, true, nil
	}
	if late[target] {
		m.files, m.size = []string{target}, int64(len(l.Bytes()))
		return m, true, nil
	}
	n, err := p.root.Lookup(target)
	if err != nil {
		return m, false, err
	}
	if n == nil || n.Type != tree.Regular {
		edits.Remove(l.Path)
		return m, false, nil
	}
	sum, err := sumlist.HashNode(ctx, n, l.Lines[i].Kind, nil)
	if err != nil {
		return m, false, fmt.Errorf("%s: %w", tree.Quote(target), err)
	}
	l.Lines[i].Set(sum)
	fresh := tree.NewFile("", 0o444, l.Bytes())
	fresh.Mtime = n.Mtime
	edits.Put(l.Path, fresh)
	return m, false, nil
}

// namedFrom returns the directory that a list's names are relative to, and what
// they begin with.
func (p *Plan) namedFrom(l *sumlist.List) (dir, dot string) {
	dot = "./"
	for i := range l.Lines {
		name := l.Lines[i].Name
		if name == "" || l.Targets[i] == "" {
			continue
		}
		if !strings.HasPrefix(name, "./") {
			dot = ""
		}
		if rest, ok := strings.CutSuffix("/"+l.Targets[i], "/"+strings.TrimPrefix(path.Clean("/"+name), "/")); ok {
			return strings.Trim(rest, "/"), dot
		}
	}
	if dir = strings.Trim(path.Dir("/"+l.Path), "/"); dir == ".disk" {
		dir = ""
	}
	return dir, dot
}

// listsOfMedium are those of the medium that did not come along by themselves,
// but tell of files that do, by where they are to lie.
func (p *Plan) listsOfMedium(present []*sumlist.List) (out []*sumlist.List) {
	own := p.ownDir()
	for _, l := range p.live.Files.Sums {
		at := p.onISO(strings.Trim(path.Clean("/"+path.Join(own, l.Name)), "/"))
		if strings.HasPrefix(l.Name, "../") && own == "" ||
			slices.ContainsFunc(present, func(o *sumlist.List) bool { return o.Path == at }) {
			continue
		}
		c := l.Copy()
		c.Path, c.Name = at, at
		for i, target := range c.Targets {
			if target == "" {
				continue
			}
			if target == p.live.Files.Base {
				target = p.form.Base
			} else {
				target = p.onISO(strings.Trim(path.Clean("/"+path.Join(own, target)), "/"))
			}
			c.Targets[i] = target
		}
		out = append(out, c)
	}
	return out
}

// included reports whether a path is one that was asked for with a file of the
// host.
func (p *Plan) included(at string) bool {
	for to := range p.o.Include {
		if to = strings.Trim(path.Clean("/"+to), "/"); at == to || strings.HasPrefix(at, to+"/") {
			return true
		}
	}
	return false
}

// listed fills in what lists that are made anew are of.
func (p *Plan) listed(ctx context.Context, lists []mediumList) error {
	if len(lists) == 0 {
		return nil
	}
	skip := map[string]bool{p.recipe.Catalog: true}
	for _, l := range lists {
		skip[l.Path] = true
	}
	for _, b := range p.recipe.Boot {
		skip[b.Path] = skip[b.Path] || b.BootInfo || b.Grub2Info
	}
	var files []string
	err := tree.Walk(ctx, p.root, func(at string, n *tree.Node) error {
		if n.Type == tree.Regular && !skip[at] && !strings.ContainsAny(at, "\n\r\\") {
			files = append(files, at)
		}
		return nil
	})
	slices.Sort(files)
	for i := range lists {
		l := &lists[i]
		if l.alone {
			continue
		}
		for _, at := range files {
			if l.dir == "" || strings.HasPrefix(at, l.dir+"/") {
				l.files = append(l.files, at)
				l.size += int64(l.kind.Digits() + len(at) + 8)
			}
		}
	}
	return err
}

// writeList writes a list of sums.
func (f *lateFiles) writeList(ctx context.Context, l mediumList, out io.WriterAt, at int64) (int64, error) {
	var text []byte
	for _, name := range l.files {
		var sum string
		switch i := slices.IndexFunc(f.p.form.Sidecars, func(c live.Companion) bool { return c.Name == name && !c.Packages }); {
		case name == f.p.form.Base:
			sum = f.sums[l.kind]
		case i >= 0:
			sum = checksum.Bytes(l.kind, f.p.form.Sidecars[i].Content(f.p.form.Base, f.facts, f.sums))
		default:
			n, err := f.p.root.Lookup(name)
			if err != nil {
				return 0, err
			}
			if sum, err = sumlist.HashNode(ctx, n, l.kind, nil); err != nil {
				return 0, fmt.Errorf("%s: %w", tree.Quote(name), err)
			}
		}
		if l.alone {
			c := l.Copy()
			for i := range c.Lines {
				if c.Lines[i].Kind == l.kind {
					c.Lines[i].Set(sum)
				}
			}
			text = c.Bytes()
			continue
		}
		if l.dir != "" {
			name = strings.TrimPrefix(name, l.dir+"/")
		}
		text = append(text, checksum.FormatLine(sum, l.dot+name)...)
	}
	return f.put(l.Path, text, out, at)
}
