package written

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"slices"
	"sort"
	"sync"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/hostfs"
)

// ErrDiffers is the error of a file that does not hold what was written to it.
var ErrDiffers = errors.New("the file does not hold what was written to it")

var seed = maphash.MakeSeed()

// File is a new file and what was written to it. It may be written to by several
// goroutines at once.
type File struct {
	*os.File
	mu    sync.Mutex
	parts []part // by offset, without overlaps
	size  int64  // as Truncate or the writes set it
	at    int64  // where Write goes on
}

// part is a range [off, end) that was written.
type part struct {
	off, end int64
	sum      uint64
	// copied: the kernel copied it, and no sum was made.
	copied bool
}

// New begins with a file that is empty.
func New(f *os.File) *File { return &File{File: f} }

// WriteAt implements io.WriterAt.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	end := off + int64(len(p))
	if err := f.clear(off, end); err != nil {
		return 0, err
	}
	n, err := f.File.WriteAt(p, off)
	if err == nil {
		f.note(part{off: off, end: end, sum: maphash.Bytes(seed, p)})
	}
	return n, err
}

// Write writes behind what Write has written before.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, f.at)
	f.at += int64(n)
	return n, err
}

// ReadFrom implements io.ReaderFrom by Write.
func (f *File) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{f}, r)
}

// Copied notes that the kernel copied n bytes to off, which Check is not to look
// at: whoever had them copied compares them with where they came from. A part
// that was written and of which only a piece was copied over has changed, and is
// an error.
func (f *File) Copied(off, n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.clear(off, off+n); err != nil {
		return err
	}
	f.note(part{off: off, end: off + n, copied: true})
	return nil
}

// HostFile is the file that the kernel may copy to, of which Copied is to be
// told.
func (f *File) HostFile() *os.File { return f.File }

// Truncate sets the length. What a longer file gains is zeros.
func (f *File) Truncate(size int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.clear(size, max(size, f.size)); err != nil {
		return err
	}
	if err := f.File.Truncate(size); err != nil {
		return err
	}
	f.size = size
	return nil
}

// note adds a part to whose range no other belongs.
func (f *File) note(p part) {
	i := f.after(p.off)
	f.parts = slices.Insert(f.parts, i, p)
	f.size = max(f.size, p.end)
}

// after is the index of the first part that ends behind off.
func (f *File) after(off int64) int {
	return sort.Search(len(f.parts), func(i int) bool { return f.parts[i].end > off })
}

// clear forgets what was written to [off, end), which is to be written anew.
// Parts that reach beyond it are read and summed again without it.
func (f *File) clear(off, end int64) error {
	i := f.after(off)
	j := i
	var rest []part
	for ; j < len(f.parts) && f.parts[j].off < end; j++ {
		old := f.parts[j]
		if old.off >= off && old.end <= end {
			continue
		}
		var b []byte
		if !old.copied {
			b = make([]byte, old.end-old.off)
			if err := tree.ReadFull(f.File, b, old.off); err != nil {
				return err
			}
			if maphash.Bytes(seed, b) != old.sum {
				return f.differs(old)
			}
		}
		for _, p := range [...]part{{off: old.off, end: off}, {off: end, end: old.end}} {
			if p.off >= p.end {
				continue
			}
			if p.copied = old.copied; !p.copied {
				p.sum = maphash.Bytes(seed, b[p.off-old.off:p.end-old.off])
			}
			rest = append(rest, p)
		}
	}
	f.parts = slices.Replace(f.parts, i, j, rest...)
	return nil
}

func (f *File) differs(p part) error {
	return fmt.Errorf("%s: bytes %d to %d: %w", f.Name(), p.off, p.end, ErrDiffers)
}

type faultKey struct{}

// WithFault makes Settle call fault, between writing and reading back: for tests
// of what reads back.
func WithFault(ctx context.Context, fault func(*os.File) error) context.Context {
	return context.WithValue(ctx, faultKey{}, fault)
}

// Settle makes a file durable and asks the kernel to forget its pages, so that
// reading it back reads the disk.
func Settle(ctx context.Context, f *os.File) error {
	if err := f.Sync(); err != nil {
		return err
	}
	// It is a wish: where it is not granted, what follows reads the pages that
	// were to be written, which is all that could be had.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	if fault, ok := ctx.Value(faultKey{}).(func(*os.File) error); ok {
		return fault(f)
	}
	return nil
}

// readBytes is how much is read at a time.
const readBytes = 1 << 20

// Check reads the file under that name back and compares it with what was
// written. The File may be closed.
func (f *File) Check(ctx context.Context, path string) (err error) {
	in, err := hostfs.OpenFile(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	f.mu.Lock()
	defer f.mu.Unlock()
	if in.Size() != f.size {
		return fmt.Errorf("%s: it has %d bytes, not %d: %w", path, in.Size(), f.size, ErrDiffers)
	}
	c := checker{ctx: ctx, in: in, buf: make([]byte, readBytes)}
	hole := int64(0) // where the part before ended
	for _, p := range f.parts {
		if err := c.zero(hole, p.off); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		hole = p.end
		if p.copied {
			continue
		}
		sum, err := c.sum(p)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if sum != p.sum {
			return f.differs(p)
		}
	}
	if err := c.zero(hole, f.size); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

type checker struct {
	ctx context.Context
	in  tree.Content
	buf []byte
}

// each reads [off, end) piece by piece.
func (c *checker) each(off, end int64, fn func([]byte) error) error {
	for off < end {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		b := c.buf[:min(int64(len(c.buf)), end-off)]
		if err := tree.ReadFull(c.in, b, off); err != nil {
			return err
		}
		if err := fn(b); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

func (c *checker) sum(p part) (uint64, error) {
	var h maphash.Hash
	h.SetSeed(seed)
	err := c.each(p.off, p.end, func(b []byte) error {
		_, _ = h.Write(b) // it has no errors
		return nil
	})
	return h.Sum64(), err
}

// zero reads what data the file has in a range that nobody wrote to.
func (c *checker) zero(off, end int64) error {
	for off < end {
		start, stop, err := c.in.NextData(off)
		if err == io.EOF || err == nil && start >= end {
			return nil
		}
		if err != nil {
			return err
		}
		stop = min(stop, end)
		err = c.each(start, stop, func(b []byte) error {
			if !tree.IsZero(b) {
				return fmt.Errorf("data within bytes %d to %d, to which nothing was written: %w", start, stop, ErrDiffers)
			}
			return nil
		})
		if err != nil {
			return err
		}
		off = stop
	}
	return nil
}
