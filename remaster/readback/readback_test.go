package readback_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"relive/codec"
	"relive/iso"
	"relive/remaster/isoedit"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/readback"
	"relive/remaster/snapshot"
	"relive/remaster/stick/fat"
	"relive/tree"
	"relive/tree/systest"
)

// faultyTemplate is an image with a bit of everything that a read-back has to look
// at: code for a disk, both partition tables, two sets of descriptors, Joliet,
// boot images with a name and without one, an appended partition.
func faultyTemplate(t testing.TB) string {
	t.Helper()
	file := func(name string, b []byte) *tree.Node {
		n := tree.NewFile(name, 0o644, b)
		n.Mtime = tree.Time{Sec: 1_700_000_000}
		return n
	}
	dir := func(name string, kids ...*tree.Node) *tree.Node { return tree.NewDir(name, 0o755, kids...) }
	menu := []byte("search --label OLD\nmenuentry 'x' {\n linux /antiX/vmlinuz quiet\n}\n")
	efi, err := fat.NewPlan(t.Context(), dir("", dir("EFI", dir("BOOT", file("BOOTX64.EFI", livetest.Noise(60, 3000)))),
		dir("boot", dir("grub", file("grub.cfg", menu)))), fat.BuildOptions{Size: 96 << 10})
	systest.Must(t, err)
	image := file("efi.img", nil)
	image.Data, image.Size = efi.Data(), efi.Size()
	long := file("a name that is so long that its record has no room for it, so that a part of it stands in a continuation area, "+
		strings.Repeat("x", 100), []byte("x"))
	root := dir("", dir("antiX", file("vmlinuz", livetest.Noise(62, 3000)), file("initrd.gz", livetest.Noise(63, 3000))),
		dir("boot", dir("grub", file("grub.cfg", menu), image)),
		dir("isolinux", file("isolinux.bin", livetest.Noise(61, 5000)),
			file("isolinux.cfg", []byte("label x\nkernel /antiX/vmlinuz\nappend quiet\n"))),
		long, tree.NewSymlink("up", "../../x"), file("md5sum.txt", []byte("0123456789abcdef0123456789abcdef  ./isolinux/isolinux.cfg\n")))
	code := livetest.Noise(64, 440)
	copy(code[64:], "isolinux.bin missing or corrupt")
	p, err := iso.NewPlan(t.Context(), root, iso.Recipe{
		VolumeID: "OLD", Catalog: "isolinux/boot.cat", Time: tree.Time{Sec: 1_700_000_000},
		Boot: []iso.BootImage{
			{Path: "isolinux/isolinux.bin", BootInfo: true}, {Path: "boot/grub/efi.img", Platform: iso.PlatformEFI},
			{Hidden: tree.Bytes(livetest.Noise(65, 3000)), Size: 3000, Section: "hidden", BootInfo: true},
		},
		Appended: []iso.Partition{{Data: tree.Bytes(livetest.Noise(66, 10000)), Size: 10000, Number: 3, Type: 0x83}},
		Disk: &iso.Disk{Code: code, Kind: iso.Isohybrid, Table: iso.TableBoth, Mountable: true,
			Area: append(make([]byte, 30000), livetest.Noise(67, 500)...)},
	})
	systest.Must(t, err)
	path := systest.MemDir(t) + "/template.iso"
	out, err := os.Create(path)
	systest.Must(t, err)
	_, err = p.Write(t.Context(), out, nil)
	systest.Must(t, errors.Join(err, out.Close()))
	return path
}

// isoRegions returns a byte of every region of an image, by what stands there. extra
// are files whose content is looked at.
func isoRegions(t testing.TB, path string, files ...string) map[string]int64 {
	t.Helper()
	b, err := os.ReadFile(path)
	systest.Must(t, err)
	img, err := iso.Open(bytes.NewReader(b), int64(len(b)), "image")
	systest.Must(t, err)
	le := binary.LittleEndian
	sector := func(at int) int64 { return int64(le.Uint32(b[at:])) * 2048 }
	out := map[string]int64{
		"MBR: code": 100, "MBR: address": 433, "MBR: id": 441, "MBR: entry 1": 446 + 8, "MBR: entry 2": 462 + 12, "MBR: entry 3": 478 + 4,
		"MBR: signature": 510,
		"GPT: header":    512 + 60, "GPT: checksum": 512 + 16, "GPT: entry": 1024 + 40, "GPT: an entry that is not used": 1024 + 100*128,
		"system area": 512 + 30100, "zeros in the system area": 20000,
		"backup of the GPT: entries": int64(len(b)) - 33*512 + 128 + 33, "backup of the GPT: header": int64(len(b)) - 512 + 56,
		"last byte":                    int64(len(b)) - 1,
		"set of the partition: volume": 32*2048 + 80, "set of the partition: Joliet": 33*2048 + 41,
	}
	set := map[int]string{1: "primary descriptor", 0: "boot record", 2: "Joliet's descriptor", 255: "terminator"}
	for at := 16 * 2048; ; at += 2048 {
		kind, what := int(b[at]), set[int(b[at])]
		out[what+": version"] = int64(at) + 6
		switch kind {
		case 0:
			out[what+": catalogue"] = int64(at) + 0x47
		case 1, 2:
			for name, k := range map[string]int64{"flags": 7, "system": 9, "volume id": 41, "size": 80, "size, big-endian": 87,
				"escapes": 88, "path table's size": 132, "root": 156 + 4, "root's date": 156 + 19, "application": 574,
				"time": 830, "structure": 881, "application's part": 883 + 100, "reserved": 1500} {
				out[what+": "+name] = int64(at) + k
			}
			root := sector(at + 158)
			for name, k := range map[string]int64{
				"path table": sector(at+140) + 2, "path table, big-endian": int64(binary.BigEndian.Uint32(b[at+148:]))*2048 + 5,
				"root: itself": root + 2, "root: parent": root + int64(b[root]) + 10,
			} {
				out[what+": "+name] = k
			}
			record := root + int64(b[root]) + int64(b[root+int64(b[root])])
			for name, k := range map[string]int64{"extent": 2, "extent, big-endian": 9, "size": 10, "date": 20, "flags": 25, "volume": 28,
				"name": 34} {
				out[what+": record: "+name] = record + k
			}
		}
		if kind == 255 {
			break
		}
	}
	find := func(what, text string, plus int) {
		i := bytes.Index(b, []byte(text))
		if i < 0 {
			t.Fatalf("there is no %s", what)
		}
		out["Rock Ridge: "+what] = int64(i + plus)
	}
	find("mode", "PX\x2c\x01", 5)
	find("mode, big-endian", "PX\x2c\x01", 11)
	find("name", "NM", 7)
	find("time", "TF\x0c\x01", 6)
	find("target", "SL", 6)
	find("extensions", "ER", 20)
	find("continuation", "CE\x1c\x01", 4)
	find("continued name", "xxxxxxxx", 3)
	cat, err := img.ElTorito()
	systest.Must(t, err)
	c := int64(cat.Catalog) * 2048
	for name, k := range map[string]int64{"id": 4, "checksum": 28, "default entry": 32, "sectors": 38, "block": 40, "section": 64,
		"section's entry": 104, "section's name": 132, "rest": 500} {
		out["boot catalogue: "+name] = c + k
	}
	for i, e := range cat.Entries {
		at := int64(e.Block) * 2048
		out[fmt.Sprintf("boot image %d", i+1)], out[fmt.Sprintf("boot image %d: beginning", i+1)] = at+2500, at
		if e.BootInfo != nil {
			out[fmt.Sprintf("boot image %d: table", i+1)], out[fmt.Sprintf("boot image %d: checksum",
				i+1)], out[fmt.Sprintf("boot image %d: rest of the table", i+1)] = at+12, at+21, at+40
		}
	}
	root, err := img.Root()
	systest.Must(t, err)
	for _, f := range files {
		n, err := root.Lookup(f)
		if err != nil || n == nil {
			t.Fatal(f, err)
		}
		e, _ := iso.Extents(n)
		out[f], out[f+": end"] = e[0].Offset+e[0].Length/2, e[0].Offset+e[0].Length-1
		if e[0].Length%2048 != 0 {
			out[f+": behind it"] = (e[0].Offset + e[0].Length) | 2047
		}
	}
	a, err := img.SystemArea()
	systest.Must(t, err)
	for _, p := range a.MBR.Partitions {
		if p.Type == 0x83 {
			at := int64(p.Start) * 512
			out["appended partition"], out["before the appended partition"], out["behind the appended partition"] = at+5000, at-1,
				at+int64(p.Sectors)*512+100
		}
	}
	return out
}

// flipAt returns a Progress that changes a byte of a file when all of it is written
// and before it is read back.
func flipAt(t testing.TB, path string, at int64) livetest.Phases {
	return func(name string) {
		if name != "syncing" {
			return
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		systest.Must(t, err)
		defer f.Close()
		var b [1]byte
		_, err = f.ReadAt(b[:], at)
		systest.Must(t, err)
		b[0] ^= 0x10
		_, err = f.WriteAt(b[:], at)
		systest.Must(t, err)
	}
}

// mustFind has an ISO written again and again, with one byte of it changed before
// it is read back, and checks that this is found.
func mustFind(t *testing.T, out string, places map[string]int64, write func(e *job.Env) error) {
	t.Helper()
	for _, what := range slices.Sorted(maps.Keys(places)) {
		e := livetest.Env(t, codec.Auto)
		e.Progress = flipAt(t, out+".relive-part", places[what])
		err := write(e)
		if !errors.Is(err, readback.Err) && !errors.Is(err, tree.ErrCorrupt) {
			t.Errorf("%s, byte %d: %v", what, places[what], err)
		}
		for _, name := range []string{out, out + ".relive-part"} {
			if _, err := os.Stat(name); err == nil {
				t.Errorf("%s: there is %s", what, name)
				systest.Must(t, os.Remove(name))
			}
		}
	}
}

// TestRebuildReadBack: a byte that differs in any region of the new image is found
// before it gets its name.
func TestRebuildReadBack(t *testing.T) {
	t.Parallel()
	in, out := faultyTemplate(t), systest.MemDir(t)+"/out.iso"
	implant := false
	o := isoedit.RebuildOptions{Output: out, AddArgs: []string{"toram"}, VolumeID: "NEW", ImplantMD5: &implant}
	write := func(e *job.Env) error {
		p, err := isoedit.NewRebuild(t.Context(), e, in, o)
		systest.Must(t, err)
		defer p.Close()
		_, err = p.Run(t.Context())
		return err
	}
	systest.Must(t, write(livetest.Env(t, codec.Auto)))
	places := isoRegions(t, out, "antiX/vmlinuz", "boot/grub/grub.cfg", "isolinux/isolinux.cfg", "md5sum.txt")
	systest.Must(t, os.Remove(out))
	mustFind(t, out, places, write)
}

// TestISOReadBack: the same of a snapshot, whose system is made while the ISO is
// written.
func TestISOReadBack(t *testing.T) {
	t.Parallel()
	template, out := faultyTemplate(t), systest.MemDir(t)+"/out.iso"
	base := tree.NewDir("", 0o755, tree.NewDir("etc", 0o755, tree.NewFile("os-release", 0o644, []byte("ID=test\n"))),
		tree.NewDir("usr", 0o755, tree.NewFile("big", 0o644, livetest.Noise(70, 300_000))))
	l := livetest.Craft(t, base, nil, livetest.LikeMksquashfs(codec.Gzip, 128<<10))
	o := snapshot.Options{Output: out, Template: template, NoDefaultExcludes: true, ImplantMD5: true, Force: true}
	write := func(e *job.Env) error {
		live, err := live.Open(t.Context(), e, l.Dir)
		systest.Must(t, err)
		defer live.Close()
		p, err := snapshot.New(t.Context(), e, live, o)
		systest.Must(t, err)
		defer p.Close()
		_, err = p.Run(t.Context())
		return err
	}
	systest.Must(t, write(livetest.Env(t, codec.Auto)))
	places := isoRegions(t, out, "antiX/vmlinuz", "boot/grub/grub.cfg", "isolinux/isolinux.cfg", "md5sum.txt", "antiX/linuxfs",
		"antiX/linuxfs.md5")
	systest.Must(t, os.Remove(out))
	mustFind(t, out, places, write)
}
