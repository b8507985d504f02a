package remaster

import (
	"context"

	"relive/tree"
)

// PlanRelayer plans that the overlay shows another tree.
func (l *Live) PlanRelayer(ctx context.Context, e *Env, want *tree.Node, o RelayerOptions) (*RelayerPlan, error) {
	return l.planRelayer(ctx, e, "relayer", want, o)
}

// KeepTree gives what a reset leaves, and how many names each rule matches.
func KeepTree(ctx context.Context, base, merged *tree.Node, rules []KeepRule) (*tree.Node, []int64, error) {
	m := newKeepMatcher(rules)
	root, _, err := keep(ctx, base, merged, m)
	return root, m.matches, err
}
