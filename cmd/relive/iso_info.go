package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"relive/remaster/bytesize"
	"relive/remaster/isoedit"
)

func (a *app) isoInfoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "info IMAGE",
		Short: "tell what an image is: volume, boot images, partition tables, live systems",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := openISO(args[0], "best")
			if err != nil {
				return err
			}
			defer o.Close()
			info, err := o.Info(c.Context())
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJSON(info)
			} else {
				a.printISOInfo(info)
			}
			if err != nil || len(info.Problems) == 0 {
				return err
			}
			return a.showWarnings(info.Problems, errWarned)
		},
	}
}

func (a *app) printISOInfo(i *isoedit.Info) {
	line := func(what, format string, args ...any) { a.printf("%-12s %s\n", what, fmt.Sprintf(format, args...)) }
	line("image", "%s, %s", i.Path, bytesize.Format(i.Size))
	words := []string{cmp.Or(i.VolumeID, "without a name"), bytesize.Format(i.VolumeSize)}
	if i.UUID != "" {
		words = append(words, "UUID "+i.UUID)
	}
	line("volume", "%s", strings.Join(words, ", "))
	if i.Created != "" {
		line("created", "%s", i.Created)
	}
	if i.Modified != "" && i.Modified != i.Created {
		line("modified", "%s", i.Modified)
	}
	for _, f := range []struct{ what, text string }{
		{"system", i.SystemID}, {"set", i.VolumeSetID}, {"publisher", i.Publisher},
		{"preparer", i.Preparer}, {"application", i.Application},
	} {
		if f.text != "" && f.text != i.VolumeID {
			line(f.what, "%q", f.text)
		}
	}
	var spaces []string
	if i.RockRidge {
		spaces = append(spaces, "Rock Ridge")
	}
	if i.Joliet > 0 {
		spaces = append(spaces, fmt.Sprintf("Joliet level %d", i.Joliet))
	}
	if i.UDF {
		spaces = append(spaces, "UDF, which is not read")
	}
	line("names", "%s", strings.Join(append(spaces, "plain"), ", "))
	if len(i.Boot) == 0 {
		line("boot", "no boot catalogue: firmware does not start it as a CD")
	}
	for n, b := range i.Boot {
		line(fmt.Sprintf("boot %d", n+1), "%s", bootWords(&b))
	}
	a.printISODisk(i.Disk)
	if i.ImplantedMD5 != "" {
		line("implanted", "MD5 sum %s", i.ImplantedMD5)
	}
	for _, l := range i.Lives {
		line("live system", "%s in %s: %s, %s", l.Layout, l.Dir, l.Base, bytesize.Format(l.Size))
	}
	if len(i.Lives) == 0 {
		line("live system", "none that is known")
	}
	if i.NotReplayable != "" {
		line("rebuild", "refused: %s", i.NotReplayable)
	}
	for _, l := range i.Left {
		line("rebuild", "leaves out %s", l)
	}
}

// bootWords tells of a boot image.
func bootWords(b *isoedit.Boot) string {
	where := "in sector " + fmt.Sprint(b.Sector) + ", no file"
	if b.Path != "" {
		where = b.Path
	}
	words := []string{b.Platform + ": " + where}
	if b.Emulation != "none" {
		words = append(words, "as a "+b.Emulation)
	}
	words = append(words, fmt.Sprintf("loads %d bytes", int(b.Load)*512))
	if b.BootInfo {
		words = append(words, "boot information table")
	}
	if b.Grub2 {
		words = append(words, "GRUB's address")
	}
	if !b.Bootable {
		words = append(words, "marked as not bootable")
	}
	return strings.Join(words, ", ")
}

func (a *app) printISODisk(d *isoedit.Disk) {
	if d == nil {
		a.printf("%-12s no partition table: firmware does not start it as a disk\n", "disk")
		return
	}
	if d.Code != "" {
		a.printf("%-12s MBR, code: %s, id %s\n", "disk", d.Code, d.DiskID)
	}
	table := func(what string, unit int, parts []isoedit.Partition) {
		for _, p := range parts {
			words := []string{p.Type, fmt.Sprintf("from %d", p.Start*int64(unit)), bytesize.Format(p.Blocks * int64(unit))}
			if p.Name != "" {
				words = append(words, fmt.Sprintf("%q", p.Name))
			}
			if p.Active {
				words = append(words, "active")
			}
			a.printf("%-12s %s\n", fmt.Sprintf("%s %d", what, p.Number), strings.Join(words, ", "))
		}
	}
	table("MBR", 512, d.MBR)
	table("GPT", 512, d.GPT)
	table("Apple", d.AppleBlock, d.Apple)
}
