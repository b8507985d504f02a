package main

import (
	"github.com/spf13/cobra"

	"relive/remaster/baseimage"
	"relive/remaster/bytesize"
	"relive/remaster/compact"
)

// compactFlags are the flags of compact.
type compactFlags struct {
	pack           packFlags
	keepOld        int
	noReset, stage bool
	output, image  string
	force, dryRun  bool
	allow          bool
}

func (a *app) compactCommand() *cobra.Command {
	var f compactFlags
	var on string
	c := &cobra.Command{
		Use:   "compact DIR",
		Short: "fold the overlay into the base and empty it",
		Long: `Makes a new base image that holds what base and overlay show together, and an
empty overlay to go with it. What did not change is copied as it is stored, so
that the time it takes depends on the changes.

The new files are written beside the old ones, synced, read back and compared,
and only then put in place; the former state stays beside them with .old behind
its names, to which relive rollback (and antiX's boot option) goes back. A run
that is interrupted is undone or finished by the next one.

The base of a LiveOS or archiso medium may hold the system as a file system
image. The new base then holds one, too; --flatten puts the files themselves
into it, and --image writes the merged image alone.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			e, l, err := a.open(c.Context(), args[0], on, mustSettle.or(lookOnly, f.dryRun))
			if err != nil {
				return err
			}
			defer l.Close()
			plan, err := compact.New(c.Context(), e, l, o)
			if err != nil {
				return err
			}
			if f.dryRun {
				return a.showPlan(plan)
			}
			res, err := plan.Run(c.Context())
			if err != nil {
				return err
			}
			return a.showResult(res)
		},
	}
	fl := c.Flags()
	onFlag(c, &on)
	a.setFlag(c)
	a.placeFlags(c)
	f.pack.add(c)
	allowFlag(c, &f.allow)
	fl.IntVar(&f.keepOld, "keep-old", 1, "how many former states to keep beside the new one")
	fl.BoolVar(&f.noReset, "no-reset", false, "leave the overlay as it is, stamped for the new base")
	fl.BoolVar(&f.stage, "stage", false, "write linuxfs.new and its like for the next boot to take up")
	fl.StringVarP(&f.output, "output", "o", "", "write the new base to this file and change nothing")
	fl.StringVar(&f.image, "image", "", "write the merged file system image to this file, not compressed, and change nothing")
	fl.BoolVar(&f.force, "force", false, "continue even if the version ids do not match; replace the file given with -o")
	fl.BoolVar(&f.dryRun, "dry-run", false, "show the plan and change nothing")
	return c
}

// options checks the flags.
func (f *compactFlags) options() (o compact.Options, err error) {
	o = compact.Options{KeepOld: f.keepOld, NoReset: f.noReset, Stage: f.stage, Output: f.output, Image: f.image, Force: f.force,
		Flatten: f.pack.flatten, KeepFree: f.pack.keepFree, FullVerify: f.pack.full, AllowUnmatched: f.allow}
	if o.Wish, err = f.pack.wish(); err != nil {
		return o, err
	}
	if err := checkKeepOld(f.keepOld); err != nil {
		return o, err
	}
	o.Excludes, err = f.pack.excludeRules()
	return o, err
}

func (a *app) showPlan(p *compact.Plan) error {
	s := &p.Summary
	if a.json {
		return a.printJSON(s)
	}
	if s.NothingToDo {
		return a.showNothing(s)
	}
	switch s.Form {
	case baseimage.Ext:
		a.printf("new image: not compressed, %s of content\n", bytesize.Format(s.Bytes))
	case baseimage.Nested:
		a.printf("new base: %s, with a file system image inside\n", packing(&s.Summary))
		a.printf("  copied as stored: %s; to compress: %s\n", bytesize.Format(s.Copy), bytesize.Format(s.Compress))
	default:
		a.printf("new base: %s, %d inodes, %s of content\n", packing(&s.Summary), s.Inodes, bytesize.Format(s.Bytes))
		a.printf("  copied as stored: %d files, partly %d; %s\n", s.Reused, s.Mixed, bytesize.Format(s.Copy))
		a.printf("  to compress: %s; duplicates: %d files; fragment blocks packed anew: %d\n", bytesize.Format(s.Compress), s.Duplicate,
			s.Repacked)
	}
	if s.Library != "" {
		a.printf("  compressed by %s\n", s.Library)
	}
	if s.Excluded > 0 {
		a.printf("  left out: %d files and directories\n", s.Excluded)
	}
	a.printf("  size about %s; %s needed, %s free\n", bytesize.Format(s.Estimate), bytesize.Format(s.Need), bytesize.Format(s.Free))
	if s.VID != "" {
		a.printf("  version id %s\n", s.VID)
	}
	if s.Output != "" {
		a.printf("written to %s; nothing else changes\n", s.Output)
	} else {
		a.printf("then:\n")
		for _, step := range s.Steps {
			a.printf("  %s\n", step)
		}
	}
	return a.showWarnings(s.Warnings, nil)
}

// showNothing tells that there is nothing to fold in.
func (a *app) showNothing(s *compact.Summary) error {
	a.printf("%s: nothing to do: %s, so that there is nothing to fold in\n", s.Dir, s.Nothing)
	a.printf("--comp, -b or -e make the base anew all the same; -o writes one to a file of its own\n")
	return a.showWarnings(s.Warnings, nil)
}

func (a *app) showResult(r *compact.Result) error {
	if a.json {
		if err := a.printJSON(r); err != nil {
			return err
		}
		if len(r.Warnings) > 0 && !r.Plan.NothingToDo {
			return errWarned
		}
		return nil
	}
	s := &r.Plan
	if s.NothingToDo {
		return a.showNothing(s)
	}
	a.printf("%s: %s", r.Path, bytesize.Format(r.NewSize))
	if s.Output == "" {
		a.printf(", was %s", bytesize.Format(r.OldSize))
	}
	if s.Form == baseimage.Ext {
		a.printf("; not compressed")
	} else {
		a.printf("; %s copied as stored, %s compressed", bytesize.Format(s.Copy), bytesize.Format(s.Compress))
	}
	a.printf(", in %.1f s\n", r.Seconds)
	switch s.Mode {
	case compact.ModeStage:
		a.printf("%s\n", takenUp)
	case compact.ModeSwap:
		if s.KeepOld == 0 {
			a.printf("the former state is not kept\n")
			break
		}
		a.printf("the former state is kept as .old; relive rollback %s%s brings it back\n", s.Dir, a.placeArgs())
	}
	return a.showWarnings(r.Warnings, errWarned)
}

// showWarnings prints warnings; where there are any, then is returned.
func (a *app) showWarnings(warnings []string, then error) error {
	for _, w := range warnings {
		a.warn("%s", w)
	}
	if len(warnings) > 0 {
		return then
	}
	return nil
}

// takenUp tells when a boot takes up what is staged (initrd/init: REMASTERABLE).
const takenUp = "the next boot takes it up, unless it has noremaster, comes from an ISO file or a read-only medium, or finds a " +
	"linuxfs.old or linuxfs.bad"
