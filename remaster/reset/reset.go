package reset

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"relive/remaster/bootable"
	"relive/remaster/changes"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/say"
	"relive/remaster/unmatched"
	"relive/remaster/upper"
	"relive/tree"
)

// Options say how an overlay is emptied.
type Options struct {
	// Keep tells what is kept. The last rule that matches decides.
	Keep []Rule
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

// Plan is what a reset will do.
type Plan struct {
	upper *upper.Plan // nil where there is nothing to do

	Summary Summary
}

// Summary is the part of a plan that is shown.
type Summary struct {
	Dir          string `json:"dir"`
	Layout       string `json:"layout"`
	job.Standing        // nothing would be lost, so that nothing is done
	// Kept and Lost are the changes of the overlay against the base.
	Kept Share `json:"kept"`
	Lost Share `json:"lost"`
	// Rules tell what matched.
	Rules    []RuleCount    `json:"rules"`
	Overlay  *upper.Summary `json:"overlay,omitempty"`
	Notes    []string       `json:"notes"`
	Warnings []string       `json:"warnings"`
}

// RuleCount is a rule and how many names it matched.
type RuleCount struct {
	Rule
	Matches int64 `json:"matches"`
}

// Share are changes that meet the same fate.
type Share struct {
	changes.Totals
	// First are the first of them, escaped.
	First []Change `json:"first"`
}

// Change is a path that the overlay changes.
type Change struct {
	Path string       `json:"path"`
	Kind changes.Kind `json:"kind"`
	Size int64        `json:"size"`
}

// resetShown is how many paths of each fate a summary names.
const resetShown = 20

// Result is what a reset did.
type Result struct {
	Plan     Summary  `json:"plan"`
	Path     string   `json:"path"`
	Seconds  float64  `json:"seconds"`
	Warnings []string `json:"warnings"`
}

// New looks at what an overlay holds and decides what a reset keeps of
// it. It changes nothing. What makes the reset unsafe is a Refusal.
func New(ctx context.Context, e *job.Env, l *live.Live, o Options) (*Plan, error) {
	p := &Plan{}
	s := &p.Summary
	*s = Summary{Dir: l.Dir, Layout: l.Layout.Name(), Rules: []RuleCount{}, Notes: []string{}, Warnings: []string{}}
	s.Kept.First, s.Lost.First = []Change{}, []Change{}
	if l.COW() != nil && len(o.Keep) > 0 {
		return nil, refusal.New(refusal.UnsupportedForm, live.CopyHint+"; without "+say.Keep+" all of it is emptied",
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
	r := &upper.Plan{Live: l, Env: e, Verb: "reset", O: upper.Options{KeepOld: o.KeepOld, Grow: o.Grow, Force: o.Force}}
	r.Summary = upper.Summary{KeepOld: o.KeepOld, Steps: []string{}, Warnings: []string{}}
	if err := r.CheckPlace(); err != nil {
		return nil, err
	}
	if err := p.count(ctx, e, l, want); err != nil {
		return nil, err
	}
	vids, err := l.VIDs()
	if err != nil {
		return nil, err
	}
	if empty := l.Overlay.Empty; s.Lost.Sum() == 0 && vids.State.Used() && (l.COW() == nil || empty) {
		// Files of the overlay that are equal to the base's take room all the same.
		if !o.Force || empty || s.Kept.Sum() > 0 {
			s.Stands(true)
			if !empty && s.Kept.Sum() == 0 {
				s.Notes = append(s.Notes, l.Overlay.Name()+" holds files that are equal to the base's; "+say.Force+" makes an empty one")
			}
			return p, nil
		}
	}
	if s.Kept.Sum() > 0 {
		p.upper, err = upper.New(ctx, e, l, "reset", want, upper.Options{KeepOld: o.KeepOld, Grow: o.Grow, Force: o.Force,
			Restamp: !vids.State.Used(), DropHidden: true})
	} else {
		p.upper, err = r, planEmpty(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	s.Overlay = &p.upper.Summary
	s.Warnings = append(s.Warnings, s.Overlay.Warnings...)
	return p, nil
}

// tellMatches refuses rules that match nothing. A preset knows many places, of
// which no system has all.
func (p *Plan) tellMatches(m *keepMatcher, l *live.Live, allow bool) error {
	var u unmatched.Names
	s := &p.Summary
	var presets []string
	met := map[string]bool{}
	for i, r := range m.rules {
		s.Rules = append(s.Rules, RuleCount{r, m.matches[i]})
		switch {
		case r.preset:
			if !slices.Contains(presets, r.Source) {
				presets = append(presets, r.Source)
			}
			met[r.Source] = met[r.Source] || m.matches[i] > 0
		case m.matches[i] == 0:
			u.Path(fmt.Sprintf("the pattern %q (%s) matches nothing", r.Pattern, r.Source), strings.TrimPrefix(r.Pattern, "!"), "/",
				l.Merged, l.Base.Root)
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
func (p *Plan) count(ctx context.Context, e *job.Env, l *live.Live, want *tree.Node) error {
	e.Phase("counting", 0)
	share := func(to *Share) func(changes.Change) error {
		return func(c changes.Change) error {
			to.Add(&c)
			if len(to.First) < resetShown {
				to.First = append(to.First, Change{Path: "/" + tree.Escape(c.Path), Kind: c.Kind, Size: c.Size()})
			}
			return nil
		}
	}
	if want != l.Base.Root {
		if err := changes.Between(ctx, l, l.Base.Root, want, share(&p.Summary.Kept), nil); err != nil {
			return err
		}
	}
	return changes.Between(ctx, l, want, l.Merged, share(&p.Summary.Lost), nil)
}

// planEmpty plans the overlay that a compaction leaves: one that holds nothing.
func planEmpty(ctx context.Context, p *upper.Plan) error {
	l, s := p.Live, &p.Summary
	if err := p.Live.RefuseInUse("", p.Live.OverlayPaths()...); err != nil {
		return err
	}
	lost, err := bootable.CheckBoots(ctx, l, l.Merged, l.Base.Root, l, p.O.Force)
	if err != nil {
		return err
	}
	s.Warnings = append(s.Warnings, lost...)
	fresh := &replace.Fresh{Live: l, System: l.Base.Root, Warn: p.Warn}
	if l.Layout.Traits().VersionIDs {
		if err := l.Check(ctx, p.Env, live.Intent{Force: true}); err != nil { // that nothing is pending
			return err
		}
		text, err := live.ReadVersionFile(l.Base.Root, live.BaseVIDFile)
		if err != nil {
			return fmt.Errorf("%s: %w", l.Base.Path, err)
		}
		fresh.Version = []byte(text)
	}
	_, newest, err := l.State(ctx)
	if err != nil {
		return err
	}
	built := tree.Time{}
	if l.Base.Image != nil {
		built = l.Base.Image.Facts().Built
	}
	fresh.Now = p.Env.ImageTime(built, newest)
	s.Overlay = l.Rel(l.Overlay.Path)
	if p.Parts, err = fresh.Parts(); err != nil {
		return err
	}
	slices.Reverse(p.Parts) // a work directory first; see planDirectories
	if o := l.Overlay; o.Image != nil {
		s.OldSize, s.Size = o.Image.Size, o.Image.Size
		s.Before = upper.FillOfImage(o.Image)
	}
	return p.Finish()
}

// Run does what the plan says.
func (p *Plan) Run(ctx context.Context) (*Result, error) {
	start := time.Now()
	res := &Result{Plan: p.Summary, Warnings: p.Summary.Warnings}
	if p.upper != nil {
		res.Path = p.upper.Live.Overlay.Path
		if err := p.upper.Run(ctx); err != nil {
			return nil, err
		}
	}
	res.Seconds = time.Since(start).Seconds()
	return res, nil
}
