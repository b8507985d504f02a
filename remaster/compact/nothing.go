package compact

import (
	"context"

	"relive/dmmerge"
	"relive/remaster/changes"
	"relive/remaster/live"
	"relive/remaster/say"
)

// checkNothing finds out whether there is anything to fold in. A compaction that
// has nothing to do must not do it: it would put a base like the present one in
// its place and move the former state, to which a rollback goes back, on.
func (p *Plan) checkNothing(ctx context.Context) error {
	l, s := p.live, &p.Summary
	if p.asked() {
		return nil
	}
	vids, err := l.VIDs()
	if err != nil {
		return err
	}
	if vids.State != live.VIDNoOverlay && !vids.State.Used() {
		return nil // a boot ignores the overlay; what --force makes fits the base
	}
	switch o := l.Overlay; {
	case o == nil:
		s.Nothing = "there is no overlay"
	case o.COW != nil && (!o.Empty || o.COW.Store.State() != dmmerge.Valid && o.COW.Store.State() != dmmerge.New):
		return nil // its chunks fill up, whatever files they make
	case o.Empty:
		s.Nothing = o.Name() + " is empty"
	default:
		same, err := changes.ShowsBase(ctx, l)
		if err != nil || !same {
			return err
		}
		s.Nothing = o.Name() + " changes nothing (" + say.Reset + " " + say.Force + " " + l.Dir + " empties it all the same)"
	}
	s.Stands(true)
	return nil
}

// asked reports whether other work than folding the overlay in was asked for, or
// comes with it: images of a stack that become one.
func (p *Plan) asked() bool {
	o := &p.o
	return o.Output != "" || o.Any() || len(o.Excludes) > 0 ||
		o.Flatten && p.live.Base.Inner != nil || len(p.live.Stack) > 1 && !p.live.Layout.Traits().StackStays
}
