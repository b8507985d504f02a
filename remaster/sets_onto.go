package remaster

import (
	"context"
	"errors"
	"fmt"

	"relive/squash"
	"relive/tree"
)

// onto compares what a layer shows over two bases. It looks at every name in
// the directories that the layer holds, and no further where the layer has no
// part.
type onto struct {
	ctx       context.Context
	stored    *squash.StoredComparer
	conflicts []Conflict
	count     int
}

// pairs are one path in the former base, in the new one, and in what the layer
// shows over each; nil where there is none.
type pairs struct{ was, is, shownWas, shown *tree.Node }

func (p pairs) each() []*tree.Node { return []*tree.Node{p.was, p.is, p.shownWas, p.shown} }

// directory looks at a directory that all have, and that the layer holds.
func (o *onto) directory(path string, p pairs, upper *tree.Node) error {
	if err := o.ctx.Err(); err != nil {
		return context.Cause(o.ctx)
	}
	if err := o.metadata(path, p); err != nil {
		return err
	}
	var lists [4][]*tree.Node
	for i, n := range p.each() {
		kids, err := n.Children()
		if err != nil {
			return fmt.Errorf("%s: %w", tree.Quote(path), err)
		}
		lists[i] = kids
	}
	held, err := upper.Children()
	if err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(path), err)
	}
	own := make(map[string]*tree.Node, len(held))
	for _, k := range held {
		own[k.Name] = k
	}
	for {
		name, any := "", false
		for _, list := range lists {
			if len(list) > 0 && (!any || list[0].Name < name) {
				name, any = list[0].Name, true
			}
		}
		if !any {
			return nil
		}
		var at [4]*tree.Node
		for i, list := range lists {
			if len(list) > 0 && list[0].Name == name {
				at[i], lists[i] = list[0], list[1:]
			}
		}
		if err := o.name(tree.Join(path, name), pairs{at[0], at[1], at[2], at[3]}, own[name]); err != nil {
			return err
		}
	}
}

// name looks at a name of a directory that the layer holds; upper is what the
// layer has there, nil where it has nothing of that name.
func (o *onto) name(path string, p pairs, upper *tree.Node) error {
	if path == rootVIDFile || path == baseVIDFile && upper == nil {
		return nil
	}
	hidden := (p.was != nil && p.shownWas == nil) || (p.is != nil && p.shown == nil)
	if upper == nil && !hidden {
		return nil // it shows through, whatever it is
	}
	merging := upper != nil && upper.Type == tree.Directory
	for _, n := range p.each() {
		merging = merging && n != nil && n.Type == tree.Directory
	}
	if merging {
		return o.directory(path, p, upper)
	}
	same, err := o.same(p.was, p.is)
	if same || err != nil {
		return err
	}
	// Both have done the same.
	if same, err = o.same(p.shownWas, p.is); same && err == nil {
		same, err = o.same(p.shown, p.is)
	}
	if same || err != nil {
		return err
	}
	o.conflict(path, p)
	return nil
}

// metadata looks at a directory alone. Its time follows from what is in it.
func (o *onto) metadata(path string, p pairs) error {
	bare := func(n *tree.Node) *tree.Node {
		c := *n
		c.Dir, c.Mtime, c.Inode = tree.List(nil), tree.Time{}, tree.Inode{}
		return &c
	}
	b := pairs{bare(p.was), bare(p.is), bare(p.shownWas), bare(p.shown)}
	same, err := o.same(b.was, b.is)
	if !same && err == nil {
		same, err = o.same(b.shown, b.is)
	}
	if !same && err == nil {
		o.conflict(path, p)
	}
	return err
}

// same tells whether two paths hold the same, with all below, but for the times
// of directories.
func (o *onto) same(a, b *tree.Node) (bool, error) {
	if a == nil || b == nil {
		return a == b, nil
	}
	if a.Type != b.Type {
		return false, nil
	}
	errOther := errors.New("another")
	err := tree.Compare(o.ctx, a, b, tree.CompareOptions{
		WholeSeconds: true, TrustInode: true, ShallowDirs: true,
		IgnoreXattr: func(name string) bool { return !squash.HoldsXattr(name) },
		SameContent: func(_ string, a, b *tree.Node) (bool, error) { return o.stored.Same(a, b) },
	}, func(c tree.Change) error {
		if c.Diff == tree.Mtimes && c.A.Type == tree.Directory {
			return nil
		}
		return errOther
	})
	if errors.Is(err, errOther) {
		return false, nil
	}
	return err == nil, err
}

func (o *onto) conflict(path string, p pairs) {
	if o.count++; o.count > conflictsShown {
		return
	}
	o.conflicts = append(o.conflicts, Conflict{Path: path, Set: o.did(p.was, p.shownWas), Base: o.did(p.was, p.is)})
}

// did tells in a word what became of a path.
func (o *onto) did(was, is *tree.Node) string {
	switch {
	case was == nil && is == nil:
		return "hidden"
	case was == nil:
		return "added"
	case is == nil:
		return "deleted"
	case was.Type != is.Type:
		return "replaced"
	case was.Type == tree.Directory:
		return "changed directory"
	}
	if same, err := o.same(was, is); same && err == nil {
		return "copied"
	}
	return "changed"
}
