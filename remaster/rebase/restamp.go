package rebase

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"relive/overlay"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/say"
	"relive/remaster/sets"
	"relive/remaster/swap"
	"relive/remaster/upper"
)

// RestampOptions say how a set is carried over to the present base.
type RestampOptions struct {
	// Base is the path of the base that the set was written over; "" looks for it
	// among those that are kept beside the present one.
	Base string
	// KeepOld is how many former states are kept beside the new one.
	KeepOld int
	// Rebase says how conflicts are decided.
	Rebase Options
}

// Restamp is what a restamp will do.
type Restamp struct {
	live *live.Live
	env  *job.Env
	o    RestampOptions
	part replace.Part // the new rootfs
	// former is the base that the set was written over, nil where that does not
	// matter.
	former *live.Live
	rotate []swap.Step // of what was kept before

	Summary RestampSummary
}

// RestampSummary is the part of a plan that is shown.
type RestampSummary struct {
	Dir string `json:"dir"`
	Set string `json:"set"`
	job.Standing
	Former   string   `json:"former,omitempty"` // the base that the set was written over
	VID      string   `json:"vid"`
	OldVID   string   `json:"old_vid"`
	Rebase   *Summary `json:"rebase,omitempty"`
	Need     int64    `json:"space_needed"`
	Free     int64    `json:"space_free"`
	Steps    []string `json:"steps"`
	Warnings []string `json:"warnings"`
	Seconds  float64  `json:"seconds,omitempty"`
}

// NewRestamp plans that the set that is open, which was written over another
// base, shows over the present one what that has with the changes that the set
// made, and gets its version id. Where both changed the same path and nothing
// decides that is a RebaseConflicts. It changes nothing. The plan is to be
// closed.
func NewRestamp(ctx context.Context, e *job.Env, l *live.Live, o RestampOptions) (p *Restamp, err error) {
	if !l.Layout.Traits().VersionIDs {
		return nil, refusal.New(refusal.UnsupportedLayout, say.Rebase+" "+say.Onto+" does it together with the exchange of the base",
			"%s: boots of %s look at no version id, so that nothing tells which base an overlay was written over", l.Dir, l.Layout.Name())
	}
	p = &Restamp{live: l, env: e, o: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
			p = nil
		}
	}()
	s := &p.Summary
	*s = RestampSummary{Dir: l.Dir, Set: sets.SetName(l), Steps: []string{}, Warnings: []string{}}
	vids, err := l.VIDs()
	if err != nil {
		return p, err
	}
	s.VID, s.OldVID = string(vids.Base), string(vids.Overlay)
	switch vids.State {
	case live.VIDNoOverlay:
		hint, err := asideHint(l, e, s.Set)
		if err != nil {
			return p, err
		}
		return p, refusal.New(refusal.NotFound, hint, "%s: the set %s has no rootfs, and a homefs fits any linuxfs", l.Dir, s.Set)
	case live.VIDMatch, live.VIDNone, live.VIDUnstamped:
		s.Stands(true)
		return p, nil
	case live.VIDBaseMissing:
		return p, refusal.New(refusal.UnmatchedVersion, "a compaction gives it one: "+say.Compact+" "+l.Dir,
			"%s: linuxfs has no version id that could be stamped", l.Dir)
	}
	if err := l.RefuseOnStick(""); err != nil {
		return p, err
	}
	if name := l.Pending(l.Files.Base, l.Files.Overlay[0]); name != "" {
		return p, refusal.New(refusal.Pending, "boot once so that it is taken up, or remove the .new files",
			"%s: %s is pending: the next boot would take it up", l.Dir, name)
	}
	if err := l.RefuseInUse("", l.OverlayPaths()...); err != nil {
		return p, err
	}
	if err := p.rebase(ctx, vids); err != nil {
		return p, err
	}
	return p, p.finish()
}

// asideHint tells of a rootfs of a set that the init has set aside, "" where there
// is none.
func asideHint(l *live.Live, e *job.Env, set string) (string, error) {
	asides, err := sets.Asides(l, e, set)
	if err != nil {
		return "", err
	}
	for _, a := range asides {
		if back := a.Back(l, set); back != "" {
			return a.Name + " is its own, which was set aside: " + back, nil
		}
	}
	return "", nil
}

// rebase makes the layer. An empty one needs no former base.
func (p *Restamp) rebase(ctx context.Context, vids live.VIDs) error {
	l, s := p.live, &p.Summary
	ro := upper.Options{KeepOld: p.o.KeepOld, Force: true}
	if l.Overlay.Empty {
		ro.Lower, ro.Restamp = l.Base.Root, true
		r, err := upper.New(ctx, p.env, l, "sets rebase", l.Base.Root, ro)
		if err != nil {
			return err
		}
		p.part, s.Warnings = r.Parts[0], r.Summary.Warnings
		return nil
	}
	if err := p.openFormer(vids); err != nil {
		return err
	}
	union, err := l.Overlay.Over(p.former.Base.Root)
	if err != nil {
		return fmt.Errorf("%s: %w", l.Overlay.Path, err)
	}
	was, o := *l, *l.Overlay
	o.Union, o.Unions = union, []*overlay.Merged{union}
	was.Base, was.Merged, was.Overlay = p.former.Base, union.Root(), &o
	r, rebase, err := Over(ctx, p.env, &was, l.Base, "sets rebase", ro, &p.o.Rebase)
	if err != nil {
		return err
	}
	p.part, s.Rebase, s.Warnings = r.Parts[0], rebase, r.Summary.Warnings
	for i := range rebase.Databases {
		s.Warnings = append(s.Warnings, rebase.Databases[i].Warning())
	}
	return nil
}

// openFormer opens the base that the set was written over.
func (p *Restamp) openFormer(vids live.VIDs) (err error) {
	l, s := p.live, &p.Summary
	if vids.Overlay == "" {
		return refusal.New(refusal.UnmatchedVersion, "if you know that it belongs to this linuxfs, "+say.Compact+" "+say.Force+
			" folds it in", "%s: has no version id, so that nothing tells which linuxfs it was written over", l.Overlay.Path)
	}
	path := p.o.Base
	if path == "" {
		name := sets.FormerWith(l, p.env, vids.Overlay)
		if name == "" {
			return refusal.New(refusal.NotFound, "give it with "+say.Base+" (it may be on the medium that this system came from)",
				"%s: the linuxfs that the set %s was written over (%s) is not there, so that nothing tells what has changed below it",
				l.Dir, s.Set, vids.Overlay)
		}
		path = filepath.Join(l.Dir, name)
	}
	s.Former = path
	if p.former, err = l.OpenFormer(p.env, path); err != nil {
		return err
	}
	text, err := live.ReadVersionFile(p.former.Base.Root, live.BaseVIDFile)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if id := live.ParseVID(text); id != vids.Overlay {
		return refusal.New(refusal.UnmatchedVersion, "give the linuxfs that the set was written over",
			"%s: its version id is %s, and that of the set %s", path, live.OrNone(id), vids.Overlay)
	}
	return nil
}

// finish decides the steps.
func (p *Restamp) finish() (err error) {
	l, s := p.live, &p.Summary
	name := l.Files.Overlay[0]
	r := replace.Room{Dir: filepath.Dir(l.Overlay.Path), Need: p.part.Need, File: name, More: "make room on it",
		Less: "make the image smaller first"}
	s.Need = r.Need
	if s.Free, err = r.Check(); err != nil {
		return err
	}
	if p.rotate, err = p.rotation(name); err != nil {
		return err
	}
	s.Steps, err = replace.ShowSteps(l.Dir, p.steps("(new "+name+")"))
	return err
}

// Close closes what the plan has opened.
func (p *Restamp) Close() error {
	if p.former == nil {
		return nil
	}
	return p.former.Close()
}

// rotation makes room for the present rootfs among those that were kept before.
// One that was written over a base that is still there is never removed, since a
// rollback to that base may need it.
func (p *Restamp) rotation(name string) (steps []swap.Step, err error) {
	return replace.Rotation{Dir: p.live.Dir, Keep: p.o.KeepOld, Names: func(int) []string { return []string{name} },
		Spent: func(n int, _ []string) (bool, error) {
			if n < p.o.KeepOld {
				return false, nil
			}
			vid, err := sets.RootVID(p.live.Path(live.OldName(name, n)))
			return err == nil && sets.FormerWith(p.live, p.env, vid) == "", err
		}}.Steps()
}

func (p *Restamp) steps(made string) []swap.Step {
	step := swap.Replace{New: made, Target: p.live.Files.Overlay[0]}
	if p.o.KeepOld > 0 {
		step.Keep = live.OldName(step.Target, 1)
	}
	return append(slices.Clone(p.rotate), step)
}

// Run does what the plan says.
func (p *Restamp) Run(ctx context.Context) (err error) {
	if p.Summary.UpToDate {
		return nil
	}
	start := time.Now()
	l, pt := p.live, p.part
	x := replace.Exchange{
		Env: p.env, Live: l, Verb: "sets rebase", Parts: []replace.Part{pt}, Placing: "putting it in place",
		Steps: func(made map[string]string) ([]swap.Step, error) { return p.steps(made[pt.Target]), nil },
		Free: func() error {
			if err := l.RefuseInUse("", l.OverlayPaths()...); err != nil || p.former == nil {
				return err
			}
			return p.former.Unchanged(ctx)
		},
	}
	if err := x.Run(ctx, replace.Placeholders(pt.Target)); err != nil {
		return refusal.DiskFull(err, refusal.NothingChanged, "", "")
	}
	p.Summary.Seconds = time.Since(start).Seconds()
	return nil
}
