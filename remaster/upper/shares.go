package upper

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/tree"
)

// shares tells what of the tree falls to each layer, and what lies below it.
func (p *Plan) shares(ctx context.Context) ([]newLayer, error) {
	l := p.Live
	o := l.Overlay
	base := l.Base.Root
	if p.O.Lower != nil {
		base = p.O.Lower
	}
	if len(o.UnionLayers) == 0 {
		at := live.UnionLayer{Upper: "upper", Work: "work", Layer: o.Upper, Merged: l.Merged}
		if o.UpperDir != "" {
			at.Upper, at.Work = o.UpperDir, o.WorkDir
		}
		return []newLayer{{UnionLayer: at, lower: base, want: p.want}}, nil
	}
	if err := p.checkOutside(ctx, base); err != nil {
		return nil, err
	}
	out := make([]newLayer, len(o.UnionLayers))
	for i, u := range o.UnionLayers {
		n := &out[i]
		n.UnionLayer = u
		var err error
		if n.want, err = p.wanted(u); err != nil {
			return nil, err
		}
		if n.lower, err = live.DirectoryAt(base, u.Dir); err != nil {
			return nil, err
		}
		if n.lower == nil {
			n.lower = tree.NewDir("", 0o755)
		}
		if n.want, err = p.uncovered(n, o.UnionLayers[i+1:]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// wanted is what is to show at the directory of a union.
func (p *Plan) wanted(u live.UnionLayer) (*tree.Node, error) {
	n, err := p.want.Lookup(u.Dir)
	switch {
	case err != nil:
		return nil, err
	case n == nil && u.Merged != nil:
		// It stays as the place of the union, empty.
		c := *u.Merged
		c.Dir, c.Inode = tree.List(nil), tree.Inode{}
		return &c, nil
	case n == nil:
		return tree.NewDir("", 0o755), nil
	case n.Type != tree.Directory:
		return nil, refusal.New(refusal.WrongKind, "take the line out of persistence.conf first",
			"/%s: is to be a %s, and a boot mounts persistence over it", tree.Escape(u.Dir), n.Type)
	}
	return n, nil
}

// uncovered returns what a layer itself is to show: below the directories that
// other unions lie over what it shows there now, or where that is dropped what
// lies below it.
func (p *Plan) uncovered(n *newLayer, inner []live.UnionLayer) (*tree.Node, error) {
	var edits tree.Edits
	var last string
	for _, u := range inner {
		rel := inside(n.Dir, u.Dir)
		if rel == "" || last != "" && inside(last, u.Dir) != "" {
			continue // elsewhere, or covered by the one before
		}
		last = u.Dir
		hidden := n.Merged
		if p.O.DropHidden || n.Layer == nil {
			hidden = n.lower
		}
		at, err := live.DirectoryAt(hidden, rel)
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

// inside returns the path of dir in the directory outer, "" where it is not in it.
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
func (p *Plan) checkOutside(ctx context.Context, base *tree.Node) error {
	o := p.Live.Overlay
	if o.UnionLayers[0].Dir == "" {
		return nil
	}
	var edits tree.Edits
	for _, u := range o.UnionLayers {
		edits.Remove(u.Dir)
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
	for _, u := range o.UnionLayers {
		for i := range u.Dir {
			if u.Dir[i] == '/' {
				ways[u.Dir[:i]] = true
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
		return refusal.New(refusal.UnsupportedForm, "only what lies below the unions of persistence.conf can be changed",
			"%s: /%s is to be another than in the base, and no union lies over it", o.Path, tree.Escape(first))
	}
	if err != nil {
		return fmt.Errorf("comparing with the base: %w", err)
	}
	return nil
}
