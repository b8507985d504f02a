package bootfiles

import (
	"slices"
	"strings"
	"testing"

	"relive/tree/systest"
)

// packagesOf is a Debian with ISOLINUX and GRUB's code.
var packagesOf = map[string]string{
	"usr/lib/ISOLINUX/isolinux.bin":              fakeISOLINUX("6.04", true),
	"usr/lib/ISOLINUX/isohdpfx.bin":              code("system-isohdpfx", 432),
	"usr/lib/syslinux/modules/bios/ldlinux.c32":  "system ldlinux",
	"usr/lib/syslinux/modules/bios/libutil.c32":  "libutil",
	"usr/lib/syslinux/modules/bios/libcom32.c32": "libcom32",
	"usr/lib/syslinux/modules/bios/menu.c32":     "menu",
	"usr/lib/syslinux/modules/bios/vesamenu.c32": "vesamenu",
	"usr/lib/grub/i386-pc/boot_hybrid.img":       code("boot_hybrid", 512),
}

// TestFind: the layouts of the distributions.
func TestFind(t *testing.T) {
	t.Parallel()
	efi := fakeFAT(t, map[string]string{"EFI/BOOT/BOOTX64.EFI": fakeGRUB("/boot/grub", "")})
	old := fakeISOLINUX("4.05", true)
	linux := fakeISOLINUX("6.04", true)
	grub := strings.Repeat("eltorito", 1000)
	for name, c := range map[string]struct {
		medium  map[string]string
		want    string
		catalog string
		files   []string // of Root
		notes   []string // parts of them, in order
	}{
		"antiX": {
			medium: map[string]string{
				"boot/isolinux/isolinux.bin": linux, "boot/isolinux/ldlinux.c32": "x", "boot/isolinux/isolinux.cfg": "x",
				"boot/isolinux/isolinux.cat": "x",
				"boot/grub/efi.img":          efi, "boot/grub/grub.cfg": "x", "EFI/BOOT/BOOTX64.EFI": "x",
				"boot/syslinux/syslinux.cfg": "x", "antiX/linuxfs": "x",
			},
			want:    "0x0 boot/isolinux/isolinux.bin info, 0xef boot/grub/efi.img, isohybrid system-isohdpfx 1",
			catalog: "boot/isolinux/isolinux.cat",
		},
		"Fedora": {
			medium: map[string]string{
				"images/eltorito.img": grub, "images/efiboot.img": efi, "EFI/BOOT/BOOTX64.EFI": "x", "boot/grub2/grub.cfg": "x",
			},
			want: "0x0 images/eltorito.img info grub2, 0xef images/efiboot.img, GRUB 2 boot_hybrid 1", catalog: "boot.catalog",
		},
		"old Fedora": {
			medium: map[string]string{
				"isolinux/isolinux.bin": old, "isolinux/isolinux.cfg": "x", "isolinux/boot.cat": "x", "images/efiboot.img": efi,
			},
			want: "0x0 isolinux/isolinux.bin info, 0xef images/efiboot.img, isohybrid system-isohdpfx 1", catalog: "isolinux/boot.cat",
		},
		"archiso of old": {
			medium: map[string]string{
				"syslinux/isolinux.bin": linux, "syslinux/ldlinux.c32": "x", "syslinux/isohdpfx.bin": code("medium-isohdpfx", 432),
				"syslinux/syslinux.cfg":   "x",
				"EFI/archiso/efiboot.img": efi, "loader/entries/x.conf": "linux /nothing",
			},
			want: "0x0 syslinux/isolinux.bin info, 0xef EFI/archiso/efiboot.img, isohybrid medium-isohdpfx 1", catalog: "syslinux/boot.cat",
		},
		"archiso": {
			medium: map[string]string{
				"boot/syslinux/isolinux.bin": linux, "boot/syslinux/ldlinux.c32": "x", "boot/syslinux/syslinux.cfg": "x",
				"EFI/BOOT/BOOTx64.EFI": "systemd-boot", "loader/loader.conf": "timeout 5",
				"loader/entries/01.conf": "title Arch\nlinux /arch/boot/x86_64/vmlinuz-linux\ninitrd " +
					"\\arch\\boot\\x86_64\\initramfs.img\noptions archisolabel=X\n",
				"loader/entries/02.conf":           "title Lost\nefi /lost.efi\n",
				"arch/boot/x86_64/vmlinuz-linux":   "kernel",
				"arch/boot/x86_64/initramfs.img":   "initrd",
				"arch/x86_64/airootfs.sfs":         "not in the image",
				"EFI/BOOT/link.efi":                "-> BOOTx64.EFI",
				"EFI/BOOT/dangling":                "-> nowhere",
				"arch/boot/x86_64/initramfs2.img ": "x",
			},
			want:    "0x0 boot/syslinux/isolinux.bin info, 0xef boot/grub/efi.img, isohybrid system-isohdpfx 1",
			catalog: "boot/syslinux/boot.cat",
			files:   []string{"boot/grub/efi.img"},
			notes:   []string{"/EFI/BOOT/dangling is no file", "/loader/entries/02.conf names /lost.efi, which is not on the medium"},
		},
		"Debian live": {
			medium: map[string]string{
				"isolinux/isolinux.bin": linux, "isolinux/ldlinux.c32": "x", "isolinux/isolinux.cfg": "x", "boot/grub/efi.img": efi,
				"boot/grub/grub.cfg":   "x",
				"efi/boot/bootx64.efi": "x", "efi/boot/grubx64.efi": "x",
			},
			want: "0x0 isolinux/isolinux.bin info, 0xef boot/grub/efi.img, isohybrid system-isohdpfx 1", catalog: "isolinux/boot.cat",
		},
		"Debian stick": {
			medium: map[string]string{
				"ISOLINUX/ISOLINUX.BIN": linux, "ISOLINUX/ISOLINUX.CFG": "x", "boot/grub/grub.cfg": "menu",
				"efi/boot/bootx64.efi": "shim", "efi/boot/grubx64.efi": fakeGRUB("/EFI/debian", ""), ".disk/info": "Debian",
			},
			want: "0x0 ISOLINUX/ISOLINUX.BIN info, 0xef boot/grub/efi.img, isohybrid system-isohdpfx 1", catalog: "ISOLINUX/boot.cat",
			files: []string{".disk/*.id", "ISOLINUX/ldlinux.c32", "boot/grub/efi.img"},
		},
		"Ubuntu": {
			medium: map[string]string{
				"boot/grub/i386-pc/eltorito.img": grub, "EFI/boot/bootx64.efi": "shim", "EFI/boot/grubx64.efi": fakeGRUB("()/boot/grub",
					""), "boot/grub/grub.cfg": "menu",
				"boot/grub/i386-pc/boot_hybrid.img": code("medium-hybrid", 512),
			},
			want: "0x0 boot/grub/i386-pc/eltorito.img info grub2, 0xef boot/grub/efi.img, GRUB 2 medium-hybrid 1", catalog: "boot.catalog",
			files: []string{".disk/*.id", "boot/grub/efi.img"},
		},
		"images that are none": {
			medium: map[string]string{
				"boot/isolinux/isolinux.bin": "nothing", "isolinux/isolinux.bin": fakeISOLINUX("5.10", true),
				"boot/grub/i386-pc/eltorito.img": "short",
				"boot/grub/efi.img":              "no FAT", "images/efiboot.img": fakeFAT(t, map[string]string{"a": "b"}),
				"EFI/BOOT/readme": "x",
			},
			notes: []string{
				"/boot/isolinux/isolinux.bin is no ISOLINUX", "/isolinux/isolinux.bin is of version 5.10 and needs ldlinux.c32",
				"has 5 bytes and is no image of GRUB",
				"BIOS: there is no ISOLINUX on the medium", "/boot/grub/efi.img is no FAT image",
				"/images/efiboot.img has no loader in EFI/BOOT", "no loader in /EFI/BOOT",
				"UEFI: there is neither",
			},
		},
		"no menus, no hybrid": {
			medium: map[string]string{
				"isolinux/isolinux.bin": fakeISOLINUX("3.63", false), "EFI/BOOT/BOOTIA32.EFI": fakeGRUB("/boot/grub", ""),
				"EFI/BOOT/other.efi": fakeGRUB("(,gpt2)/boot/grub", ""), "EFI/BOOT/third.efi": fakeGRUB("(memdisk)/boot/grub", ""),
				"EFI/BOOT/fourth.efi": fakeGRUB("/boot/grub", "set x=1\nsearch.fs_uuid 1234-ABCD root \n"),
			},
			want: "0x0 isolinux/isolinux.bin info, 0xef boot/grub/efi.img, none  1", catalog: "isolinux/boot.cat",
			files: []string{"boot/grub/efi.img"},
			notes: []string{
				"finds no menu: there is neither isolinux.cfg", "cannot be started from a disk, only from a CD",
				"GRUB in /EFI/BOOT/BOOTIA32.EFI finds no menu: there is no /boot/grub/grub.cfg",
				"/EFI/BOOT/fourth.efi looks for its menu on a device that it was made for (search.fs_uuid 1234-ABCD root)",
				"/EFI/BOOT/other.efi looks for its menu on a device that it was made for ((,gpt2)/boot/grub)",
			},
		},
		"BIOS alone": {
			medium:  map[string]string{"isolinux/isolinux.bin": old, "isolinux/isolinux.cfg": "x"},
			want:    "0x0 isolinux/isolinux.bin info, isohybrid system-isohdpfx 0",
			catalog: "isolinux/boot.cat",
			notes:   []string{"UEFI: there is neither"},
		},
		"GRUB within the image": {
			medium: map[string]string{"boot/grub/efi.img": fakeFAT(t,
				map[string]string{"EFI/BOOT/BOOTAA64.EFI": fakeGRUB("/boot/grub", "search.fs_uuid 1 root")})},
			want:    "0xef boot/grub/efi.img, none  1",
			catalog: "boot/boot.cat",
			notes: []string{"BIOS: there is no ISOLINUX",
				"GRUB in /boot/grub/efi.img, /EFI/BOOT/BOOTAA64.EFI looks for its menu on a device"},
		},
		"nothing": {notes: []string{"BIOS: there is no", "UEFI: there is neither"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			medium := treeOf(t, c.medium)
			s, err := Find(t.Context(), medium, nil, treeOf(t, packagesOf))
			systest.Must(t, err)
			if got := describe(s); got != c.want || s.Catalog != c.catalog || s.Origin != "the medium" {
				t.Errorf("%s, catalogue %q, of %s", got, s.Catalog, s.Origin)
			}
			got := paths(t, s.Root)
			for i, p := range got {
				if strings.HasPrefix(p, ".disk/") {
					got[i] = ".disk/*.id"
				}
			}
			if !slices.Equal(got, c.files) {
				t.Errorf("files %q", got)
			}
			for i, n := range s.Notes {
				if i >= len(c.notes) || !strings.Contains(n, c.notes[i]) {
					t.Errorf("note %q", n)
				}
			}
			if len(s.Notes) < len(c.notes) {
				t.Errorf("only %d notes: %q", len(s.Notes), s.Notes)
			}
			img := burn(t, medium, s)
			if e, err := img.ElTorito(); err != nil || (e == nil) != (len(s.Boot) == 0) || e != nil && len(e.Entries) != len(s.Boot) {
				t.Errorf("%+v, %v", e, err)
			}
		})
	}
}

// TestFindImage: what is in the FAT image that is made.
func TestFindImage(t *testing.T) {
	t.Parallel()
	medium := treeOf(t, map[string]string{
		"efi/boot/bootx64.efi": fakeGRUB("/boot/grub", ""), "EFI2": "x", "boot/grub/grub.cfg": "menu", "boot/grub/themes/x": "x",
		"efi/debian/fonts": "a font", "loader/entries/a.conf": "linux /KERNEL\ninitrd /initrd",
		"loader/entries/b.conf": "linux /kernel\ninitrd /Initrd", "kernel": "the kernel", "initrd": "the initrd",
	})
	s, err := Find(t.Context(), medium)
	systest.Must(t, err)
	in := insideFAT(t, s.Root, "boot/grub/efi.img")
	want := []string{"EFI/boot/bootx64.efi", "EFI/debian/fonts", "KERNEL", "boot/grub/grub.cfg", "initrd", "loader/entries/a.conf",
		"loader/entries/b.conf"}
	if got := keys(in); !slices.Equal(got, want) {
		t.Fatalf("%q", got)
	}
	if in["KERNEL"] != "the kernel" || in["EFI/debian/fonts"] != "a font" {
		t.Error("other content")
	}
	// The stub finds the medium by a file that it has.
	lines := strings.Split(in["boot/grub/grub.cfg"], "\n")
	marker, ok := strings.CutPrefix(lines[0], "search --no-floppy --set=root --file /")
	if n, err := s.Root.Lookup(marker); !ok || n == nil || err != nil {
		t.Errorf("no file %q", marker)
	}
	if lines[1] != "set prefix=($root)/boot/grub" || lines[2] != "configfile ($root)/boot/grub/grub.cfg" {
		t.Errorf("%q", lines)
	}
	// Another medium has another.
	other, err := Find(t.Context(), treeOf(t, map[string]string{"EFI/BOOT/BOOTX64.EFI": fakeGRUB("/boot/grub", "x"),
		"boot/grub/grub.cfg": "menu"}))
	systest.Must(t, err)
	if n, err := other.Root.Lookup(marker); n != nil || err != nil {
		t.Error("the same marker")
	}
}

// TestFindBadNames: what FAT has no place for is a note.
func TestFindBadNames(t *testing.T) {
	t.Parallel()
	s, err := Find(t.Context(), treeOf(t, map[string]string{"EFI/BOOT/BOOTX64.EFI": "x", "EFI/a:b": "x"}))
	systest.Must(t, err)
	if len(s.Boot) != 0 || !slices.ContainsFunc(s.Notes,
		func(n string) bool { return strings.Contains(n, "/EFI/a:b: the name holds ':'") }) {
		t.Errorf("%+v", s)
	}
}

// TestLookup: symlinks are followed within the tree, and end.
func TestLookup(t *testing.T) {
	t.Parallel()
	s := source{root: treeOf(t, map[string]string{
		"usr/lib/a/file": "x", "lib": "-> usr/lib", "usr/lib/b": "-> /lib/a", "usr/lib/up": "-> ../../lib/a/file", "loop": "-> loop",
		"out": "-> ../../../usr/lib/a/file",
	})}
	for path, want := range map[string]string{
		"lib/a/file": "usr/lib/a/file", "lib/b/file": "usr/lib/a/file", "usr/lib/up": "usr/lib/a/file", "out": "usr/lib/a/file",
		"loop": "", "lib": "", "lib/a/file/x": "", "LIB/a/file": "", "/lib//a/./file": "usr/lib/a/file",
	} {
		if at, n, err := s.file(path); at != want && n != nil || (n != nil) != (want != "") || err != nil {
			t.Errorf("%s: %q %v %v", path, at, n, err)
		}
	}
	s.anyCase = true
	if at, n, err := s.file("LIB/A/File"); at != "usr/lib/a/file" || n == nil || err != nil {
		t.Error(at, n, err)
	}
	if got, err := s.match("usr/lib/*/fil?"); err != nil || !slices.Equal(got, []string{"usr/lib/a/file", "usr/lib/a/file"}) {
		t.Error(got, err)
	}
	var none source
	if _, n, err := none.file("x"); n != nil || err != nil {
		t.Error(n, err)
	}
}
