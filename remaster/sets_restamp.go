package remaster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"relive/overlay"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/refusal"
	"relive/remaster/swap"
)

// RestampOptions say how a set is carried over to the present base.
type RestampOptions struct {
	// Base is the path of the base that the set was written over; "" looks for it
	// among those that are kept beside the present one.
	Base string
	// KeepOld is how many former states are kept beside the new one.
	KeepOld int
	// Rebase says how conflicts are decided.
	Rebase RebaseOptions
}

// RestampPlan is what a restamp will do.
type RestampPlan struct {
	live *Live
	env  *job.Env
	o    RestampOptions
	part part // the new rootfs
	// former is the base that the set was written over, nil where that does not
	// matter.
	former *Live
	rotate []swap.Step // of what was kept before

	Summary RestampSummary
}

// RestampSummary is the part of a plan that is shown.
type RestampSummary struct {
	Dir string `json:"dir"`
	Set string `json:"set"`
	job.Standing
	Former   string         `json:"former,omitempty"` // the base that the set was written over
	VID      string         `json:"vid"`
	OldVID   string         `json:"old_vid"`
	Rebase   *RebaseSummary `json:"rebase,omitempty"`
	Need     int64          `json:"space_needed"`
	Free     int64          `json:"space_free"`
	Steps    []string       `json:"steps"`
	Warnings []string       `json:"warnings"`
	Seconds  float64        `json:"seconds,omitempty"`
}

// PlanRestamp plans that the set that is open, which was written over another
// base, shows over the present one what that has with the changes that the set
// made, and gets its version id. Where both changed the same path and nothing
// decides that is a RebaseConflicts. It changes nothing. The plan is to be
// closed.
func (l *Live) PlanRestamp(ctx context.Context, e *job.Env, o RestampOptions) (p *RestampPlan, err error) {
	if !l.Layout.Traits().VersionIDs {
		return nil, refusal.New("relive rebase --onto does it together with the exchange of the base", "%s: boots of %s look at no version id, so that nothing tells which base an overlay was written over", l.Dir, l.Layout.Name())
	}
	p = &RestampPlan{live: l, env: e, o: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
			p = nil
		}
	}()
	s := &p.Summary
	*s = RestampSummary{Dir: l.Dir, Set: l.setName(), Steps: []string{}, Warnings: []string{}}
	vids, err := l.VIDs()
	if err != nil {
		return p, err
	}
	s.VID, s.OldVID = string(vids.Base), string(vids.Overlay)
	switch vids.State {
	case VIDNoOverlay:
		return p, refusal.New("", "%s: the set %s has no rootfs, and a homefs fits any linuxfs", l.Dir, s.Set)
	case VIDMatch, VIDNone, VIDUnstamped:
		s.Stands(true)
		return p, nil
	case VIDBaseMissing:
		return p, refusal.New("a compaction gives it one: relive compact "+l.Dir, "%s: linuxfs has no version id that could be stamped", l.Dir)
	}
	if err := l.refuseOnStick(""); err != nil {
		return p, err
	}
	if name := l.Pending(l.files.base, l.files.overlay[0]); name != "" {
		return p, refusal.New("boot once so that it is taken up, or remove the .new files", "%s: %s is pending: the next boot would take it up", l.Dir, name)
	}
	if err := l.refuseInUse("", l.overlayPaths()...); err != nil {
		return p, err
	}
	if err := p.rebase(ctx, vids); err != nil {
		return p, err
	}
	return p, p.finish()
}

// rebase makes the layer. An empty one needs no former base.
func (p *RestampPlan) rebase(ctx context.Context, vids VIDs) error {
	l, s := p.live, &p.Summary
	ro := RelayerOptions{KeepOld: p.o.KeepOld, Force: true}
	if l.Overlay.Empty {
		ro.Lower, ro.Restamp = l.Base.Root, true
		r, err := l.PlanRelayer(ctx, p.env, "sets restamp", l.Base.Root, ro)
		if err != nil {
			return err
		}
		p.part, s.Warnings = r.parts[0], r.Summary.Warnings
		return nil
	}
	if err := p.openFormer(vids); err != nil {
		return err
	}
	union, err := l.Overlay.over(p.former.Base.Root)
	if err != nil {
		return fmt.Errorf("%s: %w", l.Overlay.Path, err)
	}
	was, o := *l, *l.Overlay
	o.Union, o.unions = union, []*overlay.Merged{union}
	was.Base, was.Merged, was.Overlay = p.former.Base, union.Root(), &o
	r, rebase, err := was.rebased(ctx, p.env, l.Base, "sets restamp", ro, &p.o.Rebase)
	if err != nil {
		return err
	}
	p.part, s.Rebase, s.Warnings = r.parts[0], rebase, r.Summary.Warnings
	for i := range rebase.Databases {
		s.Warnings = append(s.Warnings, rebase.Databases[i].warning())
	}
	return nil
}

// openFormer opens the base that the set was written over.
func (p *RestampPlan) openFormer(vids VIDs) (err error) {
	l, s := p.live, &p.Summary
	if vids.Overlay == "" {
		return refusal.New("if you know that it belongs to this linuxfs, relive compact --force folds it in", "%s: has no version id, so that nothing tells which linuxfs it was written over", l.Overlay.Path)
	}
	path := p.o.Base
	if path == "" {
		name := l.formerWith(p.env, vids.Overlay)
		if name == "" {
			return refusal.New("give it with --base (it may be on the medium that this system came from)",
				"%s: the linuxfs that the set %s was written over (%s) is not there, so that nothing tells what has changed below it", l.Dir, s.Set, vids.Overlay)
		}
		path = filepath.Join(l.Dir, name)
	}
	s.Former = path
	if p.former, err = l.openFormer(p.env, path); err != nil {
		return err
	}
	text, err := readVersionFile(p.former.Base.Root, baseVIDFile)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if id := parseVID(text); id != vids.Overlay {
		return refusal.New("give the linuxfs that the set was written over", "%s: its version id is %s, and that of the set %s", path, orNone(id), vids.Overlay)
	}
	return nil
}

// finish decides the steps.
func (p *RestampPlan) finish() (err error) {
	l, s := p.live, &p.Summary
	name := l.files.overlay[0]
	r := room{dir: filepath.Dir(l.Overlay.Path), need: p.part.need, file: name, more: "make room on it", less: "make the image smaller first"}
	s.Need = r.need
	if s.Free, err = r.check(); err != nil {
		return err
	}
	if p.rotate, err = p.rotation(name); err != nil {
		return err
	}
	s.Steps, err = shownSteps(l.Dir, p.steps("(new "+name+")"))
	return err
}

// Close closes what the plan has opened.
func (p *RestampPlan) Close() error {
	if p.former == nil {
		return nil
	}
	return p.former.Close()
}

// rotation makes room for the present rootfs among those that were kept before.
// One that was written over a base that is still there is never removed, since a
// rollback to that base may need it.
func (p *RestampPlan) rotation(name string) (steps []swap.Step, err error) {
	l, keep := p.live, p.o.KeepOld
	for n := MaxKeepOld; n >= 1; n-- {
		old := generation(name, n)
		if !hostdisk.Exists(filepath.Join(l.Dir, old)) {
			continue
		}
		if n >= keep {
			vid, err := rootVID(filepath.Join(l.Dir, old))
			if err != nil {
				return nil, err
			}
			if l.formerWith(p.env, vid) == "" {
				steps = append(steps, swap.Remove{Path: old})
				continue
			}
		}
		switch {
		case keep > 0 && n == MaxKeepOld:
			return nil, refusal.New("remove some of them", "%s: there are %d former states already", l.Dir, n)
		case keep > 0:
			steps = append(steps, swap.Move{From: old, To: generation(name, n+1)})
		}
	}
	return steps, nil
}

func (p *RestampPlan) steps(made string) []swap.Step {
	step := swap.Replace{New: made, Target: p.live.files.overlay[0]}
	if p.o.KeepOld > 0 {
		step.Keep = generation(step.Target, 1)
	}
	return append(slices.Clone(p.rotate), step)
}

// Run does what the plan says.
func (p *RestampPlan) Run(ctx context.Context) (err error) {
	if p.Summary.UpToDate {
		return nil
	}
	start := time.Now()
	l, pt := p.live, p.part
	t, err := begin(p.env, l.Dir, "sets restamp", p.steps(pt.target))
	if err != nil {
		return err
	}
	defer func() { err = refusal.DiskFull(t.end(err), refusal.NothingChanged, "", "") }()
	at, err := t.temp(pt.target)
	if err != nil {
		return err
	}
	p.env.Phase("new "+pt.target, 0)
	if err := pt.make(ctx, at); err != nil {
		return fmt.Errorf("the new %s: %w", pt.target, err)
	}
	if err := l.refuseInUse("", l.overlayPaths()...); err != nil {
		return err
	}
	if p.former != nil {
		if err := p.former.unchanged(ctx); err != nil {
			return err
		}
	}
	if err := l.unchanged(ctx); err != nil {
		return err
	}
	p.env.Phase("putting it in place", 0)
	if err := t.commit(ctx, p.steps(t.made[pt.target])); err != nil {
		return err
	}
	p.Summary.Seconds = time.Since(start).Seconds()
	return nil
}
