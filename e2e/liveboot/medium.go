package liveboot

import (
	"path/filepath"

	"relive/e2e/loader"
	"relive/e2e/machine"
	"relive/e2e/part"
)

// label is the volume identifier of the medium, words is what its menu boots with.
const (
	label = "E2E_DEBIAN"
	words = "boot=live components quickusbmodules"
)

// MediumStep is the step that the menus of a medium run, on every medium.
const MediumStep = "media-medium"

// makeMedium makes the files of a medium: live/ with base, kernel and initrd, and beside
// it what live-build puts there.
func (s *Stick) makeMedium() {
	s.Helper()
	s.Fresh(s.Medium)
	live := filepath.Join(s.Medium, "live")
	s.MkdirAll(live, filepath.Join(s.Medium, ".disk"))
	s.Do("cp", s.images.Base, filepath.Join(live, "filesystem.squashfs"))
	s.Do("cp", s.images.Kernel.Image(), filepath.Join(live, "vmlinuz"))
	s.makeInitrd(filepath.Join(live, "initrd.img"))
	s.Write(filepath.Join(s.Medium, ".disk/live-uuid-generic"),
		s.Do("cpio", "--quiet", "-i", "--to-stdout", "-F", s.images.Initrd, "conf/uuid.conf"))
	s.Write(filepath.Join(s.Medium, ".disk/info"), "e2e Debian live\n")
	s.makeLoaders()
	WriteSums(s.Part, s.Medium)
}

// makeInitrd makes the initrd and after it the guest's steps, compressed as the media have
// it.
func (s *Stick) makeInitrd(file string) {
	s.Helper()
	tree := s.Fresh(s.In("_initrd"))
	machine.Guest(s.Part, filepath.Join(tree, "e2e"), "live/init", "live/steps", "live/listed", "changes", "list")
	steps := s.In("initrd.steps")
	machine.Pack(s.Part, tree, steps)
	s.Filter(s.images.Initrd, file, "zstd", "-q", "-3")
	s.Filter(steps, file, "zstd", "-q", "-3")
	s.RemoveTree(tree, steps)
}

// makeLoaders makes ISOLINUX, and GRUB for UEFI, with a menu of one entry.
func (s *Stick) makeLoaders() {
	s.Helper()
	words := words + " persistence step=" + MediumStep + " " + machine.Words
	isolinux, grub, efi := filepath.Join(s.Medium, "isolinux"), filepath.Join(s.Medium, "boot/grub"), s.Fresh(s.In("_efi"))
	loader.CopyISOLINUX(s.Part, isolinux)
	s.Write(filepath.Join(isolinux, "isolinux.cfg"), `UI menu.c32
TIMEOUT 10
LABEL live
    MENU LABEL e2e Debian live
    LINUX /live/vmlinuz
    INITRD /live/initrd.img
    APPEND `+words+"\n")
	s.MkdirAll(grub)
	s.Write(filepath.Join(grub, "grub.cfg"), `set timeout=1
menuentry "e2e Debian live" {
    linux /live/vmlinuz `+words+`
    initrd /live/initrd.img
}
`)
	early := s.In("early.cfg")
	s.Write(early, "search --no-floppy --set=root --file /.disk/live-uuid-generic\nset prefix=($root)/boot/grub\n")
	loader.MakeGRUB(s.Part, loader.UEFI, filepath.Join(efi, "BOOTX64.EFI"), "-c", early, "-p", "/boot/grub")
	loader.MakeEFI(s.Part, filepath.Join(grub, "efi.img"), efi)
	s.RemoveTree(efi)
}

// WriteSums makes a medium's list of sums.
func WriteSums(p *part.Part, medium string) {
	p.Helper()
	list := p.In("md5sum.txt")
	p.RemoveTree(filepath.Join(medium, "md5sum.txt"))
	p.Do("sh", "-c", `cd "$1" && find . -type f ! -name isolinux.bin -print0 | sort -z | xargs -0 md5sum >"$2"`, "sums", medium, list)
	p.Do("mv", list, medium+"/")
}
