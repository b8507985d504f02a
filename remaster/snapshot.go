package remaster

import (
	"context"
	"errors"
	"fmt"

	"relive/dmmerge"
	"relive/extfs"
	"relive/tree"
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
		if s.damaged() != nil {
			return withHint(fmt.Errorf("the merged file system: %w", err), "relive dm recover "+path+" saves what is whole and lists what is lost")
		}
		return withHint(fmt.Errorf("the merged file system: %w", err), "see with relive dm status that the overlay belongs to this base")
	}
	l.Overlay = &Overlay{Path: path, Form: FormSnapshot, Snapshot: s, Empty: cow.Exceptions() == 0}
	l.Merged, err = s.FS.Root()
	return err
}

// damaged gives the first entry of the COW that is corrupt, nil where none is.
func (s *Snapshot) damaged() *dmmerge.Finding {
	for _, f := range s.COW.Findings() {
		if f.Severity() == dmmerge.Corruption {
			return &f
		}
	}
	return nil
}

// warnings tells what a person should know of the COW.
func (s *Snapshot) warnings() (out []string) {
	for _, f := range s.COW.Findings() {
		out = append(out, f.String())
	}
	st := s.COW.Status()
	switch {
	case s.COW.State() == dmmerge.Invalid:
		out = append(out, "the kernel has marked the overlay invalid (it was full, or an I/O error met), and every read of it fails; what was written until then is intact")
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

// checkSnapshot refuses a COW of which not everything can be read, and one that
// does not make a whole file system with the base: all of its metadata is read.
func (l *Live) checkSnapshot(ctx context.Context, e *Env) error {
	s := l.snapshot()
	if s == nil {
		return nil
	}
	path := l.Overlay.Path
	if f := s.damaged(); f != nil {
		return refuse("relive dm recover "+path+" saves what is whole and lists what is lost", "%s is damaged: %s", path, f)
	}
	e.phase("reading the merged file system's metadata", 0)
	err := tree.Walk(ctx, l.Merged, func(path string, n *tree.Node) error {
		if data, ok := n.Data.(extfs.Located); ok {
			for _, err := range data.Ranges() {
				if err != nil && !errors.Is(err, extfs.ErrInline) {
					return fmt.Errorf("%s: %w", tree.Quote(path), err)
				}
			}
		}
		return nil
	})
	if errors.Is(err, tree.ErrCorrupt) {
		return refuse("see that the overlay belongs to this base; --image FILE --force writes the merged image for e2fsck to repair", "%s and %s make no whole file system: %v", path, l.Base.Path, err)
	}
	return err
}
