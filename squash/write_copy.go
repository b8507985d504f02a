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

// copyExtents copies the ranges of a source to their places. Between files of
// the host it asks the kernel to copy, which on some file systems shares the
// blocks instead.
func copyExtents(ctx context.Context, out io.WriterAt, base int64, s *source, done func(int64)) error {
	src, shift := fileBelow(s.img.image)
	dst, _ := out.(*os.File)
	inKernel := src != nil && dst != nil
	var buf []byte
	for _, e := range s.extents {
		for e.len > 0 {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			if inKernel {
				n, err := copyFileRange(dst, base+e.dst, src, shift+e.src, min(e.len, 64<<20))
				if err != nil {
					return fmt.Errorf("%s: copy of %d bytes at offset %d: %w", s.img.Name(), e.len, e.src, err)
				}
				if n > 0 {
					startWriteback(out, base+e.dst, n)
					e.src, e.dst, e.len = e.src+n, e.dst+n, e.len-n
					done(n)
					continue
				}
				inKernel = false
			}
			if buf == nil {
				buf = make([]byte, 1<<20)
			}
			p := buf[:min(e.len, int64(len(buf)))]
			if err := s.img.ReadStored(p, e.src); err != nil {
				return err
			}
			if _, err := out.WriteAt(p, base+e.dst); err != nil {
				return err
			}
			n := int64(len(p))
			startWriteback(out, base+e.dst, n)
			e.src, e.dst, e.len = e.src+n, e.dst+n, e.len-n
			done(n)
		}
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
	if f, ok := out.(*os.File); ok {
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
	return progressMeter{&sync.Mutex{}, &WriteProgress{CopyTotal: p.copyRangesTotal(), CompressTotal: p.Stats.CompressBytes}, new(int64), p.o.Progress}
}

func (p *Plan) copyRangesTotal() (n int64) {
	for _, s := range p.sources {
		n += s.bytes
	}
	return n
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
