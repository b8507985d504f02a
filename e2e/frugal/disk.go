package frugal

import (
	"path/filepath"

	"relive/e2e/debian"
	"relive/e2e/lists"
	"relive/e2e/machine"
	"relive/e2e/part"
)

// System is the live system of a part.
type System struct {
	*part.Part
	Kernel machine.Kernel
	// Linuxfs is what every disk begins with, Initrd brings it up.
	Linuxfs, Initrd string
	// Disk is the disk of the part. While it is open it is mounted as Mnt, which has the
	// live directory Live and the Lists that the guests wrote.
	Disk, Mnt, Live string
	Lists           lists.Dir
}

// Prepare makes linuxfs, packed by a codec, and the initrd. The disk is removed when the
// part ends, unless it is to be kept.
func Prepare(p *part.Part, codec string, keep bool) *System {
	p.Helper()
	s := &System{Part: p, Kernel: machine.Fetch(p, machine.ForClouds), Initrd: p.In("initrd"), Disk: p.In("disk"), Mnt: p.In("_mnt")}
	s.Live = filepath.Join(s.Mnt, "antiX")
	s.Lists = lists.At(p, filepath.Join(s.Mnt, "lists"))
	if !keep {
		p.RemoveAtEnd("disk*")
	}
	p.Step("prepare", func() {
		s.Linuxfs = makeLinuxfs(p, debian.Make(p, debian.Packages), codec)
		s.makeInitrd()
	})
	return s
}

// makeInitrd is done anew at every run, which takes a second.
func (s *System) makeInitrd() {
	s.Helper()
	tree := s.Fresh(s.In("_initrd"))
	machine.Busybox(s.Part, tree)
	machine.Guest(s.Part, tree, "antix/init")
	machine.Guest(s.Part, filepath.Join(tree, "steps"), "antix/steps", "antix/kinds", "antix/homes", "antix/sets", "antix/save",
		"changes", "list")
	s.Kernel.CopyModules(s.Part, filepath.Join(tree, "modules"), "virtio_pci", "virtio_blk", "ext4", "loop", "squashfs", "overlay")
	machine.Pack(s.Part, tree, s.Initrd)
}

// MakeDisk makes a fresh live directory with an empty rootfs of so many MiB, on a disk of
// its own.
func (s *System) MakeDisk(mib int64) {
	s.Helper()
	tree := s.Fresh(s.In("_disk"))
	live := filepath.Join(tree, "antiX")
	s.MkdirAll(live, filepath.Join(tree, "lists"))
	s.Do("cp", s.Linuxfs, filepath.Join(live, "linuxfs"))
	s.WriteSum(filepath.Join(live, "linuxfs"))
	empty := filepath.Join(tree, "empty")
	s.MkdirAll(filepath.Join(empty, "upper"), filepath.Join(empty, "work"))
	rootfs := filepath.Join(live, "rootfs")
	s.Blank(rootfs, mib<<20)
	s.Do("mkfs.ext4", "-q", "-F", "-L", "rootfs", "-d", empty, rootfs)
	s.RemoveTree(empty, s.Disk)
	s.Blank(s.Disk, 2<<30)
	s.Do("mkfs.ext4", "-q", "-F", "-L", "live", "-d", tree, s.Disk)
	s.RemoveTree(tree)
}

// InLive returns a path in the open disk's live directory.
func (s *System) InLive(name string) string { return filepath.Join(s.Live, name) }

// Opened runs a step with the disk mounted on the host.
func (s *System) Opened(step string, do func()) {
	s.Helper()
	s.Step(step, func() {
		s.Mount("", "loop", s.Disk, s.Mnt)
		do()
		s.UnmountDownTo(0)
	})
}

// Boot runs a step until the machine powers off by itself.
func (s *System) Boot(step string, parameters ...string) *machine.Machine {
	s.Helper()
	return s.boot(step, (*machine.Machine).Passes, parameters)
}

// BootAndCut pulls the plug when the step says so.
func (s *System) BootAndCut(step string, parameters ...string) *machine.Machine {
	s.Helper()
	return s.boot(step, (*machine.Machine).PassesAndIsCut, parameters)
}

func (s *System) boot(step string, ends func(*machine.Machine), parameters []string) (m *machine.Machine) {
	s.Helper()
	s.Step("boot "+step, func() {
		m = machine.Start(s.Part, machine.Spec{Step: step}, s.Kernel, s.Disk, s.Initrd, parameters...)
		ends(m)
	})
	return m
}
