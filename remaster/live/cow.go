package live

import (
	"context"
	"errors"
	"fmt"
	"io"

	"relive/dmmerge"
	"relive/extfs"
	"relive/remaster/exclude"
	"relive/remaster/job"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
)

// FormCOW is an overlay that keeps changed chunks of a file system image:
// the copy-on-write store of a persistent device-mapper snapshot.
const FormCOW Form = "dm-snapshot"

// COW is the copy-on-write store of an overlay, laid over the image in the
// base.
type COW struct {
	Store  *dmmerge.COW
	Device *dmmerge.Device
	// FS is the file system on the device.
	FS        *extfs.FS
	Size      int64 // of the file, in bytes
	Allocated int64 // bytes that the host has set aside for it

	Content tree.Content
}

// openCOW opens a COW over the image in the base and the file system that
// both show together.
func (l *Live) openCOW(path string) error {
	c, err := l.open(path)
	if err != nil {
		return err
	}
	name := l.Rel(path)
	cow, err := dmmerge.Open(c, c.Size(), name)
	if err != nil {
		return refusal.WithHint(err, say.StatusCOW+" "+path+" and "+say.RecoverCOW+" "+path+" tell what can be saved")
	}
	dev, err := cow.Over(tree.Unclosed{Content: l.Base.Inner.Content})
	if err != nil {
		return err
	}
	s := &COW{Store: cow, Device: dev, Size: c.Size(), Allocated: l.allocated(path, c.Size()), Content: c}
	if check, err := dev.CheckBase(); err != nil {
		return err
	} else if check.Verdict == dmmerge.BaseDiffers {
		return refusal.New(refusal.UnmatchedVersion, "give the base that it was written over", "%s does not belong to %s: %s", path,
			l.Base.Path, check.Reason)
	}
	if s.FS, err = extfs.Open(dev, dev.Size(), name+" over "+l.Base.Name()); err != nil {
		if s.Damaged() != nil {
			return refusal.WithHint(fmt.Errorf("the merged file system: %w", err), say.RecoverCOW+" "+path+
				" saves what is whole and lists what is lost")
		}
		return refusal.WithHint(fmt.Errorf("the merged file system: %w", err),
			"see with "+say.StatusCOW+" that the overlay belongs to this base")
	}
	l.Overlay = &Overlay{Path: path, Form: FormCOW, COW: s, Empty: cow.Exceptions() == 0}
	l.Merged, err = s.FS.Root()
	return err
}

// CopyHint tells how what a COW has changed is kept where it cannot come along.
const CopyHint = say.Compact + " " + say.Image + " FILE writes base and overlay as one file system image, to be mounted and copied from"

// FilesHint tells how an overlay that is a snapshot becomes one of files.
func (l *Live) FilesHint() string {
	if l.Layout.Traits().FlatOverlay != "" {
		return "do it on the running system; " + CopyHint // where a flattened base takes its changes from another place
	}
	return say.Compact + " " + say.Flatten + " makes a base of files with all that the overlay holds, and an overlay of files over it"
}

// Damaged returns the first entry of the COW that is corrupt, nil where none is.
func (s *COW) Damaged() *dmmerge.Finding {
	for _, f := range s.Store.Findings() {
		if f.Severity() == dmmerge.Corruption {
			return &f
		}
	}
	return nil
}

// warnings tells what a person should know of the COW.
func (s *COW) warnings() (out []string, err error) {
	// The metadata of a COW whose header is lost is at its beginning; data further
	// behind is what a reset leaves.
	head, err := DataBehind(context.Background(), beginning{s.Content, min(s.Size, dmmerge.ResetBytes)})
	if err != nil {
		return nil, err
	}
	if head >= 0 {
		out = append(out, fmt.Sprintf("the overlay's header is zero, so that a boot takes it for a new one, but there is data in it from "+
			"byte %d on: its header is lost, or it is none", head))
	}
	for _, f := range s.Store.Findings() {
		out = append(out, f.String())
	}
	st := s.Store.Status()
	switch {
	case s.Store.State() == dmmerge.Invalid:
		out = append(out, "the kernel has marked the overlay invalid (it was full, or an I/O error met), and every read of it fails; "+
			"what was written until then is intact")
	case s.Store.State() == dmmerge.Unloadable:
		out = append(out, "the kernel refuses to load the overlay, whose metadata runs past its end; the entries before are intact")
	case st.Full:
		out = append(out, "the overlay is full: the next new chunk makes it overflow")
	}
	if st.Trap {
		out = append(out, "the overlay has a size at which filling it up invalidates it; "+say.GrowCOW+" makes it larger")
	}
	return out, nil
}

// beginning is the beginning of content.
type beginning struct {
	tree.Content
	size int64
}

// NextData implements tree.Content.
func (b beginning) NextData(off int64) (start, end int64, err error) {
	start, end, err = b.Content.NextData(off)
	if err == nil && start >= b.size {
		err = io.EOF
	}
	return start, min(end, b.size), err
}

// CheckMerged refuses a COW of which not everything can be read, and one that
// does not make a whole file system with the base: all of its metadata is read.
// One without a header must be empty, unless forced, and what is left out need not
// be readable. An image for e2fsck to repair (--image with --force) may hold a
// broken file system.
func (l *Live) CheckMerged(ctx context.Context, e *job.Env, to *Intent) error {
	s := l.COW()
	if s == nil {
		return nil
	}
	path := l.Overlay.Path
	if !to.Force {
		if err := CheckCOW(ctx, s.Content, path, true); err != nil {
			return err
		}
	}
	if f := s.Damaged(); f != nil {
		return refusal.New(refusal.Damaged, say.RecoverCOW+" "+path+" saves what is whole and lists what is lost", "%s is damaged: %s",
			path, f)
	}
	if to.Force && to.Repair {
		return nil
	}
	e.Phase("reading the merged file system's metadata", 0)
	root := l.Merged
	if len(to.Excludes) > 0 {
		set, err := exclude.New(to.Excludes)
		if err != nil {
			return err
		}
		root = set.Apply(root)
	}
	err := tree.Walk(ctx, root, func(path string, n *tree.Node) error {
		if data, ok := n.Data.(extfs.Located); ok {
			for _, err := range data.Ranges() {
				if err != nil && !errors.Is(err, extfs.ErrInline) {
					return fmt.Errorf("%s: %w", tree.Quote(path), err)
				}
			}
		}
		return nil
	})
	var entry *tree.EntryError
	if errors.Is(err, tree.ErrCorrupt) && !errors.As(err, &entry) {
		return refusal.New(refusal.Damaged, "see that the overlay belongs to this base; "+say.Compact+" "+say.Image+" FILE "+say.Force+
			" writes the merged image for e2fsck to repair", "%s and %s make no whole file system: %v", path, l.Base.Path, err)
	}
	return err
}
