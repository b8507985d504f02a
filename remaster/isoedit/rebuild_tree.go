package isoedit

import (
	"context"
	"fmt"
	"os"
	"strings"

	"relive/remaster/bootedit"
	"relive/remaster/bytesize"
	"relive/remaster/hostdisk"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/unmatched"
	"relive/tree"
	"relive/tree/hostfs"
)

// graft lays the files of the host, and what is to go, over the image's tree.
func (p *Rebuild) graft(ctx context.Context) error {
	var e tree.Edits
	if err := p.remove(ctx, &e); err != nil {
		return err
	}
	for _, g := range p.o.Replace {
		if err := p.replace(&e, g); err != nil {
			return err
		}
	}
	without, err := e.Apply(p.root)
	if err != nil {
		return err
	}
	p.root = without
	for _, g := range p.o.Add {
		var e tree.Edits
		if err := p.add(ctx, &e, g); err != nil {
			return err
		}
		if p.root, err = e.Apply(p.root); err != nil {
			return err
		}
	}
	return nil
}

// special tells what a path is to the boot, "" where it is nothing.
func (p *Rebuild) special(at string) string {
	if p.recipe.Catalog != "" && strings.Trim(p.recipe.Catalog, "/") == at {
		return "the boot catalogue"
	}
	for _, b := range p.recipe.Boot {
		if b.Path != "" && strings.Trim(b.Path, "/") == at {
			return "a boot image"
		}
	}
	return ""
}

// remove takes paths out.
func (p *Rebuild) remove(ctx context.Context, e *tree.Edits) error {
	for _, pattern := range p.o.Remove {
		keep := map[string]bool{}
		n, err := unmatched.KeepMatches(ctx, p.root, pattern, keep)
		if err != nil {
			return err
		}
		if n == 0 || keep[""] {
			return p.absent(pattern)
		}
		files := 0
		for at := range keep {
			n, err := p.root.Lookup(at)
			if err != nil {
				return err
			}
			err = tree.Walk(ctx, n, func(below string, n *tree.Node) error {
				full := strings.TrimSuffix(at+"/"+below, "/")
				if what := p.special(full); what != "" {
					return refusal.New(refusal.Required, "an image that is to boot needs it; a boot image can be replaced with "+
						say.Replace, "%s: it is %s", tree.Quote(full), what)
				}
				if n.Type != tree.Directory {
					files++
				}
				p.changed[full] = true
				return nil
			})
			if err != nil {
				return err
			}
			e.Remove(at)
		}
		p.Summary.RemovedAll += files
		p.note(strings.Trim(pattern, "/"), changeRemoved, plural(files, "file"))
	}
	return nil
}

// absent is the error of a path that the image does not have.
func (p *Rebuild) absent(at string) error {
	at = strings.TrimPrefix(at, "/")
	return p.in.missing(at, "nothing in the image matches %s", tree.Quote(at))
}

// source opens a file of the host, which must not change until it is read.
func (p *Rebuild) source(g Graft) (os.FileInfo, error) {
	st, err := os.Stat(g.Source)
	if err != nil {
		return nil, err
	}
	if st.Mode().IsRegular() {
		if p.stamps[g.Source], err = hostdisk.StampOf(g.Source); err != nil {
			return nil, err
		}
	}
	return st, nil
}

func (p *Rebuild) replace(e *tree.Edits, g Graft) error {
	old, err := p.root.Lookup(g.Path)
	if err != nil {
		return err
	}
	switch {
	case old == nil:
		return refusal.WithHint(p.absent(g.Path), say.Add+" puts a file where none is")
	case old.Type == tree.Symlink:
		return refusal.New(refusal.WrongKind, "replace what it points to", "%s: a symlink to %s", tree.Quote(g.Path), old.Target)
	case old.Type != tree.Regular:
		return refusal.New(refusal.WrongKind, say.Remove+" it and "+say.Add+" another", "%s: not a file (%s)", tree.Quote(g.Path),
			old.Type)
	case p.special(g.Path) == "the boot catalogue":
		return refusal.New(refusal.Required, "it is made anew with every image", "%s: it is the boot catalogue", tree.Quote(g.Path))
	case p.replaced[g.Path]:
		return refusal.Option(fmt.Errorf("%s is to be replaced twice", tree.Quote(g.Path)))
	case p.changed[g.Path]:
		return refusal.Option(fmt.Errorf("%s is to be removed and replaced", tree.Quote(g.Path)))
	}
	st, err := p.source(g)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s: not a file", g.Source)
	}
	n := *old
	n.Size, n.Mtime, n.Data = st.Size(), tree.TimeOf(st.ModTime()), bootedit.HostContent(g.Source)
	n.Inode, n.Nlink, n.Was = tree.Inode{}, 1, nil
	e.Put(g.Path, &n)
	p.changed[g.Path], p.replaced[g.Path] = true, true
	p.note(g.Path, changeReplaced, fmt.Sprintf("%s, was %s", bytesize.Format(st.Size()), bytesize.Format(old.Size)))
	if old.Nlink > 1 && old.Inode != (tree.Inode{}) {
		p.warn("%s: it has other names, which keep the former content", tree.Quote(g.Path))
	}
	return nil
}

// add puts a file or a directory of the host into the tree.
func (p *Rebuild) add(ctx context.Context, e *tree.Edits, g Graft) error {
	st, err := p.source(g)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		if !st.Mode().IsRegular() {
			return fmt.Errorf("%s: neither a file nor a directory", g.Source)
		}
		n := tree.NewFile("", uint16(st.Mode().Perm()), nil)
		n.Size, n.Mtime, n.Data = st.Size(), tree.TimeOf(st.ModTime()), bootedit.HostContent(g.Source)
		if err := p.put(e, g.Path, n); err != nil {
			return err
		}
		p.note(g.Path, changeAdded, bytesize.Format(st.Size()))
		return nil
	}
	root, err := hostfs.Open(g.Source)
	if err != nil {
		return err
	}
	files, attributes := 0, 0
	err = tree.Walk(ctx, root, func(below string, n *tree.Node) error {
		at := strings.TrimSuffix(g.Path+"/"+below, "/")
		c := *n
		c.UID, c.GID, c.Xattrs = 0, 0, nil
		if len(n.Xattrs) > 0 {
			attributes++
		}
		if n.Type == tree.Directory {
			c.Dir, c.Inode = tree.List(nil), tree.Inode{}
		} else {
			files++
		}
		return p.put(e, at, &c)
	})
	if attributes > 0 {
		p.Summary.Left = append(p.Summary.Left, fmt.Sprintf("extended attributes of %s below %s", plural(attributes, "file"), g.Source))
	}
	p.note(g.Path, changeAdded, plural(files, "file"))
	return err
}

// put adds a node where nothing is; a directory may be there already.
func (p *Rebuild) put(e *tree.Edits, at string, n *tree.Node) error {
	// What leads there must not be anything but directories.
	for i := range at {
		if at[i] != '/' {
			continue
		}
		above, err := p.root.Lookup(at[:i])
		if err != nil {
			return err
		}
		if above != nil && above.Type != tree.Directory {
			return refusal.New(refusal.WrongKind, "name another path", "%s: %s is a %s", tree.Quote(at), tree.Quote(at[:i]), above.Type)
		}
	}
	there, err := p.root.Lookup(at)
	if err != nil {
		return err
	}
	if there != nil {
		if there.Type == tree.Directory && n.Type == tree.Directory {
			return nil
		}
		return refusal.New(refusal.OutputExists, say.Replace+" puts another file in its place", "%s: it is in the image already",
			tree.Quote(at))
	}
	e.Put(at, n)
	p.changed[at], p.replaced[at] = true, true
	return nil
}

// plural counts things.
func plural(n int, what string) string { return counted(n, what, what+"s") }

// counted is plural for words that have another form.
func counted(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
