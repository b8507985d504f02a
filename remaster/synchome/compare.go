package synchome

import (
	"context"
	"maps"
	"slices"
	"strings"

	"relive/extfs"
	"relive/remaster/exclude"
	"relive/remaster/unmatched"
	"relive/tree"
)

// compare returns the homes that the side which has to now is to have, and counts
// what that changes. to is nil where it has none.
func (p *Plan) compare(ctx context.Context, to, from *tree.Node, users []string) (*tree.Node, error) {
	if err := p.checkExcludes(to, from); err != nil {
		return nil, err
	}
	want, shown, err := p.want(to, from, users)
	if err != nil {
		return nil, err
	}
	s := &p.Summary
	if to == nil {
		to, s.Home = tree.NewDir("", 0o755), true
	}
	p.env.Phase("comparing the homes", 0)
	by := map[string]*Changes{}
	of := func(path string) *Changes {
		user, _, _ := strings.Cut(path, "/")
		c := by[user]
		if c == nil {
			c = &Changes{User: user}
			by[user] = c
		}
		return c
	}
	for _, name := range shown {
		of(name)
	}
	lost := 0
	err = tree.Compare(ctx, to, want, tree.CompareOptions{TrustInode: true, Links: true, Flags: p.heldFlags()}, func(c tree.Change) error {
		switch {
		case c.Path == "":
			s.Home = true
		case c.A == nil:
			of(c.Path).New.add(c.B, true)
			of(c.Path).Unchanged.take(c.B)
		case c.B == nil:
			of(c.Path).Deleted.add(c.A, true)
			if p.rules != nil {
				if _, ok := p.rules.Excluded(c.Path); ok {
					lost++
				}
			}
		default:
			of(c.Path).Changed.add(c.B, c.Diff&(tree.TypeOf|tree.Contents) != 0)
			of(c.Path).Unchanged.take(c.B)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if lost > 0 {
		p.warn("%d excluded files go all the same, since other files take the place of their directories", lost)
	}
	err = tree.Walk(ctx, want, func(path string, n *tree.Node) error {
		if path == "" {
			return nil
		}
		user, _, _ := strings.Cut(path, "/")
		if by[user] == nil {
			return tree.SkipDir // not synced
		}
		of(path).Unchanged.add(n, true)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		c := by[name]
		s.Users = append(s.Users, *c)
		s.Total.sum(c)
	}
	s.Stands(!s.Home && !s.Total.Any())
	return want, nil
}

// heldFlags are the flags that the side which is written to holds: those of an
// image, or of a layer that is a directory what an overlay has marks for.
func (p *Plan) heldFlags() tree.Flags {
	if p.o.Reverse || p.live.Overlay.Image != nil {
		return extfs.KeptFlags
	}
	return tree.FlagImmutable | tree.FlagAppend
}

// checkExcludes refuses excludes that match nothing on either side.
func (p *Plan) checkExcludes(sides ...*tree.Node) error {
	if p.rules == nil {
		return nil
	}
	sides = slices.DeleteFunc(sides, func(n *tree.Node) bool { return n == nil })
	var all []exclude.RuleCount
	for _, n := range sides {
		counts, err := p.rules.Count(n)
		if err != nil {
			return err
		}
		if all == nil {
			all = counts
			continue
		}
		for i := range all {
			all[i].Matches += counts[i].Matches
		}
	}
	var u unmatched.Names
	u.Excludes(all, 0, "", sides...)
	warnings, err := u.Check(p.Summary.From, p.o.AllowUnmatched)
	p.Summary.Warnings = append(p.Summary.Warnings, warnings...)
	return err
}

// sum adds the counts of another.
func (c *Changes) sum(d *Changes) {
	for _, t := range []struct{ to, from *Tally }{{&c.New, &d.New}, {&c.Changed, &d.Changed}, {&c.Deleted, &d.Deleted},
		{&c.Unchanged, &d.Unchanged}} {
		t.to.Files += t.from.Files
		t.to.Bytes += t.from.Bytes
	}
}

// want returns the homes that are to be, and the names of those that are synced.
func (p *Plan) want(to, from *tree.Node, users []string) (want *tree.Node, synced []string, err error) {
	m := &homeMerge{rules: p.rules, keep: p.o.NoDelete}
	var kids tree.List
	err = sideBySide(to, from, func(name string, to, from *tree.Node) error {
		n := to
		if p.syncs(name, users) && (from != nil || p.o.Mirror && users == nil) {
			synced = append(synced, name)
			if n, err = m.node(name, to, from); err != nil {
				return err
			}
		}
		if n != nil {
			kids = append(kids, n)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	c := *from
	if to != nil && (len(p.o.Users) > 0 || users != nil) {
		c = *to
	}
	c.Name, c.Inode, c.Dir = "", tree.Inode{}, kids
	return &c, synced, nil
}
