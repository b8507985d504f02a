package loader

import (
	"path/filepath"
	"slices"

	"relive/e2e/part"
)

// Tools are what this package runs.
var Tools = []string{"grub-mkimage", "mformat", "mmd", "mcopy", "xorriso"}

// CopyISOLINUX puts ISOLINUX with its menu into a folder.
func CopyISOLINUX(p *part.Part, folder string) {
	p.Helper()
	p.MkdirAll(folder)
	p.Do("cp", "/usr/lib/ISOLINUX/isolinux.bin", folder+"/")
	for _, name := range []string{"ldlinux", "menu", "libutil", "libcom32"} {
		p.Do("cp", "/usr/lib/syslinux/modules/bios/"+name+".c32", folder+"/")
	}
}

// Formats of GRUB.
const (
	UEFI     = "x86_64-efi"
	ElTorito = "i386-pc-eltorito"
)

// MakeGRUB makes GRUB with all that it needs built in, with further arguments of
// grub-mkimage.
func MakeGRUB(p *part.Part, format, file string, args ...string) {
	p.Helper()
	modules := []string{"part_gpt", "part_msdos", "fat", "iso9660", "normal", "configfile", "search", "search_fs_file",
		"search_label", "linux", "echo", "test"}
	switch format {
	case UEFI:
		modules = append(modules, "all_video")
	case ElTorito:
		modules = append(modules, "biosdisk")
	}
	p.Do("grub-mkimage", slices.Concat([]string{"-O", format, "-o", file}, args, modules)...)
}

// MakeEFI makes a FAT image with a folder's files in EFI/BOOT.
func MakeEFI(p *part.Part, file, folder string) {
	p.Helper()
	p.Blank(file, 1440<<10)
	p.Do("mformat", "-i", file, "-f", "1440", "-v", "E2E_EFI", "::")
	p.Do("mmd", "-i", file, "::EFI", "::EFI/BOOT")
	args := []string{"-i", file}
	for _, name := range p.Names(folder) {
		args = append(args, filepath.Join(folder, name))
	}
	p.Do("mcopy", append(args, "::EFI/BOOT/")...)
}

// MakeISO makes an ISO of a folder, with further arguments of mkisofs.
func MakeISO(p *part.Part, file, folder string, args ...string) {
	p.Helper()
	p.RemoveTree(file)
	args = slices.Concat([]string{"-as", "mkisofs", "-quiet", "-r", "-o", file}, args, []string{folder})
	p.Do("xorriso", args...)
}

// ISOLINUX are the arguments of an isohybrid with ISOLINUX, as lorax and antiX make it; UEFI
// boots a file of the ISO.
func ISOLINUX(folder, catalogue, efi string) []string {
	return []string{"-isohybrid-mbr", "/usr/lib/ISOLINUX/isohdpfx.bin", "-c", catalogue, "-b", folder + "/isolinux.bin",
		"-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
		"-eltorito-alt-boot", "-e", efi, "-no-emul-boot", "-isohybrid-gpt-basdat"}
}
