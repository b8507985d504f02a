package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"relive/iso"
	"relive/remaster/bytesize"
	"relive/remaster/isoedit"
	"relive/tree"
	"relive/tree/hostfs"
)

func (a *app) isoCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "iso",
		Short: "ISO images: list, extract, check, change",
		Long: `Works on ISO 9660 images, and on devices that hold one. Names are those of Rock
Ridge, else of Joliet, else the plain ones of the format.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.isoLsCommand(), a.isoCatCommand(), a.isoExtractCommand(), a.isoInfoCommand(), a.isoCheckCommand(), a.isoRebuildCommand())
	return c
}

// namesFlag adds the flag that chooses the name space.
func namesFlag(c *cobra.Command, names *string) {
	c.Flags().StringVar(names, "names", "best", "which names: rock, joliet, plain, or the best that are there")
}

// openISO opens an image by a name space.
func openISO(path, names string) (*isoedit.ISO, error) {
	space, ok := map[string]iso.Names{"best": iso.Best, "rock": iso.RockRidge, "joliet": iso.Joliet, "plain": iso.Plain}[names]
	if !ok {
		return nil, usageError{errFlag("--names", names, "rock, joliet, plain or best")}
	}
	return isoedit.Open(path, space)
}

func (a *app) isoLsCommand() *cobra.Command {
	var f lsFlags
	var names string
	c := &cobra.Command{
		Use:   "ls IMAGE [PATH...]",
		Short: "list what is in an image",
		Long: `Lists all files of an image, or those that the PATHs name, with what is below
them: mode, owner, size, time and path. A PATH may be a shell pattern.

With --manifest each file is one line of JSON in a canonical form, with the
SHA-256 sum of its content.`,
		Args: f.args(1, -1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			o, err := openISO(args[0], names)
			if err != nil {
				return err
			}
			defer o.Close()
			root, err := o.Select(c.Context(), args[1:])
			if err != nil {
				return err
			}
			var unreadable tree.Unreadable
			switch {
			case f.manifest:
				err = tree.WriteManifest(c.Context(), a.stdout, root, tree.ManifestOptions{NoHash: f.noHash, Bad: unreadable.Add})
			case a.json:
				out := []tree.Entry{}
				err = tree.Manifest(c.Context(), root, tree.ManifestOptions{NoHash: true, Bad: unreadable.Add}, func(e tree.Entry) error {
					out = append(out, e)
					return nil
				})
				if err == nil {
					err = a.printJSON(out)
				}
			default:
				err = a.list(c.Context(), "", root, &f, &unreadable)
			}
			if err != nil {
				return err
			}
			return a.showWarnings(unreadable.Warnings(), errWarned)
		},
	}
	namesFlag(c, &names)
	f.add(c)
	return c
}

func (a *app) isoCatCommand() *cobra.Command {
	var names string
	c := &cobra.Command{
		Use:   "cat IMAGE PATH...",
		Short: "print files of an image",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := openISO(args[0], names)
			if err != nil {
				return err
			}
			defer o.Close()
			// All are looked for before the first is printed.
			var files []*tree.Node
			for _, p := range args[1:] {
				n, err := isoFile(o, p)
				if err != nil {
					return err
				}
				files = append(files, n)
			}
			for i, n := range files {
				if err := copyFile(c, a.stdout, n, nil); err != nil {
					return fmt.Errorf("%s: %s: %w", args[0], tree.Quote(args[1+i]), err)
				}
			}
			return nil
		},
	}
	namesFlag(c, &names)
	return c
}

// isoFile finds a regular file of an image.
func isoFile(o *isoedit.ISO, p string) (*tree.Node, error) {
	n, err := o.Node(p)
	if err != nil {
		return nil, err
	}
	switch n.Type {
	case tree.Regular:
		return n, nil
	case tree.Symlink:
		return nil, fmt.Errorf("%s: %s: a symlink to %s", o.Path, tree.Quote(p), n.Target)
	}
	return nil, fmt.Errorf("%s: %s: not a file (%s)", o.Path, tree.Quote(p), n.Type)
}

// copyFile copies a file's content.
func copyFile(c *cobra.Command, w io.Writer, n *tree.Node, progress func(int64)) error {
	content, err := n.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	b := make([]byte, 1<<20)
	for off := int64(0); off < content.Size(); {
		if err := c.Context().Err(); err != nil {
			return err
		}
		p := b[:min(int64(len(b)), content.Size()-off)]
		if err := tree.ReadFull(content, p, off); err != nil {
			return err
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
		if off += int64(len(p)); progress != nil {
			progress(off)
		}
	}
	return nil
}

// isoExtractFlags are the flags of iso extract.
type isoExtractFlags struct {
	dir, output, names string
	force              bool
}

func (a *app) isoExtractCommand() *cobra.Command {
	var f isoExtractFlags
	c := &cobra.Command{
		Use:   "extract IMAGE [PATH...] (-C DIR | -o FILE)",
		Short: "write files of an image to a directory",
		Long: `With -C writes all of an image, or what the PATHs name, below the directory DIR,
under the paths that it has in the image. A PATH may be a shell pattern. Modes,
times, symlinks and hard links are kept; owners and devices too where relive runs
as root. No symlink is followed, neither of the image nor in DIR.

With -o writes the one file that PATH names to FILE.

Nothing that is there is replaced without --force.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if (f.dir == "") == (f.output == "") {
				return usageError{errors.New("give either -C DIR or -o FILE")}
			}
			o, err := openISO(args[0], f.names)
			if err != nil {
				return err
			}
			defer o.Close()
			if f.output != "" {
				if len(args) != 2 {
					return usageError{errors.New("-o takes one PATH")}
				}
				return a.isoExtractFile(c, o, args[1], &f)
			}
			e, err := a.env()
			if err != nil {
				return err
			}
			res, err := o.Extract(c.Context(), e, args[1:], f.dir, f.force)
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJSON(res)
			} else {
				a.printf("%s: files %d, directories %d, %s\n", res.Dir, res.Files+res.HardLinks+res.Symlinks+res.Special, res.Directories,
					bytesize.Format(res.Bytes))
			}
			if err != nil || len(res.Warnings) == 0 {
				return err
			}
			return a.showWarnings(res.Warnings, errWarned)
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.dir, "directory", "C", "", "write below this directory")
	fl.StringVarP(&f.output, "output", "o", "", "write one file to this one")
	fl.BoolVar(&f.force, "force", false, "replace files that are there")
	namesFlag(c, &f.names)
	return c
}

func (a *app) isoExtractFile(c *cobra.Command, o *isoedit.ISO, p string, f *isoExtractFlags) error {
	n, err := isoFile(o, p)
	if err != nil {
		return err
	}
	content, err := n.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(p), err)
	}
	kinds, err := kindOf(content)
	if err := errors.Join(err, content.Close()); err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(p), err)
	}
	out, err := newOutput(f.output, f.force, os.FileMode(n.Perm&0o777|0o600), kinds, o.Path)
	if err != nil {
		return err
	}
	err = copyFile(c, out, n, a.phase("extracting", n.Size))
	if err == nil {
		err = hostfs.SetTimes(unix.AT_FDCWD, out.Name(), n.Mtime)
	}
	if err := out.finish(c.Context(), err); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(map[string]any{"path": f.output, "bytes": n.Size})
	}
	a.printf("%s: %s\n", f.output, bytesize.Format(n.Size))
	return nil
}
