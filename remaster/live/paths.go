package live

import (
	"context"
	"fmt"

	"relive/remaster/say"
	"relive/remaster/unmatched"
	"relive/tree"
)

// CheckPaths refuses paths and patterns that match nothing, neither in the base nor in
// what base and overlay show, unless allow turns that into warnings.
func (l *Live) CheckPaths(ctx context.Context, paths []string, allow bool) (warnings []string, err error) {
	var u unmatched.Names
	trees := []*tree.Node{l.Merged, l.Base.Root}
	for _, p := range paths {
		n := 0
		for _, t := range trees {
			if n == 0 {
				if n, err = unmatched.KeepMatches(ctx, t, p, map[string]bool{}); err != nil {
					return nil, err
				}
			}
		}
		if n == 0 {
			u.Path(fmt.Sprintf("%q: there is no such path in the system, neither in the base nor in the overlay", p), p, "/", trees...)
			if IsDir(Host{}, p) && u.Hint == "" {
				u.Mild = "a PATH is one of the system that is looked at, and not of the host: " + say.Diff +
					" compares an overlay with its " + "base, not two directories"
			}
		}
	}
	return u.Check(l.Dir, allow)
}
