package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"relive/dmmerge"
	"relive/remaster/bytesize"
	"relive/remaster/live"
	"relive/remaster/packed"
	"relive/remaster/status"
)

func (a *app) statusCommand() *cobra.Command {
	var on string
	c := &cobra.Command{
		Use:   "status DIR|DEVICE|IMAGE",
		Short: "show base, overlay, leftovers and what a compaction would cost",
		Long: `Shows what is in a live directory: the compressed base, the overlay and how
full it is, whether their version ids match, what the overlay changes, files
that earlier steps left, and what a compaction would cost.

Of a block device or an image of a stick it shows the partitions, and the same
of every live system on them, without mounting.

A run that was interrupted is finished or undone first. Ends with 3 where a path
of the overlay cannot be read.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if st, err := os.Stat(args[0]); err == nil && !st.IsDir() && on == "" && a.set == "" && a.overlay == "" && a.home == "" {
				return a.stickStatus(c.Context(), args[0])
			}
			e, l, err := a.open(c.Context(), args[0], on, maySettle)
			if err != nil {
				return err
			}
			defer l.Close()
			s, err := status.Of(c.Context(), e, l)
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJSON(s)
			} else {
				a.printStatus(s)
			}
			if err == nil && len(s.Unreadable) > 0 {
				return errWarned
			}
			return err
		},
	}
	onFlag(c, &on)
	a.setFlag(c)
	a.placeFlags(c)
	return c
}

func (a *app) printStatus(s *status.Status) {
	b := &s.Base
	row := func(name, format string, args ...any) {
		a.printf("%-12s "+format+"\n", append([]any{name}, args...)...)
	}
	row("directory", "%s (%s)", s.Dir, s.Layout)
	if s.Set != "" {
		row("set", "%s", s.Set)
	}
	if b.Codec == "" {
		row("base", "%s, %s, not compressed, %s in use, %d inodes", filepath.Base(b.Path), bytesize.Format(b.Size),
			bytesize.Format(b.Content), b.Inodes)
	} else if b.Format == packed.EROFS {
		row("base", "%s, %s, EROFS (%s), holds %s (ratio %.2f), %d inodes", filepath.Base(b.Path), bytesize.Format(b.Size), b.Codec,
			bytesize.Format(b.Content), b.Ratio, b.Inodes)
	} else {
		row("base", "%s, %s, %s in blocks of %s, holds %s (ratio %.2f), %d inodes", filepath.Base(b.Path), bytesize.Format(b.Size), b.Codec,
			bytesize.Format(int64(b.BlockSize)), bytesize.Format(b.Content), b.Ratio, b.Inodes)
	}
	built := "built " + b.Built.Format("2006-01-02 15:04:05 UTC")
	if s.HasVIDs {
		built += ", version id " + orNone(b.VID)
	}
	row("", "%s", built)
	for _, path := range b.Below {
		row("", "together with %s", filepath.Base(path))
	}
	if b.Inner != "" {
		row("", "the system is in %s, %s", b.Inner, bytesize.Format(b.InnerSize))
	}
	a.printInUse(b.InUse)
	if o := s.Overlay; o == nil {
		row("overlay", "none")
	} else {
		a.printOverlay(row, s, o)
		if w := s.Where; w != nil {
			row("", "in %s: %s", w.Path, w.Source)
		}
		for _, text := range o.Kept {
			row("", "%s", text)
		}
		if t := &o.Changes; t.Sum() == 0 {
			row("", "changes nothing")
		} else {
			row("", "%d added, %d changed, %d metadata only, %d replaced by another type, %d deleted; %s of content",
				t.Added, t.Content, t.Metadata, t.Replaced, t.Deleted, bytesize.Format(t.AddedBytes))
		}
		a.printInUse(o.InUse)
	}
	if h := s.Home; h != nil {
		row("home", "%s, %s, %s of %s used (%.0f %%), journal %s", filepath.Base(h.Path), h.FileSystem, bytesize.Format(h.UsedBytes),
			bytesize.Format(h.Capacity), h.UsedPercent, journalState(h))
		a.printInUse(h.InUse)
	} else if s.HomesDir != "" {
		row("home", "the directory %s", s.HomesDir)
	}
	for i, l := range s.Leftovers {
		name := ""
		if i == 0 {
			name = "leftovers"
		}
		row(name, "%s, %s: %s", l.Name, bytesize.Format(l.Bytes), l.Means)
	}
	if s.Host.FileSystem != "" {
		row("disk", "%s free on %s", bytesize.Format(s.Host.Free), s.Host.FileSystem)
	}
	if c := s.Compact; c != nil {
		if c.Nothing != "" {
			row("compact", "nothing to fold in: %s", c.Nothing)
		} else if c.Refused != "" {
			row("compact", "refused as things stand: %s", strings.TrimPrefix(c.Refused, s.Dir+": "))
			if c.Hint != "" {
				row("", "hint: %s", c.Hint)
			}
		} else {
			row("compact", "would copy %s, compress %s, and needs about %s", bytesize.Format(c.Copy), bytesize.Format(c.Compress),
				bytesize.Format(c.Need))
		}
	}
	for _, w := range s.Warnings {
		a.warn("%s", w)
	}
}

// printOverlay prints the rows on where the overlay is and how full.
func (a *app) printOverlay(row func(name, format string, args ...any), s *status.Status, o *status.OverlayStatus) {
	name := filepath.Base(o.Path)
	switch d := o.COW; {
	case d != nil:
		row("overlay", "%s, device-mapper snapshot, chunks of %s, status %s", name, bytesize.Format(d.ChunkBytes), d.Status)
		if d.State == dmmerge.Invalid || d.State == dmmerge.Unloadable {
			row("", "%s: the kernel reads nothing from it", d.State)
		} else {
			row("", "%s of %s left before it overflows", bytesize.Format(int64(d.BytesLeft)), bytesize.Format(o.Size))
		}
		row("", "merged: %s, %s of %s used (%.0f %%), %d of %d inodes, journal %s", o.FileSystem, bytesize.Format(o.UsedBytes),
			bytesize.Format(o.Capacity), o.UsedPercent,
			o.UsedInodes, o.Inodes, journalState(&o.ImageStatus))
	case o.Inodes == 0:
		where := "a directory"
		if o.FileSystem != "" {
			where += " on " + o.FileSystem
		}
		row("overlay", "%s, %s, %s, %s", name, o.Form, where, bytesize.Format(o.UsedBytes))
	default:
		row("overlay", "%s, %s on %s, %s of %s used (%.0f %%), %d of %d inodes", name, o.Form, o.FileSystem,
			bytesize.Format(o.UsedBytes), bytesize.Format(o.Capacity), o.UsedPercent, o.UsedInodes, o.Inodes)
		words := "journal " + journalState(&o.ImageStatus)
		if s.HasVIDs {
			words += "; version id " + orNone(o.VID) + " (" + vidWords(o.VIDState) + ")"
		}
		row("", "%s", words)
	}
}

func (a *app) printInUse(why string) {
	if why != "" {
		a.printf("%-12s in use: %s\n", "", why)
	}
}

func journalState(s *live.ImageStatus) string {
	switch {
	case s.JournalPending:
		return "to be replayed"
	case s.Clean:
		return "clean"
	}
	return "not clean"
}

func vidWords(s live.VIDState) string {
	switch s {
	case live.VIDMatch:
		return "matches"
	case live.VIDUnstamped:
		return "none yet, rootfs is empty"
	case live.VIDNone:
		return "neither has one"
	case live.VIDMissing:
		return "missing: a boot ignores rootfs"
	case live.VIDBaseMissing:
		return "linuxfs has none: a boot ignores rootfs"
	}
	return "does not match: a boot ignores rootfs"
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
