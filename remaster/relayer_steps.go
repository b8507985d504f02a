package remaster

import (
	"path/filepath"
	"slices"

	"relive/remaster/swap"
)

// steps gives what is renamed. made has the temporary name for each target.
//
// What was kept before goes on together: an overlay of a former base stays with
// that. Former overlays of the present base are as many as are to be kept;
// those of former bases are never removed, since more than an overlay would be
// lost with them.
func (p *RelayerPlan) steps(made map[string]string) (steps []swap.Step, err error) {
	f, dir, keep := &p.live.files, p.live.Dir, p.o.KeepOld
	held := func(n int) (names []string) {
		for _, name := range append(f.together(), p.targets()...) {
			if exists(filepath.Join(dir, generation(name, n))) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		return names
	}
	own, run := 0, 0 // generations of the overlay alone; all up to the first gap
	var moves [][]swap.Step
	for n, gap := 1, false; n <= MaxKeepOld; n++ {
		names := held(n)
		if alone := !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(p.targets(), name) }); alone && len(names) > 0 {
			if own++; own >= keep {
				for _, name := range names {
					steps = append(steps, swap.Remove{Path: generation(name, n)})
				}
				names = nil
			}
		}
		if gap = gap || len(names) == 0; gap {
			continue
		}
		run = n
		var m []swap.Step
		for _, name := range names {
			m = append(m, swap.Move{From: generation(name, n), To: generation(name, n+1)})
		}
		moves = append(moves, m)
	}
	if run == MaxKeepOld && keep > 0 {
		return nil, refuse("remove some of them", "%s: there are %d former states already", dir, run)
	}
	for i := len(moves) - 1; i >= 0 && keep > 0; i-- {
		steps = append(steps, moves[i]...)
	}
	for _, r := range p.parts {
		step := swap.Replace{New: made[r.target], Target: r.target}
		if keep > 0 && exists(filepath.Join(dir, r.target)) {
			step.Keep = generation(r.target, 1)
		}
		steps = append(steps, step)
	}
	return steps, nil
}

func (p *RelayerPlan) targets() (names []string) {
	for _, r := range p.parts {
		names = append(names, r.target)
	}
	return names
}
