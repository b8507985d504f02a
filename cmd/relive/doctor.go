package main

import (
	"github.com/spf13/cobra"

	"relive/remaster/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	var on string
	c := &cobra.Command{
		Use:   "doctor DIR",
		Short: "look for traces of lossy saves and other ill health",
		Long: `Looks for what saves with the wrong tools leave in an overlay: marks of deleted
files that are lost, so that files of removed packages show again; lost
capabilities, ACLs and setuid bits; split hard links; files that rsync left
half-written. Also version ids that do not match, what is staged or left over,
an interrupted run, images that are nearly full or damaged.

Each finding tells how sure it is (certain, likely, possible) and what to do. Of
what was lost no trace may be left: none found does not mean none happened.
Nothing is changed. The exit code is 0 where nothing was found, 3 otherwise.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			e, l, err := a.open(c.Context(), args[0], on, lookOnly)
			if err != nil {
				return err
			}
			defer l.Close()
			d, err := doctor.Diagnose(c.Context(), e, l)
			if err != nil {
				return err
			}
			return a.showDiagnosis(d)
		},
	}
	onFlag(c, &on)
	a.setFlag(c)
	a.placeFlags(c)
	return c
}

func (a *app) showDiagnosis(d *doctor.Diagnosis) error {
	if a.json {
		if err := a.printJSON(d); err != nil {
			return err
		}
	} else {
		for _, f := range d.Findings {
			a.printf("%s (%s): %s\n", f.Confidence, f.Kind, f.Summary)
			for _, p := range f.Paths {
				a.printf("  %s\n", p)
			}
			if more := f.Count - len(f.Paths); more > 0 && len(f.Paths) > 0 {
				a.printf("  and %d more\n", more)
			}
			a.printf("  to do: %s\n", f.Action)
		}
		a.showNotes(d.Notes)
		if len(d.Findings) == 0 {
			a.printf("%s: nothing found\n", d.Dir)
		}
	}
	if len(d.Findings) > 0 {
		return errWarned
	}
	return nil
}
