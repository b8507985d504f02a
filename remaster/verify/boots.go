package verify

import (
	"context"

	"relive/remaster/bootable"
	"relive/remaster/live"
)

// verifyBoots checks that a live system has what it needs to boot; nil where it
// has, or where that cannot be judged.
func verifyBoots(ctx context.Context, l *live.Live) ([]Result, error) {
	lost, ails, _, err := bootable.BootFindings(ctx, l)
	if err != nil || len(lost)+len(ails) == 0 {
		return nil, err
	}
	return []Result{{Path: l.Dir, What: CheckBoots, Findings: append(lost, ails...)}}, nil
}

// CheckBoots is what is checked of a system: whether it has what it needs to boot.
const CheckBoots = "boot"
