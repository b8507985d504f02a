package replace

import (
	"path/filepath"
	"slices"

	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/swap"
)

// Rotation makes room for a new first generation of former states: those that are
// kept move a place on, and what is beyond Keep is removed. A generation is what
// has one number (NAME.old, NAME.old.2 and so on); it need not have every file.
type Rotation struct {
	Dir string
	// First is the generation that becomes free; those before it stay. 0 is 1.
	First int
	// Keep is how many are kept, with the new one. Where it is 0 none moves on.
	Keep int
	// Names gives the names of which generation n may have former ones.
	Names func(n int) []string
	// Spent reports whether what is held of generation n can go. Without it what is
	// from the Keep-th on goes.
	Spent func(n int, held []string) (bool, error)
	// Join, where not nil, adds what moves on together with the generations: going
	// has the names of each that does, from First on.
	Join func(going [][]string) error
	// UpToGap: what is behind a number that is free stays as it is.
	UpToGap bool
}

// Steps are what is to be done, in the order in which it can be: a generation
// moves when the place behind it is free.
func (r Rotation) Steps() (steps []swap.Step, err error) {
	first := max(r.First, 1)
	going := make([][]string, live.MaxKeepOld-first+1)
	last := 0 // as many are looked at for moving on
	gap := false
	for i := range going {
		n := first + i
		held := r.held(n)
		spent := len(held) > 0 && i+1 >= r.Keep
		if r.Spent != nil && len(held) > 0 {
			if spent, err = r.Spent(n, held); err != nil {
				return nil, err
			}
		}
		if spent {
			for _, name := range held {
				steps = append(steps, swap.Remove{Path: live.OldName(name, n)})
			}
			held = nil
		}
		if gap = gap || r.UpToGap && len(held) == 0; !gap {
			going[i], last = held, i+1
		}
	}
	if r.Keep == 0 {
		return steps, nil
	}
	going = going[:last]
	if n := first + last - 1; last > 0 && n == live.MaxKeepOld && len(going[last-1]) > 0 {
		return nil, refusal.New(refusal.TooManyFormer, "remove some of them", "%s: there are %d former states already", r.Dir, n)
	}
	if r.Join != nil {
		if err := r.Join(going); err != nil {
			return nil, err
		}
	}
	for i := len(going) - 1; i >= 0; i-- {
		for _, name := range going[i] {
			steps = append(steps, swap.Move{From: live.OldName(name, first+i), To: live.OldName(name, first+i+1)})
		}
	}
	return steps, nil
}

// held are the names of which there is a former one of generation n.
func (r *Rotation) held(n int) (names []string) {
	for _, name := range r.Names(n) {
		if hostdisk.Exists(filepath.Join(r.Dir, live.OldName(name, n))) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Rotate is the Rotation of one name whose former ones are all alike.
func Rotate(dir, name string, keep int) []swap.Step { return rotateFrom(dir, name, 1, keep) }

// rotateFrom is Rotate for the generations from first on. It removes the last, so
// that there is always room.
func rotateFrom(dir, name string, first, keep int) []swap.Step {
	steps, _ := Rotation{Dir: dir, First: first, Keep: keep, Names: func(int) []string { return []string{name} }}.Steps()
	return steps
}
