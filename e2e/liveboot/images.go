package liveboot

import (
	"path/filepath"
	"strings"

	"relive/e2e/debian"
	"relive/e2e/liveroot"
	"relive/e2e/machine"
	"relive/e2e/part"
)

// drivers are those of a disk, and of a CD or USB disk that a firmware boots.
var drivers = []string{"virtio_pci", "virtio_blk", "ext4", "loop", "squashfs", "overlay", "isofs", "sr_mod", "sd_mod", "ahci",
	"usb_storage", "xhci_pci"}

// Images is what is made once for each kernel and small Debian.
type Images struct {
	Kernel machine.Kernel
	// Base is a filesystem.squashfs: the small Debian, with the packages and the kernel's
	// modules. Initrd is as initramfs-tools makes it, not compressed.
	Base, Initrd string
}

// MakeImages makes the images.
func MakeImages(p *part.Part, k machine.Kernel, base debian.Image) Images {
	p.Helper()
	dir := filepath.Join(p.Shared, "liveboot")
	suffix := liveroot.Suffix(k, base)
	i := Images{k, filepath.Join(dir, "base-"+suffix+".squashfs"), filepath.Join(dir, "initrd-"+suffix+".img")}
	p.OneAtATime(func() {
		if part.Exists(i.Base) && part.Exists(i.Initrd) {
			return
		}
		p.Say("making a Debian live and its initrd")
		p.Fresh(dir)
		root := filepath.Join(dir, "_root")
		liveroot.Make(p, base, root)
		// live-boot makes these at the first boot, and would change the folders' times.
		p.MkdirAll(filepath.Join(root, "usr/lib/live/mount"), filepath.Join(root, "var/log/live"))
		k.InstallModules(p, root, drivers...)
		i.makeInitrd(p, root)
		liveroot.Pack(p, root, i.Base)
		p.RemoveTree(root)
	})
	return i
}

// makeInitrd makes the initrd with the packages' tools, in the root. It has an id that a
// medium must have too, and the drivers that the root has; what runs last brings the
// guest's steps along.
func (i Images) makeInitrd(p *part.Part, root string) {
	p.Helper()
	tools := filepath.Join(root, "etc/initramfs-tools")
	p.Do("sed", "-i", "s/^MODULES=.*/MODULES=list/; s/^COMPRESS=.*/COMPRESS=gzip/", filepath.Join(tools, "initramfs.conf"))
	p.Append(filepath.Join(tools, "modules"), strings.Join(drivers, "\n")+"\n")
	last := filepath.Join(tools, "scripts/init-bottom/e2e")
	p.Write(last, `#!/bin/sh
[ "$1" = prereqs ] && exit
mkdir -p /run/e2e
cp /e2e/* /run/e2e/
`)
	p.Do("chmod", "0755", last)
	// It looks there for the codecs that the kernel has.
	boot := filepath.Join(root, "boot")
	p.Do("cp", filepath.Join(i.Kernel.Dir, "boot/config-"+i.Kernel.Release), boot+"/")
	liveroot.Enter(p, root, "env", "LIVE_GENERATE_UUID=1", "mkinitramfs", "-o", "/boot/initrd", i.Kernel.Release)
	made := i.Initrd + ".part"
	p.RemoveTree(made)
	p.Filter(filepath.Join(boot, "initrd"), made, "zcat") // it fails where gzip did not compress it
	p.Remove(boot + "/*")
	liveroot.ExpectModules(p, i.Kernel, made, drivers...)
	p.Move(made, i.Initrd)
}
