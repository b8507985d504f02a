package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"relive/remaster/bytesize"
	"relive/remaster/resize"
)

func (a *app) resizeCommand() *cobra.Command {
	var o resize.Options
	var overlay, home string
	var dryRun bool
	c := &cobra.Command{
		Use:   "resize DIR [--rootfs SIZE] [--homefs SIZE]",
		Short: "enlarge or shrink the images of a live directory",
		Long: `Gives the overlay and the image of homes other sizes. An ext image is made anew
with the same in it, read back and compared, and then takes the place of the old
one, which stays as .old. The overlay of a device-mapper snapshot grows where it
is; a smaller one is made of the chunks that hold something.

SIZE is a number of bytes (K, M, G and T may follow), +SIZE or -SIZE for that much
more or less, min for the least that leaves some room, or max for what the disk
has room for. Both options may be given; --overlay and --home are other names of
them, for all layouts.

An image that was sparse stays so, and one with its space set aside too.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkKeepOld(o.KeepOld); err != nil {
				return err
			}
			for _, s := range []struct {
				names [2]string
				text  string
				size  **resize.NewSize
			}{{[2]string{"rootfs", "overlay"}, overlay, &o.Overlay}, {[2]string{"homefs", "home"}, home, &o.Home}} {
				flag := s.names[0]
				if c.Flags().Changed(s.names[1]) {
					if flag = s.names[1]; c.Flags().Changed(s.names[0]) {
						return usageError{fmt.Errorf("--%s and --%s are one size", s.names[0], s.names[1])}
					}
				}
				if !c.Flags().Changed(flag) {
					continue
				}
				size, err := parseNewSize("--"+flag, s.text)
				if err != nil {
					return err
				}
				*s.size = &size
			}
			e, l, err := a.open(c.Context(), args[0], "", mustSettle.or(lookOnly, dryRun))
			if err != nil {
				return err
			}
			defer l.Close()
			plan, err := resize.New(c.Context(), e, l, o)
			if err != nil {
				return err
			}
			if dryRun {
				return a.showResize(&plan.Summary)
			}
			res, err := plan.Run(c.Context())
			if err != nil {
				return err
			}
			return a.showResized(res)
		},
	}
	fl := c.Flags()
	fl.StringVar(&overlay, "rootfs", "", "the size of the overlay")
	fl.StringVar(&overlay, "overlay", "", "alias of --rootfs")
	fl.StringVar(&home, "homefs", "", "the size of the image of homes")
	fl.StringVar(&home, "home", "", "alias of --homefs")
	fl.IntVar(&o.KeepOld, "keep-old", 1, "how many former images to keep beside the new one")
	fl.BoolVar(&dryRun, "dry-run", false, "show the plan and change nothing")
	a.setFlag(c)
	return c
}

// parseNewSize reads a size, +size, -size, min or max.
func parseNewSize(flag, text string) (s resize.NewSize, err error) {
	switch text {
	case "min":
		s.Kind = resize.SizeMin
		return s, nil
	case "max":
		s.Kind = resize.SizeMax
		return s, nil
	}
	digits, plus := strings.CutPrefix(text, "+")
	if plus {
		s.Kind = resize.SizeMore
	} else if rest, minus := strings.CutPrefix(text, "-"); minus {
		s.Kind, digits = resize.SizeLess, rest
	}
	if strings.HasPrefix(digits, "+") || strings.HasPrefix(digits, "-") {
		return s, usageError{errFlag(flag, text, "a size such as 512M, +1G, -1G, min or max")}
	}
	s.Bytes, err = sizeFlag(flag, digits)
	if err != nil {
		err = usageError{errFlag(flag, text, "a size such as 512M, +1G, -1G, min or max")}
	}
	return s, err
}

// showImages tells what becomes of each image.
func (a *app) showImages(images []resize.Image) {
	for i := range images {
		r := &images[i]
		switch r.How {
		case resize.ResizeStays:
			a.printf("%s: has %s already\n", r.Name, bytesize.Format(r.Size))
			continue
		case resize.ResizeGrow:
			a.printf("%s: %s, was %s; it grows where it is\n", r.Name, bytesize.Format(r.Size), bytesize.Format(r.OldSize))
		default:
			a.printf("%s: %s, was %s\n", r.Name, bytesize.Format(r.Size), bytesize.Format(r.OldSize))
		}
		a.printf("  %s free in it, were %s", bytesize.Format(r.Free), bytesize.Format(r.FreeOld))
		if r.Inodes > 0 {
			a.printf("; %d of %d inodes free", r.FreeInodes, r.Inodes)
		}
		a.printf("; at least %s\n", bytesize.Format(r.Least))
	}
}

func (a *app) showResize(s *resize.Summary) error {
	if a.json {
		return a.printJSON(s)
	}
	a.showImages(s.Images)
	if !s.UpToDate {
		a.printf("%s needed, %s free\n", bytesize.Format(s.Need), bytesize.Format(s.Free))
		a.printf("then:\n")
		for _, step := range s.Steps {
			a.printf("  %s\n", step)
		}
	}
	a.showNotes(s.Notes)
	return a.showWarnings(s.Warnings, nil)
}

func (a *app) showResized(r *resize.Result) error {
	s := &r.Plan
	if a.json {
		if err := a.printJSON(r); err != nil {
			return err
		}
		if len(s.Warnings) > 0 {
			return errWarned
		}
		return nil
	}
	a.showImages(s.Images)
	if !s.UpToDate {
		a.printf("in %.1f s\n", r.Seconds)
	}
	for i := range s.Images {
		if kept := s.Images[i].Kept; kept != "" {
			a.printf("the former one is kept as %s\n", kept)
		}
	}
	a.showNotes(s.Notes)
	return a.showWarnings(s.Warnings, errWarned)
}
