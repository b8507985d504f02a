package isoedit_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"relive/codec"
	"relive/iso"
	"relive/remaster/isoedit"
	"relive/remaster/livetest"
	"relive/remaster/readback"
	"relive/remaster/stick/fat"
	"relive/tree"
	"relive/tree/systest"
)

// seedISO is a small image with all that a rebuild looks at: menus, an EFI image
// as a file and again as a partition, lists of sums, links.
func seedISO(f *testing.F) []byte {
	f.Helper()
	grub := []byte("search --label OLD\nmenuentry 'x' {\n linux /live/vmlinuz root=live:CDLABEL=OLD quiet\n}\n")
	dir := func(name string, kids ...*tree.Node) *tree.Node { return tree.NewDir(name, 0o755, kids...) }
	file := func(name string, b []byte) *tree.Node { return tree.NewFile(name, 0o644, b) }
	efi, err := fat.NewPlan(f.Context(), dir("", dir("EFI", dir("BOOT", file("BOOTX64.EFI", []byte("x")))),
		dir("boot", dir("grub", file("grub.cfg", grub)))), fat.BuildOptions{Size: 96 << 10})
	systest.Must(f, err)
	image := file("efi.img", nil)
	image.Data, image.Size = efi.Data(), efi.Size()
	root := dir("", dir("boot", dir("grub", file("grub.cfg", grub), image)), dir("isolinux", file("isolinux.bin", make([]byte, 4000)),
		file("isolinux.cfg", []byte("label x\nkernel /live/vmlinuz\nappend quiet\n"))),
		dir("antiX", file("linuxfs", []byte("base")), file("linuxfs.md5", []byte("0123456789abcdef0123456789abcdef  linuxfs\n"))),
		tree.NewSymlink("up", "../../x"))
	code := make([]byte, 440)
	copy(code[64:], "isolinux.bin missing or corrupt")
	p, err := iso.NewPlan(f.Context(), root, iso.Recipe{
		VolumeID: "OLD", Catalog: "isolinux/boot.cat", Time: tree.Time{Sec: 1_700_000_000},
		Boot:     []iso.BootImage{{Path: "isolinux/isolinux.bin", BootInfo: true}, {Path: "boot/grub/efi.img", Platform: iso.PlatformEFI}},
		Appended: []iso.Partition{{Data: efi.Data(), Size: efi.Size(), Number: 2, Type: 0xEF}},
		Disk:     &iso.Disk{Code: code, Kind: iso.Isohybrid, Table: iso.TableBoth},
	})
	systest.Must(f, err)
	path := filepath.Join(f.TempDir(), "seed.iso")
	out, err := os.Create(path)
	systest.Must(f, err)
	_, err = p.Write(context.Background(), out, nil)
	systest.Must(f, errors.Join(err, out.Close()))
	b, err := os.ReadFile(path)
	systest.Must(f, err)
	return b
}

// FuzzRebuild changes bytes of an image: rebuilding it ends in an error, and
// leaves nothing, or in an image whose structure is sound.
func FuzzRebuild(f *testing.F) {
	seed := seedISO(f)
	f.Add([]byte{})
	f.Add([]byte{0x80, 0x50, 1})
	f.Add([]byte{0x00, 0x01, 9, 0x88, 0x10, 7})
	other := filepath.Join(f.TempDir(), "other")
	systest.Must(f, os.WriteFile(other, []byte("another base"), 0o644))
	f.Fuzz(func(t *testing.T, edits []byte) {
		b := bytes.Clone(seed)
		for ; len(edits) >= 3; edits = edits[3:] {
			// Where there is something: the first 128 KiB, and what else the high values
			// reach.
			at := (int(edits[0])<<8 | int(edits[1])) * 2
			if at >= 0x1e000 {
				at = at * 7 % len(b)
			}
			b[at%len(b)] ^= edits[2]
		}
		dir := systest.MemDir(t)
		in, out := filepath.Join(dir, "in.iso"), filepath.Join(dir, "out.iso")
		systest.Must(t, os.WriteFile(in, b, 0o644))
		err := func() error {
			p, err := isoedit.NewRebuild(t.Context(), livetest.Env(t, codec.Go), in, isoedit.RebuildOptions{
				Output: out, VolumeID: "NEW", AddArgs: []string{"toram"}, RemoveArgs: []string{"quiet"},
				Replace: []isoedit.Graft{{Path: "antiX/linuxfs", Source: other}},
			})
			if err != nil {
				return err
			}
			defer p.Close()
			_, err = p.Run(t.Context())
			return err
		}()
		if err != nil {
			if errors.Is(err, readback.Err) || errors.Is(err, io.EOF) {
				t.Errorf("%v", err)
			}
			if left, _ := os.ReadDir(dir); len(left) != 1 {
				t.Errorf("%v; the directory holds %v", err, left)
			}
			return
		}
		results, err := isoedit.Check(t.Context(), livetest.Env(t, codec.Go), out, true)
		systest.Must(t, err)
		for _, r := range results {
			if r.What == "structure" && !r.OK {
				t.Errorf("%q", r.Findings)
			}
		}
	})
}
