package hostdisk

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// CreateLike makes a new file with the mode and owner of the one that it is to
// take the place of. Where the file system or the user may not set them, the
// file has what a new file gets.
func CreateLike(path, former string) (*os.File, error) {
	st, err := os.Stat(former)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, st.Mode().Perm())
	if err != nil {
		return nil, err
	}
	if owner, ok := st.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(owner.Uid), int(owner.Gid))
	}
	_ = f.Chmod(st.Mode().Perm()) // past the umask
	return f, nil
}

// Preallocate has the host set a file's space aside. A file system that
// cannot has done so by itself, or has no holes.
func Preallocate(f *os.File, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return nil
		case err != nil:
			return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
		default:
			return nil
		}
	}
}

// Allocated is what the host has set aside for a file, in bytes.
func Allocated(st os.FileInfo) int64 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return sys.Blocks * 512
	}
	return st.Size()
}

// IsWhole reports whether the host has set all of a file's space aside.
func IsWhole(path string) (bool, error) {
	st, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	return Allocated(st) >= st.Size(), nil
}
