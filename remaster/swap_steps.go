package remaster

import (
	"cmp"
	"path/filepath"
	"relive/remaster/hostdisk"
	"relive/remaster/swap"
	"slices"
)

// twins are the files that change hands together with the base and that are to
// exist on both sides of a roll-back.
func (s *Swap) twins() (names []string) {
	for _, name := range s.live.files.follow {
		if hostdisk.Exists(filepath.Join(s.live.Dir, name)) {
			names = append(names, name)
		}
	}
	return names
}

// targets are the files that are made, in the order in which they are put in
// place: the base first, and the overlay last, so that nothing is emptied
// before what it held is in the base.
func (s *Swap) targets() []string {
	names := []string{s.live.files.base}
	for _, c := range s.companions {
		names = append(names, c.name)
	}
	names = append(names, s.more...)
	for _, r := range s.parts {
		names = append(names, r.target)
	}
	return names
}

// placeholders stand for the temporary files in a plan that is shown.
func (s *Swap) placeholders() map[string]string {
	made := map[string]string{}
	for _, name := range s.targets() {
		made[name] = "(new " + name + ")"
	}
	return made
}

// steps gives what is renamed, in the order in which it is safe. made has the
// temporary name for each target.
func (s *Swap) steps(made map[string]string) []swap.Step {
	if s.stage {
		return s.live.Stage(made)
	}
	var steps []swap.Step
	dir, keep := s.live.Dir, s.keepOld
	for _, name := range s.live.files.together() {
		steps = append(steps, rotate(dir, name, keep)...)
	}
	setAside := func(name string) {
		switch {
		case !hostdisk.Exists(filepath.Join(dir, name)):
		case keep > 0:
			steps = append(steps, swap.Move{From: name, To: generation(name, 1)})
		default:
			steps = append(steps, swap.Remove{Path: name})
		}
	}
	f := &s.live.files
	if s.apart {
		for _, r := range s.parts {
			setAside(r.target)
		}
	}
	for _, name := range s.targets() {
		if !slices.Contains(f.overlay, name) {
			steps = append(steps, swap.Replace{New: made[name], Target: name, Keep: kept(name, keep)})
		}
	}
	// What lies over the base would hide changes that the base has taken up, once
	// the overlay is empty.
	for _, name := range s.live.bottomUp(s.void) {
		if !slices.Contains(s.more, name) {
			setAside(name)
		}
	}
	for _, r := range s.parts {
		step := swap.Replace{New: made[r.target], Target: r.target, Keep: kept(r.target, keep)}
		if s.apart {
			step.Keep = ""
		}
		steps = append(steps, step)
	}
	if keep > 0 {
		for _, name := range s.twins() {
			steps = append(steps, swap.Copy{From: name, To: generation(name, 1)})
		}
	}
	return steps
}

// kept is the name under which the former state of a file is kept, "" where none
// is.
func kept(name string, keep int) string {
	if keep == 0 {
		return ""
	}
	return generation(name, 1)
}

// bottomUp sorts names so that images of the base's stack come last and in their
// order, the bottom first. While they are taken away in it over a base that
// holds all of them, what is left never shows a file that a higher one hid.
func (l *Live) bottomUp(names []string) []string {
	place := func(name string) int {
		return slices.IndexFunc(l.stack, func(b *Base) bool { return b.Path == l.path(name) })
	}
	return slices.SortedStableFunc(slices.Values(names), func(a, b string) int { return cmp.Compare(place(a), place(b)) })
}

// replaceAlone puts a new file in the place of one that belongs to no other, or
// whose former ones are counted by themselves, from generation first on. Where
// none is to be kept those that are there stay.
func replaceAlone(dir, name, made string, first, keep int) (steps []swap.Step) {
	step := swap.Replace{New: made, Target: name}
	if keep > 0 && hostdisk.Exists(filepath.Join(dir, name)) {
		steps = rotateFrom(dir, name, first, keep)
		step.Keep = generation(name, first)
	}
	return append(steps, step)
}

// rotate makes room for a new first generation, by moving each kept one a place
// on and removing what is beyond keep. A generation need not have every file.
func rotate(dir, name string, keep int) (steps []swap.Step) { return rotateFrom(dir, name, 1, keep) }

// rotateFrom is rotate for the generations from first on.
func rotateFrom(dir, name string, first, keep int) (steps []swap.Step) {
	for n := MaxKeepOld; n >= first; n-- {
		if !hostdisk.Exists(filepath.Join(dir, generation(name, n))) {
			continue
		}
		if n-first+1 >= keep {
			steps = append(steps, swap.Remove{Path: generation(name, n)})
		} else {
			steps = append(steps, swap.Move{From: generation(name, n), To: generation(name, n+1)})
		}
	}
	return steps
}
