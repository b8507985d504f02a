package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"relive/remaster/bytesize"
	"relive/remaster/source"
	"relive/remaster/unmatched"
	"relive/tree"
)

// lsFlags are the flags of ls.
type lsFlags struct {
	manifest, noHash  bool
	layer, on         string
	names, self       bool
	human             bool
	long, all, deeper bool // what it does anyway, taken because people type it
}

func (a *app) lsCommand() *cobra.Command {
	var f lsFlags
	c := &cobra.Command{
		Use:   "ls SOURCE [PATH]",
		Short: "list a live directory's merged tree, an image or a directory",
		Long: `Lists all files of a source from PATH down, as ls -laR does: the merged tree of
a live directory (or with --layer its base or its overlay alone), a SquashFS or
EROFS image, an ext2/3/4 image, or a plain directory. -d lists PATH alone, -1 prints
only paths, -h sizes that people can read; -l, -a and -R change nothing.

What cannot be read has question marks in the list, and a warning says why; the
rest is listed, and the exit code is 3.

With --manifest each file is one line of JSON in a canonical form, with the
SHA-256 sum of its content, so that two trees can be compared with diff.`,
		Args: f.args(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return a.ls(c.Context(), args, &f)
		},
	}
	f.add(c)
	fl := c.Flags()
	fl.BoolVarP(&f.self, "directory", "d", false, "PATH itself, and nothing below it")
	onFlag(c, &f.on)
	a.setFlag(c)
	a.placeFlags(c)
	fl.StringVar(&f.layer, "layer", "", "of a live directory: merged (default), base or overlay")
	return c
}

// add adds the flags of all that lists.
func (f *lsFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.BoolVar(&f.manifest, "manifest", false, "one canonical line of JSON for each file")
	fl.BoolVar(&f.noHash, "no-hash", false, "manifest without sums of contents")
	fl.BoolVarP(&f.names, "one", "1", false, "only paths, one a line")
	fl.BoolVarP(&f.human, "human-readable", "h", false, "sizes with units")
	fl.BoolVarP(&f.long, "long", "l", false, "type, mode, owner, size and time, as always")
	fl.BoolVarP(&f.all, "all", "a", false, "also names that begin with a dot, as always")
	fl.BoolVarP(&f.deeper, "recursive", "R", false, "also what is below directories, as always")
	fl.Bool("help", false, "this text") // -h is taken
	c.MarkFlagsMutuallyExclusive("manifest", "one")
}

// args takes so many arguments, most of them -1 for any number, and none with -h:
// who types that alone asks for help.
func (f *lsFlags) args(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case f.human && len(args) == 0:
			return nil
		case most < 0:
			return cobra.MinimumNArgs(least)(c, args)
		}
		return cobra.RangeArgs(least, most)(c, args)
	}
}

func (a *app) ls(ctx context.Context, args []string, f *lsFlags) error {
	if !slices.Contains([]string{"", "merged", "base", "overlay"}, f.layer) {
		return usageError{errFlag("--layer", f.layer, "merged, base or overlay")}
	}
	e, err := a.env()
	if err != nil {
		return err
	}
	root, closer, err := source.Open(ctx, e, args[0], f.layer, f.on, a.options()...)
	if err != nil {
		return err
	}
	defer closer.Close()
	var at string
	if len(args) > 1 {
		at = strings.Trim(path.Clean("/"+args[1]), "/")
		n, err := root.Lookup(args[1])
		if err != nil {
			return fmt.Errorf("%s: %s: %w", args[0], tree.Quote(args[1]), err)
		}
		if n == nil {
			return unmatched.NoSuchPath(args[0], args[1], root)
		}
		root = n
	}
	var unreadable tree.Unreadable
	if f.manifest {
		a.endProgress()
		err = tree.WriteManifest(ctx, a.stdout, root, tree.ManifestOptions{NoHash: f.noHash, Bad: unreadable.Add})
	} else {
		err = a.list(ctx, at, root, f, &unreadable)
	}
	if err != nil {
		return err
	}
	return a.showWarnings(unreadable.Warnings(), errWarned)
}

// list prints a tree as ls -l does. at is the path of its root: what is below a
// directory has its path from there, as in a manifest.
func (a *app) list(ctx context.Context, at string, root *tree.Node, f *lsFlags, unreadable *tree.Unreadable) error {
	out := bufio.NewWriterSize(a.stdout, 64<<10)
	defer out.Flush()
	shown := at
	if root.Type == tree.Directory && !f.self {
		shown = ""
	}
	name := func(below string) string { return tree.Quote(strings.Trim(shown+"/"+below, "/")) }
	return tree.WalkReadable(ctx, root, func(below string, n *tree.Node) error {
		if err := f.line(out, name(below), n); err != nil {
			return err
		}
		if f.self {
			return tree.SkipDir
		}
		return nil
	}, func(below string, err error) error {
		if below != "" && f.names {
			fmt.Fprintln(out, name(below))
		} else if below != "" {
			fmt.Fprintf(out, "%s %5s:%-5s %12s %-19s %s\n", "??????????", "?", "?", "?", "?", name(below))
		}
		return unreadable.Add(strings.Trim(at+"/"+below, "/"), err)
	})
}

// line prints a node.
func (f *lsFlags) line(out io.Writer, name string, n *tree.Node) error {
	if f.names {
		_, err := fmt.Fprintln(out, name)
		return err
	}
	size := fmt.Sprint(n.Size)
	switch {
	case n.Type == tree.BlockDevice || n.Type == tree.CharDevice:
		size = fmt.Sprintf("%d,%d", n.Rdev.Major, n.Rdev.Minor)
	case f.human:
		size = bytesize.Format(n.Size)
	}
	link := ""
	if n.Type == tree.Symlink {
		link = " -> " + n.Target
	}
	_, err := fmt.Fprintf(out, "%s %5d:%-5d %12s %s %s%s\n", modeString(n), n.UID, n.GID, size,
		n.Mtime.Time().Format(time.DateTime), name, link)
	return err
}

// modeString shows type and permissions as ls does.
func modeString(n *tree.Node) string {
	letters := map[tree.Type]byte{tree.Regular: '-', tree.Directory: 'd', tree.Symlink: 'l', tree.BlockDevice: 'b', tree.CharDevice: 'c',
		tree.FIFO: 'p', tree.Socket: 's'}
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
