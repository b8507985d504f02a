package main

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"relive/remaster/live"
	"relive/remaster/swap"
)

func (a *app) recoverCommand() *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "recover DIR",
		Short: "finish or undo a run that was interrupted",
		Long: `Looks for what an interrupted run has left in a live directory. A run that was
cut off before its commit point is undone, one that was cut off later is
completed. Every other verb does the same before it begins. A run on a persistence set is found without naming it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := os.Stat(args[0]); err != nil {
				return err
			}
			found := false
			for _, dir := range live.JournalDirs(args[0]) {
				state, err := swap.Inspect(swap.OS{}, dir)
				if dir != args[0] && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) {
					continue
				}
				if err != nil {
					return err
				}
				found = found || state != nil
			}
			if !found {
				a.printf("%s: nothing was interrupted\n", args[0])
				return nil
			}
			return a.settle(c.Context(), args[0], mustSettle.or(lookOnly, dryRun))
		},
	}
	a.setFlag(c)
	a.placeFlags(c)
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only tell what was found")
	return c
}
