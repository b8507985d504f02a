package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"relive/remaster/baseimage"
	"relive/remaster/verify"
)

func (a *app) verifyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify DIR|FILE",
		Short: "check an image, or all of a live directory",
		Long: `Checks a SquashFS or EROFS image: every table, every reference, and that every
block decodes; an ext image: that all of it can be read; the store of a device-mapper
snapshot: that its metadata is sound. Of a live directory it checks the base,
every file that has a sum beside it, and that the overlay and the homes can be
read from end to end.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			e, err := a.env()
			if err != nil {
				return err
			}
			st, err := os.Stat(args[0])
			if err != nil {
				return err
			}
			var results []verify.Result
			if st.IsDir() {
				if err := a.settle(c.Context(), args[0], maySettle); err != nil {
					return err
				}
				if results, err = verify.Dir(c.Context(), e, args[0], a.options()...); err != nil {
					return err
				}
			} else {
				one, err := verify.File(c.Context(), e, args[0])
				if err != nil {
					return err
				}
				results = append(results, one)
			}
			return a.showChecks(results)
		},
	}
	a.setFlag(c)
	a.placeFlags(c)
	return c
}

// countChecks counts what is damaged and what could not be checked.
func countChecks(results []verify.Result) (bad, skipped int) {
	for _, r := range results {
		switch {
		case r.Skipped != "":
			skipped++
		case !r.OK:
			bad++
		}
	}
	return bad, skipped
}

func (a *app) showChecks(results []verify.Result) error {
	bad, skipped := countChecks(results)
	if a.json {
		if err := a.printJSON(results); err != nil {
			return err
		}
	} else {
		for _, r := range results {
			if r.Skipped != "" {
				a.printf("%s: not checked: %s\n", r.Path, r.Skipped)
				continue
			}
			if r.OK {
				a.printf("%s: sound (%s)\n", r.Path, r.Detail)
				continue
			}
			words := "DAMAGED"
			if r.What == verify.CheckBoots {
				words = "MAY NOT BOOT"
			}
			a.printf("%s: %s\n", r.Path, words)
			for _, f := range r.Findings {
				a.printf("  %s\n", f)
			}
		}
	}
	if bad > 0 {
		return fmt.Errorf("%w: %d of %d checks failed", baseimage.ErrDamaged, bad, len(results))
	}
	if skipped > 0 {
		return errWarned
	}
	return nil
}
