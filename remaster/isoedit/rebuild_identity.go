package isoedit

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"relive/remaster/live"
	"relive/tree"
)

// followIdentity has an image stay the medium that its initrds take for theirs,
// where one of them is another now; see live.IdentityConf. What the caller gave
// stays.
func (p *Rebuild) followIdentity(ctx context.Context) error {
	if len(p.o.Replace)+len(p.o.Add)+len(p.o.Remove) == 0 {
		return nil
	}
	var found []*live.Found
	place := live.Tree{Name: "/", Root: p.root}
	if err := live.SearchLives(ctx, place, func(f *live.Found) { found = append(found, f) }, func(error) {}); err != nil {
		return err
	}
	var e tree.Edits
	for _, f := range found {
		begins := f.Layout.Traits().Identity
		if begins == "" {
			continue
		}
		inside := func(name string) string { return strings.Trim(path.Join(f.Dir, name), "/") }
		pairs, err := f.Kernels()
		if err != nil {
			return err
		}
		have, err := live.Identities(place, f.Dir, begins)
		if err != nil {
			return err
		}
		follows := slices.ContainsFunc(pairs, func(k live.KernelPair) bool { return p.changed[inside(k.Initrd)] })
		asked := slices.ContainsFunc(slices.Collect(maps.Keys(p.changed)),
			func(at string) bool { return strings.HasPrefix(at, inside(begins)) })
		if !follows && !asked {
			continue
		}
		var needed []string
		fixed := false
		for _, pair := range pairs {
			id, unread, err := f.PairIdentity(ctx, pair)
			if err != nil {
				return err
			}
			if unread != nil {
				p.warn("%s: %v; whether it takes this medium is not known", tree.Quote(inside(pair.Initrd)), unread)
				fixed = true
			} else if id != "" {
				needed = append(needed, id)
			}
		}
		for name := range have {
			if p.replaced[inside(name)] {
				fixed = true
			}
		}
		put, _ := live.FitIdentities(begins, have, needed, nil, fixed)
		for _, name := range slices.Sorted(maps.Keys(put)) {
			at := inside(name)
			if !follows {
				p.warn("no file /%s* says %s, without which the initrd does not take this medium", inside(begins), tree.Escape(put[name]))
				continue
			}
			old, err := p.root.Lookup(at)
			if err != nil {
				return err
			}
			what := changeReplaced
			if old == nil {
				old, what = tree.NewFile("", 0o444, nil), changeAdded
				old.Mtime = p.recipe.Time
			}
			e.Put(at, edited(old, []byte(put[name]+"\n")))
			p.changed[at] = true
			p.note(at, what, fmt.Sprintf("the initrd takes no medium without %s", tree.Escape(put[name])))
		}
	}
	var err error
	p.root, err = e.Apply(p.root)
	return err
}
