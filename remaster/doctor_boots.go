package remaster

import (
	"context"
	"slices"
	"strings"

	"relive/remaster/bootable"
)

// bootFindings are what a live system lacks to boot: what the overlay has taken
// from the base, and what is missing beside. None is told of a base without an
// init, which is no system that can be judged; judged tells of that.
func (l *Live) bootFindings(ctx context.Context) (lost, ails []string, judged bool, err error) {
	base, err := bootable.Look(l.Base.Root)
	if err != nil {
		return nil, nil, false, err
	}
	now := base
	if l.Merged != l.Base.Root {
		if now, err = bootable.Look(l.Merged); err != nil {
			return nil, nil, false, err
		}
	}
	releases, err := l.releases(ctx)
	if err != nil {
		return nil, nil, false, err
	}
	lost = bootable.Lost(base, now, releases)
	for _, a := range now.Ails() {
		if !slices.Contains(lost, a) {
			ails = append(ails, a)
		}
	}
	for _, k := range releases {
		if now.Init != "" && len(base.Modules) > 0 && !slices.Contains(base.Modules, k) && !slices.Contains(now.Modules, k) {
			ails = append(ails, "there are no modules of the kernel "+k+", which stands beside the base (there are those of "+strings.Join(base.Modules, ", ")+")")
		}
	}
	return lost, ails, base.Init != "" || now.Init != "", nil
}

// system looks whether the system can come up to a shell.
func (d *doctor) system(ctx context.Context) error {
	lost, ails, judged, err := d.l.bootFindings(ctx)
	if err != nil {
		return err
	}
	for _, s := range lost {
		d.tell("cannot-boot", Certain, "see what was deleted (relive diff), bring it back, or empty the overlay (relive reset); do not compact before", "what base and overlay show does not boot, or not to a shell: %s", s)
	}
	for _, s := range ails {
		d.tell("may-not-boot", Likely, "see whether the base is whole (relive verify) and which kernels the medium has", "the system may not boot, or not to a shell: %s", s)
	}
	if !judged {
		d.notes = append(d.notes, "the base has no init (/sbin/init, /lib/systemd/systemd, /init), so that nothing tells whether it boots")
	}
	return nil
}

// verifyBoots checks that a live system has what it needs to boot; nil where it
// has, or where that cannot be judged.
func verifyBoots(ctx context.Context, l *Live) ([]CheckResult, error) {
	lost, ails, _, err := l.bootFindings(ctx)
	if err != nil || len(lost)+len(ails) == 0 {
		return nil, err
	}
	return []CheckResult{{Path: l.Dir, What: CheckBoots, Findings: append(lost, ails...)}}, nil
}

// CheckBoots is what is checked of a system: whether it has what it needs to boot.
const CheckBoots = "boot"
