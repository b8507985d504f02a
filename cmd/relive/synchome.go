package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"relive/remaster/bytesize"
	"relive/remaster/exclude"
	"relive/remaster/synchome"
	"relive/remaster/upper"
	"relive/tree"
)

func (a *app) syncHomeCommand() *cobra.Command {
	var o synchome.Options
	var excludes []string
	var size string
	var remove, dryRun bool
	c := &cobra.Command{
		Use:   "sync-home DIR",
		Short: "bring the homes of homefs into rootfs, or back",
		Long: `Makes the overlay show the homes that lie beside the system (homefs, home.img,
what persistence.conf binds at /home), so that a boot without persistence of
homes shows the same ones. What the base has already takes no room.

Within a home all becomes as it is in homefs; what only the system has there is
removed, unless --no-delete keeps it. Homes that homefs has not are left alone;
--mirror removes them.

--reverse brings the homes of the system into homefs, which is made where there
is none. The new image is written beside the old one, read back and compared,
and only then put in its place; the former one is kept as .old. Where nothing
differs nothing is written.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkKeepOld(o.KeepOld); err != nil {
				return err
			}
			fl := c.Flags()
			if fl.Changed("delete") {
				if remove && o.NoDelete {
					return usageError{fmt.Errorf("--delete and --no-delete: not both")}
				}
				o.NoDelete = o.NoDelete || !remove
			}
			for _, p := range excludes {
				// People name them as they see them.
				rule, err := exclude.ParsePattern(strings.TrimPrefix(p, "/home/"), "command line")
				if err != nil {
					return usageError{err}
				}
				o.Excludes = append(o.Excludes, rule)
			}
			var err error
			if size != "" {
				if o.Size, err = sizeFlag("--size", size); err != nil {
					return err
				}
			}
			e, l, err := a.open(c.Context(), args[0], "", mustSettle.or(lookOnly, dryRun))
			if err != nil {
				return err
			}
			defer l.Close()
			plan, err := synchome.New(c.Context(), e, l, o)
			if err != nil {
				return err
			}
			if !dryRun {
				if err := plan.Run(c.Context()); err != nil {
					return err
				}
			}
			return a.showSyncHome(&plan.Summary, dryRun)
		},
	}
	fl := c.Flags()
	allowFlag(c, &o.AllowUnmatched)
	fl.StringArrayVar(&o.Users, "user", nil, "only this home; may be given more than once")
	fl.StringArrayVarP(&excludes, "exclude", "e", nil,
		"leave alone what matches, relative to /home, as 'anna/.cache/*' or '... *.iso'; may be given more than once")
	fl.BoolVar(&remove, "delete", true, "remove what the homes that are synced have on one side only")
	fl.BoolVar(&o.NoDelete, "no-delete", false, "keep files that only the destination has")
	fl.BoolVar(&o.Mirror, "mirror", false, "remove whole homes that are on one side only, too")
	fl.BoolVar(&o.Reverse, "reverse", false, "from the system into homefs, which is made where there is none")
	fl.StringVar(&size, "size", "", "with --reverse: the size of the image, as 4G")
	fl.BoolVar(&o.Grow, "grow", false, "make the image larger where the homes do not fit")
	fl.IntVar(&o.KeepOld, "keep-old", 1, "how many former images to keep beside the new one")
	fl.BoolVar(&o.Force, "force", false, "continue even if version ids do not match, or --mirror would remove all homes")
	fl.BoolVar(&dryRun, "dry-run", false, "show the plan and change nothing")
	a.setFlag(c)
	a.placeFlags(c)
	return c
}

func (a *app) showSyncHome(s *synchome.Summary, dryRun bool) error {
	then := errWarned
	if dryRun {
		then = nil
	}
	if a.json {
		if err := a.printJSON(s); err != nil || len(s.Warnings) == 0 {
			return err
		}
		return then
	}
	if s.UpToDate {
		a.printf("%s: the homes in %s are those of %s already\n", s.Dir, s.To, s.From)
		a.showNotes(s.Notes)
		return a.showWarnings(s.Warnings, then)
	}
	a.printf("homes of %s into %s\n", s.From, s.To)
	for i := range s.Users {
		u := &s.Users[i]
		a.printf("  %s: %s\n", tree.Escape(u.User), homeWords(u))
	}
	if len(s.Users) > 1 {
		a.printf("  all: %s\n", homeWords(&s.Total))
	}
	if s.Home && !s.Total.Any() {
		a.printf("  /home itself changes in owner, mode, time or attributes\n")
	}
	switch {
	case s.Size == 0:
		a.printf("%s: %s in %d files, was %s in %d\n", s.To, bytesize.Format(s.After.Bytes), s.After.Inodes,
			bytesize.Format(s.Before.Bytes), s.Before.Inodes)
	case s.OldSize == 0:
		a.printf("%s: new, %s of %s used\n", s.To, bytesize.Format(s.After.Bytes), bytesize.Format(s.Size))
	default:
		a.printf("%s: %s, was %s\n", s.To, fillWords(s.After, s.Size), fillWords(s.Before, s.OldSize))
	}
	if dryRun {
		a.printf("%s needed, %s free\n", bytesize.Format(s.Need), bytesize.Format(s.Free))
		a.printf("then:\n")
		for _, step := range s.Steps {
			a.printf("  %s\n", step)
		}
	} else if s.KeepOld > 0 && (s.OldSize > 0 || s.Size == 0) {
		a.printf("the former one is kept as .old\n")
	}
	a.showNotes(s.Notes)
	return a.showWarnings(s.Warnings, then)
}

func homeWords(c *synchome.Changes) string {
	if !c.Any() {
		return fmt.Sprintf("unchanged, %s", tallyWords(c.Unchanged))
	}
	return fmt.Sprintf("new %s; changed %s; deleted %s; unchanged %s", tallyWords(c.New), tallyWords(c.Changed), tallyWords(c.Deleted),
		tallyWords(c.Unchanged))
}

func tallyWords(t synchome.Tally) string {
	return fmt.Sprintf("%d (%s)", t.Files, bytesize.Format(t.Bytes))
}

func fillWords(f upper.Fill, size int64) string {
	return fmt.Sprintf("%s of %s used (%.0f %%)", bytesize.Format(f.Bytes), bytesize.Format(size),
		100*float64(f.Bytes)/float64(max(1, size)))
}
