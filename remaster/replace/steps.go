package replace

import (
	"cmp"
	"path/filepath"
	"slices"

	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/swap"
)

// twins are the files that change hands together with the base and that are to
// exist on both sides of a roll-back.
func (s *Swap) twins() (names []string) {
	if s.Stage {
		return s.Live.StagedAlong()
	}
	for _, name := range s.Live.Files.Follow {
		if hostdisk.Exists(filepath.Join(s.Live.Dir, name)) {
			names = append(names, name)
		}
	}
	return names
}

// targets are the files that are made, in the order in which they are put in
// place: the base first, and the overlay last, so that nothing is emptied
// before what it held is in the base.
func (s *Swap) targets() []string {
	names := []string{s.Live.Files.Base}
	for _, c := range s.Companions {
		names = append(names, c.Name)
	}
	names = append(names, s.More...)
	for _, r := range s.Parts {
		names = append(names, r.Target)
	}
	return names
}

// Placeholders stand for the temporary files in a plan that is shown.
func (s *Swap) Placeholders() map[string]string {
	return Placeholders(append(s.targets(), s.pairs...)...)
}

// Steps returns what is renamed, in the order in which it is safe. made has the
// temporary name for each target.
func (s *Swap) Steps(made map[string]string) []swap.Step {
	if s.Stage {
		return s.Live.Stage(made)
	}
	var steps []swap.Step
	dir, keep := s.Live.Dir, s.KeepOld
	for _, name := range append(s.Live.Files.Together(), PairNames(&s.Live.Files)...) {
		steps = append(steps, Rotate(dir, name, keep)...)
	}
	setAside := func(name string) {
		switch {
		case !hostdisk.Exists(filepath.Join(dir, name)):
		case keep > 0:
			steps = append(steps, swap.Move{From: name, To: live.OldName(name, 1)})
		default:
			steps = append(steps, swap.Remove{Path: name})
		}
	}
	f := &s.Live.Files
	if s.Apart {
		for _, r := range s.Parts {
			setAside(r.Target)
		}
	}
	for _, name := range s.targets() {
		if !slices.Contains(f.Overlay, name) {
			steps = append(steps, swap.Replace{New: made[name], Target: name, Keep: KeptAs(name, keep)})
		}
	}
	// What lies over the base would hide changes that the base has taken up, once
	// the overlay is empty.
	for _, name := range BottomUp(s.Live, s.void) {
		if !slices.Contains(s.More, name) {
			setAside(name)
		}
	}
	for _, r := range s.Parts {
		step := swap.Replace{New: made[r.Target], Target: r.Target, Keep: KeptAs(r.Target, keep)}
		if s.Apart {
			step.Keep = ""
		}
		steps = append(steps, step)
	}
	if keep > 0 {
		for _, name := range s.twins() {
			steps = append(steps, swap.Copy{From: name, To: live.OldName(name, 1)})
		}
	}
	return append(steps, s.pairSteps(made)...)
}

// KeptAs is the name under which the former state of a file is kept, "" where none
// is.
func KeptAs(name string, keep int) string {
	if keep == 0 {
		return ""
	}
	return live.OldName(name, 1)
}

// BottomUp sorts names so that images of the base's stack come last and in their
// order, the bottom first. While they are taken away in it over a base that
// holds all of them, what is left never shows a file that a higher one hid.
func BottomUp(l *live.Live, names []string) []string {
	place := func(name string) int {
		return slices.IndexFunc(l.Stack, func(b *live.Base) bool { return b.Path == l.Path(name) })
	}
	return slices.SortedStableFunc(slices.Values(names), func(a, b string) int { return cmp.Compare(place(a), place(b)) })
}

// Alone puts a new file in the place of one that belongs to no other, or
// whose former ones are counted by themselves, from generation first on. Where
// none is to be kept those that are there stay.
func Alone(dir, name, made string, first, keep int) (steps []swap.Step) {
	step := swap.Replace{New: made, Target: name}
	if keep > 0 && hostdisk.Exists(filepath.Join(dir, name)) {
		steps = rotateFrom(dir, name, first, keep)
		step.Keep = live.OldName(name, first)
	}
	return append(steps, step)
}
