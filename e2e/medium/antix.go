package medium

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"

	"relive/e2e/debian"
	"relive/e2e/loader"
	"relive/e2e/machine"
	"relive/e2e/part"
)

// Packages are those of the small Debian: the boot loaders' among them.
const Packages = "libcap2-bin,attr,dmsetup,isolinux,syslinux-common,grub-efi-amd64-bin,grub-pc-bin"

// Label is the volume identifier of the ISOs.
const Label = "E2E_BASE"

// Who owned the system, with the password of the overlay and the older one.
const (
	Owner          = "alice"
	Password       = "owner-new-4711"
	FormerPassword = "owner-old-0815"
)

// modules are the drivers of a CD, a USB disk and a disk.
var modules = []string{"isofs", "sr_mod", "ahci", "sd_mod", "usb-storage", "xhci-pci", "squashfs", "overlay", "loop",
	"virtio_pci", "virtio_blk", "ext4"}

// AntiX is a live system in antiX's layout.
type AntiX struct {
	*part.Part
	Kernel machine.Kernel
	base   debian.Image
	dir    string
	// Medium is the folder of what a medium holds. It boots by ISOLINUX, and by GRUB for UEFI.
	Medium string
	// Live is the live directory antiX in it: linuxfs, rootfs, homefs, kernel, initrd.
	Live string
	// ISOLINUX is an ISO of the medium without changes: ISOLINUX, and for UEFI efi.img,
	// which finds its menu on the ISO 9660 file system. GRUB is the same with GRUB for BIOS,
	// and for UEFI an appended partition with a menu of its own.
	ISOLINUX, GRUB string
	// VersionID is that of linuxfs.
	VersionID string
}

// sources are what the system is made of, besides kernel and small Debian.
var sources = []string{"e2e/medium/antix.go", "e2e/medium/changes.go", "e2e/medium/isos.go", "e2e/loader", "e2e/guest/iso/init",
	"e2e/guest/iso/check-base", "e2e/guest/iso/check-changed"}

// MakeAntiX makes the system, once for each kernel, small Debian and what else goes in.
func MakeAntiX(p *part.Part, k machine.Kernel, base debian.Image) *AntiX {
	p.Helper()
	all := filepath.Join(p.Shared, "iso-system-")
	dir := all + k.Release + "-" + base.Name + "-" + p.Stamp(sources...)
	p.OneAtATime(func() {
		if part.Exists(dir) {
			return
		}
		p.Say("making a live system and its ISOs")
		p.Remove(all + "*")
		a := at(p, k, base, dir+".part")
		a.makeLinuxfs()
		a.makeOverlay()
		a.makeInitrd()
		a.makeLoaders()
		a.makeISOLINUX()
		a.makeGRUB()
		p.Move(a.dir, dir)
	})
	a := at(p, k, base, dir)
	a.VersionID = p.Read(filepath.Join(dir, "version-id"))
	return a
}

func at(p *part.Part, k machine.Kernel, base debian.Image, dir string) *AntiX {
	return &AntiX{Part: p, Kernel: k, base: base, dir: dir, Medium: filepath.Join(dir, "medium"),
		Live:     filepath.Join(dir, "medium/antiX"),
		ISOLINUX: filepath.Join(dir, "isolinux.iso"), GRUB: filepath.Join(dir, "grub.iso")}
}

// makeLinuxfs makes the small Debian as installed, with an owner, the kernel's modules and
// a version id.
func (a *AntiX) makeLinuxfs() {
	a.Helper()
	root, linuxfs := filepath.Join(a.dir, "_root"), filepath.Join(a.Live, "linuxfs")
	a.MkdirAll(a.Live)
	a.base.Unpack(a.Part, root)
	for _, dir := range []string{"doc", "man", "zoneinfo"} {
		a.Remove(filepath.Join(root, "usr/share", dir, "*"))
	}
	id := make([]byte, 16)
	rand.Read(id)
	a.VersionID = "==== " + hex.EncodeToString(id)
	a.Write(filepath.Join(a.dir, "version-id"), a.VersionID)
	a.MkdirAll(filepath.Join(root, "etc/live/version"))
	a.Write(filepath.Join(root, "etc/live/version/linuxfs.ver"), a.VersionID+"\n\ntitle: e2e\n")
	machine.InstallGuest(a.Part, "iso/check-base", filepath.Join(root, "usr/local/sbin/e2e-check"))
	a.Kernel.InstallModules(a.Part, root, modules...)
	bePatient(a.Part, root)
	a.Write(filepath.Join(root, "etc/hostname"), "e2e\n")
	a.Do("chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", "--groups", "audio", Owner)
	a.setPassword(root, FormerPassword)
	a.Do("mksquashfs", root, linuxfs, "-comp", "zstd", "-Xcompression-level", "3", "-b", "262144", "-noappend", "-no-progress", "-quiet")
	a.RemoveTree(root)
	a.WriteSum(linuxfs)
}

// setPassword sets the owner's.
func (a *AntiX) setPassword(root, password string) {
	a.Helper()
	a.Feed(Owner+":"+password+"\n", "chroot", root, "chpasswd", "--crypt-method", "SHA512")
}

// makeOverlay makes rootfs with what was changed, homefs with the owner's home.
func (a *AntiX) makeOverlay() {
	a.Helper()
	before := a.Mounts()
	below, rootfs, root, tree := filepath.Join(a.dir, "_linuxfs"), filepath.Join(a.dir, "_rootfs"), filepath.Join(a.dir, "_merged"),
		filepath.Join(a.dir, "_tree")
	a.MkdirAll(filepath.Join(tree, "upper"), filepath.Join(tree, "work"))
	a.makeExt4(tree, "rootfs")
	a.Mount("squashfs", "loop,ro", filepath.Join(a.Live, "linuxfs"), below)
	a.Mount("", "loop", filepath.Join(a.Live, "rootfs"), rootfs)
	a.Mount("overlay", "lowerdir="+below+",upperdir="+rootfs+"/upper,workdir="+rootfs+"/work", "overlay", root)
	a.Do("cp", filepath.Join(root, "etc/live/version/linuxfs.ver"), filepath.Join(root, "etc/live/version/rootfs.ver"))
	MakeChanges(a.Part, root)
	a.setPassword(root, Password)
	a.Do("cp", "-a", filepath.Join(root, "home", Owner), tree+"/")
	a.UnmountDownTo(before)

	a.RemoveTree(filepath.Join(tree, "upper"), filepath.Join(tree, "work"))
	home := filepath.Join(tree, Owner)
	a.Write(filepath.Join(home, "from-homefs"), "only in homefs\n")
	a.Do("chown", "--reference="+home, filepath.Join(home, "from-homefs"))
	a.makeExt4(tree, "homefs")
	a.RemoveTree(tree, below, rootfs, root)
}

// makeExt4 makes a persistence file with its name as its label.
func (a *AntiX) makeExt4(tree, name string) {
	a.Helper()
	file := filepath.Join(a.Live, name)
	a.Blank(file, 64<<20)
	a.Do("mkfs.ext4", "-q", "-F", "-L", name, "-d", tree, file)
}

// makeInitrd packs busybox, the drivers and e2e/guest/iso/init, beside the kernel.
func (a *AntiX) makeInitrd() {
	a.Helper()
	tree := filepath.Join(a.dir, "_initrd")
	machine.Busybox(a.Part, tree)
	machine.InstallGuest(a.Part, "iso/init", filepath.Join(tree, "init"))
	a.Kernel.CopyModules(a.Part, filepath.Join(tree, "lib/modules", a.Kernel.Release), modules...)
	initrd, kernel := filepath.Join(a.Live, "initrd.gz"), filepath.Join(a.Live, "vmlinuz")
	machine.Pack(a.Part, tree, tree+".cpio")
	a.Filter(tree+".cpio", initrd, "gzip", "-9n")
	a.Do("cp", a.Kernel.Image(), kernel)
	a.WriteSum(initrd)
	a.WriteSum(kernel)
	a.RemoveTree(tree, tree+".cpio")
}

// makeLoaders makes boot loaders and their menus, as on antiX's media.
func (a *AntiX) makeLoaders() {
	a.Helper()
	boot, efi := filepath.Join(a.Medium, "boot"), filepath.Join(a.Medium, "EFI/BOOT")
	grub, isolinux := filepath.Join(boot, "grub"), filepath.Join(boot, "isolinux")
	a.MkdirAll(grub, efi, filepath.Join(a.Medium, ".disk"))
	a.Write(filepath.Join(a.Medium, ".disk/info"), "e2e base\n")
	loader.CopyISOLINUX(a.Part, isolinux)
	a.Write(filepath.Join(isolinux, "isolinux.cfg"), filled(`UI menu.c32
PROMPT 0
TIMEOUT 10
MENU TITLE Welcome to e2e base
DEFAULT live

LABEL live
    MENU LABEL e2e base, all changes kept
    KERNEL /antiX/vmlinuz
    APPEND bdir=antiX blab=LABEL_ persist_all WORDS_
    INITRD /antiX/initrd.gz

LABEL plain
    MENU LABEL e2e base, no changes kept
    KERNEL /antiX/vmlinuz
    APPEND initrd=/antiX/initrd.gz bdir=antiX blab=LABEL_ WORDS_
`))
	a.Write(filepath.Join(grub, "grub.cfg"), grubMenu())
	// It finds its menu by a file of the medium.
	a.Write(a.early(), "search --no-floppy --set=root --file /antiX/vmlinuz\nset prefix=($root)/boot/grub\n")
	loader.MakeGRUB(a.Part, loader.UEFI, filepath.Join(efi, "BOOTX64.EFI"), "-c", a.early(), "-p", "/boot/grub")
	loader.MakeEFI(a.Part, filepath.Join(grub, "efi.img"), efi)
}

// early is what GRUB does before it has a menu.
func (a *AntiX) early() string { return filepath.Join(a.dir, "early.cfg") }

func grubMenu() string {
	return filled(`set timeout=1
set default=0
search --no-floppy --set=root --label LABEL_
menuentry "e2e base, all changes kept" {
    linux /antiX/vmlinuz bdir=antiX blab=LABEL_ persist_all WORDS_
    initrd /antiX/initrd.gz
}
menuentry "e2e base, no changes kept" {
    linux /antiX/vmlinuz bdir=antiX blab=LABEL_ WORDS_
    initrd /antiX/initrd.gz
}
`)
}

// filled puts the label and what every kernel is started with into a menu. The words that
// are about the machine's console and speed come last.
func filled(menu string) string {
	return strings.NewReplacer("LABEL_", Label, "WORDS_", machine.Words).Replace(menu)
}

// bePatient has log-in not lose patience with a busy host.
func bePatient(p *part.Part, root string) {
	p.Helper()
	p.Do("sed", "-i", "s/^LOGIN_TIMEOUT.*/LOGIN_TIMEOUT 900/", filepath.Join(root, "etc/login.defs"))
	p.Expect(strings.Contains(p.Read(filepath.Join(root, "etc/login.defs")), "LOGIN_TIMEOUT 900"), "login.defs has no LOGIN_TIMEOUT")
}

// Note is what the init of [AntiX.NotedInitrd] finds in it.
const Note = "by relive"

// NotedInitrd makes a larger initrd of the medium's, with a note for its init.
func (a *AntiX) NotedInitrd(file string) {
	a.Helper()
	tree := a.Fresh(a.In("_note"))
	a.Write(filepath.Join(tree, "note"), Note+"\n")
	ballast := make([]byte, 300000)
	rand.Read(ballast)
	a.Must(os.WriteFile(filepath.Join(tree, "ballast"), ballast, 0o644))
	machine.Pack(a.Part, tree, a.In("_note.cpio"))
	a.Concat(file, filepath.Join(a.Live, "initrd.gz"))
	a.Filter(a.In("_note.cpio"), file, "gzip", "-n")
	a.RemoveTree(tree, a.In("_note.cpio"))
}
