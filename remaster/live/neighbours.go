package live

import (
	"fmt"
	"slices"
	"strings"

	"relive/remaster/hostdisk"
	"relive/remaster/say"
	"relive/remaster/stick"
)

// neighbour is another file system of the disk on which a live directory lies.
type neighbour struct {
	// Name is what people know it by: "partition 2", "/dev/sdb2".
	Name string
	// Root is the path at which its files are reached, "" where they are not.
	Root string
	// Labels are the file system's label and the name in the partition table, as
	// far as there are any.
	Label, PartLabel string
	UUID, PartUUID   string
	// FileSystem is its kind as blkid has it, "" where that is not known.
	FileSystem string
	// Why it cannot be reached.
	Why string
	// mounted: the host has it mounted at Root.
	mounted bool
}

// called reports whether a label, or the name in the partition table, is one of
// these.
func (n *neighbour) called(labels ...string) bool {
	return n.Label != "" && slices.Contains(labels, n.Label) || n.PartLabel != "" && slices.Contains(labels, n.PartLabel)
}

// by tells the label that makes it known.
func (n *neighbour) by(labels ...string) string {
	if n.PartLabel != "" && slices.Contains(labels, n.PartLabel) && n.Label != n.PartLabel {
		return fmt.Sprintf("the name %s of %s in the partition table", n.PartLabel, n.Name)
	}
	return fmt.Sprintf("the label %s of %s", n.Label, n.Name)
}

// is reports whether a device that a boot is told of is this one: LABEL=x, UUID=x,
// PARTLABEL=x, PARTUUID=x, or a link below /dev/disk.
func (n *neighbour) is(device string) bool {
	for prefix, value := range map[string]string{"LABEL=": n.Label, "UUID=": n.UUID, "PARTLABEL=": n.PartLabel, "PARTUUID=": n.PartUUID,
		"/dev/disk/by-label/": n.Label, "/dev/disk/by-uuid/": n.UUID, "/dev/disk/by-partlabel/": n.PartLabel,
		"/dev/disk/by-partuuid/": n.PartUUID} {
		if rest, ok := strings.CutPrefix(device, prefix); ok {
			return value != "" && strings.EqualFold(rest, value)
		}
	}
	return false
}

// neighbours are the other file systems of the disk on which dir lies.
func (s *search) neighbours(dir string) []neighbour {
	if at, ok := s.at.(Tree); ok {
		return at.neighbours()
	}
	if s.at != Place(Host{}) {
		return nil
	}
	var out []neighbour
	for _, p := range hostdisk.Siblings("/", dir) {
		n := neighbour{Name: p.Device, Root: p.Mounted, Label: p.Label, PartLabel: p.PartLabel, UUID: p.UUID, PartUUID: p.PartUUID,
			FileSystem: p.FileSystem, mounted: true}
		if n.Label == "" {
			// A host without udev, or a boot that has not settled.
			if res, err := ProbeFile(Host{}, p.Device); err == nil {
				n.Label, n.UUID = res.Label, res.UUID
			}
		}
		if p.Mounted == "" {
			n.Why = "it is not mounted"
		}
		out = append(out, n)
	}
	return out
}

// beside returns the overlay at a path of a neighbour, which a boot uses. One that
// cannot be read (at is "") is told, and so is one that the host has mounted: there
// it may be another system's, and is used where it is named. The overlay is nil then.
func (s *search) beside(f *Found, n *neighbour, at string, o overlayAt) (*overlayAt, error) {
	why := "a boot keeps the changes there (" + o.where.Source + ")"
	switch {
	case at == "":
		f.unused(Unused{Path: o.where.Path, Boots: true, Why: why + ", and it cannot be read: " + n.Why,
			Hint: "mount it, and name the directory with " + say.Overlay})
		return nil, nil
	case n.mounted:
		f.unused(Unused{Path: o.where.Path, Boots: true, Why: why, Hint: "name it with " + say.Overlay + " " + at})
		return nil, nil
	}
	var err error
	o.name, err = s.dirOf(f.Dir, at)
	return &o, err
}

// partitionPath is the name that paths in a partition begin with.
func (s *Stick) partitionPath(p *stick.Partition) string {
	if p.Number > 0 {
		return fmt.Sprintf("%s:%d", s.Disk.Path, p.Number)
	}
	return s.Disk.Path
}

// partitions are those of the stick that can hold files of their own.
func (s *Stick) partitions() (out []*stick.Partition) {
	for _, p := range s.Disk.Partitions {
		if !p.Extended && p.SameAs == nil {
			out = append(out, p)
		}
	}
	return out
}

// partitionName is the name that paths begin with in the partition of that number,
// "" where there is none that can be read.
func (w Tree) partitionName(number int) string {
	if w.stick == nil {
		return ""
	}
	for _, p := range w.stick.partitions() {
		if p.Number == number {
			if _, err := p.Root(); err == nil {
				return w.stick.partitionPath(p)
			}
		}
	}
	return ""
}

func (w Tree) neighbours() (out []neighbour) {
	if w.stick == nil {
		return nil
	}
	for _, p := range w.stick.partitions() {
		name := w.stick.partitionPath(p)
		if name == w.Name {
			continue
		}
		n := neighbour{Name: fmt.Sprintf("partition %d", p.Number), Root: name, Label: p.Label, PartLabel: p.Name, UUID: p.UUID,
			PartUUID: p.PartUUID, FileSystem: p.FileSystem}
		if p.Number == 0 {
			n.Name = "the whole disk"
		}
		if _, err := p.Root(); err != nil {
			n.Root, n.Why = "", err.Error()
		}
		out = append(out, n)
	}
	return out
}
