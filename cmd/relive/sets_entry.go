package main

import (
	"github.com/spf13/cobra"

	"relive/remaster/sets"
	"relive/tree"
)

// escaped shows a path of a tree.
func escaped(path string) string { return "/" + tree.Escape(path) }

func (a *app) setEntryCommand() *cobra.Command {
	var o sets.EntryOptions
	var kind string
	c := &cobra.Command{
		Use:   "entry DIR NAME",
		Short: "print a boot entry for a set, or put it into a menu",
		Long: `Makes a boot entry for a set of antiX or MX: that of the medium's own menu for
this live directory, with pdir= and the arguments that go with it. It is printed,
or with --write-entry put behind the entries of a menu, of which every other byte
stays; what is there already is not put in twice.

The kind grub.entry is that of a frugal install, which finds its volume by itself.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			o.Kind = sets.EntryKind(kind)
			e, err := sets.NewEntry(c.Context(), args[0], args[1], o)
			if err != nil {
				return err
			}
			if err := e.Write(); err != nil {
				return err
			}
			switch {
			case a.json:
				err = a.printJSON(e)
			case e.File == "":
				a.printf("%s", e.Text)
			case e.Present:
				a.printf("%s: has the entry already: %s\n", e.File, e.Title)
			default:
				a.printf("%s: has the new entry: %s\n", e.File, e.Title)
			}
			if err != nil {
				return err
			}
			return a.showWarnings(e.Warnings, errWarned)
		},
	}
	c.Flags().StringVar(&kind, "kind", "", "grub, syslinux or grub.entry (default that of the menu)")
	c.Flags().StringVar(&o.File, "write-entry", "", "the menu to put the entry into")
	c.Flags().StringVar(&o.Title, "title", "", "the entry's title (default the medium's with the set's name)")
	c.Flags().StringVar(&o.Mode, "mode", "",
		"persist_all, persist_root, persist_static, p_static_root or persist_home (default by what the set holds)")
	c.Flags().StringArrayVar(&o.AddArgs, "add-arg", nil, "a kernel argument to add, as puuid=UUID; may be given more than once")
	return c
}
