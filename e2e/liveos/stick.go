package liveos

import (
	"fmt"
	"os"
	"path/filepath"

	"relive/e2e/disk"
	"relive/e2e/lists"
	"relive/e2e/machine"
	"relive/e2e/part"
)

// The stick's file system. With a label and a UUID that are always the same, the default
// name of the overlay is too.
const (
	Label   = "LIVE"
	uuid    = "6c697665-6f73-4e2e-8e2e-72656c697665"
	Overlay = "overlay-" + Label + "-" + uuid
	// SecondLabel is that of a second partition, for the overlay alone.
	SecondLabel = "CHANGES"
	// OverlayMiB is the size of an overlay that is a file.
	OverlayMiB = 160
)

const stickMiB, secondMiB = 1023, 200

// Form is a form of sticks.
type Form string

// The forms of sticks.
const (
	DM        Form = "dm"        // nested, with an empty file for a device-mapper snapshot
	Directory Form = "directory" // nested, with an OverlayFS directory
	File      Form = "file"      // nested, with a file that holds a file system for OverlayFS
	Root      Form = "root"      // flattened, without an overlay: dracut makes one at the stick's root
	Partition Form = "partition" // the same, and a second partition at whose root it makes one
	Erofs     Form = "erofs"     // EROFS, flattened, with an OverlayFS directory
	ErofsRoot Form = "erofsroot" // the same without an overlay: dracut makes one at the stick's root
	Elsewhere Form = "elsewhere" // nested, and an OverlayFS directory in the second partition
)

// Stick is the stick of a part.
type Stick struct {
	*part.Part
	images Images
	// Path is the stick. While it is open its partitions are mounted as Mnt and Second, and
	// LiveOS is in the first.
	Path, Mnt, Second, Live string
	Lists                   lists.Dir
	initrd                  string
}

// NewStick makes the initrd of a stick; [Stick.Make] makes the stick.
func NewStick(p *part.Part, images Images) *Stick {
	p.Helper()
	s := &Stick{Part: p, images: images, Path: p.In("stick"), Mnt: p.In("_mnt"), Second: p.In("_changes"),
		Lists: lists.At(p, p.In("lists")), initrd: p.In("initrd")}
	s.Live = filepath.Join(s.Mnt, "LiveOS")
	images.Addition(p, s.initrd+".steps", ForSteps, "live/init", "live/steps", "live/listed", "changes", "list")
	p.Concat(s.initrd, images.Initrd, s.initrd+".steps")
	p.RemoveTree(s.initrd + ".steps")
	return s
}

// Make makes a fresh stick.
func (s *Stick) Make(form Form) {
	s.Helper()
	tree, second := s.Fresh(s.In("_stick")), s.Fresh(s.In("_tree2"))
	live := filepath.Join(tree, "LiveOS")
	s.MkdirAll(live)
	overlay := filepath.Join(live, Overlay)
	squashfs := s.images.Nested
	partitions := []disk.Partition{{MiB: stickMiB, Fields: "bootable"}}
	switch form {
	case DM:
		s.Blank(overlay, OverlayMiB<<20)
		s.Must(os.Chmod(overlay, 0o600))
	case Directory:
		s.MkdirAll(overlay, filepath.Join(live, "ovlwork"))
	case File:
		inner := s.Fresh(s.In("_inner"))
		s.MkdirAll(filepath.Join(inner, "overlayfs"), filepath.Join(inner, "ovlwork"))
		s.Blank(overlay, OverlayMiB<<20)
		s.Do("mkfs.ext4", "-q", "-F", "-L", "e2e-overlay", "-d", inner, overlay)
		s.Must(os.Chmod(overlay, 0o600))
		s.RemoveTree(inner)
	case Erofs:
		s.MkdirAll(overlay, filepath.Join(live, "ovlwork"))
		squashfs = s.images.Flat
	case Root, Partition, ErofsRoot:
		squashfs = s.images.Flat
	case Elsewhere:
		s.MkdirAll(filepath.Join(second, "live/changes"), filepath.Join(second, "live/ovlwork"))
	default:
		s.Fatalf("there is no form %s of a stick", form)
	}
	s.Copy(squashfs, filepath.Join(live, "squashfs.img"))
	hasSecond := form == Partition || form == Elsewhere
	if hasSecond {
		partitions = append(partitions, disk.Partition{MiB: secondMiB})
	}
	disk.Make(s.Part, s.Path, "dos", partitions...)
	disk.Format(s.Part, s.Path, 1, "-L", Label, "-U", uuid, "-d", tree)
	if hasSecond {
		disk.Format(s.Part, s.Path, 2, "-L", SecondLabel, "-d", second)
	}
	s.RemoveTree(tree, second)
}

// Opened runs a step with the stick's partitions mounted on the host.
func (s *Stick) Opened(step string, do func()) {
	s.Helper()
	s.Step(step, func() {
		disk.Mount(s.Part, s.Path, 1, s.Mnt)
		if disk.Last(s.Part, s.Path) != 1 {
			disk.Mount(s.Part, s.Path, 2, s.Second)
		}
		do()
		s.UnmountDownTo(0)
	})
}

// InLive returns a path in the open stick's LiveOS.
func (s *Stick) InLive(name string) string { return filepath.Join(s.Live, name) }

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

// stuck is what a machine prints that will never come to its step.
const stuck = `Unable to find a persistent overlay|Kernel panic|dracut: FATAL|emergency mode|Cannot find init`

// boot starts the machine as a boot loader on the stick would. The stick is mounted rw,
// as an overlay on it needs.
func (s *Stick) boot(step string, ends func(*machine.Machine), parameters []string) (m *machine.Machine) {
	s.Helper()
	parameters = append([]string{fmt.Sprintf("root=live:LABEL=%s rd.live.image rw rd.shell=0", Label)}, parameters...)
	s.Step("boot "+step, func() {
		spec := machine.Spec{Step: step, Stuck: stuck, Devices: lists.Fresh(s.Part)}
		m = machine.Start(s.Part, spec, s.images.Kernel, s.Path, s.initrd, parameters...)
		ends(m)
		s.Lists.Collect()
	})
	return m
}
