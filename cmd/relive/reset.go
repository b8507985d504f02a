package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"relive/remaster/bytesize"
	"relive/remaster/reset"
)

func (a *app) resetCommand() *cobra.Command {
	var o reset.Options
	var keeps, files, presets []string
	var preview, dryRun, undo, list bool
	c := &cobra.Command{
		Use:   "reset DIR",
		Short: "empty the overlay, keeping chosen paths",
		Long: `Empties the overlay of a live directory: the next boot shows the base again, but
for the paths that are kept as they are now, or stay deleted where they are.

A pattern is a path from the root of the system. A directory is kept with all
below it. '*', '?' and [...] match within a name, "**" any number of
directories. '!' before a pattern takes back what others keep: the last that
matches a path or a directory above it decides, with presets first, then files,
then --keep.

The new overlay is written beside the old one, synced, read back and compared,
and only then put in place; the old one stays beside it with .old behind its
name, and --undo brings it back.`,
		Args: func(c *cobra.Command, args []string) error {
			if list {
				return cobra.NoArgs(c, args)
			}
			return cobra.ExactArgs(1)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkKeepOld(o.KeepOld); err != nil {
				return err
			}
			look := preview || dryRun
			if list {
				return a.listPresets()
			}
			if undo {
				if len(keeps)+len(files)+len(presets) > 0 {
					return usageError{fmt.Errorf("--undo brings all of the former overlay back, so that --keep has no meaning with it")}
				}
				return a.undoReset(c, args[0], look)
			}
			var err error
			if o.Keep, err = keepRules(presets, files, keeps); err != nil {
				return err
			}
			e, l, err := a.open(c.Context(), args[0], "", mustSettle.or(lookOnly, look))
			if err != nil {
				return err
			}
			defer l.Close()
			plan, err := reset.New(c.Context(), e, l, o)
			if err != nil {
				return err
			}
			if look {
				return a.showReset(&plan.Summary)
			}
			res, err := plan.Run(c.Context())
			if err != nil {
				return err
			}
			return a.showResetDone(res)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&keeps, "keep", nil, "keep what matches this pattern; may be given more than once")
	f.StringArrayVar(&files, "keep-from", nil, "a file of patterns, one a line; may be given more than once")
	f.StringSliceVar(&presets, "preset", nil, "keep what these presets name; see --list-presets")
	f.BoolVar(&list, "list-presets", false, "list the presets with their patterns")
	f.BoolVar(&preview, "preview", false, "show what would be kept and lost, and change nothing")
	f.BoolVar(&dryRun, "dry-run", false, "the same as --preview")
	f.BoolVar(&undo, "undo", false, "bring the former overlay back; the present one becomes the former")
	f.IntVar(&o.KeepOld, "keep-old", 1, "how many former overlays to keep beside the new one")
	f.BoolVar(&o.Grow, "grow", false, "make the image larger where what is kept does not fit")
	f.BoolVar(&o.Force, "force", false,
		"keep paths though the version ids do not match; empty an overlay that changes nothing but holds files")
	allowFlag(c, &o.AllowUnmatched)
	a.setFlag(c)
	a.placeFlags(c)
	return c
}

// keepRules gathers rules in the order in which they count.
func keepRules(presets, files, keeps []string) (rules []reset.Rule, err error) {
	for _, name := range presets {
		more, err := reset.PresetRules(name)
		if err != nil {
			return nil, usageError{err}
		}
		rules = append(rules, more...)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		more, err := reset.ReadRules(f, name)
		f.Close()
		if err != nil {
			return nil, err
		}
		rules = append(rules, more...)
	}
	for _, p := range keeps {
		r, err := reset.ParseRule(p, "--keep")
		if err != nil {
			return nil, usageError{err}
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func (a *app) listPresets() error {
	all, err := reset.Presets()
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(all)
	}
	for _, p := range all {
		a.printf("%s: %s\n", p.Name, p.Title)
		for _, pattern := range p.Patterns {
			a.printf("  %s\n", pattern)
		}
	}
	return nil
}

// resetPathsShown is how many paths of each fate people are shown.
const resetPathsShown = 10

// showShare shows the changes that meet the same fate.
func (a *app) showShare(fate string, s *reset.Share) {
	n := s.Sum()
	if n == 0 {
		a.printf("%s: nothing\n", fate)
		return
	}
	a.printf("%s: %s (%d added, %d changed, %d metadata only, %d replaced by another type, %d deleted), %s\n",
		fate, changesOf(n), s.Added, s.Content, s.Metadata, s.Replaced, s.Deleted, bytesize.Format(s.AddedBytes))
	shown := s.First[:min(len(s.First), resetPathsShown)]
	for _, c := range shown {
		a.printf("  %s %s\n", changeLetters[c.Kind], c.Path)
	}
	if more := n - int64(len(shown)); more > 0 {
		a.printf("  and %d more\n", more)
	}
}

func changesOf(n int64) string {
	if n == 1 {
		return "1 change"
	}
	return fmt.Sprintf("%d changes", n)
}

func (a *app) showReset(s *reset.Summary) error {
	if a.json {
		return a.printJSON(s)
	}
	a.showShare("kept", &s.Kept)
	a.showShare("lost", &s.Lost)
	if s.UpToDate {
		a.printf("nothing to do\n")
	} else {
		o := s.Overlay
		if o.Size != o.OldSize {
			a.printf("%s: %s, was %s\n", o.Overlay, bytesize.Format(o.Size), bytesize.Format(o.OldSize))
		}
		a.printf("%s needed, %s free\n", bytesize.Format(o.Need), bytesize.Format(o.Free))
		a.printf("then:\n")
		for _, step := range o.Steps {
			a.printf("  %s\n", step)
		}
	}
	a.showNotes(s.Notes)
	return a.showWarnings(s.Warnings, nil)
}

func (a *app) showResetDone(r *reset.Result) error {
	s := &r.Plan
	if a.json {
		if err := a.printJSON(r); err != nil {
			return err
		}
		if len(r.Warnings) > 0 {
			return errWarned
		}
		return nil
	}
	if s.UpToDate {
		a.printf("%s: nothing to do: the overlay holds nothing that would be lost\n", s.Dir)
		a.showNotes(s.Notes)
		return a.showWarnings(r.Warnings, errWarned)
	}
	a.printf("%s: %s kept, %s lost\n", s.Overlay.Overlay, changesOf(s.Kept.Sum()), changesOf(s.Lost.Sum()))
	if s.Overlay.Size != s.Overlay.OldSize {
		a.printf("it has %s, was %s\n", bytesize.Format(s.Overlay.Size), bytesize.Format(s.Overlay.OldSize))
	}
	if s.Overlay.KeepOld == 0 {
		a.printf("the former overlay is not kept\n")
	} else {
		a.printf("the former overlay is kept as .old; relive reset --undo%s %s%s brings it back\n", a.setArg(), s.Dir, a.placeArgs())
	}
	a.showNotes(s.Notes)
	return a.showWarnings(r.Warnings, errWarned)
}

// undoReset brings the former overlay back.
func (a *app) undoReset(c *cobra.Command, dir string, look bool) error {
	if err := a.settle(c.Context(), dir, mustSettle.or(lookOnly, look)); err != nil {
		return err
	}
	e, err := a.env()
	if err != nil {
		return err
	}
	p, err := reset.NewUndo(c.Context(), e, dir, a.options()...)
	if err != nil {
		return err
	}
	if !look {
		if err := p.Run(c.Context()); err != nil {
			return err
		}
	}
	switch {
	case a.json:
		return a.printJSON(p)
	case look:
		a.printf("%s\n", strings.Join(p.Steps, "\n"))
	default:
		a.printf("%s: the former one is back; the other is kept as .old\n", p.Overlay)
	}
	return a.showWarnings(p.Warnings, nil)
}
