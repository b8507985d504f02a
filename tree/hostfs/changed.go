package hostfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"relive/tree"
)

// ErrChanged is the error of a file or directory that is not any more what it
// was when its parent directory was listed. A change within the same tick of
// the file system's clock is not noticed.
var ErrChanged = errors.New("changed while it was read")

// gone makes ErrChanged of the errors of a name or attribute that was listed and
// is no more.
func gone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODATA) {
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	return err
}

// stamp tells one state of a file: every change of content or metadata sets
// ctime.
type stamp struct {
	dev, ino uint64
	size     int64
	ctime    unix.Timespec
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{uint64(st.Dev), st.Ino, st.Size, st.Ctim}
}

// file is a regular file of a tree.
type file struct {
	path string
	was  stamp
}

// Open implements tree.Data.
func (f file) Open() (tree.Content, error) {
	c, err := openFile(f.path, unix.O_NOFOLLOW)
	if err != nil {
		return nil, gone(err)
	}
	w := &watched{c, f}
	if err := w.check(); err != nil {
		c.Close()
		return nil, err
	}
	return w, nil
}

// watched is content that must stay what it was.
type watched struct {
	*content
	f file
}

func (w *watched) check() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(w.Fd()), &st); err != nil {
		return &os.PathError{Op: "fstat", Path: w.f.path, Err: err}
	}
	if stampOf(&st) != w.f.was {
		return &os.PathError{Op: "read", Path: w.f.path, Err: ErrChanged}
	}
	return nil
}

// ReadAt implements tree.Content. It looks after reading, so that what it gives
// is what the file was.
func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.content.ReadAt(p, off)
	if changed := w.check(); changed != nil {
		return 0, changed
	}
	return n, err
}

// Close implements tree.Content. It tells of a change, too, for those who read
// the host's file themselves.
func (w *watched) Close() error {
	err := w.check()
	if cerr := w.content.Close(); err == nil {
		err = cerr
	}
	return err
}
