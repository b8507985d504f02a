package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"relive/dmmerge"
	"relive/remaster/bytesize"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/tree"
	"relive/tree/hostfs"
)

func (a *app) dmResetCommand() *cobra.Command {
	var keep, force bool
	c := &cobra.Command{
		Use:   "reset COW",
		Short: "empty a COW",
		Long: `Empties a COW: all that it holds is gone, and the origin shows unchanged. The
first 64 KiB become zero, as dracut and livecd-tools leave a fresh overlay; it
takes the chunk size of the table that it is next loaded with, unless
--keep-chunk writes a header with the one that it has. A crash on the way leaves
all or nothing.

A file that holds anything else that is known, such as a file system, is refused
in any case. One whose header is zero and that has data behind it is refused but
with --force.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, size, err := openInPlace(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			if err := checkCOW(c.Context(), args[0], !force); err != nil {
				return err
			}
			kept, err := dmmerge.Reset(f, size, args[0], dmmerge.ResetOptions{KeepChunk: keep, Force: force})
			if errors.Is(err, tree.ErrCorrupt) && !force {
				return refusal.New(refusal.NeedsForce, "--force empties it all the same", "%v", err)
			}
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{"file": args[0], "size": size, "chunk_sectors": kept})
			}
			if kept == 0 {
				a.printf("%s: empty\n", args[0])
			} else {
				a.printf("%s: empty, in chunks of %s\n", args[0], bytesize.Format(int64(kept)*512))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&keep, "keep-chunk", false, "keep the chunk size")
	c.Flags().BoolVar(&force, "force", false, "empty it also where it is no COW")
	return c
}

// checkCOW is remaster.CheckCOW for a file of the host.
func checkCOW(ctx context.Context, path string, whole bool) error {
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return err
	}
	defer c.Close()
	return live.CheckCOW(ctx, c, path, whole)
}

func (a *app) dmGrowCommand() *cobra.Command {
	var size string
	var sparse bool
	c := &cobra.Command{
		Use:   "grow COW --size SIZE",
		Short: "enlarge a COW, and make it valid again",
		Long: `Makes a COW SIZE bytes long, or with +SIZE that much longer (K, M, G and T may
follow). One that was invalidated, as by an overflow, is made valid after it has
room. The space is set aside on the host's disk unless --sparse is given: a COW
with holes is invalidated when that disk is full.

What an invalidated COW shows is as after a power cut.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if size == "" {
				return usageError{errors.New("--size is missing")}
			}
			more, plus := strings.CutPrefix(size, "+")
			n, err := sizeFlag("--size", more)
			if err != nil {
				return err
			}
			f, old, err := openInPlace(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			if plus {
				n += old
			}
			if err := checkCOW(cmd.Context(), args[0], true); err != nil {
				return err
			}
			if n < old {
				return refusal.New(refusal.WrongSize, "relive dm repack --size makes a smaller one", "%s: it has %d bytes already", args[0],
					old)
			}
			c, err := dmmerge.Open(f, old, args[0])
			if err != nil {
				return err
			}
			for _, finding := range c.Findings() {
				if finding.What == dmmerge.PastEnd || finding.What == dmmerge.AtMetadata {
					return refusal.New(refusal.Damaged, "relive dm recover --size makes a sound one of what is whole", "%s: %v", args[0],
						finding)
				}
			}
			res, err := dmmerge.Grow(reserving{f, sparse}, old, n, args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(res)
			}
			a.printf("%s: %s, was %s\n", args[0], bytesize.Format(res.Size), bytesize.Format(res.OldSize))
			if res.Adjusted {
				a.printf("a chunk more than asked for, since the kernel would invalidate a COW of that size\n")
			}
			if res.Activated {
				a.printf("it is valid again\n")
			}
			if res.Cleared > 0 {
				a.printf("%d entries behind the end of the list are cleared\n", res.Cleared)
			}
			return nil
		},
	}
	c.Flags().StringVar(&size, "size", "", "how long it becomes, or +SIZE how much longer")
	c.Flags().BoolVar(&sparse, "sparse", false, "do not set the space aside on the host's disk")
	return c
}

func (a *app) dmCreateCommand() *cobra.Command {
	var size, chunk, origin string
	var sparse, force bool
	c := &cobra.Command{
		Use:   "create COW (--size SIZE | --for ORIGIN)",
		Short: "make an empty COW",
		Long: `Makes an empty COW of SIZE bytes (K, M, G and T may follow), or with --for one
that never overflows over ORIGIN. Without --chunk it is all zero and takes the
chunk size of the table that it is first loaded with, 4K for dracut and archiso.

A size at which the kernel invalidates a COW is refused. The space is set aside
on the host's disk unless --sparse is given: a COW with holes is invalidated when
that disk is full.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if (size == "") == (origin == "") {
				return usageError{errors.New("give either --size SIZE or --for ORIGIN")}
			}
			sectors, err := parseChunk(chunk)
			if err != nil {
				return err
			}
			var n int64
			if size != "" {
				n, err = sizeFlag("--size", size)
			} else {
				n, err = a.neverOverflows(c, origin, sectors)
			}
			if err != nil {
				return err
			}
			check := sectors
			if check == 0 {
				check = dmmerge.DefaultChunkSectors
			}
			if err := dmmerge.CheckSize(n, check); err != nil {
				return badSize(err)
			}
			out, err := newOutput(args[0], force, 0o600, cowKinds)
			if err != nil {
				return err
			}
			out.reserve = !sparse
			if err := out.finish(c.Context(), dmmerge.Create(out, n, sectors)); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{"file": args[0], "size": n, "chunk_sectors": sectors})
			}
			a.printf("%s: an empty COW of %s\n", args[0], bytesize.Format(n))
			return nil
		},
	}
	fl := c.Flags()
	fl.StringVar(&size, "size", "", "how long it is")
	fl.StringVar(&origin, "for", "", "as long as it must be never to overflow over this origin")
	fl.StringVar(&chunk, "chunk", "", "chunk size in bytes, such as 4K; it gets a header with it")
	fl.BoolVar(&sparse, "sparse", false, "do not set the space aside on the host's disk")
	fl.BoolVar(&force, "force", false, "replace a file of that name")
	return c
}

// neverOverflows is the size of a COW that has room for all of an origin.
func (a *app) neverOverflows(c *cobra.Command, origin string, sectors uint32) (int64, error) {
	content, err := a.openOrigin(c, origin)
	if err != nil {
		return 0, err
	}
	defer content.Close()
	if sectors == 0 {
		sectors = dmmerge.DefaultChunkSectors
	}
	n, err := dmmerge.NeverOverflowSize(content.Size(), sectors)
	if err != nil {
		return 0, err
	}
	return dmmerge.GoodSize(n, sectors)
}
