package bootfiles

import (
	"bytes"
	"strings"

	"relive/iso"
	"relive/tree"
)

// Where ISOLINUX lies on media: Debian's, antiX' and Fedora's places, archiso's,
// SUSE's. It is also where ISOLINUX looks for its files besides its own directory.
var isolinuxDirs = []string{"boot/isolinux", "isolinux", "boot/syslinux", "syslinux", "boot/x86_64/loader"}

// Places of SYSLINUX in systems: of Debian, Fedora and its kin, Arch, and older
// Debian. Modules and MBR code are looked for in the same list.
var (
	isolinuxPlaces = []string{"usr/lib/ISOLINUX", "usr/share/syslinux", "usr/lib/syslinux/bios", "usr/lib/syslinux"}
	modulePlaces   = []string{"usr/lib/syslinux/modules/bios", "usr/share/syslinux", "usr/lib/syslinux/bios", "usr/lib/syslinux"}
	isohdpfxPlaces = []string{"usr/lib/ISOLINUX", "usr/share/syslinux", "usr/lib/syslinux/bios", "usr/lib/syslinux", "usr/lib/syslinux/mbr"}
)

const (
	isolinuxName = "isolinux.bin"
	ldlinuxName  = "ldlinux.c32"
	isohdpfxName = "isohdpfx.bin"
)

// isolinuxSignature is what isohybrid's code looks for at byte 64 of isolinux.bin.
const isolinuxSignature = "\xfb\xc0\x78\x70"

// isolinux is what isolinux.bin tells of itself.
type isolinux struct {
	version string // "6.04"
	hybrid  bool   // isohybrid's code can start it
}

// readISOLINUX looks at an isolinux.bin; ok is false where it is none.
func readISOLINUX(b []byte) (l isolinux, ok bool) {
	i := bytes.Index(b, []byte("ISOLINUX "))
	if i < 0 {
		return l, false
	}
	rest := b[i+len("ISOLINUX "):]
	n := 0
	for n < len(rest) && n < 16 && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '.') {
		n++
	}
	l.version = string(rest[:n])
	l.hybrid = len(b) > 68 && string(b[64:68]) == isolinuxSignature
	return l, n > 0
}

// modular tells of versions that are in two parts: isolinux.bin loads ldlinux.c32
// (SYSLINUX 5.00).
func (l isolinux) modular() bool {
	major, _, _ := strings.Cut(l.version, ".")
	return len(major) > 1 || major >= "5"
}

// mediumISOLINUX finds an ISOLINUX on a medium with all that it needs.
func (p *plan) mediumISOLINUX(medium source, packages []source) (found bool, err error) {
	for _, dir := range isolinuxDirs {
		at, n, err := medium.file(inDir(dir, isolinuxName))
		if err != nil {
			return false, err
		}
		if n == nil || n.Size > maxLoader {
			continue
		}
		b, err := read(at, n, maxLoader)
		if err != nil {
			return false, err
		}
		l, ok := readISOLINUX(b)
		if !ok {
			p.note("/%s is no ISOLINUX", at)
			continue
		}
		p.see(n)
		if ok, err := p.ldlinux(medium, packages, at, l); !ok || err != nil {
			if err != nil {
				return false, err
			}
			continue
		}
		if cfg, err := isolinuxConfig(medium, dirOf(at)); err != nil {
			return false, err
		} else if cfg == "" {
			p.note("BIOS: ISOLINUX in /%s finds no menu: there is neither isolinux.cfg nor syslinux.cfg", dirOf(at))
		}
		p.Boot = append(p.Boot, iso.BootImage{Path: at, Platform: iso.PlatformBIOS, BootInfo: true})
		p.Catalog = inDir(dirOf(at), "boot.cat")
		for _, name := range []string{"boot.cat", "isolinux.cat", "boot.catalog"} {
			if c, n, err := medium.file(inDir(dirOf(at), name)); err != nil {
				return false, err
			} else if n != nil {
				p.Catalog = c
				break
			}
		}
		return true, p.isohybrid(medium, packages, l, dirOf(at))
	}
	return false, nil
}

// isolinuxConfig finds the menu that ISOLINUX reads.
func isolinuxConfig(medium source, own string) (string, error) {
	for _, dir := range append([]string{own}, isolinuxSearch...) {
		for _, name := range []string{"isolinux.cfg", "syslinux.cfg"} {
			if at, n, err := medium.file(inDir(dir, name)); n != nil || err != nil {
				return at, err
			}
		}
	}
	return "", nil
}

// isolinuxSearch are the directories that ISOLINUX goes through.
var isolinuxSearch = []string{"boot/isolinux", "isolinux", "boot/syslinux", "syslinux", ""}

// ldlinux makes sure that an ISOLINUX finds its second part.
func (p *plan) ldlinux(medium source, packages []source, at string, l isolinux) (bool, error) {
	if !l.modular() {
		return true, nil
	}
	for _, dir := range append([]string{dirOf(at)}, isolinuxSearch...) {
		if _, n, err := medium.file(inDir(dir, ldlinuxName)); n != nil || err != nil {
			return n != nil, err
		}
	}
	for _, s := range packages {
		of, n, err := systemISOLINUX(s)
		if err != nil {
			return false, err
		}
		if n == nil || of.version != l.version {
			continue
		}
		if _, n, err = s.first(each(modulePlaces, ldlinuxName)...); err != nil {
			return false, err
		} else if n != nil {
			p.put(inDir(dirOf(at), ldlinuxName), n)
			return true, nil
		}
	}
	p.note("BIOS: /%s is of version %s and needs %s beside it, which is neither on the medium nor, of the same version, in packages", at,
		l.version, ldlinuxName)
	return false, nil
}

// each puts a name into directories.
func each(dirs []string, name string) []string {
	out := make([]string, len(dirs))
	for i, d := range dirs {
		out[i] = inDir(d, name)
	}
	return out
}

// systemISOLINUX finds ISOLINUX among a system's packages.
func systemISOLINUX(s source) (l isolinux, n *tree.Node, err error) {
	for _, name := range each(isolinuxPlaces, isolinuxName) {
		at, n, err := s.file(name)
		if err != nil {
			return l, nil, err
		}
		if n == nil || n.Size > maxLoader {
			continue
		}
		b, err := read(at, n, maxLoader)
		if err != nil {
			return l, nil, err
		}
		if l, ok := readISOLINUX(b); ok {
			return l, n, nil
		}
	}
	return l, nil, nil
}

// isohybrid finds the MBR code that starts ISOLINUX from a disk.
func (p *plan) isohybrid(medium source, packages []source, l isolinux, dir string) error {
	if !l.hybrid {
		p.note("BIOS: ISOLINUX %s cannot be started from a disk, only from a CD", l.version)
		return nil
	}
	code, err := mbrCode(medium, append([]string{dir}, isolinuxDirs...), packages, isohdpfxPlaces, isohdpfxName)
	if err != nil {
		return err
	}
	if code == nil {
		p.note("BIOS: ISOLINUX starts from a CD, but not from a disk: there is no %s on the medium or in packages (Debian: isolinux; "+
			"Fedora, Arch: syslinux)", isohdpfxName)
		return nil
	}
	p.code, p.kind = code, iso.Isohybrid
	return nil
}

// Sizes of MBR code in bytes: isohybrid's, and what is in front of the disk's id.
const (
	leastCode = 432
	mostCode  = 440
	mbrSize   = 512
)

// mbrCode finds boot code for the first sector.
func mbrCode(medium source, dirs []string, packages []source, places []string, name string) ([]byte, error) {
	sources := append([]source{medium}, packages...)
	for i, s := range sources {
		names := each(places, name)
		if i == 0 {
			names = each(dirs, name)
		}
		for _, name := range names {
			at, n, err := s.file(name)
			if err != nil {
				return nil, err
			}
			if n == nil || n.Size < leastCode || n.Size > mbrSize {
				continue
			}
			b, err := read(at, n, mostCode)
			if err != nil {
				return nil, err
			}
			if !tree.IsZero(b) {
				return b, nil
			}
		}
	}
	return nil, nil
}
