package main

import (
	"github.com/spf13/cobra"

	"relive/remaster/bytesize"
	"relive/remaster/exclude"
	"relive/remaster/save"
)

func (a *app) saveCommand() *cobra.Command {
	var o save.Options
	var from string
	var rules []string
	var dryRun bool
	c := &cobra.Command{
		Use:   "save DIR --from UPPERDIR",
		Short: "bring what antiX keeps in RAM into its rootfs",
		Long: `Does what antiX's persist-save is for: brings the layer that a live system with
dynamic root persistence writes in RAM (/live/aufs-ram) into the rootfs of its
live directory. Unlike rsync it keeps all marks of deleted files and replaced
directories, extended attributes, capabilities, ACLs, hard links and times.

The new rootfs is written beside the old one, synced, read back and compared,
and only then put in its place; the old one stays as rootfs.old. The layer must
carry the version id of linuxfs. The system may be running: a file that changes
while it is read is saved as it was at one moment.

A system that was booted with pdir= runs with another set than the default one,
which --set names.

What persist-save leaves out is left out here, too: temporary files, package
lists and archives, some caches.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkKeepOld(o.KeepOld); err != nil {
				return err
			}
			for _, r := range rules {
				rule, err := exclude.ParsePattern(r, "--exclude")
				if err != nil {
					return usageError{err}
				}
				o.Exclude = append(o.Exclude, rule)
			}
			e, l, err := a.open(c.Context(), args[0], "", mustSettle.or(lookOnly, dryRun))
			if err != nil {
				return err
			}
			defer l.Close()
			p, err := save.New(c.Context(), e, l, from, o)
			if err != nil {
				return err
			}
			defer p.Close()
			if !dryRun {
				if err := p.Run(c.Context()); err != nil {
					return err
				}
			}
			return a.showSave(&p.Summary, dryRun)
		},
	}
	fl := c.Flags()
	fl.StringVar(&from, "from", "", "the directory of the layer, or the one that holds it as upper")
	allowFlag(c, &o.AllowUnmatched)
	fl.StringArrayVarP(&rules, "exclude", "e", nil, "leave out what matches, a pattern from the root of the system may be given more "+
		"than once")
	fl.BoolVar(&o.All, "all", false, "leave nothing out but what --exclude says")
	fl.BoolVar(&o.Plain, "plain", false, "write deletions in a form that lasts when rootfs is copied without attributes")
	fl.BoolVar(&o.Grow, "grow", false, "make rootfs larger where the layer does not fit")
	fl.IntVar(&o.KeepOld, "keep-old", 1, "how many former rootfs to keep beside the new one")
	fl.BoolVar(&o.Force, "force", false, "continue even if version ids do not match")
	fl.BoolVar(&dryRun, "dry-run", false, "show the plan and change nothing")
	a.setFlag(c)
	a.placeFlags(c)
	_ = c.MarkFlagRequired("from") // which is defined above
	return c
}

func (a *app) showSave(s *save.Summary, plan bool) error {
	warned := errWarned
	if plan {
		warned = nil
	}
	if a.json {
		if err := a.printJSON(s); err != nil || len(s.Warnings) == 0 {
			return err
		}
		return warned
	}
	if s.UpToDate {
		a.printf("%s: up to date with %s\n", s.Overlay, s.From)
		return a.showWarnings(s.Warnings, warned)
	}
	t := &s.Changes
	a.printf("layer: %s (%s)\n", s.From, s.Form)
	a.printf("against what %s showed: %d new, %d changed, %d deleted\n", s.Overlay, t.Added, t.Content+t.Metadata+t.Replaced, t.Deleted)
	if x := &s.Excluded; x.Entries > 0 {
		a.printf("left out: %d entries, %s\n", x.Entries, bytesize.Format(x.Bytes))
	}
	a.printf("%s: %s in use before, %s after\n", s.Overlay, bytesize.Format(s.Before.Bytes), bytesize.Format(s.After.Bytes))
	if s.Size != s.OldSize {
		a.printf("%s: grows from %s to %s\n", s.Overlay, bytesize.Format(s.OldSize), bytesize.Format(s.Size))
	}
	a.printf("%s free then, of %s\n", bytesize.Format(s.After.FreeBytes), bytesize.Format(s.Size))
	for _, name := range s.Held {
		a.printf("changed meanwhile, saved as it was at one moment: %s\n", name)
	}
	if plan {
		a.printf("%s needed, %s free\nthen:\n", bytesize.Format(s.Need), bytesize.Format(s.Free))
		for _, step := range s.Steps {
			a.printf("  %s\n", step)
		}
	} else if s.KeepOld > 0 {
		a.printf("the former one is kept as %s.old\n", s.Overlay)
	}
	a.showNotes(s.Notes)
	return a.showWarnings(s.Warnings, warned)
}
