package squash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// copier copies stored bytes from images to their places in a new one. Between
// files of the host it asks the kernel to copy, which on some file systems
// shares the blocks instead.
type copier struct {
	ctx  context.Context
	out  io.WriterAt
	base int64
	done func(int64) // told of bytes that are copied

	img      *Reader // that the fields below belong to
	src      *os.File
	shift    int64
	inKernel bool

	buf []byte
	// dirty to end is what the kernel was not yet asked to write to the disk.
	dirty, end int64
}

// copy copies one range. Ranges come by ascending places in the new image.
func (c *copier) copy(img *Reader, e extent) error {
	if c.img != img {
		c.img = img
		c.src, c.shift = fileBelow(img.image)
		c.inKernel = c.src != nil && hostOut(c.out) != nil
	}
	for e.len > 0 {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		n, err := c.some(e)
		if err != nil {
			return err
		}
		c.wrote(e.dst, n)
		e.src, e.dst, e.len = e.src+n, e.dst+n, e.len-n
		c.done(n)
	}
	return nil
}

// some copies the beginning of a range.
func (c *copier) some(e extent) (int64, error) {
	if dst := hostOut(c.out); dst != nil && c.inKernel {
		n, err := copyFileRange(dst, c.base+e.dst, c.src, c.shift+e.src, min(e.len, 64<<20))
		if err != nil {
			return 0, fmt.Errorf("%s: copy of %d bytes at offset %d: %w", c.img.Name(), e.len, e.src, err)
		}
		if n > 0 {
			if noted, ok := c.out.(copyNoter); ok {
				err = noted.Copied(c.base+e.dst, n)
			}
			return n, err
		}
		c.inKernel = false
	}
	if c.buf == nil {
		c.buf = make([]byte, 1<<20)
	}
	p := c.buf[:min(e.len, int64(len(c.buf)))]
	if err := c.img.readStored(p, e.src); err != nil {
		return 0, err
	}
	if _, err := c.out.WriteAt(p, c.base+e.dst); err != nil {
		return 0, err
	}
	return int64(len(p)), nil
}

// wrote notes a range that was written and, now and then, has the kernel begin
// to write it to the disk.
func (c *copier) wrote(off, n int64) {
	if c.dirty == c.end {
		c.dirty = off
	}
	if c.end = off + n; c.end-c.dirty >= writebackStep {
		startWriteback(c.out, c.base+c.dirty, c.end-c.dirty)
		c.dirty = c.end
	}
}

// finish has the kernel begin to write the rest to the disk.
func (c *copier) finish() {
	if c.dirty < c.end {
		startWriteback(c.out, c.base+c.dirty, c.end-c.dirty)
	}
	c.dirty = c.end
}

// copySources copies the ranges of files and fragment blocks that are copied as
// a whole.
func (w *dataWriter) copySources() error {
	c := copier{ctx: w.ctx, out: w.out, base: w.base, done: w.progress.copied}
	for _, s := range w.plan.sources {
		for _, e := range s.extents {
			if err := c.copy(s.img, e); err != nil {
				return err
			}
		}
	}
	c.finish()
	return nil
}

// keptRun is a range of stored blocks of a mixed file, and where it goes.
type keptRun struct {
	file *file
	extent
}

// copyRuns copies the runs of mixed files, whose places the collector finds one
// by one.
func (w *dataWriter) copyRuns() error {
	c := copier{ctx: w.ctx, out: w.out, base: w.base, done: w.progress.copied}
	for r := range w.runs {
		if err := c.copy(r.file.more.stored.Image, r.extent); err != nil {
			return fmt.Errorf("%s: %w", r.file.describe(), err)
		}
	}
	c.finish()
	return nil
}

// copyNoter is a new file that is to be told what the kernel copied to it.
type copyNoter interface {
	HostFile() *os.File
	Copied(off, n int64) error
}

// hostOut is the host's file that a new image is written to, nil where it is
// none.
func hostOut(out io.WriterAt) *os.File {
	switch v := out.(type) {
	case *os.File:
		return v
	case copyNoter:
		return v.HostFile()
	}
	return nil
}

// fileBelow finds the host's file that a reader reads, and where in it offset 0
// is.
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

// copyFileRange copies up to n bytes in the kernel. It gives 0 where the kernel
// or the file systems cannot.
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

// startWriteback has the kernel begin to write a range of a host's file to the
// disk, so that the sync at the end finds most of it done. It is a wish: what it
// returns does not matter, as the sync tells of errors.
func startWriteback(out io.WriterAt, off, n int64) {
	if f := hostOut(out); f != nil {
		_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
	}
}

// progressMeter adds up what the copier and the collector have done and tells
// the plan's Progress.
type progressMeter struct {
	mu   *sync.Mutex
	now  *WriteProgress
	last *int64
	fn   func(WriteProgress)
}

func newProgressMeter(p *Plan) progressMeter {
	return progressMeter{&sync.Mutex{}, &WriteProgress{CopyTotal: p.Stats.CopyBytes, CompressTotal: p.Stats.CompressBytes}, new(int64),
		p.o.Progress}
}

// progressStep is how many bytes pass between two calls of Progress.
const progressStep = 1 << 20

func (m progressMeter) add(copied, compressed int64) {
	if m.fn == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Copied += copied
	m.now.Compressed = min(m.now.Compressed+compressed, m.now.CompressTotal)
	if *m.last += copied + compressed; *m.last >= progressStep {
		*m.last = 0
		m.fn(*m.now)
	}
}

func (m progressMeter) copied(n int64)     { m.add(n, 0) }
func (m progressMeter) compressed(n int64) { m.add(0, n) }

func (m progressMeter) finish() {
	if m.fn == nil {
		return
	}
	m.now.Copied, m.now.Compressed = m.now.CopyTotal, m.now.CompressTotal
	m.fn(*m.now)
}
