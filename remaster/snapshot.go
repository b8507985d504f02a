package remaster

import (
	"fmt"

	"relive/dmmerge"
	"relive/extfs"
)

// FormSnapshot is an overlay that keeps changed chunks of a file system image:
// the copy-on-write store of a persistent device-mapper snapshot.
const FormSnapshot Form = "dm-snapshot"

// Snapshot is the copy-on-write store of an overlay, laid over the image in the
// base.
type Snapshot struct {
	COW    *dmmerge.COW
	Device *dmmerge.Device
	// FS is the file system on the device.
	FS        *extfs.FS
	Size      int64 // of the file, in bytes
	Allocated int64 // bytes that the host has set aside for it
}

// openSnapshot opens a COW over the image in the base and the file system that
// both show together.
func (l *Live) openSnapshot(path string) error {
	c, err := l.open(path)
	if err != nil {
		return err
	}
	name := l.rel(path)
	cow, err := dmmerge.Open(c, c.Size(), name)
	if err != nil {
		return withHint(err, "relive dm status "+path+" and relive dm recover "+path+" tell what can be saved")
	}
	dev, err := cow.Over(unclosed{l.Base.Inner.Content})
	if err != nil {
		return err
	}
	s := &Snapshot{COW: cow, Device: dev, Size: c.Size(), Allocated: l.allocated(path, c.Size())}
	if check, err := dev.CheckBase(); err != nil {
		return err
	} else if check.Verdict == dmmerge.BaseDiffers {
		return refuse("find the base that it was written over", "%s does not belong to %s: %s", path, l.Base.Path, check.Reason)
	}
	if s.FS, err = extfs.Open(dev, dev.Size(), name+" over "+l.Base.Name()); err != nil {
		return withHint(fmt.Errorf("the merged file system: %w", err), "see with relive dm status that the overlay belongs to this base")
	}
	l.Overlay = &Overlay{Path: path, Form: FormSnapshot, Snapshot: s, Empty: cow.Exceptions() == 0}
	l.Merged, err = s.FS.Root()
	return err
}

// warnings tells what a person should know of the COW.
func (s *Snapshot) warnings() (out []string) {
	for _, f := range s.COW.Findings() {
		out = append(out, f.String())
	}
	st := s.COW.Status()
	switch {
	case s.COW.State() == dmmerge.Invalid:
		out = append(out, "the kernel has marked the overlay invalid (full, or an I/O error), and a boot does not use it; what was written until then is intact")
	case s.COW.State() == dmmerge.Unloadable:
		out = append(out, "the kernel refuses to load the overlay, whose metadata runs past its end; the entries before are intact")
	case st.Full:
		out = append(out, "the overlay is full: the next new chunk makes it overflow")
	}
	if st.Trap {
		out = append(out, "the overlay has a size at which filling it up invalidates it; relive dm grow makes it larger")
	}
	return out
}

// damagedSnapshot refuses a COW of which not everything can be read.
func (l *Live) damagedSnapshot() error {
	s := l.snapshot()
	if s == nil {
		return nil
	}
	path := l.Overlay.Path
	for _, f := range s.COW.Findings() {
		if f.Severity() == dmmerge.Corruption {
			return refuse("relive dm recover "+path+" saves what is whole and lists what is lost", "%s is damaged: %s", path, f)
		}
	}
	return nil
}
