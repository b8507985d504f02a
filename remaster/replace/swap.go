package replace

import (
	"context"
	"path/filepath"

	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/packages"
	"relive/remaster/say"
	"relive/remaster/swap"
)

// Swap puts new files in the place of those of a live directory, in one
// transaction: the base and what tells of it, further files, and the overlay.
type Swap struct {
	Live *live.Live
	Env  *job.Env
	Verb string // that the journal tells of
	// KeepOld is how many former states are kept beside the new one.
	KeepOld int
	// Stage leaves the new files for the next boot to take up.
	Stage bool
	Warn  func(format string, args ...any)
	// Parts take the place of the overlay; none where it stays or there is none.
	Parts []Part
	// More are further files that are made and put in place after the base and
	// its companions.
	More []string
	// Companions are what is made anew of what tells of the base and of more; void
	// is what is set aside. Packages are those of the new system.
	Companions []live.Companion
	void       []string
	Packages   []packages.List
	// Apart: the new base and the old overlay do not show what they are to
	// together, so that the overlay is set aside before the base is replaced. A
	// boot in between shows the old base alone, and one after it the new.
	Apart bool
	// pairs are the names that stand for records of what is kept on two file systems.
	pairs []string
	// emptied are layers that stay, in which marks that would lead to other files
	// of the new base are emptied before it is put in place.
	emptied []live.MarkedLayer
}

// ShownSteps are the steps, for people.
func (s *Swap) ShownSteps() ([]string, error) {
	steps, err := ShowSteps(s.Live.Dir, s.Steps(s.Placeholders()))
	return append(s.MarksEmptied(), steps...), err
}

// AddNeed adds what the parts and what is copied take on the host.
func (s *Swap) AddNeed(r *Room) error {
	for _, p := range s.Parts {
		if err := r.Add(p.Target, p.Need, 0); err != nil {
			return err
		}
	}
	for _, name := range s.twins() {
		size, err := hostdisk.TreeSize(filepath.Join(s.Live.Dir, name))
		if err == nil {
			err = r.Add(name, size, 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// CheckInUse refuses while the files that are to be replaced are mounted. A mounted
// base can still be staged for.
func CheckInUse(l *live.Live, stage bool) error {
	if err := l.RefuseInUse("", l.OverlayPaths()...); err != nil {
		return err
	}
	if stage {
		// A copy of what is mounted would be of no one state.
		var along []string
		for _, name := range l.StagedAlong() {
			along = append(along, filepath.Join(l.Dir, name))
		}
		return l.RefuseInUse("", along...)
	}
	more := ""
	if l.Layout.Traits().Stages {
		more = say.Stage + " prepares files for the next boot instead"
	}
	if err := l.RefuseInUse(more, l.Base.Path); err != nil {
		return err
	}
	for _, name := range l.Files.Retired {
		if path := filepath.Join(l.Dir, name); l.OnHost() && hostdisk.Exists(path) {
			if err := l.RefuseInUse("", path); err != nil {
				return err
			}
		}
	}
	return nil
}

// Run makes files by fill, and the parts, and puts all of them in place in one
// transaction.
func (s *Swap) Run(ctx context.Context, fill func(t *Transaction) error) error {
	x := Exchange{
		Env: s.Env, Live: s.Live, Verb: s.Verb, Fill: fill, Parts: s.Parts, Placing: "putting the new files in place",
		Free:  func() error { return CheckInUse(s.Live, s.Stage) },
		Steps: func(made map[string]string) ([]swap.Step, error) { return s.Steps(made), nil },
		Last: func(t *Transaction) error {
			if err := s.putPairs(ctx, t); err != nil {
				return err
			}
			return s.emptyMarks()
		},
	}
	return x.Run(ctx, s.Placeholders())
}
