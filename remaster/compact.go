package remaster

import (
	"context"
	"errors"
	"fmt"

	"relive/remaster/exclude"
	"relive/remaster/job"
	"relive/remaster/refusal"
	"relive/squash/codec"
)

// CompactOptions say how a live directory is compacted.
type CompactOptions struct {
	// Codec is the compressor, nil for that of the base with its options.
	Codec *codec.ID
	// Level is the compressor's level, 0 for the base's or its default.
	Level int
	// BlockSize in bytes, 0 for the base's.
	BlockSize int
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

// CompactPlan is what a compaction will do.
type CompactPlan struct {
	live *Live
	env  *job.Env
	o    CompactOptions
	// base and swap are nil where there is nothing to do, swap where the new base
	// is a file of its own.
	base *BasePlan
	swap *Swap

	Summary CompactSummary
}

// CompactMode is what becomes of a new base.
type CompactMode string

// The modes.
const (
	ModeSwap   CompactMode = "swap"   // it takes the place of the present one
	ModeStage  CompactMode = "stage"  // the next boot puts it in place
	ModeOutput CompactMode = "output" // it is a file of its own
	ModeImage  CompactMode = "image"  // a file of its own holds the merged image
)

// CompactSummary is the part of a plan that is shown.
type CompactSummary struct {
	Dir     string      `json:"dir"`
	Layout  string      `json:"layout"`
	Mode    CompactMode `json:"mode"`
	Output  string      `json:"output,omitempty"`
	KeepOld int         `json:"keep_old"` // former states that are there afterwards, at most
	BaseSummary
	Need     int64    `json:"space_needed"`
	Free     int64    `json:"space_free"`
	Steps    []string `json:"steps"`
	Warnings []string `json:"warnings"`
	// Standing: there is nothing to fold in and no other work was asked for, so
	// that nothing is written. Nothing tells why.
	job.Standing
	Nothing string `json:"nothing,omitempty"`
}

// CompactResult is what a compaction did.
type CompactResult struct {
	Plan     CompactSummary `json:"plan"`
	OldSize  int64          `json:"old_size"`
	NewSize  int64          `json:"new_size"`
	Path     string         `json:"path"`
	MD5      string         `json:"md5,omitempty"`
	Seconds  float64        `json:"seconds"`
	Warnings []string       `json:"warnings"`
}

// PlanCompact looks at everything that a compaction depends on and decides
// what it will do. It changes nothing. What makes the compaction unsafe is a
// Refusal.
func (l *Live) PlanCompact(ctx context.Context, e *job.Env, o CompactOptions) (*CompactPlan, error) {
	p := &CompactPlan{live: l, env: e, o: o}
	s := &p.Summary
	*s = CompactSummary{Dir: l.Dir, Layout: l.Layout.Name(), Mode: ModeSwap, Output: o.Output, KeepOld: o.KeepOld, Steps: []string{}, Warnings: []string{}}
	s.Sums = []SumSource{}
	switch {
	case o.Output != "" && (o.Stage || o.NoReset):
		return nil, refusal.WithHint(refusal.Option(errors.New("--output writes one file and changes nothing, so that --stage and --no-reset have no meaning with it")), "give one of them")
	case o.Output != "" && o.Image != "":
		return nil, refusal.WithHint(refusal.Option(errors.New("--output and --image each write one file and change nothing")), "give one of them")
	case o.Image != "":
		if o.Stage || o.NoReset || o.Flatten || o.Codec != nil || o.Level != 0 || o.BlockSize != 0 || len(o.Excludes) > 0 {
			return nil, refusal.WithHint(refusal.Option(errors.New("--image writes the merged image as it is and changes nothing")), "of the other options only --keep-free and --force have a meaning with it")
		}
		p.o.Output, s.Output = o.Image, o.Image
		s.Mode = ModeImage
	case o.Output != "":
		s.Mode = ModeOutput
	case o.Flatten && o.NoReset && l.snapshot() != nil:
		return nil, refusal.WithHint(refusal.Option(errors.New("a snapshot holds chunks of the image that --flatten does away with, so that it cannot stay as --no-reset has it")), "give one of them")
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
	p.base, err = newBase(ctx, e, l, BaseOptions{Codec: o.Codec, Level: o.Level, BlockSize: o.BlockSize, Excludes: o.Excludes, AllowUnmatched: o.AllowUnmatched,
		Bare: s.Mode == ModeImage, Flatten: o.Flatten, KeepFree: o.KeepFree, FullVerify: o.FullVerify, Force: o.Force}, p.warn)
	if err != nil {
		return nil, err
	}
	s.BaseSummary = p.base.Summary
	if p.o.Output != "" {
		return p, p.checkSpace()
	}
	p.swap = &Swap{live: l, env: e, verb: "compact", keepOld: o.KeepOld, stage: o.Stage, warn: p.warn}
	if err := p.planOverlay(); err != nil {
		return nil, err
	}
	if err := p.checkSpace(); err != nil {
		return nil, err
	}
	if err := p.swap.planCompanions(ctx, p.base.shown); err != nil {
		return nil, err
	}
	if err := checkSets(ctx, e, l, setChecks{stage: o.Stage, force: o.Force, warn: p.warn}); err != nil {
		return nil, err
	}
	s.Steps, err = p.swap.shown()
	return p, err
}

func (p *CompactPlan) warn(format string, args ...any) {
	p.Summary.Warnings = append(p.Summary.Warnings, fmt.Sprintf(format, args...))
}

// planOverlay plans what takes the place of the overlay.
func (p *CompactPlan) planOverlay() (err error) {
	l, b := p.live, p.base
	if l.Overlay == nil {
		return nil
	}
	if p.o.NoReset && !l.Layout.Traits().VersionIDs {
		return p.planStay()
	}
	fresh := &freshOverlay{live: l, system: b.system, version: b.version.Text, now: b.now, flatten: p.o.Flatten, keep: p.o.NoReset, warn: p.warn}
	if p.swap.parts, err = fresh.parts(); err != nil {
		return err
	}
	p.swap.apart, err = p.mustPart()
	return err
}

// planStay plans what an overlay needs that stays over the new base.
func (p *CompactPlan) planStay() error {
	if p.live.snapshot() != nil {
		if len(p.o.Excludes) > 0 {
			return refusal.New("compact without --no-reset, or without -e", "%s holds chunks of the image in the present base, and with things left out that is built anew, so that it cannot stay as --no-reset has it", p.live.Overlay.Path)
		}
		return nil
	}
	misled, err := p.base.misled()
	if err != nil || !misled {
		return err
	}
	p.swap.parts, err = p.swap.keepLayer(p.base.now)
	p.swap.apart = len(p.swap.parts) > 0
	return err
}

// mustPart tells whether the old overlay must not be met with the new base: a
// snapshot has no place over a flattened base or over an image that was built
// anew, what overlayfs finds in its lower layers by names is not there any more,
// and what it finds by inode numbers may be something else. With version ids a
// boot tells by itself.
func (p *CompactPlan) mustPart() (bool, error) {
	l := p.live
	if met, err := l.boots(VID(p.Summary.VID)); !met || err != nil {
		return false, err
	}
	if l.snapshot() != nil {
		return p.o.Flatten || len(p.o.Excludes) > 0, nil
	}
	if leans, err := l.Overlay.leans(); leans || err != nil {
		return leans, err
	}
	return p.base.misled()
}
