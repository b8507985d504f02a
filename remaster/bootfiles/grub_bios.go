package bootfiles

import (
	"relive/iso"
)

// GRUB's images for El Torito on media: of grub-mkrescue, mx-iso-template and
// Ubuntu, lorax, live-build.
var (
	grubImages = []string{
		"boot/grub/i386-pc/eltorito.img", "boot/grub2/i386-pc/eltorito.img", "images/eltorito.img",
		"boot/grub/grub_eltorito", "boot/grub/eltorito.img", "boot/grub/bios.img",
	}
	hybridPlaces = []string{"usr/lib/grub/i386-pc", "usr/lib/grub2/i386-pc", "usr/share/grub2/i386-pc"}
)

const hybridName = "boot_hybrid.img"

// GRUB's image for El Torito begins with cdboot.img, of one sector of a CD, and
// has room for its own address there (grub-core/boot/i386/pc/cdboot.S).
const (
	leastGRUBImage = 2048 + 512
	mostGRUBImage  = 16 << 20
)

// mediumGRUB finds GRUB's image for BIOS on a medium.
func (p *plan) mediumGRUB(medium source, packages []source) (found bool, err error) {
	for _, name := range grubImages {
		at, n, err := medium.file(name)
		if err != nil {
			return false, err
		}
		if n == nil {
			continue
		}
		if n.Size < leastGRUBImage || n.Size > mostGRUBImage {
			p.note("/%s has %d bytes and is no image of GRUB", at, n.Size)
			continue
		}
		p.see(n)
		p.Boot = append(p.Boot, iso.BootImage{Path: at, Platform: iso.PlatformBIOS, BootInfo: true, Grub2Info: true})
		p.Catalog = "boot.catalog"
		code, err := mbrCode(medium, []string{dirOf(at), "boot/grub/i386-pc", "boot/grub2/i386-pc"}, packages, hybridPlaces, hybridName)
		if err != nil {
			return false, err
		}
		if code == nil {
			p.note("BIOS: GRUB starts from a CD, but not from a disk: there is no %s on the medium or in packages (Debian: grub-pc-bin; "+
				"Fedora: grub2-pc-modules; Arch: grub)", hybridName)
			return true, nil
		}
		p.code, p.kind = code, iso.GRUB2
		return true, nil
	}
	return false, nil
}
