package job

import (
	"time"

	"relive/tree"
)

// ImageTime returns the time that new images carry, in whole seconds: that of
// SOURCE_DATE_EPOCH where it is set, otherwise the newest of times that is not
// later than now. A file from the future, as a clock without a battery leaves
// it, would hand its time on to every image that is made of this one. Where all
// are later the time is now's.
func (e *Env) ImageTime(times ...tree.Time) tree.Time {
	if e.SourceDate != nil {
		return tree.Time{Sec: *e.SourceDate}.Whole()
	}
	var n NewestTime
	for _, t := range times {
		n.Add(t)
	}
	return n.Time().Whole()
}

// NewestTime finds the newest of several times that is not later than now.
type NewestTime struct {
	newest, now tree.Time
	any, later  bool // there was one that is not later, one that is
}

// Add takes a time into account; the zero time is none.
func (n *NewestTime) Add(t tree.Time) {
	if n.now == (tree.Time{}) {
		now := time.Now()
		n.now = tree.Time{Sec: now.Unix(), Nsec: uint32(now.Nanosecond())}
	}
	switch {
	case t == tree.Time{}: // none
	case n.now.Before(t):
		n.later = true
	case !n.any || n.newest.Before(t):
		n.newest, n.any = t, true
	}
}

// Time returns the newest, now where all were later, the zero time where there
// was none.
func (n *NewestTime) Time() tree.Time {
	if !n.any && n.later {
		return n.now
	}
	return n.newest
}
