package iso

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// An image that xorriso or grub-mkrescue made is written again: the same tree,
// the same boot images, the same identity, in another place.
func TestReplay(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso", "grub-mkrescue", "mformat", "blkid")
	hybrid := append([]string{"-isohybrid-mbr", "/usr/lib/ISOLINUX/isohdpfx.bin"}, isolinuxArgs...)
	appended := []string{"-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot", "-append_partition", "2",
		"0xef", "EFI"}
	inTree := []string{"-eltorito-alt-boot", "-e", "efi.img", "-no-emul-boot", "-isohybrid-gpt-basdat"}
	join := func(parts ...[]string) (all []string) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for name, c := range map[string]struct {
		args []string
		left string // what is not replayed
	}{
		"no boot":        {nil, ""},
		"isolinux":       {isolinuxArgs, ""},
		"isohybrid":      {hybrid, ""},
		"isohybrid uefi": {join(hybrid, inTree), ""},
		"isohybrid apm":  {join(hybrid, inTree, []string{"-isohybrid-apm-hfsplus"}), "Apple"},
		"isohybrid mac": {join(hybrid, inTree, []string{"-isohybrid-apm-hfsplus", "-eltorito-alt-boot", "-e", "mac.img", "-no-emul-boot",
			"-isohybrid-gpt-hfsplus", "-isohybrid-apm-hfsplus"}), "Apple"},
		"appended mbr":    {join(hybrid, appended), ""},
		"appended gpt":    {join(hybrid, appended, []string{"-appended_part_as_gpt"}), ""},
		"partition 16":    {join(hybrid, appended, []string{"-appended_part_as_gpt", "-partition_offset", "16"}), ""},
		"partition cut":   {join(hybrid, inTree, []string{"-partition_offset", "16"}), ""},
		"partition mbr":   {join(hybrid, []string{"-partition_offset", "16"}), ""},
		"tree and append": {join(hybrid, inTree[:4], []string{"-append_partition", "2", "0xef", "EFI"}), ""},
		"tree, gpt, both": {join(hybrid, inTree, []string{"-partition_offset", "16", "-append_partition", "2", "0x01", "EFI"}), ""},
		"append alone":    {join(hybrid, []string{"-append_partition", "3", "0x83", "EFI"}), ""},
		"force active": {join(hybrid, appended, []string{"-appended_part_as_gpt", "-partition_offset", "16", "--mbr-force-bootable"}),
			""},
		"grub's label": {join(isolinuxArgs, []string{"--grub2-mbr", "/usr/lib/grub/i386-pc/boot_hybrid.img",
			"--protective-msdos-label"}), ""},
		"emulated floppy": {[]string{"-b", "efi.img", "-c", "boot.cat"}, ""},
		"grub":            {[]string{"grub-mkrescue"}, "HFS+"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := bootTree(t)
			if strings.Contains(name, "mac") {
				systest.CopyFile(t, filepath.Join(dir, "efi.img"), filepath.Join(dir, "mac.img"))
			}
			file := filepath.Join(systest.MemDir(t), "image.iso")
			if len(c.args) == 1 {
				systest.Run(t, "grub-mkrescue", "-o", file, dir)
			} else {
				args := []string{"-as", "mkisofs", "-quiet", "-R", "-J", "-V", "REPLAY", "-o", file}
				for _, a := range c.args {
					if a == "EFI" {
						a = filepath.Join(dir, "efi.img")
					}
					args = append(args, a)
				}
				systest.Run(t, "xorriso", append(args, dir)...)
			}
			old := openFile(t, file)
			r, left, err := old.Replay(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if (c.left == "") != (left == nil) || !strings.Contains(strings.Join(left, ", "), c.left) {
				t.Errorf("left out: %q", left)
			}
			root := rootOf(t, old)
			// Something before the boot images becomes larger, so that all move.
			var e tree.Edits
			more := tree.NewFile("", 0o644, make([]byte, 1<<20))
			e.Put("aaa", more)
			larger, err := e.Apply(root)
			if err != nil {
				t.Fatal(err)
			}
			path, _ := writeImage(t, larger, r)
			img := openFile(t, path)
			sameTree(t, mapped(larger, notBoot), mapped(rootOf(t, img), notBoot), 0)
			if a, b := systest.Run(t, "blkid", "-o", "value", "-s", "UUID", "-s", "LABEL", file),
				systest.Run(t, "blkid", "-o", "value", "-s", "UUID", "-s", "LABEL", path); a != b {
				t.Errorf("%q became %q", a, b)
			}
			sameBoot(t, old, img)
			sameMounted(t, file, path)
			// What is written can be written again, and is then the same.
			again, left, err := img.Replay(t.Context())
			if err != nil || left != nil {
				t.Fatal(left, err)
			}
			second, _ := writeImage(t, rootOf(t, img), again)
			one, _ := os.ReadFile(path)
			two, _ := os.ReadFile(second)
			if len(one) == 0 || string(one) != string(two) {
				t.Error("written again, it differs")
			}
		})
	}
}

// notBoot leaves out what is not the same in every image: boot images, which
// hold their place, and the catalogue.
func notBoot(n tree.Node) *tree.Node {
	switch n.Name {
	case "isolinux.bin", "boot.cat", "boot.catalog", "eltorito.img":
		return nil
	}
	return &n
}

// sameBoot compares the boot images of two images, and what the disk starts.
func sameBoot(t *testing.T, a, b *Image) {
	t.Helper()
	ca, err := a.ElTorito()
	if err != nil {
		t.Fatal(err)
	}
	cb, err := b.ElTorito()
	if err != nil || (ca == nil) != (cb == nil) {
		t.Fatal(cb, err)
	}
	sa, err := a.SystemArea()
	if err != nil {
		t.Fatal(err)
	}
	sb, err := b.SystemArea()
	if err != nil {
		t.Fatal(err)
	}
	if ca != nil {
		if len(ca.Entries) != len(cb.Entries) {
			t.Fatalf("%+v, %+v", ca, cb)
		}
		for i, x := range ca.Entries {
			y := cb.Entries[i]
			if x.Platform != y.Platform || x.Emulation != y.Emulation || x.LoadSegment != y.LoadSegment || x.Sectors != y.Sectors ||
				x.Isohybrid != y.Isohybrid ||
				x.Grub2Info != y.Grub2Info || (x.BootInfo == nil) != (y.BootInfo == nil) || y.BootInfo != nil &&
				(!y.BootInfo.Valid || y.BootInfo.Length != x.BootInfo.Length) || x.Block == y.Block {
				t.Errorf("entry %d: %+v, %+v", i, x, y)
			}
		}
	}
	if sa.MBR == nil {
		return
	}
	if sb.MBR == nil || sa.MBR.Code != sb.MBR.Code || sa.MBR.DiskID != 0 && sa.MBR.DiskID != sb.MBR.DiskID || sb.MBR.Code != NoCode &&
		sb.MBR.BootImage != cb.Entries[0].Block {
		t.Errorf("%+v, %+v", sa.MBR, sb.MBR)
	}
	entries := func(m *MBR) (out []MBRPartition) {
		for _, p := range m.Partitions {
			p.Start, p.Sectors = 0, 0
			out = append(out, p)
		}
		return out
	}
	if x, y := entries(sa.MBR), entries(sb.MBR); !reflect.DeepEqual(x, y) {
		t.Errorf("entries of the MBR: %+v, %+v", x, y)
	}
	// Partitions that were appended, byte for byte.
	ra, _, err := a.Replay(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rb, _, err := b.Replay(t.Context())
	if err != nil || len(ra.Appended) != len(rb.Appended) {
		t.Fatalf("%+v, %+v, %v", ra.Appended, rb.Appended, err)
	}
	for i := range ra.Appended {
		x, y := ra.Appended[i], rb.Appended[i]
		same, err := tree.SameContent(t.Context(), &tree.Node{Meta: tree.Meta{Type: tree.Regular, Size: x.Size}, Data: x.Data},
			&tree.Node{Meta: tree.Meta{Type: tree.Regular, Size: y.Size}, Data: y.Data})
		if err != nil || !same || x.Number != y.Number || x.Type != y.Type {
			t.Errorf("appended partition %d: %+v, %+v, %v", i+1, x, y, err)
		}
	}
	// The EFI partition, in every table that had it.
	if len(ca.Entries) < 2 {
		return
	}
	had, has := false, false
	for _, p := range sa.MBR.Partitions {
		had = had || p.Start == ca.Entries[1].Block*perSector
	}
	for _, p := range sb.MBR.Partitions {
		has = has || p.Start == cb.Entries[1].Block*perSector && p.Sectors == 2880
	}
	if had != has {
		t.Errorf("EFI partition in the MBR: %+v, %+v", sa.MBR, sb.MBR)
	}
	if (sa.GPT == nil) != (sb.GPT == nil) {
		t.Fatalf("%+v, %+v", sa.GPT, sb.GPT)
	}
	if sa.GPT == nil {
		return
	}
	kind := GUIDEFISystem
	for _, p := range sa.GPT.Partitions {
		if p.First == int64(ca.Entries[1].Block)*perSector {
			kind = p.Type
		}
	}
	has = false
	for _, p := range sb.GPT.Partitions {
		has = has || p.First == int64(cb.Entries[1].Block)*perSector && p.Last-p.First+1 == 2880 && p.Type == kind
	}
	if !has || !sb.GPT.HeaderValid || !sb.GPT.EntriesValid || sb.BackupGPT == nil || !sb.BackupGPT.HeaderValid {
		t.Errorf("%+v", sb.GPT)
	}
}

// sameMounted checks that the partition of the image itself shows the tree, in a
// new image where it does in the old one.
func sameMounted(t *testing.T, was, is string) {
	t.Helper()
	at := func(path string) *Image {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		part := io.NewSectionReader(f, systemSectors*sectorSize, st.Size()-systemSectors*sectorSize)
		if !Is(part, part.Size()) {
			return nil
		}
		img, err := Open(part, part.Size(), path)
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	a, b := at(was), at(is)
	if (a == nil) != (b == nil) {
		t.Fatalf("mountable: %v, %v", a != nil, b != nil)
	}
	if b == nil {
		return
	}
	whole := openFile(t, is)
	sameTree(t, rootOf(t, whole), rootOf(t, b), 0)
	if x, y := whole.Info(), b.Info(); x.VolumeSize != y.VolumeSize+systemSectors*sectorSize || x.VolumeID != y.VolumeID ||
		x.JolietLevel != y.JolietLevel {
		t.Errorf("%+v, %+v", x, y)
	}
}

// What a new image would lack in content, or could not boot, is refused by name.
func TestReplayRefused(t *testing.T) {
	for text, do := range map[string]func(e *edit){
		"image: system area: MBR: its boot code loads sector 5, which is neither a boot image nor a file": func(e *edit) {
			copy(e.p[100:], "isolinux.bin missing or corrupt")
			e.p[mbrBootImage] = 20
		},
		"image: system area: MBR: partition 3 of type 0x83 from sector 100 on is neither the image, nor its EFI image, nor appended": func(
			e *edit) {
			putMBRPartition(e.p, 3, false, 0x83, 100, 50)
		},
		"image: boot catalogue: entry 2: it has selection criteria": func(e *edit) { e.catalog()[96+12] = 1 },
		"image: boot catalogue: entry 2: the boot image in sector 15 is no file and holds zeros alone": func(e *edit) {
			clear(e.catalog()[96+6 : 96+8])
			e.catalog()[96+8] = 15
			clear(e.catalog()[96+9 : 96+12])
		},
		"image: system area: GPT: partition 1 of type 00000001-0000-0000-0000-000000000000 is neither the image, nor its EFI image, nor " +
			"appended": func(e *edit) {
			g := e.gpt()
			clear(g[:16])
			g[0] = 1
			g[32], g[40] = 80, 90
		},
	} {
		p := fixture(t, "rock")
		e := &edit{t, p, memory(t, p)}
		do(e)
		if _, _, err := memory(t, p).Replay(t.Context()); err == nil || err.Error() != text || !errors.Is(err, tree.ErrUnsupported) {
			t.Errorf("%v, not %q", err, text)
		}
	}
}

// Boot code that is not known is kept byte by byte, and told of.
func TestReplayOtherCode(t *testing.T) {
	p := fixture(t, "rock")
	code := p[:mbrDiskID]
	clear(code)
	copy(code[7:], "other code")
	img := memory(t, p)
	r, left, err := img.Replay(t.Context())
	if err != nil || len(left) != 1 || !strings.Contains(left[0], "kept as it is") {
		t.Fatal(left, err)
	}
	path, _ := writeImage(t, rootOf(t, img), r)
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got[:mbrDiskID], code) {
		t.Errorf("the code became %q, %v", got[:mbrDiskID], err)
	}
}

// gpt is the first entry of the GPT.
func (e *edit) gpt() []byte {
	return e.p[mbrSize*int(binary.LittleEndian.Uint64(e.p[mbrSize+72:])):]
}
