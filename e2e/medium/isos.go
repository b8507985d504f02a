package medium

import (
	"path/filepath"

	"relive/e2e/loader"
)

// makeISO makes an ISO of a folder without its persistence files.
func (a *AntiX) makeISO(file, folder string, args ...string) {
	a.Helper()
	loader.MakeISO(a.Part, file, folder, append([]string{"-J", "-joliet-long", "-iso-level", "3", "-V", Label,
		"-m", "rootfs", "-m", "homefs"}, args...)...)
}

// makeISOLINUX makes an isohybrid with ISOLINUX; UEFI boots efi.img, a file.
func (a *AntiX) makeISOLINUX() {
	a.Helper()
	a.makeISO(a.ISOLINUX, a.Medium, loader.ISOLINUX("boot/isolinux", "boot/isolinux/isolinux.cat", "boot/grub/efi.img")...)
}

// makeGRUB makes GRUB's own hybrid; UEFI boots a partition behind the ISO 9660. From a
// disk GRUB's folder is that of the partition, from a CD that of the ISO 9660.
func (a *AntiX) makeGRUB() {
	a.Helper()
	tree := filepath.Join(a.dir, "_grub")
	bios, efi := filepath.Join(tree, "boot/grub/i386-pc"), filepath.Join(tree, "EFI/BOOT")
	a.MkdirAll(bios, efi)
	a.Do("cp", "-al", a.Live, filepath.Join(a.Medium, ".disk"), tree+"/")
	a.Write(filepath.Join(tree, "boot/grub/grub.cfg"), grubMenu())
	a.Write(filepath.Join(efi, "grub.cfg"), grubMenu())
	loader.MakeGRUB(a.Part, loader.UEFI, filepath.Join(efi, "BOOTX64.EFI"), "-p", "/EFI/BOOT")
	loader.MakeGRUB(a.Part, loader.ElTorito, filepath.Join(bios, "eltorito.img"), "-c", a.early(), "-p", "/boot/grub")
	esp := filepath.Join(a.dir, "esp.img")
	loader.MakeEFI(a.Part, esp, efi)
	a.makeISO(a.GRUB, tree, "--grub2-mbr", "/usr/lib/grub/i386-pc/boot_hybrid.img",
		"-c", "boot/grub/boot.cat", "-b", "boot/grub/i386-pc/eltorito.img",
		"-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "--grub2-boot-info",
		"-append_partition", "2", "0xef", esp, "-appended_part_as_gpt",
		"-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot")
	a.RemoveTree(tree)
}
