package hostcopy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Source is an image that is copied from.
type Source struct {
	Name  string
	Image io.ReaderAt
	// Read reads what the kernel cannot copy; its errors name the image.
	Read func(p []byte, off int64) error
}

// Range is a range of a source and where it goes in the new image.
type Range struct{ Src, Len, Dst int64 }

// Copier copies ranges to their places in a new image. It is not for use by several
// goroutines.
type Copier struct {
	Ctx  context.Context
	Out  io.WriterAt
	Base int64       // where in Out the image begins
	Done func(int64) // told of bytes that are copied

	of       *Source // that the fields below belong to
	src      *os.File
	shift    int64
	inKernel bool

	buf []byte
	// dirty to end is what the kernel was not yet asked to write to the disk.
	dirty, end int64
}

// Copy copies one range. Ranges come by ascending places in the new image.
func (c *Copier) Copy(s *Source, r Range) error {
	if c.of != s {
		c.of = s
		c.src, c.shift = fileBelow(s.Image)
		c.inKernel = c.src != nil && hostOut(c.Out) != nil
	}
	for r.Len > 0 {
		if c.Ctx.Err() != nil {
			return context.Cause(c.Ctx)
		}
		n, err := c.some(r)
		if err != nil {
			return err
		}
		c.wrote(r.Dst, n)
		r.Src, r.Dst, r.Len = r.Src+n, r.Dst+n, r.Len-n
		c.Done(n)
	}
	return nil
}

// some copies the beginning of a range.
func (c *Copier) some(r Range) (int64, error) {
	if dst := hostOut(c.Out); dst != nil && c.inKernel {
		n, err := copyFileRange(dst, c.Base+r.Dst, c.src, c.shift+r.Src, min(r.Len, 64<<20))
		if err != nil {
			return 0, fmt.Errorf("%s: copy of %d bytes at offset %d: %w", c.of.Name, r.Len, r.Src, err)
		}
		if n > 0 {
			if noted, ok := c.Out.(copyNoter); ok {
				err = noted.Copied(c.Base+r.Dst, n)
			}
			return n, err
		}
		c.inKernel = false
	}
	if c.buf == nil {
		c.buf = make([]byte, 1<<20)
	}
	p := c.buf[:min(r.Len, int64(len(c.buf)))]
	if err := c.of.Read(p, r.Src); err != nil {
		return 0, err
	}
	if _, err := c.Out.WriteAt(p, c.Base+r.Dst); err != nil {
		return 0, err
	}
	return int64(len(p)), nil
}

// wrote notes a range that was written and, now and then, has the kernel begin to
// write it to the disk.
func (c *Copier) wrote(off, n int64) {
	if c.dirty == c.end {
		c.dirty = off
	}
	if c.end = off + n; c.end-c.dirty >= WritebackStep {
		StartWriteback(c.Out, c.Base+c.dirty, c.end-c.dirty)
		c.dirty = c.end
	}
}

// Finish has the kernel begin to write the rest to the disk.
func (c *Copier) Finish() {
	if c.dirty < c.end {
		StartWriteback(c.Out, c.Base+c.dirty, c.end-c.dirty)
	}
	c.dirty = c.end
}

// copyNoter is a new file that is to be told what the kernel copied to it.
type copyNoter interface {
	HostFile() *os.File
	Copied(off, n int64) error
}

// hostOut is the host's file that a new image is written to, nil where it is none.
func hostOut(out io.WriterAt) *os.File {
	switch v := out.(type) {
	case *os.File:
		return v
	case copyNoter:
		return v.HostFile()
	}
	return nil
}

// fileBelow finds the host's file that a reader reads, and where in it offset 0 is.
func fileBelow(r io.ReaderAt) (*os.File, int64) {
	var shift int64
	for {
		switch v := r.(type) {
		case *os.File:
			return v, shift
		case interface{ HostFile() *os.File }:
			return v.HostFile(), shift
		case *io.SectionReader:
			inner, off, _ := v.Outer()
			r, shift = inner, shift+off
		default:
			return nil, 0
		}
	}
}

// copyFileRange copies up to n bytes in the kernel. It gives 0 where the kernel or
// the file systems cannot.
func copyFileRange(dst *os.File, dstOff int64, src *os.File, srcOff, n int64) (int64, error) {
	for {
		got, err := unix.CopyFileRange(int(src.Fd()), &srcOff, int(dst.Fd()), &dstOff, int(n), 0)
		switch {
		case err == nil:
			return int64(got), nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EXDEV), errors.Is(err, unix.EINVAL),
			errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPERM), errors.Is(err, unix.EBADF), errors.Is(err, unix.ETXTBSY):
			return 0, nil
		default:
			return 0, err
		}
	}
}

// WritebackStep is how many bytes are written between two wishes to have them on the
// disk.
const WritebackStep = 8 << 20

// StartWriteback has the kernel begin to write a range of a host's file to the disk,
// so that the sync at the end finds most of it done. It is a wish: what it returns
// does not matter, as the sync tells of errors.
func StartWriteback(out io.WriterAt, off, n int64) {
	if f := hostOut(out); f != nil {
		_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
	}
}
