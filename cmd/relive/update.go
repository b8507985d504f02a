package main

import (
	"strings"

	"github.com/spf13/cobra"

	"relive/remaster/bytesize"
	"relive/remaster/update"
)

func (a *app) updateCommand() *cobra.Command {
	var o update.Options
	var from, on string
	var dryRun bool
	c := &cobra.Command{
		Use:   "update DIR --from SOURCE",
		Short: "replace base, kernel and initrd with those of an ISO",
		Long: `Copies the base of an ISO, a stick or another live directory into the live
directory, with kernel and initrd where these are others. The layouts must
agree.

The new files are written beside the old ones, synced, read back and compared,
also with the sums that the source has of them, and only then put in place; the
former state stays beside them with .old behind its names, to which relive
rollback goes back.

An overlay whose changes the new base shows already is emptied, since nothing is
lost. Where it holds more, --overlay says what becomes of it. Homes are left
alone.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkKeepOld(o.KeepOld); err != nil {
				return err
			}
			e, l, err := a.open(c.Context(), args[0], "", mustSettle.or(lookOnly, dryRun))
			if err != nil {
				return err
			}
			defer l.Close()
			source, bare, err := a.openSource(c.Context(), e, l, from, on)
			if err != nil {
				return err
			}
			defer source.Close()
			o.NoKernel = o.NoKernel || bare
			plan, err := update.New(c.Context(), e, l, source, o)
			if err != nil {
				return err
			}
			if dryRun {
				return a.showUpdate(plan)
			}
			res, err := plan.Run(c.Context())
			if err != nil {
				return err
			}
			return a.showUpdated(res)
		},
	}
	fl := c.Flags()
	a.setFlag(c)
	fl.StringVar(&from, "from", "", "the ISO, the stick (device or image), the live directory or the file with the new base")
	fl.StringVar(&on, "on", "", "of a source with several live systems: which, by partition and directory, as 0/antiX")
	fl.StringVar(&a.home, "home", "", "the image of homes, where it is not on the medium")
	fl.Var(&overlayFlag{mode: &o.Overlay, path: &a.overlay}, "overlay", "may be given twice. A path: where the overlay is, as in other "+
		"verbs. Else what becomes of it, reset: set the overlay aside, whatever it holds; keep: lay it over the new base; rebase: carry "+
		"its changes over, as relive rebase does")
	fl.BoolVar(&o.NoKernel, "no-kernel", false, "leave kernel and initrd as they are")
	fl.IntVar(&o.KeepOld, "keep-old", 1, "how many former states to keep beside the new one")
	fl.BoolVar(&o.Stage, "stage", false, "write linuxfs.new and its like for the next boot to take up")
	fl.BoolVar(&o.Force, "force", false, "continue even if version ids, architectures or the source's sums do not match")
	fl.BoolVar(&dryRun, "dry-run", false, "show the plan and change nothing")
	_ = c.MarkFlagRequired("from") // which is defined above
	return c
}

// overlayFlag is --overlay, which says what becomes of the overlay and, given with
// a path, where it is.
type overlayFlag struct{ mode, path *string }

// String implements pflag.Value.
func (f *overlayFlag) String() string { return "" }

// Type implements pflag.Value.
func (f *overlayFlag) Type() string { return "string" }

// Set implements pflag.Value.
func (f *overlayFlag) Set(s string) error {
	if strings.Contains(s, "/") || s != "" && s[0] >= '0' && s[0] <= '9' {
		*f.path = s
	} else {
		*f.mode = s
	}
	return nil
}

// outcomes tells what becomes of an overlay.
var outcomes = map[update.Outcome]string{
	update.OutcomeStays:   "stays as it is",
	update.OutcomeEmpty:   "is empty, and made anew",
	update.OutcomeTakenUp: "is emptied: all its changes are in the new base",
	update.OutcomeReset:   "is emptied",
	update.OutcomeKept:    "lies over the new base",
	update.OutcomeRebased: "is made anew, with its changes over the new base",
	update.OutcomeFits:    "was written over the new base and stays as it is",
}

func (a *app) showUpdate(p *update.Plan) error {
	s := &p.Summary
	if a.json {
		return a.printJSON(s)
	}
	if s.UpToDate {
		a.printf("%s: up to date with %s\n", s.Dir, s.Source)
		return a.showWarnings(s.Warnings, nil)
	}
	a.printf("new base: %s\n", s.Source)
	for _, f := range append([]update.File{s.Base}, s.Kernel...) {
		if f.Changed {
			a.printf("  %s: %s, was %s\n", f.Name, bytesize.Format(f.Size), bytesize.Format(f.OldSize))
		} else {
			a.printf("  %s: the same\n", f.Name)
		}
	}
	for _, sum := range s.Sums {
		a.printf("  to be checked: %s, by the %s sum in %s\n", sum.File, sum.Kind, sum.In)
	}
	if s.VID != "" {
		a.printf("  version id %s\n", s.VID)
	}
	if o := &s.Overlay; o.Name != "" {
		a.printf("overlay: %s %s\n", o.Name, outcomes[o.Outcome])
	}
	a.showRebase(s.Rebase)
	a.printf("%s needed, %s free\n", bytesize.Format(s.Need), bytesize.Format(s.Free))
	a.printf("then:\n")
	for _, step := range s.Steps {
		a.printf("  %s\n", step)
	}
	a.showNotes(s.Notes)
	return a.showWarnings(s.Warnings, nil)
}

func (a *app) showNotes(notes []string) {
	for _, n := range notes {
		a.printf("note: %s\n", n)
	}
}

func (a *app) showUpdated(r *update.Result) error {
	s := &r.Plan
	switch {
	case a.json:
		if err := a.printJSON(r); err != nil {
			return err
		}
		if len(r.Warnings) > 0 {
			return errWarned
		}
		return nil
	case s.UpToDate:
		a.printf("%s: up to date with %s\n", s.Dir, s.Source)
		return a.showWarnings(r.Warnings, errWarned)
	}
	if s.Base.Changed {
		a.printf("%s: %s, was %s; in %.1f s\n", r.Path, bytesize.Format(s.Base.Size), bytesize.Format(s.Base.OldSize), r.Seconds)
	}
	for _, f := range s.Kernel {
		if f.Changed {
			a.printf("%s: %s, was %s\n", f.Name, bytesize.Format(f.Size), bytesize.Format(f.OldSize))
		}
	}
	if o := &s.Overlay; o.Name != "" {
		a.printf("overlay: %s %s\n", o.Name, outcomes[o.Outcome])
	}
	a.showRebase(s.Rebase)
	switch {
	case s.Mode == update.ModeStage:
		a.printf("%s\n", takenUp)
	case s.KeepOld == 0:
		a.printf("the former state is not kept\n")
	case s.Base.Changed:
		a.printf("the former state is kept as .old; relive rollback %s%s brings it back\n", s.Dir, a.placeArgs())
	}
	a.showNotes(s.Notes)
	return a.showWarnings(r.Warnings, errWarned)
}
