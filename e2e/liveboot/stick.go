package liveboot

import (
	"os"
	"path/filepath"

	"relive/e2e/disk"
	"relive/e2e/lists"
	"relive/e2e/machine"
	"relive/e2e/part"
)

// Stick is the stick of a part.
type Stick struct {
	*part.Part
	images Images
	// Medium is the folder of what the stick holds, Path is the stick.
	Medium, Path string
	// While it is open, Live is its first partition and Persistence its second one.
	Live, Persistence string
	Lists             lists.Dir
}

// NewStick makes a medium; [Stick.Make] makes a stick of it.
func NewStick(p *part.Part, images Images) *Stick {
	p.Helper()
	s := &Stick{Part: p, images: images, Medium: p.In("medium"), Path: p.In("stick"), Live: p.In("_mnt"),
		Lists: lists.At(p, p.In("lists"))}
	s.makeMedium()
	return s
}

// Base returns the base that every stick begins with.
func (s *Stick) Base() string { return s.images.Base }

// Persistence is a partition for persistence.
type Persistence struct {
	disk.Partition
	// Conf is persistence.conf, without the last end of line.
	Conf string
	// Args are further arguments of mkfs.ext4.
	Args []string
}

// Make makes a fresh stick: the medium, and maybe a partition for persistence.
func (s *Stick) Make(table string, second ...Persistence) {
	s.Helper()
	partitions := []disk.Partition{{MiB: 500}}
	for _, q := range second {
		partitions = append(partitions, q.Partition)
	}
	disk.Make(s.Part, s.Path, table, partitions...)
	disk.Format(s.Part, s.Path, 1, "-L", label, "-d", s.Medium)
	for _, q := range second {
		FormatPersistence(s.Part, s.Path, 2, q.Conf, q.Args...)
	}
}

// FormatPersistence makes a partition one for persistence.
func FormatPersistence(p *part.Part, file string, number int, conf string, args ...string) {
	p.Helper()
	tree := p.Fresh(p.In("_tree"))
	p.Write(filepath.Join(tree, "persistence.conf"), conf+"\n")
	disk.Format(p, file, number, append([]string{"-d", tree}, args...)...)
	p.RemoveTree(tree)
}

// OpenedMedium runs a step with the first partition mounted on the host.
func (s *Stick) OpenedMedium(step string, do func()) {
	s.Helper()
	s.Step(step, func() {
		disk.Mount(s.Part, s.Path, 1, s.Live)
		do()
		s.UnmountDownTo(0)
	})
}

// Opened runs a step with both partitions mounted, the second one at the name of
// persistence on the medium.
func (s *Stick) Opened(step string, do func()) {
	s.Helper()
	s.OpenedAt(step, filepath.Join(s.Live, "persistence"), do)
}

// OpenedAt is [Stick.Opened] with the second partition in a folder.
func (s *Stick) OpenedAt(step, folder string, do func()) {
	s.Helper()
	s.OpenedMedium(step, func() {
		s.Persistence = folder
		disk.Mount(s.Part, s.Path, 2, folder)
		do()
		s.UnmountDownTo(1)
		if on := filepath.Join(s.Live, "persistence"); part.Exists(on) {
			s.Must(os.Remove(on)) // the folder that it was mounted at
		}
	})
}

// Boot runs a step until the machine powers off by itself.
func (s *Stick) Boot(step string, parameters ...string) *machine.Machine {
	s.Helper()
	return s.boot(step, (*machine.Machine).Passes, parameters)
}

// BootAndCut pulls the plug when the step says so.
func (s *Stick) BootAndCut(step string, parameters ...string) *machine.Machine {
	s.Helper()
	return s.boot(step, (*machine.Machine).PassesAndIsCut, parameters)
}

// Stuck is what a machine prints that will never come to its step.
const Stuck = `BOOT FAILED|Kernel panic|\(initramfs\)|No bootable device|Failed to load|error: no such|UEFI Interactive Shell`

// boot starts the machine as a boot loader on the stick would.
func (s *Stick) boot(step string, ends func(*machine.Machine), parameters []string) (m *machine.Machine) {
	s.Helper()
	s.Step("boot "+step, func() {
		spec := machine.Spec{Step: step, Stuck: Stuck, Devices: lists.Fresh(s.Part)}
		m = machine.Start(s.Part, spec, s.images.Kernel, s.Path, filepath.Join(s.Medium, "live/initrd.img"),
			append([]string{words}, parameters...)...)
		ends(m)
		s.Lists.Collect()
	})
	return m
}

// HostList makes the list of what the open stick's system would show, with base and union
// as the host's kernel lays them over each other.
func (s *Stick) HostList(name string) {
	s.Helper()
	before := s.Mounts()
	base, root := s.In("_base"), s.In("_root")
	s.MkdirAll(s.Lists.Path())
	s.Mount("squashfs", "loop,ro", filepath.Join(s.Live, "live/filesystem.squashfs"), base)
	s.Mount("overlay", "ro,lowerdir="+filepath.Join(s.Persistence, "rw")+":"+base+",redirect_dir=on", "overlay", root)
	s.Mount("tmpfs", "", "tmpfs", filepath.Join(root, "run"))
	machine.Guest(s.Part, filepath.Join(root, "run"), "list", "live/listed")
	s.Do("chroot", root, "/bin/sh", "-c", ". /run/list; . /run/listed; list_system /run/list.txt")
	s.Do("cp", filepath.Join(root, "run/list.txt"), filepath.Join(s.Lists.Path(), name))
	s.UnmountDownTo(before)
}
