package upper

import (
	"context"
	"path/filepath"
	"slices"

	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/sets"
	"relive/remaster/swap"
)

// steps gives what is renamed. made has the temporary name for each target.
//
// What was kept before goes on together: an overlay of a former base stays with
// that, and so do those of other sets. Former overlays of the present base are as
// many as are to be kept; those of former bases are never removed, since more
// than an overlay would be lost with them.
func (p *Plan) steps(made map[string]string) (steps []swap.Step, err error) {
	f, dir, keep := &p.Live.Files, p.Live.Dir, p.O.KeepOld
	held := func(n int) (names []string) {
		for _, name := range slices.Concat(f.Together(), replace.PairNames(f), p.targets()) {
			if hostdisk.Exists(filepath.Join(dir, live.OldName(name, n))) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		return names
	}
	own := 0             // generations of the overlay alone
	var going [][]string // what goes on of each generation; all up to the first gap
	for n, gap := 1, false; n <= live.MaxKeepOld; n++ {
		names := held(n)
		if alone := !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(p.targets(), name) }); alone &&
			len(names) > 0 {
			former, err := sets.OfFormer(p.Live, n)
			if err != nil {
				return nil, err
			}
			if !former {
				own++
			}
			if !former && own >= keep {
				for _, name := range names {
					steps = append(steps, swap.Remove{Path: live.OldName(name, n)})
				}
				names = nil
			}
		}
		if gap = gap || len(names) == 0; !gap {
			going = append(going, names)
		}
	}
	if len(going) == live.MaxKeepOld && keep > 0 {
		return nil, refusal.New(refusal.TooManyFormer, "remove some of them", "%s: there are %d former states already", dir, len(going))
	}
	if keep > 0 {
		if err := p.addSets(going); err != nil {
			return nil, err
		}
	}
	var moves [][]swap.Step
	for i, names := range going {
		var m []swap.Step
		for _, name := range names {
			m = append(m, swap.Move{From: live.OldName(name, i+1), To: live.OldName(name, i+2)})
		}
		moves = append(moves, m)
	}
	for i := len(moves) - 1; i >= 0 && keep > 0; i-- {
		steps = append(steps, moves[i]...)
	}
	for _, r := range p.Parts {
		step := swap.Replace{New: made[r.Target], Target: r.Target}
		if keep > 0 && hostdisk.Exists(filepath.Join(dir, r.Target)) {
			step.Keep = live.OldName(r.Target, 1)
		}
		steps = append(steps, step)
	}
	return steps, nil
}

// addSets adds what of other sets goes on with a former base. Where the name is
// taken by what does not, it stays.
func (p *Plan) addSets(going [][]string) error {
	l := p.Live
	var overlays []string
	for i := len(going) - 1; i >= 0; i-- {
		if !slices.Contains(going[i], l.Files.Base) {
			continue
		}
		if overlays == nil {
			var err error
			if overlays, err = sets.SetOverlays(context.Background(), l); err != nil {
				return err
			}
		}
		names, err := sets.KeptWith(l, p.Env, overlays, i+1)
		if err != nil {
			return err
		}
		for _, name := range names {
			free := !hostdisk.Exists(filepath.Join(l.Dir, live.OldName(name, i+2)))
			if free || i+1 < len(going) && slices.Contains(going[i+1], name) {
				going[i] = append(going[i], name)
			}
		}
	}
	return nil
}

func (p *Plan) targets() (names []string) {
	for _, r := range p.Parts {
		names = append(names, r.Target)
	}
	return names
}
