package upper

import (
	"context"
	"path/filepath"
	"slices"

	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/replace"
	"relive/remaster/sets"
	"relive/remaster/swap"
)

// steps returns what is renamed. made has the temporary name for each target.
//
// What was kept before goes on together: an overlay of a former base stays with
// that, and so do those of other sets. Former overlays of the present base are as
// many as are to be kept; those of former bases are never removed, since more
// than an overlay would be lost with them.
func (p *Plan) steps(made map[string]string) (steps []swap.Step, err error) {
	f, dir, keep := &p.Live.Files, p.Live.Dir, p.O.KeepOld
	own := 0 // generations of the overlay alone
	steps, err = replace.Rotation{Dir: dir, Keep: keep, UpToGap: true, Join: p.addSets,
		Names: func(int) []string { return slices.Concat(f.Together(), replace.PairNames(f), p.targets()) },
		Spent: func(n int, held []string) (bool, error) {
			if slices.ContainsFunc(held, func(name string) bool { return !slices.Contains(p.targets(), name) }) {
				return false, nil
			}
			former, err := sets.OfFormer(p.Live, n)
			if err != nil || former {
				return false, err
			}
			own++
			return own >= keep, nil
		}}.Steps()
	if err != nil {
		return nil, err
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
