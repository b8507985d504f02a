package medium

import (
	"path/filepath"
	"strings"

	"relive/e2e/liveos"
	"relive/e2e/loader"
	"relive/e2e/machine"
	"relive/e2e/part"
)

// LiveOSLabel is the volume identifier of the ISO.
const LiveOSLabel = "E2E_LIVE"

// Dracut is Debian's own; sticks of package liveos have a newer one. Its initrd has the
// drivers of a CD and a USB disk.
func Dracut() liveos.Dracut {
	return liveos.Dracut{Suite: "bookworm", Drivers: []string{"ext4", "loop", "squashfs", "overlay", "dm_snapshot", "isofs", "sr_mod",
		"sd_mod", "ahci", "usb_storage", "xhci_pci"}}
}

// LiveOS is a LiveOS medium: the nested image of package liveos, dracut's initrd, and a
// changed overlay.
type LiveOS struct {
	*part.Part
	images liveos.Images
	folder string
	// Live is its LiveOS: squashfs.img and an OverlayFS directory with changes. ISO is of
	// the image alone, by xorriso.
	Live, ISO string
}

// MakeLiveOS makes the medium, anew at every run: it takes some seconds. As Fedora's it
// has ISOLINUX with kernel and initrd, and images/efiboot.img with GRUB and its menu.
func MakeLiveOS(p *part.Part, images liveos.Images) *LiveOS {
	p.Helper()
	l := &LiveOS{Part: p, images: images, folder: p.Fresh(p.In("medium")), ISO: p.In("live.iso")}
	l.Live = filepath.Join(l.folder, "LiveOS")
	isolinux, pictures, efi := filepath.Join(l.folder, "isolinux"), filepath.Join(l.folder, "images"), filepath.Join(l.folder, "EFI/BOOT")
	p.MkdirAll(l.Live, pictures, efi)
	p.Copy(images.Nested, filepath.Join(l.Live, "squashfs.img"))
	l.makeChanges(filepath.Join(l.Live, "overlay-"+LiveOSLabel+"-2026-01-01-00-00-00-00"))
	p.MkdirAll(filepath.Join(l.Live, "ovlwork"))
	loader.CopyISOLINUX(p, isolinux)
	p.Do("cp", images.Kernel.Image(), filepath.Join(isolinux, "vmlinuz"))
	l.makeInitrd(filepath.Join(isolinux, "initrd.img"))

	p.Write(filepath.Join(isolinux, "isolinux.cfg"), l.filled(`ui menu.c32
timeout 10
menu title e2e live
label linux
  menu label ^Start e2e live
  kernel vmlinuz
  append initrd=initrd.img root=live:CDLABEL=LABEL_ WORDS_
`))
	p.Write(filepath.Join(efi, "grub.cfg"), l.filled(`set timeout=1
search --no-floppy --set=root -l 'LABEL_'
menuentry 'Start e2e live' --class gnu-linux {
    linux /isolinux/vmlinuz root=live:CDLABEL=LABEL_ WORDS_
    initrd /isolinux/initrd.img
}
`))
	loader.MakeGRUB(p, loader.UEFI, filepath.Join(efi, "BOOTX64.EFI"), "-p", "/EFI/BOOT")
	loader.MakeEFI(p, filepath.Join(pictures, "efiboot.img"), efi)
	// As Fedora's lorax makes it.
	loader.MakeISO(p, l.ISO, l.folder, append([]string{"-J", "-joliet-long", "-V", LiveOSLabel, "-m", "overlay-*", "-m", "ovlwork"},
		loader.ISOLINUX("isolinux", "isolinux/boot.cat", "images/efiboot.img")...)...)
	return l
}

func (l *LiveOS) filled(menu string) string {
	return strings.NewReplacer("LABEL_", LiveOSLabel, "WORDS_", "rd.live.image rd.shell=0 "+machine.Words).Replace(menu)
}

// makeChanges makes an overlay over the image in squashfs.img, as the kernel writes it. It
// is made on a file system of its own, and copied with its marks.
func (l *LiveOS) makeChanges(upper string) {
	l.Helper()
	before := l.Mounts()
	squashfs, rootfs, memory, root := l.In("_squashfs"), l.In("_rootfs"), l.In("_overlay"), l.In("_merged")
	l.Mount("squashfs", "loop,ro", filepath.Join(l.Live, "squashfs.img"), squashfs)
	l.Mount("ext4", "loop,ro", filepath.Join(squashfs, "LiveOS/rootfs.img"), rootfs)
	l.Mount("tmpfs", "", "tmpfs", memory)
	l.MkdirAll(memory+"/upper", memory+"/work")
	l.Mount("overlay", "lowerdir="+rootfs+",upperdir="+memory+"/upper,workdir="+memory+"/work", "overlay", root)
	MakeChanges(l.Part, root)
	bePatient(l.Part, root)
	l.Do("cp", "-a", memory+"/upper", upper)
	l.UnmountDownTo(before)
}

// makeInitrd makes dracut's initrd and, after it, the guest's first process.
func (l *LiveOS) makeInitrd(file string) {
	l.Helper()
	added := l.In("initrd.added")
	l.images.Addition(l.Part, added, liveos.ForInit, "iso/live-init")
	l.Filter(l.images.Initrd, file, "zstd", "-q", "-3")
	l.Filter(added, file, "zstd", "-q", "-3")
	l.RemoveTree(added)
}
