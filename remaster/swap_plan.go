package remaster

import (
	"context"
	"fmt"
	"path/filepath"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/packages"
)

// Swap puts new files in the place of those of a live directory, in one
// transaction: the base and what tells of it, further files, and the overlay.
type Swap struct {
	live *Live
	env  *job.Env
	verb string // that the journal tells of
	// keepOld is how many former states are kept beside the new one.
	keepOld int
	// stage leaves the new files for the next boot to take up.
	stage bool
	warn  func(format string, args ...any)
	// parts take the place of the overlay; none where it stays or there is none.
	parts []part
	// more are further files that are made and put in place after the base and
	// its companions.
	more []string
	// companions are what is made anew of what tells of the base and of more; void
	// is what is set aside. packages are those of the new system.
	companions []companion
	void       []string
	packages   []packages.List
	// apart: the new base and the old overlay do not show what they are to
	// together, so that the overlay is set aside before the base is replaced. A
	// boot in between shows the old base alone, and one after it the new.
	apart bool
	// emptied are layers that stay, in which marks that would lead to other files
	// of the new base are emptied before it is put in place.
	emptied []markedLayer
}

// shown are the steps, for people.
func (s *Swap) shown() ([]string, error) {
	steps, err := shownSteps(s.live.Dir, s.steps(s.placeholders()))
	return append(s.marksEmptied(), steps...), err
}

// need is what the parts and what is copied take on the host, in bytes.
func (s *Swap) need() (n int64, err error) {
	for _, r := range s.parts {
		n += r.need
	}
	for _, name := range s.twins() {
		size, err := hostdisk.TreeSize(filepath.Join(s.live.Dir, name))
		if err != nil {
			return 0, err
		}
		n += size
	}
	return n, nil
}

// checkInUse refuses while the files are mounted. A mounted base can still be
// staged for, but not replaced.
func (s *Swap) checkInUse() error {
	l := s.live
	paths := l.overlayPaths()
	if !s.stage {
		paths = append(paths, l.Base.Path)
		for _, name := range l.files.retired {
			if path := filepath.Join(l.Dir, name); l.onHost() && hostdisk.Exists(path) {
				paths = append(paths, path)
			}
		}
	}
	hint := ""
	if l.Layout.Traits().Stages && !s.stage {
		hint = "--stage prepares files for the next boot instead"
	}
	for _, path := range paths {
		more := ""
		if path == l.Base.Path {
			more = hint
		}
		if err := l.refuseInUse(more, path); err != nil {
			return err
		}
	}
	return nil
}

// run makes files by fill, and the parts, and puts all of them in place in one
// transaction.
func (s *Swap) run(ctx context.Context, fill func(t *transaction) error) (err error) {
	t, err := begin(s.env, s.live.Dir, s.verb, s.steps(s.placeholders()))
	if err != nil {
		return err
	}
	defer func() { err = t.end(err) }()
	if err := fill(t); err != nil {
		return err
	}
	for _, r := range s.parts {
		path, err := t.temp(r.target)
		if err != nil {
			return err
		}
		s.env.Phase("new "+filepath.Base(r.target), 0)
		if err := r.make(ctx, path); err != nil {
			return fmt.Errorf("the new %s: %w", filepath.Base(r.target), err)
		}
	}
	// It may have taken minutes, in which somebody may have mounted the files.
	if err := s.checkInUse(); err != nil {
		return err
	}
	if err := s.live.unchanged(ctx); err != nil {
		return err
	}
	s.env.Phase("putting the new files in place", 0)
	if err := s.emptyMarks(); err != nil {
		return err
	}
	return t.commit(ctx, s.steps(t.made))
}
