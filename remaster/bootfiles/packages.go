package bootfiles

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"relive/iso"
	"relive/tree"
)

// Menus write the menus of the loaders that are found. A loader whose menu is nil
// is left out.
type Menus struct {
	// ISOLINUX gives isolinux.cfg. ui is the module that shows menus, such as
	// "vesamenu.c32"; it is empty where there is none.
	ISOLINUX func(ui string) ([]byte, error)
	// GRUB gives grub.cfg. Paths in it are of the ISO, which is $root.
	GRUB func() ([]byte, error)
}

// Options say how loaders of packages are laid on an ISO.
type Options struct {
	// Title is what the medium calls itself in .disk/info; empty for no such file.
	Title string
	// Text has menus that are readable on serial consoles rather than pretty ones:
	// menu.c32 instead of vesamenu.c32.
	Text bool
}

// Where loaders of packages lie on the ISO.
const (
	isolinuxDir = "boot/isolinux"
	grubMenu    = "boot/grub/grub.cfg"
	efiBoot     = "EFI/BOOT"
)

// FromPackages makes a set-up from the loaders that a system's packages have
// installed: ISOLINUX for BIOS, else an image of GRUB where one lies there; and for
// UEFI shim with GRUB, or GRUB alone, in a fresh FAT image, and in EFI/BOOT for
// sticks onto which the files are copied. It puts no kernel on the ISO.
//
// A system without loaders gives a Setup without boot images. Errors are those of
// reading, and of the menus.
func FromPackages(ctx context.Context, system *tree.Node, m Menus, o Options) (*Setup, error) {
	s := source{root: system}
	p := &plan{}
	var origins []string
	add := func(origin string, err error) error {
		if origin != "" {
			origins = append(origins, origin)
		}
		return err
	}
	bios := ""
	if m.ISOLINUX != nil {
		var err error
		if bios, err = p.packageISOLINUX(s, m, o); add(bios, err) != nil {
			return nil, err
		}
	}
	if m.GRUB != nil {
		menu, err := m.GRUB()
		if err != nil {
			return nil, fmt.Errorf("/%s: %w", grubMenu, err)
		}
		if bios == "" {
			if bios, err = p.packageGRUB(s); add(bios, err) != nil {
				return nil, err
			}
		}
		efi, err := p.packageEFI(ctx, s, menu)
		if add(efi, err) != nil {
			return nil, err
		}
		if len(origins) > 0 && (efi != "" || p.kind == iso.GRUB2) {
			p.put(grubMenu, p.text(string(menu)))
		}
	}
	told := slices.ContainsFunc(p.Notes, func(n string) bool { return strings.HasPrefix(n, "BIOS:") })
	if bios == "" && !told {
		p.note("BIOS: the system has no ISOLINUX (Debian: isolinux, syslinux-common; Fedora, Arch: syslinux)")
	}
	if o.Title != "" && len(p.Boot) > 0 {
		p.put(".disk/info", p.text(o.Title+"\n"))
	}
	if p.Origin = strings.Join(origins, ", "); p.Origin == "" {
		p.Origin = "the system's packages"
	}
	return p.finish()
}

// packageISOLINUX lays ISOLINUX with its modules and menu on the ISO, and gives
// its name, or "" where it is not complete.
func (p *plan) packageISOLINUX(s source, m Menus, o Options) (string, error) {
	l, n, err := systemISOLINUX(s)
	if n == nil || err != nil {
		return "", err
	}
	module := func(name string) (bool, error) {
		_, n, err := s.first(each(modulePlaces, name)...)
		if n != nil {
			p.see(n)
			p.put(inDir(isolinuxDir, name), n)
		}
		return n != nil, err
	}
	if l.modular() {
		if ok, err := module(ldlinuxName); err != nil {
			return "", err
		} else if !ok {
			p.note("BIOS: ISOLINUX %s lacks %s (Debian: syslinux-common)", l.version, ldlinuxName)
			return "", nil
		}
	}
	ui, err := p.menuModule(s, l, o, module)
	if err != nil {
		return "", err
	}
	if ui == "" {
		p.note("BIOS: ISOLINUX shows a prompt and no menu, since the system lacks menu.c32 (Debian: syslinux-common)")
	}
	menu, err := m.ISOLINUX(ui)
	if err != nil {
		return "", fmt.Errorf("/%s/isolinux.cfg: %w", isolinuxDir, err)
	}
	p.see(n)
	p.put(inDir(isolinuxDir, isolinuxName), n)
	p.put(inDir(isolinuxDir, "isolinux.cfg"), p.text(string(menu)))
	p.Boot = append(p.Boot, iso.BootImage{Path: inDir(isolinuxDir, isolinuxName), Platform: iso.PlatformBIOS, BootInfo: true})
	p.Catalog = inDir(isolinuxDir, "boot.cat")
	return "ISOLINUX " + l.version, p.isohybrid(source{}, []source{s}, l, isolinuxDir)
}

// menuModule lays the module that shows menus on the ISO, with the libraries that
// it needs in versions that have them.
func (p *plan) menuModule(s source, l isolinux, o Options, module func(string) (bool, error)) (string, error) {
	names := []string{"vesamenu.c32", "menu.c32"}
	if o.Text {
		names = []string{"menu.c32", "vesamenu.c32"}
	}
	at, _, err := s.first(append(each(modulePlaces, names[0]), each(modulePlaces, names[1])...)...)
	if at == "" || err != nil {
		return "", err
	}
	ui := at[strings.LastIndexByte(at, '/')+1:]
	if l.modular() {
		for _, lib := range []string{"libcom32.c32", "libutil.c32"} {
			if ok, err := module(lib); !ok || err != nil {
				return "", err
			}
		}
	}
	_, err = module(ui)
	return ui, err
}

// packageGRUB lays an image of GRUB for CDs on the ISO, where the system has one
// that is finished.
func (p *plan) packageGRUB(s source) (string, error) {
	at, n, err := s.first("usr/lib/grub/i386-pc/eltorito.img", "boot/grub/i386-pc/eltorito.img")
	if n == nil || err != nil || n.Size < leastGRUBImage || n.Size > mostGRUBImage {
		return "", err
	}
	const to = "boot/grub/i386-pc/eltorito.img"
	p.see(n)
	p.put(to, n)
	p.Boot = append(p.Boot, iso.BootImage{Path: to, Platform: iso.PlatformBIOS, BootInfo: true, Grub2Info: true})
	p.Catalog = "boot/grub/boot.cat"
	if p.code, err = mbrCode(source{}, nil, []source{s}, hybridPlaces, hybridName); err != nil {
		return "", err
	}
	if p.code == nil {
		p.note("BIOS: GRUB starts from a CD, but not from a disk: the system has no %s", hybridName)
	} else {
		p.kind = iso.GRUB2
	}
	return "GRUB of /" + at, nil
}

// shimPatterns, grubPatterns and managerPatterns are where signed and unsigned
// loaders lie, the best first; % stands for a machine's suffix, & for GRUB's name
// of it: Debian and Ubuntu, Fedora and its kin.
var (
	shimPatterns = []string{
		"usr/lib/shim/shim%.efi.signed", "usr/lib/shim/shim%.efi.signed.latest", "usr/lib/shim/shim%.efi.dualsigned",
		"boot/efi/EFI/*/shim%.efi", "usr/lib/bootupd/updates/EFI/*/shim%.efi", "usr/lib/efi/shim/*/EFI/*/shim%.efi",
	}
	managerPatterns = []string{
		"usr/lib/shim/mm%.efi.signed", "usr/lib/shim/mm%.efi",
		"boot/efi/EFI/*/mm%.efi", "usr/lib/bootupd/updates/EFI/*/mm%.efi", "usr/lib/efi/shim/*/EFI/*/mm%.efi",
	}
	grubPatterns = []string{
		"usr/lib/grub/&-signed/gcd%.efi.signed", "usr/lib/grub/&-signed/grub%.efi.signed",
		"boot/efi/EFI/*/gcd%.efi", "usr/lib/bootupd/updates/EFI/*/gcd%.efi", "usr/lib/efi/grub2/*/EFI/*/gcd%.efi",
		"boot/efi/EFI/*/grub%.efi", "usr/lib/bootupd/updates/EFI/*/grub%.efi", "usr/lib/efi/grub2/*/EFI/*/grub%.efi",
		"usr/lib/grub/&/monolithic/gcd%.efi", "usr/lib/grub/&/monolithic/grub%.efi",
	}
)

// packageEFI makes a FAT image with shim and GRUB for each machine that the system
// has them for.
func (p *plan) packageEFI(ctx context.Context, s source, menu []byte) (string, error) {
	e := newESP()
	fmt.Fprintf(e.id, "%q\n", menu)
	var origins, prefixes []string
	for _, m := range machines {
		at, n, g, err := finishedGRUB(s, m)
		if err != nil {
			return "", err
		}
		if n == nil {
			if at, _, err := s.directory("usr/lib/grub/" + m.grub); err != nil {
				return "", err
			} else if at != "" && len(origins) == 0 {
				p.note("UEFI: /%s has modules of GRUB and no finished image for a %s, which relive does not link (Debian: "+
					"grub-efi-*-bin; Fedora: grub2-efi-*-cdboot)", at, m.name)
			}
			continue
		}
		p.see(n)
		both := func(name string, n *tree.Node) {
			e.put(inDir(efiBoot, name), n)
			p.put(inDir(efiBoot, name), n)
		}
		_, shim, err := m.find(s, shimPatterns)
		if err != nil {
			return "", err
		}
		// The shim of an unsigned GRUB would refuse it where Secure Boot is on, and is
		// in the way where it is off.
		if shim != nil && !strings.Contains(at, "/monolithic/") {
			p.see(shim)
			both(m.loader, shim)
			both("grub"+m.suffix+".efi", n)
			if _, mm, err := m.find(s, managerPatterns); err != nil {
				return "", err
			} else if mm != nil {
				p.see(mm)
				both("mm"+m.suffix+".efi", mm)
			}
		} else {
			both(m.loader, n)
			p.note("UEFI: GRUB for a %s is not signed, or has no shim before it: Secure Boot refuses it", m.name)
		}
		origins = append(origins, "GRUB of /"+at)
		prefixes = append(prefixes, strings.Trim(g.prefix, "/"))
	}
	if len(origins) == 0 {
		p.note("UEFI: the system has no finished image of GRUB (Debian: grub-efi-amd64-bin, or grub-efi-amd64-signed and shim-signed; " +
			"Fedora: grub2-efi-x64-cdboot, shim-x64)")
		return "", nil
	}
	marker := e.marker()
	p.put(marker, p.text("by this file GRUB finds the medium\n"))
	text := p.text(stub(marker, grubMenu))
	for _, prefix := range prefixes {
		at := inDir(prefix, "grub.cfg")
		e.put(at, text)
		if at != grubMenu {
			p.put(at, text)
		}
	}
	return strings.Join(origins, ", "), p.addESP(ctx, e)
}

// find finds the first file of some patterns.
func (m machine) find(s source, patterns []string) (at string, n *tree.Node, err error) {
	all, err := m.all(s, patterns)
	if len(all) == 0 || err != nil {
		return "", nil, err
	}
	return s.file(all[0])
}

// all finds the files of some patterns, in their order.
func (m machine) all(s source, patterns []string) (out []string, err error) {
	for _, pattern := range patterns {
		found, err := s.match(strings.NewReplacer("%", m.suffix, "&", m.grub).Replace(pattern))
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// finishedGRUB finds an image of GRUB that looks for its menu on the volume that
// it was loaded from.
func finishedGRUB(s source, m machine) (at string, n *tree.Node, g grubImage, err error) {
	all, err := m.all(s, grubPatterns)
	if err != nil {
		return "", nil, g, err
	}
	for _, at := range all {
		_, n, err := s.file(at)
		if err != nil {
			return "", nil, g, err
		}
		if n == nil || n.Size > maxLoader {
			continue
		}
		b, err := read(at, n, maxLoader)
		if err != nil {
			return "", nil, g, err
		}
		if g, ok := readGRUBImage(b); ok && !g.elsewhere() && !g.standalone() {
			return at, n, g, nil
		}
	}
	return "", nil, g, nil
}
