package compact

import (
	"context"
	"errors"
	"fmt"

	"relive/remaster/baseimage"
	"relive/remaster/exclude"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/packed"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/say"
	"relive/remaster/sets"
	"relive/remaster/sourcecheck"
)

// Options say how a live directory is compacted.
type Options struct {
	// Wish is what the new image is to be like, where it is not to be like the base's.
	packed.Wish
	// Excludes leave paths out of the new base.
	Excludes []exclude.Rule
	// AllowUnmatched goes on where an exclude matches nothing.
	AllowUnmatched bool
	// KeepOld is how many former states are kept beside the new one.
	KeepOld int
	// NoReset keeps the overlay as it is, stamped for the new base.
	NoReset bool
	// Stage leaves the new files for the next boot to take up.
	Stage bool
	// Output, where not empty, is a file that the new base is written to, and
	// nothing else is changed.
	Output string
	// Force goes on where the version ids do not match, and replaces Output.
	Force bool
	// Image, where not empty, is a file that the merged file system image is
	// written to, not compressed, and nothing else is changed.
	Image string
	// Flatten writes the system's files themselves where the base holds them in
	// a file system image.
	Flatten bool
	// KeepFree keeps what is free in a file system image as it is.
	KeepFree bool
	// FullVerify decodes all of the new base, also what was copied as stored.
	FullVerify bool
}

// Plan is what a compaction will do.
type Plan struct {
	live *live.Live
	env  *job.Env
	o    Options
	// base and swap are nil where there is nothing to do, swap where the new base
	// is a file of its own.
	base *baseimage.Plan
	swap *replace.Swap

	Summary Summary
}

// Mode is what becomes of a new base.
type Mode string

// The modes.
const (
	ModeSwap   Mode = "swap"   // it takes the place of the present one
	ModeStage  Mode = "stage"  // the next boot puts it in place
	ModeOutput Mode = "output" // it is a file of its own
	ModeImage  Mode = "image"  // a file of its own holds the merged image
)

// Summary is the part of a plan that is shown.
type Summary struct {
	Dir     string `json:"dir"`
	Layout  string `json:"layout"`
	Mode    Mode   `json:"mode"`
	Output  string `json:"output,omitempty"`
	KeepOld int    `json:"keep_old"` // former states that are there afterwards, at most
	baseimage.Summary
	Need     int64    `json:"space_needed"`
	Free     int64    `json:"space_free"`
	Steps    []string `json:"steps"`
	Warnings []string `json:"warnings"`
	// Standing: there is nothing to fold in and no other work was asked for, so
	// that nothing is written. Nothing tells why.
	job.Standing
	Nothing string `json:"nothing,omitempty"`
}

// Result is what a compaction did.
type Result struct {
	Plan     Summary  `json:"plan"`
	OldSize  int64    `json:"old_size"`
	NewSize  int64    `json:"new_size"`
	Path     string   `json:"path"`
	MD5      string   `json:"md5,omitempty"`
	Seconds  float64  `json:"seconds"`
	Warnings []string `json:"warnings"`
}

// New looks at everything that a compaction depends on and decides
// what it will do. It changes nothing. What makes the compaction unsafe is a
// Refusal.
func New(ctx context.Context, e *job.Env, l *live.Live, o Options) (*Plan, error) {
	p := &Plan{live: l, env: e, o: o}
	s := &p.Summary
	*s = Summary{Dir: l.Dir, Layout: l.Layout.Name(), Mode: ModeSwap, Output: o.Output, KeepOld: o.KeepOld, Steps: []string{},
		Warnings: []string{}}
	s.Sums = []sourcecheck.Source{}
	switch {
	case o.Output != "" && (o.Stage || o.NoReset):
		return nil, refusal.WithHint(refusal.Option(errors.New(say.Output+" writes one file and changes nothing, so that "+say.Stage+
			" and "+say.NoReset+" have no meaning with it")), "give one of them")
	case o.Output != "" && o.Image != "":
		return nil, refusal.WithHint(refusal.Option(errors.New(say.Output+" and "+say.Image+" each write one file and change nothing")),
			"give one of them")
	case o.Image != "":
		if o.Stage || o.NoReset || o.Flatten || o.Any() || len(o.Excludes) > 0 {
			return nil, refusal.WithHint(refusal.Option(errors.New(say.Image+" writes the merged image as it is and changes nothing")),
				"of the other options only "+say.KeepFree+" and "+say.Force+" have a meaning with it")
		}
		p.o.Output, s.Output = o.Image, o.Image
		s.Mode = ModeImage
	case o.Output != "":
		s.Mode = ModeOutput
	case o.Flatten && o.NoReset && l.COW() != nil:
		return nil, refusal.WithHint(refusal.Option(errors.New("a snapshot holds chunks of the image that "+say.Flatten+
			" does away with, so that it cannot stay as "+say.NoReset+" has it")), "give one of them")
	case o.Stage:
		s.Mode = ModeStage
	}
	if err := p.checkState(ctx); err != nil {
		return nil, err
	}
	if err := p.checkNothing(ctx); err != nil || p.Summary.NothingToDo {
		return p, err
	}
	var err error
	p.base, err = baseimage.New(ctx, e, l, baseimage.Options{Wish: o.Wish, Excludes: o.Excludes,
		AllowUnmatched: o.AllowUnmatched,
		Bare:           s.Mode == ModeImage, Flatten: o.Flatten, KeepFree: o.KeepFree, FullVerify: o.FullVerify, Force: o.Force}, p.warn)
	if err != nil {
		return nil, err
	}
	s.Summary = p.base.Summary
	if p.o.Output != "" {
		return p, p.checkSpace()
	}
	p.swap = &replace.Swap{Live: l, Env: e, Verb: "compact", KeepOld: o.KeepOld, Stage: o.Stage, Warn: p.warn}
	if err := p.planOverlay(); err != nil {
		return nil, err
	}
	if err := p.checkSpace(); err != nil {
		return nil, err
	}
	if err := p.swap.PlanCompanions(ctx, p.base.Shown); err != nil {
		return nil, err
	}
	if l.ToRAM != "" && o.KeepOld > 0 {
		p.warn("%s boots with toram, which copies the former state too, so that it takes about twice the memory while that is kept: "+
			say.KeepOld+" 0 keeps none", l.ToRAM)
	}
	if err := sets.Check(ctx, e, l, sets.Checks{Stage: o.Stage, Force: o.Force, Warn: p.warn}); err != nil {
		return nil, err
	}
	s.Steps, err = p.swap.ShownSteps()
	return p, err
}

func (p *Plan) warn(format string, args ...any) {
	p.Summary.Warnings = append(p.Summary.Warnings, fmt.Sprintf(format, args...))
}

// planOverlay plans what takes the place of the overlay.
func (p *Plan) planOverlay() (err error) {
	l, b := p.live, p.base
	if l.Overlay == nil {
		return nil
	}
	if p.o.NoReset && !l.Layout.Traits().VersionIDs {
		return p.planStay()
	}
	fresh := &replace.Fresh{Live: l, System: b.System, Version: b.Version.Text, Now: b.Now, Flatten: p.o.Flatten, Keep: p.o.NoReset,
		Warn: p.warn}
	if p.swap.Parts, err = fresh.Parts(); err != nil {
		return err
	}
	p.swap.Apart, err = p.mustDetach()
	return err
}

// planStay plans what an overlay needs that stays over the new base.
func (p *Plan) planStay() error {
	if p.live.COW() != nil {
		if len(p.o.Excludes) > 0 {
			return refusal.New(refusal.BoundToBase, "compact without "+say.NoReset+", or without "+say.Exclude,
				"%s holds chunks of the image in the present base, and with "+
					"things left out that is built anew, so that it cannot stay as "+say.NoReset+" has it", p.live.Overlay.Path)
		}
		return nil
	}
	misled, err := p.base.Misled()
	if err != nil || !misled {
		return err
	}
	p.swap.Parts, err = p.swap.KeepLayer(p.base.Now)
	p.swap.Apart = len(p.swap.Parts) > 0
	return err
}

// mustDetach reports whether the old overlay must not be met with the new base: a
// snapshot has no place over a flattened base or over an image that was built
// anew, what overlayfs finds in its lower layers by names is not there any more,
// and what it finds by inode numbers may be something else. With version ids a
// boot tells by itself.
func (p *Plan) mustDetach() (bool, error) {
	l := p.live
	if met, err := l.LaidOver(live.VID(p.Summary.VID)); !met || err != nil {
		return false, err
	}
	if l.COW() != nil {
		return p.o.Flatten || len(p.o.Excludes) > 0, nil
	}
	if depends, err := l.Overlay.DependsOnBase(); depends || err != nil {
		return depends, err
	}
	return p.base.Misled()
}
