package remaster

import (
	"context"

	"relive/extfs"
	"relive/tree"
)

// warnFlags tells of flags of the new layers, or of the present ones where the
// new ones are directories of the host, which what is made cannot hold.
func (p *RelayerPlan) warnFlags(ctx context.Context, layers []newLayer) error {
	counts, first := map[string]uint64{}, ""
	for _, n := range layers {
		root, held := n.root, extfs.KeptFlags
		if p.live.Overlay.Image == nil {
			root, held = n.layer, tree.FlagImmutable|tree.FlagAppend
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
	if text := flagsLost(counts, first); text != "" {
		p.warn("the new %s cannot hold flags that chattr sets: %s", p.live.Overlay.Name(), text)
	}
	return nil
}
