package upper

import (
	"context"

	"relive/extfs"
	"relive/remaster/replace"
	"relive/tree"
)

// warnFlags tells of flags of the new layers, or of the present ones where the
// new ones are directories of the host, which what is made cannot hold.
func (p *Plan) warnFlags(ctx context.Context, layers []newLayer) error {
	counts, first := map[string]uint64{}, ""
	for _, n := range layers {
		root, held := n.Root, extfs.KeptFlags
		if p.Live.Overlay.Image == nil {
			root, held = n.Layer, tree.FlagImmutable|tree.FlagAppend
		}
		if root == nil {
			continue
		}
		err := tree.Walk(ctx, root, func(path string, n *tree.Node) error {
			for _, name := range (n.Flags &^ held).Names() {
				if counts[name]++; first == "" {
					first = path
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if text := replace.FlagsLost(counts, first); text != "" {
		p.Warn("the new %s cannot hold flags that chattr sets: %s", p.Live.Overlay.Name(), text)
	}
	return nil
}
