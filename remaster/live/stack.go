package live

import (
	"context"

	"relive/overlay"
	"relive/remaster/job"
	"relive/squash"
	"relive/tree"
)

// openStack opens a base that is several SquashFS images over each other, the
// bottom first. The one at top is the Base; the others lie below it.
func (l *Live) openStack(e *job.Env, paths []string, top int) error {
	var roots []*tree.Node
	for _, path := range paths {
		if err := l.openBase(e, path); err != nil {
			return err
		}
		l.Base.Below = nil
		roots = append(roots, l.Base.Root)
		l.Stack = append(l.Stack, l.Base)
	}
	l.Base = l.Stack[top]
	if len(paths) == 1 {
		return nil
	}
	for i, b := range l.Stack {
		if i != top {
			l.Base.Below = append(l.Base.Below, b.Path)
		}
	}
	for i := len(roots) - 1; i >= 0; i-- {
		l.Lowers = append(l.Lowers, overlay.Layer{Root: roots[i], Form: overlay.OverlayFS, Namespace: overlay.Trusted})
	}
	union, err := overlay.Merge(l.Lowers, overlay.KeepEscaped())
	if err != nil {
		return err
	}
	l.Base.Root = union.Root()
	return nil
}

// LowerLayers are what an overlay lies over, the uppermost first.
func (l *Live) LowerLayers() []overlay.Layer {
	if len(l.Lowers) > 0 {
		return l.Lowers
	}
	return []overlay.Layer{{Root: l.Base.Root}}
}

// ownLayer gives the tree that the base's image is to hold so that it shows
// the system over the images below it.
func (l *Live) ownLayer(ctx context.Context, system *tree.Node) (*tree.Node, error) {
	below, err := overlay.Merge(l.Lowers[1:], overlay.KeepEscaped())
	if err != nil {
		return nil, err
	}
	stored := squash.NewStoredComparer()
	return overlay.Difference(ctx, below.Root(), system, overlay.DifferenceOptions{
		Namespace: overlay.Trusted, Escaped: true, WholeSeconds: true, TrustInode: true,
		SameContent: func(_ string, a, b *tree.Node) (bool, error) { return stored.Same(a, b) },
	})
}
