package remaster

import (
	"context"
	"errors"

	"relive/dmmerge"
)

// Standing tells in a summary whether a verb finds anything to do. Where it does
// not, nothing is written, and no former state moves on.
type Standing struct {
	UpToDate bool `json:"up_to_date"`
	// NothingToDo is the same, under the name that every verb has.
	NothingToDo bool `json:"nothing_to_do"`
}

// stands notes that all is as it is to be, or not.
func (s *Standing) stands(is bool) { s.UpToDate, s.NothingToDo = is, is }

// checkNothing finds out whether there is anything to fold in. A compaction that
// has nothing to do must not do it: it would put a base like the present one in
// its place and move the former state, to which a rollback goes back, on.
func (p *CompactPlan) checkNothing(ctx context.Context) error {
	l, s := p.live, &p.Summary
	if p.asked() {
		return nil
	}
	vids, err := l.VIDs()
	if err != nil {
		return err
	}
	if vids.State != VIDNoOverlay && !vids.State.Used() {
		return nil // a boot ignores the overlay; what --force makes fits the base
	}
	switch o := l.Overlay; {
	case o == nil:
		s.Nothing = "there is no overlay"
	case o.Snapshot != nil && (!o.Empty || o.Snapshot.COW.State() != dmmerge.Valid && o.Snapshot.COW.State() != dmmerge.New):
		return nil // its chunks fill up, whatever files they make
	case o.Empty:
		s.Nothing = o.Name() + " is empty"
	default:
		same, err := l.showsBase(ctx)
		if err != nil || !same {
			return err
		}
		s.Nothing = o.Name() + " changes nothing (relive reset --force " + l.Dir + " empties it all the same)"
	}
	s.stands(true)
	return nil
}

// asked reports whether other work than folding the overlay in was asked for, or
// comes with it: images of a stack that become one.
func (p *CompactPlan) asked() bool {
	o := &p.o
	return o.Output != "" || o.Codec != nil || o.Level != 0 || o.BlockSize != 0 || len(o.Excludes) > 0 ||
		o.Flatten && p.live.Base.Inner != nil || len(p.live.stack) > 1 && !p.live.Layout.Traits().StackStays
}

// errDiffers ends a comparison at the first difference.
var errDiffers = errors.New("differs")

// showsBase reports whether base and overlay show what the base alone shows, but
// for the traces that a boot itself leaves.
func (l *Live) showsBase(ctx context.Context) (bool, error) {
	err := l.Changes(ctx, func(Change) error { return errDiffers })
	if errors.Is(err, errDiffers) {
		return false, nil
	}
	return err == nil, err
}
