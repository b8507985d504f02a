package extract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/hostfs"
)

// ErrExists is the error of a tree of which something is there already.
var ErrExists = errors.New("exists already")

// Options say how a tree is extracted.
type Options struct {
	// Force replaces files that are there, and sets mode, owner and time of
	// directories that are. A directory is never replaced by anything else.
	Force bool
	// Progress, which may be nil, is told how many bytes are written so far.
	Progress func(bytes int64)
}

// Report tells what was extracted.
type Report struct {
	Files, Dirs, Links, Symlinks, Special int
	Bytes                                 int64 // of content that was written
	// Left is what could not be made or set.
	Left []Left
}

// Left is something that could not be made or set, on Count files of which First
// is the first.
type Left struct {
	What  string
	Count int
	First string
}

func (l Left) String() string {
	if l.Count == 1 {
		return fmt.Sprintf("%s: %s", tree.Quote(l.First), l.What)
	}
	return fmt.Sprintf("%s and %d more: %s", tree.Quote(l.First), l.Count-1, l.What)
}

// What can be left out.
const (
	leftDevice  = "a device, which only root can make, is left out"
	leftSpecial = "this file system does not hold files of its type; it is left out"
	leftSymlink = "a symlink, which this file system does not hold, is left out"
	leftLink    = "a hard link, which this file system does not hold, became a copy"
	leftOwner   = "its owner could not be set"
	leftSetID   = "its set-user-ID and set-group-ID bits are left out, since its owner could not be set"
	leftMode    = "its mode could not be set"
	leftTime    = "its time could not be set"
)

// Tree extracts what is below root into the directory dir, which is made where
// it is not there. An error leaves what was extracted until then; a file that
// was half written is removed. What is there already is ErrExists, before
// anything is written.
func Tree(ctx context.Context, root *tree.Node, dir string, o Options) (*Report, error) {
	made, err := makeTop(dir)
	if err != nil {
		return nil, err
	}
	top, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	x := &extractor{ctx: ctx, o: o, owners: os.Geteuid() == 0, top: int(top.Fd()), name: dir, rep: &Report{},
		linked: map[tree.Inode]string{}, left: map[string]int{}}
	if !made && !o.Force {
		if err := x.conflicts(x.top, "", root); err != nil {
			return nil, err
		}
	}
	if err := x.children(x.top, "", root); err != nil {
		return x.rep, err
	}
	if made {
		x.dirAttributes(unix.AT_FDCWD, dir, x.top, "", root)
	}
	return x.rep, nil
}

// makeTop makes the directory where it is not there.
func makeTop(dir string) (made bool, err error) {
	switch st, err := os.Stat(dir); {
	case err == nil && !st.IsDir():
		return false, fmt.Errorf("%s: not a directory", dir)
	case err == nil:
		return false, nil
	case !errors.Is(err, os.ErrNotExist):
		return false, err
	}
	return true, os.Mkdir(dir, 0o700)
}

type extractor struct {
	ctx    context.Context
	o      Options
	owners bool // they can be set
	top    int  // descriptor of the directory
	name   string
	rep    *Report
	linked map[tree.Inode]string // the path of a group's first name
	left   map[string]int        // places in rep.Left
	buf    []byte
}

func (x *extractor) leave(what, path string) {
	i, ok := x.left[what]
	if !ok {
		i = len(x.rep.Left)
		x.left[what] = i
		x.rep.Left = append(x.rep.Left, Left{What: what, First: path})
	}
	x.rep.Left[i].Count++
}

// fail makes the error of a step.
func (x *extractor) fail(p string, err error) error {
	if errors.Is(err, unix.EEXIST) {
		err = ErrExists
	}
	return fmt.Errorf("%s: %w", path.Join(x.name, p), err)
}

// openDir opens a directory without following a symlink.
func openDir(at int, name string) (int, error) {
	for {
		fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// conflicts looks for what is there already below a directory.
func (x *extractor) conflicts(at int, p string, n *tree.Node) error {
	kids, err := n.Children()
	if err != nil {
		return err
	}
	for _, k := range kids {
		kp := tree.Join(p, k.Name)
		var st unix.Stat_t
		err := unix.Fstatat(at, k.Name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return x.fail(kp, err)
		}
		if k.Type != tree.Directory || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return x.fail(kp, ErrExists)
		}
		fd, err := openDir(at, k.Name)
		if err != nil {
			return x.fail(kp, err)
		}
		err = x.conflicts(fd, kp, k)
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}

// children extracts what is in a directory that is opened as at.
func (x *extractor) children(at int, p string, n *tree.Node) error {
	kids, err := n.Children()
	if err != nil {
		return err
	}
	for _, k := range kids {
		if x.ctx.Err() != nil {
			return context.Cause(x.ctx)
		}
		if err := x.node(at, tree.Join(p, k.Name), k); err != nil {
			return err
		}
	}
	return nil
}

func (x *extractor) node(at int, p string, n *tree.Node) error {
	if n.Type == tree.Directory {
		return x.directory(at, p, n)
	}
	linked := n.Nlink > 1 && n.Inode != (tree.Inode{})
	if linked {
		if first, ok := x.linked[n.Inode]; ok {
			done, err := x.link(at, p, n, first)
			if done || err != nil {
				return err
			}
		}
	}
	made := true
	err := x.make(at, p, n, func() (err error) {
		switch n.Type {
		case tree.Regular:
			return x.file(at, p, n)
		case tree.Symlink:
			made, err = x.symlink(at, p, n)
		default:
			made, err = x.special(at, p, n)
		}
		return err
	})
	if err != nil {
		return err
	}
	if linked && made {
		x.linked[n.Inode] = p
	}
	return nil
}

// make calls fn, which makes a name, and again when what stood there is removed,
// where that is allowed.
func (x *extractor) make(at int, p string, n *tree.Node, fn func() error) error {
	err := fn()
	if !errors.Is(err, unix.EEXIST) || !x.o.Force {
		if errors.Is(err, unix.EEXIST) {
			return x.fail(p, err)
		}
		return err
	}
	if err := unix.Unlinkat(at, n.Name, 0); err == unix.EISDIR {
		return x.fail(p, errors.New("a directory is in the way of a "+n.Type.String()))
	} else if err != nil {
		return x.fail(p, err)
	}
	return fn()
}

func (x *extractor) directory(at int, p string, n *tree.Node) error {
	made := true
	err := unix.Mkdirat(at, n.Name, 0o700)
	if err == unix.EEXIST {
		made, err = false, nil
	}
	if err != nil {
		return x.fail(p, err)
	}
	fd, err := openDir(at, n.Name)
	if (err == unix.ENOTDIR || err == unix.ELOOP) && x.o.Force {
		if err = unix.Unlinkat(at, n.Name, 0); err == nil {
			if err = unix.Mkdirat(at, n.Name, 0o700); err == nil {
				made = true
				fd, err = openDir(at, n.Name)
			}
		}
	} else if err == unix.ENOTDIR || err == unix.ELOOP {
		err = ErrExists
	}
	if err != nil {
		return x.fail(p, err)
	}
	defer unix.Close(fd)
	x.rep.Dirs++
	if err := x.children(fd, p, n); err != nil {
		return err
	}
	if made || x.o.Force {
		x.dirAttributes(at, n.Name, fd, p, n)
	}
	return nil
}

// dirAttributes sets those of a directory, when nothing more is made in it. fd
// is the directory, and name what it is called in the directory at.
func (x *extractor) dirAttributes(at int, name string, fd int, p string, n *tree.Node) {
	perm := x.owner(p, n, func() error { return unix.Fchown(fd, int(n.UID), int(n.GID)) })
	x.attribute(leftMode, p, unix.Fchmod(fd, uint32(perm)))
	x.time(at, name, p, n)
}

// owner sets the owner, and gives the mode that may be set then.
func (x *extractor) owner(p string, n *tree.Node, set func() error) (perm uint16) {
	const setID = 0o6000
	if !x.owners {
		if n.Type == tree.Regular && n.Perm&setID != 0 {
			x.leave(leftSetID, p)
			return n.Perm &^ setID
		}
		return n.Perm
	}
	if set() != nil {
		x.leave(leftOwner, p)
		return n.Perm &^ setID
	}
	return n.Perm
}

func (x *extractor) attribute(what, p string, err error) {
	if err != nil {
		x.leave(what, p)
	}
}

func (x *extractor) time(at int, name, p string, n *tree.Node) {
	x.attribute(leftTime, p, hostfs.SetTimes(at, name, n.Mtime))
}

// link makes a further name; done is false where a copy must do.
func (x *extractor) link(at int, p string, n *tree.Node, first string) (done bool, err error) {
	from := x.top
	dir, name := path.Split(first)
	if dir != "" {
		if from, err = x.walk(dir); err != nil {
			return false, x.fail(first, err)
		}
		defer unix.Close(from)
	}
	err = x.make(at, p, n, func() error { return unix.Linkat(from, name, at, n.Name, 0) })
	switch {
	case err == nil:
		x.rep.Links++
		return true, nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EMLINK), errors.Is(err, unix.ENOSYS):
		x.leave(leftLink, p)
		return false, nil
	}
	if errors.Is(err, ErrExists) {
		return false, err
	}
	return false, x.fail(p, err)
}

// walk opens a directory below the top, part by part.
func (x *extractor) walk(dir string) (int, error) {
	fd, err := openDir(x.top, ".")
	for name := range splitPath(dir) {
		if err != nil {
			return -1, err
		}
		var next int
		next, err = openDir(fd, name)
		unix.Close(fd)
		fd = next
	}
	return fd, err
}

// splitPath returns the parts of a path.
func splitPath(p string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for p != "" {
			i := 0
			for i < len(p) && p[i] != '/' {
				i++
			}
			if i > 0 && !yield(p[:i]) {
				return
			}
			p = p[min(i+1, len(p)):]
		}
	}
}

func (x *extractor) file(at int, p string, n *tree.Node) error {
	c, err := n.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(p), err)
	}
	defer c.Close()
	fd, err := unix.Openat(at, n.Name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err == unix.EEXIST {
		return err
	}
	if err != nil {
		return x.fail(p, err)
	}
	f := os.NewFile(uintptr(fd), path.Join(x.name, p))
	err = x.copy(f, c)
	if err == nil {
		perm := x.owner(p, n, func() error { return unix.Fchown(fd, int(n.UID), int(n.GID)) })
		x.attribute(leftMode, p, unix.Fchmod(fd, uint32(perm)))
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = unix.Unlinkat(at, n.Name, 0)
		return fmt.Errorf("%s: %w", tree.Quote(p), err)
	}
	x.time(at, n.Name, p, n)
	x.rep.Files++
	return nil
}

// copy writes the content; holes are left out.
func (x *extractor) copy(f *os.File, c tree.Content) error {
	if x.buf == nil {
		x.buf = make([]byte, 1<<20)
	}
	size := c.Size()
	for off := int64(0); off < size; {
		start, end, err := c.NextData(off)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		for off = max(off, start); off < min(end, size); {
			if x.ctx.Err() != nil {
				return context.Cause(x.ctx)
			}
			b := x.buf[:min(int64(len(x.buf)), min(end, size)-off)]
			if err := tree.ReadFull(c, b, off); err != nil {
				return err
			}
			if _, err := f.WriteAt(b, off); err != nil {
				return err
			}
			off += int64(len(b))
			x.rep.Bytes += int64(len(b))
			if x.o.Progress != nil {
				x.o.Progress(x.rep.Bytes)
			}
		}
	}
	return f.Truncate(size)
}

func (x *extractor) symlink(at int, p string, n *tree.Node) (made bool, err error) {
	switch err := unix.Symlinkat(n.Target, at, n.Name); err {
	case nil:
	case unix.EEXIST:
		return false, err
	case unix.EPERM, unix.EOPNOTSUPP, unix.ENOSYS:
		x.leave(leftSymlink, p)
		return false, nil
	default:
		return false, x.fail(p, err)
	}
	x.owner(p, n, func() error { return unix.Fchownat(at, n.Name, int(n.UID), int(n.GID), unix.AT_SYMLINK_NOFOLLOW) })
	x.time(at, n.Name, p, n)
	x.rep.Symlinks++
	return true, nil
}

// special makes devices, FIFOs and sockets.
func (x *extractor) special(at int, p string, n *tree.Node) (made bool, err error) {
	device := n.Type == tree.BlockDevice || n.Type == tree.CharDevice
	switch err := unix.Mknodat(at, n.Name, n.Type.ModeBits()|0o600, int(unix.Mkdev(n.Rdev.Major, n.Rdev.Minor))); err {
	case nil:
	case unix.EEXIST:
		return false, err
	case unix.EPERM, unix.EOPNOTSUPP, unix.ENOSYS:
		if device {
			x.leave(leftDevice, p)
		} else {
			x.leave(leftSpecial, p)
		}
		return false, nil
	default:
		return false, x.fail(p, err)
	}
	perm := x.owner(p, n, func() error { return unix.Fchownat(at, n.Name, int(n.UID), int(n.GID), unix.AT_SYMLINK_NOFOLLOW) })
	// A mode by name would follow a symlink that took its place: the file is opened
	// as a place alone, and the mode set by that.
	fd, err := unix.Openat(at, n.Name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, x.fail(p, err)
	}
	x.attribute(leftMode, p, unix.Fchmodat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), uint32(perm), 0))
	unix.Close(fd)
	x.time(at, n.Name, p, n)
	x.rep.Special++
	return true, nil
}
