package remaster

import (
	"context"

	"relive/remaster/swap"
	"relive/tree"
)

// OnDisk has transactions done on another file system than the host's.
func (e *Env) OnDisk(disk swap.FS) { e.disk = disk }

// PlanRelayer plans that the overlay shows another tree.
func (l *Live) PlanRelayer(ctx context.Context, e *Env, want *tree.Node, o RelayerOptions) (*RelayerPlan, error) {
	return l.planRelayer(ctx, e, "relayer", want, o)
}

// Initrds are the names that the initrd of a kernel may have.
func Initrds(kernel string) []string { return initrds(kernel) }
