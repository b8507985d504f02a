package remaster

import "context"

// verifyBoots checks that a live system has what it needs to boot; nil where it
// has, or where that cannot be judged.
func verifyBoots(ctx context.Context, l *Live) ([]CheckResult, error) {
	lost, ails, _, err := l.bootFindings(ctx)
	if err != nil || len(lost)+len(ails) == 0 {
		return nil, err
	}
	return []CheckResult{{Path: l.Dir, What: CheckBoots, Findings: append(lost, ails...)}}, nil
}

// CheckBoots is what is checked of a system: whether it has what it needs to boot.
const CheckBoots = "boot"
