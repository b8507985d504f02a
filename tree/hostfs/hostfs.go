package hostfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"relive/tree"
)

// source is the identity of one opened directory in tree.Inode.
type source struct {
	root string
	dev  uint64
	// mount is the id of the mount that the directory is on, where mounts are
	// refused, else 0.
	mount uint64
	// inodes is the identity that nodes of the directory's device have: s itself,
	// or that of another directory on the device.
	inodes any
}

// Option changes how a directory is read.
type Option func(*source) error

// RefuseMounts makes a mount point an error, also that of a bind mount or of a
// file, where otherwise another file system's shows as an empty directory and
// others are entered. What a mount covers would be missing from the tree.
func RefuseMounts() Option {
	return func(s *source) (err error) {
		s.mount, err = mountID(s.root, 0)
		return err
	}
}

// SharingInodes makes hard links show that a file has to one below another
// directory, which Open has returned, where both are on one device: nodes of
// both have the same identity.
func SharingInodes(with *tree.Node) Option {
	return func(s *source) error {
		d, ok := with.Dir.(dir)
		if !ok {
			return fmt.Errorf("%s: %s is no directory of the host", s.root, tree.Quote(with.Name))
		}
		if d.s.dev == s.dev {
			s.inodes = d.s.inodes
		}
		return nil
	}
}

// elsewhere is the identity of what shows another device number than the opened
// directory: mount points, and files of an overlayfs whose layers are on
// several file systems.
type elsewhere struct {
	inodes any
	dev    uint64
}

// Open returns the directory at path as a tree.
func Open(path string, opts ...Option) (*tree.Node, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, fmt.Errorf("%s: not a directory", path)
	}
	s := &source{root: path, dev: uint64(st.Dev)}
	s.inodes = s
	for _, o := range opts {
		if err := o(s); err != nil {
			return nil, err
		}
	}
	return s.node("", path, &st)
}

func (s *source) node(name, path string, st *unix.Stat_t) (*tree.Node, error) {
	n := &tree.Node{Name: name, Nlink: uint32(st.Nlink), Inode: tree.Inode{Source: s.inodes, Number: st.Ino}}
	if uint64(st.Dev) != s.dev {
		n.Inode.Source = elsewhere{s.inodes, uint64(st.Dev)}
	}
	mtime, err := Mtime(path, st)
	if err != nil {
		return nil, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	n.Meta = tree.Meta{Type: tree.TypeFromMode(st.Mode), Perm: uint16(st.Mode & 0o7777), UID: st.Uid, GID: st.Gid, Mtime: mtime}
	switch n.Type {
	case tree.Regular:
		n.Size = st.Size
		n.Data = file{path, stampOf(st)}
	case tree.Directory:
		n.Dir = dir{s, path, st.Ino}
	case tree.Symlink:
		target, err := os.Readlink(path)
		if err != nil {
			return nil, &os.PathError{Op: "readlink", Path: path, Err: gone(errors.Unwrap(err))}
		}
		n.Target, n.Size = target, int64(len(target))
	case tree.BlockDevice, tree.CharDevice:
		n.Rdev = tree.Rdev{Major: unix.Major(uint64(st.Rdev)), Minor: unix.Minor(uint64(st.Rdev))}
	case tree.FIFO, tree.Socket:
	default:
		return nil, fmt.Errorf("%s: unknown file type in mode %#o", path, st.Mode)
	}
	if n.Type == tree.Regular || n.Type == tree.Directory {
		if n.Flags, err = flags(path); err != nil {
			return nil, err
		}
	}
	n.Xattrs, err = xattrs(path)
	return n, err
}

// flags reads those flags that statx(2) tells of, whose bits are those of
// FS_IOC_GETFLAGS. That call needs the file to be opened.
func flags(path string) (tree.Flags, error) {
	const told = unix.STATX_ATTR_COMPRESSED | unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND | unix.STATX_ATTR_NODUMP |
		unix.STATX_ATTR_ENCRYPTED | unix.STATX_ATTR_VERITY
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_DONT_SYNC, 0, &st)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return 0, nil // before Linux 4.11, and in sandboxes that do not know it
	}
	if err != nil {
		return 0, &os.PathError{Op: "statx", Path: path, Err: gone(err)}
	}
	return tree.Flags(st.Attributes & told), nil
}

type dir struct {
	s    *source
	path string
	ino  uint64
}

// Children implements tree.Dir. Where another file system is mounted, the
// mount point shows without children.
func (d dir) Children() ([]*tree.Node, error) {
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	out := make([]*tree.Node, 0, len(names))
	var bad []tree.BadEntry
	for _, name := range names {
		path := filepath.Join(d.path, name)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			bad = append(bad, tree.BadEntry{Name: name, Err: &os.PathError{Op: "lstat", Path: path, Err: gone(err)}})
			continue
		}
		n, err := d.s.node(name, path, &st)
		if err != nil {
			bad = append(bad, tree.BadEntry{Name: name, Err: err})
			continue
		}
		if err := d.s.checkMount(path); err != nil {
			return nil, err
		}
		if n.Type == tree.Directory && uint64(st.Dev) != d.s.dev {
			n.Dir = tree.List(nil)
		}
		out = append(out, n)
	}
	tree.Sort(out)
	return tree.Partial(out, bad)
}

func (d dir) names() ([]string, error) {
	flags := os.O_RDONLY | unix.O_DIRECTORY
	if d.path != d.s.root {
		flags |= unix.O_NOFOLLOW
	}
	f, err := os.OpenFile(d.path, flags, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, &os.PathError{Op: "fstat", Path: d.path, Err: err}
	}
	if st.Ino != d.ino || uint64(st.Dev) != d.s.dev {
		return nil, &os.PathError{Op: "open", Path: d.path, Err: ErrChanged}
	}
	return f.Readdirnames(-1)
}

// xattrs reads all attributes of a file. A file system without attributes has
// none.
func xattrs(path string) (tree.Xattrs, error) {
	var small [512]byte
	buf := small[:]
	n, err := unix.Llistxattr(path, buf)
	for errors.Is(err, unix.ERANGE) {
		if n, err = unix.Llistxattr(path, nil); err != nil {
			break
		}
		buf = make([]byte, n+256)
		n, err = unix.Llistxattr(path, buf)
	}
	if errors.Is(err, unix.ENOTSUP) || n == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: path, Err: gone(err)}
	}
	var out tree.Xattrs
	for list := buf[:n]; len(list) > 0; {
		end := 0
		for end < len(list) && list[end] != 0 {
			end++
		}
		name := string(list[:end])
		list = list[min(end+1, len(list)):]
		value, err := xattr(path, name)
		if err != nil {
			return nil, err
		}
		out = append(out, tree.Xattr{Name: name, Value: value})
	}
	tree.SortXattrs(out)
	return out, nil
}

func xattr(path, name string) (string, error) {
	buf := make([]byte, 256)
	for {
		n, err := unix.Lgetxattr(path, name, buf)
		if err == nil {
			return string(buf[:n]), nil
		}
		if !errors.Is(err, unix.ERANGE) {
			return "", &os.PathError{Op: "getxattr " + name, Path: path, Err: gone(err)}
		}
		if n, err = unix.Lgetxattr(path, name, nil); err != nil {
			return "", &os.PathError{Op: "getxattr " + name, Path: path, Err: gone(err)}
		}
		buf = make([]byte, n+64)
	}
}

// OpenFile opens a regular file or block device of the host as content, with
// the holes that SEEK_DATA tells of. It follows symlinks, and does not look
// whether the file changes.
func OpenFile(path string) (tree.Content, error) {
	c, err := openFile(path, 0)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func openFile(path string, flags int) (*content, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|flags, 0)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &content{File: f, size: size}, nil
}

type content struct {
	*os.File
	size int64
}

// HostFile returns the file itself, by which a writer may have the kernel copy.
func (c *content) HostFile() *os.File { return c.File }

// Size implements tree.Content.
func (c *content) Size() int64 { return c.size }

// NextData implements tree.Content.
func (c *content) NextData(off int64) (start, end int64, err error) {
	if off >= c.size {
		return 0, 0, io.EOF
	}
	fd := int(c.Fd())
	start, err = unix.Seek(fd, off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return 0, 0, io.EOF
	}
	if err != nil { // this file system does not tell
		return tree.WholeData(off, c.size)
	}
	end, err = unix.Seek(fd, start, unix.SEEK_HOLE)
	if err != nil {
		// Linux 6.18 takes the inode behind a SquashFS file with a tail in a
		// fragment for one more block word, and calls some of these an I/O error.
		return start, c.size, nil
	}
	return start, min(end, c.size), nil
}
