package update

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"relive/remaster/changes"
	"relive/remaster/live"
	"relive/remaster/rebase"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/say"
	"relive/remaster/upper"
	"relive/tree"
)

// Overlay is what becomes of the overlay, and why.
type Overlay struct {
	Name    string  `json:"name,omitempty"`
	Outcome Outcome `json:"outcome"`
	// Changes are those of the overlay against the present base; Missing are those
	// of them that the new base does not show. They are counted where the outcome
	// depends on them.
	Changes  changes.Totals `json:"changes"`
	Missing  changes.Totals `json:"missing"`
	Examples []string       `json:"examples,omitempty"` // paths that are missing
}

// Outcome is what becomes of an overlay when the base below it is replaced.
type Outcome string

// The outcomes.
const (
	OutcomeNone    Outcome = "none"     // there is no overlay
	OutcomeStays   Outcome = "stays"    // the base stays, too
	OutcomeEmpty   Outcome = "empty"    // it holds nothing, and a fresh one takes its place
	OutcomeTakenUp Outcome = "taken up" // the new base shows all its changes: a fresh one takes its place
	OutcomeReset   Outcome = "reset"    // a fresh one takes its place, and its changes are in the former one only
	OutcomeKept    Outcome = "kept"     // it lies over the new base
	OutcomeRebased Outcome = "rebased"  // one with its changes, merged with those of the new base, takes its place
	OutcomeFits    Outcome = "fits"     // it was written over the new base, as its version id tells, and is as it was
)

// examplesShown is how many paths a refusal names.
const examplesShown = 5

// planOverlay decides what becomes of the overlay.
func (p *Plan) planOverlay(ctx context.Context) error {
	l := p.live
	s := &p.Summary.Overlay
	if o := l.Overlay; o != nil {
		s.Name = l.Rel(o.Path)
	}
	s.Outcome = OutcomeStays
	if l.Overlay == nil {
		s.Outcome = OutcomeNone
	}
	if !p.base {
		return nil
	}
	err := p.stamp()
	if err != nil || l.Overlay == nil {
		return err
	}
	if s.Outcome, err = p.outcome(ctx); err != nil {
		return err
	}
	switch s.Outcome {
	case OutcomeFits:
		return nil
	case OutcomeKept:
		p.fresh.Keep = true
		if err := p.mayLie(); err != nil {
			return err
		}
		return p.keep(ctx)
	case OutcomeRebased:
		return p.rebase(ctx)
	}
	p.fresh.Flatten = l.COW() != nil && p.from.Base.Inner == nil // no snapshot lies over files
	if p.swap.Parts, err = p.fresh.Parts(); err != nil {
		return err
	}
	p.swap.Apart, err = p.mustDetach()
	return err
}

// stamp notes what the new base gives to a new overlay.
func (p *Plan) stamp() error {
	base := p.from.Base
	p.fresh = &replace.Fresh{Live: p.live, System: base.Root, Warn: p.warn}
	var built tree.Time
	if base.Image != nil {
		built = base.Image.Facts().Built
	} else {
		built = base.Inner.FS.Info().Created
	}
	p.fresh.Now = p.env.ImageTime(built)
	if !p.live.Layout.Traits().VersionIDs {
		return nil
	}
	text, err := live.ReadVersionFile(base.Root, live.BaseVIDFile)
	if err != nil {
		return fmt.Errorf("%s: %w", base.Path, err)
	}
	p.fresh.Version = []byte(text)
	p.Summary.VID = string(live.ParseVID(text))
	return nil
}

// outcome decides what becomes of an overlay that is there.
func (p *Plan) outcome(ctx context.Context) (Outcome, error) {
	l := p.live
	vids, err := l.VIDs()
	if err != nil {
		return "", err
	}
	switch p.o.Overlay {
	case OverlayReset:
		if l.Overlay.Empty {
			return OutcomeEmpty, nil
		}
		return OutcomeReset, nil
	case OverlayKeep:
		if l.Overlay.Empty {
			return OutcomeEmpty, nil
		}
		return OutcomeKept, nil
	}
	if !vids.State.Used() {
		switch {
		case vids.Overlay != "" && vids.Overlay == live.VID(p.Summary.VID) && !p.o.Stage:
			return OutcomeFits, nil
		case !p.o.Force:
			return "", refusal.New(refusal.UnmatchedVersion, p.mismatchHint(),
				"%s: the version ids of linuxfs (%s) and rootfs (%s) do not match, and a boot ignores the rootfs", l.Dir,
				live.OrNone(vids.Base), live.OrNone(vids.Overlay))
		}
	}
	switch {
	case l.Overlay.Empty:
		return OutcomeEmpty, nil
	case p.o.Overlay == OverlayRebase:
		return OutcomeRebased, nil
	}
	warnings, err := l.OverlayWarnings()
	if err != nil {
		return "", err
	}
	p.Summary.Warnings = append(p.Summary.Warnings, warnings...)
	if err := p.missing(ctx); err != nil {
		return "", err
	}
	s := &p.Summary.Overlay
	n := s.Missing.Sum()
	if n == 0 {
		return OutcomeTakenUp, nil
	}
	examples := strings.Join(s.Examples, ", ")
	if more := n - int64(len(s.Examples)); more > 0 {
		examples += fmt.Sprintf(" and %d more", more)
	}
	hint := say.Overlay + " rebase carries them over, " + say.Overlay + " reset sets them aside in " + s.Name +
		".old, " + say.Overlay + " keep lays them over the new base; " + say.Diff + " lists them"
	if l.COW() != nil {
		hint = say.Overlay + " reset sets them aside in " + s.Name + ".old; chunks cannot be carried over: " + live.CopyHint +
			"; " + say.Diff + " lists them"
	}
	return "", refusal.New(refusal.LosesData, hint,
		"%s: of %d changes in %s, %d are not in the new base (%d added, %d changed, %d metadata only, %d replaced by another type, %d "+
			"deleted): %s",
		l.Dir, s.Changes.Sum(), s.Name, n, s.Missing.Added, s.Missing.Content, s.Missing.Metadata, s.Missing.Replaced, s.Missing.Deleted,
		examples)
}

// mismatchHint tells what to do about a rootfs that belongs to neither base.
func (p *Plan) mismatchHint() string {
	if p.o.Overlay == OverlayRebase {
		return say.Rebase + " without " + say.Onto + " carries it over to the present linuxfs first; " + say.Force +
			" takes it for one that was written " + "over that"
	}
	return say.Overlay + " reset sets the rootfs aside, " + say.Overlay + " keep lays it over the new linuxfs; " + say.Force +
		" decides by what it holds"
}

// rebase makes the overlay that holds the changes of the present one over the
// new base.
func (p *Plan) rebase(ctx context.Context) error {
	l := p.live
	r, s, err := rebase.Over(ctx, p.env, l, p.from.Base, "update", upper.Options{KeepOld: p.o.KeepOld, Force: true}, &p.o.Rebase)
	if err != nil {
		return err
	}
	p.Summary.Rebase, p.swap.Parts = s, r.Parts
	p.Summary.Warnings = append(p.Summary.Warnings, r.Summary.Warnings...)
	for i := range s.Databases {
		p.Summary.Warnings = append(p.Summary.Warnings, s.Databases[i].Warning())
	}
	p.swap.Apart, err = p.mustDetach()
	return err
}

// missing counts the changes of the overlay, and those that the new base does
// not show.
func (p *Plan) missing(ctx context.Context) error {
	l, s := p.live, &p.Summary.Overlay
	p.env.Phase("looking for the changes of "+l.Overlay.Name()+" in the new base", 0)
	return changes.All(ctx, l, func(c changes.Change) error {
		s.Changes.Add(&c)
		shown, err := p.shows(ctx, &c)
		if err != nil {
			return fmt.Errorf("%s: %w", tree.Quote(c.Path), err)
		}
		if shown {
			return nil
		}
		s.Missing.Add(&c)
		if len(s.Examples) < examplesShown {
			s.Examples = append(s.Examples, "/"+tree.Escape(c.Path))
		}
		return nil
	})
}

// shows reports whether the new base shows a path as it is in the merged tree of
// the old one. Times of directories do not count: they follow from what is in
// them, and from what was there for a while.
func (p *Plan) shows(ctx context.Context, c *changes.Change) (bool, error) {
	if slices.Contains(p.live.Layout.Traits().Stamped, c.Path) {
		return true, nil // they tell of a base, and no other holds them
	}
	n, err := p.from.Base.Root.Lookup(c.Path)
	if err != nil {
		return false, err
	}
	if c.New == nil || n == nil {
		return c.New == nil && n == nil, nil
	}
	a, b := *c.New, *n
	if a.Type == tree.Directory && b.Type == tree.Directory {
		a.Dir, b.Dir, a.Mtime = tree.List(nil), tree.List(nil), b.Mtime
	} else if a.Type == tree.Directory || b.Type == tree.Directory {
		return false, nil
	}
	o := tree.CompareOptions{WholeSeconds: true, // what makes snapshots may keep no more
		IgnoreXattr: func(name string) bool { return !p.from.Base.HoldsXattr(name) }}
	errOther := errors.New("another")
	err = tree.Compare(ctx, &a, &b, o, func(tree.Change) error { return errOther })
	if errors.Is(err, errOther) {
		return false, nil
	}
	return err == nil, err
}

// mustDetach reports whether the former overlay must not be met with the new base
// by a boot in between: it was written over another one. With other version ids
// a boot tells by itself.
func (p *Plan) mustDetach() (bool, error) {
	l := p.live
	if len(p.swap.Parts) == 0 || l.Overlay.Empty && l.COW() == nil {
		return false, nil
	}
	return l.LaidOver(live.VID(p.Summary.VID))
}

// mayLie refuses to lay the overlay over the new base where its content only has
// a meaning over the old one.
func (p *Plan) mayLie() error {
	l := p.live
	o := l.Overlay
	if o.COW != nil {
		return refusal.New(refusal.BoundToBase, live.CopyHint+"; "+say.Overlay+" reset then sets it aside",
			"%s holds chunks of the file system in the present base, which mean nothing over another", o.Path)
	}
	if depends, err := o.DependsOnBase(); err != nil {
		return err
	} else if depends {
		return refusal.New(refusal.BoundToBase, say.Overlay+" rebase carries over what it shows, "+say.Overlay+" reset sets it aside",
			"%s refers to files of the present base (redirects, metacopies or index entries), so that it cannot lie over another", o.Path)
	}
	for _, name := range rebase.DatabasePaths() {
		for _, layer := range o.Tops() {
			if n, err := layer.Lookup(name); err != nil {
				return err
			} else if n != nil {
				p.warn("%s holds a database of packages (/%s), which hides that of the new base: it does not know of what the new base "+
					"brings", o.Name(), name)
				return nil
			}
		}
	}
	p.warn("what %s holds hides what the new base has in its place", o.Name())
	return nil
}

// keep plans the overlay that lies over the new base: the present one without
// what names inodes of the old base. A directory stays where it is.
func (p *Plan) keep(ctx context.Context) (err error) {
	l := p.live
	met, err := l.LaidOver(live.VID(p.Summary.VID))
	if err != nil {
		return err
	}
	// By inode number the new base may have anything.
	if met {
		if met, err = l.Astray(ctx, p.from.Base); err != nil {
			return err
		}
	}
	p.swap.Apart = met
	if l.Layout.Traits().VersionIDs {
		p.swap.Parts, err = p.fresh.Parts()
		return err
	}
	if l.Overlay.Image == nil {
		p.warn("%s stays as it is and is not copied: to go back with "+say.Rollback+", move it away first", l.Rel(l.Overlay.Path))
		if p.swap.Apart = false; !met {
			return nil
		}
	}
	p.swap.Parts, err = p.swap.KeepLayer(p.fresh.Now)
	return err
}
