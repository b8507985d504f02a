package iso

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// ImplantMD5 writes, byte for byte, what implantisomd5 writes, and checkisomd5
// accepts it.
func TestImplantMD5(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso", "implantisomd5", "checkisomd5")
	for _, kib := range []int{700, 1500, 9000} {
		for _, supported := range []bool{false, true} {
			file := md5Image(t, kib)
			args := []string{"-f", file}
			if supported {
				args = append(args, "-S")
			}
			systest.Run(t, "implantisomd5", args...)
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(file, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(bytes.Repeat([]byte("x"), vdAppUseSize), systemSectors*sectorSize+vdAppUse); err != nil {
				t.Fatal(err)
			}
			m, err := ImplantMD5(t.Context(), f, int64(len(want)), "image", supported, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d KiB: %q, not %q", kib, got[systemSectors*sectorSize+vdAppUse:][:vdAppUseSize],
					want[systemSectors*sectorSize+vdAppUse:][:vdAppUseSize])
			}
			systest.Run(t, "checkisomd5", file)
			if res, err := openFile(t, file).CheckMD5(t.Context(), nil); err != nil || !res.Pass || res.Sum != m.Sum ||
				m.Supported != supported {
				t.Errorf("%d KiB: %+v, %v", kib, res, err)
			}
		}
	}
	file, rep := writeImage(t, tree.NewDir("", 0o755), Recipe{})
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := ImplantMD5(t.Context(), f, rep.Size, "image", false, nil); err == nil ||
		!strings.Contains(err.Error(), "too small for the sums") {
		t.Error(err)
	}
}

// bootRecipe boots by ISOLINUX and EFI, from CD and disk.
func bootRecipe(t *testing.T, table DiskTable) Recipe {
	t.Helper()
	code, err := os.ReadFile("/usr/lib/ISOLINUX/isohdpfx.bin")
	if err != nil {
		t.Fatal(err)
	}
	return Recipe{
		VolumeID: "BOOTS", Catalog: "isolinux/boot.cat", Time: tree.Time{Sec: 1700000000},
		Boot: []BootImage{
			{Path: "isolinux/isolinux.bin", BootInfo: true},
			{Path: "efi.img", Platform: PlatformEFI},
		},
		Disk: &Disk{Code: code, Kind: Isohybrid, Table: table},
	}
}

// What is written to boot is what xorriso reports, and what fdisk and sgdisk
// accept.
func TestWriteBoot(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso", "fdisk", "sgdisk")
	for name, table := range map[string]DiskTable{"MBR": TableMBR, "GPT": TableGPT, "both": TableBoth} {
		for _, appended := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				dir := bootTree(t)
				r := bootRecipe(t, table)
				root := hostTree(t, dir)
				if appended {
					efi, err := root.Lookup("efi.img")
					if err != nil {
						t.Fatal(err)
					}
					r.Appended = []Partition{{Data: efi.Data, Size: efi.Size}}
					r.Boot[1] = BootImage{Appended: 1, Platform: PlatformEFI}
				}
				file, rep := writeImage(t, root, r)
				img := openFile(t, file)
				report := bootReport(t, img)
				out, err := systest.Try(t, "xorriso", "-indev", "stdio:"+file, "-report_el_torito", "plain", "-report_system_area", "plain")
				if err != nil {
					t.Fatal(out)
				}
				theirs := map[string]bool{}
				for line := range strings.Lines(out) {
					theirs[strings.Join(strings.Fields(line), " ")] = true
				}
				for line := range strings.Lines(report) {
					if l := strings.Join(strings.Fields(line), " "); !theirs[l] && !strings.HasPrefix(l, "El Torito img opts") {
						t.Errorf("xorriso does not report %q", l)
					}
				}
				c, err := img.ElTorito()
				if err != nil || len(c.Entries) != 2 || c.Record != 17 {
					t.Fatalf("%+v, %v", c, err)
				}
				if e := c.Entries[0]; e.BootInfo == nil || !e.BootInfo.Valid || e.Sectors != 4 || !e.Bootable || !e.Isohybrid {
					t.Errorf("%+v", e)
				}
				if e := c.Entries[1]; e.Platform != PlatformEFI || e.Sectors != 2880 || !e.Bootable {
					t.Errorf("%+v", e)
				}
				p := make([]byte, 1440<<10)
				if err := img.readAt(p, int64(c.Entries[1].Block)*sectorSize, "EFI image"); err != nil ||
					!bytes.Equal(p, bytes.Repeat([]byte("efi "), 1440<<8)) {
					t.Error("another EFI image", err)
				}
				a, err := img.SystemArea()
				if err != nil || a.MBR == nil || a.MBR.Code != Isohybrid || a.MBR.BootImage != c.Entries[0].Block ||
					(a.GPT != nil) != (table != TableMBR) {
					t.Errorf("%+v, %v", a, err)
				}
				if rep.Size%(1<<20) != 0 {
					t.Errorf("%d bytes", rep.Size)
				}
				list := systest.Run(t, "fdisk", "-l", file)
				switch table {
				case TableMBR:
					if !strings.Contains(list, "17 Hidden HPFS/NTFS") || !strings.Contains(list, "ef EFI") {
						t.Error(list)
					}
				case TableGPT:
					if out := systest.Run(t, "sgdisk", "-v", file); !strings.Contains(out, "No problems found") ||
						!strings.Contains(list, "EFI System") {
						t.Error(out, list)
					}
				case TableBoth:
					// sgdisk takes no disk for GPT whose MBR has other partitions, as
					// isohybrid's has. These overlap where the EFI image is a file, and do not
					// where it is appended.
					want, problems := "Problem: MBR partitions 1 and 2 overlap!", 1
					if appended {
						want, problems = "MBR partition 1, of type 0x17,", 0
					}
					if out, _ := systest.Try(t, "sgdisk", "-v", file); !strings.Contains(strings.Join(strings.Fields(out), " "), want) ||
						strings.Count(out, "Problem:") != problems {
						t.Error(out)
					}
				}
				catalog, err := rootOf(t, img).Lookup("isolinux/boot.cat")
				if err != nil || catalog == nil {
					t.Fatal(catalog, err)
				}
				if b, err := tree.ReadAll(catalog, sectorSize); err != nil || len(b) != sectorSize || b[0] != 1 || b[30] != 0x55 {
					t.Errorf("%v, %v", b[:32], err)
				}
			})
		}
	}
}

// The recipe's mistakes are errors, found before anything is written.
func TestWriteRefused(t *testing.T) {
	root := tree.NewDir("", 0o755, tree.NewFile("boot", 0o644, make([]byte, 5000)), tree.NewFile("tiny", 0o644, []byte("x")),
		tree.NewFile("empty", 0o644, nil), tree.NewDir("dir", 0o755))
	code := make([]byte, 440)
	for text, r := range map[string]Recipe{
		`the volume id "abcdefghijklmnopqrstuvwxyzabcdefg" has 33 bytes, and there is room for 32`: {
			VolumeID: "abcdefghijklmnopqrstuvwxyzabcdefg",
		},
		"/none, the boot image, is not a file of the tree": {Boot: []BootImage{{Path: "none"}}},
		"/dir, the boot image, is not a file of the tree":  {Boot: []BootImage{{Path: "dir"}}},
		"/empty: the boot image is empty":                  {Boot: []BootImage{{Path: "empty"}}},
		"/tiny: a boot image of 1 bytes cannot hold its boot information": {Boot: []BootImage{{Path: "tiny",
			BootInfo: true}}},
		"boot image 1: there is no appended partition 1": {Boot: []BootImage{{Appended: 1}}},
		"boot image 1: an appended partition has no boot information table": {Boot: []BootImage{{Appended: 1, BootInfo: true}},
			Appended: []Partition{{Data: tree.Bytes("x"), Size: 1}}},
		"boot image 1 cannot be entry 2 of the MBR": {Boot: []BootImage{{Path: "boot", Number: 2}},
			Disk: &Disk{Table: TableGPT}},
		"boot image 1 cannot be entry 1 of the MBR": {Boot: []BootImage{{Path: "boot", Number: 1}}, Disk: &Disk{}},
		"boot image 1 cannot be entry 3 of the MBR": {Boot: []BootImage{{Path: "boot", Number: 3}},
			Appended: []Partition{{Data: tree.Bytes("x"), Size: 1, Number: 3}}, Disk: &Disk{}},
		"appended partition 1 cannot be entry 5 of the MBR": {Appended: []Partition{{Data: tree.Bytes("x"), Size: 1,
			Number: 5}}, Disk: &Disk{}},
		"appended partition 1 is empty": {Boot: []BootImage{{Path: "boot"}},
			Appended: []Partition{{Data: tree.Bytes(nil)}}},
		"/boot: a boot image cannot be a late file": {Boot: []BootImage{{Path: "boot"}},
			Late: []Late{{Path: "boot", Max: 10, Write: noLate}}},
		"/late, the late file, is not a file of the tree": {Late: []Late{{Path: "late"}}},
		"/empty: the same file twice among the late ones": {Late: []Late{{Path: "empty", Write: noLate},
			{Path: "/empty", Write: noLate}}},
		"/empty: late file 1 is to have up to -1 bytes": {Late: []Late{{Path: "empty", Max: -1, Write: noLate}}},
		"/cat: the boot catalogue cannot be a late file": {Boot: []BootImage{{Path: "boot"}}, Catalog: "cat",
			Late: []Late{{Path: "cat", Write: noLate}}},
		"there is isohybrid code for the disk, and no boot image for it": {Disk: &Disk{Code: code, Kind: Isohybrid}},
		"the GRUB 2 code has 3 bytes, less than 432": {Boot: []BootImage{{Path: "boot"}},
			Disk: &Disk{Code: code[:3], Kind: GRUB2}},
		"32 boot images, of which a catalogue has 31 at most": {Boot: manyBoots(32)},
	} {
		if _, err := NewPlan(t.Context(), root, r); err == nil || err.Error() != text {
			t.Errorf("%v, not %q", err, text)
		}
	}
	if _, err := NewPlan(t.Context(), root, Recipe{Boot: manyBoots(31)}); err != nil {
		t.Error(err)
	}
	if _, err := NewPlan(t.Context(), tree.NewFile("", 0, nil), Recipe{}); err == nil {
		t.Error("a file as root")
	}
	if _, err := NewPlan(t.Context(), tree.NewDir("", 0o755, tree.NewSymlink("link", "")), Recipe{}); err == nil ||
		err.Error() != "/link: a symlink that no image can hold" {
		t.Error(err)
	}
	huge := tree.NewFile("huge", 0o644, nil)
	huge.Size = 8 << 40
	if _, err := NewPlan(t.Context(), tree.NewDir("", 0o755, huge), Recipe{}); !errors.Is(err, errTooLarge) {
		t.Error(err)
	}
	shrunk := tree.NewFile("shrunk", 0o644, []byte("abc"))
	shrunk.Size = 5
	p, err := NewPlan(t.Context(), tree.NewDir("", 0o755, shrunk), Recipe{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(systest.MemDir(t), "image.iso"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := p.Write(t.Context(), f, nil); err == nil || err.Error() != "/shrunk: holds 3 bytes, and its directory says 5" {
		t.Error(err)
	}
	p, err = NewPlan(t.Context(), root,
		Recipe{Late: []Late{{Path: "empty", Max: 9, Write: func(context.Context, io.WriterAt, int64) (int64, error) { return 10, nil }}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write(t.Context(), f, nil); err == nil ||
		err.Error() != "/empty: came to 10 bytes, and no more than 9 were allowed for" {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Write(ctx, f, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func manyBoots(n int) []BootImage {
	b := make([]BootImage, n)
	for i := range b {
		b[i] = BootImage{Path: "boot", Platform: byte(i % 2 * PlatformEFI)}
	}
	return b
}
