package isoedit_test

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"relive/codec"
	"relive/iso"
	"relive/remaster/isoedit"
	"relive/remaster/livetest"
	"relive/tree"
	"relive/tree/systest"
)

// isoTools are what the tests of images compare with.
var isoTools = []string{"xorriso", "isoinfo", "bsdtar", "mformat", "mcopy", "mmd", "mtype", "grub-mkimage", "fsck.fat"}

// sevenZip names 7-Zip's program, which Debian has called by two names.
func sevenZip(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("7z"); err == nil {
		return "7z"
	}
	systest.NeedTools(t, "7zz")
	return "7zz"
}

// bootMenu is a menu for GRUB; isolinuxMenu for ISOLINUX.
const (
	bootMenu = "search --no-floppy --set=root --label '%[1]s'\nmenuentry 'Live' {\n\tlinux /live/vmlinuz root=live:CDLABEL=%[1]s quiet " +
		"%[2]s\n\tinitrd /live/initrd\n}\n"
	sysMenu = "default live\nlabel live\n\tkernel /live/vmlinuz\n\tappend initrd=/live/initrd root=live:CDLABEL=%[1]s quiet %[2]s\n"
)

// mediumTree lays out what a live medium holds, by the real boot loaders.
func mediumTree(t testing.TB, label string) string {
	t.Helper()
	dir := systest.MemDir(t)
	systest.Must(t, os.Chmod(dir, 0o755))
	for _, d := range []string{"isolinux", "boot/grub/i386-pc", "live", "EFI/BOOT", ".disk"} {
		systest.Must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	systest.CopyFile(t, "/usr/lib/ISOLINUX/isolinux.bin", filepath.Join(dir, "isolinux/isolinux.bin"))
	systest.CopyFile(t, "/usr/lib/syslinux/modules/bios/ldlinux.c32", filepath.Join(dir, "isolinux/ldlinux.c32"))
	systest.Run(t, "grub-mkimage", "-O", "i386-pc-eltorito", "-p", "/boot/grub", "-o", filepath.Join(dir, "boot/grub/i386-pc/eltorito.img"),
		"biosdisk", "iso9660")
	rng := rand.New(rand.NewPCG(1, 8))
	noise := make([]byte, 900_000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	for name, content := range map[string][]byte{
		"boot/grub/grub.cfg": fmt.Appendf(nil, bootMenu, label, "persistence"), "isolinux/isolinux.cfg": fmt.Appendf(nil, sysMenu, label,
			"persistence"),
		"live/filesystem.squashfs": noise, "live/vmlinuz": []byte("kernel"), "live/initrd": []byte("initrd"),
		".disk/info":           []byte("A medium"),
		"EFI/BOOT/BOOTX64.EFI": []byte("a loader"), "a name that is long and has ümläuts.txt": []byte("x"),
	} {
		systest.Must(t, os.WriteFile(filepath.Join(dir, name), content, 0o644))
	}
	systest.Must(t, os.Symlink("live/vmlinuz", filepath.Join(dir, "vmlinuz")))
	efi := filepath.Join(dir, "boot/grub/efi.img")
	systest.Run(t, "mformat", "-C", "-f", "1440", "-i", efi, "::")
	systest.Run(t, "mmd", "-i", efi, "::/EFI", "::/EFI/BOOT", "::/boot", "::/boot/grub")
	systest.Run(t, "mcopy", "-i", efi, filepath.Join(dir, "EFI/BOOT/BOOTX64.EFI"), "::/EFI/BOOT/BOOTX64.EFI")
	systest.Run(t, "mcopy", "-i", efi, filepath.Join(dir, "boot/grub/grub.cfg"), "::/boot/grub/grub.cfg")
	var list bytes.Buffer
	for _, name := range []string{"live/filesystem.squashfs", "live/vmlinuz", "boot/grub/grub.cfg", "boot/grub/efi.img",
		"isolinux/ldlinux.c32"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		systest.Must(t, err)
		fmt.Fprintf(&list, "%x  ./%s\n", md5.Sum(b), name)
	}
	systest.Must(t, os.WriteFile(filepath.Join(dir, "md5sum.txt"), list.Bytes(), 0o644))
	return dir
}

// mediumCases are ways in which distributions make images; EFI stands for the
// EFI image's path on the host.
func mediumCases() map[string]string {
	const (
		isolinux = " -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table"
		grub     = " --grub2-mbr /usr/lib/grub/i386-pc/boot_hybrid.img -b boot/grub/i386-pc/eltorito.img -c boot.catalog -no-emul-boot " +
			"-boot-load-size 4 -boot-info-table --grub2-boot-info"
		hybrid   = " -isohybrid-mbr /usr/lib/ISOLINUX/isohdpfx.bin" + isolinux
		inTree   = " -eltorito-alt-boot -e boot/grub/efi.img -no-emul-boot"
		appended = " -eltorito-alt-boot -e --interval:appended_partition_2:all:: -no-emul-boot"
	)
	return map[string]string{
		"data":           "",
		"antiX":          "-l -pad -iso-level 3" + isolinux + inTree,
		"isohybrid":      hybrid,
		"hybrid, UEFI":   hybrid + inTree + " -isohybrid-gpt-basdat",
		"Debian":         hybrid + " -partition_offset 16" + inTree + " -isohybrid-gpt-basdat -isohybrid-apm-hfsplus",
		"Debian live":    hybrid + inTree + " -append_partition 2 0xef EFI",
		"Debian live 11": hybrid + " -partition_offset 16" + inTree + " -isohybrid-gpt-basdat -append_partition 2 0x01 EFI",
		"Arch": hybrid + " -partition_offset 16 -append_partition 2 C12A7328-F81F-11D2-BA4B-00A0C93EC93B EFI " +
			"-appended_part_as_gpt" + appended + " -isohybrid-gpt-basdat",
		"GRUB, ESP": grub + " -append_partition 2 0xef EFI -appended_part_as_gpt" + appended,
		"GRUB, MBR": grub + " -append_partition 2 0xef EFI" + appended,
		"Ubuntu": grub + " --protective-msdos-label -partition_cyl_align off -partition_offset 16 --mbr-force-bootable -append_partition " +
			"2 28732ac11ff8d211ba4b00a0c93ec93b EFI" +
			" -appended_part_as_gpt -iso_mbr_part_type a2a0d0ebe5b9334487c068b6b72699c7" + appended,
		"Fedora": grub + " -partition_offset 16 -appended_part_as_gpt -append_partition 2 C12A7328-F81F-11D2-BA4B-00A0C93EC93B EFI " +
			"-iso_mbr_part_type EBD0A0A2-B9E5-4433-87C0-68B6B72699C7" + appended,
		"UEFI alone": inTree[len(" -eltorito-alt-boot"):],
	}
}

// makeMedium makes an image of a directory by xorriso.
func makeMedium(t testing.TB, dir, label, args string) string {
	t.Helper()
	file := filepath.Join(systest.MemDir(t), "in.iso")
	all := []string{"-as", "mkisofs", "-quiet", "-R", "-J", "-V", label, "-o", file}
	for _, a := range strings.Fields(args) {
		if a == "EFI" {
			a = filepath.Join(dir, "boot/grub/efi.img")
		}
		all = append(all, a)
	}
	systest.Run(t, "xorriso", append(all, dir)...)
	return file
}

// rebuild writes an image anew.
func rebuild(t testing.TB, in string, o isoedit.RebuildOptions) (out string, s *isoedit.RebuildSummary) {
	t.Helper()
	if o.Output == "" {
		o.Output = filepath.Join(systest.MemDir(t), "out.iso")
	}
	p, err := isoedit.NewRebuild(t.Context(), livetest.Env(t, codec.Auto), in, o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(o.Output + ".relive-part"); err == nil {
		t.Error("a temporary file is left")
	}
	return o.Output, &p.Summary
}

// TestRebuild: what xorriso makes as distributions do is written anew with
// another, larger system in it. xorriso reports the same boot set-up but for
// addresses; it, isoinfo, libarchive and 7-Zip read what is asked for.
func TestRebuild(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, isoTools...)
	label := "MY_LIVE"
	dir := mediumTree(t, label)
	other := filepath.Join(systest.MemDir(t), "other")
	systest.Must(t, os.WriteFile(other, bytes.Repeat([]byte("another system\n"), 200_000), 0o600))
	extra := systest.MemDir(t)
	systest.Must(t, os.MkdirAll(filepath.Join(extra, "docs"), 0o755))
	systest.Must(t, os.WriteFile(filepath.Join(extra, "docs/readme"), []byte("read me"), 0o644))
	for name, args := range mediumCases() {
		t.Run(name, func(t *testing.T) {
			in := makeMedium(t, dir, label, args)
			out, s := rebuild(t, in, isoedit.RebuildOptions{Replace: []isoedit.Graft{{Path: "live/filesystem.squashfs", Source: other}},
				Add: []isoedit.Graft{{Path: "extra", Source: extra}}, Remove: []string{".disk"}})
			if len(s.Warnings) > 0 {
				t.Errorf("warnings: %q", s.Warnings)
			}
			if apple := strings.Contains(args, "apm"); apple != (len(s.Left) > 0) {
				t.Errorf("left out: %q", s.Left)
			}
			sameSetup(t, in, out)
			sameListing(t, dir, out)
			checkSound(t, out)
			if again, _ := rebuild(t, out, isoedit.RebuildOptions{}); hashFile(t, again) != hashFile(t, out) {
				t.Error("written again without changes, it differs")
			}
		})
	}
}

// addresses are the numbers in xorriso's reports that are places or sizes, and
// what differs by design: geometry that old BIOSes ask for, identities that are
// made anew, names and attributes of GPT partitions, and the Apple map.
var addresses = regexp.MustCompile(`--interval:[^ ']*('[^']*')?|_start_\d+s_size_\d+d|` +
	`(?m)^-partition_(hd_cyl|sec_hd|cyl_align) .*$|^-apm-block-size .*$|^-isohybrid-apm-hfsplus$`)

// sameSetup compares what xorriso reports of two images.
func sameSetup(t testing.TB, a, b string) {
	t.Helper()
	args := func(file, report string) string {
		out := systest.Output(t, "xorriso", "-return_with", "FAILURE", "32", "-indev", "stdio:"+file, report, "as_mkisofs")
		out = addresses.ReplaceAllString(out, "")
		var lines []string
		for line := range strings.Lines(out) {
			if line = strings.TrimSpace(line); line != "" {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "\n")
	}
	for _, report := range []string{"-report_el_torito", "-report_system_area"} {
		if x, y := args(a, report), args(b, report); x != y {
			t.Errorf("%s was\n%s\nand is\n%s", report, x, y)
		}
	}
	// The table of boot images: all but the last column, their places, and the
	// images' own paths.
	plain := func(file string) string {
		var out []string
		for line := range strings.Lines(systest.Output(t, "xorriso", "-return_with", "FAILURE", "32", "-indev", "stdio:"+file,
			"-report_el_torito", "plain")) {
			f := strings.Fields(line)
			switch {
			case strings.HasPrefix(line, "El Torito boot img :"):
				out = append(out, strings.Join(f[:len(f)-1], " "))
			case strings.HasPrefix(line, "El Torito img path") || strings.HasPrefix(line, "El Torito img opts") ||
				strings.HasPrefix(line, "El Torito cat path"):
				out = append(out, strings.Join(f, " "))
			}
		}
		return strings.Join(out, "\n")
	}
	if x, y := plain(a), plain(b); x != y {
		t.Errorf("boot images were\n%s\nand are\n%s", x, y)
	}
	// The MBR's entries but for their places.
	entries := func(file string) string {
		var out []string
		for line := range strings.Lines(systest.Output(t, "xorriso", "-return_with", "FAILURE", "32", "-indev", "stdio:"+file,
			"-report_system_area", "plain")) {
			if f := strings.Fields(line); strings.HasPrefix(line, "MBR partition      :") || strings.HasPrefix(line, "Partition offset") {
				out = append(out, strings.Join(f[:min(len(f), 6)], " "))
			}
		}
		return strings.Join(out, "\n")
	}
	if x, y := entries(a), entries(b); x != y {
		t.Errorf("the MBR was\n%s\nand is\n%s", x, y)
	}
}

// sameListing compares what four programs read of the new image with what was
// asked for.
func sameListing(t testing.TB, dir, out string) {
	t.Helper()
	at := filepath.Join(systest.MemDir(t), "x")
	systest.Run(t, "xorriso", "-osirrox", "on:o_excl_off", "-indev", "stdio:"+out, "-extract", "/", at)
	want, got := map[string]string{}, map[string]string{}
	collect(t, dir, want)
	collect(t, at, got)
	delete(got, "isolinux/boot.cat")
	delete(got, "boot.catalog")
	delete(want, ".disk/info")
	want["extra/docs/readme"] = "read me"
	for _, changed := range []string{"live/filesystem.squashfs", "md5sum.txt", "isolinux/isolinux.bin", "boot/grub/i386-pc/eltorito.img"} {
		if want[changed] != "" {
			want[changed] = got[changed]
		}
	}
	if !strings.HasPrefix(got["live/filesystem.squashfs"], "another system") {
		t.Error("the system is not the other one")
	}
	for p := range want {
		if want[p] != got[p] {
			t.Errorf("%s: %d bytes, and there are %d", p, len(want[p]), len(got[p]))
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			t.Errorf("%s: only in the new image", p)
		}
	}
	for tool, list := range map[string]string{
		"isoinfo": systest.Output(t, "isoinfo", "-R", "-f", "-i", out),
		"bsdtar":  systest.Output(t, "bsdtar", "-tf", out),
		"7z":      systest.Output(t, sevenZip(t), "l", "-slt", out),
	} {
		for _, name := range []string{"live/filesystem.squashfs", "extra/docs/readme", "boot/grub/grub.cfg"} {
			if !strings.Contains(list, name) {
				t.Errorf("%s does not list %s:\n%s", tool, name, list)
			}
		}
		if strings.Contains(list, ".disk") {
			t.Errorf("%s lists .disk", tool)
		}
	}
	if out, err := systest.Try(t, sevenZip(t), "t", out); err != nil {
		t.Errorf("7z: %v\n%s", err, out)
	}
}

// collect reads all files below a directory.
func collect(t testing.TB, dir string, into map[string]string) {
	t.Helper()
	root := livetest.OpenDir(t, dir)
	systest.Must(t, tree.Walk(t.Context(), root, func(p string, n *tree.Node) error {
		switch n.Type {
		case tree.Regular:
			b, err := tree.ReadAll(n, 64<<20)
			into[p] = string(b)
			return err
		case tree.Symlink:
			into[p] = "-> " + n.Target
		}
		return nil
	}))
}

func hashFile(t testing.TB, path string) [16]byte {
	t.Helper()
	b, err := os.ReadFile(path)
	systest.Must(t, err)
	return md5.Sum(b)
}

// checkSound runs relive's own check.
func checkSound(t testing.TB, file string) {
	t.Helper()
	results, err := isoedit.Check(t.Context(), livetest.Env(t, codec.Auto), file, false)
	if err != nil {
		t.Fatal(err)
	}
	sums := false
	for _, r := range results {
		sums = sums || strings.Contains(r.What, "md5sum.txt")
		if !r.OK {
			t.Errorf("%s: %q", r.What, r.Findings)
		}
	}
	if !sums {
		t.Error("the list of sums was not checked")
	}
}

// TestRebuildMenus: kernel arguments and the volume's name change in every menu,
// that of an EFI image too, wherever it lies, and in each of its places.
func TestRebuildMenus(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, isoTools...)
	dir := mediumTree(t, "MY_LIVE")
	for _, name := range []string{"hybrid, UEFI", "Debian live", "Arch", "Ubuntu"} {
		t.Run(name, func(t *testing.T) {
			in := makeMedium(t, dir, "MY_LIVE", mediumCases()[name])
			out, s := rebuild(t, in, isoedit.RebuildOptions{VolumeID: "Another-1", AddArgs: []string{"toram"},
				RemoveArgs: []string{"persistence"}})
			if len(s.Warnings) > 0 || len(s.Left) > 0 {
				t.Errorf("%q, %q", s.Warnings, s.Left)
			}
			img, err := isoedit.Open(out, iso.Best)
			systest.Must(t, err)
			defer img.Close()
			for path, form := range map[string]string{"boot/grub/grub.cfg": bootMenu, "isolinux/isolinux.cfg": sysMenu} {
				if got, want := livetest.ReadFile(t, img.Root, path), fmt.Sprintf(form, "Another-1", "toram"); got != want {
					t.Errorf("%s:\n%s\nnot\n%s", path, got, want)
				}
			}
			checkSound(t, out)
			// The EFI images: those of the catalogue, and all partitions of that type.
			places := map[int64]bool{}
			cat, err := img.Image.ElTorito()
			systest.Must(t, err)
			for _, e := range cat.Entries {
				if e.Platform == iso.PlatformEFI {
					places[int64(e.Block)*2048] = true
				}
			}
			area, err := img.Image.SystemArea()
			systest.Must(t, err)
			for _, p := range area.MBR.Partitions {
				if p.Type == 0xEF {
					places[int64(p.Start)*512] = true
				}
			}
			if want := map[string]int{"Debian live": 2}[name]; len(places) != max(want, 1) {
				t.Errorf("EFI images at %v", places)
			}
			whole, err := os.ReadFile(out)
			systest.Must(t, err)
			for at := range places {
				efi := filepath.Join(t.TempDir(), "efi.img")
				systest.Must(t, os.WriteFile(efi, whole[at:at+1440<<10], 0o644))
				if got, want := systest.Output(t, "mtype", "-i", efi, "::/boot/grub/grub.cfg"),
					fmt.Sprintf(bootMenu, "Another-1", "toram"); got != want {
					t.Errorf("in the EFI image at %d:\n%s\nnot\n%s", at, got, want)
				}
				systest.Run(t, "fsck.fat", "-n", efi)
			}
			if bytes.Contains(whole, []byte("CDLABEL=MY_LIVE")) {
				t.Error("the old name still stands somewhere")
			}
		})
	}
}

// TestRebuildTwins: an EFI image that is replaced is replaced as an appended
// partition too.
func TestRebuildTwins(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, isoTools...)
	dir := mediumTree(t, "MY_LIVE")
	efi := filepath.Join(systest.MemDir(t), "efi.img")
	systest.CopyFile(t, filepath.Join(dir, "boot/grub/efi.img"), efi)
	systest.Run(t, "mcopy", "-i", efi, filepath.Join(dir, ".disk/info"), "::/mark")
	want, err := os.ReadFile(efi)
	systest.Must(t, err)
	for name, places := range map[string]int{"Debian live": 2, "Arch": 2, "hybrid, UEFI": 1} {
		t.Run(name, func(t *testing.T) {
			in := makeMedium(t, dir, "MY_LIVE", mediumCases()[name])
			out, s := rebuild(t, in, isoedit.RebuildOptions{Replace: []isoedit.Graft{{Path: "boot/grub/efi.img", Source: efi}}})
			if len(s.Warnings) > 0 {
				t.Errorf("%q", s.Warnings)
			}
			whole, err := os.ReadFile(out)
			systest.Must(t, err)
			if n := bytes.Count(whole, want); n != places {
				t.Errorf("the EFI image stands in %d places", n)
			}
			checkSound(t, out)
		})
	}
}

// TestRebuildMac: a boot image for Macs keeps its place in the catalogue and in the
// MBR; what it holds is not read, which is told where menus are edited.
func TestRebuildMac(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, isoTools...)
	dir := mediumTree(t, "MY_LIVE")
	mac := make([]byte, 800<<10)
	copy(mac[1024:], "H+")
	systest.Must(t, os.WriteFile(filepath.Join(dir, "mac.img"), mac, 0o644))
	in := makeMedium(t, dir, "MY_LIVE", mediumCases()["hybrid, UEFI"]+
		" -isohybrid-apm-hfsplus -eltorito-alt-boot -e mac.img -no-emul-boot -isohybrid-gpt-hfsplus -isohybrid-apm-hfsplus")
	out, s := rebuild(t, in, isoedit.RebuildOptions{AddArgs: []string{"toram"}})
	if len(s.Left) != 1 || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "/mac.img: an HFS file system for Macs") {
		t.Errorf("%q, %q", s.Left, s.Warnings)
	}
	checkSound(t, out)
	img, err := isoedit.Open(out, iso.Best)
	systest.Must(t, err)
	defer img.Close()
	cat, err := img.Image.ElTorito()
	systest.Must(t, err)
	area, err := img.Image.SystemArea()
	systest.Must(t, err)
	if len(cat.Entries) != 3 || len(area.MBR.Partitions) != 3 || area.MBR.Partitions[2].Start != 4*cat.Entries[2].Block ||
		area.MBR.Partitions[2].Type != 0 {
		t.Errorf("%+v, %+v", cat.Entries, area.MBR.Partitions)
	}
}

// TestRebuildRefused: what could not be kept whole is refused, and info tells so
// beforehand.
func TestRebuildRefused(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "genisoimage")
	file := filepath.Join(systest.MemDir(t), "udf.iso")
	systest.Run(t, "genisoimage", "-quiet", "-udf", "-R", "-o", file, "/etc/hostname")
	_, err := isoedit.NewRebuild(t.Context(), livetest.Env(t, codec.Auto), file, isoedit.RebuildOptions{Output: file + ".new"})
	const text = "udf.iso: volume descriptors: a UDF file system shares the image"
	if !errors.Is(err, tree.ErrUnsupported) || !strings.Contains(err.Error(), text) {
		t.Error(err)
	}
	o, err := isoedit.Open(file, iso.Best)
	systest.Must(t, err)
	defer o.Close()
	info, err := o.Info(t.Context())
	if err != nil || !strings.Contains(info.NotReplayable, text) || !info.UDF {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestRebuildImplant: the implanted sum is checkisomd5's, on whole and on
// flipped images.
func TestRebuildImplant(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, append(isoTools, "implantisomd5", "checkisomd5")...)
	dir := mediumTree(t, "MY_LIVE")
	in := makeMedium(t, dir, "MY_LIVE", mediumCases()["Fedora"])
	systest.Run(t, "implantisomd5", "--supported-iso", in)
	out, s := rebuild(t, in, isoedit.RebuildOptions{RemoveArgs: []string{"quiet"}})
	if !s.ImplantMD5 {
		t.Error("the sum is not kept")
	}
	if text := systest.Run(t, "checkisomd5", "--md5sumonly", out); !strings.Contains(text, "Supported ISO: yes") {
		t.Error(text)
	}
	agree := func(what string, want bool) {
		t.Helper()
		_, err := systest.Try(t, "checkisomd5", out)
		results, err2 := isoedit.Check(t.Context(), livetest.Env(t, codec.Auto), out, false)
		systest.Must(t, err2)
		ok := false
		for _, r := range results {
			if r.What == "implanted MD5 sum" {
				ok = r.OK
			}
		}
		if ok != want || (err == nil) != want {
			t.Errorf("%s: %v, checkisomd5: %v", what, ok, err)
		}
	}
	agree("whole", true)
	b, err := os.ReadFile(out)
	systest.Must(t, err)
	for _, at := range []int{0, 440, 16*2048 + 40, len(b) / 3, len(b) / 2, len(b) - 16*2048} {
		b[at] ^= 4
		systest.Must(t, os.WriteFile(out, b, 0o644))
		agree(fmt.Sprintf("byte %d flipped", at), false)
		b[at] ^= 4
	}
	systest.Must(t, os.WriteFile(out, b, 0o644))
	agree("whole again", true)
}
