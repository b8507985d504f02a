package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"relive/dmmerge"
	"relive/remaster/bytesize"
	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/newfile"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/source"
	"relive/remaster/written"
	"relive/tree"
	"relive/tree/hostfs"
)

func (a *app) dmCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "dm",
		Short: "device-mapper snapshots: look at, merge, reset, recover, grow",
		Long: `Works on single files: the COW (the overlay file of a Fedora LiveOS stick,
archiso's airootfs.cow) and its origin, the image of the root file system below
it. No device-mapper, no root.

ORIGIN is an image file or a device, or an image inside a SquashFS, written
squashfs.img:LiveOS/rootfs.img.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.dmStatusCommand(), a.dmLsCommand(), a.dmMergeCommand(), a.dmResetCommand(), a.dmRecoverCommand(),
		a.dmGrowCommand(), a.dmRepackCommand(), a.dmCreateCommand())
	return c
}

// cowFile is a COW of the host.
type cowFile struct {
	*dmmerge.COW
	content tree.Content
	path    string
}

func (c *cowFile) Close() error { return c.content.Close() }

// openCOW opens a COW to be read. With whole, what is read is to be written
// elsewhere or emptied, and an empty header must be that of an empty file.
func openCOW(ctx context.Context, path string, whole bool) (*cowFile, error) {
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return nil, err
	}
	if err := live.CheckCOW(ctx, c, path, whole); err != nil {
		c.Close()
		return nil, err
	}
	cow, err := dmmerge.Open(c, c.Size(), path)
	if err != nil {
		c.Close()
		return nil, err
	}
	return &cowFile{cow, c, path}, nil
}

// device is a COW of the host over its origin.
type device struct {
	*dmmerge.Device
	cow *cowFile
}

func (d *device) Close() error { return errors.Join(d.Device.Close(), d.cow.Close()) }

// openDevice opens a COW over an origin, to be read whole.
func (a *app) openDevice(c *cobra.Command, origin, path string) (*device, error) {
	cow, err := openCOW(c.Context(), path, true)
	if r, ok := refusal.Is(err); ok && swapped(origin) {
		return nil, refusal.New(refusal.WrongKind, "the origin comes before the COW: is it the other way about?", "%s", r.Fact)
	}
	if err != nil {
		return nil, err
	}
	d, err := a.over(c, cow, origin)
	if err != nil {
		cow.Close()
		return nil, err
	}
	return &device{d, cow}, nil
}

// swapped reports whether what was given for the origin may be a COW.
func swapped(origin string) bool {
	res, err := probe.File(origin)
	return err == nil && (res.Kind == probe.COW || res.Kind == probe.Zeros)
}

// over lays a COW over an origin. Both are closed with the device, the COW's
// file is not.
func (a *app) over(c *cobra.Command, cow *cowFile, origin string) (*dmmerge.Device, error) {
	content, err := a.openOrigin(c, origin)
	if err != nil {
		return nil, err
	}
	d, err := cow.Over(content)
	if err != nil {
		content.Close()
	}
	return d, err
}

// openOrigin opens an image file, or FILE:PATH, an image inside a tree.
func (a *app) openOrigin(c *cobra.Command, origin string) (tree.Content, error) {
	file, inner := splitOrigin(origin)
	if inner == "" {
		content, err := hostfs.OpenFile(file)
		if err != nil {
			return nil, err
		}
		res, err := probe.Of(content, content.Size())
		switch {
		case err != nil:
			err = fmt.Errorf("%s: %w", file, err)
		case res.Kind == probe.SquashFS:
			err = refusal.New(refusal.WrongKind, "name the image inside, such as "+file+":LiveOS/rootfs.img", "%s: a SquashFS is no origin",
				file)
		case res.Kind == probe.COW:
			err = refusal.New(refusal.WrongKind, "the origin comes before the COW: is it the other way about?",
				"%s: it is a COW, and no origin", file)
		case content.Size() == 0:
			err = refusal.New(refusal.WrongKind, "give the image or device that the COW was written over", "%s: it is empty", file)
		}
		if err != nil {
			content.Close()
			return nil, err
		}
		return content, nil
	}
	e, err := a.env()
	if err != nil {
		return nil, err
	}
	root, closer, err := source.Open(c.Context(), e, file, "", "")
	if err != nil {
		return nil, err
	}
	n, err := root.Lookup(inner)
	if err == nil && n == nil {
		err = fmt.Errorf("%s: no %s in it", file, tree.Quote(inner))
	}
	var content tree.Content
	if err == nil {
		if content, err = n.Open(); err != nil {
			err = fmt.Errorf("%s: %s: %w", file, tree.Quote(inner), err)
		}
	}
	if err != nil {
		closer.Close()
		return nil, err
	}
	return innerContent{content, closer}, nil
}

// innerContent closes also what it lies in.
type innerContent struct {
	tree.Content
	outer interface{ Close() error }
}

func (c innerContent) Close() error { return errors.Join(c.Content.Close(), c.outer.Close()) }

// splitOrigin splits FILE:PATH at the first colon behind which a file ends. A
// file whose name has colons is taken as it is.
func splitOrigin(s string) (file, inner string) {
	if _, err := os.Stat(s); err == nil {
		return s, ""
	}
	for i := range s {
		if s[i] != ':' || i == len(s)-1 {
			continue
		}
		if st, err := os.Stat(s[:i]); err == nil && !st.IsDir() {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// checkBase refuses an origin that the COW does not belong to, unless forced.
func (a *app) checkBase(d *dmmerge.Device, force bool) error {
	check, err := d.CheckBase()
	if err != nil {
		return err
	}
	if check.Verdict != dmmerge.BaseDiffers {
		return nil
	}
	if !force {
		return refusal.New(refusal.UnmatchedVersion, "is it the right origin? --force-base goes on all the same", "%s: %s", d.COW().Name(),
			check.Reason)
	}
	a.warn("%s: %s", d.COW().Name(), check.Reason)
	return nil
}

// notInUse refuses a file that the running system uses.
func notInUse(path string) error {
	why, err := hostdisk.InUse("/", path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // what opens it tells
	}
	if err != nil {
		return err
	}
	if why != "" {
		return refusal.New(refusal.InUse, "stop what uses it, or work on a copy", "%s: in use: %s", path, why)
	}
	return nil
}

// openInPlace opens a file that is to be changed where it is, and locks it
// against another relive.
func openInPlace(path string) (f *os.File, size int64, err error) {
	if err := notInUse(path); err != nil {
		return nil, 0, err
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	flags := os.O_RDWR
	switch {
	case st.Mode()&os.ModeDevice != 0:
		flags |= unix.O_EXCL // fails where the device is mounted
	case !st.Mode().IsRegular():
		return nil, 0, fmt.Errorf("%s: not a file", path)
	}
	if f, err = os.OpenFile(path, flags, 0); err != nil {
		return nil, 0, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		f.Close()
		return nil, 0, refusal.New(refusal.Busy, "wait until the other program is done", "%s: locked by another program", path)
	}
	if size, err = f.Seek(0, 2); err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, size, nil
}

// phase shows a phase of the progress; done may be called with what is done.
func (a *app) phase(name string, total int64) (done func(int64)) {
	if a.quiet {
		return nil
	}
	if a.progress == nil {
		a.progress = newProgress(a.stderr)
	}
	a.progress.Phase(name, total)
	return a.progress.Done
}

// parseChunk reads a chunk size and gives it in sectors; "" is 0.
func parseChunk(s string) (uint32, error) {
	if s == "" {
		return 0, nil
	}
	n, err := sizeFlag("--chunk", s)
	if err != nil || n&(n-1) != 0 || n < 512 || n > 1<<30 {
		return 0, usageError{errFlag("--chunk", s, "a power of two from 512 to 1G")}
	}
	return uint32(n / 512), nil
}

// badSize makes a refusal of a size that a COW should not have.
func badSize(err error) error {
	var bad *dmmerge.SizeError
	if errors.As(err, &bad) {
		return refusal.New(refusal.WrongSize, fmt.Sprintf("give --size %d", bad.Next), "%v", err)
	}
	return err
}

// output is a new file that takes its name when it is whole.
type output struct {
	*written.File
	file    *newfile.File
	reserve bool // have the host set the space aside
	// check reads back what the kernel has copied; it may be nil.
	check func(path string) error
}

// newOutput begins a file beside where it is to be, which will hold one of kinds.
// inputs are files that it must not replace.
func newOutput(path string, replace bool, perm os.FileMode, kinds []probe.Kind, inputs ...string) (*output, error) {
	f, err := newfile.Create(path, newfile.Options{Force: replace, Perm: perm, Kinds: kinds, Inputs: inputs})
	if err != nil {
		return nil, err
	}
	return &output{File: written.New(f.File), file: f}, nil
}

// Truncate sets the length, with the space set aside where that is asked for.
func (o *output) Truncate(size int64) error {
	if o.reserve && size > 0 {
		if err := reserve(o.HostFile(), size); err != nil {
			return err
		}
	}
	return o.File.Truncate(size)
}

// finish has the file made durable, read back and put in its place, or removes it
// where the work failed.
func (o *output) finish(ctx context.Context, failed error) error {
	if failed != nil {
		return errors.Join(failed, o.file.Discard())
	}
	return o.file.Commit(ctx, func(f *os.File) error {
		if err := o.Check(ctx, f.Name()); err != nil || o.check == nil {
			return err
		}
		return o.check(f.Name())
	})
}

// reserve makes a file longer, with space set aside: a COW with holes in it is
// invalidated when the host's disk is full. Where the file system cannot, the
// file gets a hole.
func reserve(f *os.File, size int64) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if size > st.Size() {
		err := unix.Fallocate(int(f.Fd()), 0, st.Size(), size-st.Size())
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EFBIG) || errors.Is(err, unix.EDQUOT) {
			return fmt.Errorf("%s: %s: %w", f.Name(), bytesize.Format(size), errors.Join(err, f.Truncate(st.Size())))
		}
	}
	return f.Truncate(size)
}

// reserving is a file that grows with space set aside.
type reserving struct {
	*os.File
	sparse bool
}

// Truncate sets the length.
func (r reserving) Truncate(size int64) error {
	if r.sparse {
		return r.File.Truncate(size)
	}
	return reserve(r.File, size)
}
