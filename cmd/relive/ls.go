package main

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"relive/remaster"
	"relive/tree"
)

func (a *app) lsCommand() *cobra.Command {
	var manifest, noHash bool
	var layer, on string
	c := &cobra.Command{
		Use:   "ls SOURCE [PATH]",
		Short: "list a live directory's merged tree, an image or a directory",
		Long: `Lists all files of a source from PATH down: the merged tree of a live directory
(or with --layer its base or its overlay alone), a SquashFS image, an ext2/3/4
image, or a plain directory.

With --manifest each file is one line of JSON in a canonical form, with the
SHA-256 sum of its content, so that two trees can be compared with diff.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains([]string{"", "merged", "base", "overlay"}, layer) {
				return usageError{errFlag("--layer", layer, "merged, base or overlay")}
			}
			e, err := a.env()
			if err != nil {
				return err
			}
			root, closer, err := remaster.OpenTree(c.Context(), e, args[0], layer, on, a.options()...)
			if err != nil {
				return err
			}
			defer closer.Close()
			if len(args) > 1 {
				n, err := root.Lookup(args[1])
				if err != nil {
					return err
				}
				if n == nil {
					return remaster.NoSuchPath(args[0], args[1], root)
				}
				root = n
			}
			if manifest {
				a.endProgress()
				return tree.WriteManifest(c.Context(), a.stdout, root, tree.ManifestOptions{NoHash: noHash})
			}
			return a.list(c.Context(), root)
		},
	}
	c.Flags().BoolVar(&manifest, "manifest", false, "one canonical line of JSON for each file")
	c.Flags().BoolVar(&noHash, "no-hash", false, "manifest without sums of contents")
	onFlag(c, &on)
	a.setFlag(c)
	c.Flags().StringVar(&layer, "layer", "", "of a live directory: merged (default), base or overlay")
	return c
}

// list prints a tree as ls -l does.
func (a *app) list(ctx context.Context, root *tree.Node) error {
	out := bufio.NewWriterSize(a.stdout, 64<<10)
	defer out.Flush()
	return tree.Walk(ctx, root, func(path string, n *tree.Node) error {
		size := fmt.Sprint(n.Size)
		if n.Type == tree.BlockDevice || n.Type == tree.CharDevice {
			size = fmt.Sprintf("%d,%d", n.Rdev.Major, n.Rdev.Minor)
		}
		link := ""
		if n.Type == tree.Symlink {
			link = " -> " + n.Target
		}
		_, err := fmt.Fprintf(out, "%s %5d:%-5d %12s %s %s%s\n", modeString(n), n.UID, n.GID, size,
			n.Mtime.Time().Format(time.DateTime), tree.Quote(path), link)
		return err
	})
}

// modeString shows type and permissions as ls does.
func modeString(n *tree.Node) string {
	letters := map[tree.Type]byte{tree.Regular: '-', tree.Directory: 'd', tree.Symlink: 'l', tree.BlockDevice: 'b', tree.CharDevice: 'c', tree.FIFO: 'p', tree.Socket: 's'}
	b := []byte("?rwxrwxrwx")
	b[0] = letters[n.Type]
	for i := range 9 {
		if n.Perm&(1<<(8-i)) == 0 {
			b[1+i] = '-'
		}
	}
	for _, s := range []struct {
		bit     uint16
		at      int
		with, x byte
	}{{0o4000, 3, 'S', 's'}, {0o2000, 6, 'S', 's'}, {0o1000, 9, 'T', 't'}} {
		if n.Perm&s.bit != 0 {
			if b[s.at] == 'x' {
				b[s.at] = s.x
			} else {
				b[s.at] = s.with
			}
		}
	}
	return string(b)
}
