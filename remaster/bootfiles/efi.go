package bootfiles

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"
	"strings"

	"relive/iso"
	"relive/remaster/stick/fat"
	"relive/tree"
)

// efiImages are the FAT images that firmware boots from, on media: Debian's,
// Ubuntu's and antiX', lorax's, archiso's, and others.
var efiImages = []string{
	"boot/grub/efi.img", "images/efiboot.img", "EFI/archiso/efiboot.img",
	"boot/grub/efiboot.img", "boot/grub2/efi.img", "boot/efi.img", "boot/efiboot.img",
	"images/efi.img", "isolinux/efiboot.img", "isolinux/efi.img", "boot/isolinux/efiboot.img",
	"boot/x86_64/efi", "EFI/BOOT/efiboot.img", "efi.img", "efiboot.img",
}

// freshImage is where an image that is made lies.
const freshImage = "boot/grub/efi.img"

// machine is a kind of computer that UEFI is on.
type machine struct {
	name   string // as people say
	loader string // that firmware starts from EFI/BOOT (UEFI 2.10, 3.5.1.1)
	suffix string // of shim's and GRUB's files
	grub   string // GRUB's name of it
}

var machines = []machine{
	{"64-bit PC", "BOOTX64.EFI", "x64", "x86_64-efi"},
	{"32-bit PC", "BOOTIA32.EFI", "ia32", "i386-efi"},
	{"64-bit ARM", "BOOTAA64.EFI", "aa64", "arm64-efi"},
}

// efiLoaders returns the paths of the loaders that firmware would start.
func efiLoaders(s source) (out []string, err error) {
	for _, m := range machines {
		at, n, err := s.file("EFI/BOOT/" + m.loader)
		if err != nil {
			return nil, err
		}
		if n != nil {
			out = append(out, at)
		}
	}
	return out, nil
}

// mediumImage finds a FAT image on a medium that firmware can boot from.
func (p *plan) mediumImage(medium source) (found bool, err error) {
	for _, name := range efiImages {
		at, n, err := medium.file(name)
		if err != nil {
			return false, err
		}
		if n == nil {
			continue
		}
		c, err := n.Open()
		if err != nil {
			return false, fmt.Errorf("%s: %w", tree.Quote(at), err)
		}
		fault := p.imageFault(at, c)
		c.Close()
		if fault != "" {
			p.note("UEFI: /%s %s", at, fault)
			continue
		}
		p.see(n)
		p.addImage(at)
		return true, nil
	}
	return false, nil
}

// addImage makes a FAT image a boot image.
func (p *plan) addImage(at string) {
	p.Boot = append(p.Boot, iso.BootImage{Path: at, Platform: iso.PlatformEFI})
	if p.Catalog == "" {
		p.Catalog = "boot/boot.cat"
	}
}

// imageFault tells why firmware cannot boot from an image, or is empty.
func (p *plan) imageFault(at string, c tree.Content) string {
	fs, err := fat.Open(c, c.Size(), tree.Quote(at))
	if err != nil {
		return fmt.Sprintf("is no FAT image: %v", err)
	}
	root, err := fs.Root()
	if err != nil {
		return fmt.Sprintf("is damaged: %v", err)
	}
	s := source{root, true}
	found, err := efiLoaders(s)
	if err == nil && len(found) > 0 {
		err = grubsIn(s, dirOf(found[0]), func(in string, g grubImage) error {
			if g.elsewhere() {
				p.note("UEFI: GRUB in /%s, /%s looks for its menu on a device that it was made for (%s), which the new medium may not be",
					at, in, g.place())
			}
			return nil
		})
	}
	switch {
	case err != nil:
		return fmt.Sprintf("is damaged: %v", err)
	case len(found) == 0:
		return "has no loader in EFI/BOOT"
	}
	return ""
}

// grubsIn calls fn with each image of GRUB in a directory.
func grubsIn(s source, dir string, fn func(at string, g grubImage) error) error {
	_, n, err := s.directory(dir)
	if n == nil || err != nil {
		return err
	}
	kids, err := n.Children()
	if err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(dir), err)
	}
	for _, k := range kids {
		if !strings.HasSuffix(strings.ToLower(k.Name), ".efi") {
			continue
		}
		at, n, err := s.file(inDir(dir, k.Name))
		if err != nil {
			return err
		}
		if n == nil || n.Size > maxLoader {
			continue
		}
		b, err := read(at, n, maxLoader)
		if err != nil {
			return err
		}
		if g, ok := readGRUBImage(b); ok {
			if err := fn(at, g); err != nil {
				return err
			}
		}
	}
	return nil
}

// esp is a FAT image that is being put together.
type esp struct {
	files tree.Edits
	id    hash.Hash         // of what it is made of
	names map[string]string // as they were met first, by those in lower case
}

func newESP() *esp { return &esp{id: sha256.New(), names: map[string]string{}} }

// put puts a file into the image, in which names that differ in case are one.
func (e *esp) put(at string, n *tree.Node) {
	spelt := ""
	for part := range strings.SplitSeq(at, "/") {
		spelt = inDir(spelt, part)
		key := strings.ToLower(spelt)
		if was, ok := e.names[key]; ok {
			spelt = was
		} else {
			e.names[key] = spelt
		}
	}
	at = spelt
	e.files.Put(at, plain(n))
	fmt.Fprintf(e.id, "%q %d %d\n", at, n.Size, n.Mtime.Sec)
}

// marker is the path of a file by which GRUB in the image finds the medium: other
// media do not have it.
func (e *esp) marker() string { return fmt.Sprintf(".disk/%x.id", e.id.Sum(nil)[:8]) }

// stub is a grub.cfg that goes on with the one on the medium.
func stub(marker, menu string) string {
	return fmt.Sprintf("search --no-floppy --set=root --file /%s\nset prefix=($root)/%s\nconfigfile ($root)/%s\n", marker, dirOf(menu),
		menu)
}

// addESP makes the image and lays it on the ISO.
func (p *plan) addESP(ctx context.Context, e *esp) error {
	root, err := e.files.Apply(tree.NewDir("", 0o755))
	if err != nil {
		return err
	}
	made, err := fat.NewPlan(ctx, root, fat.BuildOptions{Label: "EFI", Time: p.newest})
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.note("UEFI: no FAT image can be made: %v", err)
		return nil
	}
	p.put(freshImage, &tree.Node{Meta: tree.Meta{Type: tree.Regular, Size: made.Size(), Mtime: p.newest}, Data: made.Data()})
	p.addImage(freshImage)
	return nil
}

// mediumDirectory makes a FAT image of a medium's directory EFI and of what the
// loaders in it need.
func (p *plan) mediumDirectory(ctx context.Context, medium source) error {
	dir, n, err := medium.directory("EFI")
	if n == nil || err != nil {
		return err
	}
	loaders, err := efiLoaders(medium)
	if err != nil {
		return err
	}
	if len(loaders) == 0 {
		p.note("UEFI: there is no loader in /%s/BOOT (looked for BOOTX64.EFI, BOOTIA32.EFI, BOOTAA64.EFI)", dir)
		return nil
	}
	e := newESP()
	if err := p.copyDirectory(ctx, medium, dir, "EFI", e, 0); err != nil {
		return err
	}
	if err := p.grubMenus(medium, dirOf(loaders[0]), e); err != nil {
		return err
	}
	if err := p.loaderEntries(ctx, medium, e); err != nil {
		return err
	}
	return p.addESP(ctx, e)
}

// maxDepth is how deep directories of loaders may nest.
const maxDepth = 16

// copyDirectory puts a directory of the medium into the image, but for the images
// of firmware in it.
func (p *plan) copyDirectory(ctx context.Context, s source, from, to string, e *esp, depth int) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	_, n, err := s.directory(from)
	if n == nil || err != nil {
		return err
	}
	kids, err := n.Children()
	if err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(from), err)
	}
	for _, k := range kids {
		at := inDir(from, k.Name)
		if slices.ContainsFunc(efiImages, func(name string) bool { return strings.EqualFold(name, at) }) {
			continue
		}
		switch k.Type {
		case tree.Directory:
			if depth == maxDepth {
				p.note("UEFI: /%s lies too deep and is left out of the image", at)
				continue
			}
			if err := p.copyDirectory(ctx, s, at, inDir(to, k.Name), e, depth+1); err != nil {
				return err
			}
			continue
		case tree.Symlink:
			if _, k, err = s.file(at); err != nil {
				return err
			}
		case tree.Regular:
		default:
			k = nil
		}
		if k == nil {
			p.note("UEFI: /%s is no file and is left out of the image", at)
			continue
		}
		p.see(k)
		e.put(inDir(to, at[strings.LastIndexByte(at, '/')+1:]), k)
	}
	return nil
}

// menuPlaces are where a medium has GRUB's menu.
var menuPlaces = []string{"boot/grub/grub.cfg", "boot/grub2/grub.cfg", "EFI/BOOT/grub.cfg"}

// grubMenus sees to it that each GRUB in a directory finds a menu when it was
// loaded from the image: where its own place has none there, a stub goes on with
// the medium's.
func (p *plan) grubMenus(medium source, dir string, e *esp) error {
	marker := ""
	return grubsIn(medium, dir, func(at string, g grubImage) error {
		if g.standalone() {
			return nil
		}
		if g.elsewhere() {
			p.note("UEFI: GRUB in /%s looks for its menu on a device that it was made for (%s), which the new medium may not be", at,
				g.place())
			return nil
		}
		own := strings.Trim(g.prefix, "/")
		_, n, err := medium.file(inDir(own, "grub.cfg"))
		if err != nil {
			return err
		}
		if top, _, _ := strings.Cut(own, "/"); n != nil && strings.EqualFold(top, "EFI") {
			return nil // in the image as well
		}
		menu, n, err := medium.first(append([]string{inDir(own, "grub.cfg")}, menuPlaces...)...)
		if err != nil {
			return err
		}
		if n == nil {
			p.note("UEFI: GRUB in /%s finds no menu: there is no /%s/grub.cfg", at, own)
			return nil
		}
		p.see(n)
		if marker == "" {
			marker = e.marker()
			p.put(marker, p.text("by this file GRUB finds the medium\n"))
		}
		e.put(inDir(own, "grub.cfg"), p.text(stub(marker, menu)))
		return nil
	})
}

// loaderEntries puts systemd-boot's menu into the image, and the kernels and
// initrds that it names: it reads nothing but the volume that it was loaded from.
func (p *plan) loaderEntries(ctx context.Context, medium source, e *esp) error {
	dir, n, err := medium.directory("loader/entries")
	if n == nil || err != nil {
		return err
	}
	if err := p.copyDirectory(ctx, medium, dirOf(dir), "loader", e, 0); err != nil {
		return err
	}
	kids, err := n.Children()
	if err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(dir), err)
	}
	const maxEntry = 64 << 10
	for _, k := range kids {
		at, n, err := medium.file(inDir(dir, k.Name))
		if err != nil {
			return err
		}
		if n == nil || n.Size > maxEntry || !strings.HasSuffix(strings.ToLower(k.Name), ".conf") {
			continue
		}
		text, err := read(at, n, maxEntry)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			if len(words) < 2 || !slices.Contains([]string{"linux", "initrd", "efi", "devicetree"}, words[0]) {
				continue
			}
			name := strings.Trim(strings.ReplaceAll(words[1], `\`, "/"), "/")
			_, n, err := medium.file(name)
			if err != nil {
				return err
			}
			if n == nil {
				p.note("UEFI: /%s names %s, which is not on the medium", at, words[1])
				continue
			}
			p.see(n)
			e.put(name, n)
		}
	}
	return nil
}
