package remaster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"relive/extfs"
	"relive/tree"
)

// flagsLost tells of flags that chattr sets and that are lost, "" for none: how
// many files have each, and the first of them.
func flagsLost(counts map[string]uint64, first string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, fmt.Sprintf("%s (%d)", name, counts[name]))
	}
	if len(out) == 0 {
		return ""
	}
	return "lost are " + strings.Join(out, ", ") + ", the first of /" + tree.Escape(strings.TrimPrefix(first, "/"))
}

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
