package isoedit

import (
	"context"
	"fmt"
	"path"
	"strings"

	"relive/remaster/live"
	"relive/remaster/packed"
	"relive/tree"
)

// followCompanions brings files that tell of a live system's base up to one that
// was replaced: linuxfs.info of antiX, filesystem.size of Ubuntu. Their sums
// follow with all others.
func (p *Rebuild) followCompanions(ctx context.Context) error {
	if len(p.o.Replace) == 0 {
		return nil
	}
	var found []*live.Found
	err := live.SearchLives(ctx, live.Tree{Name: "/", Root: p.root}, func(f *live.Found) { found = append(found, f) }, func(error) {})
	if err != nil {
		return err
	}
	var e tree.Edits
	for _, f := range found {
		inside := func(name string) string { return strings.Trim(path.Join(f.Dir, name), "/") }
		base := inside(f.Files.Base)
		if !p.replaced[base] {
			continue
		}
		for _, c := range f.Files.Companions {
			at := inside(c.Name)
			// Others tell which images there are, and not of what is in this one.
			if ext := path.Ext(c.Name); ext != ".info" && ext != ".size" || c.Text == nil || p.changed[at] {
				continue
			}
			old, err := p.root.Lookup(at)
			if err != nil {
				return err
			}
			if old == nil || old.Type != tree.Regular {
				continue
			}
			facts, err := p.factsOf(base)
			if tree.IsDamage(err) {
				continue // it stays, which is told below
			}
			if err != nil {
				return err
			}
			text := c.Text(facts)
			if was, err := tree.ReadAll(old, 1<<20); err == nil && string(was) == text {
				continue
			}
			e.Put(at, edited(old, []byte(text)))
			p.changed[at] = true
			p.note(at, changeReplaced, "to tell of the new "+path.Base(base))
		}
	}
	p.root, err = e.Apply(p.root)
	return err
}

// factsOf reads what companions tell of a base.
func (p *Rebuild) factsOf(at string) (f live.Facts, err error) {
	n, err := p.root.Lookup(at)
	if err != nil {
		return f, err
	}
	c, err := n.Open()
	if err != nil {
		return f, fmt.Errorf("%s: %w", tree.Quote(at), err)
	}
	defer c.Close()
	r, err := packed.Open(c, c.Size(), path.Base(at), p.env.Library, false)
	if err != nil {
		return f, err
	}
	defer r.Close()
	f.Content, _, err = r.Content()
	return f, err
}
