package reset

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"relive/tree"
)

// keeper makes the tree that a reset leaves: the base, with what is kept as the
// merged tree shows it. What is kept and gone in the merged tree stays gone.
// Directories that lead to something kept have the metadata that they show.
type keeper struct {
	*keepMatcher
	ctx    context.Context
	groups map[tree.Inode]*keptGroup
	// forced are paths that are kept since another name of their file is; ways
	// are the directories that lead there.
	forced, ways map[string]bool
}

// keptGroup is a file with several names that the overlay shows.
type keptGroup struct {
	names []string
	kept  []bool
}

// keep returns the tree, and warnings.
func keep(ctx context.Context, base, merged *tree.Node, m *keepMatcher) (*tree.Node, []string, error) {
	k := &keeper{keepMatcher: m, ctx: ctx, groups: map[tree.Inode]*keptGroup{}, forced: map[string]bool{}, ways: map[string]bool{}}
	if err := k.survey("", base, merged, m.start(), -1, 0); err != nil {
		return nil, nil, err
	}
	warnings := k.force()
	root, changed, err := k.mix("", base, merged, m.start(), -1, 0)
	if err != nil || !changed {
		return base, warnings, err
	}
	return root, warnings, nil
}

// unchanged reports whether the overlay has no say in a node.
func unchanged(b, m *tree.Node) bool {
	return b != nil && m != nil && (b == m || b.Inode != (tree.Inode{}) && b.Inode == m.Inode && b.Meta == m.Meta &&
		b.Xattrs.Equal(m.Xattrs))
}

func isDirNode(n *tree.Node) bool { return n != nil && n.Type == tree.Directory }

// pair lists two directories, either of which may be none.
func (k *keeper) pair(path string, b, m *tree.Node, depth int, fn func(b, m *tree.Node, name, path string) error) error {
	if depth > tree.MaxDepth {
		return fmt.Errorf("%s: directories nest deeper than %d", tree.Quote(path), tree.MaxDepth)
	}
	if k.ctx.Err() != nil {
		return context.Cause(k.ctx)
	}
	var kb, km []*tree.Node
	var err error
	if isDirNode(b) {
		if kb, err = b.Children(); err != nil {
			return err
		}
	}
	if isDirNode(m) {
		if km, err = m.Children(); err != nil {
			return err
		}
	}
	for len(kb) > 0 || len(km) > 0 {
		var x, y *tree.Node
		if len(km) == 0 || len(kb) > 0 && kb[0].Name <= km[0].Name {
			x, kb = kb[0], kb[1:]
		}
		if x == nil || len(km) > 0 && km[0].Name == x.Name {
			y, km = km[0], km[1:]
		}
		name := ""
		if y != nil {
			name = y.Name
		} else {
			name = x.Name
		}
		if err := fn(x, y, name, tree.Join(path, name)); err != nil {
			return err
		}
	}
	return nil
}

// survey counts what the rules match, and finds the names of linked files.
func (k *keeper) survey(path string, b, m *tree.Node, live []keepState, best, depth int) error {
	return k.pair(path, b, m, depth, func(b, m *tree.Node, name, path string) error {
		dir := isDirNode(b) || isDirNode(m)
		next, now := k.step(live, best, name, dir, true)
		same := unchanged(b, m)
		if m != nil && !same && m.Type != tree.Directory && m.Nlink > 1 && m.Inode != (tree.Inode{}) {
			g := k.groups[m.Inode]
			if g == nil {
				g = &keptGroup{}
				k.groups[m.Inode] = g
			}
			g.names, g.kept = append(g.names, path), append(g.kept, k.keeps(now))
		}
		if !dir || same && !k.seeks(next) {
			return nil
		}
		return k.survey(path, b, m, next, now, depth+1)
	})
}

// force keeps all names of a file of which one is kept.
func (k *keeper) force() (warnings []string) {
	lists := map[string]string{}
	for _, g := range k.groups {
		i := slices.Index(g.kept, true)
		if i < 0 || !slices.Contains(g.kept, false) {
			continue
		}
		var more []string
		for j, name := range g.names {
			if g.kept[j] {
				continue
			}
			k.forced[name] = true
			more = append(more, "/"+tree.Escape(name))
			for at := strings.LastIndexByte(name, '/'); at > 0; at = strings.LastIndexByte(name[:at], '/') {
				k.ways[name[:at]] = true
			}
		}
		first := g.names[i]
		lists[first] = fmt.Sprintf("/%s is one file with %s, which is kept as well", tree.Escape(first), strings.Join(more, ", "))
	}
	for _, first := range slices.Sorted(maps.Keys(lists)) {
		warnings = append(warnings, lists[first])
	}
	return warnings
}

// mix returns what shows at a path, nil for nothing, and whether anything of the
// overlay is in it.
func (k *keeper) mix(path string, b, m *tree.Node, live []keepState, best, depth int) (out *tree.Node, kept bool, err error) {
	keep := k.keeps(best) || k.forced[path]
	switch {
	case unchanged(b, m):
		return b, false, nil
	case !isDirNode(b) && !isDirNode(m), len(live) == 0 && (keep || !k.ways[path]), keep && m != nil && m.Type != tree.Directory:
		if keep {
			return m, true, nil
		}
		return b, false, nil
	}
	var kids tree.List
	err = k.pair(path, b, m, depth, func(b, m *tree.Node, name, path string) error {
		next, now := k.step(live, best, name, isDirNode(b) || isDirNode(m), false)
		n, changed, err := k.mix(path, b, m, next, now, depth+1)
		if n != nil {
			kids = append(kids, n)
		}
		kept = kept || changed
		return err
	})
	switch {
	case err != nil:
		return nil, false, err
	case keep && m == nil && len(kids) == 0:
		return nil, true, nil
	case keep:
		kept = true
	case !kept, len(kids) == 0 && !isDirNode(b):
		return b, false, nil
	}
	n := m
	if !isDirNode(m) {
		n = b
	}
	c := *n
	c.Dir, c.Inode = kids, tree.Inode{}
	return &c, kept, nil
}

// KeepTree returns what a reset leaves, and how many names each rule matches.
func KeepTree(ctx context.Context, base, merged *tree.Node, rules []Rule) (*tree.Node, []int64, error) {
	m := newKeepMatcher(rules)
	root, _, err := keep(ctx, base, merged, m)
	return root, m.matches, err
}
