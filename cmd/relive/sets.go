package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"relive/remaster/bytesize"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/rebase"
	"relive/remaster/sets"
)

func (a *app) setsCommand() *cobra.Command {
	var on string
	c := &cobra.Command{
		Use:   "sets DIR|DEVICE|IMAGE",
		Short: "list persistence sets; copy, remove, rename, rebase them",
		Long: `Lists the persistence sets of a live directory: places with a rootfs and homefs
of their own, of which the boot argument pdir= chooses one. They are looked for in
the live directory, beside it on a medium, and where boot menus name them. A set
is named by its path from the live directory: work, ../work; default is what lies
beside the base. Those of LiveOS are its overlays.

Of each it is told how full its images are, when they were last written, and
whether a boot uses its rootfs or ignores it for its version id.

Other verbs take --set NAME to act on another set than the default one.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			e, l, err := a.openWith(c.Context(), args[0], on, maySettle, live.AnySet())
			if err != nil {
				return err
			}
			defer l.Close()
			list, err := sets.List(c.Context(), e, l)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			return a.showSets(list)
		},
	}
	onFlag(c, &on)
	c.AddCommand(a.setCloneCommand(), a.setRemoveCommand(), a.setRenameCommand(), a.setRestampCommand(), a.setEntryCommand())
	return c
}

func (a *app) showSets(list *sets.Listing) error {
	a.printf("%s (%s)", list.Dir, list.Layout)
	if list.HasVIDs {
		a.printf(", version id %s", orNone(list.VID))
	}
	a.printf("\n")
	for i := range list.Sets {
		a.showSet(&list.Sets[i], list.HasVIDs)
	}
	if len(list.Sets) == 0 {
		a.printf("no sets\n")
	}
	if list.Note != "" {
		a.printf("note: %s\n", list.Note)
	}
	return nil
}

func (a *app) showSet(s *sets.Status, vids bool) {
	a.printf("\n%s", s.Name)
	if s.Pdir != "" {
		a.printf("  (pdir=%s)", s.Pdir)
	}
	a.printf("\n")
	row := func(name, format string, args ...any) {
		a.printf("  %-10s "+format+"\n", append([]any{name}, args...)...)
	}
	image := func(name string, i *live.ImageStatus) {
		switch {
		case i == nil:
			row(name, "none")
		case i.Inodes == 0:
			row(name, "a directory, %s", bytesize.Format(i.UsedBytes))
		default:
			row(name, "%s of %s used (%.0f %%), %s on disk", bytesize.Format(i.UsedBytes), bytesize.Format(i.Capacity), i.UsedPercent,
				bytesize.Format(i.Allocated))
		}
	}
	image("rootfs", s.Root)
	if s.Root != nil {
		words := string(s.Form)
		if s.Empty {
			words += ", nothing written yet"
		}
		if vids {
			words += "; version id " + orNone(s.VID) + " (" + vidWords(s.VIDState) + ")"
		}
		if words != "" {
			row("", "%s", words)
		}
		if s.Fits != "" {
			row("", "written over %s", s.Fits)
		}
	}
	image("homefs", s.Home)
	if !s.Written.IsZero() {
		row("written", "%s (%s)", s.Written.Format("2006-01-02 15:04:05 UTC"), age(time.Since(s.Written)))
	}
	if s.InUse != "" {
		row("in use", "%s", s.InUse)
	}
	for _, e := range s.Entries {
		row("entry", "%s", e)
	}
	for _, p := range s.Problems {
		row("problem", "%s", p)
	}
}

// age tells how long ago something was.
func age(d time.Duration) string {
	days := int(d.Hours() / 24)
	switch {
	case d < 0:
		return "in the future"
	case days == 0:
		return "today"
	case days == 1:
		return "1 day ago"
	}
	return fmt.Sprintf("%d days ago", days)
}

// change settles a live directory, plans a change of its sets, and does it.
func (a *app) change(ctx context.Context, dir string, dryRun bool, plan func(e *job.Env) (*sets.Change, error),
	done func(p *sets.Change) string) error {
	e, err := a.env()
	if err != nil {
		return err
	}
	if err := a.settle(ctx, dir, mustSettle.or(lookOnly, dryRun)); err != nil {
		return err
	}
	p, err := plan(e)
	if err != nil {
		return err
	}
	if !dryRun {
		if err := p.Run(ctx); err != nil {
			return err
		}
	}
	if a.json {
		if err := a.printJSON(p); err != nil {
			return err
		}
		if len(p.Warnings) > 0 && !dryRun {
			return errWarned
		}
		return nil
	}
	if dryRun {
		for _, s := range p.Steps {
			a.printf("%s\n", s)
		}
		if p.Need > 0 {
			shared := ""
			if p.Shared {
				shared = ", which the file system shares"
			}
			a.printf("%s needed%s, %s free\n", bytesize.Format(p.Need), shared, bytesize.Format(p.Free))
		}
		for _, l := range p.Lost {
			a.printf("lost: %s\n", l)
		}
		return a.showWarnings(p.Warnings, nil)
	}
	a.printf("%s\n", done(p))
	return a.showWarnings(p.Warnings, errWarned)
}

func dryRunFlag(c *cobra.Command, to *bool) {
	c.Flags().BoolVar(to, "dry-run", false, "show the plan and change nothing")
}

func (a *app) setCloneCommand() *cobra.Command {
	var from string
	var dryRun bool
	c := &cobra.Command{
		Use:   "clone DIR NEW",
		Short: "copy a set to a new one",
		Long: `Copies rootfs and homefs of a set to a new one: NEW lies in the live directory,
../NEW beside it. Holes stay holes, and where the file system can share blocks
nothing is copied at all. The copy is synced, read back and compared, and gets its
name only then.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.change(c.Context(), args[0], dryRun, func(e *job.Env) (*sets.Change, error) {
				return sets.Clone(c.Context(), e, args[0], args[1], from)
			}, func(p *sets.Change) string {
				return fmt.Sprintf("%s: the set %s is made%s", p.Dir, p.Set, pdirHint(p))
			})
		},
	}
	c.Flags().StringVar(&from, "from", "", "the set to copy (default the one beside the base)")
	dryRunFlag(c, &dryRun)
	return c
}

func pdirHint(p *sets.Change) string {
	if p.Pdir == "" {
		return ""
	}
	return "; the boot argument pdir=" + p.Pdir + " chooses it"
}

func (a *app) setRemoveCommand() *cobra.Command {
	var yes, dryRun bool
	c := &cobra.Command{
		Use:     "remove DIR NAME",
		Aliases: []string{"rm"}, // its former name
		Short:   "remove a set",
		Long: `Removes a set: its directory, in which nothing but persistence files may lie, or
with NAME default the rootfs and homefs beside the base. Without --yes it is
refused with what would be lost. Symlinks are not followed.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.change(c.Context(), args[0], dryRun, func(e *job.Env) (*sets.Change, error) {
				return sets.Remove(c.Context(), e, args[0], args[1], yes || dryRun)
			}, func(p *sets.Change) string { return fmt.Sprintf("%s: the set %s is removed", p.Dir, p.Set) })
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "remove it, and lose what is in it")
	dryRunFlag(c, &dryRun)
	return c
}

func (a *app) setRenameCommand() *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "rename DIR NAME NEW",
		Short: "give a set another name",
		Long: `Moves a set's directory: NEW lies in the live directory, ../NEW beside it. Boot
entries that name the set are told of and stay as they are.`,
		Args: cobra.ExactArgs(3),
		RunE: func(c *cobra.Command, args []string) error {
			return a.change(c.Context(), args[0], dryRun, func(e *job.Env) (*sets.Change, error) {
				return sets.Rename(c.Context(), e, args[0], args[1], args[2])
			}, func(p *sets.Change) string {
				return fmt.Sprintf("%s: the set %s has its new name%s", p.Dir, p.Set, pdirHint(p))
			})
		},
	}
	dryRunFlag(c, &dryRun)
	return c
}

func (a *app) setRestampCommand() *cobra.Command {
	var o rebase.RestampOptions
	var dryRun bool
	c := &cobra.Command{
		Use:     "rebase DIR NAME",
		Aliases: []string{"restamp"}, // its former name
		Short:   "carry a set over to a new base that it still fits",
		Long: `After a compaction or an update a boot ignores the other sets, since their version
id is that of the former base. This makes a set's rootfs anew, with the changes
that it made to the former base over the present one, and with the present
version id. The former base is looked for beside the present one (linuxfs.old),
or named with --base. Where both have changed the same paths these are listed,
and it is refused (exit code 4); relive rebase --set NAME decides them.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkKeepOld(o.KeepOld); err != nil {
				return err
			}
			e, l, err := a.openWith(c.Context(), args[0], "", mustSettle.or(lookOnly, dryRun), live.WithSet(args[1]))
			if err != nil {
				return err
			}
			defer l.Close()
			return a.restamp(c.Context(), e, l, o, dryRun, nil)
		},
	}
	c.Flags().StringVar(&o.Base, "base", "", "the linuxfs that the set was written over")
	c.Flags().IntVar(&o.KeepOld, "keep-old", 1, "how many former states of the rootfs to keep beside the new one")
	dryRunFlag(c, &dryRun)
	return c
}

func (a *app) showRestamp(p *rebase.Restamp, dryRun bool) error {
	s := &p.Summary
	switch {
	case a.json:
		if err := a.printJSON(s); err != nil {
			return err
		}
		if len(s.Warnings) > 0 && !dryRun {
			return errWarned
		}
		return nil
	case s.UpToDate:
		a.printf("%s: a boot uses the set %s as it is\n", s.Dir, s.Set)
		return nil
	case dryRun:
		a.showRebase(s.Rebase)
		a.printf("version id %s, was %s\n%s needed, %s free\nthen:\n", orNone(s.VID), orNone(s.OldVID), bytesize.Format(s.Need),
			bytesize.Format(s.Free))
		for _, step := range s.Steps {
			a.printf("  %s\n", step)
		}
		return a.showWarnings(s.Warnings, nil)
	}
	a.showRebase(s.Rebase)
	a.printf("%s: the set %s is stamped for the present linuxfs, in %.1f s\n", s.Dir, s.Set, s.Seconds)
	return a.showWarnings(s.Warnings, errWarned)
}
