package iso

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree/systest"
)

// bootTree makes a directory with what boots: ISOLINUX, an EFI image, data.
func bootTree(t *testing.T) string {
	t.Helper()
	dir := systest.MemDir(t)
	isolinux, err := os.ReadFile("/usr/lib/ISOLINUX/isolinux.bin")
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string][]byte{
		"isolinux/isolinux.bin": isolinux,
		"isolinux/isolinux.cfg": []byte("default live\n"),
		"efi.img":               bytes.Repeat([]byte("efi "), 1440<<8),
		"live/data":             bytes.Repeat([]byte("data"), 100000),
	} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), p, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var isolinuxArgs = []string{"-c", "isolinux/boot.cat", "-b", "isolinux/isolinux.bin", "-no-emul-boot", "-boot-load-size", "4",
	"-boot-info-table"}

// bootReport shows a catalogue and a system area in the lines of xorriso's
// -report_el_torito plain and -report_system_area plain.
func bootReport(t *testing.T, img *Image) string {
	t.Helper()
	var b strings.Builder
	c, err := img.ElTorito()
	if err != nil {
		t.Fatal(err)
	}
	if c != nil {
		platforms := map[uint8]string{PlatformBIOS: "BIOS", PlatformEFI: "UEFI", PlatformPowerPC: "PPC", PlatformMac: "Mac"}
		var blocks []uint32
		for i, e := range c.Entries {
			blocks = append(blocks, e.Block)
			yes := map[bool]string{true: "y", false: "n"}[e.Bootable]
			emulation := []string{"none", "fd1.2", "fd1.4", "fd2.8", "hd"}[e.Emulation]
			fmt.Fprintf(&b, "El Torito boot img : %3d  %s  %s  %5s  0x%04x  0x%02x %6d  %10d\n", i+1, platforms[e.Platform], yes, emulation,
				e.LoadSegment, e.SystemType, e.Sectors, e.Block)
		}
		paths, err := img.PathsAt(t.Context(), append(blocks, c.Catalog)...)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "El Torito catalog  : %d  1\n", c.Catalog)
		if p := paths[c.Catalog]; p != "" {
			fmt.Fprintf(&b, "El Torito cat path : /%s\n", p)
		}
		for i, e := range c.Entries {
			if p := paths[e.Block]; p != "" {
				fmt.Fprintf(&b, "El Torito img path : %3d  /%s\n", i+1, p)
			}
			var opts []string
			if e.BootInfo != nil && e.BootInfo.Valid {
				opts = append(opts, "boot-info-table")
			}
			if e.Isohybrid {
				opts = append(opts, "isohybrid-suitable")
			}
			if e.Grub2Info {
				opts = append(opts, "grub2-boot-info")
			}
			if opts != nil {
				fmt.Fprintf(&b, "El Torito img opts : %3d  %s\n", i+1, strings.Join(opts, " "))
			}
		}
	}
	a, err := img.SystemArea()
	if err != nil {
		t.Fatal(err)
	}
	if a.MBR != nil {
		for _, p := range a.MBR.Partitions {
			status := map[bool]int{true: 0x80}[p.Active]
			fmt.Fprintf(&b, "MBR partition      : %3d   0x%02x  0x%02x %12d %12d\n", p.Number, status, p.Type, p.Start, p.Sectors)
		}
	}
	if g := a.GPT; g != nil {
		if !g.HeaderValid || !g.EntriesValid {
			t.Errorf("GPT: %+v", g)
		}
		fmt.Fprintf(&b, "GPT disk GUID      :      %x\n", g.DiskGUID[:])
		for _, p := range g.Partitions {
			fmt.Fprintf(&b, "GPT partname local : %3d  %s\n", p.Number, p.Name)
			fmt.Fprintf(&b, "GPT partition GUID : %3d  %x\n", p.Number, p.GUID[:])
			fmt.Fprintf(&b, "GPT type GUID      : %3d  %s\n", p.Number, hex.EncodeToString(p.Type[:]))
			fmt.Fprintf(&b, "GPT partition flags: %3d  0x%016x\n", p.Number, p.Flags)
			fmt.Fprintf(&b, "GPT start and size : %3d  %d  %d\n", p.Number, p.First, p.Last-p.First+1)
		}
		if b := a.BackupGPT; b == nil || !b.HeaderValid || !b.EntriesValid || b.BackupLBA != 1 || len(b.Partitions) != len(g.Partitions) {
			t.Errorf("backup GPT: %+v", b)
		}
	}
	if m := a.APM; m != nil {
		fmt.Fprintf(&b, "APM block size     :      %d\n", m.BlockSize)
		for i, p := range m.Partitions {
			if i == 0 {
				continue // the map itself, which xorriso leaves out
			}
			fmt.Fprintf(&b, "APM partition name : %3d  %s\n", i, p.Name)
			fmt.Fprintf(&b, "APM partition type : %3d  %s\n", i, p.Type)
			fmt.Fprintf(&b, "APM start and size : %3d  %d  %d\n", i, p.Start, p.Blocks)
		}
	}
	return b.String()
}

// What is read of a boot set-up is what xorriso reports of it.
func TestBootReport(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso", "grub-mkrescue", "mformat")
	hybrid := append([]string{"-isohybrid-mbr", "/usr/lib/ISOLINUX/isohdpfx.bin"}, isolinuxArgs...)
	efi := []string{"-eltorito-alt-boot", "-e", "efi.img", "-no-emul-boot"}
	for name, c := range map[string]struct {
		args []string
		code MBRCode
	}{
		"no boot":        {nil, NoCode},
		"isolinux":       {isolinuxArgs, NoCode},
		"isohybrid":      {hybrid, Isohybrid},
		"isohybrid uefi": {append(append(hybrid[:len(hybrid):len(hybrid)], efi...), "-isohybrid-gpt-basdat"), Isohybrid},
		"isohybrid apm": {append(append(hybrid[:len(hybrid):len(hybrid)], efi...), "-isohybrid-gpt-basdat", "-isohybrid-apm-hfsplus"),
			Isohybrid},
		"partition 16": {append(hybrid[:len(hybrid):len(hybrid)], "-partition_offset", "16"), Isohybrid},
		"appended gpt": {append(hybrid[:len(hybrid):len(hybrid)], "-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::",
			"-no-emul-boot", "-append_partition", "2", "0xef", "EFI", "-appended_part_as_gpt", "-partition_offset", "16"), Isohybrid},
		"appended mbr":    {append(hybrid[:len(hybrid):len(hybrid)], "-append_partition", "2", "0xef", "EFI"), Isohybrid},
		"emulated floppy": {[]string{"-b", "efi.img", "-c", "boot.cat"}, NoCode},
		"grub":            {[]string{"grub-mkrescue"}, GRUB2},
	} {
		t.Run(name, func(t *testing.T) {
			dir := bootTree(t)
			file := filepath.Join(systest.MemDir(t), "image.iso")
			if len(c.args) == 1 {
				systest.Run(t, "grub-mkrescue", "-o", file, dir)
			} else {
				args := []string{"-as", "mkisofs", "-quiet", "-R", "-J", "-o", file}
				for _, a := range c.args {
					if a == "EFI" {
						a = filepath.Join(dir, "efi.img")
					}
					args = append(args, a)
				}
				systest.Run(t, "xorriso", append(args, dir)...)
			}
			got := bootReport(t, openFile(t, file))
			report, err := systest.Try(t, "xorriso", "-indev", "stdio:"+file, "-report_el_torito", "plain", "-report_system_area", "plain")
			if err != nil {
				t.Fatal(report)
			}
			want := map[string]bool{}
			for line := range strings.Lines(report) {
				for _, p := range []string{"El Torito boot img", "El Torito catalog", "El Torito cat path", "El Torito img path",
					"El Torito img opts", "MBR partition ", "GPT disk GUID", "GPT partname local",
					"GPT partition GUID", "GPT type GUID", "GPT partition flags", "GPT start and size", "APM block size",
					"APM partition name", "APM partition type", "APM start and size"} {
					if strings.HasPrefix(line, p) && !strings.HasPrefix(line, "MBR partition table") &&
						!strings.HasPrefix(line, "MBR partition path") {
						want[strings.Join(strings.Fields(line), " ")] = true
					}
				}
			}
			for line := range strings.Lines(got) {
				line = strings.Join(strings.Fields(line), " ")
				if !want[line] {
					t.Errorf("xorriso does not report %q", line)
				}
				delete(want, line)
			}
			for line := range want {
				t.Errorf("missing: %q", line)
			}
			img := openFile(t, file)
			a, err := img.SystemArea()
			if err != nil {
				t.Fatal(err)
			}
			if c.code == NoCode && a.MBR == nil {
				return
			}
			if a.MBR == nil || a.MBR.Code != c.code {
				t.Fatalf("%+v", a.MBR)
			}
			if et, err := img.ElTorito(); c.code != NoCode && (err != nil || a.MBR.BootImage != et.Entries[0].Block) {
				t.Errorf("the MBR loads sector %d: %v", a.MBR.BootImage, err)
			}
		})
	}
}

// The texts of the volume descriptor, as given to xorriso and genisoimage.
func TestInfo(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso", "genisoimage", "blkid")
	dir := bootTree(t)
	file := filepath.Join(systest.MemDir(t), "image.iso")
	systest.Run(t, "xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-V", "My Volume", "-A", "APP 1", "-p", "PREP", "-publisher", "PUB",
		"-volset", "SET", "-sysid", "LINUX",
		"--modification-date=2024020304050607", "-o", file, dir)
	st, _ := os.Stat(file)
	got := openFile(t, file).Info()
	blkid := systest.Run(t, "blkid", "-o", "value", "-s", "UUID", file)
	if got.UUID != "2024-02-03-04-05-06-07" || got.UUID != strings.TrimSpace(blkid) {
		t.Errorf("%q, but blkid says %q", got.UUID, blkid)
	}
	if got.Modified.Sec != 1706933106 || got.Modified.Nsec != 70e6 || got.Created.Sec == 0 || got.Expires.Sec != 0 {
		t.Errorf("%+v", got)
	}
	if got.VolumeID != "My Volume" || got.Application != "APP 1" || got.Preparer != "PREP" || got.Publisher != "PUB" ||
		got.VolumeSetID != "SET" || got.SystemID != "LINUX" ||
		got.JolietVolumeID != "My Volume" || got.JolietLevel != 3 || !got.RockRidge || got.UDF || got.Enhanced || got.ElTorito ||
		got.BlockSize != 2048 ||
		got.ImageSize != st.Size() || got.VolumeSize != st.Size() || got.Names != RockRidge || len(got.Extensions) == 0 {
		t.Errorf("%+v", got)
	}
	systest.Run(t, "genisoimage", "-quiet", "-udf", "-iso-level", "4", "-V", "u", "-o", file, dir)
	if got := openFile(t, file).Info(); !got.UDF || !got.Enhanced || got.RockRidge || got.JolietLevel != 0 || got.VolumeID != "u" {
		t.Errorf("%+v", got)
	}
}
