package main

import (
	"cmp"
	"slices"

	"github.com/spf13/cobra"

	"relive/remaster/bytesize"
	"relive/remaster/changes"
	"relive/remaster/live"
	"relive/tree"
)

// diffEntry is one line of a diff as JSON.
type diffEntry struct {
	Path    string       `json:"path"` // escaped as in a manifest
	Kind    changes.Kind `json:"kind"`
	What    string       `json:"what"`
	OldType string       `json:"old_type,omitempty"`
	NewType string       `json:"new_type,omitempty"`
	OldSize int64        `json:"old_size"`
	NewSize int64        `json:"new_size"`
}

// diffTop are the totals below one top directory.
type diffTop struct {
	Directory string `json:"directory"`
	changes.Totals
}

func (a *app) diffCommand() *cobra.Command {
	var sortBy, on string
	var kinds []string
	var totalsOnly, allow bool
	c := &cobra.Command{
		Use:   "diff DIR [PATH...]",
		Short: "list what the overlay changes against the base",
		Long: `Lists what the overlay changes against the base, a path a line:

  A  added                        D  deleted
  C  content changed              M  metadata only
  R  replaced by another type

and the totals of each top directory. Copies that equal the base are no
changes. With PATH, only what equals it, lies below it or matches it as a shell
pattern is listed.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if sortBy != "path" && sortBy != "size" {
				return usageError{errFlag("--sort", sortBy, "path or size")}
			}
			want, err := changes.PathFilter(args[1:])
			if err != nil {
				return usageError{err}
			}
			_, l, err := a.open(c.Context(), args[0], on, maySettle)
			if err != nil {
				return err
			}
			defer l.Close()
			warnings, err := l.CheckPaths(c.Context(), args[1:], allow)
			if err != nil {
				return err
			}
			if err := a.diff(c, l, want, sortBy, kinds, totalsOnly); err != nil {
				return err
			}
			return a.showWarnings(warnings, errWarned)
		},
	}
	onFlag(c, &on)
	a.setFlag(c)
	a.placeFlags(c)
	c.Flags().StringVar(&sortBy, "sort", "path", "order of the lines: path or size")
	c.Flags().StringSliceVar(&kinds, "kind", nil, "only these: added, deleted, content, metadata, replaced")
	allowFlag(c, &allow)
	c.Flags().BoolVar(&totalsOnly, "totals", false, "only the totals")
	return c
}

func (a *app) diff(c *cobra.Command, l *live.Live, want func(string) bool, sortBy string, kinds []string, totalsOnly bool) error {
	for _, k := range kinds {
		if !slices.Contains([]string{"added", "deleted", "content", "metadata", "replaced"}, k) {
			return usageError{errFlag("--kind", k, "added, deleted, content, metadata or replaced")}
		}
	}
	entries := []diffEntry{}
	tops := map[string]*diffTop{}
	var total changes.Totals
	var unreadable tree.Unreadable
	err := changes.Readable(c.Context(), l, func(ch changes.Change) error {
		if !want(ch.Path) || len(kinds) > 0 && !slices.Contains(kinds, string(ch.Kind)) {
			return nil
		}
		top := changes.TopDirectory(ch.Path)
		if tops[top] == nil {
			tops[top] = &diffTop{Directory: tree.Escape(top)}
		}
		tops[top].Add(&ch)
		total.Add(&ch)
		if totalsOnly {
			return nil
		}
		e := diffEntry{Path: tree.Escape("/" + ch.Path), Kind: ch.Kind, What: ch.Diff.String()}
		if ch.Old != nil {
			e.OldType, e.OldSize = ch.Old.Type.String(), ch.Old.Size
		}
		if ch.New != nil {
			e.NewType, e.NewSize = ch.New.Type.String(), ch.New.Size
		}
		entries = append(entries, e)
		return nil
	}, func(path string, err error) error {
		if want(path) {
			return unreadable.Add(path, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(entries, func(x, y diffEntry) int {
		if sortBy == "size" {
			if n := cmp.Compare(max(y.OldSize, y.NewSize), max(x.OldSize, x.NewSize)); n != 0 {
				return n
			}
		}
		return cmp.Compare(x.Path, y.Path)
	})
	sums := make([]diffTop, 0, len(tops))
	for _, t := range tops {
		sums = append(sums, *t)
	}
	slices.SortFunc(sums, func(x, y diffTop) int { return cmp.Compare(x.Directory, y.Directory) })
	warnings := unreadable.Warnings()
	if a.json {
		err := a.printJSON(struct {
			Changes  []diffEntry    `json:"changes"`
			Top      []diffTop      `json:"top"`
			Total    changes.Totals `json:"total"`
			Warnings []string       `json:"warnings,omitempty"`
		}{entries, sums, total, warnings})
		if err == nil && len(warnings) > 0 {
			return errWarned
		}
		return err
	}
	for _, e := range entries {
		a.printf("%s %s\n", changeLetters[e.Kind], diffLine(&e))
	}
	if len(sums) == 0 {
		a.printf("no changes\n")
		return a.showWarnings(warnings, errWarned)
	}
	if !totalsOnly {
		a.printf("\n")
	}
	a.printf("%-24s %8s %8s %8s %8s %8s %12s\n", "top directory", "added", "changed", "metadata", "replaced", "deleted", "content")
	line := func(name string, t *changes.Totals) {
		a.printf("%-24s %8d %8d %8d %8d %8d %12s\n", name, t.Added, t.Content, t.Metadata, t.Replaced, t.Deleted,
			bytesize.Format(t.AddedBytes))
	}
	for i := range sums {
		line(sums[i].Directory, &sums[i].Totals)
	}
	line("total", &total)
	return a.showWarnings(warnings, errWarned)
}

// diffLine says what happened to a path.
func diffLine(e *diffEntry) string {
	switch e.Kind {
	case changes.Added:
		if e.NewType == "file" {
			return e.Path + " (" + bytesize.Format(e.NewSize) + ")"
		}
		return e.Path + " (" + e.NewType + ")"
	case changes.Deleted:
		if e.OldType == "file" {
			return e.Path + " (" + bytesize.Format(e.OldSize) + ")"
		}
		return e.Path + " (" + e.OldType + ")"
	case changes.Replaced:
		return e.Path + " (" + e.OldType + " -> " + e.NewType + ")"
	case changes.Content:
		return e.Path + " (" + bytesize.Format(e.OldSize) + " -> " + bytesize.Format(e.NewSize) + ")"
	}
	return e.Path + " (" + e.What + ")"
}

// changeLetters stand for the kinds of changes.
var changeLetters = map[changes.Kind]string{changes.Added: "A", changes.Deleted: "D", changes.Content: "C", changes.Metadata: "M",
	changes.Replaced: "R"}
