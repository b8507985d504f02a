package remaster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"relive/remaster/refusal"
	"relive/tree"
)

// shares tells what of the tree falls to each layer, and what lies below it.
func (p *RelayerPlan) shares(ctx context.Context) ([]newLayer, error) {
	l := p.live
	o := l.Overlay
	base := l.Base.Root
	if p.o.Lower != nil {
		base = p.o.Lower
	}
	if len(o.laid) == 0 {
		at := unionLayer{upper: "upper", work: "work", layer: o.Upper, merged: l.Merged}
		if o.upper != "" {
			at.upper, at.work = o.upper, o.work
		}
		return []newLayer{{unionLayer: at, lower: base, want: p.want}}, nil
	}
	if err := p.checkOutside(ctx, base); err != nil {
		return nil, err
	}
	out := make([]newLayer, len(o.laid))
	for i, u := range o.laid {
		n := &out[i]
		n.unionLayer = u
		var err error
		if n.want, err = p.wanted(u); err != nil {
			return nil, err
		}
		if n.lower, err = directoryAt(base, u.dir); err != nil {
			return nil, err
		}
		if n.lower == nil {
			n.lower = tree.NewDir("", 0o755)
		}
		if n.want, err = p.uncovered(n, o.laid[i+1:]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// wanted is what is to show at the directory of a union.
func (p *RelayerPlan) wanted(u unionLayer) (*tree.Node, error) {
	n, err := p.want.Lookup(u.dir)
	switch {
	case err != nil:
		return nil, err
	case n == nil && u.merged != nil:
		// It stays as the place of the union, empty.
		c := *u.merged
		c.Dir, c.Inode = tree.List(nil), tree.Inode{}
		return &c, nil
	case n == nil:
		return tree.NewDir("", 0o755), nil
	case n.Type != tree.Directory:
		return nil, refusal.New("take the line out of persistence.conf first", "/%s: is to be a %s, and a boot mounts persistence over it", tree.Escape(u.dir), n.Type)
	}
	return n, nil
}

// uncovered gives what a layer itself is to show: below the directories that
// other unions lie over what it shows there now, or where that is dropped what
// lies below it.
func (p *RelayerPlan) uncovered(n *newLayer, inner []unionLayer) (*tree.Node, error) {
	var edits tree.Edits
	var last string
	for _, u := range inner {
		rel := inside(n.dir, u.dir)
		if rel == "" || last != "" && inside(last, u.dir) != "" {
			continue // elsewhere, or covered by the one before
		}
		last = u.dir
		hidden := n.merged
		if p.o.DropHidden || n.layer == nil {
			hidden = n.lower
		}
		at, err := directoryAt(hidden, rel)
		if err != nil {
			return nil, err
		}
		if at == nil {
			edits.Remove(rel)
		} else {
			edits.Put(rel, at)
		}
	}
	return edits.Apply(n.want)
}

// inside gives the path of dir in the directory outer, "" where it is not in it.
func inside(outer, dir string) string {
	if outer == "" {
		return dir
	}
	if rest, ok := strings.CutPrefix(dir, outer+"/"); ok {
		return rest
	}
	return ""
}

// checkOutside refuses changes for which there is no layer.
func (p *RelayerPlan) checkOutside(ctx context.Context, base *tree.Node) error {
	o := p.live.Overlay
	if o.laid[0].dir == "" {
		return nil
	}
	var edits tree.Edits
	for _, u := range o.laid {
		edits.Remove(u.dir)
	}
	below, err := edits.Apply(base)
	if err != nil {
		return err
	}
	want, err := edits.Apply(p.want)
	if err != nil {
		return err
	}
	ways := map[string]bool{"": true} // directories that a boot makes as it needs them
	for _, u := range o.laid {
		for i := range u.dir {
			if u.dir[i] == '/' {
				ways[u.dir[:i]] = true
			}
		}
	}
	errFound := errors.New("a change")
	first := ""
	err = tree.Compare(ctx, below, want, tree.CompareOptions{TrustInode: true}, func(c tree.Change) error {
		if ways[c.Path] && (c.B == nil || c.B.Type == tree.Directory) {
			return nil
		}
		first = c.Path
		return errFound
	})
	if errors.Is(err, errFound) {
		return refusal.New("only what lies below the unions of persistence.conf can be changed", "%s: /%s is to be another than in the base, and no union lies over it", o.Path, tree.Escape(first))
	}
	if err != nil {
		return fmt.Errorf("comparing with the base: %w", err)
	}
	return nil
}
