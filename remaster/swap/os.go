package swap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/hostfs"
)

// OS is the file system of the host.
type OS struct{}

// Lstat implements FS.
func (OS) Lstat(path string) (FileInfo, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return FileInfo{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	info := FileInfo{Kind: Other, Perm: uint32(st.Mode) & 0o7777, UID: st.Uid, GID: st.Gid, Dev: uint64(st.Dev), Ino: st.Ino}
	mtime, err := hostfs.Mtime(path, &st)
	if err != nil {
		return FileInfo{}, &fs.PathError{Op: "statx", Path: path, Err: err}
	}
	info.Mtime = mtime.Time()
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		info.Kind, info.Size = Regular, st.Size
	case unix.S_IFDIR:
		info.Kind = Directory
	case unix.S_IFLNK:
		info.Kind = Symlink
	}
	var stx unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &stx) == nil {
		info.Mount = stx.Attributes_mask&stx.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
	}
	return info, nil
}

// ReadDir implements FS.
func (OS) ReadDir(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// Readlink implements FS.
func (OS) Readlink(path string) (string, error) { return os.Readlink(path) }

// Open implements FS.
func (OS) Open(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// WriteFile implements FS.
func (OS) WriteFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// CopyFile implements FS. Where the file system can share blocks, it does.
func (OS) CopyFile(from, to string) error {
	src, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	st, err := src.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s: not a regular file", from)
	}
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) != nil {
		err = copySparse(dst, src, st.Size())
	}
	return errors.Join(err, dst.Close())
}

// copySparse copies the data extents of src and leaves holes where it has them.
func copySparse(dst, src *os.File, size int64) error {
	for off := int64(0); off < size; {
		start, err := unix.Seek(int(src.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		end := size
		if err != nil {
			start = off // this file system tells of no holes: all is data
		} else if e, err := unix.Seek(int(src.Fd()), start, unix.SEEK_HOLE); err == nil && e < size {
			end = e
		}
		if _, err := src.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := dst.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyN(dst, src, end-start); err != nil {
			return fmt.Errorf("copy of %s at byte %d: %w", src.Name(), start, err)
		}
		off = end
	}
	return dst.Truncate(size)
}

// Mkdir implements FS.
func (OS) Mkdir(path string) error { return os.Mkdir(path, 0o700) }

// Symlink implements FS.
func (OS) Symlink(target, path string) error { return os.Symlink(target, path) }

// SetMeta implements FS.
func (OS) SetMeta(path string, info FileInfo) error {
	// FAT and foreign owners refuse this; what the file holds does not depend on it.
	if err := unix.Lchown(path, int(info.UID), int(info.GID)); err != nil && !refused(err) {
		return &fs.PathError{Op: "chown", Path: path, Err: err}
	}
	if info.Kind != Symlink {
		if err := unix.Chmod(path, info.Perm); err != nil && !refused(err) {
			return &fs.PathError{Op: "chmod", Path: path, Err: err}
		}
	}
	if err := hostfs.SetTimes(unix.AT_FDCWD, path, tree.TimeOf(info.Mtime)); err != nil && !refused(err) {
		return err
	}
	return nil
}

// refused tells an operation that this file system or user has not from one
// that failed.
func refused(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL)
}

// Rename implements FS.
func (OS) Rename(from, to string) error {
	// os.Rename refuses an empty directory as a target, which rename(2) allows;
	// nothing here relies on that, and the error is the better one.
	return os.Rename(from, to)
}

// Exchange implements FS.
func (OS) Exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if err == nil {
		return nil
	}
	if refused(err) {
		return fmt.Errorf("exchange %s and %s: %w: %w", a, b, ErrNoSupport, err)
	}
	return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
}

// Link implements FS.
func (OS) Link(from, to string) error {
	err := os.Link(from, to)
	if err != nil && (refused(err) || errors.Is(err, unix.EMLINK)) {
		return fmt.Errorf("%w: %w", ErrNoSupport, err)
	}
	return err
}

// Remove implements FS.
func (OS) Remove(path string) error { return os.Remove(path) }

// Sync implements FS. The descriptor may be read-only: fsync writes back what
// any descriptor wrote.
func (OS) Sync(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// SyncDir implements FS. A file system that knows no fsync of directories is
// synced as a whole.
func (OS) SyncDir(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	err = f.Sync()
	if err != nil && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS)) {
		if err = unix.Syncfs(int(f.Fd())); err != nil {
			err = &fs.PathError{Op: "syncfs", Path: path, Err: err}
		}
	}
	return errors.Join(err, f.Close())
}

// Filesystem implements FS.
func (OS) Filesystem(path string) (hostfs.Filesystem, error) { return hostfs.FilesystemOf(path) }

// Lock implements FS: flock on the directory itself, which leaves no lock file
// behind and works on a full or read-only medium.
func (OS) Lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		return dirLock{f}, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %w", path, ErrBusy)
	}
	return nil, &fs.PathError{Op: "flock", Path: path, Err: err}
}

// A dirLock is a locked directory.
type dirLock struct{ f *os.File }

// Close unlocks before it closes: a process that the program starts at this
// moment has inherited the descriptor until its exec, and closing alone would
// leave the lock to it.
func (l dirLock) Close() error {
	return errors.Join(unix.Flock(int(l.f.Fd()), unix.LOCK_UN), l.f.Close())
}
