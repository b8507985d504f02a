package main

import (
	"github.com/spf13/cobra"

	"relive/remaster/swap"
)

func (a *app) recoverCommand() *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "recover DIR",
		Short: "finish or undo a run that was interrupted",
		Long: `Looks for what an interrupted run has left in a live directory. Before its
commit point a run is undone, after it finished. Every other verb does the same
before it begins.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			state, err := swap.Inspect(swap.OS{}, args[0])
			if err != nil {
				return err
			}
			if state == nil {
				a.printf("%s: nothing was interrupted\n", args[0])
				return nil
			}
			return a.settle(c.Context(), args[0], mustSettle.or(lookOnly, dryRun))
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only tell what was found")
	return c
}
