package synchome

import (
	"context"
	"path"
	"slices"
	"strings"

	"relive/overlay"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
)

// escapedMarks is what attributes begin with that belong to an overlay within
// another.
const escapedMarks = overlay.MarkPrefix + "overlay."

// escape returns the homes the form that they have in a layer, in which
// attributes of overlayfs would be taken for the layer's own. A whiteout has no
// such form, and is refused.
func (p *Plan) escape(ctx context.Context) error {
	for i, m := range p.homes.mounts {
		marked := false
		err := tree.Walk(ctx, m.root, func(at string, n *tree.Node) error {
			full := strings.Trim(m.dir+"/"+at, "/")
			user, _, _ := strings.Cut(full, "/")
			excluded := false
			if p.rules != nil {
				_, excluded = p.rules.Excluded(full)
			}
			switch {
			case user != "" && !p.syncs(user, nil), excluded:
				if n.Type == tree.Directory {
					return tree.SkipDir
				}
			case overlay.IsWhiteout(n):
				return refusal.New(refusal.WrongKind, "leave it out: "+say.Exclude+" '"+path.Dir(full)+"'",
					"%s: %s is a character device 0:0, as layers of containers have them, which would hide a file in an overlay",
					p.Summary.From, tree.Quote(tree.Join(live.HomeDir, full)))
			case slices.ContainsFunc(n.Xattrs, func(x tree.Xattr) bool { return overlay.IsMark(x.Name) }):
				marked = true
			}
			return nil
		})
		if err != nil {
			return err
		}
		if marked {
			p.homes.mounts[i].root = viewed(m.root, func(n *tree.Node) *tree.Node {
				return renamed(n, func(name string) string {
					if rest, ok := strings.CutPrefix(name, overlay.MarkPrefix); ok {
						return escapedMarks + rest
					}
					return name
				})
			})
		}
	}
	return nil
}

// unescaped returns a tree in the form of a layer as a mount shows it.
func unescaped(root *tree.Node) *tree.Node {
	return viewed(root, func(n *tree.Node) *tree.Node {
		if overlay.IsWhiteout(n) {
			return nil
		}
		return renamed(n, func(name string) string {
			if rest, ok := strings.CutPrefix(name, escapedMarks); ok {
				return overlay.MarkPrefix + rest
			}
			if overlay.IsMark(name) {
				return ""
			}
			return name
		})
	})
}

// renamed returns a node whose attributes have other names; those that get none
// are left out.
func renamed(n *tree.Node, name func(string) string) *tree.Node {
	if !slices.ContainsFunc(n.Xattrs, func(x tree.Xattr) bool { return overlay.IsMark(x.Name) }) {
		return n
	}
	c := *n
	c.Xattrs = nil
	for _, x := range n.Xattrs {
		if x.Name = name(x.Name); x.Name != "" {
			c.Xattrs = append(c.Xattrs, x)
		}
	}
	tree.SortXattrs(c.Xattrs)
	return &c
}

// viewed returns a tree of which each node is what view makes of it; nil leaves
// it out, with what is below it.
func viewed(n *tree.Node, view func(*tree.Node) *tree.Node) *tree.Node {
	v := view(n)
	if v == nil || v.Dir == nil {
		return v
	}
	c := *v
	c.Inode, c.Dir = tree.Inode{}, &viewedDir{v, view}
	return &c
}

type viewedDir struct {
	of   *tree.Node
	view func(*tree.Node) *tree.Node
}

// Children implements tree.Dir.
func (d *viewedDir) Children() ([]*tree.Node, error) {
	all, err := d.of.Children()
	if err != nil {
		return nil, err
	}
	out := make([]*tree.Node, 0, len(all))
	for _, n := range all {
		if v := viewed(n, d.view); v != nil {
			out = append(out, v)
		}
	}
	return out, nil
}
