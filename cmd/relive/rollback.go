package main

import (
	"github.com/spf13/cobra"

	"relive/remaster/rollback"
)

func (a *app) rollbackCommand() *cobra.Command {
	var dryRun, force bool
	c := &cobra.Command{
		Use:   "rollback DIR",
		Short: "restore the state before the last compaction or update",
		Long: `Does what antiX's boot option rollback does: what is live now becomes .bad,
what was kept as .old becomes live, with kernel and initrd where an update has
replaced them. It refuses where the former state is not there whole.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			e, err := a.env()
			if err != nil {
				return err
			}
			if err := a.settle(c.Context(), args[0], mustSettle.or(lookOnly, dryRun)); err != nil {
				return err
			}
			plan := rollback.New
			if force {
				plan = rollback.NewForced
			}
			p, err := plan(c.Context(), e, args[0], a.options()...)
			if err != nil {
				return err
			}
			if !dryRun {
				if err := p.Run(c.Context()); err != nil {
					return err
				}
			}
			if a.json {
				return a.printJSON(p)
			}
			if dryRun {
				for _, s := range p.Steps {
					a.printf("%s\n", s)
				}
			} else {
				a.printf("%s: the former state is back; the one before is kept as .bad\n", args[0])
			}
			return a.showWarnings(p.Warnings, nil)
		},
	}
	a.setFlag(c)
	a.placeFlags(c)
	c.Flags().BoolVar(&force, "force", false, "go back though nothing tells that an overlay on another file system was kept with the base")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "show the steps and change nothing")
	return c
}
