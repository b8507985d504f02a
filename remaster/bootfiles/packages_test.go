package bootfiles

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"relive/iso"
	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// menus are texts that tell what they were asked for.
var menus = Menus{
	ISOLINUX: func(ui string) ([]byte, error) { return []byte("isolinux " + ui), nil },
	GRUB:     func() ([]byte, error) { return []byte("grub menu"), nil },
}

func with(files map[string]string, more map[string]string) map[string]string {
	out := maps.Clone(files)
	maps.Copy(out, more)
	return out
}

// TestFromPackages: what distributions install.
func TestFromPackages(t *testing.T) {
	t.Parallel()
	syslinux := []string{"boot/isolinux/isolinux.bin", "boot/isolinux/isolinux.cfg", "boot/isolinux/ldlinux.c32",
		"boot/isolinux/libcom32.c32", "boot/isolinux/libutil.c32", "boot/isolinux/vesamenu.c32"}
	efi := func(names ...string) []string {
		out := append([]string{".disk/*.id", ".disk/info", "boot/grub/efi.img", "boot/grub/grub.cfg"}, names...)
		return out
	}
	fedora := map[string]string{
		"usr/share/syslinux/isolinux.bin": fakeISOLINUX("6.04", true), "usr/share/syslinux/isohdpfx.bin": code("fedora", 432),
		"usr/share/syslinux/ldlinux.c32":  "ldlinux",
		"usr/share/syslinux/vesamenu.c32": "vesamenu", "usr/share/syslinux/menu.c32": "menu", "usr/share/syslinux/libcom32.c32": "libcom32",
		"usr/share/syslinux/libutil.c32": "libutil",
	}
	for name, c := range map[string]struct {
		system map[string]string
		menus  *Menus
		o      Options
		want   string
		files  []string
		image  map[string]string // parts of the content in the FAT image
		notes  []string
		origin string
	}{
		"Debian": {
			system: with(packagesOf, map[string]string{
				"usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi":  fakeGRUB("/boot/grub", ""),
				"usr/lib/grub/x86_64-efi/monolithic/grubx64.efi": fakeGRUB("/EFI/debian", ""),
			}),
			want:   "0x0 boot/isolinux/isolinux.bin info, 0xef boot/grub/efi.img, isohybrid system-isohdpfx 1",
			files:  efi(append(syslinux, "EFI/BOOT/BOOTX64.EFI")...),
			image:  map[string]string{"EFI/BOOT/BOOTX64.EFI": "/boot/grub", "boot/grub/grub.cfg": "configfile ($root)/boot/grub/grub.cfg"},
			notes:  []string{"not signed"},
			origin: "ISOLINUX 6.04, GRUB of /usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi",
		},
		"Debian signed": {
			system: with(packagesOf, map[string]string{
				"usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi":     fakeGRUB("/boot/grub", "unsigned"),
				"usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed": fakeGRUB("/EFI/debian", "signed"),
				"usr/lib/shim/shimx64.efi.signed":                   "shim", "usr/lib/shim/mmx64.efi": "unsigned mm",
				"usr/lib/shim/mmx64.efi.signed": "mm",
			}),
			o:    Options{Text: true},
			want: "0x0 boot/isolinux/isolinux.bin info, 0xef boot/grub/efi.img, isohybrid system-isohdpfx 1",
			files: efi("boot/isolinux/isolinux.bin", "boot/isolinux/isolinux.cfg", "boot/isolinux/ldlinux.c32",
				"boot/isolinux/libcom32.c32", "boot/isolinux/libutil.c32", "boot/isolinux/menu.c32", "EFI/BOOT/BOOTX64.EFI",
				"EFI/BOOT/grubx64.efi", "EFI/BOOT/mmx64.efi", "EFI/debian/grub.cfg"),
			image: map[string]string{"EFI/BOOT/BOOTX64.EFI": "shim", "EFI/BOOT/mmx64.efi": "mm", "EFI/BOOT/grubx64.efi": "signed",
				"EFI/debian/grub.cfg": "search --no-floppy"},
			origin: "ISOLINUX 6.04, GRUB of /usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
		},
		"Ubuntu": {
			system: map[string]string{
				"usr/lib/shim/shimx64.efi.signed":                  "-> /etc/alternatives/shim",
				"etc/alternatives/shim":                            "-> /usr/lib/shim/shimx64.efi.signed.latest",
				"usr/lib/shim/shimx64.efi.signed.latest":           "shim",
				"usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed": fakeGRUB("/boot/grub", ""),
			},
			want:   "0xef boot/grub/efi.img, none  1",
			files:  efi("EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grubx64.efi"),
			image:  map[string]string{"EFI/BOOT/BOOTX64.EFI": "shim"},
			notes:  []string{"BIOS: the system has no ISOLINUX"},
			origin: "GRUB of /usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed",
		},
		"Fedora": {
			system: with(fedora, map[string]string{
				"boot/efi/EFI/BOOT/BOOTX64.EFI": "x", "boot/efi/EFI/fedora/shimx64.efi": "shim", "boot/efi/EFI/fedora/mmx64.efi": "mm",
				"boot/efi/EFI/fedora/grubx64.efi":  fakeGRUB("/EFI/fedora", "for disks"),
				"boot/efi/EFI/fedora/gcdx64.efi":   fakeGRUB("/EFI/BOOT", "for CDs"),
				"boot/efi/EFI/fedora/shimia32.efi": "shim32", "boot/efi/EFI/fedora/gcdia32.efi": fakeGRUB("/EFI/BOOT", ""),
			}),
			want: "0x0 boot/isolinux/isolinux.bin info, 0xef boot/grub/efi.img, isohybrid fedora 1",
			files: efi(append(syslinux, "EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grubx64.efi", "EFI/BOOT/mmx64.efi", "EFI/BOOT/BOOTIA32.EFI",
				"EFI/BOOT/grubia32.efi", "EFI/BOOT/grub.cfg")...),
			image: map[string]string{"EFI/BOOT/grubx64.efi": "for CDs", "EFI/BOOT/grub.cfg": "search --no-floppy",
				"EFI/BOOT/BOOTIA32.EFI": "shim32"},
			origin: "ISOLINUX 6.04, GRUB of /boot/efi/EFI/fedora/gcdx64.efi, GRUB of /boot/efi/EFI/fedora/gcdia32.efi",
		},
		"Arch": {
			system: map[string]string{
				"usr/lib/syslinux/bios/isolinux.bin": fakeISOLINUX("6.04", true), "usr/lib/syslinux/bios/isohdpfx.bin": code("arch", 432),
				"usr/lib/syslinux/bios/ldlinux.c32":  "ldlinux",
				"usr/lib/grub/x86_64-efi/kernel.img": "x", "boot/efi/EFI/arch/grubx64.efi": fakeGRUB("(,gpt2)/boot/grub", ""),
			},
			want:  "0x0 boot/isolinux/isolinux.bin info, isohybrid arch 0",
			files: []string{".disk/info", "boot/isolinux/isolinux.bin", "boot/isolinux/isolinux.cfg", "boot/isolinux/ldlinux.c32"},
			notes: []string{"shows a prompt and no menu", "/usr/lib/grub/x86_64-efi has modules of GRUB and no finished image",
				"UEFI: the system has no finished image"},
			origin: "ISOLINUX 6.04",
		},
		"GRUB for BIOS": {
			system: map[string]string{"usr/lib/grub/i386-pc/eltorito.img": strings.Repeat("x", 5000),
				"usr/lib/grub/i386-pc/boot_hybrid.img": code("hybrid", 512)},
			want:   "0x0 boot/grub/i386-pc/eltorito.img info grub2, GRUB 2 hybrid 0",
			files:  []string{".disk/info", "boot/grub/grub.cfg", "boot/grub/i386-pc/eltorito.img"},
			notes:  []string{"UEFI: the system has no finished image"},
			origin: "GRUB of /usr/lib/grub/i386-pc/eltorito.img",
		},
		"half of ISOLINUX": {
			system: map[string]string{"usr/lib/ISOLINUX/isolinux.bin": fakeISOLINUX("6.03", true)},
			notes:  []string{"ISOLINUX 6.03 lacks ldlinux.c32", "UEFI: the system has no finished image"}, origin: "the system's packages",
		},
		"nothing": {
			system: map[string]string{},
			notes:  []string{"UEFI: the system has no finished image", "BIOS: the system has no ISOLINUX"}, origin: "the system's packages",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.o.Title = "A live system"
			s, err := FromPackages(t.Context(), treeOf(t, c.system), menus, c.o)
			systest.Must(t, err)
			if got := describe(s); got != c.want || s.Origin != c.origin {
				t.Errorf("%s, of %s", got, s.Origin)
			}
			got := paths(t, s.Root)
			for i, p := range got {
				if strings.HasPrefix(p, ".disk/") && p != ".disk/info" {
					got[i] = ".disk/*.id"
				}
			}
			slices.Sort(c.files)
			if !slices.Equal(got, c.files) {
				t.Errorf("files\n%q, want\n%q", got, c.files)
			}
			for i, n := range s.Notes {
				if i >= len(c.notes) || !strings.Contains(n, c.notes[i]) {
					t.Errorf("note %q", n)
				}
			}
			if len(s.Notes) < len(c.notes) {
				t.Errorf("only %d notes: %q", len(s.Notes), s.Notes)
			}
			empty := tree.NewDir("", 0o755)
			if c.image != nil {
				in := insideFAT(t, s.Root, "boot/grub/efi.img")
				for path, part := range c.image {
					if !strings.Contains(in[path], part) {
						t.Errorf("%s is %.60q", path, in[path])
					}
				}
				onISO := laid(t, empty, s)
				for path, content := range in {
					n, err := onISO.Lookup(path)
					systest.Must(t, err)
					if n == nil || path != grubMenu && string(contentOf(t, n.Data)) != content {
						t.Errorf("%s is another one on the ISO", path)
					}
				}
			}
			burn(t, empty, s)
		})
	}
}

// TestFromPackagesMenus: what menus are asked for, and their errors.
func TestFromPackagesMenus(t *testing.T) {
	t.Parallel()
	system := treeOf(t, with(packagesOf, map[string]string{"usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi": fakeGRUB("/boot/grub", "")}))
	read := func(s *Setup, path string) string {
		n, err := s.Root.Lookup(path)
		if err != nil || n == nil {
			return fmt.Sprint(n, err)
		}
		return string(contentOf(t, n.Data))
	}
	s, err := FromPackages(t.Context(), system, menus, Options{Text: true})
	systest.Must(t, err)
	if got := read(s, "boot/isolinux/isolinux.cfg"); got != "isolinux menu.c32" {
		t.Error(got)
	}
	if got := read(s, "boot/grub/grub.cfg"); got != "grub menu" {
		t.Error(got)
	}
	if s, err = FromPackages(t.Context(), system, Menus{GRUB: menus.GRUB}, Options{}); err != nil ||
		describe(s) != "0xef boot/grub/efi.img, none  1" {
		t.Error(describe(s), err)
	}
	if s, err = FromPackages(t.Context(), system, Menus{ISOLINUX: menus.ISOLINUX}, Options{}); err != nil ||
		describe(s) != "0x0 boot/isolinux/isolinux.bin info, isohybrid system-isohdpfx 0" {
		t.Error(describe(s), err)
	}
	bad := errors.New("bad menu")
	if _, err = FromPackages(t.Context(), system, Menus{ISOLINUX: func(string) ([]byte, error) { return nil, bad }},
		Options{}); !errors.Is(err, bad) {
		t.Error(err)
	}
	if _, err = FromPackages(t.Context(), system, Menus{GRUB: func() ([]byte, error) { return nil, bad }}, Options{}); !errors.Is(err,
		bad) {
		t.Error(err)
	}
}

// TestHost: the packages of the system that runs the tests, and xorriso's view of
// the ISO.
func TestHost(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/usr/lib/ISOLINUX/isolinux.bin", "/usr/lib/syslinux/modules/bios/menu.c32",
		"/usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi"} {
		if _, err := os.Stat(path); err != nil {
			systest.Lacks(t, path)
		}
	}
	systest.NeedTools(t, "xorriso", "sgdisk", "fsck.fat")
	host, err := hostfs.Open("/")
	systest.Must(t, err)
	s, err := FromPackages(t.Context(), host, menus, Options{Title: "test"})
	systest.Must(t, err)
	in := insideFAT(t, s.Root, "boot/grub/efi.img")
	loader, err := os.ReadFile("/usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi")
	systest.Must(t, err)
	if g, ok := readGRUBImage(loader); !ok || g.prefix != "/boot/grub" || g.config == "" {
		t.Errorf("gcdx64.efi: %+v %v", g, ok)
	}
	if in["EFI/BOOT/BOOTX64.EFI"] != string(loader) && in["EFI/BOOT/grubx64.efi"] == "" {
		t.Errorf("%q", keys(in))
	}
	path := t.TempDir() + "/test.iso"
	f, err := os.Create(path)
	systest.Must(t, err)
	defer f.Close()
	p, err := iso.NewPlan(t.Context(), s.Root, iso.Recipe{VolumeID: "TEST", Boot: s.Boot, Catalog: s.Catalog, Disk: s.Disk})
	systest.Must(t, err)
	_, err = p.Write(t.Context(), f, nil)
	systest.Must(t, err)
	said := systest.Run(t, "xorriso", "-indev", path, "-report_el_torito", "plain", "-report_system_area", "plain")
	for _, want := range []string{
		"El Torito img path :   1  /boot/isolinux/isolinux.bin", "El Torito img opts :   1  boot-info-table isohybrid-suitable",
		"El Torito img path :   2  /boot/grub/efi.img", "MBR isohybrid", "GPT partition path :   2  /boot/grub/efi.img",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("xorriso does not say %q:\n%s", want, said)
		}
	}
	if said := systest.Run(t, "sgdisk", "-v", path); !strings.Contains(said, "No problems found") {
		t.Error(said)
	}
}

// FuzzGRUBImage reads any bytes as an image.
func FuzzGRUBImage(f *testing.F) {
	f.Add([]byte(fakeGRUB("/boot/grub", "set x=1")))
	f.Add([]byte("mimg\x0c\x00\x00\x00\x1c\x00\x00\x00\x03\x00\x00\x00\x10\x00\x00\x00/EFI/x\x00\x00"))
	f.Add([]byte("mimg\x00\x00\x00\x00\x18\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, ok := readGRUBImage(b)
		if !ok && g != (grubImage{}) {
			t.Errorf("%+v", g)
		}
		g.elsewhere()
		g.place()
	})
}

// TestGRUBImage32: the list of objects in images of 32 bits.
func TestGRUBImage32(t *testing.T) {
	t.Parallel()
	g, ok := readGRUBImage([]byte("mimg mimg\x0c\x00\x00\x00\x1c\x00\x00\x00\x03\x00\x00\x00\x10\x00\x00\x00/EFI/x\x00\x00"))
	if !ok || g.prefix != "/EFI/x" {
		t.Errorf("%+v %v", g, ok)
	}
}
