package compact

import (
	"context"
	"errors"
	"fmt"

	"relive/remaster/live"
	"relive/remaster/newfile"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/say"
)

// checkState refuses what would be unsafe.
func (p *Plan) checkState(ctx context.Context) error {
	l, o := p.live, &p.o
	if o.Output == "" {
		if err := l.RefuseOnStick("mount it and give the directory; with " + say.Output +
			" the new base is written to a file of its own"); err != nil {
			return err
		}
	}
	if o.Stage && !l.Layout.Traits().Stages {
		return refusal.WithHint(refusal.Option(errors.New(say.Stage+" leaves files for antiX's init to take up, and this is "+
			l.Layout.Name())), "compact without "+say.Stage)
	}
	if err := l.Check(ctx, p.env, live.Intent{Force: o.Force, ReadOnly: o.Output != "", Stage: o.Stage, Excludes: o.Excludes,
		Repair: o.Image != ""}); err != nil {
		return err
	}
	warnings, err := l.OverlayWarnings()
	if err != nil {
		return err
	}
	p.Summary.Warnings = append(p.Summary.Warnings, warnings...)
	if o.Output != "" {
		if err := l.CheckOutput(o.Output, p.newFile()); err != nil {
			return err
		}
		return l.RefuseInUse("", l.OverlayPaths()...)
	}
	if err := replace.CheckInUse(l, o.Stage); err != nil {
		return err
	}
	if o.NoReset && l.Overlay != nil && l.Overlay.Union != nil {
		rep, err := l.Overlay.Union.Report()
		if err != nil {
			return fmt.Errorf("%s: %w", l.Overlay.Name(), err)
		}
		if rep.Redirects+rep.Metacopies+rep.IndexEntries > 0 {
			return refusal.New(refusal.BoundToBase, "compact without "+say.NoReset,
				"%s: %s refers to files of its base (%d redirects, %d metacopies, %d index entries), so it cannot go on above another",
				l.Dir, l.Overlay.Name(), rep.Redirects, rep.Metacopies, rep.IndexEntries)
		}
	}
	return nil
}

// newFile says how the file of -o or --image is made.
func (p *Plan) newFile() newfile.Options {
	kinds := []probe.Kind{probe.SquashFS, probe.EROFS}
	if p.o.Image != "" || p.live.Base.Image == nil {
		kinds = []probe.Kind{probe.Ext4} // or another of its family
	}
	return newfile.Options{Force: p.o.Force, Kinds: kinds}
}
