package liveos

import (
	"os"
	"path/filepath"

	"relive/e2e/debian"
	"relive/e2e/liveroot"
	"relive/e2e/machine"
	"relive/e2e/part"
)

// RootfsMiB is the size of the root file system in squashfs.img.
const RootfsMiB = 400

// Dracut is where dracut is taken from, and the drivers that its initrd gets.
type Dracut struct {
	Suite   string
	Drivers []string
}

// Newest is dracut of a new release of Debian (dracut 112), as its initrd does not depend
// on the system that it starts, with the drivers of a machine's disk. The environment's
// DRACUT_SUITE is another release.
func Newest() Dracut {
	suite := os.Getenv("DRACUT_SUITE")
	if suite == "" {
		suite = "forky"
	}
	return Dracut{suite, []string{"virtio_pci", "virtio_blk", "ext4", "loop", "squashfs", "overlay", "dm_snapshot"}}
}

// dracutPackages is dracut, and what its modules install.
const dracutPackages = "dracut-live,udev,kmod,dmsetup,dash,initscripts,util-linux-extra"

// Images is what is made once for each kernel and small Debian.
type Images struct {
	Kernel machine.Kernel
	// Nested is a squashfs.img with LiveOS/rootfs.img, ext4, inside; Flat is one with the
	// files themselves; Initrd is dracut's, with its module dmsquash-live.
	Nested, Flat, Initrd string
}

// MakeImages makes the images.
func MakeImages(p *part.Part, k machine.Kernel, base debian.Image, d Dracut) (i Images) {
	p.Helper()
	dir := filepath.Join(p.Shared, "liveos")
	suffix := liveroot.Suffix(k, base)
	i = Images{
		Kernel: k,
		Nested: filepath.Join(dir, "nested-"+suffix+".img"),
		Flat:   filepath.Join(dir, "flat-"+suffix+".img"),
		Initrd: filepath.Join(dir, "initrd-"+d.Suite+"-"+k.Release+".img"),
	}
	p.OneAtATime(func() {
		p.MkdirAll(dir)
		if !part.Exists(i.Initrd) {
			d.makeInitrd(p, k, i.Initrd, filepath.Join(dir, "_dracut"))
		}
		if !part.Exists(i.Nested) || !part.Exists(i.Flat) {
			i.pack(p, base, filepath.Join(dir, "_root"), filepath.Join(dir, "_images"))
		}
	})
	return i
}

// pack makes squashfs.img, nested and flat.
func (i Images) pack(p *part.Part, base debian.Image, root, tree string) {
	p.Helper()
	p.Say("packing squashfs.img, nested and flat")
	liveroot.Make(p, base, root)
	p.Fresh(tree)
	p.MkdirAll(filepath.Join(tree, "LiveOS"))
	rootfs := filepath.Join(tree, "LiveOS/rootfs.img")
	p.Blank(rootfs, RootfsMiB<<20)
	p.Do("mkfs.ext4", "-q", "-F", "-L", "e2e-root", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-d", root, rootfs)
	liveroot.Pack(p, tree, i.Nested)
	liveroot.Pack(p, root, i.Flat)
	p.RemoveTree(tree, root)
}

// MakeErofs makes the images of a stick whose squashfs.img holds EROFS in its place, with
// the options that Fedora has: by mkfs.erofs of a suite of Debian's, with its kernel and
// its dracut.
func MakeErofs(p *part.Part, base debian.Image, suite string) (i Images) {
	p.Helper()
	k := machine.FetchFrom(p, suite, machine.ForClouds)
	dir := filepath.Join(p.Shared, "liveos")
	suffix := suite + "-" + liveroot.Suffix(k, base) + ".img"
	i = Images{Kernel: k, Flat: filepath.Join(dir, "erofs-"+suffix), Initrd: filepath.Join(dir, "initrd-erofs-"+suffix)}
	p.OneAtATime(func() {
		p.MkdirAll(dir)
		if part.Exists(i.Initrd) && part.Exists(i.Flat) {
			return
		}
		d := Dracut{suite, append(Newest().Drivers, "erofs")}
		root := filepath.Join(dir, "_erofs")
		d.inRoot(p, k, root, dracutPackages+",erofs-utils", func() {
			liveroot.Make(p, base, filepath.Join(root, "system"))
			liveroot.Enter(p, root, "mkfs.erofs", "-zlzma,level=6", "-Efragments", "-C1048576", "/system.img", "/system")
			p.Move(filepath.Join(root, "system.img"), i.Flat)
			d.run(p, k, root, i.Initrd)
		})
	})
	return i
}

// makeInitrd makes the initrd in a Debian of the suite, with dracut's own init: no
// systemd. The guest's modules are few, so only those of live systems go in.
func (d Dracut) makeInitrd(p *part.Part, k machine.Kernel, initrd, root string) {
	p.Helper()
	p.Say("making the initrd with dracut of %s", d.Suite)
	d.inRoot(p, k, root, dracutPackages, func() { d.run(p, k, root, initrd) })
}

// inRoot does something in a Debian of the suite with some packages and the kernel's
// modules.
func (d Dracut) inRoot(p *part.Part, k machine.Kernel, root, packages string, do func()) {
	p.Helper()
	before := p.Mounts()
	p.RemoveTree(root)
	debian.Root(p, root, d.Suite, packages)
	p.Mount("", "bind", k.Modules(), filepath.Join(root, "lib/modules", k.Release))
	do()
	p.UnmountDownTo(before)
	p.RemoveTree(root)
}

// run runs dracut in the root.
func (d Dracut) run(p *part.Part, k machine.Kernel, root, initrd string) {
	p.Helper()
	drivers := ""
	for _, driver := range d.Drivers {
		drivers += driver + " "
	}
	liveroot.Enter(p, root, "dracut", "--no-hostonly", "--no-hostonly-cmdline", "--no-early-microcode", "--kver", k.Release,
		"--modules", "dash dmsquash-live udev-rules base", "--add-drivers", drivers, "--compress", "cat", "/boot/initrd")
	made := filepath.Join(root, "boot/initrd")
	liveroot.ExpectModules(p, k, made, d.Drivers...)
	p.Move(made, initrd)
}
