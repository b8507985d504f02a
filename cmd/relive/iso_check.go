package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"relive/remaster/baseimage"
	"relive/remaster/isoedit"
	"relive/remaster/verify"
)

func (a *app) isoCheckCommand() *cobra.Command {
	var quick bool
	c := &cobra.Command{
		Use:   "check IMAGE",
		Short: "check an image: its structure, what makes it boot, its sums",
		Long: `Checks that every directory can be read and that all files lie in the image; the
boot catalogue, the boot images' tables and the EFI image; the partition tables'
checksums; the sum that implantisomd5 left, as checkisomd5 does; every list of sums
in the image (linuxfs.md5, md5sum.txt); and the sums that stand beside it
(IMAGE.md5, IMAGE.sha256, SHA256SUMS).

Signatures are not verified.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			e, err := a.env()
			if err != nil {
				return err
			}
			results, err := isoedit.Check(c.Context(), e, args[0], quick)
			if err != nil {
				return err
			}
			return a.showISOChecks(args[0], results)
		},
	}
	c.Flags().BoolVar(&quick, "quick", false, "leave out the sums, for which all of the image is read")
	return c
}

func (a *app) showISOChecks(path string, results []verify.Result) error {
	bad, skipped := countChecks(results)
	if a.json {
		if err := a.printJSON(results); err != nil {
			return err
		}
	} else {
		for _, r := range results {
			switch {
			case r.Skipped != "":
				a.printf("%s: not checked: %s\n", r.What, r.Skipped)
			case !r.OK:
				a.printf("%s: DAMAGED\n", r.What)
			case r.Detail == "none is implanted":
				a.printf("%s: none\n", r.What)
			default:
				a.printf("%s: sound (%s)\n", r.What, r.Detail)
			}
			for _, f := range r.Findings {
				a.printf("  %s\n", f)
			}
		}
	}
	if bad > 0 {
		return fmt.Errorf("%s: %w: %d of %d checks failed", path, baseimage.ErrDamaged, bad, len(results))
	}
	if skipped > 0 {
		return errWarned
	}
	return nil
}
