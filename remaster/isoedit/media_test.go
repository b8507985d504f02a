package isoedit_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relive/iso"
	"relive/remaster/isoedit"
	"relive/remaster/livetest"
	"relive/tree/systest"
)

// loaderTree is a small tree with real boot loaders, and boot/efi.img.
func loaderTree(t testing.TB) string {
	t.Helper()
	dir := systest.MemDir(t)
	for _, d := range []string{"isolinux", "boot", "live"} {
		systest.Must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	systest.CopyFile(t, "/usr/lib/ISOLINUX/isolinux.bin", filepath.Join(dir, "isolinux/isolinux.bin"))
	systest.CopyFile(t, "/usr/lib/syslinux/modules/bios/ldlinux.c32", filepath.Join(dir, "isolinux/ldlinux.c32"))
	livetest.Write(t, filepath.Join(dir, "isolinux/isolinux.cfg"), []byte("prompt 1\n"), 0o644)
	livetest.Write(t, filepath.Join(dir, "live/data"), livetest.Noise(80, 300_000), 0o644)
	livetest.Write(t, filepath.Join(dir, "boot/memtest.img"), livetest.Noise(81, 3000), 0o644)
	efi := filepath.Join(dir, "boot/efi.img")
	systest.Run(t, "mformat", "-C", "-f", "1440", "-i", efi, "::")
	systest.Run(t, "mmd", "-i", efi, "::/EFI", "::/EFI/BOOT")
	systest.Run(t, "mcopy", "-i", efi, filepath.Join(dir, "boot/memtest.img"), "::/EFI/BOOT/BOOTX64.EFI")
	return dir
}

const (
	isolinuxBoot = " -c isolinux/boot.cat -b isolinux/isolinux.bin -no-emul-boot -boot-load-size 4 -boot-info-table"
	efiBoot      = " -eltorito-alt-boot -e boot/efi.img -no-emul-boot"
)

// made writes an image of a directory by a program's options; DIR in them is the
// directory, PART a file of 2 MiB, CODE 440 bytes of code that nobody knows.
func made(t testing.TB, program, dir, args string) string {
	t.Helper()
	at := systest.MemDir(t)
	livetest.Write(t, at+"/part", livetest.Noise(82, 2<<20), 0o644)
	code := append(livetest.Noise(83, 440), make([]byte, 72)...)
	code[510], code[511] = 0x55, 0xAA
	livetest.Write(t, at+"/code", code, 0o644)
	all := strings.Fields(program)
	for _, a := range strings.Fields(strings.NewReplacer("DIR", dir, "PART", at+"/part", "CODE", at+"/code").Replace(args)) {
		all = append(all, strings.ReplaceAll(a, "~", " "))
	}
	systest.Run(t, all[0], append(all[1:], "-o", at+"/in.iso", dir)...)
	return at + "/in.iso"
}

const (
	xorrisofs   = "xorriso -as mkisofs -quiet -r -J -V MEDIUM"
	genisoimage = "genisoimage -quiet -r -J -V MEDIUM"
)

// moved writes an image anew with a file that comes before all others, so that
// nothing stays where it was.
func moved(t testing.TB, in string, o isoedit.RebuildOptions) (string, *isoedit.RebuildSummary) {
	t.Helper()
	more := filepath.Join(systest.MemDir(t), "more")
	livetest.Write(t, more, livetest.Noise(84, 500_000), 0o644)
	o.Add = append(o.Add, isoedit.Graft{Path: "aaa", Source: more})
	return rebuild(t, in, o)
}

// report is what xorriso reports of what makes an image boot, but for places, and
// for what differs by design: geometry, the partitions between others.
func report(t testing.TB, file string) string {
	t.Helper()
	var lines []string
	kinds := map[string]string{} // of the GPT's partitions, by number
	for _, r := range []string{"-report_system_area", "-report_el_torito"} {
		for line := range strings.Lines(systest.Output(t, "xorriso", "-return_with", "FAILURE", "32", "-indev", "stdio:"+file, r,
			"plain")) {
			what, text, _ := strings.Cut(line, ":")
			f := strings.Fields(text)
			switch what = strings.TrimSpace(what); what {
			case "System area summary":
				lines = append(lines, what+": "+strings.NewReplacer(" cyl-align-on", "", " cyl-align-off",
					"").Replace(strings.Join(f, " ")))
			case "MBR partition":
				lines = append(lines, what+": "+strings.Join(f[:3], " "))
			case "MBR partition path", "El Torito cat path", "El Torito img path", "El Torito img opts", "El Torito hdsiz",
				"Partition offset":
				lines = append(lines, what+": "+strings.Join(f, " "))
			case "GPT type GUID":
				kinds[f[0]] = f[1] + " " + kinds[f[0]]
			case "GPT partname local":
				kinds[f[0]] += strings.Join(f[1:], " ")
			case "El Torito boot img":
				if f[1] == "UEFI" {
					f[6] = "" // all of the file, in units that differ
				}
				lines = append(lines, what+": "+strings.Join(f[:7], " "))
			}
		}
	}
	for number, kind := range kinds {
		if !strings.Contains(kind, "Gap") && !strings.Contains(kind, "ISO9660") {
			lines = append(lines, "GPT: "+number+" "+kind)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestRebuildMedia: what makes an image boot is the same when it is written anew,
// but for places, by what xorriso reports of both.
func TestRebuildMedia(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso", "mformat", "mmd", "mcopy")
	dir := loaderTree(t)
	for name, c := range map[string]struct{ args, left string }{
		"memtest86+": {" --grub2-mbr CODE -b boot/memtest.img -no-emul-boot -boot-load-size 4 -boot-info-table", ""},
		"hidden image for BIOS": {isolinuxBoot +
			" -isohybrid-mbr /usr/lib/ISOLINUX/isohdpfx.bin -hide DIR/isolinux/isolinux.bin -hide-joliet DIR/isolinux/isolinux.bin", ""},
		"hidden image for EFI": {isolinuxBoot + efiBoot + " -hide DIR/boot/efi.img -hide-joliet DIR/boot/efi.img", ""},
		"hidden without a table": {" -b boot/memtest.img -no-emul-boot -boot-load-size 4 -hide DIR/boot/memtest.img -hide-joliet " +
			"DIR/boot/memtest.img", ""},
		"diskette":               {" -b boot/efi.img -c boot.cat", ""},
		"nothing to load":        {" -b isolinux/isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 0", ""},
		"all to load":            {" -b isolinux/isolinux.bin -c boot.cat -no-emul-boot -boot-load-size full -boot-info-table", ""},
		"names of the catalogue": {isolinuxBoot + " -eltorito-id MAKER" + efiBoot, ""},
		"CHRP":                   {" -chrp-boot", ""},
		"two partitions appended": {isolinuxBoot +
			" -isohybrid-mbr /usr/lib/ISOLINUX/isohdpfx.bin -append_partition 3 0x83 PART -append_partition 4 0xc DIR/boot/efi.img", ""},
		"three EFI images": {isolinuxBoot + efiBoot + " -isohybrid-gpt-basdat -isohybrid-mbr /usr/lib/ISOLINUX/isohdpfx.bin " +
			"-eltorito-alt-boot -e boot/memtest.img -no-emul-boot -isohybrid-gpt-basdat", ""},
		"Alpha":      {" -alpha-boot boot/memtest.img", "DEC Alpha"},
		"MIPS":       {" -mips-boot boot/memtest.img", "MIPS"},
		"DECstation": {" -mipsel-boot isolinux/ldlinux.c32", "DECstations"},
		"SPARC":      {" -B ,", "SPARC"},
		"HP PA-RISC": {" -hppa-cmdline 0/x -hppa-bootloader boot/memtest.img -hppa-kernel-32 boot/memtest.img -hppa-kernel-64 " +
			"boot/memtest.img -hppa-ramdisk boot/memtest.img", "PA-RISC"},
	} {
		t.Run(name, func(t *testing.T) {
			in := made(t, xorrisofs, dir, c.args)
			out, s := moved(t, in, isoedit.RebuildOptions{})
			if c.left != "" {
				if len(s.Left) != 1 || !strings.Contains(s.Left[0], c.left) {
					t.Errorf("left out: %q", s.Left)
				}
				return
			}
			if len(s.Left)+len(s.Warnings) > 0 {
				t.Errorf("left out: %q, warnings: %q", s.Left, s.Warnings)
			}
			if a, b := report(t, in), report(t, out); a != b {
				t.Errorf("it was\n%s\nand is\n%s", a, b)
			}
			if again, _ := rebuild(t, out, isoedit.RebuildOptions{}); hashFile(t, again) != hashFile(t, out) {
				t.Error("written again without changes, it differs")
			}
		})
	}
}

// table reads the boot information table of the default boot image, and checks
// what ISOLINUX checks.
func table(t testing.TB, file string) *iso.BootInfo {
	t.Helper()
	img, err := isoedit.Open(file, iso.Best)
	systest.Must(t, err)
	defer img.Close()
	c, err := img.Image.ElTorito()
	systest.Must(t, err)
	if c == nil || c.Entries[0].BootInfo == nil || !c.Entries[0].BootInfo.Valid {
		t.Fatalf("%s: no sound boot information table: %+v", file, c)
	}
	return c.Entries[0].BootInfo
}

// TestRebuildNative: xorriso's native mode keeps a volume descriptor of its own for
// each session, which boot information tables name; the new image's tables are
// right, and former sessions are told of.
func TestRebuildNative(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso", "mformat", "mmd", "mcopy")
	dir := loaderTree(t)
	more := filepath.Join(systest.MemDir(t), "more")
	livetest.Write(t, more, livetest.Noise(85, 5000), 0o644)
	for name, offset := range map[string]string{"plain": "", "partition offset": " -partition_offset 16"} {
		t.Run(name, func(t *testing.T) {
			in := made(t, xorrisofs, dir, isolinuxBoot+" -isohybrid-mbr /usr/lib/ISOLINUX/isohdpfx.bin"+offset)
			native := filepath.Join(systest.MemDir(t), "native.iso")
			systest.Run(t, "xorriso", "-report_about", "WARNING", "-indev", "stdio:"+in, "-outdev", "stdio:"+native, "-map", more, "/more",
				"-boot_image", "any", "replay", "-commit")
			if table(t, native).Volume <= 16 {
				t.Fatalf("%+v", table(t, native))
			}
			out, s := moved(t, native, isoedit.RebuildOptions{})
			if b := table(t, out); b.Volume != 16 {
				t.Errorf("%+v", b)
			}
			for _, l := range s.Left {
				if !strings.Contains(l, "MD5 sums that xorriso keeps") && !strings.Contains(l, "that no file, table or catalogue names") {
					t.Errorf("left out: %q", l)
				}
			}
		})
	}
	in := made(t, xorrisofs, dir, isolinuxBoot)
	systest.Run(t, "xorriso", "-report_about", "WARNING", "-dev", "stdio:"+in, "-boot_image", "any", "keep", "-map", more, "/more",
		"-commit")
	if _, s := moved(t, in, isoedit.RebuildOptions{}); len(s.Left) == 0 || !strings.Contains(strings.Join(s.Left, " "), "former sessions") {
		t.Errorf("left out: %q", s.Left)
	}
}

// TestRebuildIsohybrid: what isohybrid makes of an image, with its partition in
// any entry and at any place in the system area.
func TestRebuildIsohybrid(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso", "isohybrid", "mformat", "mmd", "mcopy")
	dir := loaderTree(t)
	for _, o := range []string{"", "--offset 64", "--partok", "--entry 2", "--type 0x83 --offset 16", "--uefi"} {
		t.Run(o, func(t *testing.T) {
			in := made(t, xorrisofs, dir, isolinuxBoot+efiBoot)
			systest.Run(t, "isohybrid", append(strings.Fields(o), in)...)
			out, s := moved(t, in, isoedit.RebuildOptions{})
			if len(s.Left)+len(s.Warnings) > 0 {
				t.Errorf("left out: %q, warnings: %q", s.Left, s.Warnings)
			}
			a, b := areaOf(t, in), areaOf(t, out)
			if a.MBR.Code != b.MBR.Code || len(a.MBR.Partitions) != len(b.MBR.Partitions) {
				t.Fatalf("%+v, %+v", a.MBR, b.MBR)
			}
			for i, p := range a.MBR.Partitions {
				q := b.MBR.Partitions[i]
				if p.Number != q.Number || p.Type != q.Type || p.Active != q.Active || p.Start <= 64 && p.Start != q.Start {
					t.Errorf("%+v, %+v", p, q)
				}
			}
			if table(t, out); (a.GPT == nil) != (b.GPT == nil) {
				t.Errorf("%+v, %+v", a.GPT, b.GPT)
			}
		})
	}
}

func areaOf(t testing.TB, file string) *iso.SystemArea {
	t.Helper()
	img, err := isoedit.Open(file, iso.Best)
	systest.Must(t, err)
	defer img.Close()
	a, err := img.Image.SystemArea()
	systest.Must(t, err)
	return a
}

// TestRebuildSUSE: media of openSUSE have the EFI image in the first partition and,
// in the second, the image with a head of its own, so that it can be mounted; it
// can be in the new one, by the same entries.
func TestRebuildSUSE(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "genisoimage", "isohybrid", "mformat", "mmd", "mcopy")
	dir := loaderTree(t)
	livetest.Write(t, dir+"/head", append([]byte("a place for the second head"), make([]byte, 2021)...), 0o644)
	list := filepath.Join(systest.MemDir(t), "sort")
	livetest.Write(t, list, fmt.Appendf(nil, "%s/boot/efi.img 1000001\n%[1]s/head 1000000\n", dir), 0o644)
	args := isolinuxBoot + efiBoot + " -l -sort " + list + " -hide head -hide-joliet head"
	first, err := os.ReadFile(made(t, genisoimage, dir, args))
	systest.Must(t, err)
	at := bytes.Index(first, []byte("a place for the second head"))
	livetest.Write(t, dir+"/head", first[:at+2048], 0o644)
	in := made(t, genisoimage, dir, args)
	systest.Run(t, "isohybrid", in)
	b, err := os.ReadFile(in)
	systest.Must(t, err)
	entry := func(n int, active, kind byte, start, size int) {
		e := b[446+16*n:][:16]
		clear(e)
		e[0], e[4] = active, kind
		binary.LittleEndian.PutUint32(e[8:], uint32(start/512))
		binary.LittleEndian.PutUint32(e[12:], uint32(size/512))
	}
	entry(0, 0, 0xEF, at-1440<<10, 1440<<10)
	entry(1, 0x80, 0x17, at, len(b)-at)
	livetest.Write(t, in, b, 0o644)
	out, s := moved(t, in, isoedit.RebuildOptions{})
	if len(s.Warnings) > 0 || !slices.ContainsFunc(s.Left, func(l string) bool { return strings.Contains(l, "the place of partition 2") }) {
		t.Errorf("%q, %q", s.Left, s.Warnings)
	}
	m := areaOf(t, out).MBR
	if len(m.Partitions) != 2 || m.Partitions[0].Type != 0xEF || m.Partitions[0].Sectors != 2880 || m.Partitions[1].Type != 0x17 ||
		!m.Partitions[1].Active {
		t.Fatalf("%+v", m)
	}
	table(t, out)
	// The partition alone is an image.
	whole, err := os.ReadFile(out)
	systest.Must(t, err)
	part := whole[int(m.Partitions[1].Start)*512:]
	img, err := iso.Open(bytes.NewReader(part), int64(len(part)), "partition")
	systest.Must(t, err)
	root, err := img.Root()
	systest.Must(t, err)
	if n, err := root.Lookup("live/data"); err != nil || n == nil || n.Size != 300_000 {
		t.Error(n, err)
	}
}

// TestRebuildNames: names in the plain name space stay as they were, which
// firmware looks for files by; long names of Joliet stay long.
func TestRebuildNames(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso", "genisoimage", "isoinfo")
	dir := systest.MemDir(t)
	long := strings.Repeat("librust-", 9) + "_1.0_amd64.deb"
	for _, f := range []string{"boot/grub/powerpc-ieee1275/core.elf", "ppc/bootinfo.txt", long, "Readme.first.txt",
		"isolinux.d/isolinux.bin"} {
		systest.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o755))
		livetest.Write(t, filepath.Join(dir, f), []byte(f), 0o644)
	}
	names := func(file string, o ...string) string {
		list := strings.Split(systest.Output(t, "isoinfo", append(o, "-f", "-i", file)...), "\n")
		list = slices.DeleteFunc(list, func(l string) bool { return strings.EqualFold(strings.TrimRight(l, ".;1"), "/aaa") })
		slices.Sort(list)
		return strings.Join(list, "\n")
	}
	for name, program := range map[string]string{
		"untranslated":     "xorriso -as mkisofs -quiet -U -J -R -V X",
		"mkisofs":          "genisoimage -quiet -U -J -R -V X",
		"level 1":          "genisoimage -quiet -iso-level 1 -J -R -V X",
		"level 4":          "genisoimage -quiet -iso-level 4 -J -R -V X",
		"relaxed":          "genisoimage -quiet -relaxed-filenames -allow-lowercase -J -R -V X",
		"no version":       "genisoimage -quiet -N -d -J -R -V X",
		"Joliet alone":     "genisoimage -quiet -iso-level 1 -J -V X",
		"long Joliet":      "xorriso -as mkisofs -quiet -joliet-long -J -R -V X",
		"mkisofs's Joliet": "genisoimage -quiet -joliet-long -J -R -V X",
	} {
		t.Run(name, func(t *testing.T) {
			in := made(t, program, dir, "")
			out, _ := moved(t, in, isoedit.RebuildOptions{})
			if a, b := names(in), names(out); a != b {
				t.Errorf("plain names were\n%s\nand are\n%s", a, b)
			}
			if strings.Contains(program, "long") {
				if a, b := names(in, "-J"), names(out, "-J"); a != b || !strings.Contains(b, long) {
					t.Errorf("Joliet's names were\n%s\nand are\n%s", a, b)
				}
			}
			if again, _ := rebuild(t, out, isoedit.RebuildOptions{}); hashFile(t, again) != hashFile(t, out) {
				t.Error("written again without changes, it differs")
			}
		})
	}
}

// TestRebuildTold: what the tree of an image does not show is told before it is
// left out, and what cannot be read is refused.
func TestRebuildTold(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "genisoimage", "mformat", "mmd", "mcopy")
	dir := loaderTree(t)
	for name, c := range map[string]struct{ args, left string }{
		"Joliet alone": {" -hide data", "1 files that the names of Joliet alone show: /live/data"},
		"hidden":       {" -hide data -hide-joliet data", "bytes that no file, table or catalogue names"},
		"HFS":          {" -hfs", "the HFS file system"},
		"level 4":      {" -iso-level 4", "ISO 9660:1999"},
		"marked":       {" -hidden data", "the mark that hides 1 files"},
	} {
		t.Run(name, func(t *testing.T) {
			_, s := moved(t, made(t, genisoimage, dir, c.args), isoedit.RebuildOptions{})
			if !strings.Contains(strings.Join(s.Left, "; "), c.left) {
				t.Errorf("left out: %q", s.Left)
			}
		})
	}
	if _, err := isoedit.NewRebuild(t.Context(), livetest.Env(t, 0), made(t, genisoimage, dir, " -udf"),
		isoedit.RebuildOptions{Output: systest.MemDir(t) + "/out.iso"}); err == nil || !strings.Contains(err.Error(), "UDF") {
		t.Errorf("a UDF bridge: %v", err)
	}
}

// TestRebuildVolume: texts and times of the volume stay, in their time zone, since
// GRUB makes the volume's identity of a time's digits.
func TestRebuildVolume(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "genisoimage", "isoinfo", "blkid", "mformat", "mmd", "mcopy")
	dir := loaderTree(t)
	in := made(t, "env TZ=America/New_York "+genisoimage, dir,
		" -publisher P -copyright COPY.TXT -abstract ABS.TXT -biblio BIB.TXT -sysid S -volset SET -appid APP -p PREP")
	out, s := moved(t, in, isoedit.RebuildOptions{})
	if len(s.Left) > 0 {
		t.Errorf("left out: %q", s.Left)
	}
	if a, b := systest.Output(t, "blkid", "-o", "value", "-s", "UUID", in), systest.Output(t, "blkid", "-o", "value", "-s", "UUID",
		out); a != b {
		t.Errorf("the UUID was %s and is %s", a, b)
	}
	texts := func(file string) string {
		var lines []string
		for l := range strings.Lines(systest.Output(t, "isoinfo", "-d", "-i", file)) {
			if !strings.HasPrefix(l, "Volume size") {
				lines = append(lines, l)
			}
		}
		return strings.Join(lines, "")
	}
	if a, b := texts(in), texts(out); a != b {
		t.Errorf("texts were\n%s\nand are\n%s", a, b)
	}
}

// TestRebuildAddresses: code that holds the address of a file, as boot.img of
// GRUB does, holds the new one; a core image behind the MBR stays there.
func TestRebuildAddresses(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso", "mformat", "mmd", "mcopy")
	dir := loaderTree(t)
	in := made(t, xorrisofs, dir, isolinuxBoot)
	b, err := os.ReadFile(in)
	systest.Must(t, err)
	placeOf := func(file, path string) int64 {
		img, err := isoedit.Open(file, iso.Best)
		systest.Must(t, err)
		defer img.Close()
		n, err := img.Root.Lookup(path)
		systest.Must(t, err)
		e, _ := iso.Extents(n)
		return e[0].Offset / 512
	}
	code := livetest.Noise(86, 440)
	copy(code[300:], "GRUB \x00Geom")
	clear(code[432:])
	copy(b, code)
	binary.LittleEndian.PutUint64(b[0x5C:], uint64(placeOf(in, "live/data")+2))
	copy(b[446:], "\x80\x00\x01\x00\x83\xfe\xff\xff\x00\x00\x00\x00")
	binary.LittleEndian.PutUint32(b[458:], uint32(len(b)/512))
	b[510], b[511] = 0x55, 0xAA
	gap := livetest.Noise(87, 20_000)
	copy(b[512:], gap)
	livetest.Write(t, in, b, 0o644)
	out, s := moved(t, in, isoedit.RebuildOptions{})
	if len(s.Left) > 0 {
		t.Errorf("left out: %q", s.Left)
	}
	got, err := os.ReadFile(out)
	systest.Must(t, err)
	if at := binary.LittleEndian.Uint64(got[0x5C:]); at != uint64(placeOf(out, "live/data")+2) ||
		at == binary.LittleEndian.Uint64(b[0x5C:]) {
		t.Errorf("the code loads block %d, and the file is at %d", at, placeOf(out, "live/data"))
	}
	if !bytes.Equal(got[512:][:len(gap)], gap) {
		t.Error("what follows the MBR is not there")
	}
}

// TestRebuildLabel: a label with blanks is followed in every menu, and where it
// stands in a text that is no menu, or in a form that GRUB may spoil, that is told.
func TestRebuildLabel(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "genisoimage")
	dir := systest.MemDir(t)
	for name, text := range map[string]string{
		"isolinux/isolinux.cfg": "label linux\n  kernel vmlinuz\n  append initrd=initrd.img inst.stage2=hd:LABEL=Cent\\x20OS\\x207 quiet\n",
		"EFI/BOOT/grub.cfg": "search --set=root -l 'Cent OS 7'\nmenuentry 'Install' {\n\tlinuxefi /vmlinuz " +
			"inst.stage2=hd:LABEL=Cent\\x20OS\\x207 inst.ks=hd:LABEL=Cent\\x20OS\\x207:/ks.cfg quiet\n}\n",
		"EFI/BOOT/refind.conf":  "menuentry x {\n  volume \"Cent OS 7\"\n}\n",
		"loader/entries/x.conf": "linux /vmlinuz\noptions root=live:CDLABEL=Cent\\x20OS\\x207 quiet\n",
	} {
		systest.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		livetest.Write(t, filepath.Join(dir, name), []byte(text), 0o644)
	}
	in := made(t, "genisoimage -quiet -r -J", dir, " -V Cent~OS~7")
	out, s := rebuild(t, in, isoedit.RebuildOptions{VolumeID: "MINE"})
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "EFI/BOOT/refind.conf: line 2 names the volume as it was called before") {
		t.Errorf("%q", s.Warnings)
	}
	img, err := isoedit.Open(out, iso.Best)
	systest.Must(t, err)
	defer img.Close()
	for name, want := range map[string]int{"isolinux/isolinux.cfg": 1, "EFI/BOOT/grub.cfg": 3, "loader/entries/x.conf": 1} {
		n, err := img.Root.Lookup(name)
		systest.Must(t, err)
		c, err := n.Open()
		systest.Must(t, err)
		text := make([]byte, n.Size)
		_, err = c.ReadAt(text, 0)
		systest.Must(t, err)
		if got := strings.Count(string(text), "MINE"); got != want || strings.Contains(string(text), "OS") {
			t.Errorf("%s: %q", name, text)
		}
	}
	if _, s := rebuild(t, out, isoedit.RebuildOptions{VolumeID: "MINE 2"}); !slices.ContainsFunc(s.Warnings,
		func(w string) bool { return strings.Contains(w, "EFI/BOOT/grub.cfg: the new name") }) {
		t.Errorf("%q", s.Warnings)
	}
}
