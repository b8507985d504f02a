package remaster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"relive/remaster/job"
	"relive/remaster/refusal"
	"relive/remaster/unmatched"
	"relive/tree"
)

// ResetOptions say how an overlay is emptied.
type ResetOptions struct {
	// Keep tells what is kept. The last rule that matches decides.
	Keep []KeepRule
	// AllowUnmatched goes on where a rule matches nothing.
	AllowUnmatched bool
	// KeepOld is how many former overlays are kept beside the new one.
	KeepOld int
	// Grow makes an image larger where what is kept does not fit.
	Grow bool
	// Force goes on where the version ids do not match and something is kept, and
	// empties an overlay that changes nothing but holds files.
	Force bool
}

// ResetPlan is what a reset will do.
type ResetPlan struct {
	relayer *RelayerPlan // nil where there is nothing to do

	Summary ResetSummary
}

// ResetSummary is the part of a plan that is shown.
type ResetSummary struct {
	Dir          string `json:"dir"`
	Layout       string `json:"layout"`
	job.Standing        // nothing would be lost, so that nothing is done
	// Kept and Lost are the changes of the overlay against the base.
	Kept ResetShare `json:"kept"`
	Lost ResetShare `json:"lost"`
	// Rules tell what matched.
	Rules    []KeepCount     `json:"rules"`
	Overlay  *RelayerSummary `json:"overlay,omitempty"`
	Notes    []string        `json:"notes"`
	Warnings []string        `json:"warnings"`
}

// KeepCount is a rule and how many names it matched.
type KeepCount struct {
	KeepRule
	Matches int64 `json:"matches"`
}

// ResetShare are changes that meet the same fate.
type ResetShare struct {
	ChangeTotals
	// First are the first of them, escaped.
	First []ResetChange `json:"first"`
}

// ResetChange is a path that the overlay changes.
type ResetChange struct {
	Path string     `json:"path"`
	Kind ChangeKind `json:"kind"`
	Size int64      `json:"size"`
}

// resetShown is how many paths of each fate a summary names.
const resetShown = 20

// ResetResult is what a reset did.
type ResetResult struct {
	Plan     ResetSummary `json:"plan"`
	Path     string       `json:"path"`
	Seconds  float64      `json:"seconds"`
	Warnings []string     `json:"warnings"`
}

// PlanReset looks at what an overlay holds and decides what a reset keeps of
// it. It changes nothing. What makes the reset unsafe is a Refusal.
func (l *Live) PlanReset(ctx context.Context, e *job.Env, o ResetOptions) (*ResetPlan, error) {
	p := &ResetPlan{}
	s := &p.Summary
	*s = ResetSummary{Dir: l.Dir, Layout: l.Layout.Name(), Rules: []KeepCount{}, Notes: []string{}, Warnings: []string{}}
	s.Kept.First, s.Lost.First = []ResetChange{}, []ResetChange{}
	if l.snapshot() != nil && len(o.Keep) > 0 {
		return nil, refusal.New(snapshotCopyHint+"; without --keep all of it is emptied",
			"%s: is a device-mapper snapshot, which holds chunks of a file system and no files, so that none can be kept", l.Overlay.Path)
	}
	want := l.Base.Root
	if len(o.Keep) > 0 && l.Overlay != nil {
		e.Phase("looking for what is kept", 0)
		m := newKeepMatcher(o.Keep)
		var err error
		if want, s.Warnings, err = keep(ctx, l.Base.Root, l.Merged, m); err != nil {
			return nil, err
		}
		if s.Warnings == nil {
			s.Warnings = []string{}
		}
		if err := p.tellMatches(m, l, o.AllowUnmatched); err != nil {
			return nil, err
		}
	}
	r := &RelayerPlan{live: l, env: e, verb: "reset", o: RelayerOptions{KeepOld: o.KeepOld, Grow: o.Grow, Force: o.Force}}
	r.Summary = RelayerSummary{KeepOld: o.KeepOld, Steps: []string{}, Warnings: []string{}}
	if err := r.checkPlace(); err != nil {
		return nil, err
	}
	if err := p.count(ctx, e, l, want); err != nil {
		return nil, err
	}
	vids, err := l.VIDs()
	if err != nil {
		return nil, err
	}
	if empty := l.Overlay.Empty; s.Lost.Sum() == 0 && vids.State.Used() && (l.snapshot() == nil || empty) {
		// Files of the overlay that are equal to the base's take room all the same.
		if !o.Force || empty || s.Kept.Sum() > 0 {
			s.Stands(true)
			if !empty && s.Kept.Sum() == 0 {
				s.Notes = append(s.Notes, l.Overlay.Name()+" holds files that are equal to the base's; --force makes an empty one")
			}
			return p, nil
		}
	}
	if s.Kept.Sum() > 0 {
		p.relayer, err = l.PlanRelayer(ctx, e, "reset", want, RelayerOptions{KeepOld: o.KeepOld, Grow: o.Grow, Force: o.Force, Restamp: !vids.State.Used(), DropHidden: true})
	} else {
		p.relayer, err = r, r.planEmpty(ctx)
	}
	if err != nil {
		return nil, err
	}
	s.Overlay = &p.relayer.Summary
	s.Warnings = append(s.Warnings, s.Overlay.Warnings...)
	return p, nil
}

// tellMatches refuses rules that match nothing. A preset knows many places, of
// which no system has all.
func (p *ResetPlan) tellMatches(m *keepMatcher, l *Live, allow bool) error {
	var u unmatched.Names
	s := &p.Summary
	var presets []string
	met := map[string]bool{}
	for i, r := range m.rules {
		s.Rules = append(s.Rules, KeepCount{r, m.matches[i]})
		switch {
		case r.preset:
			if !slices.Contains(presets, r.Source) {
				presets = append(presets, r.Source)
			}
			met[r.Source] = met[r.Source] || m.matches[i] > 0
		case m.matches[i] == 0:
			u.Path(fmt.Sprintf("the pattern %q (%s) matches nothing", r.Pattern, r.Source), strings.TrimPrefix(r.Pattern, "!"), "/", l.Merged, l.Base.Root)
		}
	}
	for _, name := range presets {
		if !met[name] {
			s.Notes = append(s.Notes, "the "+name+" matches nothing")
		}
	}
	warnings, err := u.Check(l.Dir, allow)
	s.Warnings = append(s.Warnings, warnings...)
	return err
}

// count tells what of the overlay is kept and what is lost.
func (p *ResetPlan) count(ctx context.Context, e *job.Env, l *Live, want *tree.Node) error {
	e.Phase("counting", 0)
	share := func(to *ResetShare) func(Change) error {
		return func(c Change) error {
			to.Add(&c)
			if len(to.First) < resetShown {
				to.First = append(to.First, ResetChange{Path: "/" + tree.Escape(c.Path), Kind: c.Kind, Size: c.Size()})
			}
			return nil
		}
	}
	if want != l.Base.Root {
		if err := l.changesBetween(ctx, l.Base.Root, want, share(&p.Summary.Kept), nil); err != nil {
			return err
		}
	}
	return l.changesBetween(ctx, want, l.Merged, share(&p.Summary.Lost), nil)
}

// planEmpty plans the overlay that a compaction leaves: one that holds nothing.
func (p *RelayerPlan) planEmpty(ctx context.Context) error {
	l, s := p.live, &p.Summary
	if err := p.live.refuseInUse("", p.live.overlayPaths()...); err != nil {
		return err
	}
	lost, err := l.checkBoots(ctx, l.Merged, l.Base.Root, l, p.o.Force)
	if err != nil {
		return err
	}
	s.Warnings = append(s.Warnings, lost...)
	fresh := &freshOverlay{live: l, system: l.Base.Root, warn: p.warn}
	if l.Layout.Traits().VersionIDs {
		if err := l.Check(ctx, p.env, Intent{Force: true}); err != nil { // that nothing is pending
			return err
		}
		text, err := readVersionFile(l.Base.Root, baseVIDFile)
		if err != nil {
			return fmt.Errorf("%s: %w", l.Base.Path, err)
		}
		fresh.version = []byte(text)
	}
	_, newest, err := l.state(ctx)
	if err != nil {
		return err
	}
	built := tree.Time{}
	if l.Base.Image != nil {
		built.Sec = int64(l.Base.Image.Info().MkfsTime)
	}
	fresh.now = p.env.ImageTime(built, newest)
	s.Overlay = l.rel(l.Overlay.Path)
	if p.parts, err = fresh.parts(); err != nil {
		return err
	}
	slices.Reverse(p.parts) // a work directory first; see planDirectories
	if o := l.Overlay; o.Image != nil {
		s.OldSize, s.Size = o.Image.Size, o.Image.Size
		s.Before = fillOfImage(o.Image)
	}
	return p.finish()
}

// Run does what the plan says.
func (p *ResetPlan) Run(ctx context.Context) (*ResetResult, error) {
	start := time.Now()
	res := &ResetResult{Plan: p.Summary, Warnings: p.Summary.Warnings}
	if p.relayer != nil {
		res.Path = p.relayer.live.Overlay.Path
		if err := p.relayer.Run(ctx); err != nil {
			return nil, err
		}
	}
	res.Seconds = time.Since(start).Seconds()
	return res, nil
}
