package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"relive/remaster/bytesize"
	"relive/remaster/isoedit"
)

// isoRebuildFlags are the flags of iso rebuild.
type isoRebuildFlags struct {
	o            isoedit.RebuildOptions
	replace, add []string
	implant      bool
	dryRun       bool
}

func (a *app) isoRebuildCommand() *cobra.Command {
	var f isoRebuildFlags
	c := &cobra.Command{
		Use:   "rebuild IN -o OUT",
		Short: "write an image anew, with changes, so that it boots as before",
		Long: `Writes an image like IN with other files, kernel arguments or another name of the
volume. Boot catalogue, MBR, partition tables and appended partitions are kept,
and what refers to places in the image is set to the new ones. What cannot be
kept is told.

PATH is a path of the image; --remove also takes a shell pattern. Lists of sums
in the image (linuxfs.md5, md5sum.txt) follow what is replaced. --add-arg,
--remove-arg and --volid change the menus of ISOLINUX, GRUB and systemd-boot in
the image and in its EFI images.

The new image is read back and compared before it takes its name.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.o.Output == "" {
				return usageError{errors.New("give the new image with -o OUT")}
			}
			if c.Flags().Changed("volid") && f.o.VolumeID == "" {
				return usageError{errors.New("--volid: a volume without a name is not found by any boot menu")}
			}
			if c.Flags().Changed("implant-md5") {
				f.o.ImplantMD5 = &f.implant
			}
			for _, list := range []struct {
				flag string
				in   []string
				out  *[]isoedit.Graft
			}{{"--replace", f.replace, &f.o.Replace}, {"--add", f.add, &f.o.Add}} {
				for _, s := range list.in {
					g, err := isoedit.ParseGraft(s)
					if err != nil {
						return usageError{errors.New(list.flag + " " + err.Error())}
					}
					*list.out = append(*list.out, g)
				}
			}
			return a.isoRebuild(c, args[0], &f)
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.o.Output, "output", "o", "", "the new image")
	fl.BoolVar(&f.o.Force, "force", false, "replace OUT")
	fl.StringArrayVar(&f.replace, "replace", nil, "PATH=FILE: put FILE in the place of a file of the image")
	fl.StringArrayVar(&f.add, "add", nil, "PATH=FILE|DIR: put a file, or all of a directory, into the image")
	fl.StringArrayVar(&f.o.Remove, "remove", nil, "PATH: leave this out, with all below it")
	fl.StringArrayVar(&f.o.AddArgs, "add-arg", nil, "give every boot entry this kernel argument")
	fl.StringArrayVar(&f.o.RemoveArgs, "remove-arg", nil,
		"take this kernel argument from every boot entry: NAME (with any value), NAME=VALUE, or a pattern with *")
	fl.StringVar(&f.o.VolumeID, "volid", "", "name the volume, and set the menus that look for it")
	fl.BoolVar(&f.implant, "implant-md5", false, "put in the sum that checkisomd5 verifies (default: as IN has it)")
	fl.BoolVar(&f.dryRun, "dry-run", false, "show the plan, write nothing")
	return c
}

func (a *app) isoRebuild(c *cobra.Command, in string, f *isoRebuildFlags) error {
	e, err := a.env()
	if err != nil {
		return err
	}
	p, err := isoedit.NewRebuild(c.Context(), e, in, f.o)
	if err != nil {
		return err
	}
	defer p.Close()
	s := &p.Summary
	if f.dryRun {
		if a.json {
			err = a.printJSON(s)
		} else {
			a.printRebuild(s)
			for _, l := range s.Menus {
				if l.Left == "" {
					a.printf("%s:%d\n  - %q\n  + %q\n", l.File, l.Line, l.Before, l.After)
				}
			}
		}
		if err != nil {
			return err
		}
		return a.showWarnings(s.Warnings, errWarned)
	}
	if !a.json {
		a.printRebuild(s)
	}
	res, err := p.Run(c.Context())
	if err != nil {
		return err
	}
	if a.json {
		if err := a.printJSON(res); err != nil {
			return err
		}
	} else {
		a.printf("%s: %s\n", res.Path, bytesize.Format(res.Size))
	}
	return a.showWarnings(s.Warnings, errWarned)
}

func (a *app) printRebuild(s *isoedit.RebuildSummary) {
	line := func(what, text string) { a.printf("%-12s %s\n", what, text) }
	line("image", s.Input+", "+bytesize.Format(s.InputSize)+"; new: "+s.Output+", "+bytesize.Format(s.Size))
	volume := s.VolumeID
	if s.OldVolumeID != s.VolumeID {
		volume = s.OldVolumeID + " -> " + volume
	}
	line("volume", volume)
	for _, b := range s.Boot {
		line("boot", b)
	}
	for _, ch := range s.Changes {
		text := ch.Path
		if ch.Detail != "" {
			text += ": " + ch.Detail
		}
		line(ch.What, text)
	}
	if s.ImplantMD5 {
		line("implants", "the MD5 sum that checkisomd5 verifies")
	}
	if len(s.Left) > 0 {
		line("leaves out", strings.Join(s.Left, "; "))
	}
}
