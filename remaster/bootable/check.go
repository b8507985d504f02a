package bootable

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/changes"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
)

// CheckBoots refuses a new system that lacks what the former one had and cannot
// boot without; with force it returns that as a warning. A former system that
// had no init is none that can be judged. The kernels that boot it are those of
// the live directory kernels.
func CheckBoots(ctx context.Context, l *live.Live, former, now *tree.Node, kernels *live.Live, force bool) (warnings []string, err error) {
	if former == now {
		return nil, nil
	}
	was, err := Look(former)
	if err != nil {
		return nil, err
	}
	is, err := Look(now)
	if err != nil {
		return nil, err
	}
	releases, err := releases(ctx, kernels)
	if err != nil {
		return nil, err
	}
	lost := Lost(was, is, releases)
	if len(lost) == 0 {
		return nil, nil
	}
	fact := "the new system would not boot, or not to a shell: " + strings.Join(lost, "; ")
	if force {
		return []string{fact}, nil
	}
	return nil, refusal.New(refusal.CannotBoot, "the former system has it: see what was deleted ("+say.Diff+") or left out; "+say.Force+
		" goes on", "%s: %s", l.Dir, fact)
}

// releases are those of the kernels that stand beside the base, nil where they
// are not all known.
func releases(ctx context.Context, l *live.Live) (out []string, err error) {
	f := l.Found()
	if f.Place == nil {
		f.Place = live.Host{}
	}
	pairs, err := f.Kernels()
	if err != nil {
		return nil, err
	}
	for _, name := range live.KernelsOf(pairs) {
		k, err := live.ReadKernel(ctx, f.Place, filepath.Join(l.Dir, name))
		if errors.Is(err, tree.ErrUnsupported) || errors.Is(err, tree.ErrCorrupt) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if k.Version == "" {
			return nil, nil
		}
		if !slices.Contains(out, k.Version) {
			out = append(out, k.Version)
		}
	}
	return out, nil
}

// CheckLeftOut refuses excludes that leave out more than half of a system: that
// is a wrong pattern, and hardly what was meant. Of a few files more than half
// are soon left out on purpose.
func CheckLeftOut(ctx context.Context, l *live.Live, now *tree.Node, excluded int64, force bool) (warnings []string, err error) {
	if excluded < fewFiles {
		return nil, nil
	}
	left := int64(-1) // the root is never excluded
	err = tree.Walk(ctx, now, func(string, *tree.Node) error {
		if left++; left > excluded {
			return changes.ErrDiffers
		}
		return nil
	})
	if errors.Is(err, changes.ErrDiffers) || err == nil && left >= excluded {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	fact := fmt.Sprintf("the excludes leave out more than half of the system: %d of %d files and directories", excluded, excluded+left)
	if force {
		return []string{fact}, nil
	}
	return nil, refusal.New(refusal.NeedsForce, "see with "+say.DryRun+" "+say.Force+" what each leaves out; "+say.Force+" goes on",
		"%s: %s", l.Dir, fact)
}

// fewFiles is a number of files of which it says nothing how many are left out.
const fewFiles = 16

// BootFindings are what a live system lacks to boot: what the overlay has taken
// from the base, and what is missing beside. None is told of a base without an
// init, which is no system that can be judged; judged tells of that.
func BootFindings(ctx context.Context, l *live.Live) (lost, ails []string, judged bool, err error) {
	base, err := Look(l.Base.Root)
	if err != nil {
		return nil, nil, false, err
	}
	now := base
	if l.Merged != l.Base.Root {
		if now, err = Look(l.Merged); err != nil {
			return nil, nil, false, err
		}
	}
	releases, err := releases(ctx, l)
	if err != nil {
		return nil, nil, false, err
	}
	lost = Lost(base, now, releases)
	for _, a := range now.Ails() {
		if !slices.Contains(lost, a) {
			ails = append(ails, a)
		}
	}
	for _, k := range releases {
		if now.Init != "" && len(base.Modules) > 0 && !slices.Contains(base.Modules, k) && !slices.Contains(now.Modules, k) {
			ails = append(ails, "there are no modules of the kernel "+k+", which stands beside the base (there are those of "+
				strings.Join(base.Modules, ", ")+")")
		}
	}
	return lost, ails, base.Init != "" || now.Init != "", nil
}
