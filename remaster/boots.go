package remaster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/bootable"
	"relive/tree"
)

// checkBoots refuses a new system that lacks what the former one had and cannot
// boot without; with force it returns that as a warning. A former system that
// had no init is none that can be judged. The kernels that boot it are those of
// the live directory kernels.
func (l *Live) checkBoots(ctx context.Context, former, now *tree.Node, kernels *Live, force bool) (warnings []string, err error) {
	if former == now {
		return nil, nil
	}
	was, err := bootable.Look(former)
	if err != nil {
		return nil, err
	}
	is, err := bootable.Look(now)
	if err != nil {
		return nil, err
	}
	releases, err := kernels.releases(ctx)
	if err != nil {
		return nil, err
	}
	lost := bootable.Lost(was, is, releases)
	if len(lost) == 0 {
		return nil, nil
	}
	fact := "the new system would not boot, or not to a shell: " + strings.Join(lost, "; ")
	if force {
		return []string{fact}, nil
	}
	return nil, refuse("the former system has it: see what was deleted (relive diff) or left out; --force goes on", "%s: %s", l.Dir, fact)
}

// releases are those of the kernels that stand beside the base, nil where they
// are not all known.
func (l *Live) releases(ctx context.Context) (out []string, err error) {
	f := &Found{Dir: l.Dir, Layout: l.Layout, Set: l.Set, at: l.at, files: l.files}
	if f.at == nil {
		f.at = host{}
	}
	pairs, err := f.kernels()
	if err != nil {
		return nil, err
	}
	for _, name := range kernelsOf(pairs) {
		k, err := readKernel(ctx, f.at, filepath.Join(l.Dir, name))
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

// checkLeftOut refuses excludes that leave out more than half of a system: that
// is a wrong pattern, and hardly what was meant. Of a few files more than half
// are soon left out on purpose.
func (l *Live) checkLeftOut(ctx context.Context, now *tree.Node, excluded int64, force bool) (warnings []string, err error) {
	if excluded < fewFiles {
		return nil, nil
	}
	left := int64(-1) // the root is never excluded
	err = tree.Walk(ctx, now, func(string, *tree.Node) error {
		if left++; left > excluded {
			return errDiffers
		}
		return nil
	})
	if errors.Is(err, errDiffers) || err == nil && left >= excluded {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	fact := fmt.Sprintf("the excludes leave out more than half of the system: %d of %d files and directories", excluded, excluded+left)
	if force {
		return []string{fact}, nil
	}
	return nil, refuse("see with --dry-run --force what each leaves out; --force goes on", "%s: %s", l.Dir, fact)
}

// fewFiles is a number of files of which it says nothing how many are left out.
const fewFiles = 16
