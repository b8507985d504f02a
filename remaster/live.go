package remaster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"relive/extfs"
	"relive/overlay"
	"relive/squash"
	"relive/squash/codec"
	"relive/tree"
	"relive/tree/hostfs"
)

// Env is what the pipelines need from outside.
type Env struct {
	Library *codec.Library
	// Jobs is how many goroutines compress; 0 means one for each CPU.
	Jobs int
	// Tool is the name and version that journals and version ids record.
	Tool string
	// SourceDate, where not nil, is the time that new images carry, in seconds
	// since 1970 (the SOURCE_DATE_EPOCH of reproducible builds).
	SourceDate *int64
	// Progress is told what is going on; it may be nil.
	Progress Progress
}

// Progress is told of the phases of a pipeline and how far each has come.
type Progress interface {
	// Phase begins a phase of total bytes, 0 where that is not known.
	Phase(name string, total int64)
	// Done tells how many bytes of the phase are done. Several goroutines may
	// call it at once.
	Done(n int64)
}

func (e *Env) phase(name string, total int64) {
	if e.Progress != nil {
		e.Progress.Phase(name, total)
	}
}

func (e *Env) done(n int64) {
	if e.Progress != nil {
		e.Progress.Done(n)
	}
}

// Live is an opened live directory. It is read-only.
type Live struct {
	Dir    string
	Layout Layout
	Base   *Base
	// Overlay is nil where the directory has no persistence for the root.
	Overlay *Overlay
	// Home is nil where there is no home image, or one that cannot be read:
	// HomeProblem is then why.
	Home        *Image
	HomeProblem error
	// Merged is the base with the overlay over it.
	Merged *tree.Node

	stamps  map[string]stamp // of the files, as they were opened
	closers closers
}

// watch notes the state of a file that is about to be opened.
func (l *Live) watch(path string) error {
	s, err := stampOf(path)
	if err != nil {
		return err
	}
	if l.stamps == nil {
		l.stamps = map[string]stamp{}
	}
	l.stamps[path] = s
	return nil
}

// stamp tells one state of a file from another.
type stamp struct {
	dev, inode uint64
	size       int64
	mtime      time.Time
}

func stampOf(path string) (stamp, error) {
	st, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	s := stamp{size: st.Size(), mtime: st.ModTime()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		s.dev, s.inode = uint64(sys.Dev), sys.Ino
	}
	return s, nil
}

// unchanged is an error where a file that was opened has been written to or
// replaced since: what was made from it may be of two states.
func (l *Live) unchanged() error {
	for path, then := range l.stamps {
		now, err := stampOf(path)
		if err != nil {
			return err
		}
		if now != then {
			return refuse("see that no live system runs from it, and begin again", "%s: changed while it was read", path)
		}
	}
	return nil
}

// Image is an ext image file of a live directory.
type Image struct {
	Path      string
	Size      int64 // bytes
	Allocated int64 // bytes that the host has set aside for it
	FS        *extfs.FS
}

// Base is the compressed image that a live system boots from.
type Base struct {
	Path  string
	Size  int64
	Image *squash.Reader
	// Root is the tree of the system: that of Image, or of Wrapped.
	Root *tree.Node
	// Wrapped is the ext image inside, where Image holds one instead of the
	// system's files.
	Wrapped *extfs.FS
}

// Overlay is what a live system has written.
type Overlay struct {
	Image
	Form  overlay.Form
	Upper *tree.Node // nil where the image holds nothing yet
	// Empty: nothing was written but what a boot itself writes.
	Empty bool
	// Union is nil where Upper is.
	Union *overlay.Merged
}

// Layout is one way of laying out a live directory.
type Layout interface {
	// Name is the layout's name for people.
	Name() string
	// match tells whether the directory is laid out in this way.
	match(dir string) bool
	// open fills in l.
	open(ctx context.Context, e *Env, l *Live) error
}

// layouts are all that Open knows, the first that matches is taken.
func layouts() []Layout { return []Layout{AntiX{}} }

// ErrNoLayout is the error of a directory that holds no live system.
var ErrNoLayout = errors.New("no live system found")

// Open opens the live directory.
func Open(ctx context.Context, e *Env, dir string) (*Live, error) {
	st, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return nil, withHint(fmt.Errorf("%s: not a directory", dir), "give the directory that holds linuxfs and rootfs")
	}
	for _, layout := range layouts() {
		if !layout.match(dir) {
			continue
		}
		l := &Live{Dir: dir, Layout: layout}
		if err := layout.open(ctx, e, l); err != nil {
			l.Close()
			return nil, err
		}
		return l, nil
	}
	return nil, withHint(fmt.Errorf("%s: %w", dir, ErrNoLayout), "an antiX or MX live directory holds a file named linuxfs")
}

// Close closes the files.
func (l *Live) Close() error {
	err := l.closers.Close()
	l.closers = nil
	return err
}

// openSquash opens a SquashFS image of the host, to be closed by close.
func (e *Env) openSquash(path string) (r *squash.Reader, size int64, open closers, err error) {
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return nil, 0, nil, err
	}
	r, err = squash.Open(c, c.Size(), filepath.Base(path), e.Library)
	if err != nil {
		c.Close()
		return nil, 0, nil, err
	}
	return r, c.Size(), closers{c, r}, nil
}

// openImage opens an ext image of the host.
func (l *Live) openImage(path string) (*Image, error) {
	if err := l.watch(path); err != nil {
		return nil, err
	}
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return nil, err
	}
	l.closers = append(l.closers, c)
	fs, err := extfs.Open(c, c.Size(), filepath.Base(path))
	if err != nil {
		if errors.Is(err, tree.ErrCorrupt) {
			err = withHint(err, "e2fsck -f "+path+" tells more and may repair it; make a copy first")
		}
		return nil, err
	}
	return &Image{Path: path, Size: c.Size(), Allocated: allocated(path), FS: fs}, nil
}

// openBase opens the base, and the ext image inside where it wraps one.
func (l *Live) openBase(e *Env, path string) error {
	if err := l.watch(path); err != nil {
		return err
	}
	r, size, open, err := e.openSquash(path)
	if err != nil {
		return err
	}
	l.closers = append(l.closers, open...)
	l.Base = &Base{Path: path, Size: size, Image: r}
	if l.Base.Root, err = r.Root(); err != nil {
		return err
	}
	if l.Base.Wrapped, err = openWrapped(l.Base.Root, antixBase); err != nil {
		return fmt.Errorf("the file system inside %s: %w", filepath.Base(path), err)
	}
	if l.Base.Wrapped != nil {
		l.Base.Root, err = l.Base.Wrapped.Root()
	}
	return err
}

// content is the size of all files that the base's image holds, each inode
// counted once, in bytes.
func (b *Base) content() (n int64, err error) {
	err = b.Image.ScanInodes(func(i squash.InodeInfo) error {
		n += i.Size
		return nil
	})
	return n, err
}

// openWrapped opens the ext image that a wrapping image holds under that name
// instead of a system; nil where the image wraps none.
func openWrapped(root *tree.Node, name string) (*extfs.FS, error) {
	inner, err := root.Child(name)
	if err != nil || inner == nil || inner.Type != tree.Regular {
		return nil, err
	}
	if usr, err := root.Child("usr"); err != nil || usr != nil {
		return nil, err
	}
	c, err := inner.Open()
	if err != nil {
		return nil, err
	}
	return extfs.Open(c, c.Size(), name+":"+name)
}
